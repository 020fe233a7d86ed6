"""Brick sets that join and leave volumes on simulated nodes."""

from dataclasses import replace

import pytest

from services.common.errors import InternalError, NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB
from services.executor.gluster import commands
from services.executor.growth import GrowthSpec
from services.executor.runners.base import NodeLostError
from services.executor.runners.simulated import FleetSettings
from services.executor.settings import Patience
from services.executor.tools import Tools
from services.executor.volumes import run_changes
from tests.unit.executor.fleets import Ready
from tests.unit.executor.growing import SOURCE, bricks_of, file_of, gluster_runs, grown, growth

LOCKED = "Another transaction is in progress for vol_x. Please try again after some time."


def files(lab: Ready, spec: GrowthSpec) -> list[str | None]:
    """What is in the file of each brick."""
    return [lab.simulated(index % 3 + 1).file(file_of(brick)) for index, brick in enumerate(spec.bricks)]


def write(lab: Ready, spec: GrowthSpec) -> None:
    """Puts a file on each brick, as clients of the volume would."""
    for index, brick in enumerate(spec.bricks):
        lab.simulated(index % 3 + 1).put_file(file_of(brick), "data")


def test_one_process_adds_and_one_rebalances(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown("bc")
    seen = gluster_runs(lab, monkeypatch)
    spec = growth(lab, "c")
    lab.node(1).add_bricks(spec, rebalance=True)
    assert seen == [
        f"volume add-brick vol_x {' '.join(spec.bricks)}\n",
        "volume rebalance vol_x start\n",
    ]
    assert bricks_of(lab) == (*growth(lab, "b").bricks, *spec.bricks)
    assert lab.simulated(1).volumes()[SOURCE].rebalances == 1


def test_adding_again_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    before = lab.node(1).get_volume(SOURCE)
    seen = gluster_runs(lab, monkeypatch, 2)
    lab.node(2).add_bricks(growth(lab, "c"), rebalance=False)
    assert seen == []
    assert lab.node(1).get_volume(SOURCE) == before


def test_sets_that_are_there_are_left_out() -> None:
    lab = grown("bcd")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.node(1).add_bricks(growth(lab, "cd"), rebalance=False)
    assert bricks_of(lab) == growth(lab, "bcd").bricks


def test_a_rebalance_that_does_not_start_is_no_failure() -> None:
    lab = grown("bc")
    lab.fail("gluster volume rebalance", name="f", stderr="no", exit_code=1)
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=True)
    assert lab.fleet.faults.hits("f") == 1
    assert bricks_of(lab) == growth(lab, "bc").bricks


def test_the_volume_of_somebody_else_does_not_grow_nor_shrink() -> None:
    lab = grown("bc")
    foreign = growth(lab, "c", volume_id="e" * 32)
    with pytest.raises(InternalError, match=f"belongs to {'f' * 32}") as caught:
        lab.node(1).add_bricks(foreign, rebalance=True)
    assert caught.value.reason is Reason.GLUSTER_FAILED
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.node(1).remove_bricks(foreign)
    assert bricks_of(lab) == growth(lab, "bc").bricks


def without_id(lab: Ready) -> None:
    """Makes the volume one of an old Heketi, which wrote no ids."""
    for number in (1, 2, 3):
        lab.fleet.node(f"node{number}").volumes()[SOURCE].options.pop(commands.ID_OPTION, None)


def test_a_volume_without_an_id_is_known_by_its_bricks() -> None:
    lab = grown("bc")
    without_id(lab)
    known = growth(lab, "b").bricks
    for wrong in ((), known[1:], growth(lab, "c").bricks):
        with pytest.raises(InternalError, match="has no id, and other bricks"):
            lab.node(1).add_bricks(replace(growth(lab, "c"), known=wrong), rebalance=False)
    assert bricks_of(lab) == known
    lab.node(1).add_bricks(replace(growth(lab, "c"), known=known), rebalance=False)
    assert bricks_of(lab) == growth(lab, "bc").bricks
    lab.node(1).remove_bricks(growth(lab, "c"))
    assert bricks_of(lab) == growth(lab, "bc").bricks
    lab.node(1).remove_bricks(replace(growth(lab, "c"), known=known))
    assert bricks_of(lab) == known


