"""Bricks: thin pool, thin LV, XFS, mount, directory; made and removed. Effects: through the runner."""

import errno
from collections.abc import Iterable
from dataclasses import replace

from services.common.errors import BrickyardError, FailedPreconditionError, InternalError, ResourceExhaustedError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor import heketi_fstab
from services.executor.copies import remove_directories
from services.executor.filesystem import commands as filesystem
from services.executor.filesystem import mounts
from services.executor.lvm import commands as lvm
from services.executor.lvm import reports
from services.executor.orphans import end_orphan
from services.executor.plan import BrickState, Step, plan_create, plan_release, plan_removal, state_of
from services.executor.policy import BrickSpec, check_new_brick, is_snapshot_mount
from services.executor.runners.base import CommandFailedError
from services.executor.tools import Tools, command_error, failing_as

_log = get_logger()
# Heketi's permissions for a brick directory that belongs to a group.
_GROUP_MODE = 0o2775


def create_brick(tools: Tools, spec: BrickSpec) -> None:
    """Makes a brick, or what is missing of it. On failure whatever this call made is removed.

    Raises:
        InvalidArgumentError: A size is missing.
        ResourceExhaustedError: NO_SPACE_ON_DEVICE.
        FailedPreconditionError: LVM_FAILED, the names are taken by something else.
        InternalError: LVM_FAILED or FILESYSTEM_FAILED.
    """
    check_new_brick(spec)
    with tools.locks.brick(spec.device):
        if tools.locks.is_gone(spec.device):
            raise FailedPreconditionError(
                Reason.OPERATION_ENDED,
                f"brick {spec.lv} was removed; a request to make it comes too late",
                lv_name=spec.lv,
            )
        _create_or_undo(tools, spec)


def _create_or_undo(tools: Tools, spec: BrickSpec) -> None:
    made: list[Step] = []
    try:
        _create(tools, spec, made)
    except (BrickyardError, OSError) as error:
        _undo(tools, spec, made)
        if isinstance(error, OSError):
            raise InternalError(
                Reason.FILESYSTEM_FAILED, f"{error.strerror or error}: {spec.mount_point}", path=spec.path
            ) from error
        raise


def _create(tools: Tools, spec: BrickSpec, made: list[Step]) -> None:
    seen = _glance(tools, spec)
    if seen == BrickState():
        steps = plan_create(spec, seen)
        with tools.locks.group(spec.vg):
            absent = _try_new(tools, spec, made)
        if absent:
            _perform(tools, spec, steps[1:], made)
            return
        seen = _glance(tools, spec)
    with tools.locks.group(spec.vg):
        state = _observe(tools, spec, seen)
        if state.volume is not None and not (state.listed or state.mounted):
            if not state.active:
                # After a power cut: what an interrupted call got as far as can be told of an active LV only.
                _perform_step(tools, spec, Step.ACTIVATE)
                state = replace(state, active=True)
            state = replace(state, filesystem=_content(tools, spec.device))
        steps = plan_create(spec, state)
        in_lvm = tuple(step for step in steps if step in _LVM_STEPS)
        _perform(tools, spec, in_lvm, made)
    _perform(tools, spec, tuple(step for step in steps if step not in in_lvm), made)


_LVM_STEPS = (Step.CREATE_POOL_AND_VOLUME, Step.CREATE_VOLUME, Step.ACTIVATE)


def _glance(tools: Tools, spec: BrickSpec) -> BrickState:
    """What can be told without starting a process."""
    return BrickState(
        active=tools.runner.exists(spec.device),
        listed=mounts.lists(tools.runner.read_text(tools.policy.fstab), spec.mount_point),
        mounted=tools.runner.mounted_at(spec.mount_point) is not None,
    )


