"""What placement is told of brick sets: the node sets in use, and what running operations have set aside."""

from services.topology.usecases import brick_sets, inventory
from tests.unit.topology.builders import World, clone_spec, create_spec, volume_message


def told(world: World, cluster_id: str, *, since: int = 0, everything: bool = False) -> list[list[str]]:
    answer = inventory.get(world.store, cluster_id, since_revision=since, all_node_sets=everything)
    assert answer.all_node_sets is (answer.complete or everything)
    return [list(each.node_ids) for each in answer.node_sets]


def revision_of(world: World, cluster_id: str) -> int:
    return inventory.get(world.store, cluster_id, since_revision=0).revision


def test_node_sets_come_whole_or_as_those_in_the_making(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    devices = world.devices(cluster.id, 3)
    pair = sorted(device.node_id for device in devices[:2])
    trio = sorted(device.node_id for device in devices)
    assert told(world, cluster.id) == []
    world.volume(cluster.id, devices[:1])
    assert told(world, cluster.id) == []
    for _ in range(2):
        world.volume(cluster.id, devices[:2], replica_count=2)
    world.volume(other.id, world.devices(other.id, 2), replica_count=2)
    assert told(world, cluster.id) == [pair]
    before = revision_of(world, cluster.id)
    making = world.begin(create_spec(volume_message(cluster.id, devices, replica_count=3)))
    assert told(world, cluster.id, since=before) == [trio]
    assert told(world, cluster.id) == sorted([pair, trio])
    now = revision_of(world, cluster.id)
    assert told(world, cluster.id, since=now) == []
    assert told(world, cluster.id, since=now, everything=True) == sorted([pair, trio])
    world.abort(making)
    assert told(world, cluster.id, since=now) == []
    assert told(world, cluster.id) == [pair]


def test_reservations_are_told_by_device_and_operation(world: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 2)
    assert brick_sets.reservations(world.store, cluster.id) == []
    source = world.volume(cluster.id, devices, replica_count=2)
    first = world.begin(create_spec(volume_message(cluster.id, devices, replica_count=2)))
    second = world.begin(create_spec(volume_message(cluster.id, devices[:1])))
    # A copy lies in pools that are paid for, and a removal sets nothing aside.
    world.begin(clone_spec(source, name="copy"))
    found = brick_sets.reservations(world.store, cluster.id)
    expected = {(device.id, first.id) for device in devices} | {(devices[0].id, second.id)}
    assert {(each.device_id, each.operation_id) for each in found} == expected
    for device_id in (device.id for device in devices):
        told_bytes = sum(each.size_bytes for each in found if each.device_id == device_id)
        assert told_bytes == world.space(device_id)[1] > 0
    world.commit(first)
    world.abort(second)
    assert brick_sets.reservations(world.store, cluster.id) == []
