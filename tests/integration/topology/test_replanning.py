"""A volume that is being made gets other bricks; what is left behind stays in the books until it is removed."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from brickyard.topology.v1 import device_pb2, operation_pb2, operation_service_pb2, volume_pb2
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.reasons import Reason
from services.topology.usecases import leases, operations, replanning, volumes, watching
from services.topology.usecases.clean_up_operations import clean_up_id
from tests.unit.topology.builders import (
    LEASE_S,
    OWNER,
    World,
    create_spec,
    delete_device_spec,
    delete_spec,
    volume_message,
)

LEASE = Duration(seconds=int(LEASE_S))


def replan(world: World, operation: operation_pb2.Operation, **fields: Any) -> operation_pb2.Operation:
    request = operation_service_pb2.ReplanOperationRequest(
        **{"operation_id": operation.id, "owner": OWNER, "lease_duration": LEASE, "note": "because", **fields}
    )
    return replanning.replan(world.store, world.feed, request)


def other_bricks(volume: volume_pb2.Volume, devices: list[device_pb2.Device]) -> list[volume_pb2.Brick]:
    """Bricks for the same volume on other devices."""
    return list(volume_message(volume.cluster_id, devices, replica_count=volume.durability.replica_count).bricks)


def listed(world: World) -> list[volume_pb2.Volume]:
    return volumes.list_page(world.store, cluster_id="", after="", count=9, with_bricks=False)


def begun(world: World, count: int = 5) -> tuple[operation_pb2.Operation, list[device_pb2.Device]]:
    """A volume with three copies that is being made on the first three devices."""
    cluster = world.cluster()
    devices = world.devices(cluster.id, count)
    volume = volume_message(cluster.id, devices[:3], replica_count=3)
    return world.begin(create_spec(volume)), devices


def spaces(world: World, devices: list[device_pb2.Device]) -> list[tuple[int, int]]:
    return [world.space(device.id) for device in devices]


def test_the_space_moves_with_the_bricks(world: World) -> None:
    operation, devices = begun(world)
    before = spaces(world, devices)
    needed = before[0][1]
    assert needed > 0
    volume = operation.spec.create_volume.volume
    bricks = other_bricks(volume, [devices[3], devices[1], devices[4]])
    changed = replan(world, operation, bricks=bricks)
    assert [reserved for _, reserved in spaces(world, devices)] == [0, needed, 0, needed, needed]
    assert (changed.id, changed.target_id, changed.placement_count) == (operation.id, volume.id, 2)
    assert changed.note == "because"
    recorded = changed.spec.create_volume.volume
    assert [brick.id for brick in recorded.bricks] == [brick.id for brick in bricks]
    assert {brick.volume_id for brick in recorded.bricks} == {volume.id}
    assert world.violations() == []
    world.commit(changed)
    made, _ = volumes.get(world.store, volume.id)
    assert {brick.device_id for brick in made.bricks} == {devices[index].id for index in (1, 3, 4)}
    assert world.violations() == []


def test_a_repeated_call_changes_nothing(world: World) -> None:
    operation, devices = begun(world)
    bricks = other_bricks(operation.spec.create_volume.volume, devices[2:])
    left = [operation.spec.create_volume.volume.bricks[0].id]
    first = replan(world, operation, bricks=bricks, left_brick_ids=left)
    assert replan(world, operation, bricks=bricks, left_brick_ids=left) == first
    assert first.placement_count == 2
    assert world.violations() == []


def test_what_is_left_behind_keeps_its_space_until_it_is_removed(world: World) -> None:
    operation, devices = begun(world)
    old = operation.spec.create_volume.volume.bricks
    needed = world.space(devices[0].id)[1]
    changed = replan(
        world,
        operation,
        bricks=other_bricks(operation.spec.create_volume.volume, devices[2:]),
        left_brick_ids=[old[0].id, old[1].id],
    )
    # The third device had one and has one again.
    assert [reserved for _, reserved in spaces(world, devices)] == [needed] * 5
    clean_up = watching.get(world.store, clean_up_id(changed, before=1))
    assert (clean_up.owner, clean_up.stalled, clean_up.kind) == (OWNER, True, operation_pb2.OPERATION_KIND_CLEAN_UP)
    spec = clean_up.spec.clean_up
    assert spec.origin_operation_id == operation.id
    assert {brick.id for brick in spec.volume.bricks} == {old[0].id, old[1].id}
    assert {(brick.path, brick.lv_name) for brick in spec.volume.bricks} == {(b.path, b.lv_name) for b in old[:2]}
    assert world.violations() == []
    # Nobody sees it as a volume, and nobody can take it away under the clean-up.
    assert spec.volume.id not in [each.id for each in listed(world)]
    with pytest.raises((FailedPreconditionError, NotFoundError)):
        world.begin(delete_spec(spec.volume.id))
    world.commit(changed)
    assert world.violations() == []
    world.commit(clean_up)
    assert [reserved for _, reserved in spaces(world, devices)] == [0] * 5
    assert [used for used, _ in spaces(world, devices)] == [0, 0, needed, needed, needed]
    assert world.violations() == []


def test_a_volume_that_is_given_up_may_leave_something_too(world: World) -> None:
    operation, devices = begun(world)
    old = operation.spec.create_volume.volume.bricks
    fields: dict[str, Any] = {"left_brick_ids": [brick.id for brick in old], "lease_duration": LEASE}
    failed = world.abort(operation, error=operation_pb2.OperationError(reason="X", message="no"), **fields)
    assert failed.state == operation_pb2.OPERATION_STATE_FAILED
    assert world.abort(operation, **fields) == failed
    assert all(reserved > 0 for _, reserved in spaces(world, devices[:3]))
    assert world.violations() == []
    # The name is free, the next volume is made next to what is left.
    volume = volume_message(
        operation.cluster_id, devices[:3], replica_count=3, name=failed.spec.create_volume.volume.name
    )
    world.commit(world.begin(create_spec(volume)))
    clean_up = watching.get(world.store, clean_up_id(failed))
    world.commit(clean_up)
    assert [reserved for _, reserved in spaces(world, devices)] == [0] * 5
    assert world.violations() == []


def test_a_clean_up_takes_no_slot_and_is_claimed_like_any_other(world: World) -> None:
    operation, devices = begun(world)
    failed = world.abort(
        operation,
        left_brick_ids=[operation.spec.create_volume.volume.bricks[0].id],
        lease_duration=LEASE,
        error=operation_pb2.OperationError(reason="X"),
    )
    operations.check_free_slot(world.store, 1)
    clean_up = clean_up_id(failed)
    assert leases.claim(world.store, world.feed, owner="b", lease_s=LEASE_S, limit=5) == []
    world.clock.forward(LEASE_S + 1)
    (claimed,) = leases.claim(world.store, world.feed, owner="b", lease_s=LEASE_S, limit=5)
    assert claimed.id == clean_up
    with pytest.raises(FailedPreconditionError):
        world.abort(claimed, owner="b")
    assert all(device.id for device in devices)


@pytest.mark.parametrize("state", [operation_pb2.OPERATION_STATE_UNDOING, None])
def test_only_a_volume_that_is_being_made_is_placed_anew(
    world: World, state: operation_pb2.OperationState.ValueType | None
) -> None:
    operation, devices = begun(world)
    bricks = other_bricks(operation.spec.create_volume.volume, devices[2:])
    if state is None:
        world.commit(operation)
        operation = world.begin(delete_spec(operation.target_id))
    else:
        world.update(operation, state=state)
    with pytest.raises(InvalidArgumentError):
        replan(world, operation, bricks=bricks)
    assert world.violations() == []


def test_refusals_change_nothing(world: World) -> None:
    operation, devices = begun(world)
    volume = operation.spec.create_volume.volume
    before = spaces(world, devices)
    small = world.device(world.node(operation.cluster_id).id, total_bytes=1 << 28)
    good = other_bricks(volume, devices[2:])

    def refused(kind: type[BrickyardError], reason: Reason, **fields: Any) -> None:
        with pytest.raises(kind) as caught:
            replan(world, operation, **{"bricks": good, **fields})
        assert caught.value.reason is reason

    refused(AbortedError, Reason.PLAN_OUTDATED, bricks=other_bricks(volume, [*devices[3:], small]))
    refused(FailedPreconditionError, Reason.LEASE_LOST, owner="b")
    refused(InvalidArgumentError, Reason.INVALID_ARGUMENT, bricks=good[:2])
    refused(InvalidArgumentError, Reason.INVALID_ARGUMENT, left_brick_ids=["f" * 32])
    refused(InvalidArgumentError, Reason.INVALID_ARGUMENT, lease_duration=Duration())
    assert spaces(world, devices) == before
    assert watching.get(world.store, operation.id).placement_count == 1
    world.commit(operation)
    refused(FailedPreconditionError, Reason.OPERATION_ENDED)
    assert world.violations() == []


def test_a_clean_up_is_not_begun_from_outside(world: World) -> None:
    with pytest.raises(InvalidArgumentError):
        world.begin(operation_pb2.OperationSpec(clean_up=operation_pb2.CleanUpSpec()))


def test_stalled_operations_are_woken_once(world: World) -> None:
    stalled, running = begun(world)[0], begun(world)[0]
    world.update(stalled, state=operation_pb2.OPERATION_STATE_UNDOING, stalled=True)

    def renewed() -> list[str]:
        ids = [stalled.id, running.id]
        return leases.renew(world.store, owner=OWNER, operation_ids=ids, lease_s=LEASE_S).woken

    assert renewed() == []
    assert leases.wake(world.store, [running.id]) == 0
    assert leases.wake(world.store, []) == 1
    assert renewed() == [stalled.id]
    assert renewed() == []
    assert leases.wake(world.store, [stalled.id, running.id]) == 1
    assert renewed() == [stalled.id]


def test_a_slot_is_free_or_not(world: World) -> None:
    operation, _ = begun(world)
    operations.check_free_slot(world.store, 2)
    operations.check_free_slot(world.store, 0)
    with pytest.raises(ResourceExhaustedError) as caught:
        operations.check_free_slot(world.store, 1)
    assert caught.value.reason is Reason.TOO_MANY_OPERATIONS
    # One that waits for a node runs nothing, and holds no slot.
    world.update(operation, state=operation_pb2.OPERATION_STATE_UNDOING, stalled=True)
    operations.check_free_slot(world.store, 1)
    with pytest.raises(InvalidArgumentError):
        operations.check_free_slot(world.store, -1)


def test_what_is_left_keeps_no_dead_disk_from_being_given_up(world: World) -> None:
    operation, devices = begun(world)
    old = operation.spec.create_volume.volume.bricks
    failed = world.abort(
        operation,
        left_brick_ids=[old[0].id, old[1].id],
        lease_duration=LEASE,
        error=operation_pb2.OperationError(reason="X"),
    )
    for device in devices[:2]:
        world.set_device_state(device.id, device_pb2.DEVICE_STATE_OFFLINE, device_pb2.DEVICE_STATE_FAILED)
    # Its node is asked, and may still refuse.
    refused = world.begin(delete_device_spec(devices[0].id))
    world.abort(refused, error=operation_pb2.OperationError(reason="LVM_FAILED"))
    assert world.violations() == []

    def forget(device: device_pb2.Device) -> None:
        spec = delete_device_spec(device.id)
        spec.delete_device.force_forget = True
        world.commit(world.begin(spec))
        assert world.violations() == []

    forget(devices[0])
    clean_up = watching.get(world.store, clean_up_id(failed))
    assert clean_up.state == operation_pb2.OPERATION_STATE_PENDING
    forget(devices[1])
    clean_up = watching.get(world.store, clean_up.id)
    assert clean_up.state == operation_pb2.OPERATION_STATE_SUCCEEDED
    # Its driver learns of it in its own way.
    assert world.commit(clean_up) == clean_up
