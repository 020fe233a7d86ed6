"""Snapshots and copies of volumes: command lines, answers, and gluster's names for what it makes of them. Pure.

Observed of glusterfs 10.3: only an activated snapshot can be copied; an activated one can be deleted at once, which is
faster than to deactivate it first; the copy has all options of its source; options of a copy can be set only after its
first start, because before it a replicated volume lacks a file that glusterd compares.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import InternalError
from services.common.reasons import Reason
from services.executor.gluster.reports import GlusterVolume, read_answer
from services.executor.reading import reads

# Copies and snapshots are mounted here; the second name is a link to the first, and what gluster calls it elsewhere.
COPY_ROOTS = ("/run/gluster/snaps/", "/var/run/gluster/snaps/")
_UUID_DIGITS = 32
_TEMPORARY = re.compile(r"tmpsnap_[0-9a-f]{32}")
_COPY_LV = re.compile(r"([0-9a-f]{32})_[0-9]+")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of one volume.

    Attributes:
        name: Its name.
        volume: Name of the volume that gluster made of it, 32 hex digits; its LVs are called after it.
        source: Name of the volume that it was taken of.
    """

    name: str
    volume: str
    source: str


def snapshot_name(volume_id: str) -> str:
    """Name of the temporary snapshot for a copy: a repeated call finds the one of the interrupted call."""
    return f"tmpsnap_{volume_id}"


def is_temporary(name: str) -> bool:
    """Whether a snapshot was made for a copy."""
    return _TEMPORARY.fullmatch(name) is not None


def create(name: str, source: str) -> list[str]:
    """Takes a snapshot, under exactly this name."""
    return ["snapshot", "create", name, source, "no-timestamp"]


def activate(name: str) -> list[str]:
    """Mounts a snapshot and starts its brick processes."""
    return ["snapshot", "activate", name]


def deactivate(name: str) -> list[str]:
    """Stops a snapshot's brick processes."""
    return ["snapshot", "deactivate", name]


def clone(copy: str, name: str) -> list[str]:
    """Makes a volume of an activated snapshot; it has LVs of its own and outlives the snapshot."""
    return ["snapshot", "clone", copy, name]


def delete(name: str) -> list[str]:
    """Removes a snapshot with its mounts and LVs, activated or not."""
    return ["snapshot", "delete", name]


def info(*names: str) -> list[str]:
    """Describes snapshots; all of them when none is named."""
    return ["snapshot", "info", *names]


@reads(Reason.GLUSTER_FAILED, "gluster's answer")
def parse_snapshots(text: str) -> tuple[Snapshot, ...]:
    """Snapshots from `snapshot info`; none when gluster says that the named one does not exist.

    Raises:
        InternalError: GLUSTER_FAILED, any other answer.
    """
    answer, root = read_answer(text)
    if answer.result != 0 and says_no_snapshot(answer.complaint):
        return ()
    if answer.result != 0 or root.find("snapInfo/snapshots") is None:
        raise InternalError(Reason.GLUSTER_FAILED, f"Unable to get info of snapshots: {answer.complaint}")
    return tuple(
        Snapshot(
            name=element.findtext("name") or "",
            volume=volume.findtext("name") or "",
            source=volume.findtext("originVolume/name") or "",
        )
        for element in root.iterfind("snapInfo/snapshots/snapshot")
        for volume in element.iterfind("snapVolume")
    )


def says_no_snapshot(text: str) -> bool:
    """Whether a command failed because the snapshot does not exist."""
    return "does not exist" in text.lower() and "snapshot" in text.lower()


def is_copy(volume: GlusterVolume) -> bool:
    """Whether a volume was made of a snapshot: all its bricks are where gluster mounts those."""
    return bool(volume.bricks) and all(path_of(brick).startswith(COPY_ROOTS) for brick in volume.bricks)


def path_of(brick: str) -> str:
    """The path in "host:/path"."""
    return brick[brick.index(":/") + 1 :]


def copy_lvs(volume: GlusterVolume) -> tuple[str, ...]:
    """Names of the LVs of a copy's bricks, in the order of the bricks.

    Each node counts the bricks that it has, in the volume's order, whatever volume groups they are in.
    """
    counted: Counter[str] = Counter()
    names = []
    for host in volume.hosts:
        names.append(f"{lv_stem(volume.uuid)}_{counted[host]}")
        counted[host] += 1
    return tuple(names)


def lv_stem(uuid: str) -> str:
    """What the names of a volume's LVs start with when gluster made them."""
    return uuid.replace("-", "")


def stem_of(lv: str) -> str:
    """The stem in the name of an LV that gluster made for a snapshot or a copy; empty when it has not that form."""
    match = _COPY_LV.fullmatch(lv)
    return match[1] if match else ""


def used_stems(volumes: Sequence[GlusterVolume], snapshots: Sequence[Snapshot]) -> frozenset[str]:
    """The stems of all LVs that belong to volumes or snapshots."""
    stems = {lv_stem(volume.uuid) for volume in volumes}
    # A volume restored from a snapshot goes on with that one's LVs: its bricks tell the name.
    stems |= {
        part
        for volume in volumes
        for brick in volume.bricks
        if path_of(brick).startswith(COPY_ROOTS)
        for part in path_of(brick).split("/")
        if len(part) == _UUID_DIGITS
    }
    return frozenset(stems | {snapshot.volume for snapshot in snapshots})
