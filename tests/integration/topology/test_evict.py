"""Moving a brick: what is seen, held and reserved meanwhile, what stays, and what is refused."""

from collections.abc import Callable
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
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology import migrations
from services.topology.usecases import bricks, devices, volumes, watching
from services.topology.usecases.clean_up_operations import clean_up_id
from tests.unit.topology.builders import (
    FAILED,
    METADATA_BYTES,
    OFFLINE,
    OWNER,
    World,
    clone_spec,
    create_spec,
    delete_device_spec,
    delete_spec,
    device_state_spec,
    evict_spec,
    expand_spec,
    more_bricks,
    node_state_spec,
    volume_message,
)

NEEDED = GIB + METADATA_BYTES
UNDOING = operation_pb2.OPERATION_STATE_UNDOING
LEASE = Duration(seconds=30)


def reclaimed(*brick_ids: str) -> operation_service_pb2.RemovedBricks:
    return operation_service_pb2.RemovedBricks(reclaimed_brick_ids=brick_ids)


class Setting:
    """A replicated volume on three nodes, and a device on a fourth."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cluster_id = world.cluster().id
        *self.members, self.spare = world.devices(self.cluster_id, 4)
        made = world.volume(self.cluster_id, self.members, replica_count=3, gid=2000, options=["a.b c"])
        self.volume = volumes.get(world.store, made.id)[0]
        self.brick = self.volume.bricks[1]

    def shown(self) -> volume_pb2.Volume:
        return volumes.get(self.world.store, self.volume.id)[0]

    def space(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Used and reserved bytes of the old brick's device, and of the spare one."""
        return self.world.space(self.brick.device_id), self.world.space(self.spare.id)


@pytest.fixture
def setting(world: World) -> Setting:
    return Setting(world)


def refused(world: World, spec: operation_pb2.OperationSpec, kind: type[BrickyardError]) -> BrickyardError:
    with pytest.raises(kind) as error:
        world.begin(spec)
    assert world.violations() == []
    return error.value


def test_a_brick_moves_when_the_operation_is_committed(setting: Setting) -> None:
    world = setting.world
    operation = world.begin(evict_spec(setting.brick, setting.spare))
    spec = operation.spec.evict_brick
    assert (operation.kind, operation.target_id) == (operation_pb2.OPERATION_KIND_EVICT_BRICK, setting.brick.id)
    assert (operation.cluster_id, spec.volume) == (setting.cluster_id, setting.volume)
    assert spec.new_brick.volume_id == setting.volume.id
    # Until then the volume is as before, and held; the room for the new brick is set aside.
    held = setting.shown()
    assert held.operation_id == operation.id
    held.ClearField("operation_id")
    assert held == setting.volume
    assert setting.space() == ((NEEDED, 0), (0, NEEDED))
    assert devices.get(world.store, setting.brick.device_id)[0].bricks == []
    assert devices.get(world.store, setting.spare.id)[0].bricks == []
    assert world.violations() == []

    world.commit(operation, removed_bricks=reclaimed(setting.brick.id))
    after = setting.shown()
    expected = volume_pb2.Volume()
    expected.CopyFrom(setting.volume)
    expected.bricks[1].CopyFrom(spec.new_brick)
    assert after == expected
    assert setting.space() == ((0, 0), (NEEDED, 0))
    assert [brick.id for brick in devices.get(world.store, setting.spare.id)[0].bricks] == [spec.new_brick.id]
    with pytest.raises(NotFoundError) as gone:
        bricks.get(world.store, setting.brick.id)
    assert gone.value.reason is Reason.BRICK_NOT_FOUND
    assert world.violations() == []
    world.delete(after, reclaimed=True)
    assert world.violations() == []


def test_a_move_that_is_taken_back_leaves_everything_as_it_was(setting: Setting) -> None:
    world = setting.world
    operation = world.begin(evict_spec(setting.brick, setting.spare))
    world.update(operation, state=UNDOING)
    ended = world.abort(operation, error=operation_pb2.OperationError(reason="X", message="no"))
    assert world.abort(operation) == ended
    assert (ended.state, ended.error.message) == (operation_pb2.OPERATION_STATE_FAILED, "no")
    assert setting.shown() == setting.volume
    assert setting.space() == ((NEEDED, 0), (0, 0))
    assert world.violations() == []
    # The same may be planned again.
    world.commit(world.begin(operation_pb2.OperationSpec(evict_brick=operation.spec.evict_brick)), removed_bricks={})
    assert world.violations() == []


