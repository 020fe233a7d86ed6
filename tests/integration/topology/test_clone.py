"""Copies of volumes: hidden until they are there, in the thin pools of their source, whose space counts once."""

from collections.abc import Sequence
from typing import Any

import pytest

from brickyard.topology.v1 import device_pb2, operation_pb2, operation_service_pb2, volume_pb2
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
from services.topology.usecases import clusters, devices, volumes
from tests.unit.topology.builders import (
    METADATA_BYTES,
    OFFLINE,
    World,
    clone_spec,
    cloned_bricks,
    create_spec,
    delete_device_spec,
    delete_spec,
    device_state_spec,
    expand_spec,
    more_bricks,
    volume_message,
)

NEEDED = GIB + METADATA_BYTES


def removed(*brick_ids: str) -> operation_service_pb2.RemovedBricks:
    return operation_service_pb2.RemovedBricks(reclaimed_brick_ids=brick_ids)


@pytest.fixture
def members(world: World) -> list[device_pb2.Device]:
    return world.devices(world.cluster().id, 2)


@pytest.fixture
def source(world: World, members: Sequence[device_pb2.Device]) -> volume_pb2.Volume:
    """A volume with something in every field."""
    cluster_id = clusters.list_page(world.store, after="", count=1)[0].id
    made = world.volume(
        cluster_id,
        members,
        replica_count=2,
        gid=2000,
        options=["", "a b"],
        snapshot_enabled=True,
        snapshot_factor=1.5,
    )
    return volumes.get(world.store, made.id)[0]


def spaces(world: World, members: Sequence[device_pb2.Device]) -> list[tuple[int, int]]:
    return [world.space(device.id) for device in members]


