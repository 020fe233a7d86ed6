"""What gluster and LVM really said of growth, removal, snapshots and copies; and the simulated ones against it."""

import re

import pytest

from services.common.errors import InternalError
from services.executor.gluster import commands, reports, snapshots
from services.executor.gluster.reports import Removal
from services.executor.lvm import reports as lvm_reports
from services.executor.volumes import _script_complaint
from tests.unit.executor.captures import GLUSTER, LVM, capture, stdin_of
from tests.unit.executor.fleets import Ready
from tests.unit.executor.growing import COPY, COPY_ID, SOURCE, grown, growth

STEM = re.compile(r"[0-9a-f]{32}")


def successes(case: str) -> int:
    return reports.count_successes(capture(GLUSTER, case).stdout)


def complaint(case: str) -> str:
    result = capture(GLUSTER, case)
    assert result.exit_code == 1
    return _script_complaint(result)


def test_every_command_of_a_clone_is_counted() -> None:
    lines = stdin_of(GLUSTER, "script-clone").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["snapshot", "create"], ["snapshot", "activate"], ["snapshot", "clone"],
        ["volume", "start"], ["volume", "set"], ["snapshot", "delete"],
    ]  # fmt: skip
    assert successes("script-clone") == len(lines)
    assert successes("script-clone-left-behind") == 3


@pytest.mark.parametrize(
    "case",
    ["script-add-brick", "script-rebalance-start", "script-remove-brick-start", "script-remove-brick-commit"],
)
def test_every_change_of_bricks_is_counted(case: str) -> None:
    assert successes(case) == 1


def test_a_script_stops_at_the_failure_and_tells_why() -> None:
    assert successes("script-clone-set-too-early") == 3
    text = "Commit failed on localhost. Please check the log file for more details."
    assert complaint("script-clone-set-too-early") == text


def test_complaints() -> None:
    assert reports.says_rebalancing(complaint("script-remove-brick-rebalancing"))
    assert reports.says_removing(complaint("script-remove-brick-earlier"))
    assert reports.says_taken(complaint("script-snapshot-clone-taken"))
    assert reports.says_taken(complaint("script-snapshot-create-taken"))
    assert not reports.says_absent(complaint("script-delete-with-snapshot"))
    assert "is not decommissioned" in complaint("script-remove-brick-commit-early")
    assert "use 'force' or 'commit'" in complaint("script-remove-brick-created")
    locked = reports.parse_answer(capture(GLUSTER, "volume-status-locked").stdout)
    assert (locked.result, reports.says_locked(locked.complaint)) == (-1, True)


def test_removal_status() -> None:
    running = reports.parse_removal(capture(GLUSTER, "remove-brick-status-running").stdout)
    assert running == Removal(completed=False, running=True, failures=0)
    done = reports.parse_removal(capture(GLUSTER, "remove-brick-status-completed").stdout)
    assert done == Removal(completed=True, running=False, failures=0)
    for case in ("remove-brick-status-none", "remove-brick-status-other"):
        assert reports.parse_removal(capture(GLUSTER, case).stdout) is None


@pytest.mark.parametrize(("status", "expected"), [("4", False), ("2", False), ("1", True), ("0", True)])
def test_one_node_that_is_not_done_holds_up_a_removal(status: str, *, expected: bool) -> None:
    text = capture(GLUSTER, "remove-brick-status-completed").stdout.replace("<status>3<", f"<status>{status}<", 1)
    state = reports.parse_removal(text)
    assert state is not None
    assert (state.completed, state.running) == (False, expected)


def test_files_that_could_not_be_moved_are_counted() -> None:
    text = capture(GLUSTER, "remove-brick-status-completed").stdout.replace(
        "<skipped>0<", "<skipped>2<", 1).replace("<failures>0<", "<failures>3<", 1)  # fmt: skip
    assert reports.parse_removal(text) == Removal(completed=True, running=False, failures=5)


