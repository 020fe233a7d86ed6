"""The whole of Brickyard on the lab: agents in the nodes, the other services in the lab's network on this host.

The demo, the end-to-end tests and the benchmarks stand on it. Effects: processes, namespaces, files; `close` ends all.
"""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from compose.lab import network
from compose.lab.errors import LabError, TimeLimitError
from compose.lab.manager import Lab
from compose.lab.settings import STATE_FILE, LabConfig
from compose.lab.teardown import remove_lab
from compose.lab.waiting import Progress, wait_until
from gateway.cli.rest_client import RestClient
from services.common.authority import create_authority, issue_certificate
from services.common.credentials import TlsFiles
from services.common.identity import Role

ROOT = Path(__file__).resolve().parents[1]
HOST_ADDRESS = "10.77.0.1"
# Where agents join by token.
JOIN_PORT = 7403
REST_PORT = 8080
PORTS = {"topology": 7401, "allocator": 7402, "gateway": 7400}
_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 15.0
_GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """What is booted.

    Attributes:
        name: Of the lab; two of different names can live side by side.
        nodes: Storage nodes.
        disks: Data disks of each.
        disk_bytes: Size of each disk.
        gateway_flags: Further flags of the gateway.
        boot_script: What a node runs before glusterd.
        node_environment: Further variables of that script.
    """

    name: str = "brickyard-demo"
    nodes: int = 3
    disks: int = 1
    disk_bytes: int = 8 * _GIB
    gateway_flags: tuple[str, ...] = ()
    boot_script: Path = ROOT / "compose" / "agent-boot"
    node_environment: Mapping[str, str] = field(default_factory=dict)


class StackError(Exception):
    """A service did not start; its log is in the text."""


