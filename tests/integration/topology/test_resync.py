"""Measuring devices again: what changes, what stays, and what runs meanwhile."""

from typing import Any

import pytest

from brickyard.topology.v1 import device_pb2, operation_pb2
from services.common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.topology.usecases import devices, inventory, volumes
from tests.unit.topology.builders import (
    EXTENT,
    METADATA_BYTES,
    OFFLINE,
    World,
    add_device_spec,
    clone_spec,
    create_spec,
    delete_spec,
    device_message,
    device_state_spec,
    expand_spec,
    facts_message,
    more_bricks,
    resync_spec,
    volume_message,
)

NEEDED = GIB + METADATA_BYTES
SPARE = 4 * MIB


def facts(device: device_pb2.Device, total: int, taken: int, **fields: Any) -> device_pb2.DeviceFacts:
    return facts_message(total, free_bytes=total - taken, pv_uuid=device.pv_uuid, **fields)


def shown(world: World, device_id: str) -> device_pb2.Device:
    return devices.get(world.store, device_id)[0]


@pytest.fixture
def device(world: World) -> device_pb2.Device:
    """A device of 10 GiB with one volume."""
    cluster = world.cluster()
    made = world.devices(cluster.id, 1, total_bytes=10 * GIB)[0]
    world.volume(cluster.id, [made])
    return shown(world, made.id)


def cluster_of(world: World, device: device_pb2.Device) -> str:
    return devices.get(world.store, device.id)[1].cluster_id


def test_a_larger_disk_is_noticed(world: World, device: device_pb2.Device) -> None:
    operation = world.begin(resync_spec(device.id))
    assert operation.kind == operation_pb2.OPERATION_KIND_RESYNC_DEVICE
    assert (operation.target_id, operation.cluster_id) == (device.id, cluster_of(world, device))
    assert operation.spec.resync_device.device == device
    assert shown(world, device.id) == device
    assert world.violations() == []
    revision = inventory.get(world.store, operation.cluster_id, since_revision=0).revision

    measured = facts(device, 20 * GIB, NEEDED + SPARE, extent_size_bytes=2 * EXTENT, known_paths=["/dev/vdx"])
    world.commit(operation, device_facts=measured)
    now = shown(world, device.id)
    # LVM's spare metadata is beyond the pools, and no placement may count on it.
    assert (now.total_bytes, now.used_bytes, now.reserved_bytes) == (20 * GIB, NEEDED + SPARE, 0)
    assert (now.extent_size_bytes, list(now.known_paths), now.pv_uuid) == (2 * EXTENT, ["/dev/vdx"], device.pv_uuid)
    assert (now.path, now.bricks, now.state) == (device.path, device.bricks, device.state)
    seen = inventory.get(world.store, operation.cluster_id, since_revision=revision)
    assert [(each.id, each.total_bytes) for each in seen.devices] == [(device.id, 20 * GIB)]
    assert world.violations() == []


def test_a_resync_that_is_taken_back_changes_nothing(world: World, device: device_pb2.Device) -> None:
    world.abort(world.begin(resync_spec(device.id)))
    assert shown(world, device.id) == device
    world.set_device_state(device.id, OFFLINE)
    world.commit(world.begin(resync_spec(device.id)), device_facts=facts(device, 11 * GIB, NEEDED))
    now = shown(world, device.id)
    assert (now.state, now.total_bytes) == (OFFLINE, 11 * GIB)
    assert world.violations() == []


def test_what_was_left_behind_is_free_when_it_has_gone(world: World, device: device_pb2.Device) -> None:
    cluster_id = cluster_of(world, device)
    left = world.volume(cluster_id, [device])
    world.delete(left, reclaimed=False)
    assert world.space(device.id) == (2 * NEEDED, 0)
    for taken in (2 * NEEDED, NEEDED):
        world.commit(world.begin(resync_spec(device.id)), device_facts=facts(device, 10 * GIB, taken))
        assert world.space(device.id) == (taken, 0)
        assert world.violations() == []


def test_a_shared_pool_is_measured_once(world: World, device: device_pb2.Device) -> None:
    cluster_id = cluster_of(world, device)
    source = world.volume(cluster_id, [device])
    world.clone(source)
    world.commit(world.begin(resync_spec(device.id)), device_facts=facts(device, 10 * GIB, 2 * NEEDED + SPARE))
    assert world.space(device.id) == (2 * NEEDED + SPARE, 0)
    assert world.violations() == []


@pytest.mark.parametrize("made", [0, NEEDED])
@pytest.mark.parametrize("kind", ["create", "expand"])
def test_reservations_are_left_alone(world: World, device: device_pb2.Device, kind: str, made: int) -> None:
    cluster_id = cluster_of(world, device)
    if kind == "create":
        running = world.begin(create_spec(volume_message(cluster_id, [device])))
    else:
        volume_id = device.bricks[0].volume_id
        running = world.begin(expand_spec(volume_id, more_bricks([device], first_set=1)))
    # The node may have made the brick already, or not yet: the books say the same.
    world.commit(world.begin(resync_spec(device.id)), device_facts=facts(device, 12 * GIB, NEEDED + made))
    assert world.space(device.id) == (NEEDED, NEEDED)
    assert shown(world, device.id).total_bytes == 12 * GIB
    assert world.violations() == []
    world.commit(running)
    assert world.space(device.id) == (2 * NEEDED, 0)
    assert world.violations() == []


