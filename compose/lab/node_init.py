"""Process 1 of a storage node: sets the node up, starts glusterd and the exec server, and reaps.

Run by the node's kernel as `python3 -ISB node_init.py CONFIG`, with the host's files as its read-only root. In a
node a new process costs 20 to 50 ms, so what a system call can do is done by one, and imports are few.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120

from compose.lab import node_exec

if TYPE_CHECKING:
    from typing import Any

MS_NOSUID, MS_NODEV, MS_BIND = 2, 4, 4096
SIOCSIFADDR, SIOCSIFNETMASK, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8916, 0x891C, 0x8913, 0x8914
IFF_UP_RUNNING = 0x41
RB_POWER_OFF = 0x4321FEDC
NETMASK = "255.255.255.0"
OPEN_FILES = 4096  # programs that close every possible descriptor before exec crawl under the usual million
SHELTER = "/dev/.lab"  # the kernel mounts /dev by itself: the one writable place before anything else is
STATE = "/run/lab/state"
# What the node has its own of, and which therefore hides the host's.
HIDDEN = ("/run", "/tmp", "/var", "/etc", "/root", "/dev", "/proc", "/sys")  # noqa: S108 - mount points of the node
GLUSTER_LIBRARIES = "/usr/lib/x86_64-linux-gnu/glusterfs"
LVM_LOCAL = """\
# No udev and no dmeventd in a node.
devices {
    obtain_device_list_from_udev = 0
}
activation {
    monitoring = 0
    udev_sync = 0
    udev_rules = 0
}
"""
_libc = ctypes.CDLL(None, use_errno=True)


class InitError(Exception):
    """The node cannot be set up."""


def say(text: str) -> None:
    """One line on the console, which the host reads; the seconds are since the kernel started."""
    print(f"lab-init: {text} ({time.clock_gettime(time.CLOCK_BOOTTIME):.2f} s)", flush=True)


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """The mount system call.

    Raises:
        InitError: it failed.
    """
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    if result != 0:
        raise InitError(f"mount {source} on {target} as {kind}: {os.strerror(ctypes.get_errno())}")


def bind(source: str, target: str) -> None:
    """Show a directory or file at a second place, which is made if need be.

    Raises:
        InitError: it failed.
    """
    if os.path.isdir(source):  # noqa: PTH112 - pathlib costs 20 ms in a node; so in all of this file
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
    elif not os.path.exists(target):  # noqa: PTH110
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, MS_BIND)


def is_hidden(path: str) -> bool:
    """Whether the node's own mounts would hide a path of the host."""
    return any(path == top or path.startswith(top + "/") for top in HIDDEN)


def shelter(paths: list[str]) -> list[tuple[str, str]]:
    """Keep hold of host paths that are about to be hidden; returns pairs of where it is and where it belongs."""
    kept = []
    # Outermost first, so that a share inside another one is put back on top of it.
    for number, path in enumerate(sorted(filter(is_hidden, paths))):
        place = f"{SHELTER}/{number}"
        bind(path, place)
        kept.append((place, path))
    return kept


def put_back(kept: list[tuple[str, str]]) -> None:
    """Show the kept paths where they belong."""
    for place, path in kept:
        bind(place, path)


def write(path: str, text: str) -> None:
    """Write a small file."""
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)


def early_mounts() -> None:
    """What the kernel offers: /proc and /sys."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")


def base_mounts() -> None:
    """/run, terminals, shared memory, and the modules of this kernel."""
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for directory in ("/run/lock", "/run/lvm", "/run/gluster", "/run/lab", "/dev/pts", "/dev/shm"):  # noqa: S108
        os.makedirs(directory)  # noqa: PTH103
    mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108
    # The package keeps its modules aside; both the kernel and modprobe look for them here.
    mount("/usr/lib/uml/modules", "/lib/modules", None, MS_BIND)
    subprocess.run(["modprobe", "-a", "overlay", "dm-thin-pool", "fuse"], check=True)


def own_directories(log_directory: str) -> None:
    """Writable /var, /etc and /root that outlive a power cut, glusterd's state, and /tmp."""
    os.makedirs(STATE)  # noqa: PTH103
    mount("/dev/ubda", STATE, "ext4")
    for top in ("var", "etc"):
        for part in ("upper", "work"):
            os.makedirs(f"{STATE}/{top}/{part}", exist_ok=True)  # noqa: PTH103
        layers = f"lowerdir=/{top},upperdir={STATE}/{top}/upper,workdir={STATE}/{top}/work"
        mount("overlay", f"/{top}", "overlay", 0, layers)
    bind_own("root", "/root")
    groups = "/var/lib/glusterd/groups"  # option groups of `gluster volume set VOLUME group`, from the package
    packaged = f"{STATE}/glusterd/groups"
    if os.path.isdir(groups) and not os.path.isdir(packaged):  # noqa: PTH112
        shutil.copytree(groups, packaged)
    hide_geo_replication()
    bind_own("glusterd", "/var/lib/glusterd")  # not the host's peers and volumes, if it has any
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108
    # Logs go to the host, where they can be read when the node is dead.
    for directory in ("/var/log/lab", "/var/log/glusterfs"):
        os.makedirs(directory, exist_ok=True)  # noqa: PTH103
    mount("none", "/var/log/lab", "hostfs", 0, log_directory)
    os.makedirs("/var/log/lab/glusterfs", exist_ok=True)  # noqa: PTH103
    bind("/var/log/lab/glusterfs", "/var/log/glusterfs")


