"""Volumes and peers on simulated nodes."""

import threading
from typing import Any

import pytest

from services.common.errors import FailedPreconditionError, InternalError, NotFoundError
from services.common.reasons import Reason
from services.executor.runners.base import CommandResult, NodeLostError
from services.executor.runners.simulated import Fleet, FleetSettings
from tests.unit.executor.fleets import VOLUME_ID, Ready, ready


@pytest.fixture
def lab() -> Ready:
    made = ready()
    made.make_bricks()
    return made


def gluster_runs(lab: Ready, monkeypatch: pytest.MonkeyPatch, number: int = 1) -> list[str]:
    """Notes the stdin or words of every gluster process of a node."""
    runner = lab.node(number)._tools.runner
    seen: list[str] = []
    original = runner.run

    def run(argv: Any, **named: Any) -> CommandResult:
        if argv[0] == "gluster":
            seen.append(named.get("input") or " ".join(argv))
        return original(argv, **named)

    monkeypatch.setattr(runner, "run", run)
    return seen


def test_a_volume_is_made_by_one_process(lab: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = gluster_runs(lab, monkeypatch)
    spec = lab.volume()
    lab.node(1).create_volume(spec)
    (script,) = seen
    assert script.splitlines() == [
        f"volume create vol_x replica 3 {' '.join(spec.bricks)}",
        f"volume set vol_x server.tcp-user-timeout 42 user.heketi.id {VOLUME_ID}",
        "volume start vol_x",
    ]
    found = lab.node(3).get_volume("vol_x")
    assert (found.started, found.bricks) == (True, spec.bricks)
    assert found.options["user.heketi.id"] == VOLUME_ID


def test_making_it_again_changes_nothing(lab: Ready) -> None:
    lab.node(1).create_volume(lab.volume())
    before = lab.node(1).get_volume("vol_x")
    lab.node(2).create_volume(lab.volume())
    assert lab.node(1).get_volume("vol_x") == before


@pytest.mark.parametrize("command", ["gluster volume create", "gluster volume set", "gluster volume start"])
def test_a_failure_leaves_no_volume(lab: Ready, command: str) -> None:
    lab.fail(command, stderr="Commit failed on localhost.", exit_code=1)
    with pytest.raises(InternalError) as caught:
        lab.node(1).create_volume(lab.volume())
    assert (caught.value.reason, caught.value.message) == (Reason.GLUSTER_FAILED, "Commit failed on localhost.")
    assert lab.simulated(1).volumes() == {}
    lab.node(1).create_volume(lab.volume())


@pytest.mark.parametrize("command", ["gluster volume create", "gluster volume set", "gluster volume start"])
def test_an_interrupted_creation_is_finished_by_the_next(lab: Ready, command: str) -> None:
    lab.fail(command, action="crash")
    with pytest.raises(NodeLostError):
        lab.node(1).create_volume(lab.volume())
    lab.node(2).create_volume(lab.volume())
    found = lab.node(1).get_volume("vol_x")
    assert found.started
    assert found.options["server.tcp-user-timeout"] == "42"


def test_a_name_of_somebody_else_is_not_touched(lab: Ready) -> None:
    lab.node(1).create_volume(lab.volume())
    before = lab.node(1).get_volume("vol_x")
    lab.make_bricks("c")
    with pytest.raises(InternalError, match="Volume vol_x already exists"):
        lab.node(1).create_volume(lab.volume("c", volume_id="e" * 32))
    lab.node(1).delete_volume("vol_x", "e" * 32)
    assert lab.node(1).get_volume("vol_x") == before


def test_a_foreign_lock_is_waited_for(lab: Ready) -> None:
    pool = lab.simulated(1).daemon.pool
    pool.locked_by = "somebody"
    lab.fail("gluster volume create", action="stall", name="seen", stall_s=0.001)
    maker = threading.Thread(target=lab.node(1).create_volume, args=(lab.volume(),))
    maker.start()
    assert lab.fleet.faults.wait_struck("seen", 10)
    pool.locked_by = ""
    maker.join(10)
    assert lab.node(1).get_volume("vol_x").started


def test_waiting_for_a_lock_has_an_end_and_starts_where_it_stopped(lab: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = "Another transaction is in progress for vol_x. Please try again after some time."
    lab.fail("gluster volume set", stderr=locked, exit_code=1, times=2)
    seen = gluster_runs(lab, monkeypatch)
    lab.node(1).create_volume(lab.volume())
    assert [text.split()[1] for text in seen] == ["create", "set", "set"]


def test_a_brick_that_is_not_mounted_is_refused(lab: Ready) -> None:
    lab.simulated(2).machine.reboot()
    with pytest.raises(InternalError, match="root partition"):
        lab.node(1).create_volume(lab.volume())


def test_removal_is_one_more_process_and_repeatable(lab: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.node(1).create_volume(lab.volume())
    seen = gluster_runs(lab, monkeypatch)
    lab.node(1).delete_volume("vol_x", VOLUME_ID)
    assert seen == ["volume stop vol_x force\nvolume delete vol_x\n"]
    lab.node(2).delete_volume("vol_x", VOLUME_ID)
    with pytest.raises(NotFoundError) as caught:
        lab.node(3).get_volume("vol_x")
    assert caught.value.reason is Reason.GLUSTER_VOLUME_NOT_FOUND


def test_a_volume_without_an_id_is_removed_only_with_exactly_our_bricks(lab: Ready) -> None:
    spec = lab.volume()
    lab.node(1).create_volume(spec)
    made = lab.simulated(1).volumes()["vol_x"]
    del made.options["user.heketi.id"]
    lab.node(1).delete_volume("vol_x", VOLUME_ID)
    lab.node(1).delete_volume("vol_x", VOLUME_ID, spec.bricks[:-1])
    assert "vol_x" in lab.simulated(1).volumes()
    lab.node(1).delete_volume("vol_x", VOLUME_ID, spec.bricks)
    assert lab.simulated(1).volumes() == {}


def test_a_volume_that_cannot_be_deleted_is_started_again(lab: Ready) -> None:
    lab.node(1).create_volume(lab.volume())
    lab.fail("gluster volume delete", stderr="Some of the peers are down", exit_code=1)
    with pytest.raises(InternalError, match="Some of the peers are down"):
        lab.node(1).delete_volume("vol_x", VOLUME_ID)
    assert lab.node(1).get_volume("vol_x").started


def test_a_stopped_volume_is_removed_too(lab: Ready) -> None:
    lab.node(1).create_volume(lab.volume())
    lab.fail("gluster volume delete", stderr="Some of the peers are down", exit_code=1)
    with pytest.raises(InternalError, match="Unable to delete volume vol_x: Some of the peers are down"):
        lab.node(1).delete_volume("vol_x", VOLUME_ID)
    lab.node(1).delete_volume("vol_x", VOLUME_ID)
    assert lab.simulated(1).volumes() == {}


def test_no_glusterd() -> None:
    lab = ready()
    lab.simulated(1).daemon.running = False
    assert lab.node(1).glusterd().running is False
    with pytest.raises(FailedPreconditionError) as caught:
        lab.node(1).get_volume("vol_x")
    assert caught.value.reason is Reason.GLUSTERD_NOT_RUNNING
    assert [peer.connected for peer in lab.node(2).glusterd().peers] == [False, True]


def test_peers_come_and_go() -> None:
    lab = ready()
    lab.node(1).probe_peer("10.0.0.2")
    lab.node(1).probe_peer("10.0.0.1")
    state = lab.node(2).glusterd()
    assert (state.version, {peer.hostname for peer in state.peers}) == ("10.3", {"10.0.0.1", "10.0.0.3"})
    lab.node(1).detach_peer("10.0.0.3")
    lab.node(1).detach_peer("10.0.0.3")
    assert lab.node(3).glusterd().peers == ()


def test_a_peer_that_cannot_be_reached_or_belongs_elsewhere() -> None:
    fleet = Fleet(FleetSettings(nodes=4))
    one, three = fleet.node("node1").node, fleet.node("node3").node
    one.probe_peer("10.0.0.2")
    three.probe_peer("10.0.0.4")
    for hostname in ("10.0.0.99", "10.0.0.3"):
        with pytest.raises(InternalError) as caught:
            one.probe_peer(hostname)
        assert caught.value.reason is Reason.GLUSTER_FAILED


def test_a_peer_with_bricks_stays(lab: Ready) -> None:
    lab.node(1).create_volume(lab.volume())
    with pytest.raises(InternalError, match="hosts one or more bricks"):
        lab.node(1).detach_peer("10.0.0.2")
