"""The engine's leases: kept, lost, taken over from others, and let go at the end."""

import asyncio
from collections.abc import Callable

import pytest

from brickyard.topology.v1 import operation_pb2
from gateway.operations.engine import has_ended
from services.common.errors import (
    FailedPreconditionError,
    InternalError,
    UnavailableError,
)
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import KIND_OF, Scene, operation, run, until

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED


def broken(text: str = "lvcreate said no") -> InternalError:
    return InternalError(Reason.LVM_FAILED, text, device="sdb")


def lease_lost() -> FailedPreconditionError:
    return FailedPreconditionError(Reason.LEASE_LOST, "somebody else has it")


# --- leases -----------------------------------------------------------------------------------------------------------


def test_leases_of_running_operations_are_renewed() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            gate = scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            await until(lambda: len(scene.operations.calls("RenewLeases")) >= 2)
            assert all(list(each.operation_ids) == [begun.id] for each in scene.operations.calls("RenewLeases"))
            gate.set()
            await until(lambda: not scene.engine.in_flight_count)
            renewed = len(scene.operations.calls("RenewLeases"))
            await asyncio.sleep(0.1)
            assert len(scene.operations.calls("RenewLeases")) <= renewed + 1

    run(scenario())


def test_a_lost_lease_stops_the_driver_at_once() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            await until(lambda: scene.agents.waiting)
            scene.operations.lost.add(begun.id)
            await until(lambda: not scene.engine.in_flight_count)
            assert "CommitOperation" not in scene.names()
            assert "AbortOperation" not in scene.names()
            assert "DeleteVolume" not in scene.names()

    run(scenario())


@pytest.mark.parametrize(("method", "fails"), [("CommitOperation", False), ("UpdateOperation", True)])
def test_a_lease_that_turns_out_to_be_lost_stops_the_driver(method: str, fails: bool) -> None:
    async def scenario() -> None:
        async with Scene(settings={"progress_interval_s": 5.0}) as scene:
            if fails:
                scene.agents.failures["*", "CreateVolume"] = [broken()]
            scene.operations.failures[method] = [lease_lost()]
            ended = await scene.driven()
            assert not has_ended(ended)
            assert "DeleteVolume" not in scene.names()
            assert "AbortOperation" not in scene.names()

    run(scenario())


# --- taking over ------------------------------------------------------------------------------------------------------

REDONE = {"delete_volume", "delete_node", "delete_device", "set_node_state", "set_device_state"} | {
    "expand_volume",
    "clone_volume",
}


@pytest.mark.parametrize("kind", KIND_OF)
def test_what_a_dead_gateway_left_is_redone_or_undone_by_kind(kind: str) -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            abandoned = operation(kind, attempt=2, owner="a dead gateway")
            scene.operations.abandoned.append(abandoned)
            await until(lambda: has_ended(abandoned))
            if kind in REDONE:
                assert abandoned.state == SUCCEEDED
                return
            assert abandoned.state == FAILED
            assert abandoned.error.reason == "UNAVAILABLE"
            assert "the gateway that ran the operation stopped" in abandoned.error.message
            assert not [name for name in scene.names() if name.startswith(("Create", "Probe"))]

    run(scenario())


@pytest.mark.parametrize("kind", ["create_volume", "delete_volume", "add_node"])
def test_what_had_failed_before_its_gateway_died_is_taken_back_with_its_reason(kind: str) -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            error = operation_pb2.OperationError(reason="NO_SPACE", message="the first reason")
            abandoned = operation(kind, attempt=3, error=error)
            scene.operations.abandoned.append(abandoned)
            await until(lambda: has_ended(abandoned))
            assert (abandoned.state, abandoned.error.message) == (FAILED, "the first reason")
            assert "CommitOperation" not in scene.names()

    run(scenario())


