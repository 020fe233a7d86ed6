"""Faults of a database that Heketi's own check does not look at, and that keep it from being taken over. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from gateway.heketi.dump.model import (
    DISPERSE,
    DONE,
    GENERATION,
    LOCKED,
    LOCKED_BY_UPDATE,
    NONE,
    REPLICATE,
    STATES,
    UPGRADES,
    BlockVolume,
    Brick,
    Device,
    Dump,
    Node,
    OperationType,
    SubType,
    Volume,
)
from services.common.ids import is_id

DURABILITIES = (NONE, REPLICATE, DISPERSE)
RESTRICTIONS = ("", LOCKED, LOCKED_BY_UPDATE)
_POOL = re.compile(r"tp_[0-9a-f]{32}")
_INT32_MAX = 2**31 - 1


def further_faults(dump: Dump) -> Iterator[str]:
    """Every fault, as a sentence."""
    for kind, entries in (
        ("cluster", dump.clusters),
        ("node", dump.nodes),
        ("device", dump.devices),
        ("volume", dump.volumes),
        ("brick", dump.bricks),
        ("block volume", dump.block_volumes),
        ("pending operation", dump.operations),
    ):
        yield from (f"{kind} {key!r}: is no id of 32 lower-case hex digits" for key in entries if not is_id(key))
    generation = dump.attributes.get(GENERATION, "")
    if not is_id(generation):
        yield f"attribute {GENERATION}: {generation!r} is no id of 32 lower-case hex digits"
    for name in UPGRADES:
        if dump.attributes.get(name) != DONE:
            yield f"attribute {name}: {dump.attributes.get(name)!r} is not {DONE!r}"
    for node in dump.nodes.values():
        yield from _node_faults(node)
    for device in dump.devices.values():
        yield from _device_faults(device)
    for volume in dump.volumes.values():
        yield from _volume_faults(volume)
    for brick in dump.bricks.values():
        holder = dump.operations.get(brick.pending_id)
        yield from _brick_faults(brick, copied=holder is not None and holder.type == OperationType.CLONE_VOLUME)
    for block in dump.block_volumes.values():
        yield from _block_faults(block, dump)
    yield from _taken_twice(dump)


def _node_faults(node: Node) -> Iterator[str]:
    if node.state not in STATES:
        yield f"node {node.id}: the state {node.state!r} is none of {', '.join(STATES)}"
    if not 1 <= node.zone <= _INT32_MAX:
        yield f"node {node.id}: the zone {node.zone} is not 1 to {_INT32_MAX}"


def _device_faults(device: Device) -> Iterator[str]:
    if device.state not in STATES:
        yield f"device {device.id}: the state {device.state!r} is none of {', '.join(STATES)}"
    if min(device.total_kib, device.free_kib, device.used_kib) < 0:
        yield f"device {device.id}: it has a negative size"


def _volume_faults(volume: Volume) -> Iterator[str]:
    if volume.durability not in DURABILITIES:
        yield f"volume {volume.id}: the durability {volume.durability!r} is none of {', '.join(DURABILITIES)}"
    counts = (volume.replica_count, volume.data_count, volume.redundancy_count)
    if not all(0 <= count <= _INT32_MAX for count in counts):
        yield f"volume {volume.id}: replica, data or redundancy, {counts}, is negative or too large"
    if volume.restriction not in RESTRICTIONS:
        yield f"volume {volume.id}: the restriction {volume.restriction!r} is unknown"
    if not 0 < volume.size_gib < 2**33:
        yield f"volume {volume.id}: the size {volume.size_gib} is not 1 to 2^33 GiB"


def _brick_faults(brick: Brick, *, copied: bool) -> Iterator[str]:
    # Only gluster knows the path of a copy, once it is made.
    if not brick.path and not copied:
        yield (
            f"brick {brick.id}: it has no path; see `heketi db delete-bricks-with-empty-path`, and make the dump again"
        )
    if not _POOL.fullmatch(brick.pool[1]):
        yield f"brick {brick.id}: the thin pool {brick.pool[1]!r} has no name of Heketi's (tp_ and an id)"
    if brick.sub_type not in {SubType.NORMAL, SubType.ARBITER}:
        yield f"brick {brick.id}: the SubType {brick.sub_type} is unknown"


def _block_faults(block: BlockVolume, dump: Dump) -> Iterator[str]:
    hosting = dump.volumes.get(block.hosting_volume_id)
    if hosting is not None and not hosting.block:
        yield f"block volume {block.id}: volume {hosting.id} hosts no block volumes"
    if not 0 < block.size_gib < 2**33:
        yield f"block volume {block.id}: the size {block.size_gib} is not 1 to 2^33 GiB"
    # Heketi chooses the hosts of a new one late.
    chosen = block.hosts or not block.pending_id
    if chosen and block.ha_count not in {0, len(set(block.hosts))}:
        yield f"block volume {block.id}: hacount is {block.ha_count}, and it has the hosts {list(block.hosts)}"


def _taken_twice(dump: Dump) -> Iterator[str]:
    def repeated(what: str, owners: Iterable[tuple[object, str]]) -> Iterator[str]:
        by_name: dict[object, list[str]] = defaultdict(list)
        for name, owner in owners:
            by_name[name].append(owner)
        for name, found in sorted(by_name.items(), key=str):
            if len(found) > 1:
                yield f"{what} {name if isinstance(name, str) else name[-1]!r} belongs to {', '.join(sorted(found))}"  # type: ignore[index]

    nodes, devices = dump.nodes.values(), dump.devices.values()
    # Heketi takes a name twice within one node.
    yield from repeated("manage host name", ((name, each.id) for each in nodes for name in set(each.manage_hostnames)))
    yield from repeated(
        "storage host name", ((name, each.id) for each in nodes for name in set(each.storage_hostnames))
    )
    yield from repeated("the path", (((each.node_id, each.path), each.id) for each in devices))
    yield from repeated("the PV UUID", (((each.node_id, each.pv_uuid), each.id) for each in devices if each.pv_uuid))
    yield from repeated("the volume name", (((each.cluster_id, each.name), each.id) for each in dump.volumes.values()))
    yield from repeated(
        "the block volume name",
        (((each.hosting_volume_id, each.name), each.id) for each in dump.block_volumes.values()),
    )
    clusters = Counter(each.cluster_id for each in dump.volumes.values())
    for cluster_id, count in clusters.items():
        if cluster_id in dump.clusters and count != len(dump.clusters[cluster_id].volume_ids):
            yield f"Cluster {cluster_id} lists {len(dump.clusters[cluster_id].volume_ids)} volumes, and has {count}"
