"""Copies of volumes on simulated nodes: made, finished after an interruption, undone, removed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from services.common.errors import FailedPreconditionError, InternalError, NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.clones import Copy
from services.executor.gluster import commands, snapshots
from services.executor.policy import BrickSpec
from services.executor.runners.base import NodeLostError
from services.executor.tools import Tools
from services.executor.volumes import run_changes
from tests.unit.executor.fleets import NOTHING, VOLUME_ID, Ready, device_id
from tests.unit.executor.growing import (
    CLONE,
    COPY,
    COPY_ID,
    IMPATIENT,
    SOURCE,
    TEXT,
    bricks_of,
    copied_brick,
    copies_on,
    file_of,
    gluster_runs,
    grown,
    growth,
)

STEPS = ["snapshot create", "snapshot activate", "snapshot clone", "volume start", "volume set", "snapshot delete"]


def remove_copy(lab: Ready) -> None:
    """What the control plane does to take back a copy that it knows no bricks of."""
    lab.node(2).delete_volume(COPY, COPY_ID)
    for number in (1, 2, 3):
        lab.node(number).remove_orphan_copies(device_id(number), f"tp_{'b' * 32}")


def assert_no_traces(lab: Ready) -> None:
    pool = lab.simulated(1).daemon.pool
    assert (list(pool.volumes), list(pool.snapshots)) == ([SOURCE], [])
    for number in (1, 2, 3):
        assert copies_on(lab, number) == []
        assert lab.simulated(number).brick_mounts() == [lab.brick(number).mount_point]


def assert_whole(lab: Ready, copy: Copy) -> None:
    """The copy is started, carries its id, and is all that was made."""
    found = lab.node(3).get_volume(COPY)
    assert (found.started, found.options["user.heketi.id"], found.bricks) == (True, COPY_ID, copy.bricks)
    assert lab.simulated(1).daemon.pool.snapshots == {}
    for number in (1, 2, 3):
        assert copies_on(lab, number) == [copy.lv_names[number - 1]]


def test_a_copy_takes_one_process_and_one_for_its_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown()
    seen = gluster_runs(lab, monkeypatch)
    copy = lab.node(1).clone_volume(CLONE)
    snapshot = f"tmpsnap_{COPY_ID}"
    assert [text.splitlines() for text in seen] == [
        [
            f"snapshot create {snapshot} {SOURCE} no-timestamp",
            f"snapshot activate {snapshot}",
            f"snapshot clone {COPY} {snapshot}",
            f"volume start {COPY}",
            f"volume set {COPY} user.heketi.id {COPY_ID}",
        ],
        [f"snapshot delete {snapshot}"],
    ]
    assert_whole(lab, copy)
    assert [brick.partition(":")[0] for brick in copy.bricks] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_a_copy_has_the_data_and_the_options_and_goes_its_own_way() -> None:
    lab = grown()
    (source, *_others) = growth(lab, "b").bricks
    lab.simulated(1).put_file(file_of(source), TEXT)
    copy = lab.node(2).clone_volume(CLONE)
    copied = file_of(copy.bricks[0])
    assert lab.simulated(1).file(copied) == TEXT
    lab.simulated(1).put_file(copied, "changed")
    lab.simulated(1).put_file(file_of(source, "late"), "late")
    assert lab.simulated(1).file(file_of(source)) == TEXT
    assert lab.simulated(1).file(file_of(copy.bricks[0], "late")) is None
    assert lab.node(1).get_volume(COPY).options["server.tcp-user-timeout"] == "42"
    assert lab.node(1).get_volume(SOURCE).options["user.heketi.id"] == VOLUME_ID


def test_lvs_are_counted_per_node_across_its_volume_groups() -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    third = []
    for number in (1, 2, 3):
        device = f"{number + 8:x}" * 32
        lab.node(number).create_device(device, "/dev/sdc", destroy_data=False)
        spec = lab.node(number).policy.brick(
            brick_id="d" * 32, device_id=device, lv_name="", pool_name="", path="",
            size_bytes=GIB, pool_bytes=GIB, metadata_bytes=8 * MIB,
        )  # fmt: skip
        lab.node(number).create_brick(spec)
        third.append(f"10.0.0.{number}:{spec.path}")
    # The sets need not come in the same order of nodes.
    lab.node(1).add_bricks(replace(growth(lab, "c"), bricks=tuple(reversed(third))), rebalance=False)
    copy = lab.node(1).clone_volume(CLONE)
    assert [name.partition("_")[2] for name in copy.lv_names] == list("000111222")
    mounted = {
        entry.mount_point: entry.source for number in (1, 2, 3) for entry in lab.simulated(number).machine.mounts
    }
    for brick, name in zip(copy.bricks, copy.lv_names, strict=True):
        assert mounted[brick.partition(":")[2].removesuffix("/brick")].endswith(f"-{name}")


def test_a_copy_of_a_copy() -> None:
    lab = grown()
    (source, *_others) = growth(lab, "b").bricks
    lab.simulated(1).put_file(file_of(source), TEXT)
    lab.node(1).clone_volume(CLONE)
    again = replace(CLONE, source_name=COPY, source_id=COPY_ID, name="c2", volume_id="d" * 32)
    second = lab.node(2).clone_volume(again)
    assert lab.simulated(1).file(file_of(second.bricks[0])) == TEXT
    assert len(copies_on(lab, 1)) == 2


def test_a_repeated_call_only_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown()
    copy = lab.node(1).clone_volume(CLONE)
    seen = gluster_runs(lab, monkeypatch, 3)
    assert lab.node(3).clone_volume(CLONE) == copy
    assert len(seen) == 1


@pytest.mark.parametrize("command", STEPS[:-1])
def test_a_failure_leaves_no_traces(command: str) -> None:
    lab = grown()
    lab.fail(f"^gluster {command}", stderr="Commit failed on 10.0.0.2.", exit_code=1)
    with pytest.raises(InternalError, match=r"^Commit failed on 10\.0\.0\.2\.$") as caught:
        lab.node(1).clone_volume(CLONE)
    assert caught.value.reason is Reason.GLUSTER_FAILED
    pool = lab.simulated(1).daemon.pool
    assert (list(pool.volumes), list(pool.snapshots), copies_on(lab, 1)) == ([SOURCE], [], [])
    remove_copy(lab)
    assert_no_traces(lab)
    assert_whole(lab, lab.node(2).clone_volume(CLONE))


def test_a_snapshot_that_cannot_be_removed_at_once_is_deactivated_first(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown()
    lab.fail("gluster snapshot delete", stderr="busy", exit_code=1, times=2)
    seen = gluster_runs(lab, monkeypatch)
    assert_whole(lab, lab.node(1).clone_volume(CLONE))
    assert "snapshot deactivate" in seen[2]


def test_a_snapshot_that_stays_is_removed_with_the_copy() -> None:
    lab = grown(settings=IMPATIENT)
    lab.fail("gluster snapshot delete", stderr="busy", exit_code=1, times=0)
    lab.node(1).clone_volume(CLONE)
    assert list(lab.simulated(1).daemon.pool.snapshots) == [CLONE.snapshot]
    lab.fleet.faults.clear()
    remove_copy(lab)
    assert_no_traces(lab)


@pytest.mark.parametrize("command", STEPS)
def test_an_interrupted_copy_is_finished_by_the_next_call(command: str) -> None:
    lab = grown()
    lab.fail(f"^gluster {command}", action="crash")
    with pytest.raises(NodeLostError):
        lab.node(1).clone_volume(CLONE)
    assert_whole(lab, lab.node(2).clone_volume(CLONE))


@pytest.mark.parametrize("command", STEPS)
def test_an_interrupted_copy_can_be_taken_back(command: str) -> None:
    lab = grown()
    lab.fail(f"^gluster {command}", action="crash")
    with pytest.raises(NodeLostError):
        lab.node(1).clone_volume(CLONE)
    remove_copy(lab)
    assert_no_traces(lab)


def test_taking_back_what_never_was_is_fine() -> None:
    lab = grown()
    remove_copy(lab)
    assert_no_traces(lab)


def copy_by_hand(lab: Ready, name: str, snapshot: str) -> None:
    """A copy of the same source, which has the source's id, as an administrator would make it."""
    cli = lab.node(1)._tools.runner
    lines = [
        f"snapshot create {snapshot} {SOURCE}",
        f"snapshot activate {snapshot}",
        f"snapshot clone {name} {snapshot}",
    ]
    cli.run(["gluster"], input="\n".join([*lines, f"volume start {name}"]), timeout_s=1)


