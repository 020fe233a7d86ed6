"""What LVM's JSON reports and complaints say. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.common.errors import InternalError
from services.common.reasons import Reason
from services.executor.reading import reads


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """A physical volume; `vg_name` is empty when it belongs to no volume group."""

    path: str
    uuid: str
    vg_name: str


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """A volume group with its first physical volume; sizes in bytes."""

    name: str
    total_bytes: int
    free_bytes: int
    extent_size_bytes: int
    pv_path: str
    pv_uuid: str


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume.

    Percentages are 0 to 100, and 0 where LVM gives none (not active, not thin). `origin` is the LV that it is a
    snapshot of, as long as that one is there. `active` is whether its device node is there; `metadata_bytes` is what a
    pool takes besides its size, 0 where LVM was not asked.
    """

    name: str
    vg_name: str
    size_bytes: int
    pool_name: str
    thin_pool: bool
    data_percent: float
    metadata_percent: float
    thin_count: int
    origin: str = ""
    active: bool = True
    metadata_bytes: int = 0


_reads = reads(Reason.LVM_FAILED, "LVM's report")


def _sections(text: str) -> list[dict[str, list[dict[str, str]]]]:
    sections: list[dict[str, list[dict[str, str]]]] = json.loads(text)["report"]
    return sections


def _rows(text: str, kind: str) -> Iterable[dict[str, Any]]:
    return (row for section in _sections(text) for row in section.get(kind, ()))


def _percent(value: str) -> float:
    return float(value) if value else 0.0


def _volume_group(row: dict[str, str], pv: dict[str, str]) -> VolumeGroup:
    return VolumeGroup(
        name=row["vg_name"],
        total_bytes=int(row["vg_size"]),
        free_bytes=int(row["vg_free"]),
        extent_size_bytes=int(row["vg_extent_size"]),
        pv_path=pv.get("pv_name", ""),
        pv_uuid=pv.get("pv_uuid", ""),
    )


def _logical_volume(row: dict[str, str]) -> LogicalVolume:
    return LogicalVolume(
        name=row["lv_name"].strip("[]"),
        vg_name=row["vg_name"],
        size_bytes=int(row["lv_size"]),
        pool_name=row["pool_lv"],
        # The first letter of the attributes is the kind of LV: t is a thin pool.
        thin_pool=row["lv_attr"].startswith("t"),
        data_percent=_percent(row["data_percent"]),
        metadata_percent=_percent(row["metadata_percent"]),
        thin_count=int(row.get("thin_count") or 0),
        origin=row.get("origin", ""),
        # The fifth letter is the state: a is active.
        active=row["lv_attr"][4:5] == "a",
        metadata_bytes=int(row.get("lv_metadata_size") or 0),
    )


@_reads
def parse_physical_volumes(text: str) -> tuple[PhysicalVolume, ...]:
    """The rows of commands.report_physical_volumes. Raises InternalError (LVM_FAILED) for what is no report."""
    return tuple(PhysicalVolume(row["pv_name"], row["pv_uuid"], row["vg_name"]) for row in _rows(text, "pv"))


@_reads
def grown_bytes(text: str) -> int:
    """What the disk in commands.report_physical_volume has beyond its physical volume; below 0 when it shrank.

    Raises:
        InternalError: LVM_FAILED, it is no report, or it names no physical volume.
    """
    for row in _rows(text, "pv"):
        return int(row["dev_size"]) - int(row["pe_start"]) - int(row["pv_size"])
    raise InternalError(Reason.LVM_FAILED, f"LVM's report names no physical volume: {text[:200]!r}", report=text[:200])


@_reads
def parse_volume_groups(text: str) -> tuple[VolumeGroup, ...]:
    """The rows of commands.report_volume_groups; a volume group with several physical volumes counts once.

    Raises:
        InternalError: LVM_FAILED, it is no report.
    """
    found: dict[str, VolumeGroup] = {}
    for row in _rows(text, "vg"):
        found.setdefault(row["vg_name"], _volume_group(row, row))
    return tuple(found.values())


@_reads
def parse_logical_volumes(text: str) -> tuple[LogicalVolume, ...]:
    """The rows of commands.report_logical_volumes and report_brick.

    Raises:
        InternalError: LVM_FAILED, it is no report.
    """
    return tuple(_logical_volume(row) for row in _rows(text, "lv"))


@_reads
def parse_everything(text: str) -> tuple[tuple[VolumeGroup, ...], tuple[LogicalVolume, ...]]:
    """What commands.report_everything tells: volume groups, and the logical volumes of all of them.

    Raises:
        InternalError: LVM_FAILED, it is no report.
    """
    groups, volumes = [], []
    for section in _sections(text):
        pv = (section.get("pv") or [{}])[0]
        # Physical volumes without a volume group come in a section whose vg row, if any, has no name.
        groups += [_volume_group(row, pv) for row in section.get("vg", ()) if row["vg_name"]]
        volumes += [_logical_volume(row) for row in section.get("lv", ())]
    return tuple(groups), tuple(volumes)


def says_absent(complaint: str) -> bool:
    """Whether LVM complains that what should be removed or reported is not there."""
    text = complaint.lower()
    return "not found" in text or "failed to find" in text


def says_exists(complaint: str) -> bool:
    """Whether LVM complains that a name is taken."""
    return "already exists in volume group" in complaint.lower()


def says_full(complaint: str) -> bool:
    """Whether LVM complains of too little room in the volume group."""
    return "insufficient free space" in complaint.lower() or "insufficient suitable" in complaint.lower()


def says_in_use(complaint: str) -> bool:
    """Whether LVM refuses to remove an LV that somebody holds open."""
    return "contains a filesystem in use" in complaint or " in use" in complaint
