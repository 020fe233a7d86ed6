"""A volume that is being made gets other bricks, after those that it had failed. Effects: SQL, watchers."""

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.topology.convert import new_volume
from services.topology.convert_operations import operation_message
from services.topology.domain.books import reserve_bricks
from services.topology.domain.checks import check_id, check_new_volume, invalid
from services.topology.domain.lifecycle import ENDED, check_owner, ended_error
from services.topology.domain.model import NewVolume, OperationKind, OperationState
from services.topology.store import Store, Transaction
from services.topology.tables import OperationRow
from services.topology.usecases.clean_up_operations import leave_bricks
from services.topology.usecases.feed import ChangeFeed
from services.topology.usecases.operations import change_row, duration_s, get_row, lease_us, lock_row
from services.topology.usecases.shared import advance, lock_cluster, store_books
from services.topology.usecases.volume_rows import (
    check_brick_ids_free,
    check_pools_free,
    drop_bricks,
    insert_bricks,
    planned_devices,
)


def replan(
    store: Store, feed: ChangeFeed, request: operation_service_pb2.ReplanOperationRequest
) -> operation_pb2.Operation:
    """Frees what the bricks of a volume that is being made had reserved, and reserves for others; all or nothing.

    The caller has removed the old bricks from their nodes, but for those that it leaves to a clean-up.

    Raises:
        InvalidArgumentError: Bricks that make no volume, another kind of operation, or one that is being undone.
        NotFoundError: OPERATION_NOT_FOUND.
        FailedPreconditionError: LEASE_LOST, OPERATION_ENDED.
        AbortedError: PLAN_OUTDATED: plan again.
    """
    check_id("operation_id", request.operation_id)
    lease = lease_us(duration_s(request.lease_duration))

    def work(tx: Transaction) -> operation_pb2.Operation:
        row = _lock_running(tx, request)
        spec = operation_pb2.OperationSpec.FromString(row.spec)
        message = spec.create_volume.volume
        if [brick.id for brick in message.bricks] == [brick.id for brick in request.bricks]:
            return operation_message(row)
        del message.bricks[:]
        message.bricks.extend(request.bricks)
        for brick in message.bricks:
            brick.volume_id = message.id
        volume = new_volume(message)
        check_new_volume(volume)
        if request.left_brick_ids:
            leave_bricks(tx, row, request.left_brick_ids, lease_us=lease)
        drop_bricks(tx, row.id, row.cluster_id, volumes=0)
        _reserve(tx, volume, row.id)
        return change_row(
            tx,
            row,
            spec=spec.SerializeToString(),
            placement_count=row.placement_count + 1,
            note=request.note,
            completed_step_count=0,
            total_step_count=0,
        )

    changed = store.write(work)
    feed.publish(request.operation_id)
    return changed


def _lock_running(tx: Transaction, request: operation_service_pb2.ReplanOperationRequest) -> OperationRow:
    row = get_row(tx, request.operation_id)
    if row.state in ENDED:
        raise ended_error(row.id, OperationState(row.state))
    lock_cluster(tx, row.cluster_id)
    row = lock_row(tx, request.operation_id)
    if row.state in ENDED:
        raise ended_error(row.id, OperationState(row.state))
    check_owner(row.id, owner=row.owner, caller=request.owner)
    if row.kind != OperationKind.CREATE_VOLUME or row.state == OperationState.UNDOING:
        raise invalid("operation_id", row.id, f"is {row.state} and of kind {row.kind}; it can not be placed anew")
    return row


def _reserve(tx: Transaction, volume: NewVolume, operation_id: str) -> None:
    check_brick_ids_free(tx, [brick.id for brick in volume.bricks])
    books = reserve_bricks(planned_devices(tx, volume.cluster_id, volume.bricks), volume.bricks)
    check_pools_free(tx, volume.bricks)
    store_books(tx, books, revision=advance(tx, volume.cluster_id))
    insert_bricks(tx, volume.id, volume.bricks, operation_id)
