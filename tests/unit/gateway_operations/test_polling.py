"""What the engine tells of its own operations without asking the topology: never more than it can be sure of."""

import asyncio

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.common.errors import InternalError, UnavailableError
from services.common.ids import new_id
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import OWNER, Scene, node, operation, run, spec, until

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
LONG = {"lease_s": 60.0}


def broken() -> InternalError:
    return InternalError(Reason.LVM_FAILED, "lvcreate said no")


def test_one_that_is_driven_here_surely_runs_until_its_outcome_is_known() -> None:
    async def scenario() -> None:
        async with Scene(settings=LONG) as scene:
            gate = scene.agents.gates["CreateVolume"] = asyncio.Event()
            begun = await scene.begin()
            assert await scene.engine.outcome(begun.id, wait_s=0.01) is None
            assert scene.engine.surely_runs(begun.id)
            gate.set()
            ended = await scene.engine.outcome(begun.id, wait_s=60)
            assert ended is not None
            assert (ended.id, ended.state) == (begun.id, SUCCEEDED)
            assert not scene.engine.surely_runs(begun.id)
            again = await scene.engine.outcome(begun.id, wait_s=0)
            assert again == ended

    run(scenario())


def test_a_failure_is_known_once_it_is_taken_back() -> None:
    async def scenario() -> None:
        async with Scene(settings=LONG) as scene:
            scene.agents.failures["*", "CreateVolume"] = [broken()]
            begun = await scene.begin()
            ended = await scene.engine.outcome(begun.id, wait_s=60)
            assert ended is not None
            assert (ended.state, ended.error.message) == (FAILED, "lvcreate said no")

    run(scenario())


def test_nobody_is_sure_of_an_operation_that_is_not_driven_here() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            assert await scene.engine.outcome(new_id(), wait_s=60) is None
            assert not scene.engine.surely_runs(new_id())

    run(scenario())


def test_without_a_lease_that_surely_holds_the_topology_is_to_be_asked() -> None:
    async def scenario() -> None:
        async with Scene(settings={"lease_s": 0.3}) as scene:
            scene.agents.gates["CreateVolume"] = asyncio.Event()
            scene.operations.failures["RenewLeases"] = [UnavailableError(Reason.UNAVAILABLE, "away")] * 1000
            begun = await scene.begin()
            assert scene.engine.surely_runs(begun.id)
            await until(lambda: not scene.engine.surely_runs(begun.id))
            assert scene.engine.in_flight_count == 1
            scene.operations.failures["RenewLeases"].clear()
            await until(lambda: scene.engine.surely_runs(begun.id))

    run(scenario())


def test_of_a_replayed_or_claimed_one_a_renewal_makes_sure() -> None:
    async def scenario() -> None:
        async with Scene(settings={"lease_s": 0.3, "claim_interval_s": 0.01}) as scene:
            scene.operations.failures["RenewLeases"] = [UnavailableError(Reason.UNAVAILABLE, "away")] * 1000
            scene.agents.gates["CreateVolume"] = asyncio.Event()
            scene.agents.gates["DeleteVolume"] = asyncio.Event()
            known = operation("create_volume", owner=OWNER)
            scene.operations.stored[known.id] = known
            await scene.engine.begin(spec("create_volume"), request_id=known.request_id, fingerprint="f")
            claimed = operation("delete_volume", attempt=2, owner="a dead gateway")
            scene.operations.abandoned.append(claimed)
            await until(lambda: scene.engine.in_flight_count == 2)
            assert not scene.engine.surely_runs(known.id)
            assert not scene.engine.surely_runs(claimed.id)
            scene.operations.failures["RenewLeases"].clear()
            await until(lambda: scene.engine.surely_runs(known.id) and scene.engine.surely_runs(claimed.id))

    run(scenario())


def test_one_that_stalls_is_for_the_topology_to_tell() -> None:
    async def scenario() -> None:
        async with Scene(settings={**LONG, "retry_interval_s": 60.0}) as scene:
            scene.agents.failures["*", "CreateVolume"] = [broken()]
            scene.agents.failures["*", "DeleteBrick"] = [broken()] * 3
            begun = await scene.begin()
            await until(lambda: scene.operations.stored[begun.id].stalled)
            assert not scene.engine.surely_runs(begun.id)
            # It may stall for days; nobody is kept waiting for its end.
            assert await scene.engine.outcome(begun.id, wait_s=60) is None

    run(scenario())


def test_nodes_that_were_told_with_the_record_are_not_asked_for() -> None:
    async def scenario() -> None:
        async with Scene() as scene:
            begin = scene.operations.BeginOperation

            async def telling(request: operation_service_pb2.BeginOperationRequest, **call: float) -> object:
                answer = await begin(request, **call)
                answer.nodes.extend(node(number) for number in (1, 2, 3))
                return answer

            scene.operations.BeginOperation = telling  # type: ignore[method-assign]
            # Whoever asked would learn that there are none.
            scene.nodes.clear()
            assert (await scene.driven()).state == SUCCEEDED

    run(scenario())
