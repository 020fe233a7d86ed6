"""Command lines of LVM. Pure.

Flags as Heketi's, so that its clusters can be taken over; sizes are passed in bytes with LVM's unit "b".
"""

from services.common.units import KIB

_METADATA_SIZE = "128M"
_DATA_ALIGNMENT = "256K"
_EXTENT_SIZE = "4M"
_CHUNK_SIZE = "256K"
# Every change would write /etc/lvm/backup; the topology's own records are better, and this is faster.
_NO_BACKUP = "--autobackup=n"
# Metadata that was written a moment ago, or is about to go, needs no check; that costs a quarter of the time.
_NO_POOL_CHECK = 'global{thin_check_executable=""}'
TIMEOUT_S = 300.0
REPORT_TIMEOUT_S = 60.0
# LVM's exit code for "no".
FAILED = 5
_REPORT = ("--reportformat", "json", "--units", "b", "--nosuffix")
_VG_COLUMNS = "vg_name,vg_size,vg_free,vg_extent_size,pv_name,pv_uuid"
_LV_COLUMNS = "lv_name,vg_name,lv_size,pool_lv,origin,lv_attr,data_percent,metadata_percent,thin_count"


def vg_name(device_id: str) -> str:
    """Name of a device's volume group."""
    return f"vg_{device_id}"


def mapper_path(vg: str, lv: str) -> str:
    """Device node of an LV; the device mapper doubles dashes inside of names."""
    return f"/dev/mapper/{vg.replace('-', '--')}-{lv.replace('-', '--')}"


def create_physical_volume(path: str) -> list[str]:
    """Makes a disk a physical volume; refuses, by an unanswered question, when it holds anything."""
    return [
        "lvm",
        "pvcreate",
        "-qq",
        f"--metadatasize={_METADATA_SIZE}",
        f"--dataalignment={_DATA_ALIGNMENT}",
        path,
    ]


def create_volume_group(vg: str, path: str) -> list[str]:
    """Makes a volume group of one physical volume."""
    return ["lvm", "vgcreate", "-qq", f"--physicalextentsize={_EXTENT_SIZE}", _NO_BACKUP, vg, path]


def remove_volume_group(vg: str) -> list[str]:
    """Removes a volume group; refuses, by an unanswered question, when it has logical volumes."""
    return ["lvm", "vgremove", "-qq", vg]


def remove_physical_volume(path: str) -> list[str]:
    """Takes LVM's label off a disk; refuses when it belongs to a volume group."""
    return ["lvm", "pvremove", "-qq", path]


def resize_physical_volume(path: str) -> list[str]:
    """Makes a physical volume as large as its disk is now; refuses when the disk shrank below what is used."""
    return ["lvm", "pvresize", "-qq", path]


def report_physical_volume(path: str) -> list[str]:
    """One physical volume with what LVM takes it to have, and what its disk has."""
    return ["lvm", "pvs", "-o", "pv_size,dev_size,pe_start", *_REPORT, path]


def activate_volume_groups(*vgs: str) -> list[str]:
    """Brings up the device nodes of all LVs of volume groups."""
    return ["lvm", "vgchange", "-qq", "--activate", "y", *vgs]


def report_physical_volumes() -> list[str]:
    """All physical volumes with their volume groups."""
    return ["lvm", "pvs", "-o", "pv_name,pv_uuid,vg_name", *_REPORT]


def report_volume_groups(*vgs: str) -> list[str]:
    """Volume groups with sizes and physical volumes; all of them when none is named."""
    return ["lvm", "vgs", "-o", _VG_COLUMNS, *_REPORT, *vgs]


def report_logical_volumes(*vgs: str) -> list[str]:
    """Logical volumes that are not internal parts of others; of all volume groups when none is named."""
    return ["lvm", "lvs", "-o", _LV_COLUMNS, *_REPORT, *vgs]


def report_brick(vg: str, pool: str, lv: str) -> list[str]:
    """A brick's LV, its thin pool and all that is in that pool, of the hundreds in a volume group."""
    select = f'lv_name="{lv}" || lv_name="{pool}" || pool_lv="{pool}"'
    return ["lvm", "lvs", "-o", _LV_COLUMNS, *_REPORT, f"--select={select}", vg]


def report_everything() -> list[str]:
    """Volume groups, physical and logical volumes of the node, by one process."""
    return [
        "lvm",
        "fullreport",
        *_REPORT,
        *("--configreport", "vg", "-o", "vg_name,vg_size,vg_free,vg_extent_size"),
        *("--configreport", "pv", "-o", "pv_name,pv_uuid"),
        *(
            "--configreport",
            "lv",
            "-o",
            "lv_name,vg_name,lv_size,pool_lv,lv_attr,data_percent,metadata_percent,lv_metadata_size,origin",
        ),
        *("--configreport", "pvseg", "-o", "pvseg_start"),
        *("--configreport", "seg", "-o", "segtype"),
    ]


def create_thin_pool_with_volume(
    vg: str, pool: str, lv: str, *, pool_bytes: int, metadata_bytes: int, size_bytes: int
) -> list[str]:
    """Makes a thin pool and its first thin LV. Sizes are multiples of 1 KiB."""
    return [
        *("lvm", "lvcreate", "-qq", _NO_BACKUP, "--config", _NO_POOL_CHECK),
        # Without a spare metadata LV the books agree with the volume group to the extent; a repair brings its own.
        *("--poolmetadatasize", f"{metadata_bytes // KIB}K", "--poolmetadataspare", "n", "--chunksize", _CHUNK_SIZE),
        *("--size", f"{pool_bytes // KIB}K", "--thin", f"{vg}/{pool}"),
        *("--virtualsize", f"{size_bytes // KIB}K", "--name", lv),
    ]


def create_thin_volume(vg: str, pool: str, lv: str, *, size_bytes: int) -> list[str]:
    """Makes a thin LV in a pool that is there."""
    return [
        *("lvm", "lvcreate", "-qq", _NO_BACKUP),
        *("--thin", f"{vg}/{pool}", "--virtualsize", f"{size_bytes // KIB}K", "--name", lv),
    ]


def remove_logical_volumes(vg: str, *lvs: str, with_pool: bool = False) -> list[str]:
    """Removes LVs, those in use excepted; a thin pool takes all its LVs with it.

    Args:
        vg: Their volume group.
        lvs: Their names.
        with_pool: Whether their thin pool is among them, so that nobody needs its metadata any more.
    """
    unchecked = ("--config", _NO_POOL_CHECK) if with_pool else ()
    return ["lvm", "lvremove", "-qq", _NO_BACKUP, *unchecked, "-f", *(f"{vg}/{lv}" for lv in lvs)]
