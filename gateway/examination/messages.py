"""Findings, plans and what became of them as messages of the operator's API. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from brickyard.gateway.v1 import examination_pb2 as pb
from gateway.examination.domain.model import Finding, Report
from gateway.examination.domain.plan import Action, Plan
from gateway.examination.repair import RepairEvent, Stage

_STAGES: Mapping[Stage, pb.RepairStage.ValueType] = MappingProxyType(
    {
        Stage.BEGUN: pb.REPAIR_STAGE_BEGUN,
        Stage.DONE: pb.REPAIR_STAGE_DONE,
        Stage.SKIPPED: pb.REPAIR_STAGE_SKIPPED,
        Stage.FAILED: pb.REPAIR_STAGE_FAILED,
    }
)


def finding_message(finding: Finding) -> pb.Finding:
    """One difference."""
    information = finding.kind.is_information
    return pb.Finding(
        kind=finding.kind.value,
        severity=pb.FINDING_SEVERITY_INFORMATION if information else pb.FINDING_SEVERITY_DIFFERENCE,
        cluster_id=finding.cluster_id,
        node_id=finding.node_id,
        node_hostname=finding.hostname,
        object=finding.object,
        message=finding.message,
        advice=finding.advice,
        repair=finding.repair.value if finding.repair is not None else "",
    )


def report_message(report: Report) -> pb.ExamineResponse:
    """What a look gave."""
    return pb.ExamineResponse(
        findings=[finding_message(finding) for finding in report.findings],
        operations_in_flight=report.operations_in_flight,
        left_out_count=report.left_out_count,
        compared_count=report.compared_count,
        silent_hostnames=report.silent_hostnames,
    )


def action_message(action: Action) -> pb.RepairAction:
    """One action."""
    return pb.RepairAction(
        verb=action.verb.value,
        cluster_id=action.cluster_id,
        node_hostname=action.hostname,
        object=action.object,
        message=action.message,
        findings=[finding_message(finding) for finding in action.findings],
    )


def plan_message(plan: Plan, report: Report) -> pb.PlanRepairResponse:
    """What repair would do."""
    return pb.PlanRepairResponse(
        actions=[action_message(action) for action in plan.actions],
        left=[finding_message(finding) for finding in plan.left],
        operations_in_flight=report.operations_in_flight,
    )


def event_message(event: RepairEvent) -> pb.RepairResponse:
    """What happened to an action."""
    return pb.RepairResponse(action=action_message(event.action), stage=_STAGES[event.stage], message=event.message)
