import pytest
from click.testing import CliRunner

from gateway.cli import connection, operation_calls
from tests.unit.gateway_cli.fakes import FakeOperator, FakeTopology, stub_of


@pytest.fixture
def runner() -> CliRunner:
    """Runs commands as in a pipe, without what the environment of the tests says."""
    names = ("ADDRESS", "TLS_DIR", "INSECURE_PLAINTEXT", "TOPOLOGY")
    return CliRunner(env={f"BRICKYARD_{name}": None for name in names} | {"FORCE_COLOR": None, "COLUMNS": "200"})


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> FakeOperator:
    """What commands reach instead of a gateway."""
    made = FakeOperator()
    monkeypatch.setattr(operation_calls, "operator_stub", stub_of(made))
    return made


@pytest.fixture
def topology(monkeypatch: pytest.MonkeyPatch) -> FakeTopology:
    """What commands reach instead of a topology service."""
    made = FakeTopology()
    monkeypatch.setattr(connection, "topology_stub", stub_of(made))
    return made
