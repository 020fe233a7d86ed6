"""Fences: before an operation is taken back, or carried on by another driver, nodes let go of what came before.

A request may be late: held up on its way, or sent by a driver that does not know yet that it is none any more. A node
that was told of a new epoch refuses it, and has ended what it was doing.
"""

import asyncio
from collections.abc import Iterable

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1.node_pb2 import Node
from gateway.operations.work import Work
from services.common.errors import UnavailableError
from services.common.reasons import Reason

# The least that a node gets to end what runs there; and all for one that did not answer before.
_SHORTEST_WAIT_S = 2.0
# No epoch comes after it: whatever else is asked for comes too late.
_LAST_EPOCH = 2**63 - 1


async def fence_answering(work: Work, nodes: Iterable[Node]) -> dict[str, UnavailableError]:
    """Tells nodes of the present epoch, side by side; gives by id why some do not answer.

    Raises:
        BrickyardError: What a node raised that answers; LEASE_LOST when another driver was there first.
    """
    asked = list({node.id: node for node in nodes}.values())
    results = await asyncio.gather(*(_fence(work, node) for node in asked), return_exceptions=True)
    silent = {}
    for node, result in zip(asked, results, strict=True):
        if isinstance(result, UnavailableError) and result.reason is Reason.AGENT_UNREACHABLE:
            silent[node.id] = result
        elif isinstance(result, BaseException):
            raise result
    return silent


async def fence(work: Work, nodes: Iterable[Node], *, others: Iterable[Node] = ()) -> None:
    """Tells nodes of the present epoch; `others` only if they answer.

    Raises:
        BrickyardError: What a node raised; AGENT_UNREACHABLE when one of `nodes` does not answer.
    """
    needed = {node.id: node for node in nodes}
    silent = await fence_answering(work, [*needed.values(), *others])
    for node_id in needed:
        if node_id in silent:
            raise silent[node_id]


async def end_operation(work: Work, node: Node, operation_id: str) -> None:
    """Tells a node that nothing of another operation is to be done there any more.

    Raises:
        BrickyardError: What the node raised, or AGENT_UNREACHABLE.
    """
    request = executor_pb2.FenceOperationRequest(operation_id=operation_id, epoch=_LAST_EPOCH)
    await work.ask(node, "FenceOperation", request, timeout_s=_wait_s(work, node))


async def _fence(work: Work, node: Node) -> None:
    request = executor_pb2.FenceOperationRequest(operation_id=work.operation.id, epoch=work.epoch)
    # What still runs at the end of the wait is as good as no answer.
    await work.ask(node, "FenceOperation", request, timeout_s=_wait_s(work, node))


def _wait_s(work: Work, node: Node) -> float:
    if node.id in work.trail.silent_node_ids:
        return _SHORTEST_WAIT_S
    return max(_SHORTEST_WAIT_S, work.patience.silence_s)
