import pytest
from click.testing import CliRunner

from gateway.cli import connection, operation_calls
from tests.unit.gateway_cli.fakes import FakeOperator, FakeTopology, stub_of


@pytest.fixture
def runner(tmp_path_factory: pytest.TempPathFactory) -> CliRunner:
    """Runs commands as in a pipe, without what the environment of the tests says, and with no contexts at first."""
    names = ("ADDRESS", "TLS_DIR", "INSECURE_PLAINTEXT", "TOPOLOGY", "CONTEXT", "SERVER", "USER")
    unset = [f"BRICKYARD_{name}" for name in names] + [f"HEKETI_CLI_{name}" for name in ("SERVER", "USER", "KEY")]
    env = {"FORCE_COLOR": None, "COLUMNS": "200", "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config"))}
    return CliRunner(env=dict.fromkeys(unset) | env)


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
