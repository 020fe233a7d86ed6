"""Stubs that answer in this process."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from grpc.aio import AioRpcError, Metadata

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import operation_pb2, records_pb2, topology_service_pb2
from gateway.cli.connection import Connection
from services.common.errors import BrickyardError, to_status

NOW_S = 1_700_000_000


def rpc_error(error: BrickyardError) -> AioRpcError:
    """The error as it comes off the wire."""
    status = to_status(error)
    return AioRpcError(error.code, Metadata(), Metadata(*status.trailing_metadata), details=error.message)


def operation(number: int = 1, **changes: Any) -> operation_pb2.Operation:
    """A volume that is being made."""
    made = operation_pb2.Operation(
        id=f"{number:032x}",
        kind=operation_pb2.OPERATION_KIND_CREATE_VOLUME,
        target_id="f" * 32,
        cluster_id="c" * 32,
        state=operation_pb2.OPERATION_STATE_RUNNING,
        owner="gateway-a-1",
        attempt_count=1,
        request_id="my-request",
        revision=7,
        progress=operation_pb2.OperationProgress(
            completed_step_count=2, total_step_count=5, step="create brick", node_hostname="node2"
        ),
    )
    made.spec.create_volume.volume.name = "vol [red]x"
    made.create_time.FromSeconds(NOW_S)
    made.lease_expire_time.FromSeconds(NOW_S + 15)
    made.MergeFrom(operation_pb2.Operation(**changes))
    return made


def succeeded(number: int = 1) -> operation_pb2.Operation:
    """The same, made."""
    return operation(number, state=operation_pb2.OPERATION_STATE_SUCCEEDED)


def failed(number: int = 1, reason: str = "GLUSTER_FAILED") -> operation_pb2.Operation:
    """The same, failed."""
    error = operation_pb2.OperationError(
        reason=reason, message="volume create: failed\nline [bold]two", metadata={"node": "node2"}
    )
    return operation(number, state=operation_pb2.OPERATION_STATE_FAILED, error=error)


@dataclass
class FakeOperator:
    """An OperatorService. `watched` holds what a watch tells, by id; the last one told ends the stream."""

    operations: list[operation_pb2.Operation] = field(default_factory=list)
    watched: dict[str, list[operation_pb2.Operation | BaseException]] = field(default_factory=lambda: defaultdict(list))
    failure: BrickyardError | None = None
    page: int = 1000
    requests: list[Any] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def _called(self, request: Any) -> None:
        self.requests.append(request)
        if self.failure is not None:
            raise rpc_error(self.failure)

    async def ListOperations(self, request: pb.ListOperationsRequest, **_call: Any) -> pb.ListOperationsResponse:  # noqa: N802 - the contract's name
        self._called(request)
        found: Sequence[operation_pb2.Operation] = self.operations
        if request.unfinished_only:
            found = [each for each in found if not each.HasField("end_time") and each.state < 4]
        begin = int(request.page_token or 0)
        end = begin + min(request.page_size, self.page)
        return pb.ListOperationsResponse(
            operations=found[begin:end], next_page_token=str(end) if end < len(found) else ""
        )

    async def GetOperation(self, request: pb.GetOperationRequest, **_call: Any) -> pb.GetOperationResponse:  # noqa: N802 - the contract's name
        self._called(request)
        (found,) = [each for each in self.operations if each.id == request.operation_id]
        return pb.GetOperationResponse(operation=found)

    async def WatchOperation(  # noqa: N802 - the contract's name
        self, request: pb.WatchOperationRequest, **_call: Any
    ) -> AsyncIterator[pb.WatchOperationResponse]:
        self._called(request)
        for told in self.watched[request.operation_id]:
            if isinstance(told, BaseException):
                raise told
            yield pb.WatchOperationResponse(operation=told)

    async def CleanupOperations(  # noqa: N802 - the contract's name
        self, request: pb.CleanupOperationsRequest, **_call: Any
    ) -> pb.CleanupOperationsResponse:
        self._called(request)
        return pb.CleanupOperationsResponse()


@dataclass
class FakeTopology:
    """A TopologyService."""

    violations: list[str] = field(default_factory=list)
    failure: BrickyardError | None = None
    connections: list[Connection] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    parts: list[records_pb2.Records] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    imports: list[tuple[records_pb2.Records, bool]] = field(default_factory=list)

    async def ExportRecords(self, request: Any, *, metadata: Any) -> AsyncIterator[Any]:  # noqa: N802 - the contract's name
        for part in self.parts:
            yield records_pb2.ExportRecordsResponse(records=part)

    async def BackUp(self, request: Any, *, metadata: Any) -> AsyncIterator[Any]:  # noqa: N802 - the same
        for chunk in self.chunks:
            yield records_pb2.BackUpResponse(chunk=chunk)

    async def ImportRecords(self, request: Any, *, timeout: float, metadata: Any) -> Any:  # noqa: N802, ASYNC109 - and gRPC's
        self.timeouts_s.append(timeout)
        if self.failure is not None:
            raise rpc_error(self.failure)
        self.imports.append((request.records, request.validate_only))
        return records_pb2.ImportRecordsResponse(object_count=1, refusals=self.refusals)

    async def CheckConsistency(self, request: Any, *, timeout: float, metadata: Any) -> Any:  # noqa: N802, ASYNC109 - the contract's name and gRPC's keyword
        self.timeouts_s.append(timeout)
        if self.failure is not None:
            raise rpc_error(self.failure)
        named = {"BRICKS": ("bricks are there", self.violations), "SPACE": ("sizes add up", [])}
        return topology_service_pb2.CheckConsistencyResponse(
            violations=self.violations,
            checked_count=42,
            invariants=[
                topology_service_pb2.CheckedInvariant(name=name, sentence=text, violations=found)
                for name, (text, found) in named.items()
            ],
        )


def stub_of(fake: Any) -> Callable[[Connection], AbstractAsyncContextManager[Any]]:
    """Stands for the functions that open a channel and give its stub."""

    @asynccontextmanager
    async def opened(connection: Connection) -> AsyncIterator[Any]:
        fake.connections.append(connection)
        yield fake

    return opened
