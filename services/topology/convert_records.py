"""From records that are taken over to rows. Pure; whatever is malformed is told."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.topology.v1 import (
    block_volume_pb2,
    books_pb2,
    cluster_pb2,
    operation_pb2,
    records_pb2,
    volume_pb2,
)
from services.common.errors import BrickyardError
from services.topology.convert import (
    DEVICE_STATES,
    NODE_STATES,
    VOLUME_STATES,
    from_enum,
    new_bricks,
    new_device,
    new_node,
    new_volume,
)
from services.topology.convert_block import new_block_volume, restriction
from services.topology.convert_operations import OPERATION_KINDS, STATES
from services.topology.domain.block_checks import check_access, check_new_block_volume
from services.topology.domain.checks import (
    MAX_BRICK_PATH_LENGTH,
    MAX_LV_NAME_LENGTH,
    check_facts,
    check_id,
    check_new_device,
    check_new_node,
    check_text,
    check_volume_fields,
    invalid,
)
from services.topology.domain.lifecycle import ENDED
from services.topology.domain.model import (
    BrickState,
    DeviceFacts,
    DeviceState,
    NodeState,
    OperationKind,
    OperationState,
    Presence,
    VolumeState,
)
from services.topology.usecases.volume_rows import brick_columns, volume_columns

Row = dict[str, Any]
_M = TypeVar("_M", bound=Message)


@dataclass(slots=True)
class Rows:
    """The rows of all tables, and what is malformed."""

    clusters: list[Row] = field(default_factory=list)
    nodes: list[Row] = field(default_factory=list)
    hostnames: list[Row] = field(default_factory=list)
    devices: list[Row] = field(default_factory=list)
    volumes: list[Row] = field(default_factory=list)
    bricks: list[Row] = field(default_factory=list)
    block_hostings: list[Row] = field(default_factory=list)
    block_volumes: list[Row] = field(default_factory=list)
    operations: list[Row] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Objects in all."""
        parts = (self.clusters, self.nodes, self.devices, self.volumes, self.bricks, self.block_volumes)
        return sum(map(len, (*parts, self.operations)))


def rows_of(records: records_pb2.Records, now_us: int) -> Rows:
    """The rows for records; what has no time of its own was made at `now_us`."""
    refusals: list[str] = []
    volume_counts = Counter(each.volume.cluster_id for each in records.volumes)
    homes = {each.node.id: each.node.cluster_id for each in records.nodes}
    states = {each.volume.id: each.volume.state for each in records.volumes}
    specs = {each.id: each.spec for each in records.operations}

    def make(kind: str, messages: Iterable[_M], id_of: Callable[[_M], str], row_of: Callable[[_M], Row]) -> list[Row]:
        made: dict[str, Row] = {}
        for message in messages:
            object_id = id_of(message)
            try:
                row = row_of(message)
            except BrickyardError as error:
                refusals.append(f"{kind} {object_id}: {error.message}")
                continue
            if object_id in made:
                refusals.append(f"{kind} {object_id} occurs twice")
            made[object_id] = row
        return list(made.values())

    return Rows(
        clusters=make(
            "cluster", records.clusters, lambda each: each.id, lambda each: _cluster(each, volume_counts, now_us)
        ),
        nodes=make("node", records.nodes, lambda each: each.node.id, lambda each: _node(each, now_us)),
        hostnames=[row for each in records.nodes for row in _hostnames(each)],
        devices=make("device", records.devices, lambda each: each.device.id, lambda each: _device(each, homes, now_us)),
        volumes=make("volume", records.volumes, lambda each: each.volume.id, lambda each: _volume(each, now_us)),
        block_hostings=[_block_hosting(each.volume) for each in records.volumes if each.volume.block],
        bricks=make("brick", records.bricks, lambda each: each.brick.id, lambda each: _brick(each, states, specs)),
        block_volumes=make(
            "block volume",
            records.block_volumes,
            lambda each: each.id,
            lambda each: _block_volume(each, specs, now_us),
        ),
        operations=make("operation", records.operations, lambda each: each.id, lambda each: _operation(each, now_us)),
        refusals=refusals,
    )


def _time_us(time: Timestamp, now_us: int) -> int:
    return time.ToMicroseconds() or now_us


