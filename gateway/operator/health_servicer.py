"""The part of OperatorService that tells of health and capacity: translates messages, nothing else."""

from collections.abc import Iterable
from typing import Any

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.gateway.v1.operator_service_pb2_grpc import OperatorServiceServicer
from gateway.usecases.health import DEFAULT_DURABILITY, HealthUseCases, SilentNode, SizeQuestion


def _silent(nodes: Iterable[SilentNode]) -> list[pb.SilentNode]:
    return [pb.SilentNode(node_id=node.node_id, hostname=node.hostname, error=node.error) for node in nodes]


class HealthServicer(OperatorServiceServicer):
    """See the contract, brickyard/gateway/v1/operator_service.proto."""

    def __init__(self, health: HealthUseCases) -> None:
        self._health = health

    async def GetHealth(
        self,
        request: pb.GetHealthRequest,
        context: Any,
    ) -> pb.GetHealthResponse:
        """How everything is."""
        return pb.GetHealthResponse(report=await self._health.get_health(request.cluster_id, refresh=request.refresh))

    async def GetDiskStatus(
        self,
        request: pb.GetDiskStatusRequest,
        context: Any,
    ) -> pb.GetDiskStatusResponse:
        """Every disk of a cluster."""
        found = await self._health.get_disk_status(request.cluster_id)
        return pb.GetDiskStatusResponse(disks=found.disks, silent_nodes=_silent(found.silent))

    async def GetMaxVolumeSize(
        self,
        request: pb.GetMaxVolumeSizeRequest,
        context: Any,
    ) -> pb.GetMaxVolumeSizeResponse:
        """The largest volume that a cluster can take now."""
        question = SizeQuestion(
            cluster_id=request.cluster_id,
            durability=request.durability if request.HasField("durability") else DEFAULT_DURABILITY,
            options=tuple(request.options),
            snapshot_factor=request.snapshot_factor or 1.0,
        )
        found = await self._health.get_max_volume_size(question)
        return pb.GetMaxVolumeSizeResponse(
            size_bytes=found.size_bytes,
            available_disk_count=found.disk_count,
            available_node_count=found.node_count,
            silent_nodes=_silent(found.silent),
        )

    async def ListFreeDisks(
        self,
        request: pb.ListFreeDisksRequest,
        context: Any,
    ) -> pb.ListFreeDisksResponse:
        """The disks of each node that could be added."""
        nodes = await self._health.list_free_disks(request.cluster_id)
        return pb.ListFreeDisksResponse(
            nodes=[
                pb.NodeFreeDisks(node_id=node.node_id, hostname=node.hostname, disks=node.disks, error=node.error)
                for node in nodes
            ]
        )
