"""What a real Heketi answered, replayed against real processes instead of use cases in memory."""

import asyncio
import os
import signal

import httpx
import pytest

from gateway.heketi.openapi import DOCUMENT
from tests.contract.heketi import recording
from tests.contract.heketi.replay import Replay
from tests.contract.heketi.replay import Stack as ReplayStack
from tests.contract.heketi.scenarios import SCENARIOS, How, Scenario
from tests.integration.clients import KEYS
from tests.integration.stack import Stack

# The other form of each recording sends the same requests; it is replayed on use cases in memory.
FORM = "json"
# A move, which Heketi's mock can not make, works here; it is replayed on use cases in memory, and has its own tests.
_ON_STACK = [each for each in SCENARIOS if each.name != "13-device-state"]

# Whether the server shows its records at all.
_HAS_RECORDS = b'"/db/dump"' in DOCUMENT


@pytest.mark.parametrize("scenario", _ON_STACK, ids=[each.name for each in _ON_STACK])
def test_recording(empty_stack: Stack, scenario: Scenario) -> None:
    commands = recording.read(f"{scenario.name}.{FORM}")

    def reset_mode() -> None:
        os.kill(empty_stack.gateway.pid, signal.SIGUSR2)

    async def replay() -> int:
        async with httpx.AsyncClient(base_url=empty_stack.gateway.addresses[0], timeout=30) as http:
            stack = ReplayStack(http, KEYS, poll_interval_s=0.02, reset_mode=reset_mode, has_records=_HAS_RECORDS)
            running = Replay(stack, scenario, commands)
            await running.run()
            return running.compared

    compared = asyncio.run(replay())
    sendable = sum(len(command.exchanges) for command in commands)
    skipped = sum(each.how is How.SKIP for each in scenario.differences)
    assert compared >= sendable - skipped > 0
    assert empty_stack.stubs().violations() == []
