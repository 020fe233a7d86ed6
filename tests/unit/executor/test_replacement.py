"""Bricks that take the place of others on simulated nodes, and what bricks have to heal."""

from dataclasses import replace

import pytest

from services.common.errors import FailedPreconditionError, InternalError, NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB
from services.executor.gluster.commands import DISTRIBUTED
from services.executor.gluster.reports import BrickHeal, parse_heal, parse_volume
from services.executor.runners.simulated import FleetSettings
from services.executor.settings import Patience
from tests.unit.executor.captures import GLUSTER, capture
from tests.unit.executor.fleets import VOLUME_ID
from tests.unit.executor.growing import SOURCE, bricks_of, file_of, gluster_runs
from tests.unit.executor.replacing import lab_of_four, new_brick, old_brick

LOCKED = "Another transaction is in progress for vol_x. Please try again after some time."
GONE = Patience(gluster_lock_s=0.2, silence_s=0.1, first_pause_s=0.01, longest_pause_s=0.02)


def test_the_new_brick_has_the_old_ones_place_and_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of_four()
    before = bricks_of(lab)
    for number in (1, 2, 3):
        lab.simulated(number).put_file(file_of(old_brick(lab, number)), "data")
    seen = gluster_runs(lab, monkeypatch, 4)
    spec = new_brick(lab)
    lab.node(4).replace_brick(spec, old_brick(lab))
    assert f"volume replace-brick vol_x {old_brick(lab)} {spec.new} commit force\n" in seen
    assert bricks_of(lab) == (before[0], spec.new, before[2])
    assert lab.simulated(4).file(file_of(spec.new)) == "data"
    # The old brick's file system is let go.
    assert lab.node(2).delete_brick(lab.brick(2)) is True


def test_done_already_is_done() -> None:
    lab = lab_of_four()
    spec = new_brick(lab)
    lab.node(4).replace_brick(spec, old_brick(lab))
    lab.fail("gluster volume replace-brick", name="again", stderr="must not run")
    lab.node(4).replace_brick(spec, old_brick(lab))
    assert lab.fleet.faults.hits("again") == 0


def test_a_foreign_lock_is_waited_for() -> None:
    lab = lab_of_four()
    lab.fail("gluster volume replace-brick", name="lock", stderr=LOCKED, exit_code=1, times=2)
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert lab.fleet.faults.hits("lock") == 2
    assert new_brick(lab).new in bricks_of(lab)


def test_a_failure_leaves_the_volume_as_it_was() -> None:
    lab = lab_of_four()
    before = bricks_of(lab)
    lab.fail("gluster volume replace-brick", stderr="it did not work", exit_code=1)
    with pytest.raises(InternalError, match="it did not work"):
        lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert bricks_of(lab) == before


@pytest.mark.parametrize("why", ["other id", "no such brick", "no such volume"])
def test_what_is_not_as_asked_is_refused(why: str) -> None:
    lab = lab_of_four()
    before = bricks_of(lab)
    spec, old = new_brick(lab), old_brick(lab)
    if why == "other id":
        spec = replace(spec, volume_id="0" * 32)
    elif why == "no such brick":
        old = old.replace("brick_b", "brick_c")
    else:
        spec = replace(spec, name="vol_y")
    with pytest.raises(NotFoundError if why == "no such volume" else InternalError):
        lab.node(4).replace_brick(spec, old)
    assert bricks_of(lab) == before


def test_gluster_refuses_where_there_are_no_copies() -> None:
    lab = lab_of_four()
    lab.node(1).delete_volume(SOURCE, VOLUME_ID)
    plain = replace(lab.volume(), layout=DISTRIBUTED, bricks=lab.volume().bricks[:1])
    lab.node(1).create_volume(plain)
    with pytest.raises(InternalError, match="replace-brick is not permitted on distribute only volumes"):
        lab.node(4).replace_brick(new_brick(lab), plain.bricks[0])
    with pytest.raises(InternalError, match="Unable to get heal info of volume : vol_x : This command is supported"):
        lab.node(1).heal_status(SOURCE)


def test_a_brick_that_is_not_mounted_takes_no_place() -> None:
    """By force gluster would make its directory on the system disk."""
    lab = lab_of_four()
    lab.simulated(4).machine.reboot()
    with pytest.raises(InternalError) as refused:
        lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert refused.value.reason is Reason.FILESYSTEM_FAILED
    assert old_brick(lab) in bricks_of(lab)


