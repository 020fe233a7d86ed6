"""What the operations on volumes have in common: finding, holding, reserving, and the rows of bricks. Effects: SQL."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from services.common.errors import AlreadyExistsError, FailedPreconditionError
from services.common.reasons import Reason
from services.topology.domain.books import DeviceBooks, PlannedDevice
from services.topology.domain.model import (
    BrickState,
    DeviceState,
    Durability,
    DurabilityType,
    NewBrick,
    NewVolume,
    NodeState,
    Presence,
    VolumeState,
)
from services.topology.domain.pools import needed_bytes, pool_of
from services.topology.store import Transaction
from services.topology.tables import BRICK, DEVICE, NODE, VOLUME, BrickRow, DeviceRow, NodeRow, VolumeRow
from services.topology.usecases.block_rows import delete_hosting, insert_hosting
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
_BRICKS = select(BRICK).where(BRICK.c.volume_id == bindparam("volume_id")).order_by(BRICK.c.set_index, BRICK.c.position)
_BRICKS_IN_POOLS = select(BRICK).where(
    BRICK.c.device_id.in_(bindparam("device_ids", expanding=True)),
    BRICK.c.thin_pool_name.in_(bindparam("names", expanding=True)),
)
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
_ACTIVATE_BRICKS = (
    update(BRICK)
    .where(BRICK.c.operation_id == bindparam("holder"))
    .values(state=BrickState.ACTIVE.value, operation_id=None)
)
_DELETE_BRICKS = delete(BRICK).where(BRICK.c.operation_id == bindparam("holder"))
_DELETE_VOLUME = delete(VOLUME).where(VOLUME.c.id == bindparam("key"))
_INSERT_VOLUME = insert(VOLUME)
_INSERT_BRICKS = insert(BRICK)


def get_volume(tx: Transaction, volume_id: str) -> VolumeRow:
    """A volume in whatever state. Raises NotFoundError (VOLUME_NOT_FOUND)."""
    row = tx.first(VolumeRow, _VOLUME, {"id": volume_id})
    if row is None:
        raise not_found(Reason.VOLUME_NOT_FOUND, "volume", volume_id)
    return row


def lock_volume(tx: Transaction, volume_id: str) -> VolumeRow:
    """As `get_volume`, with its cluster locked."""
    row = get_volume(tx, volume_id)
    lock_cluster(tx, row.cluster_id)
    # Again: it may have changed or gone while the lock was awaited.
    return row if tx.is_alone else get_volume(tx, volume_id)


def free_volume(tx: Transaction, volume_id: str) -> VolumeRow:
    """A volume that no operation holds, in a locked cluster.

    Raises:
        NotFoundError: VOLUME_NOT_FOUND.
        FailedPreconditionError: TARGET_BUSY.
    """
    row = get_volume(tx, volume_id)
    if row.operation_id is not None:
        raise busy("volume", row.id, row.operation_id)
    return row


def bricks_of(tx: Transaction, volume_id: str) -> Sequence[BrickRow]:
    """All bricks of a volume in gluster's order."""
    return tx.all(BrickRow, _BRICKS, {"volume_id": volume_id})


def durability_of(row: VolumeRow) -> Durability:
    """How a volume survives the loss of bricks."""
    return Durability(
        type=DurabilityType(row.durability_type),
        replica_count=row.replica_count,
        data_count=row.data_count,
        redundancy_count=row.redundancy_count,
    )


def set_state(tx: Transaction, volume_id: str, state: VolumeState, *, holder: str | None) -> None:
    """Sets the state of a volume, and the operation that holds it."""
    tx.run(_SET_STATE, {"key": volume_id, "new_state": state.value, "holder": holder})


def check_brick_order(row: VolumeRow) -> None:
    """Whether it is known which bricks of a volume belong together; of one that was taken over it may only be guessed.

    Raises:
        FailedPreconditionError: BRICK_ORDER_UNKNOWN.
    """
    if not row.brick_order_known:
        raise FailedPreconditionError(
            Reason.BRICK_ORDER_UNKNOWN,
            f"volume {row.id} was imported, and which of its bricks belong together is not known yet; "
            "run `brickyard adopt` first",
            volume_id=row.id,
        )


def check_volume_id_free(tx: Transaction, volume_id: str) -> None:
    """Raises AlreadyExistsError when a volume has the id."""
    if tx.scalar(_ID_IN_USE, {"id": volume_id}):
        raise _in_use("volume.id", volume_id)


def check_brick_ids_free(tx: Transaction, brick_ids: Iterable[str]) -> None:
    """Raises AlreadyExistsError when a brick has one of the ids."""
    taken = tx.scalar(_BRICK_IDS_IN_USE, {"ids": list(brick_ids)})
    if taken is not None:
        raise _in_use("brick.id", taken)


