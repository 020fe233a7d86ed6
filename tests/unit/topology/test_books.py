from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import AbortedError, FailedPreconditionError, InvalidArgumentError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.topology.domain.books import DeviceBooks, Measurement, PlannedDevice, remeasured, reserve_bricks
from services.topology.domain.model import BrickRole, DeviceState, NewBrick, NodeState

EXTENT = 4
DEVICE, NODE = "d" * 32, "e" * 32


def brick(needed: int, **fields: object) -> NewBrick:
    made = NewBrick(
        id=new_id(),
        device_id=DEVICE,
        node_id=NODE,
        path="/b",
        size_bytes=needed - EXTENT,
        thin_pool_size_bytes=needed - EXTENT,
        pool_metadata_size_bytes=EXTENT,
        thin_pool_name="tp",
        lv_name="lv",
        role=BrickRole.DATA,
        set_index=0,
        position=0,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def planned(total: int, **fields: object) -> dict[str, PlannedDevice]:
    device = PlannedDevice(
        node_id=NODE,
        state=DeviceState.ONLINE,
        node_state=NodeState.ONLINE,
        extent_size_bytes=EXTENT,
        books=DeviceBooks(total_bytes=total),
    )
    return {DEVICE: replace(device, **fields)}  # type: ignore[arg-type]


@pytest.mark.parametrize(("free", "needed", "fits"), [(99, 100, False), (100, 100, False), (101, 100, True)])
def test_a_brick_fits_only_if_more_is_free(free: int, needed: int, fits: bool) -> None:
    assert DeviceBooks(total_bytes=free).fits(needed) is fits


def test_bricks_of_one_plan_see_each_other() -> None:
    two = [brick(40), brick(40)]
    assert reserve_bricks(planned(81), two)[DEVICE] == DeviceBooks(total_bytes=81, reserved_bytes=80)
    with pytest.raises(AbortedError) as outdated:
        reserve_bricks(planned(80), two)
    assert outdated.value.metadata == {"device_id": DEVICE, "needed_bytes": "40", "free_bytes": "40"}


@pytest.mark.parametrize(
    "fields",
    [
        {"state": DeviceState.OFFLINE},
        {"state": DeviceState.FAILED},
        {"node_state": NodeState.OFFLINE},
        {"node_state": NodeState.FAILED},
    ],
)
def test_what_is_not_online_makes_a_plan_outdated(fields: dict[str, object]) -> None:
    with pytest.raises(AbortedError) as outdated:
        reserve_bricks(planned(1000, **fields), [brick(40)])
    assert outdated.value.reason is Reason.PLAN_OUTDATED


def test_a_device_that_is_gone_makes_a_plan_outdated() -> None:
    with pytest.raises(AbortedError) as outdated:
        reserve_bricks({}, [brick(40)])
    assert outdated.value.metadata == {"device_id": DEVICE}


@pytest.mark.parametrize(
    "fields",
    [{"node_id": "f" * 32}, {"thin_pool_size_bytes": EXTENT + 1}, {"pool_metadata_size_bytes": EXTENT - 1}],
)
def test_a_plan_that_never_fitted_is_a_bad_request(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        reserve_bricks(planned(1000), [brick(40, **fields)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"total_bytes": 10, "used_bytes": 11},
        {"total_bytes": 10, "reserved_bytes": 11},
        {"total_bytes": 10, "used_bytes": -1},
        {"total_bytes": 10, "reserved_bytes": -1},
        {"total_bytes": 10, "used_bytes": 1, "unattributed_bytes": 2},
    ],
)
def test_impossible_books_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="in DeviceBooks"):
        DeviceBooks(**wrong)


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["undo", "keep", "reclaim", "leave"])), max_size=12))
def test_every_life_of_a_brick_keeps_the_books(lives: list[tuple[int, str]]) -> None:
    books = DeviceBooks(total_bytes=1000, used_bytes=7, unattributed_bytes=7)
    kept = leaked = 0
    for size, life in lives:
        before = books
        books = books.reserve(size)
        assert books.free_bytes == before.free_bytes - size
        if life == "undo":
            assert books.release(size) == before
            books = before
            continue
        settled = books.settle(size)
        assert settled.free_bytes == books.free_bytes
        books = settled
        if life == "reclaim":
            books = books.remove(reclaimed_bytes=size, kept_bytes=0)
            assert books == before
        elif life == "leave":
            books = books.remove(reclaimed_bytes=0, kept_bytes=size)
            leaked += size
        else:
            kept += size
    assert books == DeviceBooks(total_bytes=1000, used_bytes=7 + kept + leaked, unattributed_bytes=7 + leaked)