def test_an_absent_volume() -> None:
    lab = grown("bc")
    spec = growth(lab, "c", name="vol_y")
    with pytest.raises(NotFoundError) as caught:
        lab.node(1).add_bricks(spec, rebalance=False)
    assert caught.value.reason is Reason.GLUSTER_VOLUME_NOT_FOUND
    lab.node(1).remove_bricks(spec)


def test_half_a_set_is_refused() -> None:
    lab = grown("bc")
    whole = growth(lab, "b")
    mixed = replace(whole, bricks=(*whole.bricks[:2], growth(lab, "c").bricks[2]))
    with pytest.raises(InternalError, match="only a part of brick set"):
        lab.node(1).add_bricks(mixed, rebalance=False)
    with pytest.raises(InternalError, match="only a part of brick set"):
        lab.node(1).remove_bricks(mixed)
    assert bricks_of(lab) == growth(lab, "b").bricks


def test_many_sets_take_several_lines_that_the_cli_can_read() -> None:
    lab = grown("bcde")
    spec = growth(lab, "cde")
    lines = commands.add_bricks(SOURCE, spec.layout, spec.bricks)
    assert len(lines) == 2
    assert all(commands.fits_line(words) and (len(words) - 3) % 3 == 0 for words in lines)
    assert tuple(word for words in lines for word in words[3:]) == spec.bricks


def test_a_failure_takes_out_what_was_added_with_its_data_saved() -> None:
    lab = grown("bcde")
    spec = growth(lab, "cde")
    write(lab, spec)
    lab.fail("gluster volume add-brick", after=1, stderr="Commit failed on 10.0.0.2.", exit_code=1)
    with pytest.raises(InternalError, match=r"^Commit failed on 10\.0\.0\.2\.$"):
        lab.node(1).add_bricks(spec, rebalance=True)
    assert bricks_of(lab) == growth(lab, "b").bricks
    assert files(lab, growth(lab, "b")) == ["data"] * 3
    assert files(lab, growth(lab, "cd")) == [None] * 6
    assert lab.simulated(1).volumes()[SOURCE].rebalances == 0


def test_a_set_that_was_there_before_stays_when_the_call_fails() -> None:
    lab = grown("bcd")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.fail("gluster volume add-brick", stderr="no", exit_code=1)
    with pytest.raises(InternalError, match=r"^no$"):
        lab.node(1).add_bricks(growth(lab, "cd"), rebalance=False)
    assert bricks_of(lab) == growth(lab, "bc").bricks


def test_sets_that_another_node_added_meanwhile_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown("bc")
    spec = growth(lab, "c")

    def held_up(tools: Tools, changes: list[list[str]]) -> tuple[int, str]:
        monkeypatch.setattr("services.executor.growth.run_changes", run_changes)
        lab.node(2).add_bricks(spec, rebalance=False)
        write(lab, spec)
        return run_changes(tools, changes)

    monkeypatch.setattr("services.executor.growth.run_changes", held_up)
    lab.node(1).add_bricks(spec, rebalance=False)
    assert bricks_of(lab) == growth(lab, "bc").bricks
    assert files(lab, spec) == ["data"] * 3


def test_a_failed_undo_does_not_hide_the_failure() -> None:
    lab = grown("bcde")
    lab.fail("gluster volume add-brick", after=1, stderr="first", exit_code=1)
    lab.fail("gluster volume remove-brick", stderr="second", exit_code=1)
    with pytest.raises(InternalError, match=r"^first$"):
        lab.node(1).add_bricks(growth(lab, "cde"), rebalance=False)
    lab.node(1).remove_bricks(growth(lab, "cde"))
    assert bricks_of(lab) == growth(lab, "b").bricks


@pytest.mark.parametrize("after", [0, 1])
def test_an_interrupted_addition_is_finished_by_the_next(after: int) -> None:
    lab = grown("bcde")
    lab.fail("gluster volume add-brick", action="crash", after=after)
    with pytest.raises(NodeLostError):
        lab.node(1).add_bricks(growth(lab, "cde"), rebalance=True)
    lab.node(2).add_bricks(growth(lab, "cde"), rebalance=True)
    assert bricks_of(lab) == growth(lab, "bcde").bricks
    assert lab.simulated(1).volumes()[SOURCE].rebalances == 1


