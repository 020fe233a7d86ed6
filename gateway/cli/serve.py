"""`brickyard serve`: topology, allocator, simulated nodes and gateway as one process group on Unix sockets."""

import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.output import to_stderr
from gateway.cli.progress import say
from gateway.process_group import Child, run, start
from gateway.simulated_stack import SimulatedNodes, address_flags, start_around_gateway, state_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """What `brickyard serve` is told; see its flags."""

    simulated: SimulatedNodes
    populate: bool
    rest: str
    operator: str
    state_dir: Path | None
    auth_enabled: bool
    max_in_flight: int
    max_volumes_per_cluster: int
    auto_evict_after_minutes: float
    auto_evict_max_down_percent: float
    log_level: str


def _secret_file(path: Path) -> str:
    """The secret in a file, made when it is missing."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32) + "\n")
    return path.read_text().strip()


def _write_topology_file(path: Path, simulated: SimulatedNodes) -> None:
    """A topology file of Heketi's format with all simulated nodes and disks."""
    disks = [f"/dev/sd{chr(ord('b') + index)}" for index in range(min(simulated.disks, 24))]
    nodes = [
        {
            "node": {
                "hostnames": {"manage": [f"node{index}"], "storage": [f"10.0.{index // 250}.{index % 250}"]},
                "zone": (index - 1) % 3 + 1,
            },
            "devices": disks,
        }
        for index in range(1, simulated.nodes + 1)
    ]
    path.write_text(json.dumps({"clusters": [{"nodes": nodes}]}, indent=2) + "\n")


def _log_flags(settings: EmbeddedSettings) -> list[str]:
    return ["--log-level", settings.log_level]


def _gateway(settings: EmbeddedSettings, state: Path) -> Iterator[Child]:
    yield start(
        "gateway",
        "gateway",
        [
            *address_flags(state),
            *("--rest", settings.rest, "--listen", settings.operator, "--insecure-plaintext"),
            *("--max-inflight-operations", str(settings.max_in_flight)),
            *("--max-volumes-per-cluster", str(settings.max_volumes_per_cluster)),
            *("--auto-create-block-hosting-volume", "--block-hosting-volume-size", _hosting_size_gib(settings)),
            *(["--disable-auth"] if not settings.auth_enabled else []),
            *_log_flags(settings),
        ],
        {
            "HEKETI_ADMIN_KEY": _secret_file(state / "admin.key"),
            "HEKETI_USER_KEY": _secret_file(state / "user.key"),
        },
    )


def _hosting_size_gib(settings: EmbeddedSettings) -> str:
    """A fifth of a disk, so that several volumes that host block volumes find room."""
    return str(max(1, settings.simulated.disk_size_gib // 5))


def run_embedded(settings: EmbeddedSettings) -> int:
    """Runs until SIGINT or SIGTERM, or until a process ends by itself; returns the exit code."""
    began = time.monotonic()
    with state_directory(settings.state_dir) as state:

        def announce(children: Sequence[Child]) -> None:
            url, operator = children[-1].addresses[:2]
            _announce(settings, state, url, operator, time.monotonic() - began)

        if sys.stderr.isatty():
            to_stderr("starting topology, allocator, simulated nodes and gateway")
        evict = (
            *("--auto-evict-after-minutes", str(settings.auto_evict_after_minutes)),
            *("--auto-evict-max-down-percent", str(settings.auto_evict_max_down_percent)),
        )
        around = start_around_gateway(state, settings.simulated, _log_flags(settings), topology_flags=evict)
        return run([around, _gateway(settings, state)], announce)


def _announce(settings: EmbeddedSettings, state: Path, url: str, operator: str, seconds: float) -> None:
    _write_topology_file(state / "topology.json", settings.simulated)
    key = f"--key-file {state}/admin.key"
    if settings.populate:
        _populate(settings, state, url)
    say(f"brickyard ready on {url} (REST) and {operator} (gRPC) after {seconds:.1f} s")
    if settings.auth_enabled:
        say(f'  curl -H "Authorization: bearer $(brickyard token {key} GET /clusters)" {url}/clusters')
    else:
        say(f"  curl {url}/clusters")
    say(f"  grpcurl -plaintext {operator} brickyard.gateway.v1.OperatorService/ListClusters")
    rest = f"--server {url}" + (f" {key}" if settings.auth_enabled else "")
    say(f"  brickyard context add local --address {operator} --insecure-plaintext {rest}")
    if not settings.populate:
        say(f"  brickyard topology load --server {url} {key} {state}/topology.json")


def _populate(settings: EmbeddedSettings, state: Path, url: str) -> None:
    from gateway.cli.rest_client import RestClient  # noqa: PLC0415 - only needed here, and slow to load
    from gateway.cli.topology_file import read_topology  # noqa: PLC0415 - the same
    from gateway.cli.topology_load import load_topology  # noqa: PLC0415 - the same

    key = _secret_file(state / "admin.key") if settings.auth_enabled else ""
    with RestClient(url, key=key) as client:
        load_topology(client, read_topology(state / "topology.json"), lambda _line: None)
