"""Several servers behind one channel, over mutual TLS: they take turns, and calls go where there is service."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.authority import create_authority, issue_certificate
from services.common.channels import call, open_channel
from services.common.credentials import TlsFiles
from services.common.errors import NotFoundError, UnavailableError
from services.common.identity import AccessPolicy, Role
from services.common.reasons import Reason
from services.common.server import RunningServer, ServedService
from services.common.settings import ServerSettings

HOST = "127.0.0.1"


class Servers:
    """Servers "a" and "b", which differ in the service that they know."""

    def __init__(self, directory: Path) -> None:
        create_authority(directory / "ca")

        def issue(role: Role) -> TlsFiles:
            return issue_certificate(
                directory / "ca", directory / role.value, role=role, name=role.value, hosts=(HOST,)
            )

        self._tls = issue(Role.TOPOLOGY)
        self.client_tls = issue(Role.GATEWAY)
        self.ready = {"a": True, "b": True}
        self.running: dict[str, RunningServer] = {}
        for name in self.ready:
            self.start(name)
        self.addresses = {name: server.addresses[0] for name, server in self.running.items()}

    def start(self, name: str, address: str = f"{HOST}:0") -> None:
        """Starts one of them."""

        def check() -> None:
            if not self.ready[name]:
                raise UnavailableError(Reason.UNAVAILABLE, "no database")

        settings = ServerSettings((address,), self._tls, insecure_plaintext=False, grace_s=0)
        served = [ServedService(f"test.{name}", lambda _server: None)]
        self.running[name] = RunningServer(served, settings, AccessPolicy({}), with_reflection=False, check_ready=check)

    def stop(self, name: str) -> None:
        """Stops one of them."""
        self.running.pop(name).stop()

    def tell(self, name: str, *, ready: bool) -> None:
        """Changes what a server says of itself."""
        self.ready[name] = ready
        self.running[name]._set_health()

    def close(self) -> None:
        """Stops all."""
        for name in list(self.running):
            self.stop(name)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path)
    yield made
    made.close()


@pytest.fixture
def channel(servers: Servers) -> Iterator[grpc.Channel]:
    with open_channel(",".join(servers.addresses.values()), servers.client_tls, role=Role.TOPOLOGY) as opened:
        yield opened


def who_answers(channel: grpc.Channel, calls: int = 12) -> Counter[str]:
    """Which server answers how often."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    found: Counter[str] = Counter()
    for _ in range(calls):
        try:
            call(stub.Check, health_pb2.HealthCheckRequest(service="test.a"))
            found["a"] += 1
        except NotFoundError:
            found["b"] += 1
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_they_take_turns(servers: Servers, channel: grpc.Channel) -> None:
    assert len(servers.addresses) == 2
    until(lambda: who_answers(channel) == {"a": 6, "b": 6}, "both answer in turn")


def test_when_one_goes_away_no_call_fails_and_it_is_taken_back(servers: Servers, channel: grpc.Channel) -> None:
    until(lambda: len(who_answers(channel)) == 2, "both answer")
    servers.stop("a")
    assert who_answers(channel) == {"b": 12}
    servers.start("a", servers.addresses["a"])
    until(lambda: len(who_answers(channel)) == 2, "the one that came back answers too")
    servers.stop("b")
    assert who_answers(channel) == {"a": 12}


def test_one_that_says_it_does_not_serve_is_passed_over(servers: Servers, channel: grpc.Channel) -> None:
    until(lambda: len(who_answers(channel)) == 2, "both answer")
    servers.tell("b", ready=False)
    until(lambda: who_answers(channel) == {"a": 12}, "only the one that serves answers")
    servers.tell("b", ready=True)
    until(lambda: len(who_answers(channel)) == 2, "both answer again")


def test_whoever_watches_does_not_hold_up_the_end(servers: Servers, channel: grpc.Channel) -> None:
    until(lambda: len(who_answers(channel)) == 2, "both answer")
    began = time.monotonic()
    for name, server in servers.running.items():
        server._grace_s = 60
        assert list(server._health._watches), name
    servers.close()
    assert time.monotonic() - began < 30


def test_when_none_serves_the_call_fails_with_a_reason(servers: Servers, channel: grpc.Channel) -> None:
    for name in list(servers.running):
        servers.stop(name)
    stub: Any = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(UnavailableError):
        call(stub.Check, health_pb2.HealthCheckRequest())
