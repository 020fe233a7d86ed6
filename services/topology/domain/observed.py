"""What health is told from: the books beside what was seen on the nodes. Pure; sizes are bytes, times microseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from services.topology.domain.model import Durability, DurabilityType


class Severity(IntEnum):
    """How bad a problem is; a larger number is worse."""

    NOTICE = 1
    WARNING = 2
    CRITICAL = 3


class Health(StrEnum):
    """How a node, device or volume is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class SeenGroup(NamedTuple):
    """A volume group as its node sees it."""

    total_bytes: int
    free_bytes: int
    pv_path: str


class SeenPool(NamedTuple):
    """Fill of a thin pool, 0 to 100."""

    data_percent: float
    metadata_percent: float


class SeenBrick(NamedTuple):
    """A brick as its node sees it; `heal_count` is -1 when nobody can tell."""

    mounted: bool
    process_running: bool
    heal_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen on a node at one moment.

    Attributes:
        glusterd_running: Whether glusterd answers.
        glusterd_version: Its version.
        groups: Volume groups by name.
        pools: Thin pools by the names of group and pool.
        bricks: Bricks by path.
        peers: Whether each other glusterd of the pool is connected, by the name that this one knows it by.
    """

    glusterd_running: bool
    glusterd_version: str = ""
    groups: Mapping[str, SeenGroup] = field(default_factory=dict)
    pools: Mapping[tuple[str, str], SeenPool] = field(default_factory=dict)
    bricks: Mapping[str, SeenBrick] = field(default_factory=dict)
    peers: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node; `seen` is from `observe_us`, and outdated while the node is unreachable.

    Attributes:
        hostnames: All names that the books have for it.
        turn_us: When somebody looked at it last, with success or not.
        eviction_us: When it was last given away to be emptied by itself; None once it answers again.
        operation_id: The operation that holds it; empty for none.
        opted_out: Whether its tag keeps it from being emptied by itself.
    """

    id: str
    cluster_id: str
    hostname: str
    storage_hostname: str
    state: str
    create_us: int
    observe_us: int | None = None
    unreachable_since_us: int | None = None
    error: str = ""
    seen: Seen | None = None
    hostnames: frozenset[str] = frozenset()
    turn_us: int | None = None
    eviction_us: int | None = None
    operation_id: str = ""
    opted_out: bool = False

    @property
    def current(self) -> Seen | None:
        """What can be relied on now; None when the node does not answer or was never looked at."""
        return self.seen if self.unreachable_since_us is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device with its books."""

    id: str
    node_id: str
    cluster_id: str
    path: str
    state: str
    total_bytes: int
    used_bytes: int
    reserved_bytes: int
    pv_uuid: str = ""

    @property
    def free_bytes(self) -> int:
        """What is neither used nor reserved."""
        return self.total_bytes - self.used_bytes - self.reserved_bytes

    @property
    def group_name(self) -> str:
        """Its volume group."""
        return f"vg_{self.id}"


class BrickView(NamedTuple):
    """A finished brick."""

    id: str
    volume_id: str
    device_id: str
    node_id: str
    path: str
    pool_name: str
    set_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeView:
    """A volume that exists."""

    id: str
    cluster_id: str
    name: str
    size_bytes: int
    durability: Durability

    @property
    def needed_per_set(self) -> int:
        """Bricks that a set needs to take writes: client quorum of three or more copies, else one; all data bricks."""
        copies = self.durability.set_size
        if self.durability.type is DurabilityType.REPLICATE:
            return copies // 2 + 1 if copies > 2 else 1
        return self.durability.data_count or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """An operation that runs, or ended a short time ago.

    Attributes:
        mentioned: Ids of all objects that it is about.
        end_us: When it ended; None while it runs.
    """

    id: str
    kind: str
    state: str
    cluster_id: str
    stalled: bool = False
    lease_expire_us: int = 0
    update_us: int = 0
    end_us: int | None = None
    node_hostname: str = ""
    error: str = ""
    mentioned: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one moment."""

    now_us: int
    nodes: Sequence[NodeView] = ()
    devices: Sequence[DeviceView] = ()
    volumes: Sequence[VolumeView] = ()
    bricks: Sequence[BrickView] = ()
    operations: Sequence[OperationView] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong or worth knowing.

    Attributes:
        severity: How bad it is.
        kind: Stable name in UPPER_SNAKE_CASE.
        message: A sentence for people.
        advice: What a person can do.
        cluster_id: Where.
        node_id: About which node; empty for none, as below.
        device_id: About which device.
        volume_id: About which volume.
        brick_id: About which brick.
        operation_id: About which operation.
        since_us: Since when; None when it is not known.
        uncertain: Whether it only says that nothing is known.
    """

    severity: Severity
    kind: str
    message: str
    advice: str = ""
    cluster_id: str = ""
    node_id: str = ""
    device_id: str = ""
    volume_id: str = ""
    brick_id: str = ""
    operation_id: str = ""
    since_us: int | None = None
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class BrickCount:
    """How the bricks of a volume are: of `all`, so many serve, and of `unknown` nobody knows."""

    all: int = 0
    serving: int = 0
    unknown: int = 0
    heals: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, and how each object is.

    Attributes:
        problems: The worst first; notices last.
        node_health: By node id.
        device_health: By device id.
        volume_health: By volume id.
        device_fill: The fullest thin pool of each device: data and metadata, each for itself.
        volume_fill: The same for each volume.
        bricks: How the bricks of each volume are.
    """

    problems: tuple[Problem, ...]
    node_health: Mapping[str, Health]
    device_health: Mapping[str, Health]
    volume_health: Mapping[str, Health]
    device_fill: Mapping[str, SeenPool]
    volume_fill: Mapping[str, SeenPool]
    bricks: Mapping[str, BrickCount]
