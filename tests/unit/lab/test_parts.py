import json
import os
import signal
from pathlib import Path

import pytest

from compose.lab import node_init, plan, preflight, settings
from compose.lab.channel import Command
from compose.lab.errors import Interrupted, LabError, TimeLimitError
from compose.lab.locking import locked
from compose.lab.processes import ProcessRef, is_alive, parse_stat, reference
from compose.lab.settings import LabConfig, LabState, NodeState
from compose.lab.waiting import Interrupts, Progress, wait_until
from compose.lab.wire import REQUEST, FrameReader


def test_a_process_with_a_wild_name_is_parsed() -> None:
    rest = "S 1 77 77 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 5150 0"
    assert parse_stat(f"77 (a) b (c) {rest}\n") == ("S", 77, 5150)


def test_a_process_number_used_again_is_another_process() -> None:
    me = reference(os.getpid())
    assert is_alive(me)
    assert not is_alive(ProcessRef(me.pid, me.start_ticks + 1))
    assert not is_alive(None)


def test_installed_packages_are_read_with_and_without_architecture() -> None:
    text = "gcc ii \nlibc6-dev:amd64 ii \nlvm2 rc \nxfsprogs un \nkmod hi \n"
    assert preflight.parse_installed(text) == {"gcc", "libc6-dev"}


def test_waiting_ends_with_the_condition_or_the_limit() -> None:
    answers = iter([False, True])
    wait_until(lambda: next(answers), seconds=5, what="it")
    with pytest.raises(TimeLimitError, match="waiting for it"):
        wait_until(lambda: False, seconds=0.05, what="it")


def test_a_signal_acts_only_where_it_is_asked_for() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        interrupts.check()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted) as stopped:
            wait_until(lambda: False, seconds=5, what="a signal", interrupts=interrupts)
        assert stopped.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(quiet=True).say("one")
    Progress().say("two")
    assert capsys.readouterr().err.endswith(" s  two\n")


def test_the_lock_is_held_once_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compose.lab.locking.LOCK_SECONDS", 0.05)
    name = f"unit-{os.getpid()}"
    with locked(name), pytest.raises(TimeLimitError, match=name), locked(name):
        pass
    with locked(name):
        pass


def test_scripts_are_copied_under_names_that_keep_their_order(tmp_path: Path) -> None:
    for name in ("b.sh", "a.sh"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "lab").mkdir()
    scripts = (str(tmp_path / "b.sh"), str(tmp_path / "a.sh"))
    kept = plan.keep_scripts(LabConfig(directory=str(tmp_path / "lab"), boot_scripts=scripts))
    assert [Path(script).name for script in kept.boot_scripts] == ["boot1-b.sh", "boot2-a.sh"]
    assert all(os.access(script, os.X_OK) for script in kept.boot_scripts)


def test_a_script_that_is_not_executable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.sh").write_text("#!/bin/sh\n")
    config = LabConfig(directory=str(tmp_path), service_scripts=(str(tmp_path / "c.sh"),))
    with pytest.raises(LabError, match="--service-script"):
        plan.keep_scripts(config)


def test_a_node_is_told_its_place_its_peers_and_its_disks() -> None:
    nodes = (NodeState(index=1, disk_order=(2, 1)), NodeState(index=2))
    state = LabState(config=LabConfig(env={"A": "b"}), nodes=nodes)
    told = json.loads(json.dumps(plan.init_config(state, nodes[0], ["/x"])))
    assert (told["name"], told["address"], told["control_address"]) == ("node1", "10.77.0.11", "10.78.0.11")
    assert "10.77.0.12 node2" in told["hosts"].splitlines()
    assert told["shares"] == ["/x"]
    assert told["env"]["LAB_DISKS"] == "/dev/ubdb /dev/ubdc"
    assert told["env"]["DM_DISABLE_UDEV"] == "1"
    assert told["env"]["A"] == "b"
    assert len(told["machine_id"]) == 32
    assert told["machine_id"] != plan.init_config(state, nodes[1], [])["machine_id"]


def test_init_keeps_only_what_its_own_mounts_would_hide() -> None:
    assert all(node_init.is_hidden(path) for path in ("/tmp/x", "/root/a/b", "/var", "/etc/x"))
    assert not any(node_init.is_hidden(path) for path in ("/srv/x", "/tmpx", "/home/u", "/opt/var"))
    assert {top for top in settings.OWN_OF_NODES if top != "/"} == set(node_init.HIDDEN)


def test_a_command_travels_as_one_request() -> None:
    command = Command(argv=["ls", "ä"], env={"A": "1"}, cwd="/x", detach="log")
    [(kind, payload)] = FrameReader().feed(command.to_request())
    assert kind == REQUEST
    assert json.loads(payload) == {"argv": ["ls", "ä"], "env": {"A": "1"}, "cwd": "/x", "detach": "log"}
