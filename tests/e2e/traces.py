"""What a lab or a demo of a name leaves on this machine: processes, namespaces, mounts, files."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from compose.lab.waiting import wait_until
from compose.stack import ROOT


def traces_of(name: str) -> list[str]:
    """Everything that carries the name, as sentences."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue  # it ended while we looked
        if name.encode() in words and int(entry.name) != os.getpid():
            found.append(f"process {entry.name}: {words.replace(bytes(1), b' ').decode(errors='replace')}")
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    found += [f"mount: {line}" for line in mounts if name in line]
    for directory in ("/tmp", "/run/netns", "/dev/shm", "/run/lock"):
        found += [str(path) for path in Path(directory).glob(f"*{name}*")]
    return found


@contextmanager
def running(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own, as a terminal starts one; killed at the end if it still runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(argv), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def await_line(log: Path, text: str, process: subprocess.Popen[bytes], *, seconds: float = 90.0) -> None:
    """Waits until a program has printed a text."""

    def printed() -> bool:
        said = log.read_text(encoding="utf-8", errors="replace")
        assert process.poll() is None or text in said, f"it ended with {process.returncode}:\n{said}"
        return text in said

    wait_until(printed, seconds=seconds, what=f"{text!r} in {log}")
