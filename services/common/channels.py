"""Channels to other services, and the one way to call through them: deadline, request id, error mapping."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import grpc

from services.common.context import REQUEST_ID_KEY, request_id
from services.common.credentials import TlsFiles, channel_credentials
from services.common.errors import from_rpc_error
from services.common.identity import Role, role_hostname

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
DEFAULT_TIMEOUT_S = 15.0
# Every RPC is a read or carries a request id, so a call that never reached the server may be sent again.
_SERVICE_CONFIG = json.dumps(
    {
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
)
_Response = TypeVar("_Response")
Options = list[tuple[str, Any]]


def channel_options(server_name: str | None = None) -> Options:
    """Options of every channel.

    Args:
        server_name: The name that the server's certificate must have instead of the address's host.
    """
    options: Options = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # A dead node must be noticed while a call waits for it.
        ("grpc.keepalive_time_ms", 12_000),
        ("grpc.keepalive_timeout_ms", 8_000),
        ("grpc.http2.max_pings_without_data", 0),
        # After a restart of the server the first new call should not wait long.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Two channels of one process must not share a connection's fate.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options


def _server_name(role: Role | None) -> str | None:
    return role_hostname(role) if role is not None else None


def open_channel(target: str, tls: TlsFiles | None, *, role: Role | None = None) -> grpc.Channel:
    """A threaded channel to `target`, "host:port" or "unix:/path".

    Args:
        target: Where the server listens.
        tls: This process's certificate; None for a Unix socket or plain TCP.
        role: Insist on this role of the server instead of on its host name.
    """
    if tls is None or target.startswith("unix:"):
        return grpc.insecure_channel(target, options=channel_options())
    return grpc.secure_channel(target, channel_credentials(tls), options=channel_options(_server_name(role)))


def open_aio_channel(target: str, tls: TlsFiles | None, *, role: Role | None = None) -> grpc.aio.Channel:
    """An asyncio channel; see `open_channel`."""
    if tls is None or target.startswith("unix:"):
        return grpc.aio.insecure_channel(target, options=channel_options())
    return grpc.aio.secure_channel(target, channel_credentials(tls), options=channel_options(_server_name(role)))


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
