"""The space of volumes that host block volumes: size = free + reserved + the sizes of the block volumes. Pure.

Two of every hundred GiB are kept for the file system's own needs (Heketi's rule); sizes are bytes, whole GiB.
"""

from dataclasses import dataclass, replace

from services.common.errors import (
    AbortedError,
    FailedPreconditionError,
    ResourceExhaustedError,
)
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.domain.checks import invalid
from services.topology.domain.model import BlockRestriction


@dataclass(frozen=True, slots=True, kw_only=True)
class HostingBooks:
    """The space of one hosting volume, in bytes.

    Attributes:
        free_bytes: What new block volumes may take.
        reserved_bytes: What is kept for the file system.
        restriction: Whether it takes new block volumes.
    """

    free_bytes: int
    reserved_bytes: int
    restriction: BlockRestriction = BlockRestriction.NONE

    def __post_init__(self) -> None:
        if min(self.free_bytes, self.reserved_bytes) < 0:
            raise ValueError(f"negative sizes in {self}")

    def grown(self, added_bytes: int) -> "HostingBooks":
        """The volume has grown; the addition is split as a new volume's size."""
        free = free_part_bytes(added_bytes)
        return replace(self, free_bytes=self.free_bytes + free, reserved_bytes=self.reserved_bytes + added_bytes - free)

    def taken(self, size_bytes: int) -> "HostingBooks":
        """A block volume takes space that is free."""
        return replace(self, free_bytes=self.free_bytes - size_bytes)

    def given_back(self, size_bytes: int) -> "HostingBooks":
        """A block volume gives space back."""
        return replace(self, free_bytes=self.free_bytes + size_bytes)


def free_part_bytes(size_bytes: int) -> int:
    """What block volumes may take of so many bytes: 98 % of the GiB, rounded down."""
    return size_bytes // GIB * 98 // 100 * GIB


def new_hosting(size_bytes: int) -> HostingBooks:
    """The books of a new hosting volume."""
    free = free_part_bytes(size_bytes)
    return HostingBooks(free_bytes=free, reserved_bytes=size_bytes - free)


def take(volume_id: str, books: HostingBooks, size_bytes: int) -> HostingBooks:
    """The books of a hosting volume after a new block volume has its space.

    Raises:
        AbortedError: PLAN_OUTDATED: it is locked or too full by now; plan again.
    """
    if books.restriction is not BlockRestriction.NONE:
        raise AbortedError(
            Reason.PLAN_OUTDATED,
            f"volume {volume_id} takes no new block volumes now: it is {books.restriction.value}",
            volume_id=volume_id,
            restriction=books.restriction.value,
        )
    if books.free_bytes < size_bytes:
        raise AbortedError(
            Reason.PLAN_OUTDATED,
            f"volume {volume_id} has {books.free_bytes} bytes free for block volumes, {size_bytes} are needed",
            volume_id=volume_id,
            free_bytes=books.free_bytes,
            needed_bytes=size_bytes,
        )
    return books.taken(size_bytes)


def added_bytes(block_volume_id: str, *, size_bytes: int, usable_bytes: int, new_size_bytes: int) -> int:
    """What an expansion takes from the hosting volume; 0 when it repeats one that failed on some hosts.

    Raises:
        FailedPreconditionError: BLOCK_SIZE_NOT_LARGER: the same size, all of it usable, or a smaller one.
    """
    repeats = new_size_bytes == size_bytes and usable_bytes != size_bytes
    if new_size_bytes > size_bytes or repeats:
        return new_size_bytes - size_bytes
    verb = "is" if new_size_bytes == size_bytes else "is below"
    raise FailedPreconditionError(
        Reason.BLOCK_SIZE_NOT_LARGER,
        f"block volume {block_volume_id} has {size_bytes} bytes; the new size {new_size_bytes} {verb} that",
        block_volume_id=block_volume_id,
        size_bytes=size_bytes,
        new_size_bytes=new_size_bytes,
    )


def check_room(volume_id: str, books: HostingBooks, needed_bytes: int) -> None:
    """Whether a block volume may grow; a locked hosting volume lets it (Heketi's rule).

    Raises:
        ResourceExhaustedError: NO_SPACE.
    """
    if books.free_bytes < needed_bytes:
        raise ResourceExhaustedError(
            Reason.NO_SPACE,
            f"hosting volume {volume_id} has {books.free_bytes} bytes free for block volumes, "
            f"{needed_bytes} are needed",
            volume_id=volume_id,
            free_bytes=books.free_bytes,
            needed_bytes=needed_bytes,
        )


def restricted(volume_id: str, size_bytes: int, books: HostingBooks, wanted: BlockRestriction) -> HostingBooks:
    """The books after a change of the restriction: unlocking first completes the reserve.

    Raises:
        InvalidArgumentError: Only locking and unlocking can be asked for.
        FailedPreconditionError: BLOCK_RESERVE_MISSING: the free space is too little for that.
    """
    if wanted is BlockRestriction.LOCKED_BY_UPDATE:
        raise invalid("restriction", wanted.value, "can not be asked for")
    if wanted is not BlockRestriction.NONE:
        return replace(books, restriction=wanted)
    missing = max(0, size_bytes - free_part_bytes(size_bytes) - books.reserved_bytes)
    if books.free_bytes < missing:
        raise FailedPreconditionError(
            Reason.BLOCK_RESERVE_MISSING,
            f"volume {volume_id} has {books.free_bytes} bytes free, its reserve lacks {missing}",
            volume_id=volume_id,
            needed_bytes=missing,
            free_bytes=books.free_bytes,
        )
    return HostingBooks(free_bytes=books.free_bytes - missing, reserved_bytes=books.reserved_bytes + missing)
