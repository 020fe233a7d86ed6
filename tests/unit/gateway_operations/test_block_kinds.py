"""What the kinds over block volumes ask of the nodes, and what they make of the answers."""

from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.facts_pb2 import BlockVolumeFacts
from brickyard.topology.v1 import block_volume_pb2, node_pb2, operation_pb2
from brickyard.topology.v1.operation_service_pb2 import BlockVolumeAccess, BlockVolumeSize
from gateway.operations.kinds import KINDS
from gateway.operations.kinds.block_volumes import reached
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
from services.common.units import GIB, TIB
from tests.unit.gateway_operations.fakes import CLUSTER, FakeAgents, node, run, volume

UNREACHABLE = UnavailableError(Reason.AGENT_UNREACHABLE, "gone")
NOT_INSTALLED = FailedPreconditionError(Reason.GLUSTER_BLOCK_NOT_INSTALLED, "not installed")
FAILED = InternalError(Reason.GLUSTER_BLOCK_FAILED, "no")
BLOCK = block_volume_pb2.BlockVolume(
    id="b" * 32,
    name="blk",
    cluster_id=CLUSTER,
    hosting_volume_id="v" * 32,
    hosting_volume_name="vol_h",
    size_bytes=4 * GIB,
    hosts=["10.0.0.2", "10.0.0.1"],
)


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents([])


def work_of(agents: FakeAgents, *, attempt: int = 1, **spec: Any) -> Work:
    async def list_nodes(_cluster_id: str) -> list[node_pb2.Node]:
        return [node(number) for number in (1, 2, 3)]

    (kind,) = spec
    recorded = operation_pb2.Operation(
        id="a" * 32,
        kind=operation_pb2.OperationKind.Value(f"OPERATION_KIND_{kind.upper()}"),
        cluster_id=CLUSTER,
        spec=operation_pb2.OperationSpec(**spec),
        attempt_count=attempt,
    )
    return Work(recorded, agents, list_nodes, Progress(), patience=NodePatience(silence_s=0.0))


def kind_of(work: Work) -> Any:
    return KINDS[work.operation.kind]


def asked(agents: FakeAgents) -> list[tuple[str, str]]:
    return [(hostname, method) for hostname, method, _ in agents.calls() if method != "FenceOperation"]


def creation(**more: Any) -> operation_pb2.CreateBlockVolumeSpec:
    return operation_pb2.CreateBlockVolumeSpec(block_volume=BLOCK, prealloc="no", **more)


def test_created_in_one_call_by_its_first_host(agents: FakeAgents) -> None:
    agents.answers["CreateBlockVolume"] = executor_pb2.CreateBlockVolumeResponse(iqn="i", username="u", password="p")
    work = work_of(agents, create_block_volume=creation())
    outcome = run(kind_of(work).run(work))
    assert outcome.block_volume_access == BlockVolumeAccess(iqn="i", username="u", password="p")
    ((hostname, _, request),) = agents.calls("CreateBlockVolume")
    assert hostname == "node2"
    assert (request.hosting_volume_name, request.name, request.size_bytes) == ("vol_h", "blk", 4 * GIB)
    assert (list(request.hosts), request.prealloc, request.block_volume_id) == (list(BLOCK.hosts), "no", BLOCK.id)


def test_its_hosting_volume_is_made_before_and_removed_after(agents: FakeAgents) -> None:
    work = work_of(agents, create_block_volume=creation(hosting_volume=volume()))
    run(kind_of(work).run(work))
    made = asked(agents)
    assert sorted(made[:3]) == [(f"node{number}", "CreateBrick") for number in (1, 2, 3)]
    assert [method for _, method in made[3:]] == ["CreateVolume", *["SyncBricks"] * 3, "CreateBlockVolume"]
    assert work.progress.completed_steps == work.progress.total_steps == 8
    run(kind_of(work).undo(work))
    undone = [method for _, method in asked(agents)[8:]]
    assert undone == ["DeleteBlockVolume", "DeleteVolume", *["DeleteBrick"] * 3]


def test_undo_removes_no_block_volume_that_was_never_asked_for(agents: FakeAgents) -> None:
    work = work_of(agents, create_block_volume=creation())
    run(kind_of(work).undo(work))
    assert asked(agents) == []
    taken_over = work_of(agents, attempt=2, create_block_volume=creation())
    run(kind_of(taken_over).undo(taken_over))
    assert asked(agents) == [("node2", "DeleteBlockVolume")]


