"""The gRPC face of the agent: translates, and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.executor.v1 import executor_service_pb2_grpc as service
from brickyard.executor.v1 import facts_pb2
from brickyard.topology.v1 import device_pb2, volume_pb2
from services.common.errors import InvalidArgumentError, UnavailableError, UnimplementedError
from services.common.reasons import Reason
from services.executor.gluster import commands as gluster
from services.executor.node import Node, NodeLookup
from services.executor.policy import (
    BrickSpec,
    NodePolicy,
    check_brick_path,
    check_hostname,
    check_options,
    check_volume_id,
    check_volume_name,
)
from services.executor.runners.base import CURRENT_SCOPE, CallScope, Mount, NodeLostError
from services.executor.volumes import VolumeSpec

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from services.executor.lvm.reports import VolumeGroup
    from services.executor.peers import Glusterd

# Request metadata that selects a node, by the host name that it is managed under.
NODE_KEY = "brickyard-node"
_Answer = TypeVar("_Answer")
_Message = TypeVar("_Message", bound="Message")
# Bricks per set when the request does not say, as Heketi.
_DEFAULT_COPIES = 2
_MOST_COPIES = 3


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
            lambda node: node.create_brick(_brick_spec(node.policy, request.brick, gid=request.gid)),
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
                thin_pool_removed=node.delete_brick(_brick_spec(node.policy, request.brick, gid=0))
            ),
        )

    def CreateVolume(
        self, request: messages.CreateVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.CreateVolumeResponse:
        """Creates, sets up and starts a volume."""
        return self._change(
            context, request, messages.CreateVolumeResponse, lambda node: node.create_volume(_volume_spec(request))
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
                [_brick_text(brick) for brick in request.bricks],
            ),
        )

    def AddBricks(
        self, request: messages.AddBricksRequest, context: "grpc.ServicerContext"
    ) -> messages.AddBricksResponse:
        """Refused: volumes cannot be grown yet."""
        raise _not_yet("AddBricks", request, context)

    def RemoveBricks(
        self, request: messages.RemoveBricksRequest, context: "grpc.ServicerContext"
    ) -> messages.RemoveBricksResponse:
        """Refused: volumes cannot be grown yet, so there is nothing to take back."""
        raise _not_yet("RemoveBricks", request, context)

    def CloneVolume(
        self, request: messages.CloneVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.CloneVolumeResponse:
        """Refused: volumes cannot be copied yet."""
        raise _not_yet("CloneVolume", request, context)

    def RemoveOrphanCopies(
        self, request: messages.RemoveOrphanCopiesRequest, context: "grpc.ServicerContext"
    ) -> messages.RemoveOrphanCopiesResponse:
        """Refused: volumes cannot be copied yet, so there are no orphans."""
        raise _not_yet("RemoveOrphanCopies", request, context)

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


def _not_yet(method: str, request: "Message", context: "grpc.ServicerContext") -> UnimplementedError:
    del request, context
    return UnimplementedError(
        Reason.NOT_SUPPORTED_YET, f"{method} is not offered by this version of the agent", method=method
    )


@contextmanager
def _lost_as_unavailable() -> Iterator[None]:
    """A node that is lost in the midst of a command answers nobody."""
    try:
        yield
    except NodeLostError as error:
        raise UnavailableError(Reason.AGENT_UNREACHABLE, str(error)) from error


def _brick_spec(policy: NodePolicy, brick: volume_pb2.Brick, *, gid: int) -> BrickSpec:
    return policy.brick(
        brick_id=brick.id,
        device_id=brick.device_id,
        lv_name=brick.lv_name,
        pool_name=brick.thin_pool_name,
        path=brick.path,
        size_bytes=brick.size_bytes,
        pool_bytes=brick.thin_pool_size_bytes,
        metadata_bytes=brick.pool_metadata_size_bytes,
        arbiter=brick.role == volume_pb2.BRICK_ROLE_ARBITER,
        gid=gid,
    )


def _volume_spec(request: messages.CreateVolumeRequest) -> VolumeSpec:
    layout = _layout(request.durability, arbiter=request.arbiter)
    if not request.bricks or len(request.bricks) % layout.set_size:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"bricks: {len(request.bricks)} are not a multiple of {layout.set_size}",
            field="bricks",
            count=len(request.bricks),
        )
    return VolumeSpec(
        volume_id=check_volume_id(request.volume_id),
        name=check_volume_name(request.name),
        layout=layout,
        bricks=tuple(_brick_text(brick) for brick in request.bricks),
        options=tuple(check_options(request.options)),
    )


def _brick_text(brick: messages.GlusterBrick) -> str:
    return f"{check_hostname(brick.hostname)}:{check_brick_path(brick.path)}"


def _layout(durability: volume_pb2.Durability, *, arbiter: bool) -> gluster.VolumeLayout:
    kind = durability.type
    if kind == volume_pb2.DURABILITY_TYPE_NONE:
        return gluster.DISTRIBUTED
    if kind == volume_pb2.DURABILITY_TYPE_REPLICATE:
        copies = durability.replica_count or _DEFAULT_COPIES
        if copies == 1 and not arbiter:
            # gluster refuses "replica 1"; one copy is what a distributed volume has.
            return gluster.DISTRIBUTED
        if 1 < copies <= _MOST_COPIES and (not arbiter or copies == _MOST_COPIES):
            return gluster.replicated(copies, arbiter=arbiter)
    if (
        kind == volume_pb2.DURABILITY_TYPE_DISPERSE
        and 1 <= durability.redundancy_count < durability.data_count <= 1 << 8
    ):
        return gluster.dispersed(durability.data_count, durability.redundancy_count)
    raise InvalidArgumentError(
        Reason.INVALID_ARGUMENT, "durability: type and counts do not make a volume", field="durability"
    )


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