def test_one_that_runs_here_is_not_started_again() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            gate = scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            await until(lambda: scene.agents.waiting)
            # The lease ran out while the topology was away, and this very gateway has claimed it.
            scene.operations.abandoned.append(scene.operations.stored[begun.id])
            await until(lambda: not scene.operations.abandoned)
            await asyncio.sleep(0.05)
            assert scene.engine.in_flight_count == 1
            gate.set()
            await until(lambda: not scene.engine.in_flight_count)
            assert scene.operations.stored[begun.id].state == SUCCEEDED
            assert len(scene.agents.calls("CreateBrick")) == 3

    run(scenario())


def test_a_crashed_driver_lets_go_of_its_operation(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.failures["CommitOperation"] = [RuntimeError("a bug")]
            begun = await scene.begin()
            await until(lambda: not scene.engine.in_flight_count)
            assert not has_ended(scene.operations.stored[begun.id])

    run(scenario())
    assert "operation.crashed" in "".join(capsys.readouterr())


# --- stopping ---------------------------------------------------------------------------------------------------------


def stop_with(grace_s: float, during: Callable[[Scene], None]) -> Scene:
    """Stops an engine that is in the middle of a create; `during` is called just after the stop has begun."""
    scene = Scene()

    async def scenario() -> None:
        async with scene:
            scene.agents.gates["CreateVolume"] = asyncio.Event()
            await scene.begin()
            await until(lambda: scene.agents.waiting)
            stopping = asyncio.create_task(scene.engine.stop(grace_s))
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError, match="shutting down"):
                await scene.begin()
            during(scene)
            await stopping

    run(scenario())
    return scene


def test_stopping_lets_what_runs_end() -> None:
    scene = stop_with(5.0, lambda scene: scene.agents.gates["CreateVolume"].set())
    (only,) = scene.operations.stored.values()
    assert only.state == SUCCEEDED
    assert len(scene.operations.calls("BeginOperation")) == 1


def test_stopping_does_not_wait_for_what_only_waits_for_a_node() -> None:
    async def scenario() -> None:
        async with Scene(settings={"retry_interval_s": 60.0}, grace_s=60.0) as scene:
            scene.agents.failures["*", "CreateVolume"] = [InternalError(Reason.GLUSTER_FAILED, "no")]
            scene.agents.failures["node2", "DeleteBrick"] = [InternalError(Reason.BRICK_BUSY, "busy")]
            begun = await scene.begin()
            await until(lambda: scene.operations.stored[begun.id].stalled)

    run(scenario())


def test_what_somebody_wants_retried_is_retried_when_its_lease_is_renewed() -> None:
    async def scenario() -> None:
        async with Scene(settings={"retry_interval_s": 60.0}) as scene:
            scene.agents.failures["*", "CreateVolume"] = [InternalError(Reason.GLUSTER_FAILED, "no")]
            scene.agents.failures["node2", "DeleteBrick"] = [InternalError(Reason.BRICK_BUSY, "busy")]
            begun = await scene.begin()
            stored = scene.operations.stored[begun.id]
            await until(lambda: stored.stalled)
            scene.operations.woken = {begun.id}
            await until(lambda: has_ended(stored))

    run(scenario())


def test_stalled_operations_of_others_are_woken_through_the_topology() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            await scene.engine.retry_now(["b", "a", "b"])
            await scene.engine.retry_now([])
            asked = scene.operations.calls("WakeOperations")
            assert [list(each.operation_ids) for each in asked] == [["a", "b"], []]

    run(scenario())


def test_stopping_hands_over_what_does_not_end() -> None:
    scene = stop_with(0.05, lambda _scene: None)
    (only,) = scene.operations.stored.values()
    assert not has_ended(only)
    assert "AbortOperation" not in scene.names()
    assert "DeleteVolume" not in scene.names()


def test_a_stopping_gateway_takes_nothing_over() -> None:
    abandoned = operation("delete_volume", attempt=2, owner="a dead gateway")

    def leave(scene: Scene) -> None:
        scene.operations.abandoned.append(abandoned)

    stop_with(0.2, leave)
    assert abandoned.owner == "a dead gateway"
