"""Recording everything at once in an empty topology: how another program's records are taken over. Effects: SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import exists, insert, select, update

from brickyard.topology.v1 import records_pb2
from services.common.errors import FailedPreconditionError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.topology.convert_records import Row, Rows, rows_of
from services.topology.domain.checks import check_id
from services.topology.domain.consistency import violations
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
    SERVER,
    TOMBSTONE,
    VOLUME,
)

_log = get_logger()
_GENERATION = select(SERVER.c.generation_id)
_HAS_CLUSTERS = select(exists().select_from(CLUSTER))


def take_over(store: Store, records: records_pb2.Records, *, validate_only: bool) -> tuple[int, list[str]]:
    """Records everything, unless it is malformed or violates an invariant.

    Args:
        store: A database without clusters.
        records: Everything.
        validate_only: Nothing is recorded, it is only checked.

    Returns:
        How many objects there are, and every reason for which nothing was recorded.

    Raises:
        FailedPreconditionError: TOPOLOGY_NOT_EMPTY.
        InvalidArgumentError: The generation is no id.
    """
    check_id("records.generation_id", records.generation_id)

    def work(tx: Transaction) -> tuple[int, list[str]]:
        _check_empty(tx, records.generation_id, lock=not validate_only)
        rows = rows_of(records, tx.now_us)
        refusals = rows.refusals or violations(books_of_rows(rows))
        if not (refusals or validate_only):
            _insert(tx, rows, records.generation_id)
            _log.warning("records.imported", generation_id=records.generation_id, count=rows.count)
        return rows.count, refusals

    return store.read(work) if validate_only else store.write(work)


def _check_empty(tx: Transaction, generation_id: str, *, lock: bool) -> None:
    current = tx.scalar(_GENERATION.with_for_update() if lock else _GENERATION)
    if not tx.scalar(_HAS_CLUSTERS):
        return
    repeated = current == generation_id
    raise FailedPreconditionError(
        Reason.TOPOLOGY_NOT_EMPTY,
        "these records were imported already"
        if repeated
        else "the topology has clusters; records are imported only into an empty one: use a new database",
        generation_id=current,
    )


def _facts(kind: Any, rows: Sequence[Row]) -> list[Any]:
    return [kind(**{name: row[name] for name in kind._fields}) for row in rows]


def books_of_rows(rows: Rows) -> Books:
    """What the invariants look at, of rows that are not recorded yet."""
    return Books(
        clusters=_facts(ClusterFacts, rows.clusters),
        nodes=_facts(NodeFacts, rows.nodes),
        hostnames=_facts(HostnameFacts, rows.hostnames),
        devices=_facts(DeviceFacts, rows.devices),
        volumes=_facts(VolumeFacts, rows.volumes),
        bricks=_facts(BrickFacts, rows.bricks),
        operations=_facts(HolderFacts, rows.operations),
        block_hostings=_facts(BlockHostingFacts, rows.block_hostings),
        block_volumes=_facts(BlockVolumeFacts, rows.block_volumes),
    )


def _insert(tx: Transaction, rows: Rows, generation_id: str) -> None:
    # Removals of clusters that are gone are of no use to anybody.
    tx.run(TOMBSTONE.delete())
    for table, values in (
        (CLUSTER, rows.clusters),
        (OPERATION, rows.operations),
        (NODE, rows.nodes),
        (HOSTNAME, rows.hostnames),
        (DEVICE, rows.devices),
        (VOLUME, rows.volumes),
        (BRICK, rows.bricks),
        (BLOCK_HOSTING, rows.block_hostings),
        (BLOCK_VOLUME, rows.block_volumes),
    ):
        tx.run(insert(table), values)
    tx.run(update(SERVER).values(generation_id=generation_id))
