"""`brickyard operations` against a gateway in this process."""

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from brickyard.topology.v1 import operation_pb2
from gateway.cli.brickyard import main
from gateway.cli.operation_texts import next_step
from services.common.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from services.common.reasons import Reason
from tests.unit.gateway_cli.fakes import NOW_S, FakeOperator, failed, operation, rpc_error, succeeded

ONE, TWO, THREE = (f"{number:032x}" for number in (1, 2, 3))
PLAIN = "--insecure-plaintext"
UNDOING = operation_pb2.OPERATION_STATE_UNDOING


def run(runner: CliRunner, *arguments: str, terminal: bool = False, **more: Any) -> Result:
    env = {"FORCE_COLOR": "1", "TERM": "xterm"} if terminal else {}
    return runner.invoke(main, ["operations", *arguments], env=env, **more)


def visible(output: str) -> str:
    return click.unstyle(output)


# --- list -------------------------------------------------------------------------------------------------------------


def test_a_list_in_a_pipe_is_lines_of_fields(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [failed(3), operation(2), succeeded(1)]
    result = run(runner, "list", PLAIN)
    assert result.exit_code == 0, result.output
    created = "2023-11-14T22:13:20Z"
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        [THREE, "create-volume", "failed", "f" * 32, created, "volume create: failed"],
        [TWO, "create-volume", "running", "f" * 32, created, "2/5 create brick on node2"],
        [ONE, "create-volume", "succeeded", "f" * 32, created, "-"],
    ]


def test_a_list_on_a_terminal_is_a_table_and_takes_no_markup(runner: CliRunner, operator: FakeOperator) -> None:
    waits = operation(2, stalled=True, state=UNDOING, error=operation_pb2.OperationError(message="[/] no [red]such"))
    operator.operations = [waits, succeeded(1)]
    result = run(runner, "list", PLAIN, terminal=True)
    assert result.exit_code == 0, result.output
    assert "\x1b[" in result.stdout
    head, first, second = visible(result.stdout).splitlines()
    assert head.split() == ["id", "kind", "state", "progress", "or", "error"]
    assert first.split() == [TWO, "create-volume", "stalled", "[/]", "no", "[red]such"]
    assert second.split() == [ONE, "create-volume", "succeeded"]


