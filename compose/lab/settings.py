"""What a lab is made of: its settings, its addresses, and the file that remembers it between commands."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.lab.errors import CannotRunHereError, LabError
from compose.lab.processes import ProcessRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_NAME = "brickyard-lab"
CHECKOUT = Path(__file__).resolve().parents[2]
STATE_VERSION = 1
STATE_FILE, NEW_STATE_FILE = "state.json", "state.json.new"

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
DEFAULT_DISK_BYTES = 8 * GIB
DEFAULT_STATE_BYTES = 2 * GIB
DEFAULT_MEMORY_BYTES = 768 * MIB
LEAST_MEMORY_BYTES = 384 * MIB  # below this glusterd, its bricks and a Python agent get killed for lack of memory
MAX_NODES = 20
MAX_DISKS = 15  # a User-mode Linux kernel has 16 disks; the first is the state disk

HOST_ADDRESS = "10.77.0.1"
DATA_PREFIX = "10.77.0"
CONTROL_HOST_ADDRESS = "10.78.0.1"
CONTROL_PREFIX = "10.78.0"
NETMASK = "255.255.255.0"
EXEC_PORT = 1077
GLUSTERD_PORT = 24007

# Directories that every node has its own of; `node_init` hides the host's.
OWN_OF_NODES = ("/", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp", "/var")  # noqa: S108 - of the nodes

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_SAFE_PATH = re.compile(r"/[A-Za-z0-9/._+@-]+")
_SIZE = re.compile(r"(\d+)([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}


def parse_size(text: str) -> int:
    """Bytes in a size such as 8G, 512MiB or 4096; units are powers of 1024.

    Raises:
        ValueError: it is not a size, or zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a size; write it like 8G or 512M")
    return int(match[1]) * _UNITS[match[2].upper()]


def format_size(size_bytes: int) -> str:
    """The size in the largest unit that divides it evenly, as `parse_size` reads it."""
    for unit in "TGMK":
        if size_bytes and size_bytes % _UNITS[unit] == 0:
            return f"{size_bytes // _UNITS[unit]}{unit}"
    return str(size_bytes)


def default_memory_bytes(nodes: int, available_bytes: int) -> int:
    """Memory of one node in bytes: 768 MiB, or less when that many nodes would take over three quarters of the machine.

    Raises:
        CannotRunHereError: not even 384 MiB a node are there.
    """
    share = available_bytes * 3 // 4 // nodes // MIB * MIB
    if share < LEAST_MEMORY_BYTES:
        raise CannotRunHereError(
            f"{nodes} nodes need {nodes * LEAST_MEMORY_BYTES // MIB} MiB of memory and "
            f"{available_bytes // MIB} MiB are available; ask for fewer nodes"
        )
    return min(DEFAULT_MEMORY_BYTES, share)


def device_name(position: int) -> str:
    """Kernel name of the data disk at a position (0 is the first): /dev/ubda is the state disk, so it is /dev/ubdb."""
    return f"/dev/ubd{chr(ord('b') + position)}"


@dataclass(frozen=True, slots=True)
class LabConfig:
    """What `up` is asked for.

    Attributes:
        name: names the network namespace and the User-mode Linux machines; one lab per name.
        directory: where everything of the lab lives; made by `up`, removed by `down`.
        nodes: how many storage nodes, 1 to 20.
        disks: data disks of each node, 1 to 15.
        disk_bytes: size of each data disk (sparse) in bytes.
        memory_bytes: memory of each node in bytes; 0 lets `up` choose by what is available.
        shares: host paths that every node sees, read-only, at the same path; the project checkout always is one.
        boot_scripts: executables that init runs, in order, before glusterd; a failure stops the node.
        service_scripts: executables that init starts in the background after glusterd.
        env: environment of scripts and commands in the nodes, beside the lab's own.
        seconds: time limit for the nodes to answer, in seconds.
    """

    name: str = DEFAULT_NAME
    directory: str = ""
    nodes: int = 3
    disks: int = 1
    disk_bytes: int = DEFAULT_DISK_BYTES
    memory_bytes: int = 0
    shares: tuple[str, ...] = ()
    boot_scripts: tuple[str, ...] = ()
    service_scripts: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    seconds: float = 90.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(f"--name {self.name!r}: use up to 31 lower-case letters, digits and dashes")
        if not self.directory:
            object.__setattr__(self, "directory", default_directory(self.name))
        # The path ends up on a kernel command line, where a space separates, and in a disk list, where a comma does.
        if not _SAFE_PATH.fullmatch(self.directory):
            raise LabError(f"--dir {self.directory!r}: use an absolute path without blanks, commas or colons")
        if not 1 <= self.nodes <= MAX_NODES:
            raise LabError(f"--nodes {self.nodes}: from 1 to {MAX_NODES}")
        if not 1 <= self.disks <= MAX_DISKS:
            raise LabError(f"--disks {self.disks}: from 1 to {MAX_DISKS}")
        if self.memory_bytes and self.memory_bytes < LEAST_MEMORY_BYTES:
            raise LabError(f"--memory {format_size(self.memory_bytes)}: at least {format_size(LEAST_MEMORY_BYTES)}")
        if self.disk_bytes % MIB:
            raise LabError(f"--disk-size {self.disk_bytes}: a whole number of MiB")


