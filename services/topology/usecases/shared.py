"""What several use cases need: locking, revisions, and objects that must exist. Effects: SQL."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, select, update

from services.common.errors import BrickyardError, FailedPreconditionError, NotFoundError
from services.common.reasons import Reason
from services.topology.domain.books import DeviceBooks
from services.topology.domain.model import Presence
from services.topology.store import Transaction
from services.topology.tables import (
    BRICK,
    CLUSTER,
    DEVICE,
    NODE,
    TOMBSTONE,
    BrickRow,
    ClusterRow,
    DeviceRow,
    NodeRow,
)

_CLUSTER = select(CLUSTER).where(CLUSTER.c.id == bindparam("id"))
_CLUSTER_LOCKED = _CLUSTER.with_for_update()
_NODE = select(NODE).where(NODE.c.id == bindparam("id"), NODE.c.presence != Presence.ADDING)
_DEVICE = select(DEVICE).where(DEVICE.c.id == bindparam("id"), DEVICE.c.presence != Presence.ADDING)
_ADVANCE = (
    update(CLUSTER)
    .where(CLUSTER.c.id == bindparam("key"))
    .values(revision=CLUSTER.c.revision + 1, volume_count=CLUSTER.c.volume_count + bindparam("volumes"))
    .returning(CLUSTER.c.revision)
)
_SET_BOOKS = (
    update(DEVICE)
    .where(DEVICE.c.id == bindparam("key"))
    .values(
        used_bytes=bindparam("used"), reserved_bytes=bindparam("reserved"), unattributed_bytes=bindparam("unattributed")
    )
)
_SET_BOOKS_AND_REVISION = _SET_BOOKS.values(revision=bindparam("new_revision"))
_BURY = TOMBSTONE.insert()
_BRICKS_OF_OPERATION = select(BRICK).where(BRICK.c.operation_id == bindparam("operation_id")).order_by(BRICK.c.id)
_DEVICES_OF_OPERATION = (
    select(DEVICE)
    .where(DEVICE.c.id.in_(select(BRICK.c.device_id).where(BRICK.c.operation_id == bindparam("operation_id"))))
    .order_by(DEVICE.c.id)
)


def not_found(reason: Reason, kind: str, object_id: str) -> NotFoundError:
    """The error for an object that does not exist, or is hidden."""
    return NotFoundError(reason, f"{kind} {object_id!r} not found", **{f"{kind}_id": object_id})


def busy(kind: str, object_id: str, operation_id: str) -> FailedPreconditionError:
    """The error for an object that another operation holds; the text is Heketi's."""
    return FailedPreconditionError(
        Reason.TARGET_BUSY,
        "The target exists, contains other items, or is in use.",
        **{f"{kind}_id": object_id, "operation_id": operation_id},
    )


def get_cluster(tx: Transaction, cluster_id: str) -> ClusterRow:
    """A cluster. Raises NotFoundError (CLUSTER_NOT_FOUND)."""
    return _found(tx.first(ClusterRow, _CLUSTER, {"id": cluster_id}), cluster_id)


def lock_cluster(tx: Transaction, cluster_id: str) -> ClusterRow:
    """A cluster that nobody else changes until the transaction ends. Raises NotFoundError (CLUSTER_NOT_FOUND)."""
    return _found(tx.first(ClusterRow, _CLUSTER_LOCKED, {"id": cluster_id}), cluster_id)


def _found(row: ClusterRow | None, cluster_id: str) -> ClusterRow:
    if row is None:
        raise not_found(Reason.CLUSTER_NOT_FOUND, "cluster", cluster_id)
    return row


def get_node(tx: Transaction, node_id: str) -> NodeRow:
    """A node that is not just being added. Raises NotFoundError (NODE_NOT_FOUND)."""
    row = tx.first(NodeRow, _NODE, {"id": node_id})
    if row is None:
        raise not_found(Reason.NODE_NOT_FOUND, "node", node_id)
    return row