def check_pools_free(tx: Transaction, bricks: Iterable[NewBrick]) -> None:
    """Raises AlreadyExistsError when a planned brick has the pool of another: the space of both would count once."""
    planned = {(brick.device_id, brick.thin_pool_name) for brick in bricks}
    for taken in bricks_in_pools(tx, planned):
        raise _in_use("brick.thin_pool_name", taken.thin_pool_name)


def _in_use(field: str, value: str) -> AlreadyExistsError:
    return AlreadyExistsError(Reason.INVALID_ARGUMENT, f"{field}: {value} exists already", field=field, value=value)


def bricks_in_pools(tx: Transaction, pools: Collection[tuple[str, str]]) -> list[BrickRow]:
    """All bricks in the pools, given as device id and pool name, in whatever state."""
    values = {"device_ids": sorted({device for device, _ in pools}), "names": sorted({name for _, name in pools})}
    rows = tx.all(BrickRow, _BRICKS_IN_POOLS, values)
    # The same name on another device is another pool.
    return [row for row in rows if pool_of(row) in pools]


def planned_devices(tx: Transaction, cluster_id: str, bricks: Iterable[NewBrick]) -> dict[str, PlannedDevice]:
    """The devices of a cluster that a plan names, by id; those that are gone are missing."""
    device_ids = sorted({brick.device_id for brick in bricks})
    rows = tx.all(DeviceRow, _PLANNED_DEVICES, {"ids": device_ids, "cluster_id": cluster_id})
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


def volume_columns(volume: NewVolume) -> dict[str, Any]:
    """The columns of a volume that whoever asks for it decides on, by name."""
    return {
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
    }


def insert_volume(tx: Transaction, volume: NewVolume, operation_id: str, *, origin_volume_id: str | None) -> None:
    """Records a volume that an operation makes, with its bricks."""
    tx.run(
        _INSERT_VOLUME,
        {
            **volume_columns(volume),
            "state": VolumeState.CREATING.value,
            "operation_id": operation_id,
            "create_time_us": tx.now_us,
            "origin_volume_id": origin_volume_id,
        },
    )
    if volume.block:
        insert_hosting(tx, volume.id, volume.size_bytes)
    insert_bricks(tx, volume.id, volume.bricks, operation_id)


def brick_columns(brick: NewBrick) -> dict[str, Any]:
    """The columns of a brick that placement decides on, by name."""
    return {
        "id": brick.id,
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
    }


def insert_bricks(
    tx: Transaction,
    volume_id: str,
    bricks: Iterable[NewBrick],
    operation_id: str,
    *,
    replaces_brick_id: str | None = None,
) -> None:
    """Records bricks that an operation makes; one that replaces another shares its place until then."""
    tx.run(
        _INSERT_BRICKS,
        [
            {
                **brick_columns(brick),
                "volume_id": volume_id,
                "state": BrickState.CREATING.value,
                "operation_id": operation_id,
                "replaces_brick_id": replaces_brick_id,
            }
            for brick in bricks
        ],
    )


def settle_bricks(tx: Transaction, operation_id: str) -> None:
    """The new bricks of an operation are finished: what they reserved is used."""
    books = _operation_books(tx, operation_id)
    for brick in bricks_of_operation(tx, operation_id):
        books[brick.device_id] = books[brick.device_id].settle(needed_bytes(brick))
    # What was reserved is used now: for placement nothing has changed.
    store_books(tx, books, revision=None)
    activate_bricks(tx, operation_id)


def drop_bricks(tx: Transaction, operation_id: str, cluster_id: str, *, volumes: int) -> None:
    """The new bricks of an operation are undone: what they reserved is free. The cluster has `volumes` more."""
    books = _operation_books(tx, operation_id)
    for brick in bricks_of_operation(tx, operation_id):
        books[brick.device_id] = books[brick.device_id].release(needed_bytes(brick))
    store_books(tx, books, revision=advance(tx, cluster_id, volumes=volumes))
    delete_bricks(tx, operation_id)


def _operation_books(tx: Transaction, operation_id: str) -> dict[str, DeviceBooks]:
    return {row.id: books_of(row) for row in devices_of_operation(tx, operation_id)}


def activate_bricks(tx: Transaction, operation_id: str) -> None:
    """Lets go of all bricks that an operation holds; the books stay as they are."""
    tx.run(_ACTIVATE_BRICKS, {"holder": operation_id})


def delete_bricks(tx: Transaction, operation_id: str) -> None:
    """Forgets all bricks that an operation holds; the books stay as they are."""
    tx.run(_DELETE_BRICKS, {"holder": operation_id})


def delete_volume(tx: Transaction, volume_id: str) -> None:
    """Forgets a volume whose bricks, and block volumes, are gone."""
    delete_hosting(tx, volume_id)
    tx.run(_DELETE_VOLUME, {"key": volume_id})
