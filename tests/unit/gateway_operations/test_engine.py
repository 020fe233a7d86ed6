"""The engine: begins, drives, takes back, takes over, lets go."""

import asyncio

import pytest
import structlog

from brickyard.topology.v1 import operation_pb2
from gateway.operations.engine import has_ended
from gateway.operations.kinds import KINDS
from gateway.operations.settings import NodePatience
from services.common.context import enter_request, request_id
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    ResourceExhaustedError,
    TimeLimitError,
    UnavailableError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import KIND_OF, OWNER, Scene, operation, run, spec, until

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
UNDOING = operation_pb2.OPERATION_STATE_UNDOING
RUNNING = operation_pb2.OPERATION_STATE_RUNNING
DELETES = ["DeleteVolume", "DeleteBrick", "DeleteBrick", "DeleteBrick"]


def away(reason: Reason = Reason.UNAVAILABLE) -> UnavailableError:
    return UnavailableError(reason, "the topology does not answer")


def broken(text: str = "lvcreate said no") -> InternalError:
    return InternalError(Reason.LVM_FAILED, text, device="sdb")


def lease_lost() -> FailedPreconditionError:
    return FailedPreconditionError(Reason.LEASE_LOST, "somebody else has it")


# --- the straight way -------------------------------------------------------------------------------------------------


def test_create_is_recorded_done_and_committed() -> None:
    async def scenario() -> None:
        async with Scene(settings={"max_in_flight": 3}) as scene:
            ended = await scene.driven()
            assert ended.state == SUCCEEDED
            assert scene.names() == ["CreateBrick"] * 3 + ["CreateVolume"] + ["SyncBricks"] * 3 + ["CommitOperation"]
            (begun,) = scene.operations.calls("BeginOperation")
            assert (begun.owner, begun.max_in_flight, begun.fingerprint) == (OWNER, 3, "f")
            assert begun.lease_duration.ToMilliseconds() == 150
            (commit,) = scene.operations.calls("CommitOperation")
            assert (commit.operation_id, commit.owner) == (ended.id, OWNER)
            ids = [request.request_id for _, _, request in scene.agents.calls()]
            assert len(set(ids)) == 7
            assert all(each.startswith(f"{ended.id}/") for each in ids)

    run(scenario())


def test_begin_answers_before_the_work_is_done() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.agents.gates["CreateBrick"] = asyncio.Event()
            begun = await scene.begin()
            assert not has_ended(begun)
            assert scene.engine.in_flight_count == 1
            await until(lambda: len(scene.agents.waiting) == 3)
            scene.agents.gates["CreateBrick"].set()
            await until(lambda: not scene.engine.in_flight_count)

    run(scenario())


def test_a_refused_begin_starts_nothing() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.failures["BeginOperation"] = [
                ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "8 operations are in flight")
            ]
            with pytest.raises(ResourceExhaustedError):
                await scene.begin()
            assert scene.engine.in_flight_count == 0
            assert scene.names() == []

    run(scenario())


def test_a_replayed_operation_of_another_gateway_is_not_driven_twice() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            other = operation("create_volume", owner="another gateway")
            scene.operations.stored[other.id] = other
            again = await scene.engine.begin(spec("create_volume"), request_id=other.request_id, fingerprint="f")
            assert again.id == other.id
            assert scene.engine.in_flight_count == 0
            assert scene.names() == []

    run(scenario())


def test_a_repeated_request_joins_the_running_operation() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            again = await scene.engine.begin(spec("create_volume"), request_id=begun.request_id, fingerprint="f")
            assert again.id == begun.id
            assert scene.engine.in_flight_count == 1
            await until(lambda: scene.agents.waiting)
            scene.agents.gates["CreateVolume"].set()
            await until(lambda: not scene.engine.in_flight_count)
            assert len(scene.agents.calls("CreateBrick")) == 3

    run(scenario())


def test_an_operation_whose_begin_was_answered_too_late_is_driven_all_the_same() -> None:
    """The channel repeats a call whose answer got lost; the second answer says replayed, and nobody drives it yet."""

    async def scenario() -> None:
        async with Scene(settings={"claim_interval_s": 60.0}) as scene:
            scene.operations.lost_answers["BeginOperation"] = [away()]
            wanted = new_id()
            with pytest.raises(UnavailableError):
                await scene.engine.begin(spec("create_volume"), request_id=wanted, fingerprint="f")
            begun = await scene.engine.begin(spec("create_volume"), request_id=wanted, fingerprint="f")
            await until(lambda: has_ended(scene.operations.stored[begun.id]))
            assert scene.operations.stored[begun.id].state == SUCCEEDED

    run(scenario())


