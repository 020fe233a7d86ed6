"""The state of one simulated node: disks, volume groups, file systems, mounts and files. Memory only."""

import posixpath
import secrets
import string
import threading
from dataclasses import dataclass, field
from typing import Any

from services.common.units import MIB
from services.executor.runners.base import Mount
from services.executor.runners.simulated.mount_table import MountTable

EXTENT_BYTES = 4 * MIB
# What pvcreate takes with 128 MiB of metadata and an alignment of 256 KiB.
PV_OVERHEAD_BYTES = 128 * MIB + MIB // 4
_LETTERS = string.ascii_letters + string.digits
_UUID_PARTS = (6, 4, 4, 4, 4, 4, 6)


def lvm_uuid() -> str:
    """A fresh UUID as LVM writes them."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(count)) for count in _UUID_PARTS)


@dataclass(slots=True)
class Directory:
    """A directory's group and permissions."""

    gid: int = 0
    mode: int = 0o755


@dataclass(slots=True)
class FileSystem:
    """A tree of directories and files, by path from its own root.

    Attributes:
        directories: All directories.
        files: All files.
        on_disk: The directories that outlive a power cut.
    """

    directories: dict[str, Directory] = field(default_factory=lambda: {"/": Directory()})
    files: dict[str, str] = field(default_factory=dict)
    on_disk: dict[str, Directory] = field(default_factory=lambda: {"/": Directory()})

    def sync(self) -> None:
        """Writes the directories to disk."""
        self.on_disk = dict(self.directories)


@dataclass(slots=True)
class Disk:
    """A whole block device.

    Attributes:
        path: E.g. /dev/sdb.
        size_bytes: Raw size.
        signature: What is on it, e.g. "ext4"; empty for nothing.
        partitions: Names of its partitions.
        pv_uuid: UUID of its physical volume; empty when it is none.
        pv_bytes: How large LVM takes it to be; a disk that grew has more.
        read_only: Whether it cannot be written.
        vg: Name of its volume group; empty when it is in none.
    """

    path: str
    size_bytes: int
    signature: str = ""
    partitions: tuple[str, ...] = ()
    pv_uuid: str = ""
    vg: str = ""
    pv_bytes: int = 0
    read_only: bool = False


@dataclass(slots=True)
class LogicalVolume:
    """A thin pool (`metadata_extents` > 0) or a thin LV (`pool` set); `origin` is what it is a snapshot of."""

    name: str
    size_bytes: int
    pool: str = ""
    metadata_extents: int = 0
    active: bool = True
    origin: str = ""
    filesystem: FileSystem | None = None

    @property
    def is_pool(self) -> bool:
        """Whether it is a thin pool."""
        return self.metadata_extents > 0


@dataclass(slots=True)
class VolumeGroup:
    """A volume group of one disk."""

    name: str
    disk: Disk
    volumes: dict[str, LogicalVolume] = field(default_factory=dict)
    spare_extents: int = 0

    @property
    def total_extents(self) -> int:
        """All its extents."""
        return ((self.disk.pv_bytes or self.disk.size_bytes) - PV_OVERHEAD_BYTES) // EXTENT_BYTES

    @property
    def free_extents(self) -> int:
        """Extents that nothing takes: neither pools, nor their metadata, nor the spare for it."""
        used = sum(
            -(-volume.size_bytes // EXTENT_BYTES) + volume.metadata_extents
            for volume in self.volumes.values()
            if volume.is_pool
        )
        return self.total_extents - used - self.spare_extents

    def thin_volumes(self, pool: str) -> list[LogicalVolume]:
        """The thin LVs of a pool."""
        return [volume for volume in self.volumes.values() if volume.pool == pool]


class Machine:
    """A simulated node without its glusterd.

    Args:
        name: Host name that the node is managed under.
        disks: Its disks.
        root: What is mounted on "/".
    """

    def __init__(self, name: str, disks: list[Disk], root: str = "/dev/sda1") -> None:
        self.name = name
        self.lock = threading.RLock()
        self.disks = {disk.path: disk for disk in disks}
        self.groups: dict[str, VolumeGroup] = {}
        self.root = FileSystem()
        self.mounts = MountTable([Mount(root, "/", "ext4", "rw,relatime")])
        self.busy: set[str] = set()
        # Mount points that brick processes keep busy which glusterd has forgotten about.
        self.orphans: set[str] = set()
        # Whether gluster-block is installed.
        self.has_gluster_block = True

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.RLock()

    def volume_at(self, device: str) -> tuple[VolumeGroup, LogicalVolume] | None:
        """The active thin LV or pool behind a device node; None when there is none."""
        with self.lock:
            name = device.removeprefix("/dev/mapper/")
            group_name, _, lv = name.replace("--", "\0").partition("-")
            group = self.groups.get(group_name.replace("\0", "-"))
            volume = group.volumes.get(lv.replace("\0", "-")) if group is not None else None
            if group is None or volume is None or not volume.active or name == device:
                return None
            return group, volume

    def place(self, path: str) -> tuple[FileSystem, str]:
        """The file system that a path lies in, mounts considered, and the path from its root."""
        path = posixpath.normpath(path)
        for entry in self.mounts.covering(path):
            found = self.volume_at(entry.source)
            if found is not None and found[1].filesystem is not None:
                return found[1].filesystem, path[len(entry.mount_point) :] or "/"
        return self.root, path

    def directory(self, path: str) -> Directory | None:
        """A directory as seen through the mounts; None when it is not there."""
        with self.lock:
            tree, inner = self.place(path)
            return tree.directories.get(inner)

    def is_mounted(self, device: str) -> bool:
        """Whether a device is mounted."""
        return self.mounts.has_source(device)

    def sync(self, path: str) -> bool:
        """Writes a directory, and what was made before, to disk; False when it is not there."""
        with self.lock:
            tree, inner = self.place(path)
            if inner not in tree.directories:
                return False
            tree.sync()
        return True

    def cut_power(self) -> None:
        """Reboots, and loses of its bricks' directories what was not written to disk."""
        with self.lock:
            for group in self.groups.values():
                for tree in (volume.filesystem for volume in group.volumes.values()):
                    if tree is not None:
                        tree.directories = dict(tree.on_disk)
        self.reboot()

    def reboot(self) -> None:
        """Loses mounts and activations; disks and files stay."""
        # In good order: what is unmounted is written.
        with self.lock:
            for group in self.groups.values():
                for tree in (volume.filesystem for volume in group.volumes.values()):
                    if tree is not None:
                        tree.sync()
            self.mounts[:] = self.mounts[:1]
            self.busy.clear()
            self.orphans.clear()
            for group in self.groups.values():
                for volume in group.volumes.values():
                    volume.active = False
