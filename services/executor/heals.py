"""What bricks have to heal, and that it is done. Effects: through the runner.

Gluster tells the heal daemons of a new brick before its process answers, and restarts them meanwhile. As seen with
several volumes, some then wait for their own next round, which comes after ten minutes, or stop before the last file.
So the heal of a brick that took another's place is started until nothing is left to do.
"""

from dataclasses import dataclass

from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.executor.debts import Debt
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports
from services.executor.tools import Tools
from services.executor.volumes import find_volume, get_volume, gluster_error, owner_of, run_changes

_log = get_logger()


def heal_status(tools: Tools, name: str) -> tuple[reports.BrickHeal, ...]:
    """What the bricks of a volume have to heal.

    Raises:
        NotFoundError: GLUSTER_VOLUME_NOT_FOUND.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
        InternalError: GLUSTER_FAILED.
    """
    get_volume(tools, name)
    return _ask(tools, name)


def _ask(tools: Tools, name: str) -> tuple[reports.BrickHeal, ...]:
    # It mounts the volume by itself, and waits for bricks that do not answer.
    result = tools.runner.run(gluster.heal_info(name), timeout_s=gluster.TIMEOUT_S, allowed_exit_codes=None)
    if not result.stdout.strip():
        raise gluster_error(result.complaint, volume=name)
    return reports.parse_heal(result.stdout, name)


@dataclass(slots=True)
class _Progress:
    """How far a heal is.

    Attributes:
        pending: Files that were to be healed at the last look.
        everything: Whether all files are yet to be looked at: of those that a dispersed volume's new brick lacks
            gluster has no list; with full copies it has.
    """

    pending: int = 0
    everything: bool = False


def watch(tools: Tools, debt: Debt) -> None:
    """Starts the heal of a new brick again, after longer and longer pauses, until nothing is left to heal.

    Clears the debt then, and when there is nothing to be healed any more: the volume is gone, stopped or somebody
    else's, or the brick has left it. To be called without the gluster lock, which is held for single commands only.
    """
    progress: _Progress | None = None
    patience = tools.patience
    complaint = ""
    pauses = {"first_pause_s": patience.heal_pause_s, "longest_pause_s": patience.longest_heal_pause_s}
    for _last in tools.attempts(patience.heal_s, **pauses):
        try:
            found = _find_or_clear(tools, debt)
            if found is None:
                return
            progress = progress or _Progress(everything=found.dispersed)
            if _advance(tools, debt, progress):
                tools.debts.clear(debt)
                return
        except BrickyardError as error:
            if error.message != complaint:
                _log.warning("heal.hindered", volume=debt.name, brick=debt.brick, error=error.message)
            complaint = error.message
    _log.warning("heal.pending", volume=debt.name, brick=debt.brick, pending=progress.pending if progress else None)


def _find_or_clear(tools: Tools, debt: Debt) -> reports.GlusterVolume | None:
    """The volume, if the brick is to be healed in it; otherwise nothing is owed any more."""
    # Under the lock, which the exchange holds from before the debt is noted until the volume has the brick.
    with tools.locks.gluster:
        if debt not in tools.debts.owed():
            return None
        found = find_volume(tools, debt.name)
        ours = found is not None and owner_of(found) in (None, debt.volume_id)
        if found is None or not ours or not found.started or debt.brick not in found.bricks:
            tools.debts.clear(debt)
            return None
        return found


def _advance(tools: Tools, debt: Debt, progress: _Progress) -> bool:
    """Looks at the heal, and starts it unless it goes on by itself; tells whether it is over."""
    told = _ask(tools, debt.name)
    if not any(status.connected and status.name == debt.brick for status in told):
        # Its process has yet to come up, or its node is away.
        return False
    pending = sum(max(0, status.pending_count) for status in told)
    if not (pending or progress.everything):
        return True
    goes_on = pending < progress.pending
    progress.pending = pending
    if goes_on and not progress.everything:
        return False
    with tools.locks.gluster:
        _done, complaint = run_changes(tools, [gluster.start_heal(debt.name, everything=progress.everything)])
    # The exchange restarts the daemons: until that of each node is up again, gluster refuses.
    if complaint and not reports.says_no_heal_daemon(complaint):
        raise gluster_error(complaint, volume=debt.name)
    if not complaint:
        progress.everything = False
    return False
