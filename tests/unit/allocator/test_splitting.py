"""The order in which numbers of brick sets are tried, and what ends it."""

from __future__ import annotations

from services.allocator.domain.model import BrickLimits, Durability, VolumeRequest
from services.allocator.domain.refusal import RefusalKind
from services.allocator.domain.splitting import Split, SplitRule, splits
from services.common.units import GIB, KIB, TIB
from tests.unit.allocator.builders import REPLICA_3

POWERS, EVERY = SplitRule.POWERS_OF_TWO, SplitRule.EVERY


def _counts(request: VolumeRequest, rule: SplitRule) -> tuple[list[int], RefusalKind]:
    *tried, end = splits(request, rule)
    assert isinstance(end, RefusalKind)
    return [split.set_count for split in tried if isinstance(split, Split)], end


def test_ring_doubles() -> None:
    assert _counts(VolumeRequest(100 * GIB), POWERS) == ([1, 2, 4, 8, 16, 32], RefusalKind.MAX_BRICKS)
    assert _counts(VolumeRequest(100 * GIB, REPLICA_3), POWERS) == ([1, 2, 4, 8], RefusalKind.MAX_BRICKS)
    assert _counts(VolumeRequest(5 * GIB, REPLICA_3), POWERS) == ([1, 2, 4], RefusalKind.MIN_BRICK_SIZE)


def test_spread_also_tries_the_numbers_between() -> None:
    assert _counts(VolumeRequest(100 * GIB, REPLICA_3), EVERY) == (list(range(1, 11)), RefusalKind.MAX_BRICKS)
    assert _counts(VolumeRequest(5 * GIB, REPLICA_3), EVERY) == ([1, 2, 3, 4, 5], RefusalKind.MIN_BRICK_SIZE)


def test_too_large_bricks_ask_for_more_sets() -> None:
    request = VolumeRequest(10 * TIB, REPLICA_3)
    assert _counts(request, POWERS)[0] == [4, 8]
    assert _counts(request, EVERY)[0] == list(range(3, 11))
    exactly = VolumeRequest(8 * TIB, REPLICA_3)
    assert _counts(exactly, EVERY)[0] == list(range(2, 11))


def test_an_absurd_size_ends_at_once() -> None:
    assert _counts(VolumeRequest(2**63 - 1, REPLICA_3), EVERY) == ([], RefusalKind.MAX_BRICKS)
    assert _counts(VolumeRequest(2**63 - 1, REPLICA_3), POWERS) == ([], RefusalKind.MAX_BRICKS)


def test_the_minimum_is_looked_at_before_the_number_of_bricks() -> None:
    limits = BrickLimits(max_bricks_per_volume=3)
    assert _counts(VolumeRequest(GIB, REPLICA_3, limits=limits), POWERS) == ([1], RefusalKind.MIN_BRICK_SIZE)
    assert _counts(VolumeRequest(2 * GIB, REPLICA_3, limits=limits), POWERS) == ([1], RefusalKind.MAX_BRICKS)


def test_an_expansion_counts_the_bricks_that_are_there() -> None:
    assert _counts(VolumeRequest(100 * GIB, REPLICA_3, existing_bricks=27), POWERS) == ([1], RefusalKind.MAX_BRICKS)
    assert _counts(VolumeRequest(100 * GIB, REPLICA_3, existing_bricks=30), POWERS) == ([], RefusalKind.MAX_BRICKS)


def test_sizes_are_floored_to_kib_and_dispersed_ones_divided_again() -> None:
    request = VolumeRequest(10 * GIB, Durability.disperse(4, 2))
    sizes = [s.brick_size_bytes for s in splits(request, EVERY) if isinstance(s, Split)]
    assert sizes == [10 * GIB // 4, 10 * GIB // 8]
    odd = VolumeRequest(10 * GIB + 3 * KIB + 1000)
    sizes = [s.brick_size_bytes // KIB for s in splits(odd, EVERY) if isinstance(s, Split)]
    assert sizes[:4] == [10485763, 5242881, 3495254, 2621440]


def test_a_dispersed_volume_below_its_minimum_is_never_tried() -> None:
    request = VolumeRequest(3 * GIB, Durability.disperse(4, 2))
    assert _counts(request, POWERS) == ([], RefusalKind.MIN_BRICK_SIZE)
