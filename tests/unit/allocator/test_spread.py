"""The default strategy: where it puts a set when there is a choice, and that it finds one whenever there is one."""

from __future__ import annotations

import pytest

from services.allocator.domain.constraints import DeviceFilter
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import BrickRole, Durability, Inventory, VolumeRequest, ZoneRule
from services.allocator.domain.planner import plan_volume
from services.allocator.domain.space import NeedTable, WorkingSpace
from services.allocator.domain.strategies import SpreadStrategy, SpreadWeights, strategy_by_name, strategy_names
from services.allocator.domain.strategies.base import RoleNeed, SetJob
from services.common.units import GIB, TIB
from tests.unit.allocator.builders import (
    REPLICA_2,
    REPLICA_3,
    assert_sound,
    device,
    device_ids,
    inventory,
    node,
    one_device_each,
)


def test_the_fill_ratio_counts_and_not_the_free_space() -> None:
    source = inventory(
        [node("n1"), node("n2"), node("n3")],
        [
            device("n1/a", 1000 * GIB, total_bytes=4 * TIB),
            device("n2/a", 500 * GIB),
            device("n3/a", 900 * GIB, total_bytes=1000 * GIB),
        ],
    )
    assert device_ids(plan_volume(source, VolumeRequest(10 * GIB, REPLICA_2))) == [["n2/a", "n3/a"]]


def test_nearly_full_devices_are_filled_best_fit() -> None:
    source = inventory(
        [node("n1"), node("n2"), node("n3")],
        [device(f"n{i}/a", free * GIB, total_bytes=1000 * GIB) for i, free in ((1, 200), (2, 90), (3, 60))],
    )
    assert device_ids(plan_volume(source, VolumeRequest(50 * GIB, REPLICA_2))) == [["n3/a", "n2/a"]]


def test_a_roomy_device_comes_before_a_nearly_full_one() -> None:
    source = inventory(
        [node("n1"), node("n2")],
        [device("n1/a", 300 * GIB, total_bytes=1000 * GIB), device("n2/a", 60 * GIB, total_bytes=1000 * GIB)],
    )
    assert device_ids(plan_volume(source, VolumeRequest(50 * GIB))) == [["n1/a"]]


def test_the_best_device_of_each_node_is_taken() -> None:
    source = inventory(
        [node("n1"), node("n2")],
        [
            device(f"{n}/{d}", free * GIB, total_bytes=100 * GIB)
            for n in ("n1", "n2")
            for d, free in (("a", 50), ("b", 90))
        ],
    )
    assert device_ids(plan_volume(source, VolumeRequest(10 * GIB, REPLICA_2))) == [["n1/b", "n2/b"]]


@pytest.mark.parametrize("rule", list(ZoneRule))
def test_zones_are_told_apart_as_far_as_possible(rule: ZoneRule) -> None:
    zones = {"n1": 1, "n2": 1, "n3": 2, "n4": 2, "n5": 3, "n6": 3}
    source = one_device_each({"n1": 900, "n2": 900, "n3": 500, "n4": 400, "n5": 100, "n6": 300}, zones)
    request = VolumeRequest(50 * GIB, REPLICA_3, zone_rule=rule)
    placement = plan_volume(source, request)
    assert_sound(source, request, placement)
    assert {zones[brick.node_id] for brick in placement.bricks} == {1, 2, 3}


def test_without_a_strict_rule_zones_repeat_evenly() -> None:
    zones = {f"n{i}": i % 3 for i in range(9)}
    source = one_device_each({name: 1000 if zone == 0 else 500 for name, zone in zones.items()}, zones)
    placement = plan_volume(source, VolumeRequest(40 * GIB, Durability.disperse(4, 2)))
    used = sorted(zones[brick.node_id] for brick in placement.bricks)
    assert used == [0, 0, 1, 1, 2, 2]


