"""Volumes: created, described and deleted through the gluster CLI. Effects: through the runner."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.common.errors import BrickyardError, FailedPreconditionError, InternalError, NotFoundError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports, snapshots, store
from services.executor.runners.base import CommandFailedError, CommandResult
from services.executor.tools import Tools

_log = get_logger()
# The CLI's own words.
_NOT_RUNNING = "Connection failed. Please check if gluster daemon is operational."
_GREETING = "Welcome to gluster prompt"


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume as gluster is told to make it.

    Attributes:
        volume_id: Its id, kept in the volume as an option.
        name: Its name.
        layout: Its redundancy.
        bricks: "host:/path" by set, then by position.
        options: Options in the order in which they are set, without the id.
    """

    volume_id: str
    name: str
    layout: gluster.VolumeLayout
    bricks: tuple[str, ...]
    options: tuple[tuple[str, str], ...]


def run_read(tools: Tools, argv: Sequence[str], *, text: str | None = None) -> CommandResult:
    """Runs a CLI command that changes nothing, or several of them that come in a text.

    Raises:
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
        InternalError: GLUSTER_FAILED.
    """
    try:
        return tools.runner.run(argv, input=text, timeout_s=gluster.READ_TIMEOUT_S)
    except CommandFailedError as error:
        raise gluster_error(error.result.complaint) from error


def gluster_error(complaint: str, **metadata: object) -> BrickyardError:
    """The error of a failed gluster command; its text is gluster's own."""
    if reports.says_not_running(complaint):
        return FailedPreconditionError(Reason.GLUSTERD_NOT_RUNNING, complaint, **metadata)
    return InternalError(Reason.GLUSTER_FAILED, complaint, **metadata)


def get_volume(tools: Tools, name: str, volume_id: str = "") -> reports.GlusterVolume:
    """A volume as glusterd describes it; one of a known id without asking, see `look_up`.

    Raises:
        NotFoundError: GLUSTER_VOLUME_NOT_FOUND.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
        InternalError: GLUSTER_FAILED.
    """
    found = look_up(tools, name, volume_id)
    if found is None:
        raise NotFoundError(Reason.GLUSTER_VOLUME_NOT_FOUND, f"Volume {name} does not exist", volume=name)
    return found


def find_volume(tools: Tools, name: str) -> reports.GlusterVolume | None:
    """A volume; None when gluster has none of that name."""
    return reports.parse_volume(run_read(tools, gluster.volume_info(name)).stdout, name)


def look_up(tools: Tools, name: str, volume_id: str) -> reports.GlusterVolume | None:
    """A volume: from glusterd's files when they say that it has this id, and from the CLI when they do not."""
    written = store.read_volume(name, tools.runner.read_text)
    return written if owner_of(written) == volume_id else find_volume(tools, name)


