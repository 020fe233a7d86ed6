"""The dry runs of OperatorService over gRPC, on use cases in memory."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from brickyard.allocator.v1 import allocator_service_pb2 as allocator_pb2
from brickyard.topology.v1 import volume_pb2
from services.common.errors import BrickyardError, NotFoundError
from services.common.reasons import Reason
from tests.contract.test_operator_servicer import GIB, Face, call_of, cluster_of, node_of

REPLICA_2 = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=2)


@pytest.fixture
def face() -> Iterator[Face]:
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as directory:
        made = Face(runner, Path(directory))
        yield made
        made.close()


def furnished(face: Face) -> str:
    cluster = cluster_of(face)
    for name in ("node1", "node2"):
        face("AddDevice", node_id=node_of(face, cluster, name), path="/dev/sdb")
    return cluster


def test_a_dry_run_plans_and_records_nothing(face: Face) -> None:
    cluster = furnished(face)
    answer = face("CreateVolume", size_bytes=GIB, name="n", durability=REPLICA_2, validate_only=True)
    assert not answer.HasField("operation")
    assert (answer.planned_volume.name, answer.planned_volume.cluster_id) == ("n", cluster)
    assert len(answer.planned_volume.bricks) == 2
    assert face("ListVolumes").volumes == []
    made = face("CreateVolume", size_bytes=GIB, name="n", durability=REPLICA_2).operation.target_id
    answer = face("ExpandVolume", volume_id=made, added_size_bytes=2 * GIB, validate_only=True)
    assert not answer.HasField("operation")
    assert [brick.size_bytes for brick in answer.planned_bricks] == [2 * GIB] * 2
    assert len(face("GetVolume", volume_id=made).volume.bricks) == 2


def test_a_dry_run_is_refused_as_the_real_call_is(face: Face) -> None:
    furnished(face)
    for validate_only in (True, False):
        with pytest.raises(BrickyardError) as caught:
            face("CreateVolume", size_bytes=GIB << 20, durability=REPLICA_2, validate_only=validate_only)
        assert caught.value.reason is Reason.NO_SPACE


def test_an_explanation_is_passed_on(face: Face) -> None:
    face.use_cases.explanations = [
        allocator_pb2.ClusterExplanation(cluster_id="c" * 32, refusal_reason="NO_SPACE", summary="No space: full.")
    ]
    volume = {"size_bytes": 3 * GIB, "durability": REPLICA_2, "options": ["a b"]}
    assert list(face("ExplainVolume", volume=volume).clusters) == face.use_cases.explanations
    (asked, expanded), _ = call_of(face, "explain_volume")
    assert (asked.size_bytes, asked.durability, asked.options, expanded) == (3 * GIB, REPLICA_2, ("a b",), "")
    face("ExplainVolume", volume=volume, expanded_volume_id="f" * 32)
    assert call_of(face, "explain_volume")[0][1] == "f" * 32
    face.use_cases.failures["explain_volume"] = NotFoundError(Reason.CLUSTER_NOT_FOUND, "gone", cluster_id="x")
    with pytest.raises(NotFoundError) as caught:
        face("ExplainVolume", volume=volume)
    assert caught.value.metadata == {"cluster_id": "x"}


def test_a_rebalance_plan_is_passed_on(face: Face) -> None:
    move = allocator_pb2.PlannedMove(brick_id="b" * 32, moved_bytes=GIB, deviation_after=0.1)
    face.use_cases.rebalance = allocator_pb2.PlanRebalanceResponse(
        moves=[move], deviation_before=0.2, deviation_after=0.1, moved_bytes=GIB
    )
    answer = face("PlanRebalance", cluster_id="c" * 32, max_moves=7, target_deviation=0.5)
    assert (list(answer.moves), answer.deviation_before, answer.deviation_after) == ([move], 0.2, 0.1)
    assert answer.moved_bytes == GIB
    assert call_of(face, "plan_rebalance")[0] == ("c" * 32, 7, 0.5)
