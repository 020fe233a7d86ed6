"""A volume whose making fails on a node is made elsewhere; what a silent node may have is removed when it is back."""

import asyncio
from typing import Any

import pytest

from brickyard.topology.v1 import operation_pb2
from gateway.operations.settings import NodePatience
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import Scene, node, operation, run, until

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
UNDOING = operation_pb2.OPERATION_STATE_UNDOING
CLEAN_UP = operation_pb2.OPERATION_KIND_CLEAN_UP
DEVICES = {number: f"{number:x}" * 32 for number in (1, 2, 3)}
BRICKS = {number: f"{number:02x}" * 16 for number in (1, 2, 3)}


def scene_of(*numbers: int, **settings: Any) -> Scene:
    """A scene with these nodes, in which nobody is patient."""
    chosen = {"patience": NodePatience(silence_s=0.0), **settings}
    return Scene(settings=chosen, nodes=[node(number) for number in numbers])


def lvm(text: str = "lvcreate said no") -> InternalError:
    return InternalError(Reason.LVM_FAILED, text)


def gluster(text: str = "volume create: vol: failed: no") -> InternalError:
    return InternalError(Reason.GLUSTER_FAILED, text)


def replans(scene: Scene) -> list[Any]:
    return scene.operations.calls("ReplanOperation")


def exclusions(scene: Scene) -> list[tuple[set[str], set[str]]]:
    return [excluded for name, excluded in scene.events if name == "plan_again"]


def clean_ups(scene: Scene) -> list[operation_pb2.Operation]:
    return [each for each in scene.operations.stored.values() if each.kind == CLEAN_UP]


def test_a_device_that_fails_is_left_out_of_the_next_placement() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.agents.failures["node2", "CreateBrick"] = [lvm()]
            ended = await scene.driven()
            assert ended.state == SUCCEEDED
            assert exclusions(scene) == [(set(), {DEVICES[2]})]
            (replan,) = replans(scene)
            assert replan.note == "placed anew (2 of 5) because lvcreate said no"
            assert list(replan.left_brick_ids) == []
            assert clean_ups(scene) == []
            # Everything of the first placement was removed before the second was recorded.
            names = scene.names()
            assert names.count("DeleteBrick") == 3
            assert len(names) - names[::-1].index("DeleteBrick") <= names.index("ReplanOperation")
            assert len(scene.agents.calls("CreateBrick")) == 6
            assert len(scene.agents.calls("CreateVolume")) == 1
            assert scene.agents.calls("DeleteVolume") == []
            assert not ended.HasField("error")

    run(scenario())


def test_all_that_failed_at_the_same_time_is_left_out() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, 4) as scene:
            scene.agents.failures["node1", "CreateBrick"] = [lvm("first")]
            scene.agents.failures["node2", "CreateBrick"] = [ResourceExhaustedError(Reason.NO_SPACE_ON_DEVICE, "full")]
            scene.agents.down = {"node3"}
            begun = await scene.begin()
            await until(lambda: scene.operations.stored[begun.id].state == SUCCEEDED)
            assert exclusions(scene) == [({node(3).id}, {DEVICES[1], DEVICES[2]})]

    run(scenario())


def test_a_node_that_dies_while_bricks_are_made_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, 4) as scene:
            scene.agents.down = {"node2"}
            begun = await scene.begin()
            await until(lambda: scene.operations.stored[begun.id].state == SUCCEEDED)
            assert exclusions(scene) == [({node(2).id}, set())]
            (replan,) = replans(scene)
            assert list(replan.left_brick_ids) == [BRICKS[2]]
            made = {hostname for hostname, _, _ in scene.agents.calls("CreateBrick")[3:]}
            assert made == {"node1", "node3", "node4"}
            # The clean-up goes on by itself, until the node is back.
            (clean_up,) = clean_ups(scene)
            attempts = len(scene.operations.calls("UpdateOperation"))
            await until(lambda: len(scene.operations.calls("UpdateOperation")) > attempts + 1)
            assert clean_up.state != SUCCEEDED
            assert [hostname for hostname, _, _ in scene.agents.calls("DeleteBrick")] == ["node1", "node3"]
            scene.agents.down = set()
            await until(lambda: clean_up.state == SUCCEEDED)
            hostname, _, request = scene.agents.calls("DeleteBrick")[-1]
            assert (hostname, request.brick.id) == ("node2", BRICKS[2])
            # A request to make it, that is late, finds its operation over on that node.
            fences = [(host, each) for host, _, each in scene.agents.calls("FenceOperation") if host == "node2"]
            assert (fences[-1][1].operation_id, fences[-1][1].epoch) == (begun.id, 2**63 - 1)

    run(scenario())


