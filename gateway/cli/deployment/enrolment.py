"""How a node's agent gets its certificate while it is deployed. Effects: the authority's files, the node's."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509

from gateway.cli.deployment.paths import TLS_DIRECTORY
from gateway.cli.deployment.plan import AgentPlan
from gateway.cli.deployment.shell import NodeShell
from services.common.authority import issue_certificate
from services.common.credentials import TlsFiles
from services.common.identity import Role, role_uri

_RENEW_BEFORE = timedelta(days=30)


class Enrolment(Protocol):
    """Gives a node's agent its certificate."""

    def enrol(self, node: NodeShell, plan: AgentPlan) -> bool:
        """Makes the files of TLS_DIRECTORY on the node; tells whether they are others than before.

        Raises:
            BrickyardError: It cannot; says why.
        """


@dataclass(frozen=True, slots=True)
class IssuedHere:
    """A certificate of an authority on this machine, copied to the node. A valid one of the same authority stays.

    Attributes:
        authority: Directory of `brickyard ca init`.
    """

    authority: Path

    def enrol(self, node: NodeShell, plan: AgentPlan) -> bool:
        """See Enrolment.enrol."""
        ca = (self.authority / "ca.pem").read_text()
        there = node.attempt(["cat", f"{TLS_DIRECTORY}/ca.pem", f"{TLS_DIRECTORY}/cert.pem"])
        has_key = node.holds('[ -s "$1" ]', f"{TLS_DIRECTORY}/key.pem")
        if there.exit_code == 0 and has_key and _still_good(there.stdout, ca, plan.host):
            return False
        with tempfile.TemporaryDirectory(prefix="brickyard-deploy-") as directory:
            files = issue_certificate(
                self.authority, Path(directory), role=Role.AGENT, name=plan.host, hosts=[plan.host]
            )
            _copy(node, files)
        return True


def _copy(node: NodeShell, files: TlsFiles) -> None:
    node.run(["mkdir", "-p", "-m", "0700", TLS_DIRECTORY])
    # The certificate goes first and comes last: one that is there belongs to the key beside it.
    node.run(["rm", "-f", f"{TLS_DIRECTORY}/{files.certificate.name}"])
    for path, mode in ((files.key, 0o600), (files.ca, 0o644), (files.certificate, 0o644)):
        node.write(f"{TLS_DIRECTORY}/{path.name}", path.read_bytes(), mode=mode)


def _still_good(pem: bytes, ca: str, host: str) -> bool:
    """Whether the node has a certificate of this authority for this host that is valid for a while."""
    if not pem.decode(errors="replace").startswith(ca):
        return False
    try:
        certificate = x509.load_pem_x509_certificates(pem)[-1]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return role_uri(Role.AGENT, host) in uris and certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE
