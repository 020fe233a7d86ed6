"""Creating and deleting volumes, and the books that go with it."""

import pytest

from brickyard.topology.v1 import operation_pb2, operation_service_pb2, volume_pb2
from services.common.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.usecases import clusters, devices, nodes, volumes
from tests.unit.topology.builders import (
    EXTENT,
    METADATA_BYTES,
    OFFLINE,
    World,
    create_spec,
    delete_spec,
    device_state_spec,
    volume_message,
)

NEEDED = GIB + METADATA_BYTES


def removed(*brick_ids: str) -> operation_service_pb2.RemovedBricks:
    return operation_service_pb2.RemovedBricks(reclaimed_brick_ids=brick_ids)


def space(world: World, device_id: str) -> tuple[int, int]:
    """Used and reserved bytes of a device."""
    device, _ = devices.get(world.store, device_id)
    return device.used_bytes, device.reserved_bytes


def test_a_volume_is_hidden_until_it_is_committed(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 3)
    volume = volume_message(cluster.id, members, replica_count=3, gid=2000, options=["", "a b", ""])
    operation = world.begin(create_spec(volume))
    with pytest.raises(NotFoundError) as missing:
        volumes.get(world.store, volume.id)
    assert missing.value.reason is Reason.VOLUME_NOT_FOUND
    assert volumes.list_page(world.store, cluster_id="", after="", count=9, with_bricks=False) == []
    assert list(clusters.get(world.store, cluster.id).volume_ids) == []
    assert list(devices.get(world.store, members[0].id)[0].bricks) == []
    assert space(world, members[0].id) == (0, NEEDED)
    assert operation.spec.create_volume.volume.state == volume_pb2.VOLUME_STATE_CREATING

    world.commit(operation)
    shown, hosts = volumes.get(world.store, volume.id)
    assert hosts == [f"s-{node_id}" for node_id in sorted(device.node_id for device in members)]
    assert (shown.name, shown.gid, list(shown.options)) == (volume.name, 2000, ["", "a b", ""])
    assert [brick.id for brick in shown.bricks] == [brick.id for brick in volume.bricks]
    assert {brick.volume_id for brick in shown.bricks} == {volume.id}
    assert list(clusters.get(world.store, cluster.id).volume_ids) == [volume.id]
    assert [brick.id for brick in devices.get(world.store, members[0].id)[0].bricks] == [volume.bricks[0].id]
    assert space(world, members[0].id) == (NEEDED, 0)
    assert world.violations() == []


def test_an_aborted_create_leaves_nothing(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 2)
    volume = volume_message(cluster.id, members, replica_count=2)
    error = operation_pb2.OperationError(reason="LVM_FAILED", message="no", metadata={"node": "n"})
    ended = world.abort(world.begin(create_spec(volume)), error=error)
    assert (ended.state, ended.error) == (operation_pb2.OPERATION_STATE_FAILED, error)
    assert space(world, members[0].id) == (0, 0)
    assert world.violations() == []
    world.volume(cluster.id, members, replica_count=2, name=volume.name)
    clusters_now = clusters.get(world.store, cluster.id)
    assert len(clusters_now.volume_ids) == 1


def test_only_reclaimed_bricks_give_their_space_back(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 3)
    volume = world.volume(cluster.id, members, replica_count=3)
    operation = world.begin(delete_spec(volume.id))
    assert [brick.id for brick in operation.spec.delete_volume.volume.bricks] == [brick.id for brick in volume.bricks]
    with pytest.raises(NotFoundError):
        volumes.get(world.store, volume.id)
    assert space(world, members[0].id) == (NEEDED, 0)
    assert world.violations() == []

    world.commit(operation, removed_bricks=removed(volume.bricks[0].id, volume.bricks[1].id))
    assert [space(world, device.id) for device in members] == [(0, 0), (0, 0), (NEEDED, 0)]
    assert world.violations() == []
    with pytest.raises(NotFoundError):
        world.begin(delete_spec(volume.id))


def test_an_aborted_delete_shows_the_volume_again(world: World) -> None:
    cluster = world.cluster()
    volume = world.volume(cluster.id, world.devices(cluster.id, 1))
    before = volumes.get(world.store, volume.id)
    world.abort(world.begin(delete_spec(volume.id)))
    assert volumes.get(world.store, volume.id) == before
    assert world.violations() == []


def test_a_delete_must_say_what_became_of_the_bricks(world: World) -> None:
    cluster = world.cluster()
    volume = world.volume(cluster.id, world.devices(cluster.id, 1))
    operation = world.begin(delete_spec(volume.id))
    with pytest.raises(InvalidArgumentError):
        world.commit(operation)
    with pytest.raises(InvalidArgumentError):
        world.commit(operation, removed_bricks=removed(new_id()))
    assert world.violations() == []


