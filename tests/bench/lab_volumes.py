"""Create and delete of volumes on the lab's real nodes: Brickyard through REST beside the same work typed by hand.

    python -m tests.bench.lab_volumes --rounds 5
    python -m tests.bench.lab_volumes --rounds 3 --at-once 4 --json figures.json --steps

Root, and a machine that can run the lab. The two take turns in one run, because a machine's mood changes by the minute;
a ratio is of two neighbours. It measures and judges nothing.

A standing volume keeps the self-heal daemons running, as in a cluster in use. Without one (--standing 0) glusterd
starts them at each volume start, and sleeps for a second twice while it does so, whoever gives the command.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from compose.lab.errors import CannotRunHereError
from compose.stack import Stack, StackConfig
from gateway.cli.rest_client import RestClient, RestError
from gateway.cli.topology_load import load_topology, read_topology
from tests.bench.by_hand import ByHand, HandStep, HandVolume

_POLL_S = 0.1
_GIB = 1 << 30
_EXIT_CANNOT_RUN = 3
_NODES = 3
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Turn:
    """One measured round.

    Attributes:
        action: "create" or "delete".
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


@dataclass(frozen=True, slots=True)
class Step:
    """A command on a node, in seconds after the request."""

    node: str
    name: str
    began_s: float
    ended_s: float


class Brickyard:
    """Makes and removes volumes as a REST client does, asking for the result more often than clients do."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def create(self, size_gib: int) -> str:
        """Makes a volume and returns its id."""
        body = {"size": size_gib, "durability": {"type": "replicate", "replicate": {"replica": _NODES}}}
        with self._stack.rest() as client:
            location = _follow(client, client.request("POST", "/volumes", body))
            return location.rpartition("/")[2]

    def delete(self, volume_id: str) -> None:
        """Removes a volume."""
        with self._stack.rest() as client:
            _follow(client, client.request("DELETE", f"/volumes/{volume_id}"))


def _follow(client: RestClient, answer: Any) -> str:
    """Asks the queue until the operation has ended; returns where its result is, empty when there is none."""
    if answer.status_code != 202:
        raise RestError(answer.status_code, answer.text.strip())
    queue = answer.headers["Location"]
    while True:
        answer = client.request("GET", queue)
        if answer.status_code in (303, 204):
            return str(answer.headers.get("Location", ""))
        if answer.status_code != 200:
            raise RestError(answer.status_code, answer.text.strip())
        # The protocol has no long poll: that is how its clients learn of the end.
        time.sleep(_POLL_S)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Runs `work`; seconds, and what it returned."""
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


def at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
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
        self.steps: dict[str, list[Step]] = {}

    def round(self) -> list[Turn]:
        """One round: ours and by hand, create and delete of each."""
        began = time.time()
        our_create_s, ids = timed(lambda: at_once([lambda: self._ours.create(self._size_gib)] * self._count))
        self._note("create by Brickyard", began, self._agent_steps(began))
        began = time.time()
        our_delete_s, _ = timed(lambda: at_once([_deletion(self._ours.delete, volume) for volume in ids]))
        self._note("delete by Brickyard", began, self._agent_steps(began))
        began = time.time()
        hand_create_s, volumes = timed(lambda: at_once([lambda: self._hand.create(self._size_gib)] * self._count))
        self._note("create by hand", began, _hand_steps(self._hand.take_steps(), began))
        began = time.time()
        hand_delete_s, _ = timed(lambda: at_once([_deletion(self._hand.delete, volume) for volume in volumes]))
        self._note("delete by hand", began, _hand_steps(self._hand.take_steps(), began))
        return [Turn("create", our_create_s, hand_create_s), Turn("delete", our_delete_s, hand_delete_s)]

    def _note(self, what: str, began: float, steps: list[Step]) -> None:
        self.steps[what] = [*steps, Step("all", "the whole", 0.0, round(time.time() - began, 3))]

    def _agent_steps(self, since: float) -> list[Step]:
        """What the agents' logs tell of the commands they ran since then."""
        found = []
        for node in self._stack.running_lab().nodes:
            text = (node.log_directory / "brickyard-agent.log").read_text(encoding="utf-8", errors="replace")
            found += [step for line in text.splitlines() if (step := agent_step(node.name, line, since)) is not None]
        return sorted(found, key=lambda step: step.began_s)


def _deletion(delete: Callable[[Any], None], volume: str | HandVolume) -> Callable[[], None]:
    return lambda: delete(volume)


def agent_step(node: str, line: str, since: float) -> Step | None:
    """A line of an agent's log as a step; None when it is no command, or an earlier one."""
    if '"command.run"' not in line:
        return None
    entry = json.loads(line)
    ended = datetime.fromisoformat(entry["timestamp"]).timestamp() - since
    began = ended - entry["duration_s"]
    words = [word for word in entry["argv"][:5] if not word.startswith("-")]
    # A node's clock may be some milliseconds off, so that a command seems to begin before the request.
    return Step(node, " ".join(words[:2]), round(began, 3), round(ended, 3)) if ended > 0 else None


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
    lines = [f"{'':8} {'':13} {'median':>8} {'min':>8} {'max':>8}   each"]
    for action, sides in figures["actions"].items():
        for side, values in sides.items():
            each = " ".join(f"{value:.2f}" for value in values["each"])
            cells = " ".join(f"{values[key]:8.2f}" for key in ("median", "min", "max"))
            lines.append(f"{action:8} {side:13} {cells}   {each}")
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
        failures = load_topology(client, read_topology(stack.write_topology_file()), lambda _line: None)
    if failures:
        raise RuntimeError(f"{failures} nodes or devices could not be added")
    for _ in range(arguments.standing):
        Brickyard(stack).create(arguments.size_gib)
    bench = Bench(stack, ByHand(places(stack)), size_gib=arguments.size_gib, count=arguments.at_once)
    for _ in range(arguments.warm_up):
        bench.round()
    turns: list[Turn] = []
    for number in range(1, arguments.rounds + 1):
        turns += bench.round()
        said = ", ".join(f"{turn.action} {turn.brickyard_s:.2f} : {turn.by_hand_s:.2f} s" for turn in turns[-2:])
        print(f"round {number}: {said}", file=sys.stderr, flush=True)
    figures = {
        "bench": "lab_volumes",
        "what": f"{arguments.at_once} x {arguments.size_gib} GiB, replica {_NODES}, on {_NODES} User-mode Linux nodes",
        "standing": arguments.standing,
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "actions": {action: summary([t for t in turns if t.action == action]) for action in ("create", "delete")},
    }
    return figures, bench


def main() -> int:
    """Boots a lab, measures, prints a table and JSON; 3 = the lab cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before, not counted (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=1, help="volumes side by side (default: %(default)s)")
    parser.add_argument("--standing", type=int, default=1, help="volumes that are there already (default: %(default)s)")
    parser.add_argument("--size-gib", type=int, default=1, help="size of a volume (default: %(default)s)")
    parser.add_argument("--disk-gib", type=int, default=8, help="size of each node's disk (default: %(default)s)")
    parser.add_argument("--steps", action="store_true", help="print the commands of the last round, with their times")
    parser.add_argument("--json", type=Path, help="write the figures, with these steps, to a file too")
    arguments = parser.parse_args()
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
