"""Brickyard on the lab, as the end-to-end tests see it: what is there, what is left, and how to break it."""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from compose.lab import network
from compose.lab.node import Node
from compose.lab.settings import GLUSTERD_PORT
from compose.lab.waiting import Progress, wait_until
from compose.stack import HOST_ADDRESS, PORTS, ROOT, Stack, StackConfig, take_down
from services.common.authority import create_authority, issue_certificate
from services.common.identity import Role

NODES = 5
MEMBERS = 3
"""The first so many nodes are the cluster; the others are spare."""
DISK, SPARE_DISK = "/dev/ubdb", "/dev/ubdc"
"""The first disk of each member is a device; the second ones are for tests that spoil them."""
AGENT_PORT = 7410
LEASE_S = 3.0
# Of every volume, before and after those of the request; both are gluster's defaults, and change nothing.
PRE_OPTION, POST_OPTION = "performance.io-thread-count 16", "performance.cache-size 32MB"
_NAME = "e2e-"
_MOUNT_ROOT = "/var/lib/heketi/mounts"
_GLUSTERD = ["glusterd", "--log-level", "INFO", "--pid-file", "/run/glusterd.pid"]
# One shell a node, and in it as few processes as can be: one costs 20 to 50 ms there, and this is done after each test.
# Where all extents are free, there is no LV.
_LOOK = f"""
names() {{ for path in "$@"; do [ ! -e "$path" ] || echo "${{path##*/}}"; done; }}
paths() {{ for path in "$@"; do [ ! -e "$path" ] || echo "$path"; done; }}
lines() {{ while read -r line || [ -n "$line" ]; do case $line in *$1*) echo "$line";; esac; done; }}
groups=$(lvm pvs --noheadings -o vg_name,pv_name,vg_extent_count,vg_free_count) || exit 1
echo '# groups'; echo "$groups"
taken=
while read -r group disk count free; do [ "$count" = "$free" ] || taken=1; done <<END
$groups
END
echo '# volumes'; [ -z "$taken" ] || lvm lvs -a --noheadings -o vg_name,lv_name || exit 1
echo '# mounts'; lines {_MOUNT_ROOT} </proc/mounts
echo '# fstab'; [ ! -e /var/lib/brickyard/fstab ] || lines '' </var/lib/brickyard/fstab
echo '# directories'; paths {_MOUNT_ROOT}/*/*
echo '# gluster'; names /var/lib/glusterd/vols/*
echo '# peers'; names /var/lib/glusterd/peers/*
echo '# spare disk'; blkid -p {SPARE_DISK}
true
"""
_UNFINISHED = 'OperationService/ListOperations={"unfinished_only": true}'
_EMPTY = ("volumes", "mounts", "fstab", "directories", "gluster")


def config() -> StackConfig:
    """A lab of this process's own, so that it can live beside a demo and beside other test runs."""
    return StackConfig(
        name=f"{_NAME}{os.getpid()}",
        nodes=NODES,
        disks=2,
        gateway_flags=(
            *("--lease-seconds", str(LEASE_S)),
            *("--pre-request-volume-options", PRE_OPTION),
            *("--post-request-volume-options", POST_OPTION),
        ),
    )


def clear_dead() -> None:
    """Removes what a test run left behind that was killed so hard that it could not do it."""
    for path in Path("/tmp").glob(f"{_NAME}*"):
        owner = re.fullmatch(rf"{_NAME}(\d+)", path.name.removesuffix("-stack"))
        if owner is not None and not Path(f"/proc/{owner[1]}").exists():
            take_down(StackConfig(name=owner[0]))


@dataclass(frozen=True, slots=True)
class Log:
    """What is written to a file from now on."""

    path: Path
    start: int

    def text(self) -> str:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read().decode(errors="replace")

    def has(self, *texts: str) -> bool:
        """Whether one line has all texts."""
        return any(all(text in line for text in texts) for line in self.text().splitlines())


@dataclass(frozen=True, slots=True)
class AgentLogs:
    """What the agents of the cluster log from now on, by address of the node."""

    by_address: dict[str, Log]

    def await_command(self, *words: str, address: str = "", seconds: float = 30.0) -> str:
        """Waits until an agent, or that of one node, ran such a command; returns its node's address."""
        found: list[str] = []

        def ran() -> bool:
            found.extend(
                each
                for each, log in self.by_address.items()
                if address in ("", each) and log.has('"command.run"', *words)
            )
            return bool(found)

        wait_until(ran, seconds=seconds, what=f"a command {words}")
        return found[0]


