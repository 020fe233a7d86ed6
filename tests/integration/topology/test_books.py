"""GetBooks tells everything that is recorded; DropGhosts forgets what exists nowhere, and refuses what it must."""

from collections.abc import Sequence

import pytest

from brickyard.topology.v1 import operation_pb2, volume_pb2
from services.common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from services.common.reasons import Reason
from services.topology.usecases import ghosts, recorded, volumes
from tests.unit.topology.builders import (
    METADATA_BYTES,
    World,
    clone_spec,
    create_spec,
    delete_spec,
    expand_spec,
    more_bricks,
    volume_message,
)

GIB = 2**30
NEEDED = GIB + METADATA_BYTES


def ids(bricks: Sequence[volume_pb2.Brick]) -> list[str]:
    return [brick.id for brick in bricks]


def used(world: World) -> dict[str, tuple[int, int]]:
    """Used and unattributed bytes by device."""
    books = recorded.get(world.store, "", None)
    return {each.device.id: (each.device.used_bytes, each.unattributed_bytes) for each in books.devices}


def test_the_books_have_everything_in_whatever_state(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    members = world.devices(cluster.id, 2)
    world.devices(other.id, 1)
    volume = world.volume(cluster.id, members, replica_count=2)
    pending = volume_message(cluster.id, members[:1], name="pending")
    begun = world.begin(create_spec(pending))
    books = recorded.get(world.store, cluster.id, None)
    assert list(books.cluster_ids) == [cluster.id]
    assert {each.node.id for each in books.nodes} == {device.node_id for device in members}
    assert {each.device.id for each in books.devices} == {device.id for device in members}
    assert {(each.id, each.operation_id) for each in books.volumes} == {(volume.id, ""), (pending.id, begun.id)}
    assert {(each.brick.id, each.operation_id) for each in books.bricks} == {
        *((brick_id, "") for brick_id in ids(volume.bricks)),
        (pending.bricks[0].id, begun.id),
    }
    assert [each.id for each in books.operations] == [begun.id]
    assert {*recorded.get(world.store, "", None).cluster_ids} == {cluster.id, other.id}


def test_operations_that_ended_meanwhile_are_told(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 1)
    before = recorded.get(world.store, cluster.id, None)
    world.volume(cluster.id, members)
    after = recorded.get(world.store, cluster.id, before.read_time)
    assert operation_pb2.OPERATION_KIND_CREATE_VOLUME in {each.kind for each in after.operations}
    assert list(recorded.get(world.store, cluster.id, None).operations) == []


def test_books_of_an_unknown_cluster(world: World) -> None:
    with pytest.raises(NotFoundError) as raised:
        recorded.get(world.store, "f" * 32, None)
    assert raised.value.reason is Reason.CLUSTER_NOT_FOUND


def test_a_ghost_volume_is_dropped_and_its_space_is_free(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 2)
    volume = world.volume(cluster.id, members, replica_count=2)
    bricks = ids(volume.bricks)
    assert ghosts.drop(world.store, volume_id=volume.id, brick_ids=bricks, reclaimed_brick_ids=bricks)
    assert used(world) == {device.id: (0, 0) for device in members}
    assert world.violations() == []
    # Once more is fine: it is not recorded.
    assert ghosts.drop(world.store, volume_id=volume.id, brick_ids=bricks, reclaimed_brick_ids=())


def test_a_pool_that_is_still_there_stays_used(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 1)
    volume = world.volume(cluster.id, members)
    assert ghosts.drop(world.store, volume_id=volume.id, brick_ids=ids(volume.bricks), reclaimed_brick_ids=())
    assert used(world) == {members[0].id: (NEEDED, NEEDED)}
    assert world.violations() == []


def test_a_pool_that_a_clone_has_stays_the_clones(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 1)
    volume = world.volume(cluster.id, members)
    world.clone(volume)
    assert ghosts.drop(world.store, volume_id=volume.id, brick_ids=ids(volume.bricks), reclaimed_brick_ids=())
    assert used(world) == {members[0].id: (NEEDED, 0)}
    assert world.violations() == []


def test_whole_sets_leave_and_those_behind_move_up(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 2)
    volume = world.volume(cluster.id, members, replica_count=2)
    new = more_bricks(members, first_set=1, set_size=2)
    world.commit(world.begin(expand_spec(volume.id, new)))
    first = ids(volume.bricks)
    for part in (first[:1], [first[0], new[0].id]):
        with pytest.raises(InvalidArgumentError):
            ghosts.drop(world.store, volume_id=volume.id, brick_ids=part, reclaimed_brick_ids=part)
    assert not ghosts.drop(world.store, volume_id=volume.id, brick_ids=first, reclaimed_brick_ids=first)
    left, _hosts = volumes.get(world.store, volume.id)
    assert [(brick.id, brick.set_index) for brick in left.bricks] == [(brick.id, 0) for brick in new]
    assert left.size_bytes == GIB
    assert used(world) == {device.id: (NEEDED, 0) for device in members}
    assert world.violations() == []
    # Once more is fine: these bricks are not recorded.
    assert not ghosts.drop(world.store, volume_id=volume.id, brick_ids=first, reclaimed_brick_ids=first)


@pytest.mark.parametrize("kind", ["delete", "expand", "clone"])
def test_what_an_operation_holds_is_not_dropped(world: World, kind: str) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 1)
    volume = world.volume(cluster.id, members)
    spec = {
        "delete": lambda: delete_spec(volume.id),
        "expand": lambda: expand_spec(volume.id, more_bricks(members, first_set=1)),
        "clone": lambda: clone_spec(volume),
    }[kind]()
    world.begin(spec)
    with pytest.raises(FailedPreconditionError) as raised:
        ghosts.drop(world.store, volume_id=volume.id, brick_ids=ids(volume.bricks), reclaimed_brick_ids=())
    assert raised.value.reason is Reason.TARGET_BUSY
    assert world.violations() == []


def test_bricks_of_another_volume_and_none_at_all_are_refused(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 1)
    volume, other = world.volume(cluster.id, members), world.volume(cluster.id, members, name="other")
    mixed = [*ids(volume.bricks), *ids(other.bricks)]
    for bricks, reclaimed in ((mixed, ()), ([], ()), (ids(volume.bricks), ids(other.bricks))):
        with pytest.raises(InvalidArgumentError):
            ghosts.drop(world.store, volume_id=volume.id, brick_ids=bricks, reclaimed_brick_ids=reclaimed)
    assert len(recorded.get(world.store, cluster.id, None).bricks) == 2
