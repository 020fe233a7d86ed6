"""What is on the node, and its bricks' mounts after a start. Effects: through the runner."""

import os
from contextlib import suppress
from dataclasses import dataclass

from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor import heketi_fstab
from services.executor.filesystem import commands as filesystem
from services.executor.filesystem import mounts
from services.executor.gluster.snapshots import COPY_ROOTS
from services.executor.lvm import commands as lvm
from services.executor.lvm import reports
from services.executor.runners.base import BlockDevice, CommandFailedError, Mount
from services.executor.tools import Tools, command_error, failing_as

_log = get_logger()


@dataclass(frozen=True, slots=True)
class BrickState:
    """A brick as its node sees it.

    Attributes:
        path: The exported directory.
        mounted: Whether its file system is mounted.
        process_running: Whether its brick process runs.
        heal_count: Files that others have to take over from it; -1 when nobody can tell.
    """

    path: str
    mounted: bool
    process_running: bool
    heal_count: int


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """What the node has, glusterd aside.

    Attributes:
        groups: All volume groups.
        volumes: Logical volumes of Brickyard's volume groups.
        brick_mounts: What is mounted below the mount root, and where gluster mounts bricks of copies.
        fstab: Entries of the agent's mount table file.
        unused: Allowed disks that hold nothing.
        bricks: Bricks that are mounted, or should be.
        heketi_fstab: Entries of bricks in the files that Heketi wrote.
    """

    groups: tuple[reports.VolumeGroup, ...]
    volumes: tuple[reports.LogicalVolume, ...]
    brick_mounts: tuple[Mount, ...]
    fstab: tuple[Mount, ...]
    unused: tuple[BlockDevice, ...]
    bricks: tuple[BrickState, ...] = ()
    heketi_fstab: tuple[Mount, ...] = ()


def read_storage(tools: Tools) -> StorageFacts:
    """Looks at LVM, mounts and disks.

    Raises:
        InternalError: LVM_FAILED.
    """
    with failing_as(Reason.LVM_FAILED):
        result = tools.runner.run(lvm.report_everything(), timeout_s=lvm.REPORT_TIMEOUT_S)
    groups, volumes = reports.parse_everything(result.stdout)
    mounted = tools.runner.mounts()
    root = f"{tools.policy.mount_root}/"
    # The file may be the system's own, with other things in it.
    fstab = tuple(entry for entry in _listed(tools) if entry.mount_point.startswith(root))
    return StorageFacts(
        groups=groups,
        volumes=tuple(volume for volume in volumes if _is_ours(volume.vg_name)),
        brick_mounts=tuple(entry for entry in mounted if entry.mount_point.startswith((root, *COPY_ROOTS))),
        fstab=fstab,
        unused=_unused_disks(tools, groups, mounted),
        bricks=_bricks(tools, fstab, mounted),
        heketi_fstab=heketi_fstab.entries(tools),
    )


def _listed(tools: Tools) -> tuple[Mount, ...]:
    return mounts.parse_fstab(tools.runner.read_text(tools.policy.fstab))


def _bricks(tools: Tools, fstab: tuple[Mount, ...], mounted: tuple[Mount, ...]) -> tuple[BrickState, ...]:
    """The bricks of the mount table file, and whatever is mounted where bricks are; no process looks at them."""
    roots = (f"{tools.policy.mount_root}/", *COPY_ROOTS)
    there = {entry.mount_point for entry in mounted if entry.mount_point.startswith(roots)}
    paths = [f"{point}/brick" for point in sorted(there | {entry.mount_point for entry in fstab})]
    served = tools.runner.served_bricks(paths)
    return tuple(
        BrickState(
            path=path,
            mounted=(is_mounted := path.removesuffix("/brick") in there),
            process_running=path in served,
            heal_count=tools.runner.count_heals(path) if is_mounted else -1,
        )
        for path in paths
    )


