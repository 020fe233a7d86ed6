"""The words of the topology and the values that its rules work on. Pure; sizes are bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_REPLICA_COUNT = 2


class NodeState(StrEnum):
    """Administrative state of a node."""

    ONLINE = "online"
    OFFLINE = "offline"
    FAILED = "failed"


class DeviceState(StrEnum):
    """Administrative state of a device."""

    ONLINE = "online"
    OFFLINE = "offline"
    FAILED = "failed"


class Presence(StrEnum):
    """Whether a node or device is there; what is being added is hidden, what is being removed is still shown."""

    ADDING = "adding"
    PRESENT = "present"
    REMOVING = "removing"


class VolumeState(StrEnum):
    """Where a volume is in its life; only active ones are shown."""

    CREATING = "creating"
    ACTIVE = "active"
    DELETING = "deleting"


class BrickState(StrEnum):
    """Where a brick is in its life; see `pools` for whose space is reserved and whose is used."""

    CREATING = "creating"
    ACTIVE = "active"
    DELETING = "deleting"


class BrickRole(StrEnum):
    """What a brick holds."""

    DATA = "data"
    ARBITER = "arbiter"


class BlockRestriction(StrEnum):
    """Whether a hosting volume takes new block volumes; all but NONE keep it from that."""

    NONE = ""
    LOCKED = "locked"
    LOCKED_BY_UPDATE = "locked-by-update"


class DurabilityType(StrEnum):
    """The kind of redundancy of a volume."""

    NONE = "none"
    REPLICATE = "replicate"
    DISPERSE = "disperse"


class OperationKind(StrEnum):
    """What an operation changes."""

    CREATE_VOLUME = "create_volume"
    DELETE_VOLUME = "delete_volume"
    ADD_NODE = "add_node"
    DELETE_NODE = "delete_node"
    ADD_DEVICE = "add_device"
    DELETE_DEVICE = "delete_device"
    SET_NODE_STATE = "set_node_state"
    SET_DEVICE_STATE = "set_device_state"
    EXPAND_VOLUME = "expand_volume"
    CLONE_VOLUME = "clone_volume"
    RESYNC_DEVICE = "resync_device"
    EVICT_BRICK = "evict_brick"
    CREATE_BLOCK_VOLUME = "create_block_volume"
    DELETE_BLOCK_VOLUME = "delete_block_volume"
    EXPAND_BLOCK_VOLUME = "expand_block_volume"
    SET_BLOCK_RESTRICTION = "set_block_restriction"
    CLEAN_UP = "clean_up"


class OperationState(StrEnum):
    """Where an operation is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    UNDOING = "undoing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """How a volume survives the loss of bricks; counts are kept as requested, 0 = not given."""

    type: DurabilityType = DurabilityType.NONE
    replica_count: int = 0
    data_count: int = 0
    redundancy_count: int = 0

    @property
    def set_size(self) -> int:
        """Bricks per brick set; a replica count of 0 means 2 (Heketi's rule)."""
        if self.type is DurabilityType.REPLICATE:
            return self.replica_count or DEFAULT_REPLICA_COUNT
        if self.type is DurabilityType.DISPERSE:
            return self.data_count + self.redundancy_count
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBrick:
    """A planned brick."""

    id: str
    device_id: str
    node_id: str
    path: str
    size_bytes: int
    thin_pool_size_bytes: int
    pool_metadata_size_bytes: int
    thin_pool_name: str
    lv_name: str
    role: BrickRole
    set_index: int
    position: int

    @property
    def needed_bytes(self) -> int:
        """What the brick takes from its device: the thin pool and its metadata (Heketi's rule)."""
        return self.thin_pool_size_bytes + self.pool_metadata_size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVolume:
    """A planned volume with its bricks."""

    id: str
    name: str
    cluster_id: str
    size_bytes: int
    durability: Durability
    gid: int = 0
    options: tuple[str, ...] = ()
    block: bool = False
    snapshot_enabled: bool = False
    snapshot_factor: float = 1.0
    bricks: tuple[NewBrick, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCopy:
    """A copy of a volume that is to be made; what is not said here it has from the source.

    Attributes:
        source_volume_id: The volume to copy.
        volume_id: Id of the copy.
        name: Its name.
        brick_ids: Ids of its bricks, in gluster's order.
    """

    source_volume_id: str
    volume_id: str
    name: str
    brick_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedBrick:
    """Where gluster put a brick of a copy."""

    brick_id: str
    path: str
    lv_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNode:
    """A node to add; the first host name of each list is used, all are registered."""

    id: str
    cluster_id: str
    zone: int
    manage_hostnames: tuple[str, ...]
    storage_hostnames: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """A device to add; its sizes come later, from the node."""

    id: str
    node_id: str
    path: str
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a node's agent measured of a device."""

    total_bytes: int
    free_bytes: int
    extent_size_bytes: int
    pv_uuid: str
    known_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBlockVolume:
    """A block volume to make; what gluster-block gives it comes later."""

    id: str
    name: str
    cluster_id: str
    hosting_volume_id: str
    size_bytes: int
    auth: bool
    hosts: tuple[str, ...]
