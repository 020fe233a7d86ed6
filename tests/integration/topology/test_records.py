"""Everything out of one topology and into another, on both engines: nothing is lost, nothing is half done."""

from collections.abc import Callable

import pytest

from brickyard.topology.v1 import operation_pb2, records_pb2, volume_pb2
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.topology.store import Store
from services.topology.usecases import (
    brick_order,
    clusters,
    consistency,
    leases,
    record_import,
    records,
    volumes,
    watching,
)
from services.topology.usecases.feed import ChangeFeed
from tests.unit.topology.builders import LEASE_S, Clock, World, clone_spec, evict_spec


def everything(store: Store) -> records_pb2.Records:
    whole = records_pb2.Records()
    for part in records.export(store):
        whole.MergeFrom(part)
    return whole


def imported(store: Store, given: records_pb2.Records, *, validate_only: bool = False) -> tuple[int, list[str]]:
    return record_import.take_over(store, given, validate_only=validate_only)


@pytest.fixture
def given(tmp_path_factory: pytest.TempPathFactory) -> records_pb2.Records:
    """The records of another topology: a volume with two sets, a copy of it, and a hosting volume."""
    from services.topology.bootstrap import Topology  # noqa: PLC0415 - only here

    directory = tmp_path_factory.mktemp("origin")
    topology = Topology(f"sqlite:///{directory}/origin.db")
    world = World(topology.store, Clock())
    cluster = world.cluster()
    devices = world.devices(cluster.id, 4)
    first = world.volume(cluster.id, devices[:3], replica_count=3, options=["", "a b", ""], gid=7)
    world.expand(first.id, devices[1:], first_set=1, set_size=3)
    world.clone(volumes.get(topology.store, first.id)[0])
    world.volume(cluster.id, devices[:3], replica_count=3, block=True, size_bytes=4 << 30)
    found = everything(topology.store)
    topology.close()
    return found


def test_records_survive_the_way_into_another_topology(store: Store, given: records_pb2.Records) -> None:
    for recorded in given.volumes:
        recorded.requested_cluster_ids.append(given.clusters[0].id)
        recorded.mount_hosts.extend(["a", "b"])
    count, refusals = imported(store, given)
    assert refusals == []
    assert count == 1 + 4 + 4 + 3 + 6 + 6 + 3
    assert everything(store) == given
    assert consistency.check(store)[0] == []
    assert clusters.get(store, given.clusters[0].id).volume_ids == [each.volume.id for each in given.volumes]


def test_a_check_records_nothing(store: Store, given: records_pb2.Records) -> None:
    count, refusals = imported(store, given, validate_only=True)
    assert (count > 0, refusals) == (True, [])
    assert list(everything(store).clusters) == []


def test_a_topology_that_is_not_empty_is_refused(store: Store, world: World, given: records_pb2.Records) -> None:
    world.cluster()
    before = everything(store)
    for validate_only in (True, False):
        with pytest.raises(FailedPreconditionError, match="only into an empty one") as raised:
            imported(store, given, validate_only=validate_only)
        assert raised.value.reason is Reason.TOPOLOGY_NOT_EMPTY
    assert everything(store) == before


def test_the_same_records_twice(store: Store, given: records_pb2.Records) -> None:
    imported(store, given)
    with pytest.raises(FailedPreconditionError, match="were imported already"):
        imported(store, given)


def _twice(given: records_pb2.Records) -> None:
    given.devices[0].device.used_bytes += 4 << 20


def _lost(given: records_pb2.Records) -> None:
    del given.nodes[0]


def _doubled(given: records_pb2.Records) -> None:
    given.volumes.append(given.volumes[0])


def _nameless(given: records_pb2.Records) -> None:
    given.bricks[0].brick.lv_name = ""
    given.bricks[1].brick.path = ""


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (_twice, ["bytes used; its bricks take"]),
        (_lost, ["of the unknown node"]),
        (_doubled, ["occurs twice"]),
        (_nameless, ["brick.lv_name: ''", "brick.path: ''"]),
    ],
)
def test_what_does_not_agree_is_refused_with_every_reason(
    store: Store, given: records_pb2.Records, spoil: Callable[[records_pb2.Records], None], reasons: list[str]
) -> None:
    spoil(given)
    _, refusals = imported(store, given)
    for reason in reasons:
        assert any(reason in each for each in refusals), refusals
    assert list(everything(store).clusters) == []


