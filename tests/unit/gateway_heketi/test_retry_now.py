"""What a cleanup hurries: operations that wait for a node, and those that nobody drives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from brickyard.topology.v1 import operation_pb2
from gateway.settings import ProvisioningSettings
from gateway.usecases.volumes import GatewayUseCases
from services.common.errors import InternalError, UnavailableError
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import OWNER, Scene, operation, run, until

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
# Longer than any test may take: whatever happens, happens because it was asked for.
NEVER = {"retry_interval_s": 60.0, "claim_interval_s": 60.0, "lease_s": 300.0}
ABSENT = "0123456789abcdef0123456789abcdef"


def busy() -> InternalError:
    return InternalError(Reason.BRICK_BUSY, "busy")


@asynccontextmanager
async def stalled(failures: int = 1) -> AsyncIterator[tuple[Scene, operation_pb2.Operation]]:
    """An operation whose next `failures` attempts to take it back fail; the first one has."""
    async with Scene(settings=dict(NEVER), grace_s=0.0) as scene:
        scene.agents.failures["*", "CreateVolume"] = [InternalError(Reason.GLUSTER_FAILED, "the first failure")]
        scene.agents.failures["node2", "DeleteBrick"] = [busy() for _ in range(failures)]
        begun = await scene.begin()
        await until(lambda: scene.operations.stored[begun.id].stalled)
        yield scene, scene.operations.stored[begun.id]


@pytest.mark.parametrize("named", [True, False])
def test_a_stalled_operation_is_retried_at_once(named: bool) -> None:
    async def scenario() -> None:
        async with stalled() as (scene, waiting):
            await scene.engine.retry_now([waiting.id] if named else [])
            await until(lambda: not scene.engine.in_flight_count)
            assert (waiting.state, waiting.error.message) == (FAILED, "the first failure")

    run(scenario())


def test_one_that_was_not_asked_for_goes_on_waiting() -> None:
    async def scenario() -> None:
        async with stalled() as (scene, waiting):
            attempts = len(scene.agents.calls("DeleteBrick"))
            await scene.engine.retry_now([ABSENT, "", waiting.id.upper()])
            await asyncio.sleep(0.05)
            assert len(scene.agents.calls("DeleteBrick")) == attempts
            assert waiting.state != FAILED

    run(scenario())


def test_it_waits_again_when_the_node_still_does_not_let_it() -> None:
    async def scenario() -> None:
        async with stalled(failures=2) as (scene, waiting):
            await scene.engine.retry_now([])
            await until(lambda: len(scene.agents.calls("DeleteBrick")) == 6)
            await asyncio.sleep(0.05)
            assert len(scene.agents.calls("DeleteBrick")) == 6
            await scene.engine.retry_now([])
            await until(lambda: waiting.state == FAILED)

    run(scenario())


def test_asking_in_the_middle_of_an_attempt_gives_one_more() -> None:
    async def scenario() -> None:
        async with stalled(failures=2) as (scene, waiting):
            gate = scene.agents.gates["DeleteBrick"] = asyncio.Event()
            await scene.engine.retry_now([])
            await until(lambda: len(scene.agents.waiting) == 3)
            await scene.engine.retry_now([])
            gate.set()
            await until(lambda: waiting.state == FAILED)
            assert len(scene.agents.calls("DeleteBrick")) == 9

    run(scenario())


def with_first_claim_done(then: Callable[[Scene], Awaitable[None]]) -> Scene:
    """Runs `then` in an engine that will not look for abandoned operations by itself any more."""
    scene = Scene(settings=dict(NEVER), grace_s=0.0)

    async def scenario() -> None:
        async with scene:
            await until(lambda: scene.operations.calls("ClaimOperations"))
            await then(scene)

    run(scenario())
    return scene


def test_what_nobody_drives_is_taken_over_at_once() -> None:
    async def hurry(scene: Scene) -> None:
        abandoned = operation("delete_volume", attempt=2, owner="a dead gateway")
        scene.operations.abandoned.append(abandoned)
        use_cases = GatewayUseCases(
            topology=None,
            operations=None,
            allocator=None,
            agents=scene.agents,
            engine=scene.engine,
            settings=ProvisioningSettings(),
        )
        await use_cases.cleanup_operations()
        assert abandoned.owner == OWNER
        await until(lambda: abandoned.state == SUCCEEDED)

    with_first_claim_done(hurry)


def test_a_stopping_gateway_takes_nothing_over() -> None:
    async def hurry(scene: Scene) -> None:
        await scene.engine.stop(0.0)
        await scene.engine.retry_now([])

    assert len(with_first_claim_done(hurry).operations.calls("ClaimOperations")) == 1


def test_without_topology_stalled_operations_are_retried_all_the_same() -> None:
    async def scenario() -> None:
        async with stalled() as (scene, waiting):
            scene.operations.failures["ClaimOperations"] = [UnavailableError(Reason.UNAVAILABLE, "away")]
            with pytest.raises(UnavailableError, match="away"):
                await scene.engine.retry_now([])
            await until(lambda: waiting.state == FAILED)

    run(scenario())
