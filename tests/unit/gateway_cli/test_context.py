"""`brickyard context`, and what commands make of flags, environment and contexts."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli.brickyard import main
from gateway.cli.connection import Connection, operator_options
from gateway.cli.rest_connection import RestConnection, access_options, rest_options
from tests.unit.gateway_cli.fakes import FakeOperator


@click.group()
def probes() -> None:
    """Commands that tell how they would connect."""


def told(connection: Any) -> None:
    if isinstance(connection, RestConnection):
        click.echo(f"rest {connection.server} {connection.user} {connection.key or '-'}")
    else:
        tls = connection.tls_dir.name if connection.tls_dir else "-"
        click.echo(f"grpc {connection.address} {tls} {connection.insecure_plaintext}")


@probes.command()
@operator_options
def grpc(connection: Connection) -> None:
    told(connection)


@probes.command()
@rest_options
def rest(connection: RestConnection) -> None:
    told(connection)


@probes.command()
@access_options
def either(connection: Connection | RestConnection) -> None:
    told(connection)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "operator").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "key").write_text("secret of the file\n")
    return tmp_path


@pytest.fixture
def lab(runner: CliRunner, files: Path) -> Path:
    """The current context: gRPC with certificates, and REST with a key."""
    result = add(runner, "lab", "--address", "lab:7400", "--topology", "lab:7401", "--tls-dir", str(files / "operator"))
    assert result.exit_code == 0, result.output
    assert add(runner, "lab", "--server", "http://lab:8080", "--key-file", str(files / "key")).exit_code == 0
    return files


def add(runner: CliRunner, *arguments: str) -> Result:
    return runner.invoke(main, ["context", "add", *arguments])


def asked(runner: CliRunner, *arguments: str, **env: str) -> str:
    result = runner.invoke(probes, arguments, env=env)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def config(runner: CliRunner) -> Path:
    return Path(str(runner.env["XDG_CONFIG_HOME"])) / "brickyard" / "config.toml"


def test_the_file_is_private_and_holds_no_key(runner: CliRunner, lab: Path) -> None:
    path = config(runner)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "secret" not in path.read_text()
    assert str(lab / "key") in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["config.toml"]


def test_comments_of_the_user_stay(runner: CliRunner, lab: Path) -> None:
    path = config(runner)
    path.write_text("# mine\n" + path.read_text())
    assert add(runner, "other", "--server", "http://other").exit_code == 0
    assert path.read_text().startswith("# mine\n")
    assert runner.invoke(main, ["context", "remove", "other"]).exit_code == 0
    assert "other" not in path.read_text()


def test_contexts_are_listed_shown_used_and_removed(runner: CliRunner, lab: Path) -> None:
    assert add(runner, "web", "--server", "https://web", "--key-env", "WEB_KEY").exit_code == 0
    listed = runner.invoke(main, ["context", "list"])
    assert listed.stdout.splitlines() == [
        f"*\tlab\tlab:7400\thttp://lab:8080\t{lab / 'operator'}",
        "-\tweb\t-\thttps://web\tWEB_KEY",
    ]
    assert runner.invoke(main, ["context", "use", "web"]).exit_code == 0
    shown = json.loads(runner.invoke(main, ["context", "show", "--json"]).stdout)
    assert shown == {"name": "web", "current": True, "server": "https://web", "key_env": "WEB_KEY"}
    assert "lab:7401" in runner.invoke(main, ["context", "show", "lab"]).stdout
    removed = runner.invoke(main, ["context", "remove", "web"])
    assert "brickyard context use NAME" in removed.stdout
    assert json.loads(runner.invoke(main, ["context", "list", "--json"]).stdout)["current"] == ""


@pytest.mark.parametrize("command", ["use", "show", "remove"])
def test_a_context_that_is_not_there(runner: CliRunner, lab: Path, command: str) -> None:
    result = runner.invoke(main, ["context", command, "nope"])
    assert result.exit_code == 2
    assert "no context 'nope'; known are lab" in result.stderr


def test_what_excludes_each_other_is_refused(runner: CliRunner, lab: Path) -> None:
    result = add(runner, "lab", "--insecure-plaintext")
    assert result.exit_code == 2
    assert "tls_dir and insecure_plaintext exclude each other" in result.stderr
    assert add(runner, "empty").exit_code == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("current = ", "Invalid value"),
        ("colour = 1", "unknown key 'colour'"),
        ('current = "x"', "names no context"),
        ("[contexts.x]\nadress = 'a'", "contexts.x.adress: unknown"),
        ("[contexts.x]\naddress = 7400", "contexts.x.address = 7400: is to be a str"),
        ("[contexts.x]\nkey_file = 'a'\nkey_env = 'b'", "contexts.x: key_file and key_env exclude each other"),
        ("[contexts]\nx = 1", "contexts.x is to be a table"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(runner: CliRunner, text: str, complaint: str) -> None:
    config(runner).parent.mkdir()
    config(runner).write_text(text)
    result = runner.invoke(main, ["operations", "list"])
    assert result.exit_code == 1
    assert str(config(runner)) in result.stderr
    assert complaint in result.stderr


# --- flags over environment over context ------------------------------------------------------------------------------


def test_grpc_takes_the_context(runner: CliRunner, lab: Path) -> None:
    assert asked(runner, "grpc") == "grpc lab:7400 operator False"
    assert asked(runner, "grpc", BRICKYARD_ADDRESS="env:1") == "grpc env:1 operator False"
    assert asked(runner, "grpc", "--address", "flag:1", BRICKYARD_ADDRESS="env:1") == "grpc flag:1 operator False"


def test_certificates_and_plaintext_of_a_higher_level_replace_each_other(runner: CliRunner, lab: Path) -> None:
    assert asked(runner, "grpc", "--insecure-plaintext") == "grpc lab:7400 - True"
    other = str(lab / "other")
    assert asked(runner, "grpc", BRICKYARD_TLS_DIR=other) == "grpc lab:7400 other False"
    assert asked(runner, "grpc", "--insecure-plaintext", BRICKYARD_TLS_DIR=other) == "grpc lab:7400 - True"
    assert asked(runner, "grpc", "--tls-dir", other, BRICKYARD_INSECURE_PLAINTEXT="1") == "grpc lab:7400 other False"
    both = runner.invoke(probes, ["grpc", "--tls-dir", other, "--insecure-plaintext"])
    assert both.exit_code == 2


def test_a_context_is_named_by_flag_or_environment(runner: CliRunner, lab: Path) -> None:
    assert add(runner, "local", "--address", "local:1", "--insecure-plaintext").exit_code == 0
    assert asked(runner, "grpc", "--context", "local") == "grpc local:1 - True"
    assert asked(runner, "grpc", BRICKYARD_CONTEXT="local") == "grpc local:1 - True"
    assert asked(runner, "grpc", "--context", "lab", BRICKYARD_CONTEXT="local") == "grpc lab:7400 operator False"
    assert runner.invoke(probes, ["grpc", "--context", "nope"]).exit_code == 2


def test_the_root_takes_a_context_too(runner: CliRunner, lab: Path, operator: FakeOperator) -> None:
    assert add(runner, "local", "--address", "local:1", "--insecure-plaintext").exit_code == 0
    env = {"BRICKYARD_CONTEXT": "lab"}
    result = runner.invoke(main, ["--context", "local", "operations", "list"], env=env)
    assert result.exit_code == 0, result.output
    assert operator.connections[-1].address == "local:1"


def test_rest_takes_the_context(runner: CliRunner, lab: Path) -> None:
    assert asked(runner, "rest") == "rest http://lab:8080 admin secret of the file"
    assert asked(runner, "rest", HEKETI_CLI_KEY="k") == "rest http://lab:8080 admin k"
    # The context is of Brickyard alone, the variable is shared with heketi-cli.
    assert asked(runner, "rest", HEKETI_CLI_SERVER="http://env") == "rest http://lab:8080 admin secret of the file"
    assert asked(runner, "rest", "--server", "http://flag/") == "rest http://flag admin secret of the file"


def test_a_key_of_the_environment_is_named_when_it_is_missing(runner: CliRunner) -> None:
    assert add(runner, "web", "--server", "https://web", "--key-env", "WEB_KEY", "--user", "user").exit_code == 0
    assert asked(runner, "rest", WEB_KEY="w") == "rest https://web user w"
    missing = runner.invoke(probes, ["rest"])
    assert missing.exit_code == 1
    assert "WEB_KEY, which is not set" in missing.stderr


def test_a_command_of_both_ways_takes_what_is_nearest(runner: CliRunner, files: Path) -> None:
    assert asked(runner, "either", "--insecure-plaintext") == "grpc 127.0.0.1:7400 - True"
    assert asked(runner, "either", HEKETI_CLI_SERVER="http://env") == "rest http://env admin -"
    assert add(runner, "web", "--server", "https://web").exit_code == 0
    assert asked(runner, "either") == "rest https://web admin -"
    plain = {"BRICKYARD_INSECURE_PLAINTEXT": "1"}
    assert asked(runner, "either", BRICKYARD_ADDRESS="env:1", **plain) == "grpc env:1 - True"
    assert asked(runner, "either", "--server", "http://flag", **plain) == "rest http://flag admin -"
    assert add(runner, "web", "--address", "web:1", "--insecure-plaintext").exit_code == 0
    assert asked(runner, "either") == "grpc web:1 - True"
    assert asked(runner, "either", BRICKYARD_SERVER="http://env") == "rest http://env admin -"
    both = runner.invoke(probes, ["either", "--server", "http://x", "--address", "y:1"])
    assert both.exit_code == 2


def test_a_grpc_command_says_what_a_rest_context_lacks(runner: CliRunner) -> None:
    assert add(runner, "web", "--server", "https://web").exit_code == 0
    result = runner.invoke(main, ["examine"])
    assert result.exit_code == 2
    assert "brickyard context add NAME --address HOST:PORT" in result.stderr
    assert asked(runner, "grpc", "--address", "x:1", "--insecure-plaintext") == "grpc x:1 - True"


# --- the program as a whole -------------------------------------------------------------------------------------------


def test_an_interrupt_ends_it_cleanly(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.operation_calls.operator_stub", interrupted)
    result = runner.invoke(main, ["operations", "list", "--insecure-plaintext"])
    assert result.exit_code == 130
    assert "what has begun goes on" in result.stderr


def test_exit_codes_are_told(runner: CliRunner) -> None:
    shown = runner.invoke(main, ["--help"]).stdout
    assert all(f"  {code}  " in shown for code in ("0", "1", "2", "3", "130"))


@pytest.mark.allow_spawn("click asks bash for its version")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(runner: CliRunner, shell: str) -> None:
    script = runner.invoke(main, ["completion", shell])
    assert script.exit_code == 0, script.output
    assert f"_BRICKYARD_COMPLETE={shell}_complete" in script.stdout
    words = {"COMP_WORDS": "brickyard operations wa", "COMP_CWORD": "2", "_BRICKYARD_COMPLETE": "bash_complete"}
    completed = runner.invoke(main, [], env=words, prog_name="brickyard")
    assert completed.stdout.strip() == "plain,watch"
    assert "_BRICKYARD_COMPLETE" not in os.environ
