"""Disks: from a bare block device to a volume group, its measures, and back. Effects: through the runner."""

from contextlib import suppress

from services.common.errors import FailedPreconditionError, InternalError, NotFoundError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.common.units import MIB
from services.executor.filesystem import commands as filesystem
from services.executor.lvm import commands as lvm
from services.executor.lvm import reports
from services.executor.runners.base import BlockDevice, CommandFailedError
from services.executor.tools import Tools, failing_as

_log = get_logger()
_OURS = "vg_"
# LVM's own area takes half of it; what is left holds the smallest of arbiter bricks.
MIN_DISK_BYTES = 256 * MIB
# udev's link by PV uuid would name the device after what we made of it.
_OWN_LINK = "/dev/disk/by-id/lvm-pv-uuid-"


def create_device(
    tools: Tools, device_id: str, path: str, *, destroy_data: bool
) -> tuple[reports.VolumeGroup, list[str]]:
    """Makes a disk a physical volume with the volume group vg_<device id>, or finds it made.

    Returns:
        Its measures, and all paths under which the node knows it.

    Raises:
        PermissionDeniedError: DEVICE_NOT_ALLOWED, path or wiping is against the node's policy.
        NotFoundError: DEVICE_NOT_FOUND_ON_NODE, there is no such block device.
        FailedPreconditionError: DEVICE_IN_USE, with Heketi's texts; DEVICE_UNFIT, read-only or too small.
        InternalError: LVM_FAILED.
    """
    tools.policy.check_device(path)
    vg = lvm.vg_name(device_id)
    if not tools.runner.is_block_device(path):
        there = tools.runner.exists(path)
        raise NotFoundError(
            Reason.DEVICE_NOT_FOUND_ON_NODE,
            f"Initializing device {path} failed: {'it is no block device' if there else 'no such device on the node'}",
            path=path,
        )
    with tools.locks.group(vg):
        owner = _owner(tools, path)
        if owner is None or owner.vg_name != vg:
            _make(tools, device_id, path, owner, destroy_data=destroy_data)
    return get_device(tools, device_id), known_paths(tools, path)


def _owner(tools: Tools, path: str) -> reports.PhysicalVolume | None:
    """The physical volume on a disk, whatever link it was asked for by; None when there is none."""
    with failing_as(Reason.LVM_FAILED, path=path):
        result = tools.runner.run(lvm.report_physical_volumes(), timeout_s=lvm.REPORT_TIMEOUT_S)
    device = tools.runner.resolve(path)
    for volume in reports.parse_physical_volumes(result.stdout):
        if device in (volume.path, tools.runner.resolve(volume.path)):
            return volume
    return None


def _make(tools: Tools, device_id: str, path: str, owner: reports.PhysicalVolume | None, *, destroy_data: bool) -> None:
    """Initializes the disk; wipes it first if that is the only way, asked for, and allowed."""
    if owner is not None and owner.vg_name:
        raise _in_use(path, owner, destroy_data=destroy_data)
    _refuse_busy(tools, path)
    fresh = owner is None
    if fresh:
        try:
            tools.runner.run(lvm.create_physical_volume(path), timeout_s=lvm.TIMEOUT_S)
        except CommandFailedError as error:
            if not destroy_data:
                raise _holds_data(path, error.result.complaint) from error
            tools.policy.check_wiping(path)
            _wipe(tools, path)
    vg = lvm.vg_name(device_id)
    try:
        with failing_as(Reason.LVM_FAILED, path=path, device_id=device_id):
            tools.runner.run(lvm.create_volume_group(vg, path), timeout_s=lvm.TIMEOUT_S)
    except InternalError:
        if fresh:
            _undo_physical_volume(tools, path)
        raise


def _wipe(tools: Tools, path: str) -> None:
    _log.warning("device.wiping", path=path)
    with failing_as(Reason.LVM_FAILED, path=path):
        tools.runner.run(filesystem.wipe_signatures(path), timeout_s=filesystem.SIGNATURE_TIMEOUT_S)
        tools.runner.run(lvm.create_physical_volume(path), timeout_s=lvm.TIMEOUT_S)


def _undo_physical_volume(tools: Tools, path: str) -> None:
    try:
        tools.runner.run(lvm.remove_physical_volume(path), timeout_s=lvm.TIMEOUT_S)
    except CommandFailedError as error:
        # The failure that led here is the one to report; a label without a volume group stops nobody.
        _log.warning("device.undo_failed", path=path, error=error.result.complaint)


def _refuse_busy(tools: Tools, path: str) -> None:
    """Refuses, without a process, what the kernel knows to be in use or unfit.

    Raises:
        FailedPreconditionError: DEVICE_IN_USE, DEVICE_UNFIT.
    """
    device = tools.runner.resolve(path)
    disk = _find_disk(tools, device)
    mine = {device, *(f"/dev/{name}" for name in (disk.partitions if disk else ()))}
    mounted = [entry for entry in tools.runner.mounts() if tools.runner.resolve(entry.source) in mine]
    if mounted:
        raise _holds_data(path, f"{mounted[0].source} is mounted on {mounted[0].mount_point}")
    if disk is not None and disk.partitions:
        raise _holds_data(path, f"it has partitions: {', '.join(disk.partitions)}")
    if disk is not None and disk.holders:
        raise _holds_data(path, f"it is used by {', '.join(disk.holders)}")
    if disk is not None and disk.read_only:
        raise _unfit(path, "it is read-only")
    if disk is not None and disk.size_bytes < MIN_DISK_BYTES:
        raise _unfit(
            path,
            f"it is too small: {disk.size_bytes} bytes, and at least {MIN_DISK_BYTES} are needed",
            size_bytes=disk.size_bytes,
            minimum_bytes=MIN_DISK_BYTES,
        )


