"""A stack of real processes on simulated nodes that outlive all of them. Effects: processes, Unix sockets, files."""

import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx

from brickyard.gateway.v1.examination_pb2 import FINDING_SEVERITY_DIFFERENCE, ExamineRequest
from brickyard.gateway.v1.operator_service_pb2_grpc import OperatorServiceStub
from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from brickyard.topology.v1.operation_service_pb2_grpc import OperationServiceStub
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from services.common.channels import channel_options, target_of
from services.executor.runners.base import CommandResult
from services.executor.runners.simulated import Fleet, FleetSettings
from tests.integration.faults.comparison import Books, differences, read_books
from tests.integration.faults.gate import Gate
from tests.integration.faults.processes import Spawner
from tests.integration.faults.wire import Switchboard

NODES = 6
DISKS = 2
DISK_BYTES = 100 << 30
LEASE_S = 1.0
# How long one change on a node may take, and how long a silent node is waited for.
NODE_TIMEOUT_S = 1.5
NODE_PATIENCE_S = 1.5
RETRY_S = 0.3
_READY_WITHIN_S = 20.0
_CALL_S = 10.0
_PAUSE_S = 0.01
_ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)
_Found = TypeVar("_Found")


class RigError(Exception):
    """Something did not come to pass."""


def until(condition: Callable[[], _Found], what: str, *, seconds: float = _READY_WITHIN_S) -> _Found:
    """The first true value of `condition`. Raises RigError, which names `what`, when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise RigError(f"{what}: not within {seconds:g} s")
        time.sleep(_PAUSE_S)


class Service:
    """One process of a rig; it may be killed and started again."""

    def __init__(self, spawn: Callable[[], int]) -> None:
        self._spawn = spawn
        self._pid = 0

    def start(self) -> None:
        """Starts it, and does not wait."""
        self._pid = self._spawn()

    def kill(self) -> None:
        """kill -9, and waits for the end."""
        if not self._pid:
            return
        try:
            descriptor = os.pidfd_open(self._pid)
        except ProcessLookupError:
            return
        try:
            os.kill(self._pid, signal.SIGKILL)
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_READ)
                selector.select(timeout=_READY_WITHIN_S)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)
            self._pid = 0


class Gateway(Service):
    """A gateway; each of its lives has another owner's name, and the same address."""

    def __init__(self, spawn: Callable[[str, str], int], socket_path: str) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        super().__init__(lambda: spawn(self.address, socket_path))


