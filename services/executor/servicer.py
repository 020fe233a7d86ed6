"""The gRPC face of the agent: translates, and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.executor.v1 import executor_service_pb2_grpc as service
from brickyard.executor.v1 import facts_pb2
from brickyard.topology.v1 import device_pb2
from services.common.errors import UnavailableError
from services.common.reasons import Reason
from services.executor.node import Node, NodeLookup
from services.executor.policy import check_volume_id
from services.executor.requests import brick_message, brick_spec, brick_text, clone_spec, growth_spec, volume_spec
from services.executor.runners.base import CURRENT_SCOPE, CallScope, Mount, NodeLostError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from services.executor.lvm.reports import VolumeGroup
    from services.executor.peers import Glusterd

# Request metadata that selects a node, by the host name that it is managed under.
NODE_KEY = "brickyard-node"
_Answer = TypeVar("_Answer")
_Message = TypeVar("_Message", bound="Message")


class ExecutorServicer(service.ExecutorServiceServicer):
    """Serves one node, or a fleet of simulated ones.

    Args:
        lookup: Finds the node that a call is for.
    """

    def __init__(self, lookup: NodeLookup) -> None:
        self._lookup = lookup

    def _node(self, context: "grpc.ServicerContext") -> Node:
        given = dict(context.invocation_metadata()).get(NODE_KEY, "")
        return self._lookup(given if isinstance(given, str) else given.decode())

    @staticmethod
    def _read(context: "grpc.ServicerContext", work: Callable[[], _Answer]) -> _Answer:
        """Runs a read, whose commands end with the call."""
        scope = CallScope()
        context.add_callback(scope.close)
        token = CURRENT_SCOPE.set(scope)
        try:
            with _lost_as_unavailable():
                return work()
        finally:
            CURRENT_SCOPE.reset(token)

    def _change(
        self,
        context: "grpc.ServicerContext",
        request: "Message",
        answer: type[_Message],
        work: Callable[[Node], _Message | None],
    ) -> _Message:
        """Runs a change through the node's journal."""
        node = self._node(context)

        def run() -> bytes:
            made = work(node)
            return (answer() if made is None else made).SerializeToString()

        with _lost_as_unavailable():
            result = node.journal.run(
                request.request_id,  # type: ignore[attr-defined]
                type(request).__name__.removesuffix("Request"),
                request.SerializeToString(deterministic=True),
                run,
                wait_s=context.time_remaining(),
            )
        return answer.FromString(result)

    def GetNodeFacts(
        self, request: messages.GetNodeFactsRequest, context: "grpc.ServicerContext"
    ) -> messages.GetNodeFactsResponse:
        """What the agent sees on its node."""
        del request
        node = self._node(context)
        return messages.GetNodeFactsResponse(facts=self._read(context, lambda: _node_facts(node)))

    def GetGlusterd(
        self, request: messages.GetGlusterdRequest, context: "grpc.ServicerContext"
    ) -> messages.GetGlusterdResponse:
        """Whether glusterd answers, and its peers."""
        del request
        node = self._node(context)
        return messages.GetGlusterdResponse(glusterd=_glusterd(self._read(context, node.glusterd)))

    def ProbePeer(
        self, request: messages.ProbePeerRequest, context: "grpc.ServicerContext"
    ) -> messages.ProbePeerResponse:
        """Takes a host into the pool."""
        return self._change(
            context, request, messages.ProbePeerResponse, lambda node: node.probe_peer(request.hostname)
        )

    def DetachPeer(
        self, request: messages.DetachPeerRequest, context: "grpc.ServicerContext"
    ) -> messages.DetachPeerResponse:
        """Takes a host out of the pool."""
        return self._change(
            context, request, messages.DetachPeerResponse, lambda node: node.detach_peer(request.hostname)
        )

    def CreateDevice(
        self, request: messages.CreateDeviceRequest, context: "grpc.ServicerContext"
    ) -> messages.CreateDeviceResponse:
        """Makes a disk a volume group."""

        def work(node: Node) -> messages.CreateDeviceResponse:
            made = node.create_device(request.device_id, request.path, destroy_data=request.destroy_data)
            return messages.CreateDeviceResponse(facts=_device_facts(*made))

        return self._change(context, request, messages.CreateDeviceResponse, work)

    def GetDevice(
        self, request: messages.GetDeviceRequest, context: "grpc.ServicerContext"
    ) -> messages.GetDeviceResponse:
        """Measures a device."""
        node = self._node(context)
        found = self._read(context, lambda: node.get_device(request.device_id))
        return messages.GetDeviceResponse(facts=_device_facts(*found))

    def DeleteDevice(
        self, request: messages.DeleteDeviceRequest, context: "grpc.ServicerContext"
    ) -> messages.DeleteDeviceResponse:
        """Removes a device's volume group and physical volume."""
        return self._change(
            context, request, messages.DeleteDeviceResponse, lambda node: node.delete_device(request.device_id)
        )

    def CreateBrick(
        self, request: messages.CreateBrickRequest, context: "grpc.ServicerContext"
    ) -> messages.CreateBrickResponse:
        """Makes a brick."""
        return self._change(
            context,
            request,
            messages.CreateBrickResponse,
            lambda node: node.create_brick(brick_spec(node.policy, request.brick, gid=request.gid)),
        )

    def DeleteBrick(
        self, request: messages.DeleteBrickRequest, context: "grpc.ServicerContext"
    ) -> messages.DeleteBrickResponse:
        """Removes a brick."""
        return self._change(
            context,
            request,
            messages.DeleteBrickResponse,
            lambda node: messages.DeleteBrickResponse(
                thin_pool_removed=node.delete_brick(brick_spec(node.policy, request.brick, gid=0))
            ),
        )

    def CreateVolume(
        self, request: messages.CreateVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.CreateVolumeResponse:
        """Creates, sets up and starts a volume."""
        return self._change(
            context, request, messages.CreateVolumeResponse, lambda node: node.create_volume(volume_spec(request))
        )

    def DeleteVolume(
        self, request: messages.DeleteVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.DeleteVolumeResponse:
        """Stops and deletes a volume."""
        return self._change(
            context,
            request,
            messages.DeleteVolumeResponse,
            lambda node: node.delete_volume(
                request.name,
                check_volume_id(request.volume_id),
                [brick_text(brick) for brick in request.bricks],
            ),
        )

    def AddBricks(
        self, request: messages.AddBricksRequest, context: "grpc.ServicerContext"
    ) -> messages.AddBricksResponse:
        """Adds brick sets to a volume."""
        return self._change(
            context,
            request,
            messages.AddBricksResponse,
            lambda node: node.add_bricks(growth_spec(request, arbiter=request.arbiter), rebalance=request.rebalance),
        )

    def RemoveBricks(
        self, request: messages.RemoveBricksRequest, context: "grpc.ServicerContext"
    ) -> messages.RemoveBricksResponse:
        """Takes brick sets out of a volume."""
        return self._change(
            context,
            request,
            messages.RemoveBricksResponse,
            lambda node: node.remove_bricks(growth_spec(request, arbiter=False)),
        )

    def CloneVolume(
        self, request: messages.CloneVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.CloneVolumeResponse:
        """Copies a volume."""

        def work(node: Node) -> messages.CloneVolumeResponse:
            made = node.clone_volume(clone_spec(request))
            return messages.CloneVolumeResponse(
                bricks=[brick_message(brick) for brick in made.bricks], lv_names=made.lv_names
            )

        return self._change(context, request, messages.CloneVolumeResponse, work)

    def RemoveOrphanCopies(
        self, request: messages.RemoveOrphanCopiesRequest, context: "grpc.ServicerContext"
    ) -> messages.RemoveOrphanCopiesResponse:
        """Removes LVs that gluster made for copies and forgot."""

        def work(node: Node) -> messages.RemoveOrphanCopiesResponse:
            return messages.RemoveOrphanCopiesResponse(
                lv_names=node.remove_orphan_copies(request.device_id, request.thin_pool_name)
            )

        return self._change(context, request, messages.RemoveOrphanCopiesResponse, work)

    def GetVolume(
        self, request: messages.GetVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.GetVolumeResponse:
        """A volume as glusterd describes it."""
        node = self._node(context)
        found = self._read(context, lambda: node.get_volume(request.name))
        return messages.GetVolumeResponse(
            volume=facts_pb2.GlusterVolumeFacts(
                name=found.name, uuid=found.uuid, started=found.started, bricks=found.bricks, options=found.options
            )
        )


@contextmanager
def _lost_as_unavailable() -> Iterator[None]:
    """A node that is lost in the midst of a command answers nobody."""
    try:
        yield
    except NodeLostError as error:
        raise UnavailableError(Reason.AGENT_UNREACHABLE, str(error)) from error


def _device_facts(group: "VolumeGroup", paths: list[str]) -> device_pb2.DeviceFacts:
    return device_pb2.DeviceFacts(
        total_bytes=group.total_bytes,
        free_bytes=group.free_bytes,
        extent_size_bytes=group.extent_size_bytes,
        pv_uuid=group.pv_uuid,
        known_paths=paths,
    )


def _glusterd(state: "Glusterd") -> facts_pb2.GlusterdFacts:
    return facts_pb2.GlusterdFacts(
        running=state.running,
        version=state.version,
        peer_uuid=state.uuid,
        peers=[
            facts_pb2.PeerFacts(uuid=peer.uuid, hostname=peer.hostname, connected=peer.connected)
            for peer in state.peers
        ],
    )


def _mount(entry: Mount) -> facts_pb2.MountFacts:
    return facts_pb2.MountFacts(
        source=entry.source, mount_point=entry.mount_point, filesystem=entry.filesystem, options=entry.options
    )


def _node_facts(node: Node) -> facts_pb2.NodeFacts:
    storage = node.storage()
    return facts_pb2.NodeFacts(
        hostname=node.hostname(),
        glusterd=_glusterd(node.glusterd()),
        volume_groups=[
            facts_pb2.VolumeGroupFacts(
                name=group.name,
                total_bytes=group.total_bytes,
                free_bytes=group.free_bytes,
                extent_size_bytes=group.extent_size_bytes,
                pv_uuid=group.pv_uuid,
                pv_path=group.pv_path,
            )
            for group in storage.groups
        ],
        logical_volumes=[
            facts_pb2.LogicalVolumeFacts(
                name=volume.name,
                vg_name=volume.vg_name,
                size_bytes=volume.size_bytes,
                pool_name=volume.pool_name,
                thin_pool=volume.thin_pool,
                data_percent=volume.data_percent,
                metadata_percent=volume.metadata_percent,
            )
            for volume in storage.volumes
        ],
        brick_mounts=[_mount(entry) for entry in storage.brick_mounts],
        fstab_entries=[_mount(entry) for entry in storage.fstab],
        unused_disks=[facts_pb2.UnusedDiskFacts(path=disk.path, size_bytes=disk.size_bytes) for disk in storage.unused],
    )
