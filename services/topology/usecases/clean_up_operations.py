"""Bricks that an operation has to leave behind, because their node does not answer or cannot do it. Effects: SQL.

They are handed over to an operation of their own, in the transaction in which the first goes on or ends without them.
Their space stays taken until that has removed them: reserved if they were to be made, used if they are to go. The
records hold them as those of a volume in name only, which is being made or deleted as they are.
"""

import hashlib
from collections.abc import Collection, Iterable

from sqlalchemy import bindparam, delete, insert, or_, select, update

from brickyard.topology.v1 import operation_pb2, operation_service_pb2, volume_pb2
from services.common.errors import FailedPreconditionError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.topology.convert import brick_message, timestamp
from services.topology.domain.checks import invalid
from services.topology.domain.model import (
    BrickState,
    Durability,
    DurabilityType,
    NewVolume,
    OperationKind,
    OperationState,
    VolumeState,
)
from services.topology.store import Transaction
from services.topology.tables import BRICK, OPERATION, BrickRow, OperationRow
from services.topology.usecases.pool_rows import forget_bricks
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import advance, bricks_of_operation
from services.topology.usecases.volume_rows import delete_volume, drop_bricks, insert_volume, set_state

_INSERT = insert(OPERATION)
_TARGET = select(OPERATION.c.target_id).where(OPERATION.c.id == bindparam("id"))
_HAND_OVER = (
    update(BRICK)
    .where(BRICK.c.id == bindparam("key"))
    .values(
        volume_id=bindparam("new_volume_id"),
        set_index=bindparam("new_set_index"),
        position=0,
        operation_id=bindparam("holder"),
    )
)

_CLEAN_UPS = select(OPERATION.c.id).where(
    OPERATION.c.kind == OperationKind.CLEAN_UP.value, OPERATION.c.end_time_us.is_(None)
)
_LEFT = BRICK.c.operation_id.in_(_CLEAN_UPS)
NOT_LEFT = or_(BRICK.c.operation_id.is_(None), ~_LEFT)
"""Bricks that no clean-up holds: those are nobody's data, and keep no disk from being given up."""
_CLEANED_ON = select(BRICK.c.operation_id).where(BRICK.c.device_id == bindparam("device_id"), _LEFT).distinct()
_FORGET_ON = delete(BRICK).where(BRICK.c.device_id == bindparam("on_device"), _LEFT)
_PLACE = update(BRICK).where(BRICK.c.id == bindparam("key")).values(set_index=bindparam("new_set_index"))
_END = (
    update(OPERATION)
    .where(OPERATION.c.id == bindparam("key"))
    .values(
        state=OperationState.SUCCEEDED.value,
        end_time_us=bindparam("now"),
        update_time_us=bindparam("now"),
        stalled=False,
        revision=OPERATION.c.revision + 1,
        note=OPERATION.c.note + "; its device was forgotten",
    )
)


def forget_left(tx: Transaction, device_id: str, cluster_id: str) -> None:
    """Forgets what is left on a device that is forgotten itself; a clean-up with nothing else to do has succeeded."""
    holders = sorted(tx.connection.execute(_CLEANED_ON, {"device_id": device_id}).scalars())
    if not holders:
        return
    tx.run(_FORGET_ON, {"on_device": device_id})
    for holder in holders:
        remaining = sorted(bricks_of_operation(tx, holder), key=lambda brick: brick.set_index)
        if remaining:
            # Upwards, so that no place is wanted that another one still has.
            tx.run(_PLACE, [{"key": brick.id, "new_set_index": index} for index, brick in enumerate(remaining)])
            continue
        volume_id = _volume_of(tx, holder)
        tx.run(_END, {"key": holder, "now": tx.now_us})
        delete_volume(tx, volume_id)
        advance(tx, cluster_id, volumes=-1)


def _volume_of(tx: Transaction, operation_id: str) -> str:
    """The volume in name only that a clean-up holds."""
    volume_id: str = tx.scalar(_TARGET, {"id": operation_id})
    return volume_id


def clean_up_id(operation: operation_pb2.Operation, *, before: int = 0) -> str:
    """The id of the operation that removes what an operation has left of its present placement.

    Args:
        operation: The operation as it is now.
        before: How many placements earlier.
    """
    return _clean_up_id(operation.id, operation.placement_count - before)


def _clean_up_id(operation_id: str, placement: int) -> str:
    # Told by the first operation, so that a repeated call finds it.
    return hashlib.sha256(f"{operation_id}/clean-up/{placement}".encode()).hexdigest()[:32]


