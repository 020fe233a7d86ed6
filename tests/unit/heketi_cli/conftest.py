import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.cli.heketi_cli import __main__ as program
from gateway.cli.heketi_cli.client import Client
from tests.unit.heketi_cli.fakes import FakeServer


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the program."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command line against a server, in a directory of its own, with no settings in the environment."""
    for name in ("SERVER", "USER", "KEY"):
        monkeypatch.delenv(f"HEKETI_CLI_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    # The warning's ten seconds are for people.
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)

    def run_against(server: FakeServer, *argv: str) -> Ran:
        transport = httpx.MockTransport(server.answer)
        client = functools.partial(Client, transport=transport, pause=lambda _seconds: None)
        monkeypatch.setattr(program, "Client", client)
        capsys.readouterr()
        code = program.run(argv)
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run_against