def test_a_move_that_failed_behind_the_exchange_is_kept(setting: Setting) -> None:
    world = setting.world
    operation = world.begin(evict_spec(setting.brick, setting.spare))
    world.update(operation, state=UNDOING, error=operation_pb2.OperationError(reason="X", message="busy"))
    ended = world.abort(operation, removed_bricks=reclaimed(setting.brick.id))
    assert (ended.state, ended.error.message) == (operation_pb2.OPERATION_STATE_FAILED, "busy")
    assert setting.shown().bricks[1] == operation.spec.evict_brick.new_brick
    assert setting.space() == ((0, 0), (NEEDED, 0))
    assert world.violations() == []


def test_what_was_left_behind_stays_used_until_the_device_is_given_up(setting: Setting) -> None:
    world = setting.world
    world.commit(world.begin(evict_spec(setting.brick, setting.spare)), removed_bricks={})
    assert setting.space() == ((NEEDED, 0), (NEEDED, 0))
    assert devices.get(world.store, setting.brick.device_id)[0].bricks == []
    assert world.violations() == []
    world.set_device_state(setting.brick.device_id, OFFLINE, FAILED)
    world.commit(world.begin(delete_device_spec(setting.brick.device_id)))
    assert world.violations() == []


@pytest.mark.parametrize("failed", [False, True])
def test_an_old_brick_that_is_removed_late_gives_its_space_back_then(setting: Setting, *, failed: bool) -> None:
    world = setting.world
    operation = world.begin(evict_spec(setting.brick, setting.spare))
    left: dict[str, Any] = {"left_brick_ids": [setting.brick.id], "lease_duration": LEASE, "removed_bricks": {}}
    ended = world.abort(operation, **left) if failed else world.commit(operation, **left)
    assert (world.abort(operation, **left) if failed else world.commit(operation, **left)) == ended
    assert setting.shown().bricks[1] == operation.spec.evict_brick.new_brick
    assert setting.space() == ((NEEDED, 0), (NEEDED, 0))
    assert world.violations() == []
    clean_up = watching.get(world.store, clean_up_id(ended))
    assert (clean_up.kind, clean_up.owner) == (operation_pb2.OPERATION_KIND_CLEAN_UP, OWNER)
    spec = clean_up.spec.clean_up
    assert (spec.origin_operation_id, spec.volume.state) == (operation.id, volume_pb2.VOLUME_STATE_DELETING)
    (old,) = spec.volume.bricks
    assert (old.id, old.path, old.lv_name) == (setting.brick.id, setting.brick.path, setting.brick.lv_name)
    # Nobody sees it, and the volume is free for others.
    listed = volumes.list_page(world.store, cluster_id="", after="", count=10, with_bricks=False)
    assert [each.id for each in listed] == [setting.volume.id]
    with pytest.raises(NotFoundError):
        volumes.get(world.store, spec.volume.id)
    world.delete(setting.shown(), reclaimed=True)
    assert setting.space() == ((NEEDED, 0), (0, 0))
    with pytest.raises(InvalidArgumentError):
        world.commit(clean_up, removed_bricks=reclaimed(setting.volume.bricks[0].id))
    world.commit(clean_up, removed_bricks=reclaimed(setting.brick.id))
    assert setting.space() == ((0, 0), (0, 0))
    assert world.violations() == []


def test_a_late_brick_in_a_pool_that_a_copy_uses_leaves_the_space_to_the_copy(setting: Setting) -> None:
    world = setting.world
    copy = world.clone(setting.volume)
    operation = world.begin(evict_spec(setting.brick, setting.spare))
    ended = world.commit(operation, left_brick_ids=[setting.brick.id], lease_duration=LEASE, removed_bricks={})
    world.commit(watching.get(world.store, clean_up_id(ended)), removed_bricks={})
    assert setting.space() == ((NEEDED, 0), (NEEDED, 0))
    assert world.violations() == []
    world.delete(copy, reclaimed=True)
    assert setting.space() == ((0, 0), (NEEDED, 0))


