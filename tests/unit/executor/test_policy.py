"""What a node refuses, whoever asks."""

from typing import Any

import pytest

from services.common.errors import BrickyardError, FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor import policy
from services.executor.policy import ANY_DEVICE, NodePolicy

DEVICE = "d" * 32
BRICK = "b" * 32


def brick(**changes: Any) -> policy.BrickSpec:
    values: dict[str, Any] = {"brick_id": BRICK, "device_id": DEVICE, "lv_name": "", "pool_name": "", "path": ""}
    return NodePolicy().brick(**{**values, **changes})


@pytest.mark.parametrize("path", ["/dev/sdb", "/dev/vdz", "/dev/nvme0n1", "/dev/ubdb", "/dev/disk/by-id/wwn-0x5"])
def test_disks_are_allowed(path: str) -> None:
    NodePolicy().check_device(path)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/mem", "/dev/disk/by-id/x/y", "/dev/sdb1", "/etc/passwd"])
def test_other_devices_are_not(path: str) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        NodePolicy().check_device(path)
    assert caught.value.reason is Reason.DEVICE_NOT_ALLOWED


@pytest.mark.parametrize(
    "path", ["", "sdb", "/dev/../etc/x", "/dev//sdb", "/dev/sd b", "/dev/sdb;ls", "-a", "//dev/sdb"]
)
def test_paths_are_plain(path: str) -> None:
    with pytest.raises(InvalidArgumentError):
        NodePolicy(device_globs=(ANY_DEVICE,)).check_device(path)


def test_any_device_is_allowed_by_a_star_alone() -> None:
    NodePolicy(device_globs=(ANY_DEVICE,)).check_device("/dev/fake/by/name")


def test_wiping_needs_the_nodes_consent() -> None:
    NodePolicy(allow_destroy=True).check_wiping("/dev/sdb")
    with pytest.raises(PermissionDeniedError, match="--allow-destroy"):
        NodePolicy().check_wiping("/dev/sdb")


def test_names_of_a_brick_come_from_its_ids() -> None:
    spec = brick(size_bytes=GIB, pool_bytes=GIB, metadata_bytes=8 * MIB)
    assert spec.vg == f"vg_{DEVICE}"
    assert spec.lv == f"brick_{BRICK}"
    assert spec.pool == f"tp_{BRICK}"
    assert spec.path == f"/var/lib/heketi/mounts/vg_{DEVICE}/brick_{BRICK}/brick"
    assert spec.device == f"/dev/mapper/vg_{DEVICE}-brick_{BRICK}"
    assert spec.mount.options == "rw,inode64,noatime,nouuid"
    policy.check_new_brick(spec)


def test_a_pool_of_another_id_is_as_good() -> None:
    assert brick(pool_name="tp_" + "c" * 32).pool == "tp_" + "c" * 32


def test_a_cloned_brick_lives_where_gluster_mounted_it() -> None:
    path = "/run/gluster/snaps/0123456789ab/brick1/brick"
    spec = brick(lv_name="a" * 32 + "_0", path=path)
    assert (spec.mount_point, spec.path) == (path.removesuffix("/brick"), path)
    assert policy.is_snapshot_mount(spec.mount_point)
    with pytest.raises(InvalidArgumentError):
        policy.check_new_brick(spec)


@pytest.mark.parametrize(
    "wrong",
    [
        {"brick_id": "B" * 32},
        {"device_id": "../" + "d" * 29},
        {"lv_name": "root"},
        {"lv_name": "brick_" + "c" * 32},
        {"pool_name": "data"},
        {"path": "/"},
        {"path": f"/var/lib/heketi/mounts/vg_{DEVICE}/brick_{'c' * 32}/brick"},
        {"path": "/run/gluster/snaps/../../../etc/brick"},
        {"gid": -1},
        {"gid": 2147483647},
    ],
)
def test_what_does_not_belong_to_the_ids_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        brick(**wrong)


@pytest.mark.parametrize("size", [{"size_bytes": 0}, {"pool_bytes": 1025}, {"metadata_bytes": -4096}])
def test_sizes_of_a_new_brick(size: dict[str, int]) -> None:
    sizes = {"size_bytes": GIB, "pool_bytes": GIB, "metadata_bytes": 8 * MIB, **size}
    with pytest.raises(InvalidArgumentError):
        policy.check_new_brick(brick(**sizes))


def test_options_in_order() -> None:
    assert policy.NodePolicy().check_options(
        ["performance.cache-size 1GB", "", "group virt", "auth.allow 10.0.0.*"]
    ) == [
        ("performance.cache-size", "1GB"),
        ("group", "virt"),
        ("auth.allow", "10.0.0.*"),
    ]


@pytest.mark.parametrize(
    "option",
    ["nfs.rpc-statd /tmp/x", "changelog.changelog-dir /etc", "debug.trace on", "group ../../x", "user.a b;c", "a 1"],
)
def test_options_that_reach_beyond_the_volume(option: str) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        policy.NodePolicy().check_options([option])
    assert caught.value.reason is Reason.GLUSTER_OPTION_NOT_ALLOWED


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (policy.check_hostname, ["node1", "10.0.0.1", "fe80::1", "a.b-c.d"], ["", "-x", "a b", "a;b", "a/b"]),
        (policy.check_volume_name, ["vol_1", "a-b", "9"], ["", "-x", "a b", "a/b", "a\nb"]),
        (policy.check_brick_path, ["/a/b", "/run/x.y"], ["a", "/a/../b", "/a b", "/a\nb", "/a//b"]),
        (policy.check_device_id, ["0" * 32], ["", "0" * 31, "G" * 32]),
        (policy.check_volume_id, ["f" * 32], ["", "f" * 33]),
    ],
)
def test_words_that_may_stand_in_a_command(check: Any, good: list[str], bad: list[str]) -> None:
    assert [check(word) for word in good] == good
    for word in bad:
        with pytest.raises(BrickyardError):
            check(word)
