"""The matrix as pytest sees it: its cells, its run in the background, its table. Effects: processes, pytest's cache."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.integration.faults.cells import Cell, Result, Step, cells_of
from tests.integration.stack import ROOT, environment

WORKERS = 6
_RECORD_WITHIN_S = 300.0
# Between two results; a cell waits for nothing that long.
_SILENCE_S = 150.0
_CACHE = "brickyard/fault_steps"
_PROGRAM = (sys.executable, "-m", "tests.integration.faults")


def all_cells(config: pytest.Config) -> list[Cell]:
    """All cells; the steps are recorded anew whenever the code has changed."""
    digest = _digest()
    cache = config.cache
    kept = cache.get(_CACHE, {}) if cache is not None else {}
    if kept.get("digest") != digest:
        kept = {"digest": digest, "steps": _recorded()}
        if cache is not None:
            cache.set(_CACHE, kept)
    return [
        cell for each in kept["steps"] for cell in cells_of(each["scenario"], [Step(**step) for step in each["steps"]])
    ]


def _digest() -> str:
    found = hashlib.sha256()
    for folder in ("gateway", "services", "tests/integration/faults"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def _recorded() -> list[dict[str, object]]:
    done = subprocess.run(
        [*_PROGRAM, "--record"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=_RECORD_WITHIN_S,
        check=False,
    )
    steps = [json.loads(line)["steps"] for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not steps:
        raise RuntimeError(f"the steps of the operations could not be recorded:\n{done.stderr}")
    return sorted(steps, key=lambda each: str(each["scenario"]))


class Matrix:
    """A run of cells in the background of pytest's own tests."""

    def __init__(self, cells: Sequence[Cell], log: Path) -> None:
        self.results: dict[str, Result] = {}
        self._news = threading.Condition()
        self._over = False
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [*_PROGRAM, "--workers", str(WORKERS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=environment(),
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        json.dump([asdict(cell) for cell in cells], self._process.stdin)
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                result = Result(**json.loads(line)["result"])
                with self._news:
                    self.results[result.id] = result
                    self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def result(self, cell: Cell) -> Result:
        """What became of a cell; waits for it."""
        with self._news:
            known = -1
            while cell.id not in self.results:
                assert not self._over, f"the matrix ended without {cell.id}:\n{self._log.read_text()[-4000:]}"
                assert len(self.results) != known, f"no cell ended within {_SILENCE_S:g} s"
                known = len(self.results)
                self._news.wait(_SILENCE_S)
            return self.results[cell.id]

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(30)
        self._reader.join(30)


def table(cells: Iterable[Cell], results: dict[str, Result]) -> Iterator[str]:
    """All cells that were run: a line for each step, a column for each fault."""
    lines: dict[str, dict[str, dict[str, Result]]] = {}
    for cell in cells:
        result = results.get(cell.id)
        if result is not None:
            lines.setdefault(cell.scenario, {}).setdefault(cell.step.name, {})[cell.fault] = result
    for scenario, steps in lines.items():
        faults = list(dict.fromkeys(fault for row in steps.values() for fault in row))
        yield f"{scenario:34}" + "".join(f"{fault:16}" for fault in faults).rstrip()
        for step, row in steps.items():
            shown = [f"{row[fault].outcome} {row[fault].seconds:.1f} s" if fault in row else "" for fault in faults]
            yield f"  {step:32}" + "".join(f"{text:16}" for text in shown).rstrip()
