"""Reading volumes. Effects: SQL."""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import bindparam, select

from brickyard.topology.v1 import volume_pb2
from services.common.reasons import Reason
from services.topology.convert import volume_message
from services.topology.convert_block import block_hosting_message
from services.topology.domain.model import BrickState, Presence, VolumeState
from services.topology.store import Store, Transaction
from services.topology.tables import BRICK, NODE, VOLUME, BrickRow, VolumeRow
from services.topology.usecases.block_rows import hostings_of
from services.topology.usecases.shared import get_cluster, not_found

_VOLUME = select(VOLUME).where(VOLUME.c.id == bindparam("id"), VOLUME.c.state == VolumeState.ACTIVE)
_BRICKS = (
    select(BRICK)
    .where(BRICK.c.volume_id == bindparam("volume_id"), BRICK.c.state != BrickState.CREATING)
    .order_by(BRICK.c.set_index, BRICK.c.position)
)
_MOUNT_HOSTS = (
    select(NODE.c.storage_hostnames)
    .where(NODE.c.cluster_id == bindparam("cluster_id"), NODE.c.presence != Presence.ADDING)
    .order_by(NODE.c.id)
)
_PAGE = (
    select(VOLUME)
    .where(VOLUME.c.id > bindparam("after"), VOLUME.c.state == VolumeState.ACTIVE)
    .order_by(VOLUME.c.id)
    .limit(bindparam("count"))
)
_PAGE_IN_CLUSTER = _PAGE.where(VOLUME.c.cluster_id == bindparam("cluster_id"))
_PAGE_IDS = _PAGE.with_only_columns(VOLUME.c.id)
_PAGE_IDS_IN_CLUSTER = _PAGE_IN_CLUSTER.with_only_columns(VOLUME.c.id)
_PAGE_BRICKS = (
    select(BRICK)
    .where(BRICK.c.volume_id.between(bindparam("first"), bindparam("last")), BRICK.c.state != BrickState.CREATING)
    .order_by(BRICK.c.volume_id, BRICK.c.set_index, BRICK.c.position)
)
_PAGE_BRICKS_IN_CLUSTER = _PAGE_BRICKS.where(
    BRICK.c.volume_id.in_(select(VOLUME.c.id).where(VOLUME.c.cluster_id == bindparam("cluster_id")))
)


def message_of(tx: Transaction, row: VolumeRow) -> volume_pb2.Volume:
    """A volume with its bricks."""
    return volume_message(
        row, tx.all(BrickRow, _BRICKS, {"volume_id": row.id}), block_hosting=_hosting_messages(tx, [row]).get(row.id)
    )


def _hosting_messages(tx: Transaction, rows: Iterable[VolumeRow]) -> dict[str, volume_pb2.BlockHosting]:
    """What those of the volumes hold that host block volumes, by volume id."""
    found = hostings_of(tx, [row.id for row in rows if row.block])
    return {volume_id: block_hosting_message(row, ids) for volume_id, (row, ids) in found.items()}


def get(store: Store, volume_id: str) -> tuple[volume_pb2.Volume, list[str]]:
    """A volume with its bricks, and the hosts that it can be mounted from, by node id.

    Raises:
        NotFoundError: VOLUME_NOT_FOUND, also while it is being created or deleted.
    """

    def work(tx: Transaction) -> tuple[volume_pb2.Volume, list[str]]:
        row = tx.first(VolumeRow, _VOLUME, {"id": volume_id})
        if row is None:
            raise not_found(Reason.VOLUME_NOT_FOUND, "volume", volume_id)
        hosts = tx.connection.execute(_MOUNT_HOSTS, {"cluster_id": row.cluster_id}).scalars()
        return message_of(tx, row), [names[0] for names in hosts]

    return store.read(work)


def list_page(store: Store, *, cluster_id: str, after: str, count: int, with_bricks: bool) -> list[volume_pb2.Volume]:
    """At most `count` active volumes with ids above `after`, ascending, of one cluster or all.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for a cluster that was asked for.
    """

    def work(tx: Transaction) -> list[volume_pb2.Volume]:
        values = {"after": after, "count": count}
        if not cluster_id:
            rows = tx.all(VolumeRow, _PAGE, values)
        else:
            get_cluster(tx, cluster_id)
            rows = tx.all(VolumeRow, _PAGE_IN_CLUSTER, {**values, "cluster_id": cluster_id})
        bricks: dict[str, list[BrickRow]] = defaultdict(list)
        if with_bricks and rows:
            scope = {"first": rows[0].id, "last": rows[-1].id}
            statement = _PAGE_BRICKS
            if cluster_id:
                statement, scope = _PAGE_BRICKS_IN_CLUSTER, {**scope, "cluster_id": cluster_id}
            for brick in tx.all(BrickRow, statement, scope):
                bricks[brick.volume_id].append(brick)
        hostings = _hosting_messages(tx, rows)
        return [volume_message(row, bricks[row.id], block_hosting=hostings.get(row.id)) for row in rows]

    return store.read(work)


def list_ids(store: Store, *, cluster_id: str, after: str, count: int) -> list[str]:
    """The ids of what `list_page` lists.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for a cluster that was asked for.
    """

    def work(tx: Transaction) -> list[str]:
        values = {"after": after, "count": count}
        if not cluster_id:
            return list(tx.connection.execute(_PAGE_IDS, values).scalars())
        get_cluster(tx, cluster_id)
        return list(tx.connection.execute(_PAGE_IDS_IN_CLUSTER, {**values, "cluster_id": cluster_id}).scalars())

    return store.read(work)
