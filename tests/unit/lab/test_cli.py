import json
from pathlib import Path

import pytest

from compose.lab import cli
from compose.lab.errors import LabError
from compose.lab.settings import GIB, MIB
from compose.lab.status import NodeStatus, status_json, status_table

PARSER = cli.build_parser()
ROWS = [
    NodeStatus("node1", "10.77.0.11", "up", 4711, (("/dev/ubdc", 1, 8 * GIB), (None, 2, 12 * GIB)), glusterd=True),
    NodeStatus("node2", "10.77.0.12", "down", None, (("/dev/ubdb", 1, 8 * GIB),), glusterd=False),
]


def test_up_without_options_has_the_defaults() -> None:
    config = cli.config_from(PARSER.parse_args(["up"]))
    assert (config.name, config.directory) == ("brickyard-lab", "/tmp/brickyard-lab")
    assert (config.nodes, config.disks, config.disk_bytes, config.memory_bytes) == (3, 1, 8 * GIB, 0)


def test_up_takes_its_options_and_makes_paths_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "up --name two --dir here --nodes 4 --disks 2 --disk-size 3G --memory 512M --share s --share t"
    more = "--boot-script b.sh --service-script c.sh --env A=1 --env B=x=y --timeout 5"
    config = cli.config_from(PARSER.parse_args([*words.split(), *more.split()]))
    assert (config.name, config.directory) == ("two", str(tmp_path / "here"))
    assert (config.nodes, config.disks, config.disk_bytes, config.memory_bytes) == (4, 2, 3 * GIB, 512 * MIB)
    assert config.shares == (str(tmp_path / "s"), str(tmp_path / "t"))
    assert config.boot_scripts == (str(tmp_path / "b.sh"),)
    assert config.service_scripts == (str(tmp_path / "c.sh"),)
    assert config.env == {"A": "1", "B": "x=y"}
    assert config.seconds == 5.0


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["up", "--disk-size", "big"], ["up", "--env", "A"], ["kill"], ["grow", "node1"]]
)
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        PARSER.parse_args(words)
    assert stopped.value.code == 2


def test_options_after_the_node_belong_to_the_command() -> None:
    arguments = PARSER.parse_args(["exec", "-n", "--name", "two", "node1", "ls", "-n", "--name", "x"])
    assert (arguments.name, arguments.no_stdin, arguments.node) == ("two", True, "node1")
    assert cli.command_argv(arguments.argv) == ["ls", "-n", "--name", "x"]


def test_dashes_before_a_command_are_dropped_once() -> None:
    assert cli.command_argv(["--", "echo", "--", "a"]) == ["echo", "--", "a"]
    with pytest.raises(LabError, match="no command"):
        cli.command_argv(["--"])


def test_every_command_has_code_and_an_example() -> None:
    actions = [action for action in PARSER._actions if isinstance(action.choices, dict)]
    commands = actions[0].choices
    assert isinstance(commands, dict)
    assert set(commands) == set(cli.COMMANDS)
    for name, parser in commands.items():
        assert f"  lab {name}" in parser.epilog or f"| lab {name}" in parser.epilog


def test_a_lab_error_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = cli.main(["up", "--nodes", "0", "--dir", str(tmp_path)])
    assert code == 1
    assert capsys.readouterr().err == "lab: --nodes 0: from 1 to 20\n"


def test_the_table_shows_device_names_and_pulled_disks() -> None:
    lines = status_table(ROWS).splitlines()
    assert lines[0].split() == ["NODE", "ADDRESS", "STATE", "PID", "GLUSTERD", "DISKS"]
    assert lines[1].endswith("answers   1: /dev/ubdc 8G, 2: pulled 12G")
    assert lines[2].split()[2:5] == ["down", "-", "no"]


def test_the_json_has_every_field() -> None:
    first = json.loads(status_json(ROWS))[0]
    assert first["disks"][0] == {"device": "/dev/ubdc", "disk": 1, "size_bytes": 8 * GIB}
    assert {key: first[key] for key in ("name", "address", "state", "pid", "glusterd")} == {
        "name": "node1",
        "address": "10.77.0.11",
        "state": "up",
        "pid": 4711,
        "glusterd": True,
    }
