"""Devices in order of cost, one size class at a time, without looking at those that nobody asks for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from services.allocator.domain.model import InventoryDevice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.allocator.domain.index import SizeClass
    from services.allocator.domain.model import BrickRole
    from services.allocator.domain.strategies.base import SetJob

Pick = tuple[float, InventoryDevice]


@dataclass(frozen=True, slots=True)
class Scale:
    """Turns what a placement leaves on a device into one number: the fill up to `full_at`, 1 + the rest beyond it.

    The rest is measured in the largest device of the cluster, so that it is comparable between devices and below 1.
    """

    full_at: float
    largest_total_bytes: int

    def cost(self, device: InventoryDevice, left_bytes: int) -> float:
        """Cost of a device that would have `left_bytes` (0..total) left."""
        fill = 1 - left_bytes / device.total_bytes
        return fill if fill <= self.full_at else 1 + left_bytes / self.largest_total_bytes


def in_zones(job: SetJob, role: BrickRole, scale: Scale) -> Iterator[tuple[int, Iterator[Pick]]]:
    """Every zone's candidates for a role, as one ascending stream per size class, with the zone."""
    taken = _taken_before(job, role)
    for zone, classes in job.role_needs[role].view.zones.items():
        for size_class in classes.values():
            yield zone, _ascending(job, role, size_class, scale)
    for device in taken:
        pick = _priced(job, role, device, scale)
        if pick:
            yield job.zone_of(device), iter((pick,))


def cheapest_on_node(job: SetJob, role: BrickRole, node_id: str, scale: Scale) -> Pick | None:
    """The cheapest candidate of one node; None if it has none with room."""
    classes = job.role_needs[role].view.nodes.get(node_id, {})
    heads = [next(_ascending(job, role, size_class, scale), None) for size_class in classes.values()]
    heads += [_priced(job, role, device, scale) for device in _taken_before(job, role) if device.node_id == node_id]
    return min((head for head in heads if head), key=lambda pick: (pick[0], pick[1].id), default=None)


def _taken_before(job: SetJob, role: BrickRole) -> list[InventoryDevice]:
    """Candidates that earlier sets of the plan took from: their place in the sorted classes no longer holds."""
    devices = job.role_needs[role].view.devices
    return [devices[device_id] for device_id in job.space.taken if device_id in devices]


def _ascending(job: SetJob, role: BrickRole, size_class: SizeClass, scale: Scale) -> Iterator[Pick]:
    """Devices of a class that have room, cheapest first, without those that the plan took from before."""
    devices, frees = size_class.devices, size_class.negated_frees
    needed = job.role_needs[role].needs.for_extent(size_class.extent_size_bytes).total_bytes
    # Free space must exceed the need: those before `end`. Before `roomy` the threshold is not passed: emptiest first.
    # From there on best fit: fullest first.
    end = bisect_left(frees, -needed)
    left_at_threshold = int(size_class.total_bytes * (1 - scale.full_at))
    roomy = bisect_right(frees, -(needed + left_at_threshold), 0, end)
    for at in chain(range(roomy), range(end - 1, roomy - 1, -1)):
        if devices[at].id not in job.space.taken:
            pick = _priced(job, role, devices[at], scale)
            if pick:
                yield pick


def _priced(job: SetJob, role: BrickRole, device: InventoryDevice, scale: Scale) -> Pick | None:
    if device.id in job.excluded_devices:
        return None
    need = job.role_needs[role].needs.for_extent(device.extent_size_bytes)
    left = job.space.free_bytes(device) - job.space.needed_bytes(device, need)
    return (scale.cost(device, left), device) if left > 0 else None
