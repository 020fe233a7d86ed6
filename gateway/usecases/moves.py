"""The gateway's own side of `Moves`: operations that an operation consists of."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from brickyard.topology.v1 import device_pb2, operation_pb2, operation_service_pb2
from gateway.operations.engine import has_ended
from gateway.usecases.volumes import GatewayUseCases
from services.common.channels import stream_aio
from services.common.errors import NotFoundError, TimeLimitError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
_Answer = TypeVar("_Answer")
_PAUSE_S = 0.5
_AWAY = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED})


class GatewayMoves:
    """See `Moves`. A child's request id comes from its parent's id and its target, so that it is begun once."""

    def __init__(self, use_cases: Callable[[], GatewayUseCases], operations: Any) -> None:
        """`use_cases` gives the gateway's own, once they are there; `operations` is a stub of OperationService."""
        self._late = use_cases
        self._operations = operations

    @property
    def _use_cases(self) -> GatewayUseCases:
        return self._late()

    async def device(self, device_id: str) -> device_pb2.Device:
        """See `Moves`."""
        return await _patiently(lambda: self._use_cases.get_device(device_id))

    async def devices_of_node(self, node_id: str) -> Sequence[device_pb2.Device]:
        """See `Moves`."""
        _node, devices = await _patiently(lambda: self._use_cases.get_node(node_id))
        return devices

    async def children(self, parent_id: str) -> Sequence[operation_pb2.Operation]:
        """See `Moves`."""
        unfinished = await _patiently(lambda: self._use_cases.list_operations(unfinished_only=True))
        return [each for each in reversed(unfinished) if parent_of(each) == parent_id]

    async def evict(self, brick_id: str, *, skip_heal_check: bool, parent_id: str) -> operation_pb2.Operation | None:
        """See `Moves`."""
        try:
            return await _patiently(
                lambda: self._use_cases.evict_brick(
                    brick_id,
                    skip_heal_check=skip_heal_check,
                    request_id=_request_id(parent_id, brick_id),
                    parent_id=parent_id,
                )
            )
        except NotFoundError as error:
            if error.reason is Reason.BRICK_NOT_FOUND:
                return None
            raise

    async def remove_device(self, device_id: str, *, skip_heal_check: bool, parent_id: str) -> operation_pb2.Operation:
        """See `Moves`."""
        return await _patiently(
            lambda: self._use_cases.set_device_state(
                device_id,
                device_pb2.DEVICE_STATE_FAILED,
                skip_heal_check=skip_heal_check,
                request_id=_request_id(parent_id, device_id),
                parent_id=parent_id,
            )
        )

    async def ended(
        self, operation: operation_pb2.Operation, on_change: Callable[[operation_pb2.Operation], None]
    ) -> operation_pb2.Operation:
        """See `Moves`."""
        request = operation_service_pb2.WatchOperationRequest(operation_id=operation.id)
        found = operation
        while not (has_ended(found) or found.stalled):
            on_change(found)
            try:
                async for answer in stream_aio(self._operations.WatchOperation, request):
                    found = answer.operation
                    if has_ended(found) or found.stalled:
                        break
                    on_change(found)
            except (UnavailableError, TimeLimitError) as error:
                _log.warning("operation.child_unseen", operation_id=operation.id, message=error.message)
                await asyncio.sleep(_PAUSE_S)
        return found


def parent_of(operation: operation_pb2.Operation) -> str:
    """Id of the operation that another one belongs to; empty when it belongs to none."""
    spec = operation.spec
    return spec.evict_brick.parent_operation_id or spec.set_device_state.parent_operation_id


def _request_id(parent_id: str, target_id: str) -> str:
    return hashlib.sha256(f"{parent_id}/{target_id}".encode()).hexdigest()


async def _patiently(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Repeats a call while a service is away, or this gateway takes nothing new because it stops."""
    while True:
        try:
            return await call()
        except (UnavailableError, TimeLimitError) as error:
            if error.reason not in _AWAY:
                raise
            _log.warning("operation.waits_for_service", message=error.message)
        await asyncio.sleep(_PAUSE_S)
