"""Clusters. Effects: SQL."""

import hashlib

from sqlalchemy import bindparam, delete, exists, insert, select, update

from brickyard.topology.v1 import cluster_pb2, inventory_pb2
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.topology.convert import cluster_message
from services.topology.domain.checks import MAX_REQUEST_ID_LENGTH, check_text
from services.topology.domain.eligibility import ClusterOffer, name_in_use, refusal
from services.topology.domain.model import Presence, VolumeState
from services.topology.store import Store, Transaction
from services.topology.tables import BLOCK_VOLUME, CLUSTER, NODE, TOMBSTONE, VOLUME, ClusterRow
from services.topology.usecases.shared import get_cluster, lock_cluster

_BY_REQUEST = select(CLUSTER).where(CLUSTER.c.request_id == bindparam("request_id"))
_NODE_IDS = (
    select(NODE.c.id)
    .where(NODE.c.cluster_id == bindparam("cluster_id"), NODE.c.presence != Presence.ADDING)
    .order_by(NODE.c.id)
)
_VOLUME_IDS = (
    select(VOLUME.c.id)
    .where(VOLUME.c.cluster_id == bindparam("cluster_id"), VOLUME.c.state == VolumeState.ACTIVE)
    .order_by(VOLUME.c.id)
)
_BLOCK_VOLUME_IDS = (
    select(BLOCK_VOLUME.c.id)
    .where(BLOCK_VOLUME.c.cluster_id == bindparam("cluster_id"), BLOCK_VOLUME.c.state == VolumeState.ACTIVE)
    .order_by(BLOCK_VOLUME.c.id)
)
_PAGE = select(CLUSTER).where(CLUSTER.c.id > bindparam("after")).order_by(CLUSTER.c.id).limit(bindparam("count"))
_ALL = select(CLUSTER).order_by(CLUSTER.c.id)
_HAS_NODES = select(exists().where(NODE.c.cluster_id == bindparam("cluster_id")))
# By cluster and name: names have no index of their own.
_WITH_NAME = select(VOLUME.c.cluster_id).where(
    VOLUME.c.cluster_id.in_(bindparam("cluster_ids", expanding=True)), VOLUME.c.name == bindparam("name")
)
_NAME_IN_CLUSTER = select(
    exists().where(VOLUME.c.cluster_id == bindparam("cluster_id"), VOLUME.c.name == bindparam("name"))
)


def create(store: Store, *, request_id: str, file_enabled: bool, block_enabled: bool) -> cluster_pb2.Cluster:
    """Makes an empty cluster; a repeated request gives the cluster of the first call.

    Raises:
        InvalidArgumentError: INVALID_ARGUMENT, REQUEST_ID_REUSED.
    """
    check_text("request_id", request_id, MAX_REQUEST_ID_LENGTH)
    digest = hashlib.sha256(f"{file_enabled} {block_enabled}".encode()).hexdigest()

    def work(tx: Transaction) -> cluster_pb2.Cluster:
        first = tx.first(ClusterRow, _BY_REQUEST, {"request_id": request_id})
        if first is not None:
            if first.request_digest != digest:
                raise request_id_reused(request_id)
            return _with_members(tx, first)
        row = ClusterRow(
            id=new_id(),
            file_enabled=file_enabled,
            block_enabled=block_enabled,
            revision=1,
            forgotten_revision=0,
            volume_count=0,
            request_id=request_id,
            request_digest=digest,
            create_time_us=tx.now_us,
        )
        tx.run(insert(CLUSTER), row.model_dump())
        return cluster_message(row)

    return store.write(work)


def request_id_reused(request_id: str) -> InvalidArgumentError:
    """The error for a request id that came with another request before."""
    return InvalidArgumentError(
        Reason.REQUEST_ID_REUSED, f"request id {request_id!r} was used for another request", request_id=request_id
    )


def _with_members(tx: Transaction, row: ClusterRow) -> cluster_pb2.Cluster:
    member = {"cluster_id": row.id}
    return cluster_message(
        row,
        node_ids=tx.connection.execute(_NODE_IDS, member).scalars(),
        volume_ids=tx.connection.execute(_VOLUME_IDS, member).scalars(),
        block_volume_ids=tx.connection.execute(_BLOCK_VOLUME_IDS, member).scalars(),
    )


