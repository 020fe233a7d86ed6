"""The space of hosting volumes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.domain import hosting
from services.topology.domain.hosting import HostingBooks
from services.topology.domain.model import BlockRestriction

NONE, LOCKED, BY_UPDATE = BlockRestriction.NONE, BlockRestriction.LOCKED, BlockRestriction.LOCKED_BY_UPDATE


@pytest.mark.parametrize(("size", "free"), [(1, 0), (10, 9), (20, 19), (93, 91), (100, 98), (500, 490), (1024, 1003)])
def test_two_percent_are_kept(size: int, free: int) -> None:
    books = hosting.new_hosting(size * GIB)
    assert (books.free_bytes, books.reserved_bytes) == (free * GIB, (size - free) * GIB)


def test_an_addition_is_split_by_itself() -> None:
    books = hosting.new_hosting(10 * GIB).grown(10 * GIB)
    assert (books.free_bytes, books.reserved_bytes) == (18 * GIB, 2 * GIB)


@given(st.lists(st.tuples(st.sampled_from(["grow", "take", "give"]), st.integers(1, 300)), max_size=30))
def test_nothing_gets_lost(steps: list[tuple[str, int]]) -> None:
    size, used, books = 100 * GIB, 0, hosting.new_hosting(100 * GIB)
    for step, gib in steps:
        if step == "grow":
            size, books = size + gib * GIB, books.grown(gib * GIB)
        elif step == "take" and books.free_bytes >= gib * GIB:
            used, books = used + gib * GIB, hosting.take("v", books, gib * GIB)
        elif step == "give" and used >= gib * GIB:
            used, books = used - gib * GIB, books.given_back(gib * GIB)
        assert books.free_bytes + books.reserved_bytes + used == size


def test_books_are_never_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        HostingBooks(free_bytes=GIB, reserved_bytes=0).taken(2 * GIB)


def test_a_plan_that_does_not_fit_any_more_is_outdated() -> None:
    books = hosting.new_hosting(10 * GIB)
    assert hosting.take("v", books, 9 * GIB).free_bytes == 0
    with pytest.raises(AbortedError) as full:
        hosting.take("v", books, 10 * GIB)
    locked = HostingBooks(free_bytes=9 * GIB, reserved_bytes=GIB, restriction=LOCKED)
    with pytest.raises(AbortedError) as restricted:
        hosting.take("v", locked, GIB)
    assert {full.value.reason, restricted.value.reason} == {Reason.PLAN_OUTDATED}


def test_what_an_expansion_takes() -> None:
    def added(size: int, usable: int, new: int) -> int:
        return hosting.added_bytes("b", size_bytes=size, usable_bytes=usable, new_size_bytes=new)

    assert added(4, 4, 6) == 2
    # One that failed on some hosts is repeated.
    assert added(6, 4, 6) == 0
    for new in (6, 5):
        with pytest.raises(FailedPreconditionError) as refused:
            added(6, 6, new)
        assert refused.value.reason is Reason.BLOCK_SIZE_NOT_LARGER
    with pytest.raises(FailedPreconditionError):
        added(6, 4, 5)


def test_room_for_growth_is_free_space_whatever_the_restriction() -> None:
    books = HostingBooks(free_bytes=GIB, reserved_bytes=0, restriction=LOCKED)
    hosting.check_room("v", books, GIB)
    with pytest.raises(ResourceExhaustedError) as refused:
        hosting.check_room("v", books, 2 * GIB)
    assert refused.value.reason is Reason.NO_SPACE


def test_unlocking_completes_the_reserve() -> None:
    books = hosting.new_hosting(100 * GIB)
    locked = hosting.restricted("v", 100 * GIB, books, LOCKED)
    assert locked.restriction is LOCKED
    assert hosting.restricted("v", 100 * GIB, locked, NONE) == books
    taken_over = HostingBooks(free_bytes=5 * GIB, reserved_bytes=0, restriction=BY_UPDATE)
    unlocked = hosting.restricted("v", 100 * GIB, taken_over, NONE)
    assert unlocked == HostingBooks(free_bytes=3 * GIB, reserved_bytes=2 * GIB)


def test_unlocking_without_room_for_the_reserve_is_refused() -> None:
    books = HostingBooks(free_bytes=GIB, reserved_bytes=0, restriction=BY_UPDATE)
    with pytest.raises(FailedPreconditionError) as refused:
        hosting.restricted("v", 100 * GIB, books, NONE)
    assert refused.value.reason is Reason.BLOCK_RESERVE_MISSING
    assert refused.value.metadata == {
        "volume_id": "v",
        "needed_bytes": str(2 * GIB),
        "free_bytes": str(GIB),
    }
    with pytest.raises(InvalidArgumentError):
        hosting.restricted("v", 100 * GIB, books, BY_UPDATE)
