"""Thousands of random requests under random faults, in virtual time: books and nodes agree at last, whatever happened.

Each seed is one life of a cluster: BRICKYARD_LIFE_SEEDS=FIRST:COUNT chooses them, BRICKYARD_LIFE_REQUESTS their length.
"""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
import structlog

from tests.integration.simulation.clock import VirtualLoop
from tests.integration.simulation.life import Account, Life
from tests.integration.simulation.network import owned_task
from tests.integration.simulation.world import World

_FIRST, _COUNT = (int(part) for part in os.environ.get("BRICKYARD_LIFE_SEEDS", "1:16").split(":"))
_REQUESTS = int(os.environ.get("BRICKYARD_LIFE_REQUESTS", "200"))
_MEMORY = Path("/dev/shm")


def live(seed: int, requests: int, patch: pytest.MonkeyPatch) -> tuple[Account, World]:
    """One life."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as directory:
        loop = VirtualLoop()
        loop.set_task_factory(owned_task)
        asyncio.set_event_loop(loop)
        world = None
        try:
            world = World(Path(directory), seed, patch)
            life = Life(world, requests=requests)
            loop.run_until_complete(life.run())
            return life.account, world
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            if world is not None:
                world.close()
            asyncio.set_event_loop(None)
            loop.close()


@pytest.fixture
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("seed", range(_FIRST, _FIRST + _COUNT), ids=lambda seed: f"seed-{seed}")
def test_books_and_nodes_agree(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    account, world = live(seed, _REQUESTS, monkeypatch)
    ended = sum(account.asked.values())
    print(f"seed {seed}: {ended} operations ended, {sum(account.refused.values())} requests refused, ", end="")
    print(f"{world.network.calls} calls, {world.network.mishaps} mishaps, killed {world.kills}")
    print(f"  {dict(account.asked)}\n  refused {dict(account.refused)}")
    assert not account.broken, f"seed {seed}: " + "\n".join(account.broken)
    assert ended > _REQUESTS // 2, account.refused
