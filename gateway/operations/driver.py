"""Drives one operation to its end: does it, places it anew when a node fails, or takes it back; stores what happens."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.volume_pb2 import Brick
from gateway.clients import AgentCaller
from gateway.operations.moves import Moves
from gateway.operations.settings import EngineSettings
from gateway.operations.work import Kind, Progress, Trail, Work
from services.common.channels import call_aio
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    TimeLimitError,
    UnavailableError,
)
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
_TOPOLOGY_PAUSE_S = 0.5
# A plan is outdated when somebody else took the space in between; after so many times the cluster is too contended.
_MAX_PLANS = 8

PlanAgain = Callable[[operation_pb2.Operation, Trail], Awaitable[Sequence[Brick]]]
"""Places the volume of an operation anew, without the nodes and devices that failed; raises the refusal."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Surroundings:
    """What all drivers of an engine share.

    Attributes:
        settings: How the engine behaves.
        operations: Stub of the topology's OperationService.
        agents: The way to the nodes.
        list_nodes: Gives the nodes of a cluster.
        plan_again: Places a volume anew.
        adopt: Drives an operation that the topology has begun for us.
        moves: What operations need that consist of others; None where there are none.
    """

    settings: EngineSettings
    operations: Any
    agents: AgentCaller
    list_nodes: Callable[[str], Awaitable[Sequence[Node]]]
    plan_again: PlanAgain
    adopt: Callable[[operation_pb2.Operation], None]
    moves: Moves | None = None


class _EndedElsewhereError(Exception):
    """Somebody else has brought the operation to its end: a device was forgotten with what was to be removed there."""


def lease_of(settings: EngineSettings) -> Duration:
    """The length of a lease."""
    duration = Duration()
    duration.FromMilliseconds(int(settings.lease_s * 1000))
    return duration


