"""`brickyard topology show`, `node list` and `device list` over gRPC and over REST, with servers in this process."""

import json
from typing import Any, Self

import click
import pytest
from click.testing import CliRunner, Result

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import cluster_pb2, device_pb2, health_pb2, node_pb2
from gateway.cli import inventory
from gateway.cli.brickyard import main
from gateway.cli.rest_connection import RestConnection
from services.common.units import GIB, KIB
from tests.unit.gateway_cli.fakes import operation, stub_of

CLUSTER, OTHER = "c" * 32, "9" * 32
SILENT = "b" * 32
PLAIN = ("--insecure-plaintext",)
REST = ("--server", "http://gateway:8080")
NODE_NAMES = {"a" * 32: "node1", SILENT: "node2"}


def node(node_id: str, zone: int) -> node_pb2.Node:
    return node_pb2.Node(
        id=node_id,
        cluster_id=CLUSTER,
        zone=zone,
        manage_hostnames=[NODE_NAMES[node_id]],
        storage_hostnames=[f"10.0.0.{zone}"],
        tags={"rack": "[red]1"},
        state=node_pb2.NODE_STATE_ONLINE,
        device_ids=["d" * 32] if zone == 1 else [],
    )


def disk() -> health_pb2.DeviceHealth:
    return health_pb2.DeviceHealth(
        device_id="d" * 32,
        node_id="a" * 32,
        cluster_id=CLUSTER,
        hostname="node1",
        path="/dev/sdb",
        state=device_pb2.DEVICE_STATE_OFFLINE,
        health=health_pb2.HEALTH_WARNING,
        total_bytes=10 * GIB,
        used_bytes=9 * GIB,
        brick_count=2,
    )


class FakeOperator:
    """An OperatorService with two nodes in pages of one."""

    def __init__(self) -> None:
        self.connections: list[Any] = []

    async def GetHealth(self, request: Any, **_call: Any) -> pb.GetHealthResponse:  # noqa: N802 - the contract's name
        nodes = [
            health_pb2.NodeHealth(node_id=each, cluster_id=CLUSTER, hostname=name, health=health_pb2.HEALTH_OK)
            for each, name in NODE_NAMES.items()
        ]
        nodes[1].health = health_pb2.HEALTH_CRITICAL
        return pb.GetHealthResponse(report=health_pb2.HealthReport(nodes=nodes, devices=[disk()]))

    async def ListOperations(self, request: Any, **_call: Any) -> pb.ListOperationsResponse:  # noqa: N802 - the same
        return pb.ListOperationsResponse(operations=[operation(1)])

    async def ListClusters(self, request: Any, **_call: Any) -> pb.ListClustersResponse:  # noqa: N802 - the same
        found = [cluster_pb2.Cluster(id=each, file_enabled=True) for each in (CLUSTER, OTHER)]
        return pb.ListClustersResponse(clusters=found)

    async def ListNodes(self, request: Any, **_call: Any) -> pb.ListNodesResponse:  # noqa: N802 - the same
        if request.page_token:
            return pb.ListNodesResponse(nodes=[node(SILENT, 2)])
        return pb.ListNodesResponse(nodes=[node("a" * 32, 1)], next_page_token="more")


