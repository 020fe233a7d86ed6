"""Between rows and messages, and from requests to the values of the domain. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.topology.v1 import (
    cluster_pb2,
    device_pb2,
    inventory_pb2,
    node_pb2,
    operation_pb2,
    operation_service_pb2,
    topology_service_pb2,
    volume_pb2,
)
from services.topology.domain.checks import invalid
from services.topology.domain.model import (
    BrickRole,
    CopiedBrick,
    DeviceFacts,
    DeviceState,
    Durability,
    DurabilityType,
    NewBrick,
    NewCopy,
    NewDevice,
    NewNode,
    NewVolume,
    NodeState,
    VolumeState,
)
from services.topology.domain.tags import TagChange
from services.topology.tables import BrickRow, ClusterRow, DeviceRow, NodeRow, VolumeRow

_MICROSECONDS = 1_000_000
_E = TypeVar("_E", bound=StrEnum)

NODE_STATES: Mapping[str, node_pb2.NodeState.ValueType] = MappingProxyType(
    {
        NodeState.ONLINE: node_pb2.NODE_STATE_ONLINE,
        NodeState.OFFLINE: node_pb2.NODE_STATE_OFFLINE,
        NodeState.FAILED: node_pb2.NODE_STATE_FAILED,
    }
)
DEVICE_STATES: Mapping[str, device_pb2.DeviceState.ValueType] = MappingProxyType(
    {
        DeviceState.ONLINE: device_pb2.DEVICE_STATE_ONLINE,
        DeviceState.OFFLINE: device_pb2.DEVICE_STATE_OFFLINE,
        DeviceState.FAILED: device_pb2.DEVICE_STATE_FAILED,
    }
)
VOLUME_STATES: Mapping[str, volume_pb2.VolumeState.ValueType] = MappingProxyType(
    {
        VolumeState.CREATING: volume_pb2.VOLUME_STATE_CREATING,
        VolumeState.ACTIVE: volume_pb2.VOLUME_STATE_ACTIVE,
        VolumeState.DELETING: volume_pb2.VOLUME_STATE_DELETING,
    }
)
_DURABILITY_TYPES: Mapping[str, volume_pb2.DurabilityType.ValueType] = MappingProxyType(
    {
        DurabilityType.NONE: volume_pb2.DURABILITY_TYPE_NONE,
        DurabilityType.REPLICATE: volume_pb2.DURABILITY_TYPE_REPLICATE,
        DurabilityType.DISPERSE: volume_pb2.DURABILITY_TYPE_DISPERSE,
    }
)
_BRICK_ROLES: Mapping[str, volume_pb2.BrickRole.ValueType] = MappingProxyType(
    {BrickRole.DATA: volume_pb2.BRICK_ROLE_DATA, BrickRole.ARBITER: volume_pb2.BRICK_ROLE_ARBITER}
)
_TAG_CHANGES: Mapping[str, topology_service_pb2.TagChange.ValueType] = MappingProxyType(
    {
        TagChange.SET: topology_service_pb2.TAG_CHANGE_SET,
        TagChange.UPDATE: topology_service_pb2.TAG_CHANGE_UPDATE,
        TagChange.DELETE: topology_service_pb2.TAG_CHANGE_DELETE,
    }
)


def from_enum(field: str, kind: type[_E], numbers: Mapping[str, int], number: int) -> _E:
    """The domain's word for an enum number.

    Raises:
        InvalidArgumentError: Not given, or unknown.
    """
    for word, candidate in numbers.items():
        if candidate == number:
            return kind(word)
    raise invalid(field, number, "is not a known value")


def timestamp(time_us: int) -> Timestamp:
    """The message for microseconds since 1970."""
    seconds, rest = divmod(time_us, _MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def cluster_message(
    row: ClusterRow,
    *,
    node_ids: Iterable[str] = (),
    volume_ids: Iterable[str] = (),
    block_volume_ids: Iterable[str] = (),
) -> cluster_pb2.Cluster:
    """A cluster with the given members."""
    return cluster_pb2.Cluster(
        id=row.id,
        file_enabled=row.file_enabled,
        block_enabled=row.block_enabled,
        node_ids=node_ids,
        volume_ids=volume_ids,
        block_volume_ids=block_volume_ids,
        create_time=timestamp(row.create_time_us),
    )


def node_message(row: NodeRow, device_ids: Iterable[str]) -> node_pb2.Node:
    """A node with the ids of its devices."""
    return node_pb2.Node(
        id=row.id,
        cluster_id=row.cluster_id,
        zone=row.zone,
        manage_hostnames=row.manage_hostnames,
        storage_hostnames=row.storage_hostnames,
        tags=row.tags,
        state=NODE_STATES[row.state],
        device_ids=device_ids,
        create_time=timestamp(row.create_time_us),
    )


def device_message(row: DeviceRow, bricks: Iterable[BrickRow]) -> device_pb2.Device:
    """A device with its bricks."""
    return device_pb2.Device(
        id=row.id,
        node_id=row.node_id,
        path=row.path,
        tags=row.tags,
        state=DEVICE_STATES[row.state],
        total_bytes=row.total_bytes,
        used_bytes=row.used_bytes,
        reserved_bytes=row.reserved_bytes,
        extent_size_bytes=row.extent_size_bytes,
        pv_uuid=row.pv_uuid or "",
        known_paths=row.known_paths,
        bricks=[brick_message(brick) for brick in bricks],
        create_time=timestamp(row.create_time_us),
    )


def brick_message(row: BrickRow) -> volume_pb2.Brick:
    """A brick."""
    return volume_pb2.Brick(
        id=row.id,
        volume_id=row.volume_id,
        device_id=row.device_id,
        node_id=row.node_id,
        path=row.path,
        size_bytes=row.size_bytes,
        thin_pool_size_bytes=row.thin_pool_size_bytes,
        pool_metadata_size_bytes=row.pool_metadata_size_bytes,
        thin_pool_name=row.thin_pool_name,
        lv_name=row.lv_name,
        role=_BRICK_ROLES[row.role],
        set_index=row.set_index,
        position=row.position,
    )


def volume_message(
    row: VolumeRow, bricks: Iterable[BrickRow], *, block_hosting: volume_pb2.BlockHosting | None = None
) -> volume_pb2.Volume:
    """A volume with the given bricks, which come in gluster's order, and what it holds as a hosting volume."""
    return volume_pb2.Volume(
        id=row.id,
        name=row.name,
        cluster_id=row.cluster_id,
        size_bytes=row.size_bytes,
        durability=volume_pb2.Durability(
            type=_DURABILITY_TYPES[row.durability_type],
            replica_count=row.replica_count,
            data_count=row.data_count,
            redundancy_count=row.redundancy_count,
        ),
        gid=row.gid,
        options=row.options,
        block=row.block,
        snapshot_enabled=row.snapshot_enabled,
        snapshot_factor=row.snapshot_factor,
        bricks=[brick_message(brick) for brick in bricks],
        state=VOLUME_STATES[row.state],
        create_time=timestamp(row.create_time_us),
        operation_id=row.operation_id or "",
        origin_volume_id=row.origin_volume_id or "",
        block_hosting=block_hosting,
        brick_order_unknown=not row.brick_order_known,
    )


