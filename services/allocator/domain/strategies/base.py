"""What every placement strategy is asked and answers: one brick set at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from services.allocator.domain.index import CandidateView, PlacementIndex
    from services.allocator.domain.model import BrickRole, InventoryDevice
    from services.allocator.domain.space import NeedTable, WorkingSpace
    from services.allocator.domain.splitting import SplitRule


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """What bricks of one role need, and which devices may hold them."""

    needs: NeedTable
    view: CandidateView


@dataclass(frozen=True, slots=True)
class SetJob:
    """One brick set, or what is missing of one, to be placed.

    `roles` has one role per brick to place, in order of position. Members of `taken_nodes` and, under a strict zone
    rule, of `taken_zones` hold other bricks of the set already; `excluded_devices` are not to be used. `seed` differs
    per set.
    """

    index: PlacementIndex
    space: WorkingSpace
    roles: tuple[BrickRole, ...]
    role_needs: dict[BrickRole, RoleNeed]
    strict_zones: bool
    seed: str
    taken_nodes: frozenset[str] = frozenset()
    taken_zones: frozenset[int] = frozenset()
    excluded_devices: frozenset[str] = frozenset()

    def zone_of(self, device: InventoryDevice) -> int:
        """Failure domain of a device."""
        return self.index.nodes[device.node_id].zone

    def fits(self, device: InventoryDevice, role: BrickRole) -> bool:
        """Whether the device has room for a brick of the role now."""
        return self.space.fits(device, self.role_needs[role].needs.for_extent(device.extent_size_bytes))


class Strategy(Protocol):
    """A way to choose devices. Pure and deterministic: the same job gives the same answer."""

    @property
    def name(self) -> str:
        """The name in requests."""

    @property
    def split_rule(self) -> SplitRule:
        """Which numbers of sets to try."""

    def place_set(self, job: SetJob) -> tuple[InventoryDevice, ...] | None:
        """One device per role of the job, on different nodes, with room; None if there is no such choice.

        Takes no space; the caller does.
        """
