"""Properties of whole plans, against a search through every possibility where there is one to make."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.allocator.domain.constraints import ArbiterClass, TagRule, merged_tags, state_reason
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import (
    BrickLimits,
    BrickRole,
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
from services.allocator.domain.planner import max_volume_size, plan_volume
from services.allocator.domain.refusal import PlacementRefused, Reason, RefusalKind
from services.allocator.domain.sizing import arbiter_brick_size_bytes, brick_need, spare_metadata_growth_bytes
from services.common.units import GIB, MIB
from tests.unit.allocator.builders import (
    CLUSTER,
    REPLICA_2,
    REPLICA_3,
    assert_sound,
    device,
    device_ids,
    inventory,
    node,
    one_device_each,
)

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

STRATEGIES = ("spread", "ring")
_mostly_online_device = st.sampled_from([DeviceState.ONLINE] * 5 + [DeviceState.OFFLINE, DeviceState.FAILED])
_mostly_online_node = st.sampled_from([NodeState.ONLINE] * 6 + [NodeState.OFFLINE])
_tags = st.sampled_from([{}, {}, {"disk": "ssd"}, {"arbiter": "required"}, {"arbiter": "disabled"}])


@st.composite
def inventories(draw: DrawFn) -> Inventory:
    """Up to six nodes with up to three devices of 0 to 60 GiB free."""
    nodes: list[InventoryNode] = []
    devices: list[InventoryDevice] = []
    for number in range(draw(st.integers(1, 6))):
        nodes.append(
            InventoryNode(
                f"n{number}",
                zone=draw(st.integers(1, 4)),
                state=draw(_mostly_online_node),
                outage=draw(st.sampled_from(["", "", "", "is down"])),
                tags=draw(_tags),
            )
        )
        for letter in "abc"[: draw(st.integers(0, 3))]:
            extents = draw(st.integers(0, 60 * 256))
            devices.append(
                InventoryDevice(
                    id=f"n{number}/{letter}",
                    node_id=f"n{number}",
                    total_bytes=extents * 4 * MIB + draw(st.sampled_from([0, 0, 10, 200])) * GIB,
                    free_bytes=extents * 4 * MIB,
                    extent_size_bytes=draw(st.sampled_from([4 * MIB, 4 * MIB, 32 * MIB])),
                    state=draw(_mostly_online_device),
                    tags=draw(_tags),
                    spare_bytes=draw(st.sampled_from([0, 4 * MIB, GIB])),
                )
            )
    names = [n.id for n in nodes]
    known = draw(st.lists(st.frozensets(st.sampled_from([*names, "gone"]), min_size=1, max_size=3), max_size=4))
    return Inventory(CLUSTER, 1, tuple(nodes), tuple(devices), tuple(known))


@st.composite
def requests(draw: DrawFn) -> VolumeRequest:
    """Volumes of 1 to 100 GiB of every durability and rule."""
    durabilities = (Durability.none(), REPLICA_2, REPLICA_3, REPLICA_3, Durability.disperse(2, 1))
    return VolumeRequest(
        size_bytes=draw(st.integers(1, 100)) * GIB,
        durability=draw(st.sampled_from(durabilities)),
        snapshot_factor=draw(st.sampled_from([1.0, 1.0, 1.1, 1.5])),
        zone_rule=draw(st.sampled_from(ZoneRule)),
        tag_rule=draw(st.sampled_from(["", "", "disk=ssd", "disk!=ssd"])),
        arbiter=draw(st.booleans()),
        existing_bricks=draw(st.sampled_from([0, 0, 6])),
        strategy=draw(st.sampled_from(STRATEGIES)),
        seed=draw(st.sampled_from(["", "a", "b"])),
        count_spare=draw(st.booleans()),
    )


def try_plan(source: Inventory | PlacementIndex, request: VolumeRequest) -> Placement | PlacementRefused:
    """A plan or its refusal."""
    try:
        return plan_volume(source, request)
    except PlacementRefused as refused:
        return refused


def _possible(source: Inventory, request: VolumeRequest) -> bool:
    """Whether one set of the whole size can be placed, by trying every choice of devices."""
    nodes = {n.id: n for n in source.nodes}
    size = request.size_bytes // request.durability.data_bricks
    rule = TagRule.parse(request.tag_rule) if request.tag_rule else None

    def suits(one: InventoryDevice, role: BrickRole) -> bool:
        own, tags = nodes[one.node_id], merged_tags(nodes[one.node_id], one)
        brick = arbiter_brick_size_bytes(size, request.average_file_size_bytes) if role is BrickRole.ARBITER else size
        need = brick_need(brick, request.snapshot_factor, one.extent_size_bytes)
        spare = (
            spare_metadata_growth_bytes(one.spare_bytes, need.pool_metadata_size_bytes) if request.count_spare else 0
        )
        return (
            state_reason(own, one) is None
            and (rule is None or rule.accepts(tags))
            and (not request.arbiter_active or ArbiterClass.of(tags).allows(role))
            and one.free_bytes > need.total_bytes + spare
        )

    data = {d.node_id for d in source.devices if suits(d, BrickRole.DATA)}
    arbiters = {d.node_id for d in source.devices if suits(d, BrickRole.ARBITER)} if request.arbiter_active else set()
    for chosen in permutations(sorted(data | arbiters), request.durability.set_size):
        zones = {nodes[node_id].zone for node_id in chosen}
        if request.zone_rule is ZoneRule.STRICT and len(zones) < len(chosen):
            continue
        if all(
            node_id in (data if role is BrickRole.DATA else arbiters)
            for node_id, role in zip(chosen, request.roles, strict=True)
        ):
            return True
    return False


@given(inventories(), requests())
@settings(max_examples=300, deadline=None)
def test_every_placement_is_sound_and_every_refusal_complete(source: Inventory, request: VolumeRequest) -> None:
    outcome = try_plan(source, request)
    if isinstance(outcome, Placement):
        assert_sound(source, request, outcome)
        rule = TagRule.parse(request.tag_rule) if request.tag_rule else None
        nodes, devices = {n.id: n for n in source.nodes}, {d.id: d for d in source.devices}
        for brick in outcome.bricks:
            tags = merged_tags(nodes[brick.node_id], devices[brick.device_id])
            assert rule is None or rule.accepts(tags)
            assert not request.arbiter_active or ArbiterClass.of(tags).allows(brick.role)
        return
    refusal = outcome.refusal
    assert refusal.summary.endswith(".")
    if refusal.kind is RefusalKind.NO_SPACE:
        assert sorted(v.device_id for v in refusal.devices) == sorted(d.id for d in source.devices)
        assert all((v.reason is Reason.TOO_SMALL) == (v.missing_bytes > 0) for v in refusal.devices)


@given(inventories(), requests())
@settings(max_examples=300, deadline=None)
def test_spread_finds_a_single_set_whenever_there_is_one(source: Inventory, request: VolumeRequest) -> None:
    size = min(request.size_bytes, 40 * GIB) // request.durability.data_bricks // MIB * MIB
    single = replace(
        request,
        strategy="spread",
        size_bytes=size * request.durability.data_bricks,
        existing_bricks=0,
        limits=BrickLimits(MIB * 100, size, request.durability.set_size),
    )
    assert isinstance(try_plan(source, single), Placement) == _possible(source, single)


@given(inventories(), requests())
@settings(max_examples=60, deadline=None)
def test_the_same_seed_and_inventory_give_the_same_answer(source: Inventory, request: VolumeRequest) -> None:
    shuffled = replace(source, nodes=source.nodes[::-1], devices=source.devices[::-1])
    first, second, third = (
        try_plan(source, request),
        try_plan(PlacementIndex(source), request),
        try_plan(shuffled, request),
    )
    if isinstance(first, Placement):
        assert first == second == third
    else:
        assert isinstance(second, PlacementRefused)
        assert isinstance(third, PlacementRefused)
        assert first.refusal == second.refusal == third.refusal


@given(inventories(), requests())
@settings(max_examples=60, deadline=None)
def test_the_largest_size_is_placed_and_one_gib_more_is_not(source: Inventory, request: VolumeRequest) -> None:
    size_bytes = max_volume_size(source, request)
    assert size_bytes % GIB == 0
    if size_bytes:
        largest = replace(request, size_bytes=size_bytes)
        assert_sound(source, largest, plan_volume(source, largest))
    with pytest.raises(PlacementRefused) as refused:
        plan_volume(source, replace(request, size_bytes=size_bytes + GIB))
    told = refused.value.refusal.largest_size_bytes
    if refused.value.refusal.kind is RefusalKind.NO_SPACE:
        # What is said to fit instead of a size is smaller than it, and does fit.
        assert told <= size_bytes
    if told:
        assert_sound(source, replace(request, size_bytes=told), plan_volume(source, replace(request, size_bytes=told)))


@given(inventories(), requests(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_index_plans_like_a_rebuilt_one(
    source: Inventory, request: VolumeRequest, data: st.DataObject
) -> None:
    index = PlacementIndex(source)
    before = try_plan(index, request)
    changed = [
        replace(
            d,
            total_bytes=max(d.free_bytes, d.total_bytes + data.draw(st.sampled_from([0, 50 * GIB, -150 * GIB]))),
            free_bytes=data.draw(st.integers(0, d.free_bytes // (4 * MIB))) * 4 * MIB,
            state=data.draw(_mostly_online_device),
            tags=data.draw(_tags),
        )
        for d in source.devices
        if data.draw(st.booleans())
    ]
    after = index.with_changes(2, changed)
    merged = {d.id: d for d in (*source.devices, *changed)}
    rebuilt = PlacementIndex(replace(source, revision=2, devices=tuple(merged.values())))
    assert _answer(try_plan(after, request)) == _answer(try_plan(rebuilt, request))
    assert _answer(try_plan(index, request)) == _answer(before)


def _answer(outcome: Placement | PlacementRefused) -> object:
    return outcome if isinstance(outcome, Placement) else outcome.refusal


def test_an_index_takes_a_new_device_and_refuses_a_stray_one() -> None:
    index = PlacementIndex(one_device_each({"n1": 10, "n2": 10}))
    grown = index.with_changes(5, [device("n1/b", 500 * GIB)], frozenset({frozenset({"n1", "n2"})}))
    assert grown.revision == 5
    assert device_ids(plan_volume(grown, VolumeRequest(100 * GIB))) == [["n1/b"]]
    assert plan_volume(grown, VolumeRequest(GIB)).revision == 5
    with pytest.raises(ValueError, match="unknown node n9"):
        index.with_changes(6, [device("n9/a", GIB)])
    with pytest.raises(ValueError, match="unknown node n9"):
        PlacementIndex(inventory([node("n1")], [device("n9/a", GIB)]))


def test_many_tag_rules_do_not_fill_the_memory_of_an_index() -> None:
    source = inventory(
        [node(f"n{i}") for i in range(100)], [device(f"n{i}/a", 50 * GIB, rack=f"r{i}") for i in range(100)]
    )
    index = PlacementIndex(source)
    for number in [*range(100), 0]:
        assert device_ids(plan_volume(index, VolumeRequest(GIB, tag_rule=f"rack=r{number}"))) == [[f"n{number}/a"]]
    assert len(index._views) < 50


def test_sets_of_one_volume_share_the_space_they_take() -> None:
    source = one_device_each({"n1": 100, "n2": 100})
    request = VolumeRequest(90 * GIB, REPLICA_2, limits=BrickLimits(max_brick_bytes=30 * GIB))
    placement = plan_volume(source, request)
    assert_sound(source, request, placement)
    assert len(placement.sets) == 3
    with pytest.raises(PlacementRefused):
        plan_volume(source, replace(request, size_bytes=100 * GIB))


def test_a_brick_that_would_leave_nothing_does_not_fit() -> None:
    exactly = brick_need(10 * GIB, 1.0, 4 * MIB).total_bytes
    limits = BrickLimits(max_bricks_per_volume=1)
    for strategy in STRATEGIES:
        request = VolumeRequest(10 * GIB, limits=limits, strategy=strategy)
        with pytest.raises(PlacementRefused):
            plan_volume(inventory([node("n1")], [device("n1/a", exactly)]), request)
        assert plan_volume(inventory([node("n1")], [device("n1/a", exactly + 4 * MIB)]), request).bricks


def test_the_spare_is_counted_once_per_device() -> None:
    source = inventory([node("n1")], [device("n1/a", 100 * GIB, spare_bytes=4 * MIB)])
    request = VolumeRequest(20 * GIB, limits=BrickLimits(max_brick_bytes=10 * GIB), count_spare=True)
    first, second = plan_volume(source, request).bricks
    assert first.spare_growth_bytes == first.pool_metadata_size_bytes - 4 * MIB > 0
    assert second.spare_growth_bytes == 0


def test_an_expansion_counts_the_bricks_that_are_there() -> None:
    source = one_device_each({"n1": 100, "n2": 100, "n3": 100})
    request = VolumeRequest(10 * GIB, REPLICA_3, existing_bricks=30)
    with pytest.raises(PlacementRefused) as refused:
        plan_volume(source, request)
    assert refused.value.refusal.kind is RefusalKind.MAX_BRICKS
    assert max_volume_size(source, request) == 0


def test_the_largest_dispersed_size_is_found_above_sizes_that_are_too_small() -> None:
    source = one_device_each({f"n{i}": 3 for i in range(6)})
    assert max_volume_size(source, VolumeRequest(GIB, Durability.disperse(4, 2))) == 11 * GIB


def test_more_device_sizes_than_exact_classes_are_placed_well_too() -> None:
    count = 200
    source = inventory(
        [node(f"n{i}") for i in range(count)],
        [device(f"n{i}/a", (500 + i) * GIB - i * MIB * 4, total_bytes=(1000 + 3 * i) * GIB) for i in range(count)],
    )
    request = VolumeRequest(50 * GIB, REPLICA_3)
    placement = plan_volume(source, request)
    assert_sound(source, request, placement)
    devices = {d.id: d for d in source.devices}
    fills = sorted(1 - d.free_bytes / d.total_bytes for d in source.devices)
    chosen = [1 - devices[b.device_id].free_bytes / devices[b.device_id].total_bytes for b in placement.bricks]
    assert max(chosen) < fills[0] + 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {"size_bytes": 0},
        {"snapshot_factor": 0.9},
        {"snapshot_factor": 101.0},
        {"snapshot_factor": float("nan")},
        {"average_file_size_bytes": 0},
        {"existing_bricks": -1},
    ],
)
def test_requests_have_a_range(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes)).partition("_")[0]):
        VolumeRequest(**{"size_bytes": GIB, **changes})  # type: ignore[arg-type]


def test_durability_numbers() -> None:
    assert Durability.replicate(0).set_size == 2
    assert Durability.replicate(1).set_size == 1
    assert Durability.disperse(8, 4).set_size == 12
    with pytest.raises(ValueError, match="negative"):
        Durability.replicate(-1)
    with pytest.raises(ValueError, match="needs at least"):
        Durability.disperse(4, 0)
