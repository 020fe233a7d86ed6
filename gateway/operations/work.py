"""What a kind of operation is made of, and what it may use: the operation, the agents, the nodes, progress."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_pb2 import Operation, OperationProgress
from brickyard.topology.v1.operation_service_pb2 import CommitOperationRequest
from gateway.clients import AgentCaller, manage_hostname
from services.common.errors import BrickyardError, NotFoundError, UnavailableError
from services.common.reasons import Reason

# A change on a node may take minutes under load (mkfs, a gluster transaction); Heketi allows ten.
WRITE_TIMEOUT_S = 600.0
# How long an agent that does not answer is waited for before the operation counts as failed.
AGENT_PATIENCE_S = 20.0
_FIRST_PAUSE_S = 0.2

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class Progress:
    """How far the operation is; the engine stores it now and then, never at the cost of a step."""

    total_steps: int = 0
    completed_steps: int = 0
    step: str = ""
    node_hostname: str = ""

    def to_message(self) -> OperationProgress:
        """The message for the operation's record."""
        return OperationProgress(
            completed_step_count=self.completed_steps,
            total_step_count=self.total_steps,
            step=self.step,
            node_hostname=self.node_hostname,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one operation.

    Attributes:
        operation: The record as it was when the attempt began.
        agents: The way to the nodes.
        list_nodes: Gives the nodes of a cluster.
        progress: How far the attempt is.
        undo_attempt: Counts the attempts to take it back by this driver, from 1.
    """

    operation: Operation
    agents: AgentCaller
    list_nodes: Callable[[str], Awaitable[Sequence[Node]]]
    progress: Progress
    undo_attempt: int = 1

    @property
    def undo_key(self) -> str:
        """Prefix of the keys of this attempt to take it back.

        Each attempt does all of it again: a step that was late may have made anew what an earlier attempt removed.
        """
        return f"undo/{self.operation.attempt_count}.{self.undo_attempt}"

    async def change(self, node: Node, method: str, request: Any, *, step: str, key: str) -> Any:
        """Runs one change on a node, as a counted step.

        The request id is the operation's id and `key`: an agent that has done it answers at once, one that is doing it
        lets us join. An agent that does not answer is asked again for AGENT_PATIENCE_S.

        Raises:
            BrickyardError: What the agent raised, or AGENT_UNREACHABLE.
        """
        hostname = manage_hostname(node)
        self.progress.step, self.progress.node_hostname = step, hostname
        request.request_id = f"{self.operation.id}/{key}"
        answer = await self._patiently(hostname, method, request)
        self.progress.completed_steps += 1
        return answer

    async def _patiently(self, hostname: str, method: str, request: Any) -> Any:
        deadline = asyncio.get_running_loop().time() + AGENT_PATIENCE_S
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self.agents.call(hostname, method, request, timeout_s=WRITE_TIMEOUT_S)
            except UnavailableError as error:
                out_of_time = asyncio.get_running_loop().time() + pause_s > deadline
                if error.reason is not Reason.AGENT_UNREACHABLE or out_of_time:
                    raise
            # Not a wait for a condition that could be watched: the node is gone, and we ask again.
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    async def nodes_by_id(self, cluster_id: str) -> dict[str, Node]:
        """The nodes of a cluster by id."""
        return {node.id: node for node in await self.list_nodes(cluster_id)}


def node_with_id(nodes: Mapping[str, Node], node_id: str) -> Node:
    """A node of the cluster.

    Raises:
        NotFoundError: NODE_NOT_FOUND, it was removed meanwhile.
    """
    if node_id not in nodes:
        raise NotFoundError(Reason.NODE_NOT_FOUND, f"node {node_id} does not exist", node_id=node_id)
    return nodes[node_id]


class Kind(Protocol):
    """One kind of operation."""

    @property
    def redo_after_crash(self) -> bool:
        """Whether an operation whose driver died is carried on (True) or taken back (False)."""

    async def run(self, work: Work) -> CommitOperationRequest:
        """Does it, and returns the outcome to commit; operation id and owner are filled in by the engine.

        Raises:
            BrickyardError: A step failed; what was done so far is taken back by `undo`.
        """

    async def undo(self, work: Work) -> None:
        """Takes back whatever may have been done; absent counts as done.

        Raises:
            BrickyardError: A node does not let it happen now; it is tried again later.
        """


async def all_or_first_error(calls: Sequence[Awaitable[_Answer]]) -> list[_Answer]:
    """Awaits all calls, then raises the first error, if any: nothing is still running when it returns or raises.

    Raises:
        BrickyardError: The error of the first call, in order, that failed.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    answers: list[_Answer] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answers.append(result)
    return answers


async def on_first_answering(
    work: Work, nodes: Sequence[Node], attempt: Callable[[Node], Awaitable[_Answer]]
) -> _Answer:
    """Runs `attempt` on the first node that answers; only unreachable nodes are passed over.

    Raises:
        BrickyardError: What the first answering node raised; AGENT_UNREACHABLE when none answers.
    """
    failure: BrickyardError = UnavailableError(
        Reason.AGENT_UNREACHABLE, f"no hosts available ({len(nodes)} total)", node_count=len(nodes)
    )
    for node in nodes:
        try:
            return await attempt(node)
        except UnavailableError as error:
            if error.reason is not Reason.AGENT_UNREACHABLE:
                raise
            failure = error
    work.progress.step = "no node answers"
    raise failure
