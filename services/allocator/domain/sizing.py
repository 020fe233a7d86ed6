"""How much space a brick takes. Heketi's rules, to the byte, so that a cluster taken over keeps its books.

Heketi counts in KiB; so does the arithmetic here, between byte-sized ends.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from services.common.units import GIB, KIB, MIB, round_up

METADATA_FRACTION = 0.005
MAX_POOL_METADATA_BYTES = 16 * GIB
MIN_ARBITER_BRICK_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class BrickNeed:
    """What one brick takes on a device of a given extent size."""

    size_bytes: int
    thin_pool_size_bytes: int
    pool_metadata_size_bytes: int

    @property
    def total_bytes(self) -> int:
        """Thin pool and its metadata, without the spare."""
        return self.thin_pool_size_bytes + self.pool_metadata_size_bytes


def as_float32(factor: float) -> float:
    """The factor as Heketi keeps it, in single precision: 1.1 becomes 1.10000002384."""
    (single,) = struct.unpack("<f", struct.pack("<f", factor))
    return float(single)


def thin_pool_size_bytes(brick_size_bytes: int, snapshot_factor: float, extent_size_bytes: int) -> int:
    """Thin pool for a brick: KiB times the single-precision factor, floored, then up to a whole extent."""
    scaled_kib = int(float(brick_size_bytes // KIB) * as_float32(snapshot_factor))
    return round_up(scaled_kib * KIB, extent_size_bytes)


def pool_metadata_size_bytes(thin_pool_bytes: int, extent_size_bytes: int) -> int:
    """Metadata of a thin pool: 0.5 % of it in KiB, floored, at most 16 GiB, then up to a whole extent."""
    metadata_kib = int(float(thin_pool_bytes // KIB) * METADATA_FRACTION)
    return round_up(min(metadata_kib * KIB, MAX_POOL_METADATA_BYTES), extent_size_bytes)


def brick_need(brick_size_bytes: int, snapshot_factor: float, extent_size_bytes: int) -> BrickNeed:
    """Thin pool and metadata of a brick on a device with this extent size."""
    pool = thin_pool_size_bytes(brick_size_bytes, snapshot_factor, extent_size_bytes)
    return BrickNeed(brick_size_bytes, pool, pool_metadata_size_bytes(pool, extent_size_bytes))


def fits(free_bytes: int, needed_bytes: int) -> bool:
    """Whether a brick may go there: the free space must be MORE than needed (Heketi's rule)."""
    return free_bytes > needed_bytes


def missing_bytes(free_bytes: int, needed_bytes: int, extent_size_bytes: int) -> int:
    """The smallest whole number of extents, in bytes, that makes the brick fit; 0 if it does."""
    return 0 if fits(free_bytes, needed_bytes) else round_up(needed_bytes - free_bytes + 1, extent_size_bytes)


def arbiter_brick_size_bytes(data_brick_bytes: int, average_file_size_bytes: int) -> int:
    """Size of an arbiter brick: one KiB per file of average size, at least 16 MiB (Heketi's rule).

    Raises ValueError if a data brick is smaller than one average file.
    """
    brick_kib, file_kib = data_brick_bytes // KIB, average_file_size_bytes // KIB
    if brick_kib < file_kib:
        raise ValueError(f"average file size {file_kib} KiB is greater than brick size {brick_kib} KiB")
    return max(brick_kib // file_kib * KIB, MIN_ARBITER_BRICK_BYTES)


def spare_metadata_growth_bytes(current_spare_bytes: int, new_metadata_bytes: int) -> int:
    """What a VG's spare metadata LV grows by when a pool with this metadata is added.

    LVM keeps one spare per VG, as large as the largest pool metadata in it; the first pool creates it.
    """
    return max(0, new_metadata_bytes - current_spare_bytes)
