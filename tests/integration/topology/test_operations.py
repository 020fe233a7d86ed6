"""The life of operations: repetition, ownership, leases, limits, lists."""

import queue
import threading
from collections.abc import Callable

import pytest

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.topology.usecases import leases, operations, volumes, watching
from tests.unit.topology.builders import (
    LEASE_S,
    OWNER,
    World,
    add_node_spec,
    create_spec,
    delete_spec,
    device_state_spec,
    node_message,
    node_state_spec,
    volume_message,
)

RUNNING = operation_pb2.OPERATION_STATE_RUNNING
UNDOING = operation_pb2.OPERATION_STATE_UNDOING
SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED


def calls(*wanted: Callable[[], object]) -> tuple[Callable[[], object], ...]:
    return wanted


def asked(spec: operation_pb2.OperationSpec, request_id: str) -> operations.NewOperation:
    return operations.NewOperation(request_id=request_id, spec=spec, owner=OWNER, lease_s=LEASE_S)


def claim(world: World, owner: str, limit: int = 0) -> list[str]:
    found = leases.claim(world.store, world.feed, owner=owner, lease_s=LEASE_S, limit=limit)
    return [operation.id for operation in found]


def test_an_operation_is_recorded_as_asked(world: World) -> None:
    cluster = world.cluster()
    volume = volume_message(cluster.id, world.devices(cluster.id, 1))
    operation = world.begin(create_spec(volume), request_id="r-1")
    assert operation.kind == operation_pb2.OPERATION_KIND_CREATE_VOLUME
    assert (operation.target_id, operation.cluster_id) == (volume.id, cluster.id)
    assert (operation.state, operation.owner) == (operation_pb2.OPERATION_STATE_PENDING, OWNER)
    assert operation.lease_expire_time.ToMicroseconds() == world.clock.now_us + int(LEASE_S * 1e6)
    assert (operation.request_id, operation.attempt_count, operation.revision) == ("r-1", 1, 1)
    assert not operation.HasField("error")
    assert not operation.HasField("end_time")
    assert watching.get(world.store, operation.id) == operation


def test_a_repeated_request_gives_the_first_operation(world: World) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 2)
    first, replayed = operations.begin(world.store, asked(create_spec(volume_message(cluster.id, devices[:1])), "r"))
    assert not replayed
    # The gateway has planned again: another id, another device.
    planned_again = create_spec(volume_message(cluster.id, devices[1:]))
    assert operations.begin(world.store, asked(planned_again, "r")) == (first, True)
    done = world.commit(first)
    assert operations.begin(world.store, asked(planned_again, "r")) == (done, True)
    assert world.violations() == []


def test_a_repeated_delete_gives_the_first_operation_although_the_volume_is_gone(world: World) -> None:
    cluster = world.cluster()
    volume = world.volume(cluster.id, world.devices(cluster.id, 1))
    first, _ = operations.begin(world.store, asked(delete_spec(volume.id), "r"))
    assert operations.begin(world.store, asked(delete_spec(volume.id), "r")) == (first, True)
    done = world.commit(first, removed_bricks=operation_service_pb2.RemovedBricks())
    assert operations.begin(world.store, asked(delete_spec(volume.id), "r")) == (done, True)


@pytest.mark.parametrize("change", ["name", "size", "kind"])
def test_a_request_id_is_for_one_request(world: World, change: str) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)
    world.begin(create_spec(volume_message(cluster.id, device)), request_id="r")
    specs = {
        "name": create_spec(volume_message(cluster.id, device, name="data")),
        "size": create_spec(volume_message(cluster.id, device, size_bytes=2**31)),
        "kind": add_node_spec(node_message(cluster.id)),
    }
    with pytest.raises(InvalidArgumentError) as reused:
        world.begin(specs[change], request_id="r")
    assert reused.value.reason is Reason.REQUEST_ID_REUSED


def test_a_request_needs_an_id_an_owner_a_lease_and_a_kind(world: World) -> None:
    spec = add_node_spec(node_message(world.cluster().id))
    for wrong in (
        operations.NewOperation(request_id="", spec=spec, owner=OWNER, lease_s=LEASE_S),
        operations.NewOperation(request_id="x" * 65, spec=spec, owner=OWNER, lease_s=LEASE_S),
        operations.NewOperation(request_id="r", spec=spec, owner="", lease_s=LEASE_S),
        operations.NewOperation(request_id="r", spec=spec, owner=OWNER, lease_s=0.5),
        operations.NewOperation(request_id="r", spec=spec, owner=OWNER, lease_s=601),
        operations.NewOperation(request_id="r", spec=operation_pb2.OperationSpec(), owner=OWNER, lease_s=LEASE_S),
    ):
        with pytest.raises(InvalidArgumentError):
            operations.begin(world.store, wrong)


