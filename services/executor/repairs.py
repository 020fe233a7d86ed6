"""What repair does on a node: bring back a brick's mount, start a volume, remove a brick that nobody knows.

Each verb looks for itself before it acts: the caller's picture may be old. Effects: through the runner.
"""

from dataclasses import dataclass, replace

from services.common.errors import FailedPreconditionError, InternalError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor import copies, heketi_fstab
from services.executor.bricks import delete_brick
from services.executor.filesystem import commands as filesystem
from services.executor.filesystem import mounts
from services.executor.gluster import commands as gluster
from services.executor.gluster import snapshots
from services.executor.gluster.reports import GlusterVolume
from services.executor.growth import refuse_foreign
from services.executor.lvm import commands as lvm
from services.executor.lvm.reports import LogicalVolume
from services.executor.policy import BrickSpec, is_snapshot_mount
from services.executor.tools import Tools, failing_as
from services.executor.volumes import get_volume, gluster_error, run_changes

_log = get_logger()


def list_volumes(tools: Tools) -> tuple[tuple[GlusterVolume, ...], tuple[snapshots.Snapshot, ...]]:
    """All volumes and snapshots that glusterd has, by one process.

    Raises:
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
        InternalError: GLUSTER_FAILED.
    """
    if not tools.runner.glusterd_listens():
        # Reading commands from stdin, the CLI would wait for it.
        raise FailedPreconditionError(Reason.GLUSTERD_NOT_RUNNING, "glusterd on this node does not take connections")
    return copies.look_at_all(tools)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done to a brick.

    Attributes:
        mounted: It was not mounted before.
        listed: It was not in the mount table file before.
        taken_over: Heketi's own entry of it was taken away.
    """

    mounted: bool
    listed: bool
    taken_over: bool


def restore_brick(tools: Tools, spec: BrickSpec) -> Restored:
    """Brings back mount and fstab entry of a brick; its LV and its file system must be there.

    Raises:
        FailedPreconditionError: OPERATION_ENDED, it was removed; LVM_FAILED, no such LV; FILESYSTEM_FAILED, no XFS on
            it, something else is mounted there, or gluster mounts it itself.
        InternalError: LVM_FAILED or FILESYSTEM_FAILED.
    """
    if is_snapshot_mount(spec.mount_point):
        raise FailedPreconditionError(
            Reason.FILESYSTEM_FAILED,
            f"{spec.lv} is the brick of a clone, which gluster mounts when glusterd starts",
            lv_name=spec.lv,
        )
    with tools.locks.brick(spec.device):
        if tools.locks.is_gone(spec.device):
            raise FailedPreconditionError(Reason.OPERATION_ENDED, f"brick {spec.lv} was removed", lv_name=spec.lv)
        mounted = tools.runner.mounted_at(spec.mount_point)
        if mounted is not None and mounted.source != spec.device:
            raise FailedPreconditionError(
                Reason.FILESYSTEM_FAILED,
                f"{mounted.source} is mounted on {spec.mount_point}; unmount it first",
                path=spec.mount_point,
            )
        if mounted is None:
            _make_mountable(tools, spec)
        listed = _list(tools, spec)
        if mounted is None:
            _mount(tools, spec)
        taken_over = _take_over(tools, spec)
    return Restored(mounted=mounted is None, listed=listed, taken_over=taken_over)


def _take_over(tools: Tools, spec: BrickSpec) -> bool:
    try:
        return heketi_fstab.release(tools, spec)
    except OSError as error:
        files = " or ".join(tools.policy.heketi_fstabs)
        raise InternalError(
            Reason.FILESYSTEM_FAILED,
            f"Heketi's entry for {spec.mount_point} cannot be taken out of {files}: {error.strerror or error}; "
            "let the agent write there, or take the line out by hand",
            path=spec.mount_point,
        ) from error


def _make_mountable(tools: Tools, spec: BrickSpec) -> None:
    found = _logical_volume(tools, spec)
    if found is None:
        raise FailedPreconditionError(
            Reason.LVM_FAILED, f"there is no {spec.vg}/{spec.lv}", vg_name=spec.vg, lv_name=spec.lv
        )
    if not tools.runner.exists(spec.device):
        with tools.locks.group(spec.vg), failing_as(Reason.LVM_FAILED, vg_name=spec.vg):
            tools.runner.run(lvm.activate_volume_groups(spec.vg), timeout_s=lvm.TIMEOUT_S)
    with failing_as(Reason.FILESYSTEM_FAILED, device=spec.device):
        result = tools.runner.run(
            filesystem.probe_signatures(spec.device),
            timeout_s=filesystem.SIGNATURE_TIMEOUT_S,
            allowed_exit_codes=(0, filesystem.NOTHING_FOUND),
        )
    kind = filesystem.parse_signatures(result.stdout).get(spec.device, "")
    if kind != "xfs":
        raise FailedPreconditionError(
            Reason.FILESYSTEM_FAILED, f"{spec.device} holds {kind or 'nothing'}, no XFS", device=spec.device
        )


def _list(tools: Tools, spec: BrickSpec) -> bool:
    with tools.locks.fstab:
        text = tools.runner.read_text(tools.policy.fstab)
        if any((each.source, each.mount_point) == (spec.device, spec.mount_point) for each in mounts.parse_fstab(text)):
            return False
        tools.runner.write_text_atomically(tools.policy.fstab, mounts.with_entry(text, spec.mount))
    return True


def _mount(tools: Tools, spec: BrickSpec) -> None:
    try:
        tools.runner.make_directory(spec.mount_point)
        tools.runner.mount(spec.mount)
    except OSError as error:
        raise InternalError(
            Reason.FILESYSTEM_FAILED, f"mount: {spec.mount_point}: {error.strerror}", path=spec.mount_point
        ) from error


def _logical_volume(tools: Tools, spec: BrickSpec) -> LogicalVolume | None:
    return next((each for each in copies.local_volumes(tools, spec.vg) if each.name == spec.lv), None)


def start_volume(tools: Tools, name: str, volume_id: str, *, force: bool) -> None:
    """Starts a volume that is stopped; with `force` also the brick processes that a started one lacks.

    Raises:
        NotFoundError: GLUSTER_VOLUME_NOT_FOUND.
        InternalError: GLUSTER_FAILED, also when the volume belongs to somebody else.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING; FILESYSTEM_FAILED, `force` and a brick here is not mounted.
    """
    with tools.locks.gluster:
        found = get_volume(tools, name)
        refuse_foreign(found, volume_id)
        if found.started and not force:
            return
        if force:
            _refuse_unmounted(tools, found)
        _done, complaint = run_changes(tools, [gluster.start_volume(name, force=force)])
        if complaint:
            raise gluster_error(complaint, volume=name)


def _refuse_unmounted(tools: Tools, volume: GlusterVolume) -> None:
    """With force, gluster would take the empty directory below a missing mount for the brick.

    Which bricks are this node's is told by LVM: their volume groups are here.
    """
    names = {f"/{each.vg_name}/{each.name}/" for each in copies.local_volumes(tools)}
    mounted = {entry.mount_point for entry in tools.runner.mounts()}
    for brick in volume.bricks:
        path = tools.runner.resolve(snapshots.path_of(brick).removesuffix("/brick"))
        if any(name in brick for name in names) and path not in mounted:
            raise FailedPreconditionError(
                Reason.FILESYSTEM_FAILED, f"{path} is not mounted; gluster must not use what is below it", path=path
            )


def remove_orphan_brick(tools: Tools, spec: BrickSpec) -> bool:
    """Removes LV, pool, mount and fstab entry of a brick that no gluster volume has.

    Gluster is asked right before, under the lock of this node's gluster changes. A volume that another node makes at
    the same moment of this very brick needs it mounted by an operation, which the records would show to the caller.

    Returns:
        Whether the thin pool is gone.

    Raises:
        FailedPreconditionError: BRICK_IN_USE, GLUSTERD_NOT_RUNNING, BRICK_BUSY.
        InternalError: GLUSTER_FAILED, LVM_FAILED or FILESYSTEM_FAILED.
    """
    with tools.locks.gluster:
        volumes, _taken = list_volumes(tools)
        for volume in volumes:
            for brick in volume.bricks:
                # Whatever the host's name is: the path alone holds the id, which exists once.
                if f"/{spec.lv}/" in f"{snapshots.path_of(brick)}/" or brick.endswith(f":{spec.path}"):
                    raise FailedPreconditionError(
                        Reason.BRICK_IN_USE,
                        f"{spec.vg}/{spec.lv} is a brick of gluster volume {volume.name}",
                        lv_name=spec.lv,
                        volume=volume.name,
                    )
        found = _logical_volume(tools, spec)
        if found is not None:
            _refuse_mounted_elsewhere(tools, spec)
        if found is not None and found.pool_name:
            spec = replace(spec, pool=found.pool_name)
        _log.warning("brick.orphan_removed", vg=spec.vg, lv=spec.lv, pool=spec.pool, present=found is not None)
        return delete_brick(tools, spec)


def _refuse_mounted_elsewhere(tools: Tools, spec: BrickSpec) -> None:
    """Somebody who has mounted it somewhere else looks at its data."""
    for entry in tools.runner.mounts():
        if entry.source == spec.device and entry.mount_point != spec.mount_point:
            raise FailedPreconditionError(
                Reason.BRICK_BUSY, f"{spec.device} is mounted on {entry.mount_point}", path=entry.mount_point
            )
