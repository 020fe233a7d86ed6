"""Our unfinished operations as Heketi's pending ones: names, states and what each of them changes. Pure.

Heketi has a pending operation for what makes, changes or moves bricks. Adding and deleting nodes and devices, states
and resyncs have none there, and so none here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, volume_pb2
from gateway.heketi.dump.model import Action, Change
from services.common.units import GIB

_DESCRIPTIONS: Mapping[int, str] = {
    Change.ADD_BRICK: "Add brick",
    Change.ADD_VOLUME: "Add volume",
    Change.DELETE_BRICK: "Delete brick",
    Change.DELETE_VOLUME: "Delete volume",
    Change.EXPAND_VOLUME: "Expand volume",
    Change.ADD_BLOCK_VOLUME: "Add block volume",
    Change.DELETE_BLOCK_VOLUME: "Delete block volume",
    Change.REMOVE_DEVICE: "Remove device",
    Change.CLONE_VOLUME: "Clone volume from",
    # The copy; the words are Heketi's.
    Change.ADD_VOLUME_CLONE: "Expand volume to",
    Change.CHILD_OPERATION: "Performing child operation",
    Change.PARENT_OPERATION: "Belongs to parent operation",
    Change.EXPAND_BLOCK_VOLUME: "Expand block volume",
}
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


def parent_id(operation: operation_pb2.Operation) -> str:
    """Id of the operation that this one is a part of; empty when it is none."""
    spec = operation.spec
    return spec.evict_brick.parent_operation_id or spec.set_device_state.parent_operation_id


def known_here(operations: Iterable[operation_pb2.Operation]) -> list[operation_pb2.Operation]:
    """Those that Heketi has a type for, ascending by id."""
    return sorted((each for each in operations if type_name(each)), key=lambda each: each.id)


def _is_driven(operation: operation_pb2.Operation, now_s: float) -> bool:
    return operation.lease_expire_time.ToMilliseconds() > now_s * 1000


def status(operation: operation_pb2.Operation, now_s: float) -> str:
    """Heketi's status of it at a time in seconds since 1970."""
    if operation.stalled:
        return _FAILED
    return _NEW if _is_driven(operation, now_s) else _STALE


def _holds_slot(operation: operation_pb2.Operation, now_s: float) -> bool:
    """Whether it counts against the limit; one that waits for a node does not, nor a part of another one."""
    return not parent_id(operation) and not operation.stalled and _is_driven(operation, now_s)


def counts(operations: Sequence[operation_pb2.Operation], now_s: float) -> dict[str, int]:
    """How many unfinished operations there are of which status, for OperationsInfo.

    Args:
        operations: All unfinished ones, also of kinds without a type.
        now_s: Seconds since the epoch.
    """
    known = known_here(operations)
    statuses = [status(each, now_s) for each in known]
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
        "status": status(operation, now_s),
        "sub_status": _IN_FLIGHT if _holds_slot(operation, now_s) else "",
    }


def details(
    operation: operation_pb2.Operation, now_s: float, others: Iterable[operation_pb2.Operation] = ()
) -> dict[str, Any]:
    """PendingOperationDetails of an operation that has a type; its sub status is never told (Heketi's rule).

    `others` are the unfinished operations, among them those that are a part of this one.
    """
    shown = [
        {"id": action.id, "description": _DESCRIPTIONS[action.change]}
        for action in (*changes(operation.spec), *links(operation, others))
    ]
    return {**summary(operation, now_s), "sub_status": "", "changes": shown}


def links(operation: operation_pb2.Operation, others: Iterable[operation_pb2.Operation]) -> Iterator[Action]:
    """The operations that are a part of one, and the one that it is a part of."""
    yield from _each(Change.CHILD_OPERATION, (each.id for each in others if parent_id(each) == operation.id))
    if parent_id(operation):
        yield Action(change=Change.PARENT_OPERATION, id=parent_id(operation))


def _each(change: Change, ids: Iterable[str]) -> Iterator[Action]:
    return (Action(change=change, id=each) for each in ids)


def changes(spec: operation_pb2.OperationSpec) -> Iterator[Action]:
    """What Heketi would have recorded of an operation that it has a type for, in its order."""
    kind = spec.WhichOneof("kind")
    if kind == "create_volume":
        yield from _each(Change.ADD_BRICK, (brick.id for brick in spec.create_volume.volume.bricks))
        yield Action(change=Change.ADD_VOLUME, id=spec.create_volume.volume.id)
    elif kind == "clean_up":
        did = Change.DELETE_BRICK if _deletes(spec) else Change.ADD_BRICK
        yield from _each(did, (brick.id for brick in spec.clean_up.volume.bricks))
    elif kind == "delete_volume":
        yield from _each(Change.DELETE_BRICK, (brick.id for brick in spec.delete_volume.volume.bricks))
        yield Action(change=Change.DELETE_VOLUME, id=spec.delete_volume.volume_id)
    elif kind == "expand_volume":
        yield from _each(Change.ADD_BRICK, (brick.id for brick in spec.expand_volume.bricks))
        added = spec.expand_volume.added_size_bytes // GIB
        yield Action(change=Change.EXPAND_VOLUME, id=spec.expand_volume.volume_id, delta=added)
    elif kind == "clone_volume":
        yield Action(change=Change.CLONE_VOLUME, id=spec.clone_volume.source_volume_id)
        yield Action(change=Change.ADD_VOLUME_CLONE, id=spec.clone_volume.volume_id)
        yield from _each(Change.ADD_BRICK, spec.clone_volume.brick_ids)
    elif kind == "evict_brick":
        yield Action(change=Change.DELETE_BRICK, id=spec.evict_brick.brick_id)
        yield Action(change=Change.ADD_BRICK, id=spec.evict_brick.new_brick.id)
    elif kind == "set_device_state":
        yield Action(change=Change.REMOVE_DEVICE, id=spec.set_device_state.device_id)
    else:
        yield from _block_actions(spec)


def _block_actions(spec: operation_pb2.OperationSpec) -> Iterator[Action]:
    kind = spec.WhichOneof("kind")
    if kind == "create_block_volume":
        made = spec.create_block_volume
        if made.HasField("hosting_volume"):
            yield from _each(Change.ADD_BRICK, (brick.id for brick in made.hosting_volume.bricks))
            yield Action(change=Change.ADD_VOLUME, id=made.hosting_volume.id)
        yield Action(change=Change.ADD_BLOCK_VOLUME, id=made.block_volume.id)
    elif kind == "delete_block_volume":
        yield Action(change=Change.DELETE_BLOCK_VOLUME, id=spec.delete_block_volume.block_volume_id)
    elif kind == "expand_block_volume":
        grown = spec.expand_block_volume
        yield Action(change=Change.EXPAND_BLOCK_VOLUME, id=grown.block_volume_id, delta=grown.new_size_bytes // GIB)
