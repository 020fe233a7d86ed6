"""The certificate authority: its files, its change of keys, and the certificates that it signs. Effects: files.

The directory holds ca.pem, all certificates that are trusted, and ca-key.pem, the key that signs; the certificate of
that key is one of those in ca.pem. While the authority is being changed there is next-key.pem too, which does not sign
yet. So each step of a change is the replacement of one file.
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.common.certificates import CLOCK_SKEW, UNCERTIFIED
from services.common.credentials import TlsFiles
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.files import replace_file
from services.common.identity import Role, role_hostname, role_uri
from services.common.reasons import Reason

AUTHORITY_LIFETIME = timedelta(days=3650)
CERTIFICATE_LIFETIME = timedelta(days=365)
_LEAST_RSA_BITS = 2048
_PEM = serialization.Encoding.PEM
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate names.

    Attributes:
        role: What the process is; LOCAL and STRANGER are refused, they need no certificate.
        name: Its name: for an agent the node's management host name.
        hosts: Host names and IP addresses under which the process is reached.
    """

    role: Role
    name: str
    hosts: tuple[str, ...] = ()

    def names(self) -> list[x509.GeneralName]:
        """The names in the certificate.

        Raises:
            InvalidArgumentError: One cannot stand there.
        """
        if self.role in UNCERTIFIED or not self.name or "/" in self.name or not self.name.isascii():
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT,
                f"no certificate for role {self.role.value!r} and name {self.name!r}",
                role=self.role.value,
                name=self.name,
            )
        return [
            x509.UniformResourceIdentifier(role_uri(self.role, self.name)),
            x509.DNSName(role_hostname(self.role)),
            *(_general_name(host) for host in self.hosts),
        ]


def pin_of(certificate: x509.Certificate) -> str:
    """The pin of an authority: SHA-256 of its public key (SubjectPublicKeyInfo), as "sha256:HEX"."""
    return f"sha256:{key_digest(certificate.public_key())}"


def issuer_pin(certificate: bytes, bundle: bytes) -> str:
    """The pin of the authority, of those in `bundle`, that has signed a certificate; empty when none of them has.

    Raises:
        ValueError: One is no PEM.
    """
    leaf = x509.load_pem_x509_certificate(certificate)
    for each in x509.load_pem_x509_certificates(bundle):
        try:
            leaf.verify_directly_issued_by(each)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return pin_of(each)
    return ""


def key_digest(key: Any) -> str:
    """SHA-256 of a public key's SubjectPublicKeyInfo, as hex digits."""
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


