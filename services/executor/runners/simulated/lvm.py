"""LVM, mkfs.xfs, blkid and wipefs of a simulated node: argv in, exit code and texts out. Memory only."""

import json
from collections import Counter
from collections.abc import Callable, Sequence

from services.common.units import KIB, MIB
from services.executor.lvm.commands import mapper_path
from services.executor.runners.simulated.machine import (
    EXTENT_BYTES,
    PV_OVERHEAD_BYTES,
    Disk,
    FileSystem,
    LogicalVolume,
    Machine,
    VolumeGroup,
    lvm_uuid,
)

Outcome = tuple[int, str, str]
_NO = 5
_NOT_BACKED_UP = "  WARNING: This metadata update is NOT backed up.\n"
_WITH_VALUE = frozenset(
    {
        "-o", "--reportformat", "--units", "--configreport",
        "--poolmetadatasize", "--poolmetadataspare", "--chunksize", "--size",
        "--virtualsize", "--name", "--activate", "--config",
    }
)  # fmt: skip
_UNITS = {"K": KIB, "M": MIB}
_LEAST_XFS_BYTES = 300 << 20


def _fail(*lines: str) -> Outcome:
    return _NO, "", "".join(f"  {line}\n" for line in lines)


def _parsed(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options by name, and the other words. Of repeated options the last counts."""
    options: dict[str, str] = {}
    plain = []
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            options[word] = next(rest)
        elif word.startswith("-"):
            name, _, value = word.partition("=")
            options[name] = value
        else:
            plain.append(word)
    return options, plain


def _bytes(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]


def _extents(size_bytes: int) -> int:
    return -(-size_bytes // EXTENT_BYTES)


class SimulatedLvm:
    """The storage tools of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._verbs = {
            "pvcreate": self._pvcreate,
            "pvremove": self._pvremove,
            "pvresize": self._pvresize,
            "pvs": self._pvs,
            "vgcreate": self._vgcreate,
            "vgremove": self._vgremove,
            "vgs": self._vgs,
            "vgchange": self._vgchange,
            "lvcreate": self._lvcreate,
            "lvremove": self._lvremove,
            "lvs": self._lvs,
            "fullreport": self._fullreport,
        }

    def run(self, argv: Sequence[str]) -> Outcome:
        """Runs one `lvm VERB ...`."""
        verb = self._verbs.get(argv[1])
        if verb is None:
            return 3, "", f"  Unknown command: {argv[1]}\n"
        options, plain = _parsed(argv[2:])
        with self._machine.lock:
            return verb(options, plain)

    def _group(self, name: str) -> VolumeGroup | Outcome:
        group = self._machine.groups.get(name)
        return group or _fail(f'Volume group "{name}" not found', f"Cannot process volume group {name}")

    def _pvcreate(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        path = plain[0]
        disk = self._machine.disks.get(path)
        if disk is None:
            return _fail(f"No device found for {path}.")
        if disk.vg:
            return _fail(
                f'Can\'t initialize physical volume "{path}" of volume group "{disk.vg}" without -ff',
                f"{path}: physical volume not initialized.",
            )
        if disk.partitions:
            return _fail(f"Cannot use {path}: device is partitioned")
        if disk.signature:
            question = f"WARNING: {disk.signature} signature detected on {path} at offset 1080. Wipe it? [y/n]: [n]\n"
            code, out, text = _fail(f"Aborted wiping of {disk.signature}.", "1 existing signature left on the device.")
            return code, out, question + text
        disk.pv_uuid, disk.pv_bytes = lvm_uuid(), disk.size_bytes
        return 0, "", ""

    def _pvresize(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        path = plain[0]
        disk = self._machine.disks.get(path)
        if disk is None or not disk.pv_uuid:
            return _fail(f"Failed to find physical volume {path}.")
        disk.pv_bytes = disk.size_bytes
        return 0, "", ""

    def _pvremove(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        path = plain[0]
        disk = self._machine.disks.get(path)
        if disk is None or not disk.pv_uuid:
            return _fail(f"No PV found on device {path}.")
        if disk.vg:
            return _fail(
                f"PV {path} is used by VG {disk.vg} so please use vgreduce first.",
                "(If you are certain you need pvremove, then confirm by using --force twice.)",
                f"{path}: physical volume label not removed.",
            )
        disk.pv_uuid = ""
        return 0, "", ""

    def _pvs(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        rows = [
            {
                "pv_name": disk.path,
                "pv_uuid": disk.pv_uuid,
                "vg_name": disk.vg,
                "pv_size": str(((disk.pv_bytes or disk.size_bytes) - PV_OVERHEAD_BYTES) // EXTENT_BYTES * EXTENT_BYTES),
                "dev_size": str(disk.size_bytes),
                "pe_start": str(PV_OVERHEAD_BYTES),
            }
            for disk in self._machine.disks.values()
            if disk.pv_uuid and (not plain or disk.path in plain)
        ]
        return 0, _report([{"pv": rows}]), ""

    def _vgcreate(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        name, path = plain
        if name in self._machine.groups:
            return _fail(f"A volume group called {name} already exists.")
        disk = self._machine.disks.get(path)
        if disk is None:
            return _fail(f"No device found for {path}.")
        if disk.vg:
            return _fail(
                f"Physical volume '{path}' is already in volume group '{disk.vg}'",
                f"Unable to add physical volume '{path}' to volume group '{disk.vg}'",
                f"{path}: physical volume not initialized.",
            )
        disk.pv_uuid = disk.pv_uuid or lvm_uuid()
        disk.pv_bytes = disk.pv_bytes or disk.size_bytes
        disk.vg = name
        self._machine.groups[name] = VolumeGroup(name, disk)
        return 0, "", _NOT_BACKED_UP

    def _vgremove(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        group = self._group(plain[0])
        if not isinstance(group, VolumeGroup):
            return group
        if group.volumes:
            count = len(group.volumes)
            question = (
                f'Do you really want to remove volume group "{group.name}" containing {count} logical volumes? '
                "[y/n]: [n]\n"
            )
            return _NO, "", f'{question}  Volume group "{group.name}" not removed\n'
        group.disk.vg = ""
        del self._machine.groups[group.name]
        return 0, "", ""

    def _vgs(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        groups = []
        for name in plain or list(self._machine.groups):
            group = self._group(name)
            if not isinstance(group, VolumeGroup):
                return _NO, _report([{"vg": []}]), group[2]
            groups.append(group)
        return 0, _report([{"vg": [{**_group_row(group), **_pv_row(group.disk)} for group in groups]}]), ""

    def _vgchange(self, options: dict[str, str], plain: list[str]) -> Outcome:
        for name in plain:
            group = self._group(name)
            if not isinstance(group, VolumeGroup):
                return group
            for volume in group.volumes.values():
                volume.active = options["--activate"] == "y"
        return 0, "", ""

    def _lvs(self, options: dict[str, str], plain: list[str]) -> Outcome:
        wanted = _selection(options.get("--select", ""))
        rows = []
        for name in plain or list(self._machine.groups):
            group = self._group(name)
            if not isinstance(group, VolumeGroup):
                return _NO, _report([{"lv": []}]), group[2]
            rows += _volume_rows(group, wanted)
        return 0, _report([{"lv": rows}]), ""

    def _fullreport(self, _options: dict[str, str], _plain: list[str]) -> Outcome:
        sections: list[dict[str, list[dict[str, str]]]] = [
            {
                "vg": [_group_row(group)],
                "pv": [_pv_row(group.disk)],
                "lv": _volume_rows(group),
            }
            for group in self._machine.groups.values()
        ]
        return 0, _report(sections), ""

    def _lvcreate(self, options: dict[str, str], plain: list[str]) -> Outcome:
        vg, pool = plain[0].split("/")
        group = self._group(vg)
        if not isinstance(group, VolumeGroup):
            return group
        name = options["--name"]
        if "--size" in options:
            failure = self._create_pool(
                group,
                pool,
                _bytes(options["--size"]),
                _bytes(options["--poolmetadatasize"]),
                with_spare=options.get("--poolmetadataspare") != "n",
            )
            if failure is not None:
                return failure
        elif pool not in group.volumes:
            return _fail(f'Failed to find logical volume "{vg}/{pool}"')
        if name in group.volumes:
            # As seen: the pool that was made for it stays.
            return (_NO, "", f'  Logical Volume "{name}" already exists in volume group "{vg}"\n{_NOT_BACKED_UP}')
        group.volumes[name] = LogicalVolume(name, _bytes(options["--virtualsize"]), pool=pool)
        return 0, "", _NOT_BACKED_UP

    @staticmethod
    def _create_pool(
        group: VolumeGroup, pool: str, size_bytes: int, metadata_bytes: int, *, with_spare: bool
    ) -> Outcome | None:
        if pool in group.volumes:
            return _fail(f"Logical volume {pool} already exists in Volume group {group.name}.")
        data, metadata = _extents(size_bytes), _extents(metadata_bytes)
        spare = max(group.spare_extents, metadata if with_spare else 0)
        available = group.free_extents - (spare - group.spare_extents)
        if data > available:
            text = f'Volume group "{group.name}" has insufficient free space ({max(available, 0)} extents): '
            return _fail(f"{text}{data} required.")
        if data + metadata > available:
            return _fail(f"Insufficient free space: {data + metadata} extents needed, but only {available} available")
        group.spare_extents = spare
        group.volumes[pool] = LogicalVolume(pool, data * EXTENT_BYTES, metadata_extents=metadata)
        return None

    def _lvremove(self, _options: dict[str, str], plain: list[str]) -> Outcome:
        complaints = []
        for full_name in plain:
            vg, lv = full_name.split("/")
            group = self._group(vg)
            if not isinstance(group, VolumeGroup):
                return group
            if lv not in group.volumes:
                complaints.append(f'Failed to find logical volume "{full_name}"')
                continue
            doomed = [lv, *(volume.name for volume in group.thin_volumes(lv))]
            used = [name for name in doomed if self._machine.is_mounted(mapper_path(vg, name))]
            if used:
                complaints.append(f"Logical volume {vg}/{used[0]} contains a filesystem in use.")
                continue
            for name in doomed:
                del group.volumes[name]
            if not any(volume.is_pool for volume in group.volumes.values()):
                group.spare_extents = 0
        return _fail(*complaints) if complaints else (0, "", _NOT_BACKED_UP)

    def make_xfs(self, argv: Sequence[str]) -> Outcome:
        """Runs `mkfs.xfs ... DEVICE`."""
        device = argv[-1]
        with self._machine.lock:
            found = self._machine.volume_at(device)
            if found is None:
                return 1, "", f"Error accessing specified device {device}: No such file or directory\n"
            if found[1].filesystem is not None:
                text = f"mkfs.xfs: {device} appears to contain an existing filesystem (xfs).\n"
                return 1, "", f"{text}mkfs.xfs: Use the -f option to force overwrite.\n"
            if found[1].size_bytes < _LEAST_XFS_BYTES and "--unsupported" not in argv:
                return 1, "", "Filesystem must be larger than 300MB.\nUsage: mkfs.xfs\n"
            found[1].filesystem = FileSystem()
        return 0, "", ""

    def probe(self, argv: Sequence[str]) -> Outcome:
        """Runs `blkid -p -o export DEVICE ...`."""
        blocks = []
        with self._machine.lock:
            for path in argv[4:]:
                kind = self._signature(path)
                if kind:
                    blocks.append(f"DEVNAME={path}\nTYPE={kind}\n")
        return (0, "\n".join(blocks), "") if blocks else (2, "", "")

    def _signature(self, path: str) -> str:
        found = self._machine.volume_at(path)
        if found is not None:
            return "xfs" if found[1].filesystem is not None else ""
        disk = self._machine.disks.get(path)
        if disk is None:
            return ""
        return "LVM2_member" if disk.pv_uuid else disk.signature

    def wipe(self, argv: Sequence[str]) -> Outcome:
        """Runs `wipefs --all DEVICE`."""
        path = argv[-1]
        with self._machine.lock:
            disk = self._machine.disks.get(path)
            if disk is None:
                return 1, "", f"wipefs: error: {path}: probing initialization failed: No such file or directory\n"
            if self._machine.is_mounted(path):
                return 1, "", f"wipefs: error: {path}: probing initialization failed: Device or resource busy\n"
            self._machine.groups.pop(disk.vg, None)
            disk.signature, disk.partitions, disk.pv_uuid, disk.vg = "", (), "", ""
        return 0, "", ""


def _report(sections: list[dict[str, list[dict[str, str]]]]) -> str:
    return json.dumps({"report": sections})


def _group_row(group: VolumeGroup) -> dict[str, str]:
    return {
        "vg_name": group.name,
        "vg_size": str(group.total_extents * EXTENT_BYTES),
        "vg_free": str(group.free_extents * EXTENT_BYTES),
        "vg_extent_size": str(EXTENT_BYTES),
    }


def _pv_row(disk: Disk) -> dict[str, str]:
    return {"pv_name": disk.path, "pv_uuid": disk.pv_uuid}


def _selection(text: str) -> Callable[[LogicalVolume], bool]:
    """Which LVs a selection of the form `field="value" || ...` takes; all without one."""
    names: set[str] = set()
    pools: set[str] = set()
    for condition in filter(None, text.split(" || ")):
        field, _, value = condition.partition("=")
        {"lv_name": names, "pool_lv": pools}[field].add(value.strip('"'))
    return lambda volume: not text or volume.name in names or volume.pool in pools


def _volume_rows(
    group: VolumeGroup, wanted: Callable[[LogicalVolume], bool] = lambda _volume: True
) -> list[dict[str, str]]:
    thin_counts = Counter(volume.pool for volume in group.volumes.values())
    return [_volume_row(group, volume, thin_counts[volume.name]) for volume in group.volumes.values() if wanted(volume)]


def _volume_row(group: VolumeGroup, volume: LogicalVolume, thin_count: int) -> dict[str, str]:
    state = "a" if volume.active else "-"
    pool = volume.is_pool
    filled = "1.00" if volume.filesystem is not None else "0.00"
    return {
        "lv_name": volume.name,
        "vg_name": group.name,
        "lv_size": str(volume.size_bytes),
        "pool_lv": volume.pool,
        # LVM knows no origin that is gone.
        "origin": volume.origin if volume.origin in group.volumes else "",
        "lv_attr": f"{'t' if pool else 'V'}wi-{state}-tz--",
        "data_percent": filled if volume.active else "",
        "metadata_percent": "10.50" if pool and volume.active else "",
        "thin_count": str(thin_count) if pool else "",
        "lv_metadata_size": str(volume.metadata_extents * EXTENT_BYTES) if pool else "",
    }
