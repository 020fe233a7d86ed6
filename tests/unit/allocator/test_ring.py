"""Heketi's ring, against walks done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.allocator.domain.model import BrickLimits, Inventory, VolumeRequest, ZoneRule
from services.allocator.domain.planner import plan_volume
from services.allocator.domain.refusal import PlacementRefused, RefusalKind
from services.allocator.domain.strategies.ring import RING_ORDERS, interleave, set_id, start_of
from services.common.units import GIB
from tests.unit.allocator.builders import REPLICA_2, REPLICA_3, device, device_ids, inventory, node, one_device_each

# Seeds whose first set uses ring order 0, which is by id, and begins at this place of a ring of six.
BEGINS_AT_0, BEGINS_AT_2, BEGINS_AT_5 = "s146", "s32", "s14"
# Seeds by where the arbiter's walk over n1, n2, n3 begins.
ARBITER_ON_N3, ARBITER_NOT_ON_N3 = "1", "0"


def _six(**free_gib: int) -> Inventory:
    """Zone 1: n1 with a, b, and n2 with a; zone 2: n3 with a, b, c. The ring by id is n1/b n3/c n1/a n3/b n2/a n3/a."""
    names = ["n1/a", "n1/b", "n2/a", "n3/a", "n3/b", "n3/c"]
    return inventory(
        [node("n1", 1), node("n2", 1), node("n3", 2)],
        [device(name, free_gib.get(name.replace("/", ""), 100) * GIB) for name in names],
    )


def _ring(**changes: object) -> VolumeRequest:
    return VolumeRequest(**{"size_bytes": 10 * GIB, "durability": REPLICA_3, "strategy": "ring", **changes})  # type: ignore[arg-type]


def test_interleaving_pops_the_last_device_and_drops_what_is_exhausted() -> None:
    ring = interleave([[["n1/a", "n1/b"], ["n2/a"]], [["n3/a", "n3/b", "n3/c"]]])
    assert ring == ("n1/b", "n3/c", "n1/a", "n3/b", "n2/a", "n3/a")
    assert interleave([[[], ["a"]], [], [[]]]) == ("a",)
    assert interleave([]) == ()


def test_the_walk_starts_at_the_first_seven_digits_modulo_the_length() -> None:
    assert start_of("0000010" + "f" * 25, 7) == 16 % 7
    assert start_of("fffffff0", 1000) == 0xFFFFFFF % 1000


@pytest.mark.parametrize(("seed", "start"), [(BEGINS_AT_0, 0), (BEGINS_AT_2, 2), (BEGINS_AT_5, 5)])
def test_the_seeds_below_begin_where_their_names_say(seed: str, start: int) -> None:
    unique_id = set_id(f"{seed}/1/0")
    assert int(unique_id[-4:], 16) % RING_ORDERS == 0
    assert start_of(unique_id, 6) == start


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (BEGINS_AT_0, ["n1/b", "n3/c", "n2/a"]),
        (BEGINS_AT_2, ["n1/a", "n3/b", "n2/a"]),
        (BEGINS_AT_5, ["n3/a", "n1/b", "n2/a"]),
    ],
)
def test_one_walk_takes_the_first_of_each_node(seed: str, expected: list[str]) -> None:
    assert device_ids(plan_volume(_six(), _ring(seed=seed))) == [expected]


def test_devices_without_room_are_passed_by() -> None:
    placement = plan_volume(_six(n3c=10, n1b=5), _ring(seed=BEGINS_AT_0))
    assert device_ids(placement) == [["n1/a", "n3/b", "n2/a"]]


def test_free_space_is_not_ranked() -> None:
    placement = plan_volume(_six(n3b=4000), _ring(seed=BEGINS_AT_0))
    assert device_ids(placement) == [["n1/b", "n3/c", "n2/a"]]


def test_strict_zones_skip_the_second_of_a_zone() -> None:
    request = _ring(seed=BEGINS_AT_0, durability=REPLICA_2, zone_rule=ZoneRule.STRICT)
    assert device_ids(plan_volume(_six(), request)) == [["n1/b", "n3/c"]]
    with pytest.raises(PlacementRefused) as refused:
        plan_volume(_six(), _ring(seed=BEGINS_AT_0, zone_rule=ZoneRule.STRICT))
    assert refused.value.refusal.kind is RefusalKind.NO_SPACE
    assert refused.value.refusal.tried_set_counts == (1, 2, 4, 8)
    assert refused.value.refusal.stopped_by is RefusalKind.MIN_BRICK_SIZE


def test_halving_when_the_whole_does_not_fit() -> None:
    small = inventory(
        [node(name) for name in ("n1", "n2")], [device(f"{n}/{d}", 61 * GIB) for n in ("n1", "n2") for d in "abc"]
    )
    placement = plan_volume(small, _ring(size_bytes=100 * GIB, durability=REPLICA_2))
    assert [len(brick_set.bricks) for brick_set in placement.sets] == [2, 2]
    assert placement.brick_size_bytes == 50 * GIB
    # Three bricks of 41 GiB would do, but the ring only halves; four sets of 30.75 GiB do not find six devices.
    with pytest.raises(PlacementRefused):
        plan_volume(small, _ring(size_bytes=182 * GIB, durability=REPLICA_2))


def test_arbiter_bricks_go_first_and_to_the_devices_kept_for_them() -> None:
    kinds = inventory(
        [node(f"n{number}") for number in range(1, 5)],
        [
            device("n1/a", 100 * GIB, arbiter="required"),
            device("n2/a", 100 * GIB),
            device("n3/a", 100 * GIB, arbiter="disabled"),
            device("n4/a", 100 * GIB),
        ],
    )
    # The data ring is n3, then the shared n2, n4, begun at their place 0 or 1; position 1 is filled before position 0.
    first = plan_volume(kinds, _ring(seed=BEGINS_AT_2, arbiter=True))
    assert device_ids(first) == [["n2/a", "n3/a", "n1/a"]]
    second = plan_volume(kinds, _ring(seed=BEGINS_AT_5, arbiter=True))
    assert device_ids(second) == [["n4/a", "n3/a", "n1/a"]]


def test_an_arbiter_in_the_wrong_place_is_not_called_a_lack_of_space() -> None:
    source = one_device_each({"n1": 100, "n2": 100, "n3": 1})
    request = _ring(arbiter=True, limits=BrickLimits(max_bricks_per_volume=3))
    assert plan_volume(source, replace(request, seed=ARBITER_ON_N3))
    with pytest.raises(PlacementRefused, match="the strategy's walk missed them"):
        plan_volume(source, replace(request, seed=ARBITER_NOT_ON_N3))
    assert plan_volume(source, replace(request, strategy="spread"))


def test_seeds_lead_to_different_places_and_the_same_seed_to_the_same() -> None:
    plans = {str(device_ids(plan_volume(_six(), _ring(seed=str(seed))))) for seed in range(40)}
    assert len(plans) > 5
    again = {str(device_ids(plan_volume(_six(), _ring(seed=str(seed))))) for seed in range(40)}
    assert again == plans
