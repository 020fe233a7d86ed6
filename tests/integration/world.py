"""Clusters of fresh simulated nodes, made over REST, and what can be said about all of one."""

from dataclasses import dataclass, field
from typing import Any

from brickyard.topology.v1 import operation_pb2
from tests.integration.clients import Holdings, Rest
from tests.integration.stack import Server, Stack, wait_until

LETTERS = "bcdefghijkl"


@dataclass(slots=True)
class Cluster:
    """A cluster that a test made.

    Attributes:
        stack: Where it runs.
        id: Its id.
        numbers: Numbers of its nodes: node N is managed as "nodeN".
        nodes: Ids of its nodes, in the same order.
    """

    stack: Stack
    id: str
    numbers: list[int] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)

    @property
    def hostnames(self) -> list[str]:
        return [f"node{number}" for number in self.numbers]

    def holdings(self) -> dict[str, Holdings]:
        """What each node holds, by host name."""
        return {hostname: self.stack.agents.holdings(hostname) for hostname in self.hostnames}

    def has_volume(self, name: str) -> bool:
        """Whether any node's glusterd knows the volume."""
        return any(self.stack.agents.has_volume(hostname, name) for hostname in self.hostnames)

    def used_bytes(self) -> int:
        """Used and reserved bytes of all devices."""
        return sum(used + reserved for _, used, reserved in self.stack.stubs().spaces(self.nodes).values())

    def assert_untouched(self, name: str = "") -> None:
        """No brick, no volume, no reservation, no broken books."""
        left = {hostname: held for hostname, held in self.holdings().items() if not held.empty}
        assert left == {}
        assert self.used_bytes() == 0
        if name:
            assert not self.has_volume(name)
        shown = self.stack.rest().json(f"/clusters/{self.id}")
        assert shown["volumes"] == []
        assert self.stack.stubs().violations() == []

    def volume_body(self, size: int = 4, *, kind: str = "replicate", name: str = "", **more: Any) -> dict[str, Any]:
        """The body of POST /volumes: `kind` is replicate (of 3), none, or disperse (4+2)."""
        durability: dict[str, Any] = {"type": kind}
        if kind == "replicate":
            durability["replicate"] = {"replica": 3}
        if kind == "disperse":
            durability["disperse"] = {"data": 4, "redundancy": 2}
        body = {"size": size, "durability": durability, "clusters": [self.id], **more}
        return {**body, "name": name} if name else body


class World:
    """Makes clusters on a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.rest: Rest = stack.rest()

    def cluster(self, nodes: int = 3, *, disks: int = 1, zones: int = 3) -> Cluster:
        """A cluster of fresh nodes with disks of DISK_GIB; node N is in zone N modulo `zones`, plus 1."""
        made = Cluster(self.stack, self.rest.made("/clusters", {"file": True, "block": True})["id"])
        for position, number in enumerate(self.stack.fresh_nodes(nodes)):
            node = self.rest.made("/nodes", node_body(made.id, number, zone=position % zones + 1))
            made.numbers.append(number)
            made.nodes.append(node["id"])
            for letter in LETTERS[:disks]:
                self.rest.made("/devices", {"node": node["id"], "name": f"/dev/sd{letter}"})
        return made

    def begun(self, cluster: Cluster, *, gateway: Server | None = None, **volume: Any) -> str:
        """Begins to make a volume and gives the operation's id."""
        answer = self.stack.rest(gateway).send("POST", "/volumes", cluster.volume_body(**volume))
        assert answer.status_code == 202, (answer.status_code, answer.text)
        return operation_id(answer.headers["location"])

    def await_step(self, begun: str, step: str) -> operation_pb2.Operation:
        """Waits until an operation is at a step."""

        def arrived() -> operation_pb2.Operation | None:
            found = self.stack.stubs().operation(begun)
            return found if found.progress.step == step else None

        found = wait_until(arrived, f"operation {begun} at step {step!r}")
        assert found is not None
        return found


def node_body(cluster_id: str, number: int, *, zone: int = 1) -> dict[str, Any]:
    """The body of POST /nodes for a simulated node."""
    return {
        "cluster": cluster_id,
        "zone": zone,
        "hostnames": {"manage": [f"node{number}"], "storage": [f"10.0.0.{number}"]},
    }


def operation_id(location: str) -> str:
    """The operation behind a queue entry."""
    return location.removeprefix("/queue/")
