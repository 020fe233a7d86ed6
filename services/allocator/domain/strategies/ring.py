"""Heketi's placement: a ring of all devices, interleaved by zone and node, walked once per brick set."""

from __future__ import annotations

from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING
from zlib import crc32

from services.allocator.domain.model import BrickRole
from services.allocator.domain.splitting import SplitRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from services.allocator.domain.index import CandidateView
    from services.allocator.domain.model import InventoryDevice
    from services.allocator.domain.strategies.base import SetJob

# Heketi orders a ring by the random order of Go maps. Here a seed picks one of so many orders; each is made once per
# index.
RING_ORDERS = 16


class _Part(Enum):
    """Which of a view's devices a ring holds, seen from another view."""

    ALL = "all"
    OWN = "own"
    SHARED = "shared"


def interleave(zones: Sequence[Sequence[Sequence[str]]]) -> tuple[str, ...]:
    """The ring of zones of nodes of device ids.

    Step i takes from zone i mod zones, there from node i mod nodes, the LAST device.
    Exhausted nodes and zones drop out, which shifts the ones behind them (Heketi's rule). Empty nodes and zones are
    allowed.
    """
    left = [[list(devices) for devices in nodes if devices] for nodes in zones]
    left = [nodes for nodes in left if nodes]
    ring: list[str] = []
    step = 0
    while left:
        zone_at = step % len(left)
        nodes = left[zone_at]
        node_at = step % len(nodes)
        ring.append(nodes[node_at].pop())
        if not nodes[node_at]:
            del nodes[node_at]
            if not nodes:
                del left[zone_at]
        step += 1
    return tuple(ring)


def start_of(unique_id: str, length: int) -> int:
    """Where a walk begins: the first 7 hex digits of a unique id, modulo the ring's length (> 0)."""
    return int(unique_id[:7], 16) % length


def set_id(seed: str) -> str:
    """The 64 hex digits that stand in for the random id that Heketi drew for a set."""
    return sha256(seed.encode()).hexdigest()


class RingStrategy:
    """First fit along the ring; free space is not ranked. For those who want Heketi's behaviour."""

    name = "ring"
    split_rule = SplitRule.POWERS_OF_TWO

    def place_set(self, job: SetJob) -> tuple[InventoryDevice, ...] | None:
        """Walk once; a device passed over for one brick of the set is not looked at again for a later one.

        A set with an arbiter is filled from its last position on, and its arbiter brick has a walk of its own, over the
        devices kept for arbiters first; the data bricks go over those closed to arbiters first (Heketi's rule).
        """
        walks = self._walks(job)
        order = range(len(job.roles))
        chosen: dict[int, InventoryDevice] = {}
        nodes, zones = set(job.taken_nodes), set(job.taken_zones)
        for position in reversed(order) if len(walks) > 1 else order:
            role = job.roles[position]
            for device in walks[role]:
                zone = job.zone_of(device)
                if device.node_id in nodes or (job.strict_zones and zone in zones):
                    continue
                if device.id not in job.excluded_devices and job.fits(device, role):
                    chosen[position] = device
                    nodes.add(device.node_id)
                    zones.add(zone)
                    break
            else:
                return None
        return tuple(chosen[position] for position in order)

    def _walks(self, job: SetJob) -> dict[BrickRole, Iterator[InventoryDevice]]:
        unique_id = set_id(job.seed)
        needs = job.role_needs
        data = needs[BrickRole.DATA].view
        if BrickRole.ARBITER not in needs:
            return {BrickRole.DATA: _walk(job, data, _Part.ALL, data, unique_id)}
        arbiter = needs[BrickRole.ARBITER].view
        return {
            BrickRole.DATA: _own_first(job, data, arbiter, unique_id),
            BrickRole.ARBITER: _own_first(job, arbiter, data, unique_id),
        }


def _own_first(job: SetJob, own: CandidateView, other: CandidateView, unique_id: str) -> Iterator[InventoryDevice]:
    """The ring of devices that only `own` admits, then that of those both admit; both begun by the same id."""
    yield from _walk(job, own, _Part.OWN, other, unique_id)
    yield from _walk(job, own, _Part.SHARED, other, unique_id)


def _walk(
    job: SetJob, view: CandidateView, part: _Part, other: CandidateView, unique_id: str
) -> Iterator[InventoryDevice]:
    """The part's devices once around, from where the id says."""
    order = int(unique_id[-4:], 16) % RING_ORDERS
    ring = view.rings.get((order, part.value))
    if ring is None:
        shared = part is _Part.SHARED
        members = [d for d in view.devices.values() if part is _Part.ALL or (d.id in other.devices) is shared]
        ring = view.rings[order, part.value] = interleave(_ordered(job, members, order))
    start = start_of(unique_id, len(ring)) if ring else 0
    for at in range(start, start + len(ring)):
        yield view.devices[ring[at % len(ring)]]


def _ordered(job: SetJob, devices: Iterable[InventoryDevice], order: int) -> list[list[list[str]]]:
    """Zones, nodes and devices in an order that the number decides; order 0 is by id."""

    def rank(name: object) -> int:
        return crc32(f"{order}:{name}".encode()) if order else 0

    by_node: dict[str, list[str]] = {}
    for device in devices:
        by_node.setdefault(device.node_id, []).append(device.id)
    by_zone: dict[int, list[str]] = {}
    for node_id in sorted(by_node, key=lambda i: (rank(i), i)):
        by_zone.setdefault(job.index.nodes[node_id].zone, []).append(node_id)
    return [
        [sorted(by_node[node_id], key=lambda i: (rank(i), i)) for node_id in by_zone[zone]]
        for zone in sorted(by_zone, key=lambda z: (rank(z), z))
    ]
