"""What becomes of removed bricks and of their thin pools, in rows and books. Effects: SQL."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import bindparam, update

from brickyard.topology.v1.operation_service_pb2 import RemovedBricks
from services.common.logs import get_logger
from services.topology.domain.books import DeviceBooks
from services.topology.domain.checks import invalid
from services.topology.domain.pools import pool_of, removal
from services.topology.store import Transaction
from services.topology.tables import BRICK, BrickRow, OperationRow
from services.topology.usecases.shared import advance, books_of, bricks_of_operation, devices_of_operation, store_books
from services.topology.usecases.volume_rows import bricks_in_pools, delete_bricks

_log = get_logger()
_EMPTY_POOL = (
    update(BRICK)
    .where(BRICK.c.device_id == bindparam("key"), BRICK.c.thin_pool_name == bindparam("name"))
    .values(thin_pool_size_bytes=0, pool_metadata_size_bytes=0)
)


def without_bricks(
    tx: Transaction,
    bricks: Sequence[BrickRow],
    books: Mapping[str, DeviceBooks],
    *,
    reclaimed_brick_ids: Collection[str],
) -> dict[str, DeviceBooks]:
    """The books of devices without some bricks; rows of pools that are gone say so, the bricks' own rows stay.

    Args:
        tx: The transaction.
        bricks: The bricks that are removed.
        books: The books of their devices at least.
        reclaimed_brick_ids: Those of them whose pool was reported gone.
    """
    removed = {brick.id for brick in bricks}
    in_pools = bricks_in_pools(tx, {pool_of(brick) for brick in bricks})
    others = [brick for brick in in_pools if brick.id not in removed]
    result = removal(bricks, others=others, reclaimed_brick_ids=reclaimed_brick_ids)
    for pool in result.contradicted:
        _log.warning("pool.reported_gone", device_id=pool.device_id, pool=pool.name)
    tx.run(_EMPTY_POOL, [{"key": pool.device_id, "name": pool.name} for pool in result.gone])
    return {
        device_id: each.remove(
            reclaimed_bytes=result.reclaimed.get(device_id, 0), kept_bytes=result.kept.get(device_id, 0)
        )
        for device_id, each in books.items()
    }


def forget_bricks(tx: Transaction, operation: OperationRow, removed: RemovedBricks, *, volumes: int) -> None:
    """All bricks that an operation holds were removed: their rows go, and the books follow.

    Args:
        tx: The transaction.
        operation: The operation.
        removed: What became of their pools.
        volumes: How many volumes more the cluster has.

    Raises:
        InvalidArgumentError: A brick that the operation does not hold was reported.
    """
    reclaimed = set(removed.reclaimed_brick_ids)
    bricks = bricks_of_operation(tx, operation.id)
    unknown = reclaimed - {brick.id for brick in bricks}
    if unknown:
        raise invalid("reclaimed_brick_ids", sorted(unknown), "are not bricks of the operation")
    books = {row.id: books_of(row) for row in devices_of_operation(tx, operation.id)}
    after = without_bricks(tx, bricks, books, reclaimed_brick_ids=reclaimed)
    store_books(tx, after, revision=advance(tx, operation.cluster_id, volumes=volumes))
    delete_bricks(tx, operation.id)
