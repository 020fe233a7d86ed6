"""How well placement fills disks, and how fast it plans: `python tests/bench/placement.py [--quick]`.

No server and no network: the placement core is driven with a simulated life of clusters. Every seed is fixed and
printed, so that two runs differ in nothing but times. Tables go to stderr, one line of JSON to stdout. Nothing is
asserted; the aims are printed beside what was reached.

The life of the clusters: copies of three; sizes of 1 to 200 GiB, the small ones more often. `growth` creates until a
volume is refused although it may be split. `churn` creates and deletes at a level of fill, without splitting, and looks
every five steps whether a volume of 200 GiB would find a place.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import (
    BrickLimits,
    Durability,
    Inventory,
    InventoryDevice,
    InventoryNode,
    Placement,
    VolumeRequest,
    ZoneRule,
)
from services.allocator.domain.planner import explain_volume, find_placement
from services.common.units import GIB, TIB

STRATEGIES = ("ring", "spread")
REPLICA_3 = Durability.replicate(3)
# What people ask for, in GiB, and how often.
SIZES = (1, 5, 10, 20, 50, 100, 200)
WEIGHTS = (10, 20, 25, 20, 15, 7, 3)
LARGE = 200
MARKS = (25, 50, 75, 90)
UNSPLIT = BrickLimits(max_bricks_per_volume=3)
# So many refusals in a row: the level can not be reached.
_GIVE_UP = 200


@dataclass(frozen=True, slots=True)
class Topology:
    """A cluster to begin with: the zone of each node, its four disks, and what is on them already.

    `draw_seed` None gives every node the same disks; else each disk is drawn from the sizes with that seed, so that
    nodes and zones differ too.
    """

    name: str
    zones: tuple[int, ...]
    disks_gib: tuple[int, ...]
    zone_rule: ZoneRule
    grown: bool = False
    draw_seed: int | None = None

    def inventory(self) -> Inventory:
        """The cluster; of a grown one every second device is 70 % full."""
        nodes = tuple(InventoryNode(f"n{i:04}", zone, hostname=f"n{i:04}") for i, zone in enumerate(self.zones))
        devices = []
        rng = random.Random(self.draw_seed)
        for node in nodes:
            drawn = [rng.choice(self.disks_gib) for _ in self.disks_gib]
            for number, size in enumerate(self.disks_gib if self.draw_seed is None else drawn):
                total = size * GIB
                used = total * 7 // 10 if self.grown and number % 2 else 0
                devices.append(InventoryDevice(f"{node.id}/{number}", node.id, total, total - used))
        return Inventory("bench", 1, nodes, tuple(devices))


_EQUAL = tuple(i % 3 + 1 for i in range(12))
_UNEQUAL = (1,) * 6 + (2,) * 4 + (3,) * 2
_FOUR_UNEQUAL = (1,) * 6 + (2,) * 4 + (3,) * 2 + (4,) * 2
_SAME, _MIXED = (1000,) * 4, (500, 1000, 2000, 4000)
# Of this draw the smallest zone has 28.6 % of the space: with strict zones and three copies 85.7 % can be used at most.
_DRAW = 7
# Which topologies churn, and at which fill in percent. The last of each is near what can be used at all.
CHURN = (
    ("homogeneous", (80, 90)),
    ("mixed", (80, 90, 95)),
    ("mixed, drawn", (80, 90)),
    ("mixed, drawn, strict", (80, 82)),
)
SPEEDS = ((12, 4), (60, 8), (400, 12), (1000, 36))
TOPOLOGIES = (
    Topology("homogeneous", _EQUAL, _SAME, ZoneRule.NONE),
    Topology("mixed", _EQUAL, _MIXED, ZoneRule.NONE),
    Topology("mixed, drawn", _EQUAL, _MIXED, ZoneRule.NONE, draw_seed=_DRAW),
    Topology("mixed, drawn, strict", _EQUAL, _MIXED, ZoneRule.STRICT, draw_seed=_DRAW),
    Topology("half-grown", _EQUAL, _SAME, ZoneRule.NONE, grown=True),
    Topology("zones of 6, 4, 2 nodes", _UNEQUAL, _MIXED, ZoneRule.NONE),
    Topology("zones of 6, 4, 2 nodes, strict", _UNEQUAL, _MIXED, ZoneRule.STRICT),
    Topology("zones of 6, 4, 2, 2 nodes, strict", _FOUR_UNEQUAL, _MIXED, ZoneRule.STRICT),
)


@dataclass(slots=True)
class Cluster:
    """A cluster that lives: volumes come and go, and the books are kept as topology keeps them."""

    index: PlacementIndex
    volumes: list[Placement] = field(default_factory=list)
    node_sets: Counter[frozenset[str]] = field(default_factory=Counter)
    ever: set[frozenset[str]] = field(default_factory=set)

    @classmethod
    def of(cls, topology: Topology) -> "Cluster":
        """A cluster without volumes."""
        return cls(PlacementIndex(topology.inventory()))

    def add(self, placement: Placement) -> None:
        """Books a volume."""
        self.volumes.append(placement)
        for brick_set in placement.sets:
            self.node_sets[brick_set.node_ids] += 1
            self.ever.add(brick_set.node_ids)
        self._book(placement, -1)

    def remove(self, number: int) -> None:
        """Gives a volume up."""
        self.volumes[number], self.volumes[-1] = self.volumes[-1], self.volumes[number]
        placement = self.volumes.pop()
        for brick_set in placement.sets:
            self.node_sets[brick_set.node_ids] -= 1
            if not self.node_sets[brick_set.node_ids]:
                del self.node_sets[brick_set.node_ids]
        self._book(placement, 1)

    def _book(self, placement: Placement, sign: int) -> None:
        moved: Counter[str] = Counter()
        for brick in placement.bricks:
            moved[brick.device_id] += brick.needed_bytes
        devices = [
            replace(self.index.devices[i], free_bytes=self.index.devices[i].free_bytes + sign * size)
            for i, size in moved.items()
        ]
        known = frozenset(self.node_sets)
        self.index = self.index.with_changes(self.index.revision + 1, devices, known)

    def fill(self) -> float:
        """Used share of all disks together, 0..1."""
        total = sum(device.total_bytes for device in self.index.devices.values())
        return 1 - sum(device.free_bytes for device in self.index.devices.values()) / total

    def fills(self) -> list[float]:
        """Used share of each disk in percent."""
        return [100 - 100 * device.free_bytes / device.total_bytes for device in self.index.devices.values()]


def requests(
    topology: Topology, strategy: str, rng: random.Random, limits: BrickLimits | None = None
) -> Iterator[VolumeRequest]:
    """An endless stream of volumes."""
    while True:
        (size,) = rng.choices(SIZES, WEIGHTS)
        yield VolumeRequest(
            size * GIB,
            REPLICA_3,
            zone_rule=topology.zone_rule,
            strategy=strategy,
            seed=f"{rng.random()}",
            limits=limits or BrickLimits(),
        )


def growth(topology: Topology, strategy: str, seed: int) -> dict[str, float]:
    """Creates only, until the first volume is refused although it may be split."""
    cluster, rng = Cluster.of(topology), random.Random(seed)
    total = sum(device.total_bytes for device in cluster.index.devices.values())
    used = cluster.fill() * total
    found: dict[str, float] = {}
    marks = [mark for mark in MARKS if mark / 100 > cluster.fill()]
    bricks = plans = 0
    for request in requests(topology, strategy, rng):
        placement = find_placement(cluster.index, request)
        if len(placement.sets if placement else ()) != 1:
            found.setdefault("first_split", 100 * used / total)
        if placement is None:
            break
        cluster.add(placement)
        plans += 1
        bricks += len(placement.bricks)
        used += sum(brick.needed_bytes for brick in placement.bricks)
        while marks and used / total >= marks[0] / 100:
            fills = cluster.fills()
            found[f"sd{marks[0]}"] = statistics.pstdev(fills)
            found[f"range{marks[0]}"] = max(fills) - min(fills)
            marks.pop(0)
    found["first_refusal"] = 100 * used / total
    found["node_sets"] = len(cluster.ever)
    found["bricks_per_volume"] = bricks / max(plans, 1)
    return found


def churn(
    topology: Topology, strategy: str, seed: int, *, level: float, limits: BrickLimits, steps: int
) -> dict[str, float]:
    """Creates and deletes at a level of fill: how many large creates are refused, and how many of all."""
    cluster, rng = Cluster.of(topology), random.Random(seed)
    total = sum(device.total_bytes for device in cluster.index.devices.values())
    used, misses, step, reached = 0, 0, -steps // 2, False
    asked: Counter[bool] = Counter()
    refused: Counter[bool] = Counter()
    deviations: list[float] = []
    for request in requests(topology, strategy, rng, limits):
        full = used > level * total
        while used > level * total:
            number = rng.randrange(len(cluster.volumes))
            used -= sum(brick.needed_bytes for brick in cluster.volumes[number].bricks)
            cluster.remove(number)
        placement = find_placement(cluster.index, request)
        if placement is not None:
            cluster.add(placement)
            used += sum(brick.needed_bytes for brick in placement.bricks)
        misses = misses + 1 if placement is None else 0
        reached = reached or full
        # A third of the steps goes by uncounted: most volumes have been replaced by then.
        step += reached
        if step >= steps or misses > _GIVE_UP:
            break
        if step > 0:
            asked[False] += 1
            refused[False] += placement is None
            if step % 5 == 0:
                # A look only: creates of this size are too rare to be counted one by one.
                large = replace(request, size_bytes=LARGE * GIB)
                asked[True] += 1
                refused[True] += find_placement(cluster.index, large) is None
            if step % 50 == 0:
                deviations.append(statistics.pstdev(cluster.fills()))
    return {
        "large": asked[True],
        "large_refused": refused[True],
        "all": asked[False],
        "all_refused": refused[False],
        "sd": statistics.fmean(deviations) if deviations else 0.0,
        "node_sets": len(cluster.node_sets),
    }


def speed(nodes: int, disks: int, strategy: str, plans: int) -> dict[str, float]:
    """Microseconds of a plan on a warm index, of an update after it, and of a refusal with its reasons."""
    rng = random.Random(nodes)
    topology = Topology("speed", tuple(i % 8 + 1 for i in range(nodes)), _MIXED, ZoneRule.NONE)
    base = topology.inventory()
    devices = []
    for node in base.nodes:
        for number in range(disks):
            total = rng.choice(_MIXED) * GIB
            free = int(total * rng.uniform(0.1, 0.9)) // (4 << 20) * (4 << 20)
            devices.append(InventoryDevice(f"{node.id}/{number}", node.id, total, free))
    names = [node.id for node in base.nodes]
    known = tuple(frozenset(rng.sample(names, 3)) for _ in range(nodes))
    started = time.perf_counter()
    cluster = Cluster(PlacementIndex(Inventory("bench", 1, base.nodes, tuple(devices), known)))
    stream = requests(topology, strategy, rng)
    find_placement(cluster.index, next(stream))
    built = time.perf_counter() - started
    cluster.node_sets.update(cluster.index.node_sets)
    planned: list[float] = []
    updated: list[float] = []
    for _ in range(plans):
        request = next(stream)
        started = time.perf_counter()
        placement = find_placement(cluster.index, request)
        planned.append(1e6 * (time.perf_counter() - started))
        if placement is not None:
            started = time.perf_counter()
            cluster.add(placement)
            updated.append(1e6 * (time.perf_counter() - started))
    # No disk has so much left.
    impossible = VolumeRequest(4 * TIB, REPLICA_3, limits=UNSPLIT, strategy=strategy)
    started = time.perf_counter()
    explained = explain_volume(cluster.index, impossible)
    return {
        "devices": nodes * disks,
        "build_ms": 1e3 * built,
        "plan_p50_us": statistics.median(planned),
        "plan_p99_us": sorted(planned)[int(0.99 * len(planned))],
        "update_p50_us": statistics.median(updated),
        "refusal_ms": 1e3 * (time.perf_counter() - started),
        "refusal_reasons": len(explained.devices),
    }


def mean_of(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the runs that have it."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return {key: statistics.fmean(run[key] for run in runs if key in run) for key in keys}


def share(runs: Sequence[dict[str, float]], part: str, whole: str) -> float:
    """A sum as a percentage of another; 0 where there is nothing."""
    total = sum(run[whole] for run in runs)
    return 100 * sum(run[part] for run in runs) / total if total else 0.0


def show(line: str) -> None:
    """One line of a table, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def measure_growth(seeds: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """Every topology with every strategy."""
    show(f"\ngrowth to the first refusal, {len(seeds)} seeds {seeds[0]}..{seeds[-1]}; fill in percent of the space")
    marks = "".join(f"{f'sd/range {mark}':>14}" for mark in MARKS)
    show(f"{'topology':34}{'strategy':9}{marks}{'split at':>10}{'refused at':>11}{'node sets':>10}{'bricks/vol':>11}")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for topology in TOPOLOGIES:
        for strategy in STRATEGIES:
            figures = mean_of([growth(topology, strategy, seed) for seed in seeds])
            found.setdefault(topology.name, {})[strategy] = figures
            cells = "".join(
                f"{figures[f'sd{mark}']:8.1f}/{figures[f'range{mark}']:5.1f}"
                if f"sd{mark}" in figures
                else f"{'-':>14}"
                for mark in MARKS
            )
            show(
                f"{topology.name:34}{strategy:9}{cells}{figures['first_split']:10.1f}{figures['first_refusal']:11.1f}"
                f"{figures['node_sets']:10.1f}{figures['bricks_per_volume']:11.2f}"
            )
    return found


def measure_churn(seeds: Sequence[int], steps: int) -> dict[str, dict[str, dict[str, float]]]:
    """The topologies that churn, at their levels, with every strategy."""
    show(f"\nchurn, {steps} steps, {len(seeds)} seeds {seeds[0]}..{seeds[-1]}; unsplit; refused in percent")
    show(f"{'topology':34}{'strategy':9}{'level':>6}{'of 200 GiB':>12}{'of all':>8}{'sd':>7}{'node sets':>11}")
    found: dict[str, dict[str, dict[str, float]]] = {}
    by_name = {topology.name: topology for topology in TOPOLOGIES}
    for name, levels in CHURN:
        for level in levels:
            for strategy in STRATEGIES:
                runs = [
                    churn(by_name[name], strategy, seed, level=level / 100, limits=UNSPLIT, steps=steps)
                    for seed in seeds
                ]
                figures = {
                    "large_refused": share(runs, "large_refused", "large"),
                    "all_refused": share(runs, "all_refused", "all"),
                    "sd": mean_of(runs)["sd"],
                    "node_sets": mean_of(runs)["node_sets"],
                    "looks": sum(run["large"] for run in runs),
                }
                found.setdefault(f"{name} at {level} %", {})[strategy] = figures
                show(
                    f"{name:34}{strategy:9}{level:5}%{figures['large_refused']:12.2f}{figures['all_refused']:8.2f}"
                    f"{figures['sd']:7.1f}{figures['node_sets']:11.1f}"
                )
    return found


def measure_speed(plans: int) -> dict[str, dict[str, dict[str, float]]]:
    """Every size of cluster with every strategy."""
    show(f"\ntimes, {plans} plans each, warm; update: what a new volume costs the index; refusal: with all reasons")
    heads = f"{'plan p50 us':>13}{'p99 us':>10}{'update us':>11}{'refusal ms':>12}{'build ms':>10}"
    show(f"{'devices':>8} {'strategy':9}{heads}")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for nodes, disks in SPEEDS:
        for strategy in STRATEGIES:
            figures = speed(nodes, disks, strategy, plans)
            found.setdefault(str(nodes * disks), {})[strategy] = figures
            show(
                f"{nodes * disks:8} {strategy:9}{figures['plan_p50_us']:13.0f}{figures['plan_p99_us']:10.0f}"
                f"{figures['update_p50_us']:11.0f}{figures['refusal_ms']:12.1f}{figures['build_ms']:10.1f}"
            )
    return found


def show_aims(
    grown: dict[str, dict[str, dict[str, float]]],
    churned: dict[str, dict[str, dict[str, float]]],
    times: dict[str, dict[str, dict[str, float]]],
) -> None:
    """What was aimed at, and what was reached."""
    mixed, largest = grown["mixed"], times[str(SPEEDS[-1][0] * SPEEDS[-1][1])]
    lines = (
        ("mixed disks, 80 % churn", "mixed at 80 %"),
        ("mixed disks, strict zones, 80 % churn", "mixed, drawn, strict at 80 %"),
        ("mixed disks, strict zones, 82 % churn, which is 96 % of what can be used", "mixed, drawn, strict at 82 %"),
    )
    show("\naim: ring -> spread")
    for text, key in lines:
        ring, spread = (churned[key][strategy]["large_refused"] for strategy in STRATEGIES)
        show(f"  {text}, refused 200 GiB <= 1 %: {ring:.2f} -> {spread:.2f}")
    show(f"  mixed disks, deviation at half full <= 3: {mixed['ring']['sd50']:.1f} -> {mixed['spread']['sd50']:.1f}")
    for name in ("mixed", "mixed, drawn", "mixed, drawn, strict"):
        ring, spread = (grown[name][strategy]["node_sets"] for strategy in STRATEGIES)
        show(f"  {name}: node sets <= a quarter of ring's {ring:.0f}: {spread:.0f} ({100 * spread / ring:.0f} %)")
    show(f"  plan for {SPEEDS[-1][0] * SPEEDS[-1][1]} devices < 5000 us warm: {largest['spread']['plan_p50_us']:.0f}")


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few seeds and steps, in a few seconds")
    quick = parser.parse_args().quick
    seeds = range(2) if quick else range(10)
    churn_seeds, steps = (range(1), 300) if quick else (range(3), 1000)
    grown = measure_growth(seeds)
    churned = measure_churn(churn_seeds, steps)
    times = measure_speed(50 if quick else 200)
    show_aims(grown, churned, times)
    figures = {"bench": "placement", "draw_seed": _DRAW, "seeds": list(seeds), "churn_seeds": list(churn_seeds)}
    print(json.dumps({**figures, "steps": steps, "growth": grown, "churn": churned, "speed": times}))


if __name__ == "__main__":
    main()
