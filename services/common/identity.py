"""Who calls: roles from certificates, and which role may call which RPC. Pure.

A certificate names its owner in a URI `brickyard://role/ROLE/NAME`, and carries the DNS name `ROLE.brickyard.internal`
so that a client can insist on the role of a server, whatever its address.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_URI_PREFIX = "brickyard://role/"
ROLE_DOMAIN = "brickyard.internal"


class Role(StrEnum):
    """What a process is."""

    TOPOLOGY = "topology"
    ALLOCATOR = "allocator"
    GATEWAY = "gateway"
    AGENT = "agent"
    OPERATOR = "operator"
    # Whoever reaches a Unix socket in a 0700 directory, or plain TCP that was asked for by name.
    LOCAL = "local"
    # Whoever shows no certificate, where a server takes such calls: to join.
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls.

    Attributes:
        role: What the caller is.
        name: Its name in the certificate.
    """

    role: Role
    name: str

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        return role_uri(self.role, self.name)


def role_uri(role: Role, name: str) -> str:
    """The URI that names the owner of a certificate."""
    return f"{_URI_PREFIX}{role.value}/{name}"


def role_hostname(role: Role) -> str:
    """The DNS name that every server of a role has in its certificate."""
    return f"{role.value}.{ROLE_DOMAIN}"


def identity_from_names(names: Iterable[str]) -> Identity | None:
    """The owner that the names of a certificate tell of; None when they tell of none, or of two."""
    found = [name.removeprefix(_URI_PREFIX).split("/", 1) for name in names if name.startswith(_URI_PREFIX)]
    if len(found) != 1 or len(found[0]) != 2:
        return None
    role, name = found[0]
    if role not in {each.value for each in Role} or role in {Role.LOCAL, Role.STRANGER} or not name:
        return None
    return Identity(Role(role), name)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Which roles may call which RPC; whatever is not listed is refused.

    Attributes:
        allowed: Roles by full method name, e.g. "/brickyard.topology.v1.TopologyService/GetNode".
        open_to_all: Method prefixes that every identified caller may use: health and reflection.
    """

    allowed: Mapping[str, frozenset[Role]]
    open_to_all: tuple[str, ...] = ("/grpc.health.v1.Health/", "/grpc.reflection.")

    def permits(self, method: str, caller: Identity) -> bool:
        """Whether `caller` may call `method`."""
        if method.startswith(self.open_to_all):
            return True
        roles = self.allowed.get(method, frozenset())
        return caller.role in roles or (caller.role is Role.LOCAL and method in self.allowed)


def policy_for(service: str, methods: Mapping[str, Iterable[Role]]) -> dict[str, frozenset[Role]]:
    """The `allowed` table of one service: full method names from short ones."""
    return {f"/{service}/{method}": frozenset(roles) for method, roles in methods.items()}
