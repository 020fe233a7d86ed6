"""A PostgreSQL server for the tests: the one that the environment names, or Debian's, started for the session."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "BRICKYARD_TEST_POSTGRES"
_BINARIES = Path("/usr/lib/postgresql/15/bin")
_START_WITHIN_S = 30
# A test database may be lost in a power cut.
_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "shared_buffers=32MB",
)


def why_not() -> str:
    """Why there is no PostgreSQL here; empty when there is one."""
    if os.environ.get(VARIABLE):
        return ""
    if not (_BINARIES / "initdb").exists():
        return f"{VARIABLE} names no server, and {_BINARIES} holds none"
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            pwd.getpwnam("postgres")
            return ""
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


def _argv(program: str, *arguments: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    return [*drop, str(_BINARIES / program), *arguments]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(*arguments: str, cwd: Path) -> None:
    done = subprocess.run(
        _argv(*arguments), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{arguments[0]}: {done.stdout}"


@contextlib.contextmanager
def server(directory: Path) -> Iterator[str]:
    """The URL of a database on a running server, whose user may make others. A server of our own ends with the block.

    Args:
        directory: For its files, short enough for a Unix socket, and open to the user postgres.
    """
    given = os.environ.get(VARIABLE)
    if given:
        yield given
        return
    directory.mkdir(mode=0o755)
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    data, port = directory / "data", _free_port()
    try:
        _command("initdb", "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", cwd=directory)
        options = " ".join(f"-c {each}" for each in (*_SETTINGS, f"port={port}", "listen_addresses=127.0.0.1"))
        log = str(directory / "log")
        start = ("-w", "-t", str(_START_WITHIN_S), "-l", log, "-o", f"{options} -k {directory}")
        _command("pg_ctl", "-D", str(data), *start, "start", cwd=directory)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            _command("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop", cwd=directory)
    finally:
        shutil.rmtree(directory)
