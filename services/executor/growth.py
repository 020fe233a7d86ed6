"""Brick sets that join and leave a volume. Effects: through the runner."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from services.common.errors import BrickyardError, InternalError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor import afterwards
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports
from services.executor.tools import Tools
from services.executor.volumes import (
    find_volume,
    get_volume,
    gluster_error,
    is_ours,
    mark_own,
    owner_of,
    run_changes,
    run_read,
)

_log = get_logger()


@dataclass(frozen=True, slots=True)
class GrowthSpec:
    """Brick sets of a volume that is there.

    Attributes:
        name: Name of the volume.
        volume_id: Its id.
        layout: Its redundancy.
        bricks: "host:/path" by set, then by position; whole sets.
        known: "host:/path" of the volume's other bricks.
    """

    name: str
    volume_id: str
    layout: gluster.VolumeLayout
    bricks: tuple[str, ...]
    known: tuple[str, ...] = ()

    def sets_in(self, volume: reports.GlusterVolume, *, present: bool) -> tuple[str, ...]:
        """The bricks of the sets that a volume has, or has not.

        Raises:
            InternalError: GLUSTER_FAILED, the volume has a part of a set.
        """
        bricks: list[str] = []
        size = self.layout.set_size
        for start in range(0, len(self.bricks), size):
            brick_set = self.bricks[start : start + size]
            had = [brick in volume.bricks for brick in brick_set]
            if any(had) and not all(had):
                raise InternalError(
                    Reason.GLUSTER_FAILED,
                    f"Volume {self.name} has only a part of brick set {' '.join(brick_set)}",
                    volume=self.name,
                )
            if all(had) == present:
                bricks += brick_set
        return tuple(bricks)


def add_bricks(tools: Tools, spec: GrowthSpec, *, rebalance: bool) -> None:
    """Adds the brick sets that a volume does not have yet, by one process.

    On failure the sets that this call added are taken out again, after their data was moved off.

    Args:
        tools: What the node works with.
        spec: The volume and the bricks.
        rebalance: Whether data is moved onto the new bricks, after this call; a failure of that is logged only.

    Raises:
        NotFoundError: GLUSTER_VOLUME_NOT_FOUND.
        InternalError: GLUSTER_FAILED, also when the volume belongs to somebody else.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    with tools.locks.gluster:
        found = get_volume(tools, spec.name, spec.volume_id)
        refuse_foreign(found, spec.volume_id, (*spec.known, *spec.bricks))
        mark_own(tools, found, spec.volume_id)
        missing = spec.sets_in(found, present=False)
        additions = gluster.add_bricks(spec.name, spec.layout, missing)
        done, complaint = afterwards.around_moving(
            tools, spec.name, spec.volume_id, lambda: run_changes(tools, additions), move=rebalance
        )
        taken = reports.says_brick_taken(complaint)
        if taken and not spec.sets_in(get_volume(tools, spec.name, spec.volume_id), present=False):
            # Another node has added them for the same operation, while this one was held up.
            complaint = ""
    if complaint:
        # What is in the volume already is not of this call, and may hold data; what else the failed command did on
        # other nodes shows in the volume.
        made = {word for command in additions[: done if taken else done + 1] for word in command}
        _undo(tools, replace(spec, bricks=tuple(brick for brick in missing if brick in made)))
    afterwards.pay(tools)
    if complaint:
        raise gluster_error(complaint, volume=spec.name)


def refuse_foreign(volume: reports.GlusterVolume, volume_id: str, bricks: Collection[str] | None = None) -> None:
    """Refuses a volume that is not ours by the rule of `is_ours`.

    Args:
        volume: As glusterd describes it.
        volume_id: The id that it should have.
        bricks: See `is_ours`; None where the caller looks at the bricks of a volume without an id itself.

    Raises:
        InternalError: GLUSTER_FAILED.
    """
    if is_ours(volume, volume_id, volume.bricks if bricks is None else bricks):
        return
    owner = owner_of(volume)
    why = f"belongs to {owner}, not to {volume_id}" if owner else f"has no id, and other bricks than {volume_id}"
    raise InternalError(Reason.GLUSTER_FAILED, f"Volume {volume.name} {why}", volume=volume.name)