def test_a_copy_of_somebody_else_is_neither_adopted_nor_removed() -> None:
    lab = grown()
    copy_by_hand(lab, COPY, "theirs")
    before = lab.node(1).get_volume(COPY)
    with pytest.raises(InternalError, match="Volume vol_copy already exists"):
        lab.node(1).clone_volume(CLONE)
    remove_copy(lab)
    assert lab.node(1).get_volume(COPY) == before
    assert list(lab.simulated(1).daemon.pool.snapshots) == ["theirs"]
    assert len(copies_on(lab, 1)) == 2


def test_a_copy_of_somebody_else_is_not_mistaken_for_ours_even_beside_our_snapshot() -> None:
    lab = grown()
    lab.fail("^gluster snapshot clone", action="crash")
    with pytest.raises(NodeLostError):
        lab.node(1).clone_volume(CLONE)
    copy_by_hand(lab, COPY, "theirs")
    with pytest.raises(InternalError, match="already exists"):
        lab.node(1).clone_volume(CLONE)
    remove_copy(lab)
    pool = lab.simulated(1).daemon.pool
    assert (list(pool.volumes), list(pool.snapshots)) == ([SOURCE, COPY], ["theirs"])


def test_a_name_that_is_taken_while_we_work_is_not_touched() -> None:
    lab = grown()
    lab.fail("^gluster snapshot create tmpsnap", action="stall", name="looked")
    with ThreadPoolExecutor() as pool:
        cloning = pool.submit(lab.node(1).clone_volume, CLONE)
        assert lab.fleet.faults.wait_struck("looked", 10)
        copy_by_hand(lab, COPY, "theirs")
        before = lab.node(2).get_volume(COPY)
        lab.fleet.faults.release("looked")
        with pytest.raises(InternalError, match="Volume with name:vol_copy already exists"):
            cloning.result(10)
    assert lab.node(2).get_volume(COPY) == before
    assert list(lab.simulated(1).daemon.pool.snapshots) == ["theirs"]