def measurement(**fields: object) -> Measurement:
    contents = {"total_bytes": 100, "free_bytes": 100, "leaving_bytes": 0, "still": True}
    return Measurement(**{**contents, **fields})  # type: ignore[arg-type]


BOOKS = DeviceBooks(total_bytes=100, used_bytes=30, unattributed_bytes=5)


@pytest.mark.parametrize(
    ("books", "measured", "total", "unattributed"),
    [
        # The disk grew; nothing else changed.
        (BOOKS, measurement(total_bytes=200, free_bytes=170), 200, 5),
        # Somebody made LVs, or removed them; LVM put spare metadata there.
        (BOOKS, measurement(free_bytes=60), 100, 15),
        (BOOKS, measurement(free_bytes=75), 100, 0),
        # Less is there than the pools of the books: that is no free space.
        (BOOKS, measurement(free_bytes=90), 100, 0),
        # A reserved pool may be there already, or not yet.
        (replace(BOOKS, reserved_bytes=10), measurement(free_bytes=70), 100, 5),
        (replace(BOOKS, reserved_bytes=10), measurement(free_bytes=60), 100, 5),
        (replace(BOOKS, reserved_bytes=10), measurement(free_bytes=50), 100, 15),
        (replace(BOOKS, reserved_bytes=10), measurement(free_bytes=73), 100, 2),
        # A pool that is being removed may be gone already.
        (BOOKS, measurement(free_bytes=80, leaving_bytes=10), 100, 5),
        (BOOKS, measurement(free_bytes=70, leaving_bytes=10), 100, 5),
        (BOOKS, measurement(free_bytes=82, leaving_bytes=10), 100, 3),
        # Operations came and went meanwhile: what is used can not be compared.
        (BOOKS, measurement(total_bytes=200, free_bytes=10, still=False), 200, 5),
        # It shrank, and what is beyond the pools with it.
        (BOOKS, measurement(total_bytes=27, free_bytes=0, still=False), 27, 2),
        (BOOKS, measurement(total_bytes=25, free_bytes=0), 25, 0),
    ],
)
def test_a_device_is_measured_again(books: DeviceBooks, measured: Measurement, total: int, unattributed: int) -> None:
    assert remeasured(DEVICE, books, measured) == DeviceBooks(
        total_bytes=total,
        used_bytes=25 + unattributed,
        reserved_bytes=books.reserved_bytes,
        unattributed_bytes=unattributed,
    )


def test_a_device_can_not_be_smaller_than_what_is_on_it() -> None:
    with pytest.raises(FailedPreconditionError) as small:
        remeasured(DEVICE, replace(BOOKS, reserved_bytes=10), measurement(total_bytes=34, free_bytes=0))
    assert small.value.reason is Reason.NO_SPACE_ON_DEVICE
    assert small.value.metadata == {
        "device_id": DEVICE,
        "total_bytes": "34",
        "brick_bytes": "25",
        "reserved_bytes": "10",
    }
    assert small.value.message == f"device {DEVICE} has 34 bytes now; its bricks take 25, and 10 are reserved"


@given(
    beyond=st.integers(0, 50),
    believed=st.integers(0, 50),
    staying=st.integers(0, 50),
    leaving=st.tuples(st.integers(0, 50), st.floats(0, 1)),
    reserved=st.tuples(st.integers(0, 50), st.floats(0, 1)),
)
def test_running_operations_do_not_falsify_the_books(
    beyond: int, believed: int, staying: int, leaving: tuple[int, float], reserved: tuple[int, float]
) -> None:
    books = DeviceBooks(
        total_bytes=400,
        used_bytes=staying + leaving[0] + believed,
        reserved_bytes=reserved[0],
        unattributed_bytes=believed,
    )
    there = beyond + staying + int(leaving[0] * leaving[1]) + int(reserved[0] * reserved[1])
    measured = measurement(total_bytes=400, free_bytes=400 - there, leaving_bytes=leaving[0])
    found = remeasured(DEVICE, books, measured)
    assert (found.pool_bytes, found.reserved_bytes) == (books.pool_bytes, books.reserved_bytes)
    # Never farther from the truth than before, and right when nothing runs.
    assert min(beyond, believed) <= found.unattributed_bytes <= max(beyond, believed)
    if not leaving[0] and not reserved[0]:
        assert found.unattributed_bytes == beyond