def test_progress_is_stored_when_it_changes() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            gate = scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            await until(lambda: scene.operations.calls("UpdateOperation"))
            # Time for many reports of the same.
            await asyncio.sleep(0.1)
            updates = scene.operations.calls("UpdateOperation")
            assert len(updates) <= 2
            last = updates[-1]
            assert (last.operation_id, last.owner, last.state) == (begun.id, OWNER, RUNNING)
            assert (last.progress.completed_step_count, last.progress.total_step_count) == (3, 7)
            assert (last.progress.step, last.progress.node_hostname) == ("create volume", "node1")
            gate.set()
            await until(lambda: not scene.engine.in_flight_count)

    run(scenario())


@pytest.mark.parametrize(
    "refusal",
    [lease_lost(), FailedPreconditionError(Reason.OPERATION_ENDED, "ended"), AbortedError(Reason.LEASE_LOST, "gone")],
    ids=["lease lost", "ended", "aborted"],
)
def test_refused_progress_does_not_disturb_the_work(
    refusal: BrickyardError, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            gate = scene.agents.gates["CreateVolume"] = asyncio.Event()
            scene.operations.failures["UpdateOperation"] = [refusal]
            begun = await scene.begin()
            await until(lambda: scene.operations.calls("UpdateOperation"))
            await asyncio.sleep(0.05)
            gate.set()
            await until(lambda: not scene.engine.in_flight_count)
            assert scene.operations.stored[begun.id].state == SUCCEEDED

    run(scenario())
    assert "operation.progress_refused" in "".join(capsys.readouterr())


@pytest.mark.parametrize("kind", KIND_OF)
def test_every_kind_ends(kind: str) -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            assert (await scene.driven(kind)).state == SUCCEEDED

    run(scenario())


def test_every_kind_of_the_contract_is_known() -> None:
    assert set(KINDS) == set(operation_pb2.OperationKind.values()) - {operation_pb2.OPERATION_KIND_UNSPECIFIED}


def test_the_client_request_goes_along_to_the_nodes() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        async with Scene() as scene:
            call = scene.agents.call

            async def noting(*arguments: object, **named: object) -> object:
                seen.append(request_id())
                return await call(*arguments, **named)  # type: ignore[arg-type]

            scene.agents.call = noting  # type: ignore[method-assign]
            enter_request("ab" * 16)
            await scene.driven()

    run(scenario())
    assert set(seen) == {"ab" * 16}


# --- the way back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["CreateBrick", "CreateVolume"])
def test_a_failed_step_is_taken_back_and_told(method: str) -> None:
    async def scenario() -> None:
        # Nothing is told in between, however slow the machine is.
        async with Scene(settings={"create_retries": 0, "progress_interval_s": 60.0}) as scene:
            scene.agents.failures["*", method] = [broken()]
            ended = await scene.driven()
            assert ended.state == FAILED
            error = ended.error
            assert (error.reason, error.message) == ("LVM_FAILED", "lvcreate said no")
            assert dict(error.metadata) == {"device": "sdb"}
            names = scene.names()
            undone = DELETES if method == "CreateVolume" else DELETES[1:]
            assert names[-5 - len(undone) :] == ["UpdateOperation", *["FenceOperation"] * 3, *undone, "AbortOperation"]
            # The reason is on record before the first node is touched, for whoever has to go on.
            first = scene.operations.calls("UpdateOperation")[-1]
            assert (first.state, first.error.message) == (UNDOING, "lvcreate said no")
            assert "CommitOperation" not in names

    run(scenario())


def test_nothing_is_taken_back_while_another_brick_is_still_made() -> None:
    async def scenario() -> None:
        async with Scene(settings={"create_retries": 0}) as scene:
            gate = scene.agents.gates["CreateBrick"] = asyncio.Event()
            scene.agents.failures["node1", "CreateBrick"] = [broken()]
            begun = await scene.begin()
            await until(lambda: len(scene.agents.waiting) == 3)
            assert scene.names() == ["CreateBrick"] * 3
            gate.set()
            await until(lambda: not scene.engine.in_flight_count)
            assert scene.operations.stored[begun.id].state == FAILED

    run(scenario())


def test_undo_is_repeated_until_it_works_and_marked_as_stalled() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.agents.failures["*", "CreateVolume"] = [broken("the first failure")]
            scene.agents.failures["node2", "DeleteBrick"] = [
                broken("busy"),
                UnavailableError(Reason.BRICK_BUSY, "still busy"),
            ]
            ended = await scene.driven()
            assert (ended.state, ended.error.message) == (FAILED, "the first failure")
            stalled = [each for each in scene.operations.calls("UpdateOperation") if each.stalled]
            assert len(stalled) == 2
            assert all(each.owner == OWNER for each in stalled)
            # What is gone already is asked for again: the agents know it.
            assert len(scene.agents.calls("DeleteBrick")) == 9
            assert len(scene.operations.calls("AbortOperation")) == 1

    run(scenario())


def test_undo_waits_for_a_node_that_does_not_answer() -> None:
    async def scenario() -> None:
        async with Scene(settings={"patience": NodePatience(silence_s=0.0)}) as scene:
            scene.agents.failures["*", "CreateVolume"] = [broken()]
            scene.agents.down = set()
            gate = scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            await until(lambda: scene.agents.waiting)
            # Where gluster was asked to make it: whether it did shows only there.
            scene.agents.down = {"node1"}
            gate.set()
            await until(lambda: scene.operations.stored[begun.id].stalled)
            assert scene.operations.stored[begun.id].state == UNDOING
            assert scene.engine.in_flight_count == 1
            scene.agents.down = set()
            await until(lambda: not scene.engine.in_flight_count)
            assert scene.operations.stored[begun.id].state == FAILED

    run(scenario())


def test_a_failed_commit_is_taken_back() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.failures["CommitOperation"] = [
                FailedPreconditionError(Reason.DEVICE_ALREADY_KNOWN, "it is another device")
            ]
            ended = await scene.driven("add_device")
            assert (ended.state, ended.error.reason) == (FAILED, "DEVICE_ALREADY_KNOWN")
            assert [name for name in scene.names() if "Device" in name] == ["CreateDevice", "DeleteDevice"]

    run(scenario())


# --- the topology is away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(away(), id="unavailable"),
        pytest.param(
            TimeLimitError(Reason.DEADLINE_EXCEEDED, "Deadline Exceeded"),
            id="deadline",
        ),
    ],
)
def test_commit_is_repeated_until_the_topology_answers(failure: BrickyardError) -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.failures["CommitOperation"] = [failure]
            ended = await scene.driven()
            assert ended.state == SUCCEEDED
            assert len(scene.operations.calls("CommitOperation")) == 2
            assert "DeleteVolume" not in scene.names()

    run(scenario())


