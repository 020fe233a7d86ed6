"""The verbs on block volumes, as a part of the agent's gRPC face: translates, and nothing else."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.executor.v1 import facts_pb2
from services.executor.block import commands
from services.executor.block.reports import BlockVolume
from services.executor.block_volumes import BlockSpec

if TYPE_CHECKING:
    import grpc

    from services.executor.node import Node


class BlockVerbs:
    """What the agent's servicer inherits; it brings the way to the node with it."""

    _node: Callable[..., Any]
    _read: Callable[..., Any]
    _change: Callable[..., Any]

    def CreateBlockVolume(
        self, request: messages.CreateBlockVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.CreateBlockVolumeResponse:
        """Makes a block volume; the answer has a secret, so the journal does not keep it."""

        def work(node: "Node") -> messages.CreateBlockVolumeResponse:
            access = node.create_block_volume(_block_spec(request))
            return messages.CreateBlockVolumeResponse(
                iqn=access.iqn, username=access.username, password=access.password
            )

        made: messages.CreateBlockVolumeResponse = self._change(
            context, request, messages.CreateBlockVolumeResponse, work, keep=False
        )
        return made

    def DeleteBlockVolume(
        self, request: messages.DeleteBlockVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.DeleteBlockVolumeResponse:
        """Removes a block volume."""

        def work(node: "Node") -> None:
            node.delete_block_volume(request.hosting_volume_name, request.name, request.block_volume_id)

        removed: messages.DeleteBlockVolumeResponse = self._change(
            context, request, messages.DeleteBlockVolumeResponse, work
        )
        return removed

    def ExpandBlockVolume(
        self, request: messages.ExpandBlockVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.ExpandBlockVolumeResponse:
        """Makes a block volume larger."""

        def work(node: "Node") -> messages.ExpandBlockVolumeResponse:
            found = node.expand_block_volume(request.hosting_volume_name, request.name, request.size_bytes)
            return messages.ExpandBlockVolumeResponse(block_volume=_facts(found))

        grown: messages.ExpandBlockVolumeResponse = self._change(
            context, request, messages.ExpandBlockVolumeResponse, work
        )
        return grown

    def GetBlockVolume(
        self, request: messages.GetBlockVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.GetBlockVolumeResponse:
        """A block volume as gluster-block describes it."""
        node = self._node(context)
        found = self._read(context, lambda: node.get_block_volume(request.hosting_volume_name, request.name))
        return messages.GetBlockVolumeResponse(block_volume=_facts(found))

    def ListBlockVolumes(
        self, request: messages.ListBlockVolumesRequest, context: "grpc.ServicerContext"
    ) -> messages.ListBlockVolumesResponse:
        """Names of the block volumes in a hosting volume."""
        node = self._node(context)
        names = self._read(context, lambda: node.list_block_volumes(request.hosting_volume_name))
        return messages.ListBlockVolumesResponse(names=names)


def _block_spec(request: messages.CreateBlockVolumeRequest) -> BlockSpec:
    return BlockSpec(
        block_volume_id=request.block_volume_id,
        hosting=request.hosting_volume_name,
        name=request.name,
        size_bytes=request.size_bytes,
        hosts=tuple(request.hosts),
        auth=request.auth,
        prealloc=request.prealloc or commands.FULL,
    )


def _facts(found: BlockVolume) -> facts_pb2.BlockVolumeFacts:
    """All but the password."""
    return facts_pb2.BlockVolumeFacts(
        name=found.name,
        iqn=found.iqn,
        size_bytes=found.size_bytes,
        usable_size_bytes=found.usable_bytes,
        ha_count=found.ha_count,
        hosts=found.hosts,
        failed_hosts=found.failed_hosts,
    )
