"""From the topology's records to a dump. Pure.

What Heketi has no place for is not in it: what is being added, resyncs, changes of states, when something was made.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.topology.v1 import block_volume_pb2, books_pb2, cluster_pb2, records_pb2, volume_pb2
from gateway.heketi.dump.model import (
    DONE,
    GENERATION,
    UPGRADES,
    BlockVolume,
    Brick,
    Cluster,
    Device,
    Dump,
    Node,
    SubType,
    Volume,
)
from gateway.heketi.dump.pending import pending_operation
from gateway.heketi.pending import known_here
from gateway.heketi.render import DEVICE_STATES, DURABILITIES, NODE_STATES, RESTRICTIONS, mount
from services.common.units import GIB, KIB

_ADDING = frozenset({"add_node", "add_device"})


@dataclass(slots=True)
class _Members:
    """Ids of what belongs to something, ascending, by the id of that."""

    nodes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    volumes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    block_volumes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    devices: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hosted: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    bricks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    bricks_of_volume: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hosts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def exported(records: records_pb2.Records, now_s: float) -> tuple[Dump, dict[str, int]]:
    """The records as Heketi would have them.

    Args:
        records: All of them.
        now_s: Seconds since 1970: operations whose lease has run out are stale.

    Returns:
        The dump, and the KiB that are used on devices beyond their bricks, by device.
    """
    adding = {each.id for each in records.operations if each.spec.WhichOneof("kind") in _ADDING}
    nodes = [each for each in records.nodes if each.operation_id not in adding]
    devices = [each for each in records.devices if each.operation_id not in adding]
    shown = known_here(records.operations)
    shown_ids = {each.id for each in shown}
    members = _members(records, nodes, devices)

    def pending(operation_id: str) -> str:
        return operation_id if operation_id in shown_ids else ""

    dump = Dump(
        clusters={each.id: _cluster(each, members) for each in records.clusters},
        volumes={each.volume.id: _volume(each, members, _held(each.volume, pending)) for each in records.volumes},
        bricks={each.brick.id: _brick(each.brick, pending(each.operation_id)) for each in records.bricks},
        nodes={each.node.id: _node(each, members) for each in nodes},
        devices={each.device.id: _device(each, members) for each in devices},
        block_volumes={each.id: _block_volume(each, _held(each, pending)) for each in records.block_volumes},
        attributes={**dict.fromkeys(UPGRADES, DONE), GENERATION: records.generation_id},
        operations={each.id: pending_operation(each, now_s, records.operations) for each in shown},
    )
    beyond = {each.device.id: each.unattributed_bytes // KIB for each in devices if each.unattributed_bytes}
    return dump, beyond


def _held(message: volume_pb2.Volume | block_volume_pb2.BlockVolume, pending: Any) -> str:
    """The operation that makes or removes it; one that makes it larger does not hide it (Heketi's rule)."""
    active = message.state == volume_pb2.VOLUME_STATE_ACTIVE
    return "" if active else str(pending(message.operation_id))


def _members(
    records: records_pb2.Records,
    nodes: Iterable[books_pb2.BookedNode],
    devices: Iterable[books_pb2.BookedDevice],
) -> _Members:
    found = _Members()
    for booked in nodes:
        found.nodes[booked.node.cluster_id].append(booked.node.id)
        found.hosts[booked.node.cluster_id].append(booked.node.storage_hostnames[0])
    for device in devices:
        found.devices[device.device.node_id].append(device.device.id)
    for recorded in records.volumes:
        found.volumes[recorded.volume.cluster_id].append(recorded.volume.id)
    for block in records.block_volumes:
        found.block_volumes[block.cluster_id].append(block.id)
        found.hosted[block.hosting_volume_id].append(block.id)
    for brick in records.bricks:
        found.bricks[brick.brick.device_id].append(brick.brick.id)
        found.bricks_of_volume[brick.brick.volume_id].append(brick.brick.id)
    return found


def _ids(members: Mapping[str, list[str]], key: str) -> tuple[str, ...]:
    return tuple(sorted(members.get(key, ())))


def _cluster(cluster: cluster_pb2.Cluster, members: _Members) -> Cluster:
    return Cluster(
        id=cluster.id,
        node_ids=_ids(members.nodes, cluster.id),
        volume_ids=_ids(members.volumes, cluster.id),
        block=cluster.block_enabled,
        file=cluster.file_enabled,
        block_volume_ids=_ids(members.block_volumes, cluster.id),
    )


def _node(booked: books_pb2.BookedNode, members: _Members) -> Node:
    node = booked.node
    return Node(
        id=node.id,
        state=NODE_STATES[node.state],
        zone=node.zone,
        manage_hostnames=tuple(node.manage_hostnames),
        storage_hostnames=tuple(node.storage_hostnames),
        cluster_id=node.cluster_id,
        tags=dict(node.tags),
        device_ids=_ids(members.devices, node.id),
    )


def _device(booked: books_pb2.BookedDevice, members: _Members) -> Device:
    device = booked.device
    total = device.total_bytes // KIB
    # Heketi knows no reservations: what is asked for is used.
    used = (device.used_bytes + device.reserved_bytes) // KIB
    return Device(
        id=device.id,
        state=DEVICE_STATES[device.state],
        path=device.path,
        node_id=device.node_id,
        total_kib=total,
        free_kib=total - used,
        used_kib=used,
        extent_size_kib=device.extent_size_bytes // KIB,
        tags=dict(device.tags),
        known_paths=tuple(device.known_paths),
        pv_uuid=device.pv_uuid,
        brick_ids=_ids(members.bricks, device.id),
    )


def _volume(recorded: records_pb2.RecordedVolume, members: _Members, pending_id: str) -> Volume:
    volume = recorded.volume
    hosts = list(recorded.mount_hosts) or members.hosts.get(volume.cluster_id, [])
    shown: dict[str, Any] = mount(volume.name, hosts) if hosts else {"device": "", "options": {}}
    return Volume(
        id=volume.id,
        name=volume.name,
        cluster_id=volume.cluster_id,
        size_gib=volume.size_bytes // GIB,
        requested_cluster_ids=tuple(recorded.requested_cluster_ids),
        durability=DURABILITIES[volume.durability.type],
        replica_count=volume.durability.replica_count,
        data_count=volume.durability.data_count,
        redundancy_count=volume.durability.redundancy_count,
        gid=volume.gid,
        block=volume.block,
        snapshot_enabled=volume.snapshot_enabled,
        snapshot_factor=volume.snapshot_factor,
        mount_hosts=tuple(hosts),
        mount_device=shown["device"],
        mount_options=shown["options"],
        free_gib=volume.block_hosting.free_size_bytes // GIB,
        reserved_gib=volume.block_hosting.reserved_size_bytes // GIB,
        block_volume_ids=_ids(members.hosted, volume.id),
        restriction=RESTRICTIONS[volume.block_hosting.restriction],
        brick_ids=_ids(members.bricks_of_volume, volume.id),
        options=tuple(volume.options),
        pending_id=pending_id,
    )


def _brick(brick: volume_pb2.Brick, pending_id: str) -> Brick:
    return Brick(
        id=brick.id,
        path=brick.path,
        device_id=brick.device_id,
        node_id=brick.node_id,
        volume_id=brick.volume_id,
        size_kib=brick.size_bytes // KIB,
        pool_size_kib=brick.thin_pool_size_bytes // KIB,
        pool_metadata_kib=brick.pool_metadata_size_bytes // KIB,
        pool_name=brick.thin_pool_name,
        # Heketi names the LVs of copies only.
        lv_name="" if brick.lv_name == f"brick_{brick.id}" else brick.lv_name,
        sub_type=SubType.ARBITER if brick.role == volume_pb2.BRICK_ROLE_ARBITER else SubType.NORMAL,
        pending_id=pending_id,
    )


def _block_volume(volume: block_volume_pb2.BlockVolume, pending_id: str) -> BlockVolume:
    return BlockVolume(
        id=volume.id,
        name=volume.name,
        size_gib=volume.size_bytes // GIB,
        cluster_id=volume.cluster_id,
        hosting_volume_id=volume.hosting_volume_id,
        ha_count=volume.ha_count,
        auth=volume.auth,
        hosts=tuple(volume.hosts),
        iqn=volume.iqn,
        lun=volume.lun,
        username=volume.username,
        password=volume.password,
        usable_size_gib=volume.usable_size_bytes // GIB,
        pending_id=pending_id,
    )
