"""Dry runs in memory: what the fake would do, and explanations that tests set."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from brickyard.allocator.v1.allocator_service_pb2 import ClusterExplanation, PlanRebalanceResponse
from brickyard.topology.v1 import volume_pb2
from gateway.usecases import NewVolume
from tests.unit.gateway_heketi.fake_volumes import FakeVolumes


@dataclass
class FakePreviews(FakeVolumes):
    """See `UseCases`; `explanations` and `rebalance` are what it answers."""

    explanations: list[ClusterExplanation] = field(default_factory=list)
    rebalance: PlanRebalanceResponse = field(default_factory=PlanRebalanceResponse)

    async def preview_volume(self, volume: NewVolume) -> volume_pb2.Volume:
        self._called("preview_volume", volume, None)
        cluster_id = (volume.cluster_ids or sorted(self.clusters))[0]
        made = volume_pb2.Volume(
            id="e" * 32,
            name=volume.name,
            cluster_id=cluster_id,
            durability=volume.durability,
            snapshot_factor=volume.snapshot_factor,
        )
        made.bricks.extend(self._placed(made, volume.size_bytes))
        return made

    async def preview_expansion(self, volume_id: str, added_size_bytes: int) -> Sequence[volume_pb2.Brick]:
        self._called("preview_expansion", (volume_id, added_size_bytes), None)
        return self._placed(self._volume(volume_id), added_size_bytes)

    async def explain_volume(self, volume: NewVolume, *, expanded_volume_id: str = "") -> Sequence[ClusterExplanation]:
        self._called("explain_volume", (volume, expanded_volume_id), None)
        return self.explanations

    async def plan_rebalance(
        self, cluster_id: str, *, max_moves: int = 0, target_deviation: float = 0.0
    ) -> PlanRebalanceResponse:
        self._called("plan_rebalance", (cluster_id, max_moves, target_deviation), None)
        return self.rebalance
