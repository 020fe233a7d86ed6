"""Every RPC of the topology against its contract: descriptors, answers, and the errors that its comments name."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from brickyard.topology.v1 import (
    health_pb2,
    health_service_pb2,
    identity_service_pb2,
    operation_pb2,
    operation_service_pb2,
    topology_service_pb2,
    volume_pb2,
)
from services.common.errors import (
    AbortedError,
    AlreadyExistsError,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.access import POLICY
from services.topology.bootstrap import Topology
from tests.unit.topology.block_builders import Hosted
from tests.unit.topology.builders import (
    Clock,
    World,
    add_device_spec,
    add_node_spec,
    clone_spec,
    cloned_bricks,
    create_spec,
    delete_spec,
    device_message,
    device_state_spec,
    expand_spec,
    facts_message,
    more_bricks,
    node_message,
    resync_spec,
    volume_message,
)

TOPOLOGY = topology_service_pb2.DESCRIPTOR.services_by_name["TopologyService"]
OPERATIONS = operation_service_pb2.DESCRIPTOR.services_by_name["OperationService"]
IDENTITY = identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"]
HEALTH = health_service_pb2.DESCRIPTOR.services_by_name["HealthService"]
LEASE = Duration(seconds=30)
ts = topology_service_pb2
os_ = operation_service_pb2


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    with closing(Topology(f"sqlite:///{tmp_path}/topology.db", clock=Clock(), max_watchers=1)) as made:
        yield made


@pytest.fixture
def world(topology: Topology) -> World:
    made = World(topology.store, Clock())
    made.feed = topology.feed
    return made


@pytest.fixture
def server(topology: Topology) -> Any:
    servicers = {
        TOPOLOGY: topology.topology,
        OPERATIONS: topology.operations,
        HEALTH: topology.health,
        IDENTITY: topology.identity,
    }
    clock = grpc_testing.strict_real_time()  # type: ignore[no-untyped-call]
    return grpc_testing.server_from_dictionary(servicers, clock)  # type: ignore[no-untyped-call]


@pytest.fixture
def call(server: Any) -> Callable[..., Any]:
    """Calls a unary RPC by the name of its request's message; insists on OK."""

    def invoke(request: Message) -> Any:
        name = type(request).__name__.removesuffix("Request")
        service = next(each for each in (TOPOLOGY, OPERATIONS, HEALTH, IDENTITY) if name in each.methods_by_name)
        rpc = server.invoke_unary_unary(service.methods_by_name[name], (), request, 10)
        response, _, code, details = rpc.termination()
        assert (code, details) == (grpc.StatusCode.OK, "")
        assert type(response).__name__ == f"{name}Response"
        return response

    return invoke


def test_every_rpc_has_a_rule_for_access() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for service in (TOPOLOGY, OPERATIONS, HEALTH, IDENTITY)
        for method in service.methods
    }
    assert set(POLICY.allowed) == methods


def test_clusters(call: Callable[..., Any]) -> None:
    made = [
        call(ts.CreateClusterRequest(request_id=f"r{n}", file_enabled=True, block_enabled=n > 0)).cluster
        for n in range(3)
    ]
    assert call(ts.CreateClusterRequest(request_id="r0", file_enabled=True)).cluster == made[0]
    assert call(ts.GetClusterRequest(cluster_id=made[1].id)).cluster == made[1]
    ordered = sorted(made, key=lambda cluster: cluster.id)
    first = call(ts.ListClustersRequest(page_size=2))
    assert list(first.clusters) == ordered[:2]
    rest = call(ts.ListClustersRequest(page_size=2, page_token=first.next_page_token))
    assert (list(rest.clusters), rest.next_page_token) == (ordered[2:], "")
    flagged = call(ts.SetClusterFlagsRequest(cluster_id=made[0].id, block_enabled=True)).cluster
    assert (flagged.file_enabled, flagged.block_enabled) == (False, True)
    call(ts.DeleteClusterRequest(cluster_id=made[0].id))
    assert len(call(ts.ListClustersRequest()).clusters) == 2


