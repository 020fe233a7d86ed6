"""Refusals: one reason per device, one sentence, and the kinds that Heketi told apart."""

from __future__ import annotations

import pytest

from services.allocator.domain.model import (
    BrickLimits,
    DeviceState,
    Durability,
    Inventory,
    NodeState,
    VolumeRequest,
    ZoneRule,
)
from services.allocator.domain.planner import plan_volume
from services.allocator.domain.refusal import PlacementRefused, Reason, Refusal, RefusalKind
from services.allocator.domain.sizing import brick_need
from services.common import reasons
from services.common.units import GIB, KIB, MIB
from tests.unit.allocator.builders import REPLICA_2, REPLICA_3, device, inventory, node, one_device_each

ONE_SET = BrickLimits(max_bricks_per_volume=3)


def _refusal(source: Inventory, request: VolumeRequest) -> Refusal:
    with pytest.raises(PlacementRefused) as refused:
        plan_volume(source, request)
    assert str(refused.value) == refused.value.refusal.summary
    return refused.value.refusal


def _reasons(refusal: Refusal) -> dict[str, Reason]:
    found = {verdict.device_id: verdict.reason for verdict in refusal.devices}
    assert len(found) == len(refusal.devices)
    return found


def _three_nodes() -> Inventory:
    return inventory(
        [node(f"node{i}") for i in (1, 2, 3)],
        [
            device("node1/a", 200 * GIB),
            device("node1/b", 150 * GIB),
            device("node1/c", 500 * GIB, state=DeviceState.OFFLINE),
            device("node2/a", 120 * GIB),
            device("node2/b", 20 * GIB, total_bytes=120 * GIB),
            device("node3/a", 82024 * MIB, total_bytes=100 * GIB),
            device("node3/b", 60 * GIB, total_bytes=100 * GIB),
            device("node3/c", 60 * GIB, state=DeviceState.FAILED),
        ],
    )


def test_the_sentence_names_what_is_missing_and_what_would_fit() -> None:
    refusal = _refusal(_three_nodes(), VolumeRequest(100 * GIB, REPLICA_3, limits=ONE_SET))
    assert refusal.summary == (
        "No space: a replica-3 set of 100 GiB needs 3 nodes with 100.5 GiB on one device; only 2 nodes have it "
        "(node3: 80.1 GiB free on its best device); 2 of 8 devices are offline; the largest size that fits is 79 GiB."
    )
    assert refusal.kind is RefusalKind.NO_SPACE
    assert refusal.stopped_by is RefusalKind.MAX_BRICKS
    assert (refusal.set_count, refusal.brick_size_bytes) == (1, 100 * GIB)
    assert refusal.needed_bytes == brick_need(100 * GIB, 1.0, 4 * MIB).total_bytes
    assert refusal.tried_set_counts == (1,)
    assert refusal.largest_size_bytes == 79 * GIB


