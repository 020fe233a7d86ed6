"""Into how many brick sets a volume is divided, and how large the bricks are then."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import count, takewhile
from typing import TYPE_CHECKING

from services.allocator.domain.refusal import RefusalKind
from services.common.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.allocator.domain.model import VolumeRequest


class SplitRule(Enum):
    """Which numbers of sets are tried, always from few to many.

    `POWERS_OF_TWO` is Heketi's; it strands space where halving overshoots, so `EVERY` also tries 3, 5, 6, 7, 9 ...
    """

    POWERS_OF_TWO = "powers_of_two"
    EVERY = "every"


@dataclass(frozen=True, slots=True)
class Split:
    """One way to divide a volume: so many sets with data bricks of this size."""

    set_count: int
    brick_size_bytes: int


def brick_size_bytes(request: VolumeRequest, set_count: int) -> int:
    """Data brick size for a number of sets: KiB divided by the sets, then by the data bricks, floored each time."""
    return request.size_bytes // KIB // set_count // request.durability.data_bricks * KIB


def splits(request: VolumeRequest, rule: SplitRule) -> Iterator[Split | RefusalKind]:
    """The splits to try in order; the last item is the limit that ends the search (MIN_BRICK_SIZE or MAX_BRICKS).

    Heketi's order of checks: brick too small ends it, brick too large asks for more sets, too many bricks ends it.
    """
    limits = request.limits
    set_size = request.durability.set_size
    # Fewer sets than this make bricks above the limit; counting up to it one by one would take long for an absurd size.
    first = max(1, request.size_bytes // (limits.max_brick_bytes * request.durability.data_bricks))
    for set_count in _set_counts(rule, first):
        size = brick_size_bytes(request, set_count)
        if size < limits.min_brick_bytes:
            yield RefusalKind.MIN_BRICK_SIZE
            return
        if size > limits.max_brick_bytes:
            continue
        if set_count * set_size + request.existing_bricks > limits.max_bricks_per_volume:
            yield RefusalKind.MAX_BRICKS
            return
        yield Split(set_count, size)


def set_counts(request: VolumeRequest, rule: SplitRule) -> Iterator[int]:
    """The numbers of sets that the limit on bricks leaves, from few to many."""
    limit = (request.limits.max_bricks_per_volume - request.existing_bricks) // request.durability.set_size
    return takewhile(lambda set_count: set_count <= limit, _set_counts(rule, 1))


def _set_counts(rule: SplitRule, first: int) -> Iterator[int]:
    """All candidates from 1 or from `first` on, ascending; `first` only spares steps."""
    if rule is SplitRule.EVERY:
        return count(first)
    return (1 << exponent for exponent in count())
