"""A new home for one brick: sound whenever found, and found whenever there is one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.allocator.domain.constraints import DeviceFilter, TagRule, filter_reason, state_reason
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import BrickRole, Inventory, InventoryDevice, NodeState, ZoneRule
from services.allocator.domain.refusal import PlacementRefused, Reason, RefusalKind
from services.allocator.domain.replacement import ReplacementRequest, plan_replacement
from services.allocator.domain.sizing import brick_need, fits
from services.common.units import GIB
from tests.unit.allocator.builders import device, inventory, node, one_device_each
from tests.unit.allocator.test_planner import STRATEGIES, inventories

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn


@st.composite
def replacements(draw: DrawFn) -> tuple[Inventory, ReplacementRequest]:
    """A brick in one of the inventories, with up to two others of its set."""
    source = draw(inventories())
    names = [each.id for each in source.nodes]
    here = draw(st.sampled_from([each.id for each in source.devices] or ["gone/a"]))
    home = here.partition("/")[0]
    others = [name for name in [*names, "gone"] if name != home]
    peers = draw(st.frozensets(st.sampled_from(others), max_size=2)) if others else frozenset()
    arbiter = draw(st.booleans())
    request = ReplacementRequest(
        size_bytes=draw(st.integers(1, 40)) * GIB,
        device_id=here,
        peer_node_ids=peers,
        role=draw(st.sampled_from(BrickRole)) if arbiter else BrickRole.DATA,
        position=draw(st.integers(0, 2)),
        arbiter=arbiter,
        snapshot_factor=draw(st.sampled_from([1.0, 1.5])),
        zone_rule=draw(st.sampled_from(ZoneRule)),
        tag_rule=draw(st.sampled_from(["", "", "disk=ssd"])),
        excluded_devices=draw(
            st.frozensets(st.sampled_from([each.id for each in source.devices] or ["x"]), max_size=1)
        ),
        excluded_nodes=draw(st.frozensets(st.sampled_from(names), max_size=1)),
        strategy=draw(st.sampled_from(STRATEGIES)),
        seed=draw(st.sampled_from(["a", "b"])),
    )
    return source, request


def suits(source: Inventory, request: ReplacementRequest, each: InventoryDevice) -> bool:
    """Whether a device may take the brick, said in another way than the planner does."""
    nodes = {n.id: n for n in source.nodes}
    taken_zones = {nodes[name].zone for name in request.peer_node_ids if name in nodes}
    rule = TagRule.parse(request.tag_rule) if request.tag_rule else None
    wanted = DeviceFilter(rule, request.role if request.arbiter else None)
    need = brick_need(request.size_bytes, request.snapshot_factor, each.extent_size_bytes)
    return (
        each.id != request.device_id
        and each.id not in request.excluded_devices
        and each.node_id not in request.excluded_nodes | request.peer_node_ids
        and not (request.zone_rule is ZoneRule.STRICT and nodes[each.node_id].zone in taken_zones)
        and state_reason(nodes[each.node_id], each) is None
        and filter_reason(wanted, nodes[each.node_id], each) is None
        and fits(each.free_bytes, need.total_bytes)
    )


@given(replacements())
@settings(max_examples=300, deadline=None)
def test_a_replacement_is_sound_and_is_found_whenever_there_is_one(
    case: tuple[Inventory, ReplacementRequest],
) -> None:
    source, request = case
    possible = {each.id for each in source.devices if suits(source, request, each)}
    try:
        placed = plan_replacement(PlacementIndex(source), request)
    except PlacementRefused as refused:
        assert not possible
        refusal = refused.refusal
        assert refusal.kind is RefusalKind.NO_REPLACEMENT
        assert [each.device_id for each in refusal.devices] == sorted(each.id for each in source.devices)
        assert Reason.FITS not in {each.reason for each in refusal.devices}
        for each in refusal.devices:
            assert (each.missing_bytes > 0) is (each.reason is Reason.TOO_SMALL)
        return
    assert placed.device_id in possible
    assert (placed.role, placed.position, placed.size_bytes) == (request.role, request.position, request.size_bytes)
    assert plan_replacement(PlacementIndex(source), request) == placed


def test_the_emptiest_device_in_a_fresh_zone_is_taken() -> None:
    zones = {"n1": 1, "n2": 2, "n3": 3, "n4": 1, "n5": 3}
    source = one_device_each(dict.fromkeys(zones, 100) | {"n4": 1000}, zones)
    request = ReplacementRequest(20 * GIB, "n3/a", frozenset({"n1", "n2"}))
    # n4 would be emptier, but by less than another zone is worth.
    assert plan_replacement(PlacementIndex(source), request).device_id == "n5/a"
    gone = replace(request, excluded_nodes=frozenset({"n5"}))
    assert plan_replacement(PlacementIndex(source), gone).device_id == "n4/a"


def test_every_device_has_the_reason_that_a_person_would_give() -> None:
    source = inventory(
        [node("n1"), node("n2"), node("n3", state=NodeState.OFFLINE), node("n4"), node("n5", zone=2)],
        [
            device("n1/a", 100 * GIB),
            device("n1/b", 2 * GIB),
            device("n2/a", 100 * GIB),
            device("n3/a", 100 * GIB),
            device("n4/a", 100 * GIB),
            device("n5/a", 100 * GIB),
        ],
    )
    request = ReplacementRequest(
        10 * GIB,
        "n1/a",
        frozenset({"n2", "n5"}),
        zone_rule=ZoneRule.STRICT,
        excluded_devices=frozenset({"n4/a"}),
    )
    strict = replace(source, nodes=(*source.nodes[:1], *(replace(each, zone=3) for each in source.nodes[1:])))
    with pytest.raises(PlacementRefused) as caught:
        plan_replacement(PlacementIndex(strict), request)
    refusal = caught.value.refusal
    assert {each.device_id: each.reason for each in refusal.devices} == {
        "n1/a": Reason.CURRENT_DEVICE,
        "n1/b": Reason.TOO_SMALL,
        "n2/a": Reason.NODE_TAKEN,
        "n3/a": Reason.NODE_OFFLINE,
        "n4/a": Reason.EXCLUDED,
        "n5/a": Reason.NODE_TAKEN,
    }
    assert refusal.summary == (
        "No replacement: no other device can take the brick of 10 GiB; 2 of 5 are on nodes that hold other bricks of "
        "the set; 1 of 5 is too small (it needs 10.1 GiB; the best, on n1, has 2 GiB free); 1 of 5 is offline; "
        "1 of 5 is left out on request."
    )


def test_a_cluster_of_one_device_says_so() -> None:
    request = ReplacementRequest(GIB, "n1/a", frozenset())
    with pytest.raises(PlacementRefused, match="the cluster has no other device"):
        plan_replacement(PlacementIndex(one_device_each({"n1": 10})), request)


def test_a_wrong_tag_rule_and_wrong_numbers_are_refused() -> None:
    index = PlacementIndex(one_device_each({"n1": 10, "n2": 10}))
    with pytest.raises(PlacementRefused) as caught:
        plan_replacement(index, ReplacementRequest(GIB, "n1/a", frozenset(), tag_rule="no rule"))
    assert caught.value.refusal.kind is RefusalKind.INVALID_TAG_RULE
    for wrong in ({"size_bytes": 0}, {"snapshot_factor": 0.5}):
        with pytest.raises(ValueError, match="is not"):
            replace(ReplacementRequest(GIB, "n1/a", frozenset()), **wrong)
