"""What a real Heketi answered, replayed against real processes instead of use cases in memory."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from services.common.ids import new_id
from tests.contract.heketi import recording
from tests.contract.heketi.replay import Replay
from tests.contract.heketi.replay import Stack as ReplayStack
from tests.contract.heketi.scenarios import SCENARIOS, How, Scenario
from tests.integration.clients import KEYS
from tests.integration.stack import Credentials, Stack

# The other form of each recording sends the same requests; it is replayed on use cases in memory.
FORM = "json"


@pytest.fixture(scope="module")
def mock_stack(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[Stack]:
    """A stack whose simulated nodes take any name and disk, as Heketi's mock executor does."""
    directory = tmp_path_factory.mktemp("stack-golden")
    stack = Stack(directory, credentials, f"sqlite:///{directory}/first.db", simulate=("--simulate-any",))
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


@pytest.fixture
def empty_stack(mock_stack: Stack) -> Stack:
    """The stack with a new database and new nodes."""
    argv = mock_stack.topology.argv
    argv[argv.index("--database") + 1] = f"sqlite:///{mock_stack.directory}/{new_id()}.db"
    # All of them: a client that waits before it connects again would be taken for an answer.
    servers = (mock_stack.topology, mock_stack.agents_server, mock_stack.allocator, mock_stack.gateway)
    for server in servers:
        server.kill()
        server.spawn()
    for server in servers:
        server.await_ready()
    mock_stack.forget_clients()
    return mock_stack


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name for each in SCENARIOS])
def test_recording(empty_stack: Stack, scenario: Scenario) -> None:
    commands = recording.read(f"{scenario.name}.{FORM}")

    async def replay() -> int:
        async with httpx.AsyncClient(base_url=empty_stack.gateway.addresses[0], timeout=30) as http:
            running = Replay(ReplayStack(http, KEYS, poll_interval_s=0.02), scenario, commands)
            await running.run()
            return running.compared

    compared = asyncio.run(replay())
    sendable = sum(len(command.exchanges) for command in commands)
    skipped = sum(each.how is How.SKIP for each in scenario.differences)
    assert compared >= sendable - skipped > 0
    assert empty_stack.stubs().violations() == []
