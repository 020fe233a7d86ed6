"""Reading one brick with its volume. Effects: SQL."""

from sqlalchemy import bindparam, select

from brickyard.topology.v1 import volume_pb2
from services.common.reasons import Reason
from services.topology.convert import brick_message
from services.topology.domain.checks import check_id
from services.topology.domain.model import BrickState, VolumeState
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, BrickRow
from services.topology.usecases import volumes
from services.topology.usecases.shared import not_found
from services.topology.usecases.volume_rows import get_volume

_BRICK = select(BRICK).where(BRICK.c.id == bindparam("id"), BRICK.c.state != BrickState.CREATING)


def get_row(tx: Transaction, brick_id: str) -> BrickRow:
    """A brick that is not just being made. Raises NotFoundError (BRICK_NOT_FOUND)."""
    row = tx.first(BrickRow, _BRICK, {"id": brick_id})
    if row is None:
        raise not_found(Reason.BRICK_NOT_FOUND, "brick", brick_id)
    return row


def get(store: Store, brick_id: str) -> tuple[volume_pb2.Brick, volume_pb2.Volume]:
    """A brick, and its volume with all bricks.

    Raises:
        NotFoundError: BRICK_NOT_FOUND, also while it is being made, or its volume deleted.
    """
    check_id("brick_id", brick_id)

    def work(tx: Transaction) -> tuple[volume_pb2.Brick, volume_pb2.Volume]:
        row = get_row(tx, brick_id)
        volume = get_volume(tx, row.volume_id)
        if volume.state != VolumeState.ACTIVE:
            raise not_found(Reason.BRICK_NOT_FOUND, "brick", brick_id)
        return brick_message(row), volumes.message_of(tx, volume)

    return store.read(work)
