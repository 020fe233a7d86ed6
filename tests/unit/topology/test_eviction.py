"""Which silent nodes are emptied without being asked to, and what holds it back."""

from typing import Any

import pytest

from services.topology.domain.eviction import TRY_AGAIN_AFTER_US, EvictionRules, candidates, problems, reason
from services.topology.domain.observed import NodeView, Seen, Severity

NOW = 1_700_000_000_000_000
MINUTE = 60_000_000
RULES = EvictionRules(after_us=60 * MINUTE)
FRESH = NOW - 15 * MINUTE
CLUSTER = "c" * 32


def node(number: int, *, silent_for: int = 0, **fields: Any) -> NodeView:
    """A node that is well, or silent for so many minutes; the others' glusterds see it accordingly."""
    contents: dict[str, Any] = {
        "id": f"n{number}",
        "cluster_id": CLUSTER,
        "hostname": f"node{number}",
        "storage_hostname": f"10.0.0.{number}",
        "state": "online",
        "create_us": NOW - 10**12,
        "observe_us": NOW - 1,
        "turn_us": NOW - 1,
        "hostnames": frozenset({f"node{number}", f"10.0.0.{number}"}),
        "seen": Seen(glusterd_running=True),
    }
    if silent_for:
        contents |= {"unreachable_since_us": NOW - silent_for * MINUTE, "error": "no answer"}
    return NodeView(**{**contents, **fields})


def held(*nodes: NodeView, rules: EvictionRules = RULES) -> dict[str, str]:
    return {each.node.id: each.held for each in candidates(rules, nodes, NOW, fresh_us=FRESH)}


def due(*nodes: NodeView, rules: EvictionRules = RULES) -> list[str]:
    return [each.node.id for each in candidates(rules, nodes, NOW, fresh_us=FRESH) if each.due]


WELL = (node(2), node(3), node(4))


def test_it_is_off_unless_a_time_is_set() -> None:
    nodes = (node(1, silent_for=10_000), *WELL)
    assert candidates(EvictionRules(), nodes, NOW, fresh_us=FRESH) == []
    assert list(problems(EvictionRules(), nodes, NOW, fresh_us=FRESH)) == []


@pytest.mark.parametrize(("minutes", "expected"), [(59, []), (60, ["n1"]), (600, ["n1"])])
def test_a_node_must_be_silent_for_long(minutes: int, expected: list[str]) -> None:
    assert due(node(1, silent_for=minutes), *WELL) == expected


@pytest.mark.parametrize(
    ("down", "members", "held_back"), [(1, 1, True), (1, 2, True), (1, 3, False), (2, 5, True), (2, 6, False)]
)
def test_the_valve_counts_all_nodes_that_are_down(down: int, members: int, *, held_back: bool) -> None:
    nodes = [node(1, silent_for=61), *(node(number + 1, silent_for=1) for number in range(1, down))]
    nodes += [node(number + 1) for number in range(down, members)]
    assert bool(held(*nodes)["n1"]) is held_back
    if held_back:
        assert held(*nodes)["n1"] == f"{down} of {members} nodes of its cluster are down, which is more than 34 %"


def test_what_is_down_counts_whatever_its_state() -> None:
    given_up = node(2, silent_for=100, state="failed")
    without_glusterd = node(2, seen=Seen(glusterd_running=False))
    for other in (given_up, without_glusterd):
        assert due(node(1, silent_for=61), other, node(3), node(4), node(5)) == []
    assert due(node(1, silent_for=61), given_up, *(node(number) for number in range(3, 8))) == ["n1"]


def test_other_clusters_do_not_count() -> None:
    elsewhere = [node(number, silent_for=1, cluster_id="d" * 32) for number in range(5, 9)]
    assert due(node(1, silent_for=61), *WELL, *elsewhere) == ["n1"]