def test_the_old_bricks_node_may_be_dead() -> None:
    lab = lab_of_four()
    lab.simulated(2).daemon.reachable = False
    lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert new_brick(lab).new in bricks_of(lab)


def test_gluster_is_not_asked_before_it_knows_that_a_node_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for that node for ten minutes, and hold its locks."""
    lab = lab_of_four(FleetSettings(nodes=4, disk_bytes=10 * GIB, patience=GONE))
    runner = lab.node(4)._tools.runner
    monkeypatch.setattr(runner, "glusterd_answers", lambda host: host != "10.0.0.2")
    with pytest.raises(InternalError, match=r"node 10\.0\.0\.2 does not answer, and glusterd has not noticed yet"):
        lab.node(4).replace_brick(new_brick(lab), old_brick(lab))
    assert old_brick(lab) in bricks_of(lab)


def test_settled_is_settled() -> None:
    lab = lab_of_four()
    spec = new_brick(lab)
    assert lab.node(4).settle_replacement(spec) is False
    with pytest.raises(FailedPreconditionError) as late:
        lab.node(4).replace_brick(spec, old_brick(lab))
    assert late.value.reason is Reason.OPERATION_ENDED
    assert old_brick(lab) in bricks_of(lab)


def test_what_is_done_is_not_forbidden() -> None:
    lab = lab_of_four()
    spec = new_brick(lab)
    lab.node(4).replace_brick(spec, old_brick(lab))
    assert lab.node(4).settle_replacement(spec) is True
    assert lab.node(4).settle_replacement(replace(spec, volume_id="0" * 32)) is False


def test_settling_a_volume_that_is_gone() -> None:
    lab = lab_of_four()
    lab.node(1).delete_volume(SOURCE, VOLUME_ID)
    assert lab.node(4).settle_replacement(new_brick(lab)) is False


def test_heal_status_names_every_brick() -> None:
    lab = lab_of_four()
    lab.simulated(1).volumes()[SOURCE].heal_entries[old_brick(lab, 1)] = 3
    lab.simulated(3).daemon.reachable = False
    assert lab.node(2).heal_status(SOURCE) == (
        BrickHeal(old_brick(lab, 1), connected=True, pending_count=3),
        BrickHeal(old_brick(lab, 2), connected=True, pending_count=0),
        BrickHeal(old_brick(lab, 3), connected=False, pending_count=-1),
    )
    with pytest.raises(NotFoundError):
        lab.node(2).heal_status("nothing")


@pytest.mark.parametrize("case", ["volume-heal-info", "volume-heal-info-dead-node"])
def test_heal_info_as_recorded(case: str) -> None:
    found = parse_heal(capture(GLUSTER, case).stdout, "v1")
    assert len(found) == 3
    assert [each.connected for each in found] == [True, True, case == "volume-heal-info"]
    if case != "volume-heal-info":
        assert [each.pending_count for each in found] == [6, 6, -1]


def test_heal_info_of_a_plain_volume_as_recorded() -> None:
    with pytest.raises(InternalError, match="Unable to get heal info of volume : plain : This command is supported"):
        parse_heal(capture(GLUSTER, "volume-heal-info-plain").stdout, "plain")


def test_the_answer_to_a_replacement_counts_as_success() -> None:
    from services.executor.gluster.reports import count_successes  # noqa: PLC0415 - next to what it reads

    assert count_successes(capture(GLUSTER, "script-replace-brick").stdout) == 1
    assert count_successes(capture(GLUSTER, "script-replace-brick-plain").stdout) == 0


def test_an_arbiter_volume_is_not_dispersed() -> None:
    recorded = capture(GLUSTER, "volume-info-arbiter").stdout
    name = recorded.split("<name>")[1].split("</name>")[0]
    found = parse_volume(recorded, name)
    assert found is not None
    assert not found.dispersed


def test_a_peer_is_detached_by_force_while_another_is_down() -> None:
    lab = lab_of_four()
    lab.simulated(3).daemon.reachable = False
    with pytest.raises(InternalError, match="One of the peers is probably down"):
        lab.node(1).detach_peer("10.0.0.4")
    lab.node(1).detach_peer("10.0.0.4", force=True)
    assert "10.0.0.4" not in {peer.hostname for peer in lab.node(1).glusterd().peers}
