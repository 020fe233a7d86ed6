"""Real processes for the tests: one stack per database engine and session, more where a test breaks something."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from services.common.ids import new_id
from tests.integration import emptying, postgres
from tests.integration.clients import KEYS, Rest
from tests.integration.stack import Credentials, Stack, wait_until
from tests.integration.world import World

ENGINES = ("sqlite", "postgresql")
_ASKED = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)  # after -k has had its say
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[_ASKED] = any("postgresql" in item.nodeid for item in items)


@pytest.fixture(scope="session", autouse=True)
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a server's database; empty when there is none. The variable is set for the other tests of this folder."""
    if postgres.why_not() or not request.config.stash[_ASKED]:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="brickyard-pg-") as directory:
        Path(directory).chmod(0o755)
        with postgres.server(Path(directory) / "pg") as url:
            before = os.environ.get(postgres.VARIABLE)
            os.environ[postgres.VARIABLE] = url
            yield url
            if before is None:
                del os.environ[postgres.VARIABLE]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if any("NOT RUN ON POSTGRESQL" in str(report.longrepr) for report in skipped):
        terminalreporter.write_line(f"NOT RUN ON POSTGRESQL: {postgres.why_not()}", red=True, bold=True)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory for sockets, whose whole path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="brickyard-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Credentials(tmp_path_factory.mktemp("tls"))


@contextmanager
def _database(engine: str, directory: Path, postgres_url: str) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite:///{directory}/topology.db"
        return
    if not postgres_url:
        pytest.skip(f"NOT RUN ON POSTGRESQL: {postgres.why_not()}")
    name = f"brickyard_stack_{new_id()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield with_database(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def with_database(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    base, _, query = url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


@contextmanager
def running_stack(
    engine: str, directory: Path, credentials: Credentials, postgres_url: str, *, topology_flags: Sequence[str] = ()
) -> Iterator[Stack]:
    """A stack for the length of a block."""
    with _database(engine, directory, postgres_url) as database:
        stack = Stack(directory, credentials, database)
        stack.topology.argv += topology_flags
        try:
            stack.start()
            yield stack
        finally:
            stack.close()


@pytest.fixture(scope="session", params=ENGINES)
def stack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    credentials: Credentials,
    postgres_url: str,
) -> Iterator[Stack]:
    """The stack of the session on each engine. A test must leave it with every server running and no fault armed."""
    directory = tmp_path_factory.mktemp(f"stack-{request.param}")
    with running_stack(request.param, directory, credentials, postgres_url) as running:
        yield running


@pytest.fixture
def world(stack: Stack) -> Iterator[World]:
    """Clusters of fresh nodes on the stack; whatever the test did, the books must agree afterwards."""
    yield World(stack)
    assert stack.stubs().violations() == []


@pytest.fixture(scope="module")
def mock_stack(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[Stack]:
    """A stack whose simulated nodes take any name and disk, as Heketi's mock executor does."""
    directory = tmp_path_factory.mktemp("stack-golden")
    stack = Stack(directory, credentials, f"sqlite:///{directory}/first.db", simulate=("--simulate-any",))
    # As Heketi was configured for the recordings.
    stack.gateway_flags = ("--auto-create-block-hosting-volume", "--block-hosting-volume-size", "500")
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


@pytest.fixture
def empty_stack(mock_stack: Stack) -> Stack:
    """The stack with nothing on it; with a new database and new nodes where it can not be emptied."""
    try:
        emptying.empty(Rest(mock_stack.gateway.addresses[0], KEYS["admin"]))
        assert mock_stack.stubs().violations() == []
    except (emptying.NotEmptyError, AssertionError, httpx.HTTPError) as error:
        print(f"new servers: {error}")  # shown with a test that fails
        _begin_anew(mock_stack)
    return mock_stack


def _begin_anew(stack: Stack) -> None:
    argv = stack.topology.argv
    argv[argv.index("--database") + 1] = f"sqlite:///{stack.directory}/{new_id()}.db"
    # All of them: a client that waits before it connects again would be taken for an answer.
    first, second = (stack.topology, stack.agents_server), (stack.allocator, stack.gateway)
    for server in (*second, *first):
        server.kill()
    for stage in (first, second):
        for server in stage:
            server.spawn()
        for server in stage:
            server.await_ready()
    stack.forget_clients()
    # A gateway that was ready before the topology waits a little before it tries again.
    rest = Rest(stack.gateway.addresses[0], KEYS["admin"])
    wait_until(lambda: rest.send("GET", "/clusters").is_success, "the gateway reaches the topology")
