"""Operations on volumes at the same time, from two servers: who holds a volume, and whose the space is."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from brickyard.topology.v1 import operation_pb2
from services.common.errors import AbortedError, FailedPreconditionError, NotFoundError
from services.common.units import GIB
from services.topology.store import Store
from services.topology.usecases import volumes
from tests.integration.topology.test_concurrency import at_once, errors_in
from tests.unit.topology.builders import (
    EXTENT,
    METADATA_BYTES,
    Clock,
    World,
    clone_spec,
    cloned_bricks,
    delete_spec,
    expand_spec,
    facts_message,
    more_bricks,
    resync_spec,
)

NEEDED = GIB + METADATA_BYTES


@pytest.fixture
def other(database: str, clock: Clock, world: World) -> Iterator[World]:
    """Another server on the same database; `world` is the first."""
    del world
    with closing(Store(database, clock=clock)) as store:
        yield World(store, clock)


def begun(results: list[object]) -> list[operation_pb2.Operation]:
    return [each for each in results if isinstance(each, operation_pb2.Operation)]


@pytest.mark.parametrize("pair", ["expand expand", "clone clone", "clone delete", "expand clone", "expand delete"])
def test_a_volume_is_held_by_one_operation(world: World, other: World, pair: str) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    volume = world.volume(cluster.id, [device])
    for _ in range(3):
        specs = [
            {
                "expand": expand_spec(volume.id, more_bricks([device], first_set=1)),
                "clone": clone_spec(volume),
                "delete": delete_spec(volume.id),
            }[kind]
            for kind in pair.split()
        ]
        results = at_once(partial(world.begin, specs[0]), partial(other.begin, specs[1]))
        assert errors_in(results) == [FailedPreconditionError]
        assert world.violations() == []
        for operation in begun(results):
            world.abort(operation)
        assert world.violations() == []


def test_the_last_space_is_reserved_once(world: World, other: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1, total_bytes=3 * NEEDED + EXTENT)[0]
    made = [world.volume(cluster.id, [device]) for _ in range(2)]
    specs = [expand_spec(volume.id, more_bricks([device], first_set=1)) for volume in made]
    results = at_once(partial(world.begin, specs[0]), partial(other.begin, specs[1]))
    assert errors_in(results) == [AbortedError]
    assert world.violations() == []


def test_a_volume_that_goes_does_not_grow(world: World, other: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    for _ in range(5):
        volume = world.volume(cluster.id, [device])
        more = expand_spec(volume.id, more_bricks([device], first_set=1))
        results = at_once(partial(world.delete, volume, reclaimed=True), partial(other.begin, more))
        assert len(errors_in(results)) == 1
        assert set(errors_in(results)) <= {FailedPreconditionError, NotFoundError}
        assert world.violations() == []
        for operation in begun(results):
            world.abort(operation)


def test_a_copy_and_its_source_go_at_the_same_time(world: World, other: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 2)
    for _ in range(5):
        source = world.volume(cluster.id, members, replica_count=2)
        copy = world.clone(source)
        # On the nodes both are gone, the copy's bricks last; the records may learn it in either order.
        gone = [world.begin(delete_spec(source.id)), world.begin(delete_spec(copy.id))]
        reclaimed = {"reclaimed_brick_ids": [brick.id for brick in copy.bricks]}
        results = at_once(
            partial(world.commit, gone[0], removed_bricks={}),
            partial(other.commit, gone[1], removed_bricks=reclaimed),
        )
        assert errors_in(results) == []
        assert [world.space(device.id) for device in members] == [(0, 0)] * 2
        assert world.violations() == []


def test_everything_at_once_keeps_the_books(world: World, other: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 4, total_bytes=40 * NEEDED)

    def live(each: World, seed: int) -> None:
        mine = [devices[seed], devices[(seed + 1) % 4]]
        source = each.volume(cluster.id, mine, replica_count=2)
        copies = []
        for turn in range(4):
            cloning = each.begin(clone_spec(source))
            if turn % 2:
                each.abort(cloning)
            else:
                each.commit(cloning, cloned_bricks=cloned_bricks(cloning))
                copies.append(volumes.get(each.store, cloning.target_id)[0])
        each.expand(copies[0].id, mine, first_set=1, set_size=2)
        each.abort(each.begin(expand_spec(source.id, more_bricks(mine, first_set=1, set_size=2))))
        each.delete(source, reclaimed=False)
        each.delete(copies[1], reclaimed=False)
        each.delete(volumes.get(each.store, copies[0].id)[0], reclaimed=True)

    def measure(each: World) -> None:
        for device in devices:
            operation = each.begin(resync_spec(device.id))
            # Nothing beyond the pools of the books is there: none may be made up.
            each.commit(operation, device_facts=facts_message(40 * NEEDED, pv_uuid=""))

    results = at_once(*(lambda n=n: live((world, other)[n % 2], n) for n in range(4)), lambda: measure(other))
    assert errors_in(results) == []
    assert world.violations() == []
    assert [world.space(device.id) for device in devices] == [(0, 0)] * 4
