from collections.abc import Iterator

import pytest

from gateway.heketi.app import build_app
from gateway.heketi.settings import HeketiSettings
from tests.unit.gateway_heketi.client import ADMIN_KEY, USER_KEY, Client
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases


@pytest.fixture
def use_cases() -> FakeUseCases:
    return FakeUseCases()


@pytest.fixture
def client(use_cases: FakeUseCases) -> Iterator[Client]:
    """The app with tokens asked for."""
    with Client(build_app(use_cases, HeketiSettings(admin_key=ADMIN_KEY, user_key=USER_KEY))) as made:
        yield made
