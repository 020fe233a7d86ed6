"""The state of everything, from the books and the latest facts at one moment. Effects: SQL."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Select, func, or_, select

from brickyard.topology.v1 import health_pb2, operation_pb2
from services.topology.convert import DEVICE_STATES, NODE_STATES, timestamp
from services.topology.convert_operations import OPERATION_KINDS
from services.topology.domain.eviction import TAG, TAG_OFF, EvictionRules
from services.topology.domain.health import examine
from services.topology.domain.model import (
    BrickState,
    Durability,
    DurabilityType,
    OperationState,
    Presence,
    VolumeState,
)
from services.topology.domain.observed import (
    BrickCount,
    BrickView,
    DeviceView,
    Findings,
    Health,
    NodeView,
    OperationView,
    Problem,
    Seen,
    SeenBrick,
    SeenGroup,
    SeenPool,
    Severity,
    Snapshot,
    VolumeView,
)
from services.topology.store import Store, Transaction
from services.topology.tables import (
    BRICK,
    CLUSTER,
    DEVICE,
    NODE,
    NODE_OBSERVATION,
    OPERATION,
    VOLUME,
    DeviceRow,
    OperationRow,
    VolumeRow,
)
from services.topology.usecases.shared import get_cluster

_ID = re.compile(rb"[0-9a-f]{32}")
_NO_POOL = SeenPool(0.0, 0.0)
NEVER = EvictionRules()
_NODES = (
    select(
        NODE.c.id,
        NODE.c.cluster_id,
        NODE.c.manage_hostnames,
        NODE.c.storage_hostnames,
        NODE.c.state,
        NODE.c.create_time_us,
        NODE.c.tags,
        NODE.c.operation_id,
        NODE_OBSERVATION.c.observe_time_us,
        NODE_OBSERVATION.c.facts,
        NODE_OBSERVATION.c.unreachable_since_us,
        NODE_OBSERVATION.c.error,
        NODE_OBSERVATION.c.turn_time_us,
        NODE_OBSERVATION.c.eviction_time_us,
    )
    .select_from(NODE.outerjoin(NODE_OBSERVATION, NODE_OBSERVATION.c.node_id == NODE.c.id))
    .where(NODE.c.presence == Presence.PRESENT)
)
_DEVICES = select(DEVICE).where(
    DEVICE.c.presence == Presence.PRESENT,
    # A node that is being removed has no devices any more, so theirs are all there.
    DEVICE.c.node_id.in_(select(NODE.c.id).where(NODE.c.presence == Presence.PRESENT)),
)
_VOLUMES = select(VOLUME).where(VOLUME.c.state == VolumeState.ACTIVE)
_BRICKS = (
    select(*(BRICK.c[name] for name in ("id", "volume_id", "device_id", "node_id", "path")))
    .add_columns(BRICK.c.thin_pool_name, BRICK.c.set_index)
    .join(VOLUME, VOLUME.c.id == BRICK.c.volume_id)
    .where(VOLUME.c.state == VolumeState.ACTIVE, BRICK.c.state == BrickState.ACTIVE)
)
_OPERATIONS = select(OPERATION)
_OPERATION_COUNTS = select(OPERATION.c.kind, OPERATION.c.state, OPERATION.c.stalled, func.count()).group_by(
    OPERATION.c.kind, OPERATION.c.state, OPERATION.c.stalled
)
_ENDED = (OperationState.SUCCEEDED, OperationState.FAILED)

_SEVERITIES: Mapping[Severity, health_pb2.Severity.ValueType] = {
    Severity.NOTICE: health_pb2.SEVERITY_NOTICE,
    Severity.WARNING: health_pb2.SEVERITY_WARNING,
    Severity.CRITICAL: health_pb2.SEVERITY_CRITICAL,
}
_HEALTH: Mapping[Health, health_pb2.Health.ValueType] = {
    Health.OK: health_pb2.HEALTH_OK,
    Health.WARNING: health_pb2.HEALTH_WARNING,
    Health.CRITICAL: health_pb2.HEALTH_CRITICAL,
    Health.UNKNOWN: health_pb2.HEALTH_UNKNOWN,
}


class _Node(NamedTuple):
    id: str
    cluster_id: str
    manage_hostnames: list[str]
    storage_hostnames: list[str]
    state: str
    create_time_us: int
    tags: dict[str, str]
    operation_id: str | None
    observe_time_us: int | None
    facts: bytes | None
    unreachable_since_us: int | None
    error: str | None
    turn_time_us: int | None
    eviction_time_us: int | None


def report(store: Store, cluster_id: str = "", rules: EvictionRules = NEVER) -> health_pb2.HealthReport:
    """The state of a cluster, or of all when the id is empty; `rules` tell which nodes are emptied by themselves.

    Raises:
        NotFoundError: CLUSTER_NOT_FOUND.
    """

    def work(tx: Transaction) -> tuple[Snapshot, list[health_pb2.OperationCount], list[str]]:
        if cluster_id:
            get_cluster(tx, cluster_id)
            return _snapshot(tx, cluster_id), _counts(tx, cluster_id), [cluster_id]
        ids = tx.connection.execute(select(CLUSTER.c.id).order_by(CLUSTER.c.id)).scalars()
        return _snapshot(tx, ""), _counts(tx, ""), list(ids)

    snapshot, counts, cluster_ids = store.read(work)
    made = _message(snapshot, examine(snapshot, rules))
    made.operation_counts.extend(counts)
    made.cluster_ids.extend(cluster_ids)
    return made


def operation_counts(store: Store) -> list[health_pb2.OperationCount]:
    """How many operations there are of each kind and state, of all clusters."""
    return store.read(lambda tx: _counts(tx, ""))


def _counts(tx: Transaction, cluster_id: str) -> list[health_pb2.OperationCount]:
    statement = _OPERATION_COUNTS.where(OPERATION.c.cluster_id == cluster_id) if cluster_id else _OPERATION_COUNTS
    found: Counter[tuple[str, str]] = Counter()
    for kind, state, stalled, count in tx.connection.execute(statement):
        found[kind, "stalled" if stalled and state not in _ENDED else state] += count
    return [
        health_pb2.OperationCount(kind=OPERATION_KINDS[kind], state=state, count=count)
        for (kind, state), count in sorted(found.items())
    ]


def _snapshot(tx: Transaction, cluster_id: str) -> Snapshot:
    def within(statement: Select[Any], column: Any) -> Select[Any]:
        return statement.where(column == cluster_id) if cluster_id else statement

    nodes = node_views(tx, cluster_id)
    # What is only known of the past is not compared with the books, however long ago it was.
    times = [node.observe_us for node in nodes if node.current is not None and node.observe_us is not None]
    oldest = min(times, default=tx.now_us)
    recent = or_(OPERATION.c.end_time_us.is_(None), OPERATION.c.end_time_us >= oldest)
    return Snapshot(
        now_us=tx.now_us,
        nodes=nodes,
        devices=tuple(map(_device_view, tx.all(DeviceRow, within(_DEVICES, DEVICE.c.cluster_id)))),
        volumes=tuple(map(_volume_view, tx.all(VolumeRow, within(_VOLUMES, VOLUME.c.cluster_id)))),
        bricks=tuple(BrickView(*row) for row in tx.connection.execute(within(_BRICKS, VOLUME.c.cluster_id))),
        operations=tuple(
            map(_operation_view, tx.all(OperationRow, within(_OPERATIONS.where(recent), OPERATION.c.cluster_id)))
        ),
    )


def node_views(tx: Transaction, cluster_id: str = "") -> tuple[NodeView, ...]:
    """The nodes of a cluster, or all, with what was seen of them last."""
    statement = _NODES.where(NODE.c.cluster_id == cluster_id) if cluster_id else _NODES
    return tuple(map(_node_view, tx.all(_Node, statement)))


def _node_view(row: _Node) -> NodeView:
    return NodeView(
        id=row.id,
        cluster_id=row.cluster_id,
        hostname=row.manage_hostnames[0],
        storage_hostname=row.storage_hostnames[0],
        state=row.state,
        create_us=row.create_time_us,
        observe_us=row.observe_time_us,
        unreachable_since_us=row.unreachable_since_us,
        error=row.error or "",
        seen=None if row.facts is None else _seen(health_pb2.NodeFacts.FromString(row.facts)),
        hostnames=frozenset((*row.manage_hostnames, *row.storage_hostnames)),
        turn_us=row.turn_time_us,
        eviction_us=row.eviction_time_us,
        operation_id=row.operation_id or "",
        opted_out=row.tags.get(TAG) == TAG_OFF,
    )


def _seen(facts: health_pb2.NodeFacts) -> Seen:
    return Seen(
        glusterd_running=facts.glusterd_running,
        glusterd_version=facts.glusterd_version,
        groups={each.name: SeenGroup(each.total_bytes, each.free_bytes, each.pv_path) for each in facts.groups},
        pools={
            (each.group_name, each.name): SeenPool(each.data_percent, each.metadata_percent) for each in facts.pools
        },
        bricks={each.path: SeenBrick(each.mounted, each.process_running, each.heal_count) for each in facts.bricks},
        peers={each.hostname: each.connected for each in facts.peers},
    )


def _device_view(row: DeviceRow) -> DeviceView:
    return DeviceView(
        id=row.id,
        node_id=row.node_id,
        cluster_id=row.cluster_id,
        path=row.path,
        state=row.state,
        total_bytes=row.total_bytes,
        used_bytes=row.used_bytes,
        reserved_bytes=row.reserved_bytes,
        pv_uuid=row.pv_uuid or "",
    )


def _volume_view(row: VolumeRow) -> VolumeView:
    durability = Durability(
        type=DurabilityType(row.durability_type),
        replica_count=row.replica_count,
        data_count=row.data_count,
        redundancy_count=row.redundancy_count,
    )
    return VolumeView(
        id=row.id, cluster_id=row.cluster_id, name=row.name, size_bytes=row.size_bytes, durability=durability
    )


def _operation_view(row: OperationRow) -> OperationView:
    error = operation_pb2.OperationError.FromString(row.error) if row.error else None
    return OperationView(
        id=row.id,
        kind=row.kind,
        state=row.state,
        cluster_id=row.cluster_id,
        stalled=row.stalled,
        lease_expire_us=row.lease_expire_time_us,
        update_us=row.update_time_us,
        end_us=row.end_time_us,
        node_hostname=row.node_hostname,
        error=error.message.partition("\n")[0] if error is not None else "",
        # Whatever the kind, its spec names the objects that it works on.
        mentioned=frozenset({row.target_id, *(found.decode() for found in _ID.findall(row.spec))}),
    )


def _message(snapshot: Snapshot, findings: Findings) -> health_pb2.HealthReport:
    nodes = {node.id: node for node in snapshot.nodes}
    bricks = Counter(brick.device_id for brick in snapshot.bricks)
    return health_pb2.HealthReport(
        report_time=timestamp(snapshot.now_us),
        problems=[_problem(each) for each in findings.problems],
        nodes=[
            _node_message(node, findings.node_health[node.id])
            for node in sorted(snapshot.nodes, key=lambda each: (each.hostname, each.id))
        ],
        devices=[
            _device_message(device, nodes[device.node_id], findings, bricks[device.id])
            for device in sorted(snapshot.devices, key=lambda each: (nodes[each.node_id].hostname, each.path, each.id))
        ],
        volumes=[
            _volume_message(volume, findings)
            for volume in sorted(snapshot.volumes, key=lambda each: (each.name, each.id))
        ],
    )


def _problem(problem: Problem) -> health_pb2.Problem:
    return health_pb2.Problem(
        severity=_SEVERITIES[problem.severity],
        kind=problem.kind,
        message=problem.message,
        advice=problem.advice,
        cluster_id=problem.cluster_id,
        node_id=problem.node_id,
        device_id=problem.device_id,
        volume_id=problem.volume_id,
        brick_id=problem.brick_id,
        operation_id=problem.operation_id,
        since_time=None if problem.since_us is None else timestamp(problem.since_us),
    )


def _node_message(node: NodeView, health: Health) -> health_pb2.NodeHealth:
    since = node.unreachable_since_us
    return health_pb2.NodeHealth(
        node_id=node.id,
        cluster_id=node.cluster_id,
        hostname=node.hostname,
        storage_hostname=node.storage_hostname,
        state=NODE_STATES[node.state],
        health=_HEALTH[health],
        observe_time=None if node.observe_us is None else timestamp(node.observe_us),
        unreachable_since_time=None if since is None else timestamp(since),
        error=node.error,
        glusterd_version=node.current.glusterd_version if node.current is not None else "",
    )


def _device_message(
    device: DeviceView, node: NodeView, findings: Findings, brick_count: int
) -> health_pb2.DeviceHealth:
    fill = findings.device_fill.get(device.id, _NO_POOL)
    group = node.current.groups.get(device.group_name) if node.current is not None else None
    return health_pb2.DeviceHealth(
        device_id=device.id,
        node_id=device.node_id,
        cluster_id=device.cluster_id,
        hostname=node.hostname,
        path=device.path,
        state=DEVICE_STATES[device.state],
        health=_HEALTH[findings.device_health[device.id]],
        total_bytes=device.total_bytes,
        used_bytes=device.used_bytes,
        reserved_bytes=device.reserved_bytes,
        brick_count=brick_count,
        pv_uuid=device.pv_uuid,
        current_path=group.pv_path if group is not None else "",
        pool_data_percent=fill.data_percent,
        pool_metadata_percent=fill.metadata_percent,
    )


def _volume_message(volume: VolumeView, findings: Findings) -> health_pb2.VolumeHealth:
    fill = findings.volume_fill.get(volume.id, _NO_POOL)
    count = findings.bricks.get(volume.id, BrickCount())
    return health_pb2.VolumeHealth(
        volume_id=volume.id,
        cluster_id=volume.cluster_id,
        name=volume.name,
        size_bytes=volume.size_bytes,
        health=_HEALTH[findings.volume_health[volume.id]],
        brick_count=count.all,
        serving_brick_count=count.serving,
        heal_count=count.heals,
        pool_data_percent=fill.data_percent,
        pool_metadata_percent=fill.metadata_percent,
    )