def test_progress_is_stored(world: World) -> None:
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    progress = operation_pb2.OperationProgress(
        completed_step_count=1, total_step_count=3, step="create brick", node_hostname="m1"
    )
    world.clock.forward(1)
    changed = world.update(operation, state=RUNNING, progress=progress)
    assert (changed.state, changed.progress, changed.revision) == (RUNNING, progress, 2)
    assert changed.update_time.ToMicroseconds() == world.clock.now_us
    error = operation_pb2.OperationError(reason="LVM_FAILED", message="no")
    changed = world.update(operation, state=UNDOING, error=error)
    assert (changed.state, changed.error, changed.progress) == (UNDOING, error, progress)
    ended = world.abort(operation)
    assert (ended.state, ended.error) == (FAILED, error)
    assert ended.end_time.ToMicroseconds() == world.clock.now_us


def test_an_operation_does_not_go_back(world: World) -> None:
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    world.update(operation, state=UNDOING)
    for wrong in calls(
        lambda: world.update(operation, state=RUNNING),
        lambda: world.update(operation, state=SUCCEEDED),
        lambda: world.commit(operation),
    ):
        with pytest.raises(FailedPreconditionError):
            wrong()


def test_ends_are_final_and_repeatable(world: World) -> None:
    cluster = world.cluster()
    good, bad = (world.begin(add_node_spec(node_message(cluster.id))) for _ in range(2))
    assert world.commit(good) == world.commit(good)
    assert world.abort(bad) == world.abort(bad)
    for wrong in calls(
        lambda: world.abort(good),
        lambda: world.commit(bad),
        lambda: world.update(good, state=RUNNING),
        lambda: world.update(bad),
    ):
        with pytest.raises(FailedPreconditionError) as ended:
            wrong()
        assert ended.value.reason is Reason.OPERATION_ENDED


def test_unknown_operations_are_not_found(world: World) -> None:
    nobody = operation_pb2.Operation(id=new_id())
    for call in calls(
        lambda: watching.get(world.store, nobody.id),
        lambda: world.commit(nobody),
        lambda: world.abort(nobody),
        lambda: world.update(nobody),
    ):
        with pytest.raises(NotFoundError) as unknown:
            call()
        assert unknown.value.reason is Reason.OPERATION_NOT_FOUND


def test_only_the_owner_drives(world: World) -> None:
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    assert claim(world, "gateway-2") == []
    world.clock.forward(LEASE_S + 1)
    # Nobody has claimed it: the owner may go on.
    world.update(operation, state=RUNNING)
    assert claim(world, "gateway-2") == [operation.id]
    for late in calls(
        lambda: world.update(operation, state=RUNNING),
        lambda: world.commit(operation),
        lambda: world.abort(operation),
    ):
        with pytest.raises(FailedPreconditionError) as lost:
            late()
        assert lost.value.reason is Reason.LEASE_LOST
        assert lost.value.metadata["owner"] == "gateway-2"
    done = world.commit(operation, owner="gateway-2")
    assert (done.owner, done.attempt_count) == ("gateway-2", 2)
    # The first owner learns that it is done.
    assert world.commit(operation) == done


def test_leases_are_renewed_and_losses_named(world: World) -> None:
    cluster = world.cluster()
    kept, lost, ended = (world.begin(add_node_spec(node_message(cluster.id))) for _ in range(3))
    world.commit(ended)
    world.clock.forward(LEASE_S - 1)
    everything = [kept.id, lost.id, ended.id]
    assert leases.renew(world.store, owner=OWNER, operation_ids=[kept.id, ended.id], lease_s=LEASE_S).lost == []
    world.clock.forward(2)
    assert claim(world, "gateway-2") == [lost.id]
    unknown = new_id()
    named = leases.renew(world.store, owner=OWNER, operation_ids=[*everything, unknown], lease_s=LEASE_S)
    assert named.lost == sorted([lost.id, unknown])
    assert watching.get(world.store, kept.id).revision == 3


def test_claims_take_the_oldest_first(world: World) -> None:
    cluster = world.cluster()
    begun = []
    for _ in range(3):
        begun.append(world.begin(add_node_spec(node_message(cluster.id))).id)
        world.clock.forward(1)
    world.clock.forward(LEASE_S)
    assert claim(world, "b", limit=2) == begun[:2]
    assert claim(world, "c") == begun[2:]
    assert claim(world, "d") == []
    for limit in (-1, 101):
        with pytest.raises(InvalidArgumentError):
            claim(world, "d", limit=limit)


