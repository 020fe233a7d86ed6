"""Two lives of a cluster: it grows until a volume is refused, or volumes come and go at a level of fill."""

import random
import statistics
from collections import Counter
from dataclasses import replace

from services.allocator.domain.model import BrickLimits
from services.allocator.domain.planner import find_placement
from services.common.units import GIB
from tests.bench.clusters import Cluster, Topology, requests

LARGE = 200
MARKS = (25, 50, 75, 90)
# So many refusals in a row: the level can not be reached.
_GIVE_UP = 200


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
    used = cluster.fill() * total
    misses, step, reached = 0, -steps // 2, False
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