def test_a_zone_is_repeated_when_the_others_are_clearly_fuller() -> None:
    # n1 and n2 are empty, n3 is at 20 % or 60 %.
    zones = {"n1": 1, "n2": 1, "n3": 2}

    def nodes_at(free: int, **weights: float) -> set[str]:
        source = inventory(
            [node(name, zone) for name, zone in zones.items()],
            [device(f"{n}/a", (free if n == "n3" else 100) * GIB, total_bytes=100 * GIB) for n in zones],
        )
        strategy = SpreadStrategy(SpreadWeights(**weights))  # type: ignore[arg-type]
        return {brick.node_id for brick in plan_volume(source, VolumeRequest(5 * GIB, REPLICA_2), strategy).bricks}

    assert "n3" in nodes_at(80)
    assert nodes_at(40) == {"n1", "n2"}
    assert "n3" in nodes_at(40, zone_slack=1.0)


def test_nearly_full_clusters_keep_to_known_node_sets_too() -> None:
    names = [f"n{i}" for i in range(1, 7)]
    free = dict(zip(names, (14, 12, 11, 15, 16, 17), strict=True))
    devices = [device(f"{n}/a", free[n] * GIB, total_bytes=100 * GIB) for n in names]
    source = inventory([node(n) for n in names], devices, [["n2", "n3", "n4"]])
    request = VolumeRequest(5 * GIB, REPLICA_3)
    assert device_ids(plan_volume(source, request)) == [["n2/a", "n3/a", "n4/a"]]
    apart = SpreadStrategy(SpreadWeights(full_reuse_slack=0))
    assert device_ids(plan_volume(source, request, apart)) == [["n3/a", "n2/a", "n1/a"]]


def test_two_zones_hold_a_replica_3_set_when_the_rule_allows() -> None:
    zones = {"n1": 1, "n2": 1, "n3": 2}
    source = one_device_each({"n1": 100, "n2": 100, "n3": 100}, zones)
    assert len(plan_volume(source, VolumeRequest(10 * GIB, REPLICA_3)).bricks) == 3


def test_an_arbiter_does_not_take_the_only_room_for_data() -> None:
    # n3 is the emptiest, but n1 can hold only the arbiter.
    source = one_device_each({"n1": 1, "n2": 20, "n3": 30})
    request = VolumeRequest(10 * GIB, REPLICA_3, arbiter=True)
    placement = plan_volume(source, request)
    assert_sound(source, request, placement)
    assert [brick.node_id for brick in placement.bricks if brick.role is BrickRole.ARBITER] == ["n1"]
    assert placement.bricks[2].size_bytes == 163840 * 1024


def test_an_arbiter_with_strict_zones_leaves_the_data_zones_alone() -> None:
    zones = {"n1": 1, "n2": 2, "n3": 2, "n4": 3}
    source = one_device_each({"n1": 500, "n2": 20, "n3": 400, "n4": 1}, zones)
    request = VolumeRequest(15 * GIB, REPLICA_3, arbiter=True, zone_rule=ZoneRule.STRICT)
    placement = plan_volume(source, request)
    assert_sound(source, request, placement)
    assert [brick.node_id for brick in placement.bricks] == ["n1", "n3", "n4"]


def test_an_arbiter_is_ignored_unless_there_are_three_copies() -> None:
    source = one_device_each({"n1": 50, "n2": 50})
    placement = plan_volume(source, VolumeRequest(10 * GIB, REPLICA_2, arbiter=True))
    assert [brick.role for brick in placement.bricks] == [BrickRole.DATA] * 2


def _known(*sets: str, better: int = 100) -> Inventory:
    """Six nodes of one device each; n1 to n3 have `better` GiB free of 100, the others 98."""
    names = [f"n{i}" for i in range(1, 7)]
    return inventory(
        [node(name) for name in names],
        [device(f"{n}/a", (better if n in names[:3] else 98) * GIB, total_bytes=100 * GIB) for n in names],
        [s.split() for s in sets],
    )


def test_a_known_node_set_is_reused_when_nearly_as_good() -> None:
    request = VolumeRequest(5 * GIB, REPLICA_3)
    assert device_ids(plan_volume(_known(), request)) == [["n1/a", "n2/a", "n3/a"]]
    assert device_ids(plan_volume(_known("n3 n4 n5"), request)) == [["n3/a", "n4/a", "n5/a"]]


@pytest.mark.parametrize("known", ["n3 n4", "n3 n4 n5 n6", "n3 n4 gone"])
def test_a_known_set_of_another_size_or_with_a_lost_node_is_no_choice(known: str) -> None:
    assert device_ids(plan_volume(_known(known), VolumeRequest(5 * GIB, REPLICA_3))) == [["n1/a", "n2/a", "n3/a"]]


