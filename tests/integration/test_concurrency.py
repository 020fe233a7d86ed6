"""Many at once: limits, contention for space, and requests that come twice."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import operation_pb2, volume_pb2
from services.common.ids import new_id
from services.common.reasons import Reason
from tests.integration.clients import Rest, refusal
from tests.integration.stack import ON_SQLITE, Stack
from tests.integration.world import Cluster, World

GIB = 1 << 30


def test_throttle_refuses_the_third_and_frees_its_slots(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    held_up = {"command": "verb CreateVolume", "action": "stall", "stall_s": 1.5, "times": 2}
    with stack.extra_gateway("--max-inflight-operations", "2") as gateway, stack.fault(held_up):
        rest = stack.rest(gateway)
        begun = [world.begun(cluster, gateway=gateway, size=1) for _ in range(2)]
        for each in begun:
            world.await_step(each, "create volume")
        refused = rest.send("POST", "/volumes", cluster.volume_body(1))
        assert (refused.status_code, refused.text) == (429, "Server busy. Retry operation later.\n")
        assert int(refused.headers["retry-after"]) > 0
        # What makes no bricks is not limited.
        assert rest.send("POST", "/clusters", {"file": True, "block": True}).status_code == 201
        for each in begun:
            assert stack.stubs().ended(each).state == operation_pb2.OPERATION_STATE_SUCCEEDED
        volumes = [rest.made("/volumes", cluster.volume_body(1))["id"] for _ in range(3)]
        assert len(set(volumes)) == 3
    for volume in world.rest.json(f"/clusters/{cluster.id}")["volumes"]:
        assert world.rest.change("DELETE", f"/volumes/{volume}").status_code == 204
    cluster.assert_untouched()


def _create(rest: Rest, cluster: Cluster, size: int) -> tuple[int, str]:
    answer = rest.change("POST", "/volumes", cluster.volume_body(size))
    return answer.status_code, answer.text


def test_a_nearly_full_cluster_is_not_overbooked(world: World, stack: Stack) -> None:
    # Four nodes with a disk of 100 GiB each take four volumes of three bricks of 30 GiB, and no fifth.
    cluster = world.cluster(4)
    with (
        stack.extra_gateway("--max-inflight-operations", "0") as one,
        stack.extra_gateway("--max-inflight-operations", "0") as other,
        ThreadPoolExecutor(16) as pool,
    ):
        clients = [stack.rest(one), stack.rest(other)]
        asked = [pool.submit(_create, clients[number % 2], cluster, 30) for number in range(16)]
        answers = [each.result() for each in asked]
    made = [text for status, text in answers if status == 303]
    refused = [(status, text) for status, text in answers if status != 303]
    volumes = world.rest.json(f"/clusters/{cluster.id}")["volumes"]
    assert 3 <= len(made) == len(volumes) <= 4
    for status, text in refused:
        assert status == 500
        assert text.startswith("Failed to allocate new volume: No space")
    bricks = [brick for volume in volumes for brick in world.rest.json(f"/volumes/{volume}")["bricks"]]
    on_nodes = sorted(point for held in cluster.holdings().values() for point in held.mounts)
    assert on_nodes == sorted(brick["path"].removesuffix("/brick") for brick in bricks)
    for total, used, reserved in stack.stubs().spaces(cluster.nodes).values():
        assert reserved == 0
        assert used <= total
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(lambda volume: world.rest.change("DELETE", f"/volumes/{volume}").status_code, volumes))
    assert ends == [204] * len(volumes)
    cluster.assert_untouched()


def test_concurrent_deletes_of_one_volume_are_one(world: World) -> None:
    cluster = world.cluster(3)
    volume = world.rest.made("/volumes", cluster.volume_body(1))["id"]
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(lambda _: world.rest.change("DELETE", f"/volumes/{volume}").status_code, range(4)))
    assert ends.count(204) == 1
    assert set(ends) <= {204, 404, 500}
    cluster.assert_untouched()


def _request(cluster: Cluster, request_id: str, **changes: object) -> pb.CreateVolumeRequest:
    request = pb.CreateVolumeRequest(
        request_id=request_id,
        size_bytes=2 * GIB,
        cluster_ids=[cluster.id],
        durability=volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3),
    )
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def test_a_repeated_request_is_one_volume(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    operator = stack.stubs().operator
    first = operator.CreateVolume(_request(cluster, "order-1-" + cluster.id), timeout=10).operation
    again = operator.CreateVolume(_request(cluster, "order-1-" + cluster.id), timeout=10).operation
    assert (again.id, again.target_id) == (first.id, first.target_id)
    assert stack.stubs().ended(first.id).state == operation_pb2.OPERATION_STATE_SUCCEEDED
    late = operator.CreateVolume(_request(cluster, "order-1-" + cluster.id), timeout=10).operation
    assert (late.id, late.state) == (first.id, operation_pb2.OPERATION_STATE_SUCCEEDED)
    assert world.rest.json(f"/clusters/{cluster.id}")["volumes"] == [first.target_id]


@ON_SQLITE
@pytest.mark.parametrize("change", [{"size_bytes": 3 * GIB}, {"name": "other"}, {"gid": 7}], ids=str)
def test_another_request_with_the_same_id_is_refused(world: World, stack: Stack, change: dict[str, object]) -> None:
    cluster = world.cluster(3)
    operator, request_id = stack.stubs().operator, new_id()
    first = operator.CreateVolume(_request(cluster, request_id), timeout=10).operation
    with pytest.raises(grpc.RpcError) as caught:
        operator.CreateVolume(_request(cluster, request_id, **change), timeout=10)
    assert refusal(caught.value).reason is Reason.REQUEST_ID_REUSED
    with pytest.raises(grpc.RpcError) as caught:
        operator.DeleteVolume(pb.DeleteVolumeRequest(request_id=request_id, volume_id=first.target_id), timeout=10)
    assert refusal(caught.value).reason is Reason.REQUEST_ID_REUSED
    assert stack.stubs().ended(first.id).state == operation_pb2.OPERATION_STATE_SUCCEEDED
    assert len(world.rest.json(f"/clusters/{cluster.id}")["volumes"]) == 1


def test_the_same_request_from_many_at_once_is_one_volume(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    request = _request(cluster, new_id())
    with stack.extra_gateway() as other, ThreadPoolExecutor(8) as pool:
        operators = [stack.stubs().operator, stack.stubs(gateway=other).operator]
        asked = [pool.submit(operators[number % 2].CreateVolume, request, timeout=15) for number in range(8)]
        ids = {each.result().operation.id for each in asked}
    assert len(ids) == 1
    assert stack.stubs().ended(ids.pop()).state == operation_pb2.OPERATION_STATE_SUCCEEDED
    assert len(world.rest.json(f"/clusters/{cluster.id}")["volumes"]) == 1


@ON_SQLITE
def test_idempotency_key_over_rest(world: World) -> None:
    cluster = world.cluster(3)
    key = {"Idempotency-Key": new_id()}
    first = world.rest.send("POST", "/volumes", cluster.volume_body(1), headers=key)
    again = world.rest.send("POST", "/volumes", cluster.volume_body(1), headers=key)
    assert (first.status_code, first.headers["location"]) == (202, again.headers["location"])
    other = world.rest.send("POST", "/volumes", cluster.volume_body(2), headers=key)
    assert other.status_code in {400, 409}
    assert world.rest.follow(first).status_code == 303
    assert len(world.rest.json(f"/clusters/{cluster.id}")["volumes"]) == 1
    made = world.rest.send("POST", "/clusters", {"file": True, "block": True}, headers={"Idempotency-Key": new_id()})
    repeated = world.rest.send(
        "POST", "/clusters", {"file": True, "block": True}, headers={"Idempotency-Key": made.json()["id"]}
    )
    assert repeated.json()["id"] != made.json()["id"]
    key = {"Idempotency-Key": new_id()}
    twice = [world.rest.send("POST", "/clusters", {"file": True, "block": True}, headers=key).json() for _ in "ab"]
    assert twice[0] == twice[1]
