"""Channels to other services, and the one way to call through them: deadline, request id, error mapping."""

import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import grpc

from services.common.addresses import parse_host_port
from services.common.context import REQUEST_ID_KEY, request_id
from services.common.credentials import TlsFiles, channel_credentials
from services.common.errors import UnavailableError, from_rpc_error
from services.common.identity import Role, role_hostname
from services.common.live_channels import LiveAioChannel, LiveChannel
from services.common.reasons import Reason
from services.common.tracing import aio_interceptors, traced

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
DEFAULT_TIMEOUT_S = 15.0
# Every RPC is a read or carries a request id, so a call that never reached the server may be sent again.
_RETRIES: dict[str, Any] = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
# Where there are several servers, calls take turns among those that are connected and say that they serve.
_TURNS: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
_Response = TypeVar("_Response")
Options = list[tuple[str, Any]]


def channel_options(server_name: str | None = None, *, several: bool = False) -> Options:
    """Options of every channel.

    Args:
        server_name: The name that the server's certificate must have instead of the address's host.
        several: Whether there are several servers, of which those that serve take turns.
    """
    options: Options = [
        ("grpc.service_config", json.dumps({**_RETRIES, **(_TURNS if several else {})})),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # A dead node must be noticed while a call waits for it.
        ("grpc.keepalive_time_ms", 12_000),
        ("grpc.keepalive_timeout_ms", 8_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A call after a restart of the server gets through: its repeats take longer than this pause.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        # Two channels of one process must not share a connection's fate.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options


def _server_name(role: Role | None) -> str | None:
    return role_hostname(role) if role is not None else None


def target_of(addresses: str) -> tuple[str, bool]:
    """What gRPC calls the server, or the servers, and whether they may be several.

    A host name in a list is resolved now, once; `dns:///NAME:PORT` follows what the name means, and takes all of it.

    Args:
        addresses: "host:port", "unix:/path", "dns:///name:port", or several "host:port" with commas between them.

    Raises:
        InvalidArgumentError: One of several is no "host:port".
        UnavailableError: The name of one of several cannot be resolved.
    """
    parts = [part.strip() for part in addresses.split(",") if part.strip()]
    if len(parts) < 2:
        return "".join(parts), addresses.startswith("dns:")
    found = [each for part in parts for each in _resolved(part)]
    if all(address.version == 4 for address, _ in found):
        return "ipv4:" + ",".join(f"{address}:{port}" for address, port in found), True
    return "ipv6:" + ",".join(f"[{_as_ipv6(address)}]:{port}" for address, port in found), True


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _as_ipv6(address: _Address) -> str:
    return str(address) if address.version == 6 else f"::ffff:{address}"


def _resolved(part: str) -> list[tuple[_Address, int]]:
    where = parse_host_port(part, field="one of several addresses")
    host, port = where.host, where.port
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnavailableError(
            Reason.UNAVAILABLE, f"address {part!r}: the name cannot be resolved: {error.strerror}", address=part
        ) from error
    return [(ipaddress.ip_address(each), int(port)) for each in dict.fromkeys(str(info[4][0]) for info in infos)]


def open_channel(target: str, tls: TlsFiles | None, *, role: Role | None = None) -> grpc.Channel:
    """A threaded channel to one server or to several. It follows the certificate as that is renewed.

    Args:
        target: Where they listen; see `target_of`. A call goes to another one when its server goes away.
        tls: This process's certificate; None for a Unix socket or plain TCP.
        role: Insist on this role of the server instead of on its host name. Needed where there are several.

    Raises:
        InvalidArgumentError: An address is none.
        UnavailableError: A name in a list cannot be resolved.
        FailedPreconditionError: The certificate's files cannot be used.
    """
    target, several = target_of(target)
    if tls is None or target.startswith("unix:"):
        return traced(grpc.insecure_channel(target, options=channel_options(several=several)))
    options = channel_options(_server_name(role), several=several)
    return traced(
        LiveChannel(lambda: grpc.secure_channel(target, channel_credentials(tls), options=options), tls.stamp)
    )


def open_aio_channel(target: str, tls: TlsFiles | None, *, role: Role | None = None) -> grpc.aio.Channel:
    """An asyncio channel; see `open_channel`."""
    target, several = target_of(target)
    if tls is None or target.startswith("unix:"):
        options = channel_options(several=several)
        return grpc.aio.insecure_channel(target, options=options, interceptors=aio_interceptors())
    options = channel_options(_server_name(role), several=several)
    return LiveAioChannel(
        lambda: grpc.aio.secure_channel(
            target, channel_credentials(tls), options=options, interceptors=aio_interceptors()
        ),
        tls.stamp,
    )


def _metadata(extra: Sequence[tuple[str, str]]) -> tuple[tuple[str, str | bytes], ...]:
    current = request_id()
    return ((REQUEST_ID_KEY, current), *extra) if current else tuple(extra)


def call(
    method: "grpc.UnaryUnaryMultiCallable[Any, _Response]",
    request: Any,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    metadata: Sequence[tuple[str, str]] = (),
) -> _Response:
    """Calls a unary RPC of a threaded channel.

    Raises:
        BrickyardError: What the server raised, or why it could not be reached.
    """
    try:
        return method(request, timeout=timeout_s, metadata=_metadata(metadata))
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


async def call_aio(
    method: Any,
    request: Any,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    metadata: Sequence[tuple[str, str]] = (),
) -> Any:
    """Calls a unary RPC of an asyncio channel.

    Raises:
        BrickyardError: What the server raised, or why it could not be reached.
    """
    try:
        return await method(request, timeout=timeout_s, metadata=_metadata(metadata))
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def stream_aio(method: Any, request: Any) -> AsyncIterator[Any]:
    """Calls a server-streaming RPC of an asyncio channel; no deadline, the stream ends when its subject has ended.

    Raises:
        BrickyardError: What the server raised, or why it could not be reached.
    """
    try:
        async for item in method(request, metadata=_metadata(())):
            yield item
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
