"""Violations that no database with unique constraints can hold, and that an empty one has none."""

from dataclasses import replace

from services.topology.domain.consistency import (
    Books,
    BrickFacts,
    ClusterFacts,
    DeviceFacts,
    HostnameFacts,
    NodeFacts,
    VolumeFacts,
    violations,
)

EMPTY = Books(clusters=[], nodes=[], hostnames=[], devices=[], volumes=[], bricks=[], operations=[])


def node(node_id: str, name: str) -> NodeFacts:
    return NodeFacts(node_id, "c", "present", None, 1, [name], [f"s-{node_id}"])


def device(device_id: str, node_id: str) -> DeviceFacts:
    return DeviceFacts(device_id, node_id, "c", "present", None, 1, 100, 10, 0, 0)


def volume(volume_id: str, name: str) -> VolumeFacts:
    return VolumeFacts(volume_id, "c", name, "active", None, "replicate", 2, 0, 0)


def brick(brick_id: str, device_id: str, node_id: str, position: int) -> BrickFacts:
    return BrickFacts(brick_id, "v", device_id, node_id, "active", None, 9, 1, 0, position)


SOUND = replace(
    EMPTY,
    clusters=[ClusterFacts("c", 1, 1)],
    nodes=[node("n1", "m1"), node("n2", "m2")],
    hostnames=[
        HostnameFacts("manage", "m1", "n1"),
        HostnameFacts("manage", "m2", "n2"),
        HostnameFacts("storage", "s-n1", "n1"),
        HostnameFacts("storage", "s-n2", "n2"),
    ],
    devices=[device("d1", "n1"), device("d2", "n2")],
    volumes=[volume("v", "data")],
    bricks=[brick("b1", "d1", "n1", 0), brick("b2", "d2", "n2", 1)],
)


def test_sound_books_have_no_violations() -> None:
    assert violations(EMPTY) == []
    assert violations(SOUND) == []
    assert SOUND.count == 1 + 2 + 4 + 2 + 1 + 2


def test_a_name_that_two_volumes_have() -> None:
    twice = replace(SOUND, clusters=[ClusterFacts("c", 1, 2)], volumes=[volume("v", "data"), volume("w", "data")])
    assert "cluster c has more than one volume with the name data" in violations(twice)
    assert "volume w has no bricks" in violations(twice)


def test_a_host_name_that_two_nodes_have() -> None:
    twice = replace(SOUND, nodes=[node("n1", "m1"), node("n2", "m1")])
    assert "manage host name m1 belongs to more than one node" in violations(twice)


def test_two_members_of_a_set_on_one_node() -> None:
    together = replace(
        SOUND,
        devices=[device("d1", "n1"), device("d2", "n1")],
        bricks=[brick("b1", "d1", "n1", 0), brick("b2", "d2", "n1", 1)],
    )
    assert violations(together) == ["volume v has more than one brick of set 0 on node n1"]


def test_a_gap_in_a_set() -> None:
    gap = replace(SOUND, bricks=[brick("b1", "d1", "n1", 0), brick("b2", "d2", "n2", 2)])
    assert violations(gap) == ["volume v has 2 bricks that do not make whole sets of 2"]
