"""Keeps a process's identity: renews its certificate, follows the authorities, learns what is revoked. Effects: files.

It only writes files; servers and channels look at those by themselves, and no call is dropped.
"""

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Protocol

import grpc

from services.common.authority import issuer_pin, new_request
from services.common.certificates import read_certificate
from services.common.channels import call, open_channel
from services.common.credentials import TlsFiles
from services.common.errors import BrickyardError, FailedPreconditionError
from services.common.files import replace_file
from services.common.identity import Role
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.common.settings import ServerSettings
from services.common.trust import Revocation, Trust, TrustList, decode, encode

_log = get_logger()
_REVOKED = "revoked.json"


class Registrar(Protocol):
    """Who signs and tells."""

    def renew(self, request_pem: bytes) -> bytes:
        """A new certificate for the key of a signing request, with the names of the present one; PEM.

        Raises:
            BrickyardError: It cannot, now or at all.
        """

    def trust(self, known_version: str) -> Trust | None:
        """What is trusted; None when that is what is known.

        Raises:
            BrickyardError: It cannot tell now.
        """

    def close(self) -> None:
        """Ends the connection."""


class RemoteRegistrar:
    """The topology's IdentityService.

    Args:
        address: Of the topology.
        tls: Of this process.
        messages: The module of the contract's messages, brickyard.topology.v1.identity_service_pb2: what is common
            knows no service, so its user brings them.
        service: The module of its stub.
    """

    def __init__(self, address: str, tls: TlsFiles, messages: ModuleType, service: ModuleType) -> None:
        self._channel: grpc.Channel = open_channel(address, tls, role=Role.TOPOLOGY)
        self._messages: Any = messages
        self._stub: Any = service.IdentityServiceStub(self._channel)

    def renew(self, request_pem: bytes) -> bytes:
        """See Registrar.renew."""
        request = self._messages.RenewCertificateRequest(certificate_request=request_pem)
        certificate: bytes = call(self._stub.RenewCertificate, request).certificate
        return certificate

    def trust(self, known_version: str) -> Trust | None:
        """See Registrar.trust."""
        answer = call(self._stub.GetTrust, self._messages.GetTrustRequest(known_version=known_version))
        return None if answer.version == known_version else trust_of(answer)

    def close(self) -> None:
        """See Registrar.close."""
        self._channel.close()


def trust_of(answer: Any) -> Trust:
    """A GetTrustResponse in our words."""
    return Trust(
        version=answer.version,
        bundle=answer.authorities,
        revocations=tuple(
            Revocation(serial=each.serial, uri=each.owner_uri, before_s=each.issued_before.seconds)
            for each in answer.revocations
        ),
        barred=frozenset(answer.barred_owner_uris),
        signer=answer.signing_authority_pin,
    )


class IdentityKeeper:
    """Works in a thread of its own from `start` to `stop`.

    Args:
        files: The process's certificate.
        registrar: Who signs and tells.
        trust: What its servers look at.
        poll_s: How often it asks.
        clock: The time now.
    """

    def __init__(
        self,
        files: TlsFiles,
        registrar: Registrar,
        trust: TrustList,
        *,
        poll_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._files = files
        self._registrar = registrar
        self._trust = trust
        self._poll_s = poll_s
        self._clock = clock
        self._stopping = threading.Event()
        self._complaint = ""
        self._unsaved: Trust | None = None
        self._thread = threading.Thread(target=self._run, name="identity", daemon=True)
        self._recall()

    def start(self) -> "IdentityKeeper":
        """Begins; returns itself."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends, within a call's time."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._registrar.close()

    def _run(self) -> None:
        while True:
            self.look()
            if self._stopping.wait(self._poll_s):
                return

    def look(self) -> None:
        """One round: what is trusted, and whether the certificate is due. Failures are logged; the next round comes."""
        try:
            self._follow()
            self._renew_if_due()
        except BrickyardError as error:
            self._complain(error.message)
        except OSError as error:
            self._complain(f"cannot write beside {self._files.certificate}: {error}")
        except ValueError as error:
            self._complain(f"the topology's answer holds no certificate: {error}")
        else:
            self._complaint = ""

    def _complain(self, message: str) -> None:
        if message != self._complaint:
            self._complaint = message
            _log.warning("identity.not_kept", error=message, expires=self._expires())

    def _expires(self) -> str:
        try:
            return read_certificate(self._files.read()[1]).expires.isoformat()
        except FailedPreconditionError as error:
            return error.message

    def _recall(self) -> None:
        """What was revoked when this process ended last: the topology may be away now."""
        path = self._files.ca.with_name(_REVOKED)
        try:
            self._trust.replace(decode(path.read_bytes()))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise FailedPreconditionError(
                Reason.UNAUTHENTICATED, f"cannot use {path}: {error}; remove it, it is made anew", path=path
            ) from error

    def _follow(self) -> None:
        trust = self._registrar.trust(self._trust.version)
        if trust is not None:
            # It counts at once; that it outlives the process comes second, and is tried again when it fails.
            self._trust.replace(trust)
            self._unsaved = trust
        if self._unsaved is not None:
            self._save(self._unsaved)
            self._unsaved = None

    def _save(self, trust: Trust) -> None:
        if trust.bundle and trust.bundle != self._files.ca.read_bytes():
            self._files.store_authority(trust.bundle)
            _log.info("identity.authorities_changed")
        path = self._files.ca.with_name(_REVOKED)
        if trust.revocations or path.exists():
            replace_file(path, encode(trust))

    def _is_due(self) -> bool:
        bundle, certificate, _ = self._files.read()
        if self._clock() >= read_certificate(certificate).renewal:
            return True
        signer = self._trust.trust.signer
        # The authority has changed: a certificate of the one before will not be good for long.
        return signer != "" and issuer_pin(certificate, bundle) not in {signer, ""}

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        """Holds the lock of the directory."""
        with self._files.key.with_name(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _renew_if_due(self) -> None:
        if not self._is_due():
            return
        with self._only_one():
            # Another process with the same files may have renewed it while this one waited.
            if not self._is_due():
                return
            before = read_certificate(self._files.read()[1])
            key, request = new_request()
            self._files.keep_next_key(key)
            certificate = self._registrar.renew(request)
            after = read_certificate(certificate)
            self._files.store_certificate(certificate)
        _log.info("identity.renewed", serial=after.serial, before=before.serial, expires=after.expires.isoformat())


def keep_identity(
    settings: ServerSettings, topology: str, trust: TrustList, messages: ModuleType, service: ModuleType
) -> IdentityKeeper | None:
    """Starts to keep the identity of a server with the topology; None where it has no certificate that could be kept.

    Args:
        settings: Of the server.
        topology: Address of the topology; empty, or a Unix socket, which knows no callers = nobody to ask.
        trust: What the server looks at.
        messages: See RemoteRegistrar.
        service: See RemoteRegistrar.

    Raises:
        FailedPreconditionError: The certificate's files cannot be used.
    """
    if settings.tls is None or not topology or topology.startswith("unix:"):
        return None
    registrar = RemoteRegistrar(topology, settings.tls, messages, service)
    return IdentityKeeper(settings.tls, registrar, trust, poll_s=settings.identity_poll_s).start()