def test_several_questions_get_as_many_answers() -> None:
    text = capture(GLUSTER, "questions-no-snapshot").stdout
    found, absent, snapshot = reports.split_answers(text, 3)
    volume = reports.parse_volume(found, "v1")
    assert volume is not None
    assert volume.started
    assert reports.parse_volume(absent, "nosuch") is None
    assert snapshots.parse_snapshots(snapshot) == ()
    with pytest.raises(InternalError, match="gave 3 answers, not 2"):
        reports.split_answers(text, 2)


def test_a_copy_that_was_not_finished() -> None:
    texts = reports.split_answers(capture(GLUSTER, "questions-unfinished-copy").stdout, 3)
    (snapshot,) = snapshots.parse_snapshots(texts[0])
    source, copy = reports.parse_volume(texts[1], "v1"), reports.parse_volume(texts[2], "c1")
    assert source is not None
    assert copy is not None
    assert (snapshot.name, snapshot.source) == (f"tmpsnap_{'6' * 32}", "v1")
    assert (snapshots.is_copy(source), snapshots.is_copy(copy), copy.never_started) == (False, True, True)
    # It has the id of its source.
    assert copy.options[commands.ID_OPTION] == source.options[commands.ID_OPTION] == "5" * 32
    assert copy.hosts == source.hosts
    stem = snapshots.lv_stem(copy.uuid)
    assert snapshots.copy_lvs(copy) == tuple(f"{stem}_{index}" for index in (0, 0, 0, 1, 1, 1))
    # The LVs on the first node prove that it is of this snapshot.
    volumes = {each.name: each for each in lvm_reports.parse_logical_volumes(capture(LVM, "lvs-copies").stdout)}
    for index, pool in ((0, "c"), (1, "d")):
        lv = volumes[f"{stem}_{index}"]
        assert (lv.origin, lv.pool_name) == (f"{snapshot.volume}_{index}", f"tp_{pool * 32}")
        assert volumes[lv.origin].origin == f"brick_{pool * 32}"


def test_what_uses_lvs() -> None:
    all_volumes, taken = reports.split_answers(capture(GLUSTER, "questions-everything").stdout, 2)
    volumes, found = reports.parse_volumes(all_volumes), snapshots.parse_snapshots(taken)
    used = snapshots.used_stems(volumes, found)
    assert {volume.name for volume in volumes} == {"v1", "c1"}
    assert {snapshots.lv_stem(volume.uuid) for volume in volumes} | {found[0].volume} == used
    lvs = lvm_reports.parse_logical_volumes(capture(LVM, "lvs-copies").stdout)
    assert {snapshots.stem_of(lv.name) for lv in lvs} - {""} < used


def test_no_snapshots() -> None:
    assert snapshots.parse_snapshots(capture(GLUSTER, "snapshot-info-none").stdout) == ()
    with pytest.raises(InternalError):
        snapshots.parse_snapshots(capture(GLUSTER, "volume-status-locked").stdout)
    with pytest.raises(InternalError):
        reports.parse_volumes(capture(GLUSTER, "snapshot-info-none").stdout)


def test_arbiters_need_no_words_of_their_own() -> None:
    """Added by a plain add-brick, the third brick of the second set is an arbiter like that of the first."""
    text = capture(GLUSTER, "volume-info-arbiter").stdout
    assert re.findall(r"<isArbiter>(.)<", text) == list("001001")
    layout = commands.replicated(3, arbiter=True)
    (line,) = commands.add_bricks("v", layout, ["h:/a", "h:/b", "h:/c"])
    assert line == ["volume", "add-brick", "v", "h:/a", "h:/b", "h:/c"]


def test_a_stem_is_told_from_other_names() -> None:
    assert snapshots.stem_of("0123456789abcdef0123456789abcdef_10") == "0123456789abcdef0123456789abcdef"
    for name in ("brick_" + "a" * 32, "tp_" + "a" * 32, "a" * 32, "a" * 32 + "_", "A" * 32 + "_0", "a" * 33 + "_0"):
        assert snapshots.stem_of(name) == ""


