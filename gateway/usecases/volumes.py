"""The use cases over volumes and operations."""

from collections.abc import Sequence
from typing import Any

from brickyard.allocator.v1.allocator_service_pb2 import PlanVolumeRequest
from brickyard.topology.v1 import operation_pb2, operation_service_pb2, topology_service_pb2, volume_pb2
from gateway.clients import AgentCaller
from gateway.operations.engine import OperationEngine
from gateway.settings import ProvisioningSettings
from gateway.usecases.placement import all_options, placement_rules, planned_volume
from gateway.usecases.port import NewVolume
from gateway.usecases.topology import TopologyUseCases
from gateway.usecases.validation import check_id, check_new_volume
from services.common.channels import call_aio
from services.common.errors import AbortedError
from services.common.ids import new_id
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
# A plan is outdated when somebody else took the space in between; after so many times the cluster is too contended.
_MAX_PLANS = 8


class GatewayUseCases(TopologyUseCases):
    """All use cases of the gateway."""

    def __init__(
        self,
        *,
        topology: Any,
        operations: Any,
        allocator: Any,
        agents: AgentCaller,
        engine: OperationEngine,
        settings: ProvisioningSettings,
    ) -> None:
        """`topology`, `operations` and `allocator` are the stubs of those services."""
        super().__init__(topology=topology, operations=operations, agents=agents, engine=engine)
        self._allocator = allocator
        self._settings = settings

    async def create_volume(self, volume: NewVolume, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_new_volume(volume)
        first = await self._repeated(
            operation_pb2.OperationSpec(create_volume=operation_pb2.CreateVolumeSpec()), request_id, volume
        )
        if first is not None:
            return first
        options = all_options(volume.options, self._settings)
        plan_request = PlanVolumeRequest(
            size_bytes=volume.size_bytes,
            rules=placement_rules(volume, options, self._settings),
            cluster_ids=volume.cluster_ids,
            volume_name=volume.name,
            block=volume.block,
            max_volumes_per_cluster=self._settings.max_volumes_per_cluster,
        )
        volume_id = new_id()
        for attempt in range(1, _MAX_PLANS + 1):
            plan = await call_aio(self._allocator.PlanVolume, plan_request)
            planned = planned_volume(volume_id, volume, options, plan, [new_id() for _ in plan.bricks])
            spec = operation_pb2.OperationSpec(
                create_volume=operation_pb2.CreateVolumeSpec(
                    volume=planned, max_volumes_per_cluster=self._settings.max_volumes_per_cluster
                )
            )
            try:
                return await self._begin(spec, request_id, volume)
            except AbortedError as error:
                if error.reason is not Reason.PLAN_OUTDATED or attempt == _MAX_PLANS:
                    raise
                _log.info("volume.plan_outdated", attempt=attempt, message=error.message)
        raise AssertionError  # the loop returns or raises

    async def get_volume(self, volume_id: str) -> tuple[volume_pb2.Volume, Sequence[str]]:
        """See `UseCases`."""
        answer = await call_aio(self._topology.GetVolume, topology_service_pb2.GetVolumeRequest(volume_id=volume_id))
        return answer.volume, answer.mount_hosts

    async def list_volumes(self, cluster_id: str = "") -> Sequence[volume_pb2.Volume]:
        """See `UseCases`."""
        return await self._pages(
            self._topology.ListVolumes, topology_service_pb2.ListVolumesRequest(cluster_id=cluster_id), "volumes"
        )

    async def delete_volume(self, volume_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("volume_id", volume_id)
        spec = operation_pb2.OperationSpec(delete_volume=operation_pb2.DeleteVolumeSpec(volume_id=volume_id))
        return await self._begin(spec, request_id, volume_id)

    async def get_operation(self, operation_id: str) -> operation_pb2.Operation:
        """See `UseCases`."""
        answer = await call_aio(
            self._operations.GetOperation, operation_service_pb2.GetOperationRequest(operation_id=operation_id)
        )
        operation: operation_pb2.Operation = answer.operation
        return operation

    async def list_operations(self, *, unfinished_only: bool = False) -> Sequence[operation_pb2.Operation]:
        """See `UseCases`."""
        request = operation_service_pb2.ListOperationsRequest(unfinished_only=unfinished_only)
        return await self._pages(self._operations.ListOperations, request, "operations")
