"""Health on a terminal and in a pipe. Effects: stdout."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from brickyard.topology.v1 import health_pb2, operation_pb2
from gateway.cli import operation_texts
from gateway.cli import status_texts as texts
from gateway.cli.progress import say
from gateway.cli.tables import STYLES, show_table

# With what else is shown they fit on one screen.
_MOST_PROBLEMS = 12
_LONGEST_MESSAGE = 160
_NODE = ("node", "health", "state", "glusterd", "seen")
_DISK = ("node", "disk", "health", "state", "size", "used", "free", "taken", "bricks")
_VOLUME = ("volume", "health", "size", "bricks", "fill", "to heal")


def show(
    report: health_pb2.HealthReport,
    running: Sequence[operation_pb2.Operation],
    now_s: float,
    *,
    everything: bool,
) -> None:
    """One screen on a terminal, one line each with fields between tabs in a pipe."""
    console = Console()
    if not console.is_terminal:
        for line in texts.lines(report, running, now_s):
            say(line)
        return
    style = "green" if not texts.is_wrong(report) else STYLES["critical"]
    console.print(Text(texts.verdict(report), style=style))
    _problems(console, report, now_s, everything=everything)
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in texts.summary(report):
        facts.add_row(name, Text(text))
    console.print(facts)
    disks = report.devices if everything else texts.full_disks(report)
    volumes = report.volumes if everything else texts.full_volumes(report)
    if everything:
        show_table(console, "nodes", _NODE, (texts.node_fields(each, now_s) for each in report.nodes))
    show_table(console, "disks" if everything else "full disks", _DISK, map(texts.disk_fields, disks))
    show_table(console, "volumes" if everything else "full volumes", _VOLUME, map(texts.volume_fields, volumes))
    rows = ((each.id, operation_texts.kind(each), operation_texts.state(each), _more(each)) for each in running)
    show_table(console, "running", ("operation", "kind", "state", "progress or error"), rows)


def _more(operation: operation_pb2.Operation) -> str:
    return operation_texts.first_error_line(operation) or operation_texts.progress(operation)


def _cut(message: str) -> str:
    """The message, or its beginning when it carries a whole command."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."


def _problems(console: Console, report: health_pb2.HealthReport, now_s: float, *, everything: bool) -> None:
    """The worst ones, as many as fit; an advice that is the same as the one before is not repeated."""
    wrong = [each for each in report.problems if each.severity > health_pb2.SEVERITY_NOTICE]
    shown = report.problems if everything else wrong[:_MOST_PROBLEMS]
    given = ""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, justify="right")
    for problem in shown:
        severity, message, since, advice = texts.problem_fields(problem, now_s)
        # Text, not str: brackets in the output of commands are no markup.
        line = Text(message if everything else _cut(message))
        line.append(f" (for {since})" if since else "")
        grid.add_row(Text(f"  {severity}:", style=STYLES[severity]), line)
        if advice and advice != given:
            grid.add_row("", Padding(Text(advice, style="dim"), (0, 0, 0, 2)))
        given = advice
    if shown:
        console.print(grid)
    left = len(report.problems) - len(shown)
    if left:
        console.print(Text(f"  and {left} more, see brickyard status --all", style="dim"))
