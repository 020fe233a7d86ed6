"""The heal of a brick that took another's place: owed, started again while it stands still, and over at last."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.common.errors import InternalError
from services.common.units import GIB
from services.executor.debts import Debt, DebtKind, Debts
from services.executor.gluster.commands import ID_OPTION, dispersed
from services.executor.runners.simulated import FleetSettings
from services.executor.runners.simulated.pools import Volume
from services.executor.settings import Patience
from tests.unit.executor.fleets import VOLUME_ID, Ready
from tests.unit.executor.growing import SOURCE, bricks_of, file_of
from tests.unit.executor.replacing import lab_of_four, new_brick, old_brick

# As on real nodes, but for the limit: a simulated agent pays before it answers.
WATCHED_S = 3_600.0
PATIENT = FleetSettings(nodes=4, disk_bytes=10 * GIB, patience=Patience(heal_s=WATCHED_S))


@dataclass(slots=True)
class Time:
    """A clock that only pauses move; at each the next of `events` happens.

    Attributes:
        now: Seconds.
        pauses: All pauses.
        events: What happens in the pauses, in order.
    """

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    events: Iterator[Callable[[], object]] = field(default_factory=lambda: iter(()))

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        next(self.events, lambda: None)()


def timed(lab: Ready, *events: Callable[[], object]) -> Time:
    """Gives the agent of the new brick such a clock."""
    time = Time(events=iter(events))
    node = lab.node(4)
    node._tools = replace(node._tools, clock=lambda: time.now, pause=time.pause)
    return time


def debts_of(lab: Ready) -> Debts:
    return lab.node(4)._tools.debts


def heal_debt(lab: Ready) -> Debt:
    return Debt(DebtKind.HEAL, SOURCE, VOLUME_ID, new_brick(lab).new)


def volume_of(lab: Ready) -> Volume:
    return lab.simulated(1).volumes()[SOURCE]


def slow(*events: Callable[[Ready], object], files: int = 3) -> tuple[Ready, Time]:
    """A volume with files, whose heal does only what `events` do in the pauses."""
    lab = lab_of_four(PATIENT)
    lab.simulated(1).daemon.pool.healing = False
    for number in range(files):
        lab.simulated(1).put_file(file_of(old_brick(lab, 1), f"file{number}"), "data")
        lab.simulated(3).put_file(file_of(old_brick(lab, 3), f"file{number}"), "data")
    lab.fail("gluster volume heal", name="start", stderr="", times=0, action="stall", stall_s=0.001)

    def bound(event: Callable[[Ready], object]) -> Callable[[], object]:
        return lambda: event(lab)

    return lab, timed(lab, *(bound(event) for event in events))


def left(count: int) -> Callable[[Ready], object]:
    """Each source has so many files left to heal."""

    def happens(lab: Ready) -> None:
        entries = volume_of(lab).heal_entries
        entries.update(dict.fromkeys(entries, count))

    return happens


def starts(lab: Ready) -> int:
    return lab.fleet.faults.hits("start")


def dispersed_lab() -> Ready:
    lab = lab_of_four(PATIENT)
    lab.node(1).delete_volume(SOURCE, VOLUME_ID)
    lab.node(1).create_volume(replace(lab.volume(), layout=dispersed(2, 1)))
    return lab


def test_a_replicated_volume_is_healed_by_gluster_itself() -> None:
    lab = lab_of_four()
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (volume_of(lab).heals, debts_of(lab).owed()) == (0, ())


def test_a_dispersed_volume_is_healed_as_a_whole() -> None:
    lab = dispersed_lab()
    timed(lab)
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (volume_of(lab).heals, debts_of(lab).owed()) == (1, ())


def test_a_heal_that_goes_on_is_left_alone() -> None:
    lab, time = slow(left(2), left(1), left(0))
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (starts(lab), len(time.pauses), debts_of(lab).owed()) == (1, 3, ())


def test_a_heal_that_stands_still_is_started_again() -> None:
    """It moved once, as on the lab, and then stayed at its last file."""
    lab, time = slow(left(1), left(1), left(1), left(1), left(0))
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (starts(lab), len(time.pauses), debts_of(lab).owed()) == (4, 5, ())


def test_a_heal_that_never_ends_is_looked_at_less_and_less_and_stays_owed() -> None:
    lab, time = slow()
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert debts_of(lab).owed() == (heal_debt(lab),)
    assert 1.0 <= time.pauses[0] <= 2.0
    assert max(time.pauses) <= 600.0
    assert len(time.pauses) < 25
    # The next payment, as after a start of the agent, goes on.
    left(0)(lab)
    lab.node(4).pay_debts()
    assert debts_of(lab).owed() == ()


def test_an_agent_that_ended_after_the_exchange_heals_after_its_next_start(tmp_path: Path) -> None:
    lab, _time = slow(left(0))
    tools = lab.node(4)._tools
    ended = Debts(tmp_path / "debts.json", lambda _work: None)
    lab.node(4)._tools = replace(tools, debts=ended)
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert json.loads((tmp_path / "debts.json").read_text(encoding="utf-8"))[0]["kind"] == "heal"
    assert starts(lab) == 0
    lab.node(4)._tools = replace(tools, debts=Debts(tmp_path / "debts.json"))
    assert debts_of(lab).owed() == (heal_debt(lab),)
    lab.node(4).pay_debts()
    assert (starts(lab), debts_of(lab).owed()) == (1, ())


def test_it_is_noted_before_the_exchange() -> None:
    lab = lab_of_four()
    seen: list[tuple[Debt, ...]] = []
    runner = lab.node(4)._tools.runner
    original = runner.run

    def run(argv: object, **named: object) -> object:
        if "replace-brick" in str(named.get("input")):
            seen.append(debts_of(lab).owed())
        return original(argv, **named)  # type: ignore[arg-type]

    runner.run = run  # type: ignore[method-assign, assignment]
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert seen == [(heal_debt(lab),)]


def test_a_repeated_exchange_is_healed_too() -> None:
    """The agent that made it may have been one that did not know of such debts."""
    lab, _time = slow(left(0), left(0))
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    left(1)(lab)
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (starts(lab), debts_of(lab).owed()) == (2, ())


def _delete(lab: Ready) -> None:
    lab.node(1).delete_volume(SOURCE, VOLUME_ID)


def _give_away(lab: Ready) -> None:
    volume_of(lab).options[ID_OPTION] = "0" * 32


def _stop(lab: Ready) -> None:
    volume_of(lab).status = 2


def _take_out(lab: Ready) -> None:
    volume_of(lab).bricks[1] = old_brick(lab)


@pytest.mark.parametrize("event", [_delete, _give_away, _stop, _take_out])
def test_where_nothing_is_to_be_healed_any_more_nothing_is_owed(event: Callable[[Ready], object]) -> None:
    lab, time = slow(left(1), event)
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (len(time.pauses), debts_of(lab).owed()) == (2, ())


def test_an_exchange_that_failed_leaves_nothing_to_heal() -> None:
    lab = lab_of_four()
    lab.fail("gluster volume replace-brick", stderr="it did not work", exit_code=1)
    with pytest.raises(InternalError, match="it did not work"):
        lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert debts_of(lab).owed() == ()


def test_a_heal_is_started_once_the_daemons_are_up_again() -> None:
    lab = dispersed_lab()
    timed(lab)
    said = "Staging failed on node2. Error: Self-heal daemon is not running. Check self-heal daemon log file."
    lab.fail("gluster volume heal", name="heal", stderr=said, exit_code=1, times=3)
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (lab.fleet.faults.hits("heal"), volume_of(lab).heals, debts_of(lab).owed()) == (3, 1, ())


def test_a_refused_heal_is_no_failure_and_is_tried_again() -> None:
    lab = dispersed_lab()
    timed(lab)
    lab.fail("gluster volume heal", name="heal", stderr="not now", exit_code=1)
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert (lab.fleet.faults.hits("heal"), volume_of(lab).heals, debts_of(lab).owed()) == (1, 1, ())
    assert new_brick(lab).new in bricks_of(lab)


def test_a_brick_that_does_not_answer_yet_is_waited_for() -> None:
    def back(lab: Ready) -> None:
        lab.simulated(3).daemon.reachable = True
        left(0)(lab)

    lab, _time = slow(lambda _lab: None, back)
    debts_of(lab).begin = lambda _work: None
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    # Watched from elsewhere: the debt is of a node that is away.
    away = Debt(DebtKind.HEAL, SOURCE, VOLUME_ID, old_brick(lab, 3))
    debts_of(lab).clear(heal_debt(lab))
    debts_of(lab).note(away)
    lab.simulated(3).daemon.reachable = False
    debts_of(lab).begin = lambda work: work()
    lab.node(4).pay_debts()
    assert (starts(lab), debts_of(lab).owed()) == (0, ())


def test_two_do_not_watch_the_same_heal() -> None:
    debts = Debts()
    debt = Debt(DebtKind.HEAL, SOURCE, VOLUME_ID, "host:/path")
    debts.note(debt)
    with debts.claim(debt) as mine, debts.claim(debt) as second:
        assert (mine, second) == (True, False)
    with debts.claim(debt) as mine:
        assert mine
    debts.clear(debt)
    with debts.claim(debt) as mine:
        assert not mine