def _is_ours(vg: str) -> bool:
    return vg.startswith("vg_") and len(vg) == len("vg_") + 32


def _unused_disks(
    tools: Tools, groups: tuple[reports.VolumeGroup, ...], mounted: tuple[Mount, ...]
) -> tuple[BlockDevice, ...]:
    """Allowed disks without partitions, users and signatures; one process looks at all that remain."""
    taken = {tools.runner.resolve(group.pv_path) for group in groups if group.pv_path}
    taken |= {tools.runner.resolve(entry.source) for entry in mounted if entry.source.startswith("/dev/")}
    candidates = [
        disk
        for disk in tools.runner.block_devices()
        if tools.policy.allows_device(disk.path)
        and disk.size_bytes
        and not (disk.partitions or disk.holders or disk.read_only or disk.path in taken)
    ]
    if not candidates:
        return ()
    result = tools.runner.run(
        filesystem.probe_signatures(*(disk.path for disk in candidates)),
        timeout_s=filesystem.SIGNATURE_TIMEOUT_S,
        allowed_exit_codes=None,
    )
    if result.exit_code not in (0, filesystem.NOTHING_FOUND):
        raise command_error(Reason.FILESYSTEM_FAILED, result)
    signatures = filesystem.parse_signatures(result.stdout)
    return tuple(disk for disk in candidates if disk.path not in signatures)


def mount_bricks(tools: Tools) -> list[str]:
    """Mounts what the agent's mount table file lists and what is not mounted yet.

    Volume groups are activated first: without udev nobody else does it. Empty directories of removed bricks go.

    Returns:
        A text for each brick that could not be mounted.
    """
    try:
        listed = [entry for entry in _listed(tools) if entry.mount_point.startswith(f"{tools.policy.mount_root}/")]
    except OSError as error:
        return [f"{tools.policy.fstab}: {error}"]
    mounted = {entry.mount_point for entry in tools.runner.mounts()}
    missing = [entry for entry in listed if entry.mount_point not in mounted]
    failures = _activate(tools, [entry for entry in missing if not tools.runner.exists(entry.source)])
    for entry in missing:
        try:
            tools.runner.make_directory(entry.mount_point)
            tools.runner.mount(entry)
        except OSError as error:
            failures.append(f"{entry.source} on {entry.mount_point}: {error.strerror or os.strerror(error.errno or 0)}")
    _remove_remains(tools, {entry.mount_point for entry in listed} | mounted)
    for failure in failures:
        _log.error("brick.not_mounted", failure=failure)
    if missing:
        _log.info("bricks.mounted", count=len(missing), failures=len(failures))
    return failures


def _remove_remains(tools: Tools, used: set[str]) -> None:
    """Removes empty directories that a power cut brought back after the removal of a brick or a device."""
    root = tools.policy.mount_root
    for group in tools.runner.list_directory(root):
        points = [f"{root}/{group}/{name}" for name in tools.runner.list_directory(f"{root}/{group}")]
        for path in [*(point for point in points if point not in used), f"{root}/{group}"]:
            # What is in use or has anything in it, a directory of another brick for one, does not go.
            with suppress(OSError):
                tools.runner.remove_directory(path)


def _activate(tools: Tools, entries: list[Mount]) -> list[str]:
    groups = sorted({group for entry in entries if (group := _group_of(entry.source))})
    if not groups:
        return []
    try:
        tools.runner.run(lvm.activate_volume_groups(*groups), timeout_s=lvm.TIMEOUT_S)
    except CommandFailedError as error:
        return [error.result.complaint]
    except BrickyardError as error:
        return [error.message]
    return []


def _group_of(source: str) -> str:
    """The volume group of an LV's device node; empty when it is none of the device mapper's."""
    name = source.removeprefix("/dev/mapper/")
    if name == source:
        return ""
    # Single dashes part group and volume; doubled ones belong to the names.
    return name.replace("--", "\0").partition("-")[0].replace("\0", "-")
