"""How a node's agent gets its certificate while it is deployed: it joins. Effects: the node, the topology."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.cli.connection import Connection
from gateway.cli.deployment.paths import TLS_DIRECTORY
from gateway.cli.deployment.plan import AgentPlan
from gateway.cli.deployment.shell import NodeShell
from gateway.cli.identity_calls import list_certificates, make_token, role_number
from services.common.certificates import read_certificate
from services.common.errors import FailedPreconditionError
from services.common.identity import Identity, Role
from services.common.reasons import Reason

# It is used at once.
_TOKEN_LIFETIME = timedelta(minutes=5)
# The agent renews a certificate as soon as it runs; until then it has to be good.
_STARTS_WITHIN = timedelta(minutes=10)
# Fails unless all three files are there and the key is the certificate's.
_SHOW = """
import sys
from pathlib import Path
from services.common.credentials import TlsFiles
sys.stdout.buffer.write(TlsFiles.in_directory(Path(sys.argv[1])).read()[1])
"""


@dataclass(frozen=True, slots=True)
class JoinByToken:
    """The node makes its key, and the topology signs it for a token. One that has a good certificate stays as it is.

    Attributes:
        connection: Where the topology is, with an operator's certificate.
    """

    connection: Connection

    def check(self) -> None:
        """Finds out whether the topology can be asked at all, before anything is done on the node.

        Raises:
            BrickyardError: It cannot; says why.
        """
        list_certificates(self.connection)

    def enrol(self, node: NodeShell, plan: AgentPlan) -> bool:
        """Makes the files of TLS_DIRECTORY on the node, whose software is there; tells whether they were made.

        Raises:
            BrickyardError: It cannot; says why.
        """
        if self._has_good_one(node, plan):
            return False
        invitation = make_token(self.connection, plan.host, lifetime=_TOKEN_LIFETIME)
        if not invitation.join_address:
            raise FailedPreconditionError(
                Reason.NO_AUTHORITY,
                f"the topology at {self.connection.address} takes no joins: start it with --join-listen HOST:7403",
            )
        # Who lists processes on the node sees the words, and not the token.
        node.run(
            [
                *(plan.program, "join", invitation.join_address, "--node-name", plan.host),
                *("--ca-pin", invitation.authority_pin, "--tls-dir", TLS_DIRECTORY, "--token-file", "-"),
            ],
            stdin=invitation.token.encode(),
        )
        return True

    def _has_good_one(self, node: NodeShell, plan: AgentPlan) -> bool:
        """Whether it has a certificate for its host that this topology knows, not revoked and not at its end."""
        shown = node.attempt([f"{plan.current}/bin/python", "-I", "-c", _SHOW, TLS_DIRECTORY])
        if shown.exit_code != 0:
            return False
        certificate = read_certificate(shown.stdout)
        if certificate.identity != Identity(Role.AGENT, plan.host):
            return False
        if certificate.expires - datetime.now(UTC) < _STARTS_WITHIN:
            return False
        agent = role_number(Role.AGENT)
        return any(
            (each.serial, each.role, each.name) == (certificate.serial, agent, plan.host) and not each.revoked
            for each in list_certificates(self.connection)
        )
