"""Tables on a terminal, lines with fields between tabs in a pipe. Effects: stdout."""

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.progress import say

STYLES = {
    "critical": "bold red",
    "warning": "yellow",
    "unknown": "magenta",
    "ok": "green",
    "online": "green",
    "active": "green",
    "notice": "cyan",
    "failed": "red",
    "offline": "yellow",
    "creating": "cyan",
    "deleting": "yellow",
    "stalled": "red",
    "undoing": "yellow",
    "succeeded": "green",
}
_BAR_CELLS = 10
_PARTS = " ▏▎▍▌▋▊▉█"
_NUMBERS = frozenset(
    {"size", "used", "free", "taken", "bricks", "fill", "to heal", "deviation after", "nodes", "disks"}
)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, kept: Collection[str] = ()) -> None:
    """A table on a terminal, lines with fields between tabs in a pipe.

    Args:
        columns: Their heads; columns of numbers are known by theirs and set to the right.
        rows: A cell for each column.
        kept: Columns that never wrap, for what is copied: ids.
    """
    console = Console()
    if console.is_terminal:
        show_table(console, "", columns, rows, kept=kept)
        return
    for row in rows:
        say("\t".join(row))


def show_table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, kept: Collection[str] = ()
) -> None:
    """A table with a title; nothing when there are no rows."""
    found = list(rows)
    if not found:
        return
    if title:
        console.print(Text(f"\n{title}", style="bold"))
    made = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        numbers = column in _NUMBERS
        made.add_column(column, justify="right" if numbers else "left", no_wrap=numbers or column in kept)
    for row in found:
        # Text, not str: brackets in names are no markup.
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console.print(made)


def paragraph(text: str) -> None:
    """A sentence or more, wrapped between words on a terminal, as it is in a pipe."""
    console = Console()
    if console.is_terminal:
        console.print(Text(text))
    else:
        say(text)


def bar(part: float, cells: int = _BAR_CELLS) -> Text:
    """A bar that is filled to `part`, 0 to 1; its colour tells from 80 and 90 % on that it gets tight."""
    eighths = round(min(max(part, 0.0), 1.0) * cells * 8)
    # What is there at all shows.
    eighths = max(eighths, 1) if part > 0 else eighths
    full, rest = divmod(eighths, 8)
    drawn = "█" * full + (_PARTS[rest] if rest else "")
    style = "red" if part >= 0.9 else "yellow" if part >= 0.8 else "green"
    return Text.assemble((drawn, style), ("░" * (cells - len(drawn)), "dim"))
