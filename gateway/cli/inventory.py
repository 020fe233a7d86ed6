"""Everything there is and how it is, over gRPC or REST. Effects: network."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import cluster_pb2, health_pb2, node_pb2, operation_pb2
from gateway.cli import rest_messages
from gateway.cli.connection import Connection, asking, operator_stub
from gateway.cli.rest_connection import RestConnection
from services.common.channels import call_aio

# A look at all nodes waits ten seconds for one that does not answer.
_TIMEOUT_S = 60.0
_PAGE = 10_000
_MOST_OPERATIONS = 100


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is.

    Attributes:
        clusters: All of them, or the one that was asked for.
        nodes: Their nodes.
        report: Health of their nodes, devices and volumes. REST tells no health of volumes.
        running: Operations that have not ended, newest first; over REST without their progress.
    """

    clusters: Sequence[cluster_pb2.Cluster]
    nodes: Sequence[node_pb2.Node]
    report: health_pb2.HealthReport
    running: Sequence[operation_pb2.Operation]


def read_inventory(
    connection: Connection | RestConnection, *, cluster_id: str = "", refresh: bool = False, volumes: bool = True
) -> Inventory:
    """What there is now.

    Args:
        connection: The way to the gateway.
        cluster_id: Only this cluster; empty = all.
        refresh: Whether the nodes are looked at anew; REST does so never.
        volumes: Whether the volumes are wanted too, which over REST are read one by one.

    Raises:
        click.ClickException: It can not be read.
    """
    if isinstance(connection, RestConnection):
        with asking():
            return _over_rest(connection, cluster_id, volumes=volumes)
    with asking(connection):
        return asyncio.run(_over_grpc(connection, cluster_id, refresh=refresh))


async def _over_grpc(connection: Connection, cluster_id: str, *, refresh: bool) -> Inventory:
    async with operator_stub(connection) as stub:
        request = pb.GetHealthRequest(cluster_id=cluster_id, refresh=refresh)
        report = (await call_aio(stub.GetHealth, request, timeout_s=_TIMEOUT_S)).report
        listed = await call_aio(
            stub.ListOperations, pb.ListOperationsRequest(unfinished_only=True, page_size=_MOST_OPERATIONS)
        )
        clusters = await _pages(stub.ListClusters, pb.ListClustersRequest(page_size=_PAGE), "clusters")
        nodes = await _pages(stub.ListNodes, pb.ListNodesRequest(cluster_id=cluster_id, page_size=_PAGE), "nodes")
    return Inventory(
        [each for each in clusters if cluster_id in ("", each.id)],
        nodes,
        report,
        [each for each in listed.operations if cluster_id in ("", each.cluster_id)],
    )


async def _pages(method: Any, request: Any, field: str) -> list[Any]:
    found: list[Any] = []
    while True:
        answer = await call_aio(method, request, timeout_s=_TIMEOUT_S)
        found.extend(getattr(answer, field))
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def _over_rest(connection: RestConnection, cluster_id: str, *, volumes: bool) -> Inventory:
    report = health_pb2.HealthReport()
    clusters: list[cluster_pb2.Cluster] = []
    nodes: list[node_pb2.Node] = []
    with connection.client() as client:
        for each in [cluster_id] if cluster_id else client.get("/clusters")["clusters"]:
            cluster = rest_messages.cluster(client.get(f"/clusters/{each}"))
            clusters.append(cluster)
            disks = client.get(f"/clusters/{each}/diskstatus")
            silent = {node["node"]: node["error"] for node in disks["unreachable"]}
            found = [client.get(f"/nodes/{node_id}") for node_id in cluster.node_ids]
            nodes += map(rest_messages.node, found)
            report.nodes.extend(rest_messages.node_health(node, silent) for node in found)
            report.devices.extend(rest_messages.device_health(disk, each) for disk in disks["disks"])
            if volumes:
                known = [rest_messages.volume(client.get(f"/volumes/{one}")) for one in cluster.volume_ids]
                report.volumes.extend(map(rest_messages.volume_health, known))
            report.cluster_ids.append(each)
        pending = client.get("/operations/pending")["pendingoperations"]
    report.problems.extend(rest_messages.silent_problems(report.nodes))
    # The pending operations of REST do not tell their cluster.
    return Inventory(clusters, nodes, report, [rest_messages.operation(each) for each in pending])