@dataclass(slots=True)
class System:
    """The stack with its cluster of three nodes and two spare ones.

    Attributes:
        stack: What runs.
        cluster_id: Id of the cluster.
        node_ids: Ids of its nodes by address.
        pristine: What `look` found when all was new.
    """

    stack: Stack
    cluster_id: str = ""
    node_ids: dict[str, str] = field(default_factory=dict)
    pristine: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def up(cls) -> Self:
        """Boots everything and makes the cluster; nothing stays when that fails.

        Raises:
            CannotRunHereError: The lab cannot run on this machine.
        """
        system = cls(Stack.up(config(), Progress(quiet=True)))
        try:
            system._make_cluster()
        except BaseException:
            system.stack.close()
            raise
        return system

    def _make_cluster(self) -> None:
        with self.stack.rest() as client:
            self.cluster_id = client.change("POST", "/clusters", {"file": True, "block": True})["id"]
            for zone, address in enumerate(self.member_addresses, start=1):
                self.node_ids[address] = client.change("POST", "/nodes", self.node_body(address, zone))["id"]
            for node_id in self.node_ids.values():
                client.change("POST", "/devices", {"node": node_id, "name": DISK})
        self.pristine = self.look()

    def node_body(self, address: str, zone: int = 1, cluster_id: str = "") -> dict[str, Any]:
        """Body of POST /nodes."""
        hostnames = {"manage": [address], "storage": [address]}
        return {"zone": zone, "hostnames": hostnames, "cluster": cluster_id or self.cluster_id}

    @property
    def member_addresses(self) -> list[str]:
        """Addresses of the cluster's nodes."""
        return self.stack.addresses[:MEMBERS]

    def node(self, address: str) -> Node:
        """The node with this address, as it is now."""
        return self.stack.running_lab().node(self.node_name(address))

    def node_name(self, address: str) -> str:
        """The lab's name of it."""
        return f"node{self.stack.addresses.index(address) + 1}"

    def shell(self, address: str, script: str, *, seconds: float = 60.0) -> str:
        """Runs a shell script in a node and returns its stdout; a failure raises."""
        return self.node(address).run(["/bin/sh", "-c", script], check=True, seconds=seconds).stdout

    # --- REST ---------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One REST request."""
        with self.stack.rest() as client:
            return client.request(method, path, body)

    def begin(self, method: str, path: str, body: Any = None) -> str:
        """A REST request that is answered with 202; returns the path of its queue entry."""
        answer = self.ask(method, path, body)
        assert answer.status_code == 202, answer.text
        return str(answer.headers["Location"])

    def poll(self, queue: str) -> httpx.Response | None:
        """The outcome of an operation; None while it is pending."""
        answer = self.ask("GET", queue)
        return None if answer.headers.get("X-Pending") == "true" else answer

    def outcome(self, queue: str, *, seconds: float = 60.0) -> httpx.Response:
        """Waits for the outcome of an operation."""
        found: list[httpx.Response] = []

        def ended() -> bool:
            answer = self.poll(queue)
            found.extend([answer] if answer is not None else [])
            return bool(found)

        wait_until(ended, seconds=seconds, what=f"the end of {queue}")
        return found[0]

    def change(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A REST request, followed to its end: the refusal, the outcome of its operation, or its immediate answer."""
        answer = self.ask(method, path, body)
        return self.outcome(str(answer.headers["Location"])) if answer.status_code == 202 else answer

    def create_volume(self, **fields: Any) -> dict[str, Any]:
        """Makes a volume of 1 GiB, replica 3 unless told otherwise, and returns what GET tells of it."""
        body = {"size": 1, "durability": {"type": "replicate", "replicate": {"replica": 3}}, **fields}
        with self.stack.rest() as client:
            volume: dict[str, Any] = client.change("POST", "/volumes", body)
        return volume

    def delete_volume(self, volume: dict[str, Any]) -> None:
        """Removes a volume."""
        with self.stack.rest() as client:
            client.change("DELETE", f"/volumes/{volume['id']}")

    def brick_places(self, volume: dict[str, Any]) -> list[tuple[str, str]]:
        """Address of the node and path of each brick of a volume."""
        addresses = {node_id: address for address, node_id in self.node_ids.items()}
        return [(addresses[brick["node"]], brick["path"]) for brick in volume["bricks"]]

    # --- clients ------------------------------------------------------------------------------------------------------

    def with_mount(self, volume: dict[str, Any], script: str, *, stdin: str = "", seconds: float = 120.0) -> str:
        """Mounts a volume at /mnt with the GlusterFS client, runs a shell script there and returns its stdout."""
        glusterfs = volume["mount"]["glusterfs"]
        others = glusterfs["options"]["backup-volfile-servers"].replace(",", ":")
        device = shlex.quote(glusterfs["device"])
        whole = (
            f"mount -t glusterfs -o backup-volfile-servers={others} {device} /mnt || exit 99; "
            f"cd /mnt; ( {script} ); status=$?; cd /; umount /mnt || exit 98; exit $status"
        )
        return self.stack.running_lab().host_run(["/bin/sh", "-c", whole], stdin=stdin, seconds=seconds).stdout

    # --- what is there ------------------------------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """Everything that a change could leave behind: on all nodes that are up, and in the books."""
        nodes = [node for node in self.stack.running_lab().nodes if node.is_alive()]
        with ThreadPoolExecutor(len(nodes)) as pool:
            found = list(pool.map(_look_at, nodes))
        return {**{node.name: seen for node, seen in zip(nodes, found, strict=True)}, "books": self._books()}

    def _books(self) -> dict[str, Any]:
        with self.stack.rest() as client:
            clusters = {each: client.get(f"/clusters/{each}") for each in client.get("/clusters")["clusters"]}
            node_ids = [node_id for cluster in clusters.values() for node_id in cluster["nodes"]]
            nodes = {node_id: client.get(f"/nodes/{node_id}") for node_id in node_ids}
            volumes = client.get("/volumes")["volumes"]
        return {"clusters": clusters, "nodes": nodes, "volumes": volumes}

    def leftovers(self) -> list[str]:
        """What is not as it is in a cluster without volumes, as sentences."""
        return self.inspect()[1]

    def inspect(self) -> tuple[dict[str, Any], list[str]]:
        """What `look` finds, and what of it is not as it is in a cluster without volumes, as sentences."""
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self._topology, "TopologyService/CheckConsistency", _UNFINISHED)
            seen = self.look()
        checked, unfinished = asked.result()
        found = [f"unfinished: {operation}" for operation in unfinished.get("operations", [])]
        return seen, [*_left_in(dict(seen)), *found, *checked.get("violations", [])]

    def await_nothing_left(self, *, seconds: float) -> None:
        """Waits, without lending a hand, until nothing is left of any change."""
        left: list[str] = []

        def clean() -> bool:
            left[:] = self.leftovers()
            return not left

        wait_until(clean, seconds=seconds, what=lambda: f"nothing to be left: {left[:5]}")

    def rpc(self, target: str, *calls: str, role: str = "operator", server_name: str = "") -> list[dict[str, Any]]:
        """gRPC calls with the certificate of a role; "nobody" has none, "plaintext" does not even try TLS.

        Each call is "package.Service/Method", or that and "=" and a request in JSON.
        """
        tls = self.stack.directory / "tls"
        who = {"nobody": ["--authority", str(tls / "operator" / "ca.pem")], "plaintext": []}
        flags = who.get(role, ["--tls", str(tls / role)])
        argv = [sys.executable, "-m", "tests.e2e.rpc", target, *calls, *flags]
        environment = ["env", f"PYTHONPATH={ROOT}:{ROOT / 'protos' / 'gen'}"]
        where = ["--server-name", server_name] if server_name else []
        done = self.stack.running_lab().host_run([*environment, *argv, *where], seconds=60)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def _topology(self, *calls: str) -> list[dict[str, Any]]:
        answers = self.rpc(
            f"{HOST_ADDRESS}:{PORTS['topology']}",
            *(f"brickyard.topology.v1.{call}" for call in calls),
            server_name="topology.brickyard.internal",
        )
        assert [answer["code"] for answer in answers] == ["OK"] * len(calls), answers
        return [answer["answer"] for answer in answers]

    def operation(self, queue: str) -> dict[str, Any]:
        """The record of an operation, by its queue entry."""
        request = json.dumps({"operation_id": queue.rpartition("/")[2]})
        found: dict[str, Any] = self._topology(f"OperationService/GetOperation={request}")[0]["operation"]
        return found

    def make_foreign_identity(self, name: str) -> None:
        """A gateway's certificate by an authority that nobody knows, with the right authority to check servers by."""
        tls = self.stack.directory / "tls"
        create_authority(tls / f"{name}-ca")
        issue_certificate(tls / f"{name}-ca", tls / name, role=Role.GATEWAY, name="gateway", hosts=[HOST_ADDRESS])
        shutil.copyfile(tls / "gateway" / "ca.pem", tls / name / "ca.pem")

    # --- trouble ------------------------------------------------------------------------------------------------------

    def agent_log(self, address: str) -> Log:
        """What the agent of a node logs from now on."""
        path = self.node(address).log_directory / "brickyard-agent.log"
        return Log(path, path.stat().st_size)

    def agent_logs(self) -> AgentLogs:
        """What the agents of the cluster log from now on."""
        return AgentLogs({address: self.agent_log(address) for address in self.member_addresses})

    def kill_agent(self, address: str) -> None:
        """Ends the agent of a node at once."""
        self.node(address).run(["pkill", "-9", "-f", "services.executor"], check=True)

    @contextmanager
    def without_glusterd(self, *addresses: str) -> Iterator[None]:
        """Kills glusterd on nodes, and starts it again afterwards."""
        for address in addresses:
            self.shell(address, "pkill -9 -x glusterd")
        try:
            yield
        finally:
            for address in addresses:
                self.start_glusterd(address)
            self.await_peers()

    def start_glusterd(self, address: str) -> None:
        """Starts glusterd in a node and waits for its answer."""
        self.node(address).run(_GLUSTERD, check=True)
        lab = self.stack.config.name
        wait_until(lambda: network.answers(lab, address, GLUSTERD_PORT), seconds=30, what=f"glusterd on {address}")

    def await_peers(self, *, seconds: float = 60.0) -> None:
        """Waits until every member of the cluster is connected to every other."""

        def connected() -> bool:
            return all(
                self.shell(address, "gluster --mode=script pool list || true").count("Connected") == MEMBERS
                for address in self.member_addresses
            )

        wait_until(connected, seconds=seconds, what="the peers to be connected")

    def await_bricks_online(self, volume: dict[str, Any], address: str, *, seconds: float = 30.0) -> None:
        """Waits until a node sees all bricks of a volume online."""
        ask = f"gluster --mode=script volume status {volume['name']} detail | grep -c 'Online *: Y' || true"
        count = len(volume["bricks"])
        wait_until(
            lambda: self.shell(address, ask).strip() == str(count),
            seconds=seconds,
            what=f"{count} bricks of {volume['name']} to be online",
        )

    def restart_agent(self, address: str) -> None:
        """Starts the agent of a node as its boot script does."""
        self.node(address).run([str(ROOT / "compose" / "agent-boot")], check=True)


def _left_in(seen: dict[str, Any]) -> list[str]:
    """What is left of volumes in what `System.look` found, as sentences."""
    books = seen.pop("books")
    found = [f"volume {volume} is listed" for volume in books["volumes"]]
    for name, parts in seen.items():
        found += [f"{name}: {part}: {line}" for part in _EMPTY for line in parts[part]]
        found += [f"{name}: not all free: {line}" for line in parts["groups"] if len(set(line.split()[2:])) > 1]
    for node in books["nodes"].values():
        for device in node["devices"]:
            storage = device["storage"]
            if storage["used"] or device["bricks"] or storage["free"] != storage["total"]:
                found.append(f"device {device['name']} of {node['hostnames']['manage'][0]}: {device}")
    return found


def _look_at(node: Node) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in node.run(["/bin/sh", "-c", _LOOK], check=True).stdout.splitlines():
        if line.startswith("# "):
            lines = sections.setdefault(line.removeprefix("# "), [])
        elif line.strip():
            lines.append(" ".join(line.split()))
    return {name: sorted(found) for name, found in sections.items()}
