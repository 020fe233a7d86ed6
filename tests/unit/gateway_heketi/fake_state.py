"""What the use cases in memory share: objects, errors on demand, and operations that end at once or after polls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from brickyard.topology.v1 import cluster_pb2, device_pb2, node_pb2, operation_pb2, volume_pb2
from services.common.errors import BrickyardError, NotFoundError
from services.common.ids import new_id
from services.common.reasons import Reason

LEASE_S = 3600


@dataclass
class FakeState:
    """Everything that the use cases know.

    `failures` maps a method to the error that it raises next; `calls` holds every change with its arguments.
    An operation stays running for `pending_polls` polls.
    """

    pending_polls: int = 0
    failures: dict[str, BrickyardError] = field(default_factory=dict)
    crashes: dict[str, Exception] = field(default_factory=dict)
    calls: list[tuple[str, object, str | None]] = field(default_factory=list)
    clusters: dict[str, cluster_pb2.Cluster] = field(default_factory=dict)
    nodes: dict[str, node_pb2.Node] = field(default_factory=dict)
    devices: dict[str, device_pb2.Device] = field(default_factory=dict)
    volumes: dict[str, volume_pb2.Volume] = field(default_factory=dict)
    operations: dict[str, operation_pb2.Operation] = field(default_factory=dict)
    _endings: dict[str, Callable[[], None]] = field(default_factory=dict)
    _polls: dict[str, int] = field(default_factory=dict)

    def _called(self, method: str, argument: object = None, request_id: str | None = None) -> None:
        self.calls.append((method, argument, request_id))
        if method in self.crashes:
            raise self.crashes.pop(method)
        if method in self.failures:
            raise self.failures.pop(method)

    def _begin(
        self,
        kind: operation_pb2.OperationKind.ValueType,
        spec: operation_pb2.OperationSpec,
        target_id: str,
        ending: Callable[[], None],
    ) -> operation_pb2.Operation:
        operation = operation_pb2.Operation(
            id=new_id(), kind=kind, spec=spec, target_id=target_id, state=operation_pb2.OPERATION_STATE_RUNNING
        )
        operation.lease_expire_time.FromSeconds(int(time.time()) + LEASE_S)
        self.operations[operation.id] = operation
        self._endings[operation.id] = ending
        self._polls[operation.id] = self.pending_polls
        if not self.pending_polls:
            self._end(operation)
        return operation

    def _end(self, operation: operation_pb2.Operation) -> None:
        try:
            self._endings.pop(operation.id)()
        except BrickyardError as error:
            operation.error.reason, operation.error.message = error.reason.value, error.message
            operation.error.metadata.update(error.metadata)
            operation.state = operation_pb2.OPERATION_STATE_FAILED
        else:
            operation.state = operation_pb2.OPERATION_STATE_SUCCEEDED

    async def get_operation(self, operation_id: str) -> operation_pb2.Operation:
        self._called("get_operation", operation_id)
        operation = self.operations.get(operation_id)
        if operation is None:
            raise NotFoundError(Reason.OPERATION_NOT_FOUND, "no such operation", operation_id=operation_id)
        if operation_id in self._endings:
            if not self._polls[operation_id]:
                self._end(operation)
            self._polls[operation_id] -= 1
        return operation

    async def poll_operation(self, operation_id: str) -> operation_pb2.Operation | None:
        operation = await self.get_operation(operation_id)
        return None if operation_id in self._endings and not operation.stalled else operation

    async def list_operations(self, *, unfinished_only: bool = False) -> Sequence[operation_pb2.Operation]:
        self._called("list_operations", unfinished_only)
        found = list(reversed(self.operations.values()))
        return [each for each in found if each.id in self._endings] if unfinished_only else found

    async def cleanup_operations(self, operation_ids: Sequence[str] = ()) -> None:
        self._called("cleanup_operations", tuple(operation_ids))
