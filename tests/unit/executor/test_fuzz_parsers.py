"""Whatever a tool answers, its parser gives a value or the one error that it documents: nothing crashes an agent."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import BrickyardError
from services.executor import policy, sshexec
from services.executor.block import reports as block
from services.executor.filesystem import commands as filesystem
from services.executor.filesystem import mounts
from services.executor.gluster import reports as gluster
from services.executor.gluster import snapshots, store
from services.executor.lvm import reports as lvm
from services.executor.runners import ssh
from services.executor.runners.base import Mount
from tests.unit.executor.captures import DATA

_EXAMPLES = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
# What tools really said: fuzz that starts there gets further than noise does.
RECORDED = [json.loads(path.read_text(encoding="utf-8"))["stdout"] for path in sorted(DATA.glob("*.json"))]
# The words that the parsers look for.
WORDS = [
    "report",
    "pv",
    "vg",
    "lv",
    "vg_name",
    "pv_name",
    "pv_uuid",
    "vg_size",
    "vg_free",
    "vg_extent_size",
    "lv_name",
    "lv_size",
    "pool_lv",
    "lv_attr",
    "data_percent",
    "metadata_percent",
    "thin_count",
    "origin",
    "lv_metadata_size",
    "dev_size",
    "pe_start",
    "pv_size",
    "RESULT",
    "FAIL",
    "errMsg",
    "errCode",
    "SIZE",
    "NAME",
    "GBID",
    "HA",
    "IQN",
    "USERNAME",
    "PASSWORD",
    "blocks",
    "DEVNAME",
    "TYPE",
    "PTTYPE",
    "count",
    "brick-0",
    "hostname",
    "path",
    "uuid",
    "volume-id",
    "status",
    "-",
    "xfs",
]
KEYS = st.sampled_from([*WORDS, "EXPORTED ON", "RESIZE FAILED ON", "FAILED ON", "ENCOUNTERED FAILURES ON"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1 GiB", "9" * 400, "-1"]),
)
JSON_TEXTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=8)),
    max_leaves=20,
).map(json.dumps)
LVM_TEXTS = st.fixed_dictionaries(
    {
        "report": st.lists(
            st.dictionaries(
                st.sampled_from(["pv", "vg", "lv"]),
                st.lists(st.one_of(st.dictionaries(KEYS, SCALARS, max_size=12), SCALARS), max_size=2),
            ),
            max_size=2,
        )
    }
).map(json.dumps)
NOISE = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("utf-8", "replace")),
    st.text(alphabet='{}[]<>/"=:, \n0123456789abc-', max_size=60),
    st.sampled_from(["[" * 100_000, "<a>" * 30_000, '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "\ud800", "\0"]),
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A recorded answer with a piece cut out and another put in."""
    text: str = draw(st.sampled_from(RECORDED))
    piece = draw(st.one_of(st.just(""), st.text(max_size=6), st.sampled_from(["0", "-1", "x", "<"])))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 40)))
    return text[:start] + piece + text[end:]


TEXTS = st.one_of(NOISE, damaged(), JSON_TEXTS, LVM_TEXTS)


@dataclass(frozen=True)
class Parser:
    """A parser, and what it may raise."""

    call: Callable[[str], Any]
    errors: tuple[type[Exception], ...] = (BrickyardError,)


def info_of(text: str) -> None:
    """What is made of an answer of gluster-block."""
    reply = block.parse_reply(text)
    if reply is None:
        return
    for parse in (block.parse_access, block.parse_info, block.parse_names):
        try:
            parse(reply)
        except ValueError:
            continue


MOUNT = Mount("/dev/vg_x/brick_x", "/var/lib/heketi/mounts/vg_x/brick_x", "xfs", "rw,noatime")


def with_entry(text: str) -> None:
    """The file of the system with a brick more: it is listed, once, and what else is there stays."""
    changed = mounts.with_entry(text, MOUNT)
    assert [entry for entry in mounts.parse_fstab(changed) if entry.mount_point == MOUNT.mount_point] == [MOUNT]
    others = [entry for entry in mounts.parse_fstab(text) if entry.mount_point != MOUNT.mount_point]
    assert [entry for entry in mounts.parse_fstab(changed) if entry.mount_point != MOUNT.mount_point] == others
    assert mounts.with_entry(changed, MOUNT) == changed


