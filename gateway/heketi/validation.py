"""Which values Heketi refuses, in which order, and with which texts. Pure.

Errors of several fields are sorted by field name, joined by "; " and end with "."; those of a nested object stand in
parentheses.
"""

import ipaddress
import re
from collections.abc import Mapping

from gateway.heketi.admin import Mode
from gateway.heketi.log_levels import LEVELS
from gateway.heketi.schemas import BlockVolumeBody, DeviceBody, NodeBody, StateBody, TagsBody, VolumeBody
from gateway.heketi.texts import refusals
from services.common.units import GIB, KIB

STATES = ("online", "offline", "failed")
TAG_CHANGES = ("set", "update", "delete")
DURABILITY_TYPES = ("", "none", "replicate", "disperse")
_HEAL_CHECKS = ("", "enable", "disable")
_DISPERSE_COUNTS = {(2, 1), (4, 2), (8, 3), (8, 4)}
_MAX_REPLICA = 3
_MAX_SNAPSHOT_FACTOR = 100
_MAX_TAGS = 32
_MAX_CLEANUP_IDS = 32
_MAX_TAG_NAME = 32
_MAX_TAG_VALUE = 64
# The first refused group id; the text that goes with it says 2**32 (Heketi's).
_GID_LIMIT = 2**31 - 1
# Ours: what the contract between the services can carry. Heketi answers "No space" or crashes beyond.
_INT32_MAX = 2**31 - 1
_MAX_SIZE_GIB = 2**30

_DEVICE_NAME = re.compile(r"/[a-zA-Z0-9_.:/-]+")
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_TAG_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_UUID = re.compile(r"[0-9a-fA-F]{32}")
_DNS_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*[._]?")
_MAX_DNS_NAME = 255
# Ours: as gluster; Heketi has no limit.
_MAX_VOLUME_NAME = 255


def _joined(errors: Mapping[str, str | None]) -> str:
    return "; ".join(f"{name}: {error}" for name, error in sorted(errors.items()) if error is not None) + "."


def _check(errors: Mapping[str, str | None]) -> None:
    if any(errors.values()):
        raise refusals.invalid(_joined(errors))


def _count(value: int, maximum: int) -> str | None:
    """A required number from 1."""
    if value == 0:
        return refusals.BLANK
    if value < 1:
        return refusals.NOT_POSITIVE
    return f"must be no greater than {maximum}" if value > maximum else None


def _uuid(value: str) -> str | None:
    """A required id; upper-case digits pass here and are found nowhere later."""
    if not value:
        return refusals.BLANK
    return None if _UUID.fullmatch(value) else f"{value} is not a valid UUID"


def _is_host(host: str) -> bool:
    """Whether this is an IP address without zone or a DNS name in Heketi's wide sense, but dots count too."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= _MAX_DNS_NAME and _DNS_NAME.fullmatch(host) is not None
    return "%" not in host


def _volume_name(name: str) -> str | None:
    """The name of a volume of any kind; empty for the default."""
    if name and not _VOLUME_NAME.fullmatch(name):
        return refusals.BAD_FORMAT
    return f"the length must be no more than {_MAX_VOLUME_NAME}" if len(name) > _MAX_VOLUME_NAME else None


def _hosts(hosts: tuple[str, ...], kind: str) -> str | None:
    if not hosts:
        return refusals.BLANK
    if all(map(_is_host, hosts)):
        return None
    return f"[{' '.join(hosts)}] is not a valid {kind} hostname"


def _tags(tags: Mapping[str, str]) -> str | None:
    if len(tags) > _MAX_TAGS:
        return f"too many tags specified ({len(tags)}), up to {_MAX_TAGS} supported"
    for name, value in sorted(tags.items()):
        if not name:
            return "tag names may not be empty"
        if len(name) > _MAX_TAG_NAME:
            return f"tag name {name}: the length must be between 1 and {_MAX_TAG_NAME}"
        if len(value) > _MAX_TAG_VALUE:
            return f"value of tag {name}: the length must be no more than {_MAX_TAG_VALUE}"
        if not _TAG_NAME.fullmatch(name):
            return f"invalid characters in tag name {name}"
    return None


def check_node(node: NodeBody) -> None:
    """Raises Refused unless the node can be one."""
    hosts = {"manage": _hosts(node.manage, "manage"), "storage": _hosts(node.storage, "storage")}
    _check(
        {
            "cluster": _uuid(node.cluster),
            "hostnames": f"({_joined(hosts)})" if any(hosts.values()) else None,
            "tags": _tags(node.tags),
            "zone": _count(node.zone, _INT32_MAX),
        }
    )


def check_device(device: DeviceBody) -> None:
    """Raises Refused unless the device can be one."""
    name = None if _DEVICE_NAME.fullmatch(device.name) else refusals.BAD_FORMAT
    _check(
        {
            "name": name if device.name else refusals.BLANK,
            "node": _uuid(device.node),
            "tags": _tags(device.tags),
        }
    )


def check_state(wanted: StateBody) -> None:
    """Raises Refused unless state and heal check are known; the heal check is looked at first and alone."""
    check_healcheck(wanted.healcheck)
    if not wanted.state:
        raise refusals.invalid(f"state: {refusals.BLANK}.")
    if wanted.state not in STATES:
        raise refusals.invalid(f"state: {wanted.state} is not valid state.")


def check_healcheck(wanted: str) -> None:
    """Raises Refused unless it is "enable", "disable" or empty."""
    if wanted not in _HEAL_CHECKS:
        raise refusals.invalid(f"healcheck: {wanted} is not valid heal info check.")


def check_tags(change: TagsBody) -> None:
    """Raises Refused unless this is a change of tags; the names of a deletion follow the same rules."""
    kind = None if change.change_type in TAG_CHANGES else refusals.BAD_VALUE
    _check({"change_type": kind if change.change_type else refusals.BLANK, "tags": _tags(change.tags)})


def check_volume(volume: VolumeBody) -> None:
    """Raises Refused unless a volume of this kind can be asked for, in Heketi's order of checks."""
    _check({"name": _volume_name(volume.name), "size": _count(volume.size, _MAX_SIZE_GIB)})
    if volume.gid < 0:
        raise refusals.Refused(400, "Bad group id less than zero")
    if volume.gid >= _GID_LIMIT:
        raise refusals.Refused(400, "Bad group id equal or greater than 2**32")
    if volume.durability_type not in DURABILITY_TYPES:
        raise refusals.Refused(400, "Unknown durability type")
    if volume.snapshot_enable and not 1 <= volume.snapshot_factor <= _MAX_SNAPSHOT_FACTOR:
        raise refusals.Refused(400, "Invalid snapshot factor")
    _check_counts(volume)


