"""Three gateways over one topology, each killed in turn: one outcome for each request, nothing done twice."""

import json
import subprocess
import sys

import pytest

from tests.integration.stack import ROOT, environment

_SECONDS = 12
_ENDS_WITHIN_S = 120


@pytest.mark.parametrize("seed", [1])
def test_every_request_has_one_outcome(seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.faults", "--several", str(_SECONDS), "--seed", str(seed)],
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
    assert report["kills"] >= 6
    assert report["throttled"] > 0
    assert report["refused_transactions"] > 0
    assert report["taken_over"] > 0
