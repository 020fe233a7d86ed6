"""What a deployed agent consists of, and the decision about host keys."""

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding

from brickyard.topology.v1 import identity_service_pb2 as pb
from brickyard.topology.v1.identity_pb2 import IssuedCertificate
from gateway.cli import identity_calls
from gateway.cli.agent_deploy import _decide, _found_by_node
from gateway.cli.brickyard import main
from gateway.cli.connection import Connection
from gateway.cli.deployment.enrolment import JoinByToken
from gateway.cli.deployment.plan import AgentPlan, read_wheelhouse
from gateway.cli.deployment.shell import TIMEOUT_S, NodeShell
from gateway.cli.deployment.starting import PlainStarter, StartMode, SystemdStarter, agent_unit, choose_starter
from services.common.authority import Authority, Subject, create_authority, new_request, requested_key
from services.common.certificates import read_certificate
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.identity import Role
from services.common.reasons import Reason
from services.common.ssh_shell import SshResult
from tests.unit.gateway_cli.fakes import stub_of

SHOWN = "SHA256:AbCd"
TOPOLOGY = "10.0.0.2:7401"


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
        host="node1",
        topology="10.0.0.2:7401",
        listen="10.0.0.11:7410",
        fstab="/etc/fstab",
        device_allow=("/dev/sd[b-z]",),
        allow_destroy=True,
    )
    assert tomllib.loads(plan.config()) == {
        "listen": ["10.0.0.11:7410"],
        "node_name": ["node1"],
        "tls_dir": "/etc/brickyard/agent",
        "topology": "10.0.0.2:7401",
        "state_dir": "/var/lib/brickyard/agent",
        "fstab": "/etc/fstab",
        "device_allow": ["/dev/sd[b-z]"],
        "allow_destroy": True,
    }
    assert set(tomllib.loads(AgentPlan(host='a"b', topology=TOPOLOGY).config())["node_name"]) == {'a"b'}
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
    monkeypatch.setattr("click.confirm", lambda _text, **_named: answer)
    if answer:
        _decide("node1", SHOWN, None)
    else:
        with pytest.raises(FailedPreconditionError):
            _decide("node1", SHOWN, None)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--topology", TOPOLOGY, "--listen", "everywhere"], "'everywhere' is not HOST:PORT"),
        (["--topology", TOPOLOGY, "--agent-topology", "elsewhere"], "'elsewhere' is not HOST:PORT"),
        # The node would look for it on itself.
        ([], "node1 cannot find the topology at 127.0.0.1:7401: give --agent-topology HOST:PORT"),
        (["--topology", "localhost:7401"], "cannot find the topology at localhost:7401"),
        (["--topology", "unix:/run/t.sock"], "cannot find the topology at unix:/run/t.sock"),
    ],
)
def test_a_bad_address_is_refused_before_anything_is_done(
    runner: CliRunner, tmp_path: Path, flags: list[str], complaint: str
) -> None:
    wheelhouse(tmp_path, *WHEELS)
    where = ["--wheelhouse", str(tmp_path), "--tls-dir", str(tmp_path)]
    result = runner.invoke(main, ["agent", "deploy", "node1", *where, *flags])
    assert (result.exit_code, complaint in " ".join(result.output.split())) == (2, True), result.output


def test_the_node_finds_the_topology_as_it_is_told() -> None:
    assert _found_by_node("node1", "", TOPOLOGY) == TOPOLOGY
    assert _found_by_node("node1", TOPOLOGY, "127.0.0.1:7401") == TOPOLOGY
    assert _found_by_node("127.0.0.1", "", "127.0.0.1:7401") == "127.0.0.1:7401"


def answer(stdout: bytes, *, exit_code: int = 0) -> SshResult:
    return SshResult(exit_code, stdout, b"", timed_out=False, missing=False, duration_s=0)


class RecordingShell(NodeShell):
    """A node that has everything, and notes what it is asked."""

    def __init__(self, *, systemd: bool) -> None:
        self.systemd = systemd
        self.commands: list[list[str]] = []
        self.inputs: list[bytes] = []
        self.certificate = answer(b"", exit_code=1)
        self.files: dict[str, str] = {}

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = TIMEOUT_S, as_user: bool = False
    ) -> str:
        self.commands.append(list(argv))
        self.inputs.append(stdin)
        return ""

    def attempt(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = TIMEOUT_S, as_user: bool = False
    ) -> SshResult:
        """Asked for its certificate."""
        return self.certificate

    def holds(self, script: str, *arguments: str) -> bool:
        return self.systemd

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> bool:
        changed = self.files.get(path) != content.decode()
        self.files[path] = content.decode()
        return changed


