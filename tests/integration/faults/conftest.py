"""The run of the matrix, and its table at the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.integration.faults.cells import Cell
from tests.integration.faults.matrix import Matrix, table

_RUN = pytest.StashKey[tuple[list[Cell], Matrix]]()


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """All cells that were chosen, running side by side while the tests ask for one after the other."""
    cells: list[Cell] = [
        cast("Cell", item.callspec.params["cell"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "cell" in item.callspec.params
    ]
    running = Matrix(cells, Path(tmp_path_factory.mktemp("faults")) / "faults.log")
    request.config.stash[_RUN] = (cells, running)
    yield running
    running.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _RUN not in config.stash:
        return
    cells, running = config.stash[_RUN]
    terminalreporter.section("kind x step x fault: outcome, and seconds from the fault to the end of the operation")
    for line in table(cells, running.results):
        terminalreporter.write_line(line)
    taken = sum(result.took_s for result in running.results.values())
    terminalreporter.write_line(f"{len(running.results)} of {len(cells)} cells, {taken:.0f} s one after the other")
