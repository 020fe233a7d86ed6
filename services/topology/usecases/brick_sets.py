"""What placement needs to know of brick sets: which nodes hold some together, and what is set aside. Effects: SQL."""

from collections import Counter
from typing import Any

from sqlalchemy import and_, bindparam, func, select

from brickyard.topology.v1 import inventory_pb2
from services.topology.domain.model import BrickState
from services.topology.domain.pools import needed_bytes, pool_of
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, VOLUME, BrickRow
from services.topology.usecases.shared import get_cluster
from services.topology.usecases.volume_rows import bricks_in_pools

_IN_CLUSTER = VOLUME.c.cluster_id == bindparam("cluster_id")
_SET_NODES: Any = select(func.aggregate_strings(BRICK.c.node_id, ",").label("nodes")).having(func.count() > 1)
_SET = (BRICK.c.volume_id, BRICK.c.set_index)
# Bricks that are being made are few. They are looked for first, by the index of held bricks, and then for each its
# volume: as a join, a database may go through all volumes of the cluster instead.
_MAKING = and_(
    BRICK.c.state == BrickState.CREATING,
    # Said twice: the index is found by this.
    BRICK.c.operation_id.is_not(None),
    select(VOLUME.c.cluster_id).where(VOLUME.c.id == BRICK.c.volume_id).correlate(BRICK).scalar_subquery()
    == bindparam("cluster_id"),
)
_ALL = _SET_NODES.select_from(BRICK.join(VOLUME, BRICK.c.volume_id == VOLUME.c.id)).where(_IN_CLUSTER)
_NODE_SETS = select(_ALL.group_by(*_SET).subquery().c.nodes).distinct()
# One operation makes the whole set. By the sets alone, SQLite would go through all of them in the order of their index.
_MADE_NOW = _SET_NODES.where(_MAKING).group_by(BRICK.c.operation_id, *_SET)
_NODE_SETS_IN_THE_MAKING = select(_MADE_NOW.subquery().c.nodes).distinct()
_RESERVING_BRICKS = select(BRICK).where(_MAKING).order_by(BRICK.c.device_id, BRICK.c.operation_id)


def node_sets(tx: Transaction, cluster_id: str, *, making_only: bool) -> list[inventory_pb2.NodeSet]:
    """The node sets that hold a brick set together, each once; or only those of brick sets that are being made."""
    statement = _NODE_SETS_IN_THE_MAKING if making_only else _NODE_SETS
    rows = tx.connection.execute(statement, {"cluster_id": cluster_id}).scalars()
    # A database joins the ids in any order.
    found = sorted({tuple(sorted(row.split(","))) for row in rows})
    return [inventory_pb2.NodeSet(node_ids=node_ids) for node_ids in found]


def reservations(store: Store, cluster_id: str) -> list[inventory_pb2.Reservation]:
    """What running operations have set aside on the devices of a cluster, by device and operation id.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND.
    """

    def work(tx: Transaction) -> list[inventory_pb2.Reservation]:
        get_cluster(tx, cluster_id)
        making = tx.all(BrickRow, _RESERVING_BRICKS, {"cluster_id": cluster_id})
        pools = {pool_of(brick): brick for brick in making}
        # The bricks of a copy lie in pools that are paid for.
        paid = {pool_of(each) for each in bricks_in_pools(tx, pools.keys()) if each.state != BrickState.CREATING}
        sizes: Counter[tuple[str, str]] = Counter()
        for pool, brick in pools.items():
            if pool not in paid and brick.operation_id is not None:
                sizes[brick.device_id, brick.operation_id] += needed_bytes(brick)
        return [
            inventory_pb2.Reservation(device_id=device_id, operation_id=operation_id, size_bytes=size)
            for (device_id, operation_id), size in sorted(sizes.items())
        ]

    return store.read(work)
