"""What placement needs to know of brick sets: which nodes hold some together, and what is set aside. Effects: SQL."""

from collections import Counter
from typing import Any

from sqlalchemy import bindparam, func, select

from brickyard.topology.v1 import inventory_pb2
from services.topology.domain.model import BrickState
from services.topology.domain.pools import needed_bytes, pool_of
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, VOLUME, BrickRow
from services.topology.usecases.shared import get_cluster
from services.topology.usecases.volume_rows import bricks_in_pools

_SET_NODES: Any = (
    select(func.aggregate_strings(BRICK.c.node_id, ",").label("nodes"))
    .select_from(BRICK.join(VOLUME, BRICK.c.volume_id == VOLUME.c.id))
    .where(VOLUME.c.cluster_id == bindparam("cluster_id"))
    .group_by(BRICK.c.volume_id, BRICK.c.set_index)
    .having(func.count() > 1)
)
_MAKING = BRICK.c.state == BrickState.CREATING
# Said twice: the index of held bricks is found by this.
_HELD = BRICK.c.operation_id.is_not(None)
_NODE_SETS = select(_SET_NODES.subquery().c.nodes).distinct()
_NODE_SETS_IN_THE_MAKING = select(_SET_NODES.where(_MAKING, _HELD).subquery().c.nodes).distinct()
_RESERVING_BRICKS = (
    select(BRICK)
    .join(VOLUME, BRICK.c.volume_id == VOLUME.c.id)
    .where(VOLUME.c.cluster_id == bindparam("cluster_id"), _MAKING, _HELD)
    .order_by(BRICK.c.device_id, BRICK.c.operation_id)
)


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
