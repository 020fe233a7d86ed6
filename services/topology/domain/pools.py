"""Whose thin pools the bricks lie in, and what becomes of the space of a pool. Pure; sizes are bytes.

A volume and its copies share thin pools. The space of a pool counts once on its device: it is reserved while all its
bricks are being made, and used as soon as one is finished, until the last one is gone.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.topology.domain.model import BrickState


class Pool(NamedTuple):
    """A thin pool: its name is unique in the volume group of its device."""

    device_id: str
    name: str


class PooledBrick(Protocol):
    """What counts of a stored brick here."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def device_id(self) -> str:
        """The device of its pool."""

    @property
    def thin_pool_name(self) -> str:
        """The name of its pool."""

    @property
    def thin_pool_size_bytes(self) -> int:
        """Size of its pool."""

    @property
    def pool_metadata_size_bytes(self) -> int:
        """Size of the metadata of its pool."""

    @property
    def state(self) -> str:
        """Its `BrickState`."""


def pool_of(brick: PooledBrick) -> Pool:
    """The pool that a brick lies in."""
    return Pool(brick.device_id, brick.thin_pool_name)


def needed_bytes(brick: PooledBrick) -> int:
    """What the brick's pool takes from its device."""
    return brick.thin_pool_size_bytes + brick.pool_metadata_size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpace:
    """The space of pools, by device.

    Attributes:
        used: Of pools with a finished brick.
        leaving: The part of `used` in pools whose finished bricks are all being removed.
        reserved: Of pools whose bricks are all being made.
    """

    used: Mapping[str, int]
    leaving: Mapping[str, int]
    reserved: Mapping[str, int]


def pool_space(bricks: Iterable[PooledBrick]) -> PoolSpace:
    """What the pools of the bricks take; rows of one pool that do not agree on its size count with the largest."""
    sizes: dict[Pool, int] = defaultdict(int)
    states: dict[Pool, set[str]] = defaultdict(set)
    for brick in bricks:
        sizes[pool_of(brick)] = max(sizes[pool_of(brick)], needed_bytes(brick))
        states[pool_of(brick)].add(brick.state)
    used: Counter[str] = Counter()
    leaving: Counter[str] = Counter()
    reserved: Counter[str] = Counter()
    for pool, size in sizes.items():
        if states[pool] == {BrickState.CREATING}:
            reserved[pool.device_id] += size
            continue
        used[pool.device_id] += size
        if BrickState.ACTIVE not in states[pool]:
            leaving[pool.device_id] += size
    return PoolSpace(used=used, leaving=leaving, reserved=reserved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What the removal of bricks means for their pools.

    Attributes:
        reclaimed: Bytes that are free again, by device.
        kept: Bytes that no brick accounts for any more although they are still taken, by device.
        gone: Pools that do not exist any more and in which the records still have bricks that are being removed.
        contradicted: Pools that were reported gone and in which the records have other bricks, not being removed.
    """

    reclaimed: Mapping[str, int]
    kept: Mapping[str, int]
    gone: Collection[Pool]
    contradicted: Collection[Pool]


def removal(
    bricks: Iterable[PooledBrick], *, others: Iterable[PooledBrick], reclaimed_brick_ids: Collection[str]
) -> Removal:
    """What becomes of the space of removed bricks.

    A pool that nobody else uses is free if it was reported gone, and stays used by nobody if not. A pool that others
    use stays theirs, with two cases where the report says that it is gone:
     - the others are being removed too: the last of several removals at a time found the pool empty, and need not be
       the one that ends last. The pool is free now, and counts no more for the others.
     - the others are not: the report and the records contradict each other. The pool stays used, which is the safe
       side; the removal of the others frees it, because for a pool that is absent the report is the same.

    Args:
        bricks: The removed bricks.
        others: The other bricks in their pools.
        reclaimed_brick_ids: Those of the removed bricks whose pool was reported gone.
    """
    sizes: dict[Pool, int] = defaultdict(int)
    reported: set[Pool] = set()
    for brick in bricks:
        sizes[pool_of(brick)] = max(sizes[pool_of(brick)], needed_bytes(brick))
        if brick.id in reclaimed_brick_ids:
            reported.add(pool_of(brick))
    remaining: dict[Pool, set[str]] = defaultdict(set)
    for brick in others:
        remaining[pool_of(brick)].add(brick.state)
    reclaimed: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    gone: list[Pool] = []
    contradicted: list[Pool] = []
    for pool, size in sizes.items():
        states = remaining.get(pool, set())
        if pool in reported and states <= {BrickState.DELETING}:
            reclaimed[pool.device_id] += size
            if states:
                gone.append(pool)
        elif not states:
            kept[pool.device_id] += size
        elif pool in reported:
            contradicted.append(pool)
    return Removal(reclaimed=reclaimed, kept=kept, gone=gone, contradicted=contradicted)