def test_members(call: Callable[..., Any], world: World) -> None:
    cluster = world.cluster()
    node = world.node(cluster.id)
    device = world.device(node.id)
    volume = world.volume(cluster.id, [device])
    answer = call(ts.GetNodeRequest(node_id=node.id))
    assert ([node.id], [device.id]) == ([answer.node.id], [each.id for each in answer.devices])
    assert [each.id for each in call(ts.ListNodesRequest(cluster_id=cluster.id)).nodes] == [node.id]
    assert dict(call(ts.UpdateNodeTagsRequest(node_id=node.id, change=ts.TAG_CHANGE_SET, tags={"a": "b"})).tags) == {
        "a": "b"
    }
    free = ts.CheckNewNodeRequest(cluster_id=cluster.id, manage_hostnames=["m"], storage_hostnames=["s"])
    assert [each.id for each in call(free).nodes] == [node.id]
    answer = call(ts.GetDeviceRequest(device_id=device.id))
    assert (answer.device.id, answer.node.id) == (device.id, node.id)
    assert [brick.id for brick in answer.device.bricks] == [volume.bricks[0].id]
    tags = call(ts.UpdateDeviceTagsRequest(device_id=device.id, change=ts.TAG_CHANGE_DELETE, tags={"a": ""})).tags
    assert dict(tags) == {}


def test_volumes(call: Callable[..., Any], world: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 2)
    made = sorted(world.volume(cluster.id, devices, replica_count=2).id for _ in range(3))
    answer = call(ts.GetVolumeRequest(volume_id=made[0]))
    assert answer.volume.id == made[0]
    assert len(answer.mount_hosts) == 2
    first = call(ts.ListVolumesRequest(cluster_id=cluster.id, page_size=2, with_bricks=True))
    assert ([each.id for each in first.volumes], len(first.volumes[0].bricks)) == (made[:2], 2)
    rest = call(ts.ListVolumesRequest(page_size=2, page_token=first.next_page_token))
    bare = call(ts.ListVolumesRequest(page_size=2, page_token=first.next_page_token, ids_only=True))
    assert list(bare.volumes) == [volume_pb2.Volume(id=each.id) for each in rest.volumes]
    in_cluster = call(ts.ListVolumesRequest(cluster_id=cluster.id, page_size=2, ids_only=True))
    assert [each.id for each in in_cluster.volumes] == [each.id for each in first.volumes]
    assert ([each.id for each in rest.volumes], list(rest.volumes[0].bricks)) == (made[2:], [])


