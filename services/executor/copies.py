"""The thin LVs that gluster makes for snapshots and copies, and their mounts. Effects: through the runner."""

from collections.abc import Iterable

from services.common.errors import InternalError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports, snapshots
from services.executor.lvm import commands as lvm
from services.executor.lvm import reports as lvm_reports
from services.executor.lvm.reports import LogicalVolume
from services.executor.runners.base import CommandFailedError
from services.executor.tools import Tools, command_error, failing_as
from services.executor.volumes import gluster_error, run_changes, run_read

_log = get_logger()


def remove_directories(tools: Tools, mount_point: str) -> None:
    """Removes the directories in which gluster had mounted a copy; those that are used stay."""
    try:
        tools.runner.remove_directory(mount_point)
        tools.runner.remove_directory(mount_point.rpartition("/")[0])
    except OSError as error:
        # The upper one has a directory for each brick of the copy; the last brick takes it away.
        _log.debug("copy.directory_left", path=mount_point, error=str(error))


def local_volumes(tools: Tools, *vgs: str) -> tuple[LogicalVolume, ...]:
    """The LVs of volume groups, of all when none is named; none when there is no such group.

    Raises:
        InternalError: LVM_FAILED.
    """
    with failing_as(Reason.LVM_FAILED):
        try:
            result = tools.runner.run(lvm.report_logical_volumes(*vgs), timeout_s=lvm.REPORT_TIMEOUT_S)
        except CommandFailedError as error:
            if lvm_reports.says_absent(error.result.stderr):
                return ()
            raise
    return lvm_reports.parse_logical_volumes(result.stdout)


def remove_copies(tools: Tools, copies: Iterable[LogicalVolume]) -> None:
    """Unmounts and removes LVs that gluster made.

    Raises:
        InternalError: LVM_FAILED, also when they are in use.
    """
    for copy in copies:
        device = lvm.mapper_path(copy.vg_name, copy.name)
        points = [entry.mount_point for entry in tools.runner.mounts() if entry.source == device]
        for point in points:
            try:
                tools.unmount(point)
            except OSError as error:
                raise InternalError(
                    Reason.LVM_FAILED, f"umount: {point}: {error.strerror}", vg_name=copy.vg_name, lv_name=copy.name
                ) from error
        with tools.locks.group(copy.vg_name):
            _remove(tools, copy)
        for point in points:
            remove_directories(tools, point)


def _remove(tools: Tools, copy: LogicalVolume) -> None:
    try:
        tools.runner.run(lvm.remove_logical_volumes(copy.vg_name, copy.name), timeout_s=lvm.TIMEOUT_S)
    except CommandFailedError as error:
        if not lvm_reports.says_absent(error.result.complaint):
            raise command_error(Reason.LVM_FAILED, error.result, vg_name=copy.vg_name, lv_name=copy.name) from error


def remove_copies_of(tools: Tools, uuid: str) -> None:
    """Removes what a volume that gluster does not have any more has left on this node.

    Raises:
        InternalError: LVM_FAILED.
    """
    stem = snapshots.lv_stem(uuid)
    remove_copies(tools, [each for each in local_volumes(tools) if snapshots.stem_of(each.name) == stem])


