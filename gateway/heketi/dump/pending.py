"""Pending operations of a dump: ours as Heketi's, and what becomes of Heketi's. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from brickyard.topology.v1 import operation_pb2
from gateway.heketi.dump.model import Change, Dump, Operation, OperationType
from gateway.heketi.pending import changes, links, status, type_name

_SETTLE = "let Heketi settle it (heketi-cli server operations cleanup), and make the dump again"


def pending_operation(
    operation: operation_pb2.Operation, now_s: float, all_operations: Iterable[operation_pb2.Operation]
) -> Operation:
    """One of our operations that Heketi has a type for, as its pending one."""
    return Operation(
        id=operation.id,
        time_s=operation.create_time.seconds,
        type=OperationType[type_name(operation).upper().replace("-", "_")],
        actions=(*changes(operation.spec), *links(operation, all_operations)),
        status=status(operation, now_s),
    )


@dataclass(slots=True)
class Settlement:
    """What becomes of Heketi's pending operations.

    Attributes:
        dropped: Those that have done nothing that would have to be taken back, or carried on: they are forgotten.
        handed_over: Those that are carried on as ours: what is half made is removed, a removal is completed.
        reasons: Why the others keep the whole from being taken over.
        notes: What is done with each, as a sentence.
    """

    dropped: set[str] = field(default_factory=set)
    handed_over: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def settlement(dump: Dump) -> Settlement:
    """What becomes of each pending operation of a dump."""
    found = Settlement()
    for operation in sorted(dump.operations.values(), key=lambda each: each.id):
        _settle(operation, found)
    return found


def _settle(operation: Operation, found: Settlement) -> None:
    name = _type_of(operation)
    text = f"pending operation {operation.id} ({name.words})"
    done = {action.change for action in operation.actions}
    if name is OperationType.CREATE_VOLUME:
        found.handed_over.add(operation.id)
        found.notes.append(f"{text}: what there is of the volume is removed, when a gateway finds the operation")
    elif name is OperationType.DELETE_VOLUME:
        found.handed_over.add(operation.id)
        found.notes.append(f"{text}: the removal is carried on, when a gateway finds the operation")
    elif name is OperationType.REMOVE_DEVICE:
        found.dropped.add(operation.id)
        found.notes.append(f"{text}: forgotten; bricks that were moved stay moved, remove the device again")
    elif name is OperationType.EVICT_BRICK and Change.ADD_BRICK not in done:
        found.dropped.add(operation.id)
        found.notes.append(f"{text}: forgotten, it had not begun; evict the brick again")
    else:
        advice = (
            "Heketi can not settle it either: remove the copy with gluster, and the operation with `heketi offline`"
            if name is OperationType.CLONE_VOLUME
            else _SETTLE
        )
        found.reasons.append(f"{text}: what it has done on the nodes can not be told from a dump; {advice}")


def _type_of(operation: Operation) -> OperationType:
    return OperationType(operation.type) if operation.type in set(OperationType) else OperationType.UNKNOWN
