"""The sshexec section of heketi.json, and what the SSH runner makes of a node's listings."""

import json
import re
from typing import Any

import pytest

from services.executor.runners.base import BlockDevice
from services.executor.runners.ssh import parse_brick_processes, parse_disks
from services.executor.sshexec import SshexecFault, read_sshexec

KEYS = {"keyfile": "/etc/heketi/key", "user": "heketi", "port": "2222", "sudo": True, "fstab": "/etc/fstab"}


def config(**sshexec: Any) -> str:
    return json.dumps({"port": "8080", "glusterfs": {"executor": "ssh", "sshexec": {**KEYS, **sshexec}}})


def test_keys_are_flags_of_the_bridge() -> None:
    found = read_sshexec(config(), {})
    assert (found.flags, found.notes) == (KEYS, ())


def test_variables_win_over_the_file() -> None:
    names = ("HEKETI_SSH_KEYFILE", "HEKETI_SSH_USER", "HEKETI_SSH_PORT", "HEKETI_FSTAB")
    environment = {**{name: name.lower() for name in names}, "SSH_KNOWN_HOSTS": "/a:/b:"}
    assert read_sshexec(config(), environment).flags == {
        "keyfile": "heketi_ssh_keyfile",
        "user": "heketi_ssh_user",
        "port": "heketi_ssh_port",
        "fstab": "heketi_fstab",
        "sudo": True,
        "known_hosts": ("/a", "/b"),
    }
    assert read_sshexec("", {"HEKETI_SSH_USER": "x"}).flags == {"user": "x"}


def test_keys_that_do_nothing_are_named_unless_they_say_what_is_done_anyway() -> None:
    told = read_sshexec(
        config(_comment="", xfs_sw=4, snapshot_limit=0, lv_chunksize="256K", block_prealloc="no", colour="red"), {}
    ).notes
    assert [note.split(" ")[0].rpartition(".")[2] for note in told] == ["xfs_sw", "colour"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "it is no JSON"),
        ("[]", "glusterfs.sshexec: it is no JSON object"),
        ('{"glusterfs": {"sshexec": []}}', "glusterfs.sshexec: it is no JSON object"),
        (config(port=22), "glusterfs.sshexec.port: 22 is not a string"),
        (config(sudo="yes"), "glusterfs.sshexec.sudo: 'yes' is not true or false"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, complaint: str) -> None:
    with pytest.raises(SshexecFault, match=re.escape(complaint)):
        read_sshexec(text, {})


def test_disks_of_a_listing() -> None:
    listing = "loop0|8|0||\nsdb|2048|0| sdb2 sdb1| dm-0\ncciss!c0d0|0|1||\ndm-0|8|0||\n"
    assert parse_disks(listing) == (
        BlockDevice("/dev/cciss/c0d0", 0, read_only=True),
        BlockDevice("/dev/sdb", 1048576, ("sdb1", "sdb2"), ("dm-0",)),
    )


def test_brick_processes_of_a_listing() -> None:
    listing = (
        "P41\n/usr/sbin/glusterfsd\n-s\nh\n--brick-name\n/m/brick_1/brick\n-l\nx\n\n"
        "P42\n\nP43\nglusterfsd\n--version\n\n"
        "F41 h-m-brick_1-brick.pid\nF x.pid\nF77 h-m-brick_2-brick.pid\n"
    )
    assert parse_brick_processes(listing) == (
        {41: "/m/brick_1/brick"},
        [("h-m-brick_1-brick.pid", 41), ("h-m-brick_2-brick.pid", 77)],
    )
