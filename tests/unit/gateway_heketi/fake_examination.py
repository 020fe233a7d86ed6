"""Comparing and mending in memory: it finds and does what a test has set."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field

from gateway.examination.domain.model import Report
from gateway.examination.domain.plan import Plan, plan_repair
from gateway.examination.repair import RepairEvent, Stage
from tests.unit.gateway_heketi.fake_state import FakeState


@dataclass
class FakeExamination(FakeState):
    """See `UseCases`; `report` is what every look finds."""

    report: Report = field(default_factory=lambda: Report(findings=()))

    async def examine(self, cluster_id: str = "") -> Report:
        self._called("examine", cluster_id)
        return self.report

    async def plan_repair(
        self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = ()
    ) -> tuple[Plan, Report]:
        self._called("plan_repair", (cluster_id, doomed_volume_ids))
        return plan_repair(self.report, doomed_volume_ids=doomed_volume_ids), self.report

    async def repair(
        self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = (), removes_nothing: bool = False
    ) -> AsyncIterator[RepairEvent]:
        self._called("repair", (cluster_id, doomed_volume_ids, removes_nothing))
        for action in plan_repair(self.report, doomed_volume_ids=doomed_volume_ids).actions:
            yield RepairEvent(action, Stage.BEGUN)
            yield RepairEvent(action, Stage.FAILED, "set by the test")