@pytest.mark.parametrize("pending", ["create", "delete"])
def test_a_held_volume_can_not_be_deleted(world: World, pending: str) -> None:
    cluster = world.cluster()
    volume = volume_message(cluster.id, world.devices(cluster.id, 1))
    first = world.begin(create_spec(volume))
    if pending == "delete":
        world.commit(first)
        first = world.begin(delete_spec(volume.id))
    with pytest.raises(FailedPreconditionError) as busy:
        world.begin(delete_spec(volume.id))
    assert busy.value.reason is Reason.TARGET_BUSY
    assert busy.value.metadata["operation_id"] == first.id
    assert busy.value.message == "The target exists, contains other items, or is in use."


def test_more_must_be_free_than_is_needed(world: World) -> None:
    cluster = world.cluster()
    exact, more = (world.devices(cluster.id, 1, total_bytes=NEEDED + extra)[0] for extra in (0, EXTENT))
    with pytest.raises(AbortedError) as outdated:
        world.begin(create_spec(volume_message(cluster.id, [exact])))
    assert outdated.value.reason is Reason.PLAN_OUTDATED
    assert outdated.value.metadata == {
        "device_id": exact.id,
        "needed_bytes": str(NEEDED),
        "free_bytes": str(NEEDED),
    }
    world.volume(cluster.id, [more])
    assert space(world, more.id) == (NEEDED, 0)
    assert world.violations() == []


def test_a_refused_create_reserves_nothing(world: World) -> None:
    cluster = world.cluster()
    roomy, full = world.devices(cluster.id, 1)[0], world.devices(cluster.id, 1, total_bytes=GIB)[0]
    with pytest.raises(AbortedError):
        world.begin(create_spec(volume_message(cluster.id, [roomy, full], replica_count=2)))
    assert space(world, roomy.id) == (0, 0)
    assert world.violations() == []


def test_a_plan_for_a_device_that_left_placement_is_outdated(world: World) -> None:
    cluster = world.cluster()
    offline, on_offline_node, other_cluster = (world.devices(cluster.id, 1)[0] for _ in range(3))
    world.set_device_state(offline.id, OFFLINE)
    world.set_node_state(on_offline_node.node_id, OFFLINE)
    foreign = world.devices(world.cluster().id, 1)[0]
    for device in (offline, on_offline_node, foreign):
        with pytest.raises(AbortedError) as outdated:
            world.begin(create_spec(volume_message(cluster.id, [device])))
        assert outdated.value.reason is Reason.PLAN_OUTDATED
        assert outdated.value.metadata["device_id"] == device.id
    world.volume(cluster.id, [other_cluster])


