"""What every command of `brickyard` has: an example, JSON, a documented exit code, and words when nobody answers."""

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gateway.cli import changes, connection, waiting
from gateway.cli.brickyard import main
from gateway.cli.connection import Connection
from services.common.authority import create_authority
from services.common.errors import UnavailableError
from services.common.identity import Role
from services.common.reasons import Reason

# Nobody listens there.
NOWHERE = "127.0.0.1:1"
ID = "f" * 32


def walk(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(walk())
GROUPS = sorted({path.rpartition(" ")[0] for path in COMMANDS} - {""})
WITHOUT_JSON = {
    "completion": "it prints a script",
    "db dump": "it prints JSON, in Heketi's format",
    "serve": "it is a server",
}
# What each command that asks a server needs besides its address.
ASKING = {
    "adopt": "",
    "agent token": "node1",
    "brick evict": ID,
    "ca list": "",
    "ca retire": "--dir {ca}",
    "ca revoke": "--serial 1",
    "cluster create": "",
    "cluster delete": ID,
    "cluster getdiskstatus": ID,
    "cluster getvolmaxsize": ID,
    "cluster list": "",
    "cluster querydevices": ID,
    "cluster rebalance-plan": ID,
    "db backup": "{new}",
    "db check": "",
    "db dump": "",
    "device add": f"{ID} /dev/sdb",
    "device disable": ID,
    "device enable": "node1:/dev/sdb",
    "device evict": ID,
    "device list": "",
    "device remove": ID,
    "device resync": ID,
    "device tag": f"{ID} a=b",
    "examine": "",
    "health": NOWHERE,
    "import": "{dump}",
    "node add": f"node1 --cluster {ID} --zone 1",
    "node disable": ID,
    "node enable": "node1",
    "node evict": ID,
    "node list": "",
    "node remove": ID,
    "node tag": f"{ID} --exact",
    "operations cleanup": "",
    "operations list": "",
    "operations show": ID,
    "operations watch": "",
    "repair": "--apply",
    "status": "",
    "topology load": "{topology}",
    "topology show": "",
    "volume clone": "data",
    "volume create": "--size 1",
    "volume delete": f"{ID} --yes",
    "volume expand": f"{ID} --by 1",
    "volume explain": "--size 1",
    "volume list": "",
    "volume show": "data",
}
ASKING_NOBODY = {
    "agent deploy", "ca init", "ca issue", "ca pin", "ca rotate", "completion", "context add", "context list",
    "context remove", "context show", "context use", "db restore", "serve", "token",
}  # fmt: skip
# What these print while they work is their sign of life.
SHOWING_THEMSELVES = {"operations watch", "topology load"}


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("path", COMMANDS)
def test_help_has_an_example_of_the_command(runner: CliRunner, path: str) -> None:
    for word in ("--help", "-h"):
        result = runner.invoke(main, [*path.split(), word])
        assert result.exit_code == 0
        _, _, examples = result.output.partition("Example")
        assert f"brickyard {path}" in examples
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts} has no help"


@pytest.mark.parametrize("path", GROUPS)
def test_a_group_says_what_it_is_about(runner: CliRunner, path: str) -> None:
    result = runner.invoke(main, [*path.split(), "--help"])
    assert result.exit_code == 0
    assert "Commands:" in result.output


@pytest.mark.parametrize("path", COMMANDS)
def test_json_everywhere(path: str) -> None:
    assert ("--json" in options(COMMANDS[path])) is (path not in WITHOUT_JSON)


def test_exit_codes_are_told(runner: CliRunner) -> None:
    shown = runner.invoke(main, ["--help"]).output
    _, _, codes = shown.partition("Exit codes:")
    assert [line.split()[0] for line in codes.splitlines() if line.strip()[:1].isdigit()] == ["0", "1", "2", "3", "130"]


def test_every_command_is_in_the_tables() -> None:
    assert sorted(COMMANDS) == sorted({*ASKING, *ASKING_NOBODY})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / name for name in ("ca", "new", "dump", "topology")}
    create_authority(made["ca"])
    made["topology"].write_text(json.dumps({"clusters": []}))
    names = ("cluster", "volume", "brick", "node", "device", "blockvolume", "dbattribute")
    made["dump"].write_text(json.dumps({**{f"{name}entries": {} for name in names}, "pendingoperations": {}}))
    return made


def ways() -> Iterator[tuple[str, str]]:
    for path in ASKING:
        known = options(COMMANDS[path])
        if "--server" in known:
            yield path, f"--server http://{NOWHERE}"
        for name in ("--address", "--topology"):
            if name in known:
                yield path, f"{name} {NOWHERE} --insecure-plaintext"
    yield "health", ""


def no_channel(reached: Connection, _role: Role) -> Any:
    raise UnavailableError(Reason.UNAVAILABLE, f"{reached.address} refused the connection")


@pytest.mark.parametrize(("path", "access"), list(ways()))
def test_nobody_answers(
    runner: CliRunner, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, path: str, access: str
) -> None:
    signs: list[str] = []

    @contextlib.contextmanager
    def sign_of_life(text: str) -> Iterator[None]:
        signs.append(text)
        yield

    monkeypatch.setattr(connection, "_channel", no_channel)
    monkeypatch.setattr(waiting, "sign_of_life", sign_of_life)
    monkeypatch.setattr(changes, "sign_of_life", sign_of_life)
    words = shlex.split(f"{path} {ASKING[path].format(**files)} {access}")
    result = runner.invoke(main, words)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == (3 if path in {"adopt", "examine", "repair"} else 1), result.output
    assert result.stderr.startswith("Error: ")
    assert NOWHERE in result.stderr
    assert result.stdout == ""
    assert signs or path in SHOWING_THEMSELVES
