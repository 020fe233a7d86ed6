"""Our unfinished operations as Heketi's pending ones: names, states and what each of them changes. Pure.

Heketi has a pending operation for what makes, changes or moves bricks. Adding and deleting nodes and devices, states
and resyncs have none there, and so none here.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, volume_pb2

_Change = tuple[str, str]
_NEW, _STALE, _FAILED = "", "stale", "failed"
_IN_FLIGHT = "in-flight"
_BLOCK_KINDS = frozenset({"create_block_volume", "delete_block_volume", "expand_block_volume"})
_KINDS = frozenset({"create_volume", "delete_volume", "expand_volume", "clone_volume", "evict_brick"}) | _BLOCK_KINDS


def type_name(operation: operation_pb2.Operation) -> str:
    """Heketi's name of such an operation; empty when it has none."""
    kind = operation.spec.WhichOneof("kind")
    if kind == "set_device_state":
        removes = operation.spec.set_device_state.state == device_pb2.DEVICE_STATE_FAILED
        return "remove-device" if removes else ""
    if kind == "clean_up":
        # In Heketi the operation that could not be rolled back stays, as failed.
        # A brick of a deleted volume, or one that was moved away, is still to be deleted.
        return "delete-volume" if _deletes(operation.spec) else "create-volume"
    return kind.replace("_", "-") if kind in _KINDS else ""


def _deletes(spec: operation_pb2.OperationSpec) -> bool:
    return spec.clean_up.volume.state == volume_pb2.VOLUME_STATE_DELETING


def _parent_id(operation: operation_pb2.Operation) -> str:
    """Id of the operation that this one is a part of; empty when it is none."""
    spec = operation.spec
    return spec.evict_brick.parent_operation_id or spec.set_device_state.parent_operation_id


def known_here(operations: Iterable[operation_pb2.Operation]) -> list[operation_pb2.Operation]:
    """Those that Heketi has a type for, ascending by id."""
    return sorted((each for each in operations if type_name(each)), key=lambda each: each.id)


def _is_driven(operation: operation_pb2.Operation, now_s: float) -> bool:
    return operation.lease_expire_time.ToMilliseconds() > now_s * 1000


def _status(operation: operation_pb2.Operation, now_s: float) -> str:
    if operation.stalled:
        return _FAILED
    return _NEW if _is_driven(operation, now_s) else _STALE


def _holds_slot(operation: operation_pb2.Operation, now_s: float) -> bool:
    """Whether it counts against the limit; one that waits for a node does not, nor a part of another one."""
    return not _parent_id(operation) and not operation.stalled and _is_driven(operation, now_s)


def counts(operations: Sequence[operation_pb2.Operation], now_s: float) -> dict[str, int]:
    """How many unfinished operations there are of which status, for OperationsInfo.

    Args:
        operations: All unfinished ones, also of kinds without a type.
        now_s: Seconds since the epoch.
    """
    known = known_here(operations)
    statuses = [_status(each, now_s) for each in known]
    # Removing a node holds a slot, although it is no pending operation (Heketi's rule).
    slots = [*known, *(each for each in operations if _removes_node(each))]
    return {
        "total": len(known),
        "in_flight": sum(_holds_slot(each, now_s) for each in slots),
        "stale": statuses.count(_STALE),
        "failed": statuses.count(_FAILED),
        "new": statuses.count(_NEW),
    }


def _removes_node(operation: operation_pb2.Operation) -> bool:
    return operation.spec.set_node_state.state == node_pb2.NODE_STATE_FAILED


def summary(operation: operation_pb2.Operation, now_s: float) -> dict[str, Any]:
    """PendingOperationInfo of an operation that has a type."""
    return {
        "id": operation.id,
        "type_name": type_name(operation),
        "status": _status(operation, now_s),
        "sub_status": _IN_FLIGHT if _holds_slot(operation, now_s) else "",
    }


def details(
    operation: operation_pb2.Operation, now_s: float, others: Iterable[operation_pb2.Operation] = ()
) -> dict[str, Any]:
    """PendingOperationDetails of an operation that has a type; its sub status is never told (Heketi's rule).

    `others` are the unfinished operations, among them those that are a part of this one.
    """
    children = [(each.id, "Performing child operation") for each in others if _parent_id(each) == operation.id]
    parent = [(_parent_id(operation), "Belongs to parent operation")] if _parent_id(operation) else []
    changes = [
        {"id": target, "description": description}
        for target, description in (*_changes(operation.spec), *children, *parent)
    ]
    return {**summary(operation, now_s), "sub_status": "", "changes": changes}


def _bricks(description: str, bricks: Iterable[volume_pb2.Brick]) -> Iterator[_Change]:
    return ((brick.id, description) for brick in bricks)


def _changes(spec: operation_pb2.OperationSpec) -> Iterator[_Change]:
    """What Heketi would have recorded, in its order."""
    kind = spec.WhichOneof("kind")
    if kind == "create_volume":
        yield from _bricks("Add brick", spec.create_volume.volume.bricks)
        yield spec.create_volume.volume.id, "Add volume"
    elif kind == "clean_up":
        did = "Delete brick" if _deletes(spec) else "Add brick"
        yield from _bricks(did, spec.clean_up.volume.bricks)
    elif kind == "delete_volume":
        yield from _bricks("Delete brick", spec.delete_volume.volume.bricks)
        yield spec.delete_volume.volume_id, "Delete volume"
    elif kind == "expand_volume":
        yield from _bricks("Add brick", spec.expand_volume.bricks)
        yield spec.expand_volume.volume_id, "Expand volume"
    elif kind == "clone_volume":
        yield spec.clone_volume.source_volume_id, "Clone volume from"
        # The copy; the words are Heketi's.
        yield spec.clone_volume.volume_id, "Expand volume to"
        yield from ((brick_id, "Add brick") for brick_id in spec.clone_volume.brick_ids)
    elif kind == "evict_brick":
        yield spec.evict_brick.brick_id, "Delete brick"
        yield spec.evict_brick.new_brick.id, "Add brick"
    elif kind in _BLOCK_KINDS:
        yield from _block_changes(spec)
    elif kind == "set_device_state":
        yield spec.set_device_state.device_id, "Remove device"


def _block_changes(spec: operation_pb2.OperationSpec) -> Iterator[_Change]:
    kind = spec.WhichOneof("kind")
    if kind == "create_block_volume":
        made = spec.create_block_volume
        if made.HasField("hosting_volume"):
            yield from _bricks("Add brick", made.hosting_volume.bricks)
            yield made.hosting_volume.id, "Add volume"
        yield made.block_volume.id, "Add block volume"
    elif kind == "delete_block_volume":
        yield spec.delete_block_volume.block_volume_id, "Delete block volume"
    else:
        yield spec.expand_block_volume.block_volume_id, "Expand block volume"
