"""A node's agent joins by a token, as its operator and its administrator do it: by command line, real processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.executor_service_pb2_grpc import ExecutorServiceStub
from services.common.authority import add_successor, issue_certificate
from services.common.channels import call, open_channel
from services.common.credentials import TlsFiles
from services.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from services.common.identity import Role
from services.common.ids import new_id
from services.common.reasons import Reason
from services.executor import joining
from tests.integration.clients import HOST, NODE_KEY
from tests.integration.identity_rig import Rig, ask_agent, certificate_of, running
from tests.integration.stack import ON_SQLITE, Server, Stack, environment, wait_until
from tests.integration.test_renewal import LIFETIME, refused

_CLI = "gateway.cli.brickyard"


def run(module: str, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *argv],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )


def brickyard(stack: Stack, *argv: str) -> str:
    to_topology = (
        "--topology",
        stack.topology.addresses[0],
        "--tls-dir",
        str(stack.credentials.of(Role.OPERATOR).ca.parent),
    )
    done = run(_CLI, *argv, *to_topology)
    assert done.returncode == 0, done.stderr
    return done.stdout


def join(token: Any, directory: Path, name: str = HOST) -> subprocess.CompletedProcess[str]:
    where = (token["join_address"], "--node-name", name, "--tls-dir", str(directory))
    shown = ("--ca-pin", token["authority_pin"], "--token-file", "-")
    return run("services.executor", "join", *where, *shown, stdin=token["token"])


@pytest.fixture
def joined(stack: Stack, tmp_path: Path) -> Iterator[tuple[Server, TlsFiles]]:
    """An agent that joined, and its certificate."""
    token = json.loads(brickyard(stack, "agent", "token", HOST, "--json"))
    file = tmp_path / "join.json"
    file.write_text(json.dumps(token))
    argv = ["services.executor", "--listen", f"{HOST}:0", "--tls-dir", str(tmp_path / "tls"), "--simulate", "1"]
    argv += ["--join-from", str(file), "--node-name", HOST]
    argv += ["--topology", stack.topology.addresses[0], "--identity-poll-seconds", "0.1", "--log-level", "warning"]
    server = Server("joined", argv, tmp_path)
    server.start()
    assert token["token"] not in server.log.read_text()
    again = join(token, tmp_path / "second")
    assert again.returncode == 1
    assert "brickyard agent token" in again.stderr
    assert not (tmp_path / "second").exists()
    yield server, TlsFiles.in_directory(tmp_path / "tls")
    server.end()


@ON_SQLITE
def test_by_command_line(stack: Stack, joined: tuple[Server, TlsFiles], tmp_path: Path) -> None:
    server, files = joined
    assert files.key.stat().st_mode & 0o777 == 0o600
    serial = certificate_of(files).serial
    assert serial in brickyard(stack, "ca", "list")
    operation_id = new_id()
    with closing(open_channel(server.addresses[0], stack.credentials.of(Role.GATEWAY))) as channel:
        stub: Any = ExecutorServiceStub(channel)
        request = executor_pb2.CreateDeviceRequest(
            request_id=f"{operation_id}/device", device_id=new_id(), path="/dev/sdb"
        )
        call(stub.CreateDevice, request, metadata=((NODE_KEY, "node1"),))
    # One line for the change, although the agent logs warnings only: who, in which operation, and how it ended.
    (line,) = server.events("node.changed", operation_id=operation_id)
    assert (line["caller"], line["method"], line["outcome"]) == (
        "brickyard://role/gateway/gateway",
        "CreateDevice",
        "OK",
    )
    thief = issue_certificate(stack.credentials.authority, tmp_path / "thief", role=Role.GATEWAY, name="thief")
    with closing(open_channel(server.addresses[0], thief)) as channel:
        ask_agent(channel)
        brickyard(stack, "ca", "revoke", "--role", "gateway", "--name", "thief")
        reason = wait_until(lambda: refused(channel), "the agent to refuse a revoked gateway", seconds=10)
    assert reason is Reason.CERTIFICATE_REVOKED


@ON_SQLITE
def test_a_removed_node_has_to_join_again(stack: Stack, tmp_path: Path) -> None:
    (number,) = stack.fresh_nodes(1)
    name = f"node{number}"

    def join_named(directory: str) -> None:
        token = json.loads(brickyard(stack, "agent", "token", name, "--json"))
        assert join(token, tmp_path / directory, name).returncode == 0

    def listed() -> list[bool]:
        """Whether each certificate of the node's agent is revoked."""
        lines = brickyard(stack, "ca", "list").splitlines()
        return ["revoked" in line for line in lines if name in line.split()]

    join_named("first")
    rest = stack.rest()
    cluster = rest.made("/clusters", {"file": True, "block": False})["id"]
    body = {"cluster": cluster, "zone": 1, "hostnames": {"manage": [name], "storage": [f"10.0.0.{number}"]}}
    node = rest.made("/nodes", body)["id"]
    assert listed() == [False]
    assert rest.change("DELETE", f"/nodes/{node}").status_code == 204
    assert listed() == [True]
    assert stack.topology.events("identity.revoked", why="node removed")
    join_named("second")
    assert sorted(listed()) == [False, True]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running(tmp_path_factory.mktemp("rig"), LIFETIME * 100) as made:
        yield made


def join_with(rig: Rig, directory: Path, **other: str) -> None:
    given = {"address": rig.join_address, "node_name": "node9", "token": "x", "pin": rig.pin, **other}
    joining.join(
        given["address"],
        node_name=given["node_name"],
        token=given["token"],
        pin=given["pin"],
        directory=directory,
        progress=lambda _line: None,
    )


