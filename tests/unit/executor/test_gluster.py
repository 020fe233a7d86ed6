"""gluster's command lines, exactly, and its answers as recorded."""

import pytest

from services.common.errors import InternalError
from services.executor.gluster import commands, reports
from services.executor.runners.base import CommandResult
from services.executor.volumes import _script_complaint
from tests.unit.executor.captures import GLUSTER, capture, stdin_of

BRICKS = [f"10.0.0.{n}:/var/lib/heketi/mounts/vg_{'a' * 32}/brick_{'b' * 32}/brick" for n in range(1, 13)]


def test_one_set_is_one_line() -> None:
    layout = commands.replicated(3, arbiter=False)
    assert commands.create_volume("v", layout, BRICKS[:3]) == [
        ["volume", "create", "v", "replica", "3", *BRICKS[:3]],
    ]


def test_arbiter_and_disperse_words() -> None:
    assert commands.replicated(3, arbiter=True) == commands.VolumeLayout(("replica", "3", "arbiter", "1"), 3)
    assert commands.dispersed(4, 2) == commands.VolumeLayout(("disperse-data", "4", "redundancy", "2"), 6)


def test_lines_stay_below_the_buffer_of_the_cli_and_keep_sets_together() -> None:
    created = commands.create_volume("v", commands.replicated(3, arbiter=False), BRICKS)
    assert [words[1] for words in created] == ["create", "add-brick"]
    assert all(commands.fits_line(words) for words in created)
    assert all(sum(":/" in word for word in words) % 3 == 0 for words in created)
    assert [word for words in created for word in words if ":/" in word] == BRICKS


def test_a_set_that_is_too_long_stays_whole() -> None:
    (line,) = commands.create_volume("v", commands.dispersed(8, 4), BRICKS)
    assert line[-12:] == BRICKS
    assert not commands.fits_line(line)


def test_options_are_set_by_one_command_but_groups_alone() -> None:
    assert commands.set_options("v", [("a.b", "1"), ("group", "virt"), ("user.heketi.id", "x")]) == [
        ["volume", "set", "v", "group", "virt"],
        ["volume", "set", "v", "a.b", "1", "user.heketi.id", "x"],
    ]


def test_many_options_are_parted_at_the_line_limit() -> None:
    options = [(f"user.key{n}", "x" * 90) for n in range(30)]
    parted = commands.set_options("v", options)
    assert len(parted) > 1
    assert all(commands.fits_line(words) for words in parted)
    assert [pair for words in parted for pair in zip(words[3::2], words[4::2], strict=True)] == options


def test_a_script_is_one_command_per_line() -> None:
    assert commands.script_argv() == ["gluster", "--mode=script", "--timeout=600"]
    assert commands.script([["volume", "stop", "v", "force"], ["volume", "delete", "v"]]) == (
        "volume stop v force\nvolume delete v\n"
    )


def test_reads_are_asked_for_as_xml() -> None:
    assert commands.volume_info("v") == ["gluster", "--mode=script", "--timeout=600", "--xml", "volume", "info", "v"]
    assert commands.pool_list()[-2:] == ["pool", "list"]


def test_pool_list() -> None:
    own, peers = reports.parse_pool(capture(GLUSTER, "pool-list").stdout)
    assert len(own) == 36
    assert [(peer.hostname, peer.connected, peer.state) for peer in peers] == [
        ("10.77.0.12", True, reports.PEER_IN_CLUSTER),
        ("10.77.0.13", True, reports.PEER_IN_CLUSTER),
    ]


def test_volume_info() -> None:
    volume = reports.parse_volume(capture(GLUSTER, "volume-info").stdout, "v1")
    assert volume is not None
    assert (volume.name, volume.started, len(volume.uuid)) == ("v1", True, 36)
    assert volume.bricks == tuple(f"10.77.0.1{n}:/var/lib/heketi/mounts/b1/brick" for n in (1, 2, 3))
    assert volume.options["user.heketi.id"] == "0123456789abcdef0123456789abcdef"


def test_absent_volume() -> None:
    assert reports.parse_volume(capture(GLUSTER, "volume-info-absent").stdout, "nosuch") is None


def test_peer_answers() -> None:
    assert reports.parse_answer(capture(GLUSTER, "peer-probe-known").stdout).result == 0
    unreachable = reports.parse_answer(capture(GLUSTER, "peer-probe-unreachable").stdout)
    assert (unreachable.result, unreachable.complaint) == (
        -1,
        "Probe returned with Transport endpoint is not connected",
    )
    unknown = reports.parse_answer(capture(GLUSTER, "peer-detach-unknown").stdout)
    assert unknown.result != 0
    assert reports.says_no_peer(unknown.complaint)
    holding = reports.parse_answer(capture(GLUSTER, "peer-detach-with-bricks").stdout)
    assert holding.result != 0
    assert not reports.says_no_peer(holding.complaint)


def test_version() -> None:
    assert reports.parse_version(capture(GLUSTER, "version").stdout) == "10.3"


@pytest.mark.parametrize(
    ("case", "done", "complaint"),
    [
        ("script-create", 3, None),
        ("script-delete", 2, None),
        ("script-create-taken", 0, "Volume v1 already exists"),
        ("script-start-started", 0, "Volume v3 already started"),
        ("script-delete-absent", 0, "Volume v3 does not exist"),
        ("script-set-unknown", 0, "option : nosuch.option does not exist\nDid you mean auth.allow?"),
        ("script-locked", 0, "Another transaction is in progress for v1. Please try again after some time."),
    ],
)
def test_a_script_stops_at_its_first_failure(case: str, done: int, complaint: str | None) -> None:
    result = capture(GLUSTER, case)
    assert reports.count_successes(result.stdout) == done
    assert (result.exit_code == 0) == (complaint is None)
    if complaint is None:
        assert done == len(stdin_of(GLUSTER, case).splitlines())
    else:
        assert _script_complaint(result) == complaint


def test_a_word_that_gluster_does_not_know() -> None:
    assert _script_complaint(capture(GLUSTER, "script-unknown-word")).startswith("unrecognized word: frobnicate")


def test_locks_are_told_from_other_failures() -> None:
    assert reports.says_locked(_script_complaint(capture(GLUSTER, "script-locked")))
    assert reports.says_locked("Locking failed on 10.0.0.2. Please check log file for details.")
    assert not reports.says_locked(_script_complaint(capture(GLUSTER, "script-create-taken")))


def test_a_silent_failure_has_words_all_the_same() -> None:
    silent = CommandResult(("gluster",), 1, "volume create: v: success: x\n", "", 0.1)
    assert _script_complaint(silent) == "gluster ended with exit code 1"


def test_an_answer_that_is_no_xml_is_refused() -> None:
    with pytest.raises(InternalError, match="cannot be read"):
        reports.parse_pool("Connection failed")


def test_options_are_pairs_of_words() -> None:
    assert reports.option_pairs(["a.b 1", "", "c.d 2 e.f 3"]) == [("a.b", "1"), ("c.d", "2"), ("e.f", "3")]
    with pytest.raises(ValueError, match="key value"):
        reports.option_pairs(["a.b"])
