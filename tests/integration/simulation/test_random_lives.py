"""Thousands of random requests under random faults, in virtual time: books and nodes agree at last, whatever happened.

Each seed is one life of a cluster: BRICKYARD_LIFE_SEEDS=FIRST:COUNT chooses them, BRICKYARD_LIFE_REQUESTS their length.
"""

import os

import pytest
import structlog

from tests.integration.simulation.clients import Account
from tests.integration.simulation.life import Life
from tests.integration.simulation.world import World, world_of

_FIRST, _COUNT = (int(part) for part in os.environ.get("BRICKYARD_LIFE_SEEDS", "1:16").split(":"))
_REQUESTS = int(os.environ.get("BRICKYARD_LIFE_REQUESTS", "200"))


def live(seed: int, requests: int) -> tuple[Account, World]:
    """One life."""
    with world_of(seed) as (loop, world):
        life = Life(world, requests=requests)
        loop.run_until_complete(life.run())
        return life.account, world


@pytest.fixture
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("seed", range(_FIRST, _FIRST + _COUNT), ids=lambda seed: f"seed-{seed}")
def test_books_and_nodes_agree(seed: int) -> None:
    account, world = live(seed, _REQUESTS)
    ended = sum(account.asked.values())
    print(f"seed {seed}: {ended} operations ended, {sum(account.refused.values())} requests refused, ", end="")
    print(f"{world.network.calls} calls, {world.network.mishaps} mishaps, killed {world.kills}")
    print(f"  {dict(account.asked)}\n  refused {dict(account.refused)}")
    assert not account.broken, f"seed {seed}: " + "\n".join(account.broken)
    assert ended > _REQUESTS // 2, account.refused
