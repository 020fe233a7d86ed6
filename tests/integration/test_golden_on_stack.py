"""What a real Heketi answered, replayed against real processes instead of use cases in memory."""

import asyncio
import os
import signal

import httpx
import pytest

from tests.contract.heketi import recording
from tests.contract.heketi.replay import Replay
from tests.contract.heketi.replay import Stack as ReplayStack
from tests.contract.heketi.scenarios import SCENARIOS, How, Scenario
from tests.integration.clients import KEYS
from tests.integration.stack import Stack

# The other form of each recording sends the same requests; it is replayed on use cases in memory.
FORM = "json"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name for each in SCENARIOS])
def test_recording(empty_stack: Stack, scenario: Scenario) -> None:
    commands = recording.read(f"{scenario.name}.{FORM}")

    def reset_mode() -> None:
        os.kill(empty_stack.gateway.pid, signal.SIGUSR2)

    async def replay() -> int:
        async with httpx.AsyncClient(base_url=empty_stack.gateway.addresses[0], timeout=30) as http:
            running = Replay(ReplayStack(http, KEYS, poll_interval_s=0.02, reset_mode=reset_mode), scenario, commands)
            await running.run()
            return running.compared

    compared = asyncio.run(replay())
    sendable = sum(len(command.exchanges) for command in commands)
    skipped = sum(each.how is How.SKIP for each in scenario.differences)
    assert compared >= sendable - skipped > 0
    assert empty_stack.stubs().violations() == []
