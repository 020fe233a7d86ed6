"""Whether a database agrees with itself: Heketi's check, with its sentences. Pure.

Three of its complaints about sound databases are left out: the space of a thin pool counts once, however many copies
lie in it, what a block volume is growing by counts, and the links between an operation and its parts are no unexpected
changes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.heketi.dump.model import (
    OF_BLOCK_VOLUMES,
    OF_BRICKS,
    OF_OPERATIONS,
    OF_VOLUMES,
    Brick,
    Change,
    Cluster,
    Dump,
    Operation,
    Volume,
)

_T = TypeVar("_T")
SECTIONS = (
    "clusters",
    "volumes",
    "bricks",
    "nodes",
    "devices",
    "blockvolumes",
    "dbattributes",
    "pendingoperations",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconsistency:
    """One thing that does not agree.

    Attributes:
        section: Kind of the object, a key of the answer.
        object_id: The object.
        text: Heketi's sentence.
        harmless: Whether nothing depends on it.
    """

    section: str
    object_id: str
    text: str
    harmless: bool = False


def inconsistencies(dump: Dump, *, beyond_kib: Mapping[str, int]) -> list[Inconsistency]:
    """Everything that does not agree.

    Args:
        dump: The database.
        beyond_kib: What is used on a device beyond its bricks, and known to be, by the device's id.
    """
    return [
        *_clusters(dump),
        *_volumes(dump),
        *_bricks(dump),
        *_nodes(dump),
        *_devices(dump, beyond_kib),
        *_block_volumes(dump),
        *_operations(dump),
    ]


def check_object(dump: Dump, *, beyond_kib: Mapping[str, int]) -> dict[str, Any]:
    """The object that `GET /db/check` answers; see `inconsistencies`."""
    found = inconsistencies(dump, beyond_kib=beyond_kib)
    held: dict[str, Collection[Any]] = {
        "clusters": dump.clusters,
        "volumes": dump.volumes,
        "bricks": dump.bricks,
        "nodes": dump.nodes,
        "devices": dump.devices,
        "blockvolumes": dump.block_volumes,
        "pendingoperations": dump.operations,
    }
    pending = {
        "volumes": sum(bool(each.pending_id) for each in dump.volumes.values()),
        "bricks": sum(bool(each.pending_id) for each in dump.bricks.values()),
        "blockvolumes": sum(bool(each.pending_id) for each in dump.block_volumes.values()),
        "pendingoperations": len(dump.operations),
    }
    answer: dict[str, Any] = {}
    for section in SECTIONS:
        mine = [each for each in found if each.section == section]
        total, bad = len(held.get(section, ())), len({each.object_id for each in mine})
        answer[section] = {
            "total": total,
            "pending": pending.get(section, 0),
            "ok": total - bad,
            "notok": bad,
            "inconsistencies": [each.text for each in mine] or None,
        }
    return {**answer, "totalinconsistencies": len(found)}


@dataclass(frozen=True, slots=True)
class _Object:
    """One whose links are followed: section of the answer, Heketi's word for its kind, its id."""

    section: str
    kind: str
    id: str

    def told(self, text: str, *, harmless: bool = False) -> Inconsistency:
        """Something about it."""
        return Inconsistency(
            section=self.section, object_id=self.id, text=f"{self.kind} {self.id} {text}", harmless=harmless
        )

    def links(
        self, word: str, ids: Iterable[str], others: Mapping[str, _T], back: Callable[[_T], str | set[str]]
    ) -> Iterator[Inconsistency]:
        """Objects that it names: those that are not there, and those whose id or ids `back` are not its own."""
        own = self.kind[0].lower() + self.kind[1:]
        for other_id in ids:
            other = others.get(other_id)
            if other is None:
                yield self.told(f"unknown {word} {other_id}")
                continue
            named = back(other)
            if self.id not in (named if isinstance(named, set) else {named}):
                yield self.told(f"no link back to {own} from {word} {other_id}")

    def pending(self, operation_id: str, operations: Collection[str]) -> Iterator[Inconsistency]:
        """Whether the operation that holds it is there."""
        if operation_id and operation_id not in operations:
            yield self.told(f"marked pending but no pending op {operation_id}")


def _members(entries: Mapping[str, _T], ids: Callable[[_T], Iterable[str]]) -> dict[str, set[str]]:
    return {key: set(ids(entry)) for key, entry in entries.items()}


def _clusters(dump: Dump) -> Iterator[Inconsistency]:
    for cluster in dump.clusters.values():
        me = _Object("clusters", "Cluster", cluster.id)
        yield from me.links("volume", cluster.volume_ids, dump.volumes, lambda each: each.cluster_id)
        yield from me.links("node", cluster.node_ids, dump.nodes, lambda each: each.cluster_id)
        yield from me.links("blockVolume", cluster.block_volume_ids, dump.block_volumes, lambda each: each.cluster_id)


def _nodes(dump: Dump) -> Iterator[Inconsistency]:
    listed = _members(dump.clusters, lambda each: each.node_ids)
    for node in dump.nodes.values():
        me = _Object("nodes", "Node", node.id)
        yield from me.links("cluster", [node.cluster_id], dump.clusters, lambda each: listed[each.id])
        yield from me.links("device", node.device_ids, dump.devices, lambda each: each.node_id)