def create_volume(tools: Tools, spec: VolumeSpec) -> None:
    """Creates, sets up and starts a volume, or what is missing of it; all by one process when nothing is there.

    On failure the volume is deleted again if this call created it.

    Raises:
        InternalError: GLUSTER_FAILED, also when the name belongs to another volume.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    commands = [
        *gluster.create_volume(spec.name, spec.layout, spec.bricks),
        *gluster.set_options(spec.name, [*spec.options, (gluster.ID_OPTION, spec.volume_id)]),
        gluster.start_volume(spec.name),
    ]
    with tools.locks.gluster:
        deaf = not tools.runner.glusterd_listens()
        done, complaint = run_changes(tools, commands)
        if not complaint:
            return
        if done == 0 and reports.says_taken(complaint):
            _complete(tools, spec, commands, complaint)
            return
        # A create that failed on another node, or whose answer got lost, may have left the volume here.
        _undo(tools, spec, created=done > 0)
        raise gluster_error(complaint, volume=spec.name, **_untouched(deaf=deaf, complaint=complaint))


def _untouched(*, deaf: bool, complaint: str) -> dict[str, object]:
    """Tells the caller that glusterd was not there from the start, so that there is nothing to take back in it."""
    return {"untouched": True} if deaf and reports.says_not_running(complaint) else {}


def _complete(tools: Tools, spec: VolumeSpec, commands: list[list[str]], complaint: str) -> None:
    """Finishes a volume that an earlier, interrupted call made; refuses one that somebody else made."""
    found = find_volume(tools, spec.name)
    owner = owner_of(found)
    mine = found is not None and (owner == spec.volume_id or (owner is None and found.bricks == spec.bricks))
    if found is None or not mine:
        raise gluster_error(complaint, volume=spec.name)
    if owner == spec.volume_id and found.started and found.bricks == spec.bricks:
        return
    if found.bricks != spec.bricks[: len(found.bricks)]:
        raise gluster_error(f"{complaint}, with other bricks", volume=spec.name)
    missing = _missing_bricks(spec, len(found.bricks))
    rest = [words for words in commands if words[1] not in ("create", "add-brick", "start")]
    start = [] if found.started else [gluster.start_volume(spec.name)]
    _done, failure = run_changes(tools, [*missing, *rest, *start])
    if failure:
        raise gluster_error(failure, volume=spec.name)


def _missing_bricks(spec: VolumeSpec, present: int) -> list[list[str]]:
    """Commands for the brick sets that an interrupted creation did not come to."""
    size = spec.layout.set_size
    return [
        ["volume", "add-brick", spec.name, *spec.bricks[start : start + size]]
        for start in range(present, len(spec.bricks), size)
    ]


def _undo(tools: Tools, spec: VolumeSpec, *, created: bool) -> None:
    try:
        found = find_volume(tools, spec.name)
        owner = owner_of(found)
        ours = owner == spec.volume_id or (
            owner is None and found is not None and (created or found.bricks == spec.bricks)
        )
        if found is not None and ours:
            remove_volume(tools, found)
    except BrickyardError as error:
        # The first failure is the one to report; the operation's own undo comes again with DeleteVolume.
        _log.warning("volume.undo_failed", volume=spec.name, error=error.message)


def delete_volume(
    tools: Tools, name: str, volume_id: str, bricks: Collection[str] = ()
) -> reports.GlusterVolume | None:
    """Stops and deletes a volume; absent is fine, and somebody else's volume of that name is not touched.

    Args:
        tools: What the node works with.
        name: Name of the volume.
        volume_id: Its id; a volume with another one is somebody else's.
        bricks: "host:/path" of each brick; a volume without an id is ours when it has no other bricks.

    Returns:
        The volume that was removed; None when there was nothing to remove.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    with tools.locks.gluster:
        found = look_up(tools, name, volume_id)
        if found is None:
            return None
        if not is_ours(found, volume_id, bricks):
            _log.warning("volume.not_ours", volume=name, owner=owner_of(found), volume_id=volume_id)
            return None
        remove_volume(tools, found)
        return found


def is_ours(volume: reports.GlusterVolume, volume_id: str, bricks: Collection[str]) -> bool:
    """The one rule by which a volume is known: by the id that it carries, or without one by its bricks.

    Volumes that an old Heketi made, or that an interrupted call has not come far with, carry no id. Copies that a
    Heketi made carry the id of their source; but the paths of their bricks are gluster's own, and no other volume ever
    has them.

    Args:
        volume: As glusterd describes it.
        volume_id: The id that it should have.
        bricks: "host:/path" of all bricks that it may have; one without an id, and such a copy, has no others.
    """
    owner = owner_of(volume)
    unmarked = owner is None or (bool(volume.bricks) and snapshots.is_copy(volume))
    return owner == volume_id or (unmarked and set(volume.bricks) <= set(bricks))


