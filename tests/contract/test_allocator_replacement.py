"""AllocatorService.PlanReplacement over gRPC, in this process, on a topology in memory."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from brickyard.topology.v1 import device_pb2, volume_pb2
from services.common.errors import BrickyardError, InvalidArgumentError, NotFoundError, ResourceExhaustedError
from services.common.reasons import Reason
from tests.contract.allocator_server import GIB, MIB, FakeTopology, Request, rules, served_allocator

ONE = "1" * 32


@pytest.fixture
def topology() -> FakeTopology:
    return FakeTopology()


@pytest.fixture
def ask(topology: FakeTopology) -> Iterator[Request]:
    with served_allocator(topology) as request:
        yield request


def planned_bricks(ask: Request, **fields: Any) -> list[volume_pb2.Brick]:
    """A new volume's bricks, as topology would tell them."""
    plan = ask("PlanVolume", size_bytes=10 * GIB, rules=rules(**fields), cluster_ids=[ONE])
    return [
        volume_pb2.Brick(
            id=f"b{number:031x}",
            device_id=placed.device_id,
            node_id=placed.node_id,
            size_bytes=placed.size_bytes,
            role=placed.role,
            set_index=placed.set_index,
            position=placed.position,
        )
        for number, placed in enumerate(plan.bricks)
    ]


@pytest.mark.parametrize("strategy", ["spread", "ring"])
def test_a_brick_moves_to_a_node_that_its_set_does_not_use(topology: FakeTopology, ask: Request, strategy: str) -> None:
    topology.add(ONE, nodes=5, revision=9)
    bricks = planned_bricks(ask)
    answer = ask(
        "PlanReplacement", cluster_id=ONE, brick_id=bricks[1].id, bricks=bricks, rules=rules(strategy=strategy)
    )
    assert answer.inventory_revision == 9
    placed = answer.brick
    assert placed.node_id not in {bricks[0].node_id, bricks[2].node_id}
    assert placed.device_id != bricks[1].device_id
    assert (placed.set_index, placed.position, placed.role) == (0, 1, volume_pb2.BRICK_ROLE_DATA)
    assert (placed.size_bytes, placed.thin_pool_size_bytes) == (10 * GIB, 10 * GIB)
    assert placed.pool_metadata_size_bytes % (4 * MIB) == 0


def test_other_sets_of_the_volume_do_not_matter(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4)
    bricks = planned_bricks(ask)
    (free,) = {node.id for node in topology.inventories[ONE].nodes} - {brick.node_id for brick in bricks}
    other = volume_pb2.Brick(id="f" * 32, node_id=free, device_id="f" * 32, set_index=1)
    answer = ask("PlanReplacement", cluster_id=ONE, brick_id=bricks[0].id, bricks=[*bricks, other], rules=rules())
    assert answer.brick.node_id == free


def test_another_disk_of_the_same_node_will_do(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=3)
    bricks = planned_bricks(ask)
    second = topology.inventories[ONE].devices.add()
    second.CopyFrom(next(each for each in topology.inventories[ONE].devices if each.id == bricks[0].device_id))
    second.id = "e" * 32
    topology.inventories[ONE].revision += 1
    answer = ask("PlanReplacement", cluster_id=ONE, brick_id=bricks[0].id, bricks=bricks, rules=rules())
    assert answer.brick.device_id == "e" * 32
    error = refused(ask, bricks, excluded_node_ids=[bricks[0].node_id])
    assert reasons(error)["e" * 32] == "EXCLUDED"
    error = refused(ask, bricks, excluded_device_ids=["e" * 32])
    assert reasons(error)["e" * 32] == "EXCLUDED"


def test_the_brick_of_an_arbiter_keeps_its_size(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4)
    bricks = planned_bricks(ask, arbiter=True)
    free = {node.id for node in topology.inventories[ONE].nodes} - {brick.node_id for brick in bricks}
    arbiter = bricks[2]
    answer = ask("PlanReplacement", cluster_id=ONE, brick_id=arbiter.id, bricks=bricks, rules=rules(arbiter=True))
    assert answer.brick.role == volume_pb2.BRICK_ROLE_ARBITER
    assert answer.brick.size_bytes == arbiter.size_bytes == 163840 * 1024
    for device in topology.inventories[ONE].devices:
        if device.node_id in free:
            device.tags["arbiter"] = "disabled"
    topology.inventories[ONE].revision += 1
    error = refused(ask, bricks, brick_id=arbiter.id, rules=rules(arbiter=True))
    assert "ARBITER_CLASS" in reasons(error).values()


