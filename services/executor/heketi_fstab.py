"""The entries of bricks that Heketi left in mount table files: seen, and taken away. Effects: through the runner.

A brick that the agent mounts must be nowhere else: after its removal the entry would keep the node from starting.
"""

from services.common.logs import get_logger
from services.executor.filesystem import mounts
from services.executor.policy import BrickSpec
from services.executor.runners.base import Mount
from services.executor.tools import Tools

_log = get_logger()


def entries(tools: Tools) -> tuple[Mount, ...]:
    """Entries below the mount root, of all the files."""
    root = f"{tools.policy.mount_root}/"
    return tuple(
        entry
        for path in _paths(tools)
        for entry in mounts.parse_fstab(tools.runner.read_text(path))
        if entry.mount_point.startswith(root)
    )


def release(tools: Tools, spec: BrickSpec) -> bool:
    """Takes away the entries of a brick, all other lines stay as they are; whether there was one.

    Raises:
        OSError: A file cannot be read or written.
    """
    found = False
    with tools.locks.fstab:
        for path in _paths(tools):
            text = tools.runner.read_text(path)
            kept = mounts.without_entries(text, source=spec.device, mount_point=spec.mount_point)
            if kept is not None:
                tools.runner.write_text_atomically(path, kept)
                _log.info("brick.fstab_entry_taken_over", path=path, lv=spec.lv)
                found = True
    return found


def _paths(tools: Tools) -> tuple[str, ...]:
    """Without the agent's own file, should somebody have told it to use Heketi's."""
    return tuple(path for path in tools.policy.heketi_fstabs if path != tools.policy.fstab)