def test_placement(call: Callable[..., Any], world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    answer = call(ts.GetInventoryRequest(cluster_id=cluster.id))
    assert (answer.complete, [each.id for each in answer.devices]) == (True, [device.id])
    candidates = call(ts.ListCandidateClustersRequest(volume_name="x", max_volumes_per_cluster=1)).clusters
    assert [(each.cluster_id, each.refusal_reason) for each in candidates] == [(cluster.id, "")]
    consistent = call(ts.CheckConsistencyRequest())
    # A cluster, a node with two host names, a device, two operations.
    assert (list(consistent.violations), consistent.checked_count) == ([], 7)


def test_block_volumes(call: Callable[..., Any], world: World) -> None:
    hosted = Hosted(world)
    block = hosted.block(name="b")
    shown = call(topology_service_pb2.GetBlockVolumeRequest(block_volume_id=block.id)).block_volume
    assert shown == block
    listed = call(topology_service_pb2.ListBlockVolumesRequest(cluster_id=hosted.cluster_id, page_size=1))
    assert [each.id for each in listed.block_volumes] == [block.id]
    more = topology_service_pb2.ListBlockVolumesRequest(page_token=listed.next_page_token, page_size=1)
    assert not call(more).block_volumes
    room = topology_service_pb2.FindHostingVolumesRequest(size_bytes=GIB, name="other")
    assert [each.volume_id for each in call(room).hosting_volumes] == [hosted.volume.id]
    room.name = "b"
    assert not call(room).hosting_volumes


def begin_request(spec: operation_pb2.OperationSpec, **fields: Any) -> operation_service_pb2.BeginOperationRequest:
    contents = {"request_id": new_id(), "owner": "g", "lease_duration": LEASE, "spec": spec}
    return os_.BeginOperationRequest(**{**contents, **fields})


def test_the_life_of_an_operation(call: Callable[..., Any], world: World) -> None:
    spec = add_node_spec(node_message(world.cluster().id))
    begun = call(begin_request(spec, request_id="r"))
    assert not begun.replayed
    again = call(begin_request(spec, request_id="r"))
    assert (again.operation, again.replayed) == (begun.operation, True)
    operation_id = begun.operation.id
    running = os_.UpdateOperationRequest(
        operation_id=operation_id, owner="g", state=operation_pb2.OPERATION_STATE_RUNNING
    )
    assert call(running).operation.state == operation_pb2.OPERATION_STATE_RUNNING
    renew = os_.RenewLeasesRequest(owner="g", operation_ids=[operation_id, "0" * 32], lease_duration=LEASE)
    assert list(call(renew).lost_operation_ids) == ["0" * 32]
    assert list(call(os_.ClaimOperationsRequest(owner="h", lease_duration=LEASE)).operations) == []
    committed = call(os_.CommitOperationRequest(operation_id=operation_id, owner="g")).operation
    assert call(os_.GetOperationRequest(operation_id=operation_id)).operation == committed
    assert list(call(os_.ListOperationsRequest(page_size=1)).operations) == [committed]
    assert list(call(os_.ListOperationsRequest(unfinished_only=True)).operations) == []


def test_a_volume_that_is_placed_anew(call: Callable[..., Any], world: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 4)
    begun = call(begin_request(create_spec(volume_message(cluster.id, devices[:3], replica_count=3)))).operation
    first = begun.spec.create_volume.volume.bricks
    bricks = volume_message(cluster.id, devices[1:], replica_count=3).bricks
    request = os_.ReplanOperationRequest(
        operation_id=begun.id, owner="g", bricks=bricks, lease_duration=LEASE, left_brick_ids=[first[0].id], note="why"
    )
    answer = call(request)
    assert (answer.operation.placement_count, answer.operation.note) == (2, "why")
    assert answer.clean_up.spec.clean_up.origin_operation_id == begun.id
    assert [brick.id for brick in answer.clean_up.spec.clean_up.volume.bricks] == [first[0].id]
    assert call(request) == answer
    abort = os_.AbortOperationRequest(
        operation_id=begun.id, owner="g", lease_duration=LEASE, left_brick_ids=[bricks[2].id]
    )
    aborted = call(abort)
    assert call(abort) == aborted
    assert [brick.id for brick in aborted.clean_up.spec.clean_up.volume.bricks] == [bricks[2].id]
    for left in (answer.clean_up, aborted.clean_up):
        call(os_.CommitOperationRequest(operation_id=left.id, owner="g"))
    assert list(call(ts.CheckConsistencyRequest()).violations) == []
    assert not call(os_.ListOperationsRequest(unfinished_only=True)).operations


def test_slots_and_sleepers(call: Callable[..., Any], topology: Topology, world: World) -> None:
    cluster = world.cluster()
    spec = create_spec(volume_message(cluster.id, world.devices(cluster.id, 1)))
    begun = call(begin_request(spec)).operation
    call(os_.CheckSlotRequest(max_in_flight=2))
    assert refused(topology, os_.CheckSlotRequest(max_in_flight=1)).reason is Reason.TOO_MANY_OPERATIONS
    assert call(os_.WakeOperationsRequest()).woken_count == 0
    undoing = operation_pb2.OPERATION_STATE_UNDOING
    call(os_.UpdateOperationRequest(operation_id=begun.id, owner="g", state=undoing, stalled=True))
    call(os_.CheckSlotRequest(max_in_flight=1))
    assert call(os_.WakeOperationsRequest(operation_ids=[begun.id])).woken_count == 1
    renew = os_.RenewLeasesRequest(owner="g", operation_ids=[begun.id], lease_duration=LEASE)
    assert [list(call(renew).woken_operation_ids) for _ in range(2)] == [[begun.id], []]


def test_an_operation_that_is_aborted(call: Callable[..., Any], world: World) -> None:
    begun = call(begin_request(add_node_spec(node_message(world.cluster().id)))).operation
    error = operation_pb2.OperationError(reason="X", message="y", metadata={"a": "b"})
    aborted = call(os_.AbortOperationRequest(operation_id=begun.id, owner="g", error=error)).operation
    assert (aborted.state, aborted.error) == (operation_pb2.OPERATION_STATE_FAILED, error)


def test_a_volume_that_is_copied_and_grows(call: Callable[..., Any], world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    source = call(ts.GetVolumeRequest(volume_id=world.volume(cluster.id, [device]).id)).volume
    cloning = call(begin_request(clone_spec(source, name="copy"))).operation
    assert (cloning.kind, cloning.spec.clone_volume.source) == (operation_pb2.OPERATION_KIND_CLONE_VOLUME, source)
    assert call(ts.GetVolumeRequest(volume_id=source.id)).volume.operation_id == cloning.id
    outcome = cloned_bricks(cloning)
    commit = os_.CommitOperationRequest(operation_id=cloning.id, owner="g", cloned_bricks=outcome)
    assert call(commit).operation.state == operation_pb2.OPERATION_STATE_SUCCEEDED
    copy = call(ts.GetVolumeRequest(volume_id=cloning.target_id)).volume
    assert (copy.name, copy.origin_volume_id) == ("copy", source.id)
    assert (copy.bricks[0].path, copy.bricks[0].lv_name) == (outcome.bricks[0].path, outcome.bricks[0].lv_name)

    growing = call(begin_request(expand_spec(copy.id, more_bricks([device], first_set=1)))).operation
    assert (growing.kind, growing.spec.expand_volume.volume) == (operation_pb2.OPERATION_KIND_EXPAND_VOLUME, copy)
    call(os_.CommitOperationRequest(operation_id=growing.id, owner="g"))
    grown = call(ts.GetVolumeRequest(volume_id=copy.id)).volume
    assert (grown.size_bytes, len(grown.bricks)) == (2 * copy.size_bytes, 2)
    listed = call(ts.ListVolumesRequest(cluster_id=cluster.id)).volumes
    assert {each.id: each.origin_volume_id for each in listed} == {source.id: "", copy.id: source.id}

    measuring = call(begin_request(resync_spec(device.id))).operation
    before = call(ts.GetDeviceRequest(device_id=device.id)).device
    assert (measuring.kind, measuring.spec.resync_device.device) == (
        operation_pb2.OPERATION_KIND_RESYNC_DEVICE,
        before,
    )
    facts = facts_message(2 * before.total_bytes, free_bytes=2 * before.total_bytes - before.used_bytes)
    call(os_.CommitOperationRequest(operation_id=measuring.id, owner="g", device_facts=facts))
    after = call(ts.GetDeviceRequest(device_id=device.id)).device
    assert (after.total_bytes, after.used_bytes) == (2 * before.total_bytes, before.used_bytes)
    assert list(call(ts.CheckConsistencyRequest()).violations) == []


def test_which_operations_are_in_flight(call: Callable[..., Any], topology: Topology, world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    made = [world.volume(cluster.id, [device]) for _ in range(3)]
    call(begin_request(expand_spec(made[0].id, more_bricks([device], first_set=1)), max_in_flight=2))
    call(begin_request(clone_spec(made[1]), max_in_flight=2))
    call(begin_request(resync_spec(device.id), max_in_flight=2))
    for spec in (clone_spec(made[2]), expand_spec(made[2].id, more_bricks([device], first_set=1))):
        assert refused(topology, begin_request(spec, max_in_flight=2)).reason is Reason.TOO_MANY_OPERATIONS
    assert len(call(os_.ListOperationsRequest(unfinished_only=True)).operations) == 3


def watch(server: Any, operation_id: str) -> Any:
    method = OPERATIONS.methods_by_name["WatchOperation"]
    return server.invoke_unary_stream(method, (), os_.WatchOperationRequest(operation_id=operation_id), 20)


def test_a_watch_ends_with_the_operation(server: Any, world: World) -> None:
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    rpc = watch(server, operation.id)
    assert rpc.take_response().operation == operation
    running = world.update(operation, state=operation_pb2.OPERATION_STATE_RUNNING)
    assert rpc.take_response().operation == running
    committed = world.commit(operation)
    assert rpc.take_response().operation == committed
    _, code, _ = rpc.termination()
    assert code is grpc.StatusCode.OK
    # The place is free again: there is one only.
    rpc = watch(server, operation.id)
    assert rpc.take_response().operation == committed


NOBODY = "0" * 32
ERRORS: list[tuple[Message, type[BrickyardError], Reason]] = [
    (ts.CreateClusterRequest(), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (ts.GetClusterRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (ts.ListClustersRequest(page_token="!"), InvalidArgumentError, Reason.INVALID_PAGE_TOKEN),
    (ts.ListClustersRequest(page_size=-1), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (ts.SetClusterFlagsRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (ts.DeleteClusterRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (ts.GetNodeRequest(node_id=NOBODY), NotFoundError, Reason.NODE_NOT_FOUND),
    (ts.ListNodesRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (ts.UpdateNodeTagsRequest(node_id=NOBODY), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (ts.UpdateNodeTagsRequest(node_id=NOBODY, change=ts.TAG_CHANGE_SET), NotFoundError, Reason.NODE_NOT_FOUND),
    (
        ts.CheckNewNodeRequest(cluster_id=NOBODY, manage_hostnames=["m"], storage_hostnames=["s"]),
        NotFoundError,
        Reason.CLUSTER_NOT_FOUND,
    ),
    (ts.CheckNewNodeRequest(cluster_id=NOBODY), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (health_service_pb2.RecordNodeFactsRequest(error="e"), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (health_service_pb2.RecordNodeFactsRequest(node_id=NOBODY), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (health_service_pb2.TakeFactTurnsRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (health_service_pb2.ListNodeFactsRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (health_service_pb2.GetHealthRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (ts.GetDeviceRequest(device_id=NOBODY), NotFoundError, Reason.DEVICE_NOT_FOUND),
    (ts.UpdateDeviceTagsRequest(device_id=NOBODY, change=ts.TAG_CHANGE_SET), NotFoundError, Reason.DEVICE_NOT_FOUND),
    (ts.GetVolumeRequest(volume_id=NOBODY), NotFoundError, Reason.VOLUME_NOT_FOUND),
    (ts.ListVolumesRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (ts.GetInventoryRequest(cluster_id=NOBODY), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (ts.ListCandidateClustersRequest(cluster_ids=[NOBODY]), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (begin_request(operation_pb2.OperationSpec()), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (begin_request(delete_spec(NOBODY), lease_duration=None), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (begin_request(delete_spec(NOBODY)), NotFoundError, Reason.VOLUME_NOT_FOUND),
    (begin_request(add_node_spec(node_message(NOBODY))), NotFoundError, Reason.CLUSTER_NOT_FOUND),
    (begin_request(add_device_spec(device_message(NOBODY))), NotFoundError, Reason.NODE_NOT_FOUND),
    (
        begin_request(expand_spec(NOBODY, more_bricks([device_message(NOBODY)], first_set=1))),
        NotFoundError,
        Reason.VOLUME_NOT_FOUND,
    ),
    (begin_request(expand_spec(NOBODY, [])), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (begin_request(clone_spec(volume_pb2.Volume(id=NOBODY))), NotFoundError, Reason.VOLUME_NOT_FOUND),
    (begin_request(clone_spec(volume_pb2.Volume())), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (begin_request(resync_spec(NOBODY)), NotFoundError, Reason.DEVICE_NOT_FOUND),
    (begin_request(resync_spec("")), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (begin_request(device_state_spec(NOBODY, 1)), NotFoundError, Reason.DEVICE_NOT_FOUND),
    (begin_request(device_state_spec(NOBODY, 0)), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (begin_request(create_spec(volume_pb2.Volume())), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (os_.UpdateOperationRequest(operation_id=NOBODY, owner="g"), NotFoundError, Reason.OPERATION_NOT_FOUND),
    (os_.CommitOperationRequest(operation_id=NOBODY, owner="g"), NotFoundError, Reason.OPERATION_NOT_FOUND),
    (os_.CommitOperationRequest(owner="g"), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (os_.AbortOperationRequest(operation_id=NOBODY, owner="g"), NotFoundError, Reason.OPERATION_NOT_FOUND),
    (os_.RenewLeasesRequest(lease_duration=LEASE), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (
        os_.ReplanOperationRequest(operation_id=NOBODY, owner="g", lease_duration=LEASE),
        NotFoundError,
        Reason.OPERATION_NOT_FOUND,
    ),
    (os_.ReplanOperationRequest(operation_id=NOBODY, owner="g"), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (os_.CheckSlotRequest(max_in_flight=-1), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (
        os_.WakeOperationsRequest(operation_ids=[f"{n:032x}" for n in range(1001)]),
        InvalidArgumentError,
        Reason.INVALID_ARGUMENT,
    ),
    (os_.ClaimOperationsRequest(owner="g"), InvalidArgumentError, Reason.INVALID_ARGUMENT),
    (os_.GetOperationRequest(operation_id=NOBODY), NotFoundError, Reason.OPERATION_NOT_FOUND),
    (os_.ListOperationsRequest(page_token="!"), InvalidArgumentError, Reason.INVALID_PAGE_TOKEN),
]


def refused(topology: Topology, request: Message) -> BrickyardError:
    name = type(request).__name__.removesuffix("Request")
    faces: tuple[object, ...] = (topology.topology, topology.operations, topology.health)
    servicer = next(each for each in faces if hasattr(each, name))
    with pytest.raises(BrickyardError) as error:
        getattr(servicer, name)(request, None)
    return error.value


@pytest.mark.parametrize(("request_", "kind", "reason"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors(topology: Topology, request_: Message, kind: type[BrickyardError], reason: Reason) -> None:
    error = refused(topology, request_)
    assert (type(error), error.reason) == (kind, reason)
    assert error.message


def test_errors_that_need_a_state(topology: Topology, world: World) -> None:
    cluster = world.cluster()
    node = world.node(cluster.id, manage_hostnames=["m"])
    adding = world.begin(add_device_spec(device_message(node.id, path="/dev/sdb")))
    commit = os_.CommitOperationRequest(operation_id=adding.id, owner="other", device_facts=facts_message())
    same_path = begin_request(add_device_spec(device_message(node.id, path="/dev/sdb")))
    same_name = ts.CheckNewNodeRequest(cluster_id=cluster.id, manage_hostnames=["m"], storage_hostnames=["s"])
    volume = begin_request(create_spec(volume_message(cluster.id, [device_message(node.id)])))
    device = world.device(node.id)
    held, hosting = world.volume(cluster.id, [device]), world.volume(cluster.id, [device], block=True)
    cloning = world.begin(clone_spec(held))
    measuring = world.begin(resync_spec(device.id))
    later = more_bricks([device], first_set=2)
    too_small = os_.CommitOperationRequest(
        operation_id=measuring.id, owner="gateway-1", device_facts=facts_message(1 << 30)
    )
    unnamed = os_.CommitOperationRequest(operation_id=cloning.id, owner="gateway-1")
    cases: list[tuple[Message, type[BrickyardError], Reason]] = [
        (ts.DeleteClusterRequest(cluster_id=cluster.id), FailedPreconditionError, Reason.CLUSTER_NOT_EMPTY),
        (commit, FailedPreconditionError, Reason.LEASE_LOST),
        (same_path, AlreadyExistsError, Reason.DEVICE_PATH_IN_USE),
        (same_name, AlreadyExistsError, Reason.HOSTNAME_IN_USE),
        (volume, BrickyardError, Reason.PLAN_OUTDATED),
        (begin_request(clone_spec(held)), FailedPreconditionError, Reason.TARGET_BUSY),
        (begin_request(expand_spec(held.id, later)), FailedPreconditionError, Reason.TARGET_BUSY),
        (begin_request(resync_spec(device.id)), FailedPreconditionError, Reason.TARGET_BUSY),
        (begin_request(clone_spec(hosting)), FailedPreconditionError, Reason.NOT_SUPPORTED_YET),
        (begin_request(expand_spec(hosting.id, later)), AbortedError, Reason.PLAN_OUTDATED),
        (too_small, FailedPreconditionError, Reason.NO_SPACE_ON_DEVICE),
        (unnamed, InvalidArgumentError, Reason.INVALID_ARGUMENT),
    ]
    for request, kind, reason in cases:
        error = refused(topology, request)
        assert error.reason is reason
        assert isinstance(error, kind)


def test_facts_and_health(call: Callable[..., Any], world: World) -> None:
    cluster = world.cluster()
    nodes = sorted(world.node(cluster.id).id for _ in range(3))
    hs = health_service_pb2
    turns = call(hs.TakeFactTurnsRequest(interval=Duration(seconds=60), max_count=2)).turns
    assert len(turns) == 2
    turns.extend(call(hs.TakeFactTurnsRequest(interval=Duration(seconds=60))).turns)
    assert sorted(turn.node.id for turn in turns) == nodes
    assert len(call(hs.TakeFactTurnsRequest(cluster_id=cluster.id)).turns) == 3
    for turn in turns[:2]:
        seen = health_pb2.NodeFacts(glusterd_running=True, glusterd_version="10.3")
        call(hs.RecordNodeFactsRequest(node_id=turn.node.id, turn_time=turn.turn_time, facts=seen))
    call(hs.RecordNodeFactsRequest(node_id=turns[2].node.id, turn_time=turns[2].turn_time, error="no route"))
    first = call(hs.ListNodeFactsRequest(cluster_id=cluster.id, page_size=2))
    rest = call(hs.ListNodeFactsRequest(page_size=2, page_token=first.next_page_token))
    assert [each.node_id for each in (*first.observations, *rest.observations)] == nodes
    assert rest.next_page_token == ""
    report = call(hs.GetHealthRequest(cluster_id=cluster.id)).report
    assert [(each.kind, each.severity, each.node_id) for each in report.problems] == [
        ("NODE_UNREACHABLE", health_pb2.SEVERITY_CRITICAL, turns[2].node.id)
    ]
    assert report.problems[0].message.endswith("does not answer: no route")
    assert call(hs.GetHealthRequest()).report.problems == report.problems
