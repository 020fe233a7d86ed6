"""The gRPC face of tokens and certificates, and the one of joining: translates, decides nothing."""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from typing import Any

import grpc

from brickyard.topology.v1 import (
    identity_pb2,
    identity_service_pb2,
    identity_service_pb2_grpc,
    join_service_pb2,
    join_service_pb2_grpc,
)
from services.common.context import caller
from services.common.errors import InvalidArgumentError, PermissionDeniedError, ResourceExhaustedError
from services.common.identity import Role
from services.common.interceptors import shown_certificate, shown_pem
from services.common.logs import audit
from services.common.pagination import decode_page_token, encode_page_token, page_size
from services.common.reasons import Reason
from services.common.trust import Trust, TrustList
from services.topology.domain.checks import invalid
from services.topology.usecases.identities import TOKEN_LIFETIME, Identities, Listed

_PAGE = {"default": 100, "maximum": 1000}
_ROLES: dict[int, Role] = {
    identity_pb2.IdentityRole.Value(f"IDENTITY_ROLE_{role.name}"): role
    for role in (Role.TOPOLOGY, Role.ALLOCATOR, Role.GATEWAY, Role.AGENT, Role.OPERATOR)
}
_NUMBERS: dict[Role, Any] = {role: number for number, role in _ROLES.items()}
_US = 1_000_000
# Asking peers, each a bucket of calls that fills up again; a token of 256 bits needs no more against guessing.
_BURST = 10.0
_PER_SECOND = 1.0
_MOST_PEERS = 1024


def _who() -> str:
    identity = caller()
    return identity.uri if identity is not None else "nobody"


class IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """IdentityService. Domain errors go to the interceptor.

    Args:
        identities: The use cases.
        trust: What this process's own servers look at.
        join_address: Where agents join; empty = nowhere.
    """

    def __init__(self, identities: Identities, trust: TrustList, join_address: str) -> None:
        self._identities = identities
        self._trust = trust
        self.join_address = join_address
        self._remembered: set[str] = set()

    def CreateJoinToken(
        self, request: identity_service_pb2.CreateJoinTokenRequest, context: grpc.ServicerContext
    ) -> identity_service_pb2.CreateJoinTokenResponse:
        """Makes a token."""
        del context
        lifetime = (
            timedelta(microseconds=request.lifetime.ToMicroseconds())
            if request.HasField("lifetime")
            else TOKEN_LIFETIME
        )
        token = self._identities.create_token(request.node_name, request.hosts, lifetime)
        audit("identity.token_made", caller=_who(), node_name=request.node_name, hosts=list(request.hosts))
        made = identity_service_pb2.CreateJoinTokenResponse(
            token=token.text, authority_pin=token.pin, join_address=self.join_address
        )
        made.expire_time.FromDatetime(token.expires)
        return made

    def RenewCertificate(
        self, request: identity_service_pb2.RenewCertificateRequest, context: grpc.ServicerContext
    ) -> identity_service_pb2.RenewCertificateResponse:
        """Signs a new key of the caller."""
        certificate = shown_certificate(context)
        if certificate is None:
            raise PermissionDeniedError(Reason.UNAUTHENTICATED, "a caller without a certificate has none to renew")
        renewed = self._identities.renew(certificate, request.certificate_request)
        audit("identity.renewed", caller=_who(), before=certificate.serial)
        return identity_service_pb2.RenewCertificateResponse(certificate=renewed)

    def RevokeCertificates(
        self, request: identity_service_pb2.RevokeCertificatesRequest, context: grpc.ServicerContext
    ) -> identity_service_pb2.RevokeCertificatesResponse:
        """Makes certificates count for nothing."""
        del context
        target = request.WhichOneof("target")
        if target is None:
            raise invalid("target", "", "must be serial or owner")
        if target == "serial":
            self._identities.revoke_serial(request.serial, _who())
            audit("identity.revoked", caller=_who(), serial=request.serial)
        else:
            role = _role(request.owner.role)
            self._identities.revoke_owner(role, request.owner.name, _who())
            audit("identity.revoked", caller=_who(), role=role.value, name=request.owner.name)
        # This server knows it at once; others ask within seconds.
        self._trust.replace(self._identities.trust())
        return identity_service_pb2.RevokeCertificatesResponse()

    def ListCertificates(
        self, request: identity_service_pb2.ListCertificatesRequest, context: grpc.ServicerContext
    ) -> identity_service_pb2.ListCertificatesResponse:
        """Certificates that have not ended."""
        del context
        count = page_size(request.page_size, **_PAGE)
        page = self._identities.page(decode_page_token(request.page_token), count)
        token = encode_page_token(page[-1].row.serial) if len(page) == count else ""
        return identity_service_pb2.ListCertificatesResponse(
            certificates=[_certificate(each) for each in page], next_page_token=token
        )

    def GetTrust(
        self, request: identity_service_pb2.GetTrustRequest, context: grpc.ServicerContext
    ) -> identity_service_pb2.GetTrustResponse:
        """What is trusted."""
        self._remember(context)
        trust = self._trust.trust if self._trust.version else self._identities.trust()
        if trust.version == request.known_version:
            return identity_service_pb2.GetTrustResponse(version=trust.version)
        return _trust(trust)

    def _remember(self, context: grpc.ServicerContext) -> None:
        """Notes the caller's certificate, once."""
        certificate = shown_certificate(context)
        if certificate is None or certificate.serial in self._remembered:
            return
        self._identities.remember(shown_pem(context))
        self._remembered.add(certificate.serial)


