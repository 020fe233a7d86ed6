"""What operations that move bricks need besides the agents: what is where, operations of their own, and their ends."""

from collections.abc import Callable, Sequence
from typing import Protocol

from brickyard.topology.v1.device_pb2 import Device
from brickyard.topology.v1.operation_pb2 import Operation
from services.common.errors import BrickyardError, FailedPreconditionError
from services.common.reasons import Reason


class Moves(Protocol):
    """The gateway as operations see it that consist of others. Services that are away for a moment are waited for."""

    async def device(self, device_id: str) -> Device:
        """A device with its bricks, without those that an operation holds."""

    async def devices_of_node(self, node_id: str) -> Sequence[Device]:
        """All devices of a node, the same way."""

    async def children(self, parent_id: str) -> Sequence[Operation]:
        """The unfinished operations that belong to another one, oldest first."""

    async def evict(self, brick_id: str, *, skip_heal_check: bool, parent_id: str) -> Operation | None:
        """Begins to move a brick, or joins it, for an operation; None when there is no such brick any more."""

    async def remove_device(self, device_id: str, *, skip_heal_check: bool, parent_id: str) -> Operation:
        """Begins to move all bricks of a device, or joins it, for an operation."""

    async def ended(self, operation: Operation, on_change: Callable[[Operation], None]) -> Operation:
        """An operation when it has ended, or waits for a node in vain; told of every change."""


def failure_of(child: Operation, **more: str) -> BrickyardError:
    """The error of an operation, for the one that it belongs to; `more` is added to the variables of its text."""
    known = Reason.__members__.get(child.error.reason, Reason.INTERNAL)
    return FailedPreconditionError(known, child.error.message, **{**dict(child.error.metadata), **more})
