"""What glusterd of this node writes down of its volumes, read without asking it. Pure.

A CLI process costs a tenth of a second or more, a file nothing. glusterd replaces its files in one go before it answers
whoever made the change, and acts on what is in them after a restart. What cannot be read here is asked of the CLI.
"""

import re
from collections.abc import Callable

from services.executor.gluster.commands import ID_OPTION
from services.executor.gluster.reports import GlusterVolume

_ROOT = "/var/lib/glusterd"
_COUNT = re.compile(r"[0-9]{1,6}")
_CREATED, _STARTED = "0", "1"


def info_path(name: str) -> str:
    """The file that describes a volume."""
    return f"{_ROOT}/vols/{name}/info"


def snapshot_path(name: str) -> str:
    """The directory of a snapshot."""
    return f"{_ROOT}/snaps/{name}"


def read_volume(name: str, read: Callable[[str], str | None]) -> GlusterVolume | None:
    """A volume, its id the only one of its options; None when the files do not tell all of it.

    Args:
        name: Its name.
        read: Gives the text of a file, None when it is not there.
    """
    values = _values(read(info_path(name)))
    bricks = []
    count = values.get("count", "")
    for number in range(int(count) if _COUNT.fullmatch(count) else 0):
        # The name of a brick's file is in the volume's, with dashes for slashes.
        brick = _values(read(f"{_ROOT}/vols/{name}/bricks/{values.get(f'brick-{number}', '')}"))
        if not {"hostname", "path", "uuid"} <= brick.keys():
            return None
        bricks.append(brick)
    if not bricks or not {"volume-id", "status"} <= values.keys():
        return None
    return GlusterVolume(
        name=name,
        uuid=values["volume-id"],
        started=values["status"] == _STARTED,
        bricks=tuple(f"{brick['hostname']}:{brick['path']}" for brick in bricks),
        options={ID_OPTION: values[ID_OPTION]} if ID_OPTION in values else {},
        hosts=tuple(brick["uuid"] for brick in bricks),
        never_started=values["status"] == _CREATED,
    )


def _values(text: str | None) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in (text or "").splitlines())}