def test_undo_waits_for_the_node_that_was_asked(agents: FakeAgents) -> None:
    agents.down = {"node2"}
    work = work_of(agents, attempt=2, create_block_volume=creation())
    with pytest.raises(UnavailableError):
        run(kind_of(work).undo(work))
    assert asked(agents) == []


@pytest.mark.parametrize("why", [UNREACHABLE, NOT_INSTALLED], ids=["unreachable", "not installed"])
def test_deleting_passes_over_nodes_that_can_not(agents: FakeAgents, why: BrickyardError) -> None:
    spec = operation_pb2.DeleteBlockVolumeSpec(block_volume_id=BLOCK.id, block_volume=BLOCK)
    agents.failures["node2", "DeleteBlockVolume"] = [why]
    work = work_of(agents, delete_block_volume=spec)
    run(kind_of(work).run(work))
    assert asked(agents)[-1] == ("node1", "DeleteBlockVolume")


def test_deleting_fails_with_what_gluster_block_says(agents: FakeAgents) -> None:
    spec = operation_pb2.DeleteBlockVolumeSpec(block_volume_id=BLOCK.id, block_volume=BLOCK)
    agents.failures["*", "DeleteBlockVolume"] = [FAILED]
    work = work_of(agents, delete_block_volume=spec)
    with pytest.raises(InternalError):
        run(kind_of(work).run(work))
    assert asked(agents) == [("node2", "DeleteBlockVolume")]
    run(kind_of(work).undo(work))
    assert kind_of(work).redo_after_crash


def growth() -> operation_pb2.ExpandBlockVolumeSpec:
    return operation_pb2.ExpandBlockVolumeSpec(block_volume_id=BLOCK.id, block_volume=BLOCK, new_size_bytes=8 * GIB)


def facts(size: int, usable: int = 0) -> BlockVolumeFacts:
    return BlockVolumeFacts(size_bytes=size * GIB, usable_size_bytes=(usable or size) * GIB)


def test_growing(agents: FakeAgents) -> None:
    agents.answers["ExpandBlockVolume"] = executor_pb2.ExpandBlockVolumeResponse(block_volume=facts(8))
    work = work_of(agents, expand_block_volume=growth())
    outcome = run(kind_of(work).run(work))
    assert outcome.expanded_block_volume == BlockVolumeSize(size_bytes=8 * GIB, usable_size_bytes=8 * GIB)


@pytest.mark.parametrize(
    ("found", "kept"),
    [(facts(8, 4), (8, 4)), (facts(8), (8, 8)), (facts(4), None)],
    ids=["reached on some hosts", "reached", "not reached"],
)
def test_what_is_kept_of_a_growth_that_failed(
    agents: FakeAgents, found: BlockVolumeFacts, kept: tuple[int, int] | None
) -> None:
    agents.answers["GetBlockVolume"] = executor_pb2.GetBlockVolumeResponse(block_volume=found)
    work = work_of(agents, expand_block_volume=growth())
    size = run(kind_of(work).undo(work))
    expected = kept and BlockVolumeSize(size_bytes=kept[0] * GIB, usable_size_bytes=kept[1] * GIB)
    assert size == expected


def test_nothing_is_kept_of_one_that_is_gone(agents: FakeAgents) -> None:
    gone = NotFoundError(Reason.GLUSTER_BLOCK_VOLUME_NOT_FOUND, "gone")
    agents.failures["*", "GetBlockVolume"] = [gone]
    work = work_of(agents, expand_block_volume=growth())
    assert run(kind_of(work).undo(work)) is None


def test_large_sizes_are_told_to_a_tenth_only() -> None:
    def after(shown_tib: float, usable_tib: float, old: int, new: int) -> bool:
        told = BlockVolumeFacts(size_bytes=int(shown_tib * TIB), usable_size_bytes=int(usable_tib * TIB))
        return reached(told, old_bytes=old * GIB, new_bytes=new * GIB)

    assert after(1.5, 1.5, 1100, 1500)
    assert not after(1.1, 1.1, 1100, 1500)
    # Both look like 1.5 TiB: only hosts that did not follow tell that a resize began.
    assert not after(1.5, 1.5, 1500, 1501)
    assert after(1.5, 1.4, 1500, 1501)


def test_a_restriction_touches_no_node(agents: FakeAgents) -> None:
    work = work_of(agents, set_block_restriction=operation_pb2.SetBlockRestrictionSpec(volume_id="v" * 32))
    run(kind_of(work).run(work))
    run(kind_of(work).undo(work))
    assert agents.calls() == []
