"""Everything that is recorded, at one moment, for a dump. Effects: SQL."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import select

from brickyard.topology.v1 import records_pb2
from services.topology.convert import cluster_message, volume_message
from services.topology.convert_block import block_hosting_message, block_volume_message
from services.topology.convert_operations import operation_message
from services.topology.store import Store, Transaction
from services.topology.tables import (
    BLOCK_HOSTING,
    BLOCK_VOLUME,
    BRICK,
    CLUSTER,
    DEVICE,
    NODE,
    OPERATION,
    SERVER,
    VOLUME,
    BlockHostingRow,
    BlockVolumeRow,
    BrickRow,
    ClusterRow,
    DeviceRow,
    NodeRow,
    OperationRow,
    VolumeRow,
)
from services.topology.usecases.recorded import booked_brick, booked_device, booked_node

# A message of so many objects stays far below the limit of a message.
_PART = 2000
_GENERATION = select(SERVER.c.generation_id)
_CLUSTERS = select(CLUSTER).order_by(CLUSTER.c.id)
_NODES = select(NODE).order_by(NODE.c.id)
_DEVICES = select(DEVICE).order_by(DEVICE.c.id)
_VOLUMES = select(VOLUME).order_by(VOLUME.c.id)
_BRICKS = select(BRICK).order_by(BRICK.c.volume_id, BRICK.c.set_index, BRICK.c.position)
_HOSTINGS = select(BLOCK_HOSTING)
_BLOCK_VOLUMES = select(BLOCK_VOLUME).order_by(BLOCK_VOLUME.c.id)
_OPERATIONS = select(OPERATION).where(OPERATION.c.end_time_us.is_(None)).order_by(OPERATION.c.id)


def export(store: Store) -> list[records_pb2.Records]:
    """All records in parts, each field in its order over all parts; one transaction reads them all."""
    return store.read(lambda tx: list(_parts(tx)))


def _parts(tx: Transaction) -> Iterator[records_pb2.Records]:
    yield records_pb2.Records(
        generation_id=tx.scalar(_GENERATION),
        clusters=[cluster_message(row) for row in tx.all(ClusterRow, _CLUSTERS)],
        operations=[operation_message(row) for row in tx.all(OperationRow, _OPERATIONS)],
    )
    yield from _of("nodes", (booked_node(row) for row in tx.all(NodeRow, _NODES)))
    yield from _of("devices", (booked_device(row) for row in tx.all(DeviceRow, _DEVICES)))
    blocks = tx.all(BlockVolumeRow, _BLOCK_VOLUMES)
    volumes = tx.all(VolumeRow, _VOLUMES)
    yield from _of("volumes", _volumes(tx, volumes, blocks))
    yield from _of("bricks", (booked_brick(row) for row in tx.all(BrickRow, _BRICKS)))
    names = {row.id: row.name for row in volumes}
    yield from _of(
        "block_volumes",
        (block_volume_message(row, names[row.hosting_volume_id], with_password=True) for row in blocks),
    )


def _of(field: str, messages: Iterable[Any]) -> Iterator[records_pb2.Records]:
    part: list[Any] = []
    for message in messages:
        part.append(message)
        if len(part) == _PART:
            yield _part(field, part)
            part = []
    if part:
        yield _part(field, part)


def _part(field: str, messages: list[Any]) -> records_pb2.Records:
    part = records_pb2.Records()
    getattr(part, field).extend(messages)
    return part


def _volumes(
    tx: Transaction, rows: Sequence[VolumeRow], blocks: Sequence[BlockVolumeRow]
) -> Iterator[records_pb2.RecordedVolume]:
    hostings = {row.volume_id: row for row in tx.all(BlockHostingRow, _HOSTINGS)}
    held: dict[str, list[str]] = {}
    for block in blocks:
        held.setdefault(block.hosting_volume_id, []).append(block.id)
    for row in rows:
        hosting = hostings.get(row.id)
        message = None if hosting is None else block_hosting_message(hosting, held.get(row.id, ()))
        yield records_pb2.RecordedVolume(
            volume=volume_message(row, (), block_hosting=message),
            requested_cluster_ids=row.requested_cluster_ids,
            mount_hosts=row.mount_hosts,
        )
