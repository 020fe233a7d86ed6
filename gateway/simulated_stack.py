"""What a gateway needs around it, on this machine and with simulated nodes: topology, allocator, agents.

Effects: processes, and files in one private directory.
"""

import contextlib
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.process_group import Child, run, start
from services.common.server import check_socket_path


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNodes:
    """The simulated nodes of a stack.

    Attributes:
        nodes: So many exist from the start, "node1" and on.
        disks: Disks of each, /dev/sdb and on.
        disk_size_gib: Usable size of each disk.
        any_host: Whether nodes and disks come into being when they are named, as with Heketi's mock executor.
    """

    nodes: int
    disks: int
    disk_size_gib: int
    any_host: bool


@contextlib.contextmanager
def state_directory(chosen: Path | None) -> Iterator[Path]:
    """A private directory: the chosen one, made when it is missing, or one that is removed at the end."""
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="brickyard-") as directory:
            yield Path(directory)
    else:
        chosen.mkdir(parents=True, exist_ok=True, mode=0o700)
        chosen.chmod(0o700)
        yield chosen


def _sockets(state: Path) -> dict[str, str]:
    sockets = {name: f"unix:{state}/{name}.sock" for name in ("topology", "allocator", "agents")}
    for address in sockets.values():
        check_socket_path(address)
    return sockets


def address_flags(state: Path) -> list[str]:
    """The flags that tell a gateway where the others are.

    Raises:
        InvalidArgumentError: The path of the directory is too long for sockets.
    """
    return [argument for name, address in _sockets(state).items() for argument in (f"--{name}", address)]


def start_around_gateway(
    state: Path, simulated: SimulatedNodes, log_flags: Sequence[str], *, topology_flags: Sequence[str] = ()
) -> Iterator[Child]:
    """Starts topology, allocator and the simulated agents, each when it is asked for, on sockets in `state`."""
    sockets = _sockets(state)
    database = ["--database", f"sqlite:///{state}/topology.db"]
    yield start(
        "topology", "services.topology", ["--listen", sockets["topology"], *database, *log_flags, *topology_flags]
    )
    topology = ["--topology", sockets["topology"]]
    yield start("allocator", "services.allocator", ["--listen", sockets["allocator"], *topology, *log_flags])
    simulate = ["--simulate", str(simulated.nodes), "--simulate-disks", str(simulated.disks)]
    simulate += ["--simulate-disk-size", f"{simulated.disk_size_gib}GiB"]
    # Whoever tries it out reads the terminal, and no node of theirs was changed.
    simulate.append("--simulate-quietly")
    if simulated.any_host:
        simulate.append("--simulate-any")
    yield start("agents", "services.executor", ["--listen", sockets["agents"], *simulate, *log_flags])


def run_with_gateway(
    gateway_arguments: Sequence[str], simulated: SimulatedNodes, *, own_listen: bool, log_level: str
) -> int:
    """Runs a gateway with simulated nodes until it is told to stop; returns the exit code. Nothing is kept.

    Args:
        gateway_arguments: Its command line, without addresses of other services.
        simulated: The nodes.
        own_listen: Whether the command line says where the operator API listens; otherwise it is a private socket.
        log_level: For the other processes.
    """
    with state_directory(None) as state:
        operator = [] if own_listen else ["--listen", f"unix:{state}/operator.sock"]

        def gateway() -> Iterator[Child]:
            yield start("gateway", "gateway", [*gateway_arguments, *address_flags(state), *operator])

        def announce(started: Sequence[Child]) -> None:
            print(started[-1].ready_line, flush=True)  # noqa: T201 - the ready line is for whoever started it

        # SIGUSR2 ends an administrative mode, which only the gateway has.
        around = start_around_gateway(state, simulated, ["--log-level", log_level])
        return run([around, gateway()], announce, pass_on=[signal.SIGUSR2])