def test_slots_are_counted(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    spec = create_spec(volume_message(cluster.id, [device]))
    first = world.begin(spec, max_in_flight=1)
    # Kinds that move no data do not count, and are not held up.
    world.begin(add_node_spec(node_message(cluster.id)), max_in_flight=1)
    world.abort(world.begin(device_state_spec(device.id, 2), max_in_flight=1))
    world.abort(world.begin(node_state_spec(device.node_id, 2), max_in_flight=1))
    for counted in (
        create_spec(volume_message(cluster.id, [device])),
        device_state_spec(device.id, 3),
        node_state_spec(device.node_id, 3),
    ):
        with pytest.raises(ResourceExhaustedError) as full:
            world.begin(counted, max_in_flight=1)
        assert full.value.reason is Reason.TOO_MANY_OPERATIONS
    # A repeated request is answered even when all slots are taken.
    assert operations.begin(world.store, asked(spec, first.request_id))[1]
    world.commit(first)
    world.begin(create_spec(volume_message(cluster.id, [device])), max_in_flight=1)
    with pytest.raises(ResourceExhaustedError):
        world.begin(create_spec(volume_message(cluster.id, [device])), max_in_flight=1)


def test_what_does_not_exist_is_said_before_the_limit(world: World) -> None:
    cluster = world.cluster()
    world.begin(create_spec(volume_message(cluster.id, world.devices(cluster.id, 1))), max_in_flight=1)
    with pytest.raises(NotFoundError):
        world.begin(delete_spec(new_id()), max_in_flight=1)


def test_an_operation_that_nobody_drives_holds_no_slot(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    world.update(world.begin(create_spec(volume_message(cluster.id, [device])), max_in_flight=1), state=UNDOING)
    world.clock.forward(LEASE_S + 1)
    world.begin(create_spec(volume_message(cluster.id, [device])), max_in_flight=1)


def test_lists_are_newest_first(world: World) -> None:
    cluster = world.cluster()
    begun = []
    for index in range(5):
        begun.append(world.begin(add_node_spec(node_message(cluster.id))))
        # Two of the same moment must not fall between two pages.
        world.clock.forward(index % 2)
    world.commit(begun[2])
    found: list[str] = []
    token = ""
    for _ in range(3):
        page, token = watching.list_page(world.store, page_token=token, count=2, unfinished_only=False)
        found.extend(operation.id for operation in page)
    assert token == ""
    assert sorted(found) == sorted(operation.id for operation in begun)
    times = [watching.get(world.store, each).create_time.ToMicroseconds() for each in found]
    assert times == sorted(times, reverse=True)
    unfinished, token = watching.list_page(world.store, page_token="", count=100, unfinished_only=True)
    assert begun[2].id not in [operation.id for operation in unfinished]
    assert (len(unfinished), token) == (4, "")
    for wrong in ("!", "bm90aGluZw=="):
        with pytest.raises(InvalidArgumentError) as bad:
            watching.list_page(world.store, page_token=wrong, count=2, unfinished_only=False)
        assert bad.value.reason is Reason.INVALID_PAGE_TOKEN


def test_a_watcher_is_told_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking by itself: only what this process publishes can wake it."""
    monkeypatch.setattr(watching, "LOOK_INTERVAL_S", 3600.0)
    operation = world.begin(add_node_spec(node_message(world.cluster().id)))
    seen: queue.Queue[operation_pb2.Operation | None] = queue.Queue()

    def follow() -> None:
        watched = watching.watch(
            world.store, world.feed, operation.id, on_leave=lambda _wake: True, is_active=lambda: True
        )
        for state in watched:
            seen.put(state)
        seen.put(None)

    # A daemon: a watcher that is never woken shall fail the test, not hold the run.
    threading.Thread(target=follow, daemon=True).start()
    assert seen.get(timeout=10) == operation
    running = world.update(operation, state=RUNNING)
    assert seen.get(timeout=10) == running
    world.clock.forward(LEASE_S + 1)
    assert claim(world, "gateway-2") == [operation.id]
    claimed = seen.get(timeout=10)
    assert claimed is not None
    assert claimed.owner == "gateway-2"
    assert seen.empty()
    assert world.commit(operation, owner="gateway-2") == seen.get(timeout=10)
    assert seen.get(timeout=10) is None


def test_ended_operations_are_kept_for_a_day(world: World) -> None:
    cluster = world.cluster()
    ended, running = (world.begin(add_node_spec(node_message(cluster.id))) for _ in range(2))
    world.commit(ended)
    world.clock.forward(24 * 3600 - 1)
    assert leases.prune(world.store) == 0
    world.clock.forward(2)
    assert leases.prune(world.store) == 1
    with pytest.raises(NotFoundError):
        watching.get(world.store, ended.id)
    assert watching.get(world.store, running.id) == running


def test_two_operations_do_not_hold_one_target(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    for spec in (device_state_spec(device.id, 2), node_state_spec(device.node_id, 2)):
        first = world.begin(spec)
        with pytest.raises(FailedPreconditionError) as busy:
            world.begin(spec)
        assert busy.value.reason is Reason.TARGET_BUSY
        world.commit(first)
        world.commit(world.begin(spec))
    volume = world.volume(cluster.id, world.devices(cluster.id, 1))
    assert volumes.get(world.store, volume.id)
    with pytest.raises(AlreadyExistsError):
        world.begin(add_node_spec(node_message(cluster.id, id=device.node_id)))
