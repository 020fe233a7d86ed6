"""The default placement: even fill first, room for large volumes later, few different node sets always.

Every device has a cost. Up to the threshold it is the fill ratio after placement, so the emptiest is cheapest. Beyond
it the device ranks behind all others, and there the one with the least left over is cheapest (best fit), which keeps
large holes whole. The cheapest device per node, and per zone the cheapest node, give the best single set; zones repeat
in a set only when all have been used.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from heapq import heapify, heappop, heappush, heapreplace
from itertools import combinations
from typing import TYPE_CHECKING

from services.allocator.domain.model import BrickRole, InventoryDevice
from services.allocator.domain.splitting import SplitRule
from services.allocator.domain.strategies.candidates import Pick, Scale, cheapest_on_node, in_zones

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from services.allocator.domain.strategies.base import SetJob
# Cost, device id, number of the stream: what ties are broken by; then the device, its zone and the stream.
_Entry = tuple[float, str, int, InventoryDevice, int, "Iterator[Pick]"]


@dataclass(frozen=True, slots=True)
class SpreadWeights:
    """What weighs how much; fills and slacks are shares of a device, 0..1.

    `full_at`: the fill after placement above which best fit rules. `reuse_slack`: how much worse, on the mean of its
    bricks, a known node set may be and still be preferred; `full_reuse_slack`: the same when one of them would pass
    `full_at`. `zone_slack`: how much worse a device may be and still be preferred to one whose zone is in the set
    already, where zones may repeat. `arbiter`: weight of an arbiter brick's device against a data brick's.
    `reuse_checks`: how many known node sets one set looks at.
    """

    full_at: float = 0.8
    reuse_slack: float = 0.02
    full_reuse_slack: float = 0.03
    zone_slack: float = 0.25
    arbiter: float = 0.1
    reuse_checks: int = 64

    def __post_init__(self) -> None:
        others = (self.reuse_slack, self.full_reuse_slack, self.zone_slack, self.arbiter, self.reuse_checks)
        if not 0 <= self.full_at <= 1 or min(others) < 0:
            raise ValueError(f"weights out of range: {self}")

    @classmethod
    def of(cls, texts: Iterable[str]) -> SpreadWeights:
        """The defaults, changed by texts like `full_at=0.9`. Raises ValueError for what is no weight."""
        names = {each.name for each in fields(cls)}
        changes: dict[str, float] = {}
        for text in texts:
            name, _, value = text.partition("=")
            if name not in names:
                raise ValueError(f"{text!r} is no weight; the weights are {', '.join(sorted(names))}")
            try:
                changes[name] = int(value) if name == "reuse_checks" else float(value)
            except ValueError:
                raise ValueError(f"{text!r}: {value!r} is no number") from None
        return cls(**changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class SpreadStrategy:
    """Least fill after placement, best fit when nearly full, known node sets when nearly as good."""

    weights: SpreadWeights = field(default_factory=SpreadWeights)
    name: str = "spread"
    split_rule: SplitRule = SplitRule.EVERY

    def place_set(self, job: SetJob) -> tuple[InventoryDevice, ...] | None:
        """The cheapest set, or a known node set that costs little more. Finds a set whenever there is one."""
        scale = Scale(self.weights.full_at, job.index.largest_total_bytes)
        if BrickRole.ARBITER in job.roles and len(job.roles) > 1:
            best = self._with_arbiter(job, scale)
        else:
            role = job.roles[0]
            best = self._cheapest(job, role, len(job.roles), scale)
        if best is None:
            return None
        reused = self._known_set(job, scale, best) if len(job.roles) > 1 and not job.taken_nodes else None
        return tuple(device for _, device in reused or best)

    def _with_arbiter(self, job: SetJob, scale: Scale) -> list[Pick] | None:
        """The cheapest combination; as many candidates per role as bricks in the set are enough, as each blocks one."""
        data_count = len(job.roles) - 1
        data = self._cheapest(job, BrickRole.DATA, len(job.roles), scale, partial=True) or []
        arbiters = self._cheapest(job, BrickRole.ARBITER, len(job.roles), scale, partial=True) or []
        found: list[tuple[int, float, list[Pick]]] = []
        for arbiter in arbiters:
            for chosen in combinations(data, data_count):
                picks = [*chosen, arbiter]
                zones = {job.zone_of(device) for _, device in picks}
                if len({device.node_id for _, device in picks}) < len(picks):
                    continue
                if job.strict_zones and len(zones) < len(picks):
                    continue
                found.append((-len(zones), self._cost(job, picks), picks))
        return min(found, key=lambda item: item[:2])[2] if found else None

    def _cheapest(
        self, job: SetJob, role: BrickRole, wanted: int, scale: Scale, *, partial: bool = False
    ) -> list[Pick] | None:
        """The cheapest device of each of the cheapest nodes; under a strict rule, of different zones.

        Without one, a zone comes twice when all have been used, or when that is cheaper by more than the slack.
        All candidates come by cost out of one heap with the cheapest of each size class of each zone; those of used
        zones wait in a second one. Fewer than `wanted` are returned if `partial`, else None.
        """
        heap = _heads(job, role, scale)
        waiting: list[_Entry] = []
        picks: list[Pick] = []
        nodes, zones = set(job.taken_nodes), set(job.taken_zones)
        while len(picks) < wanted:
            if not heap:
                if job.strict_zones or not waiting:
                    break
                heap, waiting = waiting, []
                zones.clear()
            again = bool(waiting) and not job.strict_zones and heap[0][0] > waiting[0][0] + self.weights.zone_slack
            source = waiting if again else heap
            cost, _, number, device, zone, stream = source[0]
            if device.node_id not in nodes:
                if zone in zones and not again:
                    heappush(waiting, heappop(heap))
                    continue
                picks.append((cost, device))
                nodes.add(device.node_id)
                zones.add(zone)
            pick = next(stream, None)
            if pick:
                heapreplace(source, (pick[0], pick[1].id, number, pick[1], zone, stream))
            else:
                heappop(source)
        return picks if picks and (partial or len(picks) == wanted) else None

    def _cost(self, job: SetJob, picks: list[Pick]) -> float:
        weights = [self.weights.arbiter if role is BrickRole.ARBITER else 1.0 for role in job.roles]
        return sum(weight * cost for weight, (cost, _) in zip(weights, picks, strict=True)) / sum(weights)

    def _known_set(self, job: SetJob, scale: Scale, best: list[Pick]) -> list[Pick] | None:
        """The cheapest known node set around the best nodes that is nearly as good and covers as many zones."""
        price = self._cost(job, best)
        best_zones = len({job.zone_of(device) for _, device in best})
        found: tuple[float, list[str], list[Pick]] | None = None
        on_node: dict[tuple[str, BrickRole], Pick | None] = {}
        for node_set in self._sets_around(job, (device.node_id for _, device in best)):
            if len({job.index.nodes[node_id].zone for node_id in node_set}) < best_zones:
                continue
            for nodes in _seatings(job, sorted(node_set)):
                picks = _seat(job, nodes, scale, on_node)
                if picks is None:
                    continue
                cost = self._cost(job, picks)
                full = any(each > scale.full_at for each, _ in picks)
                limit = price + (self.weights.full_reuse_slack if full else self.weights.reuse_slack)
                if cost <= limit and (found is None or (cost, nodes) < found[:2]):
                    found = (cost, nodes, picks)
        return found[2] if found else None

    def _sets_around(self, job: SetJob, node_ids: Iterable[str]) -> Iterator[frozenset[str]]:
        seen: set[frozenset[str]] = set()
        for node_id in node_ids:
            for node_set in job.index.known_sets.get(node_id, ()):
                if len(seen) >= self.weights.reuse_checks:
                    return
                if node_set not in seen and len(node_set) == len(job.roles) and node_set <= job.index.nodes.keys():
                    seen.add(node_set)
                    yield node_set


def _seatings(job: SetJob, nodes: list[str]) -> Iterator[list[str]]:
    """The nodes in order of position; with an arbiter, each of them has its turn in the last seat."""
    if BrickRole.ARBITER not in job.roles:
        yield nodes
        return
    for last in reversed(nodes):
        yield [*(node for node in nodes if node != last), last]


def _seat(
    job: SetJob, nodes: list[str], scale: Scale, on_node: dict[tuple[str, BrickRole], Pick | None]
) -> list[Pick] | None:
    """The cheapest device of each node for its position; None if one has none."""
    picks: list[Pick] = []
    for node_id, role in zip(nodes, job.roles, strict=True):
        key = node_id, role
        if key not in on_node:
            on_node[key] = cheapest_on_node(job, role, node_id, scale)
        pick = on_node[key]
        if pick is None:
            return None
        picks.append(pick)
    return picks


def _heads(job: SetJob, role: BrickRole, scale: Scale) -> list[_Entry]:
    """The cheapest candidate of each stream, as a heap."""
    heap: list[_Entry] = []
    for number, (zone, stream) in enumerate(in_zones(job, role, scale)):
        pick = next(stream, None)
        if pick:
            heap.append((pick[0], pick[1].id, number, pick[1], zone, stream))
    heapify(heap)
    return heap
