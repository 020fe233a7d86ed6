"""The command line of the agent."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from services.executor.__main__ import main


def test_help_has_an_example_and_every_flag() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
    for flag in (
        "--listen",
        "--node-name",
        "--device-allow",
        "--allow-destroy",
        "--simulate",
        "--faults",
        "--state-dir",
    ):
        assert flag in result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--simulate", "1"], "TCP needs --tls-dir"),
        (["--simulate", "1", "--simulate-disk-size", "much"], "is no size"),
        (["--simulate", "-1"], "simulate"),
    ],
)
def test_wrong_flags_are_named(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert text in result.output


@pytest.mark.allow_spawn("imports are looked at in a fresh interpreter")
def test_a_start_needs_neither_sql_nor_a_web_server_nor_xml() -> None:
    probe = (
        "import sys, services.executor.bootstrap, services.executor.runners.local\n"
        "print([name for name in ('sqlmodel', 'sqlalchemy', 'starlette', 'uvicorn', 'paramiko', 'defusedxml')"
        " if name in sys.modules])"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    shown = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (shown.stdout, shown.returncode) == ("[]\n", 0), shown.stderr
