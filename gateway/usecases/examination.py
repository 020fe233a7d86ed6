"""The use cases that compare records with nodes, and mend."""

from collections.abc import AsyncIterator, Collection

from brickyard.topology.v1 import operation_pb2
from gateway.examination.domain.model import Report
from gateway.examination.domain.plan import Plan
from gateway.examination.gathering import Examiner
from gateway.examination.repair import Repairer, RepairEvent
from gateway.usecases.topology import TopologyUseCases


class ExaminationUseCases(TopologyUseCases):
    """Examine and repair; see `UseCases` for each."""

    def _examiner(self) -> Examiner:
        return Examiner(topology=self._topology, agents=self._agents)

    def _repairer(self) -> Repairer:
        async def resync(device_id: str) -> operation_pb2.Operation:
            return await self.resync_device(device_id)

        return Repairer(
            examiner=self._examiner(),
            topology=self._topology,
            operations=self._operations,
            agents=self._agents,
            resync_device=resync,
        )

    async def examine(self, cluster_id: str = "") -> Report:
        """See `UseCases`."""
        return await self._examiner().examine(cluster_id)

    async def plan_repair(
        self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = ()
    ) -> tuple[Plan, Report]:
        """See `UseCases`."""
        return await self._repairer().plan(cluster_id, doomed_volume_ids=doomed_volume_ids)

    def repair(
        self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = (), removes_nothing: bool = False
    ) -> AsyncIterator[RepairEvent]:
        """See `UseCases`."""
        return self._repairer().repair(cluster_id, doomed_volume_ids=doomed_volume_ids, removes_nothing=removes_nothing)