def said(lab: Ready, *lines: str) -> tuple[int, str, str]:
    """What the simulated CLI says to a script."""
    script = "".join(f"{line}\n" for line in lines)
    result = lab.node(1)._tools.runner.run(["gluster"], input=script, timeout_s=1, allowed_exit_codes=None)
    return result.exit_code, result.stdout, result.stderr


def neutral(text: str) -> str:
    """A text of gluster without what differs from run to run: names, ids, bricks."""
    for pattern in (
        r"tmpsnap_\w+",
        r"\S+:/\S+",
        r"\bv1\b|\bvol_x\b",
        r"\bc[123]\b|\bvol_copy\b",
        r"[0-9a-f]{8}-[0-9a-f-]{27}",
    ):
        text = re.sub(pattern, "*", text)
    return text


@pytest.mark.parametrize(
    ("case", "before", "line"),
    [
        ("add-brick", [], "volume add-brick vol_x {c}"),
        ("add-brick-taken", ["volume add-brick vol_x {c}"], "volume add-brick vol_x {c}"),
        ("rebalance-start", ["volume add-brick vol_x {c}"], "volume rebalance vol_x start"),
        ("rebalance-one-set", [], "volume rebalance vol_x start"),
        ("remove-brick-start", ["volume add-brick vol_x {c}"], "volume remove-brick vol_x {c} start"),
        ("remove-brick-absent", [], "volume remove-brick vol_x {c} start"),
        ("remove-brick-commit-early", ["volume add-brick vol_x {c}"], "volume remove-brick vol_x {c} commit"),
        (
            "remove-brick-earlier",
            ["volume add-brick vol_x {c}", "volume remove-brick vol_x {c} start"],
            "volume remove-brick vol_x {c} start",
        ),
        (
            "remove-brick-created",
            ["volume add-brick vol_x {c}", "volume stop vol_x"],
            "volume remove-brick vol_x {c} start",
        ),
        ("snapshot-create-taken", ["snapshot create s vol_x"], "snapshot create s vol_x"),
        (
            "snapshot-clone-taken",
            ["snapshot create s vol_x", "snapshot activate s", "snapshot clone vol_copy s"],
            "snapshot clone vol_copy s",
        ),
    ],
)
def test_the_simulated_cli_says_what_the_real_one_said(case: str, before: list[str], line: str) -> None:
    lab = grown("bc")
    words = {"c": " ".join(growth(lab, "c").bricks)}
    for each in before:
        assert said(lab, each.format(**words))[0] == 0
    code, out, err = said(lab, line.format(**words))
    real = capture(GLUSTER, f"script-{case}")
    expected = (real.exit_code, neutral(real.stdout), neutral(real.stderr))
    assert (code, neutral(out), neutral(err)) == tuple(
        text.replace("Snapshot * ", "Snapshot s ") if isinstance(text, str) else text for text in expected
    )


def test_the_simulated_clone_says_what_the_real_one_said() -> None:
    lab = grown()
    name = f"tmpsnap_{COPY_ID}"
    lines = [
        f"snapshot create {name} {SOURCE} no-timestamp",
        f"snapshot activate {name}",
        f"snapshot clone {COPY} {name}",
        f"volume start {COPY}",
        f"volume set {COPY} user.heketi.id {COPY_ID}",
        f"snapshot delete {name}",
    ]
    code, out, _err = said(lab, *lines)
    real = capture(GLUSTER, "script-clone")
    assert (code, neutral(out)) == (real.exit_code, neutral(real.stdout))
    too_early = said(grown(), *lines[:3], lines[4])
    assert neutral(too_early[2]) == neutral(capture(GLUSTER, "script-clone-set-too-early").stderr)


def test_the_simulated_source_cannot_go_before_its_snapshots() -> None:
    lab = grown()
    assert said(lab, "snapshot create s vol_x", "volume stop vol_x")[0] == 0
    assert neutral(said(lab, "volume delete vol_x")[2]) == neutral(
        capture(GLUSTER, "script-delete-with-snapshot").stderr
    )
