"""Whether the heal of a volume lets one of its bricks go; the texts are Heketi's."""

from collections.abc import Sequence

import pytest

from brickyard.executor.v1.facts_pb2 import BrickHealFacts
from brickyard.topology.v1.volume_pb2 import (
    DURABILITY_TYPE_DISPERSE,
    DURABILITY_TYPE_NONE,
    DURABILITY_TYPE_REPLICATE,
    Brick,
    Durability,
    Volume,
)
from gateway.operations.healing import check_heal, quorum
from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason

REPLICATE, DISPERSE, NONE = DURABILITY_TYPE_REPLICATE, DURABILITY_TYPE_DISPERSE, DURABILITY_TYPE_NONE


def of_copies(count: int) -> Durability:
    return Durability(type=REPLICATE, replica_count=count)


def volume(durability: Durability, size: int, sets: int = 1) -> Volume:
    bricks = [Brick(id=f"b{index}", set_index=index // size, position=index % size) for index in range(size * sets)]
    return Volume(id="v", name="vol", durability=durability, bricks=bricks)


def status(index: int, pending: int = 0, *, connected: bool = True) -> BrickHealFacts:
    return BrickHealFacts(name=f"h{index}:/b", connected=connected, pending_count=pending if connected else -1)


def check(asked: Volume, statuses: Sequence[BrickHealFacts], brick_id: str = "b0") -> FailedPreconditionError | None:
    names = {f"h{index}:/b": brick.id for index, brick in enumerate(asked.bricks)}
    try:
        check_heal(brick_id, asked, names, statuses)
    except FailedPreconditionError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("durability", "needed"),
    [
        (Durability(type=NONE), 1),
        (of_copies(0), 1),
        (of_copies(2), 1),
        (of_copies(3), 2),
        (Durability(type=DISPERSE, data_count=4, redundancy_count=2), 4),
    ],
)
def test_quorum(durability: Durability, needed: int) -> None:
    assert quorum(durability) == needed


def test_a_healthy_set_lets_a_brick_go() -> None:
    assert check(volume(of_copies(3), 3), [status(0), status(1), status(2)]) is None


def test_the_brick_itself_may_be_dead() -> None:
    assert check(volume(of_copies(3), 3), [status(0, connected=False), status(1, 5), status(2, 5)]) is None


def test_a_brick_that_others_heal_from_stays() -> None:
    error = check(volume(of_copies(3), 3), [status(0, 2), status(1), status(2)])
    assert error is not None
    assert (error.reason, error.message) == (
        Reason.BRICK_IS_HEAL_SOURCE,
        "Cannot replace brick b0 as it is source brick for data to be healed",
    )


@pytest.mark.parametrize("how", ["disconnected", "not told", "information not available"])
def test_the_rest_of_the_set_must_be_online(how: str) -> None:
    statuses = [status(0), status(1)]
    if how == "disconnected":
        statuses.append(status(2, connected=False))
    if how == "information not available":
        statuses.append(BrickHealFacts(name=how, connected=False, pending_count=-1))
    error = check(volume(of_copies(3), 3), statuses)
    assert error is not None
    assert (error.reason, error.message) == (
        Reason.BRICK_QUORUM_NOT_MET,
        "Cannot replace brick b0 as only 1 of 2 required peer bricks are online",
    )


def test_bricks_of_other_sets_do_not_count() -> None:
    statuses = [status(index, connected=index != 1) for index in range(6)]
    error = check(volume(of_copies(3), 3, sets=2), statuses)
    assert error is not None
    assert error.metadata == {"brick_id": "b0", "online_count": "1", "needed_count": "2"}
    assert check(volume(of_copies(3), 3, sets=2), statuses, "b4") is None


def test_a_dispersed_set_needs_its_data_bricks() -> None:
    asked = volume(Durability(type=DISPERSE, data_count=2, redundancy_count=1), 3)
    assert check(asked, [status(0, connected=False), status(1), status(2)]) is None
    assert check(asked, [status(0), status(1), status(2, connected=False)]) is not None


def test_a_volume_without_copies_never_passes() -> None:
    error = check(volume(Durability(type=NONE), 1), [])
    assert error is not None
    assert error.message == "Cannot replace brick b0 as only 0 of 1 required peer bricks are online"


def test_a_strange_brick_makes_it_unknown() -> None:
    error = check(volume(of_copies(3), 3), [status(0), status(7)])
    assert error is not None
    assert error.reason is Reason.BRICK_HEAL_UNKNOWN
    assert error.message.startswith("Unable to determine heal status of brick")
