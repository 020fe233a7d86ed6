"""Whether a plan still fits the volume that it was made for. Pure."""

from collections.abc import Sequence

from services.common.errors import AbortedError, FailedPreconditionError
from services.common.reasons import Reason
from services.topology.domain.checks import check_sets, invalid
from services.topology.domain.model import NewBrick

# What the records can hold.
_MAX_SIZE_BYTES = 2**63 - 1


def check_continues(volume_id: str, bricks: Sequence[NewBrick], *, set_size: int, next_set: int) -> None:
    """Whether new bricks make whole sets that follow the last set of a volume.

    Raises:
        InvalidArgumentError: They make no whole sets.
        AbortedError: PLAN_OUTDATED: they do, and the volume has another number of sets by now.
    """
    first_set = max(0, min(brick.set_index for brick in bricks))
    check_sets(bricks, set_size=set_size, first_set=first_set)
    if first_set != next_set:
        raise AbortedError(
            Reason.PLAN_OUTDATED,
            f"volume {volume_id} has {next_set} brick sets, the plan goes on after {first_set}",
            volume_id=volume_id,
            set_count=next_set,
            planned_set_index=first_set,
        )


def grown_size_bytes(size_bytes: int, added_size_bytes: int) -> int:
    """The size of a volume after it was expanded. Raises InvalidArgumentError when it is beyond 2^63 - 1 bytes."""
    if added_size_bytes > _MAX_SIZE_BYTES - size_bytes:
        raise invalid("added_size_bytes", added_size_bytes, f"makes the volume larger than {_MAX_SIZE_BYTES} bytes")
    return size_bytes + added_size_bytes


def check_copyable(volume_id: str, *, block: bool, brick_count: int, planned_brick_count: int) -> None:
    """Whether a volume can be copied as planned.

    Raises:
        FailedPreconditionError: NOT_SUPPORTED_YET: it hosts block volumes; the text is Heketi's.
        AbortedError: PLAN_OUTDATED: it has another number of bricks by now.
    """
    if block:
        raise FailedPreconditionError(
            Reason.NOT_SUPPORTED_YET, "Cloning of block hosting volumes is not supported", volume_id=volume_id
        )
    if planned_brick_count != brick_count:
        raise AbortedError(
            Reason.PLAN_OUTDATED,
            f"volume {volume_id} has {brick_count} bricks, the plan names {planned_brick_count}",
            volume_id=volume_id,
            brick_count=brick_count,
            planned_brick_count=planned_brick_count,
        )
