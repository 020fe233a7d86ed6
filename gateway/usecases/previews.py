"""The use cases that only look ahead: where a volume would go and why, and which moves would level a cluster."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from brickyard.allocator.v1 import allocator_service_pb2 as allocator_pb2
from brickyard.topology.v1 import operation_pb2, topology_service_pb2, volume_pb2
from gateway.settings import ProvisioningSettings
from gateway.usecases.bricks import BrickUseCases
from gateway.usecases.placement import placement_rules
from gateway.usecases.port import NewVolume
from gateway.usecases.validation import check_id, check_new_volume, check_volume_size
from services.common.channels import call_aio

# What to plan, and what to record of the plan.
Preparation = tuple[
    allocator_pb2.PlanVolumeRequest,
    Callable[[allocator_pb2.PlanVolumeResponse], operation_pb2.OperationSpec],
]
# A search for the largest size, or for many moves, in a cluster of thousands of disks.
_TIMEOUT_S = 60.0


class PreviewUseCases(BrickUseCases):
    """Dry runs; see `UseCases` for each. Nothing here changes anything."""

    _allocator: Any
    _settings: ProvisioningSettings

    @abstractmethod
    def _creation(self, volume: NewVolume) -> Preparation:
        """What to plan for a new volume, and what to record of the plan."""

    @abstractmethod
    def _expansion(self, volume: volume_pb2.Volume, added_size_bytes: int, *, rebalance: bool) -> Preparation:
        """The same for a volume that is made larger."""

    async def preview_volume(self, volume: NewVolume) -> volume_pb2.Volume:
        """See `UseCases`."""
        check_new_volume(volume)
        spec = await self._previewed(self._creation(volume))
        return spec.create_volume.volume

    async def preview_expansion(self, volume_id: str, added_size_bytes: int) -> Sequence[volume_pb2.Brick]:
        """See `UseCases`."""
        spec = await self._previewed(await self._expansion_of(volume_id, added_size_bytes))
        return spec.expand_volume.bricks

    async def explain_volume(
        self, volume: NewVolume, *, expanded_volume_id: str = ""
    ) -> Sequence[allocator_pb2.ClusterExplanation]:
        """See `UseCases`."""
        if expanded_volume_id:
            plan_request, _ = await self._expansion_of(expanded_volume_id, volume.size_bytes)
        else:
            check_new_volume(volume)
            plan_request, _ = self._creation(volume)
        request = allocator_pb2.ExplainVolumeRequest(volume=plan_request)
        answer = await call_aio(self._allocator.ExplainVolume, request, timeout_s=_TIMEOUT_S)
        clusters: Sequence[allocator_pb2.ClusterExplanation] = answer.clusters
        return clusters

    async def plan_rebalance(
        self, cluster_id: str, *, max_moves: int = 0, target_deviation: float = 0.0
    ) -> allocator_pb2.PlanRebalanceResponse:
        """See `UseCases`."""
        check_id("cluster_id", cluster_id)
        volumes: Sequence[volume_pb2.Volume] = await self._pages(
            self._topology.ListVolumes,
            topology_service_pb2.ListVolumesRequest(cluster_id=cluster_id, with_bricks=True),
            "volumes",
        )
        request = allocator_pb2.PlanRebalanceRequest(
            cluster_id=cluster_id,
            # What a running operation holds is not to be moved.
            volumes=[self._rebalanced(volume) for volume in volumes if not volume.operation_id],
            max_moves=max_moves,
            target_deviation=target_deviation,
        )
        answer: allocator_pb2.PlanRebalanceResponse = await call_aio(
            self._allocator.PlanRebalance, request, timeout_s=_TIMEOUT_S
        )
        return answer

    def _rebalanced(self, volume: volume_pb2.Volume) -> allocator_pb2.RebalancedVolume:
        factor = volume.snapshot_factor if volume.snapshot_enabled else 1.0
        return allocator_pb2.RebalancedVolume(
            volume_id=volume.id,
            rules=placement_rules(volume.durability, factor, volume.options, self._settings),
            bricks=volume.bricks,
        )

    async def _expansion_of(self, volume_id: str, added_size_bytes: int) -> Preparation:
        check_id("volume_id", volume_id)
        check_volume_size("added_size_bytes", added_size_bytes)
        answer = await call_aio(self._topology.GetVolume, topology_service_pb2.GetVolumeRequest(volume_id=volume_id))
        return self._expansion(answer.volume, added_size_bytes, rebalance=False)

    async def _previewed(self, preparation: Preparation) -> operation_pb2.OperationSpec:
        plan_request, spec_of = preparation
        return spec_of(await call_aio(self._allocator.PlanVolume, plan_request))
