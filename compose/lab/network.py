"""The lab's network: a namespace of its own with two bridges and two tap devices for each node.

The data bridge carries glusterd, bricks and agents. The control bridge carries only the exec channel, so that a
node whose data network is cut can still be looked into. The addresses may repeat from lab to lab, because nothing
leaves the namespace.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from compose.lab import settings
from compose.lab.errors import CannotRunHereError, LabError
from compose.lab.processes import run_tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NETNS_DIRECTORY = Path("/run/netns")
DATA_BRIDGE, CONTROL_BRIDGE = "data0", "control0"
_CLONE_NEWNET = 0x40000000


def namespace_path(name: str) -> Path:
    """The file that stands for the namespace."""
    return NETNS_DIRECTORY / name


def data_tap(index: int) -> str:
    """Host side of a node's data network."""
    return f"node{index}"


def control_tap(index: int) -> str:
    """Host side of a node's control network."""
    return f"node{index}c"


def mac_address(index: int, *, control: bool) -> str:
    """A node's hardware address; fixed, so that its peers find it again at once after a power cut."""
    return f"02:77:00:00:{int(control):02x}:{index:02x}"


def has_named_namespaces_mount() -> bool:
    """Whether somebody has used named network namespaces on this machine before."""
    return any(
        line.split()[4] in {"/run/netns", "/var/run/netns"}
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    )


def bridge_commands(indices: Iterable[int]) -> list[str]:
    """Lines for `ip -batch` that make the bridges and taps.

    The bridges have fixed addresses: otherwise they take that of one of their ports and change it with it.
    """
    lines = ["link set lo up"]
    for bridge, mac, address in (
        (DATA_BRIDGE, "02:77:00:00:00:00", settings.HOST_ADDRESS),
        (CONTROL_BRIDGE, "02:77:00:00:01:00", settings.CONTROL_HOST_ADDRESS),
    ):
        lines += [
            f"link add {bridge} address {mac} type bridge forward_delay 0 mcast_snooping 0",
            f"link set {bridge} up",
            f"address add {address}/24 dev {bridge}",
        ]
    for index in indices:
        for tap, bridge in ((data_tap(index), DATA_BRIDGE), (control_tap(index), CONTROL_BRIDGE)):
            lines += [f"tuntap add {tap} mode tap", f"link set {tap} master {bridge}", f"link set {tap} up"]
    return lines


def partition_commands(index: int) -> list[str]:
    """Lines for `ip -batch` that cut a node's data network.

    The tap leaves the bridge instead of going down: writing to a tap that is down is an error that the guest's driver
    gives up on. Without ARP the namespace itself does not answer the node either. It survives a reboot of the node.
    """
    return [f"link set {data_tap(index)} nomaster", f"link set {data_tap(index)} arp off"]


def heal_commands(index: int) -> list[str]:
    """Lines for `ip -batch` that put the data network of a node back."""
    return [f"link set {data_tap(index)} arp on", f"link set {data_tap(index)} master {DATA_BRIDGE}"]


def offload_argv(name: str, device: str) -> list[str]:
    """Switches off every offload: the guest's driver drops the large segments that come with them (0.2 Mbit/s)."""
    switches = [word for feature in ("tx", "tso", "gso", "gro", "sg") for word in (feature, "off")]
    return [*enter_argv(name), "ethtool", "-K", device, *switches]


def enter_argv(name: str) -> list[str]:
    """What to put before a program so that it runs in the lab's network and the host's own mounts."""
    return ["nsenter", f"--net={namespace_path(name)}", "--"]


def configure(name: str, lines: Sequence[str]) -> None:
    """Run lines of `ip` in the namespace, as one batch.

    Raises:
        LabError: one failed.
    """
    run_tool(["ip", "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n")


def create(name: str, indices: Sequence[int]) -> None:
    """Make the namespace with its bridges and taps.

    Raises:
        CannotRunHereError: this machine, or the container it is, does not let root make one.
    """
    try:
        run_tool(["ip", "netns", "add", name])
    except LabError as error:
        raise CannotRunHereError(
            f"cannot make a network namespace ({error}); run on a machine, or in a container with --privileged"
        ) from error
    try:
        configure(name, bridge_commands(indices))
    except LabError as error:
        raise CannotRunHereError(
            f"cannot make bridges and tap devices ({error}); the kernel needs bridge and tun, and root CAP_NET_ADMIN"
        ) from error
    ipv6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
    if Path(ipv6).exists():  # neighbour discovery would only wake the nodes
        run_tool([*enter_argv(name), "sh", "-c", f"echo 1 >{ipv6}"])
    taps = [tap for index in indices for tap in (data_tap(index), control_tap(index))]
    for device in (DATA_BRIDGE, CONTROL_BRIDGE, *taps):
        run_tool(offload_argv(name, device))


def remove(name: str) -> None:
    """Remove the namespace, and with it its bridges and taps; its processes must be gone."""
    if namespace_path(name).exists():
        run_tool(["ip", "netns", "delete", name])


def new_socket(name: str) -> socket.socket:
    """A TCP socket that belongs to the lab's network, for a program that does not.

    Raises:
        LabError: the namespace is gone or cannot be entered.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter_and_make() -> None:
        try:
            handle = os.open(namespace_path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            finally:
                os.close(handle)
            made.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)

    # Only a thread enters a namespace; this one ends there, so that no other code of the program can be in it.
    thread = threading.Thread(target=enter_and_make)
    thread.start()
    thread.join()
    if failed:
        raise LabError(f"cannot enter the network of lab {name}: {failed[0]}") from failed[0]
    return made[0]


def connect(name: str, address: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection inside the lab's network.

    Args:
        name: the lab.
        address: an address in it, of either network.
        port: TCP port.
        seconds: time limit; it stays the time limit of the socket.

    Raises:
        LabError: the namespace cannot be entered.
        OSError: nobody answers there.
    """
    connection = new_socket(name)
    try:
        connection.settimeout(seconds)
        connection.connect((address, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        connection.close()
        raise
    return connection


def answers(name: str, address: str, port: int, seconds: float = 0.5) -> bool:
    """Whether something accepts connections there."""
    try:
        connect(name, address, port, seconds).close()
    except OSError:
        return False
    return True
