"""Calls about operations over the operator gRPC API. Effects: network."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import operation_pb2
from gateway.cli import rest_messages
from gateway.cli.connection import Connection, operator_stub
from gateway.cli.operation_texts import has_ended
from gateway.cli.rest_connection import RestConnection
from services.common.channels import call_aio, stream_aio
from services.common.errors import UnavailableError
from services.common.reasons import Reason

_PAGE = 1000
_Update = Callable[[operation_pb2.Operation], None]


def list_pending(connection: RestConnection, *, limit: int) -> Sequence[operation_pb2.Operation]:
    """At most `limit` of the operations that REST tells of: unfinished ones, without their progress.

    Raises:
        BrickyardError: The call failed.
    """
    with connection.client() as client:
        found = client.get("/operations/pending")["pendingoperations"]
    return [rest_messages.operation(each) for each in found[:limit]]


async def list_operations(
    connection: Connection, *, unfinished_only: bool, limit: int
) -> Sequence[operation_pb2.Operation]:
    """At most `limit` operations, newest first.

    Raises:
        BrickyardError: The call failed.
    """
    async with operator_stub(connection) as stub:
        return await _list(stub, unfinished_only=unfinished_only, limit=limit)


async def _list(stub: Any, *, unfinished_only: bool, limit: int) -> list[operation_pb2.Operation]:
    found: list[operation_pb2.Operation] = []
    token = ""
    while True:
        answer = await call_aio(
            stub.ListOperations,
            pb.ListOperationsRequest(
                page_size=min(_PAGE, limit - len(found)), page_token=token, unfinished_only=unfinished_only
            ),
        )
        found.extend(answer.operations)
        token = answer.next_page_token
        if not token or len(found) >= limit:
            return found


async def get_operation(connection: Connection, operation_id: str) -> operation_pb2.Operation:
    """One operation.

    Raises:
        BrickyardError: The call failed.
    """
    async with operator_stub(connection) as stub:
        answer = await call_aio(stub.GetOperation, pb.GetOperationRequest(operation_id=operation_id))
        operation: operation_pb2.Operation = answer.operation
        return operation


async def cleanup(connection: Connection, operation_ids: Sequence[str]) -> None:
    """Has stalled operations retried now; empty = all.

    Raises:
        BrickyardError: The call failed.
    """
    async with operator_stub(connection) as stub:
        await call_aio(stub.CleanupOperations, pb.CleanupOperationsRequest(operation_ids=operation_ids))


async def watch(connection: Connection, operation_id: str, update: _Update) -> Sequence[operation_pb2.Operation]:
    """Follows an operation, or all that are unfinished now when the id is empty, to the end; returns how they ended.

    Args:
        connection: Where the gateway is.
        operation_id: The operation; empty = all.
        update: Called with each operation now and after each change.

    Raises:
        BrickyardError: A call failed; the operations go on all the same.
    """
    async with operator_stub(connection) as stub:
        ids = [operation_id]
        if not operation_id:
            ids = [each.id for each in await _list(stub, unfinished_only=True, limit=_PAGE)]
        return await asyncio.gather(*(_follow(stub, each, update) for each in ids))


async def _follow(stub: Any, operation_id: str, update: _Update) -> operation_pb2.Operation:
    last: operation_pb2.Operation | None = None
    async for answer in stream_aio(stub.WatchOperation, pb.WatchOperationRequest(operation_id=operation_id)):
        last = answer.operation
        update(last)
    if last is None or not has_ended(last):
        raise UnavailableError(
            Reason.UNAVAILABLE,
            f"the gateway stopped telling about operation {operation_id}, which goes on; watch it again",
            operation_id=operation_id,
        )
    return last
