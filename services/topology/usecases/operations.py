"""The life of operations: begin, update, commit, abort. Effects: SQL, watchers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, operation_service_pb2
from services.common.ids import new_id
from services.common.reasons import Reason
from services.topology.convert import from_enum
from services.topology.convert_operations import STATES, operation_message, request_digest, spec_kind
from services.topology.domain.checks import (
    MAX_FINGERPRINT_LENGTH,
    MAX_OWNER_LENGTH,
    MAX_REQUEST_ID_LENGTH,
    check_id,
    check_lease,
    check_text,
    invalid,
)
from services.topology.domain.lifecycle import (
    ENDED,
    check_commit,
    check_owner,
    check_progress,
    check_slot,
    counts_in_flight,
    ended_error,
)
from services.topology.domain.model import OperationKind, OperationState
from services.topology.store import Store, Transaction
from services.topology.tables import OPERATION, SERVER, OperationRow
from services.topology.usecases.block_operations import (
    CREATE_BLOCK_VOLUME,
    DELETE_BLOCK_VOLUME,
    EXPAND_BLOCK_VOLUME,
    SET_BLOCK_RESTRICTION,
)
from services.topology.usecases.clean_up_operations import CLEAN_UP, leave_bricks
from services.topology.usecases.clone_operations import CLONE_VOLUME
from services.topology.usecases.clusters import request_id_reused
from services.topology.usecases.device_operations import ADD_DEVICE, DELETE_DEVICE, SET_DEVICE_STATE
from services.topology.usecases.evict_operations import EVICT_BRICK
from services.topology.usecases.expand_operations import EXPAND_VOLUME
from services.topology.usecases.feed import ChangeFeed
from services.topology.usecases.node_operations import ADD_NODE, DELETE_NODE, SET_NODE_STATE
from services.topology.usecases.resync_operations import RESYNC_DEVICE
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import lock_cluster, not_found
from services.topology.usecases.volume_operations import CREATE_VOLUME, DELETE_VOLUME

_RULES: Mapping[str, KindRules] = MappingProxyType(
    {
        OperationKind.CREATE_VOLUME: CREATE_VOLUME,
        OperationKind.DELETE_VOLUME: DELETE_VOLUME,
        OperationKind.ADD_NODE: ADD_NODE,
        OperationKind.DELETE_NODE: DELETE_NODE,
        OperationKind.ADD_DEVICE: ADD_DEVICE,
        OperationKind.DELETE_DEVICE: DELETE_DEVICE,
        OperationKind.SET_NODE_STATE: SET_NODE_STATE,
        OperationKind.SET_DEVICE_STATE: SET_DEVICE_STATE,
        OperationKind.EXPAND_VOLUME: EXPAND_VOLUME,
        OperationKind.CLONE_VOLUME: CLONE_VOLUME,
        OperationKind.RESYNC_DEVICE: RESYNC_DEVICE,
        OperationKind.CLEAN_UP: CLEAN_UP,
        OperationKind.EVICT_BRICK: EVICT_BRICK,
        OperationKind.CREATE_BLOCK_VOLUME: CREATE_BLOCK_VOLUME,
        OperationKind.DELETE_BLOCK_VOLUME: DELETE_BLOCK_VOLUME,
        OperationKind.EXPAND_BLOCK_VOLUME: EXPAND_BLOCK_VOLUME,
        OperationKind.SET_BLOCK_RESTRICTION: SET_BLOCK_RESTRICTION,
    }
)
_MICROSECONDS = 1_000_000
_NANOSECONDS = 1_000_000_000
_BY_ID = select(OPERATION).where(OPERATION.c.id == bindparam("id"))
_BY_ID_LOCKED = _BY_ID.with_for_update()
BY_REQUEST = select(OPERATION).where(OPERATION.c.request_id == bindparam("request_id"))
_LOCK_SERVER = select(SERVER.c.id).where(SERVER.c.id == 1).with_for_update()
_IN_FLIGHT = (
    select(func.count())
    .select_from(OPERATION)
    .where(
        OPERATION.c.end_time_us.is_(None),
        OPERATION.c.counted,
        ~OPERATION.c.stalled,
        OPERATION.c.lease_expire_time_us > bindparam("now"),
    )
)
_INSERT = insert(OPERATION).returning(*OPERATION.c)


def duration_s(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / _NANOSECONDS


def lease_us(seconds: float) -> int:
    """A checked lease in microseconds. Raises InvalidArgumentError unless it is 1 s to 10 min."""
    check_lease(seconds)
    return int(seconds * _MICROSECONDS)


def get_row(tx: Transaction, operation_id: str) -> OperationRow:
    """An operation. Raises NotFoundError (OPERATION_NOT_FOUND)."""
    return _found(tx.first(OperationRow, _BY_ID, {"id": operation_id}), operation_id)


def lock_row(tx: Transaction, operation_id: str) -> OperationRow:
    """An operation that nobody else changes until the transaction ends. Raises NotFoundError (OPERATION_NOT_FOUND)."""
    return _found(tx.first(OperationRow, _BY_ID_LOCKED, {"id": operation_id}), operation_id)


def _found(row: OperationRow | None, operation_id: str) -> OperationRow:
    if row is None:
        raise not_found(Reason.OPERATION_NOT_FOUND, "operation", operation_id)
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOperation:
    """A request to begin an operation.

    Attributes:
        request_id: Makes it repeatable, 1 to 64 characters.
        spec: What is to be done.
        owner: The process that will drive it, 1 to 255 characters.
        lease_s: How long the owner may go without renewing, 1 to 600 s.
        max_in_flight: Operations that may run at the same time; 0 = no limit.
        fingerprint: Digest of what the client asked for, at most 64 characters; empty = made from the spec.
    """

    request_id: str
    spec: operation_pb2.OperationSpec
    owner: str
    lease_s: float
    max_in_flight: int = 0
    fingerprint: str = ""


def begin(store: Store, asked: NewOperation) -> tuple[operation_pb2.Operation, bool]:
    """Records an operation and reserves what it needs; gives it, and whether an earlier call had recorded it.

    Raises:
        InvalidArgumentError: A bad request, or REQUEST_ID_REUSED.
        NotFoundError: The cluster, node, device or volume does not exist.
        ResourceExhaustedError: TOO_MANY_OPERATIONS, TOO_MANY_VOLUMES.
        AbortedError: PLAN_OUTDATED: plan again.
        AlreadyExistsError: VOLUME_NAME_IN_USE, HOSTNAME_IN_USE, DEVICE_PATH_IN_USE.
        FailedPreconditionError: TARGET_BUSY, and the refusals of the kind.
    """
    check_text("request_id", asked.request_id, MAX_REQUEST_ID_LENGTH)
    check_text("owner", asked.owner, MAX_OWNER_LENGTH)
    lease = lease_us(asked.lease_s)
    kind = spec_kind(asked.spec)
    if asked.fingerprint:
        check_text("fingerprint", asked.fingerprint, MAX_FINGERPRINT_LENGTH)
    digest = asked.fingerprint or request_digest(asked.spec)
    rules = _RULES[kind]
    counted = counts_in_flight(kind, to_failed=_to_failed(asked.spec), child=_has_parent(asked.spec))

    def work(tx: Transaction) -> tuple[operation_pb2.Operation, bool]:
        tx.take_turns(asked.request_id)
        first = tx.first(OperationRow, BY_REQUEST, {"request_id": asked.request_id})
        if first is not None:
            if first.request_digest != digest or first.kind != kind.value:
                raise request_id_reused(asked.request_id)
            return operation_message(first), True
        if counted and asked.max_in_flight:
            tx.scalar(_LOCK_SERVER)
        scene = rules.locate(tx, asked.spec)
        if counted and asked.max_in_flight:
            check_slot(tx.scalar(_IN_FLIGHT, {"now": tx.now_us}), asked.max_in_flight)
        operation_id = new_id()
        recorded = rules.begin(tx, asked.spec, operation_id)
        columns = {
            **_new_columns(asked, scene, operation_id, kind=kind, now_us=tx.now_us),
            "lease_expire_time_us": tx.now_us + lease,
            "spec": recorded.SerializeToString(),
            "request_digest": digest,
            "counted": counted,
        }
        return operation_message(_found(tx.first(OperationRow, _INSERT, columns), operation_id)), False

    return store.write(work)


def check_free_slot(store: Store, max_in_flight: int) -> None:
    """Whether one more operation could begin now; `max_in_flight` 0 = no limit.

    Raises:
        InvalidArgumentError: A limit below 0.
        ResourceExhaustedError: TOO_MANY_OPERATIONS.
    """
    if max_in_flight < 0:
        raise invalid("max_in_flight", max_in_flight, "must be 0 or more")
    if max_in_flight:
        check_slot(store.read(lambda tx: tx.scalar(_IN_FLIGHT, {"now": tx.now_us})), max_in_flight)


def _to_failed(spec: operation_pb2.OperationSpec) -> bool:
    return (
        spec.set_node_state.state == node_pb2.NODE_STATE_FAILED
        or spec.set_device_state.state == device_pb2.DEVICE_STATE_FAILED
    )


def _has_parent(spec: operation_pb2.OperationSpec) -> bool:
    return bool(spec.set_device_state.parent_operation_id or spec.evict_brick.parent_operation_id)


def _new_columns(
    asked: NewOperation, scene: Scene, operation_id: str, *, kind: OperationKind, now_us: int
) -> dict[str, Any]:
    """The columns of a new operation whose values are known before it is checked, by name."""
    return {
        "id": operation_id,
        "kind": kind.value,
        "target_id": scene.target_id,
        "cluster_id": scene.cluster_id,
        "state": OperationState.PENDING.value,
        "owner": asked.owner,
        "request_id": asked.request_id,
        "completed_step_count": 0,
        "total_step_count": 0,
        "step": "",
        "node_hostname": "",
        "error": None,
        "create_time_us": now_us,
        "update_time_us": now_us,
        "end_time_us": None,
        "attempt_count": 1,
        "stalled": False,
        "placement_count": 1,
        "note": "",
        "woken": False,
        "revision": 1,
    }


def change_row(tx: Transaction, row: OperationRow, **values: Any) -> operation_pb2.Operation:
    """Changes the record of an operation, and counts its revision on."""
    changes = {**values, "update_time_us": tx.now_us, "revision": row.revision + 1}
    given = {f"new_{name}": value for name, value in changes.items()}
    changed = tx.first(OperationRow, _change_of(*sorted(changes)), {"key": row.id, **given})
    return operation_message(_found(changed, row.id))


@lru_cache
def _change_of(*columns: str) -> ReturningUpdate[Any]:
    """The statement that changes some columns of an operation; it gives all of them."""
    new: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns}
    return update(OPERATION).where(OPERATION.c.id == bindparam("key")).values(new).returning(*OPERATION.c)


def update_progress(
    store: Store, feed: ChangeFeed, request: operation_service_pb2.UpdateOperationRequest
) -> operation_pb2.Operation:
    """Stores how far an operation is.

    Raises:
        NotFoundError: OPERATION_NOT_FOUND.
        FailedPreconditionError: LEASE_LOST, OPERATION_ENDED, or a step back.
    """
    check_id("operation_id", request.operation_id)
    values: dict[str, Any] = {}
    wanted: OperationState | None = None
    if request.state != operation_pb2.OPERATION_STATE_UNSPECIFIED:
        wanted = from_enum("state", OperationState, STATES, request.state)
        values["state"] = wanted.value
    if request.HasField("progress"):
        progress = request.progress
        values["completed_step_count"] = progress.completed_step_count
        values["total_step_count"] = progress.total_step_count
        values["step"] = progress.step
        values["node_hostname"] = progress.node_hostname
    if request.HasField("error"):
        values["error"] = request.error.SerializeToString(deterministic=True)
    if request.stalled:
        values["stalled"] = True

    def work(tx: Transaction) -> operation_pb2.Operation:
        row = lock_row(tx, request.operation_id)
        current = OperationState(row.state)
        if current in ENDED:
            raise ended_error(row.id, current)
        check_owner(row.id, owner=row.owner, caller=request.owner)
        if wanted is not None:
            check_progress(row.id, current, wanted)
        return change_row(tx, row, **values)

    # Progress may be lost in a power cut; a decision to undo may not.
    changed = store.write(work, durable=wanted is OperationState.UNDOING)
    feed.publish(request.operation_id)
    return changed


def commit(
    store: Store, feed: ChangeFeed, request: operation_service_pb2.CommitOperationRequest
) -> operation_pb2.Operation:
    """Makes the outcome of an operation durable; committing twice is a success.

    Raises:
        NotFoundError: OPERATION_NOT_FOUND.
        FailedPreconditionError: LEASE_LOST, OPERATION_ENDED, and what the kind refuses: a state that can not follow.
        FailedPreconditionError: NO_SPACE_ON_DEVICE: a device that was measured again is smaller than what is on it.
        AlreadyExistsError: DEVICE_ALREADY_KNOWN.
        InvalidArgumentError: The outcome is not the kind's, or bricks are to be left that it has not to remove.
    """

    def finish(tx: Transaction, row: OperationRow) -> operation_pb2.Operation:
        check_commit(row.id, OperationState(row.state))
        if request.left_brick_ids:
            leave_bricks(tx, row, request.left_brick_ids, lease_us=lease_us(duration_s(request.lease_duration)))
        spec = operation_pb2.OperationSpec.FromString(row.spec)
        _RULES[row.kind].commit(tx, row, spec, request)
        state = OperationState.SUCCEEDED.value
        return change_row(
            tx, row, state=state, end_time_us=tx.now_us, error=None, step="", node_hostname="", stalled=False
        )

    return _end(
        store,
        feed,
        operation_id=request.operation_id,
        caller=request.owner,
        wanted=OperationState.SUCCEEDED,
        finish=finish,
    )


def abort(
    store: Store, feed: ChangeFeed, request: operation_service_pb2.AbortOperationRequest
) -> operation_pb2.Operation:
    """Takes back what `begin` recorded; aborting twice is a success.

    Raises:
        NotFoundError: OPERATION_NOT_FOUND.
        FailedPreconditionError: LEASE_LOST, OPERATION_ENDED.
        InvalidArgumentError: Something is to be kept, and the kind keeps nothing; or bricks are to be left that it has
            not to remove.
    """

    def finish(tx: Transaction, row: OperationRow) -> operation_pb2.Operation:
        rules = _RULES[row.kind]
        if request.left_brick_ids:
            if row.kind != OperationKind.CREATE_VOLUME and not request.HasField("removed_bricks"):
                raise invalid(
                    "left_brick_ids", list(request.left_brick_ids), "stay in their volume without removed_bricks"
                )
            leave_bricks(tx, row, request.left_brick_ids, lease_us=lease_us(duration_s(request.lease_duration)))
        if not (request.HasField("removed_bricks") or request.HasField("expanded_block_volume")):
            rules.abort(tx, row)
        elif rules.keep is None:
            raise invalid("removed_bricks", row.kind, "is a kind that keeps nothing when it fails")
        else:
            rules.keep(tx, row, request)
        # Without an error in the request, the one of an earlier update stays.
        error = row.error
        if request.HasField("error"):
            spec = operation_pb2.OperationSpec.FromString(row.spec)
            told = request.error if rules.explain is None else rules.explain(tx, spec, request.error)
            error = told.SerializeToString(deterministic=True)
        return change_row(
            tx,
            row,
            state=OperationState.FAILED.value,
            end_time_us=tx.now_us,
            error=error or b"",
            node_hostname="",
            stalled=False,
        )

    return _end(
        store,
        feed,
        operation_id=request.operation_id,
        caller=request.owner,
        wanted=OperationState.FAILED,
        finish=finish,
    )


def _end(
    store: Store,
    feed: ChangeFeed,
    *,
    operation_id: str,
    caller: str,
    wanted: OperationState,
    finish: Callable[[Transaction, OperationRow], operation_pb2.Operation],
) -> operation_pb2.Operation:
    check_id("operation_id", operation_id)

    def work(tx: Transaction) -> operation_pb2.Operation:
        row = get_row(tx, operation_id)
        if row.state not in ENDED and not tx.is_alone:
            # An operation that has not ended holds something in its cluster, so the cluster is there.
            lock_cluster(tx, row.cluster_id)
            row = lock_row(tx, operation_id)
        current = OperationState(row.state)
        if current is wanted:
            return operation_message(row)
        if current in ENDED:
            raise ended_error(row.id, current)
        check_owner(row.id, owner=row.owner, caller=caller)
        return finish(tx, row)

    ended = store.write(work)
    feed.publish(operation_id)
    return ended
