"""How everything is: problems, worst first, and the health of each object. Pure; facts and books in, problems out.

Facts are a little older than the books. What an operation has worked on since then is not judged by them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.common.units import GIB
from services.topology.domain import eviction
from services.topology.domain.eviction import EvictionRules
from services.topology.domain.model import DeviceState, NodeState
from services.topology.domain.observed import (
    BrickCount,
    BrickView,
    DeviceView,
    Findings,
    Health,
    NodeView,
    OperationView,
    Problem,
    SeenPool,
    Severity,
    Snapshot,
    VolumeView,
)

_MICROSECONDS = 1_000_000
# gluster and LVM stop a full pool dead, so there must be time to act; the usual two thresholds.
WARN_PERCENT = 80.0
CRITICAL_PERCENT = 90.0
# A brick is 1 GiB or more by default, and its pool has metadata (Heketi's rule).
_SMALLEST_BRICK_BYTES = GIB
# Several rounds of the slowest sensible collector.
STALE_AFTER_US = 15 * 60 * _MICROSECONDS
# A node that was just added gets its first look within a round.
UNSEEN_AFTER_US = 5 * 60 * _MICROSECONDS
# A lease is a quarter of it by default, and any gateway takes over what nobody drives.
ABANDONED_AFTER_US = 60 * _MICROSECONDS
_NO_POOL = SeenPool(0.0, 0.0)
_NEVER = EvictionRules()


@dataclass(slots=True)
class _Fill:
    """The fullest pools so far."""

    by_id: dict[str, SeenPool] = field(default_factory=dict)

    def add(self, object_id: str, pool: SeenPool) -> None:
        known = self.by_id.get(object_id, _NO_POOL)
        self.by_id[object_id] = SeenPool(
            max(known.data_percent, pool.data_percent), max(known.metadata_percent, pool.metadata_percent)
        )


class _View:
    """A snapshot with what is looked up often."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.now_us = snapshot.now_us
        self.nodes = {node.id: node for node in snapshot.nodes}
        self.devices = {device.id: device for device in snapshot.devices}
        self.bricks: dict[str, list[BrickView]] = defaultdict(list)
        for brick in snapshot.bricks:
            self.bricks[brick.volume_id].append(brick)
        self._touched: dict[str, int] = {}
        for operation in snapshot.operations:
            end_us = self.now_us if operation.end_us is None else operation.end_us
            for object_id in operation.mentioned:
                self._touched[object_id] = max(end_us, self._touched.get(object_id, 0))

    def settled(self, node: NodeView, *object_ids: str) -> bool:
        """Whether no operation has worked on the objects since the node was looked at."""
        return all(self._touched.get(each, -1) < (node.observe_us or 0) for each in object_ids)


def examine(snapshot: Snapshot, rules: EvictionRules = _NEVER) -> Findings:
    """Everything that is wrong or worth knowing, and the health of every object.

    `rules` tell which silent nodes are emptied by themselves.
    """
    view = _View(snapshot)
    fill_of_devices, fill_of_volumes = _Fill(), _Fill()
    counts: dict[str, BrickCount] = {}
    problems = [problem for node in snapshot.nodes for problem in _node(view, node)]
    problems += [problem for device in snapshot.devices for problem in _device(view, device)]
    problems += eviction.problems(rules, snapshot.nodes, view.now_us, fresh_us=view.now_us - STALE_AFTER_US)
    problems += _pools(view, fill_of_devices, fill_of_volumes)
    for volume in snapshot.volumes:
        found, counts[volume.id] = _volume(view, volume)
        problems += found
    problems += [problem for operation in snapshot.operations for problem in _operation(view, operation)]
    problems.sort(key=lambda each: (-each.severity, each.kind, each.message))
    return Findings(
        problems=tuple(problems),
        node_health=_node_health(view, problems),
        device_health=_device_health(view, problems),
        volume_health=_volume_health(snapshot.volumes, problems, counts),
        device_fill=fill_of_devices.by_id,
        volume_fill=fill_of_volumes.by_id,
        bricks=counts,
    )


