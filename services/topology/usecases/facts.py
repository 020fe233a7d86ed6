"""Keeping the latest facts of every node, by one collector at a time. Effects: SQL."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, bindparam, insert, or_, select, update

from brickyard.topology.v1 import health_pb2
from services.topology.convert import node_message, timestamp
from services.topology.domain.model import Presence
from services.topology.store import Store, Transaction
from services.topology.tables import NODE, NODE_OBSERVATION, NodeObservationRow, NodeRow
from services.topology.usecases.shared import get_cluster

_PRESENT = NODE.c.presence != Presence.ADDING
_JOINED = NODE.outerjoin(NODE_OBSERVATION, NODE_OBSERVATION.c.node_id == NODE.c.id)
_DUE = (
    select(NODE, NODE_OBSERVATION.c.turn_time_us)
    .select_from(_JOINED)
    .where(
        _PRESENT,
        or_(NODE_OBSERVATION.c.turn_time_us.is_(None), NODE_OBSERVATION.c.turn_time_us <= bindparam("before")),
    )
    .order_by(NODE_OBSERVATION.c.turn_time_us.nulls_first(), NODE.c.id)
    .limit(bindparam("count"))
)
_PAGE = (
    select(
        NODE.c.id,
        NODE.c.manage_hostnames,
        NODE_OBSERVATION.c.observe_time_us,
        NODE_OBSERVATION.c.facts,
        NODE_OBSERVATION.c.unreachable_since_us,
        NODE_OBSERVATION.c.error,
    )
    .select_from(_JOINED)
    .where(_PRESENT, NODE.c.id > bindparam("after"))
    .order_by(NODE.c.id)
    .limit(bindparam("count"))
)
_OBSERVATION = select(NODE_OBSERVATION).where(NODE_OBSERVATION.c.node_id == bindparam("id"))
_BEGIN = insert(NODE_OBSERVATION)
_TAKE = (
    update(NODE_OBSERVATION)
    .where(NODE_OBSERVATION.c.node_id == bindparam("key"))
    .values(turn_time_us=bindparam("turn_time"))
)


class _Observed(NamedTuple):
    id: str
    manage_hostnames: list[str]
    observe_time_us: int | None
    facts: bytes | None
    unreachable_since_us: int | None
    error: str | None


def _of_cluster(tx: Transaction, statement: Select[tuple[object, ...]], cluster_id: str) -> Select[tuple[object, ...]]:
    if not cluster_id:
        return statement
    get_cluster(tx, cluster_id)
    return statement.where(NODE.c.cluster_id == cluster_id)


def take_turns(store: Store, *, cluster_id: str, interval_us: int, count: int) -> list[health_pb2.FactTurn]:
    """Nodes whose last turn is `interval_us` or longer ago, the longest first; each is given to one caller only.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for a cluster that was asked for.
    """

    def work(tx: Transaction) -> list[health_pb2.FactTurn]:
        tx.take_turns("facts")
        values = {"before": tx.now_us - interval_us, "count": count}
        due: Sequence[tuple[NodeRow, int | None]] = [
            (row, row.turn_time_us)  # type: ignore[attr-defined]  # the statement selects it beside the node
            for row in tx.all(NodeRow, _of_cluster(tx, _DUE, cluster_id), values)
        ]
        fresh = [row.id for row, last in due if last is None]
        tx.run(_BEGIN, [{"node_id": each, "turn_time_us": tx.now_us, "error": ""} for each in fresh])
        again = [row.id for row, last in due if last is not None]
        tx.run(_TAKE, [{"key": each, "turn_time": tx.now_us} for each in again])
        time = timestamp(tx.now_us)
        return [health_pb2.FactTurn(node=node_message(row, ()), turn_time=time) for row, _ in due]

    return store.write(work, durable=False)


def record(
    store: Store, *, node_id: str, turn_time_us: int, seen: health_pb2.NodeFacts | None, error: str = ""
) -> None:
    """Stores what was seen on a node, or why it does not answer; older news than the stored ones are dropped.

    A node that does not answer keeps its last facts, and is unreachable since the first turn that failed.
    """

    def work(tx: Transaction) -> None:
        row = tx.first(NodeObservationRow, _OBSERVATION, {"id": node_id})
        if row is None or (row.observe_time_us or 0) > turn_time_us:
            return
        if seen is not None:
            down_since_us = None if seen.glusterd_running else row.glusterd_down_since_us or turn_time_us
            changed: dict[str, object] = {
                "facts": seen.SerializeToString(deterministic=True),
                "observe_time_us": turn_time_us,
                "unreachable_since_us": None,
                "glusterd_down_since_us": down_since_us,
                "eviction_time_us": None,
                "error": "",
            }
        else:
            changed = {"unreachable_since_us": row.unreachable_since_us or turn_time_us, "error": error}
        tx.run(update(NODE_OBSERVATION).where(NODE_OBSERVATION.c.node_id == node_id).values(**changed))

    store.write(work, durable=False)


def list_page(store: Store, *, cluster_id: str, after: str, count: int) -> list[health_pb2.NodeObservation]:
    """At most `count` observations of nodes with ids above `after`, ascending, of one cluster or all.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND for a cluster that was asked for.
    """

    def work(tx: Transaction) -> list[health_pb2.NodeObservation]:
        rows = tx.all(_Observed, _of_cluster(tx, _PAGE, cluster_id), {"after": after, "count": count})
        return [_message(row) for row in rows]

    return store.read(work)


def _message(row: _Observed) -> health_pb2.NodeObservation:
    message = health_pb2.NodeObservation(node_id=row.id, hostname=row.manage_hostnames[0], error=row.error or "")
    if row.facts is not None and row.observe_time_us is not None:
        message.facts.ParseFromString(row.facts)
        message.observe_time.CopyFrom(timestamp(row.observe_time_us))
    if row.unreachable_since_us is not None:
        message.unreachable_since_time.CopyFrom(timestamp(row.unreachable_since_us))
    return message
