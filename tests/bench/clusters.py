"""The clusters that placement is measured on, and what is asked of them: all from fixed seeds, without any server."""

import random
from collections import Counter
from collections.abc import Iterator
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
from services.common.units import GIB

STRATEGIES = ("ring", "spread")
REPLICA_3 = Durability.replicate(3)
# What people ask for, in GiB, and how often.
SIZES = (1, 5, 10, 20, 50, 100, 200)
WEIGHTS = (10, 20, 25, 20, 15, 7, 3)
UNSPLIT = BrickLimits(max_bricks_per_volume=3)


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
SAME, MIXED = (1000,) * 4, (500, 1000, 2000, 4000)
# Of this draw the smallest zone has 28.6 % of the space: with strict zones and three copies 85.7 % can be used at most.
DRAW = 7
TOPOLOGIES = (
    Topology("homogeneous", _EQUAL, SAME, ZoneRule.NONE),
    Topology("mixed", _EQUAL, MIXED, ZoneRule.NONE),
    Topology("mixed, drawn", _EQUAL, MIXED, ZoneRule.NONE, draw_seed=DRAW),
    Topology("mixed, drawn, strict", _EQUAL, MIXED, ZoneRule.STRICT, draw_seed=DRAW),
    Topology("half-grown", _EQUAL, SAME, ZoneRule.NONE, grown=True),
    Topology("zones of 6, 4, 2 nodes", _UNEQUAL, MIXED, ZoneRule.NONE),
    Topology("zones of 6, 4, 2 nodes, strict", _UNEQUAL, MIXED, ZoneRule.STRICT),
    Topology("zones of 6, 4, 2, 2 nodes, strict", _FOUR_UNEQUAL, MIXED, ZoneRule.STRICT),
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
