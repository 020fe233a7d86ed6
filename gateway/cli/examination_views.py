"""Findings and repairs on a terminal and in a pipe. Effects: stdout, stderr."""

from collections.abc import Iterable, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from brickyard.gateway.v1 import examination_pb2 as pb
from gateway.cli.progress import say

_STAGES = {
    pb.REPAIR_STAGE_BEGUN: "begun",
    pb.REPAIR_STAGE_DONE: "done",
    pb.REPAIR_STAGE_SKIPPED: "skipped",
    pb.REPAIR_STAGE_FAILED: "failed",
}


def differences(findings: Iterable[pb.Finding]) -> list[pb.Finding]:
    """Those that are more than information."""
    return [finding for finding in findings if finding.severity == pb.FINDING_SEVERITY_DIFFERENCE]


def show_report(report: pb.ExamineResponse) -> None:
    """A table on a terminal, one line each with fields between tabs in a pipe; the summary goes to stderr."""
    _show_findings(report.findings)
    told = len(report.findings) - len(differences(report.findings))
    for hostname in report.silent_hostnames:
        click.echo(f"the agent of {hostname} does not answer; nothing on that node was compared", err=True)
    if report.operations_in_flight:
        click.echo(
            f"{report.operations_in_flight} operations are in flight; {report.left_out_count} objects that they may be "
            "changing were left out",
            err=True,
        )
    click.echo(
        f"{len(differences(report.findings))} differences in {report.compared_count} objects"
        + (f", and {told} things worth knowing" if told else ""),
        err=True,
    )


def _show_findings(findings: Sequence[pb.Finding]) -> None:
    if not findings:
        return
    console = Console()
    if not console.is_terminal:
        for finding in findings:
            say(_line(finding))
        return
    table = Table("kind", "node", "what differs", "what can be done", box=None)
    for finding in findings:
        style = "yellow" if finding.severity == pb.FINDING_SEVERITY_DIFFERENCE else "dim"
        advice = f"repair: {finding.advice}" if finding.repair else finding.advice
        # Text, not str: brackets in names are no markup.
        table.add_row(Text(finding.kind, style=style), Text(finding.node_hostname), Text(finding.message), Text(advice))
    console.print(table)


def _line(finding: pb.Finding) -> str:
    """Severity, kind, node, object, message, what repair does, advice."""
    severity = "difference" if finding.severity == pb.FINDING_SEVERITY_DIFFERENCE else "information"
    fields = (
        severity,
        finding.kind,
        finding.node_hostname or "-",
        finding.object,
        finding.message,
        finding.repair or "-",
        finding.advice or "-",
    )
    return "\t".join(field.replace("\t", " ").replace("\n", " ") for field in fields)


def show_plan(plan: pb.PlanRepairResponse) -> None:
    """What would be done, then what is left and why."""
    for number, action in enumerate(plan.actions, 1):
        say(f"{number}. {action.verb}: {action.message}")
        for finding in action.findings:
            say(f"     because {finding.kind}: {finding.message}")
    _show_left(plan.left)
    if plan.operations_in_flight:
        click.echo(f"{plan.operations_in_flight} operations are in flight; what they change is left alone", err=True)
    click.echo(f"{len(plan.actions)} actions; {len(plan.left)} findings are left to you", err=True)


def _show_left(findings: Sequence[pb.Finding]) -> None:
    for finding in findings:
        where = f" on {finding.node_hostname}" if finding.node_hostname else ""
        say(f"left: {finding.kind}{where}: {finding.message}")
        say(f"     {finding.advice}")


def show_event(event: pb.RepairResponse) -> None:
    """An action as it begins, then how it ended."""
    if event.stage == pb.REPAIR_STAGE_BEGUN:
        say(f"{event.action.verb}: {event.action.message}")
    else:
        say(f"  {_STAGES.get(event.stage, 'unknown')}" + (f": {event.message}" if event.message else ""))


def show_rest(report: pb.ExamineResponse) -> None:
    """What is left after a repair."""
    left = differences(report.findings)
    _show_left(left)
    click.echo(f"{len(left)} differences are left" if left else "records and nodes agree", err=True)
