"""The gRPC face of the agent: translates, and nothing else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.executor.v1 import executor_service_pb2_grpc as service
from brickyard.executor.v1 import facts_pb2
from services.common.errors import InvalidArgumentError, UnavailableError
from services.common.reasons import Reason
from services.executor.audit import audited
from services.executor.block_servicer import BlockVerbs
from services.executor.fact_messages import device_facts, gluster_volume, glusterd, node_facts
from services.executor.journal import FIRST_EPOCH, NO_EPOCH
from services.executor.looks import Looks
from services.executor.node import Node, NodeLookup
from services.executor.policy import check_operation_id, check_volume_id
from services.executor.requests import (
    brick_message,
    brick_spec,
    brick_text,
    clone_spec,
    fact_age_s,
    growth_spec,
    replacement_spec,
    volume_spec,
)
from services.executor.runners.base import CURRENT_SCOPE, CallScope, NodeLostError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message


# Request metadata that selects a node, by the host name that it is managed under.
NODE_KEY = "brickyard-node"
# Request metadata that tells in which epoch of its operation a change is asked for.
EPOCH_KEY = "brickyard-epoch"
_MAX_EPOCH = 2**63 - 1
_Answer = TypeVar("_Answer")
_Message = TypeVar("_Message", bound="Message")


class ExecutorServicer(BlockVerbs, service.ExecutorServiceServicer):
    """Serves one node, or a fleet of simulated ones.

    Args:
        lookup: Finds the node that a call is for.
    """

    def __init__(self, lookup: NodeLookup) -> None:
        self._lookup = lookup
        self._looks_at: dict[Node, Looks[facts_pb2.NodeFacts]] = {}
        self._looks_lock = Lock()

    def _looks(self, node: Node) -> Looks[facts_pb2.NodeFacts]:
        with self._looks_lock:
            return self._looks_at.setdefault(node, Looks(partial(node_facts, node)))

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
        *,
        keep: bool = True,
    ) -> _Message:
        """Runs a change through the node's journal, which keeps the answer unless it has a secret."""
        node = self._node(context)

        def run() -> bytes:
            made = work(node)
            return (answer() if made is None else made).SerializeToString()

        method = type(request).__name__.removesuffix("Request")
        with audited(method, request.request_id, node), _lost_as_unavailable():  # type: ignore[attr-defined]
            result = node.journal.run(
                request.request_id,  # type: ignore[attr-defined]
                method,
                request.SerializeToString(deterministic=True),
                run,
                epoch=_epoch(context),
                wait_s=context.time_remaining(),
                keep=keep,
            )
        return answer.FromString(result)

    def FenceOperation(
        self, request: messages.FenceOperationRequest, context: "grpc.ServicerContext"
    ) -> messages.FenceOperationResponse:
        """Ends the earlier epochs of an operation."""
        operation_id = check_operation_id(request.operation_id)
        if request.epoch < FIRST_EPOCH:
            raise InvalidArgumentError(Reason.INVALID_ARGUMENT, "epoch: must be 1 or more", field="epoch")
        node = self._node(context)
        with audited("FenceOperation", operation_id, node), _lost_as_unavailable():
            node.journal.fence(operation_id, request.epoch, wait_s=context.time_remaining())
        return messages.FenceOperationResponse()

    def GetNodeFacts(
        self, request: messages.GetNodeFactsRequest, context: "grpc.ServicerContext"
    ) -> messages.GetNodeFactsResponse:
        """What the agent sees on its node."""
        node = self._node(context)
        answer = messages.GetNodeFactsResponse()
        if max_age_s := fact_age_s(request):
            left = context.time_remaining()
            # What was seen last has to be on its way before the caller gives up.
            wait_s = None if left is None else max(0.0, left - min(1.0, left / 4))
            with _lost_as_unavailable():
                facts, age_s = self._looks(node).newest(wait_s=wait_s, max_age_s=max_age_s)
        else:
            began = time.monotonic()
            facts = self._read(context, lambda: node_facts(node))
            age_s = time.monotonic() - began
        answer.facts.CopyFrom(facts)
        answer.age.FromMicroseconds(int(age_s * 1_000_000))
        return answer

    def GetGlusterd(
        self, request: messages.GetGlusterdRequest, context: "grpc.ServicerContext"
    ) -> messages.GetGlusterdResponse:
        """Whether glusterd answers, and its peers."""
        del request
        node = self._node(context)
        state = self._read(context, node.glusterd)
        return messages.GetGlusterdResponse(glusterd=glusterd(state, gluster_block=node.has_gluster_block()))

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
            context,
            request,
            messages.DetachPeerResponse,
            lambda node: node.detach_peer(request.hostname, force=request.force),
        )

    def CreateDevice(
        self, request: messages.CreateDeviceRequest, context: "grpc.ServicerContext"
    ) -> messages.CreateDeviceResponse:
        """Makes a disk a volume group."""

        def work(node: Node) -> messages.CreateDeviceResponse:
            made = node.create_device(request.device_id, request.path, destroy_data=request.destroy_data)
            return messages.CreateDeviceResponse(facts=device_facts(*made))

        return self._change(context, request, messages.CreateDeviceResponse, work)

    def GetDevice(
        self, request: messages.GetDeviceRequest, context: "grpc.ServicerContext"
    ) -> messages.GetDeviceResponse:
        """Measures a device."""
        node = self._node(context)
        found = self._read(context, lambda: node.get_device(request.device_id))
        return messages.GetDeviceResponse(facts=device_facts(*found))

    def GrowDevice(
        self, request: messages.GrowDeviceRequest, context: "grpc.ServicerContext"
    ) -> messages.GrowDeviceResponse:
        """Takes up what the disk of a device has grown by."""
        return self._change(
            context,
            request,
            messages.GrowDeviceResponse,
            lambda node: messages.GrowDeviceResponse(facts=device_facts(*node.grow_device(request.device_id))),
        )

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

    def SyncBricks(
        self, request: messages.SyncBricksRequest, context: "grpc.ServicerContext"
    ) -> messages.SyncBricksResponse:
        """Writes what bricks hold to their disks."""
        return self._change(
            context,
            request,
            messages.SyncBricksResponse,
            lambda node: node.sync_bricks([brick_spec(node.policy, brick, gid=0) for brick in request.bricks]),
        )

    def CreateVolume(
        self, request: messages.CreateVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.CreateVolumeResponse:
        """Creates, sets up and starts a volume."""
        return self._change(
            context,
            request,
            messages.CreateVolumeResponse,
            lambda node: node.create_volume(volume_spec(node.policy, request)),
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

    def ReplaceBrick(
        self, request: messages.ReplaceBrickRequest, context: "grpc.ServicerContext"
    ) -> messages.ReplaceBrickResponse:
        """Puts a brick of this node in the place of another one."""
        return self._change(
            context,
            request,
            messages.ReplaceBrickResponse,
            lambda node: node.replace_brick(replacement_spec(node.policy, request), brick_text(request.old_brick)),
        )

    def SettleReplacement(
        self, request: messages.SettleReplacementRequest, context: "grpc.ServicerContext"
    ) -> messages.SettleReplacementResponse:
        """Whether a brick has its place in a volume."""
        return self._change(
            context,
            request,
            messages.SettleReplacementResponse,
            lambda node: messages.SettleReplacementResponse(
                replaced=node.settle_replacement(replacement_spec(node.policy, request))
            ),
        )

    def GetHealStatus(
        self, request: messages.GetHealStatusRequest, context: "grpc.ServicerContext"
    ) -> messages.GetHealStatusResponse:
        """What the bricks of a volume have to heal."""
        node = self._node(context)
        found = self._read(context, lambda: node.heal_status(request.name))
        return messages.GetHealStatusResponse(
            bricks=[
                facts_pb2.BrickHealFacts(name=each.name, connected=each.connected, pending_count=each.pending_count)
                for each in found
            ]
        )

    def GetVolume(
        self, request: messages.GetVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.GetVolumeResponse:
        """A volume as glusterd describes it."""
        node = self._node(context)
        found = self._read(context, lambda: node.get_volume(request.name))
        return messages.GetVolumeResponse(volume=gluster_volume(found))

    def ListVolumes(
        self, request: messages.ListVolumesRequest, context: "grpc.ServicerContext"
    ) -> messages.ListVolumesResponse:
        """All volumes and snapshots as glusterd describes them."""
        del request
        node = self._node(context)
        volumes, snapshots = self._read(context, node.list_volumes)
        return messages.ListVolumesResponse(
            volumes=[gluster_volume(each) for each in volumes],
            snapshots=[
                facts_pb2.GlusterSnapshotFacts(name=each.name, volume_name=each.volume, source_name=each.source)
                for each in snapshots
            ],
        )

    def RestoreBrick(
        self, request: messages.RestoreBrickRequest, context: "grpc.ServicerContext"
    ) -> messages.RestoreBrickResponse:
        """Brings back mount and fstab entry of a brick."""

        def work(node: Node) -> messages.RestoreBrickResponse:
            done = node.restore_brick(brick_spec(node.policy, request.brick, gid=0))
            return messages.RestoreBrickResponse(mounted=done.mounted, listed=done.listed, taken_over=done.taken_over)

        return self._change(context, request, messages.RestoreBrickResponse, work)

    def RemoveOrphanBrick(
        self, request: messages.RemoveOrphanBrickRequest, context: "grpc.ServicerContext"
    ) -> messages.RemoveOrphanBrickResponse:
        """Removes a brick that nobody knows."""

        def work(node: Node) -> messages.RemoveOrphanBrickResponse:
            return messages.RemoveOrphanBrickResponse(
                thin_pool_removed=node.remove_orphan_brick(request.device_id, request.brick_id)
            )

        return self._change(context, request, messages.RemoveOrphanBrickResponse, work)

    def StartVolume(
        self, request: messages.StartVolumeRequest, context: "grpc.ServicerContext"
    ) -> messages.StartVolumeResponse:
        """Starts a volume, or what it lacks."""
        return self._change(
            context,
            request,
            messages.StartVolumeResponse,
            lambda node: node.start_volume(request.name, request.volume_id, force=request.force),
        )


def _epoch(context: "grpc.ServicerContext") -> int:
    """The epoch of the caller's operation; NO_EPOCH for one who does not say.

    Raises:
        InvalidArgumentError: It is no number of 1 or more.
    """
    given = dict(context.invocation_metadata()).get(EPOCH_KEY)
    if given is None:
        return NO_EPOCH
    text = given if isinstance(given, str) else given.decode("ascii", "replace")
    if not (text.isascii() and text.isdigit() and FIRST_EPOCH <= int(text) <= _MAX_EPOCH):
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT, f"metadata {EPOCH_KEY}: {text!r} is no epoch", field=EPOCH_KEY
        )
    return int(text)


@contextmanager
def _lost_as_unavailable() -> Iterator[None]:
    """A node that is lost in the midst of a command answers nobody."""
    try:
        yield
    except NodeLostError as error:
        raise UnavailableError(Reason.AGENT_UNREACHABLE, str(error)) from error
