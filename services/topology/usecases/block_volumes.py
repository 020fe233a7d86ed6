"""Reading block volumes, and finding room for new ones. Effects: SQL."""

from collections.abc import Sequence

from sqlalchemy import bindparam, exists, select

from brickyard.topology.v1 import block_volume_pb2, topology_service_pb2
from services.common.errors import BrickyardError, FailedPreconditionError
from services.common.reasons import Reason
from services.topology.convert_block import block_volume_message
from services.topology.domain.eligibility import block_refusal
from services.topology.domain.model import BlockRestriction, VolumeState
from services.topology.store import Store, Transaction
from services.topology.tables import (
    BLOCK_HOSTING,
    BLOCK_VOLUME,
    CLUSTER,
    OPERATION,
    VOLUME,
    BlockVolumeRow,
    ClusterRow,
)
from services.topology.usecases.block_rows import block_message_of
from services.topology.usecases.shared import get_cluster, not_found

_BLOCK_VOLUME = select(BLOCK_VOLUME).where(
    BLOCK_VOLUME.c.id == bindparam("id"), BLOCK_VOLUME.c.state == VolumeState.ACTIVE
)
_PAGE = (
    select(BLOCK_VOLUME)
    .where(BLOCK_VOLUME.c.id > bindparam("after"), BLOCK_VOLUME.c.state == VolumeState.ACTIVE)
    .order_by(BLOCK_VOLUME.c.id)
    .limit(bindparam("count"))
)
_PAGE_IN_CLUSTER = _PAGE.where(BLOCK_VOLUME.c.cluster_id == bindparam("cluster_id"))
_NAMES = select(VOLUME.c.id, VOLUME.c.name).where(VOLUME.c.id.in_(bindparam("ids", expanding=True)))
_ALL_CLUSTERS = select(CLUSTER).order_by(CLUSTER.c.id)
_WITH_ROOM = (
    select(VOLUME.c.id, VOLUME.c.name, VOLUME.c.cluster_id, BLOCK_HOSTING.c.free_bytes)
    .join(BLOCK_HOSTING, BLOCK_HOSTING.c.volume_id == VOLUME.c.id)
    .where(
        VOLUME.c.cluster_id.in_(bindparam("cluster_ids", expanding=True)),
        VOLUME.c.state == VolumeState.ACTIVE,
        BLOCK_HOSTING.c.restriction == BlockRestriction.NONE,
        BLOCK_HOSTING.c.free_bytes >= bindparam("size_bytes"),
        ~exists().where(BLOCK_VOLUME.c.hosting_volume_id == VOLUME.c.id, BLOCK_VOLUME.c.name == bindparam("name")),
    )
    .order_by(VOLUME.c.id)
)
_IN_THE_MAKING = (
    select(OPERATION.c.id)
    .join(VOLUME, VOLUME.c.operation_id == OPERATION.c.id)
    .where(
        VOLUME.c.cluster_id.in_(bindparam("cluster_ids", expanding=True)),
        VOLUME.c.state == VolumeState.CREATING,
        VOLUME.c.block,
        # One that is being taken back will never host anything.
        OPERATION.c.error.is_(None),
    )
    .order_by(OPERATION.c.create_time_us, OPERATION.c.id)
    .limit(1)
)


def get(store: Store, block_volume_id: str) -> block_volume_pb2.BlockVolume:
    """A block volume with its password.

    Raises:
        NotFoundError: BLOCK_VOLUME_NOT_FOUND, also while it is being created or deleted.
    """

    def work(tx: Transaction) -> block_volume_pb2.BlockVolume:
        row = tx.first(BlockVolumeRow, _BLOCK_VOLUME, {"id": block_volume_id})
        if row is None:
            raise not_found(Reason.BLOCK_VOLUME_NOT_FOUND, "block_volume", block_volume_id)
        return block_message_of(tx, row, with_password=True)

    return store.read(work)


def list_page(store: Store, *, cluster_id: str, after: str, count: int) -> list[block_volume_pb2.BlockVolume]:
    """At most `count` active block volumes with ids above `after`, ascending, without passwords.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for a cluster that was asked for.
    """

    def work(tx: Transaction) -> list[block_volume_pb2.BlockVolume]:
        values = {"after": after, "count": count}
        if not cluster_id:
            rows = tx.all(BlockVolumeRow, _PAGE, values)
        else:
            get_cluster(tx, cluster_id)
            rows = tx.all(BlockVolumeRow, _PAGE_IN_CLUSTER, {**values, "cluster_id": cluster_id})
        if not rows:
            return []
        hosts = {"ids": sorted({row.hosting_volume_id for row in rows})}
        names = {volume_id: name for volume_id, name in tx.connection.execute(_NAMES, hosts)}  # noqa: C416 - rows are no pairs
        return [block_volume_message(row, names[row.hosting_volume_id], with_password=False) for row in rows]

    return store.read(work)


def find_hosting_volumes(
    store: Store, *, cluster_ids: list[str], size_bytes: int, name: str
) -> topology_service_pb2.FindHostingVolumesResponse:
    """The hosting volumes that may take a block volume, and an operation that is making one.

    Args:
        store: The database.
        cluster_ids: Where to look; empty = everywhere. Clusters that take no block volumes are passed over.
        size_bytes: What the block volume needs.
        name: Its name; empty when it will be made from its id.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for an id that was asked for.
        FailedPreconditionError: CLUSTER_HAS_NO_VOLUME_TYPE, CLUSTER_LACKS_VOLUME_TYPE: none takes block volumes;
            NO_CLUSTERS.
    """

    def work(tx: Transaction) -> topology_service_pb2.FindHostingVolumesResponse:
        rows = [get_cluster(tx, each) for each in cluster_ids] if cluster_ids else tx.all(ClusterRow, _ALL_CLUSTERS)
        refusals = [block_refusal(row) for row in rows]
        takers = [row.id for row, error in zip(rows, refusals, strict=True) if error is None]
        if not takers:
            raise next(filter(None, refusals), _no_clusters())
        found = rooms_in(tx, takers, size_bytes=size_bytes, name=name)
        return topology_service_pb2.FindHostingVolumesResponse(
            hosting_volumes=found, creating_operation_id=operation_making_one(tx, takers)
        )

    return store.read(work)


def _no_clusters() -> BrickyardError:
    return FailedPreconditionError(Reason.NO_CLUSTERS, "there is no cluster yet; create one first")


def rooms_in(
    tx: Transaction, cluster_ids: Sequence[str], *, size_bytes: int, name: str
) -> list[block_volume_pb2.HostingVolume]:
    """The hosting volumes of the clusters that may take such a block volume, ascending by id."""
    values = {"cluster_ids": list(cluster_ids), "size_bytes": size_bytes, "name": name}
    return [
        block_volume_pb2.HostingVolume(volume_id=volume_id, name=found, cluster_id=cluster_id, free_size_bytes=free)
        for volume_id, found, cluster_id, free in tx.connection.execute(_WITH_ROOM, values)
    ]


def operation_making_one(tx: Transaction, cluster_ids: Sequence[str]) -> str:
    """The operation that is making a hosting volume in one of the clusters; empty when none does."""
    return tx.scalar(_IN_THE_MAKING, {"cluster_ids": list(cluster_ids)}) or ""
