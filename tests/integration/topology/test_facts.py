"""Facts of nodes: whose turn it is, what is kept, and what is told of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from brickyard.topology.v1 import health_pb2, inventory_pb2, node_pb2, volume_pb2
from services.common.errors import NotFoundError
from services.common.units import GIB
from services.topology.domain.health import STALE_AFTER_US
from services.topology.usecases import devices, facts, health, inventory
from tests.unit.topology.builders import METADATA_BYTES, World, create_spec, delete_node_spec, volume_message

MINUTE_US = 60_000_000
NEEDED = GIB + METADATA_BYTES


def take(world: World, *, cluster_id: str = "", interval_us: int = MINUTE_US, count: int = 1000) -> list[str]:
    turns = facts.take_turns(world.store, cluster_id=cluster_id, interval_us=interval_us, count=count)
    assert all(turn.turn_time.ToMicroseconds() == world.clock.now_us for turn in turns)
    return [turn.node.id for turn in turns]


def look(world: World, *node_ids: str, seen: Any = None, error: str = "") -> None:
    """Gives each node its turn, and stores the same for each."""
    facts.take_turns(world.store, cluster_id="", interval_us=0, count=1000)
    for node_id in node_ids:
        facts.record(
            world.store,
            node_id=node_id,
            turn_time_us=world.clock.now_us,
            seen=None if error else seen or health_pb2.NodeFacts(glusterd_running=True),
            error=error,
        )
    world.clock.forward(1)


def observed(world: World, node_id: str) -> health_pb2.NodeObservation:
    (found,) = [
        each for each in facts.list_page(world.store, cluster_id="", after="", count=1000) if each.node_id == node_id
    ]
    return found


def kinds(world: World, cluster_id: str = "") -> list[str]:
    return [problem.kind for problem in health.report(world.store, cluster_id).problems]


def facts_of(world: World, volume: volume_pb2.Volume, node_id: str, **changes: Any) -> health_pb2.NodeFacts:
    """What a node with nothing wrong shows of a volume's bricks."""
    found = health_pb2.NodeFacts(glusterd_running=True, glusterd_version="10.3")
    for brick in volume.bricks:
        if brick.node_id == node_id:
            device, _ = devices.get(world.store, brick.device_id)
            group = f"vg_{device.id}"
            free = device.total_bytes - device.used_bytes
            found.groups.add(name=group, total_bytes=device.total_bytes, free_bytes=free, pv_path="/dev/sdz")
            found.pools.add(group_name=group, name=brick.thin_pool_name, data_percent=12.5, metadata_percent=3.5)
            found.bricks.add(path=brick.path, mounted=True, process_running=True, heal_count=0)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def volume(world: World) -> volume_pb2.Volume:
    """Three copies on three nodes."""
    cluster = world.cluster()
    made = world.volume(cluster.id, world.devices(cluster.id, 3), replica_count=3)
    world.clock.forward(5)
    return made


def outages(world: World, cluster_id: str, *, since_revision: int = 0) -> list[tuple[str, int, int]]:
    found = inventory.get(world.store, cluster_id, since_revision=since_revision).outages
    return [(each.node_id, each.kind, each.since_time.ToMicroseconds()) for each in found]


