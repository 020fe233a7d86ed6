"""Reading nodes, and their tags. Effects: SQL."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import bindparam, select, update

from brickyard.topology.v1 import device_pb2, node_pb2
from services.common.errors import AlreadyExistsError
from services.common.reasons import Reason
from services.topology.convert import device_message, node_message
from services.topology.domain.checks import check_hostnames
from services.topology.domain.model import Presence
from services.topology.domain.tags import TagChange, changed_tags
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, DEVICE, HOSTNAME, NODE, BrickRow, DeviceRow, HostnameRow, NodeRow
from services.topology.usecases.shared import advance, get_cluster, get_node, lock_node

_DEVICES = (
    select(DEVICE)
    .where(DEVICE.c.node_id == bindparam("node_id"), DEVICE.c.presence != Presence.ADDING)
    .order_by(DEVICE.c.id)
)
_BRICKS = (
    select(BRICK)
    .where(
        BRICK.c.device_id.in_(select(DEVICE.c.id).where(DEVICE.c.node_id == bindparam("node_id"))),
        BRICK.c.operation_id.is_(None),
    )
    .order_by(BRICK.c.id)
)
_PAGE = (
    select(NODE)
    .where(NODE.c.id > bindparam("after"), NODE.c.presence != Presence.ADDING)
    .order_by(NODE.c.id)
    .limit(bindparam("count"))
)
_PAGE_IN_CLUSTER = _PAGE.where(NODE.c.cluster_id == bindparam("cluster_id"))
_DEVICE_IDS = (
    select(DEVICE.c.node_id, DEVICE.c.id)
    .where(DEVICE.c.node_id.between(bindparam("first"), bindparam("last")), DEVICE.c.presence != Presence.ADDING)
    .order_by(DEVICE.c.id)
)
_DEVICE_IDS_IN_CLUSTER = _DEVICE_IDS.where(DEVICE.c.cluster_id == bindparam("cluster_id"))
_ALL_IN_CLUSTER = (
    select(NODE)
    .where(NODE.c.cluster_id == bindparam("cluster_id"), NODE.c.presence != Presence.ADDING)
    .order_by(NODE.c.id)
)
_WITH_IDS = select(NODE).where(NODE.c.id.in_(bindparam("ids", expanding=True))).order_by(NODE.c.id)
_TAKEN = (
    select(HOSTNAME)
    .where(HOSTNAME.c.kind == bindparam("kind"), HOSTNAME.c.name.in_(bindparam("names", expanding=True)))
    .order_by(HOSTNAME.c.name)
)


def get(store: Store, node_id: str) -> tuple[node_pb2.Node, list[device_pb2.Device]]:
    """A node and its devices with their bricks, ascending by id. Raises NotFoundError (NODE_NOT_FOUND)."""

    def work(tx: Transaction) -> tuple[node_pb2.Node, list[device_pb2.Device]]:
        node = get_node(tx, node_id)
        devices = tx.all(DeviceRow, _DEVICES, {"node_id": node_id})
        bricks = defaultdict(list)
        for brick in tx.all(BrickRow, _BRICKS, {"node_id": node_id}):
            bricks[brick.device_id].append(brick)
        messages = [device_message(device, bricks[device.id]) for device in devices]
        return node_message(node, [device.id for device in devices]), messages

    return store.read(work)


def with_ids(store: Store, node_ids: Iterable[str]) -> list[node_pb2.Node]:
    """Those of the nodes that there are, ascending by id, without the ids of their devices."""
    rows = store.read(lambda tx: tx.all(NodeRow, _WITH_IDS, {"ids": sorted(node_ids)}))
    return [node_message(row, ()) for row in rows]


def message_of(tx: Transaction, row: NodeRow) -> node_pb2.Node:
    """A node with the ids of its devices."""
    devices = tx.all(DeviceRow, _DEVICES, {"node_id": row.id})
    return node_message(row, [device.id for device in devices])


def list_page(store: Store, *, cluster_id: str, after: str, count: int) -> list[node_pb2.Node]:
    """At most `count` nodes with ids above `after`, ascending, of one cluster or all.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for a cluster that was asked for.
    """

    def work(tx: Transaction) -> list[node_pb2.Node]:
        values = {"after": after, "count": count}
        if not cluster_id:
            rows = tx.all(NodeRow, _PAGE, values)
        else:
            get_cluster(tx, cluster_id)
            rows = tx.all(NodeRow, _PAGE_IN_CLUSTER, {**values, "cluster_id": cluster_id})
        return _with_device_ids(tx, rows, cluster_id)

    return store.read(work)


def _with_device_ids(tx: Transaction, rows: Collection[NodeRow], cluster_id: str) -> list[node_pb2.Node]:
    ordered = list(rows)
    if not ordered:
        return []
    values = {"first": ordered[0].id, "last": ordered[-1].id}
    found = defaultdict(list)
    statement = _DEVICE_IDS
    if cluster_id:
        statement, values = _DEVICE_IDS_IN_CLUSTER, {**values, "cluster_id": cluster_id}
    for node_id, device_id in tx.connection.execute(statement, values):
        found[node_id].append(device_id)
    return [node_message(row, found[row.id]) for row in ordered]


def update_tags(store: Store, node_id: str, change: TagChange, tags: Mapping[str, str]) -> dict[str, str]:
    """Changes the tags of a node and returns all of them.

    Raises:
        NotFoundError: NODE_NOT_FOUND.
        InvalidArgumentError: TOO_MANY_TAGS, or a tag that can not be one.
    """

    def work(tx: Transaction) -> dict[str, str]:
        row = lock_node(tx, node_id)
        result = changed_tags(row.tags, change, tags)
        revision = advance(tx, row.cluster_id)
        tx.run(update(NODE).where(NODE.c.id == node_id).values(tags=result, revision=revision))
        return result

    return store.write(work)


def check_new(store: Store, *, cluster_id: str, manage: list[str], storage: list[str]) -> list[node_pb2.Node]:
    """Whether a node may be added; reserves nothing. Gives the nodes of the cluster, ascending by id.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND.
        AlreadyExistsError: HOSTNAME_IN_USE.
    """
    check_hostnames(manage, storage)

    def work(tx: Transaction) -> list[node_pb2.Node]:
        get_cluster(tx, cluster_id)
        check_hostnames_free(tx, manage=manage, storage=storage)
        rows = tx.all(NodeRow, _ALL_IN_CLUSTER, {"cluster_id": cluster_id})
        return _with_device_ids(tx, rows, cluster_id)

    return store.read(work)


def check_hostnames_free(tx: Transaction, *, manage: Collection[str], storage: Collection[str]) -> None:
    """Whether no node has one of the names, each kind by itself; nodes being added count. The text is Heketi's.

    Raises:
        AlreadyExistsError: HOSTNAME_IN_USE, with the host name and the id of the node that has it.
    """
    for kind, names in (("manage", manage), ("storage", storage)):
        taken = tx.first(HostnameRow, _TAKEN, {"kind": kind, "names": list(names)})
        if taken is not None:
            raise AlreadyExistsError(
                Reason.HOSTNAME_IN_USE,
                f"Hostname {taken.name} already used by node with id {taken.node_id}",
                hostname=taken.name,
                node_id=taken.node_id,
            )
