"""Tag rules, arbiter classes, and which state counts first."""

from __future__ import annotations

import pytest

from services.allocator.domain.constraints import (
    ArbiterClass,
    DeviceFilter,
    TagRule,
    filter_reason,
    merged_tags,
    state_reason,
)
from services.allocator.domain.model import BrickRole, DeviceState, NodeState
from services.allocator.domain.refusal import Reason
from tests.unit.allocator.builders import device, node


@pytest.mark.parametrize(
    ("text", "key", "value", "equal"),
    [
        ("disk=ssd", "disk", "ssd", True),
        ("disk!=ssd", "disk", "ssd", False),
        ("a=b=c", "a=b", "c", True),
        ("a!=b=c", "a", "b=c", False),
        ("a-b=c-d", "a-b", "c-d", True),
        ("rack/1=r:2", "rack/1", "r:2", True),
    ],
)
def test_rules_read_as_heketi_did_and_with_hyphens(text: str, key: str, value: str, equal: bool) -> None:
    assert TagRule.parse(text) == TagRule(key, value, equal)


@pytest.mark.parametrize("text", ["", "disk", "=ssd", "disk=", "disk =ssd", "disk!ssd", "a~b=c", "a=b\n", "ä=b"])
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match="invalid tag rule"):
        TagRule.parse(text)


def test_not_equal_holds_for_a_missing_tag_and_equal_does_not() -> None:
    assert TagRule.parse("disk!=ssd").accepts({})
    assert not TagRule.parse("disk=ssd").accepts({})
    assert TagRule.parse("disk=ssd").accepts({"disk": "ssd"})
    assert not TagRule.parse("disk!=ssd").accepts({"disk": "ssd"})


def test_the_tags_of_the_device_win() -> None:
    merged = merged_tags(node("n1", disk="hdd", rack="r1"), device("n1/a", 1, disk="ssd"))
    assert dict(merged) == {"disk": "ssd", "rack": "r1"}


@pytest.mark.parametrize(
    ("value", "data", "arbiter"),
    [
        ("required", False, True),
        ("disabled", True, False),
        ("supported", True, True),
        ("", True, True),
        ("other", True, True),
    ],
)
def test_arbiter_class_by_merged_tag(value: str, data: bool, arbiter: bool) -> None:
    arbiter_class = ArbiterClass.of({"arbiter": value} if value else {})
    assert (arbiter_class.allows(BrickRole.DATA), arbiter_class.allows(BrickRole.ARBITER)) == (data, arbiter)


def test_the_class_counts_only_where_there_is_an_arbiter() -> None:
    kept = device("n1/a", 1, arbiter="required")
    assert filter_reason(DeviceFilter(), node("n1"), kept) is None
    assert filter_reason(DeviceFilter(None, BrickRole.DATA), node("n1"), kept) is Reason.ARBITER_CLASS
    assert filter_reason(DeviceFilter(None, BrickRole.ARBITER), node("n1"), kept) is None


@pytest.mark.parametrize(
    ("node_state", "outage", "device_state", "reason"),
    [
        (NodeState.OFFLINE, "is down", DeviceState.FAILED, Reason.NODE_OFFLINE),
        (NodeState.FAILED, "", DeviceState.ONLINE, Reason.NODE_FAILED),
        (NodeState.ONLINE, "is down", DeviceState.OFFLINE, Reason.NODE_DOWN),
        (NodeState.ONLINE, "", DeviceState.OFFLINE, Reason.DEVICE_OFFLINE),
        (NodeState.ONLINE, "", DeviceState.FAILED, Reason.DEVICE_FAILED),
        (NodeState.ONLINE, "", DeviceState.ONLINE, None),
    ],
)
def test_state_reasons(node_state: NodeState, outage: str, device_state: DeviceState, reason: Reason | None) -> None:
    assert state_reason(node("n1", state=node_state, outage=outage), device("n1/a", 1, state=device_state)) is reason