def _find_disk(tools: Tools, device: str) -> BlockDevice | None:
    return next((disk for disk in tools.runner.block_devices() if disk.path == device), None)


def _unfit(path: str, why: str, **metadata: object) -> FailedPreconditionError:
    return FailedPreconditionError(
        Reason.DEVICE_UNFIT, f"Initializing device {path} failed: {why}", path=path, **metadata
    )


def _holds_data(path: str, why: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        Reason.DEVICE_IN_USE,
        f"Initializing device {path} failed (already initialized or contains data?): {why}",
        path=path,
        why=why,
    )


def _in_use(path: str, owner: reports.PhysicalVolume, *, destroy_data: bool) -> FailedPreconditionError:
    """Heketi's words for a disk that belongs to a volume group; the missing letter is its own."""
    ours = owner.vg_name.removeprefix(_OURS) if owner.vg_name.startswith(_OURS) else ""
    why = f"Physical volume '{owner.path}' is already in volume group '{owner.vg_name}'"
    text = f"Initializing device {path} failed (aleady contains Physical Volume {owner.uuid}): {why}"
    if destroy_data:
        text = f"Can not destroy device, destroy may not be safe: {text}"
    return FailedPreconditionError(
        Reason.DEVICE_IN_USE, text, path=path, pv_uuid=owner.uuid, vg_name=owner.vg_name, device_id=ours
    )


def known_paths(tools: Tools, path: str) -> list[str]:
    """All paths of a disk, `path` among them; LVM's own link is left out, as by Heketi."""
    links = [link for link in tools.runner.device_links(path) if not link.startswith(_OWN_LINK)]
    return links if path in links else [*links, path]


def get_device(tools: Tools, device_id: str) -> reports.VolumeGroup:
    """Measures a device.

    Raises:
        NotFoundError: DEVICE_NOT_FOUND_ON_NODE.
        InternalError: LVM_FAILED.
    """
    vg = lvm.vg_name(device_id)
    found = find_group(tools, vg)
    if found is None:
        raise NotFoundError(
            Reason.DEVICE_NOT_FOUND_ON_NODE, f"the node has no volume group {vg}", device_id=device_id, vg_name=vg
        )
    return found


def grow_device(tools: Tools, device_id: str) -> reports.VolumeGroup:
    """Takes up what a device's disk has grown by, and measures the device; a disk that did not grow is left alone.

    Raises:
        NotFoundError: DEVICE_NOT_FOUND_ON_NODE.
        InternalError: LVM_FAILED.
    """
    vg = lvm.vg_name(device_id)
    with tools.locks.group(vg):
        found = get_device(tools, device_id)
        with failing_as(Reason.LVM_FAILED, device_id=device_id, vg_name=vg):
            report = tools.runner.run(lvm.report_physical_volume(found.pv_path), timeout_s=lvm.REPORT_TIMEOUT_S)
            # Less than an extent gives no room, and is what alignment leaves on every disk.
            if reports.grown_bytes(report.stdout) < found.extent_size_bytes:
                return found
            _log.info("device.growing", device_id=device_id, path=found.pv_path)
            tools.runner.run(lvm.resize_physical_volume(found.pv_path), timeout_s=lvm.TIMEOUT_S)
        return get_device(tools, device_id)


def find_group(tools: Tools, vg: str) -> reports.VolumeGroup | None:
    """A volume group; None when it is not there.

    Raises:
        InternalError: LVM_FAILED.
    """
    with failing_as(Reason.LVM_FAILED, vg_name=vg):
        try:
            result = tools.runner.run(lvm.report_volume_groups(vg), timeout_s=lvm.REPORT_TIMEOUT_S)
        except CommandFailedError as error:
            if reports.says_absent(error.result.stderr):
                return None
            raise
    return next(iter(reports.parse_volume_groups(result.stdout)), None)


def delete_device(tools: Tools, device_id: str) -> None:
    """Removes a device's volume group and physical volume, and the empty directory of its mounts.

    Raises:
        InternalError: LVM_FAILED, also when the volume group still has logical volumes.
    """
    vg = lvm.vg_name(device_id)
    with tools.locks.group(vg):
        found = find_group(tools, vg)
        if found is not None:
            with failing_as(Reason.LVM_FAILED, device_id=device_id, vg_name=vg):
                tools.runner.run(lvm.remove_volume_group(vg), timeout_s=lvm.TIMEOUT_S)
                tools.runner.run(lvm.remove_physical_volume(found.pv_path), timeout_s=lvm.TIMEOUT_S)
        # What is left in it is not ours to remove.
        with suppress(OSError):
            tools.runner.remove_directory(tools.policy.mount_directory(device_id))
