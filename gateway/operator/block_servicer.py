"""The RPCs over block volumes of OperatorService: translates messages to use cases and back, nothing else."""

from typing import Any

from brickyard.gateway.v1 import operator_service_pb2 as pb
from gateway.operator.paging import page_of
from gateway.usecases import NewBlockVolume, UseCases


class BlockVolumeServicer:
    """What the operators' servicer inherits; see the contract."""

    _use_cases: UseCases

    async def CreateBlockVolume(
        self, request: pb.CreateBlockVolumeRequest, context: Any
    ) -> pb.CreateBlockVolumeResponse:
        volume = NewBlockVolume(
            size_bytes=request.size_bytes,
            name=request.name,
            cluster_ids=tuple(request.cluster_ids),
            ha_count=request.ha_count,
            auth=request.auth,
        )
        operation = await self._use_cases.create_block_volume(volume, request_id=request.request_id or None)
        return pb.CreateBlockVolumeResponse(operation=operation)

    async def GetBlockVolume(self, request: pb.GetBlockVolumeRequest, context: Any) -> pb.GetBlockVolumeResponse:
        found = await self._use_cases.get_block_volume(request.block_volume_id)
        return pb.GetBlockVolumeResponse(block_volume=found)

    async def ListBlockVolumes(self, request: pb.ListBlockVolumesRequest, context: Any) -> pb.ListBlockVolumesResponse:
        volumes = await self._use_cases.list_block_volumes(request.cluster_id)
        page, token = page_of(volumes, lambda volume: volume.id, request)
        return pb.ListBlockVolumesResponse(block_volumes=page, next_page_token=token)

    async def ExpandBlockVolume(
        self, request: pb.ExpandBlockVolumeRequest, context: Any
    ) -> pb.ExpandBlockVolumeResponse:
        operation = await self._use_cases.expand_block_volume(
            request.block_volume_id, request.new_size_bytes, request_id=request.request_id or None
        )
        return pb.ExpandBlockVolumeResponse(operation=operation)

    async def DeleteBlockVolume(
        self, request: pb.DeleteBlockVolumeRequest, context: Any
    ) -> pb.DeleteBlockVolumeResponse:
        operation = await self._use_cases.delete_block_volume(
            request.block_volume_id, request_id=request.request_id or None
        )
        return pb.DeleteBlockVolumeResponse(operation=operation)

    async def SetBlockRestriction(
        self, request: pb.SetBlockRestrictionRequest, context: Any
    ) -> pb.SetBlockRestrictionResponse:
        operation = await self._use_cases.set_block_restriction(
            request.volume_id, request.restriction, request_id=request.request_id or None
        )
        return pb.SetBlockRestrictionResponse(operation=operation)