def test_a_copy_is_hidden_until_it_is_committed(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    operation = world.begin(clone_spec(source))
    spec = operation.spec.clone_volume
    assert operation.kind == operation_pb2.OPERATION_KIND_CLONE_VOLUME
    assert (operation.target_id, operation.cluster_id) == (spec.volume_id, source.cluster_id)
    assert (spec.source, spec.name) == (source, f"vol_{spec.volume_id}")
    with pytest.raises(NotFoundError):
        volumes.get(world.store, spec.volume_id)
    held, _ = volumes.get(world.store, source.id)
    assert (held.operation_id, held.bricks) == (operation.id, source.bricks)
    assert list(clusters.get(world.store, source.cluster_id).volume_ids) == [source.id]
    assert [len(devices.get(world.store, each.id)[0].bricks) for each in members] == [1, 1]
    assert spaces(world, members) == [(NEEDED, 0)] * 2
    assert world.violations() == []

    outcome = cloned_bricks(operation)
    world.commit(operation, cloned_bricks=outcome)
    copy, hosts = volumes.get(world.store, spec.volume_id)
    assert len(hosts) == 2
    expected = volume_pb2.Volume()
    expected.CopyFrom(source)
    expected.id, expected.name, expected.origin_volume_id = copy.id, f"vol_{copy.id}", source.id
    expected.create_time.CopyFrom(operation.create_time)
    for brick, made in zip(expected.bricks, outcome.bricks, strict=True):
        brick.id, brick.volume_id, brick.path, brick.lv_name = made.brick_id, copy.id, made.path, made.lv_name
    assert copy == expected
    assert volumes.get(world.store, source.id)[0] == source
    assert [len(devices.get(world.store, each.id)[0].bricks) for each in members] == [2, 2]
    assert spaces(world, members) == [(NEEDED, 0)] * 2
    assert world.violations() == []


def test_a_copy_that_is_taken_back_leaves_nothing(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    operation = world.begin(clone_spec(source, name="copy"))
    world.update(operation, state=operation_pb2.OPERATION_STATE_UNDOING)
    world.abort(operation)
    with pytest.raises(NotFoundError):
        volumes.get(world.store, operation.target_id)
    assert volumes.get(world.store, source.id)[0] == source
    assert spaces(world, members) == [(NEEDED, 0)] * 2
    assert world.violations() == []
    # Name and ids are free again.
    asked = operation_pb2.OperationSpec(clone_volume=operation.spec.clone_volume)
    again = world.begin(asked)
    world.commit(again, cloned_bricks=cloned_bricks(again))
    world.delete(source, reclaimed=False)
    assert world.violations() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_whoever_is_last_frees_the_pool(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume, order: tuple[int, int]
) -> None:
    pair = (source, world.clone(source))
    first, last = pair[order[0]], pair[order[1]]
    world.delete(first, reclaimed=False)
    assert spaces(world, members) == [(NEEDED, 0)] * 2
    assert volumes.get(world.store, last.id)[0] == last
    assert world.violations() == []
    world.delete(last, reclaimed=True)
    assert spaces(world, members) == [(0, 0)] * 2
    assert world.violations() == []


def test_a_pool_that_is_left_behind_stays_used(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    copy = world.clone(source)
    world.delete(source, reclaimed=False)
    operation = world.begin(delete_spec(copy.id))
    world.commit(operation, removed_bricks=removed(copy.bricks[0].id))
    found = {each.id: world.space(each.id) for each in members}
    assert found == {copy.bricks[0].device_id: (0, 0), copy.bricks[1].device_id: (NEEDED, 0)}
    assert world.violations() == []


def test_two_that_go_at_a_time_free_the_pool_whoever_ends_first(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    copy = world.clone(source)
    # The nodes remove the bricks of the source first, so that only the copy's are reported with an empty pool.
    deleting = world.begin(delete_spec(source.id)), world.begin(delete_spec(copy.id))
    world.commit(deleting[1], removed_bricks=removed(*(brick.id for brick in copy.bricks)))
    assert spaces(world, members) == [(0, 0)] * 2
    assert world.violations() == []
    world.commit(deleting[0], removed_bricks=removed())
    assert spaces(world, members) == [(0, 0)] * 2
    assert world.violations() == []


def test_a_delete_that_was_not_finished_is_repeated_after_the_pool_has_gone(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    copy = world.clone(source)
    failing = world.begin(delete_spec(source.id))
    world.delete(copy, reclaimed=True)
    world.abort(failing)
    assert world.violations() == []
    world.delete(source, reclaimed=True)
    assert spaces(world, members) == [(0, 0)] * 2
    assert world.violations() == []


def test_a_report_against_the_records_frees_nothing(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    copy = world.clone(source)
    world.delete(copy, reclaimed=True)
    assert spaces(world, members) == [(NEEDED, 0)] * 2
    assert world.violations() == []
    world.delete(source, reclaimed=True)
    assert spaces(world, members) == [(0, 0)] * 2
    assert world.violations() == []


def test_copies_of_copies(world: World, members: list[device_pb2.Device], source: volume_pb2.Volume) -> None:
    copy = world.clone(source)
    second = world.clone(copy, name="second")
    third = world.clone(source)
    assert (second.origin_volume_id, third.origin_volume_id) == (copy.id, source.id)
    world.delete(source, reclaimed=False)
    world.delete(copy, reclaimed=False)
    # Where a copy came from stays written down, whatever became of it.
    assert volumes.get(world.store, second.id)[0].origin_volume_id == copy.id
    world.delete(third, reclaimed=False)
    assert spaces(world, members) == [(NEEDED, 0)] * 2
    world.delete(second, reclaimed=True)
    assert spaces(world, members) == [(0, 0)] * 2
    assert world.violations() == []


def test_a_copy_grows_into_pools_of_its_own(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    copy = world.clone(source)
    world.expand(copy.id, members, first_set=1, set_size=2)
    assert spaces(world, members) == [(2 * NEEDED, 0)] * 2
    grown, _ = volumes.get(world.store, copy.id)
    assert (len(grown.bricks), grown.size_bytes) == (4, 2 * GIB)
    assert world.violations() == []
    # The pools of the new bricks are gone, those of the old are still the source's.
    operation = world.begin(delete_spec(copy.id))
    world.commit(operation, removed_bricks=removed(*(brick.id for brick in grown.bricks if brick.set_index == 1)))
    assert spaces(world, members) == [(NEEDED, 0)] * 2
    assert world.violations() == []


def test_a_source_grows_after_it_was_copied(
    world: World, members: list[device_pb2.Device], source: volume_pb2.Volume
) -> None:
    first = world.clone(source)
    world.expand(source.id, members, first_set=1, set_size=2)
    grown, _ = volumes.get(world.store, source.id)
    second = world.clone(grown)
    assert (len(first.bricks), len(second.bricks)) == (2, 4)
    world.delete(grown, reclaimed=False)
    assert spaces(world, members) == [(2 * NEEDED, 0)] * 2
    assert world.violations() == []


def test_a_source_takes_no_other_operation_meanwhile(world: World, source: volume_pb2.Volume) -> None:
    operation = world.begin(clone_spec(source))
    copy = volume_pb2.Volume(id=operation.target_id, bricks=source.bricks)
    devices_of = [device_pb2.Device(id=brick.device_id, node_id=brick.node_id) for brick in source.bricks]
    more = more_bricks(devices_of, first_set=1, set_size=2)
    for each in (source, copy):
        for other in (clone_spec(each), delete_spec(each.id), expand_spec(each.id, more)):
            with pytest.raises(FailedPreconditionError) as busy:
                world.begin(other)
            assert busy.value.reason is Reason.TARGET_BUSY
            assert busy.value.metadata == {"volume_id": each.id, "operation_id": operation.id}
    assert world.violations() == []


def test_what_can_not_be_copied(world: World, source: volume_pb2.Volume, members: list[device_pb2.Device]) -> None:
    with pytest.raises(NotFoundError) as unknown:
        world.begin(clone_spec(source, source_volume_id=new_id()))
    assert unknown.value.reason is Reason.VOLUME_NOT_FOUND
    hosting = world.volume(source.cluster_id, members, replica_count=2, block=True)
    with pytest.raises(FailedPreconditionError) as block:
        world.begin(clone_spec(hosting))
    assert block.value.reason is Reason.NOT_SUPPORTED_YET
    assert block.value.message == "Cloning of block hosting volumes is not supported"
    pending = volume_message(source.cluster_id, members[:1])
    world.begin(create_spec(pending))
    with pytest.raises(FailedPreconditionError) as busy:
        world.begin(clone_spec(pending))
    assert busy.value.reason is Reason.TARGET_BUSY
    with pytest.raises(AbortedError) as outdated:
        world.begin(clone_spec(source, brick_ids=[new_id()]))
    assert outdated.value.reason is Reason.PLAN_OUTDATED
    assert volumes.get(world.store, source.id)[0] == source
    assert world.violations() == []


def test_names_and_ids_of_a_copy_are_new(world: World, source: volume_pb2.Volume) -> None:
    with pytest.raises(AlreadyExistsError) as taken:
        world.begin(clone_spec(source, name=source.name))
    assert taken.value.reason is Reason.VOLUME_NAME_IN_USE
    assert taken.value.message == f"Volume name '{source.name}' already in use"
    for spec in (
        clone_spec(source, volume_id=source.id, name="x"),
        clone_spec(source, brick_ids=[source.bricks[0].id, new_id()]),
    ):
        with pytest.raises(AlreadyExistsError) as used:
            world.begin(spec)
        assert used.value.reason is Reason.INVALID_ARGUMENT
    # The name is taken from the beginning, also for new volumes.
    world.begin(clone_spec(source, name="copy"))
    device = world.devices(source.cluster_id, 1)[0]
    with pytest.raises(AlreadyExistsError):
        world.begin(create_spec(volume_message(source.cluster_id, [device], name="copy")))


def test_a_copy_needs_neither_space_nor_an_online_device_nor_a_place_in_the_limit(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1, total_bytes=NEEDED + 1)[0]
    source = world.volume(cluster.id, [device])
    world.set_device_state(device.id, OFFLINE)
    clusters.set_flags(world.store, cluster.id, file_enabled=False, block_enabled=False)
    world.clone(source)
    candidates = clusters.list_candidates(
        world.store, cluster_ids=[cluster.id], volume_name="", block=False, max_volumes=0
    )
    assert candidates[0].volume_count == 2
    assert world.violations() == []


def test_a_report_must_name_all_bricks(world: World, source: volume_pb2.Volume) -> None:
    operation = world.begin(clone_spec(source))
    whole = cloned_bricks(operation)
    refused: list[dict[str, Any]] = [
        {},
        {"removed_bricks": removed()},
        {"cloned_bricks": operation_service_pb2.ClonedBricks(bricks=whole.bricks[:1])},
        {"cloned_bricks": operation_service_pb2.ClonedBricks(bricks=[*whole.bricks, whole.bricks[0]])},
        {"cloned_bricks": cloned_bricks(operation, brick_id=source.bricks[0].id)},
        {"cloned_bricks": cloned_bricks(operation, path="")},
        {"cloned_bricks": cloned_bricks(operation, lv_name="")},
    ]
    for outcome in refused:
        with pytest.raises(InvalidArgumentError):
            world.commit(operation, **outcome)
    with pytest.raises(NotFoundError):
        volumes.get(world.store, operation.target_id)
    assert world.violations() == []
    committed = world.commit(operation, cloned_bricks=whole)
    assert world.commit(operation, cloned_bricks=cloned_bricks(operation)) == committed


def test_a_copy_takes_a_slot(world: World, source: volume_pb2.Volume) -> None:
    world.begin(clone_spec(source), max_in_flight=1)
    with pytest.raises(ResourceExhaustedError):
        world.begin(clone_spec(world.volume(source.cluster_id, world.devices(source.cluster_id, 1))), max_in_flight=1)


def test_a_device_with_copies_is_not_given_up(world: World, source: volume_pb2.Volume) -> None:
    copy = world.clone(source)
    device_id = source.bricks[0].device_id
    world.set_device_state(device_id, OFFLINE)
    failing = world.begin(device_state_spec(device_id, 3))
    cloning = world.begin(clone_spec(copy))
    with pytest.raises(FailedPreconditionError):
        world.commit(failing)
    world.abort(cloning)
    with pytest.raises(FailedPreconditionError) as full:
        world.commit(failing)
    assert full.value.reason is Reason.DEVICE_NOT_EMPTY
    world.abort(failing)
    world.delete(source, reclaimed=False)
    world.delete(copy, reclaimed=True)
    world.set_device_state(device_id, 3)
    world.commit(world.begin(delete_device_spec(device_id)))
    assert world.violations() == []
