"""Every kind of operation, at every step, through every fault: it ends by itself, and nothing disagrees afterwards."""

import pytest

from tests.integration.faults.cells import Cell
from tests.integration.faults.matrix import Matrix, all_cells


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        cells = all_cells(metafunc.config)
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])


def test_survives(cell: Cell, matrix: Matrix) -> None:
    result = matrix.result(cell)
    assert not result.problem, result.problem
