"""Plans that level a cluster: every move is allowed, worth its cost, and they end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import DeviceState, Inventory, InventoryDevice, InventoryNode, ZoneRule
from services.allocator.domain.rebalance import MovableBrick, plan_rebalance
from services.allocator.domain.refusal import PlacementRefused
from services.allocator.domain.replacement import ReplacementRequest
from services.allocator.domain.sizing import brick_need
from services.common.units import GIB, MIB
from tests.unit.allocator.builders import CLUSTER


def a_cluster(sets: list[list[int]], sizes: list[int], nodes: int, *, zones: int = 1) -> Inventory:
    """Disks of 100 GiB, one per node, with bricks of set i on the nodes that `sets[i]` names."""
    free = Counter(dict.fromkeys(range(nodes), 100 * GIB))
    for members, size in zip(sets, sizes, strict=True):
        for number in members:
            free[number] -= brick_need(size * GIB, 1.0, 4 * MIB).total_bytes
    return Inventory(
        CLUSTER,
        1,
        tuple(InventoryNode(f"n{i}", zone=i % zones) for i in range(nodes)),
        tuple(InventoryDevice(f"n{i}/a", f"n{i}", 100 * GIB, free[i]) for i in range(nodes)),
    )


def bricks_of(sets: list[list[int]], sizes: list[int], **rules: ZoneRule) -> list[MovableBrick]:
    found = []
    for index, (members, size) in enumerate(zip(sets, sizes, strict=True)):
        for position, number in enumerate(members):
            request = ReplacementRequest(
                size * GIB,
                f"n{number}/a",
                frozenset(f"n{other}" for other in members if other != number),
                set_index=index,
                position=position,
                **rules,  # type: ignore[arg-type]
            )
            held = brick_need(size * GIB, 1.0, 4 * MIB).total_bytes
            found.append(MovableBrick(f"b{index}-{position}", "v", f"n{number}", held, request))
    return found


def fills(source: Inventory) -> dict[str, float]:
    return {each.id: 1 - each.free_bytes / each.total_bytes for each in source.devices}


def test_a_new_node_gets_its_share() -> None:
    sets = [[0, 1]] * 8
    source = a_cluster(sets, [10] * 8, 4)
    plan = plan_rebalance(PlacementIndex(source), bricks_of(sets, [10] * 8), target_deviation=0.03)
    # Two full nodes and two empty ones: half of the bricks of each move.
    assert len(plan.moves) == 8
    assert {move.placed.node_id for move in plan.moves} == {"n2", "n3"}
    assert plan.moved_bytes == 80 * GIB
    assert plan.deviation_before == pytest.approx(pstdev(fills(source).values()))
    assert plan.deviation_after < 0.01


def test_a_level_cluster_is_left_alone() -> None:
    sets = [[0, 1], [1, 2], [2, 0]]
    plan = plan_rebalance(PlacementIndex(a_cluster(sets, [10] * 3, 3)), bricks_of(sets, [10] * 3))
    assert plan.moves == ()
    assert plan.deviation_after == plan.deviation_before == 0


def test_what_is_not_worth_it_is_not_moved() -> None:
    # A brick of half a disk would only carry the weight to the other side.
    sets = [[0, 1]]
    plan = plan_rebalance(PlacementIndex(a_cluster(sets, [50], 3)), bricks_of(sets, [50]))
    assert plan.moves == ()
    assert plan.deviation_before > 0.2


def test_the_number_of_moves_is_limited_and_the_best_come_first() -> None:
    sets = [[0, 1]] * 8
    index = PlacementIndex(a_cluster(sets, [10] * 8, 4))
    whole = plan_rebalance(index, bricks_of(sets, [10] * 8))
    part = plan_rebalance(index, bricks_of(sets, [10] * 8), max_moves=3)
    assert part.moves == whole.moves[:3]


def test_devices_that_are_offline_take_no_part() -> None:
    sets = [[0, 1]] * 4
    source = a_cluster(sets, [10] * 4, 4)
    dark = replace(
        source, devices=(*source.devices[:2], *(replace(d, state=DeviceState.OFFLINE) for d in source.devices[2:]))
    )
    plan = plan_rebalance(PlacementIndex(dark), bricks_of(sets, [10] * 4))
    assert (plan.moves, plan.deviation_before) == ((), 0)


def test_no_devices_and_wrong_numbers() -> None:
    empty = PlacementIndex(Inventory(CLUSTER, 1, (), ()))
    assert plan_rebalance(empty, []).deviation_before == 0
    for wrong in ({"target_deviation": 0.0}, {"target_deviation": 2.0}, {"max_moves": 0}):
        with pytest.raises(ValueError, match="out of range"):
            plan_rebalance(empty, [], **wrong)
    sets = [[0, 1]] * 4
    bricks = [replace(b, request=replace(b.request, tag_rule="no rule")) for b in bricks_of(sets, [10] * 4)]
    with pytest.raises(PlacementRefused):
        plan_rebalance(PlacementIndex(a_cluster(sets, [10] * 4, 4)), bricks)


@given(st.data(), st.integers(3, 7), st.sampled_from(ZoneRule))
@settings(max_examples=100, deadline=None)
def test_every_move_is_allowed_and_levels(data: st.DataObject, nodes: int, rule: ZoneRule) -> None:
    members = st.lists(st.integers(0, nodes - 1), min_size=2, max_size=3, unique=True)
    sets = data.draw(st.lists(members, max_size=12))
    sizes = data.draw(st.lists(st.integers(1, 7), min_size=len(sets), max_size=len(sets)))
    source = a_cluster(sets, sizes, nodes, zones=4)
    bricks = bricks_of(sets, sizes, zone_rule=rule)
    plan = plan_rebalance(PlacementIndex(source), bricks, max_moves=50)
    zone = {each.id: each.zone for each in source.nodes}
    at = {brick.id: brick.node_id for brick in bricks}
    free = {each.id: each.free_bytes for each in source.devices}
    before = plan.deviation_before
    moved: set[str] = set()
    for move in plan.moves:
        brick = move.brick
        assert brick.id not in moved
        moved.add(brick.id)
        beside = {at[other.id] for other in bricks if other.set_key == brick.set_key and other.id != brick.id}
        assert move.placed.node_id not in beside
        if rule is ZoneRule.STRICT:
            assert zone[move.placed.node_id] not in {zone[name] for name in beside}
        assert free[move.placed.device_id] > move.placed.needed_bytes
        free[move.placed.device_id] -= move.placed.needed_bytes
        free[brick.request.device_id] += brick.held_bytes
        at[brick.id] = move.placed.node_id
        now = pstdev(1 - each / (100 * GIB) for each in free.values())
        assert move.deviation == pytest.approx(now, abs=1e-9)
        assert now < before
        before = now
    assert plan.deviation_after == pytest.approx(before, abs=1e-9)
