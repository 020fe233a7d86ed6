"""Nodes that fail or fall silent in the middle: the volume comes up elsewhere, and nothing is left in the end."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from brickyard.gateway.v1 import operator_service_pb2
from brickyard.topology.v1 import operation_pb2
from tests.integration.clients import Stubs
from tests.integration.stack import ON_SQLITE, Server, Stack, wait_until
from tests.integration.world import Cluster, World, operation_id

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
CLEAN_UP = operation_pb2.OPERATION_KIND_CLEAN_UP
QUICK = ("--node-patience-seconds", "0.2", "--retry-seconds", "0.5")


@pytest.fixture
def quick(stack: Stack) -> Iterator[Server]:
    """A gateway that does not wait long for nodes."""
    with stack.extra_gateway(*QUICK) as server:
        yield server


def lost(hostname: str) -> dict[str, object]:
    """A node that answers no change."""
    return {"command": "^verb ", "node": hostname, "action": "crash", "times": 0}


def unfinished(stubs: Stubs, cluster: Cluster) -> list[operation_pb2.Operation]:
    answer = stubs.operator.ListOperations(operator_service_pb2.ListOperationsRequest(unfinished_only=True))
    return [each for each in answer.operations if each.cluster_id == cluster.id]


def await_nothing_left(world: World, cluster: Cluster) -> None:
    stubs = world.stack.stubs()
    wait_until(lambda: not unfinished(stubs, cluster), "every operation to end", seconds=30)
    assert stubs.violations() == []


def test_a_volume_whose_node_is_lost_comes_up_on_others(world: World, stack: Stack, quick: Server) -> None:
    cluster = world.cluster(4)
    stubs, rest = stack.stubs(gateway=quick), stack.rest(quick)
    gone = cluster.hostnames[0]
    # It makes the LVs of its brick, and is lost before it can tell.
    half_made = {"command": "^lvm lvcreate", "node": gone, "action": "crash-after", "times": 0}
    silent = {"command": "^(?!verb CreateBrick|lvm lvcreate)", "node": gone, "action": "crash", "times": 0}
    made: list[operation_pb2.Operation] = []
    with stack.fault(half_made, silent):
        # The emptiest nodes are taken first, so that the second volume asks for it if the first did not.
        while not made or made[-1].placement_count == 1:
            assert len(made) < 5
            made.append(stubs.ended(world.begun(cluster, gateway=quick), seconds=20))
            assert made[-1].state == SUCCEEDED, made[-1].error.message
        moved = made[-1]
        assert moved.note.startswith("placed anew (2 of 5) because ")
        assert cluster.nodes[0] not in {brick.node_id for brick in moved.spec.create_volume.volume.bricks}
        # What the lost node may have made keeps its room in the books, until it can be asked.
        (clean_up,) = unfinished(stubs, cluster)
        assert (clean_up.kind, clean_up.stalled) == (CLEAN_UP, True)
        (left,) = clean_up.spec.clean_up.volume.bricks
        assert left.node_id == cluster.nodes[0]
        assert stubs.violations() == []
        pending = rest.json(f"/operations/pending/{clean_up.id}")
        assert (pending["type_name"], pending["status"]) == ("create-volume", "failed")
        assert rest.json("/operations")["in_flight"] == 0
    await_nothing_left(world, cluster)
    assert cluster.holdings()[gone].empty
    for each in made:
        assert len(rest.json(f"/volumes/{each.target_id}")["bricks"]) == 3
        assert world.rest.change("DELETE", f"/volumes/{each.target_id}").status_code == 204
    cluster.assert_untouched()


def test_a_broken_device_is_avoided(world: World, stack: Stack, quick: Server) -> None:
    cluster = world.cluster(4)
    with stack.fault({"command": "lvm lvcreate", "node": cluster.hostnames[0], "times": 0, "stderr": "bad sector"}):
        for _ in range(3):
            ended = stack.stubs().ended(world.begun(cluster, gateway=quick))
            assert ended.state == SUCCEEDED, ended.error.message
            used = {brick.node_id for brick in ended.spec.create_volume.volume.bricks}
            assert cluster.nodes[0] not in used
            assert world.rest.change("DELETE", f"/volumes/{ended.target_id}").status_code == 204
    cluster.assert_untouched()


@ON_SQLITE
def test_with_no_other_place_it_fails_at_once_and_is_cleaned_later(world: World, stack: Stack, quick: Server) -> None:
    cluster = world.cluster(3)
    with stack.fault(lost(cluster.hostnames[1])):
        ended = stack.stubs().ended(world.begun(cluster, gateway=quick, name="nowhere"), seconds=20)
        assert (ended.state, ended.error.reason) == (FAILED, "AGENT_UNREACHABLE")
        # Its name is free while the node is still silent.
        assert cluster.used_bytes() > 0
    await_nothing_left(world, cluster)
    cluster.assert_untouched("nowhere")


@ON_SQLITE
def test_a_gateway_that_was_frozen_does_no_harm(world: World, stack: Stack) -> None:
    """Its lease runs out, another gateway takes the operation back, and then it goes on where it was."""
    cluster = world.cluster(3)
    with stack.extra_gateway(*QUICK) as frozen:
        with stack.fault({"command": "verb CreateBrick", "action": "stall", "stall_s": 1.0, "times": 0}):
            begun = world.begun(cluster, gateway=frozen, name="twice")
            world.await_step(begun, "create brick")
            frozen.process.send_signal(signal.SIGSTOP)
            try:
                ended = stack.stubs().ended(begun, seconds=30)
            finally:
                frozen.process.send_signal(signal.SIGCONT)
        assert (ended.state, ended.owner, ended.attempt_count) == (FAILED, stack.gateway.name, 2)
        # It has the answers of all its bricks in its socket, and asks for the volume next.
        wait_until(
            lambda: frozen.events("operation.dropped") or frozen.events("operation.lease_lost"),
            "the old driver to stop",
        )
        cluster.assert_untouched("twice")


@ON_SQLITE
def test_a_stalled_operation_is_woken_through_any_gateway(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    patient = ("--node-patience-seconds", "0", "--retry-seconds", "3000", "--lease-seconds", "3")
    with stack.extra_gateway(*patient) as gateway:
        faults = (
            {"command": "verb CreateVolume", "stderr": "no"},
            {"command": "verb DeleteBrick", "stderr": "not now", "node": cluster.hostnames[0]},
        )
        with stack.fault(*faults):
            begun = world.begun(cluster, gateway=gateway, name="asleep")
            wait_until(lambda: stack.stubs().operation(begun).stalled, "the operation to stall")
        time.sleep(0.5)
        assert stack.stubs().operation(begun).state != FAILED
        # The first gateway is asked, the other one drives.
        request = operator_service_pb2.CleanupOperationsRequest(operation_ids=[begun])
        stack.stubs().operator.CleanupOperations(request)
        ended = stack.stubs().ended(begun, seconds=20)
        assert (ended.state, ended.owner) == (FAILED, gateway.name)
    cluster.assert_untouched("asleep")


@ON_SQLITE
def test_what_waits_for_a_node_holds_no_slot(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    with stack.extra_gateway(*QUICK, "--max-inflight-operations", "1") as gateway:
        rest = stack.rest(gateway)
        failing = {"command": "verb CreateVolume", "stderr": "no"}
        stuck = {"command": "verb DeleteBrick", "stderr": "not now", "node": cluster.hostnames[0], "times": 0}
        with stack.fault(failing, stuck):
            begun = world.begun(cluster, gateway=gateway, name="stuck")
            wait_until(lambda: stack.stubs().operation(begun).stalled, "the operation to stall")
            volume = rest.made("/volumes", cluster.volume_body(size=1, name="beside"))
            # It is retried again and again meanwhile, and takes no slot for that either.
            for _ in range(3):
                assert rest.send("GET", "/operations").json()["in_flight"] == 0
                time.sleep(0.3)
        stack.stubs().ended(begun)
    assert world.rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204
    cluster.assert_untouched("stuck")


@ON_SQLITE
def test_a_busy_server_says_so_before_it_says_that_there_is_no_room(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    with stack.extra_gateway("--max-inflight-operations", "1") as gateway:
        rest = stack.rest(gateway)
        huge = cluster.volume_body(size=100_000)
        with stack.fault({"command": "verb CreateVolume", "action": "stall", "stall_s": 1.5}):
            begun = world.begun(cluster, gateway=gateway)
            world.await_step(begun, "create volume")
            busy = rest.send("POST", "/volumes", huge)
            assert (busy.status_code, int(busy.headers["retry-after"]) > 0) == (429, True)
        ended = stack.stubs().ended(begun)
        full = rest.send("POST", "/volumes", huge)
        assert full.status_code == 500
        assert "No space" in full.text
    assert world.rest.change("DELETE", f"/volumes/{ended.target_id}").status_code == 204
    cluster.assert_untouched()


@ON_SQLITE
@pytest.mark.parametrize("command", ["^gluster volume start", "^gluster snapshot clone", "^gluster snapshot create"])
def test_a_clone_that_fails_in_the_middle_leaves_nothing_on_any_node(
    world: World, stack: Stack, quick: Server, command: str
) -> None:
    cluster = world.cluster(3)
    volume = world.rest.made("/volumes", cluster.volume_body(name="origin"))
    before = cluster.holdings()
    silent = cluster.hostnames[2]
    with stack.fault({"command": command, "stderr": "no", "times": 0}, lost(silent)):
        accepted = stack.rest(quick).send("POST", f"/volumes/{volume['id']}/clone", {"name": "copy"})
        assert accepted.status_code == 202, accepted.text
        begun = operation_id(accepted.headers["location"])
        # One node does not answer: what it has of the copy cannot be told, so the copy waits for it.
        wait_until(lambda: stack.stubs().operation(begun).stalled, "the clone to stall", seconds=30)
    ended = stack.stubs().ended(begun, seconds=30)
    assert ended.state == FAILED
    assert not cluster.has_volume("copy")
    assert cluster.holdings() == before
    assert stack.stubs().violations() == []
    assert world.rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204
    cluster.assert_untouched("origin")


@ON_SQLITE
def test_expanding_moves_data_unless_it_is_asked_not_to(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)

    def recorded(gateway: Server, **fields: Any) -> bool:
        stubs = stack.stubs(gateway=gateway)
        volume = stack.rest(gateway).made("/volumes", cluster.volume_body(size=1))
        request = operator_service_pb2.ExpandVolumeRequest(volume_id=volume["id"], added_size_bytes=1 << 30, **fields)
        ended = stubs.ended(stubs.operator.ExpandVolume(request).operation.id)
        assert ended.state == SUCCEEDED, ended.error.message
        assert world.rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204
        return ended.spec.expand_volume.rebalance

    assert [recorded(stack.gateway), recorded(stack.gateway, rebalance=False)] == [True, False]
    with stack.extra_gateway("--no-rebalance-on-expansion") as gateway:
        assert [recorded(gateway), recorded(gateway, rebalance=True)] == [False, True]
    cluster.assert_untouched()