def get(store: Store, cluster_id: str) -> cluster_pb2.Cluster:
    """A cluster with its members. Raises NotFoundError (CLUSTER_NOT_FOUND)."""
    return store.read(lambda tx: _with_members(tx, get_cluster(tx, cluster_id)))


def list_page(store: Store, *, after: str, count: int) -> list[cluster_pb2.Cluster]:
    """At most `count` clusters with ids above `after`, ascending, without members."""
    return store.read(
        lambda tx: [cluster_message(row) for row in tx.all(ClusterRow, _PAGE, {"after": after, "count": count})]
    )


def set_flags(store: Store, cluster_id: str, *, file_enabled: bool, block_enabled: bool) -> cluster_pb2.Cluster:
    """Sets which volumes a cluster takes. Raises NotFoundError (CLUSTER_NOT_FOUND)."""

    def work(tx: Transaction) -> cluster_pb2.Cluster:
        lock_cluster(tx, cluster_id)
        flags = {"file_enabled": file_enabled, "block_enabled": block_enabled}
        tx.run(update(CLUSTER).where(CLUSTER.c.id == cluster_id).values(**flags))
        return _with_members(tx, get_cluster(tx, cluster_id))

    return store.write(work)


def remove(store: Store, cluster_id: str) -> None:
    """Removes a cluster without nodes and volumes, those of running operations included; the text is Heketi's.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND.
        FailedPreconditionError: CLUSTER_NOT_EMPTY.
    """

    def work(tx: Transaction) -> None:
        row = lock_cluster(tx, cluster_id)
        if row.volume_count or tx.scalar(_HAS_NODES, {"cluster_id": cluster_id}):
            raise FailedPreconditionError(
                Reason.CLUSTER_NOT_EMPTY,
                f"Unable to delete cluster [{cluster_id}] because it contains volumes and/or nodes",
                cluster_id=cluster_id,
            )
        tx.run(delete(TOMBSTONE).where(TOMBSTONE.c.cluster_id == cluster_id))
        tx.run(delete(CLUSTER).where(CLUSTER.c.id == cluster_id))

    store.write(work)


def list_candidates(
    store: Store, *, cluster_ids: list[str], volume_name: str, block: bool, max_volumes: int
) -> list[inventory_pb2.CandidateCluster]:
    """Which clusters can take a volume at all, in the order asked for; no ids = all clusters, ascending.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for an id that was asked for.
    """

    def work(tx: Transaction) -> list[inventory_pb2.CandidateCluster]:
        rows = [get_cluster(tx, each) for each in cluster_ids] if cluster_ids else tx.all(ClusterRow, _ALL)
        taken = set()
        if volume_name:
            values = {"cluster_ids": [row.id for row in rows], "name": volume_name}
            taken = set(tx.connection.execute(_WITH_NAME, values).scalars())
        candidates = []
        for row in rows:
            offer = _offer(row, name_in_use=row.id in taken)
            error = refusal(offer, name=volume_name, block=block, max_volumes=max_volumes)
            candidates.append(
                inventory_pb2.CandidateCluster(
                    cluster_id=row.id,
                    refusal_reason=error.reason.value if error else "",
                    volume_count=row.volume_count,
                )
            )
        return candidates

    return store.read(work)


def check_takes_volume(tx: Transaction, row: ClusterRow, *, name: str, block: bool, max_volumes: int) -> None:
    """Whether a locked cluster can take one more volume; what it raises is what `refusal` says."""
    in_use = _has_volume_named(tx, row.id, name)
    error = refusal(_offer(row, name_in_use=in_use), name=name, block=block, max_volumes=max_volumes)
    if error is not None:
        raise error


def check_name_free(tx: Transaction, cluster_id: str, name: str) -> None:
    """Whether no volume of a locked cluster has the name. Raises AlreadyExistsError (VOLUME_NAME_IN_USE)."""
    if _has_volume_named(tx, cluster_id, name):
        raise name_in_use(cluster_id, name)


def _has_volume_named(tx: Transaction, cluster_id: str, name: str) -> bool:
    return bool(tx.scalar(_NAME_IN_CLUSTER, {"cluster_id": cluster_id, "name": name}))


def _offer(row: ClusterRow, *, name_in_use: bool) -> ClusterOffer:
    return ClusterOffer(
        cluster_id=row.id,
        file_enabled=row.file_enabled,
        block_enabled=row.block_enabled,
        volume_count=row.volume_count,
        name_in_use=name_in_use,
    )
