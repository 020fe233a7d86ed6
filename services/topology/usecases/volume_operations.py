"""Operations on volumes: create and delete. Effects: SQL."""

from sqlalchemy import bindparam, update

from brickyard.topology.v1 import operation_pb2, operation_service_pb2, volume_pb2
from services.common.logs import get_logger
from services.topology.convert import new_volume, timestamp
from services.topology.domain.books import reserve_bricks
from services.topology.domain.checks import check_id, check_new_volume, invalid
from services.topology.domain.model import BrickState, VolumeState
from services.topology.domain.pools import pool_of, removal
from services.topology.store import Transaction
from services.topology.tables import BRICK, OperationRow
from services.topology.usecases import volumes
from services.topology.usecases.clusters import check_takes_volume
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import (
    advance,
    books_of,
    bricks_of_operation,
    devices_of_operation,
    lock_cluster,
    store_books,
)
from services.topology.usecases.volume_rows import (
    activate_bricks,
    bricks_in_pools,
    check_brick_ids_free,
    check_pools_free,
    check_volume_id_free,
    delete_bricks,
    delete_volume,
    drop_bricks,
    free_volume,
    insert_volume,
    lock_volume,
    planned_devices,
    set_state,
    settle_bricks,
)

_log = get_logger()
_HOLD_BRICKS = (
    update(BRICK)
    .where(BRICK.c.volume_id == bindparam("key"))
    .values(state=BrickState.DELETING.value, operation_id=bindparam("holder"))
)
_EMPTY_POOL = (
    update(BRICK)
    .where(BRICK.c.device_id == bindparam("key"), BRICK.c.thin_pool_name == bindparam("name"))
    .values(thin_pool_size_bytes=0, pool_metadata_size_bytes=0)
)


def _locate_create(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    volume = spec.create_volume.volume
    check_new_volume(new_volume(volume))
    return Scene(lock_cluster(tx, volume.cluster_id).id, volume.id)


def _begin_create(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    volume = new_volume(spec.create_volume.volume)
    cluster = lock_cluster(tx, volume.cluster_id)
    check_volume_id_free(tx, volume.id)
    check_brick_ids_free(tx, [brick.id for brick in volume.bricks])
    check_takes_volume(
        tx, cluster, name=volume.name, block=volume.block, max_volumes=spec.create_volume.max_volumes_per_cluster
    )
    books = reserve_bricks(planned_devices(tx, cluster.id, volume.bricks), volume.bricks)
    check_pools_free(tx, volume.bricks)
    store_books(tx, books, revision=advance(tx, cluster.id, volumes=1))
    insert_volume(tx, volume, operation_id, origin_volume_id=None)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    message = recorded.create_volume.volume
    message.state = volume_pb2.VOLUME_STATE_CREATING
    message.operation_id = operation_id
    message.ClearField("origin_volume_id")
    message.create_time.CopyFrom(timestamp(tx.now_us))
    for brick in message.bricks:
        brick.volume_id = volume.id
    return recorded


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
    reclaimed = set(outcome.removed_bricks.reclaimed_brick_ids)
    bricks = bricks_of_operation(tx, operation.id)
    unknown = reclaimed - {brick.id for brick in bricks}
    if unknown:
        raise invalid("reclaimed_brick_ids", sorted(unknown), "are not bricks of the operation")
    in_pools = bricks_in_pools(tx, {pool_of(brick) for brick in bricks})
    others = [brick for brick in in_pools if brick.operation_id != operation.id]
    result = removal(bricks, others=others, reclaimed_brick_ids=reclaimed)
    for pool in result.contradicted:
        _log.warning("pool.reported_gone", device_id=pool.device_id, pool=pool.name, operation_id=operation.id)
    books = {
        row.id: books_of(row).remove(
            reclaimed_bytes=result.reclaimed.get(row.id, 0), kept_bytes=result.kept.get(row.id, 0)
        )
        for row in devices_of_operation(tx, operation.id)
    }
    store_books(tx, books, revision=advance(tx, operation.cluster_id, volumes=-1))
    tx.run(_EMPTY_POOL, [{"key": pool.device_id, "name": pool.name} for pool in result.gone])
    delete_bricks(tx, operation.id)
    delete_volume(tx, operation.target_id)


def _abort_delete(tx: Transaction, operation: OperationRow) -> None:
    activate_bricks(tx, operation.id)
    set_state(tx, operation.target_id, VolumeState.ACTIVE, holder=None)


CREATE_VOLUME = KindRules(locate=_locate_create, begin=_begin_create, commit=_commit_create, abort=_abort_create)
DELETE_VOLUME = KindRules(locate=_locate_delete, begin=_begin_delete, commit=_commit_delete, abort=_abort_delete)