def test_only_the_moved_brick_can_be_left_and_only_behind_the_exchange(setting: Setting) -> None:
    world = setting.world
    operation = world.begin(evict_spec(setting.brick, setting.spare))
    new_id_ = operation.spec.evict_brick.new_brick.id
    for wrong in (setting.volume.bricks[0].id, new_id_):
        with pytest.raises(InvalidArgumentError):
            world.commit(operation, removed_bricks={}, left_brick_ids=[wrong], lease_duration=LEASE)
    with pytest.raises(InvalidArgumentError):
        world.commit(operation, removed_bricks={}, left_brick_ids=[setting.brick.id])
    with pytest.raises(InvalidArgumentError):
        world.abort(operation, left_brick_ids=[setting.brick.id], lease_duration=LEASE)
    assert world.violations() == []
    world.abort(operation)
    assert setting.shown() == setting.volume


def test_other_kinds_keep_nothing(setting: Setting) -> None:
    more = more_bricks(setting.members, first_set=1, set_size=3)
    operation = setting.world.begin(expand_spec(setting.volume.id, more))
    with pytest.raises(InvalidArgumentError):
        setting.world.abort(operation, removed_bricks={})
    with pytest.raises(InvalidArgumentError):
        setting.world.commit(operation, left_brick_ids=[more[0].id], lease_duration=LEASE)


@pytest.mark.parametrize("failed", [False, True])
def test_bricks_of_a_deleted_volume_are_left_to_a_clean_up(setting: Setting, *, failed: bool) -> None:
    world, (first, second, third) = setting.world, setting.volume.bricks
    operation = world.begin(delete_spec(setting.volume.id))
    with pytest.raises(InvalidArgumentError):
        world.commit(operation)
    left: dict[str, Any] = {"left_brick_ids": [first.id, third.id], "lease_duration": LEASE}
    with pytest.raises(InvalidArgumentError):
        world.abort(operation, **left)
    end = world.abort if failed else world.commit
    ended = end(operation, removed_bricks=reclaimed(second.id), **left)
    with pytest.raises(NotFoundError):
        volumes.get(world.store, setting.volume.id)
    assert [world.space(each.device_id) for each in (first, second, third)] == [(NEEDED, 0), (0, 0), (NEEDED, 0)]
    assert world.violations() == []
    world.commit(watching.get(world.store, clean_up_id(ended)), removed_bricks=reclaimed(first.id, third.id))
    assert [world.space(each.device_id) for each in (first, third)] == [(0, 0), (0, 0)]
    assert world.violations() == []


def test_only_the_moved_brick_can_be_reclaimed(setting: Setting) -> None:
    operation = setting.world.begin(evict_spec(setting.brick, setting.spare))
    with pytest.raises(InvalidArgumentError):
        setting.world.commit(operation, removed_bricks=reclaimed(setting.volume.bricks[0].id))
    with pytest.raises(InvalidArgumentError):
        setting.world.commit(operation)
    assert setting.world.violations() == []


def test_the_old_node_may_take_the_new_brick_on_another_disk(setting: Setting) -> None:
    world = setting.world
    twin = world.device(setting.brick.node_id)
    operation = world.begin(evict_spec(setting.brick, twin))
    assert world.violations() == []
    world.commit(operation, removed_bricks=reclaimed(setting.brick.id))
    assert setting.shown().bricks[1].device_id == twin.id
    assert world.violations() == []


def test_a_pending_brick_or_volume_is_refused_in_heketis_words(setting: Setting) -> None:
    world = setting.world
    first, second = setting.volume.bricks[:2]
    operation = world.begin(evict_spec(second, setting.spare))
    pending = refused(world, evict_spec(second, setting.spare), FailedPreconditionError)
    assert (pending.reason, pending.message) == (
        Reason.BRICK_PENDING,
        f"Can not evict brick {second.id}: brick is pending",
    )
    neighbour = refused(world, evict_spec(first, setting.spare), FailedPreconditionError)
    assert (neighbour.reason, neighbour.message) == (
        Reason.BRICK_PENDING,
        f"Can not evict brick {first.id} from volume {setting.volume.id}: volume has pending bricks",
    )
    assert neighbour.metadata["operation_id"] == operation.id


