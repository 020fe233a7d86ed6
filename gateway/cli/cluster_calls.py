"""Questions about what a cluster has and what still fits, over gRPC or REST. Effects: network."""

from typing import Any
from urllib.parse import urlencode

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import health_pb2
from gateway.cli import rest_messages
from gateway.cli.connection import Connection, asking, call_operator
from gateway.cli.rest_connection import RestConnection
from services.common.units import GIB, KIB

# Looking at the nodes waits ten seconds for one that does not answer.
_TIMEOUT_S = 60.0

Access = Connection | RestConnection


def get_disk_status(access: Access, cluster_id: str) -> pb.GetDiskStatusResponse:
    """All disks of a cluster."""
    if isinstance(access, RestConnection):
        found = _get(access, f"/clusters/{cluster_id}/diskstatus")
        disks = [rest_messages.device_health(each, cluster_id) for each in found["disks"]]
        return pb.GetDiskStatusResponse(disks=disks, silent_nodes=_silent(found))
    answer: pb.GetDiskStatusResponse = call_operator(
        access, "GetDiskStatus", timeout_s=_TIMEOUT_S, cluster_id=cluster_id
    )
    return answer


def get_max_volume_size(access: Access, request: pb.GetMaxVolumeSizeRequest) -> pb.GetMaxVolumeSizeResponse:
    """The largest volume that a cluster can take now."""
    if isinstance(access, RestConnection):
        question = rest_messages.size_question(request)
        found = _get(access, f"/clusters/{request.cluster_id}/volmaxsize?{urlencode(question)}")
        return pb.GetMaxVolumeSizeResponse(
            size_bytes=found["MaxAllowCreateVolSize"] * GIB,
            available_disk_count=found["AvaildDiskCnt"],
            available_node_count=found["AvaildNodeCnt"],
            silent_nodes=_silent(found),
        )
    fields = {field.name: value for field, value in request.ListFields()}
    answer: pb.GetMaxVolumeSizeResponse = call_operator(access, "GetMaxVolumeSize", timeout_s=_TIMEOUT_S, **fields)
    return answer


def list_free_disks(access: Access, cluster_id: str) -> pb.ListFreeDisksResponse:
    """Disks that could be added."""
    if isinstance(access, RestConnection):
        nodes = [
            pb.NodeFreeDisks(
                node_id=node["node"],
                hostname=node["hostname"],
                disks=[
                    health_pb2.UnusedDisk(path=disk["name"], size_bytes=disk["size"] * KIB) for disk in node["devices"]
                ],
                error=node.get("error", ""),
            )
            for node in _get(access, f"/clusters/{cluster_id}/freedevices")["nodes"]
        ]
        return pb.ListFreeDisksResponse(nodes=nodes)
    answer: pb.ListFreeDisksResponse = call_operator(
        access, "ListFreeDisks", timeout_s=_TIMEOUT_S, cluster_id=cluster_id
    )
    return answer


def _get(access: RestConnection, path: str) -> Any:
    with asking(), access.client() as client:
        return client.get(path)


def _silent(found: Any) -> list[pb.SilentNode]:
    return [
        pb.SilentNode(node_id=each["node"], hostname=each["hostname"], error=each["error"])
        for each in found["unreachable"]
    ]
