"""The images, and one stack of them for all tests; a machine that cannot run it is told so, loudly."""

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose.engine import BASE_IMAGE, Engine, Project, why_not

ROOT = Path(__file__).resolve().parents[2]
# A directory that keeps the daemon's images from one run to the next.
_KEPT = "BRICKYARD_COMPOSE_DIRECTORY"
_NOT_RUN = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reason = config.stash.get(_NOT_RUN, "")
    if reason:
        terminalreporter.write_line(f"COMPOSE NOT RUN: {reason}", red=True, bold=True)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A daemon that has all images."""
    reason = why_not()
    if reason:
        request.config.stash[_NOT_RUN] = reason
        pytest.skip(reason)
    kept = os.environ.get(_KEPT, "")
    found = Engine(Path(kept) if kept else Path(tempfile.mkdtemp(prefix="brickyard-compose-")))
    try:
        with found.building():
            _make_images(found)
        with found.serving():
            yield found
    finally:
        if not kept:
            found.remove()


def _make_images(engine: Engine) -> None:
    if not engine.has_image(BASE_IMAGE):
        _timed("base image", engine.make_base_image)
    _timed("wheels", lambda: _images(engine, "wheels"))
    _timed("images", lambda: _images(engine, "build", "--network=host"))
    folder = ROOT / "tests" / "compose"
    stand_in = ["build", "--network=host", "-t", "postgres:15", "-f", str(folder / "postgres.Dockerfile"), str(folder)]
    _timed("stand-in for postgres:15", lambda: engine.docker(*stand_in, timeout_s=300))


def _timed(what: str, work: Callable[[], object]) -> None:
    started = time.monotonic()
    work()
    print(f"{what}: {time.monotonic() - started:.0f} s")


def _images(engine: Engine, *arguments: str) -> None:
    subprocess.run(
        [str(ROOT / "compose" / "images"), *arguments],
        check=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        env={**engine.environment, "BRICKYARD_VENV": "dev"},
    )


@pytest.fixture(scope="session")
def project(engine: Engine) -> Iterator[Project]:
    """The stack with simulated nodes, up and healthy."""
    files = [ROOT / "compose" / name for name in ("compose.yaml", "compose.simulated.yaml")]
    names = ("BRICKYARD_DATABASE_PASSWORD", "BRICKYARD_ADMIN_KEY", "BRICKYARD_USER_KEY")
    found = Project(engine, files, {name: secrets.token_hex(16) for name in names})
    try:
        _timed("up", lambda: found.compose("up", "-d", timeout_s=300))
        yield found
    finally:
        logs = found.compose("logs", "--no-color", "--tail=40")
        found.compose("down", "-v", "-t", "15")
        print(logs)