def _cluster(cluster: cluster_pb2.Cluster, volume_counts: Mapping[str, int], now_us: int) -> Row:
    check_id("cluster.id", cluster.id)
    return {
        "id": cluster.id,
        "file_enabled": cluster.file_enabled,
        "block_enabled": cluster.block_enabled,
        "revision": 1,
        "forgotten_revision": 0,
        "volume_count": volume_counts.get(cluster.id, 0),
        "request_id": f"import/{cluster.id}",
        "request_digest": "",
        "create_time_us": _time_us(cluster.create_time, now_us),
    }


def _node(booked: books_pb2.BookedNode, now_us: int) -> Row:
    node = new_node(booked.node)
    check_new_node(node)
    return {
        "id": node.id,
        "cluster_id": node.cluster_id,
        "zone": node.zone,
        "manage_hostnames": list(node.manage_hostnames),
        "storage_hostnames": list(node.storage_hostnames),
        "tags": dict(node.tags),
        "state": from_enum("node.state", NodeState, NODE_STATES, booked.node.state).value,
        "presence": Presence.PRESENT.value,
        "operation_id": None,
        "revision": 1,
        "create_time_us": _time_us(booked.node.create_time, now_us),
    }


def _hostnames(booked: books_pb2.BookedNode) -> list[Row]:
    node = new_node(booked.node)
    return [
        {"kind": kind, "name": name, "node_id": node.id}
        for kind, names in (("manage", node.manage_hostnames), ("storage", node.storage_hostnames))
        for name in names
    ]


def _device(booked: books_pb2.BookedDevice, homes: Mapping[str, str], now_us: int) -> Row:
    message = booked.device
    device = new_device(message)
    check_new_device(device)
    facts = DeviceFacts(
        total_bytes=message.total_bytes,
        free_bytes=message.total_bytes - message.used_bytes - message.reserved_bytes,
        extent_size_bytes=message.extent_size_bytes,
        pv_uuid=message.pv_uuid,
        known_paths=tuple(message.known_paths),
    )
    check_facts(facts)
    return {
        "id": device.id,
        "node_id": device.node_id,
        "cluster_id": homes.get(device.node_id, ""),
        "path": device.path,
        "tags": dict(device.tags),
        "state": from_enum("device.state", DeviceState, DEVICE_STATES, message.state).value,
        "presence": Presence.PRESENT.value,
        "operation_id": None,
        "total_bytes": facts.total_bytes,
        "used_bytes": message.used_bytes,
        "reserved_bytes": message.reserved_bytes,
        "unattributed_bytes": booked.unattributed_bytes,
        "extent_size_bytes": facts.extent_size_bytes,
        "pv_uuid": facts.pv_uuid or None,
        "known_paths": list(facts.known_paths),
        "revision": 1,
        "create_time_us": _time_us(message.create_time, now_us),
    }


def _volume(recorded: records_pb2.RecordedVolume, now_us: int) -> Row:
    message = recorded.volume
    volume = new_volume(message)
    check_volume_fields(volume)
    return {
        **volume_columns(volume),
        "state": from_enum("volume.state", VolumeState, VOLUME_STATES, message.state).value,
        "operation_id": message.operation_id or None,
        "create_time_us": _time_us(message.create_time, now_us),
        "origin_volume_id": message.origin_volume_id or None,
        "requested_cluster_ids": list(recorded.requested_cluster_ids),
        "mount_hosts": list(recorded.mount_hosts),
        "brick_order_known": not message.brick_order_unknown,
    }


def _block_hosting(volume: volume_pb2.Volume) -> Row:
    return {
        "volume_id": volume.id,
        "free_bytes": volume.block_hosting.free_size_bytes,
        "reserved_bytes": volume.block_hosting.reserved_size_bytes,
        "restriction": restriction(volume.block_hosting.restriction).value,
    }


