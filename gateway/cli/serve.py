"""`brickyard serve`: topology, allocator, simulated nodes and gateway as one process group on Unix sockets."""

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.progress import say

_READY_WITHIN_S = 30.0
# The gateway takes up to twice its grace of 10 s: for answers, then for operations.
_STOP_WITHIN_S = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """What `brickyard serve` is told; see its flags."""

    nodes: int
    disks: int
    disk_size_gib: int
    any_host: bool
    populate: bool
    rest: str
    operator: str
    state_dir: Path | None
    auth_enabled: bool
    max_in_flight: int
    log_level: str


class ChildFailedError(Exception):
    """A process ended, or did not get ready; its own words are on stderr."""


@dataclass(slots=True)
class _Child:
    name: str
    process: subprocess.Popen[str]
    ready_line: str = ""


def _start(name: str, module: str, arguments: list[str], environment: dict[str, str]) -> _Child:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    return _Child(name, process)


def _await_ready(children: list[_Child]) -> None:
    """Waits for the ready line of every child.

    Raises:
        ChildFailedError: One ended first, or the time is up.
    """
    deadline = time.monotonic() + _READY_WITHIN_S
    with selectors.DefaultSelector() as selector:
        for child in children:
            assert child.process.stdout is not None  # noqa: S101 - opened with a pipe
            selector.register(child.process.stdout, selectors.EVENT_READ, child)
        while any(not child.ready_line for child in children):
            events = selector.select(timeout=max(0.0, deadline - time.monotonic()))
            if not events:
                waiting = ", ".join(child.name for child in children if not child.ready_line)
                raise ChildFailedError(f"{waiting} did not get ready within {_READY_WITHIN_S:.0f} s")
            for key, _ in events:
                _read_ready_line(selector, key.data)


def _read_ready_line(selector: selectors.BaseSelector, child: _Child) -> None:
    assert child.process.stdout is not None  # noqa: S101 - opened with a pipe
    line = child.process.stdout.readline()
    if not line:
        raise ChildFailedError(f"{child.name} ended with exit code {child.process.wait()}; its reason is above")
    if " ready on " in line:
        child.ready_line = line.strip()
        selector.unregister(child.process.stdout)


def _stop(children: list[_Child]) -> None:
    """The gateway first, so that nobody calls what is already gone; then the others, each within its time."""
    for child in reversed(children):
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGTERM)
            try:
                child.process.wait(timeout=_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()


@contextlib.contextmanager
def _state_directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="brickyard-") as directory:
            yield Path(directory)
    else:
        chosen.mkdir(parents=True, exist_ok=True, mode=0o700)
        chosen.chmod(0o700)
        yield chosen


def _secret_file(path: Path) -> str:
    """The secret in a file, made when it is missing."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32) + "\n")
    return path.read_text().strip()


def _write_topology_file(path: Path, settings: EmbeddedSettings) -> None:
    """A topology file of Heketi's format with all simulated nodes and disks."""
    disks = [f"/dev/sd{chr(ord('b') + index)}" for index in range(min(settings.disks, 24))]
    nodes = [
        {
            "node": {
                "hostnames": {"manage": [f"node{index}"], "storage": [f"10.0.{index // 250}.{index % 250}"]},
                "zone": (index - 1) % 3 + 1,
            },
            "devices": disks,
        }
        for index in range(1, settings.nodes + 1)
    ]
    path.write_text(json.dumps({"clusters": [{"nodes": nodes}]}, indent=2) + "\n")


