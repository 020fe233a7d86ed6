"""The User-mode Linux kernel of a node: its command line, the library it needs, and what its console says."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from compose.lab import network, settings
from compose.lab.errors import CannotRunHereError, LabError
from compose.lab.processes import run_tool, start

if TYPE_CHECKING:
    from compose.lab.processes import ProcessRef
    from compose.lab.settings import LabConfig, NodeState

PROGRAM = "linux.uml"
SHIM_SOURCE = Path(__file__).with_name("xstate_shim.c")
INIT = Path(__file__).with_name("node_init.py")
TAIL_LINES = 15

# What init says on the console; `node_init` prints these words.
CHANNEL_OPEN, GLUSTERD_STARTED, INIT_FAILED = (
    "lab-init: exec channel open",
    "lab-init: glusterd started",
    "lab-init: FAILED",
)

# Console lines that tell why User-mode Linux does not work on a machine, and what to do about it.
_DIAGNOSES = (
    (
        re.compile(r"set fp regs failed|restore_fp_registers"),
        "the processor has more register state than User-mode Linux takes, and the xstate library did not help",
    ),
    (
        re.compile(r"ptrace.*(Operation not permitted|EPERM)|PTRACE.*failed|check_ptrace", re.IGNORECASE),
        "programs may not trace others here; in docker add --cap-add SYS_PTRACE --security-opt seccomp=unconfined",
    ),
    (
        re.compile(r"(PROT_EXEC|noexec|create_mem_file|physical memory).*", re.IGNORECASE),
        "it cannot map its memory; mount /dev/shm, or the lab's directory, larger and without noexec",
    ),
    (
        re.compile(r"TUNSETIFF|tap.*(failed|error)", re.IGNORECASE),
        "it cannot open its tap device; /dev/net/tun must be usable inside a network namespace",
    ),
    (
        re.compile(r"Kernel panic|Segfault with no mm", re.IGNORECASE),
        "its kernel panics on this machine; use another one",
    ),
)


def node_directory(lab: LabConfig, index: int) -> Path:
    """Where the files of a node are."""
    return Path(lab.directory) / f"node{index}"


def console_path(lab: LabConfig, index: int) -> Path:
    """What the node's kernel and init print."""
    return node_directory(lab, index) / "console.log"


def log_directory(lab: LabConfig, index: int) -> Path:
    """What the node sees as /var/log/lab: output of its scripts and detached commands."""
    return node_directory(lab, index) / "log"


def disk_path(lab: LabConfig, index: int, disk: int) -> Path:
    """File behind a data disk (1 is the first)."""
    return node_directory(lab, index) / f"disk{disk}.img"


def state_disk_path(lab: LabConfig, index: int) -> Path:
    """File behind the state disk."""
    return node_directory(lab, index) / "state.img"


def init_config_path(lab: LabConfig, index: int) -> Path:
    """What init of the node reads."""
    return node_directory(lab, index) / "init.json"


def shim_path(lab: LabConfig) -> Path:
    """The built library."""
    return Path(lab.directory) / "xstate_shim.so"


def build_shim(lab: LabConfig) -> None:
    """Build the library that lets User-mode Linux run on any processor; see its source for why it is always used.

    Raises:
        CannotRunHereError: the compiler does not build it.
    """
    argv = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(shim_path(lab)), str(SHIM_SOURCE), "-ldl"]
    try:
        run_tool(argv)
    except LabError as error:
        raise CannotRunHereError(f"cannot build the xstate library ({error}); install gcc and libc6-dev") from error


