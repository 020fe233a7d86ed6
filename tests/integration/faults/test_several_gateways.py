"""Three gateways over one topology, then over two of everything, each killed in turn: one outcome for each request."""

import json
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from services.common.ids import new_id
from tests.integration import postgres
from tests.integration.conftest import with_database
from tests.integration.stack import ROOT, environment

_SECONDS = 12
_ENDS_WITHIN_S = 120


def _report(*flags: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.faults", "--several", str(_SECONDS), "--seed", "1", *flags],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (report,) = [json.loads(line)["several"] for line in done.stdout.splitlines() if line.startswith("{")]
    print(report)
    assert report["problems"] == []
    # Otherwise nothing was proved.
    assert report["operations"] > 20
    assert report["refused_transactions"] > 0
    assert report["taken_over"] > 0
    return dict(report)


def test_every_request_has_one_outcome() -> None:
    report = _report()
    assert report["kills"]["gateway"] >= 6
    assert report["throttled"] > 0


def test_every_request_has_one_outcome_when_any_process_may_die_postgresql(postgres_url: str) -> None:
    if not postgres_url:
        pytest.skip(f"NOT RUN ON POSTGRESQL: {postgres.why_not()}")
    name = f"brickyard_several_{new_id()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            report = _report("--copies", "2", "--database", with_database(postgres_url, name))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert set(report["kills"]) == {"gateway", "topology", "allocator"}
    assert min(report["kills"].values()) >= 2
