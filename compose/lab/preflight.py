"""Whether this machine can run the lab: one line why not, and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from compose.lab.errors import CannotRunHereError, LabError
from compose.lab.processes import pids_with_argument
from compose.lab.settings import GIB
from compose.lab.waiting import Interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.lab.settings import LabConfig
    from compose.lab.waiting import Progress

# Everything the lab and its nodes need from Debian; the only list.
PACKAGES = (
    "user-mode-linux",
    "uml-utilities",
    "kmod",
    "iproute2",
    "lvm2",
    "thin-provisioning-tools",
    "xfsprogs",
    "glusterfs-server",
    "glusterfs-client",
    "dmsetup",
    "ethtool",
    "gcc",
    "libc6-dev",
    "e2fsprogs",
    "util-linux",
)
_NO_SERVICES = "#!/bin/sh\nexit 101\n"
_POLICY = Path("/usr/sbin/policy-rc.d")


def parse_installed(text: str) -> set[str]:
    """Names of installed packages among lines of `package[:architecture] status`, as dpkg-query gives them."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0].partition(":")[0] for row in rows if len(row) > 1 and row[1].startswith("ii")}


def missing_packages() -> list[str]:
    """Packages of the list that are not installed.

    Raises:
        CannotRunHereError: this is not Debian or a relative of it.
    """
    if shutil.which("dpkg-query") is None:
        raise CannotRunHereError("this is not Debian (no dpkg-query); run the lab on Debian 12 or in a container of it")
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\\n", *PACKAGES],
        capture_output=True,
        text=True,
        check=False,  # it fails when one of them is unknown, which is what is asked
    )
    installed = parse_installed(asked.stdout)
    return [package for package in PACKAGES if package not in installed]


def install(progress: Progress) -> list[str]:
    """Install the missing packages, without letting any of them start a service; returns their names.

    Raises:
        CannotRunHereError: not root.
        LabError: apt-get failed.
    """
    check_root()
    missing = missing_packages()
    if not missing:
        return []
    progress.say(f"installing {' '.join(missing)}")
    gluster_before = set(pids_with_argument("gluster", "glusterd"))
    with Interrupts() as interrupts, _no_services():
        _apt_install(missing, progress)
        interrupts.check()
    if started := set(pids_with_argument("gluster", "glusterd")) - gluster_before:
        raise LabError(
            f"installing glusterfs-server started glusterd ({sorted(started)}); stop it: systemctl stop glusterd"
        )
    return missing


@contextmanager
def _no_services() -> Iterator[None]:
    """While this is there, no Debian package starts its daemon."""
    own_policy = not _POLICY.exists()
    if own_policy:
        _POLICY.write_text(_NO_SERVICES, encoding="utf-8")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if own_policy:
            _POLICY.unlink()


def _apt_install(packages: list[str], progress: Progress) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    argv = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    if _apt(argv, env) != 0:
        progress.say("refreshing the package lists")
        _apt(["apt-get", "update", "-q"], env)
        if (code := _apt(argv, env)) != 0:
            raise LabError(f"apt-get install failed with {code}; its messages are above")


def _apt(argv: list[str], env: dict[str, str]) -> int:
    return subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=2, check=False
    ).returncode  # messages to stderr


def check_root() -> None:
    """Refuse anybody but root.

    Raises:
        CannotRunHereError: not root.
    """
    if os.geteuid() != 0:
        raise CannotRunHereError("the lab makes network namespaces and tap devices: run it as root (sudo)")


def check_machine() -> None:
    """Refuse a machine that cannot run the lab, before anything is made.

    Raises:
        CannotRunHereError: with the reason and what to do.
    """
    check_root()
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise CannotRunHereError(f"User-mode Linux needs Linux on x86_64, not {platform.system()} {platform.machine()}")
    if missing := missing_packages():
        raise CannotRunHereError(f"packages are missing: {' '.join(missing)}; run `lab install`")
    tun = Path("/dev/net/tun")
    if not tun.exists() or not stat.S_ISCHR(tun.stat().st_mode):
        raise CannotRunHereError("there is no /dev/net/tun; run `modprobe tun`, or add --device /dev/net/tun to docker")
    try:
        os.close(os.open(tun, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise CannotRunHereError(f"/dev/net/tun cannot be opened ({error.strerror}); run `modprobe tun`") from error


def check_space(directory: Path) -> None:
    """Refuse a file system without room for what nodes write in their first minutes; the disks themselves are sparse.

    Raises:
        CannotRunHereError: less than 1 GiB is free.
    """
    room = os.statvfs(directory)
    if room.f_bavail * room.f_frsize < GIB:
        raise CannotRunHereError(f"less than 1 GiB is free in {directory}; give another --dir")


def available_memory_bytes() -> int:
    """Memory that programs can still get on this machine, in bytes."""
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise CannotRunHereError("/proc/meminfo has no MemAvailable; the lab needs Linux 3.14 or newer")


def memory_directory(config: LabConfig) -> str | None:
    """Where the nodes' memory has to go if not to /dev/shm, which User-mode Linux takes by itself.

    It maps its memory from an unlinked file. A container's /dev/shm is often 64 MiB, and a node dies when it is full.
    """
    shm = "/dev/shm"  # noqa: S108 - looked at, not written to
    if not os.path.ismount(shm):
        return config.directory
    room = os.statvfs(shm)
    enough = room.f_bavail * room.f_frsize >= config.nodes * config.memory_bytes
    return None if enough and not room.f_flag & os.ST_NOEXEC else config.directory
