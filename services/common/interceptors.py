"""What happens around every RPC of every server: request id, caller, permission, log line, error mapping.

The sync and the asyncio server share all decisions; only the calling differs.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import grpc

from services.common import tracing
from services.common.certificates import Certificate, read_certificate
from services.common.context import REQUEST_ID_KEY, enter_caller, enter_request
from services.common.errors import (
    BrickyardError,
    InternalError,
    PermissionDeniedError,
    UnauthenticatedError,
    to_status,
)
from services.common.identity import AccessPolicy, Identity, Role
from services.common.logs import get_logger
from services.common.metrics import observe_rpc
from services.common.reasons import Reason
from services.common.trust import TrustList

_log = get_logger()
_PEM = "x509_pem_cert"
_TRANSPORT = "transport_security_type"
# Which threads a handler wants instead of the server's own; grpc looks for it on the handler.
_POOL = "experimental_thread_pool"
# Looked at too often to be worth a line each.
_QUIET_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.")


def shown_pem(context: Any) -> bytes:
    """The certificate of a call's client, which the handshake has checked, as PEM; empty when it shows none."""
    auth: dict[str, Sequence[bytes]] = context.auth_context()
    return auth.get(_PEM, (b"",))[0]


def shown_certificate(context: Any) -> Certificate | None:
    """What the certificate of a call's client says; None when it shows none."""
    pem = shown_pem(context)
    return read_certificate(pem) if pem else None


def _caller(context: Any, *, trust_plaintext: bool, strangers: bool) -> tuple[Identity, Certificate | None]:
    auth: dict[str, Sequence[bytes]] = context.auth_context()
    peer: str = context.peer()
    if auth.get(_TRANSPORT, (b"",))[0] == b"ssl":
        certificate = shown_certificate(context)
        if strangers:
            return Identity(Role.STRANGER, peer), None
        if certificate is None or certificate.identity is None:
            raise UnauthenticatedError(Reason.UNAUTHENTICATED, "the client's certificate names no role")
        return certificate.identity, certificate
    if peer.startswith("unix:") or trust_plaintext:
        return Identity(Role.LOCAL, peer), None
    raise UnauthenticatedError(Reason.UNAUTHENTICATED, "plain connections are refused; use a client certificate")


class _Guard:
    """The decisions around a call, for both kinds of server."""

    def __init__(
        self, policy: AccessPolicy, *, trust_plaintext: bool, trust: TrustList | None, strangers: bool
    ) -> None:
        self._policy = policy
        self._trust_plaintext = trust_plaintext
        self._trust = trust if trust is not None else TrustList()
        self._strangers = strangers

    def enter(self, method: str, context: Any) -> Identity:
        given = dict(context.invocation_metadata()).get(REQUEST_ID_KEY)
        enter_request(given if isinstance(given, str) else None)
        caller, certificate = _caller(context, trust_plaintext=self._trust_plaintext, strangers=self._strangers)
        enter_caller(caller)
        if certificate is not None:
            self._trust.check(certificate)
        if not self._policy.permits(method, caller):
            raise PermissionDeniedError(
                Reason.ROLE_NOT_ALLOWED,
                f"role {caller.role.value!r} may not call {method}",
                role=caller.role.value,
                method=method,
            )
        return caller

    def go_on(self, context: Any) -> None:
        """Before each further item of a stream: its caller may have been shut out meanwhile."""
        certificate = shown_certificate(context)
        if certificate is not None:
            # One that merely ended was good when the stream began, and its client has a newer one by now.
            self._trust.check_revoked(certificate)

    @staticmethod
    def leave(
        method: str, caller: Identity | None, started: float, error: BrickyardError | None, span: tracing.Span
    ) -> None:
        duration_s = round(time.monotonic() - started, 4)
        code = grpc.StatusCode.OK.name if error is None else error.code.name
        span.end_with(code, failed=error is not None)
        if not method.startswith(_QUIET_PREFIXES):
            observe_rpc(method, code, duration_s)
        who = f"{caller.role.value}/{caller.name}" if caller else "unknown"
        if error is None:
            if not method.startswith(_QUIET_PREFIXES):
                _log.debug("rpc.done", method=method, caller=who, duration_s=duration_s)
        else:
            _log.info(
                "rpc.failed",
                method=method,
                caller=who,
                duration_s=duration_s,
                code=code,
                reason=error.reason.value,
                message=error.message,
            )

    @staticmethod
    def translate(error: Exception) -> BrickyardError:
        if isinstance(error, BrickyardError):
            return error
        _log.error("rpc.crashed", exc_info=error)
        return InternalError(
            Reason.INTERNAL, "internal error; the server's log tells more under this request id", kind=type(error)
        )


