"""Expanding volumes: what is seen, held and reserved meanwhile, and what stays."""

import pytest

from brickyard.topology.v1 import operation_pb2, volume_pb2
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
from services.topology.usecases import devices, inventory, volumes
from tests.unit.topology.builders import (
    METADATA_BYTES,
    OFFLINE,
    World,
    clone_spec,
    create_spec,
    delete_spec,
    device_state_spec,
    expand_spec,
    more_bricks,
    volume_message,
)

NEEDED = GIB + METADATA_BYTES


def test_a_volume_grows_when_the_operation_is_committed(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 2)
    volume = world.volume(cluster.id, members, replica_count=2)
    before, hosts = volumes.get(world.store, volume.id)
    bricks = more_bricks(members[::-1], first_set=1, set_size=2, size_bytes=2 * GIB)
    operation = world.begin(expand_spec(volume.id, bricks, added=2 * GIB))
    spec = operation.spec.expand_volume
    assert (operation.kind, operation.target_id) == (operation_pb2.OPERATION_KIND_EXPAND_VOLUME, volume.id)
    assert (operation.cluster_id, spec.volume) == (cluster.id, before)
    assert [brick.id for brick in spec.bricks] == [brick.id for brick in bricks]
    assert {brick.volume_id for brick in spec.bricks} == {volume.id}
    # Until then it is as before, and held.
    held, _ = volumes.get(world.store, volume.id)
    assert held.operation_id == operation.id
    held.ClearField("operation_id")
    assert held == before
    assert volumes.list_page(world.store, cluster_id="", after="", count=9, with_bricks=True)[0].bricks == held.bricks
    assert len(devices.get(world.store, members[0].id)[0].bricks) == 1
    assert world.space(members[0].id) == (NEEDED, NEEDED + GIB)
    assert world.violations() == []

    world.commit(operation)
    after, hosts_after = volumes.get(world.store, volume.id)
    assert (after.size_bytes, after.operation_id, hosts_after) == (3 * GIB, "", hosts)
    assert list(after.bricks) == [*before.bricks, *spec.bricks]
    assert world.space(members[0].id) == (2 * NEEDED + GIB, 0)
    assert world.violations() == []
    world.delete(after, reclaimed=True)
    assert world.space(members[0].id) == (0, 0)
    assert world.violations() == []


def test_an_expansion_that_is_taken_back_leaves_the_volume_as_it_was(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 2)
    volume = world.volume(cluster.id, members[:1])
    before = volumes.get(world.store, volume.id)
    operation = world.begin(expand_spec(volume.id, more_bricks(members, first_set=1)))
    world.update(operation, state=operation_pb2.OPERATION_STATE_UNDOING)
    world.abort(operation)
    assert volumes.get(world.store, volume.id) == before
    assert [world.space(each.id) for each in members] == [(NEEDED, 0), (0, 0)]
    assert world.violations() == []
    # The same bricks may be planned again, and the volume be deleted.
    world.commit(world.begin(operation_pb2.OperationSpec(expand_volume=operation.spec.expand_volume)))
    world.delete(volumes.get(world.store, volume.id)[0], reclaimed=True)
    assert world.violations() == []


