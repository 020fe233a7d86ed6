"""Loading a topology file, against a server that keeps clusters and nodes in memory."""

import json
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner

from gateway.cli.brickyard import main
from gateway.cli.rest_client import RestError
from gateway.cli.rest_connection import RestConnection
from gateway.cli.topology_file import parse_topology
from gateway.cli.topology_load import LoadedItem, failures_of, load_topology


class FakeServer:
    """Heketi's dialect as far as a load uses it; refuses hosts and disks whose name has "bad" in it."""

    def __init__(self) -> None:
        self.clusters: dict[str, dict[str, Any]] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.changes: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def get(self, path: str) -> Any:
        _, kind, *rest = path.split("/")
        if not rest:
            return {"clusters": list(self.clusters)}
        return self.clusters[rest[0]] if kind == "clusters" else self.nodes[rest[0]]

    def change(self, method: str, path: str, body: Any = None) -> Any:
        self.changes.append((method, path))
        if method == "DELETE":
            del self.clusters[path.rpartition("/")[2]]
            return None
        if path == "/clusters":
            made = {"id": f"c{len(self.changes)}", **body, "nodes": []}
            self.clusters[made["id"]] = made
            return made
        if path == "/devices":
            self._refuse_bad(body["name"])
            devices = self.nodes[body["node"]]["devices"]
            devices.append({"id": f"d{len(self.changes)}", "name": body["name"]})
            return None
        self._refuse_bad(body["hostnames"]["manage"][0])
        made = {"id": f"n{len(self.changes)}", **body, "devices": []}
        self.nodes[made["id"]] = made
        self.clusters[body["cluster"]]["nodes"].append(made["id"])
        return made

    def _refuse_bad(self, name: str) -> None:
        if "bad" in name:
            raise RestError(400, f"{name} does not answer")

    def loaded(self, *clusters: Any) -> tuple[list[str], list[LoadedItem]]:
        lines: list[str] = []
        items = load_topology(self, parse_topology(Path("t"), {"clusters": list(clusters)}), lines.append)
        return lines, items


def node(host: str, *devices: str) -> dict[str, Any]:
    return {"node": {"hostnames": {"manage": [host], "storage": [host]}, "zone": 1}, "devices": list(devices)}


def test_each_line_is_told_and_failures_stop_nothing() -> None:
    server = FakeServer()
    lines, items = server.loaded(
        {"nodes": [node("h1", "/dev/bad", "/dev/sdb"), node("bad"), node("h2")], "block": False}
    )
    assert lines == [
        "Creating cluster ... ID: c1",
        "\tAllowing file volumes on cluster.",
        "\tCreating node h1 ... ID: n2",
        "\t\tAdding device /dev/bad ... Unable to add device: /dev/bad does not answer",
        "\t\tAdding device /dev/sdb ... OK",
        "\tCreating node bad ... Unable to create node: bad does not answer",
        "\tCreating node h2 ... ID: n6",
    ]
    assert failures_of(items) == 2
    assert items[1] == LoadedItem("node", "h1", "added", "n2", "c1")
    assert items[2] == LoadedItem("device", "/dev/bad", "failed", parent_id="n2", error="/dev/bad does not answer")


def test_a_second_load_changes_nothing() -> None:
    server = FakeServer()
    file = {"nodes": [node("h1", "/dev/sdb")]}
    server.loaded(file)
    before = list(server.changes)
    lines, items = server.loaded(file)
    assert lines == ["\tFound node h1 on cluster c1", "\t\tFound device /dev/sdb"]
    assert {each.result for each in items} == {"found"}
    assert server.changes == before


def test_new_nodes_go_to_the_cluster_of_the_known_one_before_them() -> None:
    server = FakeServer()
    server.loaded({"nodes": [node("h1")]})
    server.loaded({"nodes": [node("h1"), node("h2")]})
    assert list(server.clusters) == ["c1"]
    assert {each["cluster"] for each in server.nodes.values()} == {"c1"}


def test_a_cluster_without_nodes_is_taken_back() -> None:
    server = FakeServer()
    _, items = server.loaded({"nodes": [node("bad")]})
    assert not server.clusters
    assert [each.result for each in items] == ["added", "failed", "removed"]


def test_a_cluster_is_taken_back_also_when_a_later_node_is_known_elsewhere() -> None:
    server = FakeServer()
    server.loaded({"nodes": [node("h1")]})
    server.loaded({"nodes": [node("bad"), node("h1", "/dev/sdb")]})
    assert list(server.clusters) == ["c1"]
    assert server.nodes["n2"]["devices"][0]["name"] == "/dev/sdb"


def test_a_cluster_that_got_a_node_stays_when_a_later_node_is_known_elsewhere() -> None:
    server = FakeServer()
    server.loaded({"nodes": [node("h1")]})
    server.loaded({"nodes": [node("h2"), node("h1"), node("h3")]})
    assert {each["hostnames"]["manage"][0]: each["cluster"] for each in server.nodes.values()} == {
        "h1": "c1",
        "h2": "c3",
        "h3": "c1",
    }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    made = FakeServer()
    monkeypatch.setattr(RestConnection, "client", lambda _self: made)
    return made


def test_as_json(runner: CliRunner, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "topology.json"
    path.write_text(json.dumps({"clusters": [{"nodes": [node("h1", "/dev/bad")]}]}))
    result = runner.invoke(main, ["topology", "load", "--json", str(path)])
    assert result.exit_code == 1
    kinds = [(each["kind"], each["result"]) for each in json.loads(result.stdout)["items"]]
    assert kinds == [("cluster", "added"), ("node", "added"), ("device", "failed")]
    assert "1 of the items could not be added" in result.stderr


def test_a_broken_file_changes_nothing(runner: CliRunner, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "topology.json"
    path.write_text(json.dumps({"clusters": [{"nodes": [node("h1"), "x"]}]}))
    result = runner.invoke(main, ["topology", "load", str(path)])
    assert result.exit_code == 1
    assert 'clusters[0].nodes[1] is "x"; it must be an object' in result.stderr
    assert not server.changes
