"""What is done after an answer: owed, paid, and not in the way of other changes."""

import threading
from pathlib import Path

import pytest

from services.common.errors import InternalError
from services.executor.debts import Debt, DebtKind, Debts, in_background
from services.executor.gluster import store
from tests.unit.executor.fleets import VOLUME_ID, Ready
from tests.unit.executor.growing import CLONE, COPY, IMPATIENT, SOURCE, bricks_of, gluster_runs, grown, growth

MOVE = Debt(DebtKind.MOVE_DATA, SOURCE, VOLUME_ID)
SNAPSHOT = Debt(DebtKind.REMOVE_SNAPSHOT, CLONE.snapshot)


def debts_of(lab: Ready) -> Debts:
    return lab.node(1)._tools.debts


def rebalances(lab: Ready) -> int:
    return lab.simulated(1).volumes()[SOURCE].rebalances


def postpone(lab: Ready) -> None:
    """Lets the node end before it pays."""
    debts_of(lab).begin = lambda _work: None


def test_what_is_owed_outlives_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "debts.json"
    debts = Debts(path)
    debts.note(SNAPSHOT)
    debts.note(MOVE)
    debts.note(SNAPSHOT)
    assert Debts(path).owed() == (SNAPSHOT, MOVE)
    debts.clear(SNAPSHOT)
    assert Debts(path).owed() == (MOVE,)
    debts.clear(MOVE)
    assert Debts(path).owed() == ()


def test_background_work_does_not_hold_up_its_starter() -> None:
    gate, done = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(5)
        done.set()

    in_background(work)
    assert not done.is_set()
    gate.set()
    assert done.wait(5)


def test_an_agent_that_ended_after_its_answer_moves_the_data_after_its_next_start() -> None:
    lab = grown("bc")
    postpone(lab)
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=True)
    assert (rebalances(lab), debts_of(lab).owed()) == (0, (MOVE,))
    debts_of(lab).begin = lambda work: work()
    lab.node(1).pay_debts()
    assert (rebalances(lab), debts_of(lab).owed()) == (1, ())


def test_nothing_is_owed_when_nothing_was_added_or_nothing_is_wanted() -> None:
    lab = grown("bc")
    postpone(lab)
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    assert debts_of(lab).owed() == ()
    lab = grown("bc")
    postpone(lab)
    lab.fail("gluster volume add-brick", stderr="no", exit_code=1)
    with pytest.raises(Exception, match="no"):
        lab.node(1).add_bricks(growth(lab, "c"), rebalance=True)
    assert debts_of(lab).owed() == ()


def test_what_is_owed_to_a_volume_that_is_gone_or_anothers_is_forgotten() -> None:
    lab = grown("bc")
    debts_of(lab).note(Debt(DebtKind.MOVE_DATA, SOURCE, "f" * 32))
    debts_of(lab).note(Debt(DebtKind.MOVE_DATA, "vol_gone", "e" * 32))
    lab.node(1).pay_debts()
    assert (rebalances(lab), debts_of(lab).owed()) == (0, ())


def test_it_stays_owed_while_glusterd_is_down() -> None:
    lab = grown("bc", IMPATIENT)
    postpone(lab)
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=True)
    debts_of(lab).begin = lambda work: work()
    lab.simulated(1).daemon.running = False
    lab.node(1).pay_debts()
    assert debts_of(lab).owed() == (MOVE,)
    lab.simulated(1).daemon.running = True
    lab.node(1).pay_debts()
    assert (rebalances(lab), debts_of(lab).owed()) == (1, ())


def test_moving_is_stopped_for_further_bricks_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown("bcd")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.simulated(1).volumes()[SOURCE].rebalancing = True
    seen = gluster_runs(lab, monkeypatch)
    lab.node(1).add_bricks(growth(lab, "d"), rebalance=False)
    assert [text.split()[1] for text in seen] == ["add-brick", "rebalance", "add-brick", "rebalance"]
    assert [text.split()[-1] for text in seen if "rebalance" in text] == ["stop", "start"]
    assert bricks_of(lab) == growth(lab, "bcd").bricks


def test_moving_is_stopped_for_a_copy_and_begun_again() -> None:
    lab = grown("bc")
    lab.node(1).add_bricks(growth(lab, "c"), rebalance=False)
    lab.simulated(1).volumes()[SOURCE].rebalancing = True
    lab.node(1).clone_volume(CLONE)
    assert lab.node(2).get_volume(COPY).started
    assert (rebalances(lab), debts_of(lab).owed()) == (1, ())


