"""Leases: who drives which operation, and what becomes of those that nobody drives. Effects: SQL, watchers."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, delete, exists, func, select, update

from brickyard.topology.v1 import operation_pb2
from services.topology.convert_operations import operation_message
from services.topology.domain.checks import MAX_OWNER_LENGTH, check_text, invalid
from services.topology.domain.lifecycle import RETENTION_S
from services.topology.store import Store, Transaction
from services.topology.tables import CLUSTER, OPERATION, TOMBSTONE, OperationRow
from services.topology.usecases.feed import ChangeFeed
from services.topology.usecases.operations import lease_us

MAX_CLAIMED = 100
MAX_RENEWED = 1000
_RETENTION_US = RETENTION_S * 1_000_000
# Few enough that pruning never holds up the other writers.
_PRUNED_AT_ONCE = 500
_NAMED = (
    select(OPERATION)
    .where(OPERATION.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(OPERATION.c.id)
    .with_for_update()
)
_RENEW = (
    update(OPERATION)
    .where(OPERATION.c.id == bindparam("key"))
    .values(
        lease_expire_time_us=bindparam("expire"), update_time_us=bindparam("now"), revision=OPERATION.c.revision + 1
    )
)
_TELL_WOKEN = update(OPERATION).where(OPERATION.c.id == bindparam("key")).values(woken=False)
_WAKE = update(OPERATION).where(OPERATION.c.end_time_us.is_(None), OPERATION.c.stalled).values(woken=True)
_EXPIRED = (
    select(OPERATION)
    .where(OPERATION.c.end_time_us.is_(None), OPERATION.c.lease_expire_time_us <= bindparam("now"))
    .order_by(OPERATION.c.create_time_us, OPERATION.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_ANY_EXPIRED = select(
    exists().where(OPERATION.c.end_time_us.is_(None), OPERATION.c.lease_expire_time_us <= bindparam("now"))
)
_CLAIM = (
    update(OPERATION)
    .where(OPERATION.c.id == bindparam("key"))
    .values(
        owner=bindparam("new_owner"),
        lease_expire_time_us=bindparam("expire"),
        update_time_us=bindparam("now"),
        attempt_count=OPERATION.c.attempt_count + 1,
        revision=OPERATION.c.revision + 1,
    )
)
_CLAIMED = (
    select(OPERATION)
    .where(OPERATION.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(OPERATION.c.create_time_us, OPERATION.c.id)
)
_OLD_OPERATIONS = (
    select(OPERATION.c.id)
    .where(OPERATION.c.end_time_us < bindparam("before"))
    .order_by(OPERATION.c.end_time_us)
    .limit(_PRUNED_AT_ONCE)
)
_OLD_TOMBSTONES = (
    select(TOMBSTONE.c.cluster_id, func.max(TOMBSTONE.c.revision).label("revision"))
    .where(TOMBSTONE.c.create_time_us < bindparam("before"))
    .group_by(TOMBSTONE.c.cluster_id)
    .order_by(TOMBSTONE.c.cluster_id)
)


class Renewal(NamedTuple):
    """What an owner has to know of its operations: which are not its own any more, and which somebody wants retried."""

    lost: list[str]
    woken: list[str]


def renew(store: Store, *, owner: str, operation_ids: Iterable[str], lease_s: float) -> Renewal:
    """Prolongs the owner's leases, and tells what it has to know of its operations.

    Raises:
        InvalidArgumentError: A bad owner or lease, or more than 1000 operations.
    """
    check_text("owner", owner, MAX_OWNER_LENGTH)
    lease = lease_us(lease_s)
    asked = sorted(set(operation_ids))
    if len(asked) > MAX_RENEWED:
        raise invalid("operation_ids", len(asked), f"are more than {MAX_RENEWED}")
    if not asked:
        return Renewal([], [])

    def work(tx: Transaction) -> Renewal:
        mine = [row for row in tx.all(OperationRow, _NAMED, {"ids": asked}) if row.owner == owner]
        running = [row.id for row in mine if row.end_time_us is None]
        expire = tx.now_us + lease
        tx.run(_RENEW, [{"key": each, "expire": expire, "now": tx.now_us} for each in running])
        woken = [row.id for row in mine if row.woken and row.end_time_us is None]
        tx.run(_TELL_WOKEN, [{"key": each} for each in woken])
        return Renewal(sorted(set(asked) - {row.id for row in mine}), woken)

    # A lease that is lost in a power cut is claimed earlier, nothing worse.
    return store.write(work, durable=False)


def wake(store: Store, operation_ids: Iterable[str]) -> int:
    """Wants stalled operations retried now; their owners learn of it when they renew. Gives how many there are.

    Args:
        store: The database.
        operation_ids: Empty = all; those that do not stall are passed over.

    Raises:
        InvalidArgumentError: More than 1000 operations.
    """
    asked = sorted(set(operation_ids))
    if len(asked) > MAX_RENEWED:
        raise invalid("operation_ids", len(asked), f"are more than {MAX_RENEWED}")
    statement = _WAKE.where(OPERATION.c.id.in_(asked)) if asked else _WAKE
    return store.write(lambda tx: tx.run(statement), durable=False)


def claim(store: Store, feed: ChangeFeed, *, owner: str, lease_s: float, limit: int) -> list[operation_pb2.Operation]:
    """Takes over operations whose lease has run out, oldest first; `limit` 0 means 10.

    Raises:
        InvalidArgumentError: A bad owner or lease, or a limit that is not 0 to 100.
    """
    check_text("owner", owner, MAX_OWNER_LENGTH)
    lease = lease_us(lease_s)
    if not 0 <= limit <= MAX_CLAIMED:
        raise invalid("limit", limit, f"must be 0 to {MAX_CLAIMED}")
    # Most looks find nothing: they shall not wait for the writers.
    if not store.read(lambda tx: tx.scalar(_ANY_EXPIRED, {"now": tx.now_us})):
        return []

    def work(tx: Transaction) -> list[operation_pb2.Operation]:
        expired = tx.all(OperationRow, _EXPIRED, {"now": tx.now_us, "count": limit or 10})
        ids = [row.id for row in expired]
        claimed = {"new_owner": owner, "expire": tx.now_us + lease, "now": tx.now_us}
        tx.run(_CLAIM, [{"key": each, **claimed} for each in ids])
        return [operation_message(row) for row in tx.all(OperationRow, _CLAIMED, {"ids": ids})]

    claimed = store.write(work)
    feed.publish(*(operation.id for operation in claimed))
    return claimed


def prune(store: Store) -> int:
    """Forgets operations that ended more than a day ago, and removals that old; gives the number of operations."""

    def work(tx: Transaction) -> int:
        before = {"before": tx.now_us - _RETENTION_US}
        ids = tx.connection.execute(_OLD_OPERATIONS, before).scalars().all()
        tx.run(delete(OPERATION).where(OPERATION.c.id.in_(ids)))
        for cluster_id, revision in tx.connection.execute(_OLD_TOMBSTONES, before).all():
            tx.run(update(CLUSTER).where(CLUSTER.c.id == cluster_id).values(forgotten_revision=revision))
            tx.run(delete(TOMBSTONE).where(TOMBSTONE.c.cluster_id == cluster_id, TOMBSTONE.c.revision <= revision))
        return len(ids)

    total = 0
    while True:
        pruned = store.write(work, durable=False)
        total += pruned
        if pruned < _PRUNED_AT_ONCE:
            return total
