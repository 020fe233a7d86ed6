"""What placement needs to know of a cluster, by revision. Effects: SQL."""

from collections.abc import Sequence

from sqlalchemy import bindparam, or_, select

from brickyard.topology.v1 import inventory_pb2, topology_service_pb2
from services.topology.convert import inventory_device, inventory_node, timestamp
from services.topology.domain.health import STALE_AFTER_US
from services.topology.domain.model import Presence
from services.topology.store import Store, Transaction
from services.topology.tables import DEVICE, NODE, NODE_OBSERVATION, TOMBSTONE, DeviceRow, NodeRow, TombstoneRow
from services.topology.usecases.brick_sets import node_sets
from services.topology.usecases.shared import get_cluster

_NODES = (
    select(NODE)
    .where(
        NODE.c.cluster_id == bindparam("cluster_id"),
        NODE.c.revision > bindparam("since"),
        NODE.c.presence != Presence.ADDING,
    )
    .order_by(NODE.c.id)
)
_DEVICES = (
    select(DEVICE)
    .where(
        DEVICE.c.cluster_id == bindparam("cluster_id"),
        DEVICE.c.revision > bindparam("since"),
        DEVICE.c.presence != Presence.ADDING,
    )
    .order_by(DEVICE.c.id)
)
# Health is no part of the books: looks at nodes advance no revision, and make no plan outdated.
_OUTAGES = (
    select(
        NODE_OBSERVATION.c.node_id, NODE_OBSERVATION.c.unreachable_since_us, NODE_OBSERVATION.c.glusterd_down_since_us
    )
    .join(NODE, NODE.c.id == NODE_OBSERVATION.c.node_id)
    .where(
        NODE.c.cluster_id == bindparam("cluster_id"),
        NODE.c.presence != Presence.ADDING,
        or_(
            NODE_OBSERVATION.c.unreachable_since_us.is_not(None), NODE_OBSERVATION.c.glusterd_down_since_us.is_not(None)
        ),
        NODE_OBSERVATION.c.turn_time_us > bindparam("fresh"),
    )
    .order_by(NODE_OBSERVATION.c.node_id)
)
_TOMBSTONES = (
    select(TOMBSTONE)
    .where(TOMBSTONE.c.cluster_id == bindparam("cluster_id"), TOMBSTONE.c.revision > bindparam("since"))
    .order_by(TOMBSTONE.c.id)
)


def get(
    store: Store, cluster_id: str, *, since_revision: int, all_node_sets: bool = False
) -> topology_service_pb2.GetInventoryResponse:
    """What changed in a cluster since a revision; everything when that revision is 0, unknown or too old.

    Node sets have no revision: a change tells those in the making, and all of them only when asked for. Nor have
    outages: every answer has all of them.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND.
    """

    def work(tx: Transaction) -> topology_service_pb2.GetInventoryResponse:
        cluster = get_cluster(tx, cluster_id)
        complete = not max(1, cluster.forgotten_revision) <= since_revision <= cluster.revision
        since = {"cluster_id": cluster_id, "since": -1 if complete else since_revision}
        answer = topology_service_pb2.GetInventoryResponse(
            revision=cluster.revision, complete=complete, outages=_outages(tx, cluster_id)
        )
        if complete or all_node_sets or since_revision != cluster.revision:
            answer.all_node_sets = complete or all_node_sets
            answer.node_sets.extend(node_sets(tx, cluster_id, making_only=not answer.all_node_sets))
        if since_revision == cluster.revision:
            return answer
        answer.nodes.extend(map(inventory_node, tx.all(NodeRow, _NODES, since)))
        answer.devices.extend(map(inventory_device, tx.all(DeviceRow, _DEVICES, since)))
        if not complete:
            gone: Sequence[TombstoneRow] = tx.all(TombstoneRow, _TOMBSTONES, since)
            answer.removed_node_ids.extend(row.id for row in gone if row.kind == "node")
            answer.removed_device_ids.extend(row.id for row in gone if row.kind == "device")
        return answer

    return store.read(work)


def _outages(tx: Transaction, cluster_id: str) -> list[inventory_pb2.NodeOutage]:
    values = {"cluster_id": cluster_id, "fresh": tx.now_us - STALE_AFTER_US}
    return [
        inventory_pb2.NodeOutage(
            node_id=node_id,
            kind=inventory_pb2.OUTAGE_KIND_GLUSTERD_DOWN if silent_us is None else inventory_pb2.OUTAGE_KIND_SILENT,
            since_time=timestamp(silent_us or glusterd_down_us),
        )
        for node_id, silent_us, glusterd_down_us in tx.connection.execute(_OUTAGES, values)
    ]
