"""Block volumes in the books: what is taken, held and given back, whoever else is at it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from brickyard.topology.v1 import operation_pb2, operation_service_pb2, volume_pb2
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.usecases import block_volumes, clusters, volumes
from tests.unit.topology.block_builders import (
    Hosted,
    access,
    block_message,
    create_block_spec,
    delete_block_spec,
    expand_block_spec,
    hosting_message,
    restriction_spec,
    size,
)
from tests.unit.topology.builders import World, clone_spec, create_spec, delete_spec, volume_message

LOCKED, UNLOCKED = volume_pb2.BLOCK_RESTRICTION_LOCKED, volume_pb2.BLOCK_RESTRICTION_UNSPECIFIED


@pytest.fixture
def hosted(world: World) -> Hosted:
    return Hosted(world)


def test_a_hosting_volume_has_its_books(hosted: Hosted) -> None:
    assert (hosted.books.free_size_bytes, hosted.books.reserved_size_bytes) == (9 * GIB, GIB)
    assert list(hosted.books.block_volume_ids) == []
    (listed,) = volumes.list_page(hosted.world.store, cluster_id="", after="", count=9, with_bricks=False)
    assert listed.block_hosting == hosted.books
    plain = hosted.world.volume(hosted.cluster_id, hosted.devices, replica_count=3)
    assert not volumes.get(hosted.world.store, plain.id)[0].HasField("block_hosting")
    hosted.world.expand(hosted.volume.id, hosted.devices, first_set=1, set_size=3)
    assert (hosted.books.free_size_bytes, hosted.books.reserved_size_bytes) == (9 * GIB, 2 * GIB)
    assert hosted.world.violations() == []


def test_a_block_volume_takes_its_space_when_it_begins(world: World, hosted: Hosted) -> None:
    operation = world.begin(create_block_spec(block_message(hosted.volume, name="blk", auth=True)))
    recorded = operation.spec.create_block_volume.block_volume
    assert (operation.kind, operation.target_id) == (operation_pb2.OPERATION_KIND_CREATE_BLOCK_VOLUME, recorded.id)
    assert (recorded.hosting_volume_name, recorded.ha_count, recorded.state) == (hosted.volume.name, 3, 1)
    assert hosted.free_gib == 7
    # Hidden until it is there.
    with pytest.raises(NotFoundError) as hidden:
        block_volumes.get(world.store, recorded.id)
    assert hidden.value.reason is Reason.BLOCK_VOLUME_NOT_FOUND
    assert list(hosted.books.block_volume_ids) == []
    assert world.violations() == []
    world.commit(operation, block_volume_access=access(iqn="iqn:x"))
    made = block_volumes.get(world.store, recorded.id)
    assert (made.iqn, made.username, made.password, made.operation_id) == ("iqn:x", "user", "secret", "")
    (listed,) = block_volumes.list_page(world.store, cluster_id=hosted.cluster_id, after="", count=9)
    assert (listed.id, listed.password) == (made.id, "")
    assert list(hosted.books.block_volume_ids) == [made.id]
    assert list(clusters.get(world.store, hosted.cluster_id).block_volume_ids) == [made.id]
    assert world.violations() == []


def test_an_undone_creation_gives_its_space_back(world: World, hosted: Hosted) -> None:
    operation = world.begin(create_block_spec(block_message(hosted.volume, name="blk")))
    world.abort(operation)
    assert hosted.free_gib == 9
    assert hosted.block(name="blk").name == "blk"
    assert world.violations() == []


def test_a_hosting_volume_is_made_and_undone_with_it(world: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 3)
    before = [world.space(device.id) for device in devices]
    for commits in (False, True):
        hosting = hosting_message(cluster.id, devices)
        operation = world.begin(create_block_spec(block_message(hosting), hosting))
        assert world.space(devices[0].id)[1] > 0
        assert list(clusters.get(world.store, cluster.id).volume_ids) == []
        assert world.violations() == []
        if commits:
            world.commit(operation, block_volume_access=access())
            books = volumes.get(world.store, hosting.id)[0].block_hosting
            assert (books.free_size_bytes, len(books.block_volume_ids)) == (7 * GIB, 1)
        else:
            world.abort(operation)
            assert [world.space(device.id) for device in devices] == before
        assert world.violations() == []


def test_a_hosting_volume_is_made_only_when_needed_and_one_at_a_time(world: World, hosted: Hosted) -> None:
    hosting = hosting_message(hosted.cluster_id, hosted.devices)
    with pytest.raises(AbortedError) as outdated:
        world.begin(create_block_spec(block_message(hosting), hosting))
    assert outdated.value.reason is Reason.PLAN_OUTDATED
    larger = block_message(hosting, size_bytes=9 * GIB)
    hosted.block(size_bytes=GIB)
    first = world.begin(create_block_spec(larger, hosting))
    other = hosting_message(hosted.cluster_id, hosted.devices)
    asked = create_block_spec(block_message(other, size_bytes=9 * GIB), other)
    found = block_volumes.find_hosting_volumes(world.store, cluster_ids=[], size_bytes=9 * GIB, name="")
    assert found.creating_operation_id == first.id
    with pytest.raises(ResourceExhaustedError) as busy:
        world.begin(asked)
    assert busy.value.reason is Reason.TOO_MANY_OPERATIONS
    # One that is being taken back does not count.
    world.update(first, state=operation_pb2.OPERATION_STATE_UNDOING, error=operation_pb2.OperationError(reason="X"))
    world.begin(asked)
    assert world.violations() == []


def test_what_a_plan_may_find_changed(world: World, hosted: Hosted) -> None:
    def outdated(**fields: object) -> None:
        with pytest.raises(AbortedError) as refused:
            world.begin(create_block_spec(block_message(hosted.volume, **fields)))
        assert refused.value.reason is Reason.PLAN_OUTDATED

    outdated(size_bytes=10 * GIB)
    hosted.block(name="taken")
    outdated(name="taken")
    outdated(hosting_volume_id=new_id())
    plain = world.volume(hosted.cluster_id, hosted.devices, replica_count=3)
    outdated(hosting_volume_id=plain.id)
    world.commit(world.begin(restriction_spec(hosted.volume.id, LOCKED)))
    outdated()
    clusters.set_flags(world.store, hosted.cluster_id, file_enabled=True, block_enabled=False)
    with pytest.raises(FailedPreconditionError) as refused:
        world.begin(create_block_spec(block_message(hosted.volume)))
    assert refused.value.reason is Reason.CLUSTER_LACKS_VOLUME_TYPE
    assert world.violations() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a/b"},
        {"size_bytes": GIB + 1},
        {"size_bytes": 0},
        {"hosts": []},
        {"hosts": ["h1", "h1"]},
        {"hosts": [""]},
        {"id": "x"},
    ],
)
def test_what_can_not_be_one(world: World, hosted: Hosted, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        world.begin(create_block_spec(block_message(hosted.volume, **fields)))
    assert hosted.free_gib == 9


def test_the_hosting_volume_to_make_must_be_its_own(world: World, hosted: Hosted) -> None:
    other = hosting_message(hosted.cluster_id, hosted.devices)
    plain = volume_message(hosted.cluster_id, hosted.devices, replica_count=3)
    for hosting in (other, plain):
        block = block_message(hosted.volume if hosting is other else plain)
        with pytest.raises(InvalidArgumentError):
            world.begin(create_block_spec(block, hosting))


def test_the_outcome_must_be_the_kinds(world: World, hosted: Hosted) -> None:
    made = world.begin(create_block_spec(block_message(hosted.volume)))
    for outcome in ({}, {"expanded_block_volume": size(GIB)}, {"block_volume_access": access(iqn="")}):
        with pytest.raises(InvalidArgumentError):
            world.commit(made, **outcome)
    world.commit(made, block_volume_access=access())
    growing = world.begin(expand_block_spec(made.target_id, 4 * GIB))
    for wrong in (size(3 * GIB), size(4 * GIB, 5 * GIB)):
        with pytest.raises(InvalidArgumentError):
            world.commit(growing, expanded_block_volume=wrong)
    with pytest.raises(InvalidArgumentError, match="keeps nothing"):
        world.abort(world.begin(delete_block_spec(hosted.block().id)), expanded_block_volume=size(GIB))


def test_deleting_gives_space_back_and_keeps_the_hosting_volume(world: World, hosted: Hosted) -> None:
    block = hosted.block()
    with pytest.raises(FailedPreconditionError) as refused:
        world.begin(delete_spec(hosted.volume.id))
    assert refused.value.reason is Reason.VOLUME_HOSTS_BLOCK_VOLUMES
    operation = world.begin(delete_block_spec(block.id))
    assert operation.spec.delete_block_volume.block_volume.name == block.name
    assert operation.spec.delete_block_volume.block_volume.password == ""
    with pytest.raises(NotFoundError):
        block_volumes.get(world.store, block.id)
    for spec in (delete_block_spec(block.id), expand_block_spec(block.id, 4 * GIB)):
        with pytest.raises(FailedPreconditionError) as busy:
            world.begin(spec)
        assert busy.value.reason is Reason.TARGET_BUSY
    world.abort(operation)
    assert block_volumes.get(world.store, block.id) == block
    world.commit(world.begin(delete_block_spec(block.id)))
    assert hosted.free_gib == 9
    assert world.violations() == []
    world.commit(
        world.begin(delete_spec(hosted.volume.id)),
        removed_bricks=operation_service_pb2.RemovedBricks(
            reclaimed_brick_ids=[each.id for each in hosted.volume.bricks]
        ),
    )
    assert world.violations() == []


def test_growing_takes_the_difference(world: World, hosted: Hosted) -> None:
    block = hosted.block()
    operation = world.begin(expand_block_spec(block.id, 5 * GIB))
    assert hosted.free_gib == 4
    assert block_volumes.get(world.store, block.id).size_bytes == 2 * GIB
    assert world.violations() == []
    world.commit(operation, expanded_block_volume=size(5 * GIB))
    grown = block_volumes.get(world.store, block.id)
    assert (grown.size_bytes, grown.usable_size_bytes) == (5 * GIB, 5 * GIB)
    for wanted in (5, 4):
        with pytest.raises(FailedPreconditionError) as refused:
            world.begin(expand_block_spec(block.id, wanted * GIB))
        assert refused.value.reason is Reason.BLOCK_SIZE_NOT_LARGER
    with pytest.raises(ResourceExhaustedError) as full:
        world.begin(expand_block_spec(block.id, 10 * GIB))
    assert full.value.reason is Reason.NO_SPACE
    world.abort(world.begin(expand_block_spec(block.id, 6 * GIB)))
    assert (hosted.free_gib, block_volumes.get(world.store, block.id)) == (4, grown)
    assert world.violations() == []


def test_a_size_that_some_hosts_have_is_kept_and_can_be_retried(world: World, hosted: Hosted) -> None:
    block = hosted.block()
    growing = world.begin(expand_block_spec(block.id, 5 * GIB))
    failed = world.abort(growing, expanded_block_volume=size(5 * GIB, 2 * GIB))
    assert failed.state == operation_pb2.OPERATION_STATE_FAILED
    partly = block_volumes.get(world.store, block.id)
    assert (partly.size_bytes, partly.usable_size_bytes, hosted.free_gib) == (5 * GIB, 2 * GIB, 4)
    assert world.violations() == []
    again = world.begin(expand_block_spec(block.id, 5 * GIB))
    assert hosted.free_gib == 4
    world.commit(again, expanded_block_volume=size(5 * GIB))
    assert block_volumes.get(world.store, block.id).usable_size_bytes == 5 * GIB
    # One that was not reached is given back.
    world.abort(world.begin(expand_block_spec(block.id, 6 * GIB)), expanded_block_volume=size(5 * GIB))
    assert (hosted.free_gib, block_volumes.get(world.store, block.id).size_bytes) == (4, 5 * GIB)
    assert world.violations() == []


def test_a_locked_hosting_volume_takes_nothing_new(world: World, hosted: Hosted) -> None:
    block = hosted.block()
    held = world.begin(restriction_spec(hosted.volume.id, LOCKED))
    with pytest.raises(FailedPreconditionError) as busy:
        world.begin(restriction_spec(hosted.volume.id, UNLOCKED))
    assert busy.value.reason is Reason.TARGET_BUSY
    world.commit(held)
    assert hosted.books.restriction == LOCKED
    assert not block_volumes.find_hosting_volumes(world.store, cluster_ids=[], size_bytes=GIB, name="").hosting_volumes
    world.commit(world.begin(expand_block_spec(block.id, 3 * GIB)), expanded_block_volume=size(3 * GIB))
    world.abort(world.begin(restriction_spec(hosted.volume.id, UNLOCKED)))
    assert hosted.books.restriction == LOCKED
    world.commit(world.begin(restriction_spec(hosted.volume.id, UNLOCKED)))
    assert hosted.books.restriction == UNLOCKED
    plain = world.volume(hosted.cluster_id, hosted.devices, replica_count=3)
    with pytest.raises(FailedPreconditionError) as refused:
        world.begin(restriction_spec(plain.id, LOCKED))
    assert refused.value.reason is Reason.NOT_BLOCK_HOSTING
    with pytest.raises(InvalidArgumentError):
        world.begin(restriction_spec(hosted.volume.id, volume_pb2.BLOCK_RESTRICTION_LOCKED_BY_UPDATE))
    assert world.violations() == []


def test_who_has_room(world: World, hosted: Hosted) -> None:
    def found(size_bytes: int, name: str = "", cluster_ids: tuple[str, ...] = ()) -> list[str]:
        answer = block_volumes.find_hosting_volumes(
            world.store, cluster_ids=list(cluster_ids), size_bytes=size_bytes, name=name
        )
        return [each.volume_id for each in answer.hosting_volumes]

    assert found(9 * GIB) == [hosted.volume.id]
    assert found(10 * GIB) == []
    hosted.block(name="blk")
    assert (found(GIB, "blk"), found(GIB, "other")) == ([], [hosted.volume.id])
    without_block = world.cluster(block=False).id
    assert found(GIB, cluster_ids=(hosted.cluster_id, without_block)) == [hosted.volume.id]
    with pytest.raises(FailedPreconditionError) as refused:
        found(GIB, cluster_ids=(without_block,))
    assert refused.value.reason is Reason.CLUSTER_LACKS_VOLUME_TYPE
    with pytest.raises(NotFoundError):
        found(GIB, cluster_ids=(new_id(),))


def test_without_clusters_it_is_told(world: World) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        block_volumes.find_hosting_volumes(world.store, cluster_ids=[], size_bytes=GIB, name="")
    assert refused.value.reason is Reason.NO_CLUSTERS


def test_a_hosting_volume_is_not_copied(world: World, hosted: Hosted) -> None:
    with pytest.raises(FailedPreconditionError, match="Cloning of block hosting volumes is not supported"):
        world.begin(clone_spec(hosted.volume))


def test_a_repeated_request_gives_the_first_operation(world: World, hosted: Hosted) -> None:
    first = world.begin(create_block_spec(block_message(hosted.volume, name="")), request_id="r")
    assert world.begin(create_block_spec(block_message(hosted.volume, name="")), request_id="r") == first
    with pytest.raises(InvalidArgumentError) as reused:
        world.begin(create_block_spec(block_message(hosted.volume, name="other")), request_id="r")
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert hosted.free_gib == 7


def test_many_at_once_never_take_more_than_there_is(world: World, hosted: Hosted) -> None:
    def attempt(_number: int) -> bool:
        try:
            hosted.block()
        except AbortedError as error:
            if error.reason is not Reason.PLAN_OUTDATED:
                raise
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(attempt, range(12), timeout=120))
    assert (sum(made), hosted.free_gib) == (4, 1)
    assert world.violations() == []


def test_a_hosting_volume_is_deleted_or_taken_never_both(world: World) -> None:
    for _ in range(4):
        hosted = Hosted(world)

        def delete(place: Hosted = hosted) -> bool:
            return _succeeds(lambda: world.begin(delete_spec(place.volume.id)))

        def take(place: Hosted = hosted) -> bool:
            return _succeeds(lambda: world.begin(create_block_spec(block_message(place.volume))))

        with ThreadPoolExecutor(2) as pool:
            outcomes = [job.result(60) for job in (pool.submit(delete), pool.submit(take))]
        assert sorted(outcomes) == [False, True]
        assert world.violations() == []


def _succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except BrickyardError as error:
        if error.reason not in {Reason.PLAN_OUTDATED, Reason.VOLUME_HOSTS_BLOCK_VOLUMES}:
            raise
        return False
    return True


def test_volumes_that_host_nothing_yet_may_be_created_side_by_side(world: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 3)
    for _ in range(2):
        world.begin(create_spec(hosting_message(cluster.id, devices)))
    assert world.violations() == []
