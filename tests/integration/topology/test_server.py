"""The topology behind a real server: mTLS and roles, errors over the wire, health, watching, stopping."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.engine import make_url

from brickyard.topology.v1 import (
    operation_pb2,
    operation_service_pb2,
    operation_service_pb2_grpc,
    topology_service_pb2,
    topology_service_pb2_grpc,
)
from gateway.cli.health import health
from services.common import server
from services.common.authority import create_authority, issue_certificate
from services.common.channels import open_channel
from services.common.credentials import TlsFiles
from services.common.errors import from_rpc_error
from services.common.identity import Role
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.settings import ServerSettings
from services.topology.access import POLICY
from services.topology.bootstrap import Topology, TopologyServer
from services.topology.usecases import nodes
from tests.integration.stack import wait_until
from tests.integration.topology.conftest import PostgresServer
from tests.unit.topology.builders import Clock, World, add_node_spec, create_spec, node_message, volume_message

TIMEOUT_S = 20.0
ROLES = (Role.GATEWAY, Role.ALLOCATOR, Role.OPERATOR, Role.AGENT)


class Served:
    """A topology with its server and certificates for every role."""

    def __init__(self, database: str, directory: Path) -> None:
        create_authority(directory / "ca")
        self.tls: dict[Role, TlsFiles] = {
            role: issue_certificate(directory / "ca", directory / role.value, role=role, name="t", hosts=["127.0.0.1"])
            for role in (Role.TOPOLOGY, *ROLES)
        }
        self.topology = Topology(database)
        settings = ServerSettings(
            listen=("127.0.0.1:0",), tls=self.tls[Role.TOPOLOGY], insecure_plaintext=False, grace_s=15.0
        )
        self.server = TopologyServer(self.topology, settings)

    def channel(self, role: Role) -> grpc.Channel:
        return open_channel(self.server.addresses[0], self.tls[role], role=Role.TOPOLOGY)

    def world(self) -> World:
        # The store runs on real time; this clock is not used.
        made = World(self.topology.store, Clock())
        made.feed = self.topology.feed
        return made


@pytest.fixture
def served(database: str, tmp_path: Path) -> Iterator[Served]:
    made = Served(database, tmp_path)
    yield made
    made.server.stop()
    made.topology.close()


def wait_until_serving(channel: grpc.Channel) -> None:
    grpc.channel_ready_future(channel).result(timeout=TIMEOUT_S)


def code_of(channel: grpc.Channel, method: str) -> grpc.StatusCode:
    call: Any = channel.unary_stream(method, request_serializer=lambda _: b"", response_deserializer=lambda data: data)
    answers = call(None, timeout=TIMEOUT_S)
    # An end that is no OK is raised by the iterator, and kept by the call.
    with suppress(grpc.RpcError):
        list(answers)
    code: grpc.StatusCode = answers.code()
    return code


def test_every_role_may_call_what_it_needs_and_nothing_else(served: Served) -> None:
    for role in ROLES:
        with served.channel(role) as channel:
            allowed = {
                method
                for method in POLICY.allowed
                if code_of(channel, method) not in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}
            }
        assert allowed == {method for method, roles in POLICY.allowed.items() if role in roles}
    assert POLICY.allowed["/brickyard.topology.v1.OperationService/BeginOperation"] == {Role.GATEWAY}


def test_an_error_arrives_with_its_reason_and_variables(served: Served) -> None:
    world = served.world()
    cluster = world.cluster()
    node = world.node(cluster.id, manage_hostnames=["m"])
    with served.channel(Role.GATEWAY) as channel:
        stub = topology_service_pb2_grpc.TopologyServiceStub(channel)
        request = topology_service_pb2.CheckNewNodeRequest(
            cluster_id=cluster.id, manage_hostnames=["m"], storage_hostnames=["s"]
        )
        with pytest.raises(grpc.RpcError) as failed:
            stub.CheckNewNode(request, timeout=TIMEOUT_S)
    error = from_rpc_error(failed.value)
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, Reason.HOSTNAME_IN_USE)
    assert error.metadata == {"hostname": "m", "node_id": node.id}


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that start from now on look at their database all the time."""
    monkeypatch.setattr(server, "_HEALTH_INTERVAL_S", 0.05)


