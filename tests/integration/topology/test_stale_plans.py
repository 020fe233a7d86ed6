"""A plan on what has changed since: refused when it is recorded, and made again on what is true now."""

import pytest

from brickyard.allocator.v1.allocator_service_pb2 import PlanVolumeResponse
from brickyard.topology.v1 import operation_pb2, topology_service_pb2, volume_pb2
from gateway.usecases.placement import named_bricks
from services.allocator.convert import placed_bricks
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import Durability, VolumeRequest
from services.allocator.domain.planner import plan_volume
from services.allocator.domain.refusal import PlacementRefused
from services.allocator.inventory import InventoryCache
from services.common.errors import AbortedError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.usecases import inventory
from tests.unit.topology.builders import OFFLINE, World, create_spec


class Planner:
    """The allocator's inventory and core on a store, without a server between them."""

    def __init__(self, world: World, cluster_id: str) -> None:
        self._store = world.store
        self._cluster_id = cluster_id
        self._cache = InventoryCache(self._fetch)
        self.since: list[int] = []

    def _fetch(self, request: topology_service_pb2.GetInventoryRequest) -> topology_service_pb2.GetInventoryResponse:
        self.since.append(request.since_revision)
        return inventory.get(
            self._store,
            request.cluster_id,
            since_revision=request.since_revision,
            all_node_sets=request.all_node_sets,
        )

    def index(self) -> PlacementIndex:
        return self._cache.current(self._cluster_id)

    def plan(self, size_gib: int, index: PlacementIndex | None = None) -> operation_pb2.OperationSpec:
        placement = plan_volume(index or self.index(), VolumeRequest(size_gib * GIB, Durability.replicate(2)))
        volume_id = new_id()
        answer = placed_bricks(placement)
        bricks = named_bricks(volume_id, PlanVolumeResponse(bricks=answer), [new_id() for _ in answer])
        durability = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=2)
        return create_spec(
            volume_pb2.Volume(
                id=volume_id,
                name=f"vol_{volume_id}",
                cluster_id=self._cluster_id,
                size_bytes=size_gib * GIB,
                durability=durability,
                snapshot_factor=1.0,
                bricks=bricks,
            )
        )


def devices_of(spec: operation_pb2.OperationSpec) -> set[str]:
    return {brick.device_id for brick in spec.create_volume.volume.bricks}


def test_room_that_somebody_else_took_is_noticed_and_other_room_is_found(world: World) -> None:
    cluster = world.cluster()
    world.devices(cluster.id, 4)
    planner = Planner(world, cluster.id)
    before = planner.index()
    mine, theirs = planner.plan(95, before), planner.plan(95, before)
    assert devices_of(mine) == devices_of(theirs)
    world.begin(theirs)
    with pytest.raises(AbortedError) as caught:
        world.begin(mine)
    assert caught.value.reason is Reason.PLAN_OUTDATED
    again = planner.plan(95)
    assert devices_of(again).isdisjoint(devices_of(theirs))
    world.begin(again)
    with pytest.raises(PlacementRefused):
        planner.plan(95)
    assert world.violations() == []
    # Everything once, and then only what had changed.
    assert planner.since[0] == 0
    assert all(planner.since[1:])


def test_two_allocators_never_give_the_same_room_away(world: World) -> None:
    cluster = world.cluster()
    world.devices(cluster.id, 6)
    first, second = Planner(world, cluster.id), Planner(world, cluster.id)
    for _ in range(3):
        plans = first.plan(95), second.plan(95)
        world.begin(plans[0])
        if devices_of(plans[0]).isdisjoint(devices_of(plans[1])):
            continue
        with pytest.raises(AbortedError):
            world.begin(plans[1])
    # Each looked at everything once, and then only at what the other one's volumes have changed.
    assert first.since[0] == second.since[0] == 0
    assert min(first.since[1:]) > 0
    assert first.index().devices == second.index().devices
    for planner in (first, second):
        with pytest.raises(PlacementRefused):
            planner.plan(95)
    assert world.violations() == []


def test_a_device_that_went_offline_is_noticed(world: World) -> None:
    cluster = world.cluster()
    world.devices(cluster.id, 3)
    planner = Planner(world, cluster.id)
    stale = planner.plan(10)
    gone = min(devices_of(stale))
    world.set_device_state(gone, OFFLINE)
    with pytest.raises(AbortedError) as caught:
        world.begin(stale)
    assert caught.value.reason is Reason.PLAN_OUTDATED
    again = planner.plan(10)
    assert gone not in devices_of(again)
    world.begin(again)


def test_many_plans_on_one_look_never_take_more_than_there_is(world: World) -> None:
    cluster = world.cluster()
    world.devices(cluster.id, 3)
    planner = Planner(world, cluster.id)
    refused: list[AbortedError] = []
    for _ in range(8):
        look = planner.index()
        for spec in [planner.plan(60, look), planner.plan(60, look)]:
            try:
                world.begin(spec)
            except AbortedError as error:
                refused.append(error)
        try:
            planner.plan(60)
        except PlacementRefused:
            break
    assert {error.reason for error in refused} == {Reason.PLAN_OUTDATED}
    assert world.violations() == []
    with pytest.raises(PlacementRefused):
        planner.plan(60)
