"""What a request must look like, whichever face it came through. Pure; errors name field and value.

The REST face refuses most of this earlier with Heketi's texts; this is the floor for both.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence

from brickyard.topology.v1 import volume_pb2
from gateway.usecases.port import NewBlockVolume, NewDevice, NewNode, NewVolume
from services.common.errors import InvalidArgumentError
from services.common.ids import is_id
from services.common.reasons import Reason
from services.common.units import GIB

MAX_TAGS = 32
MAX_GID = 2_147_483_646
# Larger than any volume that 32 bricks of 4 TiB can hold, and far from where 64 bits end.
MAX_SIZE_BYTES = 1 << 60
_DISPERSE = {(2, 1), (4, 2), (8, 3), (8, 4)}
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_PATH = re.compile(r"/[a-zA-Z0-9_.:/-]+")
_TAG_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_DNS_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*[._]?")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,64}")


def _refuse(field: str, value: object, rule: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, f"{field}: {value!r} {rule}", field=field, value=value)


def check_id(field: str, value: str) -> None:
    """An id has 32 lower-case hex digits."""
    if not is_id(value):
        raise _refuse(field, value, "is not an id (32 lower-case hex digits)")


def check_request_id(value: str) -> None:
    """A request id has 1 to 64 printable characters without spaces."""
    if _REQUEST_ID.fullmatch(value) is None:
        raise _refuse("request_id", value, "must be 1 to 64 printable characters without spaces")


def check_tags(tags: Mapping[str, str]) -> None:
    """At most 32 tags; names of 1 to 32, values of up to 64 characters."""
    if len(tags) > MAX_TAGS:
        raise _refuse("tags", len(tags), f"are too many, up to {MAX_TAGS} are supported")
    for name, value in tags.items():
        if not 1 <= len(name) <= 32 or _TAG_NAME.fullmatch(name) is None:
            raise _refuse("tags", name, "is no tag name: 1 to 32 letters, digits, '_', '.' or '-'")
        if len(value) > 64:
            raise _refuse(f"tags[{name}]", value, "is longer than 64 characters")


def _check_hosts(field: str, hosts: Sequence[str]) -> None:
    if not hosts:
        raise _refuse(field, list(hosts), "must name at least one host")
    for host in hosts:
        try:
            scoped = "%" in host
            ipaddress.ip_address(host)
        except ValueError:
            scoped = False
            if len(host.replace(".", "")) > 255 or _DNS_NAME.fullmatch(host) is None:
                raise _refuse(field, host, "is neither an IP address nor a host name") from None
        if scoped:
            raise _refuse(field, host, "has a zone index, which only this machine would understand")


def check_new_node(node: NewNode) -> None:
    """See `NewNode`."""
    check_id("cluster_id", node.cluster_id)
    if node.zone < 1:
        raise _refuse("zone", node.zone, "must be no less than 1")
    _check_hosts("manage_hostnames", node.manage_hostnames)
    _check_hosts("storage_hostnames", node.storage_hostnames)
    check_tags(node.tags)


def check_new_device(device: NewDevice) -> None:
    """See `NewDevice`."""
    check_id("node_id", device.node_id)
    if _PATH.fullmatch(device.path) is None or ".." in device.path.split("/"):
        raise _refuse("path", device.path, "is no absolute device path")
    check_tags(device.tags)


def check_volume_size(field: str, size_bytes: int) -> None:
    """A whole number of GiB, 1 or more."""
    if size_bytes < GIB or size_bytes % GIB or size_bytes > MAX_SIZE_BYTES:
        raise _refuse(field, size_bytes, f"must be a multiple of {GIB} from {GIB} to {MAX_SIZE_BYTES}")


def check_volume_name(name: str) -> None:
    """Letters, digits, "_" and "-", 1 to 255."""
    if _NAME.fullmatch(name) is None or len(name) > 255:
        raise _refuse("name", name, "must be letters, digits, '_' or '-', at most 255")


def check_new_volume(volume: NewVolume) -> None:
    """See `NewVolume`."""
    check_volume_size("size_bytes", volume.size_bytes)
    if volume.name:
        check_volume_name(volume.name)
    for cluster_id in volume.cluster_ids:
        check_id("cluster_ids", cluster_id)
    if not 0 <= volume.gid <= MAX_GID:
        raise _refuse("gid", volume.gid, f"must be from 0 to {MAX_GID}")
    if volume.snapshot_enabled and not 1.0 <= volume.snapshot_factor <= 100.0:
        raise _refuse("snapshot_factor", volume.snapshot_factor, "must be from 1 to 100")
    for option in volume.options:
        if any(character in option for character in "\n\r\0"):
            raise _refuse("options", option, "must be one line")
    check_durability(volume.durability)


def check_durability(durability: volume_pb2.Durability) -> None:
    """Refuses a durability whose type or counts cannot be; counts of 0 stand for defaults.

    Raises:
        InvalidArgumentError: Names the field and its value.
    """
    if durability.type not in volume_pb2.DurabilityType.values():
        raise _refuse("durability.type", durability.type, "is no type of durability")
    if durability.type == volume_pb2.DURABILITY_TYPE_REPLICATE and not 0 <= durability.replica_count <= 3:
        raise _refuse(
            "durability.replica_count", durability.replica_count, "must be from 1 to 3, or 0 for the default 2"
        )
    counts = (durability.data_count, durability.redundancy_count)
    if durability.type == volume_pb2.DURABILITY_TYPE_DISPERSE and counts not in _DISPERSE:
        raise _refuse(
            "durability.data_count+redundancy_count", "{}+{}".format(*counts), "is none of 2+1, 4+2, 8+3, 8+4"
        )


def check_new_block_volume(volume: NewBlockVolume) -> None:
    """See `NewBlockVolume`."""
    check_volume_size("size_bytes", volume.size_bytes)
    if volume.name:
        check_volume_name(volume.name)
    for cluster_id in volume.cluster_ids:
        check_id("cluster_ids", cluster_id)
    if volume.ha_count < 0:
        raise _refuse("ha_count", volume.ha_count, "must not be negative")
