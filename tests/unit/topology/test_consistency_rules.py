"""Violations that no database with unique constraints can hold, and that an empty one has none."""

from dataclasses import replace

from services.topology.domain.consistency import INVARIANTS, violations
from services.topology.domain.member_consistency import identity_violations
from services.topology.domain.stored import (
    Books,
    BrickFacts,
    ClusterFacts,
    DeviceFacts,
    HolderFacts,
    HostnameFacts,
    NodeFacts,
    VolumeFacts,
)

EMPTY = Books(clusters=[], nodes=[], hostnames=[], devices=[], volumes=[], bricks=[], operations=[])


def node(node_id: str, name: str) -> NodeFacts:
    return NodeFacts(node_id, "c", "present", None, 1, [name], [f"s-{node_id}"])


def device(device_id: str, node_id: str) -> DeviceFacts:
    return DeviceFacts(device_id, node_id, "c", "present", None, 1, 100, 10, 0, 0)


def volume(volume_id: str, name: str) -> VolumeFacts:
    return VolumeFacts(volume_id, "c", name, "active", None, "replicate", 2, 0, 0, None)


def brick(brick_id: str, device_id: str, node_id: str, position: int) -> BrickFacts:
    lv = f"lv_{brick_id}"
    return BrickFacts(brick_id, "v", device_id, node_id, "active", None, 9, 1, "tp", "/b", lv, 0, position)


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


def copied(**fields: object) -> Books:
    """The sound books with a copy of the volume that is being made."""
    bricks = [
        each._replace(id=f"c{each.id}", volume_id="w", state="creating", operation_id="o", path="", lv_name="")
        for each in SOUND.bricks
    ]
    books = replace(
        SOUND,
        clusters=[ClusterFacts("c", 1, 2)],
        volumes=[
            volume("v", "data")._replace(operation_id="o"),
            volume("w", "copy")._replace(state="creating", operation_id="o", origin_volume_id="v"),
        ],
        bricks=[*SOUND.bricks, *bricks],
        operations=[HolderFacts("o", "clone_volume", "w", "c", "running")],
    )
    return replace(books, **fields)  # type: ignore[arg-type]


def test_a_copy_in_the_making_is_sound_and_takes_no_space() -> None:
    assert violations(copied()) == []


def test_a_finished_copy_shares_the_pools() -> None:
    bricks = [
        each._replace(state="active", operation_id=None, path="/b", lv_name=f"lv_{each.id}") for each in copied().bricks
    ]
    volumes = [each._replace(state="active", operation_id=None) for each in copied().volumes]
    assert violations(copied(volumes=volumes, bricks=bricks, operations=[])) == []
    # The origin is gone: nothing else changes.
    alone = [each for each in bricks if each.volume_id == "w"]
    clusters = [ClusterFacts("c", 1, 1)]
    assert violations(copied(clusters=clusters, volumes=volumes[1:], bricks=alone, operations=[])) == []


def test_a_copy_in_another_pool_than_its_source() -> None:
    moved = [*copied().bricks[:3], copied().bricks[3]._replace(thin_pool_name="other")]
    assert violations(copied(bricks=moved)) == [
        "device d2 has 0 bytes reserved; bricks of running operations need 10",
        "the bricks of volume w are not in the thin pools of v, from which it is copied",
    ]


def test_a_copy_whose_source_is_not_held() -> None:
    volumes = [volume("v", "data"), copied().volumes[1]]
    assert violations(copied(volumes=volumes)) == ["volume w is copied from v, which its operation does not hold"]


def test_a_source_that_is_held_without_a_copy() -> None:
    volumes = [copied().volumes[0]]
    found = violations(copied(clusters=[ClusterFacts("c", 1, 1)], volumes=volumes, bricks=SOUND.bricks))
    assert found == [
        "volume v is held by operation o, which does not run for it",
        "operation o (clone_volume) runs and does not hold its target w",
    ]


def test_rows_of_one_pool_that_differ() -> None:
    bricks = [*copied().bricks[:3], copied().bricks[3]._replace(pool_metadata_size_bytes=0)]
    assert violations(copied(bricks=bricks)) == ["the bricks in thin pool tp of device d2 do not agree on its size"]


def test_a_pool_that_one_volume_has_twice() -> None:
    twice = brick("b2", "d1", "n1", 1)._replace(set_index=1, position=0)
    books = replace(
        SOUND,
        volumes=[volume("v", "data")._replace(durability_type="none")],
        bricks=[brick("b1", "d1", "n1", 0), twice],
    )
    assert violations(books) == [
        "device d2 has 10 bytes used; its bricks take 0, and 0 are of no brick",
        "volume v has more than one brick in thin pool tp of device d1",
    ]


def test_an_lv_that_two_bricks_have() -> None:
    twice = brick("b2", "d1", "n1", 1)._replace(thin_pool_name="tp2", lv_name="lv_b1", set_index=1, position=0)
    books = replace(
        SOUND,
        devices=[device("d1", "n1")._replace(used_bytes=20), device("d2", "n2")._replace(used_bytes=0)],
        volumes=[volume("v", "data")._replace(durability_type="none")],
        bricks=[brick("b1", "d1", "n1", 0), twice],
    )
    assert violations(books) == ["more than one brick has the LV lv_b1 of device d1"]


def test_a_finished_brick_without_a_path() -> None:
    books = replace(SOUND, bricks=[SOUND.bricks[0]._replace(path=""), SOUND.bricks[1]._replace(lv_name="")])
    assert violations(books) == [
        "brick b1 is active and has no path or no LV",
        "brick b2 is active and has no path or no LV",
    ]


def growing(**fields: object) -> BrickFacts:
    new = brick("b3", "d1", "n1", 0)._replace(thin_pool_name="new", set_index=1, state="creating", operation_id="o")
    return new._replace(**fields)  # type: ignore[arg-type]


def grown(*bricks: BrickFacts) -> Books:
    return replace(
        SOUND,
        devices=[
            device("d1", "n1")._replace(reserved_bytes=10),
            device("d2", "n2")._replace(reserved_bytes=10),
        ],
        volumes=[volume("v", "data")._replace(operation_id="o")],
        bricks=[*SOUND.bricks, *bricks],
        operations=[HolderFacts("o", "expand_volume", "v", "c", "running")],
    )


def test_a_volume_that_grows() -> None:
    second = growing(id="b4", device_id="d2", node_id="n2", position=1, lv_name="lv_b4")
    assert violations(grown(growing(), second)) == []
    assert "volume v has 3 bricks that do not make whole sets of 2" in violations(grown(growing()))
    other = "brick b4 is creating for operation p, its volume v is active for o"
    assert other in violations(grown(growing(), second._replace(operation_id="p")))


def test_a_disk_is_one_device() -> None:
    one = device("d1", "n1")._replace(path="/dev/sdb", pv_uuid="uuid")
    same = one._replace(id="d2")
    elsewhere = one._replace(id="d3", node_id="n2")
    assert list(identity_violations(replace(SOUND, devices=[one, elsewhere]))) == []
    assert list(identity_violations(replace(SOUND, devices=[one, same]))) == [
        "node n1 has 2 devices with the path /dev/sdb",
        "node n1 has 2 devices with the physical volume uuid",
    ]


def test_every_invariant_has_a_name_of_its_own() -> None:
    assert len({invariant.name for invariant in INVARIANTS}) == len(INVARIANTS)
    assert all(invariant.sentence for invariant in INVARIANTS)