def _node(view: _View, node: NodeView) -> Iterator[Problem]:
    about: dict[str, Any] = {"cluster_id": node.cluster_id, "node_id": node.id}
    wanted = node.state == NodeState.ONLINE
    if node.unreachable_since_us is not None:
        yield Problem(
            severity=Severity.CRITICAL if wanted else Severity.WARNING,
            kind="NODE_UNREACHABLE",
            message=f"node {node.hostname} does not answer: {node.error}",
            advice="see on that node: systemctl status brickyard-agent; is the node up, and its network?",
            since_us=node.unreachable_since_us,
            **about,
        )
    elif node.seen is None:
        if view.now_us - node.create_us > UNSEEN_AFTER_US:
            yield Problem(
                severity=Severity.WARNING,
                kind="NODE_NOT_OBSERVED",
                message=f"nobody has looked at node {node.hostname} yet",
                advice="is a gateway running that collects facts (--facts-interval-seconds)?",
                uncertain=True,
                **about,
            )
    elif view.now_us - (node.observe_us or 0) > STALE_AFTER_US:
        yield Problem(
            severity=Severity.WARNING,
            kind="FACTS_STALE",
            message=f"what is known of node {node.hostname} is old",
            advice="is a gateway running that collects facts (--facts-interval-seconds)?",
            since_us=node.observe_us,
            uncertain=True,
            **about,
        )
    if node.current is not None and not node.current.glusterd_running:
        yield Problem(
            severity=Severity.CRITICAL if wanted else Severity.WARNING,
            kind="GLUSTERD_DOWN",
            message=f"glusterd does not run on node {node.hostname}",
            advice="see on that node: systemctl status glusterd",
            **about,
        )
    if not wanted:
        yield Problem(
            severity=Severity.NOTICE,
            kind="NODE_NOT_ONLINE",
            message=f"node {node.hostname} is {node.state} and takes no new bricks",
            **about,
        )


def _device(view: _View, device: DeviceView) -> Iterator[Problem]:
    node = view.nodes[device.node_id]
    name = f"{device.path} of node {node.hostname}"
    about: dict[str, Any] = {"cluster_id": device.cluster_id, "node_id": node.id, "device_id": device.id}
    if device.state != DeviceState.ONLINE:
        yield Problem(
            severity=Severity.NOTICE,
            kind="DEVICE_NOT_ONLINE",
            message=f"disk {name} is {device.state} and takes no new bricks",
            **about,
        )
    elif device.free_bytes <= _SMALLEST_BRICK_BYTES:
        yield Problem(
            severity=Severity.NOTICE,
            kind="DEVICE_FULL",
            message=f"disk {name} is full: all its space is given to bricks",
            advice="add a disk: brickyard cluster querydevices lists those that could be",
            **about,
        )
    if node.current is None or not view.settled(node, device.id):
        return
    group = node.current.groups.get(device.group_name)
    if group is None:
        yield Problem(
            severity=Severity.CRITICAL,
            kind="DISK_MISSING",
            message=f"disk {name} is missing: the node has no volume group {device.group_name}",
            advice="see on that node: lvm pvs; if the disk is lost, set the device offline, then remove it",
            **about,
        )
    elif group.total_bytes != device.total_bytes:
        yield Problem(
            severity=Severity.WARNING,
            kind="SIZE_DIFFERS",
            message=f"disk {name} has {group.total_bytes} bytes, the books have {device.total_bytes}",
            advice=f"measure it again: GET /devices/{device.id}/resync",
            **about,
        )
    elif device.reserved_bytes == 0 and group.free_bytes != device.free_bytes:
        yield Problem(
            severity=Severity.WARNING,
            kind="FREE_SPACE_DIFFERS",
            message=f"disk {name} has {group.free_bytes} bytes free, the books have {device.free_bytes}",
            advice=f"find out who took the space (lvm lvs), then measure it again: GET /devices/{device.id}/resync",
            **about,
        )


