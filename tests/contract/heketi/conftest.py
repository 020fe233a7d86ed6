import asyncio
from collections.abc import Iterator

import httpx
import pytest

from gateway.heketi.app import build_app
from gateway.heketi.settings import HeketiSettings
from tests.contract.heketi.replay import Stack
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases

KEYS = {"admin": "My Secret", "user": "My User Secret"}


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture
def stack(runner: asyncio.Runner) -> Iterator[Stack]:
    """An empty stack: the REST face over use cases in memory, whose operations take a poll or two."""
    use_cases = FakeUseCases(pending_polls=1)
    app = build_app(use_cases, HeketiSettings(admin_key=KEYS["admin"], user_key=KEYS["user"]))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://heketi")
    yield Stack(http, KEYS, poll_interval_s=0, reset_mode=app.reset_admin_mode)
    runner.run(http.aclose())
