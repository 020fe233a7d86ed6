"""What this node allows, whoever asks: devices, names, paths and gluster options. Pure.

The node's policy stands above the caller's: a stolen key of the control plane must not wipe the system disk.
"""

import fnmatch
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from services.common.ids import is_id
from services.common.reasons import Reason
from services.common.units import KIB
from services.executor.gluster.reports import option_pairs
from services.executor.gluster.snapshots import COPY_ROOTS, stem_of
from services.executor.lvm.commands import mapper_path, vg_name
from services.executor.runners.base import Mount

DEFAULT_DEVICES = (
    "/dev/[shv]d[a-z]",
    "/dev/[shv]d[a-z][a-z]",
    "/dev/xvd[a-z]",
    "/dev/ubd[a-z]",
    "/dev/nvme[0-9]*n[0-9]*",
    "/dev/disk/by-*/*",
    "/dev/mapper/*",
)
ANY_DEVICE = "*"
# Gluster's own families of options; "group" sets those of a file that is on the node.
DEFAULT_OPTIONS = (
    "group", "snap-max-hard-limit",
    "auth.*", "client.*", "cluster.*", "config.*", "ctime.*", "dht.*", "diagnostics.*", "disperse.*",
    "encryption.*", "features.*", "ganesha.*", "geo-replication.*", "locks.*", "network.*", "nfs.*", "performance.*",
    "rda.*", "server.*", "ssl.*", "storage.*", "transport.*", "user.*",
)  # fmt: skip
DEFAULT_MOUNT_ROOT = "/var/lib/heketi/mounts"
DEFAULT_FSTAB = "/var/lib/brickyard/fstab"
# Where Heketi wrote its bricks: with SSH, and with Kubernetes.
HEKETI_FSTABS = ("/etc/fstab", "/var/lib/heketi/fstab")
MOUNT_OPTIONS = "rw,inode64,noatime,nouuid"
_POOL = re.compile(r"tp_[0-9a-f]{32}")
_DEVICE_PATH = re.compile(r"/[A-Za-z0-9/._:+@=-]+")
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,253}[A-Za-z0-9])?")
_VOLUME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}")
_BRICK_PATH = re.compile(r"/[A-Za-z0-9_./-]+")
_OPTION_VALUE = re.compile(r"[^\s\"'`\\;|&<>$]+")
_OPTION_KEY = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z0-9_.-]+)?")
# These make glusterd or a brick process run a program, or write a file of the caller's choice; no pattern allows them.
_REFUSED_OPTIONS = frozenset({"nfs.rpc-statd", "nfs.mount-rmtab", "changelog.changelog-dir", "server.statedump-path"})
_MAX_GID = 2147483646


