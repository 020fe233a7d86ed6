"""Brick processes that no volume has any more. Effects: through the runner.

glusterd that comes up while a volume is stopped may start a brick process that it forgets about, and that keeps the
brick's file system busy for ever.
"""

from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports
from services.executor.tools import Tools
from services.executor.volumes import run_read

_log = get_logger()


def end_orphan(tools: Tools, brick_path: str) -> bool:
    """Tells the process of a brick to end, if glusterd says that no volume has this brick.

    Returns:
        Whether there was such a process.
    """
    try:
        told = run_read(tools, gluster.command_argv(["volume", "info"], xml=True)).stdout
        volumes = reports.parse_volumes(told)
    except BrickyardError as error:
        # Who cannot be asked has not said that nobody uses it.
        _log.warning("brick.users_unknown", path=brick_path, error=error.message)
        return False
    if any(brick.partition(":")[2] == brick_path for volume in volumes for brick in volume.bricks):
        return False
    count = tools.runner.end_brick_process(brick_path)
    _log.warning("brick.orphan_ended", path=brick_path, count=count)
    return count > 0