def rest_answers() -> dict[str, Any]:
    """The same over REST, where a disk has its sizes in KiB."""
    nodes = {
        f"/nodes/{each.id}": {
            "id": each.id,
            "cluster": CLUSTER,
            "zone": each.zone,
            "hostnames": {"manage": list(each.manage_hostnames), "storage": list(each.storage_hostnames)},
            "tags": dict(each.tags),
            "state": "online",
            "devices": [{"id": one} for one in each.device_ids],
        }
        for each in (node("a" * 32, 1), node(SILENT, 2))
    }
    shown = {
        "id": "d" * 32,
        "node": "a" * 32,
        "hostname": "node1",
        "name": "/dev/sdb",
        "size": 10 * GIB // KIB,
        "used": 9 * GIB // KIB,
        "bricks": 2,
        "state": "offline",
        "health": "warning",
    }
    clusters: dict[str, Any] = {
        f"/clusters/{each}": {"id": each, "file": True, "block": False, "nodes": [], "volumes": [], "blockvolumes": []}
        for each in (CLUSTER, OTHER)
    }
    clusters[f"/clusters/{CLUSTER}"]["nodes"] = list(NODE_NAMES)
    pending = {"id": "1" * 32, "type_name": "create-volume", "status": "", "sub_status": ""}
    return {
        "/clusters": {"clusters": [CLUSTER, OTHER]},
        **clusters,
        **nodes,
        f"/clusters/{CLUSTER}/diskstatus": {
            "disks": [shown],
            "unreachable": [{"node": SILENT, "hostname": "node2", "error": "gone"}],
        },
        f"/clusters/{OTHER}/diskstatus": {"disks": [], "unreachable": []},
        f"/clusters/{CLUSTER}/volmaxsize?durability=replicate&replica=2&snapshot-factor=1.0": {
            "MaxAllowCreateVolSize": 7,
            "AvaildDiskCnt": 1,
            "AvaildNodeCnt": 1,
            "unreachable": [],
        },
        f"/clusters/{CLUSTER}/freedevices": {
            "nodes": [
                {"node": "a" * 32, "hostname": "node1", "devices": [{"name": "/dev/sdc", "size": 4 * GIB // KIB}]},
                {"node": SILENT, "hostname": "node2", "devices": [], "error": "gone"},
            ]
        },
        "/operations/pending": {"pendingoperations": [pending]},
    }


class FakeRest:
    """A REST client that reads from a table."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def get(self, path: str) -> Any:
        return rest_answers()[path]


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "operator_stub", stub_of(FakeOperator()))
    monkeypatch.setattr(RestConnection, "client", lambda _self: FakeRest())


def run(runner: CliRunner, *arguments: str, columns: int = 0) -> Result:
    env = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(columns)} if columns else {}
    result = runner.invoke(main, arguments, env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("way", [PLAIN, REST], ids=["grpc", "rest"])
def test_lines_in_a_pipe(runner: CliRunner, way: tuple[str, ...]) -> None:
    result = run(runner, "topology", "show", *way)
    assert result.exit_code == 0, result.output
    disk_fields = ("/dev/sdb", "offline", "warning", "10 GiB", "9 GiB", "1 GiB", "90.0 %", "2", "d" * 32)
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        [CLUSTER, "node1", "1", "online", "ok", *disk_fields],
        [CLUSTER, "node2", "2", "online", "critical", *["-"] * 9],
    ]


@pytest.mark.parametrize("way", [PLAIN, REST], ids=["grpc", "rest"])
@pytest.mark.parametrize("columns", [80, 120])
def test_a_tree_that_fits_on_a_terminal(runner: CliRunner, way: tuple[str, ...], columns: int) -> None:
    result = run(runner, "topology", "show", *way, columns=columns)
    lines = [line.rstrip() for line in click.unstyle(result.stdout).splitlines()]
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith(f"cluster {CLUSTER}  2 nodes, 1 disk, 0 volumes")
    assert "takes no new block volumes" in " ".join(lines)
    (shown,) = [line for line in lines if "/dev/sdb" in line]
    assert "█████████░" in shown
    assert shown.endswith("offline warning")
    assert any(line.startswith("└─ node2  zone 2") and "no disk" in line and "critical" in line for line in lines)
    assert "rack=[red]1" in " ".join(lines)


def test_no_color_is_respected(runner: CliRunner) -> None:
    env = {"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1"}
    shown = runner.invoke(main, ["topology", "show", *PLAIN], env=env).stdout
    assert "├─" in shown
    assert "\x1b[3" not in shown


def test_json_is_alike_over_both(runner: CliRunner) -> None:
    over_grpc, over_rest = (json.loads(run(runner, "topology", "show", *way, "--json").stdout) for way in (PLAIN, REST))
    assert over_rest["clusters"][0]["node_ids"] == list(NODE_NAMES)
    assert over_rest["nodes"] == over_grpc["nodes"]
    assert over_rest["devices"] == over_grpc["devices"]


def test_one_cluster(runner: CliRunner) -> None:
    for way in (PLAIN, REST):
        shown = json.loads(run(runner, "topology", "show", "--cluster", CLUSTER, *way, "--json").stdout)
        assert [each["id"] for each in shown["clusters"]] == [CLUSTER]


@pytest.mark.parametrize("way", [PLAIN, REST], ids=["grpc", "rest"])
def test_nodes_and_devices_are_listed(runner: CliRunner, way: tuple[str, ...]) -> None:
    nodes = run(runner, "node", "list", *way).stdout.splitlines()
    assert nodes[0].split("\t")[:3] == ["a" * 32, "node1", "1"]
    assert nodes[1].split("\t")[-2:] == ["critical", "0"]
    (line,) = run(runner, "device", "list", *way).stdout.splitlines()
    assert line.split("\t")[:5] == ["d" * 32, "node1", "/dev/sdb", "warning", "offline"]


def test_questions_about_a_cluster_over_rest(runner: CliRunner) -> None:
    shown = run(runner, "cluster", "getdiskstatus", CLUSTER, *REST)
    assert shown.stdout.split("\t")[:2] == ["node1", "/dev/sdb"]
    assert "node node2 does not answer: gone" in shown.stderr
    size = json.loads(run(runner, "cluster", "getvolmaxsize", CLUSTER, "--replica", "2", *REST, "--json").stdout)
    assert size == {"MaxAllowCreateVolSize": 7, "AvaildDiskCnt": 1, "AvaildNodeCnt": 1}
    free = run(runner, "cluster", "querydevices", CLUSTER, *REST)
    assert free.exit_code == 1
    assert free.stdout == f"node1\t{'a' * 32}\t/dev/sdc\t4 GiB\n"


def test_operations_over_rest(runner: CliRunner) -> None:
    (line,) = run(runner, "operations", "list", *REST).stdout.splitlines()
    assert line.split("\t")[:3] == ["1" * 32, "create-volume", "running"]


def test_status_over_rest_tells_of_silent_nodes(runner: CliRunner) -> None:
    result = run(runner, "status", *REST)
    assert result.exit_code == 1
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert ["problem", "critical", "NODE_UNREACHABLE", "node node2 does not answer: gone"] in [
        line[:4] for line in lines
    ]
    assert any(line[:3] == ["operation", "1" * 32, "create-volume"] for line in lines)