def test_a_list_as_json(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [operation(1)]
    listed = json.loads(run(runner, "list", PLAIN, "--json").stdout)["operations"]
    assert [each["id"] for each in listed] == [ONE]
    assert listed[0]["progress"]["total_step_count"] == 5
    assert listed[0]["state"] == "OPERATION_STATE_RUNNING"


def test_a_list_has_all_pages_up_to_its_limit(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [operation(number) for number in range(10)]
    operator.page = 3
    assert len(run(runner, "list", PLAIN).stdout.splitlines()) == 10
    assert len(run(runner, "list", PLAIN, "--limit", "5").stdout.splitlines()) == 5
    assert [each.page_size for each in operator.requests[-2:]] == [5, 2]


def test_a_list_of_what_is_unfinished(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [failed(3), operation(2), succeeded(1)]
    result = run(runner, "list", PLAIN, "--unfinished")
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [TWO]


# --- show -------------------------------------------------------------------------------------------------------------


def test_all_fields_are_shown(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [failed(1)]
    result = run(runner, "show", ONE, PLAIN)
    assert result.exit_code == 0, result.output
    shown = result.stdout
    for line in (
        f"Id:           {ONE}",
        "Kind:         create-volume",
        "State:        failed",
        "Error:        volume create: failed\n              line [bold]two",
        "Reason:       GLUSTER_FAILED",
        "  node:       node2",
        "Next:         nothing of it is left; see /var/log/glusterfs on that node",
        "Owner:        gateway-a-1",
        "Lease until:  2023-11-14T22:13:35Z",
        "Attempts:     1",
        "Created:      2023-11-14T22:13:20Z",
        "Request:      my-request",
        'Asked for:    {\n                "create_volume": {',
        '"name": "vol [red]x"',
    ):
        assert line in shown
    assert "Ended" not in shown


def test_one_as_json(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [failed(1)]
    shown = json.loads(run(runner, "show", ONE, PLAIN, "--json").stdout)
    assert shown["error"] == {
        "reason": "GLUSTER_FAILED",
        "message": "volume create: failed\nline [bold]two",
        "metadata": {"node": "node2"},
    }


@pytest.mark.parametrize(
    ("shown", "now_s", "advice"),
    [
        (operation(), NOW_S, f"follow it with: brickyard operations watch {ONE}"),
        (operation(), NOW_S + 16, "its gateway has gone; another one takes it over within seconds"),
        (operation(stalled=True), NOW_S, f"at once with: brickyard operations cleanup {ONE}"),
        (operation(stalled=True), NOW_S + 16, "see on node node2: systemctl status brickyard-agent"),
        (failed(reason="NO_SPACE"), NOW_S, "nothing of it is left; add a device"),
        (failed(reason="A_NEW_ONE"), NOW_S, "nothing of it is left; mend the cause and repeat the request"),
    ],
)
def test_what_to_do_next(shown: operation_pb2.Operation, now_s: float, advice: str) -> None:
    assert advice in next_step(shown, now_s)


def test_there_is_nothing_to_do_about_what_succeeded() -> None:
    assert not next_step(succeeded(), NOW_S)


# --- watch ------------------------------------------------------------------------------------------------------------


def test_watching_in_a_pipe_tells_each_change_once(runner: CliRunner, operator: FakeOperator) -> None:
    operator.watched[ONE] = [operation(), operation(revision=8), succeeded()]
    result = run(runner, "watch", ONE, PLAIN)
    assert result.exit_code == 0, result.output
    assert [line.split("\t")[2] for line in result.stdout.splitlines()] == ["running", "succeeded"]


def test_a_failure_is_the_exit_code_and_says_what_to_do(runner: CliRunner, operator: FakeOperator) -> None:
    operator.watched[ONE] = [operation(), failed()]
    result = run(runner, "watch", ONE, PLAIN)
    assert result.exit_code == 1
    assert f"{ONE} failed: volume create: failed\nline [bold]two\nNext: nothing of it is left" in result.stderr


def test_watching_on_a_terminal_is_a_bar(runner: CliRunner, operator: FakeOperator) -> None:
    operator.watched[ONE] = [operation(), succeeded()]
    result = run(runner, "watch", ONE, PLAIN, terminal=True)
    assert result.exit_code == 0, result.output
    last = visible(result.stdout).rstrip().splitlines()[-1]
    assert "create-volume 00000000" in last
    assert "succeeded" in last
    assert "━" * 10 in last


def test_a_bar_of_a_failure_takes_no_markup(runner: CliRunner, operator: FakeOperator) -> None:
    told = failed()
    told.error.message = "no [/] such [red]thing"
    operator.watched[ONE] = [told]
    result = run(runner, "watch", ONE, PLAIN, terminal=True)
    assert result.exit_code == 1
    assert "failed no [/] such [red]thing" in visible(result.stdout)


def test_without_an_id_all_that_is_unfinished_is_watched(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [operation(3), operation(2), succeeded(1)]
    operator.watched[TWO] = [operation(2), failed(2)]
    operator.watched[THREE] = [operation(3), succeeded(3)]
    result = run(runner, "watch", PLAIN, "--json")
    assert result.exit_code == 1
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert {each["id"] for each in told} == {TWO, THREE}
    assert len(told) == 4
    assert f"{TWO} failed" in result.stderr


def test_without_an_id_and_without_operations(runner: CliRunner, operator: FakeOperator) -> None:
    operator.operations = [succeeded(1)]
    result = run(runner, "watch", PLAIN)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no operation is unfinished\n")


@pytest.mark.parametrize(
    "end", [[], [rpc_error(UnavailableError(Reason.UNAVAILABLE, "Socket closed"))]], ids=["ends", "breaks"]
)
def test_a_watch_that_breaks_off_is_no_success(runner: CliRunner, operator: FakeOperator, end: list[Any]) -> None:
    operator.watched[ONE] = [operation(), *end]
    result = run(runner, "watch", ONE, PLAIN)
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert "--address 127.0.0.1:7400" in result.stderr


def test_an_interrupted_watch_says_that_nothing_is_lost(runner: CliRunner, operator: FakeOperator) -> None:
    operator.watched[ONE] = [operation(), KeyboardInterrupt()]
    result = run(runner, "watch", ONE, PLAIN)
    assert result.exit_code == 130
    assert result.stderr == "what was watched goes on\n"


# --- connecting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["list"], ["show", ONE], ["watch", ONE]])
@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (UnavailableError(Reason.UNAVAILABLE, "connection refused"), "Is the server running there"),
        (UnauthenticatedError(Reason.UNAUTHENTICATED, "who are you"), "brickyard ca issue --dir CA --role operator"),
        (
            PermissionDeniedError(Reason.ROLE_NOT_ALLOWED, "agents may not"),
            "brickyard ca issue --dir CA --role operator",
        ),
        (NotFoundError(Reason.OPERATION_NOT_FOUND, "no such operation"), "brickyard operations list"),
    ],
)
def test_errors_name_what_to_do(
    runner: CliRunner, operator: FakeOperator, command: list[str], error: Any, advice: str
) -> None:
    operator.failure = error
    result = run(runner, *command, PLAIN)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {error.message}\n")
    assert advice in result.stderr
    assert "Traceback" not in result.stderr


def test_a_way_to_show_who_calls_is_needed_on_tcp(runner: CliRunner, operator: FakeOperator, tmp_path: Any) -> None:
    result = run(runner, "list")
    assert result.exit_code == 2
    assert "--tls-dir" in result.stderr
    assert "--insecure-plaintext" in result.stderr
    both = run(runner, "list", PLAIN, "--tls-dir", str(tmp_path))
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr
    assert not operator.connections
    assert run(runner, "list", "--address", "unix:/run/x.sock").exit_code == 0
    assert operator.connections[-1].address == "unix:/run/x.sock"


def test_the_environment_stands_for_the_flags(runner: CliRunner, operator: FakeOperator, tmp_path: Any) -> None:
    env = {"BRICKYARD_ADDRESS": "10.0.0.1:9", "BRICKYARD_TLS_DIR": str(tmp_path)}
    assert runner.invoke(main, ["operations", "list"], env=env).exit_code == 0
    made = operator.connections[-1]
    assert (made.address, made.tls_dir, made.insecure_plaintext) == ("10.0.0.1:9", tmp_path, False)
    plain = {"BRICKYARD_INSECURE_PLAINTEXT": "1"}
    assert runner.invoke(main, ["operations", "list"], env=plain).exit_code == 0
    assert operator.connections[-1].address == "127.0.0.1:7400"


# --- cleanup ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [(), (ONE, TWO)])
def test_a_cleanup_names_what_it_is_for(runner: CliRunner, operator: FakeOperator, ids: tuple[str, ...]) -> None:
    result = run(runner, "cleanup", PLAIN, *ids)
    assert result.exit_code == 0, result.output
    assert [tuple(request.operation_ids) for request in operator.requests] == [ids]
    assert "brickyard operations list --unfinished" in result.stdout


def test_a_cleanup_that_fails_says_why(runner: CliRunner, operator: FakeOperator) -> None:
    operator.failure = UnavailableError(Reason.UNAVAILABLE, "the topology is away")
    result = run(runner, "cleanup", PLAIN)
    assert result.exit_code == 1
    assert "the topology is away" in result.stderr
