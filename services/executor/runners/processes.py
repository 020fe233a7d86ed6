"""Brick processes and what bricks have to heal, read from the kernel's and gluster's files.

Effects: reads files, sends signals.
"""

import os
import signal
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

PROGRAM = "glusterfsd"
_BRICK_FLAG = "--brick-name"
# Where glusterd keeps the numbers of brick processes, by version and distribution.
PID_DIRECTORIES = ("/var/run/gluster/vols", "/run/gluster/vols", "/var/lib/glusterd/vols")
# Every entry but gluster's own first one is a file that other bricks lack something of.
HEAL_INDEX = ".glusterfs/indices/xattrop"
OWN_ENTRY = "xattrop-"
MOST_HEALS = 100_000


def served_bricks(
    paths: Collection[str], *, proc: Path = Path("/proc"), pid_directories: Collection[str] = PID_DIRECTORIES
) -> frozenset[str]:
    """Those of the brick directories that a running brick process serves.

    A process names its first brick in its arguments; with brick multiplexing it serves others too, which only the
    files tell that glusterd keeps of each brick.
    """
    wanted = set(paths)
    return choose_served(wanted, dict(_brick_processes(proc)), _pid_files(pid_directories)) if wanted else frozenset()


def choose_served(wanted: set[str], running: Mapping[int, str], files: Iterable[tuple[str, int]]) -> frozenset[str]:
    """Those of the brick directories that a running brick process serves. Pure.

    Args:
        wanted: The brick directories.
        running: First brick of each brick process, by its number.
        files: Names and contents of the files in which glusterd keeps the numbers.
    """
    found = wanted & set(running.values())
    by_suffix = {pid_file_of(path): path for path in wanted - found}
    if not by_suffix or not running:
        return frozenset(found)
    for file, pid in files:
        path = next((path for suffix, path in by_suffix.items() if file.endswith(suffix)), "")
        if path and pid in running:
            found.add(path)
    return frozenset(found)


def choose_alone(path: str, running: Mapping[int, str], files: Iterable[tuple[str, int]]) -> list[int]:
    """The processes that serve this brick and no other. Pure; arguments as of `choose_served`."""
    shared = {pid for file, pid in files if not file.endswith(pid_file_of(path))}
    return [pid for pid, first in running.items() if first == path and pid not in shared]


def pid_file_of(path: str) -> str:
    """How the name of a brick's file ends in which glusterd keeps the number of its process."""
    return f"{path.replace('/', '-')}.pid"


def first_brick(words: Sequence[str]) -> str:
    """The first brick in the arguments of a process; empty when it is no brick process."""
    if words[0].rpartition("/")[2] != PROGRAM or _BRICK_FLAG not in words[:-1]:
        return ""
    return words[words.index(_BRICK_FLAG) + 1]


def end_brick_process(
    path: str, *, proc: Path = Path("/proc"), pid_directories: Collection[str] = PID_DIRECTORIES
) -> int:
    """Tells the processes that serve a brick to end, unless glusterd notes them for another brick as well."""
    alone = choose_alone(path, dict(_brick_processes(proc)), _pid_files(pid_directories))
    for pid in alone:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return len(alone)


def _brick_processes(proc: Path) -> Iterator[tuple[int, str]]:
    """Number and first brick of each brick process."""
    for entry in os.scandir(proc):
        if not entry.name.isdecimal():
            continue
        # A process may end between the listing and the look at it.
        with suppress(OSError):
            words = (proc / entry.name / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if brick := first_brick(words):
                yield int(entry.name), brick


def _pid_files(directories: Collection[str]) -> Iterator[tuple[str, int]]:
    for directory in directories:
        for path in Path(directory).glob("*/**/*.pid"):
            with suppress(OSError, ValueError):
                yield path.name, int(path.read_text(encoding="ascii"))


def count_heals(brick_path: str) -> int:
    """Files that other bricks of its set have to take over from a brick, at most MOST_HEALS; -1 when nobody can tell.

    It is what `gluster volume heal NAME statistics heal-count` counts, without a process.
    """
    try:
        with os.scandir(f"{brick_path}/{HEAL_INDEX}") as entries:
            return sum(1 for _ in islice((e for e in entries if not e.name.startswith(OWN_ENTRY)), MOST_HEALS))
    except OSError:
        # Bricks without copies have no index, and a failing disk gives no answer.
        return -1
