"""Moving one brick to another device: the new one takes the old one's place when it is in the volume. Effects: SQL."""

from sqlalchemy import bindparam, delete, update

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.topology.convert import new_bricks
from services.topology.domain.books import reserve_bricks
from services.topology.domain.checks import check_replacement, invalid
from services.topology.domain.model import BrickState, VolumeState
from services.topology.domain.pools import needed_bytes
from services.topology.domain.replacements import check_evictable, check_takes_place
from services.topology.store import Transaction
from services.topology.tables import BRICK, BrickRow, OperationRow
from services.topology.usecases import bricks, volumes
from services.topology.usecases.pool_rows import without_bricks
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import (
    advance,
    books_of,
    bricks_of_operation,
    devices_of_operation,
    store_books,
)
from services.topology.usecases.volume_rows import (
    activate_bricks,
    bricks_of,
    check_brick_ids_free,
    check_brick_order,
    check_pools_free,
    get_volume,
    insert_bricks,
    lock_volume,
    planned_devices,
    set_state,
)

_HOLD = (
    update(BRICK)
    .where(BRICK.c.id == bindparam("key"))
    .values(state=BrickState.DELETING.value, operation_id=bindparam("holder"))
)
_SETTLE = (
    update(BRICK)
    .where(BRICK.c.id == bindparam("key"))
    .values(state=BrickState.ACTIVE.value, operation_id=None, replaces_brick_id=None)
)
_FORGET = delete(BRICK).where(BRICK.c.id == bindparam("key"))


def _locate(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    asked = spec.evict_brick
    (new,) = new_bricks([asked.new_brick])
    check_replacement(asked.brick_id, new)
    row = lock_volume(tx, bricks.get_row(tx, asked.brick_id).volume_id)
    return Scene(row.cluster_id, asked.brick_id)


def _begin(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    asked = spec.evict_brick
    (new,) = new_bricks([asked.new_brick])
    # Read again: it may have gone while the lock was awaited.
    old = bricks.get_row(tx, asked.brick_id)
    row = get_volume(tx, old.volume_id)
    check_brick_order(row)
    mine = bricks_of(tx, row.id)
    check_evictable(old, mine, volume_operation_id=row.operation_id)
    check_takes_place(new, old, mine)
    check_brick_ids_free(tx, [new.id])
    books = reserve_bricks(planned_devices(tx, row.cluster_id, [new]), [new])
    check_pools_free(tx, [new])
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.evict_brick.volume.CopyFrom(volumes.message_of(tx, row))
    recorded.evict_brick.new_brick.volume_id = row.id
    store_books(tx, books, revision=advance(tx, row.cluster_id))
    insert_bricks(tx, row.id, [new], operation_id, replaces_brick_id=old.id)
    tx.run(_HOLD, {"key": old.id, "holder": operation_id})
    # It stays active: with its old brick it is used as before.
    set_state(tx, row.id, VolumeState.ACTIVE, holder=operation_id)
    return recorded


def _commit(
    tx: Transaction,
    operation: OperationRow,
    _spec: operation_pb2.OperationSpec,
    outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    if outcome.WhichOneof("outcome") != "removed_bricks":
        raise invalid("outcome", outcome.WhichOneof("outcome"), "must be removed_bricks for an evicted brick")
    _exchange(tx, operation, outcome.removed_bricks)


def _exchange(tx: Transaction, operation: OperationRow, removed: operation_service_pb2.RemovedBricks) -> None:
    """The new brick has the place; the old one's space is free if its pool is gone, and used by nobody if not.

    An old brick that was left to a clean-up is the clean-up's already, with its space.
    """
    old, new = _bricks(tx, operation)
    unknown = set(removed.reclaimed_brick_ids) - {each.id for each in old}
    if unknown:
        raise invalid("reclaimed_brick_ids", sorted(unknown), "are not the brick of the operation")
    books = {row.id: books_of(row) for row in devices_of_operation(tx, operation.id)}
    books[new.device_id] = books[new.device_id].settle(needed_bytes(new))
    after = without_bricks(tx, old, books, reclaimed_brick_ids=set(removed.reclaimed_brick_ids))
    store_books(tx, after, revision=advance(tx, operation.cluster_id))
    tx.run(_FORGET, [{"key": each.id} for each in old])
    tx.run(_SETTLE, {"key": new.id})
    set_state(tx, new.volume_id, VolumeState.ACTIVE, holder=None)


def _bricks(tx: Transaction, operation: OperationRow) -> tuple[list[BrickRow], BrickRow]:
    """The old brick of an operation, none when it was left to a clean-up, and the new one."""
    held = bricks_of_operation(tx, operation.id)
    (new,) = (row for row in held if row.id != operation.target_id)
    return [row for row in held if row.id == operation.target_id], new


def _abort(tx: Transaction, operation: OperationRow) -> None:
    _old, new = _bricks(tx, operation)
    books = {row.id: books_of(row) for row in devices_of_operation(tx, operation.id)}
    released = {new.device_id: books[new.device_id].release(needed_bytes(new))}
    store_books(tx, released, revision=advance(tx, operation.cluster_id))
    tx.run(_FORGET, {"key": new.id})
    activate_bricks(tx, operation.id)
    set_state(tx, new.volume_id, VolumeState.ACTIVE, holder=None)


def _keep(tx: Transaction, operation: OperationRow, request: operation_service_pb2.AbortOperationRequest) -> None:
    _exchange(tx, operation, request.removed_bricks)


EVICT_BRICK = KindRules(locate=_locate, begin=_begin, commit=_commit, abort=_abort, keep=_keep)