@pytest.mark.usefixtures("looks_often")
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_health_follows_the_database(served: Served, database: str, postgres: PostgresServer) -> None:
    names = ("", "brickyard.topology.v1.TopologyService", "brickyard.topology.v1.OperationService")
    statuses = health_pb2.HealthCheckResponse
    with served.channel(Role.GATEWAY) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        def all_are(status: int) -> bool:
            requests = [health_pb2.HealthCheckRequest(service=name) for name in names]
            return {stub.Check(request, timeout=TIMEOUT_S).status for request in requests} == {status}

        assert all_are(statuses.SERVING)
        with postgres.away(str(make_url(database).database)):
            wait_until(lambda: all_are(statuses.NOT_SERVING), "the topology to miss its database")
            ready, alive = (probe(served, *flags) for flags in ((), ("--alive",)))
            assert (ready.exit_code, alive.exit_code) == (1, 0), (ready.output, alive.output)
            assert "NOT_SERVING" in ready.output
        wait_until(lambda: all_are(statuses.SERVING), "the topology to find it again")
        assert probe(served).exit_code == 0


def probe(served: Served, *flags: str) -> Result:
    """What containers and Kubernetes ask."""
    where = (served.server.addresses[0], "--role=topology", f"--tls-dir={served.tls[Role.TOPOLOGY].ca.parent}")
    return CliRunner().invoke(health, [*where, *flags])


def test_an_operation_is_watched_across_servers(served: Served, database: str) -> None:
    """Another server on the same database makes the change; nobody tells the one that is watched."""
    world = served.world()
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    elsewhere = Topology(database)
    with served.channel(Role.OPERATOR) as channel:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)
        watched = stub.WatchOperation(
            operation_service_pb2.WatchOperationRequest(operation_id=operation.id), timeout=TIMEOUT_S
        )
        assert next(watched).operation == operation
        other = World(elsewhere.store, world.clock)
        other.update(operation, state=operation_pb2.OPERATION_STATE_RUNNING)
        assert next(watched).operation.state == operation_pb2.OPERATION_STATE_RUNNING
        other.commit(operation)
        assert [answer.operation.state for answer in watched] == [operation_pb2.OPERATION_STATE_SUCCEEDED]
    elsewhere.close()


def watches(
    stub: operation_service_pb2_grpc.OperationServiceStub, request: operation_service_pb2.WatchOperationRequest
) -> bool:
    """Whether there is a place for one more watcher; it leaves again."""
    watcher = stub.WatchOperation(request, timeout=TIMEOUT_S)
    with suppress(grpc.RpcError):
        next(watcher)
        watcher.cancel()
        return True
    assert watcher.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_a_watcher_that_leaves_frees_its_thread(served: Served) -> None:
    world = served.world()
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    request = operation_service_pb2.WatchOperationRequest(operation_id=operation.id)
    with served.channel(Role.OPERATOR) as channel:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)
        watchers = [stub.WatchOperation(request, timeout=TIMEOUT_S) for _ in range(16)]
        for watcher in watchers:
            assert next(watcher).operation == operation
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.WatchOperation(request, timeout=TIMEOUT_S))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        # The others are served all the while.
        assert stub.GetOperation(operation_service_pb2.GetOperationRequest(operation_id=operation.id), timeout=5)
        for watcher in watchers:
            watcher.cancel()
        deadline = time.monotonic() + TIMEOUT_S
        while not watches(stub, request):
            assert time.monotonic() < deadline


