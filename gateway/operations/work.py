"""What a kind of operation is made of, and what it may use: the operation, the agents, the nodes, progress."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_pb2 import Operation, OperationProgress
from brickyard.topology.v1.operation_service_pb2 import (
    BlockVolumeSize,
    CommitOperationRequest,
    RemovedBricks,
)
from brickyard.topology.v1.volume_pb2 import Volume
from gateway.clients import AgentCaller, manage_hostname
from gateway.operations.moves import Moves
from gateway.operations.settings import NodePatience
from services.common.errors import BrickyardError, NotFoundError, TimeLimitError, UnavailableError
from services.common.reasons import Reason

_FIRST_PAUSE_S = 0.2
# More rounds than a driver ever comes to, so that the epochs of one driver are below those of the next.
_ROUNDS_PER_DRIVER = 1_000_000

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


@dataclass(slots=True)
class Trail:
    """What a driver has learned of its operation on the way, from one round to the next.

    Attributes:
        rounds: How often it has begun to do it or to take it back.
        silent_node_ids: Nodes that did not answer when they were asked last.
        asked_node_ids: Nodes that were asked to change a gluster volume: whatever they did shows on other nodes too.
        failed_node_ids: Nodes on which a step failed in a way that another placement may mend.
        failed_device_ids: Devices on which it did.
        left_brick_ids: Bricks that could not be removed, as their node cannot do it now; for a clean-up.
    """

    rounds: int = 0
    silent_node_ids: set[str] = field(default_factory=set)
    asked_node_ids: set[str] = field(default_factory=set)
    failed_node_ids: set[str] = field(default_factory=set)
    failed_device_ids: set[str] = field(default_factory=set)
    left_brick_ids: set[str] = field(default_factory=set)


# Its parts are large, and of no use in a log.
@dataclass(frozen=True, slots=True, repr=False)
class Work:
    """One attempt at one operation.

    Attributes:
        operation: The record as it was when the attempt began.
        agents: The way to the nodes.
        list_nodes: Gives the nodes of a cluster.
        progress: How far the attempt is.
        round: Which attempt of this driver it is, from 0.
        trail: What this driver has learned before, and learns now.
        patience: How long nodes are waited for.
        moves: What the operation may use that consists of others; None where there is none of that kind.
        told_nodes: Nodes by id that were told with the record; empty when nothing was told, or long ago.
    """

    operation: Operation
    agents: AgentCaller
    list_nodes: Callable[[str], Awaitable[Sequence[Node]]]
    progress: Progress
    round: int = 0
    trail: Trail = field(default_factory=Trail)
    patience: NodePatience = field(default_factory=NodePatience)
    moves: Moves | None = None
    told_nodes: Mapping[str, Node] = field(default_factory=dict)

    @property
    def the_moves(self) -> Moves:
        """`moves`, for kinds that can not do without."""
        if self.moves is None:
            raise AssertionError("this engine was given nothing to move bricks with")
        return self.moves

    @property
    def taken_over(self) -> bool:
        """Whether another driver was at it before: it may have asked any node for anything."""
        return self.operation.attempt_count > 1

    @property
    def epoch(self) -> int:
        """The epoch of the operation, which agents compare: a later driver's, or a later round's, ends those before."""
        return max(0, self.operation.attempt_count - 1) * _ROUNDS_PER_DRIVER + self.round + 1

    @property
    def undo_key(self) -> str:
        """Prefix of the keys of this attempt to take it back.

        Each attempt does all of it again: a step that was late may have made anew what an earlier attempt removed.
        """
        return f"undo/{self.operation.attempt_count}.{self.round}"

    async def change(self, node: Node, method: str, request: Any, *, step: str, key: str) -> Any:
        """Runs one change on a node, as a counted step.

        The request id is the operation's id and `key`: an agent that has done it answers at once, one that is doing it
        lets us join. An agent that does not answer is asked again for `patience.silence_s`, if it did the last time.

        Raises:
            BrickyardError: What the agent raised, or AGENT_UNREACHABLE.
        """
        self.progress.step, self.progress.node_hostname = step, manage_hostname(node)
        request.request_id = f"{self.operation.id}/{key}"
        answer = await self.ask(node, method, request, timeout_s=self.patience.change_s)
        self.progress.completed_steps += 1
        return answer

    async def ask(self, node: Node, method: str, request: Any, *, timeout_s: float) -> Any:
        """Calls a node's agent in the operation's epoch, patiently, and remembers whether it answers.

        Raises:
            BrickyardError: What the agent raised, or AGENT_UNREACHABLE.
        """
        silence_s = 0.0 if node.id in self.trail.silent_node_ids else self.patience.silence_s
        now = asyncio.get_running_loop().time
        deadline: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                answer = await self.agents.call(
                    manage_hostname(node), method, request, timeout_s=timeout_s, epoch=self.epoch
                )
            except BrickyardError as error:
                if error.reason is not Reason.AGENT_UNREACHABLE:
                    self.trail.silent_node_ids.discard(node.id)
                    raise
                # From the first silence on: before it, the node may have worked for minutes.
                deadline = now() + silence_s if deadline is None else deadline
                if now() + pause_s > deadline:
                    self.trail.silent_node_ids.add(node.id)
                    raise
            else:
                self.trail.silent_node_ids.discard(node.id)
                return answer
            # Not a wait for a condition that could be watched: the node is gone, and we ask again.
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    async def nodes_by_id(self, cluster_id: str) -> dict[str, Node]:
        """The nodes of a cluster by id."""
        return {node.id: node for node in await self.list_nodes(cluster_id)}

    async def brick_nodes(self, volume: Volume) -> Mapping[str, Node]:
        """The nodes of a volume's bricks at least, by id; those that came with the record are not asked for again."""
        if all(brick.node_id in self.told_nodes for brick in volume.bricks):
            return self.told_nodes
        return await self.nodes_by_id(volume.cluster_id)


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

    @property
    def never_gives_up(self) -> bool:
        """Whether it cannot fail: `run` is tried again, after the retry interval, until it succeeds."""

    async def run(self, work: Work) -> CommitOperationRequest:
        """Does it, and returns the outcome to commit; operation id and owner are filled in by the engine.

        Raises:
            BrickyardError: A step failed; what was done so far is taken back by `undo`.
        """

    async def undo(self, work: Work) -> RemovedBricks | BlockVolumeSize | None:
        """Takes back whatever may have been done; absent counts as done.

        Returns:
            None; or, from kinds that can not go back behind a certain point, what is kept of the failed operation.

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
    work: Work, nodes: Sequence[Node], attempt: Callable[[Node], Awaitable[_Answer]], *, once: bool = False
) -> _Answer:
    """Runs `attempt` on the first node that answers; only unreachable nodes are passed over.

    Args:
        work: The attempt at the operation.
        nodes: In the order in which they are tried.
        attempt: What is to be done.
        once: Whether a node that took the request and does not come to its end must not be passed over: two nodes would
            do the same, and the late failure of one would take back what the other did.

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
            took_it = once and isinstance(error.__cause__, TimeLimitError)
            if error.reason is not Reason.AGENT_UNREACHABLE or took_it:
                raise
            failure = error
    work.progress.step = "no node answers"
    raise failure
