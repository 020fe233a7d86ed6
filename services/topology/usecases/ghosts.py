"""Forgetting bricks, and volumes, that exist nowhere but in the records. No node is touched. Effects: SQL.

Whoever calls has seen on every node that they are gone; what can be checked here is checked in the same transaction:
that no operation holds the volume or one of its bricks, and that what is left are whole brick sets.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, delete, select, update

from services.common.logs import get_logger
from services.common.units import GIB
from services.topology.domain.checks import check_id, invalid
from services.topology.domain.model import DurabilityType
from services.topology.domain.pools import pool_of, removal
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, DEVICE, VOLUME, BrickRow, DeviceRow, VolumeRow
from services.topology.usecases.shared import advance, books_of, busy, lock_cluster, store_books
from services.topology.usecases.volume_rows import (
    bricks_in_pools,
    bricks_of,
    delete_volume,
    durability_of,
    free_volume,
)

_log = get_logger()
_FIND = select(VOLUME).where(VOLUME.c.id == bindparam("id"))
_DEVICES = select(DEVICE).where(DEVICE.c.id.in_(bindparam("ids", expanding=True)))
_DELETE_BRICKS = delete(BRICK).where(BRICK.c.id.in_(bindparam("ids", expanding=True)))
_MOVE_SET = (
    update(BRICK)
    .where(BRICK.c.volume_id == bindparam("key"), BRICK.c.set_index == bindparam("old_index"))
    .values(set_index=bindparam("new_index"))
)
_SET_SIZE = update(VOLUME).where(VOLUME.c.id == bindparam("key")).values(size_bytes=bindparam("new_size"))


def drop(store: Store, *, volume_id: str, brick_ids: Collection[str], reclaimed_brick_ids: Collection[str]) -> bool:
    """Forgets bricks of a volume, and the volume with its last brick. What is not recorded any more is fine.

    Args:
        store: The database.
        volume_id: The volume.
        brick_ids: All of its bricks, or all bricks of some of its sets; those behind move up.
        reclaimed_brick_ids: Those of them whose thin pool is gone too.

    Returns:
        Whether the volume is not recorded any more.

    Raises:
        FailedPreconditionError: TARGET_BUSY.
        InvalidArgumentError: No bricks, bricks of another volume, or a part of a set.
    """
    check_id("volume_id", volume_id)
    doomed = set(brick_ids)
    if not doomed:
        raise invalid("brick_ids", [], "must name the bricks")
    unknown = set(reclaimed_brick_ids) - doomed
    if unknown:
        raise invalid("reclaimed_brick_ids", sorted(unknown), "are not among brick_ids")

    def work(tx: Transaction) -> bool:
        found = tx.first(VolumeRow, _FIND, {"id": volume_id})
        if found is None:
            return True
        lock_cluster(tx, found.cluster_id)
        if tx.first(VolumeRow, _FIND, {"id": volume_id}) is None:
            return True
        return _drop(tx, volume_id, doomed, reclaimed_brick_ids)

    return store.write(work)


def _drop(tx: Transaction, volume_id: str, doomed: set[str], reclaimed: Collection[str]) -> bool:
    volume = free_volume(tx, volume_id)
    bricks = bricks_of(tx, volume_id)
    leaving = [brick for brick in bricks if brick.id in doomed]
    if not leaving:
        return False
    unknown = doomed - {brick.id for brick in bricks}
    if unknown:
        raise invalid("brick_ids", sorted(unknown), f"are not bricks of volume {volume_id}")
    for brick in bricks:
        if brick.operation_id is not None:
            raise busy("volume", volume_id, brick.operation_id)
    staying = [brick for brick in bricks if brick.id not in doomed]
    split = {brick.set_index for brick in staying} & {brick.set_index for brick in leaving}
    if split:
        raise invalid("brick_ids", sorted(doomed), f"are only a part of brick sets {sorted(split)}")
    _settle_books(tx, volume, leaving, reclaimed, volumes=0 if staying else -1)
    tx.run(_DELETE_BRICKS, {"ids": sorted(doomed)})
    _log.warning("ghosts.dropped", volume_id=volume_id, bricks=sorted(doomed), volume_too=not staying)
    if not staying:
        delete_volume(tx, volume_id)
        return True
    _close_gaps(tx, volume, staying)
    return False


def _settle_books(
    tx: Transaction, volume: VolumeRow, leaving: Sequence[BrickRow], reclaimed: Collection[str], *, volumes: int
) -> None:
    pools = {pool_of(brick) for brick in leaving}
    gone = {brick.id for brick in leaving}
    others = [brick for brick in bricks_in_pools(tx, pools) if brick.id not in gone]
    result = removal(leaving, others=others, reclaimed_brick_ids=reclaimed)
    devices = tx.all(DeviceRow, _DEVICES, {"ids": sorted({brick.device_id for brick in leaving})})
    books = {
        row.id: books_of(row).remove(
            reclaimed_bytes=result.reclaimed.get(row.id, 0), kept_bytes=result.kept.get(row.id, 0)
        )
        for row in devices
    }
    store_books(tx, books, revision=advance(tx, volume.cluster_id, volumes=volumes))


def _close_gaps(tx: Transaction, volume: VolumeRow, staying: Sequence[BrickRow]) -> None:
    """Brick sets are counted from 0 without gaps; the size is what the remaining ones give, in whole GiB."""
    for new, old in enumerate(sorted({brick.set_index for brick in staying})):
        if new != old:
            tx.run(_MOVE_SET, {"key": volume.id, "old_index": old, "new_index": new})
    durability = durability_of(volume)
    shares = durability.data_count if durability.type is DurabilityType.DISPERSE else 1
    usable: dict[int, int] = {}
    for brick in staying:
        if brick.role == "data":
            usable[brick.set_index] = min(usable.get(brick.set_index, brick.size_bytes), brick.size_bytes)
    size = max(1, sum(usable.values()) * shares // GIB) * GIB
    tx.run(_SET_SIZE, {"key": volume.id, "new_size": min(volume.size_bytes, size)})