class Rig:
    """Topology, allocator, agents and a gateway, each a process, and the nodes.

    Args:
        directory: For sockets, database, journals and logs; mode 0700.
        spawner: Starts processes.
        gateways: How many.
        copies: How many topologies and allocators; more than one listen on TCP.
        database: URL of the topologies' database; empty = SQLite in the directory.
        max_in_flight: Volume operations at the same time.
        transactions: Whether glusterd answers that another transaction is in progress while one is.
    """

    def __init__(
        self,
        directory: Path,
        spawner: Spawner,
        *,
        gateways: int = 1,
        copies: int = 1,
        database: str = "",
        max_in_flight: int = 1,
        transactions: "Transactions | None" = None,
    ) -> None:
        self.directory = directory
        self.gate = Gate()
        self.fleet = Fleet(FleetSettings(nodes=NODES, disks=DISKS, disk_bytes=DISK_BYTES), self.gate)
        self._spawner = spawner
        self._hardware = directory / "hardware.sock"
        self._board = Switchboard(self._hardware, self._call)
        self._owners = count(1)
        self._max_in_flight = max_in_flight
        self._transactions = transactions
        (directory / "journals").mkdir()
        self._addresses = {name: self._addresses_of(name, copies) for name in ("topology", "allocator")}
        self.topologies = [
            Service(self._server("topology", each, "--database", database or f"sqlite:///{directory}/topology.db"))
            for each in self._addresses["topology"]
        ]
        self.allocators = [
            Service(self._server("allocator", each, "--topology", self._all("topology")))
            for each in self._addresses["allocator"]
        ]
        self.topology, self.allocator = self.topologies[0], self.allocators[0]
        self.agents = Service(lambda: self._spawned("agents", [self._at("agents"), str(directory / "journals")]))
        self.gateways = [Gateway(self._spawn_gateway, self._at(f"operator{each}")) for each in range(gateways)]
        self.services = (*self.topologies, *self.allocators, self.agents, *self.gateways)
        target, several = target_of(self._all("topology"))
        self._channel = grpc.insecure_channel(
            target, options=[*channel_options(several=several), ("grpc.max_reconnect_backoff_ms", 200)]
        )
        self.operations: Any = OperationServiceStub(self._channel)
        self.topology_stub: Any = TopologyServiceStub(self._channel)
        self.http = self.new_client()

    def _at(self, name: str) -> str:
        return f"unix:{self.directory}/{name}.sock"

    def _addresses_of(self, name: str, copies: int) -> list[str]:
        return [self._at(name)] if copies == 1 else [f"127.0.0.1:{_free_port()}" for _ in range(copies)]

    def _all(self, name: str) -> str:
        return ",".join(self._addresses[name])

    def _server(self, role: str, address: str, *flags: str) -> Callable[[], int]:
        plain = [] if address.startswith("unix:") else ["--insecure-plaintext"]
        return lambda: self._spawned(role, ["--listen", address, *plain, *flags])

    def _spawned(self, role: str, argv: list[str]) -> int:
        return self._spawner.spawn(role, self._hardware, argv, self.directory / f"{role}.log")

    @property
    def gateway(self) -> Gateway:
        """The first."""
        return self.gateways[0]

    def _spawn_gateway(self, address: str, operator: str) -> int:
        argv = [
            *("--listen", operator, "--rest", address, "--disable-auth"),
            *(
                "--topology",
                self._all("topology"),
                "--allocator",
                self._all("allocator"),
                "--agents",
                self._at("agents"),
            ),
            *("--owner", f"gateway{next(self._owners)}", "--lease-seconds", str(LEASE_S)),
            *("--max-inflight-operations", str(self._max_in_flight), "--retry-seconds", str(RETRY_S)),
            *(
                "--facts-interval-seconds",
                "0",
                "--auto-create-block-hosting-volume",
                "--block-hosting-volume-size",
                "3",
            ),
            *("--node-timeout-seconds", str(NODE_TIMEOUT_S), "--node-patience-seconds", str(NODE_PATIENCE_S)),
        ]
        return self._spawned("gateway", argv)

    def _call(self, method: str, node: str, *positional: Any, **named: Any) -> Any:
        """What the processes ask of the nodes and of the gate."""
        if method == "strike":
            fault = self.gate.strike(node, positional[0], _CALL_S)
            return fault.name if fault is not None else ""
        runner = self.fleet.node(node).node._tools.runner
        if self._transactions is not None and positional[0] == "run":
            return self._transactions.run(runner, *positional[1:], **named)
        return getattr(runner, positional[0])(*positional[1:], **named)

    def new_client(self, gateway: Gateway | None = None) -> httpx.Client:
        """A client of a gateway's REST face, for one thread."""
        address = (gateway or self.gateway).address
        # Without TLS there is nothing to verify, and reading the authorities takes its time.
        return httpx.Client(base_url=f"http://{address}", timeout=_CALL_S, verify=False, trust_env=False)

    def start(self) -> None:
        """Starts all and waits until the gateway answers for all of them."""
        for service in self.services:
            service.start()
        self.await_gateway()
        until(self._has_topology, "the topology")

    def await_gateway(self) -> None:
        """Waits until the gateway answers."""
        until(self._answers, "the gateway")

    def _answers(self) -> bool:
        try:
            return self.http.get("/hello").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _has_topology(self) -> bool:
        try:
            return self.http.get("/clusters").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def send(
        self, method: str, path: str, body: Any = None, *, key: str = "", client: httpx.Client | None = None
    ) -> httpx.Response:
        """One REST request, with an idempotency key if one is given."""
        return (client or self.http).request(method, path, json=body, headers={"Idempotency-Key": key} if key else {})

    def follow(self, location: str, *, seconds: float = _READY_WITHIN_S) -> httpx.Response:
        """The final answer of a queue entry."""

        def answered() -> httpx.Response | None:
            answer = self.send("GET", location)
            return None if "x-pending" in answer.headers else answer

        found = until(answered, f"the end of {location}", seconds=seconds)
        assert found is not None
        return found

    def change(self, method: str, path: str, body: Any = None, *, key: str = "") -> httpx.Response:
        """A change, followed to its end."""
        answer = self.send(method, path, body, key=key)
        return self.follow(answer.headers["location"]) if answer.status_code == httpx.codes.ACCEPTED else answer

    def done(self, method: str, path: str, body: Any = None) -> Any:
        """A change that must succeed: what it made. Raises RigError when it does not."""
        answer = self.change(method, path, body)
        if answer.status_code == httpx.codes.SEE_OTHER:
            answer = self.send("GET", answer.headers["location"])
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise RigError(f"{method} {path} {body}: {answer.status_code} {answer.text.strip()}")
        return answer.json() if answer.content else None

    def operation(self, *, request_id: str = "", operation_id: str = "") -> operation_pb2.Operation | None:
        """An operation as the topology has it; None when it has none, or does not answer."""
        try:
            answer = self.operations.GetOperation(
                operation_service_pb2.GetOperationRequest(request_id=request_id, operation_id=operation_id),
                timeout=_CALL_S,
            )
        except grpc.RpcError as error:
            if error.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE}:
                return None
            raise
        found: operation_pb2.Operation = answer.operation
        return found

    def books(self) -> Books:
        """What the topology says."""
        return read_books(self.topology_stub, self.operations)

    def differences(self) -> list[str]:
        """In what the books and the nodes do not agree."""
        return differences(self.books(), self.fleet)

    def examined(self) -> list[str]:
        """In what the gateway's own examination finds that records and nodes differ."""
        with grpc.insecure_channel(self._at("operator0"), options=channel_options()) as channel:
            answer = OperatorServiceStub(channel).Examine(ExamineRequest(), timeout=_CALL_S, wait_for_ready=True)
        told = [each for each in answer.findings if each.severity == FINDING_SEVERITY_DIFFERENCE]
        return [f"{each.kind} {each.object}: {each.message}" for each in told]

    def log_tail(self, lines: int = 6) -> str:
        """The ends of the logs of all processes."""
        parts = []
        for path in sorted(self.directory.glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {path.name}", *tail]))
        return "\n".join(parts)

    def close(self) -> None:
        """Kills all."""
        self.gate.begin()
        for service in self.services:
            service.kill()
        self.http.close()
        self._channel.close()
        self._board.close()


class Transactions:
    """Lets changes of gluster meet as they do on real nodes, and keeps what was done by which command.

    Attributes:
        done: The commands that were carried out, with what they said.
        refused: How many changes met another one.
    """

    def __init__(self, length_s: float) -> None:
        """`length_s` is how long a change takes."""
        self.done: list[tuple[tuple[str, ...], str]] = []
        self.refused = 0
        self._length_s = length_s
        self._running = threading.Lock()

    def run(self, runner: Any, argv: Sequence[str], **named: Any) -> CommandResult:
        """Runs a command of a node."""
        changes = argv[0] == "gluster" and "--xml" not in argv and named.get("input") is not None
        if changes and not self._running.acquire(blocking=False):
            self.refused += 1
            said = "volume start: failed: Another transaction is in progress. Please try again after some time.\n"
            return CommandResult(tuple(argv), 1, "", said, 0.0)
        try:
            if changes:
                # Somebody else shall come while it runs.
                time.sleep(self._length_s)
            result: CommandResult = runner.run(argv, **named)
        finally:
            if changes:
                self._running.release()
        if result.exit_code == 0 or result.stdout:
            self.done.append((result.argv, result.stdout))
        return result


def has_ended(operation: operation_pb2.Operation | None) -> bool:
    """Whether it is there and has ended."""
    return operation is not None and operation.state in _ENDED


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
