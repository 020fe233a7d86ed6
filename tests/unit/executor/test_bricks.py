"""Bricks on simulated nodes: made, found, undone, removed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    ResourceExhaustedError,
    TimeLimitError,
)
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.runners.base import NodeLostError
from services.executor.runners.simulated.faults import Fault
from tests.unit.executor.fleets import NOTHING, Ready, ready

COMMANDS = ["lvm lvcreate", r"mkfs\.xfs", "write /var/lib/brickyard/fstab", "^mount "]


def test_a_brick_is_mounted_listed_and_has_its_directory() -> None:
    lab = ready()
    spec = lab.brick(1, gid=2000)
    lab.node(1).create_brick(spec)
    names, mounts, fstab, extents = lab.leftovers(1)
    assert sorted(names) == [spec.lv, spec.pool]
    assert mounts == [spec.mount_point]
    assert fstab == f"{spec.device} {spec.mount_point} xfs rw,inode64,noatime,nouuid 1 2\n"
    # The pool and its metadata, and no spare for it: what the books say.
    assert extents == (GIB + 8 * MIB) // (4 * MIB)
    directory = lab.simulated(1).machine.directory(spec.path)
    assert directory is not None
    assert (directory.gid, directory.mode) == (2000, 0o2775)


def test_making_it_again_changes_nothing() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    before = lab.leftovers(1)
    lab.fail("lvcreate|mkfs|^mount", times=0)
    lab.node(1).create_brick(lab.brick(1))
    assert lab.leftovers(1) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_failure_leaves_nothing_behind(command: str) -> None:
    lab = ready()
    lab.fail(command, name="f")
    with pytest.raises(BrickyardError):
        lab.node(1).create_brick(lab.brick(1))
    assert lab.fleet.faults.hits("f") == 1
    assert lab.leftovers(1) == NOTHING
    lab.node(1).create_brick(lab.brick(1))
    assert lab.leftovers(1)[1] == [lab.brick(1).mount_point]


@pytest.mark.parametrize("action", ["crash", "crash-after"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_node_lost_at_any_step_can_finish_or_undo(command: str, action: str) -> None:
    for finish in (True, False):
        lab = ready()
        lab.fail(command, action=action)
        if command.startswith("write") and action == "crash-after":
            continue  # a write has no process that ends; the mount after it covers this
        with pytest.raises(NodeLostError):
            lab.node(1).create_brick(lab.brick(1))
        if finish:
            lab.node(1).create_brick(lab.brick(1))
            assert lab.leftovers(1)[1] == [lab.brick(1).mount_point]
        assert lab.node(1).delete_brick(lab.brick(1)) is True
        assert lab.leftovers(1) == NOTHING


def test_no_room_is_told_apart() -> None:
    lab = ready()
    with pytest.raises(ResourceExhaustedError) as caught:
        lab.node(1).create_brick(lab.brick(1, size=20 * GIB))
    assert caught.value.reason is Reason.NO_SPACE_ON_DEVICE
    assert "insufficient free space" in caught.value.message
    assert lab.leftovers(1) == NOTHING


def test_a_taken_lv_name_does_not_cost_a_pool() -> None:
    # LVM makes the pool first, finds the LV's name taken, and leaves the pool.
    lab = ready()
    node, spec = lab.node(1), lab.brick(1)
    node.create_brick(spec)
    lab.simulated(1).machine.groups[spec.vg].volumes[spec.lv].active = False
    other = node.policy.brick(
        brick_id="b" * 32, device_id="1" * 32, lv_name="", pool_name="tp_" + "e" * 32, path="",
        size_bytes=GIB, pool_bytes=GIB, metadata_bytes=8 * MIB,
    )  # fmt: skip
    lab.simulated(1).machine.mounts.pop()
    lab.simulated(1).machine.root.files.clear()
    with pytest.raises(FailedPreconditionError, match="exists already"):
        node.create_brick(other)
    assert sorted(lab.leftovers(1)[0]) == [spec.lv, spec.pool]


def test_removal_frees_everything_and_is_repeatable() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    assert lab.node(1).delete_brick(lab.brick(1)) is True
    assert lab.leftovers(1) == NOTHING
    assert lab.simulated(1).machine.directory(lab.brick(1).mount_point) is None
    assert lab.node(1).delete_brick(lab.brick(1)) is True


def test_a_pool_with_a_clone_stays() -> None:
    lab = ready()
    spec = lab.brick(1)
    lab.node(1).create_brick(spec)
    group = lab.simulated(1).machine.groups[spec.vg]
    clone = type(group.volumes[spec.lv])("e" * 32 + "_0", GIB, pool=spec.pool)
    group.volumes[clone.name] = clone
    assert lab.node(1).delete_brick(spec) is False
    assert sorted(group.volumes) == sorted([clone.name, spec.pool])
    as_clone = lab.node(1).policy.brick(
        brick_id="c" * 32, device_id="1" * 32, lv_name=clone.name, pool_name=spec.pool,
        path="/run/gluster/snaps/x/brick1/brick",
    )  # fmt: skip
    assert lab.node(1).delete_brick(as_clone) is True
    assert group.volumes == {}


def test_a_used_brick_is_busy_and_stays_whole() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    before = lab.leftovers(1)
    lab.simulated(1).machine.busy.add(lab.brick(1).mount_point)
    with pytest.raises(FailedPreconditionError) as caught:
        lab.node(1).delete_brick(lab.brick(1))
    assert caught.value.reason is Reason.BRICK_BUSY
    assert lab.leftovers(1) == before


def test_a_busy_brick_does_not_hold_up_the_others_of_its_device() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    lab.fail("^umount", action="stall", name="busy", times=1)
    with ThreadPoolExecutor() as pool:
        removing = pool.submit(lab.node(1).delete_brick, lab.brick(1))
        assert lab.fleet.faults.wait_struck("busy", 10)
        lab.node(1).create_brick(lab.brick(1, "c"))
        assert not removing.done()
        lab.fleet.faults.release("busy")
        assert removing.result(10) is True


def test_bricks_of_one_device_are_made_at_the_same_time() -> None:
    lab = ready()
    letters = "abcdef"
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda letter: lab.node(1).create_brick(lab.brick(1, letter)), letters))
    assert len(lab.leftovers(1)[1]) == len(letters)
    assert len(lab.leftovers(1)[2].splitlines()) == len(letters)


def test_a_command_that_stalls_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = ready()
    monkeypatch.setattr("services.executor.filesystem.commands.MAKE_TIMEOUT_S", 0.05)
    lab.fail("mkfs", action="stall")
    with pytest.raises(TimeLimitError) as caught:
        lab.node(1).create_brick(lab.brick(1))
    assert caught.value.reason is Reason.COMMAND_TIMED_OUT
    assert lab.leftovers(1) == NOTHING


def test_bricks_are_back_after_a_reboot() -> None:
    lab = ready()
    lab.make_bricks()
    lab.node(1).create_volume(lab.volume())
    before = lab.leftovers(2)
    assert lab.simulated(2).reboot() == []
    assert lab.leftovers(2) == before


def test_a_brick_that_cannot_be_mounted_is_named_and_the_others_are_mounted() -> None:
    lab = ready()
    for letter in "bc":
        lab.node(1).create_brick(lab.brick(1, letter))
    lab.fail(f"^mount .*{'b' * 32}")
    (failure,) = lab.simulated(1).reboot()
    assert lab.brick(1, "b").mount_point in failure
    assert lab.leftovers(1)[1] == [lab.brick(1, "c").mount_point]


def test_threads_of_a_fleet_do_not_share_a_lock_by_accident() -> None:
    lab: Ready = ready()
    lab.fail("mkfs", action="stall", node="node1", name="slow")
    maker = threading.Thread(target=lab.node(1).create_brick, args=(lab.brick(1),))
    maker.start()
    assert lab.fleet.faults.wait_struck("slow", 10)
    lab.node(2).create_brick(lab.brick(2))
    lab.fleet.faults.release("slow")
    maker.join(10)
    assert lab.leftovers(1)[1] == [lab.brick(1).mount_point]


def test_a_power_cut_after_the_file_system_was_made_is_gone_on_from() -> None:
    lab = ready()
    spec = lab.brick(1)
    lab.fleet.faults.add(Fault("mkfs.xfs", action="crash-after"))
    with pytest.raises(NodeLostError):
        lab.node(1).create_brick(spec)
    lab.simulated(1).reboot()
    lab.node(1).create_brick(spec)
    names, mounts, _fstab, _extents = lab.leftovers(1)
    assert sorted(names) == [spec.lv, spec.pool]
    assert mounts == [spec.mount_point]


@pytest.mark.parametrize("size", [16 * MIB, 300 * MIB - 4 * MIB])
def test_a_brick_smaller_than_mkfs_likes_is_made(size: int) -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1, size=size))
    assert lab.simulated(1).brick_mounts() == [lab.brick(1).mount_point]


def test_a_refusal_of_mkfs_for_another_reason_is_not_argued_with() -> None:
    lab = ready()
    lab.fail("^mkfs", name="no", stderr="mkfs.xfs: Device or resource busy", exit_code=1)
    with pytest.raises(InternalError, match="resource busy"):
        lab.node(1).create_brick(lab.brick(1, size=16 * MIB))
    assert lab.fleet.faults.hits("no") == 1
    assert lab.leftovers(1) == NOTHING


def test_a_power_cut_takes_what_was_not_written_to_disk() -> None:
    lab = ready()
    kept, lost = lab.brick(1), lab.brick(1, "c")
    for spec in (kept, lost):
        lab.node(1).create_brick(spec)
    lab.node(1).sync_bricks([kept])
    machine = lab.simulated(1).machine
    machine.cut_power()
    lab.node(1).mount_bricks()
    assert machine.directory(kept.path) is not None
    assert machine.directory(lost.path) is None


def test_a_brick_that_is_not_mounted_can_not_be_written_to_disk() -> None:
    lab = ready()
    spec = lab.brick(1)
    lab.node(1).create_brick(spec)
    lab.fail("^fsync ", name="f", exit_code=5)
    with pytest.raises(InternalError, match=f"Input/output error: {spec.path}") as failed:
        lab.node(1).sync_bricks([spec])
    assert (failed.value.reason, lab.fleet.faults.hits("f")) == (Reason.FILESYSTEM_FAILED, 1)
    lab.simulated(1).machine.reboot()
    with pytest.raises(InternalError, match=f"brick {spec.path} is not mounted on this node"):
        lab.node(1).sync_bricks([spec])