def hide_geo_replication() -> None:
    """Make glusterd believe that geo-replication is not installed.

    At each start it configures it by running a Python program about fifteen times, and does not answer meanwhile:
    ten seconds in a node. A device 0/0 in the upper layer is how an overlay says that a file is not there.
    """
    if os.path.exists(f"{GLUSTER_LIBRARIES}/gsyncd"):  # noqa: PTH110
        for part in ("upper", "work"):
            os.makedirs(f"{STATE}/libraries/{part}", exist_ok=True)  # noqa: PTH103
        hidden = f"{STATE}/libraries/upper/gsyncd"
        if not os.path.lexists(hidden):
            os.mknod(hidden, stat.S_IFCHR, 0)
        layers = f"lowerdir={GLUSTER_LIBRARIES},upperdir={STATE}/libraries/upper,workdir={STATE}/libraries/work"
        mount("overlay", GLUSTER_LIBRARIES, "overlay", 0, layers)


def bind_own(name: str, target: str) -> None:
    """Show a directory of the state disk, made on the first boot, somewhere else."""
    os.makedirs(f"{STATE}/{name}", mode=0o700, exist_ok=True)  # noqa: PTH103
    bind(f"{STATE}/{name}", target)


def identity(config: dict[str, Any]) -> None:
    """Host name, machine id, the names of all nodes, and how LVM has to behave here."""
    socket.sethostname(config["name"])
    write("/etc/hostname", config["name"] + "\n")
    write("/etc/machine-id", config["machine_id"] + "\n")
    write("/etc/hosts", config["hosts"])
    write("/etc/lvm/lvmlocal.conf", LVM_LOCAL)


def set_address(interface: str, address: str | None) -> None:
    """Bring an interface up, with an address in a /24 if one is given."""
    name = interface.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if address is not None:
            for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, NETMASK)):
                where = struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, request, struct.pack("16s16s", name, where))
        flags = struct.unpack_from("H", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16s16x", name)), 16)[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | IFF_UP_RUNNING))


def run_boot_scripts(scripts: list[str]) -> None:
    """Run the scripts that prepare the node, one after the other.

    Raises:
        InitError: one failed; the end of its output is on the console.
    """
    for script in scripts:
        path = f"/var/log/lab/{os.path.basename(script)}.log"  # noqa: PTH119
        with open(path, "ab") as log:  # noqa: PTH123
            code = subprocess.run([script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
        if code != 0:
            with open(path, encoding="utf-8", errors="replace") as log_text:  # noqa: PTH123
                print(log_text.read()[-1000:], flush=True)
            raise InitError(f"boot script {script} failed with {code}")


def start_services(scripts: list[str]) -> None:
    """Start the scripts that run beside glusterd."""
    for script in scripts:
        with open(f"/var/log/lab/{os.path.basename(script)}.log", "ab") as log:  # noqa: PTH119, PTH123
            subprocess.Popen([script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def start_exec_server(address: str, port: int) -> None:
    """Fork the exec server; it listens before this returns."""
    server = node_exec.listen(address, port)
    if os.fork() == 0:
        os.setsid()
        try:
            node_exec.serve_forever(server)
        finally:
            os._exit(1)
    server.close()


def reap_forever(glusterd: int, services: list[str]) -> None:
    """Wait for children of all kinds; start the services when glusterd has gone into the background.

    Raises:
        InitError: glusterd did not start.
    """
    while True:
        pid, status = os.wait()
        if pid == glusterd:
            code = os.waitstatus_to_exitcode(status)
            if code != 0:
                raise InitError(f"glusterd ended with {code}; see glusterfs/glusterd.log in the node's log directory")
            say("glusterd started")
            start_services(services)


def boot(config: dict[str, Any]) -> None:
    """Set the node up and stay."""
    early_mounts()
    kept = shelter([*config["shares"], config["scripts_directory"]])
    os.environ.clear()
    os.environ.update(config["env"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    base_mounts()
    own_directories(config["log_directory"])
    put_back(kept)
    identity(config)
    say("files ready")
    set_address("lo", None)
    set_address("vec0", config["address"])
    set_address("vec1", config["control_address"])
    run_boot_scripts(config["boot_scripts"])
    glusterd = subprocess.Popen(["glusterd", "--log-level", "INFO", "--pid-file", "/run/glusterd.pid"])
    start_exec_server(config["control_address"], config["exec_port"])
    say("exec channel open")
    reap_forever(glusterd.pid, config["service_scripts"])


def main(path: str) -> None:
    """Boot with the settings in the file; a node that cannot boot says so and powers itself off."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            config = json.load(file)
        boot(config)
    except BaseException as error:  # noqa: BLE001 - process 1 may not end by an exception: the kernel would panic
        if not isinstance(error, InitError):
            traceback.print_exc()
        say(f"FAILED: {error}")
    os.sync()
    _libc.reboot(RB_POWER_OFF)


if __name__ == "__main__":
    main(sys.argv[1])
