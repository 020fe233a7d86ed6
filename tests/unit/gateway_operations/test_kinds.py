"""What each kind asks of the nodes, and what it makes of their answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from brickyard.topology.v1 import node_pb2, operation_pb2
from brickyard.topology.v1.operation_service_pb2 import RemovedBricks
from gateway.operations.kinds import KINDS
from gateway.operations.settings import NodePatience
from gateway.operations.work import Progress, Work
from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    NotFoundError,
    UnavailableError,
)
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import CLUSTER, KIND_OF, FakeAgents, node, run, spec

UNREACHABLE = UnavailableError(Reason.AGENT_UNREACHABLE, "gone")


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents([])


def work_of(
    kind: str,
    agents: FakeAgents,
    *,
    numbers: Sequence[int] = (1, 2, 3),
    force_forget: bool = False,
    silence_s: float = 0.0,
) -> Work:
    async def list_nodes(cluster_id: str) -> list[node_pb2.Node]:
        assert cluster_id == CLUSTER
        return [node(number) for number in numbers]

    recorded = operation_pb2.Operation(
        id="a" * 32, kind=KIND_OF[kind], cluster_id=CLUSTER, spec=spec(kind, force_forget=force_forget)
    )
    return Work(recorded, agents, list_nodes, Progress(), patience=NodePatience(silence_s=silence_s))


def kind_of(work: Work):  # type: ignore[no-untyped-def] # the protocol's name says it
    return KINDS[work.operation.kind]


def asked(agents: FakeAgents) -> list[tuple[str, str]]:
    """What was changed on the nodes; fences change nothing."""
    return [(hostname, method) for hostname, method, _ in agents.calls() if method != "FenceOperation"]


def test_create_makes_bricks_on_their_nodes_and_then_the_volume(agents: FakeAgents) -> None:
    work = work_of("create_volume", agents)
    run(kind_of(work).run(work))
    assert sorted(asked(agents)[:3]) == [(f"node{number}", "CreateBrick") for number in (1, 2, 3)]
    assert {request.gid for _, _, request in agents.calls("CreateBrick")} == {7}
    (hostname, _, request) = agents.calls("CreateVolume")[0]
    assert hostname == "node1"
    assert [(brick.hostname, brick.path) for brick in request.bricks] == [
        (f"10.0.0.{number}", f"/bricks/{number}") for number in (1, 2, 3)
    ]
    # Unset server-wide lists count as an empty option, which gluster is not asked to set.
    assert (list(request.options), request.name, request.volume_id) == (["a b"], "vol", "f" * 32)
    assert (work.progress.completed_steps, work.progress.total_steps) == (7, 7)


def test_create_asks_for_no_volume_when_a_brick_fails(agents: FakeAgents) -> None:
    agents.failures["node3", "CreateBrick"] = [InternalError(Reason.LVM_FAILED, "no")]
    work = work_of("create_volume", agents)
    with pytest.raises(InternalError):
        run(kind_of(work).run(work))
    assert agents.calls("CreateVolume") == []
    assert work.progress.completed_steps == 2


def test_delete_tells_which_space_came_back(agents: FakeAgents) -> None:
    work = work_of("delete_volume", agents)
    outcome = run(kind_of(work).run(work))
    assert asked(agents)[0] == ("node1", "DeleteVolume")
    # The pool of node2's brick is still used by another.
    assert list(outcome.removed_bricks.reclaimed_brick_ids) == ["01" * 16, "03" * 16]


def test_the_volume_is_deleted_through_any_node_that_answers(agents: FakeAgents) -> None:
    agents.failures["node1", "DeleteVolume"] = [UNREACHABLE]
    work = work_of("delete_volume", agents)
    run(kind_of(work).run(work))
    assert asked(agents)[:2] == [("node1", "DeleteVolume"), ("node2", "DeleteVolume")]
    assert len(agents.calls("DeleteBrick")) == 3


def test_what_gluster_refuses_is_not_asked_of_another_node(agents: FakeAgents) -> None:
    agents.failures["node1", "DeleteVolume"] = [InternalError(Reason.GLUSTER_FAILED, "locked")]
    work = work_of("delete_volume", agents)
    with pytest.raises(InternalError, match="locked"):
        run(kind_of(work).run(work))
    assert asked(agents) == [("node1", "DeleteVolume")]


def test_the_volume_stays_when_no_node_answers(agents: FakeAgents) -> None:
    agents.down = {"node1", "node2", "node3"}
    work = work_of("delete_volume", agents)
    with pytest.raises(UnavailableError):
        run(kind_of(work).run(work))
    assert agents.calls("DeleteBrick") == []


def test_bricks_that_can_not_be_removed_now_are_left_to_a_clean_up(agents: FakeAgents) -> None:
    agents.failures["node1", "DeleteBrick"] = [FailedPreconditionError(Reason.BRICK_BUSY, "busy")]
    agents.failures["node3", "DeleteBrick"] = [UNREACHABLE]
    work = work_of("delete_volume", agents)
    outcome = run(kind_of(work).run(work))
    assert list(outcome.removed_bricks.reclaimed_brick_ids) == []
    assert work.trail.left_brick_ids == {"01" * 16, "03" * 16}
    # Carried on by another driver, it is asked of all again.
    run(kind_of(work).run(work))
    assert work.trail.left_brick_ids == set()


def test_a_volume_that_gluster_kept_serves_again(agents: FakeAgents) -> None:
    work = work_of("delete_volume", agents)
    assert kind_of(work).redo_after_crash
    assert run(kind_of(work).undo(work)) is None
    assert asked(agents) == [("node1", "StartVolume")]
    agents.down = {"node1", "node2", "node3"}
    # It stays listed; nobody waits for a node.
    assert run(kind_of(work).undo(work)) is None
    assert work.trail.left_brick_ids == set()


def test_a_volume_that_gluster_lost_is_gone_although_its_delete_failed(agents: FakeAgents) -> None:
    agents.failures["node1", "StartVolume"] = [NotFoundError(Reason.GLUSTER_VOLUME_NOT_FOUND, "no such volume")]
    work = work_of("delete_volume", agents)
    assert run(kind_of(work).undo(work)) == RemovedBricks()
    assert work.trail.left_brick_ids == {"01" * 16, "02" * 16, "03" * 16}


@pytest.mark.parametrize("kind", ["delete_node", "delete_device", "set_node_state", "set_device_state"])
def test_nothing_is_undone_where_redoing_is_the_rule(agents: FakeAgents, kind: str) -> None:
    work = work_of(kind, agents)
    assert kind_of(work).redo_after_crash
    run(kind_of(work).undo(work))
    assert agents.calls() == []


def test_a_node_is_probed_from_the_chosen_one_and_detached_from_any(agents: FakeAgents) -> None:
    work = work_of("add_node", agents)
    run(kind_of(work).run(work))
    assert asked(agents)[0] == ("node1", "ProbePeer")
    assert agents.calls()[0][2].hostname == "10.0.0.9"
    agents.events.clear()
    agents.failures["node1", "DetachPeer"] = [UNREACHABLE]
    run(kind_of(work).undo(work))
    assert asked(agents) == [("node1", "DetachPeer"), ("node2", "DetachPeer")]


def test_the_first_node_is_not_probed(agents: FakeAgents) -> None:
    work = work_of("add_node", agents, numbers=())
    work.operation.spec.add_node.probing_node_id = ""
    run(kind_of(work).run(work))
    run(kind_of(work).undo(work))
    assert agents.calls() == []


def test_a_probing_node_that_was_removed_meanwhile_is_an_error_of_the_operation(agents: FakeAgents) -> None:
    work = work_of("add_node", agents, numbers=(2, 3))
    with pytest.raises(BrickyardError):
        run(kind_of(work).run(work))


def test_a_node_is_detached_from_another_one(agents: FakeAgents) -> None:
    work = work_of("delete_node", agents)
    run(kind_of(work).run(work))
    assert asked(agents) == [("node1", "DetachPeer")]
    assert agents.calls()[0][2].hostname == "10.0.0.2"


def test_the_last_node_is_detached_from_none(agents: FakeAgents) -> None:
    work = work_of("delete_node", agents, numbers=(2,))
    run(kind_of(work).run(work))
    assert agents.calls() == []


def test_a_device_is_made_and_measured(agents: FakeAgents) -> None:
    work = work_of("add_device", agents)
    outcome = run(kind_of(work).run(work))
    (hostname, method, request) = agents.calls()[0]
    assert (hostname, method) == ("node1", "CreateDevice")
    assert (request.device_id, request.path, request.destroy_data) == ("d" * 32, "/dev/sdb", True)
    assert outcome.device_facts.total_bytes == 1 << 30
    run(kind_of(work).undo(work))
    assert asked(agents)[1:] == [("node1", "DeleteDevice")]


def test_a_device_of_an_unknown_node(agents: FakeAgents) -> None:
    work = work_of("add_device", agents, numbers=(2, 3))
    with pytest.raises(NotFoundError) as caught:
        run(kind_of(work).run(work))
    assert caught.value.reason is Reason.NODE_NOT_FOUND


@pytest.mark.parametrize("force_forget", [False, True])
def test_a_device_on_a_node_that_is_gone_is_forgotten_only_when_asked(
    agents: FakeAgents,
    force_forget: bool,
) -> None:
    agents.down = {"node1"}
    work = work_of("delete_device", agents, force_forget=force_forget)
    if force_forget:
        run(kind_of(work).run(work))
        return
    with pytest.raises(UnavailableError):
        run(kind_of(work).run(work))


def test_forgetting_does_not_need_the_disk_to_live(agents: FakeAgents) -> None:
    agents.failures["node1", "DeleteDevice"] = [InternalError(Reason.LVM_FAILED, "Input/output error")] * 2
    run(kind_of(work := work_of("delete_device", agents, force_forget=True)).run(work))
    with pytest.raises(InternalError):
        run(kind_of(work := work_of("delete_device", agents)).run(work))


@pytest.mark.parametrize("kind", ["set_node_state", "set_device_state"])
def test_states_are_the_topologys_business(agents: FakeAgents, kind: str) -> None:
    work = work_of(kind, agents)
    run(kind_of(work).run(work))
    assert agents.calls() == []


@pytest.mark.parametrize("kind", ["create_volume", "delete_volume", "add_device", "add_node"])
def test_ids_of_steps_are_the_same_in_every_attempt_and_differ_from_those_of_the_undo(kind: str) -> None:
    def ids(*, undo: bool) -> set[str]:
        agents = FakeAgents([])
        work = work_of(kind, agents)
        work.trail.asked_node_ids.add(node(1).id)
        run(kind_of(work).undo(work) if undo else kind_of(work).run(work))
        no_step = ("FenceOperation", "GetGlusterd")
        found = [request.request_id for _, method, request in agents.calls() if method not in no_step]
        assert len(found) == len(set(found))
        assert all(len(each) <= 128 for each in found)
        return set(found)

    assert ids(undo=False) == ids(undo=False)
    assert not ids(undo=False) & ids(undo=True)


def test_an_agent_that_comes_back_in_time_is_no_failure(agents: FakeAgents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.operations.work._FIRST_PAUSE_S", 0.005)
    agents.failures["node1", "CreateDevice"] = [UNREACHABLE, UNREACHABLE]
    work = work_of("add_device", agents, silence_s=5.0)
    run(kind_of(work).run(work))
    assert len({request.request_id for _, _, request in agents.calls("CreateDevice")}) == 1
    assert len(agents.calls("CreateDevice")) == 3


def test_other_refusals_of_an_agent_are_not_repeated(agents: FakeAgents) -> None:
    agents.failures["node1", "CreateDevice"] = [UnavailableError(Reason.UNAVAILABLE, "lvm is not installed")]
    work = work_of("add_device", agents, silence_s=5.0)
    with pytest.raises(UnavailableError, match="not installed"):
        run(kind_of(work).run(work))
    assert len(agents.calls("CreateDevice")) == 1


def test_patience_begins_with_the_first_silence(agents: FakeAgents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.operations.work._FIRST_PAUSE_S", 0.001)
    call = agents.call

    async def slow(*arguments: Any, **named: Any) -> Any:
        # The agent works for longer than it may be silent, and is restarted then.
        await asyncio.sleep(0.2 if not agents.calls() else 0.0)
        return await call(*arguments, **named)

    agents.call = slow  # type: ignore[method-assign]
    agents.failures["node1", "CreateDevice"] = [UNREACHABLE]
    work = work_of("add_device", agents, silence_s=0.1)
    run(kind_of(work).run(work))
    assert len(agents.calls("CreateDevice")) == 2


def test_a_node_that_was_silent_is_asked_once_until_it_answers(agents: FakeAgents) -> None:
    agents.down = {"node1"}
    work = work_of("add_device", agents, silence_s=60.0)
    work.trail.silent_node_ids.add(node(1).id)
    with pytest.raises(UnavailableError):
        run(kind_of(work).run(work))
    assert len(agents.calls("CreateDevice")) == 1
    agents.down = set()
    run(kind_of(work).run(work))
    assert work.trail.silent_node_ids == set()


@pytest.mark.parametrize("kind", ["expand_volume", "clone_volume"])
def test_whoever_asked_gluster_must_have_let_go_before_anything_is_taken_back(agents: FakeAgents, kind: str) -> None:
    work = work_of(kind, agents, numbers=(1, 2, 3, 4))
    work.trail.asked_node_ids.add(node(4).id)
    run(kind_of(work).undo(work))
    fenced = [hostname for hostname, _, _ in agents.calls("FenceOperation")]
    assert sorted(fenced) == ["node1", "node2", "node3", "node4"]
    assert {method for _, method in asked(agents)[:1]} == {
        "RemoveBricks" if kind == "expand_volume" else "DeleteVolume"
    }
    agents.down = {"node4"}
    before = len(asked(agents))
    with pytest.raises(UnavailableError):
        run(kind_of(work).undo(work))
    assert len(asked(agents)) == before


@pytest.mark.parametrize("kind", ["expand_volume", "clone_volume"])
def test_a_node_that_gluster_was_asked_through_is_remembered(agents: FakeAgents, kind: str) -> None:
    agents.failures["node1", "AddBricks" if kind == "expand_volume" else "CloneVolume"] = [UNREACHABLE]
    work = work_of(kind, agents)
    run(kind_of(work).run(work))
    assert work.trail.asked_node_ids == {node(1).id, node(2).id}
    assert agents.calls("FenceOperation") == []


@pytest.mark.parametrize("kind", ["expand_volume", "clone_volume"])
def test_the_next_driver_ends_what_the_last_one_began(agents: FakeAgents, kind: str) -> None:
    work = work_of(kind, agents)
    work.operation.attempt_count = 2
    agents.failures["node3", "FenceOperation"] = [UNREACHABLE]
    run(kind_of(work).run(work))
    assert [method for _, method, _ in agents.calls()][:3] == ["FenceOperation"] * 3
    assert {each.epoch for _, _, each in agents.calls("FenceOperation")} == {1_000_001}
