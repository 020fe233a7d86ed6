"""The operation engine: records an operation, drives it to its end, and takes over those whose driver died.

Any number of gateways run one each over the same topology. Who holds the lease drives; a lease that ran out may be
claimed by anyone, so nothing is left behind by a crash. The record says what was planned; agents make every step
repeatable; so an attempt may stop at any instruction and another one goes on from the record alone.

A driver that has lost its lease and does not know it yet does no harm: agents refuse what comes of an earlier epoch.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from brickyard.topology.v1.node_pb2 import Node
from gateway.clients import AgentCaller
from gateway.operations.driver import Driver, PlanAgain, Surroundings, lease_of
from gateway.operations.moves import Moves
from gateway.operations.settings import EngineSettings
from gateway.operations.work import Kind
from services.common.channels import call_aio
from services.common.context import enter_request
from services.common.errors import BrickyardError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
_ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)
# Clients that poll ask again within this time; a record that has ended does not change any more.
_REMEMBERED_S = 60.0
_MOST_REMEMBERED = 1000


@dataclass(slots=True)
class _Driven:
    """An operation that is driven here.

    Attributes:
        driver: Its driver.
        task: What runs the driver.
        sure_until: On the event loop's clock: nobody else can have claimed the operation before.
    """

    driver: Driver
    task: "asyncio.Task[None]"
    sure_until: float


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
        plan_again: PlanAgain,
        moves: Moves | None = None,
    ) -> None:
        """Nothing runs before `start`.

        Args:
            settings: How it behaves.
            kinds: What to do for each kind of operation.
            operations: Stub of the topology's OperationService.
            agents: The way to the nodes.
            list_nodes: Gives the nodes of a cluster.
            plan_again: Places a volume anew, without what has failed.
            moves: What operations need that consist of others; None where there are none.
        """
        self._settings = settings
        self._kinds = kinds
        self._operations = operations
        self._around = Surroundings(
            settings=settings,
            operations=operations,
            agents=agents,
            list_nodes=list_nodes,
            plan_again=plan_again,
            adopt=self._drive_in_background,
            moves=moves,
        )
        self._driven: dict[str, _Driven] = {}
        # Records of operations that ended here, and when; the oldest first.
        self._remembered: OrderedDict[str, tuple[float, operation_pb2.Operation]] = OrderedDict()
        self._loops: list[asyncio.Task[None]] = []
        self._claiming: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def in_flight_count(self) -> int:
        """Operations that this gateway drives now."""
        return len(self._driven)

    async def start(self) -> None:
        """Starts to keep leases alive and to take over what others left."""
        self._claiming = asyncio.create_task(self._forever(self._claim_abandoned, self._settings.claim_interval_s))
        self._loops = [
            asyncio.create_task(self._forever(self._renew_leases, self._settings.lease_s / 3)),
            self._claiming,
        ]

    async def stop(self, grace_s: float) -> None:
        """Lets running operations end within `grace_s`, then drops the rest: another gateway claims them.

        Operations that only wait for a node are dropped at once.
        """
        self._stopping = True
        if self._claiming is not None:
            self._claiming.cancel()
        deadline = asyncio.get_running_loop().time() + grace_s
        while busy := [each.task for each in self._driven.values() if not each.driver.waiting]:
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                break
            # One that begins to wait for a node in the meantime is noticed within a moment.
            await asyncio.wait(busy, timeout=min(left_s, 0.5), return_when=asyncio.FIRST_COMPLETED)
        tasks = [*self._loops, *(each.task for each in self._driven.values())]
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
        asked_at = _now()
        answer: operation_service_pb2.BeginOperationResponse = await call_aio(
            self._operations.BeginOperation,
            operation_service_pb2.BeginOperationRequest(
                request_id=request_id,
                spec=spec,
                owner=self._settings.owner,
                lease_duration=lease_of(self._settings),
                max_in_flight=self._settings.max_in_flight,
                fingerprint=fingerprint,
            ),
        )
        operation = answer.operation
        # Also when it is replayed: the answer to our first attempt may have got lost on its way.
        if operation.owner == self._settings.owner and not has_ended(operation):
            # Of a replayed one the lease began earlier, nobody knows when.
            lease_s = 0.0 if answer.replayed else self._settings.lease_s
            self._drive_in_background(operation, sure_until=asked_at + lease_s, nodes=answer.nodes)
        return operation

    def surely_runs(self, operation_id: str) -> bool:
        """Whether an operation has neither ended nor stalls, told without asking the topology.

        That is so while it is driven here and its lease, counted from before it was asked for, has not run out: nobody
        else can have ended it. False = only the topology can tell.
        """
        driven = self._driven.get(operation_id)
        return driven is not None and not driven.driver.stalled and _now() < driven.sure_until

    async def outcome(self, operation_id: str, *, wait_s: float) -> operation_pb2.Operation | None:
        """The record of an operation that has ended here lately, or ends within `wait_s`; None = ask the topology."""
        driven = self._driven.get(operation_id)
        if driven is not None and not driven.driver.stalled:
            await asyncio.wait({driven.task}, timeout=wait_s)
        ended_at, operation = self._remembered.get(operation_id, (0.0, None))
        return operation if _now() < ended_at + _REMEMBERED_S else None

    async def check_slot(self) -> None:
        """Whether one more volume operation could begin now.

        Raises:
            ResourceExhaustedError: TOO_MANY_OPERATIONS.
            BrickyardError: The topology does not answer.
        """
        await call_aio(
            self._operations.CheckSlot,
            operation_service_pb2.CheckSlotRequest(max_in_flight=self._settings.max_in_flight),
        )

    async def retry_now(self, operation_ids: Collection[str]) -> None:
        """Spares stalled operations their pause, and takes over those that nobody drives.

        Those of other gateways follow when these renew their leases.

        Args:
            operation_ids: The stalled operations to retry; empty = all. Ids of others are passed over.

        Raises:
            BrickyardError: The topology does not answer; what stalls here is retried all the same.
        """
        self._wake(operation_ids or list(self._driven))
        await call_aio(
            self._operations.WakeOperations,
            operation_service_pb2.WakeOperationsRequest(operation_ids=sorted(set(operation_ids))),
        )
        if not self._stopping:
            await self._claim_abandoned()

    def _wake(self, operation_ids: Collection[str]) -> None:
        for operation_id in operation_ids:
            driven = self._driven.get(operation_id)
            if driven is not None:
                driven.driver.wakeup.set()

    def _drive_in_background(
        self, operation: operation_pb2.Operation, *, sure_until: float = 0.0, nodes: Iterable[Node] = ()
    ) -> None:
        if operation.id in self._driven:
            return
        driver = Driver(
            operation,
            self._kinds[operation.kind],
            self._around,
            told_nodes={node.id: node for node in nodes},
            stalled=operation.stalled,
        )
        task = asyncio.create_task(driver.drive(), name=operation.id)
        self._driven[operation.id] = _Driven(driver, task, sure_until)
        task.add_done_callback(self._driver_ended)

    def _driver_ended(self, task: "asyncio.Task[None]") -> None:
        operation_id = task.get_name()
        driven = self._driven.pop(operation_id, None)
        if driven is not None and driven.driver.ended is not None:
            self._remembered[operation_id] = _now(), driven.driver.ended
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
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
        if not self._driven:
            return
        asked_at, asked = _now(), list(self._driven)
        answer: operation_service_pb2.RenewLeasesResponse = await call_aio(
            self._operations.RenewLeases,
            operation_service_pb2.RenewLeasesRequest(
                owner=self._settings.owner,
                operation_ids=asked,
                lease_duration=lease_of(self._settings),
            ),
        )
        lost = set(answer.lost_operation_ids)
        for operation_id in asked:
            driven = self._driven.get(operation_id)
            if driven is None:
                continue
            if operation_id not in lost:
                driven.sure_until = asked_at + self._settings.lease_s
            else:
                _log.warning("operation.lease_lost", operation_id=operation_id)
                driven.task.cancel()
        self._wake(answer.woken_operation_ids)

    async def _claim_abandoned(self) -> None:
        answer: operation_service_pb2.ClaimOperationsResponse = await call_aio(
            self._operations.ClaimOperations,
            operation_service_pb2.ClaimOperationsRequest(
                owner=self._settings.owner, lease_duration=lease_of(self._settings)
            ),
        )
        for operation in answer.operations:
            if operation.id not in self._driven:
                enter_request(operation.request_id)
                _log.warning("operation.taken_over", operation_id=operation.id, attempt=operation.attempt_count)
                self._drive_in_background(operation)


def _now() -> float:
    return asyncio.get_running_loop().time()


def has_ended(operation: operation_pb2.Operation) -> bool:
    """Whether the operation will not change any more."""
    return operation.state in _ENDED
