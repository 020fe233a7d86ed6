"""The lab's command line, on a lab of one node."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.lab import network
from compose.lab.settings import GLUSTERD_PORT
from compose.lab.waiting import wait_until
from compose.stack import ROOT
from tests.e2e.traces import running, traces_of

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("lab_possible")]
NAME = f"e2e-cli-{os.getpid()}"
TOOL = str(ROOT / "compose" / "lab" / "lab")
ADDRESS = "10.77.0.11"


def lab(command: str, *words: str, code: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [TOOL, command, "--name", NAME, *words],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == code, f"{command} {words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    assert traces_of(NAME) == []
    yield
    lab("down")
    assert traces_of(NAME) == []


def state() -> str:
    return str(json.loads(lab("status", "--json").stdout)[0]["state"])


def test_life_of_a_lab() -> None:
    lab("up", "--nodes", "1", "--disk-size", "1G")
    assert "already" in lab("up", code=1).stderr
    assert state() == "up"
    assert lab("status").stdout.splitlines()[1].split()[:3] == ["node1", ADDRESS, "up"]
    # Streams and exit codes are the command's own.
    told = lab("exec", "node1", "sh", "-c", "cat; echo oops >&2; exit 7", code=7, stdin="hello")
    assert (told.stdout, told.stderr) == ("hello", "oops\n")
    lab("exec", "node1", "no-such-program", code=127)
    # What was synced outlives a power cut, and what is in memory does not.
    lab("exec", "node1", "sh", "-c", "echo kept >/root/file && sync; echo lost >/run/file")
    lab("kill", "node1")
    assert state() == "down"
    lab("exec", "node1", "true", code=125)
    lab("boot", "node1")
    assert state() == "up"
    assert lab("exec", "node1", "cat", "/root/file").stdout == "kept\n"
    lab("exec", "node1", "cat", "/run/file", code=1)
    lab("partition", "node1")
    assert state() == "partitioned"
    assert not network.answers(NAME, ADDRESS, GLUSTERD_PORT)
    assert lab("exec", "node1", "gluster", "volume", "list").stdout.strip() == ""
    lab("heal", "node1")
    wait_until(lambda: network.answers(NAME, ADDRESS, GLUSTERD_PORT), seconds=20, what="the network to be back")
    assert state() == "up"
    lab("down")
    lab("status", code=1)


def test_ctrl_c_while_nodes_boot(tmp_path: Path) -> None:
    log = tmp_path / "lab.log"
    with running([TOOL, "up", "--name", NAME, "--nodes", "2"], log) as process:
        console = Path(f"/tmp/{NAME}/node1/console.log")
        wait_until(console.exists, seconds=30, what="the first kernel to run")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 128 + signal.SIGINT, log.read_text()
    assert traces_of(NAME) == []
