"""Do the books and the nodes agree? An examination of the tests' own, of the simulated nodes' memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from brickyard.topology.v1 import operation_service_pb2, topology_service_pb2
from brickyard.topology.v1.device_pb2 import Device
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_pb2 import Operation
from brickyard.topology.v1.volume_pb2 import Brick, Volume
from services.executor.filesystem.mounts import parse_fstab
from services.executor.policy import DEFAULT_FSTAB
from services.executor.runners.simulated import Fleet
from services.executor.runners.simulated.fleet import SimulatedNode
from services.executor.runners.simulated.machine import EXTENT_BYTES

_WITHIN_S = 10.0
_STARTED = 1


@dataclass(frozen=True, slots=True)
class Books:
    """What the topology says.

    Attributes:
        nodes: All nodes.
        devices: All devices with their bricks.
        volumes: All volumes with their bricks.
        unfinished: Operations that have not ended.
        violations: What it finds wrong with itself.
    """

    nodes: tuple[Node, ...]
    devices: tuple[Device, ...]
    volumes: tuple[Volume, ...]
    unfinished: tuple[Operation, ...]
    violations: tuple[str, ...]

    @property
    def bricks(self) -> dict[str, Brick]:
        """All bricks by id."""
        return {brick.id: brick for volume in self.volumes for brick in volume.bricks}


def read_books(topology: Any, operations: Any) -> Books:
    """Reads all of the topology by its stubs."""
    nodes = topology.ListNodes(topology_service_pb2.ListNodesRequest(), timeout=_WITHIN_S).nodes
    devices: list[Device] = []
    for node in nodes:
        answer = topology.GetNode(topology_service_pb2.GetNodeRequest(node_id=node.id), timeout=_WITHIN_S)
        devices.extend(answer.devices)
    volumes = topology.ListVolumes(topology_service_pb2.ListVolumesRequest(with_bricks=True), timeout=_WITHIN_S).volumes
    unfinished = operations.ListOperations(
        operation_service_pb2.ListOperationsRequest(unfinished_only=True), timeout=_WITHIN_S
    ).operations
    checked = topology.CheckConsistency(topology_service_pb2.CheckConsistencyRequest(), timeout=_WITHIN_S)
    return Books(tuple(nodes), tuple(devices), tuple(volumes), tuple(unfinished), tuple(checked.violations))


def differences(books: Books, fleet: Fleet) -> list[str]:
    """Everything in which the books and the nodes do not agree, and what the books find wrong with themselves."""
    return [
        *books.violations,
        *(f"operation {each.id} has not ended" for each in books.unfinished),
        *_groups(books, fleet),
        *_bricks(books, fleet),
        *_gluster_volumes(books, fleet),
        *_peers(books, fleet),
    ]


def _missing_and_orphaned(what: str, expected: Iterable[Any], found: Iterable[Any]) -> Iterator[str]:
    wanted, present = sorted(expected), sorted(found)
    for each in wanted:
        if each not in present:
            yield f"{what} {each} is in the books, not on its node"
    for each in present:
        if each not in wanted:
            yield f"{what} {each} is on its node, not in the books"
    if len(present) != len(set(present)):
        yield f"{what}: more than one of the same: {present}"


def _by_id(books: Books) -> Mapping[str, str]:
    return {node.id: node.manage_hostnames[0] for node in books.nodes}


def _groups(books: Books, fleet: Fleet) -> Iterator[str]:
    names = _by_id(books)
    expected = [(names[device.node_id], f"vg_{device.id}") for device in books.devices]
    found = [(each.name, name) for each in fleet.nodes() for name in each.machine.groups]
    yield from _missing_and_orphaned("volume group", expected, found)
    for device in books.devices:
        if device.reserved_bytes:
            yield f"device {device.id} has {device.reserved_bytes} bytes reserved"
        group = fleet.node(names[device.node_id]).machine.groups.get(f"vg_{device.id}")
        if group is None:
            continue
        pools = [volume for volume in group.volumes.values() if volume.is_pool]
        taken = sum(volume.size_bytes + volume.metadata_extents * EXTENT_BYTES for volume in pools)
        if device.used_bytes != taken:
            yield f"device {device.id} has {device.used_bytes} bytes used in the books, {taken} on its node"


def _bricks(books: Books, fleet: Fleet) -> Iterator[str]:
    names = _by_id(books)
    bricks = list(books.bricks.values())
    volumes = [(names[each.node_id], f"vg_{each.device_id}", each.lv_name) for each in bricks]
    pools = {(names[each.node_id], f"vg_{each.device_id}", each.thin_pool_name) for each in bricks}
    held = [
        (node.name, group.name, volume)
        for node in fleet.nodes()
        for group in node.machine.groups.values()
        for volume in group.volumes.values()
    ]
    yield from _missing_and_orphaned("LV", volumes, [(*at, lv.name) for *at, lv in held if not lv.is_pool])
    yield from _missing_and_orphaned("thin pool", pools, [(*at, lv.name) for *at, lv in held if lv.is_pool])
    points = [(names[each.node_id], _mount_point(each)) for each in bricks]
    mounts = [(node.name, point) for node in fleet.nodes() for point in node.brick_mounts()]
    yield from _missing_and_orphaned("mount", points, mounts)
    # Bricks of copies are gluster's to mount.
    ours = [(names[each.node_id], _mount_point(each)) for each in bricks if each.lv_name == f"brick_{each.id}"]
    yield from _missing_and_orphaned(
        "fstab entry", ours, [(node.name, at) for node in fleet.nodes() for at in _fstab(node)]
    )


def _mount_point(brick: Brick) -> str:
    return brick.path.rpartition("/")[0] if brick.lv_name == f"brick_{brick.id}" else _copy_mount(brick.path)


def _copy_mount(path: str) -> str:
    """/run/gluster/snaps/STEM/brickN, where gluster mounts the bricks of a copy."""
    return "/".join(path.split("/")[:6])


def _fstab(node: SimulatedNode) -> list[str]:
    return [entry.mount_point for entry in parse_fstab(node.file(DEFAULT_FSTAB))]


def _gluster_volumes(books: Books, fleet: Fleet) -> Iterator[str]:
    addresses = {node.id: node.storage_hostnames[0] for node in books.nodes}
    names = _by_id(books)
    pools = {id(node.daemon.pool): node.daemon.pool for node in fleet.nodes()}
    found = {name: (pool, volume) for pool in pools.values() for name, volume in pool.volumes.items()}
    yield from _missing_and_orphaned("gluster volume", [volume.name for volume in books.volumes], found)
    for pool in pools.values():
        for name in pool.snapshots:
            yield f"gluster snapshot {name} was left"
    for volume in books.volumes:
        if volume.name not in found:
            continue
        pool, seen = found[volume.name]
        in_order = sorted(volume.bricks, key=lambda brick: (brick.set_index, brick.position))
        expected = [f"{addresses[brick.node_id]}:{brick.path}" for brick in in_order]
        if seen.bricks != expected:
            yield f"gluster volume {volume.name} has the bricks {seen.bricks}, the books {expected}"
        if seen.status != _STARTED:
            yield f"gluster volume {volume.name} is not started"
        if seen.options.get("user.brickyard.id", volume.id) != volume.id:
            yield f"gluster volume {volume.name} is of {seen.options}"
        if not all(pool is fleet.node(names[brick.node_id]).daemon.pool for brick in volume.bricks):
            yield f"gluster volume {volume.name} is not known on all nodes of its bricks"


def _peers(books: Books, fleet: Fleet) -> Iterator[str]:
    by_cluster: dict[str, list[str]] = {}
    for node in books.nodes:
        by_cluster.setdefault(node.cluster_id, []).append(node.manage_hostnames[0])
    managed = {name for names in by_cluster.values() for name in names}
    for names in by_cluster.values():
        for name in names:
            members = {each.name for each in fleet.nodes() if each.daemon.pool is fleet.node(name).daemon.pool}
            if members != set(names):
                yield f"node {name} has the peers {sorted(members)}, its cluster is {sorted(names)}"
    for each in fleet.nodes():
        if each.name not in managed and len(each.daemon.pool.members) > 1:
            yield f"node {each.name} is in a pool, and no cluster has it"
