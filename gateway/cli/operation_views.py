"""Operations on a terminal and in a pipe. Effects: stdout."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from brickyard.topology.v1 import operation_pb2
from gateway.cli import operation_texts as texts
from gateway.cli.progress import say
from gateway.cli.tables import table

_BAR_CELLS = 12


def show_list(operations: Sequence[operation_pb2.Operation]) -> None:
    """A table on a terminal, one line each with fields between tabs in a pipe."""
    if not Console().is_terminal:
        for operation in operations:
            say(texts.line(operation))
        return
    table(("id", "kind", "state", "progress or error"), map(_cells, operations), kept=("id", "kind", "state"))


def _cells(operation: operation_pb2.Operation) -> tuple[str, ...]:
    more = texts.first_error_line(operation) or texts.progress(operation)
    return (operation.id, texts.kind(operation), texts.state(operation), more)


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


class _Silence(_Lines):
    """Nothing: for a command whose result is what counts."""

    def update(self, operation: operation_pb2.Operation) -> None:
        pass


class _JsonLines(_Lines):
    """The same with all fields, as JSON."""

    def _text(self, operation: operation_pb2.Operation) -> str:
        return json.dumps(texts.as_json(operation))


class _Bars:
    """A progress bar for each operation."""

    def __init__(self, console: Console, *, transient: bool = False) -> None:
        self._bars = Progress(
            TextColumn("{task.fields[title]}", markup=False),
            BarColumn(bar_width=_BAR_CELLS),
            # What does not fit is cut: a line for each operation, whatever the width.
            TextColumn(
                "{task.fields[now]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            transient=transient,
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


def transient_display() -> Display:
    """A bar on the terminal of stderr that goes when the work is done; nothing in a pipe."""
    console = Console(stderr=True)
    return _Bars(console, transient=True) if console.is_terminal else _Silence()
