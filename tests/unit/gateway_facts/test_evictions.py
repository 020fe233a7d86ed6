"""What a gateway does with a node that it was told to empty."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.topology.v1 import health_pb2, health_service_pb2, node_pb2, operation_pb2
from gateway.evictions import Evictions
from gateway.facts import FactsCollector
from services.common.errors import ResourceExhaustedError
from services.common.reasons import Reason
from tests.unit.gateway_facts.test_collector import FakeAgents, FakeHealthService, node

TURN = health_pb2.EvictionTurn(node=node(1), turn_time=Timestamp(seconds=1_700_000_000), reason="auto-evict: gone")
OFFLINE, FAILED = node_pb2.NODE_STATE_OFFLINE, node_pb2.NODE_STATE_FAILED


@dataclass
class Place:
    """Topology, use cases and waiting in one; operations end as they are told to.

    Attributes:
        turns: What is given out, once.
        refuse: The state whose operation is refused.
        fail: The state whose operation fails.
        crash: Whether waiting for an operation is a bug.
    """

    turns: list[health_pb2.EvictionTurn] = field(default_factory=lambda: [TURN])
    refuse: int = 0
    fail: int = 0
    crash: bool = False
    asked: list[tuple[str, int, str, str]] = field(default_factory=list)

    async def TakeEvictionTurns(self, _request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        given, self.turns = self.turns, []
        return health_service_pb2.TakeEvictionTurnsResponse(turns=given)

    async def set_node_state(
        self, node_id: str, state: node_pb2.NodeState.ValueType, *, request_id: str | None = None, reason: str = ""
    ) -> operation_pb2.Operation:
        self.asked.append((node_id, state, request_id or "", reason))
        if state == self.refuse:
            raise ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "too many")
        ended = operation_pb2.OPERATION_STATE_FAILED if state == self.fail else operation_pb2.OPERATION_STATE_SUCCEEDED
        return operation_pb2.Operation(state=ended)

    async def ended(
        self, operation: operation_pb2.Operation, _on_change: Callable[[operation_pb2.Operation], None]
    ) -> operation_pb2.Operation:
        if self.crash:
            raise RuntimeError("a bug")
        return operation

    def evictions(self) -> Evictions:
        moves: Any = self
        return Evictions(health=self, use_cases=self, moves=moves)

    def run(self) -> list[int]:
        """The states that were asked for when one turn came to its end."""

        async def all_of_it() -> None:
            made = self.evictions()
            await made.run_due()
            await asyncio.gather(*made._running)

        asyncio.run(all_of_it())
        return [state for _, state, _, _ in self.asked]


def test_a_node_is_set_offline_and_then_failed() -> None:
    place = Place()
    assert place.run() == [OFFLINE, FAILED]
    assert {(node_id, reason) for node_id, _, _, reason in place.asked} == {(node(1).id, "auto-evict: gone")}
    # Whoever gets the same turn begins the same operations.
    again = Place()
    again.run()
    assert again.asked == place.asked
    assert len({request_id for _, _, request_id, _ in place.asked}) == 2
    later = Place([health_pb2.EvictionTurn(node=node(1), turn_time=Timestamp(seconds=1_700_000_900))])
    later.run()
    assert not {each[2] for each in later.asked} & {each[2] for each in place.asked}


@pytest.mark.parametrize("trouble", [{"refuse": OFFLINE}, {"fail": OFFLINE}, {"crash": True}])
def test_what_fails_is_left_to_the_next_turn(trouble: dict[str, Any]) -> None:
    assert Place(**trouble).run() == [OFFLINE]


def test_nothing_is_due() -> None:
    assert Place([]).run() == []


def test_it_comes_after_each_round_of_looks() -> None:
    """Facts are new when it is decided."""
    service, place = FakeHealthService([node(1)]), Place()

    async def work() -> None:
        collector = FactsCollector(health=service, agents=FakeAgents(), interval_s=60.0)
        made, done = place.evictions(), asyncio.Event()

        async def run_due() -> None:
            assert len(service.recorded) == 1
            await made.run_due()
            done.set()

        collector.after_round = run_due
        await collector.start()
        async with asyncio.timeout(5):
            await done.wait()
        await collector.stop()
        await made.stop()

    asyncio.run(work())
    assert place.turns == []
