"""What the placement core reads and answers: inventory, request, placement. Pure values; sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from services.common.units import GIB, KIB, MIB, TIB

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_EXTENT_SIZE_BYTES = 4 * MIB
DEFAULT_AVERAGE_FILE_SIZE_BYTES = 64 * KIB
ARBITER_SET_SIZE = 3
ARBITER_POSITION = 2


class NodeState(Enum):
    """Whether a node may take bricks: only `ONLINE` does."""

    ONLINE = "online"
    OFFLINE = "offline"
    FAILED = "failed"


class DeviceState(Enum):
    """Whether a device may take bricks: only `ONLINE` does. `EXCLUDED` is one that the request leaves out."""

    ONLINE = "online"
    OFFLINE = "offline"
    FAILED = "failed"
    EXCLUDED = "excluded"


class ZoneRule(Enum):
    """How the bricks of one set relate to zones.

    `NONE` spreads over zones as far as it can but never refuses for it; `STRICT` puts every brick of a set in another
    zone.
    """

    NONE = "none"
    STRICT = "strict"


class DurabilityType(Enum):
    """How a brick set keeps its data."""

    NONE = "none"
    REPLICATE = "replicate"
    DISPERSE = "disperse"


class BrickRole(Enum):
    """What a brick holds: file data, or only names and metadata."""

    DATA = "data"
    ARBITER = "arbiter"


@dataclass(frozen=True, slots=True)
class InventoryDevice:
    """A device as the planner sees it.

    `free_bytes` is total - used - reserved and may be negative after a shrink. `spare_bytes` is the size of the spare
    metadata LV that the VG has now (0 = none). `path` is shown in explanations only.
    """

    id: str
    node_id: str
    total_bytes: int
    free_bytes: int
    extent_size_bytes: int = DEFAULT_EXTENT_SIZE_BYTES
    state: DeviceState = DeviceState.ONLINE
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    path: str = ""
    spare_bytes: int = 0

    def __post_init__(self) -> None:
        if self.total_bytes < 0 or self.free_bytes > self.total_bytes or self.spare_bytes < 0:
            raise ValueError(f"device {self.id}: total {self.total_bytes}, free {self.free_bytes}, {self.spare_bytes=}")
        if self.extent_size_bytes < KIB or self.extent_size_bytes % KIB:
            raise ValueError(f"device {self.id}: extent size {self.extent_size_bytes} is not a positive number of KiB")


@dataclass(frozen=True, slots=True)
class InventoryNode:
    """A node as the planner sees it.

    `outage` tells what is wrong with it, e.g. "does not answer since ..."; empty when it is well or nothing is known.
    """

    id: str
    zone: int = 1
    state: NodeState = NodeState.ONLINE
    outage: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """One cluster at one revision.

    `known_node_sets` are the node sets that already hold a brick set together; a strategy may prefer them.
    """

    cluster_id: str
    revision: int
    nodes: tuple[InventoryNode, ...]
    devices: tuple[InventoryDevice, ...]
    known_node_sets: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True, slots=True)
class Durability:
    """Durability type with its numbers; numbers of another type are allowed and ignored, as clients send them.

    Replica 0 means 2 (Heketi's rule). Raises ValueError for a negative replica or an incomplete disperse pair.
    """

    type: DurabilityType = DurabilityType.NONE
    replica: int = 0
    data: int = 0
    redundancy: int = 0

    def __post_init__(self) -> None:
        if self.type is DurabilityType.REPLICATE and self.replica < 0:
            raise ValueError(f"replica {self.replica} is negative")
        if self.type is DurabilityType.DISPERSE and (self.data < 1 or self.redundancy < 1):
            raise ValueError(f"disperse {self.data}+{self.redundancy} needs at least 1+1")

    @classmethod
    def none(cls) -> Durability:
        """One brick per set."""
        return cls(DurabilityType.NONE)

    @classmethod
    def replicate(cls, replica: int = 0) -> Durability:
        """`replica` copies per set; 0 means 2."""
        return cls(DurabilityType.REPLICATE, replica=replica)

    @classmethod
    def disperse(cls, data: int, redundancy: int) -> Durability:
        """Erasure-coded sets of data + redundancy bricks."""
        return cls(DurabilityType.DISPERSE, data=data, redundancy=redundancy)

    @property
    def effective_replica(self) -> int:
        """Copies per set of a replicated volume, with the default filled in."""
        return self.replica or 2

    @property
    def set_size(self) -> int:
        """Bricks per brick set."""
        if self.type is DurabilityType.REPLICATE:
            return self.effective_replica
        if self.type is DurabilityType.DISPERSE:
            return self.data + self.redundancy
        return 1

    @property
    def data_bricks(self) -> int:
        """Over how many bricks the data of one set is divided: `data` when dispersed, else 1."""
        return self.data if self.type is DurabilityType.DISPERSE else 1

    def __str__(self) -> str:
        if self.type is DurabilityType.REPLICATE:
            return f"replica-{self.effective_replica}"
        if self.type is DurabilityType.DISPERSE:
            return f"disperse-{self.data}+{self.redundancy}"
        return "single-brick"


@dataclass(frozen=True, slots=True)
class BrickLimits:
    """Bounds of brick size and number; the defaults are Heketi's."""

    min_brick_bytes: int = GIB
    max_brick_bytes: int = 4 * TIB
    max_bricks_per_volume: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.min_brick_bytes <= self.max_brick_bytes or self.max_bricks_per_volume < 1:
            raise ValueError(f"limits contradict each other: {self}")


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """What is to be placed: a new volume, or the added size of one that has `existing_bricks` already.

    `tag_rule` is the raw text (`key=value`, `key!=value`, empty = none). `arbiter` works on replica 3 only and is
    ignored elsewhere. `count_spare` also charges the growth of the VG's spare metadata LV (False = Heketi's books).
    `strategy` empty means the default. Raises ValueError for numbers out of range.
    """

    size_bytes: int
    durability: Durability = field(default_factory=Durability)
    snapshot_factor: float = 1.0
    zone_rule: ZoneRule = ZoneRule.NONE
    tag_rule: str = ""
    arbiter: bool = False
    average_file_size_bytes: int = DEFAULT_AVERAGE_FILE_SIZE_BYTES
    existing_bricks: int = 0
    limits: BrickLimits = field(default_factory=BrickLimits)
    strategy: str = ""
    seed: str = ""
    count_spare: bool = False

    def __post_init__(self) -> None:
        if self.size_bytes < KIB:
            raise ValueError(f"volume size {self.size_bytes} is below 1 KiB")
        if not 1 <= self.snapshot_factor <= 100:
            raise ValueError(f"snapshot factor {self.snapshot_factor} is not in 1..100")
        if self.average_file_size_bytes < KIB:
            raise ValueError(f"average file size {self.average_file_size_bytes} is below 1 KiB")
        if self.existing_bricks < 0:
            raise ValueError(f"existing bricks {self.existing_bricks} is negative")

    @property
    def arbiter_active(self) -> bool:
        """Whether sets get an arbiter brick: asked for, and replica 3."""
        durability = self.durability
        replicated = durability.type is DurabilityType.REPLICATE
        return self.arbiter and replicated and durability.set_size == ARBITER_SET_SIZE

    @property
    def roles(self) -> tuple[BrickRole, ...]:
        """Role of each position of a set; the arbiter brick comes last."""
        data = (BrickRole.DATA,) * self.durability.set_size
        return (*data[:ARBITER_POSITION], BrickRole.ARBITER) if self.arbiter_active else data


@dataclass(frozen=True, slots=True)
class PlacedBrick:
    """One brick of a placement: where it goes and what it takes there.

    `spare_growth_bytes` is what the VG's spare metadata LV grows by; 0 unless the request counts it.
    """

    device_id: str
    node_id: str
    size_bytes: int
    thin_pool_size_bytes: int
    pool_metadata_size_bytes: int
    role: BrickRole
    set_index: int
    position: int
    spare_growth_bytes: int = 0

    @property
    def needed_bytes(self) -> int:
        """What the brick takes from its device's free space."""
        return self.thin_pool_size_bytes + self.pool_metadata_size_bytes + self.spare_growth_bytes


@dataclass(frozen=True, slots=True)
class BrickSet:
    """The bricks that hold one copy group together, in gluster's order."""

    index: int
    bricks: tuple[PlacedBrick, ...]

    @property
    def node_ids(self) -> frozenset[str]:
        """The nodes of the set; as many as bricks."""
        return frozenset(brick.node_id for brick in self.bricks)


@dataclass(frozen=True, slots=True)
class Placement:
    """A complete plan: nothing of it is reserved yet; `revision` says which inventory it was made on."""

    cluster_id: str
    revision: int
    strategy: str
    brick_size_bytes: int
    sets: tuple[BrickSet, ...]

    @property
    def bricks(self) -> tuple[PlacedBrick, ...]:
        """All bricks, set by set."""
        return tuple(brick for brick_set in self.sets for brick in brick_set.bricks)
