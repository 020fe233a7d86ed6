"""A whole Brickyard in one thread and in virtual time: topology, allocator, agents and engines. Effects: files."""

import asyncio
import contextlib
import contextvars
import random
import secrets
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway import bootstrap, clients
from gateway.bootstrap import GatewaySettings, RestSettings
from gateway.clients import Addresses, Clients
from gateway.heketi.settings import HeketiSettings
from gateway.operations.engine import OperationEngine
from gateway.operations.settings import EngineSettings, NodePatience
from gateway.settings import ProvisioningSettings
from gateway.usecases.volumes import GatewayUseCases
from services.allocator.inventory import InventoryCache
from services.allocator.servicer import SERVICE as ALLOCATOR_SERVICE
from services.allocator.servicer import AllocatorServicer
from services.common.errors import UnavailableError
from services.common.reasons import Reason
from services.common.settings import ServerSettings
from services.executor.access import SERVICE as EXECUTOR_SERVICE
from services.executor.journal import Journal
from services.executor.node import Node
from services.executor.runners.base import NodeLostError
from services.executor.runners.simulated import Fault, FaultPlan, Fleet, FleetSettings
from services.executor.servicer import ExecutorServicer
from services.executor.settings import NodeSettings, Patience
from services.topology.access import OPERATION_SERVICE, TOPOLOGY_SERVICE
from services.topology.bootstrap import Topology
from tests.integration.faults.comparison import Books, differences, read_books
from tests.integration.simulation.clock import VirtualLoop
from tests.integration.simulation.network import CALLER, CallContext, Caller, Network, owned_task

NODES = 7
DISKS = 2
DISK_BYTES = 60 << 30
LEASE_S = 15.0
_EPOCH_S = 1_700_000_000
# In one thread nobody else ends what a node would wait for.
_PATIENCE = Patience(**dict.fromkeys((each.name for each in fields(Patience)), 0.0))
_READING = ("lvm lvs", "lvm vgs", "lvm pvs", "lvm fullreport", "blkid")
_Result = TypeVar("_Result")


class GatewayKilledError(Exception):
    """The gateway died while it was asked."""