@pytest.mark.parametrize("there", [0, NEEDED])
def test_a_pool_that_is_being_removed_stays_in_the_books(world: World, device: device_pb2.Device, there: int) -> None:
    world.commit(world.begin(resync_spec(device.id)), device_facts=facts(device, 10 * GIB, NEEDED + SPARE))
    deleting = world.begin(delete_spec(device.bricks[0].volume_id))
    world.commit(world.begin(resync_spec(device.id)), device_facts=facts(device, 10 * GIB, there + SPARE))
    assert world.space(device.id) == (NEEDED + SPARE, 0)
    assert world.violations() == []
    world.abort(deleting)
    assert world.violations() == []


def test_what_ends_meanwhile_does_not_count_as_foreign(world: World, device: device_pb2.Device) -> None:
    cluster_id = cluster_of(world, device)
    going = world.volume(cluster_id, [device])
    # Measured before the volume went, and the other way round.
    operation = world.begin(resync_spec(device.id))
    world.delete(going, reclaimed=True)
    world.commit(operation, device_facts=facts(device, 10 * GIB, 2 * NEEDED))
    assert world.space(device.id) == (NEEDED, 0)
    operation = world.begin(resync_spec(device.id))
    world.volume(cluster_id, [device])
    world.commit(operation, device_facts=facts(device, 10 * GIB, NEEDED))
    assert world.space(device.id) == (2 * NEEDED, 0)
    assert world.violations() == []


def test_a_device_that_is_too_small_now_is_refused(world: World, device: device_pb2.Device) -> None:
    world.begin(create_spec(volume_message(cluster_of(world, device), [device])))
    operation = world.begin(resync_spec(device.id))
    with pytest.raises(FailedPreconditionError) as small:
        world.commit(operation, device_facts=facts(device, 2 * NEEDED - EXTENT, NEEDED))
    assert small.value.reason is Reason.NO_SPACE_ON_DEVICE
    assert small.value.metadata == {
        "device_id": device.id,
        "total_bytes": str(2 * NEEDED - EXTENT),
        "brick_bytes": str(NEEDED),
        "reserved_bytes": str(NEEDED),
    }
    assert shown(world, device.id).total_bytes == 10 * GIB
    world.commit(operation, device_facts=facts(device, 2 * NEEDED, NEEDED))
    now = shown(world, device.id)
    assert (now.total_bytes, now.used_bytes, now.reserved_bytes) == (2 * NEEDED, NEEDED, NEEDED)
    assert world.violations() == []


def test_a_held_device_is_not_measured(world: World, device: device_pb2.Device) -> None:
    with pytest.raises(NotFoundError) as unknown:
        world.begin(resync_spec(new_id()))
    assert unknown.value.reason is Reason.DEVICE_NOT_FOUND
    adding = device_message(device.node_id)
    world.begin(add_device_spec(adding))
    with pytest.raises(NotFoundError):
        world.begin(resync_spec(adding.id))
    first = world.begin(resync_spec(device.id))
    for spec in (resync_spec(device.id), device_state_spec(device.id, OFFLINE)):
        with pytest.raises(FailedPreconditionError) as busy:
            world.begin(spec)
        assert busy.value.reason is Reason.TARGET_BUSY
        assert busy.value.metadata == {"device_id": device.id, "operation_id": first.id}
        assert busy.value.message == "The target exists, contains other items, or is in use."
    # Volumes come and go all the same.
    world.volume(cluster_of(world, device), [device])
    world.abort(first)
    world.set_device_state(device.id, OFFLINE)
    assert world.violations() == []


def test_a_resync_takes_no_slot(world: World, device: device_pb2.Device) -> None:
    cluster_id = cluster_of(world, device)
    source, _ = volumes.get(world.store, device.bricks[0].volume_id)
    world.begin(clone_spec(source), max_in_flight=1)
    world.begin(resync_spec(device.id), max_in_flight=1)
    other = world.devices(cluster_id, 1)[0]
    world.commit(world.begin(resync_spec(other.id), max_in_flight=1), device_facts=facts_message())


def test_a_disk_that_is_another_device_is_refused(world: World, device: device_pb2.Device) -> None:
    other = world.device(device.node_id)
    uuid = shown(world, other.id).pv_uuid
    operation = world.begin(resync_spec(device.id))
    with pytest.raises(AlreadyExistsError) as known:
        world.commit(operation, device_facts=facts_message(10 * GIB, pv_uuid=uuid))
    assert known.value.reason is Reason.DEVICE_ALREADY_KNOWN
    # One that could not be read is not forgotten; a new one is learned.
    for reported, kept in (("", device.pv_uuid), ("new", "new")):
        measured = facts_message(10 * GIB, free_bytes=9 * GIB, pv_uuid=reported)
        world.commit(operation, device_facts=measured)
        assert shown(world, device.id).pv_uuid == kept
        operation = world.begin(resync_spec(device.id))
    assert world.violations() == []


@pytest.mark.parametrize("outcome", [{}, {"device_facts": facts_message(0)}, {"device_facts": facts_message(-1)}])
def test_a_measurement_must_be_sound(world: World, device: device_pb2.Device, outcome: dict[str, Any]) -> None:
    operation = world.begin(resync_spec(device.id))
    with pytest.raises(InvalidArgumentError):
        world.commit(operation, **outcome)
    assert shown(world, device.id) == device
    assert world.violations() == []
