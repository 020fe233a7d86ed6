"""Copies of volumes, by a snapshot that lives little longer than the call. Effects: through the runner.

The snapshot is named after the copy's id, so that a repeated call, and the removal of the copy, find what an
interrupted call has left. A copy has the options of its source, the source's id too, until its own id is set; in
between only the LVs tell whose it is: those of our copy are snapshots of our snapshot's.
"""

from dataclasses import dataclass

from services.common.errors import BrickyardError, InternalError, NotFoundError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor import afterwards, copies
from services.executor.debts import Debt, DebtKind
from services.executor.filesystem import mounts
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports, snapshots, store
from services.executor.growth import refuse_foreign
from services.executor.tools import Tools
from services.executor.volumes import get_volume, gluster_error, owner_of, remove_volume, run_changes

_log = get_logger()


@dataclass(frozen=True, slots=True)
class CloneSpec:
    """A copy as it is asked for.

    Attributes:
        source_name: Name of the volume to copy.
        source_id: Its id.
        name: Name of the copy.
        volume_id: Id of the copy, kept in it as an option.
        source_bricks: "host:/path" of each brick of the volume to copy.
    """

    source_name: str
    source_id: str
    name: str
    volume_id: str
    source_bricks: tuple[str, ...] = ()

    @property
    def snapshot(self) -> str:
        """Name of the snapshot."""
        return snapshots.snapshot_name(self.volume_id)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that was made: "host:/path" and thin LV of each brick, in the order of the source's bricks."""

    bricks: tuple[str, ...]
    lv_names: tuple[str, ...]


def clone_volume(tools: Tools, spec: CloneSpec) -> Copy:
    """Copies a volume, or finishes the copy that an interrupted call has begun.

    One process makes all changes; others look, before and after, only at what glusterd's files do not tell. On failure
    all that this call made is removed.

    Raises:
        NotFoundError: GLUSTER_VOLUME_NOT_FOUND, there is no source.
        InternalError: GLUSTER_FAILED, also when the source or the copy's name belongs to somebody else.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    try:
        return _clone(tools, spec)
    finally:
        # The snapshot goes; and data of the source that was being moved goes on being moved.
        afterwards.pay(tools)


def _clone(tools: Tools, spec: CloneSpec) -> Copy:
    with tools.locks.gluster:
        snapshot, (source, copy) = _look(tools, spec)
        if source is None:
            raise NotFoundError(
                Reason.GLUSTER_VOLUME_NOT_FOUND, f"Volume {spec.source_name} does not exist", volume=spec.source_name
            )
        refuse_foreign(source, spec.source_id, spec.source_bricks)
        if copy is None:
            _make(tools, spec, source, leftover=snapshot is not None)
        elif not _finish(tools, spec, copy, snapshot):
            return _result(tools, copy, source)
        try:
            return _result(tools, get_volume(tools, spec.name, spec.volume_id), source)
        except BrickyardError:
            if copy is None:
                _undo(tools, spec, source, cloned=True)
            raise


def _look(tools: Tools, spec: CloneSpec) -> tuple[snapshots.Snapshot | None, list[reports.GlusterVolume | None]]:
    """Snapshot, source and copy; without asking where glusterd's files know of the source, and of nothing else."""
    source = store.read_volume(spec.source_name, tools.runner.read_text)
    begun = (store.info_path(spec.name), store.snapshot_path(spec.snapshot))
    if owner_of(source) == spec.source_id and not any(tools.runner.exists(path) for path in begun):
        return None, [source, None]
    return copies.look(tools, spec.snapshot, spec.source_name, spec.name)


def _make(tools: Tools, spec: CloneSpec, source: reports.GlusterVolume, *, leftover: bool) -> None:
    # A snapshot of an interrupted call shows the source as it was then, and may be half made.
    commands = [
        *([snapshots.delete(spec.snapshot)] if leftover else []),
        snapshots.create(spec.snapshot, spec.source_name),
        snapshots.activate(spec.snapshot),
        snapshots.clone(spec.name, spec.snapshot),
        gluster.start_volume(spec.name),
        *gluster.set_options(spec.name, [(gluster.ID_OPTION, spec.volume_id)]),
    ]
    done, complaint = afterwards.around_moving(
        tools, spec.source_name, spec.source_id, lambda: run_changes(tools, commands)
    )
    if complaint:
        # A copy that was there before this call came to its turn is another node's, made for the same operation.
        turn = commands.index(snapshots.clone(spec.name, spec.snapshot))
        _undo(tools, spec, source, cloned=done > turn or (done == turn and not reports.says_taken(complaint)))
        raise gluster_error(complaint, volume=spec.name, source=spec.source_name)
    # Not before the copy has its id: until then the snapshot tells whose the copy is.
    tools.debts.note(Debt(DebtKind.REMOVE_SNAPSHOT, spec.snapshot))