class _Dice(FaultPlan):
    """Lets the weather strike the commands of the nodes."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    def strike(self, node: str, command: str, timeout_s: float) -> Fault | None:
        del timeout_s
        network = self._world.network
        if command.startswith(_READING):
            return None
        if network.strikes("agent_dies"):
            self._world.restart_agent(node)
            raise NodeLostError(f"the agent of {node} was killed before: {command}")
        if not command.startswith("verb ") and network.strikes("agent_dies"):
            self._world.restart_agent(node)
            return Fault(command, "crash-after")
        if network.strikes("command_fails"):
            return Fault(command, "fail", stderr=f"{command.split(' ', maxsplit=1)[0]} said no")
        return None


class SimulatedGateway(Caller):
    """One life of one gateway."""

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.owner = owner
        self._context = contextvars.copy_context()
        self._context.run(CALLER.set, self)
        plain = ServerSettings(listen=(), tls=None, insecure_plaintext=False, grace_s=1.0)
        settings = GatewaySettings(
            addresses=Addresses("topology", "allocator", "agents", 0, None),
            rest=RestSettings("", 0),
            operator=plain,
            heketi=HeketiSettings(admin_key="", user_key="", auth_enabled=False, min_brick_size_bytes=1 << 30),
            engine=EngineSettings(
                owner=owner,
                lease_s=LEASE_S,
                claim_interval_s=5.0,
                max_in_flight=0,
                patience=NodePatience(change_s=30.0),
            ),
            provisioning=ProvisioningSettings(),
        )
        ways = Clients(settings.addresses)
        core: tuple[OperationEngine, GatewayUseCases] = bootstrap._core(settings, ways, ways.agents)
        self.engine, self.use_cases = core

    async def ask(self, request: Coroutine[Any, Any, _Result]) -> _Result:
        """Runs something within this gateway. Raises GatewayKilledError when it dies over it."""
        if not self.alive:
            request.close()
            raise GatewayKilledError
        task = asyncio.get_running_loop().create_task(request, context=self._context)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise GatewayKilledError from None
            raise

    async def kill(self) -> None:
        """Ends it as kill -9 does: nothing of it runs on, and nothing that it says is heard."""
        self.alive = False
        tasks = [task for task in self.tasks if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class World:
    """All parts, and what can be done to them.

    Args:
        directory: For the database and the journals.
        seed: Of everything that happens.
    """

    def __init__(self, directory: Path, seed: int, patch: pytest.MonkeyPatch) -> None:
        self.chance = random.Random(seed)
        random.seed(seed)
        patch.setattr(secrets, "token_hex", lambda count: f"{self.chance.getrandbits(8 * count):0{2 * count}x}")
        self.network = Network(self.chance)
        patch.setattr(clients, "open_aio_channel", self.network.channel)
        self._directory = directory
        self.fleet = Fleet(FleetSettings(nodes=NODES, disks=DISKS, disk_bytes=DISK_BYTES), _Dice(self))
        for node in self.fleet.nodes():
            node.daemon.pool.moving_answers = 0
        self._agents: dict[str, Node] = {}
        self._topology: Topology | None = None
        self.gateways: list[SimulatedGateway] = []
        self._owners = 0
        self.kills = {"agent": 0, "topology": 0, "gateway": 0, "allocator": 0}
        self.network.serve("topology", self._topology_servicers)
        self.network.serve("allocator", lambda: {ALLOCATOR_SERVICE: self._allocator})
        agents = ExecutorServicer(self._agent)
        self.network.serve("agents", lambda: {EXECUTOR_SERVICE: agents})
        self.start_topology()
        self.start_allocator()

    def _now_us(self) -> int:
        return int((_EPOCH_S + asyncio.get_running_loop().time()) * 1_000_000)

    # --- the topology -------------------------------------------------------------------------------------------------

    def start_topology(self) -> None:
        """Opens the database."""
        self._topology = Topology(f"sqlite:///{self._directory}/topology.db", clock=self._now_us)

    def kill_topology(self) -> None:
        """Closes it; calls are refused until it is started again."""
        self.kills["topology"] += 1
        if self._topology is not None:
            self._topology.close()
        self._topology = None

    def _topology_servicers(self) -> dict[str, Any] | None:
        if self._topology is None:
            return None
        return {TOPOLOGY_SERVICE: self._topology.topology, OPERATION_SERVICE: self._topology.operations}

    def _running_topology(self) -> Topology:
        if self._topology is None:
            raise UnavailableError(Reason.UNAVAILABLE, "topology is down")
        return self._topology

    # --- the allocator ------------------------------------------------------------------------------------------------

    def start_allocator(self) -> None:
        """A fresh one, which knows nothing."""
        self.kills["allocator"] += 1
        self._allocator = AllocatorServicer(
            InventoryCache(self._asking("GetInventory")),
            self._asking("ListCandidateClusters"),
            self._asking("ListReservations"),
        )

    def _asking(self, method: str) -> Callable[[Any], Any]:
        return lambda request: getattr(self._running_topology().topology, method)(request, CallContext((), None))

    # --- the agents ---------------------------------------------------------------------------------------------------

    def _agent(self, name: str) -> Node:
        found = self._agents.get(name)
        if found is None:
            runner = self.fleet.node(name).node._tools.runner
            settings = NodeSettings(names=(name,), policy=self.fleet.settings.policy, patience=_PATIENCE)

            def before(method: str) -> None:
                fault = self.fleet.faults.strike(name, f"verb {method}", 0.0)
                if fault is not None:
                    raise NodeLostError(f"the agent of {name} was killed in {method}")

            journal = Journal(self._directory / f"{name}.sqlite3", before=before)
            found = self._agents[name] = Node(runner, journal, settings)
            found.mount_bricks()
        return found

    def restart_agent(self, name: str) -> None:
        """Kills an agent; the next call finds a new one, with what the old one had on disk."""
        if self._agents.pop(name, None) is not None:
            self.kills["agent"] += 1

    # --- the gateways -------------------------------------------------------------------------------------------------

    async def start_gateway(self) -> SimulatedGateway:
        """One more gateway."""
        self._owners += 1
        gateway = SimulatedGateway(f"gateway{self._owners}")
        await gateway.ask(gateway.engine.start())
        self.gateways.append(gateway)
        return gateway

    async def kill_gateway(self, gateway: SimulatedGateway) -> None:
        """Kills one."""
        self.kills["gateway"] += 1
        self.gateways.remove(gateway)
        await gateway.kill()

    def any_gateway(self) -> SimulatedGateway | None:
        """One of those that live."""
        return self.chance.choice(self.gateways) if self.gateways else None

    # --- what can be said about all of it -----------------------------------------------------------------------------

    def books(self) -> Books:
        """What the topology says."""
        topology = self._running_topology()
        return read_books(_Direct(topology.topology), _Direct(topology.operations))

    def differences(self) -> list[str]:
        """In what books and nodes do not agree."""
        return differences(self.books(), self.fleet)

    def close(self) -> None:
        """Closes the files."""
        if self._topology is not None:
            self._topology.close()
        for agent in self._agents.values():
            agent.journal.close()


@contextlib.contextmanager
def world_of(seed: int) -> Iterator[tuple[VirtualLoop, World]]:
    """A world with a loop of its own, in memory if there is room; both are gone afterwards."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        loop = VirtualLoop()
        loop.set_task_factory(owned_task)
        asyncio.set_event_loop(loop)
        world = None
        try:
            world = World(Path(directory), seed, patch)
            yield loop, world
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            if world is not None:
                world.close()
            asyncio.set_event_loop(None)
            loop.close()


class _Direct:
    """Calls a servicer as if by a stub."""

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer

    def __getattr__(self, method: str) -> Any:
        return lambda request, **_: getattr(self._servicer, method)(request, CallContext((), None))
