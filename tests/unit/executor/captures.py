"""What real tools answered: recorded on a Debian 12 node, one file per case, tool and version in its name."""

import json
from pathlib import Path

from services.executor.runners.base import CommandResult

DATA = Path(__file__).resolve().parents[2] / "data" / "executor"
LVM = "lvm2-2.03.16"
GLUSTER = "glusterfs-10.3"
XFS = "xfsprogs-6.1.0"
UTIL_LINUX = "util-linux-2.38.1"


def capture(tool: str, case: str) -> CommandResult:
    """The recorded result of a command."""
    recorded = json.loads((DATA / f"{tool}-{case}.json").read_text(encoding="utf-8"))
    return CommandResult(
        tuple(recorded["argv"]), recorded["exit_code"], recorded["stdout"], recorded["stderr"], duration_s=0.1
    )


def stdin_of(tool: str, case: str) -> str:
    """What the recorded command read on stdin."""
    text: str = json.loads((DATA / f"{tool}-{case}.json").read_text(encoding="utf-8"))["input"]
    return text
