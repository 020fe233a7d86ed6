"""Empties nodes that have been silent for too long, as a person would. Effects: network.

The topology decides which, and gives each to one gateway; it gives none unless it is told to. The operations are those
that a person starts, named by node and turn, so that they are begun once whoever begins them.
"""

import asyncio
import hashlib
from typing import Any, Protocol

from brickyard.topology.v1 import health_pb2, health_service_pb2, node_pb2, operation_pb2
from gateway.operations.moves import Moves
from services.common.channels import call_aio
from services.common.context import enter_request
from services.common.errors import BrickyardError
from services.common.logs import get_logger

_log = get_logger()
_WAY = (node_pb2.NODE_STATE_OFFLINE, node_pb2.NODE_STATE_FAILED)


class _NodeStates(Protocol):
    """What is needed of the use cases."""

    async def set_node_state(
        self, node_id: str, state: node_pb2.NodeState.ValueType, *, request_id: str | None = None, reason: str = ""
    ) -> operation_pb2.Operation:
        """See `UseCases`."""


class Evictions:
    """Starts what is due; the operations run like all others."""

    def __init__(self, *, health: Any, use_cases: _NodeStates, moves: Moves) -> None:
        """`health` is a stub of the topology's HealthService; `moves` awaits operations."""
        self._health = health
        self._use_cases = use_cases
        self._moves = moves
        self._running: set[asyncio.Task[None]] = set()

    async def run_due(self) -> None:
        """Begins to empty the nodes whose turn it is, and does not wait for the end.

        Raises:
            BrickyardError: The topology does not answer.
        """
        answer: health_service_pb2.TakeEvictionTurnsResponse = await call_aio(
            self._health.TakeEvictionTurns, health_service_pb2.TakeEvictionTurnsRequest()
        )
        for turn in answer.turns:
            task = asyncio.create_task(self._empty(turn), name=f"evict {turn.node.id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Leaves what is not begun to another gateway, which gets the turn after a while."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _empty(self, turn: health_pb2.EvictionTurn) -> None:
        enter_request(None)
        _log.warning("node.auto_evict", node_id=turn.node.id, reason=turn.reason)
        try:
            for state in _WAY:
                begun = await self._use_cases.set_node_state(
                    turn.node.id, state, request_id=_request_id(turn, state), reason=turn.reason
                )
                ended = await self._moves.ended(begun, lambda _: None)
                if ended.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
                    _log.warning("node.auto_evict_failed", node_id=turn.node.id, message=ended.error.message)
                    return
        except BrickyardError as error:
            _log.warning("node.auto_evict_failed", node_id=turn.node.id, message=error.message)
        except Exception as error:  # noqa: BLE001 - the outermost frame: nobody awaits this task
            _log.error("node.auto_evict_crashed", node_id=turn.node.id, exc_info=error)


def _request_id(turn: health_pb2.EvictionTurn, state: int) -> str:
    name = f"auto-evict/{turn.node.id}/{turn.turn_time.ToMicroseconds()}/{state}"
    return hashlib.sha256(name.encode()).hexdigest()