class _LabTransport(httpx.BaseTransport):
    """HTTP into the lab's network, from a process that stays outside of it."""

    def __init__(self, lab: str) -> None:
        self._lab = lab

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One connection a request: they are few."""
        connection = http.client.HTTPConnection(request.url.host, request.url.port or 80, timeout=120)
        try:
            connection.sock = network.connect(self._lab, request.url.host, request.url.port or 80, 30)
            connection.request(
                request.method, request.url.raw_path.decode(), request.read(), dict(request.headers.items())
            )
            answer = connection.getresponse()
            return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        finally:
            connection.close()


@dataclass(slots=True)
class Stack:
    """A running one; make it with `Stack.up`."""

    config: StackConfig
    progress: Progress
    lab: Lab | None = None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kept: bool = False

    @property
    def directory(self) -> Path:
        """Keys, certificates, database and logs; gone after `close`."""
        return Path(f"/tmp/{self.config.name}-stack")  # noqa: S108 - made with mode 0700, refused if it exists

    @property
    def lab_directory(self) -> str:
        """Disks and logs of the nodes; the lab makes, guards and removes it."""
        return f"/tmp/{self.config.name}"  # noqa: S108 - see above

    @classmethod
    def up(cls, config: StackConfig, progress: Progress | None = None) -> Self:
        """Boots nodes and starts all services; what was started is taken down again when anything fails.

        Raises:
            CannotRunHereError: The lab cannot run on this machine; says why.
            LabError: A node did not come up.
            StackError: A service did not start.
        """
        stack = cls(config, progress or Progress(quiet=True))
        try:
            stack.make_identities()
            stack.boot_nodes()
            stack.start_services()
        except BaseException:
            stack.close()
            raise
        return stack

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def addresses(self) -> list[str]:
        """Addresses of the nodes."""
        return [f"10.77.0.{10 + index}" for index in range(1, self.config.nodes + 1)]

    @property
    def url(self) -> str:
        """The REST interface, as seen in the lab's network."""
        return f"http://{HOST_ADDRESS}:{REST_PORT}"

    def tls(self, name: str) -> TlsFiles:
        """Certificate of a process: topology, allocator, gateway, operator or agent-ADDRESS."""
        return TlsFiles.in_directory(self.directory / "tls" / name)

    def make_identities(self) -> None:
        """The certificate authority, a certificate for every process, and the keys of the REST users."""
        self.directory.mkdir(mode=0o700)
        authority = self.directory / "ca"
        create_authority(authority)
        for role in (Role.TOPOLOGY, Role.ALLOCATOR, Role.GATEWAY, Role.OPERATOR):
            issue_certificate(
                authority, self.directory / "tls" / role.value, role=role, name=role.value, hosts=[HOST_ADDRESS]
            )
        for address in self.addresses:
            target = self.directory / "tls" / f"agent-{address}"
            issue_certificate(authority, target, role=Role.AGENT, name=address, hosts=[address])
        for user in ("admin", "user"):
            key = self.directory / f"{user}.key"
            key.touch(mode=0o600)
            key.write_text(secrets.token_urlsafe(32) + "\n")

    def boot_nodes(self) -> None:
        """Boots the nodes; their agents answer and glusterd runs when it returns."""
        self.lab = Lab.up(
            LabConfig(
                name=self.config.name,
                directory=self.lab_directory,
                nodes=self.config.nodes,
                disks=self.config.disks,
                disk_bytes=self.config.disk_bytes,
                shares=(str(self.directory / "tls"),),
                boot_scripts=(str(self.config.boot_script),),
                env={
                    "BRICKYARD_PYTHON": sys.executable,
                    "BRICKYARD_TLS": str(self.directory / "tls"),
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}",
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **self.config.node_environment,
                },
            ),
            self.progress,
        )

    def running_lab(self) -> Lab:
        """The lab.

        Raises:
            StackError: It is not up.
        """
        if self.lab is None:
            raise StackError("the lab is not up")
        return self.lab

    def start_services(self) -> None:
        """Starts topology, allocator and gateway side by side, and waits for each to be ready."""
        for name in PORTS:
            self.start_service(name, wait=False)
        for name in PORTS:
            self.await_service(name)
        with self.rest() as client:
            # The gateway may have looked for the topology before it was there, and looks again only after a pause.
            wait_until(
                lambda: client.request("GET", "/clusters").is_success,
                seconds=_START_WITHIN_S,
                what="the gateway to find the topology",
                progress=self.progress,
            )

    def start_service(self, name: str, *, wait: bool = True) -> None:
        """Starts one service; see PORTS for the names."""
        module = {"topology": "services.topology", "allocator": "services.allocator", "gateway": "gateway"}[name]
        topology = ["--topology", f"{HOST_ADDRESS}:{PORTS['topology']}"]
        flags = {
            "topology": [
                *("--database", f"sqlite:///{self.directory}/topology.db"),
                *("--ca-dir", str(self.directory / "ca"), "--join-listen", f"{HOST_ADDRESS}:{JOIN_PORT}"),
            ],
            "allocator": topology,
            "gateway": [
                *topology,
                *("--allocator", f"{HOST_ADDRESS}:{PORTS['allocator']}"),
                *("--rest", f"{HOST_ADDRESS}:{REST_PORT}"),
                *("--admin-key-file", str(self.directory / "admin.key")),
                *("--user-key-file", str(self.directory / "user.key")),
                *self.config.gateway_flags,
            ],
        }[name]
        self.start_process(name, module, [*("--listen", f"{HOST_ADDRESS}:{PORTS[name]}"), *flags], wait=wait)

    def start_process(self, name: str, module: str, flags: Sequence[str], *, wait: bool = True) -> None:
        """Starts a server in the lab's network, with the certificate of its name."""
        tls = ["--tls-dir", str(self.directory / "tls" / name)]
        argv = self.running_lab().host_argv([sys.executable, "-m", module, *tls, *flags], cwd=str(ROOT))
        with self._log(name).open("ab") as log, self._ready_file(name).open("wb") as ready:
            self.processes[name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=ready,
                stderr=log,
                # A Ctrl-C in the terminal is for the one who started us; we stop the services in order.
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}", "PYTHONUNBUFFERED": "1"},
            )
        if wait:
            self.await_service(name)

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _ready_file(self, name: str) -> Path:
        return self.directory / f"{name}.ready"

    def await_service(self, name: str) -> None:
        """Waits for the ready line of a service.

        Raises:
            StackError: It ended; its log is in the text.
        """
        process = self.processes[name]

        def ready() -> bool:
            if process.poll() is not None:
                log = self._log(name).read_text().splitlines()[-10:]
                raise StackError(f"{name} ended with exit code {process.returncode}:\n" + "\n".join(log))
            return " ready on " in self._ready_file(name).read_text()

        wait_until(ready, seconds=_START_WITHIN_S, what=f"{name} to get ready", progress=self.progress)

    def kill_service(self, name: str) -> None:
        """Kills one service at once, as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def rest(self, user: str = "admin") -> RestClient:
        """A client of the REST interface."""
        key = (self.directory / f"{user}.key").read_text().strip()
        return RestClient(self.url, key=key, user=user, transport=_LabTransport(self.config.name))

    def topology_document(self) -> dict[str, object]:
        """All nodes and disks as a topology file of Heketi's format."""
        return {
            "clusters": [
                {
                    "nodes": [
                        {
                            "node": {"hostnames": {"manage": [address], "storage": [address]}, "zone": index},
                            "devices": self.running_lab().node(f"node{index}").devices,
                        }
                        for index, address in enumerate(self.addresses, start=1)
                    ]
                }
            ]
        }

    def write_topology_file(self) -> Path:
        """The topology document as a file."""
        path = self.directory / "topology.json"
        path.write_text(json.dumps(self.topology_document(), indent=2) + "\n")
        return path

    def node_run(self, address: str, argv: Sequence[str]) -> str:
        """Runs a command in the node with this address and returns its stdout; a failure raises."""
        name = f"node{self.addresses.index(address) + 1}"
        return self.running_lab().node(name).run(list(argv), check=True).stdout

    def close(self) -> None:
        """Stops the services, takes the lab down, removes the files, unless it is to stay. May be repeated."""
        if self.kept:
            return
        for name in reversed(list(self.processes)):
            _stop(self.processes.pop(name))
        # A signal may have come between the start of a process and our note of it.
        _end_all(self.directory)
        if self.lab is not None:
            self.lab.down()
            self.lab = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def leave_running(self) -> None:
        """Lets it go on when this process ends; `take_down` stops it later."""
        self.kept = True


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def take_down(config: StackConfig) -> None:
    """Stops and removes what an earlier process left running, or left behind when it was killed at whatever moment.

    Raises:
        LabError: There is nothing of that name, or something of it cannot be removed.
    """
    stack = Stack(config, Progress())
    lab_directory = Path(stack.lab_directory)
    if not stack.directory.exists() and not (lab_directory / STATE_FILE).exists():
        raise LabError(f"nothing called {config.name} is up ({stack.directory} and {lab_directory} are not there)")
    _end_all(stack.directory)
    # A process killed early had no lab yet; one killed late had none any more.
    if (lab_directory / STATE_FILE).exists():
        Lab.open(config.name, stack.lab_directory).down()
    else:
        remove_lab(config.name, stack.lab_directory)
    shutil.rmtree(stack.directory, ignore_errors=True)


def _end_all(directory: Path) -> None:
    """Ends every process that has the certificates in `directory`: they are ours, whoever started them."""
    mark = f"{directory}/tls/".encode()

    def ours() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue  # it ended while we looked
        return found

    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in ours():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        with contextlib.suppress(TimeLimitError):
            wait_until(lambda: not ours(), seconds=_STOP_WITHIN_S, what="services to end")
            return