def _brick(
    booked: books_pb2.BookedBrick,
    states: Mapping[str, volume_pb2.VolumeState.ValueType],
    specs: Mapping[str, operation_pb2.OperationSpec],
) -> Row:
    (brick,) = new_bricks([booked.brick])
    for name in ("id", "device_id", "node_id"):
        check_id(f"brick.{name}", getattr(brick, name))
    spec = specs.get(booked.operation_id, operation_pb2.OperationSpec())
    state, replaced_id = _brick_state(booked, states, spec)
    if state is not BrickState.CREATING or spec.WhichOneof("kind") != "clone_volume":
        # Gluster names those of a copy when it makes them.
        check_text("brick.path", brick.path, MAX_BRICK_PATH_LENGTH)
        check_text("brick.lv_name", brick.lv_name, MAX_LV_NAME_LENGTH)
    check_text("brick.thin_pool_name", brick.thin_pool_name, MAX_LV_NAME_LENGTH)
    if brick.size_bytes <= 0 or min(brick.thin_pool_size_bytes, brick.pool_metadata_size_bytes) < 0:
        raise invalid("brick.size_bytes", brick.size_bytes, "must be positive, and sizes of the pool not negative")
    return {
        **brick_columns(brick),
        "volume_id": booked.brick.volume_id,
        "state": state.value,
        "operation_id": booked.operation_id or None,
        "replaces_brick_id": replaced_id,
    }


def _brick_state(
    booked: books_pb2.BookedBrick,
    states: Mapping[str, volume_pb2.VolumeState.ValueType],
    spec: operation_pb2.OperationSpec,
) -> tuple[BrickState, str | None]:
    """The state of a brick, and the brick whose place it is to take: its operation tells, or its volume."""
    if not booked.operation_id:
        return BrickState.ACTIVE, None
    kind = spec.WhichOneof("kind")
    if kind == "evict_brick":
        leaves = booked.brick.id == spec.evict_brick.brick_id
        return (BrickState.DELETING, None) if leaves else (BrickState.CREATING, spec.evict_brick.brick_id)
    if kind == "expand_volume":
        return BrickState.CREATING, None
    held = states.get(booked.brick.volume_id, volume_pb2.VOLUME_STATE_UNSPECIFIED)
    return BrickState(from_enum("volume.state", VolumeState, VOLUME_STATES, held).value), None


def _block_volume(
    message: block_volume_pb2.BlockVolume, specs: Mapping[str, operation_pb2.OperationSpec], now_us: int
) -> Row:
    volume = new_block_volume(message)
    state = from_enum("block_volume.state", VolumeState, VOLUME_STATES, message.state)
    check_new_block_volume(volume, with_hosts=state is not VolumeState.CREATING)
    grown = specs.get(message.operation_id, operation_pb2.OperationSpec()).expand_block_volume
    if state is not VolumeState.CREATING:
        check_access(message.iqn, message.lun, message.username, message.password)
    return {
        "id": volume.id,
        "cluster_id": volume.cluster_id,
        "hosting_volume_id": volume.hosting_volume_id,
        "name": volume.name,
        "size_bytes": volume.size_bytes,
        "usable_size_bytes": message.usable_size_bytes,
        "growing_bytes": max(0, grown.new_size_bytes - message.size_bytes),
        "ha_count": message.ha_count,
        "auth": volume.auth,
        "hosts": list(volume.hosts),
        "iqn": message.iqn,
        "lun": message.lun,
        "username": message.username,
        "password": message.password,
        "state": state.value,
        "operation_id": message.operation_id or None,
        "create_time_us": _time_us(message.create_time, now_us),
    }


def _operation(message: operation_pb2.Operation, now_us: int) -> Row:
    check_id("operation.id", message.id)
    check_id("operation.target_id", message.target_id)
    state = from_enum("operation.state", OperationState, STATES, message.state)
    if state in ENDED:
        raise invalid("operation.state", state.value, "has ended; only unfinished operations are taken over")
    return {
        "id": message.id,
        "kind": from_enum("operation.kind", OperationKind, OPERATION_KINDS, message.kind).value,
        "target_id": message.target_id,
        "cluster_id": message.cluster_id,
        "state": state.value,
        "owner": "import",
        # Nobody drives it: whoever looks first takes it up.
        "lease_expire_time_us": 0,
        "spec": message.spec.SerializeToString(),
        "request_id": f"import/{message.id}",
        "request_digest": "",
        "counted": True,
        "completed_step_count": 0,
        "total_step_count": 0,
        "step": "",
        "node_hostname": "",
        "error": message.error.SerializeToString(deterministic=True) if message.HasField("error") else None,
        "create_time_us": _time_us(message.create_time, now_us),
        "update_time_us": now_us,
        "end_time_us": None,
        "attempt_count": 1,
        "stalled": False,
        "placement_count": 1,
        "note": message.note,
        "woken": False,
        "revision": 1,
    }
