"""OperatorService: translates messages to use cases and back, nothing else."""

from collections.abc import AsyncIterator
from typing import Any

from brickyard.gateway.v1 import examination_pb2
from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import operation_service_pb2, volume_pb2
from gateway.examination.messages import event_message, plan_message, report_message
from gateway.operator.block_servicer import BlockVolumeServicer
from gateway.operator.health_servicer import HealthServicer
from gateway.operator.paging import page_of
from gateway.usecases import NewDevice, NewNode, NewVolume, UseCases
from gateway.usecases.health import HealthUseCases
from services.common.channels import call_aio, stream_aio
from services.common.identity import AccessPolicy, Role, policy_for

SERVICE = "brickyard.gateway.v1.OperatorService"
_METHODS = pb.DESCRIPTOR.services_by_name["OperatorService"].methods
ACCESS = AccessPolicy(policy_for(SERVICE, {method.name: (Role.OPERATOR,) for method in _METHODS}))


def _new_volume(request: pb.CreateVolumeRequest) -> NewVolume:
    durability = volume_pb2.Durability()
    durability.CopyFrom(request.durability)
    if durability.type == volume_pb2.DURABILITY_TYPE_UNSPECIFIED:
        durability.type = volume_pb2.DURABILITY_TYPE_NONE
    return NewVolume(
        size_bytes=request.size_bytes,
        name=request.name,
        cluster_ids=tuple(request.cluster_ids),
        durability=durability,
        gid=request.gid,
        options=tuple(request.options),
        block=request.block,
        snapshot_enabled=request.snapshot_enabled,
        snapshot_factor=request.snapshot_factor if request.snapshot_enabled else 1.0,
    )


