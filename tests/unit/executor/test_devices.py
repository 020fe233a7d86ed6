"""Disks of simulated nodes, and why some are refused."""

import pytest

from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    NotFoundError,
    PermissionDeniedError,
)
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.devices import MIN_DISK_BYTES
from services.executor.facts import BrickState
from services.executor.policy import NodePolicy
from services.executor.runners.base import Mount
from services.executor.runners.simulated import Fleet, FleetSettings
from services.executor.runners.simulated.machine import Disk, VolumeGroup
from tests.unit.executor.fleets import device_id, ready

ID = "a" * 32


def test_a_bare_disk_gives_its_whole_size() -> None:
    fleet = Fleet(FleetSettings(nodes=1))
    group, paths = fleet.node("node1").node.create_device(ID, "/dev/sdb", destroy_data=False)
    assert (group.total_bytes, group.free_bytes, group.extent_size_bytes) == (500 * GIB, 500 * GIB, 4 * MIB)
    assert paths == ["/dev/sdb"]
    assert len(group.pv_uuid) == 38


def test_making_it_again_finds_it() -> None:
    lab = ready()
    first = lab.node(1).get_device(device_id(1))
    assert lab.node(1).create_device(device_id(1), "/dev/sdb", destroy_data=True) == first


def test_a_disk_with_data_is_kept_unless_asked() -> None:
    lab = ready()
    lab.simulated(1).put_signature("/dev/sdc", "ext4")
    with pytest.raises(FailedPreconditionError) as caught:
        lab.node(1).create_device(ID, "/dev/sdc", destroy_data=False)
    assert caught.value.reason is Reason.DEVICE_IN_USE
    assert caught.value.message.startswith(
        "Initializing device /dev/sdc failed (already initialized or contains data?): WARNING: ext4 signature"
    )
    assert lab.simulated(1).machine.disks["/dev/sdc"].signature == "ext4"
    group, _paths = lab.node(1).create_device(ID, "/dev/sdc", destroy_data=True)
    assert group.name == f"vg_{ID}"


def test_asking_is_not_enough_without_the_nodes_consent() -> None:
    lab = ready(FleetSettings(disk_bytes=10 * GIB, policy=NodePolicy()))
    lab.simulated(1).put_signature("/dev/sdc", "ext4")
    with pytest.raises(PermissionDeniedError, match="--allow-destroy"):
        lab.node(1).create_device(ID, "/dev/sdc", destroy_data=True)
    assert lab.simulated(1).machine.disks["/dev/sdc"].signature == "ext4"


@pytest.mark.parametrize("destroy", [False, True])
def test_a_disk_of_another_group_is_never_taken(destroy: bool) -> None:
    lab = ready()
    with pytest.raises(FailedPreconditionError) as caught:
        lab.node(1).create_device(ID, "/dev/sdb", destroy_data=destroy)
    group, _paths = lab.node(1).get_device(device_id(1))
    text = f"Initializing device /dev/sdb failed (aleady contains Physical Volume {group.pv_uuid}): "
    assert text in caught.value.message
    assert caught.value.message.startswith("Can not destroy device, destroy may not be safe: ") is destroy
    assert caught.value.metadata["device_id"] == device_id(1)


def test_a_mounted_disk_and_one_with_partitions_are_never_taken() -> None:
    lab = ready()
    machine = lab.simulated(1).machine
    machine.mounts.append(Mount("/dev/sdc", "/data", "ext4", "rw"))
    with pytest.raises(FailedPreconditionError, match="/dev/sdc is mounted on /data"):
        lab.node(1).create_device(ID, "/dev/sdc", destroy_data=True)
    machine.disks["/dev/sdd"].partitions = ("sdd1",)
    with pytest.raises(FailedPreconditionError, match="it has partitions: sdd1"):
        lab.node(1).create_device(ID, "/dev/sdd", destroy_data=True)


def test_a_missing_disk() -> None:
    with pytest.raises(NotFoundError) as caught:
        ready().node(1).create_device(ID, "/dev/sdz", destroy_data=False)
    assert caught.value.reason is Reason.DEVICE_NOT_FOUND_ON_NODE


def test_a_failed_group_takes_the_label_off_again() -> None:
    lab = ready()
    lab.fail("vgcreate", stderr="no")
    with pytest.raises(InternalError) as caught:
        lab.node(1).create_device(ID, "/dev/sdc", destroy_data=False)
    assert caught.value.reason is Reason.LVM_FAILED
    assert lab.simulated(1).machine.disks["/dev/sdc"].pv_uuid == ""
    lab.node(1).create_device(ID, "/dev/sdc", destroy_data=False)


def test_a_label_that_an_interrupted_call_left_does_not_stop_the_next() -> None:
    lab = ready()
    lab.simulated(1).machine.disks["/dev/sdc"].pv_uuid = "x" * 38
    group, _paths = lab.node(1).create_device(ID, "/dev/sdc", destroy_data=False)
    assert group.pv_uuid == "x" * 38


def test_removal_is_repeatable_and_refuses_a_group_with_volumes() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    with pytest.raises(InternalError, match="containing 2 logical volumes"):
        lab.node(1).delete_device(device_id(1))
    lab.node(1).delete_brick(lab.brick(1))
    lab.node(1).delete_device(device_id(1))
    disk = lab.simulated(1).machine.disks["/dev/sdb"]
    assert (disk.pv_uuid, disk.vg) == ("", "")
    lab.node(1).delete_device(device_id(1))
    with pytest.raises(NotFoundError):
        lab.node(1).get_device(device_id(1))


