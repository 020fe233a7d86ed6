"""Metrics over HTTP, where they were asked for."""

import urllib.request
from pathlib import Path
from typing import Any

import click
import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.channels import open_channel
from services.common.errors import FailedPreconditionError
from services.common.identity import AccessPolicy
from services.common.metrics import REGISTRY, MetricsServer, observe_rpc
from services.common.server import RunningServer
from services.common.settings import ServerSettings, server_options

RPC = "/brickyard.test.v1.TestService/Do"


def counted(code: str) -> float:
    labels = {"method": RPC.removeprefix("/"), "code": code}
    return REGISTRY.get_sample_value("brickyard_rpc_seconds_count", labels) or 0.0


def test_rpcs_are_counted_by_method_and_code() -> None:
    before = counted("OK"), counted("NOT_FOUND")
    observe_rpc(RPC, "OK", 0.01)
    observe_rpc(RPC, "NOT_FOUND", 0.01)
    observe_rpc(RPC, "OK", 100.0)
    assert (counted("OK") - before[0], counted("NOT_FOUND") - before[1]) == (2, 1)


def test_a_server_shows_them_while_it_runs(tmp_path: Path) -> None:
    settings = ServerSettings((f"unix:{tmp_path}/s.sock",), None, insecure_plaintext=False, grace_s=0)
    watched = ServerSettings(settings.listen, None, insecure_plaintext=False, grace_s=0, metrics_listen="127.0.0.1:0")
    server = RunningServer([], watched, AccessPolicy({}))
    url = f"http://{server.metrics_address}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
    finally:
        server.stop()
    assert "# TYPE brickyard_rpc_seconds histogram" in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)


def test_a_taken_port_is_named() -> None:
    server = MetricsServer("127.0.0.1:0")
    try:
        with pytest.raises(FailedPreconditionError, match=f"cannot serve metrics on {server.address}"):
            MetricsServer(server.address)
    finally:
        server.stop()


@pytest.mark.parametrize("wrong", ["9401", ":9401", "localhost:", "localhost:http"])
def test_an_address_that_is_none_is_refused(wrong: str) -> None:
    command = click.command()(server_options("127.0.0.1:0")(lambda **_: None))
    found = CliRunner().invoke(command, ["--metrics-listen", wrong])
    assert found.exit_code == 2
    assert f"{wrong!r} is not HOST:PORT" in found.output


def test_watching_health_keeps_no_thread_of_the_server(tmp_path: Path) -> None:
    """A client with several servers watches each of them for as long as it lives."""
    listen = f"unix:{tmp_path}/s.sock"
    settings = ServerSettings((listen,), None, insecure_plaintext=False, grace_s=0)
    server = RunningServer([], settings, AccessPolicy({}), workers=2)
    try:
        with open_channel(listen, None) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(5)]
            serving = health_pb2.HealthCheckResponse.SERVING
            assert [next(watch).status for watch in watches] == [serving] * 5
            assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == serving
            for watch in watches:
                watch.cancel()
    finally:
        server.stop()


def test_strangers_may_not_watch_health() -> None:
    settings = ServerSettings(("127.0.0.1:0",), None, insecure_plaintext=False, grace_s=0)
    server = RunningServer([], settings, AccessPolicy({}))
    try:
        with open_channel(server.addresses[0], None) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=5))
    finally:
        server.stop()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
