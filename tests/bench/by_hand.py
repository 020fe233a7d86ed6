"""What an administrator types to make, enlarge, copy and remove a replicated volume: the yardstick of the bench.

In Heketi's words, less what Heketi asks for itself only: no `volume info`, and no `snapshot deactivate`.

Each node gets one shell for each batch, as Heketi opened one connection for each; the shells of several nodes run side
by side, and no two on one node (Heketi's rule). The gluster commands of several volumes come one after the other,
because gluster refuses them otherwise. Steps are told apart by bash's own clock, which costs no process.
"""

import re
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

from compose.lab.node import Node

_KIB_PER_GIB = 1 << 20
_EXTENT_KIB = 4096
_MOUNT_OPTIONS = "rw,inode64,noatime,nouuid"
_GLUSTER = "gluster --mode=script --timeout=600"
_STEP = re.compile(r"^@ (\S+) (\d+\.\d+)$", re.MULTILINE)
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class HandBrick:
    """A brick as it is typed.

    Attributes:
        node: The node that has it.
        vg: Volume group of the disk.
        id: 32 lower-case hex digits.
    """

    node: Node
    vg: str
    id: str

    @property
    def mount_point(self) -> str:
        """Where Heketi mounts it."""
        return f"/var/lib/heketi/mounts/{self.vg}/brick_{self.id}"


@dataclass(frozen=True, slots=True)
class HandVolume:
    """A volume as it is typed."""

    id: str
    size_gib: int
    bricks: tuple[HandBrick, ...]

    @property
    def name(self) -> str:
        """As Heketi names volumes by default."""
        return f"vol_{self.id}"


@dataclass(frozen=True, slots=True)
class HandCopy:
    """A copy of a volume as it is typed: its name, and the node that the commands are typed on."""

    name: str
    node: Node


@dataclass(frozen=True, slots=True)
class HandStep:
    """One command of a batch: where it ran, and when it began and ended, in seconds since the epoch."""

    node: str
    name: str
    began: float
    ended: float