def _check_counts(volume: VolumeBody) -> None:
    """Counts that the durability does not use are kept and shown, so they only have to be counts at all."""
    replicates = volume.durability_type == "replicate"
    if not 0 <= volume.replica <= (_MAX_REPLICA if replicates else _INT32_MAX):
        raise refusals.Refused(400, "Invalid replica value")
    counts = (volume.disperse_data, volume.disperse_redundancy)
    disperses = volume.durability_type == "disperse"
    if (disperses and counts not in _DISPERSE_COUNTS) or not all(0 <= count <= _INT32_MAX for count in counts):
        raise refusals.Refused(400, f"Invalid dispersion combination: {counts[0]}+{counts[1]}")


def minimum_size_bytes(volume: VolumeBody, min_brick_size_bytes: int) -> int:
    """The smallest volume of this durability: the smallest brick, for each data brick of a disperse set."""
    return min_brick_size_bytes * (volume.disperse_data if volume.durability_type == "disperse" else 1)


def check_size(volume: VolumeBody, min_brick_size_bytes: int) -> None:
    """Raises Refused when the volume is below the smallest one of its durability."""
    minimum = minimum_size_bytes(volume, min_brick_size_bytes)
    if volume.size * GIB < minimum:
        raise refusals.volume_too_small(volume.size, minimum // KIB)


def check_expand_size(added_gib: int) -> None:
    """Raises Refused unless a volume can grow by so many GiB."""
    _check({"expand_size": _count(added_gib, _MAX_SIZE_GIB)})


def check_cleanup(operation_ids: tuple[str, ...]) -> None:
    """Raises Refused unless these can be operations; an empty id passes and is found nowhere (Heketi's rule)."""
    if len(operation_ids) > _MAX_CLEANUP_IDS:
        fault: str | None = f"too many ids specified ({len(operation_ids)}), up to {_MAX_CLEANUP_IDS} supported"
    else:
        fault = next(filter(None, (_uuid(each) for each in operation_ids if each)), None)
    _check({"operations": fault})


def check_clone_name(name: str) -> None:
    """Raises Refused unless a copy can have this name."""
    _check({"name": _volume_name(name)})


def check_admin_state(wanted: str) -> None:
    """Raises Refused unless there is such an administrative mode."""
    known = wanted in {mode.value for mode in Mode}
    _check({"state": (None if known else refusals.BAD_VALUE) if wanted else refusals.BLANK})


def checked_log_level(levels: Mapping[str, str]) -> str:
    """The level for Heketi's one logger; empty = no change.

    Raises:
        Refused: There is no such level, or no such logger.
    """
    if "glusterfs" not in levels:
        raise refusals.foreign_logger()
    level = levels["glusterfs"]
    if level and level not in LEVELS:
        raise refusals.unknown_log_level(level)
    return level


def check_block_volume(volume: BlockVolumeBody) -> None:
    """Raises Refused unless a block volume of this kind can be asked for."""
    # None of them is all of them.
    hosts = None if volume.hacount == 0 else _count(volume.hacount, _INT32_MAX)
    _check(
        {
            "hacount": hosts,
            "name": _volume_name(volume.name),
            "size": _count(volume.size, _MAX_SIZE_GIB),
        }
    )


def check_new_size(size_gib: int) -> None:
    """Raises Refused unless a block volume can have so many GiB."""
    _check({"new_size": _count(size_gib, _MAX_SIZE_GIB)})


def check_restriction(restriction: str) -> None:
    """Raises Refused unless it can be asked for: what an update locks, nobody else can lock so."""
    _check({"restriction": None if restriction in {"", "locked"} else refusals.BAD_VALUE})
