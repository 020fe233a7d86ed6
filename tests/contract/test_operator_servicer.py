"""OperatorService over gRPC, in this process, on use cases in memory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.gateway.v1.operator_service_pb2_grpc import (
    OperatorServiceServicer,
    OperatorServiceStub,
    add_OperatorServiceServicer_to_server,
)
from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, operation_service_pb2, volume_pb2
from gateway.operator.servicer import ACCESS, OperatorServicer
from gateway.usecases import NewBlockVolume, NewVolume
from services.common.channels import call_aio, open_aio_channel, stream_aio
from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.interceptors import AioServerInterceptor
from services.common.reasons import Reason
from tests.unit.gateway_heketi.fake_health import CLUSTER_ID, FakeHealth
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases

GIB = 1 << 30
METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["OperatorService"].methods]


class FakeOperations:
    """The part of topology's OperationService that is passed through."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.states = [operation_pb2.OPERATION_STATE_RUNNING, operation_pb2.OPERATION_STATE_SUCCEEDED]
        self.failure: BrickyardError | None = None

    async def ListOperations(self, request: Any, **_call: Any) -> Any:
        self.asked.append(request)
        return operation_service_pb2.ListOperationsResponse(
            operations=[operation_pb2.Operation(id="1" * 32)], next_page_token="more"
        )

    async def WatchOperation(self, request: Any, **_call: Any) -> AsyncIterator[Any]:
        self.asked.append(request)
        if self.failure:
            raise self.failure
        for state in self.states:
            yield operation_service_pb2.WatchOperationResponse(
                operation=operation_pb2.Operation(id=request.operation_id, state=state)
            )


class Face:
    """A served OperatorServicer."""

    def __init__(self, runner: asyncio.Runner, directory: Path) -> None:
        self.use_cases = FakeUseCases()
        self.operations = FakeOperations()
        self.health = FakeHealth()
        self._runner = runner
        self._address = f"unix:{directory}/s"
        runner.run(self._start())

    async def _start(self) -> None:
        self._server = grpc.aio.server(interceptors=[AioServerInterceptor(ACCESS)])
        servicer = OperatorServicer(self.use_cases, self.operations, self.health)
        add_OperatorServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(self._address)
        await self._server.start()
        self._channel = open_aio_channel(self._address, None)
        self._stub: Any = OperatorServiceStub(self._channel)

    def close(self) -> None:
        self._runner.run(self._stop())

    async def _stop(self) -> None:
        await self._channel.close()
        await self._server.stop(0.5)

    def __call__(self, method: str, **fields: Any) -> Any:
        request = getattr(pb, f"{method}Request")(**fields)
        return self._runner.run(call_aio(getattr(self._stub, method), request, timeout_s=10))

    def watch(self, operation_id: str) -> list[operation_pb2.Operation]:
        async def collect() -> list[operation_pb2.Operation]:
            request = pb.WatchOperationRequest(operation_id=operation_id)
            return [answer.operation async for answer in stream_aio(self._stub.WatchOperation, request)]

        return self._runner.run(collect())


@pytest.fixture
def face() -> Iterator[Face]:
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as directory:
        made = Face(runner, Path(directory))
        yield made
        made.close()


def cluster_of(face: Face) -> str:
    return str(face("CreateCluster", file_enabled=True, block_enabled=True).cluster.id)


def node_of(face: Face, cluster: str, name: str = "node1") -> str:
    added = face("AddNode", cluster_id=cluster, zone=1, manage_hostnames=[name], storage_hostnames=[f"s-{name}"])
    return str(added.operation.target_id)


def call_of(face: Face, method: str) -> tuple[Any, str | None]:
    """Argument and request id of the last call of a use case."""
    return [(argument, request_id) for name, argument, request_id in face.use_cases.calls if name == method][-1]


def test_every_rpc_is_served() -> None:
    for name in METHODS:
        served = getattr(OperatorServicer, name)
        assert served is not getattr(OperatorServiceServicer, name), f"{name} is not implemented"


def test_cleanup(face: Face) -> None:
    face("CleanupOperations")
    assert call_of(face, "cleanup_operations") == ((), None)
    face("CleanupOperations", operation_ids=["a", "b"])
    assert call_of(face, "cleanup_operations") == (("a", "b"), None)


@pytest.mark.parametrize("rebalance", [{}, {"rebalance": True}, {"rebalance": False}])
def test_whether_data_is_moved_is_the_gateways_setting_or_said(face: Face, rebalance: dict[str, bool]) -> None:
    cluster = cluster_of(face)
    face("AddDevice", node_id=node_of(face, cluster), path="/dev/sdb")
    volume = face("CreateVolume", size_bytes=GIB, cluster_ids=[cluster]).operation.target_id
    face("ExpandVolume", volume_id=volume, added_size_bytes=GIB, request_id="r", **rebalance)
    assert call_of(face, "expand_volume") == ((volume, GIB, *rebalance.values()), "r")