def leave_bricks(tx: Transaction, origin: OperationRow, brick_ids: Collection[str], *, lease_us: int) -> None:
    """Begins the clean-up of bricks that an operation leaves behind; its cluster is locked.

    Args:
        tx: The transaction in which the operation goes on or ends without them.
        origin: The operation.
        brick_ids: The bricks.
        lease_us: The first lease of its owner on the clean-up, in microseconds.

    Raises:
        InvalidArgumentError: A brick is none that the operation makes, deletes or moves away.
    """
    held = {brick.id: brick for brick in bricks_of_operation(tx, origin.id) if _may_be_left(origin, brick)}
    unknown = sorted(set(brick_ids) - set(held))
    if unknown:
        raise invalid("left_brick_ids", unknown, "are not bricks that the operation makes or is to remove")
    bricks = [held[brick_id] for brick_id in sorted(set(brick_ids))]
    leaving = bricks[0].state == BrickState.DELETING
    operation_id, volume_id = _clean_up_id(origin.id, origin.placement_count), new_id()
    leavings = NewVolume(
        id=volume_id,
        name=f"left_{operation_id}",
        cluster_id=origin.cluster_id,
        size_bytes=sum(brick.size_bytes for brick in bricks),
        durability=Durability(type=DurabilityType.NONE, replica_count=0, data_count=0, redundancy_count=0),
    )
    insert_volume(tx, leavings, operation_id, origin_volume_id=None)
    if leaving:
        set_state(tx, volume_id, VolumeState.DELETING, holder=operation_id)
    tx.run(
        _HAND_OVER,
        [
            {"key": brick.id, "new_volume_id": volume_id, "new_set_index": index, "holder": operation_id}
            for index, brick in enumerate(bricks)
        ],
    )
    advance(tx, origin.cluster_id, volumes=1)
    row = _new_row(tx, origin, operation_id, volume_id, lease_us=lease_us)
    spec = _spec(origin, leavings, bricks, operation_id, now_us=tx.now_us)
    if leaving:
        spec.clean_up.volume.state = volume_pb2.VOLUME_STATE_DELETING
    row.spec = spec.SerializeToString()
    tx.run(_INSERT, row.model_dump())


def _may_be_left(origin: OperationRow, brick: BrickRow) -> bool:
    if origin.kind == OperationKind.EVICT_BRICK:
        return brick.id == origin.target_id
    return origin.kind in (OperationKind.CREATE_VOLUME, OperationKind.DELETE_VOLUME)


def _spec(
    origin: OperationRow, leavings: NewVolume, bricks: Iterable[BrickRow], operation_id: str, *, now_us: int
) -> operation_pb2.OperationSpec:
    volume = volume_pb2.Volume(
        id=leavings.id,
        name=leavings.name,
        cluster_id=leavings.cluster_id,
        size_bytes=leavings.size_bytes,
        state=volume_pb2.VOLUME_STATE_CREATING,
        operation_id=operation_id,
        create_time=timestamp(now_us),
    )
    for index, brick in enumerate(bricks):
        message = volume.bricks.add()
        message.CopyFrom(brick_message(brick))
        message.volume_id, message.set_index, message.position = leavings.id, index, 0
    return operation_pb2.OperationSpec(clean_up=operation_pb2.CleanUpSpec(origin_operation_id=origin.id, volume=volume))


def _new_row(
    tx: Transaction, origin: OperationRow, operation_id: str, volume_id: str, *, lease_us: int
) -> OperationRow:
    return OperationRow(
        id=operation_id,
        kind=OperationKind.CLEAN_UP.value,
        target_id=volume_id,
        cluster_id=origin.cluster_id,
        state=OperationState.PENDING.value,
        owner=origin.owner,
        lease_expire_time_us=tx.now_us + lease_us,
        spec=b"",
        request_id=operation_id,
        request_digest="",
        counted=False,
        completed_step_count=0,
        total_step_count=0,
        step="",
        node_hostname="",
        error=None,
        create_time_us=tx.now_us,
        update_time_us=tx.now_us,
        end_time_us=None,
        attempt_count=1,
        revision=1,
        # It is there because a node does not answer, or does not do it.
        stalled=True,
        note=f"left behind by operation {origin.id}",
    )


def _not_asked_for(_tx: Transaction, _spec: operation_pb2.OperationSpec) -> Scene:
    raise invalid("spec.kind", OperationKind.CLEAN_UP.value, "is begun by the topology only")


def _begin(_tx: Transaction, _spec: operation_pb2.OperationSpec, _operation_id: str) -> operation_pb2.OperationSpec:
    raise invalid("spec.kind", OperationKind.CLEAN_UP.value, "is begun by the topology only")


def _commit(
    tx: Transaction,
    operation: OperationRow,
    _spec: operation_pb2.OperationSpec,
    outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    if any(brick.state == BrickState.DELETING for brick in bricks_of_operation(tx, operation.id)):
        forget_bricks(tx, operation, outcome.removed_bricks, volumes=-1)
    else:
        # They were never finished: whatever there was of their pools, the space was reserved only.
        drop_bricks(tx, operation.id, operation.cluster_id, volumes=-1)
    delete_volume(tx, operation.target_id)


def _abort(_tx: Transaction, operation: OperationRow) -> None:
    raise FailedPreconditionError(
        Reason.INVALID_ARGUMENT,
        f"operation {operation.id} removes what another one has left; it ends when that is done",
        operation_id=operation.id,
    )


CLEAN_UP = KindRules(locate=_not_asked_for, begin=_begin, commit=_commit, abort=_abort)
