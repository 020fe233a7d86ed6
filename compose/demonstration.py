"""The demo: from nothing to a replicated volume on three real nodes, with data read back, and to nothing again."""

import argparse
import hashlib
import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compose.lab.errors import CannotRunHereError, LabError
from compose.lab.waiting import Progress
from compose.stack import HOST_ADDRESS, PORTS, ROOT, Stack, StackConfig, StackError, take_down
from gateway.cli.rest_client import RestClient
from gateway.cli.topology_file import read_topology
from gateway.cli.topology_load import failures_of, load_topology
from services.common.errors import BrickyardError

VOLUME = "demo"
MOUNT_POINT = "/mnt"
TEXT = "The quick brown fox jumps over the lazy dog.\n" * 20_000
EXIT_CANNOT_RUN = 3


class DemoFailedError(Exception):
    """Something is not as it must be."""


def say(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announces a step, and tells afterwards how long it took."""
    say(f"\n==> {what}")
    started = time.monotonic()
    yield
    say(f"    {time.monotonic() - started:.1f} s")


def check(condition: bool, text: str) -> None:
    """Says that something holds.

    Raises:
        DemoFailedError: It does not.
    """
    if not condition:
        raise DemoFailedError(f"not so: {text}")
    say(f"    ok: {text}")


def how_to_end(config: StackConfig) -> str:
    """The command that takes a demo down."""
    name = "" if config.name == StackConfig().name else f" --name {config.name}"
    return f"{ROOT}/compose/demo --down{name}"


class Demo:
    """One run."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def run(self, *, keep: bool) -> None:
        """All steps, in order; every claim is checked."""
        started = time.monotonic()
        stack = self.stack
        with step("make a certificate authority, and a certificate for every process"):
            stack.make_identities()
        with step(
            f"boot {stack.config.nodes} storage nodes, an agent in each (LVM, XFS and glusterd are the real ones)"
        ):
            stack.boot_nodes()
        with step("start topology, allocator and gateway, connected by mutual TLS"):
            stack.start_services()
        with stack.rest() as client:
            with step("load a topology file of Heketi's format"):
                self.load(client)
            with step("create a 1 GiB volume, replica 3, through the REST interface"):
                volume = self.create(client)
            with step("mount it with the GlusterFS client, write a file, read it back"):
                self.write_and_read(volume)
            with step("look at the bricks on the nodes"):
                self.look_at_bricks(volume)
            if keep:
                self.tell_how_to_talk(volume)
                stack.leave_running()
                return
            with step("delete the volume"):
                client.change("DELETE", f"/volumes/{volume['id']}")
                check(client.get("/volumes") == {"volumes": []}, "the gateway lists no volume")
            with step("look at the nodes again: nothing may be left"):
                self.check_nothing_left(client)
        with step("take everything down"):
            stack.close()
        say(f"\nThe whole road took {time.monotonic() - started:.1f} s.")

    def load(self, client: RestClient) -> None:
        """Adds all nodes and disks."""
        items = load_topology(client, read_topology(self.stack.write_topology_file()), lambda line: say(f"    {line}"))
        check(failures_of(items) == 0, "all nodes and devices were added")

    def create(self, client: RestClient) -> dict[str, Any]:
        """Creates the volume and returns what the gateway tells of it."""
        request = {"size": 1, "name": VOLUME, "durability": {"type": "replicate", "replicate": {"replica": 3}}}
        say(f"    POST /volumes {json.dumps(request)}")
        volume: dict[str, Any] = client.change("POST", "/volumes", request)
        say(f"    volume {volume['id']}, mount {volume['mount']['glusterfs']['device']}")
        check(len({brick["node"] for brick in volume["bricks"]}) == 3, "its three bricks are on three nodes")
        return volume

    def write_and_read(self, volume: dict[str, Any]) -> None:
        """Everything in one shell inside the lab's network, as a client machine would do it."""
        glusterfs = volume["mount"]["glusterfs"]
        options = f"backup-volfile-servers={glusterfs['options']['backup-volfile-servers'].replace(',', ':')}"
        script = (
            f"mount -t glusterfs -o {shlex.quote(options)} {shlex.quote(glusterfs['device'])} {MOUNT_POINT} && "
            f"cat > {MOUNT_POINT}/fox.txt && sync {MOUNT_POINT}/fox.txt && df -h {MOUNT_POINT} >&2; "
            f"umount {MOUNT_POINT} && "
            f"mount -t glusterfs {shlex.quote(glusterfs['device'])} {MOUNT_POINT} && "
            f"sha256sum {MOUNT_POINT}/fox.txt; status=$?; umount {MOUNT_POINT}; exit $status"
        )
        done = self.stack.running_lab().host_run(["/bin/sh", "-c", script], stdin=TEXT, seconds=120)
        for line in done.stderr.strip().splitlines():
            say(f"    {line}")
        check(
            done.stdout.split()[:1] == [hashlib.sha256(TEXT.encode()).hexdigest()],
            "the file read back is the one written",
        )

    def look_at_bricks(self, volume: dict[str, Any]) -> None:
        """Each brick holds the file."""
        expected = hashlib.sha256(TEXT.encode()).hexdigest()
        with self.stack.rest() as client:
            hosts = {brick["node"]: client.get(f"/nodes/{brick['node']}")["hostnames"] for brick in volume["bricks"]}
        for brick in volume["bricks"]:
            host = hosts[brick["node"]]["manage"][0]
            digest = self.stack.node_run(host, ["sha256sum", f"{brick['path']}/fox.txt"]).split()[0]
            check(digest == expected, f"{host}:{brick['path']} holds it")

    def check_nothing_left(self, client: RestClient) -> None:
        """No thin pool, brick, mount or fstab entry, no gluster volume, and all space is free."""
        for address in self.stack.addresses:
            volumes = self.stack.node_run(address, ["lvm", "lvs", "--noheadings", "-o", "lv_name"]).split()
            mounts = self.stack.node_run(address, ["cat", "/proc/mounts"])
            fstab = self.stack.node_run(address, ["sh", "-c", "cat /var/lib/brickyard/fstab 2>/dev/null || true"])
            gluster = self.stack.node_run(address, ["gluster", "--mode=script", "volume", "list"])
            check(not volumes, f"{address}: no logical volume")
            check("/var/lib/heketi/mounts" not in mounts, f"{address}: no brick is mounted")
            check("brick_" not in fstab, f"{address}: no fstab entry")
            check(VOLUME not in gluster.split(), f"{address}: no gluster volume")
        for cluster_id in client.get("/clusters")["clusters"]:
            for node_id in client.get(f"/clusters/{cluster_id}")["nodes"]:
                for device in client.get(f"/nodes/{node_id}")["devices"]:
                    check(device["storage"]["used"] == 0, f"device {device['name']} of node {node_id} is all free")

    def tell_how_to_talk(self, volume: dict[str, Any]) -> None:
        """What to type next."""
        stack = self.stack
        enter = shlex.join(stack.running_lab().host_argv([]))
        key = f"{stack.directory}/admin.key"
        tls = f"{stack.directory}/tls/operator"
        brickyard = f"{ROOT}/.venv/bin/brickyard"
        say(
            f"""
It stays up. All services are in a network of their own; enter it with
  {enter} bash
and then, for example:
  curl -H "Authorization: bearer $({brickyard} token --key-file {key} GET /volumes/{volume["id"]})" \\
    {stack.url}/volumes/{volume["id"]}
  grpcurl -cacert {tls}/ca.pem -cert {tls}/cert.pem -key {tls}/key.pem -servername gateway.brickyard.internal \\
    {HOST_ADDRESS}:{PORTS["gateway"]} brickyard.gateway.v1.OperatorService/ListVolumes
  mount -t glusterfs {volume["mount"]["glusterfs"]["device"]} {MOUNT_POINT}
Look into a node, or cut its power:
  {ROOT}/compose/lab/lab exec --name {stack.config.name} node1 gluster volume info
  {ROOT}/compose/lab/lab kill --name {stack.config.name} node3
Logs are in {stack.directory}/*.log and {stack.lab_directory}/node1/log/.
Take it down with
  {how_to_end(stack.config)}"""
        )


def _on_signal(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _down(config: StackConfig) -> int:
    try:
        take_down(config)
    except LabError as error:
        say(f"compose/demo: {error}")
        return 1
    return 0


def main() -> int:
    """Runs the demo; 0 = all went well, 3 = the lab cannot run on this machine, 130 = interrupted."""
    parser = argparse.ArgumentParser(
        prog="compose/demo", description=__doc__, epilog="Example: sudo ./compose/demo --keep"
    )
    parser.add_argument("--name", default=StackConfig().name, help="of the lab, to run two (default: %(default)s)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--keep", action="store_true", help="leave it running, and print how to talk to it")
    mode.add_argument("--down", action="store_true", help="take down what --keep left running")
    arguments = parser.parse_args()
    config = StackConfig(name=arguments.name)
    if arguments.down:
        return _down(config)
    stack = Stack(config, Progress())
    if stack.directory.exists() or Path(stack.lab_directory).exists():
        say(f"compose/demo: {stack.directory} exists: a demo runs or was killed; end it: {how_to_end(config)}")
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    try:
        Demo(stack).run(keep=arguments.keep)
    except CannotRunHereError as error:
        say(f"compose/demo: the lab cannot run here: {error}")
        return EXIT_CANNOT_RUN
    except (DemoFailedError, BrickyardError, LabError, StackError) as error:
        say(f"compose/demo: {error}")
        return 1
    except KeyboardInterrupt:
        say("\ncompose/demo: interrupted; taking everything down")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stack.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
