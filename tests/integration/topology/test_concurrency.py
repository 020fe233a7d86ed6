"""What happens at the same time: the last space, the last slot, names, claims, repeated requests."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa

from brickyard.topology.v1 import operation_pb2
from services.common.errors import (
    AbortedError,
    AlreadyExistsError,
    BrickyardError,
    FailedPreconditionError,
    ResourceExhaustedError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.store import Store, Transaction
from services.topology.tables import OPERATION
from services.topology.usecases import clusters, inventory, leases, operations, watching
from tests.unit.topology.builders import (
    EXTENT,
    LEASE_S,
    METADATA_BYTES,
    OWNER,
    Clock,
    World,
    add_node_spec,
    create_spec,
    node_message,
    volume_message,
)

NEEDED = GIB + METADATA_BYTES


@pytest.fixture
def second(database: str, clock: Clock, world: World) -> World:
    """Another server on the same database; `world` is the first."""
    del world
    return World(Store(database, clock=clock), clock)


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Lets all calls go at the same moment; gives what each answered or raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait(timeout=10)
        try:
            return call()
        except BrickyardError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls, timeout=60))


def errors_in(results: Sequence[object]) -> list[type]:
    return [type(result) for result in results if isinstance(result, BrickyardError)]


@pytest.mark.parametrize("servers", [1, 2])
def test_the_last_space_is_reserved_once(world: World, second: World, servers: int) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1, total_bytes=2 * NEEDED + EXTENT)[0]
    with closing(second.store):
        worlds = [world, second if servers == 2 else world] * 3
        results = at_once(
            *(lambda each=each: each.begin(create_spec(volume_message(cluster.id, [device]))) for each in worlds)
        )
        assert errors_in(results) == [AbortedError] * 4
        assert world.violations() == []


def test_the_last_slot_is_taken_once(world: World, second: World) -> None:
    # Two clusters: their locks do not serialise the callers.
    made = [world.cluster(), world.cluster()]
    specs = [create_spec(volume_message(each.id, world.devices(each.id, 1))) for each in made]
    with closing(second.store):
        results = at_once(
            lambda: world.begin(specs[0], max_in_flight=1), lambda: second.begin(specs[1], max_in_flight=1)
        )
    assert errors_in(results) == [ResourceExhaustedError]


def test_a_name_is_taken_once(world: World, second: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    with closing(second.store):
        results = at_once(
            *(
                lambda each=each: each.begin(create_spec(volume_message(cluster.id, [device], name="data")))
                for each in (world, second)
            )
        )
    assert errors_in(results) == [AlreadyExistsError]


def test_a_host_name_is_taken_once(world: World, second: World) -> None:
    made = [world.cluster(), world.cluster()]
    with closing(second.store):
        results = at_once(
            *(
                lambda pair=pair: pair[0].begin(add_node_spec(node_message(pair[1].id, manage_hostnames=["x"])))
                for pair in zip((world, second), made, strict=True)
            )
        )
    assert errors_in(results) == [AlreadyExistsError]
    assert world.violations() == []


def test_a_request_that_is_sent_twice_at_once_is_done_once(world: World, second: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]

    def begin(each: World) -> tuple[str, bool]:
        spec = create_spec(volume_message(cluster.id, [device], name="data"))
        asked = operations.NewOperation(request_id="same", spec=spec, owner=OWNER, lease_s=LEASE_S)
        operation, replayed = operations.begin(each.store, asked)
        return operation.id, replayed

    with closing(second.store):
        results = at_once(*(lambda each=each: begin(each) for each in (world, second, world, second)))
    assert errors_in(results) == []
    assert len({answer[0] for answer in results if isinstance(answer, tuple)}) == 1
    assert sorted(answer[1] for answer in results if isinstance(answer, tuple)) == [False, True, True, True]


def test_a_cluster_that_is_asked_for_twice_at_once_is_made_once(world: World, second: World) -> None:
    def create(each: World) -> str:
        return clusters.create(each.store, request_id="same", file_enabled=True, block_enabled=True).id

    with closing(second.store):
        results = at_once(*(lambda each=each: create(each) for each in (world, second)))
    assert len(set(results)) == 1
    assert errors_in(results) == []


def test_two_claimers_share_what_there_is(world: World, second: World) -> None:
    cluster = world.cluster()
    begun = {world.begin(add_node_spec(node_message(cluster.id))).id for _ in range(10)}
    world.clock.forward(LEASE_S + 1)

    def claim(each: World, owner: str) -> list[str]:
        found = leases.claim(each.store, each.feed, owner=owner, lease_s=LEASE_S, limit=100)
        return [operation.id for operation in found]

    with closing(second.store):
        results = at_once(
            *(lambda each=each, n=n: claim(each, f"g{n}") for n, each in enumerate((world, second, world, second)))
        )
    claimed = [operation_id for answer in results if isinstance(answer, list) for operation_id in answer]
    assert sorted(claimed) == sorted(begun)


def test_a_commit_and_a_claim_do_not_both_win(world: World, second: World) -> None:
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    world.clock.forward(LEASE_S + 1)
    with closing(second.store):
        committed, claimed = at_once(
            lambda: world.commit(operation),
            lambda: leases.claim(second.store, second.feed, owner="other", lease_s=LEASE_S, limit=1),
        )
    assert isinstance(committed, BrickyardError) is bool(claimed)
    assert world.violations() == []


def wait_until_blocked(store: Store) -> None:
    """Until somebody waits for a lock of PostgreSQL; SQLite does not tell, and holds every writer anyway."""
    if store.is_sqlite:
        return
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = time.monotonic() + 20
    while not store.read(lambda tx: tx.scalar(waiting)):
        assert time.monotonic() < deadline, "nobody waits for the lock"


@pytest.mark.parametrize("act", ["commit", "abort", "update"])
def test_an_owner_that_loses_its_operation_while_it_waits_is_refused(world: World, second: World, act: str) -> None:
    """Another server has taken the operation over, and its transaction ends while the owner's call waits for it."""
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    calls = {"commit": world.commit, "abort": world.abort, "update": world.update}
    with closing(second.store), ThreadPoolExecutor(1) as pool:

        def take_over(tx: Transaction) -> Future[object]:
            tx.run(sa.update(OPERATION).where(OPERATION.c.id == operation.id).values(owner="other"))
            waiting: Future[object] = pool.submit(calls[act], operation)
            wait_until_blocked(second.store)
            return waiting

        late = second.store.write(take_over)
        with pytest.raises(FailedPreconditionError) as lost:
            late.result(timeout=30)
    assert lost.value.reason is Reason.LEASE_LOST
    assert watching.get(world.store, operation.id).state == operation_pb2.OPERATION_STATE_PENDING
    assert world.violations() == []


