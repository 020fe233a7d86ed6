"""Puts an agent together. The only module that knows all parts. Effects: files of the state directory, a server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brickyard.executor.v1 import executor_service_pb2_grpc as service
from brickyard.topology.v1 import identity_service_pb2, identity_service_pb2_grpc
from services.common.keeper import IdentityKeeper, keep_identity
from services.common.server import RunningServer, ServedService
from services.common.trust import TrustList
from services.executor.access import ACCESS, SERVICE
from services.executor.debts import Debts, in_background
from services.executor.journal import Journal
from services.executor.node import Node, NodeLookup, only
from services.executor.servicer import ExecutorServicer
from services.executor.settings import NodeSettings

if TYPE_CHECKING:
    from services.common.settings import ServerSettings
    from services.executor.bridge import BridgeSettings
    from services.executor.runners.simulated import Fleet, FleetSettings

# Each change holds one thread while it runs, and the bricks of many volumes are made at once.
_WORKERS = 32
# A volume of a thousand bricks is described in 200 KB.
_MOST_REQUEST_BYTES = 4 * 1024 * 1024
# Far more than gateways send to one node, and than there are threads; a fleet of simulated ones shares it.
_MOST_CALLS = 1024


@dataclass(frozen=True, slots=True)
class Agent:
    """What is served, and how it ends.

    Attributes:
        lookup: The node of a name.
        close: To be called after the last RPC.
    """

    lookup: NodeLookup
    close: Callable[[], None]


def local_agent(settings: NodeSettings, state_directory: Path, *, parallel: int) -> Agent:
    """The agent of this machine; its bricks are mounted when this returns.

    Args:
        settings: The node's rules.
        state_directory: Where the journal lies; made if need be.
        parallel: Most commands at the same time.
    """
    from services.executor.runners.local import LocalRunner  # noqa: PLC0415 - a fleet needs neither

    state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    journal = Journal(state_directory / "journal.sqlite3")
    debts = Debts(state_directory / "debts.json", in_background)
    node = Node(LocalRunner(parallel=parallel), journal, settings, debts)
    # Before the first answer: whoever is told that the node is ready may start its volumes.
    node.mount_bricks()
    node.pay_debts()
    return Agent(only(node), journal.close)


def ssh_bridge(settings: "BridgeSettings", state_directory: Path) -> Agent:
    """The bridge to nodes that have no agent; they are connected to when they are first asked for.

    Args:
        settings: How nodes are reached.
        state_directory: Where the journals lie; made if need be.
    """
    from services.executor.bridge import Bridge  # noqa: PLC0415 - an agent needs no SSH

    bridge = Bridge(settings, state_directory)
    bridge.pay_debts()
    return Agent(bridge.lookup, bridge.close)


def simulated_agent(
    settings: "FleetSettings", *, faults: Path | None = None, kept: Path | None = None
) -> tuple[Agent, "Fleet"]:
    """A fleet of simulated nodes behind one server.

    Args:
        settings: The fleet.
        faults: File with faults, see FaultPlan.
        kept: File that keeps the nodes; None = they are gone with the process.
    """
    from services.executor.runners.simulated import FaultPlan, Fleet  # noqa: PLC0415 - a real agent needs neither
    from services.executor.runners.simulated.faults import read_faults  # noqa: PLC0415
    from services.executor.runners.simulated.keeping import FleetFile  # noqa: PLC0415

    if faults is not None and faults.exists():
        # A mistake in it should stop the start, not the first command.
        read_faults(faults)
    fleet = Fleet(settings, FaultPlan(file=faults), file=FleetFile(kept) if kept is not None else None)
    return Agent(fleet.lookup, fleet.close), fleet


class AgentServer(RunningServer):
    """The server of an agent, and what keeps its certificate."""

    def __init__(self, agent: Agent, settings: "ServerSettings", *, topology: str, with_reflection: bool) -> None:
        """Starts. Raises FailedPreconditionError when an address cannot be bound, or the certificate is unusable."""
        trust = TrustList()
        servicer = ExecutorServicer(agent.lookup)
        self._keeper: IdentityKeeper | None = keep_identity(
            settings, topology, trust, identity_service_pb2, identity_service_pb2_grpc
        )
        super().__init__(
            [ServedService(SERVICE, lambda server: service.add_ExecutorServiceServicer_to_server(servicer, server))],
            settings,
            ACCESS,
            workers=_WORKERS,
            with_reflection=with_reflection,
            trust=trust,
            most_request_bytes=_MOST_REQUEST_BYTES,
            most_calls=_MOST_CALLS,
        )

    def stop(self) -> None:
        """Stops as every server does."""
        super().stop()
        if self._keeper is not None:
            self._keeper.stop()


def serve(
    agent: Agent, settings: "ServerSettings", *, topology: str = "", with_reflection: bool = True
) -> RunningServer:
    """Starts the agent's server.

    Args:
        agent: What is served.
        settings: Where and how.
        topology: Address of the topology, which renews the certificate and tells of revoked ones; empty = nobody does.
        with_reflection: Whether grpcurl may ask what there is.

    Raises:
        FailedPreconditionError: An address cannot be bound, or the certificate is unusable.
    """
    return AgentServer(agent, settings, topology=topology, with_reflection=with_reflection)
