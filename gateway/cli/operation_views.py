"""Operations on a terminal and in a pipe. Effects: stdout."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from brickyard.topology.v1 import operation_pb2
from gateway.cli import operation_texts as texts
from gateway.cli.progress import say

_STYLES = {"failed": "red", "stalled": "red", "undoing": "yellow", "succeeded": "green"}


def show_list(operations: Sequence[operation_pb2.Operation]) -> None:
    """A table on a terminal, one line each with fields between tabs in a pipe."""
    console = Console()
    if not console.is_terminal:
        for operation in operations:
            say(texts.line(operation))
        return
    table = Table("id", "kind", "state", "target", "progress or error", box=None)
    for operation in operations:
        state = texts.state(operation)
        more = texts.first_error_line(operation) or texts.progress(operation)
        # Text, not str: brackets in the output of commands are no markup.
        cells = (operation.id, texts.kind(operation), state, operation.target_id, more)
        table.add_row(*(Text(cell, style=_STYLES.get(state, "") if cell is state else "") for cell in cells))
    console.print(table)


class Display(Protocol):
    """Shows operations while they run."""

    def __enter__(self) -> Self:
        """Begins to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends."""

    def update(self, operation: operation_pb2.Operation) -> None:
        """Shows the operation as it is now."""


class _Lines:
    """A line whenever something that can be seen has changed."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _text(self, operation: operation_pb2.Operation) -> str:
        return texts.line(operation)

    def update(self, operation: operation_pb2.Operation) -> None:
        text = self._text(operation)
        if self._shown.get(operation.id) != text:
            self._shown[operation.id] = text
            say(text)


class _JsonLines(_Lines):
    """The same with all fields, as JSON."""

    def _text(self, operation: operation_pb2.Operation) -> str:
        return json.dumps(texts.as_json(operation))


class _Bars:
    """A progress bar for each operation."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.fields[title]}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def update(self, operation: operation_pb2.Operation) -> None:
        if operation.id not in self._tasks:
            title = f"{texts.kind(operation)} {operation.id[:8]}"
            self._tasks[operation.id] = self._bars.add_task("", total=None, title=title, now="")
        known = operation.progress
        completed: float = known.completed_step_count
        total: float | None = known.total_step_count or None
        if texts.has_ended(operation):
            # Steps are stored now and then; the last ones of an operation that ended need not be.
            total = total or 1
            completed = completed if texts.has_failed(operation) else total
        now = texts.first_error_line(operation) or texts.progress(operation)
        self._bars.update(
            self._tasks[operation.id], completed=completed, total=total, now=f"{texts.state(operation)} {now}".strip()
        )
        if texts.has_ended(operation):
            self._bars.stop_task(self._tasks[operation.id])


def display(*, as_json: bool) -> Display:
    """Bars on a terminal, lines in a pipe, JSON when asked for."""
    if as_json:
        return _JsonLines()
    console = Console()
    return _Bars(console) if console.is_terminal else _Lines()