class Authority:
    """The authority in a directory, as its files are now.

    Args:
        directory: Directory of `create_authority`.

    Raises:
        FailedPreconditionError: There is none, or its files do not belong together.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            self.bundle = (directory / "ca.pem").read_bytes()
            trusted = x509.load_pem_x509_certificates(self.bundle)
            key = serialization.load_pem_private_key((directory / "ca-key.pem").read_bytes(), password=None)
        except OSError as error:
            raise FailedPreconditionError(
                Reason.NO_AUTHORITY,
                f"no certificate authority in {directory}: {error.strerror}; make one with: brickyard ca init",
                directory=directory,
            ) from error
        except ValueError as error:
            raise FailedPreconditionError(
                Reason.NO_AUTHORITY, f"the authority in {directory} is no usable PEM: {error}", directory=directory
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise FailedPreconditionError(
                Reason.NO_AUTHORITY, f"the authority key in {directory} is not an EC key", directory=directory
            )
        mine = key_digest(key.public_key())
        own = [each for each in trusted if key_digest(each.public_key()) == mine]
        if not own:
            raise FailedPreconditionError(
                Reason.NO_AUTHORITY,
                f"{directory}/ca.pem has no certificate of the key in ca-key.pem; restore both from one backup",
                directory=directory,
            )
        self._key = key
        self.certificate = own[0]
        self.trusted = tuple(trusted)

    @property
    def pin(self) -> str:
        """Of the certificate that signs."""
        return pin_of(self.certificate)

    def sign(
        self, subject: Subject, key: PublicKey, lifetime: timedelta, *, not_before: datetime | None = None
    ) -> x509.Certificate:
        """A certificate for a process.

        Args:
            subject: Whom it names.
            key: Its public key.
            lifetime: How long it is valid.
            not_before: When it begins to count, unless that is past; other clocks may be behind by CLOCK_SKEW.

        Raises:
            InvalidArgumentError: A name cannot stand in a certificate.
        """
        now = datetime.now(UTC)
        begin = max(now, not_before) if not_before is not None else now
        return (
            x509.CertificateBuilder()
            .subject_name(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{subject.role.value} {subject.name or '-'}"[:64])])
            )
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin - CLOCK_SKEW)
            .not_valid_after(begin + lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(subject.names()), critical=False)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


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
    key, certificate = _new_authority()
    replace_file(key_path, encode_key(key), mode=0o600)
    replace_file(certificate_path, certificate.public_bytes(_PEM))
    return certificate_path


def add_successor(directory: Path) -> Authority:
    """First step of a change: a new authority that is trusted beside the present one, which still signs.

    Raises:
        FailedPreconditionError: There is no authority, or a change is under way.
    """
    authority = Authority(directory)
    if (directory / "next-key.pem").exists() or len(authority.trusted) > 1:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT,
            f"a change of the authority in {directory} is under way; go on with brickyard ca rotate --activate, or end "
            "it with brickyard ca retire",
            directory=directory,
        )
    key, certificate = _new_authority()
    replace_file(directory / "ca.pem", authority.bundle.rstrip() + b"\n" + certificate.public_bytes(_PEM))
    replace_file(directory / "next-key.pem", encode_key(key), mode=0o600)
    return Authority(directory)


def activate_successor(directory: Path) -> Authority:
    """Second step: the new authority signs; the old key is gone, and what it has signed is trusted still.

    Raises:
        FailedPreconditionError: There is no successor.
    """
    Authority(directory)
    successor = directory / "next-key.pem"
    if not successor.exists():
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT,
            f"there is no successor in {directory}; make one with: brickyard ca rotate --dir {directory}",
            directory=directory,
        )
    successor.rename(directory / "ca-key.pem")
    return Authority(directory)


def drop_predecessors(directory: Path) -> Authority:
    """Last step: only the authority that signs is trusted; certificates of others are refused from now on.

    Raises:
        FailedPreconditionError: There is nothing to drop, or the successor does not sign yet.
    """
    authority = Authority(directory)
    if (directory / "next-key.pem").exists() or len(authority.trusted) == 1:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT,
            f"the authority in {directory} has no predecessor to retire; the order is: brickyard ca rotate, "
            "then --activate, then brickyard ca retire",
            directory=directory,
        )
    replace_file(directory / "ca.pem", authority.certificate.public_bytes(_PEM))
    return Authority(directory)


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
        role: See Subject.
        name: See Subject.
        hosts: See Subject.
        lifetime: How long it is valid.

    Raises:
        InvalidArgumentError: The role or the name cannot stand in a certificate.
        FailedPreconditionError: There is no authority in `authority`.
    """
    signer = Authority(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = signer.sign(Subject(role, name, tuple(hosts)), key.public_key(), lifetime)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = TlsFiles.in_directory(target)
    files.store(signer.bundle, certificate.public_bytes(_PEM), encode_key(key))
    return files


def requested_key(request_pem: bytes) -> PublicKey:
    """The public key of a certificate signing request, whose other contents do not count.

    Raises:
        InvalidArgumentError: It is none, its signature is wrong, or the key is of a weak or unknown kind.
    """
    try:
        request = x509.load_pem_x509_csr(request_pem)
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError) as error:
        raise _bad_request(f"no signing request: {error}") from error
    except Exception as error:  # UnsupportedAlgorithm and the like are of the library's own making
        raise _bad_request(f"no usable signing request: {type(error).__name__}") from error
    if not signed:
        raise _bad_request("the request is not signed by its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise _bad_request("the key must be EC P-256 or P-384, Ed25519, or RSA of 2048 bits or more")


def _bad_request(why: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, f"certificate_request: {why}", field="certificate_request")


def new_request() -> tuple[bytes, bytes]:
    """A fresh key, and a signing request for it, both as PEM; the request names nobody, the signer knows who asks."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return encode_key(key), request.public_bytes(_PEM)


def encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, not encrypted."""
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _new_authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two authorities are trusted for a time; their names tell them apart in other programs' messages.
    short = key_digest(key.public_key())[:8]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Brickyard CA {short}")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not host or not host.isascii() or any(letter.isspace() or letter == "/" for letter in host):
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT, f"hosts: {host!r} is no host name or IP address", field="hosts", value=host
        )
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
