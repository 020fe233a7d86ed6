"""Processes as /proc shows them: whether one is still the one we started, who is in a group or a network namespace."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compose.lab.errors import LabError
from compose.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GONE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """A process that is not mistaken for a later one with the same number.

    Attributes:
        pid: its number.
        start_ticks: when it was started, in clock ticks since the host booted (field 22 of /proc/PID/stat).
    """

    pid: int
    start_ticks: int


def parse_stat(text: str) -> tuple[str, int, int]:
    """State letter, process group and start ticks out of the text of /proc/PID/stat."""
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return fields[0], int(fields[2]), int(fields[19])


def _stat(pid: int) -> tuple[str, int, int] | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - /proc has plain names only


def reference(pid: int) -> ProcessRef:
    """The reference of a process that runs now.

    Raises:
        LabError: there is no such process.
    """
    stat = _stat(pid)
    if stat is None:
        raise LabError(f"process {pid} ended as soon as it was started")
    return ProcessRef(pid=pid, start_ticks=stat[2])


def is_alive(ref: ProcessRef | None) -> bool:
    """Whether that very process runs; a zombie does not."""
    if ref is None:
        return False
    stat = _stat(ref.pid)
    return stat is not None and stat[0] not in "ZX" and stat[2] == ref.start_ticks


def pids_in_group(group: int) -> list[int]:
    """Live processes of a process group."""
    return [pid for pid in _pids() if (stat := _stat(pid)) is not None and stat[1] == group and stat[0] not in "ZX"]


def pids_in_network(namespace: Path) -> list[int]:
    """Live processes in the network namespace that the file stands for, without the caller."""
    try:
        wanted = namespace.stat()
    except FileNotFoundError:
        return []
    found = []
    for pid in _pids():
        try:
            there = Path(f"/proc/{pid}/ns/net").stat()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended, or is a kernel thread or a zombie
        if (there.st_ino, there.st_dev) == (wanted.st_ino, wanted.st_dev) and pid != os.getpid():
            found.append(pid)
    return found


def pids_with_argument(part: str, program: str) -> list[int]:
    """Live processes of a program (by the last part of its name) that have the text in one of their arguments."""
    found = []
    for pid in _pids():
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(Path(a).name == program for a in arguments[:1]) and any(part in a for a in arguments):
            found.append(pid)
    return found


def kill_all(find: Callable[[], list[int]], *, what: str) -> None:
    """Kill with SIGKILL what `find` finds until it finds nothing.

    Raises:
        LabError: something is left after 20 seconds.
    """

    def nothing_left() -> bool:
        left = find()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        return not left

    wait_until(nothing_left, seconds=GONE_SECONDS, what=f"the end of {what}")


def kill_group(leader: ProcessRef) -> None:
    """Kill the process group that the process leads, and wait until none of it is left.

    Raises:
        LabError: something is left after 20 seconds.
    """
    if is_alive(leader) or pids_in_group(leader.pid):
        kill_all(lambda: pids_in_group(leader.pid), what=f"process group {leader.pid}")


_children: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def start(argv: Sequence[str], *, output: Path, env: Mapping[str, str], cwd: str = "/") -> ProcessRef:
    """Start a background process as the leader of its own session, with its output appended to a file.

    Raises:
        LabError: it could not be started or ended at once.
    """
    with output.open("ab") as log:
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise LabError(f"cannot start {argv[0]}: {error}") from error
    _children.append(child)
    return reference(child.pid)


def run_tool(argv: Sequence[str], *, stdin: str | None = None, seconds: float = 60.0) -> str:
    """Run a short helper program to its end and return its standard output.

    It has its own session, so that a Ctrl-C on the terminal reaches only the lab, which then cleans up.

    Raises:
        LabError: it is not there, failed, or took too long.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)} took more than {seconds:.0f} s") from error
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip()
        raise LabError(f"{' '.join(argv)} failed with {done.returncode}: {reason}")
    return done.stdout