def test_the_snapshot_of_a_copy_goes_after_the_answer() -> None:
    lab = grown("b")
    postpone(lab)
    lab.node(1).clone_volume(CLONE)
    assert (list(lab.simulated(1).daemon.pool.snapshots), debts_of(lab).owed()) == ([CLONE.snapshot], (SNAPSHOT,))
    debts_of(lab).begin = lambda work: work()
    lab.node(1).pay_debts()
    assert (list(lab.simulated(1).daemon.pool.snapshots), debts_of(lab).owed()) == ([], ())


def test_a_snapshot_that_does_not_go_stays_owed() -> None:
    lab = grown("b", IMPATIENT)
    lab.fail("gluster snapshot delete", name="busy", stderr="busy", exit_code=1, times=0)
    lab.node(1).clone_volume(CLONE)
    assert debts_of(lab).owed() == (SNAPSHOT,)
    lab.fleet.faults.clear()
    lab.node(1).pay_debts()
    assert (list(lab.simulated(1).daemon.pool.snapshots), debts_of(lab).owed()) == ([], ())


@pytest.mark.parametrize("number", [1, 2])
def test_a_volume_can_be_deleted_while_the_snapshot_of_its_copy_is_there(number: int) -> None:
    lab = grown("b")
    postpone(lab)
    lab.node(1).clone_volume(CLONE)
    lab.node(number).delete_volume(SOURCE, VOLUME_ID)
    assert list(lab.simulated(1).volumes()) == [COPY]
    assert lab.simulated(1).daemon.pool.snapshots == {}
    debts_of(lab).begin = lambda work: work()
    lab.node(1).pay_debts()
    assert debts_of(lab).owed() == ()


def test_a_volume_with_somebody_elses_snapshot_stays_and_goes_on_serving() -> None:
    lab = grown("b")
    cli = lab.node(1)._tools.runner
    cli.run(["gluster", "--mode=script", "--timeout=600", "snapshot", "create", "nightly", SOURCE], timeout_s=5)
    with pytest.raises(InternalError, match="as it has 1 snapshots"):
        lab.node(1).delete_volume(SOURCE, VOLUME_ID)
    assert lab.node(2).get_volume(SOURCE).started
    assert list(lab.simulated(1).daemon.pool.snapshots) == ["nightly"]


INFO = """type=2
count=1
status={status}
version=6
volume-id=baa7fcac-bd13-4fbe-8ce7-263f3446e3a1
op-version=40000
user.x=y=z
user.heketi.id=83163e8126c45efa9609abb34e75d5fb
brick-0=10.77.0.11:-var-lib-mounts-vg_a-brick_b-brick"""
BRICK = """uuid=281d3df9-f1f2-4571-a6d1-fd56372841f7
hostname=10.77.0.11
path=/var/lib/mounts/vg_a/brick_b/brick
real_path=/var/lib/mounts/vg_a/brick_b/brick
listen-port=57921
"""


@pytest.mark.parametrize(("status", "expected"), [("0", (False, True)), ("1", (True, False)), ("2", (False, False))])
def test_volume_as_glusterd_writes_it_down(status: str, expected: tuple[bool, bool]) -> None:
    files = {
        "/var/lib/glusterd/vols/v/info": INFO.format(status=status),
        "/var/lib/glusterd/vols/v/bricks/10.77.0.11:-var-lib-mounts-vg_a-brick_b-brick": BRICK,
    }
    found = store.read_volume("v", files.get)
    assert found is not None
    assert (found.started, found.never_started) == expected
    assert found.uuid == "baa7fcac-bd13-4fbe-8ce7-263f3446e3a1"
    assert found.bricks == ("10.77.0.11:/var/lib/mounts/vg_a/brick_b/brick",)
    assert found.hosts == ("281d3df9-f1f2-4571-a6d1-fd56372841f7",)
    assert found.options == {"user.heketi.id": "83163e8126c45efa9609abb34e75d5fb"}


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"/var/lib/glusterd/vols/v/info": ""},
        {"/var/lib/glusterd/vols/v/info": INFO.format(status=1)},
        {"/var/lib/glusterd/vols/v/info": INFO.format(status=1).replace("count=1", "count=0")},
    ],
    ids=["no file", "empty", "no file of a brick", "no bricks"],
)
def test_what_is_not_written_down_wholly_is_not_told(files: dict[str, str]) -> None:
    assert store.read_volume("v", files.get) is None


def test_a_simulated_volume_is_written_down_as_it_is_told() -> None:
    lab = grown("b")
    read = lab.node(2)._tools.runner.read_text
    told = lab.node(1).get_volume(SOURCE)
    written = store.read_volume(SOURCE, read)
    assert written is not None
    assert (written.uuid, written.bricks, written.hosts, written.started) == (
        told.uuid,
        told.bricks,
        told.hosts,
        told.started,
    )
