"""AllocatorService over gRPC, in this process, on a topology in memory: plans, refusals, the largest volume."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.topology.v1 import device_pb2, inventory_pb2, node_pb2, volume_pb2
from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.common.reasons import Reason
from tests.contract.allocator_server import GIB, MIB, REPLICA_3, FakeTopology, Request, rules, served_allocator

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32


@pytest.fixture
def topology() -> FakeTopology:
    return FakeTopology()


@pytest.fixture
def ask(topology: FakeTopology) -> Iterator[Request]:
    with served_allocator(topology) as request:
        yield request


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_names_every_brick_in_gluster_order(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, revision=7)
    plan = ask("PlanVolume", size_bytes=10 * GIB, rules=rules(), cluster_ids=[ONE])
    assert (plan.cluster_id, plan.inventory_revision) == (ONE, 7)
    assert [(brick.set_index, brick.position) for brick in plan.bricks] == [(0, 0), (0, 1), (0, 2)]
    assert len({brick.node_id for brick in plan.bricks}) == 3
    for brick in plan.bricks:
        assert brick.role == volume_pb2.BRICK_ROLE_DATA
        assert brick.size_bytes == 10 * GIB
        assert brick.thin_pool_size_bytes == 10 * GIB
        assert brick.pool_metadata_size_bytes % (4 * MIB) == 0
        assert brick.pool_metadata_size_bytes > 0


def test_nodes_and_devices_can_be_left_out(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=5)
    nodes = [node.id for node in topology.inventories[ONE].nodes]
    devices = [device.id for device in topology.inventories[ONE].devices]
    given = {"excluded_node_ids": [nodes[0], "unknown"], "excluded_device_ids": [devices[4]]}
    for _ in range(3):
        plan = ask("PlanVolume", size_bytes=GIB, rules=rules(), cluster_ids=[ONE], **given)
        assert {brick.node_id for brick in plan.bricks} == set(nodes[1:4])
    # Only for that one plan.
    free = {"size_bytes": GIB, "rules": rules(seed="", strategy="ring")}
    seen = {brick.node_id for _ in range(12) for brick in ask("PlanVolume", **free).bricks}
    assert len(seen) > 3
    refused(ask, ResourceExhaustedError, Reason.NO_SPACE, excluded_node_ids=nodes[:3])


def test_nodes_that_are_down_are_left_out_while_they_are(topology: FakeTopology, ask: Request) -> None:
    """Outages have no revision: the inventory is the same before, during and after."""
    topology.add(ONE, nodes=4)
    inventory = topology.inventories[ONE]
    down = inventory.nodes[1]
    asked: dict[str, Any] = {"size_bytes": GIB, "rules": rules(seed="", strategy="ring"), "cluster_ids": [ONE]}
    assert len({brick.node_id for _ in range(12) for brick in ask("PlanVolume", **asked).bricks}) == 4
    inventory.outages.add(node_id=down.id, kind=inventory_pb2.OUTAGE_KIND_SILENT).since_time.FromSeconds(1_700_000_000)
    inventory.outages.add(node_id="e" * 32, kind=inventory_pb2.OUTAGE_KIND_SILENT)
    left = {brick.node_id for _ in range(6) for brick in ask("PlanVolume", **asked).bricks}
    assert left == {node.id for node in inventory.nodes} - {down.id}
    (found,) = ask("ExplainVolume", volume=pb.PlanVolumeRequest(**asked)).clusters
    assert {each.hostname: each.text for each in found.devices}["node2"] == (
        "the node does not answer since 2023-11-14T22:13:20Z"
    )
    inventory.outages.add(
        node_id=inventory.nodes[2].id, kind=inventory_pb2.OUTAGE_KIND_GLUSTERD_DOWN
    ).since_time.FromSeconds(1_700_000_060)
    error = refused(ask, ResourceExhaustedError, Reason.NO_SPACE, cluster_ids=[ONE])
    assert (
        "2 of 4 devices are on nodes that are down (node2 does not answer since 2023-11-14T22:13:20Z, "
        "node3 has no running glusterd since 2023-11-14T22:14:20Z)"
    ) in error.message
    assert error.metadata["down_device_count"] == "2"
    del inventory.outages[:]
    assert len({brick.node_id for _ in range(12) for brick in ask("PlanVolume", **asked).bricks}) == 4


def test_space_that_will_be_free_can_be_planned_with(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, free_gib=5)
    devices = [device.id for device in topology.inventories[ONE].devices]
    freed = [
        volume_pb2.Brick(device_id=device, thin_pool_size_bytes=4 * GIB, pool_metadata_size_bytes=GIB)
        for device in devices
    ]
    refused(ask, ResourceExhaustedError, Reason.NO_SPACE, size_bytes=9 * GIB)
    plan = ask("PlanVolume", size_bytes=9 * GIB, rules=rules(), freed_bricks=[*freed, volume_pb2.Brick(device_id="x")])
    assert len(plan.bricks) == 3
    refused(ask, ResourceExhaustedError, Reason.NO_SPACE, size_bytes=9 * GIB, freed_bricks=freed[:2])


def test_the_same_seed_gives_the_same_plan(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=12)
    seeded = [ask("PlanVolume", size_bytes=GIB, rules=rules(), cluster_ids=[ONE]).bricks for _ in range(3)]
    assert seeded[0] == seeded[1] == seeded[2]
    unseeded = {
        ask("PlanVolume", size_bytes=GIB, rules=rules(seed="", strategy="ring")).bricks[0].device_id for _ in range(12)
    }
    assert len(unseeded) > 1


def test_arbiter_and_snapshots_shape_the_bricks(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    plan = ask("PlanVolume", size_bytes=10 * GIB, rules=rules(arbiter=True, snapshot_factor=1.5))
    roles = [brick.role for brick in plan.bricks]
    assert roles == [volume_pb2.BRICK_ROLE_DATA, volume_pb2.BRICK_ROLE_DATA, volume_pb2.BRICK_ROLE_ARBITER]
    assert plan.bricks[0].thin_pool_size_bytes == 15 * GIB
    assert plan.bricks[2].size_bytes < plan.bricks[0].size_bytes


@pytest.mark.parametrize("strategy", ["", "ring", "spread"])
def test_strategies_by_name(topology: FakeTopology, ask: Request, strategy: str) -> None:
    topology.add(ONE)
    assert len(ask("PlanVolume", size_bytes=GIB, rules=rules(strategy=strategy)).bricks) == 3


def test_the_first_cluster_that_can_take_it_does(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, free_gib=1)
    topology.add(TWO)
    topology.add(THREE)
    assert ask("PlanVolume", size_bytes=20 * GIB, rules=rules(), cluster_ids=[ONE, THREE, TWO]).cluster_id == THREE
    topology.refuse(THREE, Reason.VOLUME_NAME_IN_USE)
    assert ask("PlanVolume", size_bytes=20 * GIB, rules=rules(), cluster_ids=[ONE, THREE, TWO]).cluster_id == TWO


def test_what_the_request_says_reaches_topology(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    ask("PlanVolume", size_bytes=GIB, rules=rules(), volume_name="n", block=True, max_volumes_per_cluster=5)
    candidates, inventory = topology.asked
    assert (candidates.volume_name, candidates.block, candidates.max_volumes_per_cluster) == ("n", True, 5)
    assert (inventory.cluster_id, inventory.since_revision) == (ONE, 0)


def test_only_changes_are_asked_for_and_every_plan_sees_them(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, revision=4)
    ask("PlanVolume", size_bytes=GIB, rules=rules())
    ask("PlanVolume", size_bytes=GIB, rules=rules())
    assert [each.since_revision for each in topology.asked if hasattr(each, "since_revision")] == [0, 4]
    topology.add(ONE, free_gib=0, revision=5)
    with pytest.raises(ResourceExhaustedError):
        ask("PlanVolume", size_bytes=GIB, rules=rules())


def test_plan_for_an_existing_volume(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    topology.refuse(ONE, Reason.CLUSTER_LACKS_VOLUME_TYPE)
    plan = ask("PlanVolume", size_bytes=GIB, rules=rules(), cluster_ids=[ONE], existing_brick_count=3)
    assert len(plan.bricks) == 3
    with pytest.raises(ResourceExhaustedError) as caught:
        ask("PlanVolume", size_bytes=GIB, rules=rules(), cluster_ids=[ONE], existing_brick_count=31)
    assert caught.value.reason is Reason.MAX_BRICKS_REACHED
    for clusters in ([], [ONE, TWO]):
        with pytest.raises(InvalidArgumentError) as wrong:
            ask("PlanVolume", size_bytes=GIB, rules=rules(), cluster_ids=clusters, existing_brick_count=3)
        assert wrong.value.metadata["field"] == "cluster_ids"


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(ask: Request, kind: type[BrickyardError], reason: Reason, **fields: Any) -> BrickyardError:
    given = {"size_bytes": 10 * GIB, "rules": rules(), **fields}
    with pytest.raises(kind) as caught:
        ask("PlanVolume", **given)
    assert type(caught.value) is kind
    assert caught.value.reason is reason
    return caught.value


def test_no_space_names_the_largest_size_and_each_device(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, free_gib=5)
    error = refused(ask, ResourceExhaustedError, Reason.NO_SPACE)
    assert error.metadata["cluster_id"] == ONE
    largest = int(error.metadata["largest_size_bytes"])
    assert 0 < largest < 5 * GIB
    assert len(ask("PlanVolume", size_bytes=largest, rules=rules()).bricks) % 3 == 0
    devices = json.loads(error.metadata["devices"])
    assert len(devices) == int(error.metadata["device_count"]) == 3
    assert all(row["missing_bytes"] > 0 and row["node"].startswith("1") for row in devices)


def test_an_explanation_of_many_devices_still_fits_a_header(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=300, free_gib=0)
    error = refused(ask, ResourceExhaustedError, Reason.NO_SPACE)
    assert error.metadata["device_count"] == "300"
    assert 0 < len(json.loads(error.metadata["devices"])) < 300


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"rules": rules(tag_rule="tier=fast")}, ResourceExhaustedError, Reason.NO_SPACE),
        ({"rules": rules(tag_rule="no rule")}, InvalidArgumentError, Reason.INVALID_TAG_RULE),
        ({"rules": rules(strategy="dice")}, InvalidArgumentError, Reason.INVALID_ARGUMENT),
        ({"size_bytes": 0}, InvalidArgumentError, Reason.INVALID_ARGUMENT),
        ({"size_bytes": -GIB}, InvalidArgumentError, Reason.INVALID_ARGUMENT),
        ({"rules": rules(snapshot_factor=1000)}, InvalidArgumentError, Reason.INVALID_ARGUMENT),
        ({"rules": rules(durability=volume_pb2.Durability(type=99))}, InvalidArgumentError, Reason.INVALID_ARGUMENT),  # type: ignore[arg-type]
        (
            {"rules": rules(brick_limits=pb.BrickLimits(max_bricks_per_volume=2))},
            ResourceExhaustedError,
            Reason.MAX_BRICKS_REACHED,
        ),
        ({"cluster_ids": [TWO]}, NotFoundError, Reason.CLUSTER_NOT_FOUND),
    ],
)
def test_refusals_of_one_cluster(
    topology: FakeTopology, ask: Request, changes: dict[str, Any], kind: type[BrickyardError], reason: Reason
) -> None:
    topology.add(ONE)
    refused(ask, kind, reason, **changes)


def test_a_cluster_without_nodes_or_without_online_devices(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=0)
    refused(ask, FailedPreconditionError, Reason.NO_NODES)
    topology.add(ONE, revision=2)
    for device in topology.inventories[ONE].devices:
        device.state = device_pb2.DEVICE_STATE_OFFLINE
    refused(ask, FailedPreconditionError, Reason.NO_ONLINE_DEVICES)


def test_no_cluster_at_all(ask: Request) -> None:
    refused(ask, FailedPreconditionError, Reason.NO_CLUSTERS)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason.CLUSTER_HAS_NO_VOLUME_TYPE, "neither file nor block"),
        (Reason.CLUSTER_LACKS_VOLUME_TYPE, "no block volumes"),
        (Reason.VOLUME_NAME_IN_USE, "'mine'"),
        (Reason.TOO_MANY_VOLUMES, "9 volumes and the limit is 9"),
    ],
)
def test_a_cluster_that_is_no_candidate_says_why(
    topology: FakeTopology, ask: Request, reason: Reason, told: str
) -> None:
    topology.add(ONE)
    topology.refuse(ONE, reason, volume_count=9)
    fields = {"volume_name": "mine", "block": True, "max_volumes_per_cluster": 9}
    error = refused(ask, FailedPreconditionError, reason, **fields)
    assert told in error.message
    assert error.metadata["cluster_id"] == ONE


def test_refusals_of_several_clusters_are_one_error_that_tells_each(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, free_gib=2)
    topology.add(TWO)
    topology.add(THREE, nodes=2)
    topology.refuse(TWO, Reason.VOLUME_NAME_IN_USE)
    error = refused(ask, ResourceExhaustedError, Reason.NO_ELIGIBLE_CLUSTER, volume_name="mine")
    assert error.metadata["stage"] == "placement"
    rows = json.loads(error.metadata["clusters"])
    assert {cluster: row["reason"] for cluster, row in rows.items()} == {
        ONE: "NO_SPACE",
        TWO: "VOLUME_NAME_IN_USE",
        THREE: "NO_SPACE",
    }
    assert rows[TWO]["name"] == "mine"
    assert rows[ONE]["largest_size_bytes"] == str(1 * GIB)
    # Disks of both clusters that were tried, in turns.
    devices = json.loads(error.metadata["devices"])
    assert {each["device"][:1] for each in devices[:2]} == {ONE[:1], THREE[:1]}
    assert all(each["reason"] for each in devices)
    assert all(cluster in error.message for cluster in (ONE, TWO, THREE))


def test_clusters_that_are_all_no_candidates(topology: FakeTopology, ask: Request) -> None:
    for cluster, reason in ((ONE, Reason.VOLUME_NAME_IN_USE), (TWO, Reason.TOO_MANY_VOLUMES)):
        topology.add(cluster)
        topology.refuse(cluster, reason)
    error = refused(ask, ResourceExhaustedError, Reason.NO_ELIGIBLE_CLUSTER)
    assert error.metadata["stage"] == "eligibility"
    assert [each for each in topology.asked if hasattr(each, "since_revision")] == []


def test_a_wrong_tag_rule_ends_the_search_at_once(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    topology.add(TWO)
    refused(ask, InvalidArgumentError, Reason.INVALID_TAG_RULE, rules=rules(tag_rule="no rule"))


def test_topology_away(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    topology.failure = UnavailableError(Reason.UNAVAILABLE, "the topology does not answer")
    refused(ask, UnavailableError, Reason.UNAVAILABLE)


def test_a_surprise_is_told_without_its_details(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    topology.inventories[ONE].nodes[0].state = node_pb2.NODE_STATE_UNSPECIFIED
    error = refused(ask, InternalError, Reason.INTERNAL)
    assert "log" in error.message


# --- the largest volume -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "durability",
    [
        volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE),
        REPLICA_3,
        volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=2, redundancy_count=1),
    ],
    ids=["none", "replicate", "disperse"],
)
def test_the_largest_volume_can_be_planned_and_a_larger_one_not(
    topology: FakeTopology, ask: Request, durability: volume_pb2.Durability
) -> None:
    topology.add(ONE)
    wanted = rules(durability=durability)
    largest = ask("GetMaxVolumeSize", cluster_id=ONE, rules=wanted).size_bytes
    assert largest > 0
    assert largest % GIB == 0
    ask("PlanVolume", size_bytes=largest, rules=wanted, cluster_ids=[ONE])
    refused(ask, ResourceExhaustedError, Reason.NO_SPACE, size_bytes=largest + GIB, rules=wanted)


def test_the_largest_volume_of_a_full_cluster_and_of_none(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, free_gib=0)
    assert ask("GetMaxVolumeSize", cluster_id=ONE, rules=rules()).size_bytes == 0
    with pytest.raises(NotFoundError) as caught:
        ask("GetMaxVolumeSize", cluster_id=TWO, rules=rules())
    assert caught.value.reason is Reason.CLUSTER_NOT_FOUND
    with pytest.raises(InvalidArgumentError) as wrong:
        ask("GetMaxVolumeSize", cluster_id=ONE, rules=rules(strategy="dice"))
    assert wrong.value.metadata["field"] == "strategy"