def _observe(tools: Tools, spec: BrickSpec, seen: BrickState) -> BrickState:
    """Adds LVM's part to what was seen; no volume group is no volume."""
    with failing_as(Reason.LVM_FAILED, vg_name=spec.vg):
        try:
            command = lvm.report_brick(spec.vg, spec.pool, spec.lv)
            result = tools.runner.run(command, timeout_s=lvm.REPORT_TIMEOUT_S)
        except CommandFailedError as error:
            if reports.says_absent(error.result.stderr):
                return seen
            raise
    state = state_of(spec, reports.parse_logical_volumes(result.stdout))
    return replace(state, active=seen.active, listed=seen.listed, mounted=seen.mounted)


def _content(tools: Tools, device: str) -> str:
    with failing_as(Reason.FILESYSTEM_FAILED, device=device):
        result = tools.runner.run(
            filesystem.probe_signatures(device),
            timeout_s=filesystem.SIGNATURE_TIMEOUT_S,
            allowed_exit_codes=(0, filesystem.NOTHING_FOUND),
        )
    return filesystem.parse_signatures(result.stdout).get(device, "")


def _try_new(tools: Tools, spec: BrickSpec, made: list[Step]) -> bool:
    """Makes pool and LV of a brick that seems not to be there; False when LVM knows one of the names."""
    pool_seen = tools.runner.exists(lvm.mapper_path(spec.vg, spec.pool))
    try:
        _create_pool(tools, spec)
    except CommandFailedError as error:
        complaint = error.result.complaint
        if not reports.says_exists(complaint):
            # With a taken LV name LVM leaves the new pool behind, so other failures may do so too.
            _remove_empty_pool(tools, spec, pool_seen=pool_seen)
            raise _lvm_error(spec, error) from error
        if f"Logical volume {spec.pool} already exists" not in complaint:
            _remove_empty_pool(tools, spec, pool_seen=pool_seen)
        return False
    made.append(Step.CREATE_POOL_AND_VOLUME)
    return True


def _create_pool(tools: Tools, spec: BrickSpec) -> None:
    command = lvm.create_thin_pool_with_volume(
        spec.vg,
        spec.pool,
        spec.lv,
        pool_bytes=spec.pool_bytes,
        metadata_bytes=spec.metadata_bytes,
        size_bytes=spec.size_bytes,
    )
    tools.runner.run(command, timeout_s=filesystem.MAKE_TIMEOUT_S)


def _remove_empty_pool(tools: Tools, spec: BrickSpec, *, pool_seen: bool) -> None:
    """Removes the pool that a failed lvcreate left behind; never one that was there before, or has an LV."""
    if pool_seen:
        return
    try:
        state = _observe(tools, spec, BrickState())
        taken = state.volume is not None and state.volume.pool_name == spec.pool
        if state.pool is not None and not state.others and not taken:
            _remove(tools, spec, spec.pool)
    except BrickyardError as error:
        _log.warning("brick.undo_failed", vg=spec.vg, pool=spec.pool, error=error.message)


def _lvm_error(spec: BrickSpec, error: CommandFailedError) -> BrickyardError:
    if reports.says_full(error.result.complaint):
        return ResourceExhaustedError(
            Reason.NO_SPACE_ON_DEVICE,
            error.result.complaint,
            vg_name=spec.vg,
            needed_bytes=spec.pool_bytes + spec.metadata_bytes,
        )
    return command_error(Reason.LVM_FAILED, error.result, vg_name=spec.vg, lv_name=spec.lv)


def _perform(tools: Tools, spec: BrickSpec, steps: tuple[Step, ...], made: list[Step]) -> None:
    for step in steps:
        # Noted before it runs: a step that failed halfway is undone too.
        made.append(step)
        _perform_step(tools, spec, step)