def test_a_commit_whose_answer_got_lost_is_no_failure() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.lost_answers["CommitOperation"] = [away()]
            assert (await scene.driven()).state == SUCCEEDED
            assert "DeleteVolume" not in scene.names()

    run(scenario())


def test_abort_is_repeated_until_the_topology_answers() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.agents.failures["*", "CreateVolume"] = [broken()]
            scene.operations.failures["AbortOperation"] = [away()]
            assert (await scene.driven()).state == FAILED
            assert len(scene.agents.calls("DeleteVolume")) == 1

    run(scenario())


def test_a_short_absence_of_the_topology_at_the_start_is_waited_for() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.list_failures = [away()]
            assert (await scene.driven()).state == SUCCEEDED

    run(scenario())


def test_housekeeping_goes_on_after_the_topology_was_away() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.failures["ClaimOperations"] = [away(), away()]
            scene.operations.failures["RenewLeases"] = [away()]
            abandoned = operation("delete_volume", attempt=2)
            await until(lambda: not scene.operations.failures["ClaimOperations"])
            scene.operations.abandoned.append(abandoned)
            await until(lambda: abandoned.state == SUCCEEDED)

    run(scenario())


def test_housekeeping_goes_on_after_a_surprise() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.failures["ClaimOperations"] = [RuntimeError("a bug")]
            await until(lambda: not scene.operations.failures["ClaimOperations"])
            abandoned = operation("delete_volume", attempt=2)
            scene.operations.abandoned.append(abandoned)
            await until(lambda: abandoned.state == SUCCEEDED)

    run(scenario())


def test_an_operation_that_somebody_else_has_ended_is_let_go() -> None:
    """A clean-up whose device was forgotten: nothing of it failed, and nothing is to be taken back."""

    async def scenario() -> None:
        async with Scene() as scene:
            scene.operations.failures["CommitOperation"] = [
                FailedPreconditionError(Reason.OPERATION_ENDED, "operation has succeeded already")
            ]
            with structlog.testing.capture_logs() as lines:
                await scene.begin()
                await until(lambda: not scene.engine.in_flight_count)
            events = [line["event"] for line in lines]
            assert "operation.ended_elsewhere" in events
            assert not {"operation.failing", "operation.dropped", "operation.crashed"} & set(events)
            assert scene.operations.calls("UpdateOperation") == scene.operations.calls("AbortOperation") == []

    run(scenario())