def inventory_node(row: NodeRow) -> inventory_pb2.InventoryNode:
    """A node as placement sees it."""
    return inventory_pb2.InventoryNode(
        id=row.id,
        zone=row.zone,
        state=NODE_STATES[row.state],
        tags=row.tags,
        hostname=row.manage_hostnames[0],
    )


def inventory_device(row: DeviceRow) -> inventory_pb2.InventoryDevice:
    """A device as placement sees it."""
    return inventory_pb2.InventoryDevice(
        id=row.id,
        node_id=row.node_id,
        state=DEVICE_STATES[row.state],
        total_bytes=row.total_bytes,
        free_bytes=row.total_bytes - row.used_bytes - row.reserved_bytes,
        extent_size_bytes=row.extent_size_bytes,
        tags=row.tags,
        path=row.path,
    )


def tag_change(number: int) -> TagChange:
    """The kind of a tag change. Raises InvalidArgumentError when it is not given or unknown."""
    return from_enum("change", TagChange, _TAG_CHANGES, number)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    # Heketi accepts a name twice in one list.
    return tuple(dict.fromkeys(names))


def new_node(message: node_pb2.Node) -> NewNode:
    """The node of an AddNodeSpec."""
    return NewNode(
        id=message.id,
        cluster_id=message.cluster_id,
        zone=message.zone,
        manage_hostnames=_unique(message.manage_hostnames),
        storage_hostnames=_unique(message.storage_hostnames),
        tags=dict(message.tags),
    )