def _perform_step(tools: Tools, spec: BrickSpec, step: Step) -> None:
    runner = tools.runner
    if step in _LVM_STEPS:
        try:
            if step is Step.CREATE_POOL_AND_VOLUME:
                _create_pool(tools, spec)
            elif step is Step.CREATE_VOLUME:
                command = lvm.create_thin_volume(spec.vg, spec.pool, spec.lv, size_bytes=spec.size_bytes)
                runner.run(command, timeout_s=lvm.TIMEOUT_S)
            else:
                runner.run(lvm.activate_volume_groups(spec.vg), timeout_s=lvm.TIMEOUT_S)
        except CommandFailedError as error:
            raise _lvm_error(spec, error) from error
    elif step is Step.MAKE_FILESYSTEM:
        _make_filesystem(tools, spec)
    elif step is Step.ADD_TO_FSTAB:
        with tools.locks.fstab:
            text = mounts.with_entry(runner.read_text(tools.policy.fstab), spec.mount)
            runner.write_text_atomically(tools.policy.fstab, text)
    elif step is Step.MOUNT:
        runner.make_directory(spec.mount_point)
        runner.mount(spec.mount)
    elif step is Step.MAKE_DIRECTORY:
        runner.make_directory(spec.path)
        if spec.gid:
            runner.set_group(spec.path, spec.gid)
            runner.set_mode(spec.path, _GROUP_MODE)


def _make_filesystem(tools: Tools, spec: BrickSpec) -> None:
    with failing_as(Reason.FILESYSTEM_FAILED, device=spec.device):
        command = filesystem.make_xfs(spec.device, arbiter=spec.arbiter)
        try:
            tools.runner.run(command, timeout_s=filesystem.MAKE_TIMEOUT_S)
        except CommandFailedError as error:
            if not filesystem.says_too_small(error.result.complaint):
                raise
            command = filesystem.make_xfs(spec.device, arbiter=spec.arbiter, tiny=True)
            tools.runner.run(command, timeout_s=filesystem.MAKE_TIMEOUT_S)


def _undo(tools: Tools, spec: BrickSpec, made: list[Step]) -> None:
    """Removes what a failed call made, and nothing that was there before it; its own failure is logged only."""
    if not made:
        return
    runner = tools.runner
    try:
        if Step.MOUNT in made and runner.mounted_at(spec.mount_point) is not None:
            runner.unmount(spec.mount_point)
        if Step.ADD_TO_FSTAB in made:
            _remove_from_fstab(tools, spec)
        with tools.locks.group(spec.vg):
            if Step.CREATE_POOL_AND_VOLUME in made:
                state = _observe(tools, spec, BrickState())
                names = [spec.lv] if state.volume is not None else []
                if state.pool is not None and not state.others:
                    names.append(spec.pool)
                if names:
                    _remove(tools, spec, *names)
            elif Step.CREATE_VOLUME in made:
                _remove(tools, spec, spec.lv)
        if Step.MOUNT in made:
            runner.remove_directory(spec.mount_point)
    except (BrickyardError, OSError) as error:
        # The first failure is the one to report; the operation's own undo comes again with DeleteBrick.
        _log.warning("brick.undo_failed", vg=spec.vg, lv=spec.lv, error=str(error))


def sync_bricks(tools: Tools, specs: Iterable[BrickSpec]) -> None:
    """Writes the directories of bricks, with their marks, to their disks.

    XFS writes its log seconds later by itself; a power cut before that takes a new brick's directory with it, and the
    mark of its volume, without which gluster does not serve the brick any more. What a brick process makes in there it
    makes again.

    Raises:
        InternalError: FILESYSTEM_FAILED, also when a brick is not mounted.
    """
    for spec in specs:
        # Elsewhere it would write the system's own disk, and say that all is well.
        if tools.runner.mounted_at(tools.runner.resolve(spec.mount_point)) is None:
            raise InternalError(
                Reason.FILESYSTEM_FAILED, f"brick {spec.path} is not mounted on this node", path=spec.path
            )
        try:
            tools.runner.sync_directory(spec.path)
        except OSError as error:
            raise InternalError(
                Reason.FILESYSTEM_FAILED, f"{error.strerror or error}: {spec.path}", path=spec.path
            ) from error


def delete_brick(tools: Tools, spec: BrickSpec) -> bool:
    """Removes all that create_brick makes; what is absent is fine.

    Returns:
        Whether the thin pool is gone.

    Raises:
        FailedPreconditionError: BRICK_BUSY, the file system or the LV is in use.
        InternalError: LVM_FAILED or FILESYSTEM_FAILED.
    """
    with tools.locks.brick(spec.device):
        # A request to make it may still wait for its turn.
        tools.locks.mark_gone(spec.device)
        return _delete(tools, spec)


