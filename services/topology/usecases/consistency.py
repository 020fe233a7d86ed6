"""Compares the books with themselves. Effects: SQL."""

from typing import Any

from sqlalchemy import Table, select

from brickyard.topology.v1 import topology_service_pb2
from services.topology.domain.consistency import checked
from services.topology.domain.stored import (
    BlockHostingFacts,
    BlockVolumeFacts,
    Books,
    BrickFacts,
    ClusterFacts,
    DeviceFacts,
    HolderFacts,
    HostnameFacts,
    NodeFacts,
    TombstoneFacts,
    VolumeFacts,
)
from services.topology.store import Store, Transaction
from services.topology.tables import (
    BLOCK_HOSTING,
    BLOCK_VOLUME,
    BRICK,
    CLUSTER,
    DEVICE,
    HOSTNAME,
    NODE,
    OPERATION,
    TOMBSTONE,
    VOLUME,
)


def _load(tx: Transaction, table: Table, facts: Any) -> list[Any]:
    columns = [table.c[name] for name in facts._fields]
    return [facts(*row) for row in tx.connection.execute(select(*columns))]


def check(store: Store) -> tuple[list[str], int]:
    """Every violated invariant as a sentence, and how many objects were looked at, all at one moment."""
    invariants, count = prove(store)
    return [text for invariant in invariants for text in invariant.violations], count


def prove(store: Store) -> tuple[list[topology_service_pb2.CheckedInvariant], int]:
    """Every invariant with its violations, and how many objects were looked at, all at one moment."""

    def work(tx: Transaction) -> Books:
        return Books(
            clusters=_load(tx, CLUSTER, ClusterFacts),
            nodes=_load(tx, NODE, NodeFacts),
            hostnames=_load(tx, HOSTNAME, HostnameFacts),
            devices=_load(tx, DEVICE, DeviceFacts),
            volumes=_load(tx, VOLUME, VolumeFacts),
            bricks=_load(tx, BRICK, BrickFacts),
            operations=_load(tx, OPERATION, HolderFacts),
            block_hostings=_load(tx, BLOCK_HOSTING, BlockHostingFacts),
            block_volumes=_load(tx, BLOCK_VOLUME, BlockVolumeFacts),
            tombstones=_load(tx, TOMBSTONE, TombstoneFacts),
        )

    books = store.read(work)
    proven = [
        topology_service_pb2.CheckedInvariant(name=each.name, sentence=each.sentence, violations=found)
        for each, found in checked(books)
    ]
    return proven, books.count
