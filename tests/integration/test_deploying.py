"""A node joins while it is deployed: over a real sshd, with a real topology that signs."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.cli.connection import Connection
from gateway.cli.deployment import enrolment
from gateway.cli.deployment.enrolment import JoinByToken
from gateway.cli.deployment.plan import AgentPlan
from gateway.cli.deployment.shell import NodeShell
from gateway.cli.identity_calls import revoke_owner
from services.common.authority import create_authority, issue_certificate
from services.common.credentials import TlsFiles
from services.common.errors import InternalError, UnavailableError
from services.common.identity import Identity, Role
from services.common.ssh import SshSession
from tests.integration.clients import HOST
from tests.integration.identity_rig import Rig, certificate_of, running
from tests.integration.sshd import running_sshd, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


class Node:
    """This machine as a node, whose software is that of the tests."""

    def __init__(self, rig: Rig, shell: NodeShell, directory: Path) -> None:
        self.rig = rig
        self.shell = shell
        self.files = TlsFiles.in_directory(directory / "tls")
        (directory / "agent").symlink_to(sys.prefix)
        self.plan = AgentPlan(host=HOST, topology=rig.address, prefix=str(directory))
        self.connection = Connection(
            rig.address, rig.issue(Role.OPERATOR, "operator").ca.parent, insecure_plaintext=False, flag="--topology"
        )

    def enrol(self) -> bool:
        return JoinByToken(self.connection).enrol(self.shell, self.plan)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(enrolment, "TLS_DIRECTORY", str(tmp_path / "node" / "tls"))
    with running(tmp_path / "rig", timedelta(hours=24)) as rig, running_sshd(tmp_path / "sshd") as sshd:
        session = SshSession(sshd.target(), [sshd.known_hosts])
        try:
            yield Node(rig, NodeShell(session), tmp_path / "node")
        finally:
            session.close()


def test_a_node_makes_its_key_and_joins_once(node: Node, tmp_path: Path) -> None:
    assert node.enrol()
    certificate = certificate_of(node.files)
    assert (certificate.identity, certificate.lifetime) == (Identity(Role.AGENT, HOST), timedelta(hours=24))
    assert (node.files.key.stat().st_mode & 0o777, node.files.key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not node.enrol()
    # A key of another certificate.
    node.files.key.write_bytes(node.rig.issue(Role.AGENT, "other").key.read_bytes())
    assert node.enrol()
    assert certificate_of(node.files).serial != certificate.serial

    # Revoked: as after `brickyard ca revoke`.
    revoke_owner(node.connection, Role.AGENT, HOST)
    assert node.enrol()
    assert not node.enrol()

    # Of an authority that is none here.
    create_authority(tmp_path / "ca")
    issue_certificate(tmp_path / "ca", node.files.key.parent, role=Role.AGENT, name=HOST, hosts=[HOST])
    assert node.enrol()
    assert certificate_of(node.files).lifetime == timedelta(hours=24)


def test_what_the_node_says_of_a_join_that_fails_is_told(node: Node) -> None:
    node.rig.topology.identity.join_address = f"{HOST}:1"
    with pytest.raises(InternalError, match=f"nobody takes joins at {HOST}:1"):
        node.enrol()
    assert not node.files.key.parent.exists()


def test_a_topology_that_is_away_is_noticed_first(node: Node) -> None:
    JoinByToken(node.connection).check()
    away = Connection(f"{HOST}:1", node.connection.tls_dir, insecure_plaintext=False, flag="--topology")
    with pytest.raises(UnavailableError):
        JoinByToken(away).check()
