"""The operation engine: records an operation, drives it to its end, and takes over those whose driver died.

Any number of gateways run one each over the same topology. Who holds the lease drives; a lease that ran out may be
claimed by anyone, so nothing is left behind by a crash. The record says what was planned; agents make every step
repeatable; so an attempt may stop at any instruction and another one goes on from the record alone.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.duration_pb2 import Duration

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from brickyard.topology.v1.node_pb2 import Node
from gateway.clients import AgentCaller
from gateway.operations.work import Kind, Progress, Work
from services.common.channels import call_aio
from services.common.context import enter_request
from services.common.errors import BrickyardError, TimeLimitError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
_TOPOLOGY_PAUSE_S = 0.5
_ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine behaves.

    Attributes:
        owner: Name of this gateway process; unique among all.
        lease_s: How long an operation is safe from being claimed without a sign of life of its driver.
        claim_interval_s: How often operations without a living driver are looked for.
        progress_interval_s: How often the progress of a running operation is stored, at most.
        retry_interval_s: Pause between attempts to take back an operation on a node that does not answer.
        max_in_flight: Volume operations at the same time over all gateways; 0 = no limit.
    """

    owner: str
    lease_s: float = 15.0
    claim_interval_s: float = 5.0
    progress_interval_s: float = 0.5
    retry_interval_s: float = 10.0
    max_in_flight: int = 8