def _role(number: int) -> Role:
    role = _ROLES.get(number)
    if role is None:
        raise InvalidArgumentError(Reason.INVALID_ARGUMENT, f"owner.role: {number} is none", field="owner.role")
    return role


def _certificate(listed: Listed) -> identity_pb2.IssuedCertificate:
    row = listed.row
    found = identity_pb2.IssuedCertificate(
        serial=row.serial,
        role=_NUMBERS[Role(row.role)],
        name=row.name,
        hosts=row.hosts,
        authority_pin=row.authority_pin,
        revoked=listed.revoked,
    )
    found.issue_time.FromMicroseconds(row.issue_time_us)
    found.expire_time.FromMicroseconds(row.expire_time_us)
    return found


def _trust(trust: Trust) -> identity_service_pb2.GetTrustResponse:
    answer = identity_service_pb2.GetTrustResponse(
        version=trust.version,
        authorities=trust.bundle,
        barred_owner_uris=sorted(trust.barred),
        signing_authority_pin=trust.signer,
    )
    for each in trust.revocations:
        told = answer.revocations.add(serial=each.serial, owner_uri=each.uri)
        if each.uri:
            told.issued_before.FromSeconds(each.before_s)
    return answer


class RateLimit:
    """A bucket of calls for each peer.

    Args:
        clock: Seconds.
        burst: Calls at once.
        per_second: How fast the bucket fills up again.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        burst: float = _BURST,
        per_second: float = _PER_SECOND,
    ) -> None:
        self._clock = clock
        self._burst = burst
        self._per_second = per_second
        self._lock = Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, peer: str) -> None:
        """Counts a call of a peer, "ipv4:ADDRESS:PORT" or the like; the port does not count.

        Raises:
            ResourceExhaustedError: RATE_LIMITED.
        """
        host = peer.rpartition(":")[0]
        now = self._clock()
        with self._lock:
            left, since = self._buckets.pop(host, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_second)
            allowed = left >= 1
            self._buckets[host] = (left - 1 if allowed else left, now)
            if len(self._buckets) > _MOST_PEERS:
                self._buckets.popitem(last=False)
        if not allowed:
            raise ResourceExhaustedError(
                Reason.RATE_LIMITED, f"too many calls from {host}; wait some seconds", peer=host
            )


class JoinServicer(join_service_pb2_grpc.JoinServiceServicer):
    """JoinService: for callers without a certificate.

    Args:
        identities: The use cases.
        topology_address: Where certificates are renewed, "host:port"; empty = not told.
        limit: How often a peer may ask.
    """

    def __init__(self, identities: Identities, topology_address: str, limit: RateLimit | None = None) -> None:
        self._identities = identities
        self._topology_address = topology_address
        self._limit = limit or RateLimit()

    def GetAuthorities(
        self, request: join_service_pb2.GetAuthoritiesRequest, context: grpc.ServicerContext
    ) -> join_service_pb2.GetAuthoritiesResponse:
        """The authorities."""
        del request
        self._limit.take(context.peer())
        return join_service_pb2.GetAuthoritiesResponse(authorities=self._identities.authority().bundle)

    def Join(
        self, request: join_service_pb2.JoinRequest, context: grpc.ServicerContext
    ) -> join_service_pb2.JoinResponse:
        """The first certificate of an agent."""
        peer = context.peer()
        self._limit.take(peer)
        try:
            certificate = self._identities.join(request.token, request.node_name, request.certificate_request)
        except PermissionDeniedError as error:
            audit("identity.join_refused", peer=peer, node_name=request.node_name[:255], why=error.message)
            raise
        audit("identity.joined", peer=peer, node_name=request.node_name)
        return join_service_pb2.JoinResponse(
            certificate=certificate,
            authorities=self._identities.authority().bundle,
            topology_address=self._topology_address,
        )