def test_names_are_unique_in_a_cluster_even_while_pending(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    device, elsewhere = world.devices(cluster.id, 1)[0], world.devices(other.id, 1)[0]
    world.begin(create_spec(volume_message(cluster.id, [device], name="data")))
    with pytest.raises(AlreadyExistsError) as taken:
        world.begin(create_spec(volume_message(cluster.id, [device], name="data")))
    assert (taken.value.reason, taken.value.message) == (
        Reason.VOLUME_NAME_IN_USE,
        "Volume name 'data' already in use",
    )
    world.volume(other.id, [elsewhere], name="data")


def test_the_limit_on_volumes_counts_pending_ones(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    world.begin(create_spec(volume_message(cluster.id, [device]), max_volumes=1))
    with pytest.raises(ResourceExhaustedError) as full:
        world.begin(create_spec(volume_message(cluster.id, [device]), max_volumes=1))
    assert (full.value.reason, full.value.message) == (
        Reason.TOO_MANY_VOLUMES,
        "Cluster has 1 volumes and limit is 1",
    )


@pytest.mark.parametrize(
    ("file", "block", "wanted_block", "reason"),
    [
        (False, False, False, Reason.CLUSTER_HAS_NO_VOLUME_TYPE),
        (False, True, False, Reason.CLUSTER_LACKS_VOLUME_TYPE),
        (True, False, True, Reason.CLUSTER_LACKS_VOLUME_TYPE),
    ],
)
def test_a_cluster_takes_only_what_its_flags_allow(
    world: World, file: bool, block: bool, wanted_block: bool, reason: Reason
) -> None:
    cluster = world.cluster(file=file, block=block)
    device = world.devices(cluster.id, 1)[0]
    with pytest.raises(FailedPreconditionError) as refused:
        world.begin(create_spec(volume_message(cluster.id, [device], block=wanted_block)))
    assert refused.value.reason is reason
    found = clusters.list_candidates(
        world.store, cluster_ids=[cluster.id], volume_name="", block=wanted_block, max_volumes=0
    )
    assert [each.refusal_reason for each in found] == [reason.value]


def test_candidates_say_why_not(world: World) -> None:
    empty, named, full = world.cluster(), world.cluster(), world.cluster()
    for cluster, name in ((named, "data"), (full, "other")):
        world.begin(create_spec(volume_message(cluster.id, world.devices(cluster.id, 1), name=name)))
    found = clusters.list_candidates(
        world.store, cluster_ids=[full.id, named.id, empty.id], volume_name="data", block=False, max_volumes=1
    )
    assert [(each.cluster_id, each.refusal_reason, each.volume_count) for each in found] == [
        (full.id, "TOO_MANY_VOLUMES", 1),
        (named.id, "VOLUME_NAME_IN_USE", 1),
        (empty.id, "", 0),
    ]
    everywhere = clusters.list_candidates(world.store, cluster_ids=[], volume_name="", block=False, max_volumes=0)
    assert [each.cluster_id for each in everywhere] == sorted([empty.id, named.id, full.id])
    with pytest.raises(NotFoundError) as unknown:
        clusters.list_candidates(world.store, cluster_ids=[new_id()], volume_name="", block=False, max_volumes=0)
    assert unknown.value.reason is Reason.CLUSTER_NOT_FOUND


def test_two_bricks_of_a_set_on_one_node_are_refused(world: World) -> None:
    cluster = world.cluster()
    node = world.node(cluster.id)
    pair = [world.device(node.id), world.device(node.id)]
    with pytest.raises(InvalidArgumentError):
        world.begin(create_spec(volume_message(cluster.id, pair, replica_count=2)))


def test_ids_are_not_used_twice(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 1)
    volume = world.volume(cluster.id, members)
    again = volume_message(cluster.id, members, id=volume.id)
    with pytest.raises(AlreadyExistsError):
        world.begin(create_spec(again))
    again = volume_message(cluster.id, members)
    again.bricks[0].id = volume.bricks[0].id
    with pytest.raises(AlreadyExistsError):
        world.begin(create_spec(again))


def test_several_bricks_on_one_device_add_up(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1, total_bytes=2 * NEEDED + EXTENT)[0]
    volume = world.volume(cluster.id, [device, device])
    assert space(world, device.id) == (2 * NEEDED, 0)
    world.commit(world.begin(delete_spec(volume.id)), removed_bricks=removed(volume.bricks[1].id))
    # One pool was removed and one was not, on the same device.
    assert space(world, device.id) == (NEEDED, 0)
    assert world.violations() == []
    with pytest.raises(AbortedError):
        world.begin(create_spec(volume_message(cluster.id, [device, device])))


def test_lists_are_paged_in_order(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    device, elsewhere = world.devices(cluster.id, 1)[0], world.devices(other.id, 1)[0]
    made = [world.volume(cluster.id, [device]) for _ in range(5)]
    foreign = world.volume(other.id, [elsewhere])
    world.begin(create_spec(volume_message(cluster.id, [device])))
    mine = sorted(volume.id for volume in made)
    page = volumes.list_page(world.store, cluster_id=cluster.id, after=mine[1], count=2, with_bricks=True)
    assert [volume.id for volume in page] == mine[2:4]
    assert all(len(volume.bricks) == 1 for volume in page)
    everything = volumes.list_page(world.store, cluster_id="", after="", count=99, with_bricks=False)
    assert [volume.id for volume in everything] == sorted([*mine, foreign.id])
    assert not any(volume.bricks for volume in everything)
    with pytest.raises(NotFoundError):
        volumes.list_page(world.store, cluster_id=new_id(), after="", count=1, with_bricks=False)


def test_a_node_shows_devices_and_bricks(world: World) -> None:
    cluster = world.cluster()
    node = world.node(cluster.id, tags={"rack": "7"})
    members = sorted([world.device(node.id), world.device(node.id)], key=lambda device: device.id)
    volume = world.volume(cluster.id, members)
    shown, its_devices = nodes.get(world.store, node.id)
    assert list(shown.device_ids) == [device.id for device in members]
    assert dict(shown.tags) == {"rack": "7"}
    assert [[brick.id for brick in device.bricks] for device in its_devices] == [[b.id] for b in volume.bricks]


def test_large_numbers_survive(world: World) -> None:
    cluster = world.cluster()
    huge = 2**50
    device = world.devices(cluster.id, 1, total_bytes=4 * huge)[0]
    volume = world.volume(cluster.id, [device], size_bytes=huge, gid=2**31 - 2)
    shown, _ = volumes.get(world.store, volume.id)
    assert (shown.size_bytes, shown.gid) == (huge, 2**31 - 2)
    assert space(world, device.id)[0] == huge + METADATA_BYTES


def test_a_device_with_a_brick_in_the_making_can_not_fail(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    creating = world.begin(create_spec(volume_message(cluster.id, [device])))
    world.set_device_state(device.id, OFFLINE)
    failing = world.begin(device_state_spec(device.id, 3))
    with pytest.raises(FailedPreconditionError) as busy:
        world.commit(failing)
    assert busy.value.reason is Reason.TARGET_BUSY
    world.abort(creating)
    world.commit(failing)
    assert world.violations() == []