def test_one_node_of_a_cluster_at_a_time() -> None:
    rules = EvictionRules(after_us=60 * MINUTE, max_down_percent=50)
    older, newer = node(1, silent_for=90), node(2, silent_for=61)
    assert held(newer, older, node(3), node(4), rules=rules) == {
        "n1": "",
        "n2": "another node of its cluster is being emptied",
    }
    begun = node(1, silent_for=90, state="offline", eviction_us=NOW - MINUTE, operation_id="o" * 32)
    assert due(newer, begun, node(3), node(4), rules=rules) == []
    done = node(1, silent_for=90, state="failed", eviction_us=NOW - MINUTE)
    assert due(newer, done, node(3), node(4), rules=rules) == ["n2"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"opted_out": True}, "its tag auto-evict is off"),
        ({"turn_us": FRESH - 1}, "nobody has looked at it for long"),
        ({"turn_us": None}, "nobody has looked at it for long"),
    ],
)
def test_what_holds_it_back(fields: dict[str, Any], why: str) -> None:
    assert held(node(1, silent_for=61, **fields), *WELL) == {"n1": why}


@pytest.mark.parametrize("state", ["offline", "failed"])
def test_a_node_that_a_person_took_out_is_left_alone(state: str) -> None:
    assert held(node(1, silent_for=61, state=state), *WELL) == {}


@pytest.mark.parametrize(
    ("peers", "lives"),
    [
        ({"10.0.0.1": True, "10.0.0.3": True}, True),
        ({"10.0.0.1": False, "10.0.0.3": True}, False),
        ({"node1": False, "10.0.0.3": False}, False),
        # Known by a name that is not in the books.
        ({"store-a": True, "10.0.0.3": True}, True),
        ({"store-a": False, "10.0.0.3": True}, False),
    ],
)
def test_a_glusterd_that_lives_is_no_dead_node(peers: dict[str, bool], *, lives: bool) -> None:
    other = node(2, seen=Seen(glusterd_running=True, peers=peers))
    expected = "its glusterd is connected to other nodes, only its agent is silent" if lives else ""
    assert held(node(1, silent_for=61), other, node(3), node(4)) == {"n1": expected}


def test_it_is_tried_again_after_a_while() -> None:
    begun = {"state": "offline", "eviction_us": NOW - TRY_AGAIN_AFTER_US + MINUTE}
    (waiting,) = candidates(RULES, [node(1, silent_for=90, **begun), *WELL], NOW, fresh_us=FRESH)
    assert (waiting.wait_us, waiting.due) == (MINUTE, False)
    begun["eviction_us"] = NOW - TRY_AGAIN_AFTER_US
    assert due(node(1, silent_for=90, **begun), *WELL) == ["n1"]
    # As long as an operation runs, nothing else begins.
    assert due(node(1, silent_for=90, operation_id="o" * 32, **begun), *WELL) == []


@pytest.mark.parametrize(
    ("fields", "severity", "kind", "words"),
    [
        ({"silent_for": 50}, Severity.NOTICE, "AUTO_EVICT_PENDING", "are moved to other nodes in 10 min"),
        (
            {"silent_for": 90, "opted_out": True},
            Severity.NOTICE,
            "AUTO_EVICT_HELD",
            "is not emptied by itself: its tag auto-evict is off",
        ),
        (
            {"silent_for": 90, "state": "offline", "eviction_us": NOW - MINUTE, "operation_id": "o" * 32},
            Severity.WARNING,
            "AUTO_EVICT_RUNNING",
            "its bricks are being moved to other nodes",
        ),
        (
            {"silent_for": 90, "state": "offline", "eviction_us": NOW - MINUTE},
            Severity.WARNING,
            "AUTO_EVICT_FAILED",
            "could not be emptied; it is tried again in 14 min",
        ),
        (
            {"silent_for": 90, "state": "failed", "eviction_us": NOW - MINUTE},
            Severity.NOTICE,
            "AUTO_EVICT_DONE",
            "all its bricks were moved to other nodes",
        ),
    ],
)
def test_what_is_told(fields: dict[str, Any], severity: Severity, kind: str, words: str) -> None:
    (problem,) = problems(RULES, [node(1, **fields), *WELL], NOW, fresh_us=FRESH)
    assert (problem.severity, problem.kind, problem.node_id) == (severity, kind, "n1")
    assert words in problem.message
    assert problem.advice
    assert problem.operation_id == fields.get("operation_id", "")


def test_the_reason_for_the_record() -> None:
    assert reason(node(1, silent_for=61, error="no route to host\nmore"), RULES) == (
        "auto-evict: node node1 has not answered for 60 min (--auto-evict-after-minutes): no route to host"
    )
