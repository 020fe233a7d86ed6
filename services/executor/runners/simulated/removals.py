"""Rebalance and removal of bricks of simulated volumes: files move to the bricks that stay. Memory only."""

import uuid
from collections.abc import Sequence

from services.executor.runners.simulated.pools import GlusterError, Pool, Removal, Volume

_REBALANCING = "Rebalance is in progress. Please retry after completion"
_EARLIER = "An earlier remove-brick task exists for volume {}. Either commit it or stop it before starting a new task."
_CHECK = (
    "Check the removed bricks to ensure all files are migrated.\n"
    "If files with data are found on the brick path, copy them via a gluster mount point before re-purposing the "
    "removed brick.\n"
)


def refuse_while_moving(volume: Volume) -> None:
    """Answers as glusterd does when bricks are to join while data is being moved.

    Raises:
        GlusterError: It is.
    """
    if volume.rebalancing or volume.removal is not None:
        raise GlusterError(f"Volume name {volume.name} rebalance is in progress. Please retry after completion")


def rebalance(volume: Volume, verb: str) -> str:
    """`volume rebalance NAME start|stop`.

    Raises:
        GlusterError: There is nothing to move, or nothing that moves.
    """
    if verb == "stop":
        if not volume.rebalancing:
            raise GlusterError(f"Rebalance not started for volume {volume.name}.")
        volume.rebalancing = False
        return (
            f"volume rebalance: {volume.name}: success: rebalance process may be in the middle of a file migration.\n"
        )
    if len(volume.bricks) <= volume.set_size:
        raise GlusterError(
            f"Volume {volume.name} is not a distribute volume or contains only 1 brick.\nNot performing rebalance"
        )
    if volume.rebalancing:
        raise GlusterError(f"Rebalance on {volume.name} is already started")
    volume.rebalances += 1
    return (
        f"volume rebalance: {volume.name}: success: Rebalance on {volume.name} has been started successfully. Use "
        f"rebalance status command to check status of the rebalance process.\nID: {uuid.uuid4()}\n"
    )


def remove(pool: Pool, volume: Volume, bricks: Sequence[str], verb: str) -> str:
    """`volume remove-brick NAME BRICK ... start|commit|stop`.

    Raises:
        GlusterError: Not possible in the volume's state.
    """
    _refuse_wrong(volume, bricks)
    if verb == "start":
        return _start(pool, volume, bricks)
    if verb == "stop":
        if volume.removal is None:
            raise GlusterError(f"remove-brick not started for volume {volume.name}.")
        volume.removal = None
        return "volume remove-brick stop: success\n"
    if volume.status == 1:
        if volume.removal is None or volume.removal.bricks != tuple(bricks):
            raise GlusterError(f"Brick {bricks[0]} is not decommissioned. Use start or force option")
        if volume.removal.answers:
            raise GlusterError("use 'force' option as migration is in progress")
    volume.removal = None
    volume.bricks = [brick for brick in volume.bricks if brick not in bricks]
    for brick in bricks:
        pool.owner(brick).machine.busy.discard(brick.partition(":")[2].rpartition("/")[0])
    return f"volume remove-brick commit: success\n{_CHECK}"


def _refuse_wrong(volume: Volume, bricks: Sequence[str]) -> None:
    if len(volume.bricks) <= len(bricks):
        raise GlusterError(
            "Removing bricks from replicate configuration is not allowed without reducing replica count explicitly."
            if volume.set_size > 1
            else "Deleting all the bricks of the volume is not allowed"
        )
    wrong = [brick for brick in bricks if brick not in volume.bricks]
    if wrong:
        raise GlusterError(f"Incorrect brick {wrong[0]} for volume {volume.name}")


def _start(pool: Pool, volume: Volume, bricks: Sequence[str]) -> str:
    if volume.status != 1:
        raise GlusterError(
            f"Volume {volume.name} needs to be started before remove-brick (you can use 'force' or 'commit' to "
            "override this behavior)"
        )
    if volume.removal is not None:
        raise GlusterError(_EARLIER.format(volume.name))
    if volume.rebalancing:
        raise GlusterError(_REBALANCING)
    volume.removal = Removal(tuple(bricks), pool.moving_answers, str(uuid.uuid4()))
    if not pool.stuck_files:
        _move(pool, volume, bricks)
    return f"volume remove-brick start: success\nID: {volume.removal.task}\n"


def _move(pool: Pool, volume: Volume, bricks: Sequence[str]) -> None:
    """Moves files to the first set that stays, position by position."""
    staying = [brick for brick in volume.bricks if brick not in bricks]
    for index, brick in enumerate(bricks):
        target = staying[index % volume.set_size]
        source_path, target_path = brick.partition(":")[2], target.partition(":")[2]
        tree, inner = pool.owner(brick).machine.place(source_path)
        other, goal = pool.owner(target).machine.place(target_path)
        for path in [path for path in tree.files if path.startswith(f"{inner}/")]:
            other.files[f"{goal}{path[len(inner) :]}"] = tree.files.pop(path)


def status(pool: Pool, volume: Volume, bricks: Sequence[str]) -> str:
    """The XML of `volume remove-brick NAME BRICK ... status`.

    Raises:
        GlusterError: No such bricks are being removed.
    """
    if volume.removal is None:
        raise GlusterError(f"remove-brick not started for volume {volume.name}.")
    if volume.removal.bricks != tuple(bricks):
        raise GlusterError(f"Incorrect brick for volume {volume.name}")
    running = volume.removal.answers > 0
    volume.removal.answers -= int(running)
    state = "<status>1</status><statusStr>in progress</statusStr>"
    failures = 0
    if not running:
        state, failures = "<status>3</status><statusStr>completed</statusStr>", pool.stuck_files
    hosts = dict.fromkeys(brick.partition(":")[0] for brick in bricks)
    nodes = "".join(
        f"<node><nodeName>{host}</nodeName><files>0</files><lookups>0</lookups><failures>{failures}</failures>"
        f"<skipped>0</skipped>{state}</node>"
        for host in hosts
    )
    return (
        f"<volRemoveBrick><task-id>{volume.removal.task}</task-id><nodeCount>{len(hosts)}</nodeCount>{nodes}"
        "</volRemoveBrick>"
    )
