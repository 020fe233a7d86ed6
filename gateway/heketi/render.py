"""From the topology's messages to Heketi's JSON: order of keys, omitted fields, KiB and GiB. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from brickyard.topology.v1 import block_volume_pb2, cluster_pb2, device_pb2, node_pb2, volume_pb2
from gateway.heketi.go_json import float32_number, write
from services.common.units import GIB, KIB

NODE_STATES = {
    node_pb2.NODE_STATE_ONLINE: "online",
    node_pb2.NODE_STATE_OFFLINE: "offline",
    node_pb2.NODE_STATE_FAILED: "failed",
}
DEVICE_STATES = {
    device_pb2.DEVICE_STATE_ONLINE: "online",
    device_pb2.DEVICE_STATE_OFFLINE: "offline",
    device_pb2.DEVICE_STATE_FAILED: "failed",
}
DURABILITIES = {
    volume_pb2.DURABILITY_TYPE_NONE: "none",
    volume_pb2.DURABILITY_TYPE_REPLICATE: "replicate",
    volume_pb2.DURABILITY_TYPE_DISPERSE: "disperse",
}


RESTRICTIONS = {
    volume_pb2.BLOCK_RESTRICTION_UNSPECIFIED: "",
    volume_pb2.BLOCK_RESTRICTION_LOCKED: "locked",
    volume_pb2.BLOCK_RESTRICTION_LOCKED_BY_UPDATE: "locked-by-update",
}


def _unless_empty(**fields: Any) -> dict[str, Any]:
    """What Go's omitempty leaves."""
    return {name: value for name, value in fields.items() if value}


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(tags.items()))


def tags(values: Mapping[str, str]) -> bytes:
    """All tags of an object."""
    return write(_tags(values))


def cluster_list(clusters: Iterable[cluster_pb2.Cluster]) -> bytes:
    """Ids of clusters, ascending."""
    return write({"clusters": sorted(cluster.id for cluster in clusters)})


def cluster(message: cluster_pb2.Cluster) -> bytes:
    """One cluster."""
    return write(cluster_info(message))


def cluster_info(message: cluster_pb2.Cluster) -> dict[str, Any]:
    """The same, before it is written."""
    return {
        "id": message.id,
        "nodes": sorted(message.node_ids),
        "volumes": sorted(message.volume_ids),
        "block": message.block_enabled,
        "file": message.file_enabled,
        "blockvolumes": sorted(message.block_volume_ids),
    }


def brick_infos(bricks: Iterable[volume_pb2.Brick]) -> list[dict[str, Any]]:
    """Bricks ascending by id, whatever gluster's order is."""
    return [
        {
            "id": brick.id,
            "path": brick.path,
            "device": brick.device_id,
            "node": brick.node_id,
            "volume": brick.volume_id,
            "size": brick.size_bytes // KIB,
        }
        for brick in sorted(bricks, key=lambda each: each.id)
    ]


def device_info(message: device_pb2.Device) -> dict[str, Any]:
    """The same, before it is written."""
    total_kib = message.total_bytes // KIB
    # What running operations have reserved is not free; clients know only free and used.
    free_kib = (message.total_bytes - message.used_bytes - message.reserved_bytes) // KIB
    return {
        "name": message.path,
        **_unless_empty(tags=_tags(message.tags)),
        "storage": {"total": total_kib, "free": free_kib, "used": total_kib - free_kib},
        "id": message.id,
        **_unless_empty(paths=list(message.known_paths), pv_uuid=message.pv_uuid),
        "state": DEVICE_STATES[message.state],
        "bricks": brick_infos(message.bricks),
    }


def device(message: device_pb2.Device) -> bytes:
    """One device with its bricks."""
    return write(device_info(message))


def node(message: node_pb2.Node, devices: Iterable[device_pb2.Device]) -> bytes:
    """One node with its devices and their bricks."""
    return write(
        {
            "zone": message.zone,
            "hostnames": {"manage": list(message.manage_hostnames), "storage": list(message.storage_hostnames)},
            "cluster": message.cluster_id,
            **_unless_empty(tags=_tags(message.tags)),
            "id": message.id,
            "state": NODE_STATES[message.state],
            "devices": [device_info(each) for each in sorted(devices, key=lambda each: each.id)],
        }
    )


def volume_list(volume_ids: Iterable[str]) -> bytes:
    """Ids of volumes, ascending."""
    return write({"volumes": sorted(volume_ids)})


def volume(message: volume_pb2.Volume, mount_hosts: Sequence[str]) -> bytes:
    """One volume, how to mount it, and its bricks. `mount_hosts` has at least one host."""
    return write(volume_info(message, mount_hosts))


def volume_info(message: volume_pb2.Volume, mount_hosts: Sequence[str]) -> dict[str, Any]:
    """The same, before it is written."""
    durability = message.durability
    return {
        "size": message.size_bytes // GIB,
        "name": message.name,
        "durability": {
            "type": DURABILITIES[durability.type],
            "replicate": _unless_empty(replica=durability.replica_count),
            "disperse": _unless_empty(data=durability.data_count, redundancy=durability.redundancy_count),
        },
        **_unless_empty(gid=message.gid, glustervolumeoptions=list(message.options), block=message.block),
        "snapshot": {"enable": message.snapshot_enabled, "factor": float32_number(message.snapshot_factor)},
        "id": message.id,
        "cluster": message.cluster_id,
        "mount": {"glusterfs": mount(message.name, mount_hosts)},
        "blockinfo": block_info(message),
        "bricks": brick_infos(message.bricks),
    }


def block_info(message: volume_pb2.Volume) -> dict[str, Any]:
    """What a hosting volume holds; of other volumes nothing."""
    held = message.block_hosting
    return _unless_empty(
        freesize=held.free_size_bytes // GIB,
        reservedsize=held.reserved_size_bytes // GIB,
        blockvolume=sorted(held.block_volume_ids),
        restriction=RESTRICTIONS[held.restriction],
    )


def block_volume_list(volumes: Iterable[block_volume_pb2.BlockVolume]) -> bytes:
    """Ids of block volumes, ascending."""
    return write({"blockvolumes": sorted(volume.id for volume in volumes)})


def block_volume(message: block_volume_pb2.BlockVolume) -> bytes:
    """One block volume, and how initiators reach it. Whether it asks for a login is not told (Heketi's rule)."""
    return write(block_volume_info(message))


def block_volume_info(message: block_volume_pb2.BlockVolume) -> dict[str, Any]:
    """The same, before it is written."""
    return {
        "size": message.size_bytes // GIB,
        "name": message.name,
        **_unless_empty(hacount=message.ha_count),
        "id": message.id,
        "blockvolume": {
            "hosts": list(message.hosts),
            "iqn": message.iqn,
            "lun": message.lun,
            "username": message.username,
            "password": message.password,
        },
        **_unless_empty(
            cluster=message.cluster_id,
            blockhostingvolume=message.hosting_volume_id,
            usablesize=(message.usable_size_bytes or message.size_bytes) // GIB,
        ),
    }


def mount(name: str, hosts: Sequence[str]) -> dict[str, Any]:
    """How a volume is mounted; there is at least one host."""
    return {
        "hosts": list(hosts),
        "device": f"{hosts[0]}:{name}",
        # With one host the option stays, and is empty.
        "options": {"backup-volfile-servers": ",".join(hosts[1:])},
    }
