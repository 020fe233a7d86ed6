"""A real sshd on loopback, with keys and pinned host keys of its own."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.common.ssh_connection import SshTarget
from tests.integration.stack import wait_until

HOST = "127.0.0.1"
SSHD = "/usr/sbin/sshd"
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_CONFIG = """
ListenAddress {host}
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv DM_DISABLE_UDEV=1 PATH={directory}/bin:/usr/bin:/bin
"""
# There may be no sudo here; this one tells that it was asked.
_SUDO = """#!/bin/sh
[ "$1 $2" = "-n --" ] || exit 1
[ ! -e {directory}/no-sudo ] || {{ echo 'sudo: a password is required' >&2; exit 1; }}
shift 2; echo "$*" >>{directory}/sudo.log; exec "$@"
"""


def why_not() -> str:
    """Why there can be no sshd here; empty when there can."""
    if os.geteuid() != 0:
        return "sshd is started as root only"
    return "" if Path(SSHD).exists() else "openssh-server is not installed: apt-get install openssh-server"


@dataclass(slots=True)
class Sshd:
    """A running sshd.

    Attributes:
        directory: Its keys: key and known_hosts are for clients.
        port: Where it listens.
        process: The process; its connections are processes of their own.
    """

    directory: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def keyfile(self) -> Path:
        """The private key of its only user, root."""
        return self.directory / "key"

    @property
    def known_hosts(self) -> Path:
        """A file with its host key."""
        return self.directory / "known_hosts"

    def target(self, *, sudo: bool = False) -> SshTarget:
        """Where it is."""
        return SshTarget(host=HOST, port=self.port, user="root", keyfile=self.keyfile, sudo=sudo)

    def fingerprint(self) -> str:
        """Of its host key, as ssh-keygen shows it."""
        shown = subprocess.run(
            ["ssh-keygen", "-lf", str(self.directory / "host_key.pub")], check=True, capture_output=True, text=True
        )
        return shown.stdout.split()[1]

    def connections(self) -> list[int]:
        """Processes of its open connections."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found]

    def cut(self) -> None:
        """Breaks all its connections at once."""
        for pid in self.connections():
            os.kill(pid, 9)


@contextmanager
def running_sshd(directory: Path) -> Iterator[Sshd]:
    """An sshd for the length of a block."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(directory / name)], check=True
        )
    (directory / "bin").mkdir()
    (directory / "bin" / "sudo").write_text(_SUDO.format(directory=directory))
    (directory / "bin" / "sudo").chmod(0o755)
    made = not _PRIVILEGE_SEPARATION.exists()
    _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    public = (directory / "host_key.pub").read_text().split()
    (directory / "known_hosts").write_text(f"[{HOST}]:{port} {public[0]} {public[1]}\n")
    config = directory / "sshd_config"
    config.write_text(_CONFIG.format(host=HOST, port=port, directory=directory))
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=log)
    sshd = Sshd(directory, port, process)
    try:
        wait_until(lambda: _listens(sshd), f"sshd at port {port}")
        yield sshd
    finally:
        sshd.cut()
        process.terminate()
        process.wait()
        if made:
            shutil.rmtree(_PRIVILEGE_SEPARATION, ignore_errors=True)


def _listens(sshd: Sshd) -> bool:
    assert sshd.process.poll() is None, (sshd.directory / "sshd.log").read_text()
    with socket.socket() as probe:
        return probe.connect_ex((HOST, sshd.port)) == 0
