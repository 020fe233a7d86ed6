"""The use cases over volumes and operations."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from brickyard.allocator.v1.allocator_service_pb2 import PlanVolumeRequest, PlanVolumeResponse
from brickyard.topology.v1 import operation_pb2, operation_service_pb2, topology_service_pb2, volume_pb2
from gateway.clients import AgentCaller
from gateway.operations.engine import OperationEngine, has_ended
from gateway.settings import ProvisioningSettings
from gateway.usecases.bricks import LookAgain
from gateway.usecases.placement import all_options, named_bricks, placement_rules, planned_volume
from gateway.usecases.port import NewVolume
from gateway.usecases.previews import Preparation, PreviewUseCases
from gateway.usecases.validation import check_id, check_new_volume, check_volume_name, check_volume_size
from services.common.channels import call_aio
from services.common.errors import AbortedError, BrickyardError
from services.common.ids import new_id
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
# A poll is held so long for an operation that may be about to end: clients pause longer than that between polls.
_MOMENT_S = 0.1
# A plan is outdated when somebody else took the space in between; after so many times the cluster is too contended.
_MAX_PLANS = 8
# The planned cluster may have been filled, or have got a volume of that name, since it was planned; another one may do.
_OUTDATED = frozenset({Reason.PLAN_OUTDATED, Reason.TOO_MANY_VOLUMES, Reason.VOLUME_NAME_IN_USE})


class GatewayUseCases(PreviewUseCases):
    """All use cases of the gateway."""

    def __init__(
        self,
        *,
        topology: Any,
        operations: Any,
        allocator: Any,
        agents: AgentCaller,
        engine: OperationEngine,
        settings: ProvisioningSettings,
        look_again: LookAgain | None = None,
    ) -> None:
        """`topology`, `operations` and `allocator` are the stubs of those services.

        `look_again` looks at all nodes now; without it, what was seen last decides which nodes are down.
        """
        super().__init__(topology=topology, operations=operations, agents=agents, engine=engine)
        self._allocator = allocator
        self._settings = settings
        self._look_again = look_again

    async def create_volume(self, volume: NewVolume, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_new_volume(volume)
        first = await self._repeated(
            operation_pb2.OperationSpec(create_volume=operation_pb2.CreateVolumeSpec()), request_id, volume
        )
        if first is not None:
            return first
        preparation = self._creation(volume)

        async def prepare() -> Preparation:
            return preparation

        return await self._begin_planned(prepare, request_id, volume)

    def _creation(self, volume: NewVolume) -> Preparation:
        """What to plan for a new volume, and what to record of the plan."""
        options = all_options(volume.options, self._settings, block=volume.block)
        snapshot_factor = volume.snapshot_factor if volume.snapshot_enabled else 1.0
        plan_request = PlanVolumeRequest(
            size_bytes=volume.size_bytes,
            rules=placement_rules(volume.durability, snapshot_factor, options, self._settings),
            cluster_ids=volume.cluster_ids,
            volume_name=volume.name,
            block=volume.block,
            max_volumes_per_cluster=self._settings.max_volumes_per_cluster,
        )
        volume_id = new_id()

        def spec_of(plan: PlanVolumeResponse) -> operation_pb2.OperationSpec:
            planned = planned_volume(volume_id, volume, options, plan, [new_id() for _ in plan.bricks])
            return operation_pb2.OperationSpec(
                create_volume=operation_pb2.CreateVolumeSpec(
                    volume=planned, max_volumes_per_cluster=self._settings.max_volumes_per_cluster
                )
            )

        return plan_request, spec_of

    async def _begin_planned(
        self,
        prepare: Callable[[], Awaitable[Preparation]],
        request_id: str | None,
        asked: object,
    ) -> operation_pb2.Operation:
        """Plans and begins; prepares and plans again while others change what the plan stands on."""
        for attempt in range(1, _MAX_PLANS + 1):
            plan_request, spec_of = await prepare()
            plan = await self._plan(plan_request)
            try:
                return await self._begin(spec_of(plan), request_id, asked)
            except BrickyardError as error:
                if error.reason not in _OUTDATED or attempt == _MAX_PLANS:
                    raise
                _log.info("volume.plan_outdated", attempt=attempt, message=error.message)
        raise AssertionError  # the loop returns or raises

    async def _plan(self, request: PlanVolumeRequest) -> PlanVolumeResponse:
        """A plan; a busy server says so first, also where no plan fits (Heketi's order)."""
        try:
            plan: PlanVolumeResponse = await self._placed(self._allocator.PlanVolume, request)
        except BrickyardError:
            await self._engine.check_slot()
            raise
        return plan

    async def plan_again(
        self, operation: operation_pb2.Operation, *, without_nodes: Iterable[str], without_devices: Iterable[str]
    ) -> Sequence[volume_pb2.Brick]:
        """New bricks for the volume that an operation makes, in its cluster, after some nodes or devices failed.

        Raises:
            BrickyardError: The refusals of placement.
        """
        volume = operation.spec.create_volume.volume
        factor = volume.snapshot_factor if volume.snapshot_enabled else 1.0
        # Without name and limit: the volume has the one already, and counts for the other.
        request = PlanVolumeRequest(
            size_bytes=volume.size_bytes,
            rules=placement_rules(volume.durability, factor, volume.options, self._settings),
            cluster_ids=[volume.cluster_id],
            block=volume.block,
            freed_bricks=volume.bricks,
            excluded_node_ids=sorted(without_nodes),
            excluded_device_ids=sorted(without_devices),
        )
        plan = await call_aio(self._allocator.PlanVolume, request)
        return named_bricks(volume.id, plan, [new_id() for _ in plan.bricks])

    async def expand_volume(
        self,
        volume_id: str,
        added_size_bytes: int,
        *,
        rebalance: bool | None = None,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("volume_id", volume_id)
        check_volume_size("added_size_bytes", added_size_bytes)
        moves_data = self._settings.rebalance_on_expansion if rebalance is None else rebalance
        asked = (volume_id, added_size_bytes) if rebalance is None else (volume_id, added_size_bytes, rebalance)
        first = await self._repeated(
            operation_pb2.OperationSpec(expand_volume=operation_pb2.ExpandVolumeSpec()), request_id, asked
        )
        if first is not None:
            return first

        async def prepare() -> Preparation:
            volume, _ = await self.get_volume(volume_id)
            return self._expansion(volume, added_size_bytes, rebalance=moves_data)

        return await self._begin_planned(prepare, request_id, asked)

    def _expansion(self, volume: volume_pb2.Volume, added_size_bytes: int, *, rebalance: bool) -> Preparation:
        """What to plan for a volume as it is now, and what to record of the plan."""
        factor = volume.snapshot_factor if volume.snapshot_enabled else 1.0
        plan_request = PlanVolumeRequest(
            size_bytes=added_size_bytes,
            rules=placement_rules(volume.durability, factor, volume.options, self._settings),
            cluster_ids=[volume.cluster_id],
            existing_brick_count=len(volume.bricks),
        )
        sets = 1 + max((brick.set_index for brick in volume.bricks), default=-1)

        def spec_of(plan: PlanVolumeResponse) -> operation_pb2.OperationSpec:
            bricks = named_bricks(volume.id, plan, [new_id() for _ in plan.bricks], first_set=sets)
            return operation_pb2.OperationSpec(
                expand_volume=operation_pb2.ExpandVolumeSpec(
                    volume_id=volume.id,
                    added_size_bytes=added_size_bytes,
                    bricks=bricks,
                    rebalance=rebalance,
                )
            )

        return plan_request, spec_of

    async def clone_volume(
        self, volume_id: str, *, name: str = "", request_id: str | None = None
    ) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("volume_id", volume_id)
        if name:
            check_volume_name(name)
        asked = (volume_id, name)
        first = await self._repeated(
            operation_pb2.OperationSpec(clone_volume=operation_pb2.CloneVolumeSpec()), request_id, asked
        )
        if first is not None:
            return first
        for attempt in range(1, _MAX_PLANS + 1):
            source, _ = await self.get_volume(volume_id)
            spec = operation_pb2.OperationSpec(
                clone_volume=operation_pb2.CloneVolumeSpec(
                    source_volume_id=volume_id,
                    volume_id=new_id(),
                    name=name,
                    brick_ids=[new_id() for _ in source.bricks],
                )
            )
            try:
                return await self._begin(spec, request_id, asked)
            except AbortedError as error:
                # The source grew between our look and the record.
                if error.reason is not Reason.PLAN_OUTDATED or attempt == _MAX_PLANS:
                    raise
        raise AssertionError  # the loop returns or raises

    async def get_volume(self, volume_id: str) -> tuple[volume_pb2.Volume, Sequence[str]]:
        """See `UseCases`."""
        answer = await call_aio(self._topology.GetVolume, topology_service_pb2.GetVolumeRequest(volume_id=volume_id))
        return answer.volume, answer.mount_hosts

    async def list_volumes(self, cluster_id: str = "") -> Sequence[volume_pb2.Volume]:
        """See `UseCases`."""
        return await self._pages(
            self._topology.ListVolumes, topology_service_pb2.ListVolumesRequest(cluster_id=cluster_id), "volumes"
        )

    async def list_volume_ids(self) -> Sequence[str]:
        """See `UseCases`."""
        request = topology_service_pb2.ListVolumesRequest(ids_only=True)
        return [volume.id for volume in await self._pages(self._topology.ListVolumes, request, "volumes")]

    async def delete_volume(self, volume_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("volume_id", volume_id)
        spec = operation_pb2.OperationSpec(delete_volume=operation_pb2.DeleteVolumeSpec(volume_id=volume_id))
        return await self._begin(spec, request_id, volume_id)

    async def get_operation(self, operation_id: str) -> operation_pb2.Operation:
        """See `UseCases`."""
        answer = await call_aio(
            self._operations.GetOperation, operation_service_pb2.GetOperationRequest(operation_id=operation_id)
        )
        operation: operation_pb2.Operation = answer.operation
        return operation

    async def poll_operation(self, operation_id: str) -> operation_pb2.Operation | None:
        """See `UseCases`."""
        operation = await self._engine.outcome(operation_id, wait_s=_MOMENT_S)
        if operation is None:
            if self._engine.surely_runs(operation_id):
                return None
            operation = await self.get_operation(operation_id)
        return operation if has_ended(operation) or operation.stalled else None

    async def list_operations(self, *, unfinished_only: bool = False) -> Sequence[operation_pb2.Operation]:
        """See `UseCases`."""
        request = operation_service_pb2.ListOperationsRequest(unfinished_only=unfinished_only)
        return await self._pages(self._operations.ListOperations, request, "operations")

    async def cleanup_operations(self, operation_ids: Sequence[str] = ()) -> None:
        """See `UseCases`."""
        await self._engine.retry_now(operation_ids)
