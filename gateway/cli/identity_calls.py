"""Calls about tokens and certificates to a topology service. Effects: network."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta

from brickyard.topology.v1 import identity_service_pb2 as pb
from brickyard.topology.v1.identity_pb2 import IdentityRole, IssuedCertificate
from gateway.cli.connection import Connection, identity_stub
from services.common.channels import call_aio
from services.common.identity import Role

_PAGE = 1000


def role_number(role: Role) -> IdentityRole.ValueType:
    """A role as the protos number it."""
    return IdentityRole.Value(f"IDENTITY_ROLE_{role.value.upper()}")


def role_name(number: int) -> str:
    """A role as people write it."""
    return IdentityRole.Name(IdentityRole.ValueType(number)).removeprefix("IDENTITY_ROLE_").lower()


def make_token(
    connection: Connection, node_name: str, *, hosts: Iterable[str] = (), lifetime: timedelta
) -> pb.CreateJoinTokenResponse:
    """A token with which the agent of a node joins once; those that were made for the node before are void.

    Args:
        connection: Where the topology is.
        node_name: The node's management host name.
        hosts: Further names and addresses of its agent.
        lifetime: How long the token is good.

    Raises:
        BrickyardError: The call failed; NO_AUTHORITY when the topology signs nothing.
    """
    request = pb.CreateJoinTokenRequest(node_name=node_name, hosts=hosts)
    request.lifetime.FromTimedelta(lifetime)

    async def ask() -> pb.CreateJoinTokenResponse:
        async with identity_stub(connection) as stub:
            made: pb.CreateJoinTokenResponse = await call_aio(stub.CreateJoinToken, request)
            return made

    return asyncio.run(ask())


def list_certificates(connection: Connection) -> Sequence[IssuedCertificate]:
    """Certificates that the topology knows and that have not ended, by role, name and end.

    Raises:
        BrickyardError: The call failed.
    """

    async def ask() -> list[IssuedCertificate]:
        found: list[IssuedCertificate] = []
        token = ""
        async with identity_stub(connection) as stub:
            while True:
                request = pb.ListCertificatesRequest(page_size=_PAGE, page_token=token)
                page = await call_aio(stub.ListCertificates, request)
                found += page.certificates
                token = page.next_page_token
                if not token:
                    return found

    return sorted(asyncio.run(ask()), key=lambda each: (each.role, each.name, each.expire_time.ToNanoseconds()))


def revoke_serial(connection: Connection, serial: str) -> None:
    """Makes one certificate count for nothing.

    Raises:
        BrickyardError: The call failed.
    """
    _revoke(connection, pb.RevokeCertificatesRequest(serial=serial))


def revoke_owner(connection: Connection, role: Role, name: str) -> None:
    """Makes all certificates that an owner has now count for nothing.

    Raises:
        BrickyardError: The call failed.
    """
    owner = pb.CertificateOwner(role=role_number(role), name=name)
    _revoke(connection, pb.RevokeCertificatesRequest(owner=owner))


def _revoke(connection: Connection, request: pb.RevokeCertificatesRequest) -> None:
    async def ask() -> None:
        async with identity_stub(connection) as stub:
            await call_aio(stub.RevokeCertificates, request)

    asyncio.run(ask())