def _delete(tools: Tools, spec: BrickSpec) -> bool:
    copied = is_snapshot_mount(spec.mount_point)
    if copied:
        # gluster may say /var/run, which is a link; the mount table says /run.
        spec = replace(spec, mount_point=tools.runner.resolve(spec.mount_point))
    seen = _glance(tools, spec)
    # Outside of the group's lock: a brick process may hold its files for seconds, and other bricks need the group.
    for step in plan_release(seen):
        _remove_step(tools, spec, step)
    _release_from_heketi(tools, spec)
    with tools.locks.group(spec.vg):
        state = _observe(tools, spec, seen)
        if state.volume is not None and state.volume.pool_name not in ("", spec.pool):
            # What LVM says of the LV's pool is truer than what somebody wrote down of it.
            spec = replace(spec, pool=state.volume.pool_name)
            state = _observe(tools, spec, seen)
        for step in plan_removal(state):
            _remove_step(tools, spec, step)
    if copied:
        remove_directories(tools, spec.mount_point)
    else:
        try:
            tools.runner.remove_directory(spec.mount_point)
        except OSError as error:
            # Files below the mount point are somebody else's; the brick itself is gone.
            _log.warning("brick.directory_left", path=spec.mount_point, error=str(error))
    return state.pool is None or not state.others


def _remove_step(tools: Tools, spec: BrickSpec, step: Step) -> None:
    if step is Step.UNMOUNT:
        _unmount(tools, spec)
    elif step is Step.REMOVE_FROM_FSTAB:
        _remove_from_fstab(tools, spec)
    elif step is Step.REMOVE_VOLUME:
        _remove(tools, spec, spec.lv)
    elif step is Step.REMOVE_VOLUME_AND_POOL:
        _remove(tools, spec, spec.lv, spec.pool)
    elif step is Step.REMOVE_POOL:
        _remove(tools, spec, spec.pool)


def _unmount(tools: Tools, spec: BrickSpec) -> None:
    try:
        try:
            tools.unmount(spec.mount_point)
        except OSError as error:
            if error.errno != errno.EBUSY or not end_orphan(tools, spec.path):
                raise
            tools.unmount(spec.mount_point)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise FailedPreconditionError(
                Reason.BRICK_BUSY, f"umount: {spec.mount_point}: target is busy.", path=spec.path
            ) from error
        raise InternalError(
            Reason.FILESYSTEM_FAILED, f"umount: {spec.mount_point}: {error.strerror}", path=spec.path
        ) from error


def _remove_from_fstab(tools: Tools, spec: BrickSpec) -> None:
    with tools.locks.fstab:
        text = mounts.without_entries(
            tools.runner.read_text(tools.policy.fstab), source=spec.device, mount_point=spec.mount_point
        )
        if text is not None:
            tools.runner.write_text_atomically(tools.policy.fstab, text)


def _release_from_heketi(tools: Tools, spec: BrickSpec) -> None:
    try:
        heketi_fstab.release(tools, spec)
    except OSError as error:
        # The brick must go all the same; `brickyard adopt`, which comes before, has told of it.
        _log.warning("brick.heketi_fstab_entry_left", lv=spec.lv, error=str(error))


def _remove(tools: Tools, spec: BrickSpec, *names: str) -> None:
    try:
        command = lvm.remove_logical_volumes(spec.vg, *names, with_pool=spec.pool in names)
        tools.runner.run(command, timeout_s=lvm.TIMEOUT_S)
    except CommandFailedError as error:
        complaint = error.result.complaint
        if reports.says_in_use(complaint):
            raise FailedPreconditionError(Reason.BRICK_BUSY, complaint, path=spec.path, lv_name=spec.lv) from error
        if not reports.says_absent(complaint):
            raise command_error(Reason.LVM_FAILED, error.result, vg_name=spec.vg, lv_name=spec.lv) from error