@pytest.mark.parametrize("command", STEPS[:3])
def test_a_copy_that_another_node_made_meanwhile_stays(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    lab = grown()
    made: list[Copy] = []

    def held_up(tools: Tools, changes: list[list[str]]) -> tuple[int, str]:
        monkeypatch.setattr("services.executor.clones.run_changes", run_changes)
        made.append(lab.node(2).clone_volume(CLONE))
        if command != STEPS[2]:
            lab.fail(f"gluster {command}", stderr="too late", exit_code=1)
        return run_changes(tools, changes)

    monkeypatch.setattr("services.executor.clones.run_changes", held_up)
    with pytest.raises(InternalError):
        lab.node(1).clone_volume(CLONE)
    assert_whole(lab, made[0])


def test_the_source_must_be_there_and_be_the_one_that_is_meant() -> None:
    lab = grown()
    with pytest.raises(NotFoundError) as caught:
        lab.node(1).clone_volume(replace(CLONE, source_name="nosuch"))
    assert caught.value.reason is Reason.GLUSTER_VOLUME_NOT_FOUND
    with pytest.raises(InternalError, match=f"belongs to {VOLUME_ID}"):
        lab.node(1).clone_volume(replace(CLONE, source_id="e" * 32))
    lab.simulated(1).volumes()[SOURCE].status = 2
    with pytest.raises(InternalError, match="volume vol_x is not started"):
        lab.node(1).clone_volume(CLONE)
    assert_no_traces(lab)


def test_names_that_contradict_the_mount_table_are_not_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown()
    monkeypatch.setattr(snapshots, "copy_lvs", lambda volume: tuple("e" * 32 + "_7" for _ in volume.bricks))
    with pytest.raises(InternalError, match="is on /dev/mapper/"):
        lab.node(1).clone_volume(CLONE)
    assert list(lab.simulated(1).volumes()) == [SOURCE]


@pytest.mark.parametrize("copy_first", [True, False])
def test_the_pool_goes_with_its_last_lv(copy_first: bool) -> None:
    lab = grown()
    copy = lab.node(1).clone_volume(CLONE)
    lab.node(1).delete_volume(COPY, COPY_ID)
    lab.node(1).delete_volume(SOURCE, VOLUME_ID)
    for index, number in enumerate((1, 2, 3)):
        order: list[BrickSpec] = [copied_brick(lab, copy, index), lab.brick(number)]
        order = order if copy_first else order[::-1]
        assert [lab.node(number).delete_brick(spec) for spec in order] == [False, True]
        assert lab.node(number).delete_brick(order[0]) is True
        assert lab.leftovers(number) == NOTHING
        assert lab.simulated(number).machine.directory(copied_brick(lab, copy, index).mount_point) is None


def test_a_copy_in_use_is_busy_and_not_in_the_mount_table_file() -> None:
    lab = grown()
    before = lab.leftovers(1)[2]
    copy = lab.node(1).clone_volume(CLONE)
    assert lab.leftovers(1)[2] == before
    with pytest.raises(FailedPreconditionError) as caught:
        lab.node(1).delete_brick(copied_brick(lab, copy, 0))
    assert caught.value.reason is Reason.BRICK_BUSY
    assert lab.node(1).get_volume(COPY).started


def test_copies_are_back_after_a_reboot() -> None:
    lab = grown()
    copy = lab.node(1).clone_volume(CLONE)
    before = sorted(lab.simulated(2).brick_mounts())
    assert lab.simulated(2).reboot() == []
    assert sorted(lab.simulated(2).brick_mounts()) == before
    assert lab.node(2).clone_volume(CLONE) == copy


def test_the_source_can_grow_and_go_while_the_copy_lives() -> None:
    lab = grown("bc")
    copy = lab.node(1).clone_volume(CLONE)
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.node(1).remove_bricks(growth(lab, "c"))
    lab.node(1).delete_volume(SOURCE, VOLUME_ID)
    assert lab.node(1).delete_brick(lab.brick(1)) is False
    assert bricks_of(lab, COPY) == copy.bricks


def test_a_source_without_an_id_is_known_by_its_bricks() -> None:
    lab = grown()
    for number in (1, 2, 3):
        lab.simulated(number).volumes()[SOURCE].options.pop(commands.ID_OPTION, None)
    bricks = growth(lab, "b").bricks
    for wrong in ((), bricks[1:], growth(lab, "c").bricks):
        with pytest.raises(InternalError, match="has no id, and other bricks"):
            lab.node(1).clone_volume(replace(CLONE, source_bricks=wrong))
    assert_no_traces(lab)
    assert_whole(lab, lab.node(1).clone_volume(replace(CLONE, source_bricks=bricks)))


# --- copies that a Heketi made ----------------------------------------------------------------------------------------


def with_the_id_of_its_source(lab: Ready) -> Copy:
    copy = lab.node(1).clone_volume(CLONE)
    lab.simulated(1).daemon.pool.volumes[COPY].options["user.heketi.id"] = VOLUME_ID
    return copy


def test_a_copy_with_the_id_of_its_source_is_known_by_its_bricks() -> None:
    lab = grown()
    copy = with_the_id_of_its_source(lab)
    lab.node(2).delete_volume(COPY, COPY_ID, copy.bricks[:2])
    assert COPY in lab.simulated(1).daemon.pool.volumes
    lab.node(2).delete_volume(COPY, COPY_ID, copy.bricks)
    assert COPY not in lab.simulated(1).daemon.pool.volumes


def test_a_copy_gets_its_id_before_it_has_other_bricks() -> None:
    lab = grown("bc")
    copy = with_the_id_of_its_source(lab)
    new = growth(lab, "c", name=COPY, volume_id=COPY_ID)
    with pytest.raises(InternalError, match="belongs to"):
        lab.node(1).add_bricks(new, rebalance=False)
    lab.node(1).add_bricks(replace(new, known=copy.bricks), rebalance=False)
    found = lab.node(3).get_volume(COPY)
    assert found.options["user.heketi.id"] == COPY_ID
    assert found.bricks == (*copy.bricks, *new.bricks)


def test_another_volume_with_a_foreign_id_is_never_known_by_its_bricks() -> None:
    lab = grown()
    lab.node(2).delete_volume(SOURCE, COPY_ID, bricks_of(lab))
    assert SOURCE in lab.simulated(1).daemon.pool.volumes
