"""Whether nodes, devices and brick sizes agree with the rules of their own: part of `consistency`. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from services.topology.domain.model import BrickState, DeviceState, NodeState, OperationKind
from services.topology.domain.stored import Books


def identity_violations(books: Books) -> Iterator[str]:
    """A disk is one device only: its path, and LVM's UUID of it, once on each node."""
    for what, values in (
        ("path", [(device.node_id, device.path) for device in books.devices if device.path]),
        ("physical volume", [(device.node_id, device.pv_uuid) for device in books.devices if device.pv_uuid]),
    ):
        for (node_id, value), count in sorted(Counter(values).items()):
            if count > 1:
                yield f"node {node_id} has {count} devices with the {what} {value}"


def state_violations(books: Books) -> Iterator[str]:
    """What has failed was emptied before, and takes nothing new."""
    states = {node.id: node.state for node in books.nodes}
    devices = {device.id: device for device in books.devices}
    clean_ups = {operation.id for operation in books.operations if operation.kind == OperationKind.CLEAN_UP}
    for brick in books.bricks:
        device = devices.get(brick.device_id)
        # What was left behind on a node that is silent is nobody's data.
        if device is None or brick.state == BrickState.DELETING or brick.operation_id in clean_ups:
            continue
        if device.state == DeviceState.FAILED:
            yield f"device {device.id} has failed, and has brick {brick.id}"
        elif states.get(device.node_id) == NodeState.FAILED:
            yield f"node {device.node_id} has failed, and has brick {brick.id}"


def size_violations(books: Books) -> Iterator[str]:
    """Thin pools and their metadata are in whole extents; the data bricks of a set have one size."""
    extents = {device.id: device.extent_size_bytes for device in books.devices}
    sizes: dict[tuple[str, int], set[int]] = defaultdict(set)
    for brick in books.bricks:
        extent = extents.get(brick.device_id, 0)
        if extent and (brick.thin_pool_size_bytes % extent or brick.pool_metadata_size_bytes % extent):
            yield f"brick {brick.id} is not in whole extents of {extent} bytes"
        if brick.size_bytes and brick.role == "data":
            sizes[brick.volume_id, brick.set_index].add(brick.size_bytes)
    for (volume_id, set_index), found in sorted(sizes.items()):
        if len(found) > 1:
            yield f"the data bricks of set {set_index} of volume {volume_id} have different sizes: {sorted(found)}"


def tombstone_violations(books: Books) -> Iterator[str]:
    """Placement was told to forget only what is gone."""
    alive = {node.id for node in books.nodes} | {device.id for device in books.devices}
    for tombstone in books.tombstones:
        if tombstone.id in alive:
            yield f"{tombstone.kind} {tombstone.id} is recorded, and was reported as removed"
