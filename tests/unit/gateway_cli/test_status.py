"""`brickyard status` and `brickyard cluster` against a gateway in this process."""

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import health_pb2, volume_pb2
from gateway.cli import connection, inventory, status_texts
from gateway.cli.brickyard import main
from services.common.errors import UnavailableError
from services.common.reasons import Reason
from services.common.units import GIB
from tests.unit.gateway_cli.fakes import NOW_S, operation, rpc_error, stub_of, succeeded
from tests.unit.gateway_heketi.fake_health import CLUSTER_ID, SILENT, disk, report

PLAIN = "--insecure-plaintext"


class FakeOperator:
    """An OperatorService that knows of health."""

    def __init__(self) -> None:
        self.report = report()
        self.connections: list[connection.Connection] = []
        self.requests: list[Any] = []
        self.failure: UnavailableError | None = None
        self.silent = [pb.SilentNode(node_id=SILENT.node_id, hostname=SILENT.hostname, error=SILENT.error)]

    def _called(self, request: Any) -> None:
        self.requests.append(request)
        if self.failure is not None:
            raise rpc_error(self.failure)

    async def GetHealth(self, request: Any, **_call: Any) -> pb.GetHealthResponse:  # noqa: N802 - the contract's name
        self._called(request)
        return pb.GetHealthResponse(report=self.report)

    async def ListOperations(self, request: Any, **_call: Any) -> pb.ListOperationsResponse:  # noqa: N802 - the same
        assert request.unfinished_only
        other = operation(2)
        other.cluster_id = "9" * 32
        return pb.ListOperationsResponse(operations=[operation(1), other])

    async def ListClusters(self, request: Any, **_call: Any) -> pb.ListClustersResponse:  # noqa: N802 - the same
        return pb.ListClustersResponse()

    async def ListNodes(self, request: Any, **_call: Any) -> pb.ListNodesResponse:  # noqa: N802 - the same
        return pb.ListNodesResponse()

    async def GetDiskStatus(self, request: Any, **_call: Any) -> pb.GetDiskStatusResponse:  # noqa: N802 - the same
        self._called(request)
        return pb.GetDiskStatusResponse(disks=[disk()], silent_nodes=self.silent)

    async def GetMaxVolumeSize(self, request: Any, **_call: Any) -> pb.GetMaxVolumeSizeResponse:  # noqa: N802 - the same
        self._called(request)
        return pb.GetMaxVolumeSizeResponse(
            size_bytes=7 * GIB, available_disk_count=4, available_node_count=2, silent_nodes=self.silent
        )

    async def ListFreeDisks(self, request: Any, **_call: Any) -> pb.ListFreeDisksResponse:  # noqa: N802 - the same
        self._called(request)
        free = pb.NodeFreeDisks(
            node_id="a" * 32, hostname="node1", disks=[health_pb2.UnusedDisk(path="/dev/sdc", size_bytes=4 * GIB)]
        )
        silent = [pb.NodeFreeDisks(node_id="b" * 32, hostname="node2", error="gone")] if self.silent else []
        return pb.ListFreeDisksResponse(nodes=[free, *silent])


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> FakeOperator:
    made = FakeOperator()
    for module in (connection, inventory):
        monkeypatch.setattr(module, "operator_stub", stub_of(made))
    return made


def run(runner: CliRunner, *arguments: str, terminal: bool = False) -> Result:
    env = {"FORCE_COLOR": "1", "TERM": "xterm"} if terminal else {}
    return runner.invoke(main, [*arguments, PLAIN], env=env)


def test_lines_in_a_pipe(runner: CliRunner, operator: FakeOperator) -> None:
    result = run(runner, "status")
    assert result.exit_code == 1, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows[0] == ["status", "1 critical and 1 warning: see below"]
    problems = [row for row in rows if row[0] == "problem"]
    assert [row[1:3] for row in problems] == [
        ["critical", "NODE_UNREACHABLE"],
        ["warning", "POOL_DATA_FULL"],
        ["notice", "DEVICE_FULL"],
    ]
    assert problems[0][3] == "node node2 does not answer: gone"
    assert problems[0][5] == "see on that node"
    assert ["nodes", "2: 1 ok, 1 critical"] in rows
    assert ["disk", "node1", "/dev/sdb", "warning", "online", "10 GiB", "3 GiB", "7 GiB", "30.0 %", "2"] in rows
    assert ["volume", "vol_x", "warning", "2 GiB", "2/3", "85 %", "7"] in rows
    assert [row[1] for row in rows if row[0] == "operation"] == [operation(1).id, operation(2).id]
    assert [row[1:4] for row in rows if row[0] == "node"] == [
        ["node1", "ok", "online"],
        ["node2", "critical", "offline"],
    ]


def test_notices_alone_are_no_fault(runner: CliRunner, operator: FakeOperator) -> None:
    del operator.report.problems[:2]
    result = run(runner, "status")
    assert result.exit_code == 0
    assert result.stdout.startswith("status\tall is well\n")
    assert "problem\tnotice\tDEVICE_FULL" in result.stdout


def test_nothing_known_yet_is_not_well(runner: CliRunner, operator: FakeOperator) -> None:
    del operator.report.problems[:]
    operator.report.nodes[0].health = health_pb2.HEALTH_UNKNOWN
    assert run(runner, "status").stdout.startswith("status\tnothing is known yet of 1 nodes\n")