def _finish(tools: Tools, spec: CloneSpec, copy: reports.GlusterVolume, snapshot: snapshots.Snapshot | None) -> bool:
    """Brings a copy to its end that an interrupted call has begun; refuses a volume of somebody else.

    Returns:
        Whether there was anything to do.
    """
    mine = owner_of(copy) == spec.volume_id
    if not mine and not (snapshot is not None and copies.is_made_of(tools, copy, snapshot)):
        raise gluster_error(f"Volume {spec.name} already exists", volume=spec.name)
    commands = [] if copy.started else [gluster.start_volume(spec.name)]
    commands += [] if mine else gluster.set_options(spec.name, [(gluster.ID_OPTION, spec.volume_id)])
    _done, complaint = run_changes(tools, commands)
    if not complaint and snapshot is not None:
        complaint = copies.delete_snapshot(tools, spec.snapshot)
    if complaint:
        # Left as it was found: the next call, or the removal of the copy, comes back to it.
        raise gluster_error(complaint, volume=spec.name, source=spec.source_name)
    return bool(commands) or snapshot is not None


def _undo(tools: Tools, spec: CloneSpec, source: reports.GlusterVolume, *, cloned: bool) -> None:
    """Removes what a failed call made.

    Args:
        tools: What the node works with.
        spec: The copy.
        source: The volume that was copied.
        cloned: Whether a volume of the copy's name, absent before, is of this call.
    """
    try:
        snapshot, (copy,) = copies.look(tools, spec.snapshot, spec.name)
        owners = (spec.volume_id, owner_of(source))
        if copy is not None and cloned and snapshots.is_copy(copy) and owner_of(copy) in owners:
            remove_volume(tools, copy)
            copies.remove_copies_of(tools, copy.uuid)
        if snapshot is not None:
            failure = copies.delete_snapshot(tools, spec.snapshot)
            if failure:
                _log.warning("clone.undo_failed", snapshot=spec.snapshot, error=failure)
    except BrickyardError as error:
        # The first failure is the one to report; the operation's own undo comes again, and to all nodes.
        _log.warning("clone.undo_failed", volume=spec.name, error=error.message)


def remove_remains(tools: Tools, name: str, volume_id: str, removed: reports.GlusterVolume | None) -> None:
    """Removes what an interrupted call left of a copy, besides a volume that carries the copy's id.

    Costs a process only where a copy may have been: for a volume that was none there is nothing to look for.

    Args:
        tools: What the node works with.
        name: Name of the copy.
        volume_id: Its id.
        removed: The volume of that name and id, already removed; None when there was none.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    if removed is not None and not snapshots.is_copy(removed):
        return
    snapshot = snapshots.snapshot_name(volume_id)
    with tools.locks.gluster:
        taken, (found,) = copies.look(tools, snapshot, name)
        if taken is None:
            return
        if found is not None and copies.is_made_of(tools, found, taken):
            remove_volume(tools, found)
        failure = copies.delete_snapshot(tools, snapshot)
        if failure:
            raise gluster_error(f"Unable to delete snapshot {snapshot}: {failure}", snapshot=snapshot)


def _result(tools: Tools, copy: reports.GlusterVolume, source: reports.GlusterVolume) -> Copy:
    """The bricks and LVs of a copy.

    Raises:
        InternalError: GLUSTER_FAILED, it is not what was asked for, or LVs have other names than by gluster's rule.
    """
    names = snapshots.copy_lvs(copy)
    if copy.hosts != source.hosts or not snapshots.is_copy(copy):
        raise InternalError(
            Reason.GLUSTER_FAILED, f"Volume {copy.name} has not the bricks of a copy of {source.name}", volume=copy.name
        )
    mounted = tools.runner.mounts()
    for brick, name in zip(copy.bricks, names, strict=True):
        mount_point = tools.runner.resolve(snapshots.path_of(brick).removesuffix("/brick"))
        entry = mounts.mounted_at(mounted, mount_point)
        if entry is not None and not entry.source.endswith(f"-{name}"):
            # Names that somebody writes down and that are wrong would leave LVs behind later.
            raise InternalError(
                Reason.GLUSTER_FAILED, f"{brick} is on {entry.source}, not on {name}", volume=copy.name, brick=brick
            )
    return Copy(copy.bricks, names)
