"""OpenTelemetry traces: off unless asked for; then a span for each RPC, on both sides, and for each REST request.

The packages are those of the extra `brickyard[tracing]`; while it is off none of them is imported. Between processes
the W3C trace context travels in gRPC metadata and HTTP headers (`traceparent`). Effects: spans to an exporter.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import grpc

from services.common.context import request_id
from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason

_tracer: Any = None


class Span(Protocol):
    """What is told of a request when it ends."""

    def end_with(self, code: str, *, failed: bool, name: str = "") -> None:
        """The status it was answered with, whether that is a failure, and a better name if there is one."""


class _NoSpan:
    def end_with(self, code: str, *, failed: bool, name: str = "") -> None:
        """Nobody wants to know."""


_NO_SPAN = _NoSpan()


class _Recorded:
    def __init__(self, span: Any, code_attribute: str) -> None:
        self._span = span
        self._code_attribute = code_attribute

    def end_with(self, code: str, *, failed: bool, name: str = "") -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - only when on

        if name:
            self._span.update_name(name)
        self._span.set_attribute(self._code_attribute, code)
        self._span.set_attribute("brickyard.request_id", request_id())
        if failed:
            self._span.set_status(StatusCode.ERROR)


def start(process: str, endpoint: str) -> None:
    """Turns traces on for the rest of this process.

    Args:
        process: Name of the service in the traces, e.g. "brickyard-agent".
        endpoint: URL of an OTLP collector that takes gRPC, e.g. "http://127.0.0.1:4317".

    Raises:
        FailedPreconditionError: The packages of the extra are missing.
    """
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT,
            f"traces need the packages of an extra: pip install 'brickyard[tracing]' ({error})",
            field="trace_to",
            value=endpoint,
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": process}))
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https:"))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    use(provider)


def use(provider: Any) -> None:
    """Takes the spans to this provider; None turns traces off. Channels that are open already stay as they are."""
    global _tracer  # noqa: PLW0603 - one for the process, as its log is
    _tracer = provider.get_tracer("brickyard") if provider is not None else None


@contextmanager
def served(
    name: str, carrier: Iterable[tuple[str, Any]], *, code_attribute: str, current: bool = True
) -> Iterator[Span]:
    """A span around the answer to a request; its parent is what the request carries.

    Args:
        name: Name of the span.
        carrier: Metadata or headers of the request.
        code_attribute: Under which name its status is told.
        current: Whether calls inside become its children. Not for generators, whose steps are not in one context.
    """
    if _tracer is None:
        yield _NO_SPAN
        return
    from opentelemetry.trace import SpanKind, use_span  # noqa: PLC0415 - only when on
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    given = {key: value for key, value in carrier if key in {"traceparent", "tracestate"}}
    parent = TraceContextTextMapPropagator().extract(given)
    span = _tracer.start_span(name, context=parent, kind=SpanKind.SERVER)
    try:
        if current:
            with use_span(span):
                yield _Recorded(span, code_attribute)
        else:
            yield _Recorded(span, code_attribute)
    finally:
        span.end()


def rpc_served(method: str, context: Any, *, current: bool = True) -> Any:
    """A span around an RPC that this process answers; named as the RPC."""
    carrier = context.invocation_metadata() if _tracer is not None else ()
    return served(method.removeprefix("/"), carrier, code_attribute="rpc.grpc.status_code", current=current)


def traced(channel: grpc.Channel) -> grpc.Channel:
    """The channel, with a span for each call of it when traces are on."""
    return channel if _tracer is None else grpc.intercept_channel(channel, _ClientInterceptor())


def aio_interceptors() -> list[grpc.aio.ClientInterceptor]:
    """What makes a span for each call of an asyncio channel; nothing when traces are off."""
    return [] if _tracer is None else [_AioClientInterceptor()]


def _begin(method: str | bytes) -> tuple[Any, dict[str, str]]:
    """A client's span, and what the call has to carry so that the server's span is its child."""
    from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415 - only when on
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    name = method.decode() if isinstance(method, bytes) else method
    span = _tracer.start_span(name.removeprefix("/"), kind=SpanKind.CLIENT)
    carried: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carried, context=set_span_in_context(span))
    return span, carried


def _end(span: Any, code: grpc.StatusCode) -> None:
    _Recorded(span, "rpc.grpc.status_code").end_with(code.name, failed=code is not grpc.StatusCode.OK)
    span.end()


def _with(metadata: Any, carried: Mapping[str, str]) -> Any:
    return (*(metadata or ()), *carried.items())


class _Details(grpc.ClientCallDetails):
    """The details of a call with other metadata."""

    def __init__(self, given: Any, metadata: Any) -> None:
        self.method = given.method
        self.timeout = given.timeout
        self.metadata = metadata
        self.credentials = given.credentials
        self.wait_for_ready = given.wait_for_ready
        self.compression = given.compression


class _ClientInterceptor(grpc.UnaryUnaryClientInterceptor):
    """For threaded channels."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Calls within a span."""
        span, carried = _begin(client_call_details.method)
        call = continuation(_Details(client_call_details, _with(client_call_details.metadata, carried)), request)
        call.add_done_callback(lambda done: _end(span, done.code()))
        return call


class _AioClientInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """For asyncio channels."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Calls within a span."""
        span, carried = _begin(client_call_details.method)
        details = client_call_details._replace(
            metadata=grpc.aio.Metadata(*_with(client_call_details.metadata, carried))
        )
        code = grpc.StatusCode.CANCELLED
        try:
            call = await continuation(details, request)
            code = await call.code()
        finally:
            _end(span, code)
        return call