@pytest.mark.parametrize("what", ["expand", "clone", "delete"])
def test_a_volume_under_another_operation_is_refused(setting: Setting, what: str) -> None:
    world = setting.world
    world.begin(
        {
            "expand": lambda: expand_spec(setting.volume.id, more_bricks(setting.members, first_set=1, set_size=3)),
            "clone": lambda: clone_spec(setting.volume),
            "delete": lambda: delete_spec(setting.volume.id),
        }[what]()
    )
    error = refused(world, evict_spec(setting.brick, setting.spare), FailedPreconditionError)
    assert error.reason is Reason.BRICK_PENDING


def test_nothing_else_is_done_to_a_volume_whose_brick_moves(setting: Setting) -> None:
    world = setting.world
    world.begin(evict_spec(setting.brick, setting.spare))
    for other in (
        expand_spec(setting.volume.id, more_bricks(setting.members, first_set=1, set_size=3)),
        clone_spec(setting.volume),
        delete_spec(setting.volume.id),
    ):
        assert refused(world, other, FailedPreconditionError).reason is Reason.TARGET_BUSY


@pytest.mark.parametrize(
    "wrong", [{"set_index": 1}, {"position": 0}, {"size_bytes": GIB // 2}, {"role": volume_pb2.BRICK_ROLE_ARBITER}]
)
def test_the_new_brick_has_the_place_and_size_of_the_old(setting: Setting, wrong: dict[str, Any]) -> None:
    refused(setting.world, evict_spec(setting.brick, setting.spare, **wrong), InvalidArgumentError)


def test_the_same_device_is_no_other_place(setting: Setting) -> None:
    refused(setting.world, evict_spec(setting.brick, setting.members[1]), InvalidArgumentError)


def make_full(world: World, device: device_pb2.Device) -> None:
    world.volume(device_cluster(world, device), [device], size_bytes=99 * GIB)


def device_cluster(world: World, device: device_pb2.Device) -> str:
    return devices.get(world.store, device.id)[1].cluster_id


def full(it: Setting) -> device_pb2.Device:
    make_full(it.world, it.spare)
    return it.spare


def offline(it: Setting) -> device_pb2.Device:
    it.world.set_device_state(it.spare.id, OFFLINE)
    return it.spare


def node_offline(it: Setting) -> device_pb2.Device:
    it.world.set_node_state(it.spare.node_id, 2)
    return it.spare


STALE: dict[str, Callable[[Setting], device_pb2.Device]] = {
    "full": full,
    "offline": offline,
    "node offline": node_offline,
    "node of the set": lambda it: it.world.device(it.members[0].node_id),
    "of another cluster": lambda it: it.world.devices(it.world.cluster().id, 1)[0],
}


@pytest.mark.parametrize("why", STALE)
def test_a_stale_plan_is_refused(setting: Setting, why: str) -> None:
    target = STALE[why](setting)
    error = refused(setting.world, evict_spec(setting.brick, target), AbortedError)
    assert error.reason is Reason.PLAN_OUTDATED
    assert setting.shown() == setting.volume


def test_unknown_bricks_and_those_being_made_do_not_move(setting: Setting) -> None:
    world = setting.world
    unknown = volume_pb2.Brick()
    unknown.CopyFrom(setting.brick)
    unknown.id = new_id()
    made = volume_message(setting.cluster_id, [setting.spare])
    world.begin(create_spec(made))
    for brick in (unknown, made.bricks[0]):
        assert refused(world, evict_spec(brick, setting.members[0]), NotFoundError).reason is Reason.BRICK_NOT_FOUND
        with pytest.raises(NotFoundError):
            bricks.get(world.store, brick.id)


def test_a_brick_is_shown_with_its_volume(setting: Setting) -> None:
    assert bricks.get(setting.world.store, setting.brick.id) == (setting.brick, setting.volume)


def test_a_move_takes_a_slot_unless_it_belongs_to_another_operation(setting: Setting) -> None:
    world = setting.world
    other = volumes.get(world.store, world.volume(setting.cluster_id, setting.members, replica_count=3).id)[0]
    world.begin(evict_spec(setting.brick, setting.spare), max_in_flight=1)
    with pytest.raises(ResourceExhaustedError):
        world.begin(evict_spec(other.bricks[0], setting.spare), max_in_flight=1)
    world.begin(evict_spec(other.bricks[0], setting.spare, parent_id=new_id()), max_in_flight=0)


def test_the_space_of_a_pool_that_a_copy_uses_too_stays(setting: Setting) -> None:
    world = setting.world
    copy = world.clone(setting.volume)
    world.commit(world.begin(evict_spec(setting.brick, setting.spare)), removed_bricks={})
    assert setting.space() == ((NEEDED, 0), (NEEDED, 0))
    assert world.violations() == []
    # The copy's brick is the last one in the old pool.
    twin = world.devices(setting.cluster_id, 1)[0]
    world.commit(world.begin(evict_spec(copy.bricks[1], twin)), removed_bricks=reclaimed(copy.bricks[1].id))
    assert setting.space() == ((0, 0), (NEEDED, 0))
    assert world.space(twin.id) == (NEEDED, 0)
    assert world.violations() == []
    for volume in (setting.shown(), volumes.get(world.store, copy.id)[0]):
        world.delete(volume, reclaimed=True)
    assert world.violations() == []


# Devices that are given up


def test_who_gives_up_a_device_is_told_what_blocks_it(setting: Setting) -> None:
    world = setting.world
    moving = world.begin(evict_spec(setting.brick, setting.spare))
    for device_id in (setting.brick.device_id, setting.spare.id):
        world.set_device_state(device_id, OFFLINE)
        operation = world.begin(device_state_spec(device_id, FAILED))
        assert operation.spec.set_device_state.blocking_operation_id == moving.id
        with pytest.raises(FailedPreconditionError) as busy:
            world.commit(operation)
        assert busy.value.reason is Reason.TARGET_BUSY
        world.abort(operation)
    world.commit(moving, removed_bricks=reclaimed(setting.brick.id))
    operation = world.begin(device_state_spec(setting.brick.device_id, FAILED))
    assert operation.spec.set_device_state.blocking_operation_id == ""
    world.commit(operation)
    assert world.violations() == []


def test_a_device_of_a_node_that_is_given_up_may_have_any_state(setting: Setting) -> None:
    world = setting.world
    spec = device_state_spec(setting.spare.id, FAILED)
    spec.set_device_state.parent_operation_id = new_id()
    world.commit(world.begin(spec))
    assert devices.get(world.store, setting.spare.id)[0].state == FAILED
    world.set_node_state(setting.spare.node_id, 2)
    world.commit(world.begin(node_state_spec(setting.spare.node_id, 3)))
    assert world.violations() == []


# The schema before


@pytest.mark.parametrize("ended", ["committed", "aborted"])
def test_a_move_must_end_before_the_schema_goes_back(setting: Setting, ended: str) -> None:
    world = setting.world
    operation = world.begin(evict_spec(setting.brick, setting.spare))
    with pytest.raises(RuntimeError, match="operations that revision 0003 does not know are not finished"):
        world.store.write(lambda tx: migrations.downgrade(tx.connection, "0003"))
    assert world.violations() == []
    if ended == "committed":
        world.commit(operation, removed_bricks=reclaimed(setting.brick.id))
    else:
        world.abort(operation)
    before = setting.shown()
    world.store.write(lambda tx: migrations.downgrade(tx.connection, "0003"))
    world.store.write(lambda tx: migrations.upgrade(tx.connection))
    assert setting.shown() == before
    assert world.violations() == []
    # And the rules of places hold again.
    world.begin(evict_spec(before.bricks[0], setting.spare if ended == "aborted" else setting.members[1]))
    assert world.violations() == []
