"""CheckConsistency finds what is wrong in a database that was damaged behind the topology's back."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.topology.domain.consistency import INVARIANTS
from services.topology.usecases import consistency
from tests.unit.topology.builders import (
    METADATA_BYTES,
    OFFLINE,
    World,
    add_device_spec,
    add_node_spec,
    clone_spec,
    create_spec,
    delete_spec,
    device_message,
    device_state_spec,
    expand_spec,
    more_bricks,
    node_message,
    volume_message,
)

GONE = "f" * 32
GIB = 2**30
NEEDED = GIB + METADATA_BYTES


@dataclass(frozen=True)
class Ids:
    """What stands in the damaged database."""

    cluster: str
    other: str
    node: str
    device: str
    device2: str
    volume: str
    brick: str
    pending_volume: str
    pending_brick: str
    operation: str
    idle_operation: str
    source: str
    copy: str
    copy_brick: str
    cloning: str
    growing: str
    new_brick: str
    expanding: str


@pytest.fixture
def ids(world: World) -> Ids:
    """A topology with something of each kind, also in the middle of operations."""
    cluster, other = world.cluster(), world.cluster()
    members = world.devices(cluster.id, 3)
    volume = world.volume(cluster.id, members[:2], replica_count=2)
    deleted = world.volume(cluster.id, members[:2], replica_count=2)
    world.begin(delete_spec(deleted.id))
    pending = volume_message(cluster.id, [members[2]], name="pending")
    operation = world.begin(create_spec(pending))
    world.begin(add_node_spec(node_message(cluster.id)))
    world.begin(add_device_spec(device_message(members[0].node_id)))
    idle = world.begin(device_state_spec(members[1].id, OFFLINE))
    # These on devices of their own, so that the figures of the others stay simple.
    apart = world.devices(other.id, 2)
    source = world.volume(other.id, apart[:1], name="source")
    world.clone(source)
    cloning = world.begin(clone_spec(source))
    growing = world.volume(other.id, apart[1:], name="growing")
    new = more_bricks(apart[1:], first_set=1)
    expanding = world.begin(expand_spec(growing.id, new))
    assert world.violations() == []
    return Ids(
        cluster=cluster.id,
        other=other.id,
        node=members[0].node_id,
        device=members[0].id,
        device2=members[1].id,
        volume=volume.id,
        brick=volume.bricks[0].id,
        pending_volume=pending.id,
        pending_brick=pending.bricks[0].id,
        operation=operation.id,
        idle_operation=idle.id,
        source=source.id,
        copy=cloning.target_id,
        copy_brick=cloning.spec.clone_volume.brick_ids[0],
        cloning=cloning.id,
        growing=growing.id,
        new_brick=new[0].id,
        expanding=expanding.id,
    )


CASES = {
    "used": (
        "UPDATE device SET used_bytes = used_bytes + 1 WHERE id = '{device}'",
        [
            f"device {{device}} has {2 * NEEDED + 1} bytes used; its bricks take {2 * NEEDED}, and 0 are of no brick",
        ],
    ),
    "reserved": (
        "UPDATE device SET reserved_bytes = 5 WHERE id = '{device}'",
        ["device {device} has 5 bytes reserved; bricks of running operations need 0"],
    ),
    "overfull": (
        "UPDATE device SET total_bytes = 1 WHERE id = '{device}'",
        [f"device {{device}} has 1 bytes; {2 * NEEDED} used and 0 reserved are more"],
    ),
    "negative": (
        "UPDATE device SET reserved_bytes = -1 WHERE id = '{device}'",
        [
            "device {device} has -1 bytes reserved; bricks of running operations need 0",
            "device {device} has a negative size",
        ],
    ),
    "failed device with bricks": (
        "UPDATE device SET state = 'failed' WHERE id = '{device}'",
        ["device {device} has failed, and has brick {brick}"],
    ),
    "failed node with bricks": (
        "UPDATE node SET state = 'failed' WHERE id = '{node}'",
        ["node {node} has failed, and has brick {brick}"],
    ),
    "a part of an extent": (
        "UPDATE brick SET thin_pool_size_bytes = thin_pool_size_bytes + 1 WHERE id = '{brick}'",
        ["brick {brick} is not in whole extents of"],
    ),
    "bricks of different sizes": (
        "UPDATE brick SET size_bytes = size_bytes + 1 WHERE id = '{brick}'",
        ["the data bricks of set 0 of volume {volume} have different sizes"],
    ),
    "living and buried": (
        "INSERT INTO tombstone VALUES ('{device}', 'device', '{cluster}', 1, 1)",
        ["device {device} is recorded, and was reported as removed"],
    ),
    "lost brick": (
        "DELETE FROM brick WHERE id = '{brick}'",
        [
            f"device {{device}} has {2 * NEEDED} bytes used; its bricks take {NEEDED}, and 0 are of no brick",
            "volume {volume} has 1 bricks that do not make whole sets of 2",
        ],
    ),
    "lost volume": (
        "DELETE FROM volume WHERE id = '{pending_volume}'",
        [
            "cluster {cluster} counts 3 volumes, it has 2",
            "brick {pending_brick} is of the unknown volume {pending_volume}",
            "operation {operation} (create_volume) runs and does not hold its target {pending_volume}",
        ],
    ),
    "lost device": (
        "UPDATE brick SET device_id = '{gone}' WHERE id = '{pending_brick}'",
        ["brick {pending_brick} is on the unknown device {gone}"],
    ),
    "wrong node of a brick": (
        "UPDATE brick SET node_id = '{gone}' WHERE id = '{brick}'",
        ["brick {brick} is on node {gone}, its device {device} on {node}"],
    ),
    "lost node": (
        "DELETE FROM node WHERE id = '{node}'",
        ["device {device} is of the unknown node {node}"],
    ),
    "lost cluster": (
        "DELETE FROM cluster WHERE id = '{cluster}'",
        ["node {node} is of the unknown cluster {cluster}", "volume {volume} is of the unknown cluster {cluster}"],
    ),
    "volume in another cluster": (
        "UPDATE volume SET cluster_id = '{other}' WHERE id = '{volume}'",
        [
            "cluster {cluster} counts 3 volumes, it has 2",
            "cluster {other} counts 4 volumes, it has 5",
            "brick {brick} is on a device of cluster {cluster}, its volume of {other}",
        ],
    ),
    "device in another cluster": (
        "UPDATE device SET cluster_id = '{other}' WHERE id = '{device}'",
        ["device {device} is of cluster {other}, its node {node} of {cluster}"],
    ),
    "revision": (
        "UPDATE node SET revision = 999 WHERE id = '{node}'",
        ["cluster {cluster} has revision 10, a member has 999"],
    ),
    "lost host name": (
        "DELETE FROM hostname WHERE node_id = '{node}' AND kind = 'manage'",
        ["node {node} has the manage host name m-{node}, which is not registered for it"],
    ),
    "stale host name": (
        "INSERT INTO hostname (kind, name, node_id) VALUES ('storage', 'old', '{node}')",
        ["storage host name old is registered for node {node}, which has no such name"],
    ),
    "lost operation": (
        "DELETE FROM operation WHERE id = '{operation}'",
        [
            "volume {pending_volume} is held by operation {operation}, which does not run for it",
            "brick {pending_brick} is held by operation {operation}, which does not run",
        ],
    ),
    "ended operation": (
        "UPDATE operation SET state = 'failed', end_time_us = 1 WHERE id = '{operation}'",
        ["volume {pending_volume} is held by operation {operation}, which does not run for it"],
    ),
    "operation without target": (
        "UPDATE device SET operation_id = NULL WHERE id = '{device2}'",
        ["operation {idle_operation} (set_device_state) runs and does not hold its target {device2}"],
    ),
    "target of another operation": (
        "UPDATE device SET operation_id = '{operation}' WHERE id = '{device}'",
        ["device {device} is held by operation {operation}, which does not run for it"],
    ),
    "change without operation": (
        "UPDATE volume SET operation_id = NULL WHERE id = '{pending_volume}'",
        ["volume {pending_volume} is being changed, and no operation does it"],
    ),
    "brick apart from its volume": (
        "UPDATE brick SET state = 'active', operation_id = NULL WHERE id = '{pending_brick}'",
        [
            (
                "brick {pending_brick} is active for operation None, "
                "its volume {pending_volume} is creating for {operation}"
            ),
        ],
    ),
    "copy outside of the pool": (
        "UPDATE brick SET thin_pool_name = 'x' WHERE id = '{copy_brick}'",
        ["the bricks of volume {copy} are not in the thin pools of {source}, from which it is copied"],
    ),
    "sizes of a pool": (
        "UPDATE brick SET pool_metadata_size_bytes = 0 WHERE id = '{copy_brick}'",
        ["do not agree on its size"],
    ),
    "source that is not held": (
        "UPDATE volume SET operation_id = NULL WHERE id = '{source}'",
        ["volume {copy} is copied from {source}, which its operation does not hold"],
    ),
    "lost copy": (
        "UPDATE volume SET origin_volume_id = NULL WHERE id = '{copy}'",
        ["volume {source} is held by operation {cloning}, which does not run for it"],
    ),
    "brick without a path": (
        "UPDATE brick SET path = '' WHERE id = '{brick}'",
        ["brick {brick} is active and has no path or no LV"],
    ),
    "LV of two bricks": (
        "UPDATE brick SET lv_name = (SELECT lv_name FROM brick WHERE volume_id = '{source}') WHERE id = '{copy_brick}'",
        ["more than one brick has the LV "],
    ),
    "growing without operation": (
        "UPDATE volume SET operation_id = NULL WHERE id = '{growing}'",
        [
            "brick {new_brick} is creating for operation {expanding}, its volume {growing} is active for None",
            "operation {expanding} (expand_volume) runs and does not hold its target {growing}",
        ],
    ),
    "brick state without operation": (
        "UPDATE brick SET operation_id = NULL WHERE id = '{pending_brick}'",
        ["brick {pending_brick} is creating for operation None"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_named(world: World, ids: Ids, corrupt: Callable[..., None], name: str) -> None:
    statement, expected = CASES[name]
    words = {**ids.__dict__, "gone": GONE}
    corrupt(statement.format(**words))
    found = world.violations()
    for sentence in expected:
        assert any(sentence.format(**words) in each for each in found), found


def test_everything_is_looked_at(world: World, ids: Ids) -> None:
    del ids
    violations, count = consistency.check(world.store)
    invariants, _count = consistency.prove(world.store)
    assert [invariant.name for invariant in invariants] == [each.name for each in INVARIANTS]
    # 2 clusters, 6 nodes with 2 host names each, 6 devices, 7 volumes, 10 bricks;
    # 13 operations in the first cluster, 4 + 3 + 2 in the other.
    assert (violations, count) == ([], 2 + 6 + 12 + 6 + 7 + 10 + 22)
