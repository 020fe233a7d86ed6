"""Everything that is recorded, at one moment, for a comparison with the nodes. Effects: SQL."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import BindParameter, Select, Table, bindparam, or_, select

from brickyard.topology.v1 import books_pb2
from services.topology.convert import brick_message, device_message, node_message, timestamp, volume_message
from services.topology.convert_operations import operation_message
from services.topology.store import Store, Transaction
from services.topology.tables import (
    BRICK,
    CLUSTER,
    DEVICE,
    NODE,
    OPERATION,
    VOLUME,
    BrickRow,
    DeviceRow,
    NodeRow,
    OperationRow,
    VolumeRow,
)
from services.topology.usecases.shared import get_cluster

_CLUSTER_IDS = select(CLUSTER.c.id).order_by(CLUSTER.c.id)
_NODES = select(NODE).order_by(NODE.c.id)
_DEVICES = select(DEVICE).order_by(DEVICE.c.id)
_VOLUMES = select(VOLUME).order_by(VOLUME.c.id)
_BRICKS = select(BRICK).order_by(BRICK.c.volume_id, BRICK.c.set_index, BRICK.c.position)
_OPERATIONS = (
    select(OPERATION)
    .where(or_(OPERATION.c.end_time_us.is_(None), OPERATION.c.end_time_us >= bindparam("since")))
    .order_by(OPERATION.c.create_time_us, OPERATION.c.id)
)
_IN_CLUSTER: BindParameter[str] = bindparam("cluster_id")
_NEVER_US = 2**63 - 1


def get(store: Store, cluster_id: str, ended_since: Timestamp | None) -> books_pb2.GetBooksResponse:
    """All records of a cluster, or of all when none is named.

    Args:
        store: The database.
        cluster_id: Which cluster; empty = all.
        ended_since: Operations that ended at this time or later are told too; None = only unfinished ones.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND.
    """
    since_us = ended_since.ToMicroseconds() if ended_since is not None else _NEVER_US

    def work(tx: Transaction) -> books_pb2.GetBooksResponse:
        scope = {"cluster_id": cluster_id} if cluster_id else {}
        if cluster_id:
            get_cluster(tx, cluster_id)
        cluster_ids = [cluster_id] if cluster_id else list(tx.connection.execute(_CLUSTER_IDS).scalars())
        return books_pb2.GetBooksResponse(
            read_time=timestamp(tx.now_us),
            cluster_ids=cluster_ids,
            nodes=[booked_node(row) for row in tx.all(NodeRow, _scoped(_NODES, NODE, cluster_id), scope)],
            devices=[booked_device(row) for row in tx.all(DeviceRow, _scoped(_DEVICES, DEVICE, cluster_id), scope)],
            volumes=[
                volume_message(row, ()) for row in tx.all(VolumeRow, _scoped(_VOLUMES, VOLUME, cluster_id), scope)
            ],
            bricks=[booked_brick(row) for row in tx.all(BrickRow, _bricks(cluster_id), scope)],
            operations=[
                operation_message(row)
                for row in tx.all(
                    OperationRow, _scoped(_OPERATIONS, OPERATION, cluster_id), {**scope, "since": since_us}
                )
            ],
        )

    return store.read(work)


def _scoped(statement: Select[Any], table: Table, cluster_id: str) -> Select[Any]:
    return statement.where(table.c.cluster_id == _IN_CLUSTER) if cluster_id else statement


def _bricks(cluster_id: str) -> Select[Any]:
    if not cluster_id:
        return _BRICKS
    return _BRICKS.where(BRICK.c.volume_id.in_(select(VOLUME.c.id).where(VOLUME.c.cluster_id == _IN_CLUSTER)))


def booked_node(row: NodeRow) -> books_pb2.BookedNode:
    """A node as it is recorded, without the ids of its devices."""
    return books_pb2.BookedNode(node=node_message(row, ()), operation_id=row.operation_id or "")


def booked_device(row: DeviceRow) -> books_pb2.BookedDevice:
    """A device as it is recorded, without its bricks."""
    return books_pb2.BookedDevice(
        device=device_message(row, ()),
        operation_id=row.operation_id or "",
        unattributed_bytes=row.unattributed_bytes,
    )


def booked_brick(row: BrickRow) -> books_pb2.BookedBrick:
    """A brick as it is recorded."""
    return books_pb2.BookedBrick(brick=brick_message(row), operation_id=row.operation_id or "")
