"""Add, measure and delete a device."""

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2 import CommitOperationRequest
from gateway.operations.fencing import fence
from gateway.operations.work import Work, node_with_id
from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()


class AddDevice:
    """The agent makes the volume group and measures it; the topology learns the sizes."""

    redo_after_crash = False
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.add_device
        work.progress.total_steps = 1
        answer: executor_pb2.CreateDeviceResponse = await work.change(
            await _node(work, spec.device.node_id),
            "CreateDevice",
            executor_pb2.CreateDeviceRequest(
                device_id=spec.device.id, path=spec.device.path, destroy_data=spec.destroy_data
            ),
            step="create volume group",
            key="create-device",
        )
        return CommitOperationRequest(device_facts=answer.facts)

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`."""
        device = work.operation.spec.add_device.device
        work.progress.total_steps = 1
        node = await _node(work, device.node_id)
        await fence(work, [node])
        await work.change(
            node,
            "DeleteDevice",
            executor_pb2.DeleteDeviceRequest(device_id=device.id),
            step="remove volume group",
            key=f"{work.undo_key}/delete-device",
        )


class DeleteDevice:
    """The agent removes the volume group; with force-forget it does not matter whether it can: the disk may be dead."""

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.delete_device
        work.progress.total_steps = 1
        try:
            await work.change(
                await _node(work, spec.device.node_id),
                "DeleteDevice",
                executor_pb2.DeleteDeviceRequest(device_id=spec.device.id),
                step="remove volume group",
                key="delete-device",
            )
        except BrickyardError as error:
            if not spec.force_forget or error.reason is Reason.LEASE_LOST:
                raise
            _log.warning("device.forgotten", device_id=spec.device_id, path=spec.device.path, error=error.message)
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """Nothing to take back: the device stays, and deleting it again goes on where this one stopped."""


class ResyncDevice:
    """The agent measures the device; the topology takes the new sizes and keeps its reservations."""

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        device = work.operation.spec.resync_device.device
        work.progress.total_steps = 1
        answer: executor_pb2.GrowDeviceResponse = await work.change(
            await _node(work, device.node_id),
            "GrowDevice",
            executor_pb2.GrowDeviceRequest(device_id=device.id),
            step="measure device",
            key="grow-device",
        )
        return CommitOperationRequest(device_facts=answer.facts)

    async def undo(self, work: Work) -> None:
        """Nothing was done."""


async def _node(work: Work, node_id: str) -> Node:
    return node_with_id(await work.nodes_by_id(work.operation.cluster_id), node_id)
