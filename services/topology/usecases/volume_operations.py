"""Operations on volumes: create and delete. Effects: SQL."""

from sqlalchemy import bindparam, update

from brickyard.topology.v1 import operation_pb2, operation_service_pb2, volume_pb2
from services.topology.convert import new_volume, timestamp
from services.topology.domain.books import reserve_bricks
from services.topology.domain.checks import check_id, check_new_volume, invalid
from services.topology.domain.model import BrickState, VolumeState
from services.topology.store import Transaction
from services.topology.tables import BRICK, OperationRow
from services.topology.usecases import volumes
from services.topology.usecases.block_rows import check_hosts_nothing
from services.topology.usecases.clusters import check_takes_volume
from services.topology.usecases.pool_rows import forget_bricks
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import (
    advance,
    lock_cluster,
    store_books,
)
from services.topology.usecases.volume_rows import (
    activate_bricks,
    check_brick_ids_free,
    check_pools_free,
    check_volume_id_free,
    delete_volume,
    drop_bricks,
    free_volume,
    insert_volume,
    lock_volume,
    planned_devices,
    set_state,
    settle_bricks,
)

_HOLD_BRICKS = (
    update(BRICK)
    .where(BRICK.c.volume_id == bindparam("key"))
    .values(state=BrickState.DELETING.value, operation_id=bindparam("holder"))
)


def _locate_create(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    volume = spec.create_volume.volume
    check_new_volume(new_volume(volume))
    return Scene(lock_cluster(tx, volume.cluster_id).id, volume.id)


def _begin_create(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    made = recorded.create_volume
    record_new_volume(tx, made.volume, operation_id, max_volumes=made.max_volumes_per_cluster)
    return recorded


def record_new_volume(tx: Transaction, message: volume_pb2.Volume, operation_id: str, *, max_volumes: int) -> None:
    """Reserves and records a planned volume, in a locked cluster; fills in what the topology knows of it.

    Raises:
        BrickyardError: What `check_takes_volume` and `reserve_bricks` raise, and AlreadyExistsError for a known id.
    """
    volume = new_volume(message)
    cluster = lock_cluster(tx, volume.cluster_id)
    check_volume_id_free(tx, volume.id)
    check_brick_ids_free(tx, [brick.id for brick in volume.bricks])
    check_takes_volume(tx, cluster, name=volume.name, block=volume.block, max_volumes=max_volumes)
    books = reserve_bricks(planned_devices(tx, cluster.id, volume.bricks), volume.bricks)
    check_pools_free(tx, volume.bricks)
    store_books(tx, books, revision=advance(tx, cluster.id, volumes=1))
    insert_volume(tx, volume, operation_id, origin_volume_id=None)
    message.state = volume_pb2.VOLUME_STATE_CREATING
    message.operation_id = operation_id
    message.ClearField("origin_volume_id")
    message.ClearField("block_hosting")
    message.create_time.CopyFrom(timestamp(tx.now_us))
    for brick in message.bricks:
        brick.volume_id = volume.id


def _commit_create(
    tx: Transaction,
    operation: OperationRow,
    _spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    settle_bricks(tx, operation.id)
    set_state(tx, operation.target_id, VolumeState.ACTIVE, holder=None)


def _abort_create(tx: Transaction, operation: OperationRow) -> None:
    drop_bricks(tx, operation.id, operation.cluster_id, volumes=-1)
    delete_volume(tx, operation.target_id)


def _locate_delete(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    check_id("volume_id", spec.delete_volume.volume_id)
    row = lock_volume(tx, spec.delete_volume.volume_id)
    return Scene(row.cluster_id, row.id)


def _begin_delete(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    row = free_volume(tx, spec.delete_volume.volume_id)
    check_hosts_nothing(tx, row.id)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.delete_volume.volume.CopyFrom(volumes.message_of(tx, row))
    set_state(tx, row.id, VolumeState.DELETING, holder=operation_id)
    tx.run(_HOLD_BRICKS, {"key": row.id, "holder": operation_id})
    return recorded


def _commit_delete(
    tx: Transaction,
    operation: OperationRow,
    _spec: operation_pb2.OperationSpec,
    outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    if outcome.WhichOneof("outcome") != "removed_bricks":
        raise invalid("outcome", outcome.WhichOneof("outcome"), "must be removed_bricks for a deleted volume")
    _forget(tx, operation, outcome.removed_bricks)


def _forget(tx: Transaction, operation: OperationRow, removed: operation_service_pb2.RemovedBricks) -> None:
    # Bricks that were left to a clean-up are its own already.
    forget_bricks(tx, operation, removed, volumes=-1)
    delete_volume(tx, operation.target_id)


def _abort_delete(tx: Transaction, operation: OperationRow) -> None:
    activate_bricks(tx, operation.id)
    set_state(tx, operation.target_id, VolumeState.ACTIVE, holder=None)


def _keep_deleted(
    tx: Transaction, operation: OperationRow, request: operation_service_pb2.AbortOperationRequest
) -> None:
    _forget(tx, operation, request.removed_bricks)


CREATE_VOLUME = KindRules(locate=_locate_create, begin=_begin_create, commit=_commit_create, abort=_abort_create)
DELETE_VOLUME = KindRules(
    locate=_locate_delete, begin=_begin_delete, commit=_commit_delete, abort=_abort_delete, keep=_keep_deleted
)