def test_systemd_starts_the_agent_where_it_runs() -> None:
    node, plan = RecordingShell(systemd=True), AgentPlan(host="node1", topology=TOPOLOGY, prefix="/srv/brickyard")
    starter = choose_starter(StartMode.AUTO, node, agent_unit())
    assert isinstance(starter, SystemdStarter)
    assert [starter.install(node, plan), starter.install(node, plan)] == [True, False]
    (written,) = node.files.values()
    assert "ExecStart=/srv/brickyard/agent/bin/brickyard-agent --config /etc/brickyard/agent.toml" in written
    assert "Before=glusterd.service" in written
    # The one whose rights are tested.
    assert re.search("^CapabilityBoundingSet=CAP_SYS_ADMIN ", written, re.MULTILINE)
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


@dataclass
class FakeIdentity:
    """A topology that makes tokens, and knows certificates."""

    certificates: list[IssuedCertificate] = field(default_factory=list)
    join_address: str = "10.0.0.2:7403"
    asked: list[Any] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    async def CreateJoinToken(self, request: Any, **_call: Any) -> pb.CreateJoinTokenResponse:  # noqa: N802 - the contract's name
        self.asked.append(request)
        return pb.CreateJoinTokenResponse(token="secret", authority_pin="sha256:ab", join_address=self.join_address)

    async def ListCertificates(self, request: Any, **_call: Any) -> pb.ListCertificatesResponse:  # noqa: N802 - the same
        """One a page."""
        number = int(request.page_token or 0)
        following = str(number + 1) if number + 1 < len(self.certificates) else ""
        return pb.ListCertificatesResponse(
            certificates=self.certificates[number : number + 1], next_page_token=following
        )


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> FakeIdentity:
    made = FakeIdentity()
    monkeypatch.setattr(identity_calls, "identity_stub", stub_of(made))
    return made


def joining_node() -> tuple[JoinByToken, RecordingShell, AgentPlan]:
    connection = Connection(TOPOLOGY, None, insecure_plaintext=True, flag="--topology")
    return JoinByToken(connection), RecordingShell(systemd=True), AgentPlan(host="node1", topology=TOPOLOGY)


def certificate(directory: Path, *, role: Role = Role.AGENT, name: str = "node1", hours: float = 24) -> bytes:
    create_authority(directory)
    _, request = new_request()
    signed = Authority(directory).sign(Subject(role, name), requested_key(request), timedelta(hours=hours))
    return signed.public_bytes(Encoding.PEM)


def known(pem: bytes, **changes: Any) -> IssuedCertificate:
    found = read_certificate(pem)
    assert found.identity is not None
    role = identity_calls.role_number(found.identity.role)
    fields = {"serial": found.serial, "role": role, "name": found.identity.name, **changes}
    return IssuedCertificate(**fields)


def test_a_node_joins_with_a_token_that_no_process_list_shows(identity: FakeIdentity) -> None:
    enrolment, node, plan = joining_node()
    assert enrolment.enrol(node, plan)
    assert [(asked.node_name, asked.lifetime.seconds) for asked in identity.asked] == [("node1", 300)]
    assert node.commands == [
        [
            *("/opt/brickyard/agent/bin/brickyard-agent", "join", "10.0.0.2:7403", "--node-name", "node1"),
            *("--ca-pin", "sha256:ab", "--tls-dir", "/etc/brickyard/agent", "--token-file", "-"),
        ]
    ]
    assert node.inputs == [b"secret"]


def test_a_node_with_a_good_certificate_does_not_join_again(identity: FakeIdentity, tmp_path: Path) -> None:
    enrolment, node, plan = joining_node()
    pem = certificate(tmp_path / "ca")
    node.certificate = answer(pem)
    # On the second page.
    identity.certificates = [known(pem, serial="1"), known(pem)]
    assert not enrolment.enrol(node, plan)
    assert (node.commands, identity.asked) == ([], [])


@pytest.mark.parametrize(
    ("made", "listed"),
    [
        pytest.param({}, lambda _pem: [], id="of another authority"),
        pytest.param({}, lambda pem: [known(pem, revoked=True)], id="revoked"),
        pytest.param({"name": "node2"}, lambda pem: [known(pem)], id="of another node"),
        pytest.param({"role": Role.GATEWAY}, lambda pem: [known(pem)], id="of no agent"),
        pytest.param({"hours": 0.1}, lambda pem: [known(pem)], id="at its end"),
    ],
)
def test_a_certificate_that_is_not_good_is_replaced(
    identity: FakeIdentity, tmp_path: Path, made: dict[str, Any], listed: Callable[[bytes], list[IssuedCertificate]]
) -> None:
    enrolment, node, plan = joining_node()
    pem = certificate(tmp_path / "ca", **made)
    node.certificate = answer(pem)
    identity.certificates = listed(pem)
    assert enrolment.enrol(node, plan)
    assert node.inputs == [b"secret"]


def test_a_topology_without_a_place_to_join_says_so(identity: FakeIdentity) -> None:
    enrolment, node, plan = joining_node()
    identity.join_address = ""
    with pytest.raises(FailedPreconditionError, match="start it with --join-listen HOST:7403"):
        enrolment.enrol(node, plan)
    assert node.commands == []
