"""Whether a request makes sense by itself, whatever the state. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from services.common.errors import InvalidArgumentError
from services.common.ids import is_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.domain.model import (
    CopiedBrick,
    DeviceFacts,
    DurabilityType,
    NewBrick,
    NewCopy,
    NewDevice,
    NewNode,
    NewVolume,
)
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
MAX_BRICK_PATH_LENGTH = 1024
# As LVM.
MAX_LV_NAME_LENGTH = 127
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
    check_volume_fields(volume)
    _check_bricks(volume.bricks)
    check_sets(volume.bricks, set_size=volume.durability.set_size, first_set=0)


def check_volume_fields(volume: NewVolume) -> None:
    """Raises InvalidArgumentError when a field of a volume is out of range, whatever bricks it has."""
    check_id("volume.id", volume.id)
    check_id("volume.cluster_id", volume.cluster_id)
    check_volume_name("volume.name", volume.name)
    _check_volume_size("volume.size_bytes", volume.size_bytes)
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


def check_volume_name(field: str, name: str) -> None:
    """Raises InvalidArgumentError unless the name has 1 to 255 letters, digits, _ and -."""
    check_text(field, name, MAX_VOLUME_NAME_LENGTH)
    if not _VOLUME_NAME.fullmatch(name):
        raise invalid(field, name, "must be letters, digits, _ and -")


def _check_volume_size(field: str, size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % GIB:
        raise invalid(field, size_bytes, "must be a positive multiple of 1 GiB")


def check_expansion(volume_id: str, added_size_bytes: int, bricks: Sequence[NewBrick]) -> None:
    """Whether a planned expansion is complete in itself; only the volume tells how large its sets are.

    Raises:
        InvalidArgumentError: A field is out of range, a brick occurs twice, or there is none.
    """
    check_id("volume_id", volume_id)
    _check_volume_size("added_size_bytes", added_size_bytes)
    _check_bricks(bricks)


def check_replacement(brick_id: str, brick: NewBrick) -> None:
    """Raises InvalidArgumentError for a brick to evict, or one in its place, that can not be one."""
    check_id("brick_id", brick_id)
    _check_bricks((brick,))


def check_new_copy(copy: NewCopy) -> None:
    """Raises InvalidArgumentError for ids or a name that can not be one, and for a brick id that occurs twice."""
    check_id("source_volume_id", copy.source_volume_id)
    check_id("volume_id", copy.volume_id)
    check_volume_name("name", copy.name)
    for brick_id in copy.brick_ids:
        check_id("brick_ids", brick_id)
    _check_unique("brick_ids", copy.brick_ids)


def check_copied_bricks(copied: Sequence[CopiedBrick], device_ids: Mapping[str, str]) -> None:
    """Whether a report says of each brick of a copy where it is.

    Args:
        copied: The report.
        device_ids: The device of each brick, by the brick's id.

    Raises:
        InvalidArgumentError: A brick is missing, unknown or named twice; a path or LV is missing; or two bricks have
            the same LV of one device, so that the removal of one would take the other.
    """
    if sorted(brick.brick_id for brick in copied) != sorted(device_ids):
        raise invalid("cloned_bricks", sorted(brick.brick_id for brick in copied), "are not the bricks of the copy")
    for brick in copied:
        check_text("cloned_bricks.path", brick.path, MAX_BRICK_PATH_LENGTH)
        check_text("cloned_bricks.lv_name", brick.lv_name, MAX_LV_NAME_LENGTH)
    _check_unique("cloned_bricks.lv_name", [(device_ids[brick.brick_id], brick.lv_name) for brick in copied])


def _check_bricks(bricks: Sequence[NewBrick]) -> None:
    if not bricks:
        raise invalid("bricks", 0, "must be one or more")
    for brick in bricks:
        for field in ("id", "device_id", "node_id"):
            check_id(f"brick.{field}", getattr(brick, field))
        check_text("brick.path", brick.path, MAX_BRICK_PATH_LENGTH)
        for field in ("thin_pool_name", "lv_name"):
            check_text(f"brick.{field}", getattr(brick, field), MAX_LV_NAME_LENGTH)
        if brick.size_bytes <= 0 or brick.pool_metadata_size_bytes < 0:
            raise invalid("brick.size_bytes", brick.size_bytes, "must be positive")
        if brick.thin_pool_size_bytes < brick.size_bytes:
            raise invalid("brick.thin_pool_size_bytes", brick.thin_pool_size_bytes, "is below the brick's size")
    _check_unique("brick.id", [brick.id for brick in bricks])
    # A planned brick has a thin pool of its own: its space is counted once for each pool.
    _check_unique("brick.thin_pool_name", [(brick.device_id, brick.thin_pool_name) for brick in bricks])
    _check_unique("nodes of a brick set", [(brick.set_index, brick.node_id) for brick in bricks])


def check_sets(bricks: Collection[NewBrick], *, set_size: int, first_set: int) -> None:
    """Raises InvalidArgumentError unless the bricks make whole sets that count on from `first_set` without a gap."""
    if set_size < 1 or len(bricks) % set_size:
        raise invalid("bricks", len(bricks), f"must be one or more sets of {set_size}")
    places = sorted((brick.set_index, brick.position) for brick in bricks)
    if places != list(_expected_places(len(bricks), set_size, first_set)):
        raise invalid("brick.position", places, f"must count through sets of {set_size} from {first_set} without a gap")


def _expected_places(brick_count: int, set_size: int, first_set: int) -> Iterable[tuple[int, int]]:
    return ((first_set + index // set_size, index % set_size) for index in range(brick_count))