def _children(settings: EmbeddedSettings, state: Path) -> Iterator[_Child]:
    sockets = {name: f"unix:{state}/{name}.sock" for name in ("topology", "allocator", "agents")}
    level = ["--log-level", settings.log_level]
    yield _start(
        "topology",
        "services.topology",
        ["--listen", sockets["topology"], "--database", f"sqlite:///{state}/topology.db", *level],
        {},
    )
    yield _start(
        "allocator",
        "services.allocator",
        ["--listen", sockets["allocator"], "--topology", sockets["topology"], *level],
        {},
    )
    simulate = ["--simulate", str(settings.nodes), "--simulate-disks", str(settings.disks)]
    simulate += ["--simulate-disk-size", f"{settings.disk_size_gib}GiB"]
    if settings.any_host:
        simulate.append("--simulate-any")
    yield _start("agents", "services.executor", ["--listen", sockets["agents"], *simulate, *level], {})
    yield _start(
        "gateway",
        "gateway",
        [
            *("--topology", sockets["topology"], "--allocator", sockets["allocator"], "--agents", sockets["agents"]),
            *("--rest", settings.rest, "--listen", settings.operator, "--insecure-plaintext"),
            *("--max-inflight-operations", str(settings.max_in_flight)),
            *("--auto-create-block-hosting-volume", "--block-hosting-volume-size", _hosting_size_gib(settings)),
            *(["--disable-auth"] if not settings.auth_enabled else []),
            *level,
        ],
        {
            "HEKETI_ADMIN_KEY": _secret_file(state / "admin.key"),
            "HEKETI_USER_KEY": _secret_file(state / "user.key"),
        },
    )


def _hosting_size_gib(settings: EmbeddedSettings) -> str:
    """A fifth of a disk, so that several volumes that host block volumes find room."""
    return str(max(1, settings.disk_size_gib // 5))


def run_embedded(settings: EmbeddedSettings) -> int:
    """Runs until SIGINT or SIGTERM, or until a process ends by itself; returns the exit code."""
    started = time.monotonic()
    stop_requested: list[int] = []

    def request_stop(number: int, _frame: object) -> None:
        stop_requested.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    children: list[_Child] = []
    with _state_directory(settings.state_dir) as state:
        try:
            for child in _children(settings, state):
                children.append(child)  # noqa: PERF402 - each must be known before the next starts, to be stopped
            _await_ready(children)
            url, operator = children[-1].ready_line.split(" ready on ")[1].split()[:2]
            _announce(settings, state, url, operator, time.monotonic() - started)
            return _wait_for_end(children)
        except KeyboardInterrupt:
            return 0
        except ChildFailedError as error:
            print(f"brickyard serve: {error}", file=sys.stderr)  # noqa: T201 - a command line speaks
            return 1
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            _stop(children)


def _announce(settings: EmbeddedSettings, state: Path, url: str, operator: str, seconds: float) -> None:
    _write_topology_file(state / "topology.json", settings)
    key = f"--key-file {state}/admin.key"
    if settings.populate:
        _populate(settings, state, url)
    say(f"brickyard ready on {url} (REST) and {operator} (gRPC) after {seconds:.1f} s")
    if settings.auth_enabled:
        say(f'  curl -H "Authorization: bearer $(brickyard token {key} GET /clusters)" {url}/clusters')
    else:
        say(f"  curl {url}/clusters")
    say(f"  grpcurl -plaintext {operator} brickyard.gateway.v1.OperatorService/ListClusters")
    if not settings.populate:
        say(f"  brickyard topology load --server {url} {key} {state}/topology.json")


def _populate(settings: EmbeddedSettings, state: Path, url: str) -> None:
    from gateway.cli.rest_client import RestClient  # noqa: PLC0415 - only needed here, and slow to load
    from gateway.cli.topology_load import load_topology, read_topology  # noqa: PLC0415 - the same

    key = _secret_file(state / "admin.key") if settings.auth_enabled else ""
    with RestClient(url, key=key) as client:
        load_topology(client, read_topology(state / "topology.json"), lambda _line: None)


def _wait_for_end(children: list[_Child]) -> int:
    """Waits until a child ends by itself, which none should."""
    pid, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    for child in children:
        if child.process.pid == pid:
            child.process.returncode = code
            raise ChildFailedError(f"{child.name} ended with exit code {code}; its reason is above")
    raise ChildFailedError(f"process {pid} ended with exit code {code}")