@dataclass(frozen=True, slots=True)
class BrickSpec:
    """A brick as this node makes it; every name is derived or checked here.

    Attributes:
        vg: Volume group.
        lv: Thin LV.
        pool: Thin pool.
        size_bytes: Size of the thin LV.
        pool_bytes: Size of the thin pool.
        metadata_bytes: Size of the pool's metadata.
        mount_point: Where the file system is mounted.
        path: The directory that gluster exports.
        arbiter: Whether it holds names only.
        gid: Group of the directory, 0 = root.
    """

    vg: str
    lv: str
    pool: str
    size_bytes: int
    pool_bytes: int
    metadata_bytes: int
    mount_point: str
    path: str
    arbiter: bool
    gid: int

    @property
    def device(self) -> str:
        """Device node of the thin LV; it finds the disk by LVM's UUIDs, whatever the kernel calls it."""
        return mapper_path(self.vg, self.lv)

    @property
    def mount(self) -> Mount:
        """The brick's entry in the mount table file."""
        return Mount(self.device, self.mount_point, "xfs", MOUNT_OPTIONS)


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """The local rules of a node.

    Attributes:
        device_globs: Paths of disks that may be handed over, as shell patterns.
        allow_destroy: Whether a disk's data may be wiped when a request asks for it.
        mount_root: Bricks are mounted below.
        fstab: The agent's own mount table file.
        heketi_fstabs: Where Heketi may have written the entries of its bricks, which the agent takes over.
        option_globs: Gluster options that may be set, as shell patterns.
    """

    device_globs: tuple[str, ...] = DEFAULT_DEVICES
    allow_destroy: bool = False
    mount_root: str = DEFAULT_MOUNT_ROOT
    fstab: str = DEFAULT_FSTAB
    heketi_fstabs: tuple[str, ...] = HEKETI_FSTABS
    option_globs: tuple[str, ...] = DEFAULT_OPTIONS

    def check_device(self, path: str) -> None:
        """Refuses paths that no pattern allows.

        Raises:
            InvalidArgumentError: It is no path of a device.
            PermissionDeniedError: DEVICE_NOT_ALLOWED.
        """
        if not _DEVICE_PATH.fullmatch(path) or posixpath.normpath(path) != path or path.startswith("//"):
            raise InvalidArgumentError(Reason.INVALID_ARGUMENT, f"path: {path!r} is no path of a device", field="path")
        if not self.allows_device(path):
            raise PermissionDeniedError(
                Reason.DEVICE_NOT_ALLOWED,
                f"Initializing device {path} failed: this node allows only {', '.join(self.device_globs)}",
                path=path,
                allowed=", ".join(self.device_globs),
            )

    def allows_device(self, path: str) -> bool:
        """Whether a pattern allows the path; "*" does not reach across "/", but alone it allows everything."""
        return any(
            glob == ANY_DEVICE or (fnmatch.fnmatchcase(path, glob) and path.count("/") == glob.count("/"))
            for glob in self.device_globs
        )

    def check_wiping(self, path: str) -> None:
        """Refuses to wipe a disk unless this node allows it.

        Raises:
            PermissionDeniedError: DEVICE_NOT_ALLOWED.
        """
        if not self.allow_destroy:
            raise PermissionDeniedError(
                Reason.DEVICE_NOT_ALLOWED,
                f"Can not destroy device, this node's agent does not allow it (--allow-destroy): {path}",
                path=path,
            )

    def check_options(self, options: Sequence[str]) -> list[tuple[str, str]]:
        """Options as keys and values.

        Raises:
            InvalidArgumentError: A key without a value.
            FailedPreconditionError: GLUSTER_OPTION_NOT_ALLOWED.
        """
        try:
            pairs = option_pairs(options)
        except ValueError as error:
            raise InvalidArgumentError(Reason.INVALID_ARGUMENT, f"options: {error}", field="options") from error
        for key, value in pairs:
            problem = self._objection(key, value)
            if problem:
                raise FailedPreconditionError(
                    Reason.GLUSTER_OPTION_NOT_ALLOWED,
                    f"this node does not allow gluster option '{key} {value}': {problem}",
                    key=key,
                )
        return pairs

    def _objection(self, key: str, value: str) -> str:
        """What speaks against an option; empty when nothing does."""
        if not _OPTION_KEY.fullmatch(key):
            return "that is no name of an option"
        if key in _REFUSED_OPTIONS:
            return "it names a program or file of the host"
        if not any(fnmatch.fnmatchcase(key, glob) for glob in self.option_globs):
            return f"its agent allows {', '.join(self.option_globs)} (--option-allow)"
        if not _OPTION_VALUE.fullmatch(value) or (key == "group" and "/" in value):
            return "its value has characters that no value needs"
        return ""

    def mount_directory(self, device_id: str) -> str:
        """Where the bricks of a device are mounted."""
        return f"{self.mount_root}/{vg_name(device_id)}"

    def brick(
        self,
        *,
        brick_id: str,
        device_id: str,
        lv_name: str,
        pool_name: str,
        path: str,
        size_bytes: int = 0,
        pool_bytes: int = 0,
        metadata_bytes: int = 0,
        arbiter: bool = False,
        gid: int = 0,
    ) -> BrickSpec:
        """Derives a brick's names from its ids, and checks the stored ones against them.

        An empty pool name means tp_<brick id>, as in old Heketi databases.

        Raises:
            InvalidArgumentError: A value is malformed or does not belong to the ids.
        """
        _check_id("brick.id", brick_id)
        _check_id("brick.device_id", device_id)
        lv = lv_name or f"brick_{brick_id}"
        pool = pool_name or f"tp_{brick_id}"
        if lv != f"brick_{brick_id}" and not stem_of(lv):
            raise _invalid("brick.lv_name", lv)
        if not _POOL.fullmatch(pool):
            raise _invalid("brick.thin_pool_name", pool)
        if not 0 <= gid <= _MAX_GID:
            raise _invalid("gid", gid)
        expected = f"{self.mount_directory(device_id)}/{lv}"
        mount_point = path.removesuffix("/brick") or expected
        foreign = posixpath.normpath(path) != path or not mount_point.startswith(COPY_ROOTS)
        if path and mount_point != expected and foreign:
            raise _invalid("brick.path", path)
        return BrickSpec(
            vg=vg_name(device_id),
            lv=lv,
            pool=pool,
            size_bytes=size_bytes,
            pool_bytes=pool_bytes,
            metadata_bytes=metadata_bytes,
            mount_point=mount_point,
            path=f"{mount_point}/brick",
            arbiter=arbiter,
            gid=gid,
        )