def _pool_kib(size_gib: int) -> tuple[int, int]:
    """Sizes of thin pool and metadata in KiB by Heketi's rule, without room for snapshots."""
    pool = size_gib * _KIB_PER_GIB
    metadata = -(-int(pool * 0.005) // _EXTENT_KIB) * _EXTENT_KIB
    return pool, metadata


def create_brick_lines(brick: HandBrick, size_gib: int) -> list[tuple[str, str]]:
    """Name and text of each command that makes a brick, in order."""
    pool_kib, metadata_kib = _pool_kib(size_gib)
    device = f"/dev/mapper/{brick.vg}-brick_{brick.id}"
    mount = brick.mount_point
    return [
        ("mkdir", f"mkdir -p {mount}"),
        (
            "lvcreate",
            (
                f"/usr/sbin/lvm lvcreate -qq --autobackup=n --poolmetadatasize {metadata_kib}K --chunksize 256K "
                f"--size {pool_kib}K --thin {brick.vg}/tp_{brick.id} --virtualsize {pool_kib}K --name brick_{brick.id}"
            ),
        ),
        ("mkfs", f"mkfs.xfs -i size=512 -n size=8192 {device} >/dev/null"),
        ("fstab", f'awk "BEGIN {{print \\"{device} {mount} xfs {_MOUNT_OPTIONS} 1 2\\" >> \\"/etc/fstab\\"}}"'),
        ("mount", f"mount -o {_MOUNT_OPTIONS} {device} {mount}"),
        ("mkdir", f"mkdir {mount}/brick"),
    ]


def delete_brick_lines(brick: HandBrick) -> list[tuple[str, str]]:
    """Name and text of each command that removes a brick, in order."""
    return [
        ("umount", f"umount {brick.mount_point}"),
        ("fstab", f'sed -i.save "/brick_{brick.id}/d" /etc/fstab'),
        ("lvremove", f"/usr/sbin/lvm lvremove --autobackup=n -f {brick.vg}/brick_{brick.id} >/dev/null"),
        ("lvs", f"test $(/usr/sbin/lvm lvs --noheadings --options=thin_count {brick.vg}/tp_{brick.id}) = 0"),
        ("lvremove", f"/usr/sbin/lvm lvremove --autobackup=n -f {brick.vg}/tp_{brick.id} >/dev/null"),
        ("rmdir", f"rmdir {brick.mount_point}"),
    ]


def create_volume_lines(volume: HandVolume) -> list[tuple[str, str]]:
    """Name and text of each gluster command that makes a volume, in order."""
    bricks = " ".join(f"{brick.node.address}:{brick.mount_point}/brick" for brick in volume.bricks)
    return [
        ("create", f"{_GLUSTER} volume create {volume.name} replica {len(volume.bricks)} {bricks} >/dev/null"),
        ("set", f"{_GLUSTER} volume set {volume.name} user.heketi.id {volume.id} >/dev/null"),
        ("start", f"{_GLUSTER} volume start {volume.name} >/dev/null"),
    ]


def add_bricks_lines(volume: HandVolume, bricks: Sequence[HandBrick]) -> list[tuple[str, str]]:
    """Name and text of each gluster command that enlarges a volume by one brick set, in order."""
    words = " ".join(f"{brick.node.address}:{brick.mount_point}/brick" for brick in bricks)
    return [
        ("add-brick", f"{_GLUSTER} volume add-brick {volume.name} {words} >/dev/null"),
        ("rebalance", f"{_GLUSTER} volume rebalance {volume.name} start >/dev/null"),
    ]


def clone_lines(volume: HandVolume, copy: str) -> list[tuple[str, str]]:
    """Name and text of each gluster command that makes a started copy of that name, in order."""
    snapshot = f"tmpsnap_{copy}"
    return [
        ("snapshot", f"{_GLUSTER} snapshot create {snapshot} {volume.name} no-timestamp >/dev/null"),
        ("activate", f"{_GLUSTER} snapshot activate {snapshot} >/dev/null"),
        ("clone", f"{_GLUSTER} snapshot clone {copy} {snapshot} >/dev/null"),
        ("start", f"{_GLUSTER} volume start {copy} >/dev/null"),
        ("snap-delete", f"{_GLUSTER} snapshot delete {snapshot} >/dev/null"),
    ]


# Without a volume that uses them, what is mounted below gluster's directory for copies is left over.
_REMOVE_COPY = r"""
awk -v part="/$1/" 'index($2, part) {print $1, $2}' /proc/mounts | while read -r device path; do
  umount "$path" && /usr/sbin/lvm lvremove -qq --autobackup=n -f "$device"
done
"""


def delete_volume_lines(volume: HandVolume) -> list[tuple[str, str]]:
    """Name and text of each gluster command that removes a volume, in order."""
    return [
        ("stop", f"{_GLUSTER} volume stop {volume.name} force >/dev/null"),
        ("delete", f"{_GLUSTER} volume delete {volume.name} >/dev/null"),
    ]


class ByHand:
    """Makes, changes and removes volumes by typing.

    Args:
        places: Nodes with the volume group that each has; a volume gets one brick on each.
    """

    def __init__(self, places: Sequence[tuple[Node, str]]) -> None:
        self._places = tuple(places)
        self._node_locks = {node.name: threading.Lock() for node, _ in places}
        self._gluster_lock = threading.Lock()
        self._steps: list[HandStep] = []

    def create(self, size_gib: int) -> HandVolume:
        """Makes a volume with one copy on each node.

        Raises:
            LabError: A command failed.
        """
        bricks = tuple(HandBrick(node, vg, secrets.token_hex(16)) for node, vg in self._places)
        volume = HandVolume(secrets.token_hex(16), size_gib, bricks)
        self._on_all([(brick.node, create_brick_lines(brick, size_gib)) for brick in bricks])
        with self._gluster_lock:
            self._batch(bricks[0].node, create_volume_lines(volume))
        return volume

    def expand(self, volume: HandVolume) -> HandVolume:
        """Enlarges a volume by as much as it had at first, and starts to move its data.

        Raises:
            LabError: A command failed.
        """
        bricks = tuple(HandBrick(node, vg, secrets.token_hex(16)) for node, vg in self._places)
        self._on_all([(brick.node, create_brick_lines(brick, volume.size_gib)) for brick in bricks])
        with self._gluster_lock:
            self._batch(bricks[0].node, add_bricks_lines(volume, bricks))
        return replace(volume, bricks=(*volume.bricks, *bricks))

    def clone(self, volume: HandVolume) -> HandCopy:
        """Makes a copy of a volume.

        Raises:
            LabError: A command failed.
        """
        copy = HandCopy(f"vol_{secrets.token_hex(16)}", volume.bricks[0].node)
        with self._gluster_lock:
            self._batch(copy.node, clone_lines(volume, copy.name))
        return copy

    def delete_copy(self, copy: HandCopy) -> None:
        """Removes a copy; nobody measures that.

        Raises:
            LabError: A command failed.
        """
        script = f"""set -e
            gluster volume info {copy.name} | sed -n 's/^Brick1: .*\\/snaps\\/\\([0-9a-f]*\\).*/\\1/p'
            {_GLUSTER} volume stop {copy.name} force >/dev/null
            {_GLUSTER} volume delete {copy.name} >/dev/null
        """
        part = copy.node.run(["/bin/bash", "-c", script], check=True, seconds=_LIMIT_S).stdout.strip()
        for node, _vg in self._places:
            node.run(["/bin/bash", "-c", _REMOVE_COPY, "-", part], check=True, seconds=_LIMIT_S)

    def delete(self, volume: HandVolume) -> None:
        """Removes a volume and its bricks.

        Raises:
            LabError: A command failed.
        """
        with self._gluster_lock:
            self._batch(volume.bricks[0].node, delete_volume_lines(volume))
        lines: dict[str, tuple[Node, list[tuple[str, str]]]] = {}
        for brick in volume.bricks:
            lines.setdefault(brick.node.name, (brick.node, []))[1].extend(delete_brick_lines(brick))
        self._on_all(list(lines.values()))

    def take_steps(self) -> list[HandStep]:
        """What was run since the last time."""
        steps, self._steps = self._steps, []
        return steps

    def _on_all(self, batches: list[tuple[Node, list[tuple[str, str]]]]) -> None:
        with ThreadPoolExecutor(len(batches)) as pool:
            for done in [pool.submit(self._batch, node, lines) for node, lines in batches]:
                done.result()

    def _batch(self, node: Node, lines: list[tuple[str, str]]) -> None:
        script = "set -e\n" + "".join(f'echo "@ {name} $EPOCHREALTIME"\n{text}\n' for name, text in lines)
        with self._node_locks[node.name]:
            done = node.run(["/bin/bash", "-c", f'{script}echo "@ end $EPOCHREALTIME"'], check=True, seconds=_LIMIT_S)
        marks = [(name, float(when)) for name, when in _STEP.findall(done.stdout)]
        for (name, began), (_, ended) in pairwise(marks):
            self._steps.append(HandStep(node.name, name, began, ended))
