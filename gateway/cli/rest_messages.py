"""What the REST interface tells, as messages of the API, so that commands show both alike. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from brickyard.topology.v1 import cluster_pb2, device_pb2, health_pb2, node_pb2, operation_pb2, volume_pb2
from services.common.units import GIB, KIB

_DURABILITIES = {
    "none": volume_pb2.DURABILITY_TYPE_NONE,
    "replicate": volume_pb2.DURABILITY_TYPE_REPLICATE,
    "disperse": volume_pb2.DURABILITY_TYPE_DISPERSE,
}
_OPERATION_STATES = {"failed": operation_pb2.OPERATION_STATE_UNDOING}

Json = Mapping[str, Any]


def cluster(found: Json) -> cluster_pb2.Cluster:
    """The answer of GET /clusters/{id}."""
    return cluster_pb2.Cluster(
        id=found["id"],
        file_enabled=found["file"],
        block_enabled=found["block"],
        node_ids=found["nodes"],
        volume_ids=found["volumes"],
        block_volume_ids=found["blockvolumes"],
    )


def node(found: Json) -> node_pb2.Node:
    """The answer of GET /nodes/{id}."""
    return node_pb2.Node(
        id=found["id"],
        cluster_id=found["cluster"],
        zone=found["zone"],
        manage_hostnames=found["hostnames"]["manage"],
        storage_hostnames=found["hostnames"]["storage"],
        tags=found.get("tags") or {},
        state=node_pb2.NodeState.Value(f"NODE_STATE_{found['state'].upper()}"),
        device_ids=[each["id"] for each in found["devices"]],
    )


def node_health(found: Json, silent: Mapping[str, str]) -> health_pb2.NodeHealth:
    """The same, and whether the node answers; `silent` has the errors of those that do not, by id."""
    made = node(found)
    return health_pb2.NodeHealth(
        node_id=made.id,
        cluster_id=made.cluster_id,
        hostname=made.manage_hostnames[0],
        storage_hostname=made.storage_hostnames[0],
        state=made.state,
        health=health_pb2.HEALTH_CRITICAL if made.id in silent else health_pb2.HEALTH_OK,
        error=silent.get(made.id, ""),
    )


def device_health(found: Json, cluster_id: str) -> health_pb2.DeviceHealth:
    """A disk of GET /clusters/{id}/diskstatus."""
    return health_pb2.DeviceHealth(
        device_id=found["id"],
        node_id=found["node"],
        cluster_id=cluster_id,
        hostname=found["hostname"],
        path=found["name"],
        state=device_pb2.DeviceState.Value(f"DEVICE_STATE_{found['state'].upper()}"),
        health=health_pb2.Health.Value(f"HEALTH_{found['health'].upper()}"),
        total_bytes=found["size"] * KIB,
        used_bytes=found["used"] * KIB,
        brick_count=found["bricks"],
    )


def volume(found: Json) -> volume_pb2.Volume:
    """The answer of GET /volumes/{id}."""
    durability = found["durability"]
    kind = durability["type"] or "none"
    made = volume_pb2.Durability(type=_DURABILITIES[kind])
    if kind == "replicate":
        made.replica_count = durability["replicate"].get("replica", 0)
    if kind == "disperse":
        made.data_count = durability["disperse"].get("data", 0)
        made.redundancy_count = durability["disperse"].get("redundancy", 0)
    bricks = [
        volume_pb2.Brick(
            id=each["id"],
            volume_id=each["volume"],
            device_id=each["device"],
            node_id=each["node"],
            path=each["path"],
            size_bytes=each["size"] * KIB,
        )
        for each in found["bricks"]
    ]
    return volume_pb2.Volume(
        id=found["id"],
        name=found["name"],
        cluster_id=found["cluster"],
        size_bytes=found["size"] * GIB,
        durability=made,
        gid=found.get("gid", 0),
        options=[each for each in found.get("glustervolumeoptions") or () if each],
        block=found.get("block", False),
        snapshot_enabled=found["snapshot"]["enable"],
        snapshot_factor=found["snapshot"]["factor"],
        bricks=bricks,
        state=volume_pb2.VOLUME_STATE_ACTIVE,
    )


def volume_health(found: volume_pb2.Volume) -> health_pb2.VolumeHealth:
    """A volume of which REST does not tell how it is."""
    return health_pb2.VolumeHealth(
        volume_id=found.id,
        cluster_id=found.cluster_id,
        name=found.name,
        size_bytes=found.size_bytes,
        health=health_pb2.HEALTH_UNKNOWN,
        brick_count=len(found.bricks),
    )


def operation(found: Json) -> operation_pb2.Operation:
    """An entry of GET /operations/pending."""
    kind = f"OPERATION_KIND_{found['type_name'].upper().replace('-', '_')}"
    known = operation_pb2.OperationKind.keys()
    return operation_pb2.Operation(
        id=found["id"],
        kind=operation_pb2.OperationKind.Value(kind) if kind in known else operation_pb2.OPERATION_KIND_UNSPECIFIED,
        state=_OPERATION_STATES.get(found["status"], operation_pb2.OPERATION_STATE_RUNNING),
    )


def silent_problems(nodes: Iterable[health_pb2.NodeHealth]) -> list[health_pb2.Problem]:
    """A problem for each node that does not answer."""
    return [
        health_pb2.Problem(
            severity=health_pb2.SEVERITY_CRITICAL,
            kind="NODE_UNREACHABLE",
            message=f"node {each.hostname} does not answer: {each.error}",
            advice=f"see on {each.hostname}: systemctl status brickyard-agent",
            cluster_id=each.cluster_id,
            node_id=each.node_id,
        )
        for each in nodes
        if each.error
    ]


def creation(request: Any) -> dict[str, Any]:
    """The body of POST /volumes that asks for what a CreateVolumeRequest asks for."""
    wanted = request.durability
    names = {number: name for name, number in _DURABILITIES.items()}
    return {
        "size": request.size_bytes // GIB,
        "name": request.name,
        "clusters": list(request.cluster_ids),
        "durability": {
            "type": names[wanted.type],
            "replicate": {"replica": wanted.replica_count} if wanted.replica_count else {},
            "disperse": {"data": wanted.data_count, "redundancy": wanted.redundancy_count} if wanted.data_count else {},
        },
        "gid": request.gid,
        "glustervolumeoptions": list(request.options),
        "block": request.block,
        "snapshot": {"enable": request.snapshot_enabled, "factor": request.snapshot_factor},
    }


def size_question(request: Any) -> dict[str, Any]:
    """The query of GET /clusters/{id}/volmaxsize that asks what a GetMaxVolumeSizeRequest asks."""
    wanted = request.durability
    names = {number: name for name, number in _DURABILITIES.items()}
    asked = {
        "durability": names[wanted.type],
        "replica": wanted.replica_count,
        "disperse-data": wanted.data_count,
        "redundancy": wanted.redundancy_count,
        "snapshot-factor": request.snapshot_factor,
        "gluster-volume-options": ",".join(request.options),
    }
    return {key: value for key, value in asked.items() if value}
