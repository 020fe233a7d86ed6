"""An inventory prepared for planning: built once per revision, read by any number of plans, never changed.

A `CandidateView` holds the devices that state, health and tags admit, sorted by free space within size classes, so that
a plan looks at the few best of each class instead of at all. Views for tag rules are made when first asked for and
kept.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from math import floor, log2
from typing import TYPE_CHECKING, TypeVar

from services.allocator.domain.constraints import DeviceFilter, filter_reason, state_reason
from services.allocator.domain.model import DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.allocator.domain.model import Inventory, InventoryDevice, InventoryNode

# With more different device sizes than this, sizes within about 2 % share a class: order within it is then nearly
# right.
EXACT_CLASSES = 64
_CLASSES_PER_DOUBLING = 32
_MAX_VIEWS = 32

ClassKey = tuple[int, int]
_K = TypeVar("_K")


def _emptiest_first(device: InventoryDevice) -> tuple[int, str]:
    return -device.free_bytes, device.id


class SizeClass:
    """Devices of one total size and extent size, emptiest first, then by id. Do not change after building.

    `negated_frees` is ascending, for bisection; `total_bytes` is the total of all, or below the smallest.
    """

    __slots__ = ("devices", "extent_size_bytes", "negated_frees", "total_bytes")

    def __init__(self, key: ClassKey, devices: list[InventoryDevice], negated_frees: list[int]) -> None:
        self.devices = devices
        self.negated_frees = negated_frees
        self.total_bytes, self.extent_size_bytes = key

    @classmethod
    def of(cls, key: ClassKey, devices: list[InventoryDevice]) -> SizeClass:
        """A class of devices that are in order already."""
        return cls(key, devices, [-device.free_bytes for device in devices])


Classes = dict[ClassKey, SizeClass]


class CandidateView:
    """The devices that a kind of brick may use, by zone and by node."""

    __slots__ = ("devices", "nodes", "rings", "zones")

    def __init__(
        self,
        devices: dict[str, InventoryDevice],
        zones: dict[int, Classes],
        nodes: dict[str, Classes],
        rings: dict[tuple[int, str], tuple[str, ...]],
    ) -> None:
        self.devices = devices
        self.zones = zones
        self.nodes = nodes
        # Filled by the ring strategy; a ring depends on which devices there are and on their tags, not on their space.
        self.rings = rings


class PlacementIndex:
    """Everything that planning needs to know about one inventory revision."""

    __slots__ = (
        "_exact",
        "_views",
        "cluster_id",
        "devices",
        "known_sets",
        "largest_total_bytes",
        "node_sets",
        "nodes",
        "revision",
    )

    def __init__(self, inventory: Inventory) -> None:
        """Prepare an inventory. Devices of unknown nodes raise ValueError."""
        self.cluster_id = inventory.cluster_id
        self.revision = inventory.revision
        self.nodes: dict[str, InventoryNode] = {node.id: node for node in inventory.nodes}
        self.devices: dict[str, InventoryDevice] = {device.id: device for device in inventory.devices}
        for device in inventory.devices:
            if device.node_id not in self.nodes:
                raise ValueError(f"device {device.id} is on unknown node {device.node_id}")
        self._exact = len({device.total_bytes for device in inventory.devices}) <= EXACT_CLASSES
        self.largest_total_bytes = max((device.total_bytes for device in inventory.devices), default=0)
        self.node_sets = frozenset(inventory.known_node_sets)
        self.known_sets = _sets_by_node(self.node_sets)
        self._views: dict[DeviceFilter, CandidateView] = {}

    def view(self, wanted: DeviceFilter) -> CandidateView:
        """The candidates for a filter; made at the first call, then kept (a bounded number of them)."""
        view = self._views.get(wanted)
        if view is None:
            view = self._build_view(wanted)
            if len(self._views) >= _MAX_VIEWS:
                self._views.pop(next(iter(self._views)), None)
            self._views[wanted] = view
        return view

    def with_changes(
        self,
        revision: int,
        devices: Iterable[InventoryDevice],
        known_node_sets: frozenset[frozenset[str]] | None = None,
    ) -> PlacementIndex:
        """A new index with these devices added or replaced; this one stays as it is.

        What did not change is shared, so one brick more costs far less than a rebuild. Changed nodes and removed
        devices need a rebuild. `known_node_sets` None keeps the old ones. Raises ValueError for a device on an unknown
        node.
        """
        changed = {device.id: device for device in devices}
        for device in changed.values():
            if device.node_id not in self.nodes:
                raise ValueError(f"device {device.id} is on unknown node {device.node_id}")
        new = object.__new__(PlacementIndex)
        new.cluster_id, new.revision, new.nodes, new._exact = self.cluster_id, revision, self.nodes, self._exact
        new.devices = {**self.devices, **changed}
        new.largest_total_bytes = self._largest_after(changed, new.devices)
        new.node_sets = self.node_sets if known_node_sets is None else known_node_sets
        # A few sets serve most bricks, so they seldom change.
        new.known_sets = self.known_sets if new.node_sets == self.node_sets else _sets_by_node(new.node_sets)
        only_space = all(_same_but_space(self.devices.get(device.id), device) for device in changed.values())
        new._views = {
            wanted: self._changed_view(wanted, view, changed, keep_rings=only_space)
            for wanted, view in list(self._views.items())
        }
        return new

    def without(self, device_ids: Iterable[str], node_ids: Iterable[str]) -> PlacementIndex:
        """An index in which some devices, and all devices of some nodes, are left out; unknown ids are passed over."""
        devices, nodes = set(device_ids), set(node_ids)
        left_out = (each for each in self.devices.values() if each.id in devices or each.node_id in nodes)
        return self._adjusted([replace(each, state=DeviceState.EXCLUDED) for each in left_out])

    def with_freed(self, freed_bytes: Mapping[str, int]) -> PlacementIndex:
        """An index in which some devices, by id, have that much more room; unknown ids are passed over."""
        return self._adjusted(
            [
                replace(device, free_bytes=min(device.total_bytes, device.free_bytes + freed))
                for device_id, freed in freed_bytes.items()
                if (device := self.devices.get(device_id)) is not None
            ]
        )

    def _adjusted(self, devices: Sequence[InventoryDevice]) -> PlacementIndex:
        return self.with_changes(self.revision, devices) if devices else self

    def _largest_after(self, changed: Mapping[str, InventoryDevice], devices: Mapping[str, InventoryDevice]) -> int:
        """The largest total among `devices`; looks at all of them only if the largest one itself was changed."""
        touched = (self.devices[device_id].total_bytes for device_id in changed if device_id in self.devices)
        if self.largest_total_bytes in touched:
            return max(device.total_bytes for device in devices.values())
        return max(self.largest_total_bytes, *(device.total_bytes for device in changed.values()), 0)

    def _class_key(self, device: InventoryDevice) -> ClassKey:
        """Total size of the class, the smallest in it, and extent size."""
        if self._exact:
            return device.total_bytes, device.extent_size_bytes
        step = floor(log2(max(device.total_bytes, 1)) * _CLASSES_PER_DOUBLING)
        return floor(2 ** (step / _CLASSES_PER_DOUBLING)), device.extent_size_bytes

    def _admits(self, wanted: DeviceFilter, device: InventoryDevice) -> bool:
        node = self.nodes[device.node_id]
        return state_reason(node, device) is None and filter_reason(wanted, node, device) is None

    def _build_view(self, wanted: DeviceFilter) -> CandidateView:
        admitted = sorted((d for d in self.devices.values() if self._admits(wanted, d)), key=_emptiest_first)
        by_zone: dict[int, dict[ClassKey, list[InventoryDevice]]] = {}
        by_node: dict[str, dict[ClassKey, list[InventoryDevice]]] = {}
        for device in admitted:
            key = self._class_key(device)
            zone = self.nodes[device.node_id].zone
            by_zone.setdefault(zone, {}).setdefault(key, []).append(device)
            by_node.setdefault(device.node_id, {}).setdefault(key, []).append(device)
        return CandidateView(
            devices={device.id: device for device in admitted},
            zones={zone: _classes(lists) for zone, lists in by_zone.items()},
            nodes={node_id: _classes(lists) for node_id, lists in by_node.items()},
            rings={},
        )

    def _changed_view(
        self, wanted: DeviceFilter, view: CandidateView, changed: Mapping[str, InventoryDevice], *, keep_rings: bool
    ) -> CandidateView:
        devices, zones, nodes = dict(view.devices), dict(view.zones), dict(view.nodes)
        for device in changed.values():
            old = view.devices.get(device.id)
            new = device if self._admits(wanted, device) else None
            for gone, come in ((old, None), (None, new)):
                moved = gone or come
                if moved is None:
                    continue
                key, zone = self._class_key(moved), self.nodes[moved.node_id].zone
                _replace(zones, zone, key, gone, come)
                _replace(nodes, moved.node_id, key, gone, come)
            if new is None:
                devices.pop(device.id, None)
            else:
                devices[device.id] = new
        return CandidateView(devices, zones, nodes, view.rings if keep_rings else {})


def _same_but_space(old: InventoryDevice | None, new: InventoryDevice) -> bool:
    return old is not None and (old.node_id, old.state, old.tags) == (new.node_id, new.state, new.tags)


def _classes(lists: Mapping[ClassKey, list[InventoryDevice]]) -> Classes:
    return {key: SizeClass.of(key, devices) for key, devices in lists.items()}


def _replace(
    table: dict[_K, Classes], group: _K, key: ClassKey, gone: InventoryDevice | None, come: InventoryDevice | None
) -> None:
    """Take a device out of, or into, one class of one group; copies what it changes."""
    classes = dict(table.get(group, {}))
    old = classes.get(key)
    devices, frees = (list(old.devices), list(old.negated_frees)) if old else ([], [])
    if gone is not None:
        at = bisect_left(devices, _emptiest_first(gone), key=_emptiest_first)
        del devices[at], frees[at]
    if come is not None:
        at = bisect_left(devices, _emptiest_first(come), key=_emptiest_first)
        devices.insert(at, come)
        frees.insert(at, -come.free_bytes)
    if devices:
        classes[key] = SizeClass(key, devices, frees)
    else:
        del classes[key]
    if classes:
        table[group] = classes
    else:
        table.pop(group, None)


def _sets_by_node(node_sets: Iterable[frozenset[str]]) -> dict[str, tuple[frozenset[str], ...]]:
    by_node: dict[str, list[frozenset[str]]] = {}
    for node_set in sorted(node_sets, key=sorted):
        for node_id in node_set:
            by_node.setdefault(node_id, []).append(node_set)
    return {node_id: tuple(sets) for node_id, sets in by_node.items()}
