"""Which certificates are not to be trusted, although their authority has signed them. Pure, but for the clock.

Servers learn it from the topology, and look at it at each call: a connection that is open already is no way around.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from services.common.certificates import Certificate
from services.common.errors import UnauthenticatedError
from services.common.identity import Role, role_uri
from services.common.reasons import Reason


@dataclass(frozen=True, slots=True)
class Revocation:
    """Certificates that do not count any more: one, or all of an owner that were made before a moment.

    Attributes:
        serial: Of the one certificate, as hex digits; empty = all of the owner.
        uri: The owner, as it stands in certificates; empty with a serial.
        before_s: Seconds since 1970; only certificates made earlier are meant. 0 with a serial.
    """

    serial: str = ""
    uri: str = ""
    before_s: int = 0


@dataclass(frozen=True, slots=True)
class Trust:
    """What servers are told.

    Attributes:
        version: Another one for other contents; empty = nothing was told yet.
        bundle: PEM of the authorities that are trusted; empty = keep those that you have.
        revocations: What does not count any more.
        signer: Pin of the authority that signs now; certificates of others are renewed. Empty = not told.
        barred: Owners all of whose certificates are revoked, as URIs: clients do not call them either.
    """

    version: str = ""
    bundle: bytes = b""
    revocations: tuple[Revocation, ...] = ()
    barred: frozenset[str] = field(default_factory=frozenset)
    signer: str = ""


class TrustList:
    """What this process was told last. Reading and replacing is safe among threads."""

    def __init__(self) -> None:
        self._trust = Trust()
        self._serials: frozenset[str] = frozenset()
        self._owners: dict[str, int] = {}

    @property
    def version(self) -> str:
        """Of what it was told last."""
        return self._trust.version

    @property
    def trust(self) -> Trust:
        """What it was told last."""
        return self._trust

    def replace(self, trust: Trust) -> None:
        """Takes over what the topology tells."""
        self._serials = frozenset(each.serial for each in trust.revocations if each.serial)
        self._owners = {each.uri: each.before_s for each in trust.revocations if each.uri}
        self._trust = trust

    def check_revoked(self, certificate: Certificate) -> None:
        """Refuses a caller's certificate that is revoked.

        Raises:
            UnauthenticatedError: CERTIFICATE_REVOKED.
        """
        owner = certificate.identity.uri if certificate.identity else ""
        if certificate.serial in self._serials or certificate.issued.timestamp() < self._owners.get(owner, 0):
            raise UnauthenticatedError(
                Reason.CERTIFICATE_REVOKED,
                f"the certificate {certificate.serial} of {owner} is revoked",
                serial=certificate.serial,
                owner=owner,
            )

    def check(self, certificate: Certificate, *, now: datetime | None = None) -> None:
        """Refuses a caller's certificate that is revoked, or that ended while its connection lived on.

        Raises:
            UnauthenticatedError: CERTIFICATE_REVOKED or CERTIFICATE_EXPIRED.
        """
        self.check_revoked(certificate)
        owner = certificate.identity.uri if certificate.identity else ""
        if certificate.expires < (now or datetime.now(UTC)):
            raise UnauthenticatedError(
                Reason.CERTIFICATE_EXPIRED,
                f"the certificate {certificate.serial} of {owner} ended at {certificate.expires.isoformat()}",
                serial=certificate.serial,
                owner=owner,
            )

    def bars(self, role: Role, name: str) -> bool:
        """Whether nobody should call this server."""
        return role_uri(role, name) in self._trust.barred


def encode(trust: Trust) -> bytes:
    """For a file that outlives the process; the authorities have one of their own."""
    return json.dumps(
        {
            "revocations": [asdict(each) for each in trust.revocations],
            "barred": sorted(trust.barred),
        },
        indent=1,
    ).encode()


def decode(content: bytes) -> Trust:
    """What `encode` wrote; without a version, so that it is asked for anew.

    Raises:
        ValueError: It did not write this.
    """
    try:
        found = json.loads(content)
        revocations: Sequence[dict[str, str | int]] = found["revocations"]
        return Trust(
            revocations=tuple(
                Revocation(str(each["serial"]), str(each["uri"]), int(each["before_s"])) for each in revocations
            ),
            barred=frozenset(map(str, found["barred"])),
        )
    except (TypeError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"no list of revocations: {error!r}") from error