def refused(ask: Request, bricks: list[volume_pb2.Brick], **fields: Any) -> BrickyardError:
    given = {"cluster_id": ONE, "brick_id": bricks[0].id, "bricks": bricks, "rules": rules(), **fields}
    with pytest.raises(ResourceExhaustedError) as caught:
        ask("PlanReplacement", **given)
    assert caught.value.reason is Reason.REPLACEMENT_NOT_FOUND
    return caught.value


def reasons(error: BrickyardError) -> dict[str, str]:
    return {row["device"]: row["reason"] for row in json.loads(error.metadata["devices"])}


def test_no_replacement_tells_why_of_each_device(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=7)
    bricks = planned_bricks(ask)
    used = {brick.device_id: brick for brick in bricks}
    spare = [device for device in topology.inventories[ONE].devices if device.id not in used]
    spare[0].state = device_pb2.DEVICE_STATE_OFFLINE
    spare[1].free_bytes = 10 * GIB
    spare[2].free_bytes = 3 * GIB
    spare[3].tags["tier"] = "cold"
    topology.inventories[ONE].revision += 1
    error = refused(ask, bricks, rules=rules(tag_rule="tier!=cold"))
    assert reasons(error) == {
        bricks[0].device_id: "CURRENT_DEVICE",
        bricks[1].device_id: "NODE_TAKEN",
        bricks[2].device_id: "NODE_TAKEN",
        spare[0].id: "DEVICE_OFFLINE",
        spare[1].id: "TOO_SMALL",
        spare[2].id: "TOO_SMALL",
        spare[3].id: "TAG_MISMATCH",
    }
    assert error.message.startswith("No replacement: no other device can take the brick of 10 GiB; 2 of 6 are on nodes")
    assert "2 of 6 are too small (it needs 10.1 GiB; the best, on node" in error.message
    assert "has 10 GiB free)" in error.message
    assert "1 of 6 is offline" in error.message
    assert error.metadata["brick_id"] == bricks[0].id


def test_strict_zones_of_the_other_bricks_are_taken(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4)
    bricks = planned_bricks(ask)
    inventory = topology.inventories[ONE]
    zone = {node.id: node.zone for node in inventory.nodes}
    (free,) = (node for node in inventory.nodes if node.id not in {brick.node_id for brick in bricks})
    free.zone = zone[bricks[1].node_id]
    inventory.revision += 1
    strict = rules(zone_rule="ZONE_RULE_STRICT")
    error = refused(ask, bricks, rules=strict)
    assert "ZONE_TAKEN" in reasons(error).values()
    free.zone = zone[bricks[0].node_id]
    inventory.revision += 1
    answer = ask("PlanReplacement", cluster_id=ONE, brick_id=bricks[0].id, bricks=bricks, rules=strict)
    assert answer.brick.node_id == free.id


def test_requests_that_make_no_sense(topology: FakeTopology, ask: Request) -> None:
    topology.add(ONE, nodes=4)
    bricks = planned_bricks(ask)
    for fields, field in (
        ({"brick_id": "0" * 32}, "brick_id"),
        ({"bricks": [volume_pb2.Brick(id=bricks[0].id)]}, "bricks"),
        ({"rules": rules(strategy="dice")}, "strategy"),
    ):
        given = {"cluster_id": ONE, "brick_id": bricks[0].id, "bricks": bricks, "rules": rules(), **fields}
        with pytest.raises(InvalidArgumentError) as caught:
            ask("PlanReplacement", **given)
        assert caught.value.metadata["field"] == field
    with pytest.raises(InvalidArgumentError) as wrong:
        ask("PlanReplacement", cluster_id=ONE, brick_id=bricks[0].id, bricks=bricks, rules=rules(tag_rule="no rule"))
    assert wrong.value.reason is Reason.INVALID_TAG_RULE
    with pytest.raises(NotFoundError):
        ask("PlanReplacement", cluster_id="2" * 32, brick_id=bricks[0].id, bricks=bricks, rules=rules())
