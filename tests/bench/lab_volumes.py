"""The life of volumes on the lab's real nodes: Brickyard through REST beside the same work typed by hand.

    python -m tests.bench.lab_volumes --rounds 5
    python -m tests.bench.lab_volumes --rounds 3 --at-once 4 --only create,delete --json figures.json --steps

Root, and a machine that can run the lab. The two take turns in one run, and swap who goes first, because a machine's
mood changes by the minute; a ratio is of two neighbours. It measures and judges nothing.

"expand" is over when the volume is larger. Whoever types goes on and starts to move data, for which gluster takes
ten more seconds; Brickyard's agent does so after its answer. "expand+move" counts these seconds for the one who types,
and is what Heketi lets its clients wait for. "clone" is over when the copy is started; "clone+clean" counts for the one
who types the removal of the snapshot too. Before the next turn, all is let come to rest.

A standing volume keeps the self-heal daemons running, as in a cluster in use. Without one (--standing 0) glusterd
starts them at each volume start, and sleeps for a second twice while it does so, whoever gives the command.
"""

import argparse
import json
import os
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from compose.lab.errors import CannotRunHereError
from compose.lab.waiting import wait_until
from compose.stack import Stack, StackConfig
from gateway.cli.topology_file import read_topology
from gateway.cli.topology_load import failures_of, load_topology
from tests.bench.by_hand import ByHand, HandStep, HandVolume
from tests.bench.through_rest import Brickyard, Step

_GIB = 1 << 30
_EXIT_CANNOT_RUN = 3
_NODES = 3
_ID = re.compile(r"[0-9a-f]{32}")
ACTIONS = ("create", "clone", "clone+clean", "expand", "expand+move", "delete")
# Words of `volume rebalance status` for a node that is not done.
_MOVING = re.compile(r"in progress|not started")
_SETTLED_WITHIN_S = 120.0

Ours = TypeVar("Ours")
Hands = TypeVar("Hands")


@dataclass(frozen=True, slots=True)
class Turn:
    """One measured round.

    Attributes:
        action: What was done.
        brickyard_s: Seconds from the request to the answer that it is done.
        by_hand_s: Seconds from the first command to the end of the last.
    """

    action: str
    brickyard_s: float
    by_hand_s: float

    @property
    def ratio(self) -> float:
        """Below 1 means that Brickyard was faster."""
        return self.brickyard_s / self.by_hand_s


def timed(work: Callable[[], Ours]) -> tuple[float, Ours]:
    """Runs `work`; seconds, and what it returned."""
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