def new_device(message: device_pb2.Device) -> NewDevice:
    """The device of an AddDeviceSpec."""
    return NewDevice(id=message.id, node_id=message.node_id, path=message.path, tags=dict(message.tags))


def device_facts(message: device_pb2.DeviceFacts) -> DeviceFacts:
    """What an agent measured."""
    return DeviceFacts(
        total_bytes=message.total_bytes,
        free_bytes=message.free_bytes,
        extent_size_bytes=message.extent_size_bytes,
        pv_uuid=message.pv_uuid,
        known_paths=tuple(message.known_paths),
    )


def new_volume(message: volume_pb2.Volume) -> NewVolume:
    """The volume of a CreateVolumeSpec. Raises InvalidArgumentError for an enum that is not given."""
    durability = message.durability
    return NewVolume(
        id=message.id,
        name=message.name,
        cluster_id=message.cluster_id,
        size_bytes=message.size_bytes,
        durability=Durability(
            type=from_enum("volume.durability.type", DurabilityType, _DURABILITY_TYPES, durability.type),
            replica_count=durability.replica_count,
            data_count=durability.data_count,
            redundancy_count=durability.redundancy_count,
        ),
        gid=message.gid,
        options=tuple(message.options),
        block=message.block,
        snapshot_enabled=message.snapshot_enabled,
        snapshot_factor=message.snapshot_factor,
        bricks=new_bricks(message.bricks),
    )


def new_bricks(messages: Iterable[volume_pb2.Brick]) -> tuple[NewBrick, ...]:
    """Planned bricks. Raises InvalidArgumentError for a role that is not given."""
    return tuple(map(_new_brick, messages))


def new_copy(message: operation_pb2.CloneVolumeSpec) -> NewCopy:
    """The copy of a CloneVolumeSpec; without a name it is named after its id, as every volume."""
    return NewCopy(
        source_volume_id=message.source_volume_id,
        volume_id=message.volume_id,
        name=message.name or f"vol_{message.volume_id}",
        brick_ids=tuple(message.brick_ids),
    )


def copied_bricks(message: operation_service_pb2.ClonedBricks) -> list[CopiedBrick]:
    """What gluster made of the bricks of a copy."""
    return [CopiedBrick(brick_id=each.brick_id, path=each.path, lv_name=each.lv_name) for each in message.bricks]


def _new_brick(message: volume_pb2.Brick) -> NewBrick:
    return NewBrick(
        id=message.id,
        device_id=message.device_id,
        node_id=message.node_id,
        path=message.path,
        size_bytes=message.size_bytes,
        thin_pool_size_bytes=message.thin_pool_size_bytes,
        pool_metadata_size_bytes=message.pool_metadata_size_bytes,
        thin_pool_name=message.thin_pool_name,
        lv_name=message.lv_name,
        role=from_enum("brick.role", BrickRole, _BRICK_ROLES, message.role),
        set_index=message.set_index,
        position=message.position,
    )
