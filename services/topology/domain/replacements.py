"""Whether one brick may take the place of another. Pure; the texts of what is pending are Heketi's."""

from collections.abc import Iterable
from typing import Protocol

from services.common.errors import AbortedError, FailedPreconditionError
from services.common.reasons import Reason
from services.topology.domain.checks import invalid
from services.topology.domain.model import NewBrick


class PlacedBrick(Protocol):
    """What counts of a stored brick here."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def volume_id(self) -> str:
        """Its volume."""

    @property
    def device_id(self) -> str:
        """Its device."""

    @property
    def node_id(self) -> str:
        """Its node."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def role(self) -> str:
        """Its `BrickRole`."""

    @property
    def set_index(self) -> int:
        """Its set."""

    @property
    def position(self) -> int:
        """Its position there."""

    @property
    def operation_id(self) -> str | None:
        """The operation that holds it."""


def check_evictable(brick: PlacedBrick, bricks: Iterable[PlacedBrick], *, volume_operation_id: str | None) -> None:
    """Whether no operation holds a brick or its volume.

    Args:
        brick: The brick that is to move.
        bricks: All bricks of its volume.
        volume_operation_id: The operation that holds the volume.

    Raises:
        FailedPreconditionError: BRICK_PENDING.
    """
    if brick.operation_id is not None:
        raise FailedPreconditionError(
            Reason.BRICK_PENDING,
            f"Can not evict brick {brick.id}: brick is pending",
            brick_id=brick.id,
            operation_id=brick.operation_id,
        )
    holders = [each.operation_id for each in bricks if each.operation_id is not None]
    if volume_operation_id is not None or holders:
        raise FailedPreconditionError(
            Reason.BRICK_PENDING,
            f"Can not evict brick {brick.id} from volume {brick.volume_id}: volume has pending bricks",
            brick_id=brick.id,
            volume_id=brick.volume_id,
            operation_id=volume_operation_id or holders[0],
        )


def check_takes_place(new: NewBrick, old: PlacedBrick, bricks: Iterable[PlacedBrick]) -> None:
    """Whether a planned brick fits into the place of another.

    Args:
        new: The planned brick.
        old: The brick that it is to replace.
        bricks: All bricks of the volume.

    Raises:
        InvalidArgumentError: It has another place, role or size, or the same device.
        AbortedError: PLAN_OUTDATED: another brick of the set has come to its node since it was planned.
    """
    if (new.set_index, new.position) != (old.set_index, old.position):
        raise invalid("new_brick.position", (new.set_index, new.position), "is not the place of the brick that moves")
    if new.role.value != old.role:
        raise invalid("new_brick.role", new.role.value, f"is not {old.role}, as the brick that moves")
    if new.size_bytes != old.size_bytes:
        raise invalid("new_brick.size_bytes", new.size_bytes, f"is not {old.size_bytes}, as the brick that moves")
    if new.device_id == old.device_id:
        raise invalid("new_brick.device_id", new.device_id, "has the brick already")
    for other in bricks:
        if other.id != old.id and (other.set_index, other.node_id) == (new.set_index, new.node_id):
            raise AbortedError(
                Reason.PLAN_OUTDATED,
                f"node {new.node_id} has brick {other.id} of the same set",
                node_id=new.node_id,
                brick_id=other.id,
            )
