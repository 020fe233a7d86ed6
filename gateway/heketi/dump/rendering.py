"""A dump as Heketi's JSON: names and order of keys, what is left out when it is empty, four spaces. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from gateway.heketi.dump.model import (
    BlockVolume,
    Brick,
    Cluster,
    Device,
    Dump,
    Node,
    Operation,
    Volume,
)
from gateway.heketi.go_json import escaped, float32_number

_T = TypeVar("_T")
_INDENT = 4


def dump_object(dump: Dump) -> dict[str, Any]:
    """The object that `GET /db/dump` answers."""
    return {
        "clusterentries": _by_id(dump.clusters, _cluster),
        "volumeentries": _by_id(dump.volumes, _volume),
        "brickentries": _by_id(dump.bricks, _brick),
        "nodeentries": _by_id(dump.nodes, _node),
        "deviceentries": _by_id(dump.devices, _device),
        "blockvolumeentries": _by_id(dump.block_volumes, _block_volume),
        "dbattributeentries": {name: {"Key": name, "Value": value} for name, value in sorted(dump.attributes.items())},
        "pendingoperations": _by_id(dump.operations, _operation),
    }


def write_indented(value: Any) -> bytes:
    """JSON with four spaces a level and a newline at its end, as Heketi writes a dump, a check and an examination."""
    return escaped(json.dumps(value, ensure_ascii=False, indent=_INDENT, check_circular=False) + "\n").encode()


def write_dump(dump: Dump) -> bytes:
    """The body of `GET /db/dump`."""
    return write_indented(dump_object(dump))


def _by_id(entries: Mapping[str, _T], render: Any) -> dict[str, Any]:
    return {key: render(entry) for key, entry in sorted(entries.items())}


def _unless_empty(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _strings(values: Iterable[str]) -> list[str] | None:
    """A list that Go leaves as nil when nothing is in it."""
    return list(values) or None


def _pending(operation_id: str) -> dict[str, str]:
    return {"Id": operation_id}


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(tags.items()))


def _cluster(cluster: Cluster) -> dict[str, Any]:
    return {
        "Info": {
            "id": cluster.id,
            "nodes": list(cluster.node_ids),
            "volumes": list(cluster.volume_ids),
            "block": cluster.block,
            "file": cluster.file,
            "blockvolumes": list(cluster.block_volume_ids),
        }
    }


def _volume(volume: Volume) -> dict[str, Any]:
    info = {
        "size": volume.size_gib,
        **_unless_empty(clusters=list(volume.requested_cluster_ids)),
        "name": volume.name,
        "durability": {
            "type": volume.durability,
            "replicate": _unless_empty(replica=volume.replica_count),
            "disperse": _unless_empty(data=volume.data_count, redundancy=volume.redundancy_count),
        },
        **_unless_empty(gid=volume.gid, block=volume.block),
        "snapshot": {"enable": volume.snapshot_enabled, "factor": float32_number(volume.snapshot_factor)},
        "id": volume.id,
        "cluster": volume.cluster_id,
        "mount": {
            "glusterfs": {
                "hosts": list(volume.mount_hosts),
                "device": volume.mount_device,
                "options": dict(volume.mount_options),
            }
        },
        "blockinfo": _unless_empty(
            freesize=volume.free_gib,
            reservedsize=volume.reserved_gib,
            blockvolume=list(volume.block_volume_ids),
            restriction=volume.restriction,
        ),
    }
    return {
        "Info": info,
        "Bricks": list(volume.brick_ids),
        "GlusterVolumeOptions": _strings(volume.options),
        "Pending": _pending(volume.pending_id),
    }


def _brick(brick: Brick) -> dict[str, Any]:
    return {
        "Info": {
            "id": brick.id,
            "path": brick.path,
            "device": brick.device_id,
            "node": brick.node_id,
            "volume": brick.volume_id,
            "size": brick.size_kib,
        },
        "TpSize": brick.pool_size_kib,
        "PoolMetadataSize": brick.pool_metadata_kib,
        "Pending": _pending(brick.pending_id),
        "LvmThinPool": brick.pool_name,
        "LvmLv": brick.lv_name,
        "SubType": int(brick.sub_type),
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "State": node.state,
        "Info": {
            "zone": node.zone,
            "hostnames": {"manage": list(node.manage_hostnames), "storage": list(node.storage_hostnames)},
            "cluster": node.cluster_id,
            **_unless_empty(tags=_tags(node.tags)),
            "id": node.id,
        },
        "Devices": list(node.device_ids),
    }


def _device(device: Device) -> dict[str, Any]:
    return {
        "State": device.state,
        "Info": {
            "name": device.path,
            **_unless_empty(tags=_tags(device.tags)),
            "storage": {"total": device.total_kib, "free": device.free_kib, "used": device.used_kib},
            "id": device.id,
            **_unless_empty(paths=list(device.known_paths), pv_uuid=device.pv_uuid),
        },
        "Bricks": list(device.brick_ids),
        "NodeId": device.node_id,
        "ExtentSize": device.extent_size_kib,
    }


def _block_volume(volume: BlockVolume) -> dict[str, Any]:
    info = {
        "size": volume.size_gib,
        **_unless_empty(clusters=list(volume.requested_cluster_ids)),
        "name": volume.name,
        **_unless_empty(hacount=volume.ha_count, auth=volume.auth),
        "id": volume.id,
        "blockvolume": {
            "hosts": _strings(volume.hosts),
            "iqn": volume.iqn,
            "lun": volume.lun,
            "username": volume.username,
            "password": volume.password,
        },
        **_unless_empty(
            cluster=volume.cluster_id,
            blockhostingvolume=volume.hosting_volume_id,
            usablesize=volume.usable_size_gib,
        ),
    }
    return {"Info": info, "Pending": _pending(volume.pending_id)}


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "Id": operation.id,
        "Timestamp": operation.time_s,
        "Type": int(operation.type),
        "Actions": [
            {"Change": int(action.change), "Id": action.id, "Delta": action.delta} for action in operation.actions
        ]
        or None,
        "Status": operation.status,
    }
