"""Real processes with mutual TLS on loopback: topology, allocator, simulated agents, any number of gateways."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from services.common.authority import create_authority, issue_certificate
from services.common.credentials import TlsFiles
from services.common.identity import Role
from tests.integration.clients import HOST, KEYS, Agents, Rest, Stubs

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 20.0
SERVER_ROLES = (Role.TOPOLOGY, Role.ALLOCATOR, Role.GATEWAY, Role.AGENT)
ROLES = (*SERVER_ROLES, Role.OPERATOR)
# Every test takes fresh nodes, so that none finds another one's leavings.
FLEET_NODES = 800
FLEET_DISKS = 2
DISK_GIB = 100
# Of a volume that is made to host a block volume.
HOSTING_GIB = 20

# For tests of what has nothing to do with the database; it is proved now and then.
_ENGINES = ["sqlite", "postgresql"] if os.environ.get("BRICKYARD_ENGINES_ALL") else ["sqlite"]
ON_SQLITE = pytest.mark.parametrize("stack", _ENGINES, indirect=True)

_Found = TypeVar("_Found")


class StackError(Exception):
    """A process did not do what a test stands on; its log is in the text."""


def wait_until(condition: Callable[[], _Found], what: str, *, seconds: float = 20.0) -> _Found:
    """The first true value of `condition`; AssertionError names `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


class Credentials:
    """A certificate authority and one certificate for each role, all for 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = directory / "ca"
        create_authority(self.authority)
        for role in ROLES:
            self.issue(role)

    def issue(self, role: Role, *, name: str = "", hosts: Sequence[str] = (HOST,)) -> TlsFiles:
        chosen = name or role.value
        return issue_certificate(self.authority, self.directory / chosen, role=role, name=chosen, hosts=hosts)

    def of(self, role: Role) -> TlsFiles:
        return TlsFiles.in_directory(self.directory / role.value)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without settings of Brickyard, with the import paths of this checkout, and `extra`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BRICKYARD_", "HEKETI_"))}
    path = os.pathsep.join((str(ROOT), str(ROOT / "protos" / "gen")))
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}


@dataclass(slots=True)
class Server:
    """One process that prints a ready line.

    Attributes:
        name: For messages and files.
        argv: Command line after the interpreter.
        directory: Where its log is written.
        env: Further environment.
    """

    name: str
    argv: list[str]
    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    ready_line: str = ""
    _process: "subprocess.Popen[str] | None" = None

    @property
    def log(self) -> Path:
        """Its stderr over all its lives."""
        return self.directory / f"{self.name}.log"

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The process of its present life."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    @property
    def pid(self) -> int:
        """Of its present life."""
        return self.process.pid

    @property
    def addresses(self) -> list[str]:
        """What follows "ready on" in its ready line."""
        return self.ready_line.partition(" ready on ")[2].split()

    def spawn(self) -> None:
        """Starts it and does not wait."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(self.env),
                cwd=self.directory,
                # A Ctrl-C is for pytest, which stops the processes in order.
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """Waits for the ready line. Raises StackError when it ends first or takes too long."""
        stdout = self.process.stdout
        assert stdout is not None
        deadline = time.monotonic() + READY_WITHIN_S
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                line = stdout.readline()
                if not line:
                    raise StackError(f"{self.name} ended with {self.process.wait()}:\n{self.tail()}")
                if " ready on " in line:
                    self.ready_line = line.strip()
                    return
        raise StackError(f"{self.name} was not ready within {READY_WITHIN_S:g} s:\n{self.tail()}")

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        self.spawn()
        self.await_ready()

    def wait(self, seconds: float = STOP_WITHIN_S) -> int:
        """Waits for its end and gives its exit code."""
        code = self.process.wait(timeout=seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end and gives its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.wait()

    def is_running(self) -> bool:
        """Whether its present life goes on."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """Ends it whatever its state; for the end of a test."""
        if self._process is None:
            return
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text().splitlines()[-lines:])

    def events(self, name: str = "", **fields: object) -> list[dict[str, Any]]:
        """The lines of its log with this event name and these fields."""
        found = []
        for line in self.log.read_text().splitlines():
            if not line.startswith("{"):
                continue
            event = json.loads(line)
            if (not name or event["event"] == name) and all(event.get(key) == fields[key] for key in fields):
                found.append(event)
        return found


def flags_of(credentials: Credentials, role: Role, listen: str = f"{HOST}:0") -> list[str]:
    """Where a server of this role listens, and its certificate."""
    return ["--listen", listen, "--tls-dir", str(credentials.directory / role.value)]


class Stack:
    """One of each service, and more gateways on demand. All of them log everything."""

    def __init__(
        self,
        directory: Path,
        credentials: Credentials,
        database: str,
        *,
        simulate: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        """`database` is the topology's URL; `simulate` replaces the simulated fleet's flags; `flags` are for all."""
        self._flags = flags
        self.directory = directory
        self.credentials = credentials
        self.faults = directory / "faults.json"
        fleet = simulate or (
            *("--simulate", str(FLEET_NODES), "--simulate-disks", str(FLEET_DISKS)),
            *("--simulate-disk-size", f"{DISK_GIB}GiB"),
        )
        self.topology = self._server(
            "topology",
            Role.TOPOLOGY,
            "services.topology",
            [
                *("--database", database, "--ca-dir", str(credentials.authority), "--join-listen", f"{HOST}:0"),
            ],
        )
        self.agents_server = self._server(
            "agents", Role.AGENT, "services.executor", [*fleet, "--faults", str(self.faults)]
        )
        self.allocator = self._server("allocator", Role.ALLOCATOR, "services.allocator", [])
        self.gateway_flags: Sequence[str] = (
            *("--auto-create-block-hosting-volume", "--block-hosting-volume-size", str(HOSTING_GIB)),
        )
        self.gateways: list[Server] = []
        self._nodes = count(1)
        self._gateway_numbers = count(1)
        self._stubs: dict[tuple[Role, str], Stubs] = {}

    def _server(self, name: str, role: Role, module: str, flags: Sequence[str]) -> Server:
        argv = [module, *flags_of(self.credentials, role), "--log-level", "debug", *self._flags, *flags]
        return Server(name, argv, self.directory)

    def start(self) -> None:
        """Starts all, and one gateway."""
        for server in (self.topology, self.agents_server):
            server.spawn()
        for server in (self.topology, self.agents_server):
            server.await_ready()
        self._pin(self.topology, self.agents_server)
        self.allocator.argv += ["--topology", self.topology.addresses[0]]
        self.allocator.start()
        self._pin(self.allocator)
        self.new_gateway()

    @staticmethod
    def _pin(*servers: Server) -> None:
        """Makes a restarted server take the same port."""
        for server in servers:
            server.argv[server.argv.index("--listen") + 1] = server.addresses[0]

    @property
    def gateway(self) -> Server:
        """The first gateway, which lives as long as the stack."""
        return self.gateways[0]

    def gateway_server(self, *flags: str, env: Mapping[str, str] | None = None) -> Server:
        """A further gateway, not started."""
        name = f"gateway{next(self._gateway_numbers)}"
        argv = [
            *("gateway", *flags_of(self.credentials, Role.GATEWAY), "--log-level", "debug", "--rest", f"{HOST}:0"),
            *("--topology", self.topology.addresses[0], "--allocator", self.allocator.addresses[0]),
            *("--agents", self.agents_server.addresses[0], "--lease-seconds", "1", "--owner", name),
            # Looks at the nodes would meet faults that are meant for operations.
            *("--facts-interval-seconds", "0", *self._flags, *self.gateway_flags, *flags),
        ]
        keys = {"HEKETI_ADMIN_KEY": KEYS["admin"], "HEKETI_USER_KEY": KEYS["user"]}
        return Server(name, argv, self.directory, keys if env is None else env)

    def new_gateway(self, *flags: str) -> Server:
        """A further gateway, ready."""
        server = self.gateway_server(*flags)
        self.gateways.append(server)
        server.start()
        return server

    @contextmanager
    def extra_gateway(self, *flags: str) -> Iterator[Server]:
        """A further gateway for the length of a block."""
        server = self.new_gateway(*flags)
        try:
            yield server
        finally:
            self.gateways.remove(server)
            server.end()

    def rest(self, gateway: Server | None = None, *, user: str = "admin") -> Rest:
        """A client of the REST face."""
        return Rest((gateway or self.gateway).addresses[0], KEYS[user], user)

    def stubs(self, role: Role = Role.OPERATOR, gateway: Server | None = None) -> Stubs:
        """gRPC clients with the certificate of a role."""
        server = gateway or self.gateway
        key = (role, server.name)
        if key not in self._stubs:
            self._stubs[key] = Stubs(
                self.credentials.of(role),
                topology=self.topology.addresses[0],
                allocator=self.allocator.addresses[0],
                agents=self.agents_server.addresses[0],
                operator=server.addresses[1],
            )
        return self._stubs[key]

    @property
    def agents(self) -> Agents:
        """What the nodes hold."""
        return Agents(self.stubs().executor)

    def fresh_nodes(self, number: int) -> list[int]:
        """Numbers of nodes that nobody has used: node N is managed as "nodeN" and stores at 10.0.0.N."""
        return list(islice(self._nodes, number))

    @contextmanager
    def fault(self, *faults: Mapping[str, object]) -> Iterator[None]:
        """Arms faults of the simulated nodes for the length of a block; see services.executor's Fault."""
        self.arm(*faults)
        try:
            yield
        finally:
            self.faults.unlink()

    def arm(self, *faults: Mapping[str, object]) -> None:
        """Within such a block: arms these faults instead, at once."""
        scratch = self.faults.with_suffix(".new")
        scratch.write_text(json.dumps({"fault": faults}))
        scratch.rename(self.faults)

    def forget_clients(self) -> None:
        """Closes the clients, whose servers are others now."""
        for stubs in self._stubs.values():
            stubs.close()
        self._stubs.clear()

    def close(self) -> None:
        """Ends everything."""
        self.forget_clients()
        for server in [*reversed(self.gateways), self.allocator, self.agents_server, self.topology]:
            server.end()


def servers_of(stack: Stack) -> dict[Role, tuple[Server, str]]:
    """Every kind of server and its gRPC address."""
    return {
        Role.TOPOLOGY: (stack.topology, stack.topology.addresses[0]),
        Role.ALLOCATOR: (stack.allocator, stack.allocator.addresses[0]),
        Role.AGENT: (stack.agents_server, stack.agents_server.addresses[0]),
        Role.GATEWAY: (stack.gateway, stack.gateway.addresses[1]),
    }


def secure_channel(address: str, files: TlsFiles | None, *, authority: Path) -> grpc.Channel:
    """A channel that does not repeat what failed; without `files` the client shows no certificate."""
    ca = (authority / "ca.pem").read_bytes()
    if files is None:
        credentials = grpc.ssl_channel_credentials(root_certificates=ca)
    else:
        credentials = grpc.ssl_channel_credentials(ca, files.key.read_bytes(), files.certificate.read_bytes())
    return grpc.secure_channel(address, credentials, options=[("grpc.enable_retries", 0)])
