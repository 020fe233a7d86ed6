"""Free space while a plan grows: the inventory's figures with the plan's own bricks taken off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.allocator.domain.sizing import BrickNeed, brick_need, fits, spare_metadata_growth_bytes

if TYPE_CHECKING:
    from services.allocator.domain.model import InventoryDevice


@dataclass(slots=True)
class NeedTable:
    """What a brick of one size takes, per extent size; worked out once per size."""

    size_bytes: int
    snapshot_factor: float
    _by_extent: dict[int, BrickNeed] = field(default_factory=dict)

    def for_extent(self, extent_size_bytes: int) -> BrickNeed:
        """The need on a device with this extent size."""
        need = self._by_extent.get(extent_size_bytes)
        if need is None:
            need = brick_need(self.size_bytes, self.snapshot_factor, extent_size_bytes)
            self._by_extent[extent_size_bytes] = need
        return need


@dataclass(slots=True)
class WorkingSpace:
    """Devices that the plan has already taken from; all others are as the inventory says."""

    count_spare: bool = False
    taken: dict[str, tuple[int, int]] = field(default_factory=dict)

    def free_bytes(self, device: InventoryDevice) -> int:
        """What is left on a device."""
        changed = self.taken.get(device.id)
        return device.free_bytes if changed is None else changed[0]

    def spare_growth_bytes(self, device: InventoryDevice, need: BrickNeed) -> int:
        """What the spare metadata LV would grow by; 0 unless it is counted."""
        if not self.count_spare:
            return 0
        changed = self.taken.get(device.id)
        spare = device.spare_bytes if changed is None else changed[1]
        return spare_metadata_growth_bytes(spare, need.pool_metadata_size_bytes)

    def needed_bytes(self, device: InventoryDevice, need: BrickNeed) -> int:
        """All that a brick would take from the device."""
        return need.total_bytes + self.spare_growth_bytes(device, need)

    def fits(self, device: InventoryDevice, need: BrickNeed) -> bool:
        """Whether a brick may go there now."""
        return fits(self.free_bytes(device), self.needed_bytes(device, need))

    def take(self, device: InventoryDevice, need: BrickNeed) -> int:
        """Take a brick's space; returns the spare's growth. Raises ValueError if it does not fit."""
        if not self.fits(device, need):
            raise ValueError(f"device {device.id} has no room for {need.total_bytes} bytes")
        growth = self.spare_growth_bytes(device, need)
        changed = self.taken.get(device.id)
        spare = device.spare_bytes if changed is None else changed[1]
        self.taken[device.id] = (self.free_bytes(device) - need.total_bytes - growth, spare + growth)
        return growth

    def give_back(self, device: InventoryDevice, size_bytes: int) -> None:
        """A brick leaves the device: so much is free again. The spare stays as it is, as LVM leaves it."""
        changed = self.taken.get(device.id)
        spare = device.spare_bytes if changed is None else changed[1]
        self.taken[device.id] = (min(self.free_bytes(device) + size_bytes, device.total_bytes), spare)