class OperationEngine:
    """Drives operations in the background of the gateway's event loop."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        kinds: Mapping[operation_pb2.OperationKind.ValueType, Kind],
        operations: Any,
        agents: AgentCaller,
        list_nodes: Callable[[str], Awaitable[Sequence[Node]]],
    ) -> None:
        """Nothing runs before `start`.

        Args:
            settings: How it behaves.
            kinds: What to do for each kind of operation.
            operations: Stub of the topology's OperationService.
            agents: The way to the nodes.
            list_nodes: Gives the nodes of a cluster.
        """
        self._settings = settings
        self._kinds = kinds
        self._operations = operations
        self._agents = agents
        self._list_nodes = list_nodes
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._claiming: asyncio.Task[None] | None = None
        # One for each operation that is being taken back: set when somebody asks for the next attempt now.
        self._wakeups: dict[str, asyncio.Event] = {}
        self._stopping = False

    @property
    def in_flight_count(self) -> int:
        """Operations that this gateway drives now."""
        return len(self._drivers)

    def _lease(self) -> Duration:
        duration = Duration()
        duration.FromMilliseconds(int(self._settings.lease_s * 1000))
        return duration

    async def start(self) -> None:
        """Starts to keep leases alive and to take over what others left."""
        self._claiming = asyncio.create_task(self._forever(self._claim_abandoned, self._settings.claim_interval_s))
        self._loops = [
            asyncio.create_task(self._forever(self._renew_leases, self._settings.lease_s / 3)),
            self._claiming,
        ]

    async def stop(self, grace_s: float) -> None:
        """Lets running operations end within `grace_s`, then drops the rest: another gateway claims them."""
        self._stopping = True
        if self._claiming is not None:
            self._claiming.cancel()
        if self._drivers:
            await asyncio.wait(list(self._drivers.values()), timeout=grace_s)
        tasks = [*self._loops, *self._drivers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def begin(
        self, spec: operation_pb2.OperationSpec, *, request_id: str, fingerprint: str
    ) -> operation_pb2.Operation:
        """Records an operation, starts to drive it, and returns it.

        Args:
            spec: What is to be done.
            request_id: A repeated one gives the first operation.
            fingerprint: Digest of what the client asked for.

        Raises:
            BrickyardError: The topology refused; nothing was recorded.
        """
        if self._stopping:
            raise UnavailableError(Reason.UNAVAILABLE, "this gateway is shutting down; repeat the request")
        answer: operation_service_pb2.BeginOperationResponse = await call_aio(
            self._operations.BeginOperation,
            operation_service_pb2.BeginOperationRequest(
                request_id=request_id,
                spec=spec,
                owner=self._settings.owner,
                lease_duration=self._lease(),
                max_in_flight=self._settings.max_in_flight,
                fingerprint=fingerprint,
            ),
        )
        operation = answer.operation
        # Also when it is replayed: the answer to our first attempt may have got lost on its way.
        ours = operation.owner == self._settings.owner and operation.id not in self._drivers
        if ours and not has_ended(operation):
            self._drive_in_background(operation)
        return operation

    async def retry_now(self, operation_ids: Collection[str]) -> None:
        """Spares waiting operations their pause: this gateway's stalled ones, and those that nobody drives.

        Args:
            operation_ids: The stalled operations to retry; empty = all. Ids of others are passed over.

        Raises:
            BrickyardError: The topology does not answer; what stalls here is retried all the same.
        """
        for operation_id, wakeup in self._wakeups.items():
            if not operation_ids or operation_id in operation_ids:
                wakeup.set()
        if not self._stopping:
            await self._claim_abandoned()

    def _drive_in_background(self, operation: operation_pb2.Operation) -> None:
        task = asyncio.create_task(self._drive(operation), name=operation.id)
        self._drivers[operation.id] = task
        task.add_done_callback(self._driver_ended)

    def _driver_ended(self, task: asyncio.Task[None]) -> None:
        operation_id = task.get_name()
        self._drivers.pop(operation_id, None)
        if not task.cancelled() and task.exception() is not None:
            # Its lease is not renewed any more, so the operation is claimed and brought to its end from its record.
            _log.error("operation.crashed", operation_id=operation_id, exc_info=task.exception())

    async def _forever(self, action: Callable[[], Awaitable[None]], interval_s: float) -> None:
        enter_request(None)
        while True:
            try:
                await action()
            except BrickyardError as error:
                _log.warning("engine.topology_unreachable", reason=error.reason.value, message=error.message)
            except Exception as error:  # noqa: BLE001 - the outermost frame: without it, leases would run out unseen
                _log.error("engine.housekeeping_crashed", exc_info=error)
            # Jitter keeps several gateways from asking in step.
            await asyncio.sleep(interval_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    async def _renew_leases(self) -> None:
        if not self._drivers:
            return
        answer: operation_service_pb2.RenewLeasesResponse = await call_aio(
            self._operations.RenewLeases,
            operation_service_pb2.RenewLeasesRequest(
                owner=self._settings.owner, operation_ids=list(self._drivers), lease_duration=self._lease()
            ),
        )
        for operation_id in answer.lost_operation_ids:
            driver = self._drivers.get(operation_id)
            if driver is not None:
                _log.warning("operation.lease_lost", operation_id=operation_id)
                driver.cancel()

    async def _claim_abandoned(self) -> None:
        answer: operation_service_pb2.ClaimOperationsResponse = await call_aio(
            self._operations.ClaimOperations,
            operation_service_pb2.ClaimOperationsRequest(owner=self._settings.owner, lease_duration=self._lease()),
        )
        for operation in answer.operations:
            if operation.id not in self._drivers:
                enter_request(operation.request_id)
                _log.warning("operation.taken_over", operation_id=operation.id, attempt=operation.attempt_count)
                self._drive_in_background(operation)

    async def _drive(self, operation: operation_pb2.Operation) -> None:
        kind = self._kinds[operation.kind]
        log = _log.bind(operation_id=operation.id, kind=operation_pb2.OperationKind.Name(operation.kind))
        log.info("operation.started", target=operation.target_id, attempt=operation.attempt_count)
        try:
            failure = self._inherited_failure(operation, kind)
            if failure is None:
                failure = await self._attempt(operation, kind)
            if failure is not None:
                log.warning("operation.failing", reason=failure.reason, message=failure.message)
                await self._take_back(operation, kind, failure)
            log.info("operation.ended", failed=failure is not None)
        except BrickyardError as error:
            # The topology does not answer or has given the operation to somebody else: the lease decides who goes on.
            log.warning("operation.dropped", reason=error.reason.value, message=error.message)

    @staticmethod
    def _inherited_failure(operation: operation_pb2.Operation, kind: Kind) -> operation_pb2.OperationError | None:
        """Why an operation that was taken over must be taken back; None when it is to be carried on."""
        if operation.HasField("error"):
            return operation.error
        taken_over = operation.attempt_count > 1
        if not taken_over or kind.redo_after_crash:
            return None
        return operation_pb2.OperationError(
            reason=Reason.UNAVAILABLE.value,
            message="the gateway that ran the operation stopped; what was done was taken back; repeat the request",
        )

    def _work(self, operation: operation_pb2.Operation) -> Work:
        return Work(operation, self._agents, self._patient_list_nodes, Progress())

    async def _patient_list_nodes(self, cluster_id: str) -> Sequence[Node]:
        """The nodes of a cluster; a topology that is away for a moment is waited for."""
        while True:
            try:
                return await self._list_nodes(cluster_id)
            except (UnavailableError, TimeLimitError) as error:
                _log.warning("engine.topology_unreachable", message=error.message)
            await asyncio.sleep(_TOPOLOGY_PAUSE_S)

    async def _attempt(self, operation: operation_pb2.Operation, kind: Kind) -> operation_pb2.OperationError | None:
        """Runs and commits; returns why it failed, or None."""
        work = self._work(operation)
        try:
            async with self._reporting(work, operation_pb2.OPERATION_STATE_RUNNING):
                outcome = await kind.run(work)
            outcome.operation_id, outcome.owner = operation.id, self._settings.owner
            await self._until_topology_answers(self._operations.CommitOperation, outcome)
        except BrickyardError as error:
            if error.reason is Reason.LEASE_LOST:
                raise
            return _operation_error(error)
        return None

    async def _take_back(
        self, operation: operation_pb2.Operation, kind: Kind, failure: operation_pb2.OperationError
    ) -> None:
        """Undoes and aborts, however often it takes; the reason of the failure is stored before a node is touched."""
        await self._update(operation, state=operation_pb2.OPERATION_STATE_UNDOING, error=failure)
        with self._wakeup_of(operation.id) as wakeup:
            await self._undo_until_done(operation, kind, wakeup)
        await self._until_topology_answers(
            self._operations.AbortOperation,
            operation_service_pb2.AbortOperationRequest(
                operation_id=operation.id, owner=self._settings.owner, error=failure
            ),
        )

    @contextlib.contextmanager
    def _wakeup_of(self, operation_id: str) -> Iterator[asyncio.Event]:
        wakeup = self._wakeups[operation_id] = asyncio.Event()
        try:
            yield wakeup
        finally:
            del self._wakeups[operation_id]

    async def _undo_until_done(self, operation: operation_pb2.Operation, kind: Kind, wakeup: asyncio.Event) -> None:
        """Undoes; after each failure waits for the retry interval, or for `wakeup`, whichever comes first."""
        for attempt in itertools.count(1):
            wakeup.clear()
            work = replace(self._work(operation), undo_attempt=attempt)
            try:
                async with self._reporting(work, operation_pb2.OPERATION_STATE_UNDOING):
                    await kind.undo(work)
                break
            except BrickyardError as error:
                if error.reason is Reason.LEASE_LOST:
                    raise
                _log.warning(
                    "operation.undo_failed", operation_id=operation.id, reason=error.reason.value, message=error.message
                )
                await self._update(operation, stalled=True, progress=work.progress.to_message())
            # Running into the limit is the usual case, not an error: it is simply the next attempt's turn.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wakeup.wait(), self._settings.retry_interval_s)

    async def _update(self, operation: operation_pb2.Operation, **fields: Any) -> None:
        await self._until_topology_answers(
            self._operations.UpdateOperation,
            operation_service_pb2.UpdateOperationRequest(
                operation_id=operation.id, owner=self._settings.owner, **fields
            ),
        )

    async def _until_topology_answers(self, method: Any, request: Any) -> Any:
        """Repeats a call while the topology is away: its restart must not lose what happened on the nodes."""
        while True:
            try:
                return await call_aio(method, request)
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
            await asyncio.sleep(self._settings.progress_interval_s)
            progress = work.progress.to_message()
            if progress == stored:
                continue
            try:
                await self._update(work.operation, state=state, progress=progress)
            except BrickyardError as error:
                # A lost lease ends the whole attempt, through the renewal; progress itself is never worth a failure.
                _log.warning("operation.progress_refused", operation_id=work.operation.id, reason=error.reason.value)
                return
            stored = progress


def _operation_error(error: BrickyardError) -> operation_pb2.OperationError:
    return operation_pb2.OperationError(reason=error.reason.value, message=error.message, metadata=dict(error.metadata))


def has_ended(operation: operation_pb2.Operation) -> bool:
    """Whether the operation will not change any more."""
    return operation.state in _ENDED
