"""Loads a topology file of Heketi over REST: what is there already stays as it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gateway.cli.rest_client import RestError
from gateway.cli.topology_file import ListedCluster, ListedDevice, ListedNode

Result = Literal["added", "found", "failed", "removed"]


class Client(Protocol):
    """What is needed of a client of the REST interface."""

    def get(self, path: str) -> Any:
        """The JSON of a GET."""

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """A change, followed to its end."""


@dataclass(frozen=True, slots=True)
class LoadedItem:
    """What became of one entry of the file.

    Attributes:
        kind: What it is.
        name: Management host name or path; empty for a cluster.
        result: "removed" is a cluster that was made for nodes of which none could be added.
        id: Its id; empty when it failed, and for devices, whose ids the server does not tell.
        parent_id: Id of the cluster of a node, and of the node of a device.
        error: Why it failed.
    """

    kind: Literal["cluster", "node", "device"]
    name: str
    result: Result
    id: str = ""
    parent_id: str = ""
    error: str = ""


def failures_of(items: Sequence[LoadedItem]) -> int:
    """How many of the items failed."""
    return sum(each.result == "failed" for each in items)


def load_topology(
    client: Client,
    clusters: Sequence[ListedCluster],
    say: Callable[[str], None],
    *,
    refusal: type[Exception] = RestError,
) -> list[LoadedItem]:
    """Adds clusters, nodes and devices that are missing; returns what became of each entry, in their order.

    Args:
        client: The way to the server.
        clusters: From the file.
        say: Told each line of progress.
        refusal: What the client raises when the server refuses an item; its text is told.

    Raises:
        UnavailableError: The gateway does not answer.
        RestError: What is there cannot be read.
    """
    return _Loader(client, say, refusal).load(clusters)


class _Loader:
    """One run: what is known, and what became of the entries."""

    def __init__(self, client: Client, say: Callable[[str], None], refusal: type[Exception]) -> None:
        self._client = client
        self._refusal = refusal
        self._say = say
        self._items: list[LoadedItem] = []
        self._nodes: dict[str, dict[str, Any]] = {}
        for cluster_id in client.get("/clusters")["clusters"]:
            for node_id in client.get(f"/clusters/{cluster_id}")["nodes"]:
                node = client.get(f"/nodes/{node_id}")
                self._nodes[node["hostnames"]["manage"][0]] = node

    def load(self, clusters: Sequence[ListedCluster]) -> list[LoadedItem]:
        for cluster in clusters:
            self._load_cluster(cluster)
        return self._items

    def _load_cluster(self, cluster: ListedCluster) -> None:
        cluster_id = ""
        made_id = ""
        for listed in cluster.nodes:
            known = self._nodes.get(listed.manage[0])
            if known is not None:
                cluster_id = known["cluster"]
                self._say(f"\tFound node {listed.manage[0]} on cluster {cluster_id}")
                self._items.append(LoadedItem("node", listed.manage[0], "found", known["id"], cluster_id))
            else:
                if not cluster_id:
                    cluster_id = made_id = self._create_cluster(cluster)
                known = self._create_node(listed, cluster_id)
            if known is not None:
                self._load_devices(known, listed.devices)
        if made_id:
            self._remove_if_empty(made_id)

    def _create_cluster(self, cluster: ListedCluster) -> str:
        flags = {"file": cluster.file, "block": cluster.block}
        cluster_id: str = self._client.change("POST", "/clusters", flags)["id"]
        self._say(f"Creating cluster ... ID: {cluster_id}")
        for kind, allowed in flags.items():
            if allowed:
                self._say(f"\tAllowing {kind} volumes on cluster.")
        self._items.append(LoadedItem("cluster", "", "added", cluster_id))
        return cluster_id

    def _remove_if_empty(self, cluster_id: str) -> None:
        """Takes back a cluster that was made for nodes of which none could be added; Heketi tells nothing of it."""
        if not self._client.get(f"/clusters/{cluster_id}")["nodes"]:
            self._client.change("DELETE", f"/clusters/{cluster_id}")
            self._items.append(LoadedItem("cluster", "", "removed", cluster_id))

    def _create_node(self, node: ListedNode, cluster_id: str) -> dict[str, Any] | None:
        host = node.manage[0]
        try:
            made: dict[str, Any] = self._client.change("POST", "/nodes", node.request(cluster_id))
        except self._refusal as error:
            self._say(f"\tCreating node {host} ... Unable to create node: {error}")
            self._items.append(LoadedItem("node", host, "failed", parent_id=cluster_id, error=str(error)))
            return None
        self._nodes[host] = made
        self._say(f"\tCreating node {host} ... ID: {made['id']}")
        self._items.append(LoadedItem("node", host, "added", made["id"], cluster_id))
        return made

    def _load_devices(self, node: dict[str, Any], devices: Sequence[ListedDevice]) -> None:
        present = {device["name"]: device["id"] for device in node["devices"]}
        for device in devices:
            if device.name in present:
                self._say(f"\t\tFound device {device.name}")
                self._items.append(LoadedItem("device", device.name, "found", present[device.name], node["id"]))
                continue
            try:
                self._client.change("POST", "/devices", device.request(node["id"]))
            except self._refusal as error:
                self._say(f"\t\tAdding device {device.name} ... Unable to add device: {error}")
                failed = LoadedItem("device", device.name, "failed", parent_id=node["id"], error=str(error))
                self._items.append(failed)
            else:
                self._say(f"\t\tAdding device {device.name} ... OK")
                self._items.append(LoadedItem("device", device.name, "added", parent_id=node["id"]))
