"""The demo, as a user starts it: to its end, and interrupted."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.stack import ROOT, StackConfig, take_down
from tests.e2e.traces import await_line, running, traces_of

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("lab_possible")]
NAME = f"e2e-demo-{os.getpid()}"
DEMO = [str(ROOT / "compose" / "demo"), "--name", NAME]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    assert traces_of(NAME) == []
    yield
    left = traces_of(NAME)
    if left:
        take_down(StackConfig(name=NAME))
    assert left == []


def test_whole_demo() -> None:
    done = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: the file read back is the one written" in done.stdout
    assert "The whole road took" in done.stdout


@pytest.mark.parametrize("moment", ["node1 answers", "start topology", "POST /volumes"])
def test_ctrl_c(tmp_path: Path, moment: str) -> None:
    log = tmp_path / "demo.log"
    with running(DEMO, log) as process:
        await_line(log, moment, process)
        # A terminal sends it to everybody in the foreground.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 130, log.read_text()
    assert "Traceback" not in log.read_text()


def test_second_demo_of_a_name_is_refused_and_the_first_ends_on_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with running(DEMO, log) as process:
        await_line(log, "boot 3 storage nodes", process)
        second = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
        assert second.returncode == 1
        assert f"compose/demo --down --name {NAME}" in second.stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130, log.read_text()


def test_down_after_a_kill_before_the_lab_was_made() -> None:
    down = [*DEMO, "--down"]
    Path(f"/tmp/{NAME}-stack").mkdir(mode=0o700)
    done = subprocess.run(down, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert traces_of(NAME) == []
    again = subprocess.run(down, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode == 1
    assert f"compose/demo: nothing called {NAME} is up" in again.stdout


def test_keep_and_down(tmp_path: Path) -> None:
    kept = subprocess.run([*DEMO, "--keep"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert any("brickyard-gateway" in trace or "-m gateway" in trace for trace in traces_of(NAME))
    # What it tells the user to type has to work.
    command = kept.stdout.partition("and then, for example:\n")[2].partition("\n  grpcurl")[0].strip()
    enter = kept.stdout.partition("enter it with\n")[2].partition(" bash\n")[0].strip()
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{enter} sh -c '{command.replace(chr(39), chr(39) * 2)}'"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert '"durability"' in shown.stdout, shown.stderr
    down = subprocess.run([*DEMO, "--down"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert down.returncode == 0, down.stdout + down.stderr
