"""TLS: the certificate authority, the certificates that it issues, and gRPC credentials from files. Effects: files."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.identity import Role, role_hostname, role_uri
from services.common.reasons import Reason

# Clocks of nodes differ a little; a certificate is valid from a bit before it was made.
_CLOCK_SKEW = timedelta(minutes=5)
AUTHORITY_LIFETIME = timedelta(days=3650)
CERTIFICATE_LIFETIME = timedelta(days=365)


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

    def read(self) -> tuple[bytes, bytes, bytes]:
        """The contents: CA, certificate chain, key.

        Raises:
            FailedPreconditionError: A file is missing or unreadable; names it and what to do.
        """
        contents = []
        for path in (self.ca, self.certificate, self.key):
            try:
                contents.append(path.read_bytes())
            except OSError as error:
                raise FailedPreconditionError(
                    Reason.UNAUTHENTICATED,
                    f"cannot read TLS file {path}: {error.strerror}; make it with: brickyard ca issue",
                    path=path,
                ) from error
        self._check_forms(contents)
        return contents[0], contents[1], contents[2]

    def _check_forms(self, contents: list[bytes]) -> None:
        """GRPC's own complaint names neither the file nor what is wrong with it."""
        loaders = (x509.load_pem_x509_certificates, x509.load_pem_x509_certificates, _load_key)
        for path, content, load in zip((self.ca, self.certificate, self.key), contents, loaders, strict=True):
            try:
                load(content)
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                raise FailedPreconditionError(
                    Reason.UNAUTHENTICATED,
                    f"TLS file {path} is no usable PEM file: {error}; make it anew with: brickyard ca issue",
                    path=path,
                ) from error


def _load_key(content: bytes) -> object:
    return serialization.load_pem_private_key(content, password=None)


def create_authority(directory: Path) -> Path:
    """Makes a certificate authority in `directory`: ca.pem and the private ca-key.pem. Returns the path of ca.pem.

    Raises:
        FailedPreconditionError: The directory holds an authority already; it is never replaced.
    """
    certificate_path, key_path = directory / "ca.pem", directory / "ca-key.pem"
    if certificate_path.exists() or key_path.exists():
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT, f"{directory} holds a certificate authority already", directory=directory
        )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Brickyard CA")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_path, key)
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_path


def issue_certificate(
    authority: Path,
    target: Path,
    *,
    role: Role,
    name: str,
    hosts: Iterable[str] = (),
    lifetime: timedelta = CERTIFICATE_LIFETIME,
) -> TlsFiles:
    """Issues a certificate for one process and writes ca.pem, cert.pem and key.pem into `target`.

    Args:
        authority: Directory of `create_authority`.
        target: Directory for the files; made when it is missing.
        role: What the process is; LOCAL is refused, it needs no certificate.
        name: Its name: for an agent the node's management host name.
        hosts: Host names and IP addresses under which the process is reached.
        lifetime: How long it is valid.

    Raises:
        InvalidArgumentError: The role or the name cannot stand in a certificate.
        FailedPreconditionError: There is no authority in `authority`.
    """
    if role is Role.LOCAL or not name or "/" in name:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT, f"no certificate for role {role.value!r} and name {name!r}", role=role, name=name
        )
    authority_certificate, authority_key = _read_authority(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(role_uri(role, name)),
        x509.DNSName(role_hostname(role)),
        *(_general_name(host) for host in hosts),
    ]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{role.value} {name}"[:64])]))
        .issuer_name(authority_certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = TlsFiles.in_directory(target)
    files.ca.write_bytes((authority / "ca.pem").read_bytes())
    _write_key(files.key, key)
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return files


def _read_authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((directory / "ca-key.pem").read_bytes(), password=None)
    except OSError as error:
        raise FailedPreconditionError(
            Reason.UNAUTHENTICATED,
            f"no certificate authority in {directory}: {error.strerror}; make one with: brickyard ca init",
            directory=directory,
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FailedPreconditionError(
            Reason.UNAUTHENTICATED, f"the authority key in {directory} is not an EC key", directory=directory
        )
    return certificate, key


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Mutual TLS for a server: a client without a certificate of the same authority is refused."""
    ca, certificate, key = files.read()
    return grpc.ssl_server_credentials([(key, certificate)], root_certificates=ca, require_client_auth=True)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Mutual TLS for a client."""
    ca, certificate, key = files.read()
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)
