"""Heketi's figures, as recorded from a real one, and the corners of the rules behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.allocator.domain.sizing import (
    arbiter_brick_size_bytes,
    as_float32,
    brick_need,
    fits,
    missing_bytes,
    pool_metadata_size_bytes,
    spare_metadata_growth_bytes,
    thin_pool_size_bytes,
)
from services.common.units import GIB, KIB, MIB, TIB

EXTENT = 4 * MIB


@pytest.mark.parametrize(
    ("brick_kib", "factor", "pool_kib", "metadata_kib"),
    [
        (10 * GIB // KIB, 1.5, 15728640, 81920),
        (5 * GIB // KIB, 1.0, 5242880, 28672),
        (3 * GIB // KIB, 1.0, 3145728, 16384),
        (100 * GIB // KIB, 1.0, 104857600, 524288),
        (300 * GIB // KIB, 1.0, 314572800, 1572864),
        (163840, 1.5, 245760, 4096),
    ],
)
def test_need_is_what_heketi_reserved(brick_kib: int, factor: float, pool_kib: int, metadata_kib: int) -> None:
    need = brick_need(brick_kib * KIB, factor, EXTENT)
    assert (need.thin_pool_size_bytes, need.pool_metadata_size_bytes) == (pool_kib * KIB, metadata_kib * KIB)
    assert need.total_bytes == (pool_kib + metadata_kib) * KIB
    assert need.size_bytes == brick_kib * KIB


def test_factor_is_single_precision() -> None:
    assert as_float32(1.1) == pytest.approx(1.10000002384, abs=1e-11)
    assert as_float32(1.5) == 1.5
    # 1.1 in double precision gives 1099511627 KiB, one extent less.
    brick_kib = 999_556_025
    assert thin_pool_size_bytes(brick_kib * KIB, 1.1, KIB) // KIB == int(brick_kib * 1.10000002384185791015625)
    assert thin_pool_size_bytes(brick_kib * KIB, 1.1, KIB) // KIB > int(brick_kib * 1.1)


def test_pool_metadata_stops_at_16_gib() -> None:
    assert pool_metadata_size_bytes(4 * TIB, EXTENT) == 16 * GIB
    assert pool_metadata_size_bytes(3 * TIB, EXTENT) < 16 * GIB


def test_an_extent_that_does_not_divide_the_cap_still_rounds_up() -> None:
    extent = 3 * MIB
    assert pool_metadata_size_bytes(4 * TIB, extent) == -(-16 * GIB // extent) * extent


def test_free_must_be_more_than_needed() -> None:
    assert not fits(100, 100)
    assert fits(101, 100)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([1, 4, 7, 1024]))
def test_missing_is_the_least_number_of_extents_that_helps(free: int, needed: int, extent: int) -> None:
    missing = missing_bytes(free, needed, extent)
    assert fits(free + missing, needed)
    assert missing % extent == 0
    assert missing == 0 or not fits(free + missing - extent, needed)


@pytest.mark.parametrize(("data_gib", "arbiter_kib"), [(10, 163840), (2, 32768), (1, 16384)])
def test_arbiter_sizes_that_heketi_gave(data_gib: int, arbiter_kib: int) -> None:
    assert arbiter_brick_size_bytes(data_gib * GIB, 64 * KIB) == arbiter_kib * KIB


def test_arbiter_is_never_below_16_mib() -> None:
    assert arbiter_brick_size_bytes(GIB, GIB) == 16 * MIB


def test_arbiter_needs_a_brick_of_one_file_at_least() -> None:
    with pytest.raises(ValueError, match="average file size 1048577 KiB is greater than brick size 1048576 KiB"):
        arbiter_brick_size_bytes(GIB, GIB + KIB)


def test_spare_metadata_grows_to_the_largest_pool_metadata() -> None:
    assert spare_metadata_growth_bytes(0, 8 * MIB) == 8 * MIB
    assert spare_metadata_growth_bytes(8 * MIB, 8 * MIB) == 0
    assert spare_metadata_growth_bytes(8 * MIB, 20 * MIB) == 12 * MIB
    assert spare_metadata_growth_bytes(20 * MIB, 8 * MIB) == 0


@given(st.integers(KIB, 4 * TIB), st.floats(1, 100), st.sampled_from([KIB, MIB, EXTENT, 3 * MIB, 32 * MIB]))
def test_need_is_whole_extents_and_covers_the_brick(size: int, factor: float, extent: int) -> None:
    need = brick_need(size // KIB * KIB, factor, extent)
    assert need.thin_pool_size_bytes % extent == 0
    assert need.pool_metadata_size_bytes % extent == 0
    assert need.thin_pool_size_bytes >= size // KIB * KIB
