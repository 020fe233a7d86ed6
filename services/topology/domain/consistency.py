"""Whether the books agree with themselves: every invariant, each violation named. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from services.topology.domain.block_consistency import block_violations
from services.topology.domain.member_consistency import (
    identity_violations,
    size_violations,
    state_violations,
    tombstone_violations,
)
from services.topology.domain.model import (
    BrickState,
    Durability,
    DurabilityType,
    OperationState,
    Presence,
    VolumeState,
)
from services.topology.domain.pools import Pool, pool_of, pool_space
from services.topology.domain.stored import Books, BrickFacts, HostnameFacts, VolumeFacts

_ENDED = frozenset({OperationState.SUCCEEDED, OperationState.FAILED})


class Invariant(NamedTuple):
    """Something that always holds; `check` gives a sentence with the ids for each violation."""

    name: str
    sentence: str
    check: Callable[[Books], Iterable[str]]


def checked(books: Books) -> list[tuple[Invariant, list[str]]]:
    """Every invariant with its violations, those that hold too."""
    return [(invariant, list(invariant.check(books))) for invariant in INVARIANTS]


def violations(books: Books) -> list[str]:
    """Every violated invariant, as a sentence with the ids; empty when all hold."""
    return [found for _, texts in checked(books) for found in texts]


def _duplicates(values: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return sorted(value for value, count in Counter(values).items() if count > 1)


def _clusters(books: Books) -> Iterator[str]:
    counted = Counter(volume.cluster_id for volume in books.volumes)
    newest: dict[str, int] = defaultdict(int)
    for cluster_id, revision in (
        *((node.cluster_id, node.revision) for node in books.nodes),
        *((device.cluster_id, device.revision) for device in books.devices),
    ):
        newest[cluster_id] = max(newest[cluster_id], revision)
    for cluster in books.clusters:
        if cluster.volume_count != counted[cluster.id]:
            yield f"cluster {cluster.id} counts {cluster.volume_count} volumes, it has {counted[cluster.id]}"
        if newest[cluster.id] > cluster.revision:
            yield f"cluster {cluster.id} has revision {cluster.revision}, a member has {newest[cluster.id]}"


def _nodes(books: Books) -> Iterator[str]:
    clusters = {cluster.id for cluster in books.clusters}
    for node in books.nodes:
        if node.cluster_id not in clusters:
            yield f"node {node.id} is of the unknown cluster {node.cluster_id}"
        if not node.manage_hostnames or not node.storage_hostnames:
            yield f"node {node.id} has no host name of a kind"


def _hostnames(books: Books) -> Iterator[str]:
    wanted = {
        HostnameFacts(kind, name, node.id)
        for node in books.nodes
        for kind, names in (("manage", node.manage_hostnames), ("storage", node.storage_hostnames))
        for name in names
    }
    registered = set(books.hostnames)
    for entry in sorted(wanted - registered):
        yield f"node {entry.node_id} has the {entry.kind} host name {entry.name}, which is not registered for it"
    for entry in sorted(registered - wanted):
        yield f"{entry.kind} host name {entry.name} is registered for node {entry.node_id}, which has no such name"
    for kind, name in _duplicates((entry.kind, entry.name) for entry in wanted):
        yield f"{kind} host name {name} belongs to more than one node"


def _devices(books: Books) -> Iterator[str]:
    nodes = {node.id: node for node in books.nodes}
    for device in books.devices:
        node = nodes.get(device.node_id)
        if node is None:
            yield f"device {device.id} is of the unknown node {device.node_id}"
        elif node.cluster_id != device.cluster_id:
            yield f"device {device.id} is of cluster {device.cluster_id}, its node {node.id} of {node.cluster_id}"


def _device_books(books: Books) -> Iterator[str]:
    space = pool_space(books.bricks)
    for device in books.devices:
        used, reserved = space.used.get(device.id, 0), space.reserved.get(device.id, 0)
        if device.used_bytes != used + device.unattributed_bytes:
            yield (
                f"device {device.id} has {device.used_bytes} bytes used; its bricks take {used}, "
                f"and {device.unattributed_bytes} are of no brick"
            )
        if device.reserved_bytes != reserved:
            yield (
                f"device {device.id} has {device.reserved_bytes} bytes reserved; "
                f"bricks of running operations need {reserved}"
            )
        parts = (device.total_bytes, device.used_bytes, device.reserved_bytes, device.unattributed_bytes)
        if min(parts) < 0:
            yield f"device {device.id} has a negative size"
        if device.used_bytes + device.reserved_bytes > device.total_bytes:
            yield (
                f"device {device.id} has {device.total_bytes} bytes; "
                f"{device.used_bytes} used and {device.reserved_bytes} reserved are more"
            )


def _pools(books: Books) -> Iterator[str]:
    sharing: dict[Pool, list[BrickFacts]] = defaultdict(list)
    for brick in books.bricks:
        sharing[pool_of(brick)].append(brick)
    for pool, bricks in sorted(sharing.items()):
        sizes = {(brick.thin_pool_size_bytes, brick.pool_metadata_size_bytes) for brick in bricks}
        if len(sizes) > 1:
            yield f"the bricks in thin pool {pool.name} of device {pool.device_id} do not agree on its size"
        for (volume_id,) in _duplicates((brick.volume_id,) for brick in bricks):
            yield f"volume {volume_id} has more than one brick in thin pool {pool.name} of device {pool.device_id}"
    named = ((brick.device_id, brick.lv_name) for brick in books.bricks if brick.lv_name)
    for device_id, name in _duplicates(named):
        yield f"more than one brick has the LV {name} of device {device_id}"


def _volumes(books: Books) -> Iterator[str]:
    clusters = {cluster.id for cluster in books.clusters}
    for volume in books.volumes:
        if volume.cluster_id not in clusters:
            yield f"volume {volume.id} is of the unknown cluster {volume.cluster_id}"
    for cluster_id, name in _duplicates((volume.cluster_id, volume.name) for volume in books.volumes):
        yield f"cluster {cluster_id} has more than one volume with the name {name}"


def _volume_bricks(books: Books) -> Iterator[str]:
    bricks: dict[str, list[BrickFacts]] = defaultdict(list)
    for brick in books.bricks:
        bricks[brick.volume_id].append(brick)
    for volume in books.volumes:
        mine = sorted(
            (brick for brick in bricks[volume.id] if brick.replaces_brick_id is None),
            key=lambda brick: (brick.set_index, brick.position),
        )
        durability = Durability(
            type=DurabilityType(volume.durability_type),
            replica_count=volume.replica_count,
            data_count=volume.data_count,
            redundancy_count=volume.redundancy_count,
        )
        size = max(1, durability.set_size)
        if not mine:
            yield f"volume {volume.id} has no bricks"
        elif [(brick.set_index, brick.position) for brick in mine] != [divmod(i, size) for i in range(len(mine))] or (
            len(mine) % size
        ):
            yield f"volume {volume.id} has {len(mine)} bricks that do not make whole sets of {size}"
        for set_index, node_id in _duplicates((str(brick.set_index), brick.node_id) for brick in mine):
            yield f"volume {volume.id} has more than one brick of set {set_index} on node {node_id}"
        held = {brick.replaces_brick_id for brick in bricks[volume.id]}
        for brick in mine:
            if not _may_be(brick, volume, leaving=brick.id in held):
                yield (
                    f"brick {brick.id} is {brick.state} for operation {brick.operation_id}, "
                    f"its volume {volume.id} is {volume.state} for {volume.operation_id}"
                )


def _may_be(brick: BrickFacts, volume: VolumeFacts, *, leaving: bool) -> bool:
    """Whether a brick may be in its state, as its volume is; `leaving` when another brick is to take its place."""
    if (brick.state, brick.operation_id) == (volume.state, volume.operation_id):
        return True
    if volume.state != VolumeState.ACTIVE:
        return False
    if brick.state == BrickState.ACTIVE:
        return True
    # A volume that grows, or one of whose bricks is moved, stays active meanwhile.
    in_between = BrickState.DELETING if leaving else BrickState.CREATING
    return volume.operation_id is not None and (brick.state, brick.operation_id) == (in_between, volume.operation_id)


def _replacements(books: Books) -> Iterator[str]:
    """Bricks that are to take the place of others."""
    bricks = {brick.id: brick for brick in books.bricks}
    for new in books.bricks:
        if new.replaces_brick_id is None:
            continue
        old = bricks.get(new.replaces_brick_id)
        if old is None or (old.volume_id, old.set_index, old.position) != (new.volume_id, new.set_index, new.position):
            yield f"brick {new.id} is to replace {new.replaces_brick_id}, which has not the same place"
        elif (new.state, old.state) != (BrickState.CREATING, BrickState.DELETING):
            yield f"brick {new.id} is {new.state} and is to replace {old.id}, which is {old.state}"
        elif new.operation_id != old.operation_id:
            yield f"brick {new.id} is to replace {old.id}, and another operation holds that"
        for other in books.bricks:
            same_set = (other.volume_id, other.set_index, other.node_id) == (new.volume_id, new.set_index, new.node_id)
            if same_set and other.id not in (new.id, new.replaces_brick_id):
                yield f"brick {new.id} is to be on node {new.node_id}, which has brick {other.id} of the same set"


def _bricks(books: Books) -> Iterator[str]:
    volumes = {volume.id: volume for volume in books.volumes}
    devices = {device.id: device for device in books.devices}
    for brick in books.bricks:
        volume, device = volumes.get(brick.volume_id), devices.get(brick.device_id)
        if volume is None:
            yield f"brick {brick.id} is of the unknown volume {brick.volume_id}"
        if brick.state != BrickState.CREATING and not (brick.path and brick.lv_name):
            yield f"brick {brick.id} is {brick.state} and has no path or no LV"
        if device is None:
            yield f"brick {brick.id} is on the unknown device {brick.device_id}"
            continue
        if device.node_id != brick.node_id:
            yield f"brick {brick.id} is on node {brick.node_id}, its device {device.id} on {device.node_id}"
        if volume is not None and volume.cluster_id != device.cluster_id:
            yield f"brick {brick.id} is on a device of cluster {device.cluster_id}, its volume of {volume.cluster_id}"


def _copies(books: Books) -> Iterator[str]:
    """Copies that are being made; once they are, they and their origins change apart from each other."""
    volumes = {volume.id: volume for volume in books.volumes}
    bricks: dict[str, dict[tuple[int, int], Pool]] = defaultdict(dict)
    for brick in books.bricks:
        bricks[brick.volume_id][brick.set_index, brick.position] = pool_of(brick)
    for copy in books.volumes:
        if copy.state != VolumeState.CREATING or copy.origin_volume_id is None:
            continue
        source = volumes.get(copy.origin_volume_id)
        if source is None or source.operation_id != copy.operation_id:
            yield f"volume {copy.id} is copied from {copy.origin_volume_id}, which its operation does not hold"
        elif bricks[copy.id] != bricks[source.id]:
            yield f"the bricks of volume {copy.id} are not in the thin pools of {source.id}, from which it is copied"


def _held(books: Books) -> Iterator[tuple[str, str, bool, str | None]]:
    """Kind and id of everything that an operation may hold, whether it is being changed, and by which operation."""
    for node in books.nodes:
        yield "node", node.id, node.presence != Presence.PRESENT, node.operation_id
    for device in books.devices:
        yield "device", device.id, device.presence != Presence.PRESENT, device.operation_id
    for volume in books.volumes:
        yield "volume", volume.id, volume.state != VolumeState.ACTIVE, volume.operation_id
    for block in books.block_volumes:
        changing = block.state != VolumeState.ACTIVE or block.growing_bytes > 0
        yield "block volume", block.id, changing, block.operation_id


def _operations(books: Books) -> Iterator[str]:
    running = {operation.id: operation for operation in books.operations if operation.state not in _ENDED}
    idle = set(running)
    # An operation that makes a copy holds the source too.
    sources = {
        (volume.operation_id, volume.origin_volume_id)
        for volume in books.volumes
        if volume.state == VolumeState.CREATING and volume.origin_volume_id is not None
    }
    # An operation that moves a brick holds it and its volume.
    moving = {(brick.operation_id, brick.id): brick.volume_id for brick in books.bricks}
    # One that makes a block volume may make its hosting volume too.
    sources |= {(each.operation_id, each.hosting_volume_id) for each in books.block_volumes}
    for kind, object_id, changing, operation_id in _held(books):
        if operation_id is None:
            if changing:
                yield f"{kind} {object_id} is being changed, and no operation does it"
        elif operation_id in running and (operation_id, object_id) in sources:
            continue
        elif operation_id in running and moving.get((operation_id, running[operation_id].target_id)) == object_id:
            idle.discard(operation_id)
        elif operation_id not in running or running[operation_id].target_id != object_id:
            yield f"{kind} {object_id} is held by operation {operation_id}, which does not run for it"
        else:
            idle.discard(operation_id)
    yield from _held_bricks(books, running)
    for operation_id in sorted(idle):
        operation = running[operation_id]
        yield f"operation {operation_id} ({operation.kind}) runs and does not hold its target {operation.target_id}"


def _held_bricks(books: Books, running: Container[str]) -> Iterator[str]:
    for brick in books.bricks:
        if (brick.operation_id is None) != (brick.state == BrickState.ACTIVE):
            yield f"brick {brick.id} is {brick.state} for operation {brick.operation_id}"
        elif brick.operation_id is not None and brick.operation_id not in running:
            yield f"brick {brick.id} is held by operation {brick.operation_id}, which does not run"


INVARIANTS = (
    Invariant("CLUSTER_COUNTS", "a cluster counts its volumes and the changes of its members", _clusters),
    Invariant("NODE_MEMBERSHIP", "a node is of a cluster that exists, and has host names of both kinds", _nodes),
    Invariant("HOSTNAMES_UNIQUE", "every host name of a node is registered for it, and for no other node", _hostnames),
    Invariant("DEVICE_MEMBERSHIP", "a device is of a node that exists, and of that node's cluster", _devices),
    Invariant("DEVICE_IDENTITY", "a disk is one device: path and LVM's UUID occur once on a node", identity_violations),
    Invariant("STATES", "a failed device or node has no bricks", state_violations),
    Invariant(
        "SPACE",
        "used + free + reserved = total on every device; used is what its bricks and the unattributed rest take",
        _device_books,
    ),
    Invariant("THIN_POOLS", "bricks of one thin pool agree on its size, and no two have one LV", _pools),
    Invariant("SIZES", "thin pools are in whole extents, and the data bricks of a set have one size", size_violations),
    Invariant("VOLUME_NAMES", "a volume is of a cluster that exists, and its name is unique there", _volumes),
    Invariant("BRICK_SETS", "a volume has whole brick sets, whose members are on different nodes", _volume_bricks),
    Invariant(
        "REPLACEMENTS", "a brick that takes another's place is made by the operation that holds both", _replacements
    ),
    Invariant("BRICKS", "a brick exists if its volume does, on a device of the volume's cluster", _bricks),
    Invariant("COPIES", "a copy that is being made lies in the thin pools of its source", _copies),
    Invariant("BLOCK_VOLUMES", "block volumes fit into what hosts them", block_violations),
    Invariant("OPERATIONS", "what is being changed or reserved belongs to exactly one running operation", _operations),
    Invariant("TOMBSTONES", "what was reported as removed is gone", tombstone_violations),
)
