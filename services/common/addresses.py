"""HOST:PORT, taken apart in one way. Pure."""

from dataclasses import dataclass

from services.common.errors import InvalidArgumentError
from services.common.reasons import Reason

_LAST_PORT = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host and a port; as text again "HOST:PORT".

    Attributes:
        host: Name or address; an IPv6 address without brackets.
        port: 0 to 65535; 0 stands for a free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: str, *, field: str, free_port: bool = False, any_host: bool = False) -> HostPort:
    """Takes "HOST:PORT" apart; an IPv6 address stands in brackets, as in "[::1]:7400".

    Args:
        text: The address.
        field: What it is the value of, for the error.
        free_port: Whether port 0 may stand for a free one.
        any_host: Whether the host may be left out, for all addresses of this machine.

    Raises:
        InvalidArgumentError: It is none; names the field and the value.
    """
    host, colon, digits = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if bracketed else host
    is_port = digits.isascii() and digits.isdigit() and len(digits) <= len(str(_LAST_PORT))
    port = int(digits) if is_port else -1
    # A colon is in IPv6 addresses only, and these need brackets, or nobody knows where the port begins.
    is_host = (":" in name) is bracketed and not set(name) & set("[]/ \t\n") and bool(name or any_host)
    if not colon or not is_host or not (0 if free_port else 1) <= port <= _LAST_PORT:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"{field}: {text!r} is not HOST:PORT, with a port from {0 if free_port else 1} to {_LAST_PORT} and an IPv6 "
            "address in brackets",
            field=field,
            value=text,
        )
    return HostPort(name, port)