def test_one_screen_on_a_terminal(runner: CliRunner, operator: FakeOperator) -> None:
    result = run(runner, "status", terminal=True)
    assert result.exit_code == 1
    text = click.unstyle(result.stdout)
    assert "\x1b[" in result.stdout
    assert text.index("critical: node node2 does not answer") < text.index("warning: a pool is 85 % full")
    assert "full volumes" in text
    assert "full disks" not in text
    assert "a disk is full" not in text
    assert "and 1 more, see brickyard status --all" in text
    # What is well takes no room unless it is asked for.
    assert "10.3" not in text
    assert "10.3" in click.unstyle(run(runner, "status", "--all", terminal=True).stdout)


def test_a_screen_has_an_end(runner: CliRunner, operator: FakeOperator) -> None:
    operator.report.problems.extend(
        health_pb2.Problem(severity=health_pb2.SEVERITY_WARNING, message=f"number {number}", advice="the same")
        for number in range(30)
    )
    text = click.unstyle(run(runner, "status", terminal=True).stdout)
    assert text.count("  warning: ") == 11
    assert text.count("the same") == 1
    assert "and 21 more, see" in text
    assert click.unstyle(run(runner, "status", "--all", terminal=True).stdout).count("  warning: ") == 31


def test_json_has_the_names_of_the_api(runner: CliRunner, operator: FakeOperator) -> None:
    result = run(runner, "status", "--json", "--refresh", "--cluster", CLUSTER_ID)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert [each["kind"] for each in told["problems"]] == ["NODE_UNREACHABLE", "POOL_DATA_FULL", "DEVICE_FULL"]
    assert told["volumes"][0]["heal_count"] == "7"
    # Those of other clusters are left out.
    assert told["operations"][0]["cluster_id"] == CLUSTER_ID
    assert len(told["operations"]) == 1
    assert (operator.requests[0].refresh, operator.requests[0].cluster_id) == (True, CLUSTER_ID)


def test_no_answer_is_told_in_one_line(runner: CliRunner, operator: FakeOperator) -> None:
    operator.failure = UnavailableError(Reason.UNAVAILABLE, "no connection")
    result = run(runner, "status")
    assert result.exit_code == 1
    assert "No answer from --address" in result.stderr
    assert "Traceback" not in result.stderr


def test_words_and_sizes() -> None:
    assert [status_texts.size(each) for each in (0, 5 << 20, GIB, 1536 << 20, 3 << 40)] == [
        "0 B", "5 MiB", "1 GiB", "1.5 GiB", "3 TiB",
    ]  # fmt: skip
    since = succeeded().create_time
    ages = [status_texts.age(since, NOW_S + seconds) for seconds in (-5, 59, 60, 3_599, 3_600, 90_000)]
    assert ages == ["0 s", "59 s", "1 min", "59 min", "1 h", "1 d"]


def test_disk_status(runner: CliRunner, operator: FakeOperator) -> None:
    result = run(runner, "cluster", "getdiskstatus", CLUSTER_ID)
    assert result.exit_code == 0
    assert result.stdout.split("\t")[:4] == ["node1", "/dev/sdb", "warning", "online"]
    assert "node2 does not answer: the agent does not answer" in result.stderr
    told = json.loads(run(runner, "cluster", "getdiskstatus", CLUSTER_ID, "--json").stdout)
    assert told["disks"][0]["used_bytes"] == str(2 * GIB)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)),
        (("--replica", "2"), volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=2)),
        (("--durability", "none"), volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE)),
        (
            ("--durability", "disperse", "--disperse-data", "8", "--redundancy", "3"),
            volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=8, redundancy_count=3),
        ),
    ],
)
def test_largest_volume(
    runner: CliRunner, operator: FakeOperator, flags: tuple[str, ...], expected: volume_pb2.Durability
) -> None:
    result = run(runner, "cluster", "getvolmaxsize", CLUSTER_ID, *flags)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["MaxAllowCreateVolSize: 7", "AvaildDiskCnt: 4", "AvaildNodeCnt: 2"]
    assert operator.requests[0].durability == expected
    told = json.loads(run(runner, "cluster", "getvolmaxsize", CLUSTER_ID, "--json").stdout)
    assert told == {"MaxAllowCreateVolSize": 7, "AvaildDiskCnt": 4, "AvaildNodeCnt": 2}


def test_disks_that_could_be_added(runner: CliRunner, operator: FakeOperator) -> None:
    result = run(runner, "cluster", "querydevices", CLUSTER_ID)
    assert result.exit_code == 1
    assert result.stdout == f"node1\t{'a' * 32}\t/dev/sdc\t4 GiB\n"
    assert "node2 does not answer: gone" in result.stderr
    operator.silent = []
    assert run(runner, "cluster", "querydevices", CLUSTER_ID).exit_code == 0


@pytest.mark.parametrize("words", [("status",), ("cluster", "getdiskstatus"), ("cluster", "querydevices")])
def test_every_help_has_an_example(runner: CliRunner, words: tuple[str, ...]) -> None:
    text = runner.invoke(main, [*words, "--help"]).stdout
    assert f"brickyard {' '.join(words)}" in text
    assert "Example" in text