def at_once(works: Sequence[Callable[[], Ours]]) -> list[Ours]:
    """Runs all side by side, and returns what they returned when the last has ended."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(work) for work in works]]


class Bench:
    """The turns, and the steps of the last one."""

    def __init__(self, stack: Stack, hand: ByHand, *, size_gib: int, count: int) -> None:
        self._stack = stack
        self._ours = Brickyard(stack)
        self._hand = hand
        self._size_gib = size_gib
        self._count = count
        self._we_go_first = False
        self.steps: dict[str, list[Step]] = {}

    def round(self, actions: Collection[str]) -> list[Turn]:
        """One round of some of ACTIONS; what others need is done without being measured."""
        self._we_go_first = not self._we_go_first
        ids, volumes, create = self._pair(
            "create",
            lambda: at_once([lambda: self._ours.create(self._size_gib)] * self._count),
            lambda: at_once([lambda: self._hand.create(self._size_gib)] * self._count),
        )
        turns = [create]
        if {"clone", "clone+clean"} & set(actions):
            turns += self._clone(ids, volumes)
        if {"expand", "expand+move"} & set(actions):
            turns += self._expand(ids, volumes)
        _none, _nothing, delete = self._pair(
            "delete",
            lambda: at_once([partial(self._ours.delete, volume) for volume in ids]),
            lambda: at_once([partial(self._hand.delete, volume) for volume in volumes]),
        )
        return [turn for turn in [*turns, delete] if turn.action in actions]

    def _clone(self, ids: list[str], volumes: list[HandVolume]) -> list[Turn]:
        ours, hands, turn = self._pair(
            "clone+clean",
            lambda: at_once([partial(self._ours.clone, volume) for volume in ids]),
            lambda: at_once([partial(self._hand.clone, volume) for volume in volumes]),
            (self._await_no_snapshots, lambda: None),
        )
        for mine in ours:
            self._ours.delete(mine)
        for copy in hands:
            self._hand.delete_copy(copy)
        started = max(step.ended_s for step in self.steps["clone+clean by hand"] if step.name == "start")
        return [replace(turn, action="clone", by_hand_s=started), turn]

    def _expand(self, ids: list[str], volumes: list[HandVolume]) -> list[Turn]:
        """On volumes of its own, so that those of `delete` have one brick a node."""
        mine, typed = self._ours.create(self._size_gib), self._hand.create(self._size_gib)
        _none, grown, turn = self._pair(
            "expand+move",
            lambda: self._ours.expand(mine, self._size_gib),
            lambda: self._hand.expand(typed),
            (lambda: self._settle(self._ours.name(mine)), lambda: self._settle(typed.name)),
        )
        larger = next(step.ended_s for step in self.steps["expand+move by hand"] if step.name == "add-brick")
        self._ours.delete(mine)
        self._hand.delete(grown)
        return [replace(turn, action="expand", by_hand_s=larger), turn]

    def _pair(
        self,
        what: str,
        ours: Callable[[], Ours],
        hand: Callable[[], Hands],
        settle: tuple[Callable[[], None], Callable[[], None]] = (lambda: None, lambda: None),
    ) -> tuple[Ours, Hands, Turn]:
        """Both sides, one after the other."""
        results: dict[str, Any] = {}

        def run_ours() -> float:
            began = time.time()
            seconds, results["ours"] = timed(ours)
            self._note(f"{what} by Brickyard", began, self._ours.steps(began))
            settle[0]()
            return seconds

        def run_hand() -> float:
            began = time.time()
            seconds, results["hand"] = timed(hand)
            self._note(f"{what} by hand", began, _hand_steps(self._hand.take_steps(), began))
            settle[1]()
            return seconds

        if self._we_go_first:
            our_s, hand_s = run_ours(), run_hand()
        else:
            hand_s, our_s = run_hand(), run_ours()
        return results["ours"], results["hand"], Turn(what, our_s, hand_s)

    def _note(self, what: str, began: float, steps: list[Step]) -> None:
        self.steps[what] = [*steps, Step("all", "the whole", 0.0, round(time.time() - began, 3))]

    def _await_no_snapshots(self) -> None:
        """Waits until the snapshots are gone that copies were made of."""
        node = self._stack.running_lab().nodes[0]

        def gone() -> bool:
            return "No snapshots" in node.run(["gluster", "--mode=script", "snapshot", "list"]).stdout

        wait_until(gone, seconds=_SETTLED_WITHIN_S, what="the snapshots to be gone")

    def _settle(self, name: str) -> None:
        """Waits until the data of an enlarged volume was moved on all nodes."""
        node = self._stack.running_lab().nodes[0]

        def moved() -> bool:
            done = node.run(["gluster", "--mode=script", "volume", "rebalance", name, "status"])
            told = done.returncode == 0 and f"volume rebalance: {name}: success" in done.stdout
            return told and not _MOVING.search(done.stdout)

        wait_until(moved, seconds=_SETTLED_WITHIN_S, what=f"the data of {name} to be moved")


def _hand_steps(steps: Iterable[HandStep], since: float) -> list[Step]:
    found = [Step(step.node, step.name, round(step.began - since, 3), round(step.ended - since, 3)) for step in steps]
    return sorted(found, key=lambda step: step.began_s)


def places(stack: Stack) -> list[tuple[Any, str]]:
    """Each node with the volume group that Brickyard made of its disk."""
    found = []
    for node in stack.running_lab().nodes:
        groups = node.run(["lvm", "vgs", "--noheadings", "-o", "vg_name"], check=True).stdout.split()
        found.append((node, groups[0]))
    return found


def summary(turns: Sequence[Turn]) -> dict[str, Any]:
    """Median, least and most of each side and of the ratio, pair by pair."""
    sides = {
        "brickyard_s": [turn.brickyard_s for turn in turns],
        "by_hand_s": [turn.by_hand_s for turn in turns],
        "ratio": [turn.ratio for turn in turns],
    }
    return {
        side: {
            "median": round(statistics.median(values), 3),
            "min": round(min(values), 3),
            "max": round(max(values), 3),
            "each": [round(value, 3) for value in values],
        }
        for side, values in sides.items()
    }


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'':11} {'':13} {'median':>8} {'min':>8} {'max':>8}   each"]
    for action, sides in figures["actions"].items():
        for side, values in sides.items():
            each = " ".join(f"{value:.2f}" for value in values["each"])
            cells = " ".join(f"{values[key]:8.2f}" for key in ("median", "min", "max"))
            lines.append(f"{action:11} {side:13} {cells}   {each}")
    return "\n".join(lines)


def steps_table(steps: dict[str, list[Step]]) -> str:
    """The last round, command by command."""
    lines = []
    for what, found in steps.items():
        lines.append(f"\n{what}")
        for step in found:
            name = _ID.sub("ID", step.name)
            lines.append(f"  {step.began_s:7.2f} {step.ended_s - step.began_s:+6.2f} s  {step.node:6} {name}")
    return "\n".join(lines)


def run(stack: Stack, arguments: argparse.Namespace) -> tuple[dict[str, Any], Bench]:
    """All rounds on a stack that is up; returns the figures, and the bench with the steps of the last round."""
    with stack.rest() as client:
        items = load_topology(client, read_topology(stack.write_topology_file()), lambda _line: None)
    if failures_of(items):
        raise RuntimeError(f"{failures_of(items)} nodes or devices could not be added")
    for _ in range(arguments.standing):
        Brickyard(stack).create(arguments.size_gib)
    actions = [action for action in ACTIONS if action in arguments.only]
    bench = Bench(stack, ByHand(places(stack)), size_gib=arguments.size_gib, count=arguments.at_once)
    for _ in range(arguments.warm_up):
        bench.round(actions)
    turns: list[Turn] = []
    for number in range(1, arguments.rounds + 1):
        new = bench.round(actions)
        turns += new
        said = ", ".join(f"{turn.action} {turn.brickyard_s:.2f} : {turn.by_hand_s:.2f} s" for turn in new)
        print(f"round {number}: {said}", file=sys.stderr, flush=True)
    figures = {
        "bench": "lab_volumes",
        "what": f"{arguments.at_once} x {arguments.size_gib} GiB, replica {_NODES}, on {_NODES} User-mode Linux nodes",
        "standing": arguments.standing,
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "actions": {action: summary([turn for turn in turns if turn.action == action]) for action in actions},
    }
    return figures, bench


def _actions(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if not set(chosen) <= set(ACTIONS):
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {','.join(ACTIONS)}")
    return chosen


def main() -> int:
    """Boots a lab, measures, prints a table and JSON; 3 = the lab cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before, not counted (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=1, help="volumes side by side (default: %(default)s)")
    parser.add_argument("--only", type=_actions, default=ACTIONS, help=f"some of {','.join(ACTIONS)} (default: all)")
    parser.add_argument("--standing", type=int, default=1, help="volumes that are there already (default: %(default)s)")
    parser.add_argument("--size-gib", type=int, default=1, help="size of a volume (default: %(default)s)")
    parser.add_argument("--disk-gib", type=int, default=32, help="size of each node's disk (default: %(default)s)")
    parser.add_argument("--steps", action="store_true", help="print the commands of the last round, with their times")
    parser.add_argument("--json", type=Path, help="write the figures, with these steps, to a file too")
    arguments = parser.parse_args()
    # Whoever ends it with SIGTERM wants the nodes gone too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config = StackConfig(name="brickyard-bench", nodes=_NODES, disk_bytes=arguments.disk_gib * _GIB)
    try:
        with Stack.up(config) as stack:
            figures, bench = run(stack, arguments)
    except CannotRunHereError as error:
        print(f"lab_volumes: the lab cannot run here: {error}", file=sys.stderr)
        return _EXIT_CANNOT_RUN
    if arguments.steps:
        print(steps_table(bench.steps), file=sys.stderr)
    print(table(figures), file=sys.stderr)
    print(json.dumps(figures))
    if arguments.json is not None:
        steps = {what: [asdict(step) for step in found] for what, found in bench.steps.items()}
        arguments.json.write_text(json.dumps({**figures, "steps": steps}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
