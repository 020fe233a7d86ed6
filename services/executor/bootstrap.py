"""Puts an agent together. The only module that knows all parts. Effects: files of the state directory, a server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brickyard.executor.v1 import executor_service_pb2_grpc as service
from services.common.server import RunningServer, ServedService
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


def serve(agent: Agent, settings: "ServerSettings", *, with_reflection: bool = True) -> RunningServer:
    """Starts the agent's server.

    Raises:
        FailedPreconditionError: An address cannot be bound.
    """
    servicer = ExecutorServicer(agent.lookup)
    return RunningServer(
        [ServedService(SERVICE, lambda server: service.add_ExecutorServiceServicer_to_server(servicer, server))],
        settings,
        ACCESS,
        workers=_WORKERS,
        with_reflection=with_reflection,
    )
