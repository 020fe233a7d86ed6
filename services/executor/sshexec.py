"""The `sshexec` section of a heketi.json and its variables, as settings of the SSH bridge. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# By key: the parameter of the bridge, the type, and Heketi's variable that wins over it.
_USED: Mapping[str, tuple[str, type, str]] = {
    "keyfile": ("keyfile", str, "HEKETI_SSH_KEYFILE"),
    "user": ("user", str, "HEKETI_SSH_USER"),
    "port": ("port", str, "HEKETI_SSH_PORT"),
    "sudo": ("sudo", bool, ""),
    "fstab": ("fstab", str, "HEKETI_FSTAB"),
}
# Colon separated, as Heketi reads it.
_KNOWN_HOSTS = "SSH_KNOWN_HOSTS"
_SAME_EVERYWHERE = "bricks are made in one way on all nodes"
_DEFAULTS: Mapping[str, Any] = {
    "mountopts": "rw,inode64,noatime,nouuid",
    "snapshot_limit": 0,
    "backup_lvm_metadata": False,
    "gluster_cli_timeout": 600,
    "pv_data_alignment": "256K",
    "vg_physicalextentsize": "4M",
    "lv_chunksize": "256K",
    "xfs_sw": 0,
    "xfs_su": 0,
    "debug_umount_failures": False,
    "lvm_wrapper": "",
}
# The gateway reads them.
_ELSEWHERE = frozenset({"block_prealloc", "rebalance_on_expansion"})
_TYPE_NAMES = {str: "a string", bool: "true or false"}


class SshexecFault(ValueError):  # noqa: N818 - told to people; it is no bug of ours
    """The section cannot be used; names the key and its value."""


@dataclass(frozen=True, slots=True)
class Sshexec:
    """What the section means here.

    Attributes:
        flags: Values for flags of the bridge, by the name of the parameter.
        notes: One sentence for each key that does nothing here.
    """

    flags: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_sshexec(text: str, environment: Mapping[str, str]) -> Sshexec:
    """The settings in a heketi.json and in the environment, which wins.

    Args:
        text: Content of the file; empty = only the environment counts.
        environment: Variables of the process.

    Raises:
        SshexecFault: The file is no JSON object, or a value has the wrong type.
    """
    section = _section(text) if text else {}
    flags: dict[str, Any] = {}
    for key, (parameter, kind, variable) in _USED.items():
        value = environment.get(variable) or section.get(key)
        if value is None or value == "":
            continue
        if not isinstance(value, kind):
            raise SshexecFault(f"glusterfs.sshexec.{key}: {value!r} is not {_TYPE_NAMES[kind]}")
        flags[parameter] = value
    if environment.get(_KNOWN_HOSTS):
        flags["known_hosts"] = tuple(filter(None, environment[_KNOWN_HOSTS].split(":")))
    return Sshexec(flags, tuple(_notes(section)))


def _section(text: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SshexecFault(f"it is no JSON: {error}") from error
    glusterfs = content.get("glusterfs") if isinstance(content, dict) else None
    section = glusterfs.get("sshexec", {}) if isinstance(glusterfs, dict) else None
    if not isinstance(section, dict):
        raise SshexecFault("glusterfs.sshexec: it is no JSON object")
    return section


def _notes(section: Mapping[str, Any]) -> Iterator[str]:
    for key, value in section.items():
        if key in _USED or key in _ELSEWHERE or key.startswith("_") or _DEFAULTS.get(key, ...) == value:
            continue
        known = key in _DEFAULTS
        yield f"glusterfs.sshexec.{key} " + (
            f"does nothing here: {_SAME_EVERYWHERE}" if known else "is not known, and does nothing"
        )