def test_a_known_node_set_that_is_clearly_worse_is_not() -> None:
    source = _known("n3 n4 n5")
    apart = SpreadStrategy(SpreadWeights(reuse_slack=0.01))
    assert device_ids(plan_volume(source, VolumeRequest(5 * GIB, REPLICA_3), apart)) == [["n1/a", "n2/a", "n3/a"]]


def test_a_known_node_set_may_not_cost_a_zone() -> None:
    zones = {"n1": 1, "n2": 2, "n3": 2}
    base = one_device_each(dict.fromkeys(zones, 100), zones)
    source = Inventory(base.cluster_id, 1, base.nodes, base.devices, (frozenset({"n2", "n3"}),))
    used = {zones[brick.node_id] for brick in plan_volume(source, VolumeRequest(5 * GIB, REPLICA_2)).bricks}
    assert used == {1, 2}


def test_a_known_node_set_serves_an_arbiter_too() -> None:
    source = _known("n3 n4 n5")
    request = VolumeRequest(5 * GIB, REPLICA_3, arbiter=True)
    placement = plan_volume(source, request)
    assert_sound(source, request, placement)
    assert placement.sets[0].node_ids == {"n3", "n4", "n5"}


def test_a_number_between_powers_of_two_saves_stranded_space() -> None:
    # Three bricks of 40 GiB fit per node, two of 60 do not, and neither do four of 30.
    source = one_device_each({})
    source = inventory(
        [node(n) for n in ("n1", "n2")], [device(f"{n}/{d}", 41 * GIB) for n in ("n1", "n2") for d in "abc"]
    )
    request = VolumeRequest(120 * GIB, REPLICA_2)
    placement = plan_volume(source, request)
    assert_sound(source, request, placement)
    assert len(placement.sets) == 3
    assert placement.brick_size_bytes == 40 * GIB


def _job(source: Inventory, **changes: object) -> SetJob:
    index = PlacementIndex(source)
    values: dict[str, object] = {
        "index": index,
        "space": WorkingSpace(),
        "roles": (BrickRole.DATA,),
        "role_needs": {BrickRole.DATA: RoleNeed(NeedTable(10 * GIB, 1.0), index.view(DeviceFilter()))},
        "strict_zones": False,
        "seed": "",
        **changes,
    }
    return SetJob(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", strategy_names())
def test_a_single_missing_brick_respects_its_set(name: str) -> None:
    zones = {"n1": 1, "n2": 1, "n3": 2, "n4": 3}
    source = one_device_each({"n1": 100, "n2": 90, "n3": 80, "n4": 70}, zones)
    strategy = strategy_by_name(name)

    def place(**changes: object) -> list[str] | None:
        devices = strategy.place_set(_job(source, **changes))
        return None if devices is None else [d.id for d in devices]

    beside = place(taken_nodes=frozenset({"n1", "n3", "n4"}))
    assert beside == ["n2/a"]
    away = place(taken_nodes=frozenset({"n1", "n3"}), taken_zones=frozenset({1, 2}), strict_zones=True)
    assert away == ["n4/a"]
    other = place(taken_nodes=frozenset({"n1", "n3"}), excluded_devices=frozenset({"n2/a"}))
    assert other == ["n4/a"]
    assert place(taken_nodes=frozenset({"n1", "n2", "n3"}), excluded_devices=frozenset({"n4/a"})) is None


def test_unknown_strategies_are_named() -> None:
    with pytest.raises(ValueError, match="unknown placement strategy 'random', known are spread, ring"):
        plan_volume(one_device_each({"n1": 10}), VolumeRequest(GIB, strategy="random"))


def test_weights_have_a_range() -> None:
    with pytest.raises(ValueError, match="out of range"):
        SpreadWeights(full_at=1.5)


def test_weights_are_read_from_texts() -> None:
    assert SpreadWeights.of([]) == SpreadWeights()
    assert SpreadWeights.of(["full_at=0.9", "reuse_checks=7"]) == SpreadWeights(full_at=0.9, reuse_checks=7)
    for wrong, told in (("full=1", "is no weight"), ("full_at=x", "is no number"), ("full_at=2", "out of range")):
        with pytest.raises(ValueError, match=told):
            SpreadWeights.of([wrong])
