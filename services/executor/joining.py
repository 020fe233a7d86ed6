"""How this node's agent gets its first certificate: by a token, without anything else. Effects: network, files.

Nothing is known of the server but the pin of its authority. So the agent first asks, of whoever answers, for the
authorities, which are no secret; it goes on only when one of them has the pin, and has signed the server's certificate.
The token is shown after that, and the key never leaves the node.
"""

import json
import ssl
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from brickyard.topology.v1 import join_service_pb2 as messages
from brickyard.topology.v1.join_service_pb2_grpc import JoinServiceStub
from services.common.addresses import parse_host_port
from services.common.authority import new_request, pin_of
from services.common.certificates import describe, read_certificate
from services.common.channels import call, channel_options
from services.common.credentials import TlsFiles
from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnauthenticatedError,
    UnavailableError,
)
from services.common.identity import Identity, Role, role_hostname
from services.common.reasons import Reason
from services.executor.reading import MALFORMED

_TIMEOUT_S = 15.0
_PIN = "sha256:"
_PIN_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of it.

    Attributes:
        expires: End of the certificate.
        topology: Where it is renewed, "host:port"; empty when the server did not say.
    """

    expires: datetime
    topology: str


def join(
    address: str, *, node_name: str, token: str, pin: str, directory: Path, progress: Callable[[str], None]
) -> Joined:
    """Gets a certificate and writes ca.pem, cert.pem and key.pem.

    Args:
        address: Where agents join, "host:port"; "https://" before it is fine.
        node_name: The node that the token is for.
        token: The token.
        pin: Of the authority, "sha256:HEX".
        directory: Where the files go; made when it is missing. What is there is replaced once all is known to be good.
        progress: Told each step.

    Raises:
        InvalidArgumentError: Address or pin are malformed.
        UnavailableError: Nobody answers there.
        UnauthenticatedError: Whoever answers has not the authority of the pin. It did not see the token.
        BrickyardError: What the server says of the token.
    """
    where = parse_host_port(address.removeprefix("https://").rstrip("/"), field="url")
    host, port, target = where.host, where.port, str(where)
    expected = _checked_pin(pin)
    progress(f"asking {target} for its authority")
    shown = _shown_certificate(host, port)
    with closing(_channel(target, shown)) as channel:
        answer = call(JoinServiceStub(channel).GetAuthorities, messages.GetAuthoritiesRequest(), timeout_s=_TIMEOUT_S)
    authority = _pinned(answer.authorities, expected, target)
    _check_server(shown, authority, target)
    progress("it has the pin; sending token and signing request")
    key, request = new_request()
    with closing(_channel(target, authority.public_bytes(serialization.Encoding.PEM))) as channel:
        granted = call(
            JoinServiceStub(channel).Join,
            messages.JoinRequest(token=token, node_name=node_name, certificate_request=request),
            timeout_s=_TIMEOUT_S,
        )
    certificate = read_certificate(granted.certificate)
    if certificate.identity != Identity(Role.AGENT, node_name):
        raise UnauthenticatedError(Reason.UNAUTHENTICATED, f"{target} gave a certificate of somebody else")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    TlsFiles.in_directory(directory).store(granted.authorities, granted.certificate, key)
    return Joined(certificate.expires, granted.topology_address)


def join_by_file(path: Path, *, node_name: str, directory: Path, progress: Callable[[str], None]) -> Joined | None:
    """Joins by what `brickyard agent token NODE --json` has printed into a file, unless that was done already.

    An agent that has a certificate joins by a file that is newer than it, e.g. after its node was removed and is added
    again. When that does not work, it goes on with the certificate that it has.

    Args:
        path: The file.
        node_name: The node that the token is for.
        directory: See `join`.
        progress: Told each step.

    Returns:
        What came of it; None when the certificate stays as it is.

    Raises:
        FailedPreconditionError: There is no good certificate, and no such file, or something else is in it.
        BrickyardError: There is no good certificate, and see `join`.
    """
    files = TlsFiles.in_directory(directory)
    expires = _good_until(files, node_name)
    if expires is not None and not _is_newer(path, files.certificate):
        return None
    try:
        address, token, pin = _read_join_file(path, node_name)
        return join(address, node_name=node_name, token=token, pin=pin, directory=directory, progress=progress)
    except BrickyardError as error:
        if expires is None:
            raise
        progress(f"not joined by {path}: {error.message}; going on with the certificate until {expires.isoformat()}")
        return None


def _good_until(files: TlsFiles, node_name: str) -> datetime | None:
    """The end of the node's certificate; None when it has no good one."""
    try:
        certificate = read_certificate(files.read()[1])
    except FailedPreconditionError:
        return None
    good = certificate.identity == Identity(Role.AGENT, node_name) and certificate.expires > datetime.now(UTC)
    return certificate.expires if good else None