def test_facts_name_what_could_be_added() -> None:
    lab = ready()
    lab.simulated(1).put_signature("/dev/sdc", "ext4")
    storage = lab.node(1).storage()
    assert [disk.path for disk in storage.unused] == ["/dev/sdd", "/dev/sde"]
    assert [group.name for group in storage.groups] == [f"vg_{device_id(1)}"]


def test_facts_show_a_brick_everywhere() -> None:
    lab = ready()
    spec = lab.brick(1)
    lab.node(1).create_brick(spec)
    storage = lab.node(1).storage()
    assert {volume.name for volume in storage.volumes} == {spec.lv, spec.pool}
    assert [entry.mount_point for entry in storage.brick_mounts] == [spec.mount_point]
    assert storage.fstab == (spec.mount,)


@pytest.mark.parametrize("destroy", [False, True])
def test_every_refusal_has_its_own_text(destroy: bool) -> None:
    lab = ready()
    machine = lab.simulated(1).machine
    machine.disks["/dev/sdm"] = Disk("/dev/sdm", 10 * GIB)
    machine.mounts.append(Mount("/dev/sdm", "/data", "ext4", "rw"))
    machine.disks["/dev/sdp"] = Disk("/dev/sdp", 10 * GIB, partitions=("sdp1", "sdp2"))
    machine.disks["/dev/sds"] = Disk("/dev/sds", MIN_DISK_BYTES - 1)
    machine.disks["/dev/sdr"] = Disk("/dev/sdr", 10 * GIB, read_only=True)
    machine.disks["/dev/sdv"] = Disk("/dev/sdv", 10 * GIB, pv_uuid="u" * 38, vg="data")
    machine.groups["data"] = VolumeGroup("data", machine.disks["/dev/sdv"])
    texts = {
        "/dev/sdq": (Reason.DEVICE_NOT_FOUND_ON_NODE, "no such device on the node"),
        "/dev/sdm": (Reason.DEVICE_IN_USE, "/dev/sdm is mounted on /data"),
        "/dev/sdp": (Reason.DEVICE_IN_USE, "it has partitions: sdp1, sdp2"),
        "/dev/sds": (
            Reason.DEVICE_UNFIT,
            f"it is too small: {MIN_DISK_BYTES - 1} bytes, and at least {MIN_DISK_BYTES}",
        ),
        "/dev/sdr": (Reason.DEVICE_UNFIT, "it is read-only"),
        "/dev/sdv": (Reason.DEVICE_IN_USE, "is already in volume group 'data'"),
        "/dev/sdb": (Reason.DEVICE_IN_USE, f"is already in volume group 'vg_{device_id(1)}'"),
        "/etc/passwd": (Reason.DEVICE_NOT_ALLOWED, "this node allows only"),
    }
    seen = set()
    for path, (reason, text) in texts.items():
        with pytest.raises(BrickyardError) as caught:
            lab.node(1).create_device(ID, path, destroy_data=destroy)
        assert caught.value.reason is reason, path
        assert text in caught.value.message, path
        seen.add(caught.value.message.replace(path, ""))
    assert len(seen) == len(texts)
    assert f"vg_{ID}" not in machine.groups


def test_a_path_that_is_no_block_device() -> None:
    lab = ready(FleetSettings(disk_bytes=10 * GIB, policy=NodePolicy(device_globs=("*",))))
    lab.simulated(1).put_file("/dev/file", "x")
    with pytest.raises(NotFoundError, match="it is no block device"):
        lab.node(1).create_device(ID, "/dev/file", destroy_data=False)


def test_a_disk_that_grew_is_taken_up_once() -> None:
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    disk = lab.simulated(1).machine.disks["/dev/sdb"]
    before, _paths = lab.node(1).get_device(device_id(1))
    disk.size_bytes += 3 * MIB
    lab.fail("pvresize", name="resize", times=0)
    # Less than an extent is no room.
    assert lab.node(1).grow_device(device_id(1)) == (before, ["/dev/sdb"])
    disk.size_bytes += 5 * GIB
    assert lab.node(1).get_device(device_id(1))[0] == before
    with pytest.raises(InternalError) as caught:
        lab.node(1).grow_device(device_id(1))
    assert caught.value.reason is Reason.LVM_FAILED
    lab.fleet.faults.clear()
    for _ in range(2):
        grown, _paths = lab.node(1).grow_device(device_id(1))
        assert grown.total_bytes == before.total_bytes + 5 * GIB
        assert grown.free_bytes == before.free_bytes + 5 * GIB
    with pytest.raises(NotFoundError):
        lab.node(1).grow_device(ID)


def test_a_disk_that_shrank_is_left_alone() -> None:
    lab = ready()
    lab.simulated(1).machine.disks["/dev/sdb"].size_bytes -= GIB
    before, _paths = lab.node(1).get_device(device_id(1))
    assert lab.node(1).grow_device(device_id(1))[0] == before


def test_facts_tell_of_bricks_without_a_process() -> None:
    lab = ready()
    lab.make_bricks()
    path = lab.brick(1).path
    assert lab.node(1).storage().bricks == (BrickState(path, mounted=True, process_running=False, heal_count=-1),)
    lab.node(1).create_volume(lab.volume())
    assert lab.node(1).storage().bricks == (BrickState(path, mounted=True, process_running=True, heal_count=0),)
    lab.simulated(1).volumes()["vol_x"].heal_entries[f"10.0.0.1:{path}"] = 7
    assert lab.node(1).storage().bricks[0].heal_count == 7
    assert lab.node(2).storage().bricks[0].heal_count == 0
    lab.simulated(1).machine.reboot()
    assert lab.node(1).storage().bricks == (BrickState(path, mounted=False, process_running=False, heal_count=-1),)
    lab.simulated(1).reboot()
    assert lab.node(1).storage().bricks[0].process_running
