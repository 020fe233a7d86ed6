"""The use cases that look ahead: what they ask of the allocator, and that they begin nothing."""

import pytest

from brickyard.allocator.v1 import allocator_service_pb2 as allocator_pb2
from brickyard.topology.v1 import topology_service_pb2, volume_pb2
from gateway.settings import ProvisioningSettings
from gateway.usecases import NewVolume
from services.common.errors import InvalidArgumentError, ResourceExhaustedError
from services.common.ids import is_id
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import CLUSTER, GIB, run
from tests.unit.gateway_operations.test_use_cases import REPLICA_3, Gateway

VOLUME_ID = "f" * 32


def standing_volume(**changes: object) -> volume_pb2.Volume:
    fields = {"id": VOLUME_ID, "cluster_id": CLUSTER, "durability": REPLICA_3, "size_bytes": GIB, **changes}
    made = volume_pb2.Volume(**fields)  # type: ignore[arg-type]
    made.bricks.extend(volume_pb2.Brick(id=f"{number}" * 32, set_index=0, position=number) for number in range(3))
    return made


def test_a_preview_is_the_plan_of_the_real_call_and_begins_nothing() -> None:
    asked = NewVolume(size_bytes=GIB, name="n", durability=REPLICA_3, options=("user.heketi.zone-checking strict",))
    gateway = Gateway()
    previewed = run(gateway.use_cases.preview_volume(asked))
    assert (previewed.name, previewed.cluster_id, len(previewed.bricks)) == ("n", CLUSTER, 3)
    assert all(is_id(brick.id) for brick in previewed.bricks)
    assert gateway.engine.begun == []
    run(gateway.use_cases.create_volume(asked))
    first, second = gateway.allocator.asked("PlanVolume")
    assert first == second
    assert first.rules.zone_rule == allocator_pb2.ZONE_RULE_STRICT


def test_a_preview_of_an_expansion_asks_for_the_volume_as_it_is() -> None:
    gateway = Gateway(GetVolume=topology_service_pb2.GetVolumeResponse(volume=standing_volume()))
    bricks = run(gateway.use_cases.preview_expansion(VOLUME_ID, 2 * GIB))
    assert [brick.set_index for brick in bricks] == [1, 1, 1]
    (asked,) = gateway.allocator.asked("PlanVolume")
    assert (asked.size_bytes, asked.existing_brick_count, list(asked.cluster_ids)) == (2 * GIB, 3, [CLUSTER])
    assert gateway.engine.begun == []


def test_previews_are_refused_as_the_real_calls_are() -> None:
    gateway = Gateway()
    with pytest.raises(InvalidArgumentError):
        run(gateway.use_cases.preview_volume(NewVolume(size_bytes=GIB + 1)))
    with pytest.raises(InvalidArgumentError):
        run(gateway.use_cases.preview_expansion("no id", GIB))
    assert gateway.allocator.requests == []
    gateway.allocator.answers["PlanVolume"] = [ResourceExhaustedError(Reason.NO_SPACE, "No space: full.")]
    with pytest.raises(ResourceExhaustedError):
        run(gateway.use_cases.preview_volume(NewVolume(size_bytes=GIB)))


def test_an_explanation_asks_what_a_plan_would_ask() -> None:
    gateway = Gateway(GetVolume=topology_service_pb2.GetVolumeResponse(volume=standing_volume()))
    cluster = allocator_pb2.ClusterExplanation(cluster_id=CLUSTER, summary="It fits: well.")
    gateway.allocator.answers["ExplainVolume"] = [allocator_pb2.ExplainVolumeResponse(clusters=[cluster])]
    asked = NewVolume(size_bytes=3 * GIB, name="n", durability=REPLICA_3)
    assert list(run(gateway.use_cases.explain_volume(asked))) == [cluster]
    run(gateway.use_cases.preview_volume(asked))
    run(gateway.use_cases.explain_volume(asked, expanded_volume_id=VOLUME_ID))
    run(gateway.use_cases.preview_expansion(VOLUME_ID, 3 * GIB))
    explained = [each.volume for each in gateway.allocator.asked("ExplainVolume")]
    assert explained == gateway.allocator.asked("PlanVolume")


def test_a_rebalance_plan_leaves_out_what_an_operation_holds() -> None:
    free = standing_volume(options=["user.heketi.device-tag-match a=b"], snapshot_enabled=True, snapshot_factor=1.5)
    held = standing_volume(id="e" * 32, operation_id="9" * 32)
    gateway = Gateway(
        settings=ProvisioningSettings(strategy="ring"),
        ListVolumes=topology_service_pb2.ListVolumesResponse(volumes=[free, held]),
    )
    gateway.allocator.answers["PlanRebalance"] = [allocator_pb2.PlanRebalanceResponse(moved_bytes=7)]
    answer = run(gateway.use_cases.plan_rebalance(CLUSTER, max_moves=5, target_deviation=0.5))
    assert answer.moved_bytes == 7
    (asked,) = gateway.allocator.asked("PlanRebalance")
    (told,) = asked.volumes
    assert (asked.cluster_id, asked.max_moves, asked.target_deviation) == (CLUSTER, 5, 0.5)
    assert (told.volume_id, len(told.bricks)) == (VOLUME_ID, 3)
    assert (told.rules.tag_rule, told.rules.snapshot_factor, told.rules.strategy) == ("a=b", 1.5, "ring")
    (listed,) = gateway.topology.asked("ListVolumes")
    assert (listed.cluster_id, listed.with_bricks) == (CLUSTER, True)
