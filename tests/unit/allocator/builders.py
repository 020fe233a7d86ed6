"""Small inventories for the tests of the placement core."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from services.allocator.domain.model import (
    DeviceState,
    Durability,
    Inventory,
    InventoryDevice,
    InventoryNode,
    NodeState,
    Placement,
    VolumeRequest,
    ZoneRule,
)
from services.common.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CLUSTER = "c" * 32
REPLICA_2 = Durability.replicate(2)
REPLICA_3 = Durability.replicate(3)


def device(
    name: str,
    free_bytes: int,
    *,
    total_bytes: int | None = None,
    state: DeviceState = DeviceState.ONLINE,
    extent_size_bytes: int = 4 * MIB,
    spare_bytes: int = 0,
    **tags: str,
) -> InventoryDevice:
    """A device named `<node>/<rest>`; empty unless a total is given."""
    return InventoryDevice(
        id=name,
        node_id=name.partition("/")[0],
        total_bytes=free_bytes if total_bytes is None else total_bytes,
        free_bytes=free_bytes,
        extent_size_bytes=extent_size_bytes,
        state=state,
        tags=tags,
        spare_bytes=spare_bytes,
    )


def node(
    name: str, zone: int = 1, *, state: NodeState = NodeState.ONLINE, outage: str = "", **tags: str
) -> InventoryNode:
    """A node whose hostname is its id."""
    return InventoryNode(id=name, zone=zone, state=state, outage=outage, tags=tags, hostname=name)


def inventory(
    nodes: Iterable[InventoryNode],
    devices: Iterable[InventoryDevice],
    known_node_sets: Iterable[Iterable[str]] = (),
    revision: int = 1,
) -> Inventory:
    """An inventory of these."""
    return Inventory(CLUSTER, revision, tuple(nodes), tuple(devices), tuple(frozenset(s) for s in known_node_sets))


def one_device_each(free_gib: Mapping[str, int], zones: Mapping[str, int] | None = None) -> Inventory:
    """One empty device `<node>/a` per node."""
    zones = zones or {}
    return inventory(
        [node(name, zones.get(name, 1)) for name in free_gib],
        [device(f"{name}/a", gib * GIB) for name, gib in free_gib.items()],
    )


def device_ids(placement: Placement) -> list[list[str]]:
    """The chosen devices, set by set, in order of position."""
    return [[brick.device_id for brick in brick_set.bricks] for brick_set in placement.sets]


def assert_sound(source: Inventory, request: VolumeRequest, placement: Placement) -> None:
    """Everything that must hold for any placement, whatever the strategy."""
    nodes = {n.id: n for n in source.nodes}
    devices = {d.id: d for d in source.devices}
    taken: Counter[str] = Counter()
    for index, brick_set in enumerate(placement.sets):
        assert brick_set.index == index
        assert [brick.position for brick in brick_set.bricks] == list(range(request.durability.set_size))
        assert [brick.role for brick in brick_set.bricks] == list(request.roles)
        assert {brick.set_index for brick in brick_set.bricks} == {index}
        assert len(brick_set.node_ids) == len(brick_set.bricks)
        zones = {nodes[brick.node_id].zone for brick in brick_set.bricks}
        if request.zone_rule is ZoneRule.STRICT:
            assert len(zones) == len(brick_set.bricks)
        for brick in brick_set.bricks:
            assert devices[brick.device_id].node_id == brick.node_id
            assert devices[brick.device_id].state is DeviceState.ONLINE
            assert nodes[brick.node_id].state is NodeState.ONLINE
            assert not nodes[brick.node_id].outage
            taken[brick.device_id] += brick.needed_bytes
    for device_id, needed_bytes in taken.items():
        assert needed_bytes < devices[device_id].free_bytes
    assert len(placement.bricks) + request.existing_bricks <= request.limits.max_bricks_per_volume
