"""Operations on volumes: create and delete. Effects: SQL."""

from collections import defaultdict

from sqlalchemy import bindparam, delete, exists, insert, select, update

from brickyard.topology.v1 import operation_pb2, operation_service_pb2, volume_pb2
from services.common.errors import AlreadyExistsError
from services.common.reasons import Reason
from services.topology.convert import new_volume, timestamp
from services.topology.domain.books import PlannedDevice, reserve_bricks
from services.topology.domain.checks import check_id, check_new_volume, invalid
from services.topology.domain.model import BrickState, DeviceState, NewVolume, NodeState, Presence, VolumeState
from services.topology.store import Transaction
from services.topology.tables import BRICK, DEVICE, NODE, VOLUME, BrickRow, DeviceRow, NodeRow, OperationRow, VolumeRow
from services.topology.usecases import volumes
from services.topology.usecases.clusters import check_takes_volume
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import (
    advance,
    books_of,
    bricks_of_operation,
    busy,
    devices_of_operation,
    lock_cluster,
    not_found,
    store_books,
)

_VOLUME = select(VOLUME).where(VOLUME.c.id == bindparam("id"))
_ID_IN_USE = select(exists().where(VOLUME.c.id == bindparam("id")))
_BRICK_IDS_IN_USE = select(BRICK.c.id).where(BRICK.c.id.in_(bindparam("ids", expanding=True))).limit(1)
_PLANNED_DEVICES = select(DEVICE).where(
    DEVICE.c.id.in_(bindparam("ids", expanding=True)),
    DEVICE.c.cluster_id == bindparam("cluster_id"),
    DEVICE.c.presence == Presence.PRESENT,
)
_PLANNED_NODES = select(NODE).where(NODE.c.id.in_(bindparam("ids", expanding=True)))
_SET_STATE = (
    update(VOLUME)
    .where(VOLUME.c.id == bindparam("key"))
    .values(state=bindparam("new_state"), operation_id=bindparam("holder"))
)
_HOLD_BRICKS = (
    update(BRICK)
    .where(BRICK.c.volume_id == bindparam("key"))
    .values(state=BrickState.DELETING.value, operation_id=bindparam("holder"))
)
_LET_GO_OF_BRICKS = (
    update(BRICK)
    .where(BRICK.c.operation_id == bindparam("holder"))
    .values(state=BrickState.ACTIVE.value, operation_id=None)
)
_DELETE_BRICKS = delete(BRICK).where(BRICK.c.operation_id == bindparam("holder"))
_DELETE_VOLUME = delete(VOLUME).where(VOLUME.c.id == bindparam("key"))
_INSERT_VOLUME = insert(VOLUME)
_INSERT_BRICKS = insert(BRICK)