def _pools(view: _View, devices: _Fill, volumes: _Fill) -> Iterator[Problem]:
    """Thin pools of bricks that are nearly full; those that bricks of several volumes share are told of once."""
    told = set()
    names = {volume.id: volume.name for volume in view.snapshot.volumes}
    for brick in view.snapshot.bricks:
        device, node = view.devices.get(brick.device_id), view.nodes.get(brick.node_id)
        if device is None or node is None or node.current is None:
            continue
        pool = node.current.pools.get((device.group_name, brick.pool_name))
        if pool is None:
            continue
        devices.add(device.id, pool)
        volumes.add(brick.volume_id, pool)
        if (device.id, brick.pool_name) in told:
            continue
        told.add((device.id, brick.pool_name))
        for what, percent in (("data", pool.data_percent), ("metadata", pool.metadata_percent)):
            if percent >= WARN_PERCENT:
                name = names.get(brick.volume_id, brick.volume_id)
                yield Problem(
                    severity=Severity.CRITICAL if percent >= CRITICAL_PERCENT else Severity.WARNING,
                    kind=f"POOL_{what.upper()}_FULL",
                    message=(
                        f"the thin pool of a brick of volume {name} on {device.path} of node {node.hostname} is "
                        f"{percent:.0f} % full ({what})"
                    ),
                    advice="delete data or snapshots, or expand the volume; a full pool stops writes",
                    cluster_id=device.cluster_id,
                    node_id=node.id,
                    device_id=device.id,
                    volume_id=brick.volume_id,
                    brick_id=brick.id,
                )


def _volume(view: _View, volume: VolumeView) -> tuple[list[Problem], BrickCount]:
    problems: list[Problem] = []
    serving: dict[int, int] = defaultdict(int)
    unknown: dict[int, int] = defaultdict(int)
    unseen: dict[int, int] = defaultdict(int)
    heals: dict[int, int] = defaultdict(int)
    sets = {brick.set_index for brick in view.bricks[volume.id]}
    for brick in view.bricks[volume.id]:
        node = view.nodes[brick.node_id]
        seen = node.current.bricks.get(brick.path) if node.current is not None else None
        if node.current is None and node.unreachable_since_us is None:
            # Not looked at yet, which the node's own problem tells when it takes too long.
            unseen[brick.set_index] += 1
        elif node.current is None:
            unknown[brick.set_index] += 1
        elif seen is not None and seen.mounted and seen.process_running:
            serving[brick.set_index] += 1
            # The good copies count what the bad one lacks, each of them all of it.
            heals[brick.set_index] = max(heals[brick.set_index], seen.heal_count)
        elif not view.settled(node, volume.id, brick.id):
            serving[brick.set_index] += 1
        else:
            problems.append(_brick_down(volume, brick, node, mounted=seen is not None and seen.mounted))
    needed = volume.needed_per_set
    assumed = {each: serving[each] + unseen[each] for each in sets}
    problems += _availability(volume, sets, needed, assumed, unknown, down=bool(problems))
    count = BrickCount(
        len(view.bricks[volume.id]),
        sum(serving.values()),
        sum(unknown.values()) + sum(unseen.values()),
        sum(max(0, n) for n in heals.values()),
    )
    if count.heals:
        problems.append(
            Problem(
                severity=Severity.WARNING,
                kind="HEAL_BACKLOG",
                message=f"volume {volume.name} has {count.heals} files to heal",
                advice=f"it heals by itself while its bricks run: gluster volume heal {volume.name} info summary",
                cluster_id=volume.cluster_id,
                volume_id=volume.id,
            )
        )
    return problems, count


def _brick_down(volume: VolumeView, brick: BrickView, node: NodeView, *, mounted: bool) -> Problem:
    what = "has no running brick process" if mounted else "is not mounted"
    start = f"gluster volume start {volume.name} force"
    return Problem(
        severity=Severity.WARNING,
        kind="BRICK_PROCESS_DOWN" if mounted else "BRICK_NOT_MOUNTED",
        message=f"a brick of volume {volume.name} on node {node.hostname} {what}: {brick.path}",
        advice=f"on that node: {start}"
        if mounted
        else f"restart that node's agent, which mounts bricks; then: {start}",
        cluster_id=volume.cluster_id,
        node_id=node.id,
        device_id=brick.device_id,
        volume_id=volume.id,
        brick_id=brick.id,
    )


