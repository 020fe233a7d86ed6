"""The use cases over single bricks."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from brickyard.allocator.v1.allocator_service_pb2 import PlanReplacementRequest, PlanVolumeResponse
from brickyard.executor.v1.executor_service_pb2 import GetHealStatusRequest
from brickyard.executor.v1.facts_pb2 import BrickHealFacts
from brickyard.topology.v1 import node_pb2, operation_pb2, topology_service_pb2, volume_pb2
from gateway.clients import manage_hostname, storage_hostname
from gateway.settings import ProvisioningSettings
from gateway.usecases.examination import ExaminationUseCases
from gateway.usecases.placement import named_bricks, placement_rules
from gateway.usecases.validation import check_id
from services.common.channels import call_aio
from services.common.errors import AbortedError, BrickyardError, UnavailableError
from services.common.ids import new_id
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
# As for volumes: after so many times the cluster is too contended.
_MAX_PLANS = 8
# Looks at all nodes, for a short while.
LookAgain = Callable[[], Awaitable[None]]
# Gluster mounts the volume for it, and waits ten seconds for a brick that does not answer.
_HEAL_TIMEOUT_S = 60.0


class BrickUseCases(ExaminationUseCases):
    """Moving a brick, and what bricks have to heal; see `UseCases` for each."""

    _allocator: Any
    _settings: ProvisioningSettings
    _look_again: LookAgain | None

    async def _placed(self, method: Any, request: Any) -> Any:
        """What the allocator answers; a refusal for nodes that are down counts only after another look at them.

        A node that was down a minute ago may be back.
        """
        try:
            return await call_aio(method, request)
        except BrickyardError as error:
            if self._look_again is None or not int(error.metadata.get("down_device_count") or 0):
                raise
        await self._look_again()
        return await call_aio(method, request)

    async def evict_brick(
        self,
        brick_id: str,
        *,
        skip_heal_check: bool = False,
        request_id: str | None = None,
        parent_id: str = "",
    ) -> operation_pb2.Operation:
        """See `UseCases`; `parent_id` names the operation that it is a part of."""
        check_id("brick_id", brick_id)
        asked = (brick_id, skip_heal_check)
        first = await self._repeated(
            operation_pb2.OperationSpec(evict_brick=operation_pb2.EvictBrickSpec()), request_id, asked
        )
        if first is not None:
            return first
        for attempt in range(1, _MAX_PLANS + 1):
            spec = operation_pb2.EvictBrickSpec(
                brick_id=brick_id,
                new_brick=await self._replacement(brick_id),
                skip_heal_check=skip_heal_check,
                parent_operation_id=parent_id,
            )
            try:
                return await self._begin(operation_pb2.OperationSpec(evict_brick=spec), request_id, asked)
            except AbortedError as error:
                if error.reason is not Reason.PLAN_OUTDATED or attempt == _MAX_PLANS:
                    raise
                _log.info("brick.plan_outdated", attempt=attempt, message=error.message)
        raise AssertionError  # the loop returns or raises

    async def _replacement(self, brick_id: str) -> volume_pb2.Brick:
        """A brick that can take the place of another one, planned on the volume as it is now."""
        answer: topology_service_pb2.GetBrickResponse = await call_aio(
            self._topology.GetBrick, topology_service_pb2.GetBrickRequest(brick_id=brick_id)
        )
        volume = answer.volume
        factor = volume.snapshot_factor if volume.snapshot_enabled else 1.0
        plan = await self._placed(
            self._allocator.PlanReplacement,
            PlanReplacementRequest(
                cluster_id=volume.cluster_id,
                brick_id=brick_id,
                bricks=volume.bricks,
                rules=placement_rules(volume.durability, factor, volume.options, self._settings),
            ),
        )
        (brick,) = named_bricks(volume.id, PlanVolumeResponse(bricks=[plan.brick]), [new_id()])
        return brick

    async def get_volume_heal(self, volume_id: str) -> Sequence[tuple[str, BrickHealFacts]]:
        """See `UseCases`."""
        check_id("volume_id", volume_id)
        answer = await call_aio(self._topology.GetVolume, topology_service_pb2.GetVolumeRequest(volume_id=volume_id))
        volume: volume_pb2.Volume = answer.volume
        nodes: dict[str, node_pb2.Node] = {node.id: node for node in await self.list_nodes(volume.cluster_id)}
        names = {
            f"{storage_hostname(nodes[brick.node_id])}:{brick.path}": brick.id
            for brick in volume.bricks
            if brick.node_id in nodes
        }
        failure: BrickyardError = UnavailableError(
            Reason.AGENT_UNREACHABLE, f"no node of volume {volume_id} is known", volume_id=volume_id
        )
        for node_id in dict.fromkeys(brick.node_id for brick in volume.bricks):
            try:
                found = await self._agents.call(
                    manage_hostname(nodes[node_id]),
                    "GetHealStatus",
                    GetHealStatusRequest(name=volume.name),
                    timeout_s=_HEAL_TIMEOUT_S,
                )
            except BrickyardError as error:
                if error.reason not in {Reason.AGENT_UNREACHABLE, Reason.GLUSTERD_NOT_RUNNING}:
                    raise
                failure = error
                continue
            return [(names.get(each.name, ""), each) for each in found.bricks]
        raise failure