class ServerInterceptor(grpc.ServerInterceptor):
    """For the threaded server."""

    def __init__(
        self,
        policy: AccessPolicy,
        *,
        trust_plaintext: bool = False,
        trust: TrustList | None = None,
        strangers: bool = False,
    ) -> None:
        """See _Guard: `trust` tells of revoked certificates, `strangers` take calls without any."""
        self._guard = _Guard(policy, trust_plaintext=trust_plaintext, trust=trust, strangers=strangers)

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Wraps unary and server-streaming handlers; there are no others."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.request_streaming:
            return self._wrap_streaming_request(handler, method)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(handler.unary_stream, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler.unary_unary, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrap_streaming_request(
        self, handler: "grpc.RpcMethodHandler[Any, Any] | None", method: str
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        # Reflection alone streams requests; its answers hold no data of ours, but strangers are refused all the same.
        if handler is None or not handler.response_streaming:
            return handler
        return grpc.stream_stream_rpc_method_handler(
            self._stream(handler.stream_stream, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, call: Any, method: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            started, caller, failure = time.monotonic(), None, None
            with tracing.rpc_served(method, context) as span:
                try:
                    caller = self._guard.enter(method, context)
                    return call(request, context)
                except Exception as error:  # noqa: BLE001 - the outermost frame: everything is mapped here
                    failure = self._guard.translate(error)
                finally:
                    self._guard.leave(method, caller, started, failure, span)
            return context.abort_with_status(to_status(failure))

        return handle

    def _stream(self, call: Any, method: str) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            started, caller, failure = time.monotonic(), None, None
            with tracing.rpc_served(method, context, current=False) as span:
                try:
                    caller = self._guard.enter(method, context)
                    for item in call(request, context):
                        self._guard.go_on(context)
                        yield item
                except Exception as error:  # noqa: BLE001 - the outermost frame: everything is mapped here
                    failure = self._guard.translate(error)
                finally:
                    self._guard.leave(method, caller, started, failure, span)
            if failure is not None:
                context.abort_with_status(to_status(failure))

        if hasattr(call, _POOL):
            setattr(handle, _POOL, getattr(call, _POOL))
        return handle


class AioServerInterceptor(grpc.aio.ServerInterceptor):
    """For the asyncio server."""

    def __init__(
        self,
        policy: AccessPolicy,
        *,
        trust_plaintext: bool = False,
        trust: TrustList | None = None,
        strangers: bool = False,
    ) -> None:
        """See _Guard: `trust` tells of revoked certificates, `strangers` take calls without any."""
        self._guard = _Guard(policy, trust_plaintext=trust_plaintext, trust=trust, strangers=strangers)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps unary and server-streaming handlers; there are no others but reflection."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(handler.stream_stream, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(handler.unary_stream, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler.unary_unary, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, call: Any, method: str) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            started, caller, failure = time.monotonic(), None, None
            with tracing.rpc_served(method, context) as span:
                try:
                    caller = self._guard.enter(method, context)
                    return await call(request, context)
                except Exception as error:  # noqa: BLE001 - the outermost frame: everything is mapped here
                    failure = self._guard.translate(error)
                finally:
                    self._guard.leave(method, caller, started, failure, span)
            return await _abort(context, failure)

        return handle

    def _stream(self, call: Any, method: str) -> Any:
        async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
            started, caller, failure = time.monotonic(), None, None
            with tracing.rpc_served(method, context, current=False) as span:
                try:
                    caller = self._guard.enter(method, context)
                    async for item in call(request, context):
                        self._guard.go_on(context)
                        yield item
                except Exception as error:  # noqa: BLE001 - the outermost frame: everything is mapped here
                    failure = self._guard.translate(error)
                finally:
                    self._guard.leave(method, caller, started, failure, span)
            if failure is not None:
                await _abort(context, failure)

        return handle


async def _abort(context: Any, error: BrickyardError) -> None:
    """The asyncio context has no abort_with_status; the details go into the trailers by hand."""
    status = to_status(error)
    context.set_trailing_metadata(status.trailing_metadata or ())
    await context.abort(status.code, status.details)
