"""The order of the bricks of a volume that was taken over, once gluster has told it. Effects: SQL."""

from collections.abc import Sequence

from sqlalchemy import bindparam, update

from services.common.logs import get_logger
from services.topology.domain.checks import check_id, invalid
from services.topology.domain.model import BrickRole
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, VOLUME, BrickRow
from services.topology.usecases.volume_rows import bricks_of, durability_of, free_volume, lock_volume

_log = get_logger()
# Two bricks can not have one place, also not for a moment.
_LIFT = update(BRICK).where(BRICK.c.volume_id == bindparam("key")).values(set_index=BRICK.c.set_index + 1_000_000)
_PLACE = (
    update(BRICK)
    .where(BRICK.c.id == bindparam("key"))
    .values(set_index=bindparam("new_set"), position=bindparam("new_position"), role=bindparam("new_role"))
)
_KNOWN = update(VOLUME).where(VOLUME.c.id == bindparam("key")).values(brick_order_known=True)


def set_order(store: Store, *, volume_id: str, brick_ids: Sequence[str]) -> None:
    """Corrects sets and positions of a volume's bricks; in a volume with arbiters the last of a set is the arbiter.

    Raises:
        NotFoundError: VOLUME_NOT_FOUND.
        FailedPreconditionError: TARGET_BUSY.
        InvalidArgumentError: Not the volume's bricks, or two bricks of a set on one node.
    """
    check_id("volume_id", volume_id)

    def work(tx: Transaction) -> None:
        lock_volume(tx, volume_id)
        volume = free_volume(tx, volume_id)
        bricks = {brick.id: brick for brick in bricks_of(tx, volume_id)}
        if sorted(bricks) != sorted(brick_ids):
            raise invalid("brick_ids", sorted(brick_ids), f"are not the bricks of volume {volume_id}")
        size = max(1, durability_of(volume).set_size)
        _check_nodes([bricks[each] for each in brick_ids], size)
        with_arbiter = any(brick.role == BrickRole.ARBITER for brick in bricks.values())
        places = [
            {
                "key": each,
                "new_set": index // size,
                "new_position": index % size,
                "new_role": (BrickRole.ARBITER if with_arbiter and index % size == size - 1 else BrickRole.DATA).value,
            }
            for index, each in enumerate(brick_ids)
        ]
        tx.run(_LIFT, {"key": volume_id})
        tx.run(_PLACE, places)
        tx.run(_KNOWN, {"key": volume_id})
        _log.info("volume.brick_order_known", volume_id=volume_id)

    store.write(work)


def _check_nodes(bricks: Sequence[BrickRow], size: int) -> None:
    for first in range(0, len(bricks), size):
        nodes = [brick.node_id for brick in bricks[first : first + size]]
        if len(set(nodes)) != len(nodes):
            raise invalid("brick_ids", [brick.id for brick in bricks], f"have set {first // size} on one node twice")
