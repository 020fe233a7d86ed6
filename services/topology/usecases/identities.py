"""Tokens to join with, certificates, and which of them do not count any more. Effects: SQL, and the authority's key."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import bindparam, delete, select, update

from services.common.authority import Authority, Subject, issuer_pin, key_digest, requested_key
from services.common.certificates import Certificate, describe, read_certificate
from services.common.errors import FailedPreconditionError, PermissionDeniedError
from services.common.identity import Role, role_uri
from services.common.reasons import Reason
from services.common.trust import Revocation, Trust
from services.topology.domain.checks import invalid
from services.topology.store import Store, Transaction
from services.topology.tables import (
    AUTHORITY,
    CERTIFICATE,
    JOIN_TOKEN,
    REVOCATION,
    AuthorityRow,
    CertificateRow,
    JoinTokenRow,
    RevocationRow,
)
from services.topology.usecases.revocations import is_revoked, not_before, revoke_certificate, revoke_owner, void_tokens

TOKEN_LIFETIME = timedelta(minutes=15)
MAX_TOKEN_LIFETIME = timedelta(hours=24)
MAX_HOSTS = 16
# A token's random bits; nobody guesses 256 of them.
_TOKEN_BYTES = 32
_MAX_TOKEN_LENGTH = 128
_US = 1_000_000
# Certificates that ended, and tokens, are forgotten after this.
_RETENTION_US = 7 * 24 * 3600 * _US
# As what stands for a host name or address on a node.
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
_SERIAL = re.compile(r"[0-9a-f]{1,64}")
_PEM = serialization.Encoding.PEM

_TOKEN = select(JOIN_TOKEN).where(JOIN_TOKEN.c.digest == bindparam("key"))
_USE_TOKEN = (
    update(JOIN_TOKEN)
    .where(JOIN_TOKEN.c.digest == bindparam("key"))
    .where(sa.or_(JOIN_TOKEN.c.key_digest.is_(None), JOIN_TOKEN.c.key_digest == bindparam("used_for")))
    .values(key_digest=bindparam("used_for"))
)
_REVOCATIONS = select(REVOCATION).order_by(REVOCATION.c.subject)
_PAGE = (
    select(CERTIFICATE)
    .where(CERTIFICATE.c.serial > bindparam("after"), CERTIFICATE.c.expire_time_us > bindparam("now"))
    .order_by(CERTIFICATE.c.serial)
    .limit(bindparam("count"))
)
_NEWEST = select(sa.func.max(CERTIFICATE.c.issue_time_us)).where(
    CERTIFICATE.c.role == bindparam("of_role"), CERTIFICATE.c.name == bindparam("of_name")
)
_BUNDLE = select(AUTHORITY)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its maker gets it.

    Attributes:
        text: The token.
        expires: When it ends.
        pin: The authority's, by which whoever joins knows whom it talks to.
    """

    text: str
    expires: datetime
    pin: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A certificate in a list."""

    row: CertificateRow
    revoked: bool


class Identities:
    """The use cases on one store.

    Args:
        store: The database.
        authority: Directory of the authority; None = this server signs nothing.
        lifetime: Of certificates for agents that join.
    """

    def __init__(self, store: Store, authority: Path | None, lifetime: timedelta) -> None:
        self._store = store
        self._directory = authority
        self._lifetime = lifetime

    def authority(self) -> Authority:
        """The authority as it is now.

        Raises:
            FailedPreconditionError: NO_AUTHORITY.
        """
        if self._directory is None:
            raise FailedPreconditionError(
                Reason.NO_AUTHORITY,
                "this topology signs no certificates; start one with --ca-dir on the host of the CA",
            )
        return Authority(self._directory)

    def create_token(self, node_name: str, hosts: Sequence[str], lifetime: timedelta) -> Token:
        """Makes a token for one node; unused ones of the node are void.

        Raises:
            InvalidArgumentError: A name that no certificate may carry, or a lifetime out of range.
            FailedPreconditionError: NO_AUTHORITY.
        """
        _check_host("node_name", node_name)
        for host in hosts:
            _check_host("hosts", host)
        if len(hosts) > MAX_HOSTS:
            raise invalid("hosts", len(hosts), f"may be at most {MAX_HOSTS}")
        if not timedelta(seconds=1) <= lifetime <= MAX_TOKEN_LIFETIME:
            raise invalid("lifetime", lifetime.total_seconds(), "must be 1 s to 24 h")
        authority = self.authority()
        token = secrets.token_urlsafe(_TOKEN_BYTES)

        def work(tx: Transaction) -> int:
            void_tokens(tx, node_name)
            expires = tx.now_us + int(lifetime.total_seconds() * _US)
            row = {
                "digest": _digest(token),
                "node_name": node_name,
                "hosts": list(dict.fromkeys((node_name, *hosts))),
                "create_time_us": tx.now_us,
                "expire_time_us": expires,
            }
            tx.run(JOIN_TOKEN.insert(), row)
            return expires

        expires = self._store.write(work)
        return Token(token, datetime.fromtimestamp(expires / _US, UTC), authority.pin)

    def join(self, token: str, node_name: str, request_pem: bytes) -> bytes:
        """The first certificate of a node's agent, PEM; the same key may ask again while the token lives.

        Raises:
            InvalidArgumentError: The request is none. The token stays good.
            PermissionDeniedError: JOIN_TOKEN_REFUSED.
            FailedPreconditionError: NO_AUTHORITY.
        """
        authority = self.authority()
        key = requested_key(request_pem)
        if not 1 <= len(token) <= _MAX_TOKEN_LENGTH:
            raise _refused("no such token", node_name)

        def work(tx: Transaction) -> x509.Certificate:
            row = tx.first(JoinTokenRow, _TOKEN, {"key": _digest(token)})
            if row is None:
                raise _refused("no such token; a newer one of the node makes it void", node_name)
            if row.expire_time_us <= tx.now_us:
                raise _refused("the token has ended", node_name)
            if row.node_name != node_name:
                raise _refused(f"the token is for node {row.node_name!r}", node_name)
            # Counted in the statement itself: of two that come at once one is second.
            if not tx.run(_USE_TOKEN, {"key": row.digest, "used_for": key_digest(key)}):
                raise _refused("the token was used", node_name)
            subject = Subject(Role.AGENT, row.node_name, tuple(row.hosts))
            signed = authority.sign(subject, key, self._lifetime, not_before=not_before(tx, subject))
            _record(tx, describe(signed), authority.pin)
            return signed

        return self._store.write(work).public_bytes(_PEM)

    def renew(self, certificate: Certificate, request_pem: bytes) -> bytes:
        """A certificate for a new key, PEM, with names and life span of the present one.

        Raises:
            InvalidArgumentError: The request is none.
            PermissionDeniedError: CERTIFICATE_REVOKED.
            FailedPreconditionError: NO_AUTHORITY.
        """
        authority = self.authority()
        key = requested_key(request_pem)
        identity = certificate.identity
        if identity is None:
            raise PermissionDeniedError(Reason.UNAUTHENTICATED, "the certificate names no role")

        def work(tx: Transaction) -> x509.Certificate:
            # The server's list is some seconds old; this is the moment to be exact.
            if is_revoked(tx, certificate):
                raise PermissionDeniedError(
                    Reason.CERTIFICATE_REVOKED, f"the certificate of {identity.uri} is revoked", owner=identity.uri
                )
            subject = Subject(identity.role, identity.name, certificate.hosts)
            signed = authority.sign(subject, key, certificate.lifetime, not_before=not_before(tx, subject))
            _record(tx, describe(signed), authority.pin)
            return signed

        return self._store.write(work).public_bytes(_PEM)

    def remember(self, pem: bytes) -> None:
        """Notes a certificate that somebody calls with, unless it is known: those that were issued by hand are not."""
        certificate = read_certificate(pem)
        known = select(CERTIFICATE.c.serial).where(CERTIFICATE.c.serial == certificate.serial)
        if certificate.identity is None or self._store.read(lambda tx: tx.scalar(known)) is not None:
            return
        bundle = self.trust().bundle
        pin = issuer_pin(pem, bundle) if bundle else ""

        def work(tx: Transaction) -> None:
            if tx.scalar(known) is None:
                _record(tx, certificate, pin)

        self._store.write(work)

    def revoke_serial(self, serial: str, by: str) -> None:
        """Makes one certificate count for nothing.

        Raises:
            InvalidArgumentError: It is no serial number.
        """
        if not _SERIAL.fullmatch(serial):
            raise invalid("serial", serial, "is no serial number of 1 to 64 lower-case hex digits")
        self._store.write(lambda tx: revoke_certificate(tx, serial.lstrip("0") or "0", by))

    def revoke_owner(self, role: Role, name: str, by: str) -> None:
        """Makes all certificates that an owner has now count for nothing.

        Raises:
            InvalidArgumentError: The name cannot stand in a certificate.
        """
        Subject(role, name).names()
        self._store.write(lambda tx: revoke_owner(tx, role, name, by))

    def page(self, after: str, count: int) -> list[Listed]:
        """Certificates that have not ended, ascending by serial number, after the one given."""

        def work(tx: Transaction) -> list[Listed]:
            rows = tx.all(CertificateRow, _PAGE, {"after": after, "now": tx.now_us, "count": count})
            revoked = {row.subject: row.before_s for row in tx.all(RevocationRow, _REVOCATIONS)}
            return [
                Listed(
                    row,
                    row.serial in revoked
                    or row.issue_time_us < revoked.get(role_uri(Role(row.role), row.name), 0) * _US,
                )
                for row in rows
            ]

        return self._store.read(work)

    def publish_authorities(self) -> None:
        """Notes the authorities of the directory, for the servers that have not got it."""
        if self._directory is None:
            return
        authority = self.authority()
        known = self.trust()
        if (known.bundle, known.signer) == (authority.bundle, authority.pin):
            return

        def work(tx: Transaction) -> None:
            tx.run(delete(AUTHORITY))
            tx.run(AUTHORITY.insert(), {"id": 1, "bundle": authority.bundle, "signer": authority.pin})

        self._store.write(work)

    def trust(self) -> Trust:
        """What servers are told."""

        def work(tx: Transaction) -> Trust:
            authority = tx.first(AuthorityRow, _BUNDLE)
            rows = tx.all(RevocationRow, _REVOCATIONS)
            revocations = tuple(
                Revocation(uri=row.subject, before_s=row.before_s) if row.before_s else Revocation(serial=row.subject)
                for row in rows
            )
            barred = frozenset(
                each.uri for each in revocations if each.uri and (_newest(tx, each.uri) or 0) < each.before_s * _US
            )
            bundle = authority.bundle if authority is not None else b""
            signer = authority.signer if authority is not None else ""
            text = repr((bundle, signer, revocations, sorted(barred)))
            return Trust(hashlib.sha256(text.encode()).hexdigest(), bundle, revocations, barred, signer)

        return self._store.read(work)

    def prune(self) -> None:
        """Forgets certificates and tokens that ended a week ago."""

        def work(tx: Transaction) -> None:
            before = tx.now_us - _RETENTION_US
            tx.run(delete(CERTIFICATE).where(CERTIFICATE.c.expire_time_us < before))
            tx.run(delete(JOIN_TOKEN).where(JOIN_TOKEN.c.expire_time_us < before))

        self._store.write(work, durable=False)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _refused(why: str, node_name: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        Reason.JOIN_TOKEN_REFUSED,
        f"{why}; make a new one with: brickyard agent token {node_name}",
        node_name=node_name,
    )


def _check_host(field: str, host: str) -> None:
    if not _HOST.fullmatch(host):
        raise invalid(field, host, "is no host name or IP address")


def _record(tx: Transaction, certificate: Certificate, pin: str) -> None:
    if certificate.identity is None:
        return
    row = {
        "serial": certificate.serial,
        "role": certificate.identity.role.value,
        "name": certificate.identity.name,
        "hosts": list(certificate.hosts),
        "issue_time_us": int(certificate.issued.timestamp()) * _US,
        "expire_time_us": int(certificate.expires.timestamp()) * _US,
        "authority_pin": pin,
    }
    tx.run(CERTIFICATE.insert(), row)


def _newest(tx: Transaction, uri: str) -> int | None:
    role, _, name = uri.removeprefix("brickyard://role/").partition("/")
    newest: int | None = tx.scalar(_NEWEST, {"of_role": role, "of_name": name})
    return newest