def _devices(dump: Dump, beyond_kib: Mapping[str, int]) -> Iterator[Inconsistency]:
    listed = _members(dump.nodes, lambda each: each.device_ids)
    taken = pools_kib(dump.bricks.values())
    for device in dump.devices.values():
        me = _Object("devices", "Device", device.id)
        yield from me.links("node", [device.node_id], dump.nodes, lambda each: listed[each.id])
        yield from me.links("brick", device.brick_ids, dump.bricks, lambda each: each.device_id)
        total, free, used = device.total_kib, device.free_kib, device.used_kib
        if total != free + used:
            yield me.told(f"size values differ Total({total}) != Free({free}) + Used({used})")
        bricks = taken.get(device.id, 0)
        if used != bricks + beyond_kib.get(device.id, 0):
            yield me.told(f"size values differ Used({used}) != aggregateBricksSize({bricks})", harmless=used > bricks)


def pools_kib(bricks: Iterable[Brick]) -> dict[str, int]:
    """What the thin pools of bricks take, by device; that of several bricks counts once."""
    pools: dict[tuple[str, str], int] = {}
    for brick in bricks:
        pools[brick.pool] = max(pools.get(brick.pool, 0), brick.pool_kib)
    taken: dict[str, int] = {}
    for (device_id, _), size in pools.items():
        taken[device_id] = taken.get(device_id, 0) + size
    return taken


def _volumes(dump: Dump) -> Iterator[Inconsistency]:
    listed = _members(dump.clusters, lambda each: each.volume_ids)
    hosts = {cluster.id: _hosts(dump, cluster) for cluster in dump.clusters.values()}
    growing = dump.growing_gib()
    for volume in dump.volumes.values():
        me = _Object("volumes", "Volume", volume.id)
        yield from me.pending(volume.pending_id, dump.operations)
        yield from me.links("cluster", [volume.cluster_id], dump.clusters, lambda each: listed[each.id])
        yield from me.links("brick", volume.brick_ids, dump.bricks, lambda each: each.volume_id)
        yield from me.links(
            "blockVolume", volume.block_volume_ids, dump.block_volumes, lambda each: each.hosting_volume_id
        )
        now = hosts.get(volume.cluster_id)
        if now is not None and len(volume.mount_hosts) != len(now):
            # Harmless: whoever asks gets the hosts of the cluster as they are now.
            yield me.told(
                f"mount hosts list([{' '.join(volume.mount_hosts)}]) is not same as list of all nodes of the "
                f"cluster([{' '.join(now)}])",
                harmless=True,
            )
        yield from _hosting(dump, volume, me, growing)


def _hosts(dump: Dump, cluster: Cluster) -> list[str]:
    nodes = [dump.nodes[each] for each in cluster.node_ids if each in dump.nodes]
    return [node.storage_hostnames[0] for node in nodes if node.storage_hostnames]


def _hosting(dump: Dump, volume: Volume, me: _Object, growing: Mapping[str, int]) -> Iterator[Inconsistency]:
    if not volume.block:
        if volume.block_volume_ids:
            yield me.told("has blockvolumes but not block flag")
        return
    sizes = sum(
        dump.block_volumes[each].size_gib + growing.get(each, 0)
        for each in volume.block_volume_ids
        if each in dump.block_volumes
    )
    if sizes != volume.size_gib - volume.free_gib - volume.reserved_gib:
        yield me.told(
            f"blocksize differs aggregateSize {sizes} != volumeSize {volume.size_gib} - freeSize {volume.free_gib} - "
            f"reservedSize {volume.reserved_gib}"
        )


def _bricks(dump: Dump) -> Iterator[Inconsistency]:
    on_device = _members(dump.devices, lambda each: each.brick_ids)
    bricks_on = {
        node.id: {brick_id for device_id in node.device_ids for brick_id in on_device.get(device_id, ())}
        for node in dump.nodes.values()
    }
    of_volume = _members(dump.volumes, lambda each: each.brick_ids)
    for brick in dump.bricks.values():
        me = _Object("bricks", "Brick", brick.id)
        yield from me.pending(brick.pending_id, dump.operations)
        yield from me.links("device", [brick.device_id], dump.devices, lambda each: on_device[each.id])
        yield from me.links("node", [brick.node_id], dump.nodes, lambda each: bricks_on[each.id])
        yield from me.links("volume", [brick.volume_id], dump.volumes, lambda each: of_volume[each.id])


def _block_volumes(dump: Dump) -> Iterator[Inconsistency]:
    listed = _members(dump.clusters, lambda each: each.block_volume_ids)
    hosted = _members(dump.volumes, lambda each: each.block_volume_ids)
    for block in dump.block_volumes.values():
        me = _Object("blockvolumes", "BlockVolume", block.id)
        yield from me.pending(block.pending_id, dump.operations)
        yield from me.links("cluster", [block.cluster_id], dump.clusters, lambda each: listed[each.id])
        yield from me.links("volume", [block.hosting_volume_id], dump.volumes, lambda each: hosted[each.id])


def _operations(dump: Dump) -> Iterator[Inconsistency]:
    for operation in dump.operations.values():
        for action in operation.actions:
            for text in _action(dump, operation, action.change, action.id):
                yield Inconsistency(section="pendingoperations", object_id=operation.id, text=text)


def _action(dump: Dump, operation: Operation, change: int, object_id: str) -> Iterator[str]:
    if change in OF_OPERATIONS or change == Change.REMOVE_DEVICE:
        return
    if change in OF_BRICKS:
        if object_id not in dump.bricks:
            yield f"pending op {operation.id} id in change missing {object_id} not found in bricks"
    elif change in OF_VOLUMES:
        if object_id not in dump.volumes:
            yield f"pending op {operation.id}: change id missing {object_id} not found in volumes"
    elif change in OF_BLOCK_VOLUMES:
        if object_id not in dump.block_volumes:
            yield f"pending op {operation.id}: change id missing {object_id} not found in blockvolumes"
    else:
        yield f"Pending Op {operation.id} unexpected change type {change}"
