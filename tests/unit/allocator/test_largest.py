"""The largest size is exact for every durability, zone rule, tag rule and strategy: it is placed, 1 GiB more is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.allocator.domain.constraints import TagRule, merged_tags
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import Durability, Inventory, VolumeRequest, ZoneRule
from services.allocator.domain.planner import max_volume_size, plan_volume
from services.allocator.domain.refusal import PlacementRefused, RefusalKind
from services.common.units import GIB, MIB
from tests.unit.allocator.builders import REPLICA_2, REPLICA_3, assert_sound, device, inventory, node

DURABILITIES = {
    "none": (Durability.none(), False),
    "replicate 2": (REPLICA_2, False),
    "replicate 3": (REPLICA_3, False),
    "arbiter": (REPLICA_3, True),
    "disperse 2+1": (Durability.disperse(2, 1), False),
    "disperse 4+2": (Durability.disperse(4, 2), False),
    "disperse 8+4": (Durability.disperse(8, 4), False),
}


@st.composite
def clusters(draw: st.DrawFn) -> Inventory:
    """Fourteen nodes in zones of any size, with one to three disks of 0 to 300 GiB free, of which some are fast."""
    zones = draw(st.lists(st.integers(1, 14), min_size=14, max_size=14))
    nodes = [node(f"n{number:02}", zone) for number, zone in enumerate(zones)]
    devices = [
        device(
            f"{each.id}/{letter}",
            draw(st.integers(0, 300 * 256)) * 4 * MIB,
            disk=draw(st.sampled_from(["ssd", ""])),
        )
        for each in nodes
        for letter in "abc"[: draw(st.integers(1, 3))]
    ]
    return inventory(nodes, devices)


@pytest.mark.parametrize("strategy", ["spread", "ring"])
@pytest.mark.parametrize("tag_rule", ["", "disk=ssd", "disk!=ssd"])
@pytest.mark.parametrize("zone_rule", list(ZoneRule), ids=lambda rule: rule.value)
@pytest.mark.parametrize("durability", DURABILITIES)
@given(source=clusters())
@settings(max_examples=2, deadline=None)
def test_the_largest_size_is_exact(
    source: Inventory, durability: str, zone_rule: ZoneRule, tag_rule: str, strategy: str
) -> None:
    kind, arbiter = DURABILITIES[durability]
    request = VolumeRequest(
        GIB, kind, zone_rule=zone_rule, tag_rule=tag_rule, arbiter=arbiter, strategy=strategy, seed="fixed"
    )
    index = PlacementIndex(source)
    size_bytes = max_volume_size(index, request)
    if size_bytes:
        largest = replace(request, size_bytes=size_bytes)
        placement = plan_volume(index, largest)
        assert_sound(source, largest, placement)
        nodes, devices = {each.id: each for each in source.nodes}, {each.id: each for each in source.devices}
        chosen = [merged_tags(nodes[each.node_id], devices[each.device_id]) for each in placement.bricks]
        assert not tag_rule or all(TagRule.parse(tag_rule).accepts(tags) for tags in chosen)
    with pytest.raises(PlacementRefused) as refused:
        plan_volume(index, replace(request, size_bytes=size_bytes + GIB))
    if refused.value.refusal.kind is RefusalKind.NO_SPACE:
        assert refused.value.refusal.largest_size_bytes <= size_bytes
