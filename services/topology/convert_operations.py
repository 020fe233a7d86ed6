"""Between operation rows and messages, and what an operation's request asked for. Pure."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf.message import Message

from brickyard.topology.v1 import operation_pb2
from services.common.errors import UnimplementedError
from services.common.reasons import Reason
from services.topology.convert import timestamp
from services.topology.domain.checks import invalid
from services.topology.domain.model import OperationKind, OperationState
from services.topology.tables import OperationRow

OPERATION_KINDS: Mapping[str, operation_pb2.OperationKind.ValueType] = MappingProxyType(
    {
        OperationKind.CREATE_VOLUME: operation_pb2.OPERATION_KIND_CREATE_VOLUME,
        OperationKind.DELETE_VOLUME: operation_pb2.OPERATION_KIND_DELETE_VOLUME,
        OperationKind.ADD_NODE: operation_pb2.OPERATION_KIND_ADD_NODE,
        OperationKind.DELETE_NODE: operation_pb2.OPERATION_KIND_DELETE_NODE,
        OperationKind.ADD_DEVICE: operation_pb2.OPERATION_KIND_ADD_DEVICE,
        OperationKind.DELETE_DEVICE: operation_pb2.OPERATION_KIND_DELETE_DEVICE,
        OperationKind.SET_NODE_STATE: operation_pb2.OPERATION_KIND_SET_NODE_STATE,
        OperationKind.SET_DEVICE_STATE: operation_pb2.OPERATION_KIND_SET_DEVICE_STATE,
        OperationKind.EXPAND_VOLUME: operation_pb2.OPERATION_KIND_EXPAND_VOLUME,
        OperationKind.CLONE_VOLUME: operation_pb2.OPERATION_KIND_CLONE_VOLUME,
        OperationKind.RESYNC_DEVICE: operation_pb2.OPERATION_KIND_RESYNC_DEVICE,
        OperationKind.EVICT_BRICK: operation_pb2.OPERATION_KIND_EVICT_BRICK,
        OperationKind.CREATE_BLOCK_VOLUME: operation_pb2.OPERATION_KIND_CREATE_BLOCK_VOLUME,
        OperationKind.DELETE_BLOCK_VOLUME: operation_pb2.OPERATION_KIND_DELETE_BLOCK_VOLUME,
        OperationKind.EXPAND_BLOCK_VOLUME: operation_pb2.OPERATION_KIND_EXPAND_BLOCK_VOLUME,
        OperationKind.SET_BLOCK_RESTRICTION: operation_pb2.OPERATION_KIND_SET_BLOCK_RESTRICTION,
        OperationKind.CLEAN_UP: operation_pb2.OPERATION_KIND_CLEAN_UP,
    }
)
STATES: Mapping[str, operation_pb2.OperationState.ValueType] = MappingProxyType(
    {
        OperationState.PENDING: operation_pb2.OPERATION_STATE_PENDING,
        OperationState.RUNNING: operation_pb2.OPERATION_STATE_RUNNING,
        OperationState.UNDOING: operation_pb2.OPERATION_STATE_UNDOING,
        OperationState.SUCCEEDED: operation_pb2.OPERATION_STATE_SUCCEEDED,
        OperationState.FAILED: operation_pb2.OPERATION_STATE_FAILED,
    }
)


def operation_message(row: OperationRow) -> operation_pb2.Operation:
    """An operation."""
    return operation_pb2.Operation(
        id=row.id,
        spec=operation_pb2.OperationSpec.FromString(row.spec),
        kind=OPERATION_KINDS[row.kind],
        target_id=row.target_id,
        cluster_id=row.cluster_id,
        state=STATES[row.state],
        owner=row.owner,
        lease_expire_time=timestamp(row.lease_expire_time_us),
        progress=operation_pb2.OperationProgress(
            completed_step_count=row.completed_step_count,
            total_step_count=row.total_step_count,
            step=row.step,
            node_hostname=row.node_hostname,
        ),
        error=operation_pb2.OperationError.FromString(row.error) if row.error is not None else None,
        create_time=timestamp(row.create_time_us),
        update_time=timestamp(row.update_time_us),
        end_time=timestamp(row.end_time_us) if row.end_time_us is not None else None,
        request_id=row.request_id,
        attempt_count=row.attempt_count,
        revision=row.revision,
        stalled=row.stalled,
        placement_count=row.placement_count,
        note=row.note,
    )


def spec_kind(spec: operation_pb2.OperationSpec) -> OperationKind:
    """The kind of a spec.

    Raises:
        InvalidArgumentError: It has none.
        UnimplementedError: NOT_SUPPORTED_YET: the contract has it, this version does not.
    """
    kind = spec.WhichOneof("kind")
    if kind is None:
        raise invalid("spec.kind", "", "is missing")
    try:
        return OperationKind(kind)
    except ValueError as error:
        raise UnimplementedError(
            Reason.NOT_SUPPORTED_YET, f"operations of kind {kind} are not supported yet", kind=kind
        ) from error


# What the gateway or the topology put into a spec, by kind: "" names the spec of the kind itself.
_NOT_ASKED: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "create_volume": {
            "": ("max_volumes_per_cluster",),
            "volume": (
                *("id", "cluster_id", "bricks", "state", "create_time", "operation_id"),
                *("origin_volume_id", "block_hosting"),
            ),
        },
        "delete_volume": {"": ("volume",)},
        "add_node": {"": ("probing_node_id",), "node": ("id", "state", "device_ids", "create_time")},
        "delete_node": {"": ("node",)},
        "add_device": {"device": ("id", "state", "create_time")},
        "delete_device": {"": ("device",)},
        "expand_volume": {"": ("bricks", "rebalance", "volume")},
        "clone_volume": {"": ("volume_id", "brick_ids", "source")},
        "resync_device": {"": ("device",)},
        "set_device_state": {"": ("blocking_operation_id",)},
        "create_block_volume": {
            "": ("hosting_volume", "max_volumes_per_cluster", "prealloc"),
            "block_volume": (
                *("id", "cluster_id", "hosting_volume_id", "hosting_volume_name", "usable_size_bytes"),
                *("ha_count", "hosts", "state", "create_time", "operation_id"),
            ),
        },
        "delete_block_volume": {"": ("block_volume",)},
        "expand_block_volume": {"": ("block_volume",)},
        "evict_brick": {"": ("new_brick", "volume")},
    }
)


def request_digest(spec: operation_pb2.OperationSpec) -> str:
    """A digest of what the user asked for, without what the gateway chose.

    A repeated request is planned again: ids, bricks and even the cluster may differ, and it is still the same request.
    """
    asked = operation_pb2.OperationSpec()
    asked.CopyFrom(spec)
    # A volume without a name is named after its id.
    if asked.create_volume.volume.name == f"vol_{asked.create_volume.volume.id}":
        asked.create_volume.volume.ClearField("name")
    if asked.clone_volume.name == f"vol_{asked.clone_volume.volume_id}":
        asked.clone_volume.ClearField("name")
    if asked.create_block_volume.block_volume.name == f"blockvol_{asked.create_block_volume.block_volume.id}":
        asked.create_block_volume.block_volume.ClearField("name")
    kind = asked.WhichOneof("kind") or ""
    for part, fields in _NOT_ASKED.get(kind, {}).items():
        of_kind = getattr(asked, kind)
        message: Message = getattr(of_kind, part) if part else of_kind
        for field in fields:
            message.ClearField(field)
    return hashlib.sha256(asked.SerializeToString(deterministic=True)).hexdigest()