# Its parts are large, and of no use in a log.
@dataclass(slots=True, repr=False)
class Driver:
    """The driver of one operation.

    Attributes:
        operation: Its record; another one after it was placed anew.
        kind: What is to be done.
        around: What it shares with others.
        told_nodes: Nodes by id that were told with the record.
        trail: What it has learned on the way.
        wakeup: Set when somebody wants the next attempt now.
        waiting: Whether it only waits for a node; nothing is lost when it is dropped then.
        stalled: Whether its record says that it waits for a node.
        ended: Its record once it has ended.
    """

    operation: operation_pb2.Operation
    kind: Kind
    around: Surroundings
    told_nodes: Mapping[str, Node] = field(default_factory=dict)
    trail: Trail = field(default_factory=Trail)
    wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: bool = False
    stalled: bool = False
    ended: operation_pb2.Operation | None = None

    async def drive(self) -> None:
        """Drives to the end; an operation that was lost to another driver, or whose record is gone, is let go."""
        operation = self.operation
        log = _log.bind(operation_id=operation.id, kind=operation_pb2.OperationKind.Name(operation.kind))
        log.info("operation.started", target=operation.target_id, attempt=operation.attempt_count)
        try:
            failure = self._inherited_failure()
            if failure is None:
                failure = await self._until_nothing_helps()
            if failure is not None:
                log.warning("operation.failing", reason=failure.reason, message=failure.message)
                await self._take_back(failure)
            log.info("operation.ended", failed=failure is not None)
        except _EndedElsewhereError as error:
            log.info("operation.ended_elsewhere", message=str(error))
        except BrickyardError as error:
            # The topology does not answer or has given the operation to somebody else: the lease decides who goes on.
            log.warning("operation.dropped", reason=error.reason.value, message=error.message)

    def _inherited_failure(self) -> operation_pb2.OperationError | None:
        """Why an operation that was taken over must be taken back; None when it is to be carried on."""
        if self.operation.HasField("error"):
            return self.operation.error
        if self.operation.attempt_count <= 1 or self.kind.redo_after_crash:
            return None
        return operation_pb2.OperationError(
            reason=Reason.UNAVAILABLE.value,
            message="the gateway that ran the operation stopped; what was done was taken back; repeat the request",
        )

    def _next_work(self) -> Work:
        """Work for the next round, in an epoch of its own."""
        around = self.around
        work = Work(
            self.operation,
            around.agents,
            self._patient_list_nodes,
            Progress(),
            round=self.trail.rounds,
            trail=self.trail,
            patience=around.settings.patience,
            moves=around.moves,
            # Later rounds may come long after.
            told_nodes={} if self.trail.rounds else self.told_nodes,
        )
        self.trail.rounds += 1
        return work

    async def _patient_list_nodes(self, cluster_id: str) -> Sequence[Node]:
        """The nodes of a cluster; a topology that is away for a moment is waited for."""
        while True:
            try:
                return await self.around.list_nodes(cluster_id)
            except (UnavailableError, TimeLimitError) as error:
                _log.warning("engine.topology_unreachable", message=error.message)
            await asyncio.sleep(_TOPOLOGY_PAUSE_S)

    async def _until_nothing_helps(self) -> operation_pb2.OperationError | None:
        """Tries, and tries again elsewhere; returns why the last try failed, or None."""
        while True:
            blamed = self._blamed_count()
            failure = await self._attempt()
            if failure is None or self._blamed_count() == blamed:
                return failure
            final = await self._place_anew(failure)
            if final is not None:
                return final

    def _blamed_count(self) -> int:
        return len(self.trail.failed_node_ids) + len(self.trail.failed_device_ids)

    async def _attempt(self) -> operation_pb2.OperationError | None:
        """Runs and commits; returns why it failed, or None."""
        try:
            if self.kind.never_gives_up:
                outcome = await self._until_done(self.kind.run, operation_pb2.OPERATION_STATE_RUNNING)
            else:
                work = self._next_work()
                async with self._reporting(work, operation_pb2.OPERATION_STATE_RUNNING):
                    outcome = await self.kind.run(work)
            await self._commit(outcome)
        except BrickyardError as error:
            if error.reason is Reason.LEASE_LOST:
                raise
            return _operation_error(error)
        return None

    async def _commit(self, outcome: operation_service_pb2.CommitOperationRequest) -> None:
        outcome.operation_id, outcome.owner = self.operation.id, self.around.settings.owner
        outcome.left_brick_ids.extend(sorted(self.trail.left_brick_ids))
        outcome.lease_duration.CopyFrom(lease_of(self.around.settings))
        answer = await self._until_topology_answers(self.around.operations.CommitOperation, outcome)
        self.ended = answer.operation
        self._adopt_clean_up(answer)

    async def _place_anew(self, failure: operation_pb2.OperationError) -> operation_pb2.OperationError | None:
        """Takes back what was done and gives the operation other bricks; returns why it fails when it has to.

        It is not told as failing meanwhile. Should this gateway die, the next one takes it back.
        """
        tries = 1 + self.around.settings.create_retries
        placement = max(1, self.operation.placement_count)
        if placement >= tries:
            return failure
        work = self._next_work()
        final = failure
        try:
            async with self._reporting(work, operation_pb2.OPERATION_STATE_RUNNING):
                await self.kind.undo(work)
            note = f"placed anew ({placement + 1} of {tries}) because {failure.message}"
            try:
                await self._replan(note)
            except BrickyardError as error:
                final = _not_placed_anew(failure, error)
                raise
        except BrickyardError as error:
            if error.reason is Reason.LEASE_LOST:
                raise
            _log.warning(
                "operation.not_placed_anew",
                operation_id=self.operation.id,
                reason=error.reason.value,
                message=error.message,
            )
            return final
        _log.info("operation.placed_anew", operation_id=self.operation.id, note=note)
        return None

    async def _replan(self, note: str) -> None:
        """Plans and replaces the reservation, again while others change what the plan stands on."""
        for attempt in range(1, _MAX_PLANS + 1):
            bricks = await self.around.plan_again(self.operation, self.trail)
            request = operation_service_pb2.ReplanOperationRequest(
                operation_id=self.operation.id,
                owner=self.around.settings.owner,
                bricks=bricks,
                left_brick_ids=sorted(self.trail.left_brick_ids),
                lease_duration=lease_of(self.around.settings),
                note=note,
            )
            try:
                answer = await self._until_topology_answers(self.around.operations.ReplanOperation, request)
                break
            except AbortedError as error:
                if error.reason is not Reason.PLAN_OUTDATED or attempt == _MAX_PLANS:
                    raise
        self.operation = answer.operation
        self.trail.left_brick_ids.clear()
        self._adopt_clean_up(answer)

    def _adopt_clean_up(self, answer: Any) -> None:
        if answer.HasField("clean_up"):
            self.around.adopt(answer.clean_up)

    async def _take_back(self, failure: operation_pb2.OperationError) -> None:
        """Undoes and aborts, however often it takes; the reason of the failure is stored before a node is touched."""
        await self._update(state=operation_pb2.OPERATION_STATE_UNDOING, error=failure)
        kept = await self._until_done(self.kind.undo, operation_pb2.OPERATION_STATE_UNDOING)
        answer = await self._until_topology_answers(
            self.around.operations.AbortOperation,
            operation_service_pb2.AbortOperationRequest(
                operation_id=self.operation.id,
                owner=self.around.settings.owner,
                error=failure,
                removed_bricks=kept if isinstance(kept, operation_service_pb2.RemovedBricks) else None,
                expanded_block_volume=kept if isinstance(kept, operation_service_pb2.BlockVolumeSize) else None,
                left_brick_ids=sorted(self.trail.left_brick_ids),
                lease_duration=lease_of(self.around.settings),
            ),
        )
        self.ended = answer.operation
        self._adopt_clean_up(answer)

    async def _until_done(
        self, action: Callable[[Work], Awaitable[Any]], state: operation_pb2.OperationState.ValueType
    ) -> Any:
        """Acts until it succeeds; after each failure waits for the retry interval, or for the wakeup."""
        while True:
            self.wakeup.clear()
            work = self._next_work()
            try:
                async with self._reporting(work, state):
                    return await action(work)
            except BrickyardError as error:
                if error.reason is Reason.LEASE_LOST:
                    raise
                _log.warning(
                    "operation.undo_failed",
                    operation_id=self.operation.id,
                    reason=error.reason.value,
                    message=error.message,
                )
                self.stalled = True
                await self._update(stalled=True, progress=work.progress.to_message())
            self.waiting = True
            # Running into the limit is the usual case, not an error: it is simply the next attempt's turn.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wakeup.wait(), self.around.settings.retry_interval_s)
            self.waiting = False

    async def _update(self, **fields: Any) -> None:
        await self._until_topology_answers(
            self.around.operations.UpdateOperation,
            operation_service_pb2.UpdateOperationRequest(
                operation_id=self.operation.id, owner=self.around.settings.owner, **fields
            ),
        )

    async def _until_topology_answers(self, method: Any, request: Any) -> Any:
        """Repeats a call while the topology is away: its restart must not lose what happened on the nodes."""
        while True:
            try:
                return await call_aio(method, request)
            except FailedPreconditionError as error:
                if error.reason is Reason.OPERATION_ENDED:
                    raise _EndedElsewhereError(error.message) from error
                raise
            except (UnavailableError, TimeLimitError) as error:
                _log.warning("engine.topology_unreachable", message=error.message)
            await asyncio.sleep(_TOPOLOGY_PAUSE_S)

    @contextlib.asynccontextmanager
    async def _reporting(self, work: Work, state: operation_pb2.OperationState.ValueType) -> Any:
        """Stores the progress of `work` while the block runs, when it has changed; a quick operation stores none."""
        task = asyncio.create_task(self._report(work, state))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _report(self, work: Work, state: operation_pb2.OperationState.ValueType) -> None:
        stored = None
        while True:
            await asyncio.sleep(self.around.settings.progress_interval_s)
            progress = work.progress.to_message()
            if progress == stored:
                continue
            try:
                await self._update(state=state, progress=progress)
            except _EndedElsewhereError:
                _log.warning("operation.progress_refused", operation_id=work.operation.id, reason="OPERATION_ENDED")
                return
            except BrickyardError as error:
                # A lost lease ends the whole attempt, through the renewal; progress itself is never worth a failure.
                _log.warning("operation.progress_refused", operation_id=work.operation.id, reason=error.reason.value)
                return
            stored = progress


def _operation_error(error: BrickyardError) -> operation_pb2.OperationError:
    return operation_pb2.OperationError(reason=error.reason.value, message=error.message, metadata=dict(error.metadata))


def _not_placed_anew(failure: operation_pb2.OperationError, refusal: BrickyardError) -> operation_pb2.OperationError:
    """The first failure with why there was no other place, of each device too where placement said so."""
    told = operation_pb2.OperationError(
        reason=failure.reason,
        message=f"{failure.message}\nIt could not be placed elsewhere: {refusal.message}",
        metadata=dict(failure.metadata),
    )
    told.metadata["placement_reason"] = refusal.reason.value
    for key in ("largest_size_bytes", "devices"):
        if refusal.metadata.get(key):
            told.metadata[f"placement_{key}"] = refusal.metadata[key]
    return told