def without_entry(text: str) -> None:
    """The file without a brick: as it was before the brick came."""
    gone = mounts.without_entries(mounts.with_entry(text, MOUNT), source=MOUNT.source, mount_point=MOUNT.mount_point)
    assert gone is not None
    assert mounts.parse_fstab(gone) == tuple(
        entry
        for entry in mounts.parse_fstab(text)
        if entry.mount_point != MOUNT.mount_point and entry.source != MOUNT.source
    )


PARSERS = {
    "lvm physical volumes": Parser(lvm.parse_physical_volumes),
    "lvm grown bytes": Parser(lvm.grown_bytes),
    "lvm volume groups": Parser(lvm.parse_volume_groups),
    "lvm logical volumes": Parser(lvm.parse_logical_volumes),
    "lvm everything": Parser(lvm.parse_everything),
    "gluster answer": Parser(gluster.parse_answer),
    "gluster read answer": Parser(gluster.read_answer),
    "gluster split": Parser(lambda text: gluster.split_answers(text, 2)),
    "gluster pool": Parser(gluster.parse_pool),
    "gluster volume": Parser(lambda text: gluster.parse_volume(text, "vol_x")),
    "gluster volumes": Parser(gluster.parse_volumes),
    "gluster heal": Parser(lambda text: gluster.parse_heal(text, "vol_x")),
    "gluster removal": Parser(gluster.parse_removal),
    "gluster version": Parser(gluster.parse_version, ()),
    "gluster successes": Parser(gluster.count_successes, ()),
    "gluster store": Parser(lambda text: store.read_volume("vol_x", lambda _path: text), ()),
    "gluster option pairs": Parser(lambda text: gluster.option_pairs([text]), (ValueError,)),
    "snapshots": Parser(snapshots.parse_snapshots),
    "block": Parser(info_of, ()),
    "block size": Parser(block.parse_size, (ValueError,)),
    "block redacted": Parser(block.redacted, ()),
    "mountinfo": Parser(mounts.parse_mountinfo),
    "fstab": Parser(mounts.parse_fstab, ()),
    "fstab listed": Parser(lambda text: mounts.lists(text, MOUNT.mount_point), ()),
    "fstab with an entry": Parser(with_entry, ()),
    "fstab without an entry": Parser(without_entry, ()),
    "ssh disks": Parser(ssh.parse_disks),
    "ssh brick processes": Parser(ssh.parse_brick_processes, ()),
    "sshexec": Parser(lambda text: sshexec.read_sshexec(text, {}), (sshexec.SshexecFault,)),
    "kernel flags": Parser(mounts.kernel_flags, ()),
    "blkid": Parser(filesystem.parse_signatures, ()),
    "policy device": Parser(policy.NodePolicy().check_device),
    "policy options": Parser(lambda text: policy.NodePolicy().check_options([text])),
    "policy host name": Parser(policy.check_hostname),
    "policy brick path": Parser(policy.check_brick_path),
    "policy volume name": Parser(policy.check_volume_name),
}


def test_every_parser_is_here() -> None:
    """A new parser cannot be forgotten."""
    known = {each.call.__name__ for each in PARSERS.values()} | {
        "parse_reply",
        "parse_access",
        "parse_info",
        "parse_names",
    }
    known |= {"parse_volume", "parse_heal"}  # by a lambda, with the name of a volume
    there = {
        name
        for module in (lvm, gluster, snapshots, block, mounts, filesystem, ssh)
        for name, found in vars(module).items()
        if name.startswith("parse_") and found.__module__ == module.__name__
    }
    assert there - known == set()


@pytest.mark.parametrize("name", PARSERS)
def test_no_answer_crashes_a_parser(name: str) -> None:
    parser = PARSERS[name]

    @_EXAMPLES
    @given(TEXTS)
    def parse(text: str) -> None:
        try:
            parser.call(text)
        except parser.errors:
            return

    parse()
