"""Processes that die in the middle of an operation: it is finished or taken back, and nothing is orphaned."""

from collections import Counter

import pytest

from brickyard.topology.v1 import operation_pb2
from tests.integration.stack import ON_SQLITE, Stack, wait_until
from tests.integration.world import World, operation_id

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
# Longer than a lease and a look for lost operations, so that the taker comes while the first request is still held up.
STALL_S = 4.0


def stalled(command: str, seconds: float = STALL_S, **more: object) -> dict[str, object]:
    return {"command": command, "action": "stall", "stall_s": seconds, **more}


def calls_ended(world: World) -> Counter[str]:
    """How many calls of each verb the agents have been through with, whatever came of them."""
    server = world.stack.agents_server
    events = [*server.events("rpc.done"), *server.events("rpc.failed")]
    return Counter(event["method"].rpartition("/")[2] for event in events)


def die_while_creating(world: World, command: str, step: str) -> None:
    cluster = world.cluster(3)
    before, calls = cluster.holdings(), calls_ended(world)
    with world.stack.fault(stalled(command)):
        with world.stack.extra_gateway() as gateway:
            begun = world.begun(cluster, gateway=gateway, name="halfway")
            world.await_step(begun, step)
            gateway.kill()
        ended = world.stack.stubs().ended(begun)
        assert (ended.state, ended.owner) == (FAILED, world.stack.gateway.name)
        assert ended.attempt_count == 2
        assert "the gateway that ran the operation stopped" in ended.error.message
        # Also what was held up on its way must not do harm any more when it arrives.
        expected = Counter(CreateBrick=3, CreateVolume=int(step == "create volume"))
        wait_until(lambda: calls_ended(world) - calls >= expected, "the held up calls to end")
        cluster.assert_untouched("halfway")
        assert cluster.holdings() == before
    answer = world.rest.send("GET", f"/queue/{begun}")
    assert (answer.status_code, ended.error.message in answer.text) == (500, True)
    assert world.rest.made("/volumes", cluster.volume_body(name="halfway"))["name"] == "halfway"


def test_gateway_killed_while_gluster_makes_the_volume(world: World) -> None:
    die_while_creating(world, "^gluster volume create", "create volume")


@ON_SQLITE
def test_gateway_killed_while_a_brick_is_made(world: World) -> None:
    die_while_creating(world, "lvm lvcreate", "create brick")


@ON_SQLITE
@pytest.mark.parametrize(
    ("verb", "step"),
    [
        pytest.param("CreateBrick", "create brick", id="brick"),
        pytest.param("CreateVolume", "create volume", id="volume"),
    ],
)
def test_gateway_killed_while_its_request_is_on_its_way(world: World, verb: str, step: str) -> None:
    die_while_creating(world, f"verb {verb}", step)


@ON_SQLITE
@pytest.mark.parametrize("command", ["verb DeleteVolume", "lvm lvremove"])
def test_gateway_killed_while_deleting(world: World, command: str) -> None:
    die_while_deleting(world, command)


def test_gateway_killed_while_deleting_bricks(world: World) -> None:
    die_while_deleting(world, "verb DeleteBrick")


def die_while_deleting(world: World, command: str) -> None:
    cluster = world.cluster(3)
    volume = world.rest.made("/volumes", cluster.volume_body())
    with world.stack.fault(stalled(command, 2.5)), world.stack.extra_gateway() as gateway:
        accepted = world.stack.rest(gateway).send("DELETE", f"/volumes/{volume['id']}")
        begun = operation_id(accepted.headers["location"])
        world.await_step(begun, "delete volume" if command.endswith("DeleteVolume") else "delete brick")
        gateway.kill()
        ended = world.stack.stubs().ended(begun)
    assert (ended.state, ended.owner, ended.attempt_count) == (SUCCEEDED, world.stack.gateway.name, 2)
    assert world.rest.send("GET", f"/queue/{begun}").status_code == 204
    cluster.assert_untouched(volume["name"])


def test_topology_killed_and_restarted_in_the_middle(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    with stack.fault(stalled("verb CreateVolume", 1.5)):
        begun = world.begun(cluster, name="through")
        world.await_step(begun, "create volume")
        stack.topology.kill()
        # It comes back after the work on the nodes is done, so that the outcome waits for it.
        wait_until(lambda: cluster.has_volume("through"), "the volume on the nodes")
        stack.topology.start()
    ended = stack.stubs().ended(begun)
    assert (ended.state, ended.error.message) == (SUCCEEDED, "")
    (volume,) = world.rest.json(f"/clusters/{cluster.id}")["volumes"]
    assert world.rest.change("DELETE", f"/volumes/{volume}").status_code == 204
    cluster.assert_untouched("through")


def test_topology_killed_while_an_operation_is_taken_back(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    failing = {"command": "verb CreateVolume", "stderr": "no"}
    with stack.fault(failing, stalled("verb DeleteBrick", 1.5)):
        begun = world.begun(cluster, name="back")
        world.await_step(begun, "delete brick")
        stack.topology.kill()
        wait_until(lambda: all(held.empty for held in cluster.holdings().values()), "the bricks to be gone")
        stack.topology.start()
    ended = stack.stubs().ended(begun)
    assert (ended.state, ended.error.message) == (FAILED, "no")
    cluster.assert_untouched("back")


@ON_SQLITE
def test_allocator_restarted(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    assert stack.allocator.stop() == 0
    refused = world.rest.send("POST", "/volumes", cluster.volume_body())
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    stack.allocator.start()
    volume = world.rest.made("/volumes", cluster.volume_body())
    assert world.rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204
    cluster.assert_untouched()


@ON_SQLITE
def test_terminated_gateway_ends_what_it_runs(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    with stack.fault(stalled("verb CreateVolume", 1.5)), stack.extra_gateway("--grace-seconds", "10") as gateway:
        begun = world.begun(cluster, gateway=gateway, name="orderly")
        world.await_step(begun, "create volume")
        assert gateway.stop() == 0
        ended = stack.stubs().operation(begun)
    assert (ended.state, ended.owner, ended.attempt_count) == (SUCCEEDED, gateway.name, 1)
    assert gateway.events("server.stopping")[0]["in_flight"] == 1
    assert gateway.events("server.stopped")


@ON_SQLITE
def test_terminated_gateway_hands_over_what_takes_too_long(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    with stack.fault(stalled("^gluster volume create")), stack.extra_gateway("--grace-seconds", "0.2") as gateway:
        begun = world.begun(cluster, gateway=gateway, name="handed")
        world.await_step(begun, "create volume")
        assert gateway.stop() == 0
        ended = stack.stubs().ended(begun)
    assert (ended.state, ended.owner) == (FAILED, stack.gateway.name)
    cluster.assert_untouched("handed")


@ON_SQLITE
@pytest.mark.parametrize("name", ["topology", "allocator"])
def test_terminated_server_lets_running_calls_end(world: World, stack: Stack, name: str) -> None:
    server = getattr(stack, name)
    cluster = world.cluster(3)
    with stack.fault(stalled("verb CreateVolume", 1.0)):
        begun = world.begun(cluster)
        world.await_step(begun, "create volume")
        assert server.stop() == 0
        assert server.events("server.stopped")
        server.start()
    ended = stack.stubs().ended(begun)
    assert ended.state == SUCCEEDED
    assert cluster.has_volume(ended.spec.create_volume.volume.name)