def test_a_foreign_lock_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown("bc")
    lab.fail("gluster volume rebalance", stderr=LOCKED, exit_code=1)
    seen = gluster_runs(lab, monkeypatch)
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=True)
    assert [text.split()[1] for text in seen] == ["add-brick", "rebalance", "rebalance"]
    assert lab.simulated(1).volumes()[SOURCE].rebalances == 1


def test_removal_moves_data_off_first(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown("bc")
    spec = growth(lab, "c")
    lab.node(1).add_bricks(spec, rebalance=False)
    write(lab, spec)
    seen = gluster_runs(lab, monkeypatch)
    lab.node(1).remove_bricks(spec)
    assert [text.split()[-1] for text in seen] == ["vol_x", "start", "status", "status", "commit"]
    assert not any("force" in text for text in seen)
    assert bricks_of(lab) == growth(lab, "b").bricks
    assert files(lab, growth(lab, "b")) == ["data"] * 3
    lab.node(2).remove_bricks(spec)
    for number in (1, 2, 3):
        assert lab.node(number).delete_brick(lab.brick(number, "c")) is True


def test_a_volume_that_never_ran_has_no_data_to_move() -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.simulated(1).volumes()[SOURCE].status = 0
    lab.node(1).remove_bricks(growth(lab, "c"))
    assert bricks_of(lab) == growth(lab, "b").bricks


def test_a_stopped_volume_keeps_its_bricks() -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.simulated(1).volumes()[SOURCE].status = 2
    with pytest.raises(InternalError, match="only when it is started"):
        lab.node(1).remove_bricks(growth(lab, "c"))
    assert bricks_of(lab) == growth(lab, "bc").bricks


def test_a_rebalance_is_stopped_for_the_removal() -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.simulated(1).volumes()[SOURCE].rebalancing = True
    lab.node(1).remove_bricks(growth(lab, "c"))
    assert bricks_of(lab) == growth(lab, "b").bricks


@pytest.mark.parametrize("command", ["remove-brick .* status", "remove-brick .* commit"])
def test_an_interrupted_removal_is_finished_by_the_next(command: str) -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.fail(command, action="crash")
    with pytest.raises(NodeLostError):
        lab.node(1).remove_bricks(growth(lab, "c"))
    lab.node(2).remove_bricks(growth(lab, "c"))
    assert bricks_of(lab) == growth(lab, "b").bricks


def test_another_removal_is_not_mistaken_for_ours() -> None:
    lab = grown("bcd")
    lab.node(1).add_bricks(growth(lab, "cd"), rebalance=False)
    lab.fail("remove-brick .* status", action="crash")
    with pytest.raises(NodeLostError):
        lab.node(1).remove_bricks(growth(lab, "c"))
    with pytest.raises(InternalError, match="Incorrect brick"):
        lab.node(1).remove_bricks(growth(lab, "d"))
    assert bricks_of(lab) == growth(lab, "bcd").bricks


def test_bricks_whose_files_cannot_be_moved_stay() -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.simulated(1).daemon.pool.stuck_files = 2
    write(lab, growth(lab, "c"))
    with pytest.raises(InternalError, match="6 files could not be moved"):
        lab.node(1).remove_bricks(growth(lab, "c"))
    assert bricks_of(lab) == growth(lab, "bc").bricks
    assert files(lab, growth(lab, "c")) == ["data"] * 3
    assert lab.simulated(1).volumes()[SOURCE].removal is None


def test_moving_has_a_time_limit_and_can_be_waited_for_again() -> None:
    patience = Patience(migration_s=0.03, first_pause_s=0.01, longest_pause_s=0.01)
    lab = grown("bc", FleetSettings(disk_bytes=10 * GIB, patience=patience))
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.simulated(1).daemon.pool.moving_answers = 100
    with pytest.raises(InternalError, match="still being moved"):
        lab.node(1).remove_bricks(growth(lab, "c"))
    removal = lab.simulated(1).volumes()[SOURCE].removal
    assert removal is not None
    removal.answers = 0
    lab.node(1).remove_bricks(growth(lab, "c"))
    assert bricks_of(lab) == growth(lab, "b").bricks


def test_the_last_set_cannot_leave() -> None:
    lab = grown("b")
    with pytest.raises(InternalError, match="not allowed"):
        lab.node(1).remove_bricks(growth(lab, "b"))
    assert bricks_of(lab) == growth(lab, "b").bricks
