"""Heketi's names of log levels, over the process's own. Effects: the log set-up of this process."""

from services.common.logs import level_of_logs, set_level_of_logs

# Ours has no level above error but silence; a warning names the nearest one below.
_OURS = {
    "none": "critical",
    "critical": "critical",
    "error": "error",
    "warning": "warning",
    "info": "info",
    "debug": "debug",
}
LEVELS = frozenset(_OURS)

_chosen = ""


def current_level() -> str:
    """The level in Heketi's words."""
    ours = level_of_logs()
    return _chosen if _OURS.get(_chosen) == ours else ours


def set_level(level: str) -> None:
    """Changes the level of this process's log, until it restarts."""
    global _chosen  # noqa: PLW0603 - one level for the whole process
    _chosen = level
    set_level_of_logs(_OURS[level])