def test_a_node_that_dies_while_it_is_taken_back_is_left_too() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, 4) as scene:
            gone = UnavailableError(Reason.AGENT_UNREACHABLE, "gone")
            scene.agents.failures["node1", "CreateBrick"] = [lvm()]
            scene.agents.failures["node3", "DeleteBrick"] = [gone]
            ended = await scene.driven()
            assert ended.state == SUCCEEDED
            assert exclusions(scene) == [({node(3).id}, {DEVICES[1]})]
            assert list(replans(scene)[0].left_brick_ids) == [BRICKS[3]]
            await until(lambda: clean_ups(scene)[0].state == SUCCEEDED)

    run(scenario())


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_after_all_retries_the_last_error_is_told(retries: int) -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, create_retries=retries) as scene:
            scene.agents.failures["node2", "CreateBrick"] = [lvm(f"failure {count}") for count in range(9)]
            ended = await scene.driven()
            assert (ended.state, ended.error.message) == (FAILED, f"failure {retries}")
            assert len(replans(scene)) == retries
            assert len(scene.agents.calls("CreateBrick")) == 3 * (retries + 1)

    run(scenario())


@pytest.mark.parametrize(
    ("method", "refusal"),
    [
        ("CreateVolume", gluster("Volume vol already exists")),
        ("CreateVolume", FailedPreconditionError(Reason.GLUSTER_OPTION_NOT_ALLOWED, "no such option")),
        ("CreateVolume", InternalError(Reason.INTERNAL, "a bug")),
        ("CreateBrick", InvalidArgumentError(Reason.INVALID_ARGUMENT, "bad path")),
    ],
    ids=["name taken", "option", "bug", "argument"],
)
def test_what_another_placement_can_not_mend_is_not_tried_again(method: str, refusal: BrickyardError) -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.agents.failures["*", method] = [refusal]
            ended = await scene.driven()
            assert (ended.state, ended.error.message) == (FAILED, refusal.message)
            assert replans(scene) == []

    run(scenario())


def test_a_peer_without_glusterd_is_left_out() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, 4) as scene:
            scene.agents.without_glusterd = {"node3"}
            scene.agents.disconnected = {"10.0.0.2", "10.0.0.77"}
            scene.agents.failures["node1", "CreateVolume"] = [gluster("Host 10.0.0.3 is not connected")]
            ended = await scene.driven()
            assert ended.state == SUCCEEDED
            assert exclusions(scene) == [({node(2).id, node(3).id}, set())]
            # Gluster was asked: it must not have the volume any more before it is asked for it elsewhere.
            names = scene.names()
            assert names.index("DeleteVolume") < names.index("DeleteBrick") < names.index("ReplanOperation")
            first, second = (request.request_id for _, _, request in scene.agents.calls("CreateVolume"))
            assert first != second

    run(scenario())


def test_a_node_on_which_glusterd_never_began_is_not_asked_to_take_it_back() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, 4) as scene:
            refusal = FailedPreconditionError(Reason.GLUSTERD_NOT_RUNNING, "Connection failed.", untouched=True)
            scene.agents.failures["node1", "CreateVolume"] = [refusal]
            assert (await scene.driven()).state == SUCCEEDED
            assert exclusions(scene) == [({node(1).id}, set())]
            assert scene.agents.calls("DeleteVolume") == []

    run(scenario())


def test_where_gluster_may_have_the_volume_its_node_is_waited_for() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, 4) as scene:
            gate = scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            await until(lambda: scene.agents.waiting)
            scene.agents.down = {"node1"}
            gate.set()
            stored = scene.operations.stored[begun.id]
            await until(lambda: stored.stalled)
            assert (stored.state, replans(scene), scene.agents.calls("DeleteVolume")) == (UNDOING, [], [])
            scene.agents.down = set()
            await until(lambda: stored.state == FAILED)
            assert len(scene.agents.calls("DeleteVolume")) == 1
            assert clean_ups(scene) == []

    run(scenario())