class OperatorServicer(BlockVolumeServicer, HealthServicer):
    """See the contract, brickyard/gateway/v1/operator_service.proto."""

    def __init__(self, use_cases: UseCases, operations: Any, health: HealthUseCases) -> None:
        """`operations` is the stub of the topology's OperationService, for what is passed through."""
        super().__init__(health)
        self._use_cases = use_cases
        self._operations = operations

    async def CreateCluster(self, request: pb.CreateClusterRequest, context: Any) -> pb.CreateClusterResponse:
        cluster = await self._use_cases.create_cluster(
            file_enabled=request.file_enabled,
            block_enabled=request.block_enabled,
            request_id=request.request_id or None,
        )
        return pb.CreateClusterResponse(cluster=cluster)

    async def GetCluster(self, request: pb.GetClusterRequest, context: Any) -> pb.GetClusterResponse:
        return pb.GetClusterResponse(cluster=await self._use_cases.get_cluster(request.cluster_id))

    async def ListClusters(self, request: pb.ListClustersRequest, context: Any) -> pb.ListClustersResponse:
        page, token = page_of(await self._use_cases.list_clusters(), lambda cluster: cluster.id, request)
        return pb.ListClustersResponse(clusters=page, next_page_token=token)

    async def SetClusterFlags(self, request: pb.SetClusterFlagsRequest, context: Any) -> pb.SetClusterFlagsResponse:
        cluster = await self._use_cases.set_cluster_flags(
            request.cluster_id, file_enabled=request.file_enabled, block_enabled=request.block_enabled
        )
        return pb.SetClusterFlagsResponse(cluster=cluster)

    async def DeleteCluster(self, request: pb.DeleteClusterRequest, context: Any) -> pb.DeleteClusterResponse:
        await self._use_cases.delete_cluster(request.cluster_id)
        return pb.DeleteClusterResponse()

    async def AddNode(self, request: pb.AddNodeRequest, context: Any) -> pb.AddNodeResponse:
        node = NewNode(
            cluster_id=request.cluster_id,
            zone=request.zone,
            manage_hostnames=tuple(request.manage_hostnames),
            storage_hostnames=tuple(request.storage_hostnames),
            tags=dict(request.tags),
        )
        operation = await self._use_cases.add_node(node, request_id=request.request_id or None)
        return pb.AddNodeResponse(operation=operation)

    async def GetNode(self, request: pb.GetNodeRequest, context: Any) -> pb.GetNodeResponse:
        node, devices = await self._use_cases.get_node(request.node_id)
        return pb.GetNodeResponse(node=node, devices=devices)

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        page, token = page_of(await self._use_cases.list_nodes(request.cluster_id), lambda node: node.id, request)
        return pb.ListNodesResponse(nodes=page, next_page_token=token)

    async def DeleteNode(self, request: pb.DeleteNodeRequest, context: Any) -> pb.DeleteNodeResponse:
        operation = await self._use_cases.delete_node(request.node_id, request_id=request.request_id or None)
        return pb.DeleteNodeResponse(operation=operation)

    async def SetNodeState(self, request: pb.SetNodeStateRequest, context: Any) -> pb.SetNodeStateResponse:
        operation = await self._use_cases.set_node_state(
            request.node_id,
            request.state,
            skip_heal_check=request.skip_heal_check,
            request_id=request.request_id or None,
        )
        return pb.SetNodeStateResponse(operation=operation)

    async def UpdateNodeTags(self, request: pb.UpdateNodeTagsRequest, context: Any) -> pb.UpdateNodeTagsResponse:
        tags = await self._use_cases.update_node_tags(request.node_id, request.change, dict(request.tags))
        return pb.UpdateNodeTagsResponse(tags=tags)

    async def AddDevice(self, request: pb.AddDeviceRequest, context: Any) -> pb.AddDeviceResponse:
        device = NewDevice(
            node_id=request.node_id,
            path=request.path,
            tags=dict(request.tags),
            destroy_data=request.destroy_data,
        )
        operation = await self._use_cases.add_device(device, request_id=request.request_id or None)
        return pb.AddDeviceResponse(operation=operation)

    async def GetDevice(self, request: pb.GetDeviceRequest, context: Any) -> pb.GetDeviceResponse:
        return pb.GetDeviceResponse(device=await self._use_cases.get_device(request.device_id))

    async def DeleteDevice(self, request: pb.DeleteDeviceRequest, context: Any) -> pb.DeleteDeviceResponse:
        operation = await self._use_cases.delete_device(
            request.device_id, force_forget=request.force_forget, request_id=request.request_id or None
        )
        return pb.DeleteDeviceResponse(operation=operation)

    async def SetDeviceState(self, request: pb.SetDeviceStateRequest, context: Any) -> pb.SetDeviceStateResponse:
        operation = await self._use_cases.set_device_state(
            request.device_id,
            request.state,
            skip_heal_check=request.skip_heal_check,
            request_id=request.request_id or None,
        )
        return pb.SetDeviceStateResponse(operation=operation)

    async def UpdateDeviceTags(self, request: pb.UpdateDeviceTagsRequest, context: Any) -> pb.UpdateDeviceTagsResponse:
        tags = await self._use_cases.update_device_tags(request.device_id, request.change, dict(request.tags))
        return pb.UpdateDeviceTagsResponse(tags=tags)

    async def CreateVolume(self, request: pb.CreateVolumeRequest, context: Any) -> pb.CreateVolumeResponse:
        volume = _new_volume(request)
        if request.validate_only:
            return pb.CreateVolumeResponse(planned_volume=await self._use_cases.preview_volume(volume))
        operation = await self._use_cases.create_volume(volume, request_id=request.request_id or None)
        return pb.CreateVolumeResponse(operation=operation)

    async def ExplainVolume(self, request: pb.ExplainVolumeRequest, context: Any) -> pb.ExplainVolumeResponse:
        clusters = await self._use_cases.explain_volume(
            _new_volume(request.volume), expanded_volume_id=request.expanded_volume_id
        )
        return pb.ExplainVolumeResponse(clusters=clusters)

    async def PlanRebalance(self, request: pb.PlanRebalanceRequest, context: Any) -> pb.PlanRebalanceResponse:
        plan = await self._use_cases.plan_rebalance(
            request.cluster_id, max_moves=request.max_moves, target_deviation=request.target_deviation
        )
        return pb.PlanRebalanceResponse(
            moves=plan.moves,
            deviation_before=plan.deviation_before,
            deviation_after=plan.deviation_after,
            moved_bytes=plan.moved_bytes,
        )

    async def GetVolume(self, request: pb.GetVolumeRequest, context: Any) -> pb.GetVolumeResponse:
        volume, mount_hosts = await self._use_cases.get_volume(request.volume_id)
        return pb.GetVolumeResponse(volume=volume, mount_hosts=mount_hosts)

    async def ListVolumes(self, request: pb.ListVolumesRequest, context: Any) -> pb.ListVolumesResponse:
        page, token = page_of(await self._use_cases.list_volumes(request.cluster_id), lambda volume: volume.id, request)
        return pb.ListVolumesResponse(volumes=page, next_page_token=token)

    async def DeleteVolume(self, request: pb.DeleteVolumeRequest, context: Any) -> pb.DeleteVolumeResponse:
        operation = await self._use_cases.delete_volume(request.volume_id, request_id=request.request_id or None)
        return pb.DeleteVolumeResponse(operation=operation)

    async def ExpandVolume(self, request: pb.ExpandVolumeRequest, context: Any) -> pb.ExpandVolumeResponse:
        if request.validate_only:
            bricks = await self._use_cases.preview_expansion(request.volume_id, request.added_size_bytes)
            return pb.ExpandVolumeResponse(planned_bricks=bricks)
        operation = await self._use_cases.expand_volume(
            request.volume_id,
            request.added_size_bytes,
            rebalance=request.rebalance if request.HasField("rebalance") else None,
            request_id=request.request_id or None,
        )
        return pb.ExpandVolumeResponse(operation=operation)

    async def CloneVolume(self, request: pb.CloneVolumeRequest, context: Any) -> pb.CloneVolumeResponse:
        operation = await self._use_cases.clone_volume(
            request.volume_id, name=request.name, request_id=request.request_id or None
        )
        return pb.CloneVolumeResponse(operation=operation)

    async def EvictBrick(self, request: pb.EvictBrickRequest, context: Any) -> pb.EvictBrickResponse:
        operation = await self._use_cases.evict_brick(
            request.brick_id, skip_heal_check=request.skip_heal_check, request_id=request.request_id or None
        )
        return pb.EvictBrickResponse(operation=operation)

    async def GetVolumeHeal(self, request: pb.GetVolumeHealRequest, context: Any) -> pb.GetVolumeHealResponse:
        return pb.GetVolumeHealResponse(
            bricks=[
                pb.BrickHeal(
                    brick_id=brick_id, name=each.name, connected=each.connected, pending_count=each.pending_count
                )
                for brick_id, each in await self._use_cases.get_volume_heal(request.volume_id)
            ]
        )

    async def ResyncDevice(self, request: pb.ResyncDeviceRequest, context: Any) -> pb.ResyncDeviceResponse:
        operation = await self._use_cases.resync_device(request.device_id, request_id=request.request_id or None)
        return pb.ResyncDeviceResponse(operation=operation)

    async def CleanupOperations(
        self, request: pb.CleanupOperationsRequest, context: Any
    ) -> pb.CleanupOperationsResponse:
        await self._use_cases.cleanup_operations(request.operation_ids)
        return pb.CleanupOperationsResponse()

    async def Examine(self, request: examination_pb2.ExamineRequest, context: Any) -> examination_pb2.ExamineResponse:
        return report_message(await self._use_cases.examine(request.cluster_id))

    async def PlanRepair(
        self, request: examination_pb2.PlanRepairRequest, context: Any
    ) -> examination_pb2.PlanRepairResponse:
        plan, report = await self._use_cases.plan_repair(
            request.cluster_id, doomed_volume_ids=frozenset(request.doomed_volume_ids)
        )
        return plan_message(plan, report)

    async def Repair(
        self, request: examination_pb2.RepairRequest, context: Any
    ) -> AsyncIterator[examination_pb2.RepairResponse]:
        events = self._use_cases.repair(
            request.cluster_id,
            doomed_volume_ids=frozenset(request.doomed_volume_ids),
            removes_nothing=request.removes_nothing,
        )
        async for event in events:
            yield event_message(event)

    async def GetOperation(self, request: pb.GetOperationRequest, context: Any) -> pb.GetOperationResponse:
        return pb.GetOperationResponse(operation=await self._use_cases.get_operation(request.operation_id))

    async def ListOperations(self, request: pb.ListOperationsRequest, context: Any) -> pb.ListOperationsResponse:
        answer = await call_aio(
            self._operations.ListOperations,
            operation_service_pb2.ListOperationsRequest(
                page_size=request.page_size,
                page_token=request.page_token,
                unfinished_only=request.unfinished_only,
            ),
        )
        return pb.ListOperationsResponse(operations=answer.operations, next_page_token=answer.next_page_token)

    async def WatchOperation(
        self, request: pb.WatchOperationRequest, context: Any
    ) -> AsyncIterator[pb.WatchOperationResponse]:
        watched = operation_service_pb2.WatchOperationRequest(operation_id=request.operation_id)
        async for answer in stream_aio(self._operations.WatchOperation, watched):
            yield pb.WatchOperationResponse(operation=answer.operation)
