"""LVM's command lines, exactly, and its reports as recorded."""

import pytest

from services.common.errors import InternalError
from services.common.units import GIB, MIB
from services.executor.lvm import commands, reports
from tests.unit.executor.captures import LVM, capture

VG = "vg_" + "d" * 32
LV = "brick_" + "1" * 32
POOL = "tp_" + "1" * 32


def test_physical_volume_and_group_are_made_with_the_usual_numbers() -> None:
    assert commands.create_physical_volume("/dev/sdb") == [
        "lvm", "pvcreate", "-qq", "--metadatasize=128M", "--dataalignment=256K", "/dev/sdb",
    ]  # fmt: skip
    assert commands.create_volume_group(VG, "/dev/sdb") == [
        "lvm", "vgcreate", "-qq", "--physicalextentsize=4M", "--autobackup=n", VG, "/dev/sdb",
    ]  # fmt: skip


def test_pool_and_thin_volume_are_made_by_one_command() -> None:
    argv = commands.create_thin_pool_with_volume(
        VG, POOL, LV, pool_bytes=GIB, metadata_bytes=8 * MIB, size_bytes=GIB // 2
    )
    assert argv == [
        "lvm", "lvcreate", "-qq", "--autobackup=n", "--config", 'global{thin_check_executable=""}',
        "--poolmetadatasize", "8192K", "--poolmetadataspare", "n",
        "--chunksize", "256K", "--size", "1048576K", "--thin", f"{VG}/{POOL}",
        "--virtualsize", "524288K", "--name", LV,
    ]  # fmt: skip


def test_removal_names_group_and_volume() -> None:
    assert commands.remove_logical_volumes(VG, LV, POOL) == [
        "lvm", "lvremove", "-qq", "--autobackup=n", "-f", f"{VG}/{LV}", f"{VG}/{POOL}",
    ]  # fmt: skip
    assert commands.remove_volume_group(VG) == ["lvm", "vgremove", "-qq", VG]
    assert commands.remove_physical_volume("/dev/sdb") == ["lvm", "pvremove", "-qq", "/dev/sdb"]


def test_device_mapper_doubles_dashes() -> None:
    assert commands.mapper_path("vg_a", "brick_b") == "/dev/mapper/vg_a-brick_b"
    assert commands.mapper_path("my-vg", "a-b") == "/dev/mapper/my--vg-a--b"


def test_physical_volumes_with_and_without_group() -> None:
    alone = reports.parse_physical_volumes(capture(LVM, "pvs-without-group").stdout)
    grouped = reports.parse_physical_volumes(capture(LVM, "pvs").stdout)
    assert [volume.vg_name for volume in alone if volume.path == "/dev/ubdd"] == [""]
    assert [volume.vg_name for volume in grouped if volume.path == "/dev/ubdd"] == [VG]
    assert all(len(volume.uuid) == 38 for volume in grouped)


def test_volume_group_in_bytes() -> None:
    (group,) = reports.parse_volume_groups(capture(LVM, "vgs").stdout)
    assert (group.name, group.pv_path, group.extent_size_bytes) == (VG, "/dev/ubdd", 4 * MIB)
    # 4 GiB less metadata and alignment, in whole extents.
    assert group.total_bytes == group.free_bytes == 991 * 4 * MIB


def test_logical_volumes_without_internal_ones() -> None:
    found = {volume.name: volume for volume in reports.parse_logical_volumes(capture(LVM, "lvs").stdout)}
    assert set(found) == {LV, POOL, "tp_" + "2" * 32}
    assert (found[LV].pool_name, found[LV].thin_pool, found[LV].size_bytes) == (POOL, False, 512 * MIB)
    assert (found[POOL].pool_name, found[POOL].thin_pool, found[POOL].thin_count) == ("", True, 1)
    assert found["tp_" + "2" * 32].thin_count == 0
    assert 0 < found[POOL].metadata_percent < 100


def test_full_report_tells_groups_and_volumes_at_once() -> None:
    groups, volumes = reports.parse_everything(capture(LVM, "fullreport").stdout)
    mine = next(group for group in groups if group.name == VG)
    assert mine.pv_path == "/dev/ubdd"
    # Two pools, their metadata, and the spare for it.
    assert mine.total_bytes - mine.free_bytes == (2 * 128 + 3) * 4 * MIB
    assert {volume.name for volume in volumes if volume.vg_name == VG} == {LV, POOL, "tp_" + "2" * 32}


def test_full_report_knows_a_disk_without_group() -> None:
    groups, _volumes = reports.parse_everything(capture(LVM, "fullreport-without-group").stdout)
    assert VG not in {group.name for group in groups}
    assert all(group.name for group in groups)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("vgs-absent", reports.says_absent),
        ("lvs-absent", reports.says_absent),
        ("lvremove-absent", reports.says_absent),
        ("lvremove-no-group", reports.says_absent),
        ("vgremove-absent", reports.says_absent),
        ("lvcreate-no-group", reports.says_absent),
        ("lvcreate-pool-exists", reports.says_exists),
        ("lvcreate-name-exists", reports.says_exists),
        ("lvcreate-full", reports.says_full),
        ("lvcreate-full-by-metadata", reports.says_full),
        ("lvremove-in-use", reports.says_in_use),
    ],
)
def test_complaints_are_told_apart(case: str, says: object) -> None:
    complaint = capture(LVM, case).complaint
    kinds = (reports.says_absent, reports.says_exists, reports.says_full, reports.says_in_use)
    assert [kind for kind in kinds if kind(complaint)] == [says]


def test_a_complaint_is_free_of_the_usual_warning() -> None:
    assert "NOT backed up" in capture(LVM, "lvcreate-name-exists").stderr
    assert "NOT backed up" not in capture(LVM, "lvcreate-name-exists").complaint


def test_a_report_that_is_none_is_refused() -> None:
    with pytest.raises(InternalError, match="cannot be read"):
        reports.parse_volume_groups("no json")