def kernel_argv(lab: LabConfig, node: NodeState) -> list[str]:
    """Command line of the node's kernel, to be run inside the lab's network namespace.

    The d after a disk's name switches off the search for a copy-on-write header in what is raw data.
    """
    argv = [
        PROGRAM,
        f"mem={lab.memory_bytes // settings.MIB}M",
        f"umid={lab.name}-{node.name}",
        f"uml_dir={lab.directory}/uml",
        "noreboot",
        "con=null",
        "con0=null,fd:1",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"ubdad={state_disk_path(lab, node.index)}",
    ]
    for position, disk in enumerate(node.disk_order):
        argv.append(f"{Path(settings.device_name(position)).name}d={disk_path(lab, node.index, disk)}")
    for number, (tap, control) in enumerate(
        ((network.data_tap(node.index), False), (network.control_tap(node.index), True))
    ):
        mac = network.mac_address(node.index, control=control)
        argv.append(f"vec{number}:transport=tap,ifname={tap},mac={mac}")
    return [*argv, "init=/usr/bin/python3", "--", "-ISB", str(INIT), str(init_config_path(lab, node.index))]


def kernel_environment(lab: LabConfig, memory_directory: str | None) -> dict[str, str]:
    """Environment of the node's kernel.

    Args:
        lab: the lab.
        memory_directory: where its memory file goes; None for /dev/shm.
    """
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": lab.directory}
    if memory_directory is not None:
        env["TMPDIR"] = memory_directory
    return env | {"LD_PRELOAD": str(shim_path(lab))}


def start_kernel(lab: LabConfig, node: NodeState, memory_directory: str | None) -> ProcessRef:
    """Power on a node; its console starts anew, and the one before is kept beside it.

    Raises:
        LabError: it cannot be started.
    """
    console = console_path(lab, node.index)
    if console.exists():
        console.replace(console.with_suffix(".previous.log"))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # a panic dumps core
    # env sets the library only for the kernel, so that nsenter does not run with it.
    env = kernel_environment(lab, memory_directory)
    preload = ["env", f"LD_PRELOAD={env.pop('LD_PRELOAD')}"]
    argv = [*network.enter_argv(lab.name), *preload, *kernel_argv(lab, node)]
    return start(argv, output=console, env=env)


def read_console(lab: LabConfig, index: int) -> str:
    """Everything on the console since the last power-on."""
    path = console_path(lab, index)
    return path.read_text(encoding="utf-8", errors="replace").replace("\r", "") if path.exists() else ""


def console_tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a console, indented for an error message."""
    return "\n".join(f"    | {line}" for line in text.splitlines()[-lines:])


def diagnose(console: str) -> str | None:
    """Why User-mode Linux does not work here, and what to do; None when the console does not tell."""
    for pattern, advice in _DIAGNOSES:
        if pattern.search(console):
            return advice
    return None


def failure(name: str, console: str, *, alive: bool) -> LabError | None:
    """The error of a node that will never answer, or None while it may still.

    Args:
        name: of the node.
        console: what it printed since power-on.
        alive: whether its kernel still runs.
    """
    if INIT_FAILED in console:
        line = next(line for line in console.splitlines() if INIT_FAILED in line)
        return LabError(f"{name}: {line.partition(INIT_FAILED)[2].strip(' :')}\n{console_tail(console)}")
    panicked = "Kernel panic" in console
    if alive and not panicked:
        return None
    what = "its kernel panicked" if panicked else "its kernel ended"
    if CHANNEL_OPEN in console:  # it did work, so the machine is not the reason
        return LabError(f"{name}: {what} after it was up\n{console_tail(console)}")
    advice = diagnose(console) or "User-mode Linux does not run here; the console says why, else use another machine"
    return CannotRunHereError(f"{name}: {what}: {advice}\n{console_tail(console)}")


def create_files(lab: LabConfig, index: int) -> None:
    """Make the directory and the disks of a node.

    Raises:
        LabError: the state disk cannot be formatted.
    """
    node_directory(lab, index).mkdir()
    log_directory(lab, index).mkdir()
    for path, size in [(state_disk_path(lab, index), settings.DEFAULT_STATE_BYTES)] + [
        (disk_path(lab, index, disk), lab.disk_bytes) for disk in range(1, lab.disks + 1)
    ]:
        with path.open("xb") as file:
            os.truncate(file.fileno(), size)
    # Formatted out here, where a process costs a tenth of what it costs inside.
    run_tool(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", str(state_disk_path(lab, index))])