def test_every_field_of_a_volume_reaches_the_use_case(face: Face) -> None:
    durability = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=4, redundancy_count=2)
    cluster = cluster_of(face)
    fields: dict[str, Any] = {
        "size_bytes": 7 * GIB,
        "name": "n",
        "cluster_ids": [cluster],
        "durability": durability,
        "gid": 9,
        "options": ["a b", "c d"],
        "block": True,
        "snapshot_enabled": True,
        "snapshot_factor": 1.5,
    }
    with pytest.raises(BrickyardError):
        # The fake has no room; what it was asked is what counts.
        face("CreateVolume", request_id="order", **fields)
    asked, request_id = call_of(face, "create_volume")
    expected = NewVolume(**{**fields, "cluster_ids": (cluster,), "options": ("a b", "c d")})
    assert (asked, request_id) == (expected, "order")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"type": volume_pb2.DURABILITY_TYPE_NONE}),
        ({"durability": {"replica_count": 3}}, {"type": volume_pb2.DURABILITY_TYPE_NONE, "replica_count": 3}),
    ],
)
def test_durability_is_none_when_it_is_not_told(face: Face, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    with pytest.raises(BrickyardError):
        face("CreateVolume", size_bytes=GIB, **fields)
    asked, request_id = call_of(face, "create_volume")
    assert asked.durability == volume_pb2.Durability(**expected)
    assert request_id is None


def test_a_factor_without_snapshots_is_not_looked_at(face: Face) -> None:
    with pytest.raises(BrickyardError):
        face("CreateVolume", size_bytes=GIB, snapshot_factor=50.0)
    assert call_of(face, "create_volume")[0].snapshot_factor == 1.0


def test_nodes_and_devices(face: Face) -> None:
    cluster = cluster_of(face)
    tags = {"rack": "a"}
    names = {"manage_hostnames": ["m1", "m2"], "storage_hostnames": ["s1"]}
    operation = face("AddNode", request_id="r", cluster_id=cluster, zone=3, tags=tags, **names).operation
    asked, request_id = call_of(face, "add_node")
    assert (asked.zone, asked.manage_hostnames, asked.storage_hostnames) == (3, ("m1", "m2"), ("s1",))
    assert (dict(asked.tags), request_id) == (tags, "r")
    node = operation.target_id
    assert face("GetNode", node_id=node).node.zone == 3
    face("AddDevice", node_id=node, path="/dev/sdb", tags=tags, destroy_data=True)
    added, _ = call_of(face, "add_device")
    assert (added.path, dict(added.tags), added.destroy_data) == ("/dev/sdb", tags, True)
    (device,) = face("GetNode", node_id=node).devices
    assert face("GetDevice", device_id=device.id).device.path == "/dev/sdb"
    face("SetNodeState", node_id=node, state=node_pb2.NODE_STATE_OFFLINE, skip_heal_check=True, request_id="s")
    face("SetDeviceState", device_id=device.id, state=device_pb2.DEVICE_STATE_OFFLINE)
    assert face("GetNode", node_id=node).node.state == node_pb2.NODE_STATE_OFFLINE
    assert face("GetDevice", device_id=device.id).device.state == device_pb2.DEVICE_STATE_OFFLINE
    face("SetDeviceState", device_id=device.id, state=device_pb2.DEVICE_STATE_FAILED)
    face("DeleteDevice", device_id=device.id)
    face("DeleteNode", node_id=node)
    assert face("ListNodes", cluster_id=cluster).nodes == []


def test_lists_come_in_pages_without_gaps(face: Face) -> None:
    for _ in range(5):
        cluster_of(face)
    everything = [each.id for each in face("ListClusters").clusters]
    assert everything == sorted(everything)
    seen: list[str] = []
    token = ""
    for _ in range(3):
        answer = face("ListClusters", page_size=2, page_token=token)
        seen += [each.id for each in answer.clusters]
        token = answer.next_page_token
    assert (seen, token) == (everything, "")


@pytest.mark.parametrize("method", ["ListClusters", "ListNodes", "ListVolumes"])
def test_wrong_pages_are_refused(face: Face, method: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        face(method, page_token="???")
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN
    with pytest.raises(InvalidArgumentError) as wrong:
        face(method, page_size=-1)
    assert wrong.value.metadata["field"] == "page_size"


def test_operations_are_passed_through(face: Face) -> None:
    answer = face("ListOperations", page_size=7, page_token="t", unfinished_only=True)
    (asked,) = face.operations.asked
    assert (asked.page_size, asked.page_token, asked.unfinished_only) == (7, "t", True)
    assert (answer.operations[0].id, answer.next_page_token) == ("1" * 32, "more")


def test_watching_gives_every_change(face: Face) -> None:
    assert [each.state for each in face.watch("2" * 32)] == face.operations.states
    assert face.operations.asked[0].operation_id == "2" * 32
    face.operations.failure = NotFoundError(Reason.OPERATION_NOT_FOUND, "none such")
    with pytest.raises(NotFoundError, match="none such"):
        face.watch("3" * 32)


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError(Reason.CLUSTER_NOT_FOUND, "no such cluster", cluster_id="x"),
        FailedPreconditionError(Reason.CLUSTER_NOT_EMPTY, "it has nodes"),
        ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "8 operations are in flight", in_flight=8),
    ],
    ids=lambda error: error.reason.value,
)
def test_errors_arrive_as_they_were_raised(face: Face, error: BrickyardError) -> None:
    face.use_cases.failures["delete_cluster"] = error
    with pytest.raises(type(error)) as caught:
        face("DeleteCluster", cluster_id="1" * 32)
    assert (caught.value.reason, caught.value.message) == (error.reason, error.message)
    assert caught.value.metadata == error.metadata


