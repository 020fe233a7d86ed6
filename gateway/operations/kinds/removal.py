"""Change the state of a node or device; one that is given up is emptied before, brick by brick."""

from brickyard.topology.v1.device_pb2 import DEVICE_STATE_FAILED, DEVICE_STATE_OFFLINE
from brickyard.topology.v1.node_pb2 import NODE_STATE_FAILED, NODE_STATE_OFFLINE
from brickyard.topology.v1.operation_pb2 import OPERATION_STATE_SUCCEEDED, Operation
from brickyard.topology.v1.operation_service_pb2 import CommitOperationRequest
from gateway.operations.moves import failure_of
from gateway.operations.work import Work, node_with_id
from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason


class SetDeviceState:
    """The topology decides; before a device may be failed, each of its bricks is moved by an operation of its own.

    The first failure stops it. Bricks that were moved stay moved, and asking again goes on with the rest.
    """

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.set_device_state
        work.progress.total_steps = 0
        if spec.state == DEVICE_STATE_FAILED:
            device = await work.the_moves.device(spec.device_id)
            # Any other state is for the topology to refuse, before a brick is moved.
            if spec.parent_operation_id or device.state == DEVICE_STATE_OFFLINE:
                await self._empty(work)
        return CommitOperationRequest()

    async def _empty(self, work: Work) -> None:
        spec = work.operation.spec.set_device_state
        taken_over = work.operation.attempt_count > 1
        if spec.blocking_operation_id and not taken_over:
            raise FailedPreconditionError(
                Reason.TARGET_BUSY,
                "The target exists, contains other items, or is in use.",
                device_id=spec.device_id,
                operation_id=spec.blocking_operation_id,
            )
        moves = work.the_moves
        progress = _Bricks(work)
        for child in await moves.children(work.operation.id) if taken_over else ():
            # The brick that was on its way when the last driver died; the device does not list it.
            await self._await(work, child, progress, remaining=len((await moves.device(spec.device_id)).bricks) + 1)
        while True:
            bricks = sorted((await moves.device(spec.device_id)).bricks, key=lambda brick: brick.id)
            if not bricks:
                return
            begun = await moves.evict(bricks[0].id, skip_heal_check=spec.skip_heal_check, parent_id=work.operation.id)
            # None: its volume was deleted in between.
            if begun is not None:
                await self._await(work, begun, progress, remaining=len(bricks))

    @staticmethod
    async def _await(work: Work, child: Operation, progress: "_Bricks", *, remaining: int) -> None:
        ended = await work.the_moves.ended(child, lambda each: progress.tell(each, remaining=remaining))
        if ended.state != OPERATION_STATE_SUCCEEDED:
            raise failure_of(ended)

    async def undo(self, work: Work) -> None:
        """Nothing to take back: bricks that were moved stay moved, and the state is as before."""


class SetNodeState:
    """The topology decides; before a node may be failed, each of its devices is, by an operation of its own.

    The first failure stops it. Devices that were emptied stay failed, and asking again goes on with the rest.
    """

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.set_node_state
        work.progress.total_steps = 0
        if spec.state == NODE_STATE_FAILED:
            nodes = await work.nodes_by_id(work.operation.cluster_id)
            if node_with_id(nodes, spec.node_id).state == NODE_STATE_OFFLINE:
                await self._empty(work)
        return CommitOperationRequest()

    async def _empty(self, work: Work) -> None:
        spec = work.operation.spec.set_node_state
        moves = work.the_moves
        progress = _Bricks(work)
        devices = sorted(await moves.devices_of_node(spec.node_id), key=lambda device: device.id)
        for position, device in enumerate(devices):
            if device.state == DEVICE_STATE_FAILED and not device.bricks:
                continue
            later = sum(len(each.bricks) for each in devices[position + 1 :])
            child = await moves.remove_device(
                device.id, skip_heal_check=spec.skip_heal_check, parent_id=work.operation.id
            )
            remaining = later + len(device.bricks)
            ended = await moves.ended(
                child,
                lambda each, remaining=remaining: progress.tell(each, remaining=remaining),  # type: ignore[misc]
            )
            if ended.state != OPERATION_STATE_SUCCEEDED:
                raise failure_of(ended, device_id=device.id)

    async def undo(self, work: Work) -> None:
        """Nothing to take back: devices that were emptied stay failed, and the node's state is as before."""


class _Bricks:
    """How many bricks there are, and at which of them it is; a take-over goes on counting."""

    def __init__(self, work: Work) -> None:
        self._progress = work.progress
        self._total = work.operation.progress.total_step_count

    def tell(self, child: Operation, *, remaining: int) -> None:
        """Takes over the progress of the child; `remaining` bricks were left when it began."""
        self._total = max(self._total, remaining)
        done = self._total - remaining
        inner = child.progress
        if child.spec.WhichOneof("kind") == "set_device_state":
            done += inner.completed_step_count
            step = inner.step
        else:
            step = f"move brick {done + 1} of {self._total}"
            step = f"{step}: {inner.step}" if inner.step else step
        self._progress.total_steps = self._total
        self._progress.completed_steps = min(done, self._total)
        self._progress.step, self._progress.node_hostname = step, inner.node_hostname