def test_stopping_does_not_wait_for_watchers(database: str, tmp_path: Path) -> None:
    served = Served(database, tmp_path)
    world = served.world()
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    with served.channel(Role.OPERATOR) as channel:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)
        watched = stub.WatchOperation(
            operation_service_pb2.WatchOperationRequest(operation_id=operation.id), timeout=TIMEOUT_S
        )
        next(watched)
        stopping = threading.Thread(target=served.server.stop)
        started = time.monotonic()
        stopping.start()
        with pytest.raises(grpc.RpcError) as ended:
            next(watched)
        stopping.join(timeout=TIMEOUT_S)
        # The grace time is 15 s.
        assert time.monotonic() - started < 10
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    served.topology.close()


def test_leases_run_on_the_clock_of_the_database(served: Served) -> None:
    """No clock is given here, so that PostgreSQL's own is used."""
    before = time.time_ns() // 1000 - 1_000_000
    world = served.world()
    operation = world.begin(add_node_spec(node_message(world.cluster().id)), lease_s=60)
    assert before < operation.create_time.ToMicroseconds() < time.time_ns() // 1000 + 1_000_000
    lease_us = operation.lease_expire_time.ToMicroseconds() - operation.create_time.ToMicroseconds()
    assert lease_us == 60_000_000


def start(directory: Path, *flags: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-m", "services.topology", *flags],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_process_keeps_its_state_over_a_kill(tmp_path: Path) -> None:
    sockets = tmp_path / "run"
    sockets.mkdir(mode=0o700)
    address = f"unix:{sockets}/t.sock"
    create = topology_service_pb2.CreateClusterRequest(request_id="r", file_enabled=True)
    answers: list[Message] = []
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = start(tmp_path, "--listen", address, "--state-dir", str(tmp_path / "state"))
        assert process.stdout is not None
        assert process.stdout.readline() == f"brickyard-topology ready on {address}\n"
        with grpc.insecure_channel(address) as channel:
            wait_until_serving(channel)
            stub = topology_service_pb2_grpc.TopologyServiceStub(channel)
            answers.append(stub.CreateCluster(create, timeout=TIMEOUT_S))
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT_S)
        shutil.rmtree(sockets)
        sockets.mkdir(mode=0o700)
    assert process.returncode == 0
    assert answers[0] == answers[1]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("url", "problem"),
    [("mysql://x/y", "mysql is not supported"), ("postgresql://127.0.0.1:1/x", "does not answer")],
)
def test_the_process_says_what_is_wrong_with_the_database(tmp_path: Path, url: str, problem: str) -> None:
    process = start(tmp_path, "--listen", "127.0.0.1:0", "--insecure-plaintext", "--database", url)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert problem in errors
    assert "Traceback" not in errors


def begin_request(spec: operation_pb2.OperationSpec) -> operation_service_pb2.BeginOperationRequest:
    return operation_service_pb2.BeginOperationRequest(
        request_id=new_id(), spec=spec, owner="g", lease_duration=Duration(seconds=30)
    )


def test_a_begin_whose_answer_was_lost_is_repeated(served: Served) -> None:
    world = served.world()
    request = begin_request(add_node_spec(node_message(world.cluster().id)))
    with served.channel(Role.GATEWAY) as channel:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)
        first = stub.BeginOperation(request, timeout=TIMEOUT_S)
        again = stub.BeginOperation(request, timeout=TIMEOUT_S)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.operation == again.operation


def test_a_new_volume_comes_with_the_nodes_of_its_bricks(served: Served) -> None:
    world = served.world()
    cluster = world.cluster()
    members = world.devices(cluster.id, 3)
    request = begin_request(create_spec(volume_message(cluster.id, members[:2], replica_count=2)))
    with served.channel(Role.GATEWAY) as channel:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)
        first = stub.BeginOperation(request, timeout=TIMEOUT_S)
        again = stub.BeginOperation(request, timeout=TIMEOUT_S)
    told = {node.id: list(node.manage_hostnames) for node in first.nodes}
    there = {node.id: node for node in nodes.list_page(world.store, cluster_id=cluster.id, after="", count=9)}
    assert told == {each.node_id: list(there[each.node_id].manage_hostnames) for each in members[:2]}
    assert list(again.nodes) == []
