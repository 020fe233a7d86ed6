"""Loads a topology file of Heketi over REST: what is there already stays as it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from gateway.cli.rest_client import RestError
from services.common.errors import InvalidArgumentError
from services.common.reasons import Reason


def _refuse(path: Path, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, f"{path}: {why}", file=path)


def read_topology(path: Path) -> list[dict[str, Any]]:
    """The clusters of a topology file.

    Raises:
        InvalidArgumentError: The file is no topology; says which entry is wrong.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _refuse(path, f"cannot be read as JSON: {error}") from error
    return check_clusters(path, content.get("clusters") if isinstance(content, dict) else None)


def check_clusters(path: Path, clusters: Any) -> list[dict[str, Any]]:
    """The clusters of a topology file, once each entry of them is known to be one.

    Raises:
        InvalidArgumentError: Says which entry of the file is wrong.
    """
    if not isinstance(clusters, list):
        raise _refuse(path, 'has no list "clusters"')
    for c_index, cluster in enumerate(clusters):
        for n_index, node in enumerate(cluster.get("nodes") or []):
            where = f"clusters[{c_index}].nodes[{n_index}]"
            hostnames = (node.get("node") or {}).get("hostnames") or {}
            if not hostnames.get("manage") or not hostnames.get("storage"):
                raise _refuse(path, f"{where}.node.hostnames needs manage and storage")
            for d_index, device in enumerate(node.get("devices") or []):
                if not isinstance(device, str) and not (isinstance(device, dict) and device.get("name")):
                    raise _refuse(path, f'{where}.devices[{d_index}] is neither a path nor an object with "name"')
    return clusters


class Client(Protocol):
    """What is needed of a client of the REST interface."""

    def get(self, path: str) -> Any:
        """The JSON of a GET."""

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """A change, followed to its end."""


def load_topology(
    client: Client,
    clusters: list[dict[str, Any]],
    say: Callable[[str], None],
    *,
    refusal: type[Exception] = RestError,
) -> int:
    """Adds clusters, nodes and devices that are missing; returns how many items failed.

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
    """One run: what is known, and how many items failed."""

    def __init__(self, client: Client, say: Callable[[str], None], refusal: type[Exception]) -> None:
        self._client = client
        self._refusal = refusal
        self._say = say
        self._failures = 0
        self._nodes: dict[str, dict[str, Any]] = {}
        for cluster_id in client.get("/clusters")["clusters"]:
            for node_id in client.get(f"/clusters/{cluster_id}")["nodes"]:
                node = client.get(f"/nodes/{node_id}")
                self._nodes[node["hostnames"]["manage"][0]] = node

    def load(self, clusters: list[dict[str, Any]]) -> int:
        for cluster in clusters:
            self._load_cluster(cluster)
        return self._failures

    def _load_cluster(self, cluster: dict[str, Any]) -> None:
        cluster_id = ""
        created = False
        for entry in cluster.get("nodes") or []:
            known = self._nodes.get(entry["node"]["hostnames"]["manage"][0])
            if known is not None:
                cluster_id = known["cluster"]
                self._say(f"\tFound node {known['hostnames']['manage'][0]} on cluster {cluster_id}")
            else:
                if not cluster_id:
                    cluster_id, created = self._create_cluster(cluster), True
                known = self._create_node(entry["node"], cluster_id)
            if known is not None:
                self._load_devices(known, entry.get("devices") or [])
        if created and not self._client.get(f"/clusters/{cluster_id}")["nodes"]:
            self._client.change("DELETE", f"/clusters/{cluster_id}")

    def _create_cluster(self, cluster: dict[str, Any]) -> str:
        flags = {"file": cluster.get("file", True), "block": cluster.get("block", True)}
        cluster_id: str = self._client.change("POST", "/clusters", flags)["id"]
        self._say(f"Creating cluster ... ID: {cluster_id}")
        for kind in ("file", "block"):
            if flags[kind]:
                self._say(f"\tAllowing {kind} volumes on cluster.")
        return cluster_id

    def _create_node(self, node: dict[str, Any], cluster_id: str) -> dict[str, Any] | None:
        host = node["hostnames"]["manage"][0]
        try:
            made: dict[str, Any] = self._client.change("POST", "/nodes", {**node, "cluster": cluster_id})
        except self._refusal as error:
            self._failures += 1
            self._say(f"\tCreating node {host} ... Unable to create node: {error}")
            return None
        self._nodes[host] = made
        self._say(f"\tCreating node {host} ... ID: {made['id']}")
        return made

    def _load_devices(self, node: dict[str, Any], devices: list[Any]) -> None:
        present = {device["name"] for device in node["devices"]}
        for entry in devices:
            device = {"name": entry} if isinstance(entry, str) else entry
            name = device["name"]
            if name in present:
                self._say(f"\t\tFound device {name}")
                continue
            try:
                self._client.change("POST", "/devices", {**device, "node": node["id"]})
            except self._refusal as error:
                self._failures += 1
                self._say(f"\t\tAdding device {name} ... Unable to add device: {error}")
            else:
                self._say(f"\t\tAdding device {name} ... OK")