def test_a_generation_that_is_no_id(store: Store, given: records_pb2.Records) -> None:
    given.generation_id = "one"
    with pytest.raises(InvalidArgumentError, match=r"records\.generation_id"):
        imported(store, given)


def test_an_operation_that_is_taken_over_is_claimed_and_can_be_undone(
    store: Store, clock: Clock, given: records_pb2.Records
) -> None:
    """As Heketi leaves a volume that it was making: half made, and its space taken."""
    # Nothing else is in its thin pools.
    volume = next(each.volume for each in given.volumes if each.volume.block)
    operation = operation_pb2.Operation(
        id=new_id(),
        kind=operation_pb2.OPERATION_KIND_CREATE_VOLUME,
        target_id=volume.id,
        cluster_id=volume.cluster_id,
        state=operation_pb2.OPERATION_STATE_RUNNING,
    )
    volume.state, volume.operation_id = volume_pb2.VOLUME_STATE_CREATING, operation.id
    operation.spec.create_volume.volume.CopyFrom(volume)
    for booked in given.bricks:
        if booked.brick.volume_id == volume.id:
            booked.operation_id = operation.id
            operation.spec.create_volume.volume.bricks.append(booked.brick)
            device = next(each.device for each in given.devices if each.device.id == booked.brick.device_id)
            size = booked.brick.thin_pool_size_bytes + booked.brick.pool_metadata_size_bytes
            device.used_bytes, device.reserved_bytes = device.used_bytes - size, device.reserved_bytes + size
    given.operations.append(operation)
    assert imported(store, given)[1] == []
    assert consistency.check(store)[0] == []

    feed = ChangeFeed()
    (claimed,) = leases.claim(store, feed, owner="gateway-1", lease_s=LEASE_S, limit=0)
    assert (claimed.id, claimed.attempt_count) == (operation.id, 2)
    World(store, clock).abort(claimed)
    assert watching.get(store, operation.id).state == operation_pb2.OPERATION_STATE_FAILED
    assert consistency.check(store)[0] == []
    assert volume.id not in clusters.get(store, volume.cluster_id).volume_ids


# --- the order of bricks ----------------------------------------------------------------------------------------------


def guessed(store: Store, given: records_pb2.Records) -> volume_pb2.Volume:
    """The first volume, with sets and positions exchanged, and marked as guessed."""
    recorded = next(each for each in given.volumes if not each.volume.origin_volume_id and not each.volume.block)
    recorded.volume.brick_order_unknown = True
    assert imported(store, given)[1] == []
    return volumes.get(store, recorded.volume.id)[0]


def test_the_order_that_gluster_has_is_recorded(store: Store, given: records_pb2.Records) -> None:
    volume = guessed(store, given)
    assert volume.brick_order_unknown
    order = [brick.id for brick in reversed(volume.bricks)]
    for _ in range(2):
        brick_order.set_order(store, volume_id=volume.id, brick_ids=order)
        known = volumes.get(store, volume.id)[0]
        assert not known.brick_order_unknown
        assert [brick.id for brick in known.bricks] == order
        assert consistency.check(store)[0] == []


def test_orders_that_can_not_be(store: Store, given: records_pb2.Records) -> None:
    volume = guessed(store, given)
    ids = [brick.id for brick in volume.bricks]
    node = volume.bricks[1].node_id
    twin = next(brick.id for brick in volume.bricks[3:] if brick.node_id == node)
    mixed = [ids[0], ids[1], twin, *(each for each in ids[2:] if each != twin)]
    for order, why in ((ids[:3], "are not the bricks of volume"), (mixed, "on one node twice")):
        with pytest.raises(InvalidArgumentError, match=why):
            brick_order.set_order(store, volume_id=volume.id, brick_ids=order)
    assert volumes.get(store, volume.id)[0] == volume


def test_what_needs_the_order_waits_for_it(store: Store, clock: Clock, given: records_pb2.Records) -> None:
    volume = guessed(store, given)
    world = World(store, clock)
    device = next(
        each.device for each in given.devices if each.device.id not in {b.device_id for b in volume.bricks[:3]}
    )
    for spec in (clone_spec(volume), evict_spec(volume.bricks[0], device)):
        with pytest.raises(FailedPreconditionError, match="run `brickyard adopt` first") as raised:
            world.begin(spec)
        assert raised.value.reason is Reason.BRICK_ORDER_UNKNOWN
    brick_order.set_order(store, volume_id=volume.id, brick_ids=[brick.id for brick in volume.bricks])
    world.begin(clone_spec(volumes.get(store, volume.id)[0]))