def lock_node(tx: Transaction, node_id: str) -> NodeRow:
    """As `get_node`, with its cluster locked."""
    lock_cluster(tx, get_node(tx, node_id).cluster_id)
    # Read again: it may have changed while the lock was awaited.
    return get_node(tx, node_id)


def get_device(tx: Transaction, device_id: str) -> DeviceRow:
    """A device that is not just being added. Raises NotFoundError (DEVICE_NOT_FOUND)."""
    row = tx.first(DeviceRow, _DEVICE, {"id": device_id})
    if row is None:
        raise not_found(Reason.DEVICE_NOT_FOUND, "device", device_id)
    return row


def lock_device(tx: Transaction, device_id: str) -> DeviceRow:
    """As `get_device`, with its cluster locked."""
    lock_cluster(tx, get_device(tx, device_id).cluster_id)
    return get_device(tx, device_id)


def advance(tx: Transaction, cluster_id: str, *, volumes: int = 0) -> int:
    """The cluster's next revision, for the rows that placement has to read again; counts its volumes too."""
    revision: int = tx.scalar(_ADVANCE, {"key": cluster_id, "volumes": volumes})
    return revision


def bury(tx: Transaction, *, kind: str, object_id: str, cluster_id: str) -> None:
    """Records that placement must forget a node or device."""
    revision = advance(tx, cluster_id)
    row = {"id": object_id, "kind": kind, "cluster_id": cluster_id, "revision": revision, "create_time_us": tx.now_us}
    tx.run(_BURY, row)


def books_of(row: DeviceRow) -> DeviceBooks:
    """The books of a device."""
    return DeviceBooks(
        total_bytes=row.total_bytes,
        used_bytes=row.used_bytes,
        reserved_bytes=row.reserved_bytes,
        unattributed_bytes=row.unattributed_bytes,
    )


def store_books(tx: Transaction, books: Mapping[str, DeviceBooks], *, revision: int | None) -> None:
    """Writes the books of devices; `revision` None when the free space has not changed."""
    values: list[dict[str, Any]] = [
        {"key": device_id, "used": each.used_bytes, "reserved": each.reserved_bytes}
        | {"unattributed": each.unattributed_bytes}
        | ({} if revision is None else {"new_revision": revision})
        for device_id, each in sorted(books.items())
    ]
    tx.run(_SET_BOOKS if revision is None else _SET_BOOKS_AND_REVISION, values)


def bricks_of_operation(tx: Transaction, operation_id: str) -> Sequence[BrickRow]:
    """The bricks that an operation holds."""
    return tx.all(BrickRow, _BRICKS_OF_OPERATION, {"operation_id": operation_id})


def devices_of_operation(tx: Transaction, operation_id: str) -> Sequence[DeviceRow]:
    """The devices with bricks that an operation holds."""
    return tx.all(DeviceRow, _DEVICES_OF_OPERATION, {"operation_id": operation_id})


def check_movable(tx: Transaction, kind: str, object_id: str, bricks: sa.Select[Any]) -> None:
    """Whether a node or device has no bricks, so that it may fail; `bricks` selects their operations.

    Raises:
        FailedPreconditionError: TARGET_BUSY: a running operation makes or removes bricks there.
        FailedPreconditionError: DEVICE_NOT_EMPTY or NODE_NOT_EMPTY: bricks have to be moved away first.
    """
    holders = [holder for (holder,) in tx.connection.execute(bricks.distinct().limit(2))]
    error = _movable_error(kind, object_id, holders)
    if error is not None:
        raise error


def _movable_error(kind: str, object_id: str, holders: Sequence[str | None]) -> BrickyardError | None:
    held = [holder for holder in holders if holder is not None]
    if held:
        return busy(kind, object_id, held[0])
    if holders:
        return FailedPreconditionError(
            Reason.DEVICE_NOT_EMPTY if kind == "device" else Reason.NODE_NOT_EMPTY,
            f"{kind} {object_id} has bricks, which must be moved away first",
            **{f"{kind}_id": object_id},
        )
    return None