def _availability(
    volume: VolumeView,
    sets: Iterable[int],
    needed: int,
    serving: Mapping[int, int],
    unknown: Mapping[int, int],
    *,
    down: bool,
) -> Iterator[Problem]:
    """Whether the volume can be written to, as far as it is known."""
    lost = [each for each in sets if serving.get(each, 0) + unknown.get(each, 0) < needed]
    doubtful = [each for each in sets if serving.get(each, 0) < needed]
    about: dict[str, Any] = {"cluster_id": volume.cluster_id, "volume_id": volume.id}
    if lost:
        yield Problem(
            severity=Severity.CRITICAL,
            kind="VOLUME_DOWN",
            message=f"volume {volume.name} is not available: too few of its bricks run",
            advice="see its bricks' problems",
            **about,
        )
    elif doubtful:
        yield Problem(
            severity=Severity.CRITICAL,
            kind="VOLUME_IN_DOUBT",
            message=f"volume {volume.name} is not available unless bricks run on nodes that do not answer",
            advice="see its nodes' problems",
            uncertain=True,
            **about,
        )
    elif down or unknown:
        yield Problem(
            severity=Severity.WARNING,
            kind="VOLUME_DEGRADED",
            message=f"volume {volume.name} is served, but not by all of its bricks",
            advice="see its bricks' and nodes' problems",
            **about,
        )


def _operation(view: _View, operation: OperationView) -> Iterator[Problem]:
    if operation.end_us is not None:
        return
    about: dict[str, Any] = {"cluster_id": operation.cluster_id, "operation_id": operation.id}
    name = operation.kind.replace("_", "-")
    if operation.stalled:
        where = f" for node {operation.node_hostname}" if operation.node_hostname else ""
        purpose = "to remove what is left there" if operation.kind == "clean_up" else "to be taken back"
        error = f": {operation.error}" if operation.error else ""
        yield Problem(
            severity=Severity.WARNING,
            kind="OPERATION_STALLED",
            message=f"{name} {operation.id} failed and waits{where} {purpose}{error}",
            advice=f"it goes on by itself; more: brickyard operations show {operation.id}",
            since_us=operation.update_us,
            **about,
        )
    elif view.now_us - operation.lease_expire_us > ABANDONED_AFTER_US:
        yield Problem(
            severity=Severity.WARNING,
            kind="OPERATION_ABANDONED",
            message=f"{name} {operation.id} is driven by no gateway",
            advice="start a gateway: it takes the operation over",
            since_us=operation.lease_expire_us,
            **about,
        )


_LEVELS = {Severity.WARNING: Health.WARNING, Severity.CRITICAL: Health.CRITICAL}


def _health(ids: Iterable[str], problems: Iterable[Problem], subject: Callable[[Problem], str]) -> dict[str, Health]:
    """The health of objects: that of the worst of their problems, which come the worst first."""
    found: dict[str, Health] = {}
    for problem in problems:
        object_id = subject(problem)
        if object_id and problem.severity in _LEVELS:
            found.setdefault(object_id, Health.UNKNOWN if problem.uncertain else _LEVELS[problem.severity])
    return {each: found.get(each, Health.OK) for each in ids}


def _node_health(view: _View, problems: Iterable[Problem]) -> dict[str, Health]:
    """Of the nodes themselves; their disks and bricks speak for themselves."""
    found = _health(
        view.nodes, problems, lambda problem: "" if problem.device_id or problem.volume_id else problem.node_id
    )
    for node in view.nodes.values():
        if node.seen is None and node.unreachable_since_us is None:
            found[node.id] = Health.UNKNOWN
    return found


def _device_health(view: _View, problems: Iterable[Problem]) -> dict[str, Health]:
    found = _health(view.devices, problems, lambda problem: "" if problem.volume_id else problem.device_id)
    for problem in problems:
        # A full pool is the disk's trouble too; a brick without a process is not.
        if problem.kind.startswith("POOL_") and found[problem.device_id] is not Health.CRITICAL:
            found[problem.device_id] = _LEVELS[problem.severity]
    for device in view.devices.values():
        if view.nodes[device.node_id].current is None:
            found[device.id] = Health.UNKNOWN
    return found


def _volume_health(
    volumes: Iterable[VolumeView], problems: Iterable[Problem], counts: Mapping[str, BrickCount]
) -> dict[str, Health]:
    found = _health((volume.id for volume in volumes), problems, lambda problem: problem.volume_id)
    for volume_id, count in counts.items():
        if count.all and count.unknown == count.all:
            found[volume_id] = Health.UNKNOWN
    return found