def test_a_volume_can_grow_again_and_again(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    volume = world.volume(cluster.id, [device])
    for first_set in (1, 3):
        world.expand(volume.id, [device, device], first_set=first_set)
    grown, _ = volumes.get(world.store, volume.id)
    assert [brick.set_index for brick in grown.bricks] == [0, 1, 2, 3, 4]
    assert world.space(device.id) == (5 * NEEDED, 0)
    assert world.violations() == []


def test_a_volume_that_grows_takes_no_other_operation(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    volume = world.volume(cluster.id, [device])
    operation = world.begin(expand_spec(volume.id, more_bricks([device], first_set=1)))
    for other in (
        expand_spec(volume.id, more_bricks([device], first_set=1)),
        expand_spec(volume.id, more_bricks([device], first_set=2)),
        clone_spec(volume),
        delete_spec(volume.id),
    ):
        with pytest.raises(FailedPreconditionError) as busy:
            world.begin(other)
        assert busy.value.reason is Reason.TARGET_BUSY
        assert busy.value.metadata == {"volume_id": volume.id, "operation_id": operation.id}
        assert busy.value.message == "The target exists, contains other items, or is in use."
    assert world.violations() == []


@pytest.mark.parametrize("holder", ["create", "delete"])
def test_a_volume_that_comes_or_goes_does_not_grow(world: World, holder: str) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    volume = volume_message(cluster.id, [device])
    creating = world.begin(create_spec(volume))
    if holder == "delete":
        world.commit(creating)
        world.begin(delete_spec(volume.id))
    with pytest.raises(FailedPreconditionError) as busy:
        world.begin(expand_spec(volume.id, more_bricks([device], first_set=1)))
    assert busy.value.reason is Reason.TARGET_BUSY
    with pytest.raises(NotFoundError) as unknown:
        world.begin(expand_spec(new_id(), more_bricks([device], first_set=1)))
    assert unknown.value.reason is Reason.VOLUME_NOT_FOUND


def test_space_for_an_expansion_is_strict(world: World) -> None:
    cluster = world.cluster()
    full, roomy = world.devices(cluster.id, 1, total_bytes=2 * NEEDED)[0], world.devices(cluster.id, 1)[0]
    volume = world.volume(cluster.id, [full])
    with pytest.raises(AbortedError) as outdated:
        world.begin(expand_spec(volume.id, more_bricks([roomy, full], first_set=1)))
    assert outdated.value.reason is Reason.PLAN_OUTDATED
    assert outdated.value.metadata == {
        "device_id": full.id,
        "needed_bytes": str(NEEDED),
        "free_bytes": str(NEEDED),
    }
    assert world.space(roomy.id) == (0, 0)
    assert volumes.get(world.store, volume.id)[0].operation_id == ""
    assert world.violations() == []


def test_an_expansion_needs_online_devices_of_the_cluster(world: World) -> None:
    cluster = world.cluster()
    device, offline, on_offline_node = world.devices(cluster.id, 3)
    foreign = world.devices(world.cluster().id, 1)[0]
    volume = world.volume(cluster.id, [device])
    world.set_device_state(offline.id, OFFLINE)
    world.set_node_state(on_offline_node.node_id, OFFLINE)
    for each in (offline, on_offline_node, foreign):
        with pytest.raises(AbortedError) as outdated:
            world.begin(expand_spec(volume.id, more_bricks([each], first_set=1)))
        assert outdated.value.reason is Reason.PLAN_OUTDATED
        assert outdated.value.metadata["device_id"] == each.id
    # Bricks that it has may be there all the same.
    world.set_device_state(device.id, OFFLINE)
    world.expand(volume.id, world.devices(cluster.id, 1), first_set=1)


def test_new_sets_are_as_large_as_the_old_and_follow_them(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 4)
    volume = world.volume(cluster.id, members[:2], replica_count=2)
    twins = [world.device(members[0].node_id), members[0]]
    for bricks in (
        more_bricks(members[:3], first_set=1, set_size=3),
        more_bricks(members[:1], first_set=1),
        more_bricks(members[:3], first_set=1, set_size=2),
        more_bricks(twins, first_set=1, set_size=2),
    ):
        with pytest.raises(InvalidArgumentError):
            world.begin(expand_spec(volume.id, bricks))
    for first_set in (0, 2):
        with pytest.raises(AbortedError) as outdated:
            world.begin(expand_spec(volume.id, more_bricks(members, first_set=first_set, set_size=2)))
        assert outdated.value.reason is Reason.PLAN_OUTDATED
    world.expand(volume.id, members, first_set=1, set_size=2)
    assert world.violations() == []


def test_ids_and_pools_of_other_bricks_are_not_used_again(world: World) -> None:
    cluster = world.cluster()
    device, other = world.devices(cluster.id, 2)
    volume = world.volume(cluster.id, [device])
    same_id, same_pool = more_bricks([other], first_set=1), more_bricks([device], first_set=1)
    same_id[0].id = volume.bricks[0].id
    same_pool[0].thin_pool_name = volume.bricks[0].thin_pool_name
    for bricks in (same_id, same_pool):
        with pytest.raises(AlreadyExistsError):
            world.begin(expand_spec(volume.id, bricks))
    planned = volume_message(cluster.id, [device])
    planned.bricks[0].thin_pool_name = volume.bricks[0].thin_pool_name
    with pytest.raises(AlreadyExistsError):
        world.begin(create_spec(planned))
    # Another device has its own pools.
    elsewhere = more_bricks([other], first_set=1)
    elsewhere[0].thin_pool_name = volume.bricks[0].thin_pool_name
    world.commit(world.begin(expand_spec(volume.id, elsewhere)))
    assert world.violations() == []
    # Nor does a name that another device of the same plan has.
    last = volumes.get(world.store, volume.id)[0].bricks[1].thin_pool_name
    third = world.devices(cluster.id, 1)[0]
    crossing = more_bricks([device, third], first_set=2)
    crossing[1].thin_pool_name = last
    world.commit(world.begin(expand_spec(volume.id, crossing)))
    assert world.violations() == []


def test_placement_sees_what_an_expansion_reserves(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    volume = world.volume(cluster.id, [device])
    free = 100 * GIB - NEEDED
    revision = inventory.get(world.store, cluster.id, since_revision=0).revision
    operation = world.begin(expand_spec(volume.id, more_bricks([device], first_set=1)))
    reserved = inventory.get(world.store, cluster.id, since_revision=revision)
    assert [each.free_bytes for each in reserved.devices] == [free - NEEDED]
    world.abort(operation)
    released = inventory.get(world.store, cluster.id, since_revision=reserved.revision)
    assert [each.free_bytes for each in released.devices] == [free]


def test_an_expansion_takes_a_slot(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    first, second = world.volume(cluster.id, [device]), world.volume(cluster.id, [device])
    operation = world.begin(expand_spec(first.id, more_bricks([device], first_set=1)), max_in_flight=1)
    with pytest.raises(ResourceExhaustedError):
        world.begin(expand_spec(second.id, more_bricks([device], first_set=1)), max_in_flight=1)
    world.commit(operation)
    world.begin(expand_spec(second.id, more_bricks([device], first_set=1)), max_in_flight=1)


def test_a_device_with_new_bricks_of_an_expansion_can_not_fail(world: World) -> None:
    cluster = world.cluster()
    device, other = world.devices(cluster.id, 2)
    volume = world.volume(cluster.id, [device])
    world.begin(expand_spec(volume.id, more_bricks([other], first_set=1)))
    world.set_device_state(other.id, OFFLINE)
    with pytest.raises(FailedPreconditionError) as busy:
        world.commit(world.begin(device_state_spec(other.id, 3)))
    assert busy.value.reason is Reason.TARGET_BUSY


def test_committing_an_expansion_twice_grows_it_once(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    volume = world.volume(cluster.id, [device])
    operation = world.begin(expand_spec(volume.id, more_bricks([device], first_set=1)))
    assert world.commit(operation) == world.commit(operation)
    grown, _ = volumes.get(world.store, volume.id)
    assert (grown.size_bytes, grown.state) == (2 * GIB, volume_pb2.VOLUME_STATE_ACTIVE)
    assert world.violations() == []