def _locate_create(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    volume = spec.create_volume.volume
    check_new_volume(new_volume(volume))
    return Scene(lock_cluster(tx, volume.cluster_id).id, volume.id)


def _begin_create(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    volume = new_volume(spec.create_volume.volume)
    cluster = lock_cluster(tx, volume.cluster_id)
    _check_ids_free(tx, volume)
    check_takes_volume(
        tx, cluster, name=volume.name, block=volume.block, max_volumes=spec.create_volume.max_volumes_per_cluster
    )
    books = reserve_bricks(_planned_devices(tx, volume), volume.bricks)
    store_books(tx, books, revision=advance(tx, cluster.id, volumes=1))
    _insert(tx, volume, operation_id)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    message = recorded.create_volume.volume
    message.state = volume_pb2.VOLUME_STATE_CREATING
    message.operation_id = operation_id
    message.create_time.CopyFrom(timestamp(tx.now_us))
    for brick in message.bricks:
        brick.volume_id = volume.id
    return recorded


def _check_ids_free(tx: Transaction, volume: NewVolume) -> None:
    brick_ids = [brick.id for brick in volume.bricks]
    if tx.scalar(_ID_IN_USE, {"id": volume.id}):
        raise _id_in_use("volume", volume.id)
    taken = tx.scalar(_BRICK_IDS_IN_USE, {"ids": brick_ids})
    if taken is not None:
        raise _id_in_use("brick", taken)


def _id_in_use(kind: str, object_id: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        Reason.INVALID_ARGUMENT, f"{kind} {object_id} exists already", field=f"{kind}.id", value=object_id
    )


def _planned_devices(tx: Transaction, volume: NewVolume) -> dict[str, PlannedDevice]:
    device_ids = sorted({brick.device_id for brick in volume.bricks})
    rows = tx.all(DeviceRow, _PLANNED_DEVICES, {"ids": device_ids, "cluster_id": volume.cluster_id})
    nodes = tx.all(NodeRow, _PLANNED_NODES, {"ids": sorted({row.node_id for row in rows})})
    node_states = {node.id: NodeState(node.state) for node in nodes}
    return {
        row.id: PlannedDevice(
            node_id=row.node_id,
            state=DeviceState(row.state),
            node_state=node_states[row.node_id],
            extent_size_bytes=row.extent_size_bytes,
            books=books_of(row),
        )
        for row in rows
    }


def _insert(tx: Transaction, volume: NewVolume, operation_id: str) -> None:
    tx.run(
        _INSERT_VOLUME,
        {
            "id": volume.id,
            "cluster_id": volume.cluster_id,
            "name": volume.name,
            "size_bytes": volume.size_bytes,
            "durability_type": volume.durability.type.value,
            "replica_count": volume.durability.replica_count,
            "data_count": volume.durability.data_count,
            "redundancy_count": volume.durability.redundancy_count,
            "gid": volume.gid,
            "options": list(volume.options),
            "block": volume.block,
            "snapshot_enabled": volume.snapshot_enabled,
            "snapshot_factor": volume.snapshot_factor,
            "state": VolumeState.CREATING.value,
            "operation_id": operation_id,
            "create_time_us": tx.now_us,
        },
    )
    tx.run(
        _INSERT_BRICKS,
        [
            {
                "id": brick.id,
                "volume_id": volume.id,
                "device_id": brick.device_id,
                "node_id": brick.node_id,
                "path": brick.path,
                "size_bytes": brick.size_bytes,
                "thin_pool_size_bytes": brick.thin_pool_size_bytes,
                "pool_metadata_size_bytes": brick.pool_metadata_size_bytes,
                "thin_pool_name": brick.thin_pool_name,
                "lv_name": brick.lv_name,
                "role": brick.role.value,
                "set_index": brick.set_index,
                "position": brick.position,
                "state": BrickState.CREATING.value,
                "operation_id": operation_id,
            }
            for brick in volume.bricks
        ],
    )


def _needed_bytes(brick: BrickRow) -> int:
    return brick.thin_pool_size_bytes + brick.pool_metadata_size_bytes


def _commit_create(
    tx: Transaction,
    operation: OperationRow,
    _spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    books = {row.id: books_of(row) for row in devices_of_operation(tx, operation.id)}
    for brick in bricks_of_operation(tx, operation.id):
        books[brick.device_id] = books[brick.device_id].settle(_needed_bytes(brick))
    # What was reserved is used now: for placement nothing has changed.
    store_books(tx, books, revision=None)
    tx.run(_LET_GO_OF_BRICKS, {"holder": operation.id})
    tx.run(_SET_STATE, {"key": operation.target_id, "new_state": VolumeState.ACTIVE.value, "holder": None})


def _abort_create(tx: Transaction, operation: OperationRow) -> None:
    books = {row.id: books_of(row) for row in devices_of_operation(tx, operation.id)}
    for brick in bricks_of_operation(tx, operation.id):
        books[brick.device_id] = books[brick.device_id].release(_needed_bytes(brick))
    store_books(tx, books, revision=advance(tx, operation.cluster_id, volumes=-1))
    tx.run(_DELETE_BRICKS, {"holder": operation.id})
    tx.run(_DELETE_VOLUME, {"key": operation.target_id})


def _volume(tx: Transaction, volume_id: str) -> VolumeRow:
    row = tx.first(VolumeRow, _VOLUME, {"id": volume_id})
    if row is None:
        raise not_found(Reason.VOLUME_NOT_FOUND, "volume", volume_id)
    return row


def _locate_delete(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    volume_id = spec.delete_volume.volume_id
    check_id("volume_id", volume_id)
    cluster_id = _volume(tx, volume_id).cluster_id
    lock_cluster(tx, cluster_id)
    # Again: it may have gone while the lock was awaited.
    return Scene(_volume(tx, volume_id).cluster_id, volume_id)


def _begin_delete(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    row = _volume(tx, spec.delete_volume.volume_id)
    if row.operation_id is not None:
        raise busy("volume", row.id, row.operation_id)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.delete_volume.volume.CopyFrom(volumes.message_of(tx, row))
    tx.run(_SET_STATE, {"key": row.id, "new_state": VolumeState.DELETING.value, "holder": operation_id})
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
    sizes: dict[str, dict[bool, int]] = defaultdict(lambda: {True: 0, False: 0})
    for brick in bricks:
        sizes[brick.device_id][brick.id in reclaimed] += _needed_bytes(brick)
    books = {
        row.id: books_of(row).remove(reclaimed_bytes=sizes[row.id][True], kept_bytes=sizes[row.id][False])
        for row in devices_of_operation(tx, operation.id)
    }
    store_books(tx, books, revision=advance(tx, operation.cluster_id, volumes=-1))
    tx.run(_DELETE_BRICKS, {"holder": operation.id})
    tx.run(_DELETE_VOLUME, {"key": operation.target_id})


def _abort_delete(tx: Transaction, operation: OperationRow) -> None:
    tx.run(_LET_GO_OF_BRICKS, {"holder": operation.id})
    tx.run(_SET_STATE, {"key": operation.target_id, "new_state": VolumeState.ACTIVE.value, "holder": None})


CREATE_VOLUME = KindRules(locate=_locate_create, begin=_begin_create, commit=_commit_create, abort=_abort_create)
DELETE_VOLUME = KindRules(locate=_locate_delete, begin=_begin_delete, commit=_commit_delete, abort=_abort_delete)
