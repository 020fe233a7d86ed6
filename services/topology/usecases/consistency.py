"""Compares the books with themselves. Effects: SQL."""

from typing import Any

from sqlalchemy import Table, select

from services.topology.domain.consistency import (
    Books,
    BrickFacts,
    ClusterFacts,
    DeviceFacts,
    HolderFacts,
    HostnameFacts,
    NodeFacts,
    VolumeFacts,
    violations,
)
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, CLUSTER, DEVICE, HOSTNAME, NODE, OPERATION, VOLUME


def _load(tx: Transaction, table: Table, facts: Any) -> list[Any]:
    columns = [table.c[name] for name in facts._fields]
    return [facts(*row) for row in tx.connection.execute(select(*columns))]


def check(store: Store) -> tuple[list[str], int]:
    """Every violated invariant as a sentence, and how many objects were looked at, all at one moment."""

    def work(tx: Transaction) -> Books:
        return Books(
            clusters=_load(tx, CLUSTER, ClusterFacts),
            nodes=_load(tx, NODE, NodeFacts),
            hostnames=_load(tx, HOSTNAME, HostnameFacts),
            devices=_load(tx, DEVICE, DeviceFacts),
            volumes=_load(tx, VOLUME, VolumeFacts),
            bricks=_load(tx, BRICK, BrickFacts),
            operations=_load(tx, OPERATION, HolderFacts),
        )

    books = store.read(work)
    return violations(books), books.count
