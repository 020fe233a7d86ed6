"""Unit tests spawn no process; one that must says why with @pytest.mark.allow_spawn("why")."""

import os
import subprocess
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import structlog


class SpawnForbidden(BaseException):
    """Not an Exception, so that no handler of the code under test swallows it."""


def _forbid(name: str) -> Any:
    def forbidden(*arguments: object, **_named: object) -> NoReturn:
        raise SpawnForbidden(f"a unit test called {name} with {arguments[-1:]}")

    return forbidden


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """A test that sets up logs must not direct those of the next one."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_spawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = request.node.get_closest_marker("allow_spawn")
    if marker is not None:
        assert marker.args, "say why: @pytest.mark.allow_spawn('why')"
        return
    monkeypatch.setattr(subprocess.Popen, "__init__", _forbid("subprocess.Popen"))
    for name in ("fork", "posix_spawn", "posix_spawnp", "system", "execv", "execve", "popen"):
        monkeypatch.setattr(os, name, _forbid(f"os.{name}"))
