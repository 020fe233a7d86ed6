"""Mends what is safe to mend, one action after the other. Effects: through topology and agents.

Before each action comes another look: whatever removes something gets all of it again, agents included, and is skipped
unless the same finding is still there; whatever brings something back gets the records. The agents and the topology
then refuse by themselves what became wrong even later.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1 import (
    books_pb2,
    node_pb2,
    operation_pb2,
    operation_service_pb2,
    records_pb2,
    volume_pb2,
)
from gateway.clients import AgentCaller, manage_hostname
from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import Report
from gateway.examination.domain.plan import Action, Plan, plan_repair
from gateway.examination.gathering import Examiner, Look
from services.common.channels import call_aio, stream_aio
from services.common.errors import BrickyardError, FailedPreconditionError, UnavailableError
from services.common.ids import new_id
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
_WRITE_TIMEOUT_S = 600.0
# What one round uncovers is mended by the next: the bricks of a removed volume, the space of a removed brick.
_ROUNDS = 3
_UNMOUNTED = frozenset({Kind.MISSING_MOUNT, Kind.LV_INACTIVE, Kind.MOUNT_DIFFERS, Kind.BRICK_LOST, Kind.GHOST_BRICK})


class Stage(StrEnum):
    """How far an action is."""

    BEGUN = "BEGUN"
    DONE = "DONE"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class RepairEvent:
    """Something happened to an action; `message` says why it was skipped or failed."""

    action: Action
    stage: Stage
    message: str = ""


class _NotNowError(Exception):
    """A fresh look shows that an action is not needed or not safe any more."""


class Repairer:
    """Plans and mends.

    Args:
        examiner: Looks.
        topology: Stub of the topology's TopologyService.
        operations: Stub of its OperationService.
        agents: The way to the nodes.
        resync_device: Begins to measure a device again.
    """

    def __init__(
        self,
        *,
        examiner: Examiner,
        topology: Any,
        operations: Any,
        agents: AgentCaller,
        resync_device: Callable[[str], Awaitable[operation_pb2.Operation]],
    ) -> None:
        self._examiner = examiner
        self._topology = topology
        self._operations = operations
        self._agents = agents
        self._resync_device = resync_device
        self._deeds: dict[Verb, Callable[[Action, books_pb2.GetBooksResponse], Awaitable[None]]] = {
            Verb.SET_BRICK_ORDER: self._set_brick_order,
            Verb.RESTORE_BRICK: self._restore_brick,
            Verb.START_VOLUME: self._start_volume,
            Verb.RESTART_BRICKS: self._start_volume,
            Verb.REMOVE_ORPHAN_VOLUME: self._remove_volume,
            Verb.REMOVE_ORPHAN_COPIES: self._remove_copies,
            Verb.REMOVE_ORPHAN_BRICK: self._remove_brick,
            Verb.DROP_GHOSTS: self._drop_ghosts,
            Verb.RESYNC_DEVICE: self._resync,
        }

    async def plan(self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = ()) -> tuple[Plan, Report]:
        """What `repair` would do now, and the look that says so; changes nothing.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or the topology does not answer.
        """
        report = await self._examiner.examine(cluster_id)
        return plan_repair(report, doomed_volume_ids=doomed_volume_ids), report

    async def repair(
        self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = (), removes_nothing: bool = False
    ) -> AsyncIterator[RepairEvent]:
        """Does what is safe; tells of each action before it begins and when it has ended.

        Args:
            cluster_id: Only this cluster; empty = all.
            doomed_volume_ids: Ids of gluster volumes, in no record, that may be removed with their data.
            removes_nothing: Whether actions that take something away are left out.

        Raises:
            BrickyardError: A look was not possible. What fails in an action is its event, and the next action follows.
        """
        tried: set[tuple[str, str, str, str]] = set()
        for _round in range(_ROUNDS):
            report = await self._examiner.examine(cluster_id)
            plan = plan_repair(report, doomed_volume_ids=doomed_volume_ids)
            actions = [
                action
                for action in plan.actions
                if action.key not in tried and not (removes_nothing and action.verb.removes)
            ]
            if not actions:
                return
            for action in actions:
                tried.add(action.key)
                yield RepairEvent(action, Stage.BEGUN)
                yield await self._attempt(action, doomed_volume_ids)

    async def _attempt(self, action: Action, doomed: Collection[str]) -> RepairEvent:
        log = _log.bind(verb=action.verb.value, object=action.object, node=action.hostname)
        try:
            current, books = await self._confirmed(action, doomed)
            await self._deeds[action.verb](current, books)
        except _NotNowError as why:
            log.info("repair.skipped", why=str(why))
            return RepairEvent(action, Stage.SKIPPED, str(why))
        except BrickyardError as error:
            log.warning("repair.failed", reason=error.reason.value, message=error.message)
            return RepairEvent(action, Stage.FAILED, error.message)
        log.warning("repair.done", findings=[finding.kind.value for finding in action.findings])
        return RepairEvent(action, Stage.DONE)

    async def _confirmed(self, action: Action, doomed: Collection[str]) -> tuple[Action, books_pb2.GetBooksResponse]:
        """The action as it is now, and the records as they are now."""
        if action.verb is Verb.RESTART_BRICKS:
            return action, (await self._look_for_mounts(action)).books
        if not action.verb.removes:
            return action, await self._examiner.records(action.cluster_id)
        look = await self._examiner.look(action.cluster_id)
        planned = plan_repair(look.report, doomed_volume_ids=doomed).actions
        current = next((each for each in planned if each.key == action.key), None)
        if current is None:
            raise _NotNowError("a look right before it does not show it any more, or an operation is at it")
        return current, look.books

    async def _look_for_mounts(self, action: Action) -> Look:
        look = await self._examiner.look(action.cluster_id)
        volume_id = action.subject.volume_id
        nodes = {each.brick.node_id for each in look.books.bricks if each.brick.volume_id == volume_id}
        silent = [
            finding
            for finding in look.report.findings
            if finding.kind is Kind.NODE_UNREACHABLE and finding.node_id in nodes
        ]
        bare = [
            finding
            for finding in look.report.findings
            if finding.kind in _UNMOUNTED and finding.subject.volume_id == volume_id
        ]
        if silent or bare:
            raise _NotNowError(f"not all of its bricks are mounted: {(silent + bare)[0].message}")
        return look

    async def _on_node(self, action: Action, method: str, request: Any) -> Any:
        request.request_id = f"{new_id()}/repair"
        return await self._agents.call(action.hostname, method, request, timeout_s=_WRITE_TIMEOUT_S)

    async def _on_any(self, nodes: Collection[node_pb2.Node], method: str, request: Any) -> None:
        """On the first node whose agent answers and whose glusterd runs."""
        failure: BrickyardError = UnavailableError(Reason.AGENT_UNREACHABLE, "no node of the cluster answers")
        for node in nodes:
            request.request_id = f"{new_id()}/repair"
            try:
                await self._agents.call(manage_hostname(node), method, request, timeout_s=_WRITE_TIMEOUT_S)
            except BrickyardError as error:
                if error.reason not in {Reason.AGENT_UNREACHABLE, Reason.GLUSTERD_NOT_RUNNING}:
                    raise
                failure = error
            else:
                return
        raise failure

    async def _set_brick_order(self, action: Action, books: books_pb2.GetBooksResponse) -> None:
        volume = _free_volume(books, action.subject.volume_id)
        request = records_pb2.SetBrickOrderRequest(volume_id=volume.id, brick_ids=action.subject.brick_ids)
        await call_aio(self._topology.SetBrickOrder, request)

    async def _restore_brick(self, action: Action, books: books_pb2.GetBooksResponse) -> None:
        booked = next((each for each in books.bricks if each.brick.id == action.subject.brick_id), None)
        if booked is None:
            raise _NotNowError("the brick is in the records no more")
        _free_volume(books, booked.brick.volume_id)
        if booked.operation_id:
            raise _NotNowError(f"operation {booked.operation_id} is at the brick")
        await self._on_node(action, "RestoreBrick", executor_pb2.RestoreBrickRequest(brick=booked.brick))

    async def _start_volume(self, action: Action, books: books_pb2.GetBooksResponse) -> None:
        volume = _free_volume(books, action.subject.volume_id)
        with_bricks = {each.brick.node_id for each in books.bricks if each.brick.volume_id == volume.id}
        nodes = [each.node for each in books.nodes if each.node.id in with_bricks]
        request = executor_pb2.StartVolumeRequest(
            name=volume.name, volume_id=volume.id, force=action.verb is Verb.RESTART_BRICKS
        )
        await self._on_any(nodes, "StartVolume", request)

    async def _remove_volume(self, action: Action, books: books_pb2.GetBooksResponse) -> None:
        subject = action.subject
        request = executor_pb2.DeleteVolumeRequest(name=subject.volume_name, volume_id=subject.volume_id)
        await self._on_any([each.node for each in books.nodes], "DeleteVolume", request)

    async def _remove_copies(self, action: Action, _books: books_pb2.GetBooksResponse) -> None:
        subject = action.subject
        request = executor_pb2.RemoveOrphanCopiesRequest(device_id=subject.device_id, thin_pool_name=subject.pool_name)
        await self._on_node(action, "RemoveOrphanCopies", request)

    async def _remove_brick(self, action: Action, _books: books_pb2.GetBooksResponse) -> None:
        subject = action.subject
        request = executor_pb2.RemoveOrphanBrickRequest(device_id=subject.device_id, brick_id=subject.brick_id)
        await self._on_node(action, "RemoveOrphanBrick", request)

    async def _drop_ghosts(self, action: Action, _books: books_pb2.GetBooksResponse) -> None:
        subject = action.subject
        await call_aio(
            self._topology.DropGhosts,
            books_pb2.DropGhostsRequest(
                volume_id=subject.volume_id,
                brick_ids=subject.brick_ids,
                reclaimed_brick_ids=subject.reclaimed_ids,
            ),
        )

    async def _resync(self, action: Action, _books: books_pb2.GetBooksResponse) -> None:
        operation = await self._resync_device(action.subject.device_id)
        watched = operation_service_pb2.WatchOperationRequest(operation_id=operation.id)
        async for answer in stream_aio(self._operations.WatchOperation, watched):
            operation = answer.operation
        if operation.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
            raise FailedPreconditionError(
                Reason.INTERNAL,
                operation.error.message or f"operation {operation.id} has not ended; watch it",
                operation_id=operation.id,
            )


def _free_volume(books: books_pb2.GetBooksResponse, volume_id: str) -> volume_pb2.Volume:
    volume = next((each for each in books.volumes if each.id == volume_id), None)
    if volume is None:
        raise _NotNowError("the volume is in the records no more")
    if volume.operation_id:
        raise _NotNowError(f"operation {volume.operation_id} is at the volume")
    return volume
