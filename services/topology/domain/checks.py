"""Whether a request makes sense by itself, whatever the state. Pure."""

import re
from collections.abc import Collection, Iterable

from services.common.errors import InvalidArgumentError
from services.common.ids import is_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.domain.model import DeviceFacts, DurabilityType, NewDevice, NewNode, NewVolume
from services.topology.domain.tags import check_tags

MAX_REQUEST_ID_LENGTH = 64
MAX_OWNER_LENGTH = 255
MAX_FINGERPRINT_LENGTH = 64
MIN_LEASE_S = 1.0
MAX_LEASE_S = 600.0
MAX_GID = 2**31 - 2
MAX_REPLICA_COUNT = 3
MAX_HOSTNAME_LENGTH = 255
# As gluster.
MAX_VOLUME_NAME_LENGTH = 255
MAX_PV_UUID_LENGTH = 64
# The forms that Heketi accepts.
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_DEVICE_PATH = re.compile(r"/[a-zA-Z0-9_.:/-]+")


def invalid(field: str, value: object, problem: str) -> InvalidArgumentError:
    """The error for a bad field of a request."""
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, f"{field}: {value!r} {problem}", field=field, value=value)


def check_id(field: str, value: str) -> None:
    """Raises InvalidArgumentError unless `value` is 32 lower-case hex digits."""
    if not is_id(value):
        raise invalid(field, value, "is not an id of 32 lower-case hex digits")


def check_text(field: str, value: str, maximum: int) -> None:
    """Raises InvalidArgumentError unless `value` has 1 to `maximum` characters, none of them NUL."""
    if not 1 <= len(value) <= maximum:
        raise invalid(field, value, f"must have 1 to {maximum} characters")
    # PostgreSQL can not store it.
    if "\0" in value:
        raise invalid(field, value, "contains NUL")


def check_lease(seconds: float) -> None:
    """Raises InvalidArgumentError unless the lease is 1 s to 10 min."""
    if not MIN_LEASE_S <= seconds <= MAX_LEASE_S:
        raise invalid("lease_duration", seconds, f"must be {MIN_LEASE_S:g} s to {MAX_LEASE_S:g} s")


def _check_unique(field: str, values: Collection[object]) -> None:
    if len(set(values)) != len(values):
        raise invalid(field, "...", "occurs twice")


def check_new_node(node: NewNode) -> None:
    """Raises InvalidArgumentError for a node that can not be one, TOO_MANY_TAGS for too many tags."""
    check_id("node.id", node.id)
    check_id("node.cluster_id", node.cluster_id)
    if node.zone < 1:
        raise invalid("node.zone", node.zone, "must be 1 or more")
    check_hostnames(node.manage_hostnames, node.storage_hostnames)
    check_tags(node.tags)


def check_hostnames(manage: Collection[str], storage: Collection[str]) -> None:
    """Raises InvalidArgumentError unless there is a name of each kind, and none is empty or too long."""
    for field, names in (("manage_hostnames", manage), ("storage_hostnames", storage)):
        if not names:
            raise invalid(field, [], "must not be empty")
        for name in names:
            check_text(field, name, MAX_HOSTNAME_LENGTH)


def check_new_device(device: NewDevice) -> None:
    """Raises InvalidArgumentError for a device that can not be one, TOO_MANY_TAGS for too many tags."""
    check_id("device.id", device.id)
    check_id("device.node_id", device.node_id)
    if not _DEVICE_PATH.fullmatch(device.path):
        raise invalid("device.path", device.path, "is not an absolute path of letters, digits and _.:/-")
    check_tags(device.tags)


def check_facts(facts: DeviceFacts) -> None:
    """Raises InvalidArgumentError unless total and extent are positive, and free is 0 to total."""
    if len(facts.pv_uuid) > MAX_PV_UUID_LENGTH:
        raise invalid("device_facts.pv_uuid", facts.pv_uuid, f"has more than {MAX_PV_UUID_LENGTH} characters")
    if facts.total_bytes <= 0:
        raise invalid("device_facts.total_bytes", facts.total_bytes, "must be positive")
    if not 0 <= facts.free_bytes <= facts.total_bytes:
        raise invalid("device_facts.free_bytes", facts.free_bytes, f"must be 0 to {facts.total_bytes}")
    if facts.extent_size_bytes <= 0:
        raise invalid("device_facts.extent_size_bytes", facts.extent_size_bytes, "must be positive")


def check_new_volume(volume: NewVolume) -> None:
    """Whether a planned volume is complete and consistent in itself.

    Raises:
        InvalidArgumentError: A field is out of range, a brick occurs twice, a set is incomplete or has two bricks on
            one node.
    """
    check_id("volume.id", volume.id)
    check_id("volume.cluster_id", volume.cluster_id)
    check_text("volume.name", volume.name, MAX_VOLUME_NAME_LENGTH)
    if not _VOLUME_NAME.fullmatch(volume.name):
        raise invalid("volume.name", volume.name, "must be letters, digits, _ and -")
    if volume.size_bytes <= 0 or volume.size_bytes % GIB:
        raise invalid("volume.size_bytes", volume.size_bytes, "must be a positive multiple of 1 GiB")
    if any("\0" in option for option in volume.options):
        raise invalid("volume.options", volume.options, "contain NUL")
    if not 0 <= volume.gid <= MAX_GID:
        raise invalid("volume.gid", volume.gid, f"must be 0 to {MAX_GID}")
    if not 1 <= volume.snapshot_factor <= 100:
        raise invalid("volume.snapshot_factor", volume.snapshot_factor, "must be 1 to 100")
    counts = volume.durability
    if min(counts.replica_count, counts.data_count, counts.redundancy_count) < 0:
        raise invalid("volume.durability", counts, "has a negative count")
    # The numbers that the type does not use are kept as clients send them.
    if counts.type is DurabilityType.REPLICATE and counts.replica_count > MAX_REPLICA_COUNT:
        raise invalid("volume.durability.replica_count", counts.replica_count, f"is above {MAX_REPLICA_COUNT}")
    _check_bricks(volume)


def _check_bricks(volume: NewVolume) -> None:
    set_size = volume.durability.set_size
    if not volume.bricks or set_size < 1 or len(volume.bricks) % set_size:
        raise invalid("volume.bricks", len(volume.bricks), f"must be one or more sets of {set_size}")
    for brick in volume.bricks:
        for field in ("id", "device_id", "node_id"):
            check_id(f"brick.{field}", getattr(brick, field))
        for field in ("path", "thin_pool_name", "lv_name"):
            check_text(f"brick.{field}", getattr(brick, field), 1024)
        if brick.size_bytes <= 0 or brick.pool_metadata_size_bytes < 0:
            raise invalid("brick.size_bytes", brick.size_bytes, "must be positive")
        if brick.thin_pool_size_bytes < brick.size_bytes:
            raise invalid("brick.thin_pool_size_bytes", brick.thin_pool_size_bytes, "is below the brick's size")
    _check_unique("brick.id", [brick.id for brick in volume.bricks])
    _check_unique("nodes of a brick set", [(brick.set_index, brick.node_id) for brick in volume.bricks])
    places = sorted((brick.set_index, brick.position) for brick in volume.bricks)
    if places != list(_expected_places(len(volume.bricks), set_size)):
        raise invalid("brick.position", places, f"must count through sets of {set_size} without a gap")


def _expected_places(brick_count: int, set_size: int) -> Iterable[tuple[int, int]]:
    return (divmod(index, set_size) for index in range(brick_count))