def test_many_at_once_keep_the_books_and_the_inventory(world: World, second: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 4, total_bytes=20 * NEEDED)
    stop = threading.Event()
    torn: list[str] = []

    def churn(each: World, seed: int) -> None:
        for turn in range(12):
            volume = volume_message(cluster.id, [devices[seed], devices[(seed + 1) % 4]], replica_count=2)
            try:
                operation = each.begin(create_spec(volume), request_id=new_id())
            except AbortedError:
                continue
            if turn % 3:
                each.commit(operation)
            else:
                each.abort(operation)

    def follow() -> None:
        revision, free = 0, {}
        while True:
            last = stop.is_set()
            answer = inventory.get(second.store, cluster.id, since_revision=revision)
            revision = answer.revision
            free.update({device.id: device.free_bytes for device in answer.devices})
            if last:
                break
        whole = inventory.get(second.store, cluster.id, since_revision=0)
        if free != {device.id: device.free_bytes for device in whole.devices}:
            torn.append(f"{free} is not {whole}")

    with closing(second.store):
        follower = threading.Thread(target=follow)
        follower.start()
        results = at_once(*(lambda n=n: churn((world, second)[n % 2], n) for n in range(4)))
        stop.set()
        follower.join(timeout=30)
        assert not follower.is_alive()
        assert errors_in(results) == []
        assert torn == []
        assert world.violations() == []