def remove_orphans(tools: Tools, device_id: str, pool: str) -> tuple[str, ...]:
    """Removes the LVs of a thin pool that gluster made for copies, and that no volume and no snapshot uses.

    An LV that somebody makes at this moment belongs to nothing that gluster lists yet. A snapshot in the making locks
    its source; so the LVs are listed first, then the lock of every source is waited for, and only then gluster is
    asked. A copy in the making has the LV of a listed snapshot for its origin, and stays.

    Returns:
        Names of the LVs that were removed.

    Raises:
        InternalError: LVM_FAILED or GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    vg = lvm.vg_name(device_id)
    present = [each for each in local_volumes(tools, vg) if each.vg_name == vg and each.pool_name == pool]
    suspects = [each for each in present if snapshots.stem_of(each.name)]
    if not suspects:
        return ()
    with tools.locks.gluster:
        used = _used_stems(tools, present)
    orphans = [
        each
        for each in suspects
        if snapshots.stem_of(each.name) not in used and snapshots.stem_of(each.origin) not in used
    ]
    if orphans:
        _log.info("copies.orphaned", vg=vg, pool=pool, lvs=[each.name for each in orphans])
    remove_copies(tools, orphans)
    return tuple(each.name for each in orphans)


def _used_stems(tools: Tools, present: list[LogicalVolume]) -> frozenset[str]:
    """The stems that gluster uses, after every change that was under way on the volumes of some LVs."""
    (text,) = _ask(tools, ["volume", "info"])
    for volume in reports.parse_volumes(text):
        if _has_any(volume, present):
            _await_lock(tools, volume.name)
    volumes, taken = _ask(tools, ["volume", "info"], snapshots.info())
    return snapshots.used_stems(reports.parse_volumes(volumes), snapshots.parse_snapshots(taken))


def _has_any(volume: reports.GlusterVolume, present: list[LogicalVolume]) -> bool:
    stem = snapshots.lv_stem(volume.uuid)
    return any(
        snapshots.stem_of(each.name) == stem or any(f"/{each.vg_name}/{each.name}/" in brick for brick in volume.bricks)
        for each in present
    )


def _await_lock(tools: Tools, name: str) -> None:
    """Waits until nobody changes a volume: this question needs its lock, and asks no brick."""
    for last in tools.attempts(tools.patience.gluster_lock_s):
        (text,) = _ask(tools, ["volume", "status", name, "tasks"])
        answer = reports.parse_answer(text)
        locked = answer.result != 0 and reports.says_locked(answer.complaint)
        if not locked:
            # A stopped volume is refused, but after the lock was had.
            return
        if last:
            raise gluster_error(answer.complaint, volume=name)


def _ask(tools: Tools, *questions: list[str]) -> list[str]:
    text = run_read(tools, gluster.questions_argv(), text=gluster.script(questions)).stdout
    return reports.split_answers(text, len(questions))


def delete_snapshot(tools: Tools, name: str) -> str:
    """Removes a snapshot, deactivated first if it cannot be removed at once; the complaint if it stays."""
    _done, complaint = run_changes(tools, [snapshots.delete(name)])
    if complaint and not snapshots.says_no_snapshot(complaint):
        # gluster unmounts it, with little patience, while its brick processes still end.
        run_changes(tools, [snapshots.deactivate(name)])
        _done, complaint = run_changes(tools, [snapshots.delete(name)])
    return "" if snapshots.says_no_snapshot(complaint) else complaint


def look(
    tools: Tools, snapshot: str, *names: str
) -> tuple[snapshots.Snapshot | None, list[reports.GlusterVolume | None]]:
    """A snapshot and some volumes, by one process; None for what is not there.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    first, *others = _ask(tools, snapshots.info(snapshot), *(["volume", "info", name] for name in names))
    taken = snapshots.parse_snapshots(first)
    volumes = [reports.parse_volume(text, name) for name, text in zip(names, others, strict=True)]
    return (taken[0] if taken else None), volumes


def look_at_all(tools: Tools) -> tuple[tuple[reports.GlusterVolume, ...], tuple[snapshots.Snapshot, ...]]:
    """All volumes and all snapshots, by one process.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    volumes, taken = _ask(tools, ["volume", "info"], snapshots.info())
    return reports.parse_volumes(volumes), snapshots.parse_snapshots(taken)


def is_made_of(tools: Tools, volume: reports.GlusterVolume, snapshot: snapshots.Snapshot) -> bool:
    """Whether a volume is a copy that was made of this very snapshot, as the LVs of its bricks on this node prove.

    Raises:
        InternalError: LVM_FAILED.
    """
    stem = snapshots.lv_stem(volume.uuid)
    return snapshots.is_copy(volume) and any(
        snapshots.stem_of(each.name) == stem and snapshots.stem_of(each.origin) == snapshot.volume
        for each in local_volumes(tools)
    )