@pytest.fixture
def own_rig(tmp_path: Path) -> Iterator[Rig]:
    """For tests that ask more often than one peer may within some seconds."""
    with running(tmp_path / "rig", LIFETIME * 100) as made:
        yield made


def test_by_a_file(own_rig: Rig, tmp_path: Path) -> None:
    """What `brickyard agent token --json` prints is used once, and by a newer one an agent joins anew."""
    file, files, told = tmp_path / "join.json", TlsFiles.in_directory(tmp_path / "tls"), list[str]()

    def start() -> str:
        """Serial number of the certificate with which the agent would start."""
        joining.join_by_file(file, node_name="filed", directory=tmp_path / "tls", progress=told.append)
        return certificate_of(files).serial

    def write(token: str) -> None:
        file.write_text(
            json.dumps({"join_address": own_rig.join_address, "token": token, "authority_pin": own_rig.pin})
        )

    with pytest.raises(FailedPreconditionError, match=r"brickyard agent token filed --json >join\.json"):
        start()
    file.write_text('{"token": 1}')
    with pytest.raises(FailedPreconditionError, match=r"authority_pin|join_address"):
        start()
    assert not files.certificate.exists()
    write(own_rig.token("filed"))
    first = start()
    assert certificate_of(files).hosts == ("filed", HOST)
    assert start() == first
    write("void")
    assert start() == first
    assert "going on with the certificate" in told[-1]
    write(own_rig.token("filed"))
    assert start() != first
    # Of another node, it does not count.
    with pytest.raises(PermissionDeniedError):
        joining.join_by_file(file, node_name="other", directory=tmp_path / "tls", progress=told.append)


def test_another_authority_does_not_see_the_token(rig: Rig, tmp_path: Path) -> None:
    token = rig.token("node9")
    with pytest.raises(UnauthenticatedError, match="was not sent"):
        join_with(rig, tmp_path / "tls", token=token, pin=f"sha256:{'0' * 64}")
    assert not (tmp_path / "tls").exists()
    # It is still good.
    join_with(rig, tmp_path / "tls", token=token)


def test_who_merely_shows_the_authority_does_not_see_the_token(rig: Rig, tmp_path: Path) -> None:
    """A server in between can pass on the authorities, which are no secret, but its own certificate is not theirs."""
    with running(tmp_path / "between", LIFETIME * 100) as between:
        between.topology.identities.authority = rig.topology.identities.authority  # type: ignore[method-assign]
        with pytest.raises(UnauthenticatedError, match="not signed by the authority of the pin"):
            join_with(rig, tmp_path / "tls", address=between.join_address)


def test_a_server_of_another_role_does_not_see_the_token(rig: Rig, tmp_path: Path) -> None:
    """A stolen certificate of an agent must not collect tokens."""
    agent_files = rig.issue(Role.AGENT, "posing")
    with running(tmp_path / "posing", LIFETIME * 100) as other:
        other.topology.identities.authority = rig.topology.identities.authority  # type: ignore[method-assign]
        other.topology_files.store(*agent_files.read())
        with pytest.raises(UnavailableError, match=r"topology\.brickyard\.internal|[Hh]ostname|[Pp]eer name"):
            join_with(rig, tmp_path / "tls", address=other.join_address)


@pytest.mark.parametrize("address", ["", "nohost", "host:", "host:x", "host:70000", "ftp://h:1:2:x"])
def test_addresses_that_are_none(rig: Rig, tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidArgumentError, match="HOST:PORT"):
        join_with(rig, tmp_path, address=address)


@pytest.mark.parametrize("pin", ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "g" * 64])
def test_pins_that_are_none(rig: Rig, tmp_path: Path, pin: str) -> None:
    with pytest.raises(InvalidArgumentError, match="no pin"):
        join_with(rig, tmp_path, pin=pin)


def test_nobody_there(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="--join-listen"):
        join_with(rig, tmp_path, address=f"{HOST}:1")


def test_while_the_authority_changes_agents_join(tmp_path: Path) -> None:
    with running(tmp_path, LIFETIME * 100) as rig:
        add_successor(rig.ca)
        files = rig.join()
        assert files.ca.read_bytes() == (rig.ca / "ca.pem").read_bytes()


def test_the_change_of_the_authority_by_command_line(tmp_path: Path) -> None:
    with running(tmp_path, LIFETIME * 100) as rig:
        operator, gateway = rig.issue(Role.OPERATOR, "anna"), rig.issue(Role.GATEWAY, "gateway")
        rig.keep(gateway)
        ca = ("--dir", str(rig.ca))

        def connected() -> tuple[str, ...]:
            return (*ca, "--topology", rig.address, "--tls-dir", str(operator.ca.parent))

        assert run(_CLI, "ca", "rotate", *ca).returncode == 0
        early = run(_CLI, "ca", "retire", *connected())
        assert early.returncode == 1
        wait_until(lambda: gateway.ca.read_bytes().count(b"BEGIN") == 2, "the gateway to trust both")
        assert run(_CLI, "ca", "rotate", "--activate", *ca).returncode == 0
        operator = rig.issue(Role.OPERATOR, "anna")
        # Refused until the last one has renewed its certificate.
        wait_until(lambda: run(_CLI, "ca", "retire", *connected()).returncode == 0, "all to be of the new one")
        pins = {each.row.authority_pin for each in rig.topology.identities.page("", 100) if each.row.role == "gateway"}
        assert rig.pin in pins
        assert run(_CLI, "ca", "pin", *ca).stdout.strip() == rig.pin
