"""Moving a brick, and emptying devices and nodes: what is asked of whom, in which order, and what failures leave."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, volume_pb2
from brickyard.topology.v1.operation_service_pb2 import RemovedBricks
from gateway.operations.kinds.bricks import EvictBrick
from gateway.operations.kinds.removal import SetDeviceState, SetNodeState
from gateway.operations.settings import NodePatience
from gateway.operations.work import Progress, Work
from services.common.errors import BrickyardError, FailedPreconditionError, InternalError, UnavailableError
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import CLUSTER, FakeAgents, node, run, volume

OLD = volume().bricks[1]
NEW = volume_pb2.Brick(id="ee" * 16, volume_id=OLD.volume_id, node_id=node(4).id, device_id="4" * 32, path="/bricks/4")
BEFORE = [f"10.0.0.{number}:/bricks/{number}" for number in (1, 2, 3)]
AFTER = [BEFORE[0], "10.0.0.4:/bricks/4", BEFORE[2]]
FAILED, SUCCEEDED = operation_pb2.OPERATION_STATE_FAILED, operation_pb2.OPERATION_STATE_SUCCEEDED
OFFLINE, ONLINE = device_pb2.DEVICE_STATE_OFFLINE, device_pb2.DEVICE_STATE_ONLINE


@dataclass
class Agents(FakeAgents):
    """Agents around one gluster volume, whose bricks change when one is replaced."""

    bricks: list[str] = field(default_factory=lambda: list(BEFORE))
    pending: dict[str, int] = field(default_factory=dict)
    without_glusterd: set[str] = field(default_factory=set)
    fails_late: bool = False

    async def call(self, hostname: str, method: str, request: Any, *, timeout_s: float = 0, epoch: int = 0) -> Any:
        answer = await super().call(hostname, method, request, timeout_s=timeout_s, epoch=epoch)
        if method == "GetVolume":
            answer.volume.bricks.extend(self.bricks)
        elif method == "GetHealStatus":
            for name in self.bricks:
                answer.bricks.add(name=name, connected=True, pending_count=self.pending.get(name, 0))
        elif method == "ReplaceBrick":
            self.bricks[:] = AFTER
            if self.fails_late:
                raise InternalError(Reason.GLUSTER_FAILED, "the answer got lost")
        elif method == "SettleReplacement":
            answer.replaced = self.bricks == AFTER
        elif method == "GetGlusterd":
            answer.glusterd.running = hostname not in self.without_glusterd
        return answer

    def names(self) -> list[str]:
        return [f"{method} {hostname}" for hostname, method, _ in self.calls()]


@pytest.fixture
def agents() -> Agents:
    return Agents([])


def evict_spec(*, skip: bool = False) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(
        evict_brick=operation_pb2.EvictBrickSpec(brick_id=OLD.id, new_brick=NEW, skip_heal_check=skip, volume=volume())
    )


def work_of(spec: operation_pb2.OperationSpec, agents: FakeAgents, *, attempt: int = 1, **more: Any) -> Work:
    async def list_nodes(_cluster_id: str) -> list[node_pb2.Node]:
        return more.get("nodes") or [node(number) for number in (1, 2, 3, 4)]

    recorded = operation_pb2.Operation(
        id="a" * 32, cluster_id=CLUSTER, spec=spec, attempt_count=attempt, progress=more.get("progress")
    )
    return Work(recorded, agents, list_nodes, Progress(), patience=NodePatience(silence_s=0.0), moves=more.get("moves"))


def test_a_brick_is_made_exchanged_and_removed(agents: Agents) -> None:
    work = work_of(evict_spec(), agents)
    outcome = run(EvictBrick().run(work))
    assert agents.names() == [
        "GetVolume node4",
        "GetVolume node4",
        "GetHealStatus node4",
        "CreateBrick node4",
        "ReplaceBrick node4",
        "SyncBricks node4",
        "GetGlusterd node2",
        "DeleteBrick node2",
    ]
    created, replaced = agents.calls("CreateBrick")[0][2], agents.calls("ReplaceBrick")[0][2]
    assert (created.brick, created.gid) == (NEW, 7)
    assert (replaced.old_brick.hostname, replaced.new_brick.hostname) == ("10.0.0.2", "10.0.0.4")
    assert (replaced.old_brick.path, replaced.brick) == (OLD.path, NEW)
    # The fake node2 keeps the thin pool.
    assert list(outcome.removed_bricks.reclaimed_brick_ids) == []
    assert (work.progress.completed_steps, work.progress.total_steps) == (5, 5)


def test_space_that_came_back_is_told(agents: Agents) -> None:
    spec = evict_spec()
    spec.evict_brick.brick_id = volume().bricks[0].id
    agents.bricks[:] = [AFTER[1], *BEFORE[1:]]
    outcome = run(EvictBrick().run(work_of(spec, agents)))
    assert list(outcome.removed_bricks.reclaimed_brick_ids) == [volume().bricks[0].id]


def test_a_move_goes_on_where_gluster_says_it_stopped(agents: Agents) -> None:
    agents.bricks[:] = AFTER
    run(EvictBrick().run(work_of(evict_spec(), agents, attempt=2)))
    # Not before what the last driver asked for has ended there.
    assert agents.names() == [
        "FenceOperation node4",
        "GetVolume node4",
        "SyncBricks node4",
        "GetGlusterd node2",
        "DeleteBrick node2",
    ]


def test_without_heal_check_only_the_bricks_are_looked_at(agents: Agents) -> None:
    agents.pending[BEFORE[1]] = 9
    run(EvictBrick().run(work_of(evict_spec(skip=True), agents)))
    assert agents.calls("GetHealStatus") == []


def test_the_source_of_a_heal_stays(agents: Agents) -> None:
    agents.pending[BEFORE[1]] = 9
    with pytest.raises(FailedPreconditionError) as error:
        run(EvictBrick().run(work_of(evict_spec(), agents)))
    assert error.value.reason is Reason.BRICK_IS_HEAL_SOURCE
    assert agents.calls("CreateBrick") == []


def test_a_volume_with_other_bricks_is_left_alone(agents: Agents) -> None:
    agents.bricks.append("10.0.0.1:/somebody")
    with pytest.raises(BrickyardError) as error:
        run(EvictBrick().run(work_of(evict_spec(skip=True), agents)))
    assert error.value.reason is Reason.BRICKS_NOT_AS_RECORDED
    assert error.value.message.startswith("Id not found\n")
    assert agents.calls("CreateBrick") == []


@pytest.mark.parametrize("late", [True, False])
def test_a_failed_exchange_counts_only_if_it_did_not_happen(agents: Agents, late: bool) -> None:
    agents.fails_late = late
    if not late:
        agents.failures["node4", "ReplaceBrick"] = [InternalError(Reason.GLUSTER_FAILED, "no")]
    work = work_of(evict_spec(), agents)
    if late:
        run(EvictBrick().run(work))
        assert agents.names()[-1] == "DeleteBrick node2"
        return
    with pytest.raises(InternalError):
        run(EvictBrick().run(work))
    assert agents.calls("DeleteBrick") == []


def test_other_nodes_are_asked_when_the_new_ones_glusterd_is_down(agents: Agents) -> None:
    agents.failures["node4", "GetVolume"] = [FailedPreconditionError(Reason.GLUSTERD_NOT_RUNNING, "down")]
    run(EvictBrick().run(work_of(evict_spec(), agents)))
    assert agents.names()[:2] == ["GetVolume node4", "GetVolume node1"]


def test_what_is_on_a_dead_node_is_left_behind(agents: Agents) -> None:
    agents.down.add("node2")
    work = work_of(evict_spec(skip=True), agents)
    outcome = run(EvictBrick().run(work))
    assert agents.calls("DeleteBrick") == []
    assert outcome.HasField("removed_bricks")
    assert list(outcome.removed_bricks.reclaimed_brick_ids) == []
    assert work.trail.left_brick_ids == {OLD.id}


def test_a_node_without_glusterd_may_keep_what_it_can_not_remove(agents: Agents) -> None:
    agents.without_glusterd.add("node2")
    agents.failures["node2", "DeleteBrick"] = [InternalError(Reason.BRICK_BUSY, "busy")]
    work = work_of(evict_spec(skip=True), agents)
    outcome = run(EvictBrick().run(work))
    assert list(outcome.removed_bricks.reclaimed_brick_ids) == []
    assert work.trail.left_brick_ids == {OLD.id}


def test_a_living_node_has_to_remove_the_old_brick(agents: Agents) -> None:
    agents.failures["node2", "DeleteBrick"] = [InternalError(Reason.LVM_FAILED, "busy")]
    with pytest.raises(InternalError, match="busy"):
        run(EvictBrick().run(work_of(evict_spec(skip=True), agents)))


# The way back


def test_the_new_brick_is_taken_back(agents: Agents) -> None:
    assert run(EvictBrick().undo(work_of(evict_spec(), agents))) is None
    assert agents.names() == ["SettleReplacement node4", "DeleteBrick node4"]
    assert agents.calls("DeleteBrick")[0][2].brick == NEW


def test_behind_the_exchange_there_is_only_forward(agents: Agents) -> None:
    agents.bricks[:] = AFTER
    kept = run(EvictBrick().undo(work_of(evict_spec(), agents)))
    assert kept == RemovedBricks()
    assert agents.names() == ["SettleReplacement node4", "GetGlusterd node2", "DeleteBrick node2"]


def test_a_dead_disk_does_not_hold_the_volume(agents: Agents) -> None:
    agents.bricks[:] = AFTER
    agents.failures["node2", "DeleteBrick"] = [InternalError(Reason.LVM_FAILED, "Input/output error")]
    work = work_of(evict_spec(), agents)
    assert run(EvictBrick().undo(work)) == RemovedBricks()
    assert work.trail.left_brick_ids == {OLD.id}
    # Once it can be removed after all, there is nothing for a clean-up.
    run(EvictBrick().undo(work))
    assert work.trail.left_brick_ids == set()


def test_a_silent_new_node_has_to_come_back_unless_gluster_has_its_brick(agents: Agents) -> None:
    agents.down.add("node4")
    with pytest.raises(UnavailableError):
        run(EvictBrick().undo(work_of(evict_spec(), agents)))
    agents.bricks[:] = AFTER
    assert run(EvictBrick().undo(work_of(evict_spec(), agents))) == RemovedBricks()
    assert agents.names()[-1] == "DeleteBrick node2"


# Devices and nodes


class Moves:
    """Moves in memory: every brick that is asked for is gone at once, unless it is to fail."""

    def __init__(self, devices: Sequence[device_pb2.Device], failing: str = "") -> None:
        self.devices = {device.id: device for device in devices}
        self.failing = failing
        self.begun: list[tuple[str, str]] = []
        self.running: list[operation_pb2.Operation] = []
        self.seen: list[tuple[int, int, str]] = []
        self.progress: Progress | None = None

    async def device(self, device_id: str) -> device_pb2.Device:
        return self.devices[device_id]

    async def devices_of_node(self, _node_id: str) -> Sequence[device_pb2.Device]:
        return list(self.devices.values())

    async def children(self, parent_id: str) -> Sequence[operation_pb2.Operation]:
        assert parent_id == "a" * 32
        return self.running

    def _gone(self, brick_id: str) -> None:
        for device in self.devices.values():
            kept = [brick for brick in device.bricks if brick.id != brick_id]
            del device.bricks[:]
            device.bricks.extend(kept)

    async def evict(self, brick_id: str, *, skip_heal_check: bool, parent_id: str) -> operation_pb2.Operation | None:
        assert (skip_heal_check, parent_id) == (True, "a" * 32)
        self.begun.append(("brick", brick_id))
        if brick_id == "vanished":
            self._gone(brick_id)
            return None
        return self._child(evict_brick=operation_pb2.EvictBrickSpec(brick_id=brick_id))

    async def remove_device(self, device_id: str, *, skip_heal_check: bool, parent_id: str) -> operation_pb2.Operation:
        assert (skip_heal_check, parent_id) == (True, "a" * 32)
        self.begun.append(("device", device_id))
        return self._child(set_device_state=operation_pb2.SetDeviceStateSpec(device_id=device_id))

    @staticmethod
    def _child(**kind: Any) -> operation_pb2.Operation:
        child = operation_pb2.Operation(id="c" * 32, spec=operation_pb2.OperationSpec(**kind))
        child.progress.step, child.progress.node_hostname, child.progress.completed_step_count = "copy", "node7", 1
        return child

    async def ended(
        self, operation: operation_pb2.Operation, on_change: Callable[[operation_pb2.Operation], None]
    ) -> operation_pb2.Operation:
        on_change(operation)
        assert self.progress is not None
        self.seen.append((self.progress.completed_steps, self.progress.total_steps, self.progress.step))
        target = operation.spec.evict_brick.brick_id or operation.spec.set_device_state.device_id
        if target == self.failing:
            error = operation_pb2.OperationError(
                reason="BRICK_QUORUM_NOT_MET", message="no quorum", metadata={"a": "b"}
            )
            return operation_pb2.Operation(state=FAILED, error=error)
        self._gone(target)
        return operation_pb2.Operation(state=SUCCEEDED)


def device(device_id: str, *brick_ids: str, state: int = OFFLINE) -> device_pb2.Device:
    bricks = [volume_pb2.Brick(id=brick_id) for brick_id in brick_ids]
    return device_pb2.Device(id=device_id, state=device_pb2.DeviceState.ValueType(state), bricks=bricks)


def device_work(moves: Moves, *, attempt: int = 1, done: int = 0, **fields: Any) -> Work:
    spec = operation_pb2.SetDeviceStateSpec(
        device_id="d", state=device_pb2.DEVICE_STATE_FAILED, skip_heal_check=True, **fields
    )
    progress = operation_pb2.OperationProgress(total_step_count=done)
    work = work_of(
        operation_pb2.OperationSpec(set_device_state=spec),
        FakeAgents([]),
        attempt=attempt,
        moves=moves,
        progress=progress,
    )
    moves.progress = work.progress
    return work


def test_a_device_is_emptied_brick_by_brick_in_the_order_of_ids() -> None:
    moves = Moves([device("d", "b3", "b1", "b2")])
    run(SetDeviceState().run(device_work(moves)))
    assert moves.begun == [("brick", "b1"), ("brick", "b2"), ("brick", "b3")]
    assert moves.seen == [
        (0, 3, "move brick 1 of 3: copy"),
        (1, 3, "move brick 2 of 3: copy"),
        (2, 3, "move brick 3 of 3: copy"),
    ]


def test_the_first_failure_stops_it() -> None:
    moves = Moves([device("d", "b1", "b2", "b3")], failing="b2")
    with pytest.raises(FailedPreconditionError, match="no quorum") as error:
        run(SetDeviceState().run(device_work(moves)))
    assert (error.value.reason, error.value.metadata) == (Reason.BRICK_QUORUM_NOT_MET, {"a": "b"})
    assert moves.begun == [("brick", "b1"), ("brick", "b2")]


@pytest.mark.parametrize("state", [ONLINE, device_pb2.DEVICE_STATE_FAILED])
def test_nothing_moves_unless_the_device_is_offline(state: int) -> None:
    moves = Moves([device("d", "b1", state=state)])
    run(SetDeviceState().run(device_work(moves)))
    assert moves.begun == []


def test_a_device_of_a_node_that_goes_needs_not_be_offline() -> None:
    moves = Moves([device("d", "b1", state=ONLINE)])
    run(SetDeviceState().run(device_work(moves, parent_operation_id="p" * 32)))
    assert moves.begun == [("brick", "b1")]


def test_a_device_under_another_operation_is_refused_before_anything_moves() -> None:
    moves = Moves([device("d", "b1")])
    with pytest.raises(FailedPreconditionError) as error:
        run(SetDeviceState().run(device_work(moves, blocking_operation_id="o" * 32)))
    assert error.value.reason is Reason.TARGET_BUSY
    assert moves.begun == []


def test_a_take_over_joins_the_brick_on_its_way_and_goes_on_counting() -> None:
    moves = Moves([device("d", "b8", "b9")])
    moves.running = [moves._child(evict_brick=operation_pb2.EvictBrickSpec(brick_id="b7"))]
    run(SetDeviceState().run(device_work(moves, attempt=2, done=9)))
    assert moves.begun == [("brick", "b8"), ("brick", "b9")]
    assert [entry[:2] for entry in moves.seen] == [(6, 9), (7, 9), (8, 9)]


def test_a_brick_that_went_with_its_volume_is_passed_over() -> None:
    moves = Moves([device("d", "vanished", "vbehind")])
    run(SetDeviceState().run(device_work(moves)))
    assert moves.begun == [("brick", "vanished"), ("brick", "vbehind")]


def node_work(moves: Moves, state: int = node_pb2.NODE_STATE_OFFLINE) -> Work:
    leaving = node(1)
    leaving.state = node_pb2.NodeState.ValueType(state)
    spec = operation_pb2.SetNodeStateSpec(node_id=leaving.id, state=node_pb2.NODE_STATE_FAILED, skip_heal_check=True)
    work = work_of(operation_pb2.OperationSpec(set_node_state=spec), FakeAgents([]), moves=moves, nodes=[leaving])
    moves.progress = work.progress
    return work


def test_a_node_is_emptied_device_by_device() -> None:
    empty = device("d0", state=device_pb2.DEVICE_STATE_FAILED)
    moves = Moves([device("d2", "b1"), empty, device("d1", "b2", "b3")])
    run(SetNodeState().run(node_work(moves)))
    assert moves.begun == [("device", "d1"), ("device", "d2")]
    # The child says that one of its bricks is done.
    assert [entry[:2] for entry in moves.seen] == [(1, 3), (3, 3)]


def test_the_device_that_can_not_be_emptied_is_named() -> None:
    moves = Moves([device("d1", "b1"), device("d2")], failing="d1")
    with pytest.raises(FailedPreconditionError) as error:
        run(SetNodeState().run(node_work(moves)))
    assert error.value.metadata == {"a": "b", "device_id": "d1"}
    assert moves.begun == [("device", "d1")]


@pytest.mark.parametrize("state", [node_pb2.NODE_STATE_ONLINE, node_pb2.NODE_STATE_FAILED])
def test_nothing_moves_unless_the_node_is_offline(state: int) -> None:
    moves = Moves([device("d1", "b1")])
    run(SetNodeState().run(node_work(moves, state)))
    assert moves.begun == []


def test_requests_of_the_contract_are_used(agents: Agents) -> None:
    run(EvictBrick().undo(work_of(evict_spec(), agents)))
    assert isinstance(agents.calls()[0][2], executor_pb2.SettleReplacementRequest)