def check_new_brick(spec: BrickSpec) -> None:
    """Checks what only the making of a brick needs.

    Raises:
        InvalidArgumentError: A size is missing, not a multiple of 1 KiB, or the pool is smaller than the brick's chunk.
    """
    sizes = {
        "brick.size_bytes": spec.size_bytes,
        "brick.thin_pool_size_bytes": spec.pool_bytes,
        "brick.pool_metadata_size_bytes": spec.metadata_bytes,
    }
    for name, size in sizes.items():
        if size <= 0 or size % KIB:
            raise _invalid(name, size)
    if spec.mount_point.startswith(COPY_ROOTS):
        raise _invalid("brick.path", spec.path)


def is_snapshot_mount(mount_point: str) -> bool:
    """Whether gluster mounted it, as the brick of a cloned volume; such bricks are in no mount table file of ours."""
    return mount_point.startswith(COPY_ROOTS)


def check_hostname(name: str) -> str:
    """A host name or address.

    Raises:
        InvalidArgumentError: It has other letters, or could be taken for an option.
    """
    if not _HOSTNAME.fullmatch(name):
        raise _invalid("hostname", name)
    return name


def check_device_id(device_id: str) -> str:
    """An id of a device.

    Raises:
        InvalidArgumentError: It is none.
    """
    return _check_id("device_id", device_id)


def check_pool_name(name: str) -> str:
    """A name of a thin pool.

    Raises:
        InvalidArgumentError: It is not tp_<id>.
    """
    if not _POOL.fullmatch(name):
        raise _invalid("thin_pool_name", name)
    return name


def check_operation_id(operation_id: str) -> str:
    """An id of an operation.

    Raises:
        InvalidArgumentError: It is none.
    """
    return _check_id("operation_id", operation_id)


def check_volume_id(volume_id: str) -> str:
    """An id of a volume.

    Raises:
        InvalidArgumentError: It is none.
    """
    return _check_id("volume_id", volume_id)


def check_volume_name(name: str) -> str:
    """A name of a volume.

    Raises:
        InvalidArgumentError: It has other letters than gluster allows.
    """
    if not _VOLUME.fullmatch(name):
        raise _invalid("name", name)
    return name


def check_brick_path(path: str) -> str:
    """A path of a brick on any node, as gluster is told it.

    Raises:
        InvalidArgumentError: It is not absolute and plain.
    """
    if not _BRICK_PATH.fullmatch(path) or posixpath.normpath(path) != path:
        raise _invalid("bricks.path", path)
    return path


def _check_id(field: str, value: str) -> str:
    if not is_id(value):
        raise _invalid(field, value)
    return value


def _invalid(field: str, value: object) -> InvalidArgumentError:
    return InvalidArgumentError(
        Reason.INVALID_ARGUMENT, f"{field}: {value!r} is not acceptable on a node", field=field, value=value
    )