def test_a_surprise_tells_no_details(face: Face) -> None:
    face.use_cases.crashes["delete_cluster"] = RuntimeError("the password is x")
    with pytest.raises(InternalError) as caught:
        face("DeleteCluster", cluster_id="1" * 32)
    assert caught.value.reason is Reason.INTERNAL
    assert "password" not in caught.value.message + str(caught.value.metadata)


def test_health_and_capacity(face: Face) -> None:
    report = face("GetHealth", refresh=True).report
    assert [problem.kind for problem in report.problems] == ["NODE_UNREACHABLE", "POOL_DATA_FULL", "DEVICE_FULL"]
    assert face.health.refreshed == [True]
    status = face("GetDiskStatus", cluster_id=CLUSTER_ID)
    assert [each.path for each in status.disks] == ["/dev/sdb"]
    assert [each.hostname for each in status.silent_nodes] == ["node2"]
    size = face("GetMaxVolumeSize", cluster_id=CLUSTER_ID, options=["user.heketi.zone-checking strict"])
    assert (size.size_bytes, size.available_disk_count, size.available_node_count) == (7 << 30, 1, 1)
    assert [each.error for each in size.silent_nodes] == ["the agent does not answer"]
    (question,) = face.health.asked
    assert (question.durability.replica_count, question.snapshot_factor) == (3, 1.0)
    assert question.options == ("user.heketi.zone-checking strict",)
    free = face("ListFreeDisks", cluster_id=CLUSTER_ID)
    assert [(node.hostname, [disk.path for disk in node.disks], node.error) for node in free.nodes] == [
        ("node1", ["/dev/sdc"], ""),
        ("node2", [], "the agent does not answer"),
    ]


def test_block_volumes(face: Face) -> None:
    cluster = cluster_of(face)
    for name in ("n1", "n2", "n3"):
        face("AddDevice", node_id=node_of(face, cluster, name), path="/dev/sdb")
    replicated = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)
    hosting = face("CreateVolume", size_bytes=100 * GIB, durability=replicated, block=True).operation.target_id
    made = face(
        "CreateBlockVolume", request_id="r", size_bytes=4 * GIB, name="b", cluster_ids=[cluster], ha_count=2, auth=True
    ).operation
    asked = NewBlockVolume(size_bytes=4 * GIB, name="b", cluster_ids=(cluster,), ha_count=2, auth=True)
    assert call_of(face, "create_block_volume") == (asked, "r")
    shown = face("GetBlockVolume", block_volume_id=made.target_id).block_volume
    assert (shown.hosting_volume_id, shown.ha_count, shown.password) == (hosting, 2, "secret")
    listed = face("ListBlockVolumes", cluster_id=cluster, page_size=1)
    assert ([each.id for each in listed.block_volumes], listed.next_page_token) == ([shown.id], "")
    face("ExpandBlockVolume", request_id="e", block_volume_id=shown.id, new_size_bytes=6 * GIB)
    assert call_of(face, "expand_block_volume") == ((shown.id, 6 * GIB), "e")
    locked = volume_pb2.BLOCK_RESTRICTION_LOCKED
    face("SetBlockRestriction", request_id="s", volume_id=hosting, restriction=locked)
    assert call_of(face, "set_block_restriction") == ((hosting, locked), "s")
    face("DeleteBlockVolume", request_id="d", block_volume_id=shown.id)
    assert call_of(face, "delete_block_volume") == (shown.id, "d")
    with pytest.raises(NotFoundError):
        face("GetBlockVolume", block_volume_id=shown.id)
