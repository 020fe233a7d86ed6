"""Examine, PlanRepair and Repair through the operator's contract, on use cases in memory."""

from typing import Any

import pytest

from brickyard.gateway.v1 import examination_pb2 as pb
from gateway.examination.domain.comparison import compare
from gateway.examination.domain.kinds import Kind
from services.common.channels import call_aio, stream_aio
from services.common.errors import NotFoundError
from services.common.reasons import Reason
from tests.contract.test_operator_servicer import Face, face
from tests.unit.gateway_examination.scenes import CLUSTER, agreeing
from tests.unit.gateway_examination.test_comparison import CHANGES, FREE_ID, everywhere_added, volume

__all__ = ["face"]


def examined(face: Face, method: str, request: Any) -> Any:
    return face._runner.run(call_aio(getattr(face._stub, method), request, timeout_s=10))


def repaired(face: Face, request: pb.RepairRequest) -> list[pb.RepairResponse]:
    async def collect() -> list[pb.RepairResponse]:
        return [event async for event in stream_aio(face._stub.Repair, request)]

    return face._runner.run(collect())


@pytest.mark.parametrize("case", CHANGES, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(CHANGES)])
def test_every_kind_of_finding_is_told(face: Face, case: Any) -> None:
    kind, change = case
    face.use_cases.report = compare(change(agreeing()))
    answer = examined(face, "Examine", pb.ExamineRequest(cluster_id=CLUSTER))
    assert {finding.kind for finding in answer.findings} == {kind.value}
    severity = pb.FINDING_SEVERITY_INFORMATION if kind.is_information else pb.FINDING_SEVERITY_DIFFERENCE
    assert {finding.severity for finding in answer.findings} == {severity}
    assert all(finding.message and finding.advice and finding.object for finding in answer.findings)
    assert face.use_cases.calls[-1][:2] == ("examine", CLUSTER)


def test_figures_of_a_look(face: Face) -> None:
    face.use_cases.report = compare(agreeing())
    answer = examined(face, "Examine", pb.ExamineRequest())
    assert (answer.compared_count, answer.left_out_count, answer.operations_in_flight) == (10, 0, 0)
    assert list(answer.findings) == list(answer.silent_hostnames) == []


def test_a_plan_and_what_becomes_of_it(face: Face) -> None:
    face.use_cases.report = compare(everywhere_added("volumes", volume("lost", FREE_ID))(agreeing()))
    plan = examined(face, "PlanRepair", pb.PlanRepairRequest())
    assert ([action.verb for action in plan.actions], [each.kind for each in plan.left]) == ([], [Kind.ORPHAN_VOLUME])
    plan = examined(face, "PlanRepair", pb.PlanRepairRequest(doomed_volume_ids=[FREE_ID]))
    (action,) = plan.actions
    assert (action.verb, action.object, len(action.findings)) == ("REMOVE_ORPHAN_VOLUME", "lost", 1)
    assert list(plan.left) == []

    assert repaired(face, pb.RepairRequest()) == []
    begun, ended = repaired(face, pb.RepairRequest(doomed_volume_ids=[FREE_ID]))
    assert begun.action == ended.action == action
    assert (begun.stage, begun.message) == (pb.REPAIR_STAGE_BEGUN, "")
    assert (ended.stage, ended.message) == (pb.REPAIR_STAGE_FAILED, "set by the test")


@pytest.mark.parametrize("method", ["Examine", "PlanRepair", "Repair"])
def test_errors_keep_their_reason(face: Face, method: str) -> None:
    name = {"Examine": "examine", "PlanRepair": "plan_repair", "Repair": "repair"}[method]
    face.use_cases.failures[name] = NotFoundError(Reason.CLUSTER_NOT_FOUND, "no such cluster", cluster_id=FREE_ID)
    request = getattr(pb, f"{method}Request")(cluster_id=FREE_ID)
    with pytest.raises(NotFoundError) as raised:
        repaired(face, request) if method == "Repair" else examined(face, method, request)
    assert raised.value.reason is Reason.CLUSTER_NOT_FOUND
