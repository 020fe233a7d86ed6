"""LVs that gluster made and forgot, and those that it has not forgotten, on simulated nodes."""

import pytest

from services.common.errors import InternalError, InvalidArgumentError
from services.common.reasons import Reason
from services.common.units import GIB
from services.executor.runners.base import NodeLostError
from services.executor.runners.simulated import FleetSettings
from services.executor.runners.simulated.machine import LogicalVolume
from services.executor.settings import Patience
from tests.unit.executor.fleets import Ready, device_id
from tests.unit.executor.growing import CLONE, COPY, COPY_ID, SOURCE, copies_on, gluster_runs, grown

POOL = f"tp_{'b' * 32}"


def remove(lab: Ready, number: int = 1) -> tuple[str, ...]:
    return lab.node(number).remove_orphan_copies(device_id(number), POOL)


def orphaned(settings: FleetSettings | None = None) -> tuple[Ready, str]:
    """A copy whose volume was deleted and whose bricks are still there; the name of the first node's LV."""
    lab = grown(settings=settings)
    copy = lab.node(1).clone_volume(CLONE)
    lab.node(1).delete_volume(COPY, COPY_ID)
    return lab, copy.lv_names[0]


def test_orphans_are_unmounted_and_removed() -> None:
    lab, name = orphaned()
    assert remove(lab) == (name,)
    assert copies_on(lab, 1) == []
    assert lab.simulated(1).brick_mounts() == [lab.brick(1).mount_point]
    assert not any("gluster/snaps/" in path for path in lab.simulated(1).machine.root.directories)
    assert remove(lab) == ()


def test_nothing_like_a_copy_asks_gluster_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = grown()
    seen = gluster_runs(lab, monkeypatch)
    assert remove(lab) == ()
    assert lab.node(1).remove_orphan_copies("e" * 32, POOL) == ()
    assert seen == []


def test_what_gluster_uses_stays() -> None:
    lab = grown()
    lab.node(1).clone_volume(CLONE)
    script = f"snapshot create nightly {SOURCE}\nsnapshot activate nightly\n"
    lab.node(1)._tools.runner.run(["gluster"], input=script, timeout_s=1)
    before = lab.leftovers(1)
    assert len(copies_on(lab, 1)) == 2
    assert remove(lab) == ()
    assert lab.leftovers(1) == before


def test_lvs_of_other_forms_and_of_other_pools_stay() -> None:
    lab, name = orphaned()
    group = lab.simulated(1).machine.groups[lab.brick(1).vg]
    strangers = [
        LogicalVolume("backup", 4096, pool=POOL),
        LogicalVolume("E" * 32 + "_0", 4096, pool=POOL),
        LogicalVolume("e" * 32 + "_0", 4096, pool=f"tp_{'c' * 32}"),
        LogicalVolume("e" * 31 + "_0", 4096, pool=POOL),
    ]
    group.volumes.update({each.name: each for each in strangers})
    assert remove(lab) == (name,)
    assert copies_on(lab, 1) == [each.name for each in strangers]


def test_a_copy_in_the_making_stays() -> None:
    lab = grown()
    lab.fail("^gluster snapshot clone", action="crash")
    with pytest.raises(NodeLostError):
        lab.node(1).clone_volume(CLONE)
    (of_snapshot,) = copies_on(lab, 1)
    group = lab.simulated(1).machine.groups[lab.brick(1).vg]
    # The LV is there, and the volume is not listed yet.
    young = LogicalVolume("e" * 32 + "_0", 4096, pool=POOL, origin=of_snapshot)
    group.volumes[young.name] = young
    assert remove(lab) == ()
    lab.node(1).delete_volume(COPY, COPY_ID)
    assert remove(lab) == (young.name,)


def test_a_change_of_the_source_is_waited_for() -> None:
    patience = Patience(gluster_lock_s=0.03, first_pause_s=0.01, longest_pause_s=0.01)
    lab, name = orphaned(FleetSettings(disk_bytes=10 * GIB, patience=patience))
    pool = lab.simulated(1).daemon.pool
    pool.locked_by = "somebody"
    with pytest.raises(InternalError, match="Another transaction is in progress") as caught:
        lab.node(1).remove_orphan_copies(device_id(1), POOL)
    assert caught.value.reason is Reason.GLUSTER_FAILED
    assert copies_on(lab, 1) == [name]
    pool.locked_by = ""
    assert remove(lab) == (name,)


def test_an_orphan_in_use_stays() -> None:
    lab, name = orphaned()
    (mount,) = [point for point in lab.simulated(1).brick_mounts() if "snaps" in point]
    lab.simulated(1).machine.busy.add(mount)
    with pytest.raises(InternalError) as caught:
        remove(lab)
    assert caught.value.reason is Reason.LVM_FAILED
    assert copies_on(lab, 1) == [name]


def test_a_pool_is_named_as_pools_are() -> None:
    lab = grown()
    with pytest.raises(InvalidArgumentError):
        lab.node(1).remove_orphan_copies(device_id(1), "root")
