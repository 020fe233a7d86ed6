"""Dry runs: what is said of every device beside a placement and beside a refusal, and what reservations explain."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from services.allocator.domain.device_texts import device_text
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import DeviceState, Inventory, VolumeRequest
from services.allocator.domain.planner import explain_volume, max_volume_size, plan_volume
from services.allocator.domain.refusal import DeviceVerdict, PlacementRefused, Reason
from services.allocator.domain.reservations import (
    Reservation,
    by_device,
    refusal_with_reservations,
    with_reservations,
)
from services.allocator.domain.sizing import brick_need
from services.common.units import GIB, MIB
from tests.unit.allocator.builders import REPLICA_2, REPLICA_3, device, inventory, node, one_device_each
from tests.unit.allocator.test_planner import inventories, requests, try_plan


@given(inventories(), requests())
@settings(max_examples=60, deadline=None)
def test_an_explanation_says_what_the_plan_does(source: Inventory, request: VolumeRequest) -> None:
    index = PlacementIndex(source)
    found, outcome = explain_volume(index, request), try_plan(index, request)
    if isinstance(outcome, PlacementRefused):
        assert (found.placement, found.refusal) == (None, outcome.refusal)
        assert (found.summary, found.devices) == (outcome.refusal.summary, outcome.refusal.devices)
    else:
        assert (found.placement, found.refusal) == (outcome, None)
        assert [each.device_id for each in found.devices] == sorted(each.id for each in source.devices)
        chosen = {each.device_id for each in found.devices if each.reason is Reason.CHOSEN}
        assert chosen == {brick.device_id for brick in outcome.bricks}
        assert found.largest_size_bytes == max_volume_size(index, request) >= request.size_bytes // GIB * GIB
    assert found.summary.endswith(".")
    for verdict in found.devices:
        assert device_text(verdict, request.tag_rule, "")


def test_a_placement_in_words() -> None:
    source = inventory(
        [node("n1"), node("n2"), node("n3")],
        [
            device("n1/a", 100 * GIB),
            device("n2/a", 100 * GIB),
            device("n2/b", 90 * GIB, total_bytes=100 * GIB),
            device("n3/a", 100 * GIB, state=DeviceState.OFFLINE),
            device("n3/b", 4 * GIB, total_bytes=100 * GIB),
        ],
    )
    found = explain_volume(source, VolumeRequest(10 * GIB, REPLICA_2))
    assert found.summary == "It fits: 2 bricks in 1 set of 10 GiB by spread; the largest size that fits is 99 GiB."
    assert {each.device_id: device_text(each, "", "") for each in found.devices} == {
        "n1/a": "chosen",
        "n2/a": "chosen",
        "n2/b": "has room",
        "n3/a": "the device is set offline",
        "n3/b": "too small by 6.1 GiB (4 GiB free of 10.1 GiB needed)",
    }


def test_every_reason_has_words() -> None:
    for reason in Reason:
        verdict = DeviceVerdict("d", "n", reason, 1, 2, 4 * MIB, ("op",))
        assert device_text(verdict, "a=b", "is down").strip()
    assert device_text(DeviceVerdict("d", "n", Reason.TAG_MISMATCH, 1, 2, 0), "a=b", "") == "its tags do not match a=b"


def test_room_that_is_reserved_is_told_apart_from_room_that_is_not_there() -> None:
    need = brick_need(10 * GIB, 1.0, 4 * MIB).total_bytes
    verdicts = [
        DeviceVerdict(name, "n", reason, free, need, missing)
        for name, reason, free, missing in (
            ("held", Reason.TOO_SMALL, 4 * GIB, 6 * GIB),
            ("short", Reason.TOO_SMALL, 4 * GIB, 6 * GIB),
            ("exact", Reason.TOO_SMALL, need - GIB, GIB),
            ("plenty", Reason.FITS, 20 * GIB, 0),
        )
    ]
    reservations = by_device(
        [
            Reservation("held", "op2", 5 * GIB),
            Reservation("held", "op1", 3 * GIB),
            Reservation("short", "op1", GIB),
            # As much as is needed is not enough: it has to be more.
            Reservation("exact", "op1", GIB),
            Reservation("plenty", "op1", GIB),
        ]
    )
    judged = {each.device_id: each for each in with_reservations(verdicts, reservations)}
    assert judged["held"].reason is Reason.RESERVED
    assert judged["held"].operation_ids == ("op1", "op2")
    assert "reserved by operation op1, op2" in device_text(judged["held"], "", "")
    assert [judged[name].reason for name in ("short", "exact", "plenty")] == [
        Reason.TOO_SMALL,
        Reason.TOO_SMALL,
        Reason.FITS,
    ]


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        (["a"], "running operation a reserved."),
        (["a", "b"], "running operations a, b reserved."),
        (["a", "b", "c", "d", "e"], "running operations a, b, c and 2 more reserved."),
    ],
)
def test_a_refusal_names_the_operations_that_keep_room(operations: list[str], told: str) -> None:
    source = one_device_each({"n1": 50, "n2": 50, "n3": 5})
    with pytest.raises(PlacementRefused) as caught:
        plan_volume(source, VolumeRequest(20 * GIB, REPLICA_3))
    refusal = caught.value.refusal
    assert refusal_with_reservations(refusal, {}) is refusal
    held = by_device(Reservation("n3/a", operation, 30 * GIB) for operation in operations)
    changed = refusal_with_reservations(refusal, held)
    assert changed.summary == f"{refusal.summary} 1 of 3 devices would have room but for what {told}"
    assert [each.reason for each in changed.devices] == [Reason.FITS, Reason.FITS, Reason.RESERVED]