def test_outages_reach_placement_without_a_revision(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    silent, stopped, well = sorted(world.node(cluster.id).id for _ in range(3))
    world.node(other.id)
    revision = inventory.get(world.store, cluster.id, since_revision=0).revision
    assert outages(world, cluster.id) == []
    began = world.clock.now_us
    look(world, silent, error="no answer")
    look(world, stopped, seen=health_pb2.NodeFacts(glusterd_running=False))
    look(world, well)
    expected = [
        (silent, inventory_pb2.OUTAGE_KIND_SILENT, began),
        (stopped, inventory_pb2.OUTAGE_KIND_GLUSTERD_DOWN, began + 1_000_000),
    ]
    look(world, silent, error="still no answer")
    look(world, stopped, seen=health_pb2.NodeFacts(glusterd_running=False))
    # Told to those who have the newest revision, too; it did not change.
    assert outages(world, cluster.id, since_revision=revision) == expected
    assert inventory.get(world.store, cluster.id, since_revision=0).revision == revision
    assert outages(world, other.id) == []
    # What nobody has looked at for long is not known to be down.
    world.clock.forward(STALE_AFTER_US / 1_000_000 + 1)
    assert outages(world, cluster.id) == []
    look(world, silent)
    assert [node_id for node_id, _, _ in outages(world, cluster.id)] == [stopped]
    look(world, stopped)
    assert outages(world, cluster.id) == []


def test_a_turn_is_given_once_in_an_interval(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    ids = sorted(world.node(cluster.id).id for _ in range(2))
    third = world.node(other.id).id
    assert sorted(take(world)) == sorted([*ids, third])
    assert take(world) == []
    world.clock.forward(59)
    assert take(world) == []
    world.clock.forward(1)
    assert take(world, cluster_id=other.id) == [third]
    assert sorted(take(world, count=1) + take(world, count=1)) == ids
    assert take(world) == []
    assert sorted(take(world, cluster_id=cluster.id, interval_us=0)) == ids
    with pytest.raises(NotFoundError):
        take(world, cluster_id="f" * 32)


def test_who_waited_longest_comes_first(world: World) -> None:
    cluster = world.cluster()
    first = world.node(cluster.id).id
    take(world)
    world.clock.forward(120)
    second = world.node(cluster.id).id
    assert set(take(world, count=2)) == {first, second}
    world.clock.forward(120)
    take(world, interval_us=0, count=1)
    world.clock.forward(1)
    (early,) = take(world, interval_us=MINUTE_US)
    assert early in {first, second}


def test_collectors_that_ask_together_share_the_nodes(world: World) -> None:
    cluster = world.cluster()
    ids = [world.node(cluster.id).id for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _number: take(world, count=5), range(8), timeout=60))
    assert sorted(node_id for each in found for node_id in each) == sorted(ids)


def test_a_node_that_falls_silent_keeps_its_last_facts(world: World) -> None:
    node = world.node(world.cluster().id)
    assert not observed(world, node.id).HasField("facts")
    look(world, node.id, seen=health_pb2.NodeFacts(glusterd_version="10.3"))
    seen_at = observed(world, node.id).observe_time.ToMicroseconds()
    began = world.clock.now_us
    for text in ("no route", "refused"):
        look(world, node.id, error=text)
    silent = observed(world, node.id)
    assert (silent.facts.glusterd_version, silent.observe_time.ToMicroseconds()) == ("10.3", seen_at)
    assert (silent.error, silent.unreachable_since_time.ToMicroseconds()) == ("refused", began)
    look(world, node.id)
    back = observed(world, node.id)
    assert (back.error, back.HasField("unreachable_since_time"), back.facts.glusterd_version) == ("", False, "")


def test_older_news_do_not_replace_newer_ones(world: World) -> None:
    node = world.node(world.cluster().id)
    look(world, node.id, seen=health_pb2.NodeFacts(glusterd_version="new"))
    late = world.clock.now_us - 2_000_000
    for seen, error in ((health_pb2.NodeFacts(glusterd_version="old"), ""), (None, "gone")):
        facts.record(world.store, node_id=node.id, turn_time_us=late, seen=seen, error=error)
    found = observed(world, node.id)
    assert (found.facts.glusterd_version, found.error) == ("new", "")


def test_facts_go_with_their_node(world: World) -> None:
    node = world.node(world.cluster().id)
    look(world, node.id)
    world.commit(world.begin(delete_node_spec(node.id)))
    assert facts.list_page(world.store, cluster_id="", after="", count=10) == []
    facts.record(world.store, node_id=node.id, turn_time_us=world.clock.now_us, seen=health_pb2.NodeFacts())
    assert world.violations() == []


def test_facts_never_touch_the_books(world: World, volume: volume_pb2.Volume) -> None:
    brick = volume.bricks[0]
    before = devices.get(world.store, brick.device_id)
    odd = health_pb2.NodeFacts()
    odd.groups.add(name=f"vg_{brick.device_id}", total_bytes=1, free_bytes=1)
    look(world, brick.node_id, seen=odd)
    assert devices.get(world.store, brick.device_id) == before
    assert "SIZE_DIFFERS" in kinds(world)


def test_all_is_well(world: World, volume: volume_pb2.Volume) -> None:
    for brick in volume.bricks:
        look(world, brick.node_id, seen=facts_of(world, volume, brick.node_id))
    report = health.report(world.store)
    assert list(report.problems) == []
    assert list(report.cluster_ids) == [volume.cluster_id]
    (shown,) = report.volumes
    assert (shown.name, shown.brick_count, shown.serving_brick_count) == (volume.name, 3, 3)
    assert (shown.pool_data_percent, shown.pool_metadata_percent) == (12.5, 3.5)
    for told in (report.nodes, report.devices, report.volumes):
        assert {each.health for each in told} == {health_pb2.HEALTH_OK}
    assert {(each.current_path, each.used_bytes, each.brick_count) for each in report.devices} == {
        ("/dev/sdz", NEEDED, 1)
    }
    done = {(each.kind, each.state): each.count for each in report.operation_counts}
    assert {state for _, state in done} == {"succeeded"}
    with pytest.raises(NotFoundError):
        health.report(world.store, "f" * 32)


def test_a_cluster_is_told_of_by_itself(world: World, volume: volume_pb2.Volume) -> None:
    other = world.cluster()
    world.node(other.id, state=node_pb2.NODE_STATE_ONLINE)
    report = health.report(world.store, volume.cluster_id)
    assert (len(report.nodes), len(report.devices), len(report.volumes)) == (3, 3, 1)
    mine = health.report(world.store, other.id)
    assert (len(mine.nodes), len(mine.devices), len(mine.volumes)) == (1, 0, 0)
    assert mine.nodes[0].health == health_pb2.HEALTH_UNKNOWN


def test_what_is_being_made_is_not_missed_on_the_nodes(world: World, volume: volume_pb2.Volume) -> None:
    for brick in volume.bricks:
        look(world, brick.node_id, seen=facts_of(world, volume, brick.node_id))
    chosen = [devices.get(world.store, brick.device_id)[0] for brick in volume.bricks]
    operation = world.begin(create_spec(volume_message(volume.cluster_id, chosen, replica_count=3)))
    assert kinds(world) == []
    world.clock.forward(1)
    world.commit(operation)
    # The facts are from before its end.
    assert kinds(world) == []
    world.clock.forward(1)
    for brick in volume.bricks:
        look(world, brick.node_id, seen=facts_of(world, volume, brick.node_id))
    # Now the nodes should have had the bricks.
    assert kinds(world).count("BRICK_NOT_MOUNTED") == 3
    assert "VOLUME_DOWN" in kinds(world)


def test_a_stalled_operation_is_told_of(world: World, volume: volume_pb2.Volume) -> None:
    chosen = [devices.get(world.store, brick.device_id)[0] for brick in volume.bricks]
    operation = world.begin(create_spec(volume_message(volume.cluster_id, chosen, replica_count=3)))
    world.update(operation, stalled=True)
    report = health.report(world.store)
    assert [problem.kind for problem in report.problems] == ["OPERATION_STALLED"]
    assert report.problems[0].operation_id == operation.id
    assert [each.count for each in report.operation_counts if each.state == "stalled"] == [1]
