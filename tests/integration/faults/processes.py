"""Real processes in a few milliseconds: forked from one that has imported everything, and made nothing of gRPC yet."""

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import gateway.bootstrap
import gateway.heketi.app
import gateway.heketi.settings
import gateway.operations.kinds
import services.allocator.bootstrap
import services.executor.bootstrap
import services.topology.bootstrap
from gateway.__main__ import main as gateway_main
from gateway.clients import Agents
from services.allocator.__main__ import main as allocator_main
from services.allocator.servicer import AllocatorServicer
from services.common import channels
from services.common.errors import InternalError, UnavailableError
from services.common.logs import configure_logs
from services.common.reasons import Reason
from services.common.server import run_until_stopped
from services.common.settings import ServerSettings
from services.executor.bootstrap import Agent
from services.executor.journal import Journal
from services.executor.node import Node
from services.executor.runners.simulated.fleet import FleetSettings
from services.executor.servicer import NODE_KEY, ExecutorServicer
from services.executor.settings import NodeSettings
from services.topology.__main__ import main as topology_main
from services.topology.operation_servicer import OperationServicer
from tests.integration.faults.gate import SAID
from tests.integration.faults.wire import Caller, RemoteRunner, receive, send

PRELOADED = (gateway, services)
# Between services; the rig shortens it, so that a topology that hangs is noticed in seconds.
SERVICE_TIMEOUT_S = 2.0
_PR_SET_PDEATHSIG = 1
_SECONDARY = frozenset({"RenewLeases", "ClaimOperations", "WatchOperation"})
_LOOKS = ("Get", "List", "Watch", "Check")


def _is_step(method: str, request: Any) -> bool:
    """Whether a call of a service is a step of an operation."""
    if method == "UpdateOperation":
        # The decision to take back; mere progress comes when the clock says so.
        return bool(request.HasField("error"))
    return method not in _SECONDARY


def _gated(servicer: type, caller: Caller, *, with_looks: bool) -> None:
    """Lets every call of a servicer pass the gate when it comes and before its answer goes."""
    for method in dir(servicer):
        found = getattr(servicer, method)
        # What is not served is the contract's own stub.
        served = method[0].isupper() and found.__module__.startswith("services.")
        if served and (with_looks or not method.startswith(_LOOKS)):
            setattr(servicer, method, _through_gate(found, method, caller))


def _through_gate(inner: Callable[..., Any], method: str, caller: Caller) -> Callable[..., Any]:
    def call(self: Any, request: Any, context: Any) -> Any:
        if not _is_step(method, request):
            return inner(self, request, context)
        node = str(dict(context.invocation_metadata()).get(NODE_KEY, ""))
        _pass(caller, node, f"call {method}")
        answer = inner(self, request, context)
        _pass(caller, node, f"call {method} done")
        return answer

    return call


def _pass(caller: Caller, node: str, command: str) -> None:
    verdict = caller("strike", node, command)
    if verdict == "fail":
        raise InternalError(Reason.INTERNAL, SAID)
    if verdict == "lose":
        raise UnavailableError(Reason.UNAVAILABLE, "the answer got lost")


def topology(hardware: Path, argv: Sequence[str]) -> None:
    """brickyard-topology."""
    _gated(OperationServicer, Caller(hardware), with_looks=False)
    topology_main(list(argv))


def allocator(hardware: Path, argv: Sequence[str]) -> None:
    """brickyard-allocator."""
    _gated(AllocatorServicer, Caller(hardware), with_looks=False)
    allocator_main(list(argv))


def gateway_process(_hardware: Path, argv: Sequence[str]) -> None:
    """brickyard-gateway."""
    for call in (channels.call_aio, Agents.call):
        (call.__kwdefaults__ or {})["timeout_s"] = SERVICE_TIMEOUT_S
    gateway_main(list(argv))


def agents(hardware: Path, argv: Sequence[str]) -> None:
    """The agents of all nodes: real verbs and a journal on disk for each, on nodes that live elsewhere."""
    address, state = argv
    configure_logs(process="brickyard-agent", level="info")
    caller = Caller(hardware)
    _gated(ExecutorServicer, caller, with_looks=True)
    nodes: dict[str, Node] = {}
    guard = threading.Lock()
    defaults = FleetSettings()

    def lookup(name: str) -> Node:
        with guard:
            if name not in nodes:
                settings = NodeSettings(names=(name,), policy=defaults.policy, patience=defaults.patience)
                journal = Journal(Path(state) / f"{name}.sqlite3")
                made = Node(RemoteRunner(caller, name), journal, settings)
                made.mount_bricks()
                nodes[name] = made
            return nodes[name]

    listening = ServerSettings(listen=(address,), tls=None, insecure_plaintext=False, grace_s=1.0)
    server = services.executor.bootstrap.serve(Agent(lookup, lambda: None), listening, with_reflection=False)
    run_until_stopped(server, process="brickyard-agent")


ROLES: Mapping[str, Callable[[Path, Sequence[str]], None]] = {
    "topology": topology,
    "allocator": allocator,
    "gateway": gateway_process,
    "agents": agents,
}


class ForkServer:
    """Forks workers and, at their request, the services of their rigs. Stays without threads, and without gRPC."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._children: set[int] = set()

    def start_worker(self, work: Callable[["Spawner"], None]) -> int:
        """Forks a worker, which may ask for services; gives its pid."""
        ours, theirs = socket.socketpair()

        def run() -> None:
            ours.close()
            work(Spawner(theirs))

        pid = self._fork(run, keep=theirs)
        theirs.close()
        self._selector.register(ours, selectors.EVENT_READ)
        return pid

    def _fork(self, run: Callable[[], None], *, keep: socket.socket | None = None) -> int:
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            self._be_child(run, keep, parent)
        self._children.add(pid)
        return pid

    def _be_child(self, run: Callable[[], None], keep: socket.socket | None, parent: int) -> NoReturn:
        code = 1
        try:
            _end_with(parent)
            for key in list(self._selector.get_map().values()):
                if key.fileobj is not keep:
                    key.fileobj.close()  # type: ignore[union-attr] # only sockets are registered
            run()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            sys.excepthook(*sys.exc_info())
        _leave(code)

    def serve(self) -> None:
        """Serves until all workers are gone, then ends what they left."""
        while self._selector.get_map():
            for key, _ in self._selector.select(timeout=1.0):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    role, hardware, argv, log = receive(connection)
                except (EOFError, OSError):
                    self._selector.unregister(connection)
                    connection.close()
                    continue
                send(connection, self._fork(lambda: _serve(role, hardware, argv, log)))  # noqa: B023 - runs at once
            self._reap()
        self.end()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                self._children.discard(pid)

    def end(self) -> None:
        """Kills all children."""
        self._reap()
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _end_with(parent: int) -> None:
    """Nothing outlives the fork server, however that ends."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It was gone before it could be asked for.
        _leave(1)


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve(role: str, hardware: Path, argv: Sequence[str], log: Path) -> None:
    # A service outlives a Ctrl-C, until its worker ends it.
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    ROLES[role](hardware, argv)


class Spawner:
    """A worker's way to the fork server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def spawn(self, role: str, hardware: Path, argv: Sequence[str], log: Path) -> int:
        """Starts a service and gives its pid."""
        with self._lock:
            send(self._connection, (role, hardware, list(argv), log))
            return int(receive(self._connection))
