"""What a certificate says: whose it is, since when, until when. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509

from services.common.identity import Identity, Role, identity_from_names, role_hostname

# Clocks of nodes differ a little; a certificate is valid from a bit before it was made.
CLOCK_SKEW = timedelta(minutes=5)
# These roles stand in no certificate.
UNCERTIFIED = frozenset({Role.LOCAL, Role.STRANGER})
# Renewed when so much of its life is over.
RENEW_AFTER = 2 / 3


@dataclass(frozen=True, slots=True)
class Certificate:
    """A process's certificate.

    Attributes:
        identity: Its owner; None when it names none.
        hosts: Host names and IP addresses besides the name of its role.
        serial: Its number, as hex digits.
        issued: When it was made, to the second.
        expires: When it ends.
    """

    identity: Identity | None
    hosts: tuple[str, ...]
    serial: str
    issued: datetime
    expires: datetime

    @property
    def lifetime(self) -> timedelta:
        """From its making to its end."""
        return self.expires - self.issued

    @property
    def renewal(self) -> datetime:
        """When it is to be renewed."""
        return self.issued + self.lifetime * RENEW_AFTER


@lru_cache(maxsize=512)
def read_certificate(pem: bytes) -> Certificate:
    """Reads the first certificate of a PEM file; remembers the latest, since every call of a client shows its own.

    Raises:
        ValueError: There is none.
    """
    found = x509.load_pem_x509_certificates(pem)[0]
    return describe(found)


def describe(found: x509.Certificate) -> Certificate:
    """A certificate in our words."""
    uris: list[str] = []
    hosts: tuple[str, ...] = ()
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        pass
    else:
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        hosts = (
            *names.get_values_for_type(x509.DNSName),
            *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        )
    identity = identity_from_names(uris)
    role_name = role_hostname(identity.role) if identity is not None else ""
    return Certificate(
        identity=identity,
        hosts=tuple(host for host in hosts if host != role_name),
        serial=f"{found.serial_number:x}",
        issued=found.not_valid_before_utc + CLOCK_SKEW,
        expires=found.not_valid_after_utc,
    )