def _undo(tools: Tools, spec: GrowthSpec) -> None:
    try:
        # What the failed command did on other nodes shows in the volume too.
        remove_bricks(tools, spec)
    except BrickyardError as error:
        # The first failure is the one to report; the operation's own undo comes again with RemoveBricks.
        _log.warning("volume.undo_failed", volume=spec.name, error=error.message)


def remove_bricks(tools: Tools, spec: GrowthSpec) -> None:
    """Takes brick sets out of a volume, after gluster has moved off what clients put there; never by force.

    An absent volume, absent bricks, and a volume that is not ours are left as they are.

    Raises:
        InternalError: GLUSTER_FAILED, also when data could not be moved off; the bricks stay then.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    with tools.locks.gluster:
        found = _find_own(tools, spec)
        leaving = spec.sets_in(found, present=True) if found is not None else ()
        if found is None or not leaving:
            return
        if found.never_started:
            # Nobody can have written to it, and gluster moves data of started volumes only.
            _change(tools, spec, gluster.remove_bricks(spec.name, leaving, "commit"))
            return
        if not found.started:
            raise InternalError(
                Reason.GLUSTER_FAILED,
                f"Volume {spec.name} is stopped: data on its bricks can be moved off only when it is started",
                volume=spec.name,
            )
        _start_removal(tools, spec, leaving)
    # Moving data takes its time, and other volumes must not wait for it.
    if _await_removal(tools, spec, leaving):
        with tools.locks.gluster:
            _change(tools, spec, gluster.remove_bricks(spec.name, leaving, "commit"))


def _find_own(tools: Tools, spec: GrowthSpec) -> reports.GlusterVolume | None:
    found = find_volume(tools, spec.name)
    if found is not None and not is_ours(found, spec.volume_id, (*spec.known, *spec.bricks)):
        _log.warning("volume.not_ours", volume=spec.name, owner=owner_of(found), volume_id=spec.volume_id)
        return None
    return found


def _change(tools: Tools, spec: GrowthSpec, command: list[str]) -> None:
    _done, complaint = run_changes(tools, [command])
    if complaint:
        raise gluster_error(complaint, volume=spec.name)


def _start_removal(tools: Tools, spec: GrowthSpec, leaving: tuple[str, ...]) -> None:
    start = gluster.remove_bricks(spec.name, leaving, "start")
    _done, complaint = run_changes(tools, [start])
    if reports.says_rebalancing(complaint):
        # Most likely the rebalance that came with these very bricks.
        run_changes(tools, [gluster.stop_rebalance(spec.name)])
        for last in tools.attempts(tools.patience.migration_s):
            # Nodes stop one after the other, each when the file in its hands is done.
            _done, complaint = run_changes(tools, [start])
            if last or not reports.says_rebalancing(complaint):
                break
    # An interrupted call has started it already; whether it is about these bricks shows when it is asked how far it is.
    if complaint and not reports.says_removing(complaint):
        raise gluster_error(complaint, volume=spec.name)


def _await_removal(tools: Tools, spec: GrowthSpec, leaving: tuple[str, ...]) -> bool:
    """Waits until all data was moved off; False when somebody else has taken the bricks out meanwhile."""
    question = gluster.command_argv(gluster.remove_bricks(spec.name, leaving, "status"), xml=True)
    for last in tools.attempts(tools.patience.migration_s):
        answer = run_read(tools, question).stdout
        state = reports.parse_removal(answer)
        if state is None:
            if _is_out(tools, spec):
                return False
            raise gluster_error(reports.parse_answer(answer).complaint, volume=spec.name)
        if state.completed and not state.failures:
            return True
        if not state.running:
            with tools.locks.gluster:
                # Taken out now they would take files with them.
                _change(tools, spec, gluster.remove_bricks(spec.name, leaving, "stop"))
            raise gluster_error(f"{state.failures} files could not be moved off the bricks", volume=spec.name)
        if last:
            break
    raise gluster_error("data on the bricks is still being moved off", volume=spec.name)


def _is_out(tools: Tools, spec: GrowthSpec) -> bool:
    found = _find_own(tools, spec)
    return found is None or not set(spec.bricks) & set(found.bricks)
