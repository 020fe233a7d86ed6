"""TLS: the files of a process, and gRPC credentials that follow them as they are renewed. Effects: files."""

import threading
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from services.common.errors import FailedPreconditionError
from services.common.files import replace_file
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
_REMEDY = "make it anew with: brickyard ca issue, or, for an agent, brickyard-agent join"
_MAKE = "make it with: brickyard ca issue, or, for an agent, brickyard-agent join"
Contents = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of the PEM files of one process: whom it trusts, who it is, and its key."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def in_directory(cls, directory: Path) -> "TlsFiles":
        """The three files under their usual names: ca.pem, cert.pem, key.pem."""
        return cls(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")

    @property
    def next_key(self) -> Path:
        """The key of a certificate that is asked for; of cert.pem already, when a renewal broke off at its end."""
        return self.key.with_name(f"next-{self.key.name}")

    def read(self) -> Contents:
        """The contents: CA, certificate chain, and the key that belongs to it.

        Raises:
            FailedPreconditionError: A file is missing, unreadable or of another certificate; names it and what to do.
        """
        while True:
            before = self.stamp()
            found = self._read_pair()
            if found is not None:
                return found
            # A renewal may have come in between: one file is of before it then, another of afterwards.
            if self.stamp() == before:
                raise FailedPreconditionError(
                    Reason.UNAUTHENTICATED,
                    f"{self.key} is not the key of {self.certificate}; {_REMEDY}",
                    path=self.key,
                )

    def _read_pair(self) -> Contents | None:
        """The contents; None when the key is not the certificate's."""
        ca, certificate, key = (_read(path) for path in (self.ca, self.certificate, self.key))
        self._check_forms([ca, certificate, key])
        if _belongs(certificate, key):
            return ca, certificate, key
        try:
            following = self.next_key.read_bytes()
        except FileNotFoundError:
            return None
        return (ca, certificate, following) if _belongs(certificate, following) else None

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Another value once one of the files is another one."""
        found = []
        for path in (self.ca, self.certificate, self.key):
            try:
                status = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def keep_next_key(self, key: bytes) -> None:
        """Notes the key of a certificate that is about to be asked for; ends a renewal that broke off at its end."""
        broken_off = self.next_key.exists() and self.certificate.exists()
        if broken_off and _belongs(self.certificate.read_bytes(), self.next_key.read_bytes()):
            self.next_key.rename(self.key)
        replace_file(self.next_key, key, mode=0o600)

    def store_certificate(self, certificate: bytes) -> None:
        """Puts the certificate of the noted key in place, and the key; whoever reads meanwhile gets a pair."""
        replace_file(self.certificate, certificate)
        self.next_key.rename(self.key)

    def store_authority(self, bundle: bytes) -> None:
        """Replaces the authorities that are trusted."""
        replace_file(self.ca, bundle)

    def store(self, bundle: bytes, certificate: bytes, key: bytes) -> None:
        """Puts all three in place."""
        self.keep_next_key(key)
        self.store_authority(bundle)
        self.store_certificate(certificate)

    def _check_forms(self, contents: list[bytes]) -> None:
        """GRPC's own complaint names neither the file nor what is wrong with it."""
        loaders = (x509.load_pem_x509_certificates, x509.load_pem_x509_certificates, _load_key)
        for path, content, load in zip((self.ca, self.certificate, self.key), contents, loaders, strict=True):
            try:
                load(content)
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                raise FailedPreconditionError(
                    Reason.UNAUTHENTICATED, f"TLS file {path} is no usable PEM file: {error}; {_REMEDY}", path=path
                ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailedPreconditionError(
            Reason.UNAUTHENTICATED, f"cannot read TLS file {path}: {error.strerror}; {_MAKE}", path=path
        ) from error


def _load_key(content: bytes) -> object:
    return serialization.load_pem_private_key(content, password=None)


def _belongs(chain: bytes, key: bytes) -> bool:
    public = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    leaf = x509.load_pem_x509_certificates(chain)[0].public_key()
    own = serialization.load_pem_private_key(key, password=None).public_key()
    return leaf.public_bytes(*public) == own.public_bytes(*public)


class LiveFiles:
    """The contents of TLS files as they are now; while they cannot be read, those of before."""

    def __init__(self, files: TlsFiles) -> None:
        """Reads them once. Raises FailedPreconditionError as TlsFiles.read does."""
        self.files = files
        self._lock = threading.Lock()
        self._stamp = files.stamp()
        self.contents = files.read()

    def refresh(self) -> bool:
        """Reads them again if one has changed; tells whether the contents are others now."""
        with self._lock:
            stamp = self.files.stamp()
            if stamp == self._stamp:
                return False
            try:
                contents = self.files.read()
            except FailedPreconditionError as error:
                _log.warning("credentials.unreadable", error=error.message)
                return False
            self._stamp = stamp
            changed = contents != self.contents
            self.contents = contents
            return changed


def server_credentials(files: TlsFiles, *, strangers: bool = False) -> grpc.ServerCredentials:
    """TLS for a server; each new connection gets the certificate, and is measured by the authorities, of that moment.

    Args:
        files: Of the process.
        strangers: Whether clients need no certificate. Otherwise one that has none of the same authority is refused.

    Raises:
        FailedPreconditionError: The files cannot be used.
    """
    live = LiveFiles(files)

    def configuration() -> grpc.ServerCertificateConfiguration:
        ca, certificate, key = live.contents
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], root_certificates=None if strangers else ca
        )

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        return configuration() if live.refresh() else None

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        fetch,  # type: ignore[arg-type]  # None means that nothing has changed; the stubs do not know it
        require_client_authentication=not strangers,
    )


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Mutual TLS for a client, with the files of this moment."""
    ca, certificate, key = files.read()
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)
