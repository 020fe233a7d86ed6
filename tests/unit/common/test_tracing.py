"""Spans of servers and of clients, with an exporter in memory; and nothing at all while traces are off."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services.common import tracing
from services.common.channels import call, call_aio, open_aio_channel, open_channel
from services.common.errors import BrickyardError, FailedPreconditionError
from services.common.identity import AccessPolicy
from services.common.server import RunningServer
from services.common.settings import ServerSettings

CHECK = "grpc.health.v1.Health/Check"


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """Traces are on, and end here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server with health only."""
    listen = f"unix:{tmp_path}/s.sock"
    server = RunningServer([], ServerSettings((listen,), None, insecure_plaintext=False, grace_s=0), AccessPolicy({}))
    yield listen
    server.stop()


def ended(exporter: InMemorySpanExporter, kind: SpanKind) -> ReadableSpan:
    (found,) = [each for each in exporter.get_finished_spans() if each.kind is kind]
    return found


def check(listen: str, service: str = "") -> Any:
    with open_channel(listen, None) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return call(stub.Check, health_pb2.HealthCheckRequest(service=service))


async def check_aio(listen: str, service: str = "") -> Any:
    async with open_aio_channel(listen, None) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return await call_aio(stub.Check, health_pb2.HealthCheckRequest(service=service))


CHECKS: dict[str, Callable[..., Any]] = {
    "threaded": check,
    "asyncio": lambda *given: asyncio.run(check_aio(*given)),
}


@pytest.mark.parametrize("form", CHECKS)
def test_a_call_is_a_span_on_both_sides(exported: InMemorySpanExporter, address: str, form: str) -> None:
    CHECKS[form](address)
    client, server = ended(exported, SpanKind.CLIENT), ended(exported, SpanKind.SERVER)
    assert (client.name, server.name) == (CHECK, CHECK)
    assert client.context is not None
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert server.parent.trace_id == client.context.trace_id
    for span in (client, server):
        assert dict(span.attributes or {})["rpc.grpc.status_code"] == "OK"
        assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("form", CHECKS)
def test_a_failure_is_told_in_the_span(exported: InMemorySpanExporter, address: str, form: str) -> None:
    with pytest.raises(BrickyardError):
        CHECKS[form](address, "unknown")
    client = ended(exported, SpanKind.CLIENT)
    assert dict(client.attributes or {})["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.name
    assert client.status.status_code is StatusCode.ERROR


def test_what_the_request_carries_is_the_parent(exported: InMemorySpanExporter) -> None:
    carrier = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", "")]
    with tracing.served("POST", carrier, code_attribute="http.response.status_code") as span:
        span.end_with("503", failed=True, name="POST /volumes")
    told = ended(exported, SpanKind.SERVER)
    assert told.parent is not None
    assert f"{told.parent.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert (told.name, told.status.status_code) == ("POST /volumes", StatusCode.ERROR)


@pytest.mark.parametrize("carrier", [[], [("traceparent", "nonsense")], [("traceparent", "")]])
def test_without_a_fit_parent_a_trace_begins(exported: InMemorySpanExporter, carrier: list[tuple[str, str]]) -> None:
    with tracing.served("GET", carrier, code_attribute="http.response.status_code"):
        pass
    assert ended(exported, SpanKind.SERVER).parent is None


def test_while_they_are_off_nothing_is_added(address: str) -> None:
    assert tracing.aio_interceptors() == []
    with open_channel(address, None) as channel:
        assert type(channel).__name__ == "Channel"
    check(address)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(FailedPreconditionError, match=r"pip install 'brickyard\[tracing\]'"):
        tracing.start("brickyard-agent", "http://127.0.0.1:4317")
