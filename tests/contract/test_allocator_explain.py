"""AllocatorService.ExplainVolume and PlanRebalance over gRPC, reservations in refusals, and what the inventory asks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.topology.v1 import inventory_pb2, volume_pb2
from services.common.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError
from services.common.reasons import Reason
from tests.contract.allocator_server import GIB, MIB, FakeTopology, Request, rules, served_allocator

ONE, TWO = "1" * 32, "2" * 32
OPERATION = "a" * 32


@pytest.fixture
def topology() -> FakeTopology:
    return FakeTopology()


@pytest.fixture
def ask(topology: FakeTopology) -> Iterator[Request]:
    with served_allocator(topology) as request:
        yield request


def explained(ask: Request, **fields: Any) -> list[pb.ClusterExplanation]:
    given = {"size_bytes": 10 * GIB, "rules": rules(), **fields}
    return list(ask("ExplainVolume", volume=pb.PlanVolumeRequest(**given)).clusters)


def test_every_cluster_is_explained_also_behind_the_one_that_takes_it(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4, revision=7)
    topology.add(TWO, nodes=2)
    first, second = explained(ask, cluster_ids=[ONE, TWO])
    assert (first.cluster_id, first.refusal_reason, first.inventory_revision) == (ONE, "", 7)
    assert first.summary.startswith("It fits: 3 bricks in 1 set of 10 GiB")
    assert first.bricks == ask("PlanVolume", size_bytes=10 * GIB, rules=rules(), cluster_ids=[ONE]).bricks
    assert first.largest_size_bytes == ask("GetMaxVolumeSize", cluster_id=ONE, rules=rules()).size_bytes
    chosen = {brick.device_id for brick in first.bricks}
    assert {each.device_id: each.reason for each in first.devices} == {
        each.id: "CHOSEN" if each.id in chosen else "FITS" for each in topology.inventories[ONE].devices
    }
    assert [(each.hostname, each.path, each.zone, each.total_bytes) for each in first.devices] == [
        (f"node{number}", "/dev/sdb", number, 100 * GIB) for number in range(1, 5)
    ]
    assert (second.refusal_reason, list(second.bricks), second.largest_size_bytes) == ("NO_SPACE", [], 0)
    assert second.summary.startswith("No space: a replica-3 set of 10 GiB needs 3 nodes")
    assert {each.text for each in second.devices} == {"has room"}


def test_a_cluster_that_is_no_candidate_is_explained_too(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    topology.refuse(ONE, Reason.VOLUME_NAME_IN_USE)
    (found,) = explained(ask, volume_name="mine")
    assert (found.refusal_reason, list(found.devices)) == ("VOLUME_NAME_IN_USE", [])
    assert "'mine'" in found.summary
    # An expansion asks nobody whether the cluster takes new volumes.
    (found,) = explained(ask, cluster_ids=[ONE], existing_brick_count=3)
    assert found.refusal_reason == ""
    assert explained(ask, volume_name="mine", cluster_ids=[]) != []


def test_no_cluster_gives_an_empty_explanation(ask: Request) -> None:
    assert explained(ask) == []


def test_room_that_operations_reserve_is_named_with_them(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    held = topology.inventories[ONE].devices[0]
    held.free_bytes = 4 * GIB
    topology.reservations = [inventory_pb2.Reservation(device_id=held.id, operation_id=OPERATION, size_bytes=20 * GIB)]
    (found,) = explained(ask)
    assert found.refusal_reason == "NO_SPACE"
    assert f"1 of 3 devices would have room but for what running operation {OPERATION} reserved." in found.summary
    row = next(each for each in found.devices if each.device_id == held.id)
    assert (row.reason, list(row.operation_ids)) == ("RESERVED", [OPERATION])
    assert row.missing_bytes % (4 * MIB) == 0
    assert row.missing_bytes > 6 * GIB
    with pytest.raises(ResourceExhaustedError) as caught:
        ask("PlanVolume", size_bytes=10 * GIB, rules=rules())
    assert caught.value.message == found.summary
    first = json.loads(caught.value.metadata["devices"])[0]
    assert (first["reason"], first["operations"]) == ("RESERVED", [OPERATION])


def test_the_details_of_a_refusal_are_whole_json_within_a_header(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=200, free_gib=1)
    topology.reservations = [
        inventory_pb2.Reservation(device_id=device.id, operation_id=f"{number:032x}", size_bytes=20 * GIB)
        for device in topology.inventories[ONE].devices
        for number in range(30)
    ]
    with pytest.raises(ResourceExhaustedError) as caught:
        ask("PlanVolume", size_bytes=10 * GIB, rules=rules())
    rows = json.loads(caught.value.metadata["devices"])
    assert 0 < len(rows) < 200
    assert sum(len(key) + len(value) for key, value in caught.value.metadata.items()) < 3000
    (found,) = explained(ask)
    assert len(found.devices) == 200
    assert all(len(each.operation_ids) == 30 for each in found.devices)


def test_what_is_left_out_is_told_as_such(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4)
    first, second, *_ = topology.inventories[ONE].devices
    (found,) = explained(ask, excluded_device_ids=[first.id])
    assert found.refusal_reason == ""
    assert {each.device_id: each.reason for each in found.devices}[first.id] == "EXCLUDED"
    assert first.id not in {brick.device_id for brick in found.bricks}
    (found,) = explained(ask, excluded_device_ids=[first.id], excluded_node_ids=[second.node_id])
    assert found.refusal_reason == "NO_SPACE"
    assert "2 of 4 devices are left out on request" in found.summary


def test_what_can_not_be_explained(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE)
    with pytest.raises(InvalidArgumentError) as caught:
        explained(ask, rules=rules(tag_rule="no rule"))
    assert caught.value.reason is Reason.INVALID_TAG_RULE
    for fields, field in (
        ({"rules": rules(strategy="dice")}, "strategy"),
        ({"cluster_ids": [], "existing_brick_count": 3}, "cluster_ids"),
        ({"size_bytes": 0}, "rules"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            explained(ask, **fields)
        assert caught.value.metadata["field"] == field
    with pytest.raises(NotFoundError):
        explained(ask, cluster_ids=[TWO])


# --- rebalance --------------------------------------------------------------------------------------------------------


def brick_on(device: inventory_pb2.InventoryDevice, number: int, **fields: Any) -> volume_pb2.Brick:
    return volume_pb2.Brick(
        id=f"b{number:031x}",
        device_id=device.id,
        node_id=device.node_id,
        size_bytes=10 * GIB,
        thin_pool_size_bytes=10 * GIB,
        pool_metadata_size_bytes=52 * MIB,
        thin_pool_name=f"tp{number}",
        role=volume_pb2.BRICK_ROLE_DATA,
        **fields,
    )


def test_a_rebalance_moves_only_what_can_heal(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4, revision=3)
    left, right, *_ = devices = list(topology.inventories[ONE].devices)
    for device in devices[:2]:
        device.free_bytes = 40 * GIB
    pairs = [
        pb.RebalancedVolume(
            volume_id=f"f{number:031x}",
            rules=rules(),
            bricks=[brick_on(left, 2 * number, position=0), brick_on(right, 2 * number + 1, position=1)],
        )
        for number in range(2)
    ]
    single = pb.RebalancedVolume(volume_id="e" * 32, rules=rules(), bricks=[brick_on(left, 90)])
    copies = [
        pb.RebalancedVolume(volume_id=name * 32, rules=rules(), bricks=[brick_on(left, 91), brick_on(right, 92)])
        for name in ("c", "d")
    ]
    for number, copy in enumerate(copies):
        for position, brick in enumerate(copy.bricks):
            brick.id, brick.position = f"{number}{position}" + "c" * 30, position
    answer = ask("PlanRebalance", cluster_id=ONE, volumes=[*pairs, single, *copies])
    assert {move.brick_id for move in answer.moves} == {f"b{number:031x}" for number in range(4)}
    assert {move.brick.node_id for move in answer.moves} == {device.node_id for device in devices[2:]}
    assert {move.from_device_id for move in answer.moves} == {left.id, right.id}
    assert answer.moved_bytes == sum(move.moved_bytes for move in answer.moves) == 40 * GIB
    assert answer.deviation_after == answer.moves[-1].deviation_after < answer.deviation_before
    assert answer.inventory_revision == 3
    assert len(ask("PlanRebalance", cluster_id=ONE, volumes=pairs, max_moves=1).moves) == 1
    assert ask("PlanRebalance", cluster_id=ONE, volumes=pairs, target_deviation=0.5).moves == []


def test_rebalances_that_make_no_sense(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4)
    for fields, field in (
        ({"max_moves": -1}, "max_moves"),
        ({"max_moves": 10_001}, "max_moves"),
        ({"target_deviation": 1.5}, "target_deviation"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            ask("PlanRebalance", cluster_id=ONE, **fields)
        assert caught.value.metadata["field"] == field
    with pytest.raises(NotFoundError):
        ask("PlanRebalance", cluster_id=TWO)


# --- the inventory ----------------------------------------------------------------------------------------------------


def test_known_node_sets_steer_plans_and_are_checked_now_and_then(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=6)
    nodes = [node.id for node in topology.inventories[ONE].nodes]

    def used() -> set[str]:
        plan = ask("PlanVolume", size_bytes=GIB, rules=rules(), cluster_ids=[ONE])
        return {brick.node_id for brick in plan.bricks}

    def change(revision: int, *sets: list[str]) -> None:
        answer = topology.inventories[ONE]
        answer.revision = revision
        answer.complete = False
        del answer.node_sets[:]
        answer.node_sets.extend(inventory_pb2.NodeSet(node_ids=each) for each in sets)

    assert used() == set(nodes[:3])
    change(2, nodes[2:5])
    assert used() == set(nodes[2:5])
    # What is not told again is still known, and is asked for as a whole after many changes.
    change(250)
    assert used() == set(nodes[2:5])
    change(259)
    assert used() == set(nodes[2:5])
    topology.inventories[ONE].all_node_sets = True
    change(600, nodes[1:4])
    assert used() == set(nodes[1:4])
    asked = [each.all_node_sets for each in topology.asked if hasattr(each, "since_revision")]
    assert asked == [False, False, False, False, True]