def test_a_taken_over_creation_is_taken_back_where_gluster_was_asked() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3, 4) as scene:
            scene.agents.down = {"node3"}
            taken = operation("create_volume", attempt=2)
            scene.operations.abandoned = [taken]
            await until(lambda: taken.state == FAILED)
            # It may have been asked for by the driver before; and a silent node that holds a brick only can be left.
            assert [hostname for hostname, _, _ in scene.agents.calls("DeleteVolume")] == ["node1"]
            assert [list(each.left_brick_ids) for each in scene.operations.calls("AbortOperation")] == [[BRICKS[3]]]
            assert len(clean_ups(scene)) == 1

    run(scenario())


def test_without_another_place_the_failure_itself_is_told() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            rows = '[{"device":"d1","reason":"TOO_SMALL"}]'
            scene.plan_failures = [ResourceExhaustedError(Reason.NO_SPACE, "no space", devices=rows, stopped_by="")]
            scene.agents.down = {"node2"}
            begun = await scene.begin()
            stored = scene.operations.stored[begun.id]
            await until(lambda: stored.state == FAILED)
            assert stored.error.reason == "AGENT_UNREACHABLE"
            assert stored.error.message.endswith("\nIt could not be placed elsewhere: no space")
            told = {key: value for key, value in stored.error.metadata.items() if key.startswith("placement")}
            assert told == {"placement_reason": "NO_SPACE", "placement_devices": rows}
            # Nobody waits for the node: the volume is given up, and its brick there is left to a clean-up.
            (abort,) = scene.operations.calls("AbortOperation")
            assert list(abort.left_brick_ids) == [BRICKS[2]]
            assert abort.lease_duration.ToMilliseconds() == 150
            scene.agents.down = set()
            await until(lambda: clean_ups(scene)[0].state == SUCCEEDED)

    run(scenario())


def test_what_can_not_be_taken_back_is_not_placed_anew() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.agents.failures["node2", "CreateBrick"] = [lvm("the cause")]
            scene.agents.failures["node1", "DeleteBrick"] = [FailedPreconditionError(Reason.BRICK_BUSY, "busy")]
            ended = await scene.driven()
            assert (ended.state, ended.error.message) == (FAILED, "the cause")
            assert replans(scene) == []

    run(scenario())


def test_an_outdated_plan_is_made_again() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.operations.failures["ReplanOperation"] = [AbortedError(Reason.PLAN_OUTDATED, "taken")] * 2
            scene.agents.failures["node2", "CreateBrick"] = [lvm()]
            assert (await scene.driven()).state == SUCCEEDED
            assert len(exclusions(scene)) == 3

    run(scenario())


def test_a_topology_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.operations.driver._TOPOLOGY_PAUSE_S", 0.005)

    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.operations.failures["ReplanOperation"] = [UnavailableError(Reason.UNAVAILABLE, "away")] * 3
            scene.agents.failures["node2", "CreateBrick"] = [lvm()]
            assert (await scene.driven()).state == SUCCEEDED

    run(scenario())


@pytest.mark.parametrize("where", ["topology", "agent"])
def test_a_driver_that_is_none_any_more_lets_go(where: str) -> None:
    lost = FailedPreconditionError(Reason.LEASE_LOST, "somebody else has it")

    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.agents.failures["node2", "CreateBrick"] = [lvm()]
            if where == "topology":
                scene.operations.failures["ReplanOperation"] = [lost]
            else:
                scene.agents.failures["node3", "FenceOperation"] = [lost]
            ended = await scene.driven()
            assert ended.state not in (SUCCEEDED, FAILED)
            assert scene.operations.calls("AbortOperation") == []

    run(scenario())


def test_every_round_has_an_epoch_of_its_own() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.agents.failures["node2", "CreateBrick"] = [lvm()]
            await scene.driven()
            first = scene.agents.epochs
            assert sorted(epoch for method, epoch in first if method == "CreateBrick") == [1, 1, 1, 3, 3, 3]
            assert {epoch for method, epoch in first if method == "DeleteBrick"} == {2}
            assert [each.epoch for _, _, each in scene.agents.calls("FenceOperation")] == [2, 2, 2]

    run(scenario())


def test_the_epochs_of_the_next_driver_are_higher() -> None:
    async def scenario() -> None:
        async with scene_of(1, 2, 3) as scene:
            scene.operations.abandoned = [operation("create_volume", attempt=2)]
            await until(lambda: scene.operations.calls("AbortOperation"))
            fences = [each.epoch for _, _, each in scene.agents.calls("FenceOperation")]
            assert fences == [1_000_001] * 3

    run(scenario())
