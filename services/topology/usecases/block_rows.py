"""The rows of block volumes and of what hosts them: finding, holding, writing. Effects: SQL."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from brickyard.topology.v1 import block_volume_pb2
from services.common.errors import AlreadyExistsError, FailedPreconditionError
from services.common.reasons import Reason
from services.topology.convert_block import block_volume_message
from services.topology.domain.hosting import HostingBooks, new_hosting
from services.topology.domain.model import BlockRestriction, NewBlockVolume, VolumeState
from services.topology.store import Transaction
from services.topology.tables import BLOCK_HOSTING, BLOCK_VOLUME, VOLUME, BlockHostingRow, BlockVolumeRow
from services.topology.usecases.shared import busy, lock_cluster, not_found

_HOSTING = select(BLOCK_HOSTING).where(BLOCK_HOSTING.c.volume_id == bindparam("volume_id"))
_HOSTINGS = select(BLOCK_HOSTING).where(BLOCK_HOSTING.c.volume_id.in_(bindparam("ids", expanding=True)))
_INSERT_HOSTING = insert(BLOCK_HOSTING)
_SET_HOSTING = (
    update(BLOCK_HOSTING)
    .where(BLOCK_HOSTING.c.volume_id == bindparam("key"))
    .values(
        free_bytes=bindparam("new_free"),
        reserved_bytes=bindparam("new_reserved"),
        restriction=bindparam("new_restriction"),
    )
)
_DELETE_HOSTING = delete(BLOCK_HOSTING).where(BLOCK_HOSTING.c.volume_id == bindparam("key"))
_HAS_BLOCK_VOLUMES = select(exists().where(BLOCK_VOLUME.c.hosting_volume_id == bindparam("volume_id")))
_BLOCK_VOLUME = select(BLOCK_VOLUME).where(BLOCK_VOLUME.c.id == bindparam("id"))
_ID_IN_USE = select(exists().where(BLOCK_VOLUME.c.id == bindparam("id")))
_NAME_IN_USE = select(
    exists().where(BLOCK_VOLUME.c.hosting_volume_id == bindparam("volume_id"), BLOCK_VOLUME.c.name == bindparam("name"))
)
_VOLUME_NAME = select(VOLUME.c.name).where(VOLUME.c.id == bindparam("volume_id"))
_SHOWN_IDS = (
    select(BLOCK_VOLUME.c.hosting_volume_id, BLOCK_VOLUME.c.id)
    .where(
        BLOCK_VOLUME.c.hosting_volume_id.in_(bindparam("ids", expanding=True)),
        BLOCK_VOLUME.c.state == VolumeState.ACTIVE,
    )
    .order_by(BLOCK_VOLUME.c.id)
)
_INSERT = insert(BLOCK_VOLUME)
_DELETE = delete(BLOCK_VOLUME).where(BLOCK_VOLUME.c.id == bindparam("key"))


# --- hosting volumes --------------------------------------------------------------------------------------------------


def hosting_of(tx: Transaction, volume_id: str) -> BlockHostingRow | None:
    """What a volume holds as a hosting volume; None when it is none."""
    return tx.first(BlockHostingRow, _HOSTING, {"volume_id": volume_id})


def required_hosting(tx: Transaction, volume_id: str) -> BlockHostingRow:
    """As `hosting_of`, of a volume that must be one.

    Raises:
        FailedPreconditionError: NOT_BLOCK_HOSTING; the text is Heketi's.
    """
    row = hosting_of(tx, volume_id)
    if row is None:
        raise FailedPreconditionError(
            Reason.NOT_BLOCK_HOSTING,
            "Block restrictions can only be set on block hosting volumes",
            volume_id=volume_id,
        )
    return row


def hosting_books(row: BlockHostingRow) -> HostingBooks:
    """The books of a hosting volume."""
    return HostingBooks(
        free_bytes=row.free_bytes, reserved_bytes=row.reserved_bytes, restriction=BlockRestriction(row.restriction)
    )


def insert_hosting(tx: Transaction, volume_id: str, size_bytes: int) -> None:
    """Records that a new volume hosts block volumes."""
    books = new_hosting(size_bytes)
    row = {
        "volume_id": volume_id,
        "free_bytes": books.free_bytes,
        "reserved_bytes": books.reserved_bytes,
        "restriction": books.restriction.value,
    }
    tx.run(_INSERT_HOSTING, row)


def store_hosting(tx: Transaction, volume_id: str, books: HostingBooks) -> None:
    """Writes the books of a hosting volume."""
    tx.run(
        _SET_HOSTING,
        {
            "key": volume_id,
            "new_free": books.free_bytes,
            "new_reserved": books.reserved_bytes,
            "new_restriction": books.restriction.value,
        },
    )


def grow_hosting(tx: Transaction, volume_id: str, added_bytes: int) -> None:
    """A volume has grown; when it is a hosting volume, block volumes may take a part of that."""
    row = hosting_of(tx, volume_id)
    if row is not None:
        store_hosting(tx, volume_id, hosting_books(row).grown(added_bytes))


def give_back(tx: Transaction, volume_id: str, size_bytes: int) -> None:
    """A block volume gives space back to its hosting volume."""
    store_hosting(tx, volume_id, hosting_books(required_hosting(tx, volume_id)).given_back(size_bytes))


def delete_hosting(tx: Transaction, volume_id: str) -> None:
    """Forgets what a volume held as a hosting volume; of other volumes there is nothing to forget."""
    tx.run(_DELETE_HOSTING, {"key": volume_id})


def check_hosts_nothing(tx: Transaction, volume_id: str) -> None:
    """Whether no block volume is in a volume, those of running operations included; the text is Heketi's.

    Raises:
        FailedPreconditionError: VOLUME_HOSTS_BLOCK_VOLUMES.
    """
    if tx.scalar(_HAS_BLOCK_VOLUMES, {"volume_id": volume_id}):
        raise FailedPreconditionError(
            Reason.VOLUME_HOSTS_BLOCK_VOLUMES,
            "Cannot delete a block hosting volume containing block volumes",
            volume_id=volume_id,
        )


def hostings_of(tx: Transaction, volume_ids: Collection[str]) -> dict[str, tuple[BlockHostingRow, list[str]]]:
    """Of those that are hosting volumes: what they hold, and the ids of their finished block volumes."""
    if not volume_ids:
        return {}
    ids = {"ids": sorted(volume_ids)}
    found: dict[str, tuple[BlockHostingRow, list[str]]] = {
        row.volume_id: (row, []) for row in tx.all(BlockHostingRow, _HOSTINGS, ids)
    }
    if found:
        for volume_id, block_volume_id in tx.connection.execute(_SHOWN_IDS, {"ids": sorted(found)}):
            found[volume_id][1].append(block_volume_id)
    return found


# --- block volumes ----------------------------------------------------------------------------------------------------


def get_block_volume(tx: Transaction, block_volume_id: str) -> BlockVolumeRow:
    """A block volume in whatever state. Raises NotFoundError (BLOCK_VOLUME_NOT_FOUND)."""
    row = tx.first(BlockVolumeRow, _BLOCK_VOLUME, {"id": block_volume_id})
    if row is None:
        raise not_found(Reason.BLOCK_VOLUME_NOT_FOUND, "block_volume", block_volume_id)
    return row


def lock_block_volume(tx: Transaction, block_volume_id: str) -> BlockVolumeRow:
    """As `get_block_volume`, with its cluster locked."""
    lock_cluster(tx, get_block_volume(tx, block_volume_id).cluster_id)
    # Again: it may have changed or gone while the lock was awaited.
    return get_block_volume(tx, block_volume_id)


def free_block_volume(tx: Transaction, block_volume_id: str) -> BlockVolumeRow:
    """A block volume that no operation holds, in a locked cluster.

    Raises:
        NotFoundError: BLOCK_VOLUME_NOT_FOUND.
        FailedPreconditionError: TARGET_BUSY.
    """
    row = get_block_volume(tx, block_volume_id)
    if row.operation_id is not None:
        raise busy("block_volume", row.id, row.operation_id)
    return row


def check_block_volume_id_free(tx: Transaction, block_volume_id: str) -> None:
    """Raises AlreadyExistsError when a block volume has the id."""
    if tx.scalar(_ID_IN_USE, {"id": block_volume_id}):
        raise AlreadyExistsError(
            Reason.INVALID_ARGUMENT,
            f"block_volume.id: {block_volume_id} exists already",
            field="block_volume.id",
            value=block_volume_id,
        )


def name_in_use(tx: Transaction, volume_id: str, name: str) -> bool:
    """Whether a hosting volume has a block volume of that name, in whatever state."""
    return bool(tx.scalar(_NAME_IN_USE, {"volume_id": volume_id, "name": name}))


def insert_block_volume(tx: Transaction, volume: NewBlockVolume, operation_id: str) -> None:
    """Records a block volume that an operation makes."""
    tx.run(
        _INSERT,
        {
            "id": volume.id,
            "cluster_id": volume.cluster_id,
            "hosting_volume_id": volume.hosting_volume_id,
            "name": volume.name,
            "size_bytes": volume.size_bytes,
            "usable_size_bytes": volume.size_bytes,
            "growing_bytes": 0,
            "ha_count": len(volume.hosts),
            "auth": volume.auth,
            "hosts": list(volume.hosts),
            "iqn": "",
            "lun": 0,
            "username": "",
            "password": "",
            "state": VolumeState.CREATING.value,
            "operation_id": operation_id,
            "create_time_us": tx.now_us,
        },
    )


def change_block_volume(tx: Transaction, block_volume_id: str, **values: Any) -> None:
    """Sets columns of a block volume."""
    tx.run(update(BLOCK_VOLUME).where(BLOCK_VOLUME.c.id == block_volume_id).values(**values))


def delete_block_volume(tx: Transaction, block_volume_id: str) -> None:
    """Forgets a block volume."""
    tx.run(_DELETE, {"key": block_volume_id})


def block_message_of(tx: Transaction, row: BlockVolumeRow, *, with_password: bool) -> block_volume_pb2.BlockVolume:
    """A block volume with the name of its hosting volume."""
    name: str = tx.scalar(_VOLUME_NAME, {"volume_id": row.hosting_volume_id})
    return block_volume_message(row, name, with_password=with_password)