def default_directory(name: str) -> str:
    """Where a lab of that name lives unless --dir says otherwise."""
    return f"/tmp/{name}"  # noqa: S108 - one directory of root's, taken with mkdir, which fails if it is somebody's


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node as the state file remembers it.

    Attributes:
        index: 1 for node1.
        process: the User-mode Linux kernel; None before the first boot and after a kill.
        disk_order: numbers of the data disks in the order of their kernel names; one left out is pulled.
        partitioned: its data network is cut.
    """

    index: int
    process: ProcessRef | None = None
    disk_order: tuple[int, ...] = (1,)
    partitioned: bool = False

    @property
    def name(self) -> str:
        """node1, node2, ..."""
        return f"node{self.index}"

    @property
    def address(self) -> str:
        """Address on the data network, where glusterd and the agent are."""
        return f"{DATA_PREFIX}.{10 + self.index}"

    @property
    def control_address(self) -> str:
        """Address on the lab's own control network, where the exec channel is; a partition does not cut it."""
        return f"{CONTROL_PREFIX}.{10 + self.index}"


@dataclass(frozen=True, slots=True)
class LabState:
    """A lab as the state file remembers it.

    Attributes:
        config: what it was made from; memory is decided.
        ready: `up` came to its end; False is what a crash in the middle leaves.
        holder: the process that holds the mount namespace of `exec-host`.
        made_netns_mount: the lab was the first to use named network namespaces on this machine.
        nodes: in order of their index.
    """

    config: LabConfig
    ready: bool = False
    holder: ProcessRef | None = None
    made_netns_mount: bool = False
    nodes: tuple[NodeState, ...] = ()

    def node(self, name: str) -> NodeState:
        """The node of that name.

        Raises:
            LabError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"no node {name!r}; there are {', '.join(n.name for n in self.nodes)}")

    def with_node(self, changed: NodeState) -> LabState:
        """The same lab with that node replaced."""
        return replace(self, nodes=tuple(changed if n.index == changed.index else n for n in self.nodes))


def dump_state(state: LabState) -> str:
    """The text of the state file."""
    return json.dumps({"version": STATE_VERSION, **asdict(state)}, indent=1) + "\n"


def load_state(text: str) -> LabState:
    """What `dump_state` wrote.

    Raises:
        LabError: it is not a state file of this version.
    """
    try:
        data = json.loads(text)
        if data["version"] != STATE_VERSION:
            raise LabError(f"the lab was made by another version ({data['version']}) of this tool; run `lab down`")
        return LabState(
            config=_config(data["config"]),
            ready=data["ready"],
            holder=_process(data["holder"]),
            made_netns_mount=data["made_netns_mount"],
            nodes=tuple(_node(node) for node in data["nodes"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"the state file is damaged ({error!r}); run `lab down`") from error


def _config(data: Mapping[str, Any]) -> LabConfig:
    lists = {key: tuple(data[key]) for key in ("shares", "boot_scripts", "service_scripts")}
    return LabConfig(**{**data, **lists})


def _process(data: Mapping[str, int] | None) -> ProcessRef | None:
    return None if data is None else ProcessRef(**data)


def _node(data: Mapping[str, Any]) -> NodeState:
    return NodeState(
        index=data["index"],
        process=_process(data["process"]),
        disk_order=tuple(data["disk_order"]),
        partitioned=data["partitioned"],
    )


def write_state(state: LabState) -> None:
    """Replace the state file in one step."""
    path = Path(state.config.directory) / STATE_FILE
    new = path.with_name(NEW_STATE_FILE)
    new.write_text(dump_state(state), encoding="utf-8")
    new.replace(path)


def is_foreign(directory: Path) -> bool:
    """Whether a directory has files and is not a lab's; one without its state file yet has at most the new one."""
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    return STATE_FILE not in names and not names <= {NEW_STATE_FILE}


def parse_disk_order(text: str, disks: int) -> tuple[int, ...]:
    """Disk numbers of an order such as 2,1; leaving one out pulls that disk.

    Raises:
        LabError: not numbers from 1 to `disks`, or one twice.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise LabError(f"--disks {text!r}: write disk numbers like 2,1")
    order = tuple(int(part) for part in parts)
    check_disk_order(order, disks)
    return order


def check_disk_order(order: Sequence[int], disks: int) -> None:
    """Refuse an order of disks that are not there.

    Raises:
        LabError: a number is not from 1 to `disks`, or comes twice.
    """
    if len(set(order)) != len(order) or not all(1 <= number <= disks for number in order):
        raise LabError(f"--disks {','.join(map(str, order))}: each of 1 to {disks} at most once")


def python_shares(checkout: Path) -> list[str]:
    """Directories of the Python behind the checkout's .venv, unless it is the system's, which nodes see anyway.

    Both the path that .venv names and the one it resolves to: tools that install Pythons link one to the other.
    """
    python = checkout / ".venv" / "bin" / "python"
    if not python.exists():
        return []
    lines = (checkout / ".venv" / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    homes = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "home"]
    prefixes = [Path(home).parent for home in homes] + [python.resolve().parents[1]]
    return [str(p) for p in dict.fromkeys(prefixes) if not p.is_relative_to("/usr")]


def all_shares(config: LabConfig, checkout: Path = CHECKOUT) -> tuple[str, ...]:
    """Every host path the nodes must see: the checkout, its Python, and what was asked for.

    Raises:
        LabError: one is not there, not absolute, or a directory that nodes need their own of.
    """
    paths = [str(checkout), *python_shares(checkout), *config.shares]
    for path in paths:
        if not Path(path).is_absolute() or not Path(path).exists():
            raise LabError(f"--share {path}: no such absolute path on this machine")
        if os.path.normpath(path) in OWN_OF_NODES:
            raise LabError(f"--share {path}: nodes have their own {path}; share a directory below it")
    return tuple(dict.fromkeys(os.path.normpath(path) for path in paths))
