"""What power cuts and restarts leave behind on a node, and who removes it."""

import signal
from pathlib import Path

import pytest

from services.common.errors import FailedPreconditionError, InternalError
from services.common.reasons import Reason
from services.executor.gluster import reports
from services.executor.runners import processes
from tests.unit.executor.fleets import NOTHING, VOLUME_ID, ready
from tests.unit.executor.growing import SOURCE, grown


def test_a_forgotten_brick_process_is_ended_when_no_volume_has_its_brick() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    lab.simulated(1).machine.orphans.add(lab.brick(1).mount_point)
    assert lab.node(1).delete_brick(lab.brick(1)) is True
    assert lab.leftovers(1) == NOTHING


def test_the_brick_process_of_a_volume_is_left_alone() -> None:
    lab = grown("b")
    lab.simulated(1).machine.orphans.add(lab.brick(1).mount_point)
    with pytest.raises(FailedPreconditionError) as caught:
        lab.node(1).delete_brick(lab.brick(1))
    assert caught.value.reason is Reason.BRICK_BUSY
    assert lab.simulated(1).machine.orphans == {lab.brick(1).mount_point}


def test_nobody_is_ended_while_glusterd_cannot_be_asked() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    lab.simulated(1).machine.orphans.add(lab.brick(1).mount_point)
    lab.simulated(1).daemon.running = False
    with pytest.raises(FailedPreconditionError):
        lab.node(1).delete_brick(lab.brick(1))
    lab.simulated(1).daemon.running = True
    assert lab.node(1).delete_brick(lab.brick(1)) is True


def process(proc: Path, pid: int, brick: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    words = ["/usr/sbin/glusterfsd", "-s", "10.0.0.1", "--brick-name", brick, "-l", "/var/log/x.log"]
    (proc / str(pid) / "cmdline").write_text("\0".join(words) + "\0")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: found.append((pid, number)))
    return found


def test_only_processes_of_the_brick_are_told_to_end(tmp_path: Path, killed: list[tuple[int, int]]) -> None:
    process(tmp_path / "proc", 11, "/bricks/a/brick")
    process(tmp_path / "proc", 12, "/bricks/ab/brick")
    assert processes.end_brick_process("/bricks/a/brick", proc=tmp_path / "proc", pid_directories=()) == 1
    assert killed == [(11, signal.SIGTERM)]


def test_a_process_that_serves_other_bricks_too_is_left_alone(tmp_path: Path, killed: list[tuple[int, int]]) -> None:
    process(tmp_path / "proc", 11, "/bricks/a/brick")
    notes = tmp_path / "vols" / "vol_x"
    notes.mkdir(parents=True)
    (notes / "10.0.0.1-bricks-a-brick.pid").write_text("11\n")
    (notes / "10.0.0.1-bricks-b-brick.pid").write_text("11\n")
    found = processes.end_brick_process(
        "/bricks/a/brick", proc=tmp_path / "proc", pid_directories=[str(tmp_path / "vols")]
    )
    assert (found, killed) == (0, [])


def test_directories_that_a_power_cut_brought_back_are_removed_at_the_start() -> None:
    lab = grown("b")
    runner = lab.node(1)._tools.runner
    root = lab.node(1).policy.mount_root
    kept = lab.brick(1).mount_point
    runner.make_directory(f"{kept.rpartition('/')[0]}/brick_{'9' * 32}")
    runner.make_directory(f"{root}/vg_{'8' * 32}/brick_{'7' * 32}")
    runner.make_directory(f"{root}/vg_{'6' * 32}/brick_{'5' * 32}/somebody's")
    assert lab.simulated(1).reboot() == []
    assert runner.list_directory(kept.rpartition("/")[0]) == (kept.rpartition("/")[2],)
    assert runner.list_directory(root) == (f"vg_{'1' * 32}", f"vg_{'6' * 32}")
    assert runner.exists(f"{root}/vg_{'6' * 32}/brick_{'5' * 32}/somebody's")


NOT_CONNECTED = "Staging failed on node1. Error: Host 10.77.0.13 not connected"


def test_a_peer_that_is_not_connected_yet_is_waited_for() -> None:
    lab = grown("b")
    lab.fail("gluster volume stop", name="away", stderr=NOT_CONNECTED, exit_code=1, times=2)
    lab.node(1).delete_volume(SOURCE, VOLUME_ID)
    assert lab.fleet.faults.hits("away") == 2
    assert lab.simulated(1).volumes() == {}


def test_a_peer_that_stays_away_is_told_of_before_long() -> None:
    lab = grown("b")
    lab.fail("gluster volume stop", stderr=NOT_CONNECTED, exit_code=1, times=0)
    with pytest.raises(InternalError, match=r"Host 10\.77\.0\.13 not connected"):
        lab.node(1).delete_volume(SOURCE, VOLUME_ID)


def test_a_refused_creation_is_not_repeated_for_it_has_marked_bricks() -> None:
    lab = ready()
    lab.make_bricks("b")
    lab.fail("gluster volume create", name="away", stderr=NOT_CONNECTED, exit_code=1, times=0)
    with pytest.raises(InternalError, match=r"Host 10\.77\.0\.13 not connected"):
        lab.node(1).create_volume(lab.volume("b"))
    assert lab.fleet.faults.hits("away") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NOT_CONNECTED, True),
        ("volume create: v: failed: Host 10.77.0.12 is not connected", True),
        ("Transport endpoint is not connected", False),
        ("Some of the peers are down", False),
    ],
)
def test_complaint_of_a_missing_peer(text: str, expected: bool) -> None:
    assert reports.says_not_connected(text) is expected
