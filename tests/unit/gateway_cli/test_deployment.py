"""What a deployed agent consists of, and the decision about host keys."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.agent_deploy import _decide
from gateway.cli.brickyard import main
from gateway.cli.deployment.plan import AgentPlan, read_wheelhouse
from gateway.cli.deployment.shell import TIMEOUT_S, NodeShell
from gateway.cli.deployment.starting import PlainStarter, StartMode, SystemdStarter, choose_starter
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


class RecordingShell(NodeShell):
    """A node that has everything, and notes what it is asked."""

    def __init__(self, *, systemd: bool) -> None:
        self.systemd = systemd
        self.commands: list[list[str]] = []
        self.files: dict[str, str] = {}

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = TIMEOUT_S, as_user: bool = False
    ) -> str:
        self.commands.append(list(argv))
        return ""

    def holds(self, script: str, *arguments: str) -> bool:
        return self.systemd

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> bool:
        changed = self.files.get(path) != content.decode()
        self.files[path] = content.decode()
        return changed


def test_systemd_starts_the_agent_where_it_runs() -> None:
    node, plan = RecordingShell(systemd=True), AgentPlan(host="node1", prefix="/srv/brickyard")
    unit = files("gateway.cli.deployment").joinpath("brickyard-agent.service").read_text()
    starter = choose_starter(StartMode.AUTO, node, unit)
    assert isinstance(starter, SystemdStarter)
    assert [starter.install(node, plan), starter.install(node, plan)] == [True, False]
    (written,) = node.files.values()
    assert "ExecStart=/srv/brickyard/agent/bin/brickyard-agent --config /etc/brickyard/agent.toml" in written
    assert "Before=glusterd.service" in written
    starter.restart(node, plan)
    assert [" ".join(command[:2]) for command in node.commands] == [
        "systemctl daemon-reload",
        "systemctl enable",
        "systemctl restart",
    ]


def test_without_systemd_it_is_a_plain_process_unless_nobody_is_to_start_it() -> None:
    node = RecordingShell(systemd=False)
    assert isinstance(choose_starter(StartMode.AUTO, node, ""), PlainStarter)
    assert isinstance(choose_starter(StartMode.SYSTEMD, node, ""), SystemdStarter)
    assert choose_starter(StartMode.NONE, node, "") is None
