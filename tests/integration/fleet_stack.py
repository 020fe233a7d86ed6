"""A stack whose simulated nodes live in the test's own process, to be looked at and broken by hand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.identity import Role
from services.common.server import RunningServer
from services.common.settings import ServerSettings
from services.common.units import GIB
from services.executor.bootstrap import Agent, serve
from services.executor.runners.simulated import Fault, Fleet, FleetSettings
from services.executor.runners.simulated.fleet import SimulatedNode
from tests.integration.clients import HOST
from tests.integration.stack import DISK_GIB, FLEET_DISKS, Credentials, Server, Stack

_NODES = 120
_WITHIN_S = 20.0


class FleetServer(Server):
    """The agents' server in this process; it can be stopped and started again with its nodes unchanged."""

    def __init__(self, credentials: Credentials, directory: Path) -> None:
        super().__init__("agents", ["--listen", f"{HOST}:0"], directory)
        self.fleet = Fleet(FleetSettings(nodes=_NODES, disks=FLEET_DISKS, disk_bytes=DISK_GIB * GIB))
        self._tls = credentials.of(Role.AGENT)
        self._running: RunningServer | None = None

    def spawn(self) -> None:
        listen = self.argv[self.argv.index("--listen") + 1]
        settings = ServerSettings(listen=(listen,), tls=self._tls, insecure_plaintext=False, grace_s=2.0)
        self._running = serve(Agent(self.fleet.lookup, self.fleet.close), settings)
        self.ready_line = f"agents ready on {' '.join(self._running.addresses)}"

    def await_ready(self) -> None:
        """It is ready when it is spawned."""

    def is_running(self) -> bool:
        return self._running is not None

    def end(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def node(self, number: int) -> SimulatedNode:
        return self.fleet.node(f"node{number}")


class FleetStack(Stack):
    """See the module."""

    def __init__(self, directory: Path, credentials: Credentials, database: str) -> None:
        super().__init__(directory, credentials, database)
        self.agents_server: FleetServer = FleetServer(credentials, directory)

    @property
    def fleet(self) -> Fleet:
        return self.agents_server.fleet

    def close(self) -> None:
        super().close()
        self.fleet.close()

    @contextmanager
    def fault_on(self, hostname: str) -> Iterator[None]:
        """A node whose agent loses it in whatever it runs, for the length of a block."""
        self.fleet.faults.add(Fault(command=".", action="crash", node=hostname, times=0, name=f"lost {hostname}"))
        try:
            yield
        finally:
            self.fleet.faults.clear()

    @contextmanager
    def held_at_start(
        self, hostname: str, *, verb: str = "RemoveOrphanBrick", nodes: str = ""
    ) -> Iterator[Callable[[], None]]:
        """A verb of a node that waits at its start for the end of the block; the function waits until it is there."""
        fault = Fault(command=f"verb {verb}$", action="stall", node=nodes or hostname, name="held")
        self.fleet.faults.add(fault)

        def reached() -> None:
            assert self.fleet.faults.wait_struck("held", _WITHIN_S), f"{verb} was not reached"

        try:
            yield reached
        finally:
            self.fleet.faults.clear()
