"""What a deployed agent consists of, and the decision about host keys."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.agent_deploy import _decide
from gateway.cli.brickyard import main
from gateway.cli.deployment.plan import AgentPlan, read_wheelhouse
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.reasons import Reason

SHOWN = "SHA256:AbCd"


def wheelhouse(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).write_bytes(name.encode())
    return directory


WHEELS = (
    "brickyard-0.1.0-py3-none-any.whl",
    "grpcio-1.85.3-cp311-cp311-manylinux_2_17.whl",
    "pip-26.3-py3-none-any.whl",
)


def test_settings_are_read_by_the_agent_as_they_are() -> None:
    plan = AgentPlan(
        host="node1", listen="10.0.0.11:7410", fstab="/etc/fstab", device_allow=("/dev/sd[b-z]",), allow_destroy=True
    )
    assert tomllib.loads(plan.config()) == {
        "listen": ["10.0.0.11:7410"],
        "node_name": ["node1"],
        "tls_dir": "/etc/brickyard/agent",
        "state_dir": "/var/lib/brickyard/agent",
        "fstab": "/etc/fstab",
        "device_allow": ["/dev/sd[b-z]"],
        "allow_destroy": True,
    }
    assert set(tomllib.loads(AgentPlan(host='a"b').config())["node_name"]) == {'a"b'}
    assert plan.port == 7410


def test_a_wheelhouse_is_named_by_its_contents(tmp_path: Path) -> None:
    found = read_wheelhouse(wheelhouse(tmp_path, *WHEELS))
    assert (found.version, found.pip.name, len(found.wheels)) == ("0.1.0", WHEELS[2], 3)
    assert found.size_bytes == sum(map(len, WHEELS))
    (tmp_path / WHEELS[1]).write_bytes(b"other")
    assert read_wheelhouse(tmp_path).digest != found.digest


@pytest.mark.parametrize("names", [WHEELS[1:], WHEELS[:2], (*WHEELS, "brickyard-0.2.0-py3-none-any.whl")])
def test_a_wheelhouse_that_cannot_be_used_says_how_to_make_one(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"pip wheel --wheel-dir .* '\.\[agent\]' pip"):
        read_wheelhouse(wheelhouse(tmp_path, *names))


def test_the_host_key_that_was_asked_for_is_taken() -> None:
    _decide("node1", SHOWN, SHOWN)
    for expected in ("SHA256:abcd", ""):
        with pytest.raises(FailedPreconditionError, match="nothing was sent to it"):
            _decide("node1", SHOWN, expected)


def test_without_a_terminal_nobody_says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(FailedPreconditionError, match=f"--host-key {SHOWN}") as caught:
        _decide("node1", SHOWN, None)
    assert caught.value.reason is Reason.HOST_KEY_UNKNOWN


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_the_user_decides(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda _text: answer)
    if answer:
        _decide("node1", SHOWN, None)
    else:
        with pytest.raises(FailedPreconditionError):
            _decide("node1", SHOWN, None)


def test_a_bad_address_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    wheelhouse(tmp_path, *WHEELS)
    flags = ["--wheelhouse", str(tmp_path), "--ca-dir", str(tmp_path), "--listen", "everywhere"]
    result = CliRunner().invoke(main, ["agent", "deploy", "node1", *flags])
    assert (result.exit_code, "'everywhere' is not HOST:PORT" in result.output) == (2, True)
