"""Runs cells side by side in workers of their own, and prints one JSON line for each.

python -m tests.integration.faults --record            the steps of every kind
python -m tests.integration.faults --workers 6        proves the cells that come as JSON on stdin
python -m tests.integration.faults --several 12       several gateways for so many seconds; with --copies 2 and
                                                      --database postgresql://... several of the other services too
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from services.common.logs import configure_logs
from tests.integration.faults.cells import Bench, Cell, Step
from tests.integration.faults.processes import ForkServer, Spawner
from tests.integration.faults.scenarios import SCENARIOS
from tests.integration.faults.several import SeveralGateways


def _tell(kind: str, value: object) -> None:
    # One write, so that lines of several workers stay apart.
    os.write(1, (json.dumps({kind: value}) + "\n").encode())


def _record(spawner: Spawner, directory: Path, names: Sequence[str]) -> None:
    bench = Bench(spawner, directory)
    try:
        for name in names:
            _tell("steps", {"scenario": name, "steps": [asdict(step) for step in bench.record(name)]})
    finally:
        bench.drop()


def _prove(spawner: Spawner, directory: Path, cells: Sequence[Cell], tickets: int) -> None:
    bench = Bench(spawner, directory)
    try:
        while number := os.read(tickets, 4):
            _tell("result", asdict(bench.prove(cells[int.from_bytes(number, "big")])))
    finally:
        bench.drop()


def _several(spawner: Spawner, directory: Path, asked: argparse.Namespace) -> None:
    several = SeveralGateways(
        spawner, directory, seed=asked.seed, seconds=asked.several, copies=asked.copies, database=asked.database
    )
    _tell("several", asdict(several.run()))


def main() -> None:
    """Runs until all is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--several", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--copies", type=int, default=1, help="topologies and allocators beside the several gateways")
    parser.add_argument("--database", default="", metavar="URL", help="of the several's topologies")
    asked = parser.parse_args()
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="brickyard-faults-", dir=memory if memory.is_dir() else None))
    # The nodes run in the workers, and would tell of every command.
    configure_logs(process="faults", level="error")
    server = ForkServer()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if asked.record:
            names = list(SCENARIOS)
            for first in range(2):
                mine = names[first::2]
                server.start_worker(lambda spawner, mine=mine: _record(spawner, directory, mine))  # type: ignore[misc]
        elif asked.several:
            server.start_worker(lambda spawner: _several(spawner, directory, asked))
        else:
            cells = [Cell(each["scenario"], Step(**each["step"]), each["fault"]) for each in json.load(sys.stdin)]
            reading, writing = os.pipe()
            # A pipe holds 64 KiB: far more tickets than there are cells.
            os.write(writing, b"".join(number.to_bytes(4, "big") for number in range(len(cells))))
            os.close(writing)
            for _ in range(min(asked.workers, len(cells))):
                server.start_worker(lambda spawner: _prove(spawner, directory, cells, reading))
        server.serve()
    finally:
        server.end()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