def _is_newer(path: Path, other: Path) -> bool:
    try:
        return path.stat().st_mtime_ns > other.stat().st_mtime_ns
    except OSError:
        return False


def _read_join_file(path: Path, node_name: str) -> tuple[str, str, str]:
    """Address, token and pin."""
    command = f"brickyard agent token {node_name} --json"
    try:
        found = json.loads(path.read_bytes())
        address, token, pin = found["join_address"], found["token"], found["authority_pin"]
    except OSError as error:
        raise FailedPreconditionError(
            Reason.UNAUTHENTICATED,
            f"this node has no good certificate, and {path} to join by cannot be read: {error.strerror}; make it with: "
            f"{command} >{path.name}",
            path=path,
        ) from error
    except MALFORMED as error:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT, f"{path} is not what `{command}` prints: {error!r}", path=path
        ) from error
    return str(address), str(token), str(pin)


def _checked_pin(pin: str) -> str:
    digits = pin.lower().removeprefix(_PIN).replace(":", "")
    if len(digits) != _PIN_LENGTH or not all(each in "0123456789abcdef" for each in digits):
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT, f"{pin!r} is no pin: it is sha256: and {_PIN_LENGTH} hex digits", field="ca_pin"
        )
    return f"{_PIN}{digits}"


def _shown_certificate(host: str, port: int) -> bytes:
    """The certificate that the server shows, not checked yet, as PEM."""
    try:
        return ssl.get_server_certificate((host.strip("[]"), port), timeout=_TIMEOUT_S).encode()
    except (OSError, ValueError) as error:
        raise UnavailableError(
            Reason.UNAVAILABLE,
            f"nobody takes joins at {host}:{port}: {error}; does the topology run with --join-listen?",
            address=f"{host}:{port}",
        ) from error


def _channel(target: str, trusted: bytes) -> grpc.Channel:
    return grpc.secure_channel(
        target,
        grpc.ssl_channel_credentials(root_certificates=trusted),
        options=channel_options(role_hostname(Role.TOPOLOGY)),
    )


def _pinned(bundle: bytes, pin: str, target: str) -> x509.Certificate:
    try:
        offered = x509.load_pem_x509_certificates(bundle)
    except ValueError as error:
        raise UnauthenticatedError(Reason.UNAUTHENTICATED, f"{target} shows no authority: {error}") from error
    for each in offered:
        if pin_of(each) == pin:
            return each
    raise UnauthenticatedError(
        Reason.UNAUTHENTICATED,
        f"{target} has another authority ({', '.join(map(pin_of, offered))}) than the pin {pin}: this is not the "
        "Brickyard that made the token, or somebody is in between. The token was not sent",
        address=target,
    )


def _check_server(shown: bytes, authority: x509.Certificate, target: str) -> None:
    leaf = x509.load_pem_x509_certificate(shown)
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise UnauthenticatedError(
            Reason.UNAUTHENTICATED,
            f"the certificate of {target} is not signed by the authority of the pin; the token was not sent",
            address=target,
        ) from error
    identity = describe(leaf).identity
    if identity is None or identity.role is not Role.TOPOLOGY:
        raise UnauthenticatedError(
            Reason.UNAUTHENTICATED, f"{target} is no topology; the token was not sent", address=target
        )


def read_token(file: str | None, given: str | None) -> str:
    """The token from a file, "-" for stdin, or as it was given.

    Raises:
        FailedPreconditionError: The file cannot be read.
    """
    if file is None:
        return (given or "").strip()
    try:
        # Not every small system has /dev/stdin.
        return (sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT, f"cannot read the token from {file}: {error}", field="token_file"
        ) from error
