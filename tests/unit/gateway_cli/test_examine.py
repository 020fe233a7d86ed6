"""`brickyard examine` and `brickyard repair` against a gateway in this process."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from brickyard.gateway.v1 import examination_pb2 as pb
from gateway.cli import connection
from gateway.cli.brickyard import main
from gateway.cli.connection import Connection
from gateway.cli.waiting import sign_of_life
from services.common.errors import BrickyardError, NotFoundError, UnavailableError
from services.common.reasons import Reason
from tests.unit.gateway_cli.fakes import rpc_error, stub_of

PLAIN = "--insecure-plaintext"
ORPHAN = pb.Finding(
    kind="ORPHAN_BRICK",
    severity=pb.FINDING_SEVERITY_DIFFERENCE,
    node_hostname="node1",
    object="vg_1/brick_2",
    message="brick_2 is in no [red]record",
    advice="it is removed",
    repair="REMOVE_ORPHAN_BRICK",
)
LOST = pb.Finding(
    kind="BRICK_LOST",
    severity=pb.FINDING_SEVERITY_DIFFERENCE,
    node_hostname="node2",
    object="vg_1/brick_3",
    message="the LV of brick 3 is gone",
    advice="replace the brick",
)
FOREIGN = pb.Finding(
    kind="FOREIGN_GROUP", severity=pb.FINDING_SEVERITY_INFORMATION, object="system", message="not ours", advice="never"
)
ACTION = pb.RepairAction(
    verb="REMOVE_ORPHAN_BRICK",
    node_hostname="node1",
    object="vg_1/brick_2",
    message="remove brick 2",
    findings=[ORPHAN],
)


@dataclass
class FakeGateway:
    """The part of OperatorService that examines and repairs."""

    findings: list[pb.Finding] = field(default_factory=list)
    actions: list[pb.RepairAction] = field(default_factory=list)
    ending: pb.RepairStage.ValueType = pb.REPAIR_STAGE_DONE
    failure: BrickyardError | None = None
    requests: list[Any] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def _called(self, request: Any) -> None:
        self.requests.append(request)
        if self.failure is not None:
            raise rpc_error(self.failure)

    async def Examine(self, request: Any, **_call: Any) -> pb.ExamineResponse:  # noqa: N802 - the contract's name
        self._called(request)
        return pb.ExamineResponse(
            findings=self.findings,
            operations_in_flight=2,
            left_out_count=5,
            compared_count=40,
            silent_hostnames=["node9"],
        )

    async def PlanRepair(self, request: Any, **_call: Any) -> pb.PlanRepairResponse:  # noqa: N802 - the contract's name
        self._called(request)
        left = [finding for finding in self.findings if not finding.repair]
        return pb.PlanRepairResponse(actions=self.actions, left=left, operations_in_flight=1)

    async def Repair(self, request: Any, **_call: Any) -> AsyncIterator[pb.RepairResponse]:  # noqa: N802 - the contract's name
        self._called(request)
        for action in self.actions:
            yield pb.RepairResponse(action=action, stage=pb.REPAIR_STAGE_BEGUN)
            yield pb.RepairResponse(action=action, stage=self.ending, message="why")


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    made = FakeGateway()
    monkeypatch.setattr(connection, "operator_stub", stub_of(made))
    return made


def run(runner: CliRunner, *arguments: str, terminal: bool = False) -> Result:
    return runner.invoke(main, list(arguments), env={"FORCE_COLOR": "1", "TERM": "xterm"} if terminal else {})


def test_agreement_is_exit_code_0(runner: CliRunner, gateway: FakeGateway) -> None:
    gateway.findings = [FOREIGN]
    result = run(runner, "examine", PLAIN, "--cluster", "c1")
    assert result.exit_code == 0
    assert gateway.requests == [pb.ExamineRequest(cluster_id="c1")]
    assert result.stdout == "information\tFOREIGN_GROUP\t-\tsystem\tnot ours\t-\tnever\n"
    assert "0 differences in 40 objects, and 1 things worth knowing" in result.stderr
    assert "2 operations are in flight; 5 objects" in result.stderr
    assert "the agent of node9 does not answer" in result.stderr


def test_differences_are_exit_code_1_and_a_line_each(runner: CliRunner, gateway: FakeGateway) -> None:
    gateway.findings = [ORPHAN, LOST]
    result = run(runner, "examine", PLAIN)
    assert result.exit_code == 1
    assert [line.split("\t")[:4] for line in result.stdout.splitlines()] == [
        ["difference", "ORPHAN_BRICK", "node1", "vg_1/brick_2"],
        ["difference", "BRICK_LOST", "node2", "vg_1/brick_3"],
    ]


def test_a_table_on_a_terminal_takes_no_markup(runner: CliRunner, gateway: FakeGateway) -> None:
    gateway.findings = [ORPHAN]
    result = run(runner, "examine", PLAIN, terminal=True)
    assert "\x1b[" in result.stdout
    assert "brick_2 is in no [red]record" in click.unstyle(result.stdout)
    assert "repair: it is removed" in click.unstyle(result.stdout)


def test_json_has_the_names_of_the_api(runner: CliRunner, gateway: FakeGateway) -> None:
    gateway.findings = [LOST]
    result = run(runner, "examine", PLAIN, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["compared_count"], told["findings"][0]["kind"]) == (1, 40, "BRICK_LOST")
    assert told["findings"][0]["repair"] == ""


@pytest.mark.parametrize("command", [("examine",), ("repair", "--plan"), ("repair", "--apply")])
def test_no_look_has_an_exit_code_of_its_own(runner: CliRunner, gateway: FakeGateway, command: tuple[str, ...]) -> None:
    gateway.failure = UnavailableError(Reason.UNAVAILABLE, "connection refused")
    result = run(runner, *command, PLAIN)
    assert result.exit_code == 3
    assert "No answer from --address 127.0.0.1:7400" in result.stderr
    gateway.failure = NotFoundError(Reason.CLUSTER_NOT_FOUND, "no such cluster")
    assert run(runner, *command, PLAIN).exit_code == 3


@pytest.mark.parametrize("command", [("examine",), ("repair", PLAIN), ("repair", "--plan")])
def test_wrong_usage(runner: CliRunner, gateway: FakeGateway, command: tuple[str, ...]) -> None:
    assert run(runner, *command).exit_code == 2
    assert gateway.requests == []


def test_a_plan_names_actions_reasons_and_what_is_left(runner: CliRunner, gateway: FakeGateway) -> None:
    gateway.findings, gateway.actions = [ORPHAN, LOST], [ACTION]
    result = run(runner, "repair", "--plan", PLAIN, "--remove-volume", "v1", "--remove-volume", "v2")
    assert result.exit_code == 1
    assert gateway.requests == [pb.PlanRepairRequest(doomed_volume_ids=["v1", "v2"])]
    assert result.stdout.splitlines() == [
        "1. REMOVE_ORPHAN_BRICK: remove brick 2",
        "     because ORPHAN_BRICK: brick_2 is in no [red]record",
        "left: BRICK_LOST on node2: the LV of brick 3 is gone",
        "     replace the brick",
    ]
    assert "1 actions; 1 findings are left to you" in result.stderr
    assert len(json.loads(run(runner, "repair", "--plan", PLAIN, "--json").stdout)["actions"]) == 1


def test_an_empty_plan(runner: CliRunner, gateway: FakeGateway) -> None:
    del gateway
    assert run(runner, "repair", "--plan", PLAIN).exit_code == 0


@pytest.mark.parametrize(
    ("ending", "word", "code"),
    [
        (pb.REPAIR_STAGE_DONE, "done", 0),
        (pb.REPAIR_STAGE_SKIPPED, "skipped", 0),
        (pb.REPAIR_STAGE_FAILED, "failed", 1),
    ],
)
def test_each_action_is_printed_before_and_after(
    runner: CliRunner, gateway: FakeGateway, ending: pb.RepairStage.ValueType, word: str, code: int
) -> None:
    gateway.actions, gateway.ending = [ACTION], ending
    result = run(runner, "repair", "--apply", PLAIN)
    assert result.exit_code == code
    assert result.stdout.splitlines() == ["REMOVE_ORPHAN_BRICK: remove brick 2", f"  {word}: why"]
    assert "records and nodes agree" in result.stderr
    lines = [json.loads(line) for line in run(runner, "repair", "--apply", PLAIN, "--json").stdout.splitlines()]
    assert [line.get("stage", "") for line in lines] == [
        "REPAIR_STAGE_BEGUN",
        pb.RepairStage.Name(ending),
        "",
    ]


def test_what_is_left_after_a_repair(runner: CliRunner, gateway: FakeGateway) -> None:
    gateway.findings = [LOST]
    result = run(runner, "repair", "--apply", PLAIN)
    assert result.exit_code == 1
    assert "left: BRICK_LOST on node2" in result.stdout
    assert "1 differences are left" in result.stderr


def test_a_sign_of_life_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with sign_of_life("looking", after_s=0.0):
        pass
    assert capsys.readouterr() == ("", "")
