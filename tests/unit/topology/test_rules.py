"""States, tags, eligibility, the life of operations."""

from collections.abc import Callable

import pytest

from services.common.errors import BrickyardError, FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError
from services.common.reasons import Reason
from services.topology.domain import lifecycle
from services.topology.domain.eligibility import ClusterOffer, refusal
from services.topology.domain.model import DeviceState, NodeState, OperationKind, OperationState
from services.topology.domain.states import check_device_transition, check_node_transition
from services.topology.domain.tags import TagChange, changed_tags, check_tags

S = OperationState


def text_of(call: Callable[[], None]) -> str:
    """What a check says; empty when it says nothing."""
    try:
        call()
    except BrickyardError as error:
        return error.message
    return ""


NODE_TEXTS = {
    (NodeState.ONLINE, NodeState.FAILED): "Node must be offline before remove operation is performed, node:n",
    (NodeState.FAILED, NodeState.ONLINE): "Cannot move a failed/removed node to online state",
    (NodeState.FAILED, NodeState.OFFLINE): "Cannot move a failed/removed node to offline state",
}
DEVICE_TEXTS = {
    (DeviceState.ONLINE, DeviceState.FAILED): "Device must be offline before remove operation is performed, device:d",
    (DeviceState.FAILED, DeviceState.ONLINE): "Cannot move a failed/removed device to online state",
}


@pytest.mark.parametrize("wanted", NodeState)
@pytest.mark.parametrize("current", NodeState)
def test_node_transitions(current: NodeState, wanted: NodeState) -> None:
    said = text_of(lambda: check_node_transition("n", current, wanted))
    assert said == NODE_TEXTS.get((current, wanted), "")


@pytest.mark.parametrize("wanted", DeviceState)
@pytest.mark.parametrize("current", DeviceState)
def test_device_transitions(current: DeviceState, wanted: DeviceState) -> None:
    said = text_of(lambda: check_device_transition("d", current, wanted))
    assert said == DEVICE_TEXTS.get((current, wanted), "")


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({}, ""),
        ({f"t{n}": "" for n in range(32)}, ""),
        ({f"t{n}": "" for n in range(33)}, "too many tags specified (33), up to 32 supported"),
        ({"": "x"}, "tag names may not be empty"),
        ({"n" * 32: "v" * 64}, ""),
        ({"n" * 33: ""}, f"tag name {'n' * 33}: the length must be between 1 and 32"),
        ({"a": "v" * 65}, "value of tag a: the length must be no more than 64"),
        ({"a": "x\0"}, "invalid characters in the value of tag a"),
        ({"a b": ""}, "invalid characters in tag name a b"),
        ({"a\n": ""}, "invalid characters in tag name a\n"),
        ({"A_z.0-9": "any thing"}, ""),
    ],
)
def test_tag_rules(tags: dict[str, str], text: str) -> None:
    assert text_of(lambda: check_tags(tags)) == text


def test_a_tag_that_is_deleted_need_not_be_well_formed() -> None:
    assert changed_tags({"a": "1"}, TagChange.DELETE, {"not a name": "", "a": ""}) == {}


def test_an_update_counts_all_tags() -> None:
    full = {f"t{n}": "" for n in range(32)}
    assert changed_tags(full, TagChange.UPDATE, {"t0": "x"})["t0"] == "x"
    with pytest.raises(InvalidArgumentError) as many:
        changed_tags(full, TagChange.UPDATE, {"one": "more"})
    assert many.value.reason is Reason.TOO_MANY_TAGS


def offer(**fields: object) -> ClusterOffer:
    contents = {
        "cluster_id": "c",
        "file_enabled": True,
        "block_enabled": True,
        "volume_count": 3,
        "name_in_use": False,
    }
    return ClusterOffer(**{**contents, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "block", "limit", "reason"),
    [
        ({}, False, 0, None),
        ({}, False, 4, None),
        ({}, False, 3, Reason.TOO_MANY_VOLUMES),
        ({"name_in_use": True}, False, 3, Reason.VOLUME_NAME_IN_USE),
        ({"file_enabled": False}, False, 0, Reason.CLUSTER_LACKS_VOLUME_TYPE),
        ({"file_enabled": False}, True, 0, None),
        ({"block_enabled": False}, True, 0, Reason.CLUSTER_LACKS_VOLUME_TYPE),
        ({"file_enabled": False, "block_enabled": False}, True, 1, Reason.CLUSTER_HAS_NO_VOLUME_TYPE),
    ],
)
def test_why_a_cluster_can_not(fields: dict[str, object], block: bool, limit: int, reason: Reason | None) -> None:
    error = refusal(offer(**fields), name="v", block=block, max_volumes=limit)
    assert (error.reason if error else None) is reason


@pytest.mark.parametrize("wanted", S)
@pytest.mark.parametrize("current", S)
def test_the_way_of_an_operation(current: S, wanted: S) -> None:
    allowed = {
        (S.PENDING, S.RUNNING),
        (S.PENDING, S.UNDOING),
        (S.RUNNING, S.RUNNING),
        (S.RUNNING, S.UNDOING),
        (S.UNDOING, S.UNDOING),
    }
    said = text_of(lambda: lifecycle.check_progress("o", current, wanted))
    assert (said == "") is ((current, wanted) in allowed)


@pytest.mark.parametrize(("state", "ok"), [(S.PENDING, True), (S.RUNNING, True), (S.UNDOING, False), (S.FAILED, False)])
def test_when_an_operation_may_succeed(state: S, ok: bool) -> None:
    assert (text_of(lambda: lifecycle.check_commit("o", state)) == "") is ok


def test_owners() -> None:
    lifecycle.check_owner("o", owner="a", caller="a")
    with pytest.raises(FailedPreconditionError) as lost:
        lifecycle.check_owner("o", owner="a", caller="b")
    assert lost.value.metadata == {"operation_id": "o", "owner": "a", "caller": "b"}


@pytest.mark.parametrize(("in_flight", "maximum", "ok"), [(7, 8, True), (8, 8, False), (9, 8, False), (99, 0, True)])
def test_slots(in_flight: int, maximum: int, ok: bool) -> None:
    if ok:
        lifecycle.check_slot(in_flight, maximum)
        return
    with pytest.raises(ResourceExhaustedError) as full:
        lifecycle.check_slot(in_flight, maximum)
    assert full.value.metadata == {"in_flight": str(in_flight), "maximum": str(maximum)}


@pytest.mark.parametrize("kind", OperationKind)
def test_which_kinds_take_a_slot(kind: OperationKind) -> None:
    always = {
        OperationKind.CREATE_VOLUME,
        OperationKind.DELETE_VOLUME,
        OperationKind.EXPAND_VOLUME,
        OperationKind.CLONE_VOLUME,
        OperationKind.EVICT_BRICK,
        OperationKind.CREATE_BLOCK_VOLUME,
        OperationKind.DELETE_BLOCK_VOLUME,
        OperationKind.EXPAND_BLOCK_VOLUME,
        OperationKind.SET_BLOCK_RESTRICTION,
    }
    failing = {OperationKind.SET_NODE_STATE, OperationKind.SET_DEVICE_STATE}
    assert lifecycle.counts_in_flight(kind, to_failed=False) is (kind in always)
    # What is a part of another operation never waits for a slot.
    assert not lifecycle.counts_in_flight(kind, to_failed=True, child=True)
    assert lifecycle.counts_in_flight(kind, to_failed=True) is (kind in always | failing)