def test_every_device_has_one_reason() -> None:
    refusal = _refusal(_three_nodes(), VolumeRequest(100 * GIB, REPLICA_3, limits=ONE_SET))
    assert _reasons(refusal) == {
        "node1/a": Reason.FITS,
        "node1/b": Reason.NODE_TAKEN,
        "node1/c": Reason.DEVICE_OFFLINE,
        "node2/a": Reason.FITS,
        "node2/b": Reason.TOO_SMALL,
        "node3/a": Reason.TOO_SMALL,
        "node3/b": Reason.TOO_SMALL,
        "node3/c": Reason.DEVICE_FAILED,
    }
    needed = refusal.needed_bytes
    best = next(verdict for verdict in refusal.devices if verdict.device_id == "node3/a")
    assert (best.free_bytes, best.needed_bytes) == (82024 * MIB, needed)
    assert best.missing_bytes == -(-(needed - 82024 * MIB + 1) // (4 * MIB)) * 4 * MIB
    assert all(verdict.missing_bytes == 0 for verdict in refusal.devices if verdict.reason is not Reason.TOO_SMALL)


def test_the_sentence_tells_when_splitting_did_not_help() -> None:
    refusal = _refusal(one_device_each({"n1": 10, "n2": 10}), VolumeRequest(100 * GIB, REPLICA_2))
    assert refusal.tried_set_counts == tuple(range(1, 17))
    assert "no node has it (n2: 10 GiB free on its best device); in up to 16 sets it does not fit" in refusal.summary


def test_strict_zones_are_what_is_counted() -> None:
    source = one_device_each({"n1": 100, "n2": 90, "n3": 80}, {"n1": 1, "n2": 1, "n3": 2})
    request = VolumeRequest(50 * GIB, REPLICA_3, zone_rule=ZoneRule.STRICT, limits=ONE_SET)
    refusal = _refusal(source, request)
    assert _reasons(refusal) == {"n1/a": Reason.FITS, "n2/a": Reason.ZONE_TAKEN, "n3/a": Reason.FITS}
    assert refusal.summary == (
        "No space: a replica-3 set of 50 GiB needs 3 zones with 50.3 GiB on one device; only 2 zones have it; "
        "no size fits."
    )


def test_states_health_and_tags_have_their_own_reasons() -> None:
    source = inventory(
        [
            node("n1", state=NodeState.OFFLINE),
            node("n2", state=NodeState.FAILED),
            node("n3", outage="does not answer since 2026-01-02T03:04:05Z"),
            node("n4"),
            node("n5", disk="ssd"),
        ],
        [device(f"n{i}/a", 100 * GIB) for i in range(1, 6)],
    )
    refusal = _refusal(source, VolumeRequest(10 * GIB, REPLICA_2, tag_rule="disk=ssd"))
    assert _reasons(refusal) == {
        "n1/a": Reason.NODE_OFFLINE,
        "n2/a": Reason.NODE_FAILED,
        "n3/a": Reason.NODE_DOWN,
        "n4/a": Reason.TAG_MISMATCH,
        "n5/a": Reason.FITS,
    }
    assert "2 of 5 devices are offline" in refusal.summary
    down = "1 of 5 devices is on nodes that are down (n3 does not answer since 2026-01-02T03:04:05Z)"
    assert down in refusal.summary
    assert "1 of 5 devices is outside the tag rule disk=ssd" in refusal.summary


def test_arbiter_classes_have_theirs() -> None:
    source = inventory(
        [node(f"n{i}") for i in range(1, 5)],
        [
            device("n1/a", 100 * GIB),
            device("n2/a", 5 * GIB),
            device("n3/a", 100 * GIB, arbiter="required"),
            device("n4/a", GIB // 16, arbiter="required"),
        ],
    )
    request = VolumeRequest(10 * GIB, REPLICA_3, arbiter=True, limits=ONE_SET)
    refusal = _refusal(source, request)
    assert _reasons(refusal) == {
        "n1/a": Reason.FITS,
        "n2/a": Reason.FITS_ARBITER,
        "n3/a": Reason.FITS_ARBITER,
        "n4/a": Reason.TOO_SMALL,
    }
    assert "a replica-3 set of 10 GiB with an arbiter needs 2 nodes with 10.1 GiB on one device" in refusal.summary
    assert "and 1 more with 164 MiB for the arbiter; only 1 node has room for data" in refusal.summary


def test_data_devices_of_the_wrong_class_are_named() -> None:
    source = inventory(
        [node(f"n{i}") for i in range(1, 4)], [device(f"n{i}/a", 100 * GIB, arbiter="disabled") for i in range(1, 4)]
    )
    refusal = _refusal(source, VolumeRequest(10 * GIB, REPLICA_3, arbiter=True, limits=ONE_SET))
    assert refusal.kind is RefusalKind.NO_SPACE
    assert set(_reasons(refusal).values()) == {Reason.FITS, Reason.NO_ARBITER}


def test_earlier_sets_of_the_volume_are_taken_off() -> None:
    source = one_device_each({"n1": 110, "n2": 110})
    request = VolumeRequest(120 * GIB, REPLICA_2, limits=BrickLimits(GIB, 60 * GIB, 4))
    refusal = _refusal(source, request)
    assert (refusal.set_count, refusal.brick_size_bytes) == (2, 60 * GIB)
    assert {verdict.free_bytes for verdict in refusal.devices} == {
        110 * GIB - brick_need(60 * GIB, 1, 4 * MIB).total_bytes
    }
    assert "(set 2 of 2)" in refusal.summary


def test_a_spare_that_is_counted_shows_in_the_need() -> None:
    free = brick_need(10 * GIB, 1.0, 4 * MIB).total_bytes + 4 * MIB
    source = inventory([node("n1")], [device("n1/a", free)])
    limits = BrickLimits(max_bricks_per_volume=1)
    assert plan_volume(source, VolumeRequest(10 * GIB, limits=limits)).bricks[0].spare_growth_bytes == 0
    refusal = _refusal(source, VolumeRequest(10 * GIB, limits=limits, count_spare=True))
    assert refusal.devices[0].reason is Reason.TOO_SMALL
    assert refusal.devices[0].needed_bytes > free


@pytest.mark.parametrize("strategy", ["spread", "ring"])
def test_the_kinds_that_heketi_told_apart(strategy: str) -> None:
    empty, bare = inventory([], []), inventory([node("n1")], [])
    dark = inventory([node("n1")], [device("n1/a", 100 * GIB, state=DeviceState.OFFLINE)])
    some = one_device_each({"n1": 100, "n2": 100, "n3": 100})
    ten = VolumeRequest(10 * GIB, strategy=strategy)
    assert _refusal(empty, ten).kind is RefusalKind.NO_NODES
    assert _refusal(bare, ten).kind is RefusalKind.NO_ONLINE_DEVICES
    assert _refusal(dark, ten).kind is RefusalKind.NO_ONLINE_DEVICES
    assert _reasons(_refusal(dark, ten)) == {"n1/a": Reason.DEVICE_OFFLINE}
    small = VolumeRequest(3 * GIB, Durability.disperse(4, 2), strategy=strategy)
    assert _refusal(some, small).kind is RefusalKind.MIN_BRICK_SIZE
    full = VolumeRequest(10 * GIB, existing_bricks=32, strategy=strategy)
    assert _refusal(some, full).kind is RefusalKind.MAX_BRICKS
    assert _refusal(some, full).stopped_by is RefusalKind.MAX_BRICKS
    tagged = VolumeRequest(10 * GIB, tag_rule="no rule", strategy=strategy)
    assert _refusal(some, tagged).kind is RefusalKind.INVALID_TAG_RULE
    files = VolumeRequest(GIB, REPLICA_3, arbiter=True, average_file_size_bytes=GIB + KIB, strategy=strategy)
    refusal = _refusal(some, files)
    assert refusal.kind is RefusalKind.AVERAGE_FILE_SIZE
    assert refusal.brick_size_bytes == GIB
    assert refusal.largest_size_bytes > GIB


def test_sentences_of_the_other_kinds() -> None:
    some = one_device_each({"n1": 100})
    assert _refusal(inventory([], []), VolumeRequest(GIB)).summary == "No nodes: the cluster has none; no size fits."
    assert _refusal(inventory([node("n")], []), VolumeRequest(GIB)).summary == (
        "No online devices: the cluster has no devices; no size fits."
    )
    assert _refusal(some, VolumeRequest(GIB, Durability.disperse(2, 1))).summary == (
        "Bricks too small: 1 GiB as disperse-2+1 makes bricks below 1 GiB; no size fits."
    )
    assert _refusal(some, VolumeRequest(GIB, existing_bricks=32)).summary == (
        "Too many bricks: 1 GiB as single-brick on top of 32 bricks passes the limit of 32 with bricks of at most "
        "4096 GiB; no size fits."
    )


def test_kinds_are_reasons_that_travel() -> None:
    assert {kind.value for kind in RefusalKind} <= {reason.value for reason in reasons.Reason}
