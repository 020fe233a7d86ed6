"""What is told of every state of nodes, disks, bricks, volumes and operations."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.common.units import GIB
from services.topology.domain.health import ABANDONED_AFTER_US, STALE_AFTER_US, UNSEEN_AFTER_US, examine
from services.topology.domain.model import Durability, DurabilityType
from services.topology.domain.observed import (
    BrickView,
    DeviceView,
    Findings,
    Health,
    NodeView,
    OperationView,
    Problem,
    Seen,
    SeenBrick,
    SeenGroup,
    SeenPool,
    Severity,
    Snapshot,
    VolumeView,
)

NOW = 1_700_000_000_000_000
SEEN_AT = NOW - 30_000_000
CLUSTER = "c" * 32
REPLICA_3 = Durability(type=DurabilityType.REPLICATE, replica_count=3)
TOTAL, USED = 100 * GIB, 2 * GIB


def path(number: int) -> str:
    return f"/bricks/{number}/brick"


def seen(number: int, **fields: Any) -> Seen:
    """A node with nothing wrong: its disk, its pool and its brick."""
    contents: dict[str, Any] = {
        "glusterd_running": True,
        "groups": {f"vg_d{number}": SeenGroup(TOTAL, TOTAL - USED, f"/dev/now{number}")},
        "pools": {(f"vg_d{number}", "tp"): SeenPool(10.0, 1.0)},
        "bricks": {path(number): SeenBrick(mounted=True, process_running=True, heal_count=0)},
    }
    return Seen(**{**contents, **fields})


def node(number: int, **fields: Any) -> NodeView:
    contents: dict[str, Any] = {
        "id": f"n{number}",
        "cluster_id": CLUSTER,
        "hostname": f"node{number}",
        "storage_hostname": f"10.0.0.{number}",
        "state": "online",
        "create_us": NOW - 10**12,
        "observe_us": SEEN_AT,
        "seen": seen(number),
    }
    return NodeView(**{**contents, **fields})


def device(number: int, **fields: Any) -> DeviceView:
    contents: dict[str, Any] = {
        "id": f"d{number}",
        "node_id": f"n{number}",
        "cluster_id": CLUSTER,
        "path": "/dev/sdb",
        "state": "online",
        "total_bytes": TOTAL,
        "used_bytes": USED,
        "reserved_bytes": 0,
    }
    return DeviceView(**{**contents, **fields})


def brick(number: int, *, set_index: int = 0) -> BrickView:
    return BrickView(f"b{number}", "v1", f"d{number}", f"n{number}", path(number), "tp", set_index)


def operation(**fields: Any) -> OperationView:
    contents: dict[str, Any] = {
        "id": "o1",
        "kind": "create_volume",
        "state": "running",
        "cluster_id": CLUSTER,
        "lease_expire_us": NOW + 10_000_000,
    }
    return OperationView(**{**contents, **fields})


def world(
    change: Callable[[int], dict[str, Any]] = lambda _number: {},
    *,
    durability: Durability = REPLICA_3,
    count: int = 3,
    **more: Any,
) -> Snapshot:
    """One volume over so many nodes; `change` gives fields of each node."""
    numbers = range(1, count + 1)
    contents: dict[str, Any] = {
        "now_us": NOW,
        "nodes": [node(number, **change(number)) for number in numbers],
        "devices": [device(number) for number in numbers],
        "volumes": [VolumeView(id="v1", cluster_id=CLUSTER, name="vol", size_bytes=GIB, durability=durability)],
        "bricks": [brick(number) for number in numbers],
    }
    return Snapshot(**{**contents, **more})


def first(number: int, **fields: Any) -> Callable[[int], dict[str, Any]]:
    """Changes what is seen on the nodes up to `number`."""
    return lambda each: {"seen": seen(each, **fields)} if each <= number else {}


def told(found: Findings) -> list[tuple[Severity, str]]:
    return [(problem.severity, problem.kind) for problem in found.problems]


def of(found: Findings, kind: str) -> Problem:
    (problem,) = [each for each in found.problems if each.kind == kind]
    return problem


def test_nothing_is_wrong() -> None:
    found = examine(world())
    assert found.problems == ()
    assert set(found.node_health.values()) == set(found.device_health.values()) == {Health.OK}
    assert found.volume_health == {"v1": Health.OK}
    assert (found.bricks["v1"].all, found.bricks["v1"].serving) == (3, 3)
    assert found.device_fill["d1"] == found.volume_fill["v1"] == SeenPool(10.0, 1.0)


@pytest.mark.parametrize(
    ("state", "severity"), [("online", Severity.CRITICAL), ("offline", Severity.WARNING), ("failed", Severity.WARNING)]
)
def test_a_node_that_does_not_answer(state: str, severity: Severity) -> None:
    gone = {"state": state, "unreachable_since_us": NOW - 5, "error": "no route"}
    found = examine(world(lambda number: gone if number == 1 else {}))
    problem = of(found, "NODE_UNREACHABLE")
    assert (problem.severity, problem.node_id, problem.since_us) == (severity, "n1", NOW - 5)
    assert "node1" in problem.message
    assert "no route" in problem.message
    # What was seen there last is no answer to what is there now.
    assert found.device_health["d1"] is Health.UNKNOWN
    assert of(found, "VOLUME_DEGRADED").severity is Severity.WARNING
    assert (found.bricks["v1"].serving, found.bricks["v1"].unknown) == (2, 1)
    assert ((Severity.NOTICE, "NODE_NOT_ONLINE") in told(found)) is (state != "online")


def test_a_node_that_nobody_looked_at() -> None:
    def change(number: int) -> dict[str, Any]:
        fresh = {"observe_us": None, "seen": None}
        return fresh | {"create_us": NOW - UNSEEN_AFTER_US - (2 - number)} if number <= 2 else {}

    found = examine(world(change))
    assert of(found, "NODE_NOT_OBSERVED").node_id == "n1"
    assert [found.node_health[each] for each in ("n1", "n2", "n3")] == [Health.UNKNOWN, Health.UNKNOWN, Health.OK]
    # Its bricks are no cause for alarm before the first look.
    assert told(found) == [(Severity.WARNING, "NODE_NOT_OBSERVED")]
    assert (found.bricks["v1"].serving, found.bricks["v1"].unknown) == (1, 2)


def test_old_facts() -> None:
    found = examine(world(lambda number: {"observe_us": NOW - STALE_AFTER_US - 1} if number == 3 else {}))
    assert told(found) == [(Severity.WARNING, "FACTS_STALE")]
    assert found.node_health["n3"] is Health.UNKNOWN
    assert examine(world(lambda _number: {"observe_us": NOW - STALE_AFTER_US})).problems == ()


def test_a_glusterd_that_does_not_run() -> None:
    found = examine(world(first(1, glusterd_running=False)))
    assert told(found) == [(Severity.CRITICAL, "GLUSTERD_DOWN")]
    # Brick processes serve without it.
    assert found.volume_health["v1"] is Health.OK
    assert found.node_health["n1"] is Health.CRITICAL


@pytest.mark.parametrize(
    ("mounted", "running", "kind"),
    [(False, False, "BRICK_NOT_MOUNTED"), (False, True, "BRICK_NOT_MOUNTED"), (True, False, "BRICK_PROCESS_DOWN")],
)
@pytest.mark.parametrize("count", [1, 2])
def test_bricks_that_do_not_serve(mounted: bool, running: bool, kind: str, count: int) -> None:
    bricks = {
        path(number): SeenBrick(mounted=mounted, process_running=running, heal_count=-1) for number in range(1, 4)
    }
    found = examine(world(first(count, bricks=bricks)))
    kinds = [problem.kind for problem in found.problems]
    assert kinds.count(kind) == count
    # Two of three copies can be written, one alone can not.
    assert ("VOLUME_DOWN" in kinds) is (count == 2)
    assert ("VOLUME_DEGRADED" in kinds) is (count == 1)
    assert found.volume_health["v1"] is (Health.CRITICAL if count == 2 else Health.WARNING)
    assert found.device_health["d1"] is Health.OK


def test_a_brick_that_nobody_mentions_is_not_mounted() -> None:
    found = examine(world(first(1, bricks={})))
    problem = of(found, "BRICK_NOT_MOUNTED")
    assert (problem.brick_id, problem.volume_id, problem.device_id, problem.node_id) == ("b1", "v1", "d1", "n1")


@pytest.mark.parametrize(
    ("durability", "count", "needed"),
    [
        (Durability(), 1, 1),
        (Durability(type=DurabilityType.REPLICATE, replica_count=0), 2, 1),
        (Durability(type=DurabilityType.REPLICATE, replica_count=2), 2, 1),
        (REPLICA_3, 3, 2),
        (Durability(type=DurabilityType.DISPERSE, data_count=4, redundancy_count=2), 6, 4),
    ],
)
def test_how_many_bricks_a_set_needs(durability: Durability, count: int, needed: int) -> None:
    for down in range(count + 1):
        found = examine(world(first(down, bricks={}), durability=durability, count=count))
        assert ("VOLUME_DOWN" in [each.kind for each in found.problems]) is (count - down < needed)
        silent = lambda number: {"unreachable_since_us": NOW} if number <= down else {}  # noqa: E731, B023 - used at once
        found = examine(world(silent, durability=durability, count=count))
        assert ("VOLUME_IN_DOUBT" in [each.kind for each in found.problems]) is (count - down < needed)
        assert "VOLUME_DOWN" not in [each.kind for each in found.problems]


def test_a_volume_that_nothing_is_known_of() -> None:
    found = examine(world(lambda _number: {"unreachable_since_us": NOW, "error": "x"}))
    assert found.volume_health["v1"] is Health.UNKNOWN


def test_each_set_counts_for_itself() -> None:
    snapshot = world(first(1, bricks={}), durability=Durability(), count=2)
    found = examine(replace(snapshot, bricks=[brick(1), brick(2, set_index=1)]))
    assert "VOLUME_DOWN" in [each.kind for each in found.problems]


def test_files_to_heal_count_once() -> None:
    def change(number: int) -> dict[str, Any]:
        heals = {1: 4, 2: 5, 3: 0}[number]
        return {"seen": seen(number, bricks={path(number): SeenBrick(True, True, heals)})}

    found = examine(world(change))
    assert told(found) == [(Severity.WARNING, "HEAL_BACKLOG")]
    assert found.bricks["v1"].heals == 5
    assert "5 files" in found.problems[0].message


@pytest.mark.parametrize(
    ("percent", "severity"),
    [
        (79.9, None),
        (80.0, Severity.WARNING),
        (89.9, Severity.WARNING),
        (90.0, Severity.CRITICAL),
        (100.0, Severity.CRITICAL),
    ],
)
@pytest.mark.parametrize("what", ["DATA", "METADATA"])
def test_a_thin_pool_that_fills_up(percent: float, severity: Severity | None, what: str) -> None:
    pool = SeenPool(percent, 5.0) if what == "DATA" else SeenPool(5.0, percent)
    found = examine(world(first(1, pools={("vg_d1", "tp"): pool})))
    assert told(found) == ([(severity, f"POOL_{what}_FULL")] if severity else [])
    if severity:
        level = Health.CRITICAL if severity is Severity.CRITICAL else Health.WARNING
        assert found.device_health == {"d1": level, "d2": Health.OK, "d3": Health.OK}
        assert found.volume_health["v1"] is level


def test_a_pool_that_two_volumes_share_is_told_of_once() -> None:
    snapshot = world(first(1, pools={("vg_d1", "tp"): SeenPool(95.0, 5.0)}))
    copy = BrickView("b9", "v2", "d1", "n1", path(1), "tp", 0)
    other = VolumeView(id="v2", cluster_id=CLUSTER, name="copy", size_bytes=GIB, durability=Durability())
    found = examine(replace(snapshot, bricks=[*snapshot.bricks, copy], volumes=[*snapshot.volumes, other]))
    assert told(found) == [(Severity.CRITICAL, "POOL_DATA_FULL")]
    assert found.volume_fill["v2"] == SeenPool(95.0, 5.0)


def test_a_full_disk_is_worth_knowing_and_no_fault() -> None:
    full = [device(1, used_bytes=TOTAL - GIB), device(2), device(3)]
    groups = {"vg_d1": SeenGroup(TOTAL, GIB, "/dev/sdb")}
    found = examine(world(first(1, groups=groups), devices=full))
    assert told(found) == [(Severity.NOTICE, "DEVICE_FULL")]
    assert found.device_health["d1"] is Health.OK


def test_a_disk_that_is_gone() -> None:
    found = examine(world(first(1, groups={})))
    assert told(found) == [(Severity.CRITICAL, "DISK_MISSING")]
    assert (found.device_health["d1"], found.node_health["n1"]) == (Health.CRITICAL, Health.OK)


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        (SeenGroup(TOTAL + GIB, TOTAL - USED, ""), "SIZE_DIFFERS"),
        (SeenGroup(TOTAL, TOTAL - USED - 1, ""), "FREE_SPACE_DIFFERS"),
        (SeenGroup(TOTAL, TOTAL, ""), "FREE_SPACE_DIFFERS"),
    ],
)
def test_a_disk_that_differs_from_the_books(group: SeenGroup, kind: str) -> None:
    found = examine(world(first(1, groups={"vg_d1": group})))
    assert told(found) == [(Severity.WARNING, kind)]
    assert "/devices/d1/resync" in found.problems[0].advice


def test_running_operations_are_not_judged_by_what_was_seen_before() -> None:
    odd = first(3, bricks={}, groups={"vg_d1": SeenGroup(1, 1, "")})
    plain = {problem.kind for problem in examine(world(odd)).problems}
    assert {"BRICK_NOT_MOUNTED", "DISK_MISSING", "SIZE_DIFFERS", "VOLUME_DOWN"} <= plain
    objects = frozenset({"v1", "d1", "d2", "d3"})
    for ended in (None, SEEN_AT, NOW):
        running = operation(mentioned=objects, end_us=ended)
        assert examine(world(odd, operations=[running])).problems == ()
    over = operation(mentioned=objects, end_us=SEEN_AT - 1)
    assert {problem.kind for problem in examine(world(odd, operations=[over])).problems} == plain


def test_reserved_space_is_not_expected_on_the_disk() -> None:
    reserving = [device(1, reserved_bytes=GIB), device(2), device(3)]
    assert examine(world(devices=reserving)).problems == ()


def test_a_disk_that_takes_no_bricks() -> None:
    found = examine(world(devices=[device(1, state="offline"), device(2), device(3)]))
    assert told(found) == [(Severity.NOTICE, "DEVICE_NOT_ONLINE")]


def test_operations_that_do_not_get_on() -> None:
    late = ABANDONED_AFTER_US
    found = examine(
        world(
            operations=[
                operation(id="o1", stalled=True, error="no answer", node_hostname="node9"),
                operation(id="o2", lease_expire_us=NOW - late - 1),
                operation(id="o3", lease_expire_us=NOW - late),
                operation(id="o4", state="failed", end_us=NOW, lease_expire_us=0),
            ]
        )
    )
    assert [(each.kind, each.operation_id) for each in found.problems] == [
        ("OPERATION_ABANDONED", "o2"),
        ("OPERATION_STALLED", "o1"),
    ]
    assert "node9" in of(found, "OPERATION_STALLED").message


def test_the_worst_comes_first() -> None:
    snapshot = world(first(2, glusterd_running=False, pools={("vg_d1", "tp"): SeenPool(85.0, 0.0)}))
    found = examine(replace(snapshot, devices=[device(1, state="failed"), device(2), device(3)]))
    severities = [problem.severity for problem in found.problems]
    assert severities == sorted(severities, reverse=True)
    assert len(set(severities)) == 3
