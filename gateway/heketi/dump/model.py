"""What a dump says. Pure; units are Heketi's, KiB and GiB, for a dump must come out as it went in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

NONE, REPLICATE, DISPERSE = "none", "replicate", "disperse"
STATES = ("online", "offline", "failed")
STALE, FAILED = "stale", "failed"
LOCKED, LOCKED_BY_UPDATE = "locked", "locked-by-update"
GENERATION = "DB_GENERATION_ID"
HAS_CLUSTER_FLAGS = "DB_CLUSTER_HAS_FILE_BLOCK_FLAG"
# Attributes that say which upgrades a database has had.
UPGRADES = ("DB_BRICK_HAS_SUBTYPE_FIELD", HAS_CLUSTER_FLAGS, "DB_DEVICE_HAS_ID_META", "DB_HAS_PENDING_OPS_BUCKET")
DONE = "yes"


class SubType(IntEnum):
    """What a brick holds; UNKNOWN in old databases."""

    UNKNOWN = 0
    NORMAL = 1
    ARBITER = 2


class OperationType(IntEnum):
    """Kinds of pending operations."""

    UNKNOWN = 0
    CREATE_VOLUME = 1
    DELETE_VOLUME = 2
    EXPAND_VOLUME = 3
    CREATE_BLOCK_VOLUME = 4
    DELETE_BLOCK_VOLUME = 5
    REMOVE_DEVICE = 6
    CLONE_VOLUME = 7
    EVICT_BRICK = 8
    EXPAND_BLOCK_VOLUME = 9

    @property
    def words(self) -> str:
        """As heketi-cli names it."""
        return self.name.lower().replace("_", "-")


class Change(IntEnum):
    """What an operation does to an object."""

    ADD_BRICK = 1
    ADD_VOLUME = 2
    DELETE_BRICK = 3
    DELETE_VOLUME = 4
    EXPAND_VOLUME = 5
    ADD_BLOCK_VOLUME = 6
    DELETE_BLOCK_VOLUME = 7
    REMOVE_DEVICE = 8
    CLONE_VOLUME = 9
    SNAPSHOT_VOLUME = 10
    ADD_VOLUME_CLONE = 11
    CHILD_OPERATION = 12
    PARENT_OPERATION = 13
    EXPAND_BLOCK_VOLUME = 14


# What the id of a change is of.
OF_BRICKS = frozenset({Change.ADD_BRICK, Change.DELETE_BRICK})
OF_VOLUMES = frozenset(
    {
        Change.ADD_VOLUME,
        Change.DELETE_VOLUME,
        Change.EXPAND_VOLUME,
        Change.CLONE_VOLUME,
        Change.SNAPSHOT_VOLUME,
        Change.ADD_VOLUME_CLONE,
    }
)
OF_BLOCK_VOLUMES = frozenset({Change.ADD_BLOCK_VOLUME, Change.DELETE_BLOCK_VOLUME, Change.EXPAND_BLOCK_VOLUME})
OF_OPERATIONS = frozenset({Change.CHILD_OPERATION, Change.PARENT_OPERATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster."""

    id: str
    node_ids: tuple[str, ...] = ()
    volume_ids: tuple[str, ...] = ()
    block: bool = False
    file: bool = False
    block_volume_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node."""

    id: str
    state: str
    zone: int
    manage_hostnames: tuple[str, ...]
    storage_hostnames: tuple[str, ...]
    cluster_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    device_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device."""

    id: str
    state: str
    path: str
    node_id: str
    total_kib: int
    free_kib: int
    used_kib: int
    extent_size_kib: int
    tags: Mapping[str, str] = field(default_factory=dict)
    known_paths: tuple[str, ...] = ()
    pv_uuid: str = ""
    brick_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume.

    Attributes:
        requested_cluster_ids: The clusters that its maker asked for; its home is `cluster_id`.
        mount_hosts: The hosts of its cluster when it was made.
        options: Gluster options, with an empty string for each unset list of the server; none in old databases.
        pending_id: The operation that makes or removes it; empty when there is none.
    """

    id: str
    name: str
    cluster_id: str
    size_gib: int
    requested_cluster_ids: tuple[str, ...] = ()
    durability: str = NONE
    replica_count: int = 0
    data_count: int = 0
    redundancy_count: int = 0
    gid: int = 0
    block: bool = False
    snapshot_enabled: bool = False
    snapshot_factor: float = 1.0
    mount_hosts: tuple[str, ...] = ()
    mount_device: str = ""
    mount_options: Mapping[str, str] = field(default_factory=dict)
    free_gib: int = 0
    reserved_gib: int = 0
    block_volume_ids: tuple[str, ...] = ()
    restriction: str = ""
    brick_ids: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    pending_id: str = ""

    @property
    def set_size(self) -> int:
        """Bricks that belong together; counts that are not given have Heketi's defaults."""
        if self.durability == REPLICATE:
            return self.replica_count or 2
        if self.durability == DISPERSE:
            return (self.data_count or 4) + (self.redundancy_count or 2)
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Brick:
    """A brick.

    Attributes:
        pool_name: Name of its thin pool; empty in old databases, which means tp_ and the id.
        lv_name: Name of its LV; empty means brick_ and the id, which is so for all but those of copies.
    """

    id: str
    path: str
    device_id: str
    node_id: str
    volume_id: str
    size_kib: int
    pool_size_kib: int
    pool_metadata_kib: int
    pool_name: str = ""
    lv_name: str = ""
    sub_type: int = SubType.NORMAL
    pending_id: str = ""

    @property
    def pool(self) -> tuple[str, str]:
        """The thin pool that it lies in: device and name."""
        return self.device_id, self.pool_name or f"tp_{self.id}"

    @property
    def pool_kib(self) -> int:
        """What its thin pool takes."""
        return self.pool_size_kib + self.pool_metadata_kib


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockVolume:
    """A block volume; `usable_size_gib` 0 means all of it."""

    id: str
    name: str
    size_gib: int
    cluster_id: str
    hosting_volume_id: str
    requested_cluster_ids: tuple[str, ...] = ()
    ha_count: int = 0
    auth: bool = False
    hosts: tuple[str, ...] = ()
    iqn: str = ""
    lun: int = 0
    username: str = ""
    password: str = ""
    usable_size_gib: int = 0
    pending_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One change of an operation; `delta` is in GiB."""

    change: int
    id: str
    delta: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A pending operation; `time_s` is seconds since 1970."""

    id: str
    time_s: int
    type: int
    actions: tuple[Action, ...] = ()
    status: str = ""

    def ids(self, change: Change) -> tuple[str, ...]:
        """What it changes in one way, in its order."""
        return tuple(action.id for action in self.actions if action.change == change)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """A whole database, each kind by id; `attributes` by name."""

    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    bricks: Mapping[str, Brick] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    devices: Mapping[str, Device] = field(default_factory=dict)
    block_volumes: Mapping[str, BlockVolume] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    operations: Mapping[str, Operation] = field(default_factory=dict)

    def growing_gib(self) -> dict[str, int]:
        """What pending operations have taken for block volumes from their hosting volumes beyond their size, by id."""
        grown = [
            (block, action.delta or 0)
            for operation in self.operations.values()
            for action in operation.actions
            if action.change == Change.EXPAND_BLOCK_VOLUME and (block := self.block_volumes.get(action.id)) is not None
        ]
        return {block.id: max(0, size_gib - block.size_gib) for block, size_gib in grown}
