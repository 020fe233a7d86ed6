"""Reading devices, and their tags. Effects: SQL."""

from collections.abc import Mapping

from sqlalchemy import bindparam, select, update

from brickyard.topology.v1 import device_pb2, node_pb2
from services.topology.convert import device_message
from services.topology.domain.tags import TagChange, changed_tags
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, DEVICE, BrickRow, DeviceRow
from services.topology.usecases import nodes
from services.topology.usecases.shared import advance, get_device, get_node, lock_device

_BRICKS = (
    select(BRICK)
    .where(BRICK.c.device_id == bindparam("device_id"), BRICK.c.operation_id.is_(None))
    .order_by(BRICK.c.id)
)


def get(store: Store, device_id: str) -> tuple[device_pb2.Device, node_pb2.Node]:
    """A device with its bricks, and its node. Raises NotFoundError (DEVICE_NOT_FOUND)."""

    def work(tx: Transaction) -> tuple[device_pb2.Device, node_pb2.Node]:
        row = get_device(tx, device_id)
        return message_of(tx, row), nodes.message_of(tx, get_node(tx, row.node_id))

    return store.read(work)


def message_of(tx: Transaction, row: DeviceRow) -> device_pb2.Device:
    """A device with its bricks, without those of running operations."""
    return device_message(row, tx.all(BrickRow, _BRICKS, {"device_id": row.id}))


def update_tags(store: Store, device_id: str, change: TagChange, tags: Mapping[str, str]) -> dict[str, str]:
    """Changes the tags of a device and returns all of them.

    Raises:
        NotFoundError: DEVICE_NOT_FOUND.
        InvalidArgumentError: TOO_MANY_TAGS, or a tag that can not be one.
    """

    def work(tx: Transaction) -> dict[str, str]:
        row = lock_device(tx, device_id)
        result = changed_tags(row.tags, change, tags)
        revision = advance(tx, row.cluster_id)
        tx.run(update(DEVICE).where(DEVICE.c.id == device_id).values(tags=result, revision=revision))
        return result

    return store.write(work)
