"""What a topology file may hold, and how one that may not is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.topology_file import ListedDevice, parse_topology, read_topology
from services.common.errors import InvalidArgumentError

FILE = Path("topology.json")
FIRST_NODE = "clusters[0].nodes[0]"
FIRST_NAME = "nodes[0].node.hostnames.manage[0]"


def node(manage: str = "h1", **changes: Any) -> dict[str, Any]:
    return {"node": {"hostnames": {"manage": [manage], "storage": ["10.0.0.1"]}, "zone": 1}, **changes}


def of(*nodes: Any, **flags: Any) -> Any:
    return {"clusters": [{"nodes": list(nodes), **flags}]}


def within(**changes: Any) -> Any:
    return of(node(node={**node()["node"], **changes}))


def test_everything_of_heketis_format() -> None:
    disk = {"name": "/dev/sdc", "tags": {"speed": "fast"}, "destroydata": True, "comment": "not for the server"}
    listed = node(devices=["/dev/sdb", disk])
    listed["node"]["tags"] = {"rack": "a"}
    (cluster,) = parse_topology(FILE, of(listed, block=False))
    assert (cluster.file, cluster.block) == (True, False)
    (found,) = cluster.nodes
    assert found.request("c1") == {
        "zone": 1,
        "hostnames": {"manage": ["h1"], "storage": ["10.0.0.1"]},
        "cluster": "c1",
        "tags": {"rack": "a"},
    }
    assert found.devices[0] == ListedDevice("/dev/sdb", {}, destroydata=False)
    assert [each.request("n1") for each in found.devices] == [
        {"name": "/dev/sdb", "node": "n1"},
        {"name": "/dev/sdc", "tags": {"speed": "fast"}, "node": "n1", "destroydata": True},
    ]


@pytest.mark.parametrize(
    "content", [{}, {"clusters": None}, {"clusters": []}, {"clusters": [{}]}, {"clusters": [{"nodes": None}]}]
)
def test_nothing_to_load(content: Any) -> None:
    assert not any(cluster.nodes for cluster in parse_topology(FILE, content))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "the file is []; it must be an object"),
        (["x"], 'the file is ["x"]; it must be an object'),
        (None, "the file is missing; it must be an object"),
        ({"clusters": {}}, "clusters is {}; it must be a list"),
        ({"clusters": ["x"]}, 'clusters[0] is "x"; it must be an object'),
        ({"clusters": [None]}, "clusters[0] is missing; it must be an object"),
        ({"clusters": [{"nodes": "h1"}]}, 'clusters[0].nodes is "h1"; it must be a list'),
        (of(file="yes"), 'clusters[0].file is "yes"; it must be true or false'),
        (of("h1"), 'clusters[0].nodes[0] is "h1"; it must be an object'),
        (of(node(), None), "clusters[0].nodes[1] is missing; it must be an object"),
        (of({}), "clusters[0].nodes[0].node is missing; it must be an object"),
        (of({"node": []}), "clusters[0].nodes[0].node is []; it must be an object"),
        (within(hostnames="h1"), 'clusters[0].nodes[0].node.hostnames is "h1"; it must be an object'),
        (
            within(hostnames={"manage": "h1", "storage": ["h1"]}),
            'clusters[0].nodes[0].node.hostnames.manage is "h1"; it must be a list of host names, with one at least',
        ),
        (
            within(hostnames={"manage": ["h1"], "storage": []}),
            "clusters[0].nodes[0].node.hostnames.storage is []; it must be a list of host names, with one at least",
        ),
        (
            within(hostnames={"manage": [None], "storage": ["h1"]}),
            "clusters[0].nodes[0].node.hostnames.manage is [null]; it must be a list of host names, with one at least",
        ),
        (within(zone="1"), 'clusters[0].nodes[0].node.zone is "1"; it must be a whole number from 1'),
        (within(zone=True), "clusters[0].nodes[0].node.zone is true; it must be a whole number from 1"),
        (within(tags=["a"]), 'clusters[0].nodes[0].node.tags is ["a"]; it must be an object of texts'),
        (within(tags={"a": 1}), 'clusters[0].nodes[0].node.tags is {"a": 1}; it must be an object of texts'),
        (of(node(devices="/dev/sdb")), 'clusters[0].nodes[0].devices is "/dev/sdb"; it must be a list'),
        (
            of(node(devices=["/dev/sdb", 7])),
            'clusters[0].nodes[0].devices[1] is 7; it must be a path, or an object with "name"',
        ),
        (of(node(devices=[""])), 'clusters[0].nodes[0].devices[0] is ""; it must be the path of a disk'),
        (of(node(devices=[{}])), "clusters[0].nodes[0].devices[0].name is missing; it must be the path of a disk"),
        (
            of(node(devices=[{"name": "/dev/sdb", "destroydata": 1}])),
            "clusters[0].nodes[0].devices[0].destroydata is 1; it must be true or false",
        ),
        (
            of(node(devices=["/dev/sdb", {"name": "/dev/sdb"}])),
            f'{FIRST_NODE}.devices[1] is "/dev/sdb", which {FIRST_NODE}.devices[0] is already; name it once',
        ),
        (
            {"clusters": [{"nodes": [node()]}, {"nodes": [node()]}]},
            f'clusters[1].{FIRST_NAME} is "h1", which clusters[0].{FIRST_NAME} is already; name it once',
        ),
    ],
)
def test_a_wrong_entry_is_named_with_its_value(content: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse_topology(FILE, content)
    assert refused.value.message == f"topology.json: {told}"


def test_a_long_value_is_cut() -> None:
    with pytest.raises(InvalidArgumentError, match=r'nodes is "x{59}\.\.\.; it must be a list'):
        parse_topology(FILE, {"clusters": [{"nodes": "x" * 1000}]})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("\udcff", "cannot be read as JSON"),
        ('{"cluster": []}', 'no list "clusters"'),
    ],
)
def test_a_file_that_is_no_topology(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "topology.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(InvalidArgumentError, match=told):
        read_topology(path)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(of(node())))
    assert read_topology(path)[0].nodes[0].manage == ("h1",)
