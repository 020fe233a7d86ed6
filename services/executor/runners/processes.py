"""Brick processes and what bricks have to heal, read from the kernel's and gluster's files.

Effects: reads files, sends signals.
"""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

_PROGRAM = "glusterfsd"
_BRICK_FLAG = "--brick-name"
# Where glusterd keeps the numbers of brick processes, by version and distribution.
PID_DIRECTORIES = ("/var/run/gluster/vols", "/run/gluster/vols", "/var/lib/glusterd/vols")
# Every entry but gluster's own first one is a file that other bricks lack something of.
_HEAL_INDEX = ".glusterfs/indices/xattrop"
_OWN_ENTRY = "xattrop-"
MOST_HEALS = 100_000


def served_bricks(
    paths: Collection[str], *, proc: Path = Path("/proc"), pid_directories: Collection[str] = PID_DIRECTORIES
) -> frozenset[str]:
    """Those of the brick directories that a running brick process serves.

    A process names its first brick in its arguments; with brick multiplexing it serves others too, which only the
    files tell that glusterd keeps of each brick.
    """
    wanted = set(paths)
    if not wanted:
        return frozenset()
    running = dict(_brick_processes(proc))
    found = wanted & set(running.values())
    by_suffix = {f"{path.replace('/', '-')}.pid": path for path in wanted - found}
    if not by_suffix or not running:
        return frozenset(found)
    for file, pid in _pid_files(pid_directories):
        path = next((path for suffix, path in by_suffix.items() if file.endswith(suffix)), "")
        if path and pid in running:
            found.add(path)
    return frozenset(found)


def end_brick_process(
    path: str, *, proc: Path = Path("/proc"), pid_directories: Collection[str] = PID_DIRECTORIES
) -> int:
    """Tells the processes that serve a brick to end, unless glusterd notes them for another brick as well."""
    own_file = f"{path.replace('/', '-')}.pid"
    shared = {pid for file, pid in _pid_files(pid_directories) if not file.endswith(own_file)}
    alone = [pid for pid, first in _brick_processes(proc) if first == path and pid not in shared]
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
            if words[0].rpartition("/")[2] == _PROGRAM and _BRICK_FLAG in words[:-1]:
                yield int(entry.name), words[words.index(_BRICK_FLAG) + 1]


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
        with os.scandir(f"{brick_path}/{_HEAL_INDEX}") as entries:
            return sum(1 for _ in islice((e for e in entries if not e.name.startswith(_OWN_ENTRY)), MOST_HEALS))
    except OSError:
        # Bricks without copies have no index, and a failing disk gives no answer.
        return -1
