"""What is done after an answer, because nobody needs to wait for it. Effects: through the runner.

gluster takes ten seconds to begin to move data onto new bricks, though the volume is larger before, three to remove a
snapshot, though the copy that was made of it is in use before, and however long to fill a brick that took another's
place. So these are noted, the caller is answered, and then they are done; an agent that ends in between does them after
its next start.
"""

from collections.abc import Callable
from functools import partial

from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.executor import copies, heals
from services.executor.debts import Debt, DebtKind
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports
from services.executor.tools import Tools
from services.executor.volumes import look_up, owner_of, run_changes

_log = get_logger()


def pay(tools: Tools) -> None:
    """Begins to do all that is owed; to be called without the gluster lock."""
    for debt in tools.debts.owed():
        tools.debts.begin(partial(_pay, tools, debt))


def _pay(tools: Tools, debt: Debt) -> None:
    for last in tools.attempts(tools.patience.glusterd_s):
        # After a boot glusterd comes last.
        if last or tools.runner.glusterd_listens():
            break
    if debt.kind is DebtKind.HEAL:
        with tools.debts.claim(debt) as mine:
            if mine:
                heals.watch(tools, debt)
        return
    try:
        with tools.locks.gluster:
            if debt not in tools.debts.owed():
                return
            complaint = _move(tools, debt) if debt.kind is DebtKind.MOVE_DATA else _remove(tools, debt)
    except BrickyardError as error:
        complaint = error.message
    if complaint:
        _log.warning("debt.not_paid", kind=debt.kind.value, name=debt.name, error=complaint)
    # A refusal to move data is final, as with Heketi: the volume may have one brick set by now. A snapshot has to go.
    if not complaint or (debt.kind is DebtKind.MOVE_DATA and not reports.says_not_running(complaint)):
        tools.debts.clear(debt)


def _move(tools: Tools, debt: Debt) -> str:
    found = look_up(tools, debt.name, debt.volume_id)
    if found is None or owner_of(found) not in (None, debt.volume_id) or not found.started:
        return ""
    return run_changes(tools, [gluster.start_rebalance(debt.name)])[1]


def _remove(tools: Tools, debt: Debt) -> str:
    for last in tools.attempts(tools.patience.unmount_s):
        complaint = copies.delete_snapshot(tools, debt.name)
        if last or not complaint or reports.says_not_running(complaint):
            break
    return complaint


def around_moving(
    tools: Tools, name: str, volume_id: str, change: Callable[[], tuple[int, str]], *, move: bool = False
) -> tuple[int, str]:
    """Makes a change; where gluster refuses it because data is being moved, that is stopped first, and owed again.

    To be called under the gluster lock; `pay` has to follow without it.

    Args:
        tools: What the node works with.
        name: Name of the volume whose data may be moving.
        volume_id: Its id.
        change: Makes the change; tells how many of its commands succeeded, and the complaint of the one that failed.
        move: Whether the change, if it succeeds, is a reason to move data.

    Returns:
        What `change` told at last.
    """
    debt = Debt(DebtKind.MOVE_DATA, name, volume_id)
    owed_anyway = debt in tools.debts.owed()
    if move:
        # Before the change: an agent that ends right after it shall know.
        tools.debts.note(debt)
    done, complaint = change()
    if not done and reports.says_rebalancing(complaint):
        tools.debts.note(debt)
        owed_anyway = True
        run_changes(tools, [gluster.stop_rebalance(name)])
        for last in tools.attempts(tools.patience.migration_s):
            # Nodes stop one after the other, each when the file in its hands is done.
            done, complaint = change()
            if last or done or not reports.says_rebalancing(complaint):
                break
    if complaint and not owed_anyway:
        tools.debts.clear(debt)
    return done, complaint
