"""The gateway's ways to the other services and to the agents. Effects: network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import grpc

from brickyard.allocator.v1.allocator_service_pb2_grpc import AllocatorServiceStub
from brickyard.executor.v1.executor_service_pb2 import GetGlusterdRequest
from brickyard.executor.v1.executor_service_pb2_grpc import ExecutorServiceStub
from brickyard.topology.v1.health_service_pb2_grpc import HealthServiceStub
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2_grpc import OperationServiceStub
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from services.common.channels import call_aio, open_aio_channel
from services.common.credentials import TlsFiles
from services.common.errors import BrickyardError, FailedPreconditionError, TimeLimitError, UnavailableError
from services.common.identity import Role
from services.common.reasons import Reason
from services.common.trust import TrustList

# Tells an agent that serves several simulated nodes which one is meant; a real agent checks that it is the one.
NODE_KEY = "brickyard-node"
# What the SSH bridge says of nodes that it does not serve.
_NOT_BRIDGED = frozenset({Reason.NODE_HAS_AGENT, Reason.HOST_KEY_UNKNOWN})
# Tells an agent in which epoch of its operation a change is asked for.
EPOCH_KEY = "brickyard-epoch"
READ_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the other services are.

    Attributes:
        topology: "host:port", several with commas between them, or "unix:/path"; see `channels.target_of`.
        allocator: The same.
        agents: One address for all agents, as simulated nodes have; empty = each node's management host name.
        agent_port: Port of the agents on their nodes.
        tls: This gateway's certificate; None on Unix sockets and plain TCP.
        ssh_bridge: Where nodes without an agent are served over SSH; empty = every node has an agent.
    """

    topology: str
    allocator: str
    agents: str
    agent_port: int
    tls: TlsFiles | None
    ssh_bridge: str = ""


class AgentCaller(Protocol):
    """Calls agents by node."""

    async def call(
        self, hostname: str, method: str, request: Any, *, timeout_s: float = READ_TIMEOUT_S, epoch: int = 0
    ) -> Any:
        """Calls `method` of the agent on the node with this management host name."""


class Agents:
    """Channels to the agents, one a node, opened at the first call."""

    def __init__(self, addresses: Addresses, trust: TrustList | None = None) -> None:
        self._addresses = addresses
        self._trust = trust if trust is not None else TrustList()
        self._channels: dict[str, grpc.aio.Channel] = {}
        # A stub makes a callable for each RPC; that is too much for each call.
        self._stubs: dict[str, Any] = {}
        self._with_agent: set[str] = set()

    def _target(self, hostname: str) -> str:
        if self._addresses.agents:
            return self._addresses.agents
        host = f"[{hostname}]" if ":" in hostname else hostname
        return f"{host}:{self._addresses.agent_port}"

    async def call(
        self, hostname: str, method: str, request: Any, *, timeout_s: float = READ_TIMEOUT_S, epoch: int = 0
    ) -> Any:
        """Calls an agent.

        Args:
            hostname: Management host name of its node; the agent's certificate must carry it.
            method: Short name of the RPC, e.g. "CreateBrick".
            request: Its message.
            timeout_s: How long to wait for the answer; a change goes on without us.
            epoch: Of the operation that the change is of; the agent refuses epochs that are over. 0 = of none.

        Raises:
            UnavailableError: AGENT_UNREACHABLE, the agent does not answer, or its certificates are revoked; names the
                node and the address.
            BrickyardError: What the agent raised.
        """
        if self._trust.bars(Role.AGENT, hostname):
            raise UnavailableError(
                Reason.AGENT_UNREACHABLE,
                f"the certificates of the agent of node {hostname} are revoked, as those of a removed node are; "
                f"let it join again with a new token: brickyard agent token {hostname}",
                hostname=hostname,
            )
        ask = partial(self._ask, hostname, method, request, timeout_s=timeout_s, epoch=epoch)
        if not self._addresses.ssh_bridge or hostname in self._with_agent:
            return await ask(target=self._target(hostname))
        try:
            return await ask(target=self._addresses.ssh_bridge)
        except FailedPreconditionError as error:
            if error.reason not in _NOT_BRIDGED:
                raise
            if error.reason is Reason.NODE_HAS_AGENT:
                # For good: a node does not lose its agent while a gateway runs.
                self._with_agent.add(hostname)
            not_bridged = error.message
        try:
            return await ask(target=self._target(hostname))
        except UnavailableError as error:
            if error.reason is not Reason.AGENT_UNREACHABLE:
                raise
            raise UnavailableError(
                error.reason, f"{error.message}; and over SSH: {not_bridged}", **error.metadata
            ) from error

    async def _ask(self, hostname: str, method: str, request: Any, *, target: str, timeout_s: float, epoch: int) -> Any:
        stub = self._stubs.get(target)
        if stub is None:
            channel = self._channels[target] = open_aio_channel(target, self._addresses.tls)
            stub = self._stubs[target] = ExecutorServiceStub(channel)
        metadata = [(NODE_KEY, hostname), *([(EPOCH_KEY, str(epoch))] if epoch else [])]
        try:
            return await call_aio(getattr(stub, method), request, timeout_s=timeout_s, metadata=metadata)
        except (UnavailableError, TimeLimitError) as error:
            if error.reason not in {Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED}:
                raise
            raise UnavailableError(
                Reason.AGENT_UNREACHABLE,
                f"the agent of node {hostname} does not answer at {target}: {error.message}",
                hostname=hostname,
                address=target,
            ) from error

    async def close(self) -> None:
        """Closes all channels."""
        for channel in self._channels.values():
            await channel.close()


class Clients:
    """Stubs of topology and allocator, and the agents."""

    def __init__(self, addresses: Addresses, trust: TrustList | None = None) -> None:
        """`trust` tells of nodes that must not be called any more; None = there are none."""
        self._topology_channel = open_aio_channel(addresses.topology, addresses.tls, role=Role.TOPOLOGY)
        self._allocator_channel = open_aio_channel(addresses.allocator, addresses.tls, role=Role.ALLOCATOR)
        self.topology: Any = TopologyServiceStub(self._topology_channel)
        self.operations: Any = OperationServiceStub(self._topology_channel)
        self.health: Any = HealthServiceStub(self._topology_channel)
        self.allocator: Any = AllocatorServiceStub(self._allocator_channel)
        self.agents = Agents(addresses, trust)

    async def close(self) -> None:
        """Closes all channels."""
        await self._topology_channel.close()
        await self._allocator_channel.close()
        await self.agents.close()


def manage_hostname(node: Node) -> str:
    """The address of a node's agent."""
    return node.manage_hostnames[0]


def storage_hostname(node: Node) -> str:
    """The address of a node for GlusterFS traffic."""
    return node.storage_hostnames[0]


async def first_running_glusterd(agents: AgentCaller, nodes: Sequence[Node]) -> Node | None:
    """The first of `nodes` whose glusterd answers, asked one after the other; None when none does."""
    for node in nodes:
        try:
            answer = await agents.call(manage_hostname(node), "GetGlusterd", GetGlusterdRequest())
        except BrickyardError:
            continue
        if answer.glusterd.running:
            return node
    return None
