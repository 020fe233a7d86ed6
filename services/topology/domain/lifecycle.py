"""The life of an operation: states, ownership, ends, limits. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from services.common.errors import FailedPreconditionError, ResourceExhaustedError
from services.common.reasons import Reason
from services.topology.domain.model import OperationKind, OperationState

ENDED = frozenset({OperationState.SUCCEEDED, OperationState.FAILED})
# Ended operations stay readable for a day.
RETENTION_S = 24 * 3600
_NEXT: Mapping[OperationState, frozenset[OperationState]] = MappingProxyType(
    {
        OperationState.PENDING: frozenset({OperationState.RUNNING, OperationState.UNDOING}),
        OperationState.RUNNING: frozenset({OperationState.RUNNING, OperationState.UNDOING}),
        OperationState.UNDOING: frozenset({OperationState.UNDOING}),
    }
)
_COUNTED = frozenset(
    {
        OperationKind.CREATE_VOLUME,
        OperationKind.DELETE_VOLUME,
        OperationKind.EXPAND_VOLUME,
        OperationKind.CLONE_VOLUME,
        OperationKind.EVICT_BRICK,
        OperationKind.CREATE_BLOCK_VOLUME,
        OperationKind.DELETE_BLOCK_VOLUME,
        OperationKind.EXPAND_BLOCK_VOLUME,
        OperationKind.SET_BLOCK_RESTRICTION,
    }
)
_COUNTED_WHEN_FAILING = frozenset({OperationKind.SET_NODE_STATE, OperationKind.SET_DEVICE_STATE})


def counts_in_flight(kind: OperationKind, *, to_failed: bool, child: bool = False) -> bool:
    """Whether an operation takes one of the in-flight slots (Heketi's rule).

    Args:
        kind: Its kind.
        to_failed: Whether it sets a node or device to failed, which moves bricks.
        child: Whether it is a part of another one, which has a slot; waiting for a second one could last forever.
    """
    if child:
        return False
    return kind in _COUNTED or (to_failed and kind in _COUNTED_WHEN_FAILING)


def check_slot(in_flight: int, maximum: int) -> None:
    """Whether one more operation may begin; `maximum` 0 = no limit.

    Raises:
        ResourceExhaustedError: TOO_MANY_OPERATIONS.
    """
    if maximum and in_flight >= maximum:
        raise ResourceExhaustedError(
            Reason.TOO_MANY_OPERATIONS,
            f"{in_flight} operations are in flight, at most {maximum} may be",
            in_flight=in_flight,
            maximum=maximum,
        )


def check_owner(operation_id: str, *, owner: str, caller: str) -> None:
    """Whether the caller may drive the operation.

    Raises:
        FailedPreconditionError: LEASE_LOST: another process holds it.
    """
    if owner != caller:
        raise FailedPreconditionError(
            Reason.LEASE_LOST,
            f"operation {operation_id} is held by {owner}, not by {caller}",
            operation_id=operation_id,
            owner=owner,
            caller=caller,
        )


def ended_error(operation_id: str, state: OperationState) -> FailedPreconditionError:
    """The error for a change of an operation that has ended."""
    return FailedPreconditionError(
        Reason.OPERATION_ENDED,
        f"operation {operation_id} has {state.value} already",
        operation_id=operation_id,
        state=state.value,
    )


def check_progress(operation_id: str, current: OperationState, wanted: OperationState) -> None:
    """Whether a running operation may go on to `wanted`.

    Raises:
        FailedPreconditionError: OPERATION_ENDED, or INVALID_ARGUMENT for a step back.
    """
    if current in ENDED:
        raise ended_error(operation_id, current)
    if wanted not in _NEXT[current]:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT,
            f"operation {operation_id} can not go from {current.value} to {wanted.value}",
            operation_id=operation_id,
            state=current.value,
            wanted=wanted.value,
        )


def check_commit(operation_id: str, current: OperationState) -> None:
    """Whether an operation may succeed now; one that has succeeded is the caller's business.

    Raises:
        FailedPreconditionError: OPERATION_ENDED, or INVALID_ARGUMENT while it is being undone.
    """
    if current is OperationState.FAILED:
        raise ended_error(operation_id, current)
    if current is OperationState.UNDOING:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT,
            f"operation {operation_id} is being undone; only an abort ends it",
            operation_id=operation_id,
            state=current.value,
        )