def mark_own(tools: Tools, volume: reports.GlusterVolume, volume_id: str) -> None:
    """Lets a volume that is ours carry its id, before it gets bricks by which it would not be known any more.

    To be called under the gluster lock.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    if owner_of(volume) in (None, volume_id):
        return
    _done, complaint = run_changes(tools, gluster.set_options(volume.name, [(gluster.ID_OPTION, volume_id)]))
    if complaint:
        raise gluster_error(complaint, volume=volume.name)


def owner_of(volume: reports.GlusterVolume | None) -> str | None:
    """The id that a volume carries; None for no volume, and for one of somebody who does not write ids."""
    return volume.options.get(gluster.ID_OPTION) if volume is not None else None


def remove_volume(tools: Tools, found: reports.GlusterVolume) -> None:
    """Stops and deletes a volume; to be called under the gluster lock.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    stop = [gluster.stop_volume(found.name)] if found.started else []
    done, complaint = run_changes(tools, [*stop, gluster.delete_volume(found.name)])
    if reports.says_has_snapshots(complaint):
        complaint = _remove_after_snapshots(tools, found.name)
    if complaint and not reports.says_absent(complaint):
        if stop and done:
            # A volume that cannot be deleted now, for a peer is down, shall serve its clients as before.
            _started, failure = run_changes(tools, [gluster.start_volume(found.name)])
            if failure:
                _log.warning("volume.not_started_again", volume=found.name, error=failure)
        raise gluster_error(f"Unable to delete volume {found.name}: {complaint}", volume=found.name)


def _remove_after_snapshots(tools: Tools, name: str) -> str:
    """Deletes a stopped volume after the snapshots that copies of it were made of; the complaint if it stays.

    Nobody makes a copy of a volume that is to go; so these are leftovers, or about to be removed anyway.
    """
    taken = snapshots.parse_snapshots(run_read(tools, gluster.command_argv(snapshots.info(), xml=True)).stdout)
    ours = [each.name for each in taken if each.source == name and snapshots.is_temporary(each.name)]
    _done, complaint = run_changes(tools, [*map(snapshots.delete, ours), gluster.delete_volume(name)])
    if snapshots.says_no_snapshot(complaint):
        # Another node's agent was about to remove it.
        _done, complaint = run_changes(tools, [gluster.delete_volume(name)])
    return complaint


def run_changes(tools: Tools, commands: list[list[str]]) -> tuple[int, str]:
    """Runs commands in order, stopping at the first that fails; those that meet a foreign lock are repeated.

    So are, for a shorter time, those that miss a peer, if their refusal has left nothing behind.

    Returns:
        How many succeeded, and the complaint of the one that failed, empty when none did.
    """
    done, complaint = 0, ""
    returned_by = tools.clock() + tools.patience.peer_return_s
    for last in tools.attempts(tools.patience.gluster_lock_s):
        result = _run_some(tools, commands[done:])
        done += result[0]
        complaint = result[1]
        missing = (
            reports.says_not_connected(complaint)
            and tools.clock() < returned_by
            and gluster.leaves_no_trace_when_refused(commands[done])
        )
        if not complaint or last or not (missing or reports.says_locked(complaint)):
            break
        _log.info("gluster.repeated", done=done, complaint=complaint)
    return done, complaint


def _run_some(tools: Tools, commands: list[list[str]]) -> tuple[int, str]:
    """Runs commands by as few processes as their lengths allow."""
    if not tools.runner.glusterd_listens():
        # Given one command, the CLI says so itself; reading commands from stdin, it waits for glusterd instead.
        return 0, _NOT_RUNNING
    done = 0
    while done < len(commands):
        rest = commands[done:]
        if not gluster.fits_line(rest[0]):
            argv, text, count = gluster.command_argv(rest[0], xml=False), None, 1
        else:
            count = next((i for i, words in enumerate(rest) if not gluster.fits_line(words)), len(rest))
            argv, text = gluster.script_argv(), gluster.script(rest[:count])
        result = tools.runner.run(argv, input=text, timeout_s=gluster.TIMEOUT_S, allowed_exit_codes=None)
        if result.exit_code != 0:
            return done + reports.count_successes(result.stdout), _script_complaint(result)
        done += count
    return done, ""


def _script_complaint(result: CommandResult) -> str:
    """What the command that failed said; the CLI's greeting, and what its predecessors said, is left out."""
    lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith(_GREETING)]
    lines = lines or [line for line in result.stdout.splitlines() if line.strip() and ": success" not in line]
    text = "\n".join(lines) or f"gluster ended with exit code {result.exit_code}"
    # "volume create: NAME: failed: WHY", "volume set: failed: WHY": the caller knows what it asked for.
    return text.split(": failed: ", 1)[-1].strip()
