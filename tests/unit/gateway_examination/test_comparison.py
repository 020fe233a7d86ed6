"""Every kind of difference: told when it is there, and nothing told when it is not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.examination.domain.comparison import compare
from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import (
    InFlight,
    Report,
    Scene,
    SeenGroup,
    SeenLv,
    SeenMount,
    SeenNode,
    SeenPeer,
    SeenSnapshot,
    SeenVolume,
)
from tests.unit.gateway_examination.scenes import (
    CLUSTER,
    GIB,
    METADATA,
    ROOT,
    TOTAL,
    agreeing,
    number,
    on_all,
    on_node,
    with_orphan,
    with_volume,
    without_lvs,
    without_volume,
)

GROUP = f"vg_{number('d', 0)}"
FIRST = agreeing().books.bricks[0]
FREE_ID = number("9", 7)
Change = Callable[[Scene], Scene]


def seen_changed(**values: Any) -> Change:
    """Changes what node 0 sees."""
    return lambda scene: on_node(scene, 0, lambda seen: replace(seen, **values))


def with_field(seen: SeenNode, field: str, value: Any) -> SeenNode:
    values: dict[str, Any] = {field: value}
    return replace(seen, **values)


def added(field: str, *items: object) -> Change:
    """Adds to what node 0 sees."""
    return lambda scene: on_node(scene, 0, lambda seen: with_field(seen, field, (*getattr(seen, field), *items)))


def removed(field: str, index: int = 0) -> Change:
    """Takes away from what node 0 sees."""

    def change(seen: SeenNode) -> SeenNode:
        items = list(getattr(seen, field))
        del items[index]
        return with_field(seen, field, tuple(items))

    return lambda scene: on_node(scene, 0, change)


def group_changed(**values: Any) -> Change:
    return lambda scene: on_node(scene, 0, lambda seen: replace(seen, groups=(replace(seen.groups[0], **values),)))


def lv_changed(name: str, **values: Any) -> Change:
    return lambda scene: on_node(
        scene,
        0,
        lambda seen: replace(seen, lvs=tuple(replace(lv, **values) if lv.name == name else lv for lv in seen.lvs)),
    )


def everywhere_added(field: str, item: object) -> Change:
    """Adds to what every node sees whose glusterd answers."""
    return lambda scene: on_all(
        scene,
        lambda seen: seen if seen.volumes is None else with_field(seen, field, (*getattr(seen, field), item)),
    )


def both(*changes: Change) -> Change:
    def change(scene: Scene) -> Scene:
        for each in changes:
            scene = each(scene)
        return scene

    return change


def volume(name: str, volume_id: str, **values: Any) -> SeenVolume:
    given = {"uuid": "u-1", "started": True, "never_started": False, "bricks": ("10.0.0.1:/elsewhere/brick",), **values}
    return SeenVolume(name=name, volume_id=volume_id, **given)


def lv(name: str, **values: Any) -> SeenLv:
    return SeenLv(group=GROUP, name=name, **{"size_bytes": GIB, **values})


CHANGES: list[tuple[Kind, Change]] = [
    (Kind.NODE_UNREACHABLE, lambda scene: on_node(scene, 0, lambda _seen: SeenNode(silence="no route"))),
    (Kind.GLUSTERD_DOWN, seen_changed(peer_uuid="", peers=(), volumes=None)),
    (Kind.PEER_MISSING, removed("peers")),
    (
        Kind.PEER_DISCONNECTED,
        lambda scene: on_node(
            scene,
            0,
            lambda seen: replace(seen, peers=(replace(seen.peers[0], connected=False), *seen.peers[1:])),
        ),
    ),
    (Kind.FOREIGN_PEER, added("peers", SeenPeer("other", "10.9.9.9", connected=True))),
    (Kind.DEVICE_MISSING, seen_changed(groups=(), lvs=(), mounts=(), fstab=())),
    (
        Kind.DEVICE_SIZE_DIFFERS,
        lambda scene: on_node(
            scene,
            0,
            lambda seen: replace(
                seen,
                groups=(replace(seen.groups[0], total_bytes=TOTAL + GIB, free_bytes=seen.groups[0].free_bytes + GIB),),
            ),
        ),
    ),
    (Kind.DEVICE_UUID_DIFFERS, group_changed(pv_uuid="another")),
    (
        Kind.DEVICE_UUID_UNKNOWN,
        lambda scene: replace(
            scene,
            books=replace(scene.books, devices=(replace(scene.books.devices[0], pv_uuid=""), *scene.books.devices[1:])),
        ),
    ),
    (Kind.FREE_SPACE_DIFFERS, group_changed(free_bytes=TOTAL - GIB - METADATA - 4 * (1 << 20))),
    (Kind.FREE_SPACE_DIFFERS, group_changed(free_bytes=TOTAL - GIB - METADATA + 4 * (1 << 20))),
    (Kind.ORPHAN_DEVICE, added("groups", SeenGroup(name=f"vg_{FREE_ID}", total_bytes=GIB, free_bytes=GIB))),
    (Kind.FOREIGN_GROUP, added("groups", SeenGroup(name="system", total_bytes=GIB, free_bytes=0))),
    (Kind.BRICK_LOST, lambda scene: without_lvs(scene, scene.books.bricks[0])),
    (Kind.BRICK_POOL_DIFFERS, lv_changed(FIRST.lv_name, pool=f"tp_{FREE_ID}")),
    (
        Kind.THIN_POOL_DIFFERS,
        both(
            lv_changed(FIRST.pool_name, size_bytes=2 * GIB),
            group_changed(free_bytes=TOTAL - 2 * GIB - METADATA),
            lambda scene: replace(
                scene,
                books=replace(
                    scene.books,
                    devices=(replace(scene.books.devices[0], unattributed_bytes=GIB), *scene.books.devices[1:]),
                ),
            ),
        ),
    ),
    (Kind.LV_INACTIVE, both(lv_changed(FIRST.lv_name, active=False), removed("mounts"))),
    (Kind.ORPHAN_BRICK, lambda scene: with_orphan(scene, 0)),
    (
        Kind.ORPHAN_POOL,
        both(
            added("lvs", lv(f"tp_{FREE_ID}", is_pool=True, metadata_bytes=METADATA)),
            group_changed(free_bytes=TOTAL - 2 * (GIB + METADATA)),
        ),
    ),
    (Kind.ORPHAN_COPY, added("lvs", lv(f"{FREE_ID}_0", pool=FIRST.pool_name))),
    (Kind.FOREIGN_LV, both(added("lvs", lv("scratch")), group_changed(free_bytes=TOTAL - 2 * GIB - METADATA))),
    (Kind.MISSING_MOUNT, removed("mounts")),
    (
        Kind.MOUNT_DIFFERS,
        seen_changed(mounts=(SeenMount("/dev/sdx", FIRST.mount_point),)),
    ),
    (Kind.MISSING_FSTAB_ENTRY, removed("fstab")),
    (Kind.HEKETI_FSTAB_ENTRY, added("heketi_fstab", SeenMount(FIRST.device, FIRST.mount_point))),
    (Kind.FSTAB_ENTRY_DIFFERS, seen_changed(fstab=(SeenMount("/dev/sdx", FIRST.mount_point),))),
    (
        Kind.ORPHAN_FSTAB_ENTRY,
        added("fstab", SeenMount(f"/dev/mapper/{GROUP}-brick_{FREE_ID}", f"{ROOT}/{GROUP}/brick_{FREE_ID}")),
    ),
    (Kind.FOREIGN_MOUNT, added("mounts", SeenMount("/dev/sdx", f"{ROOT}/mine"))),
    (Kind.FOREIGN_FSTAB_ENTRY, added("fstab", SeenMount("/dev/sdx", "/srv"))),
    (
        Kind.GHOST_VOLUME,
        lambda scene: without_lvs(without_volume(scene, "vol0"), *scene.books.bricks),
    ),
    (Kind.VOLUME_MISSING, lambda scene: without_volume(scene, "vol0")),
    (Kind.VOLUME_NOT_ON_NODE, seen_changed(volumes=())),
    (Kind.VOLUME_ID_DIFFERS, lambda scene: with_volume(scene, 0, volume_id=FREE_ID)),
    (Kind.VOLUME_STOPPED, lambda scene: with_volume(scene, 0, started=False)),
    (
        Kind.BRICK_LIST_DIFFERS,
        lambda scene: with_volume(scene, 0, bricks=(scene.seen[number("e", 0)].volumes or ())[0].bricks[::-1]),
    ),
    (
        Kind.BRICK_ORDER_UNKNOWN,
        lambda scene: replace(
            scene,
            books=replace(
                scene.books, volumes=tuple(replace(each, order_unknown=True) for each in scene.books.volumes)
            ),
        ),
    ),
    (Kind.OPTION_DIFFERS, lambda scene: with_volume(scene, 0, options={"x.y": "off"})),
    (Kind.ORPHAN_VOLUME, everywhere_added("volumes", volume("lost", FREE_ID))),
    (Kind.FOREIGN_VOLUME, everywhere_added("volumes", volume("own", ""))),
    (Kind.FOREIGN_VOLUME, everywhere_added("volumes", volume("clone-by-hand", number("a", 0)))),
    (Kind.ORPHAN_SNAPSHOT, everywhere_added("snapshots", SeenSnapshot(f"tmpsnap_{FREE_ID}", "x" * 32, "vol0"))),
    (Kind.FOREIGN_SNAPSHOT, everywhere_added("snapshots", SeenSnapshot("nightly", "x" * 32, "vol0"))),
]


def kinds(report: Report) -> list[Kind]:
    return [finding.kind for finding in report.findings]


def two_sets_one_gone() -> Scene:
    scene = agreeing(sets=2)
    gone = [brick for brick in scene.books.bricks if brick.set_index == 1]
    told = (scene.seen[number("e", 0)].volumes or ())[0].bricks
    return without_lvs(with_volume(scene, 0, bricks=told[:3]), *gone)


def half_a_ghost() -> Scene:
    scene = agreeing()
    return without_lvs(without_volume(scene, "vol0"), scene.books.bricks[0])


@pytest.mark.parametrize(("kind", "change"), CHANGES, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(CHANGES)])
def test_one_difference_is_told_alone(kind: Kind, change: Change) -> None:
    report = compare(change(agreeing()))
    assert kinds(report) == [kind] * len(report.findings)
    assert report.findings
    for finding in report.findings:
        assert finding.message
        assert finding.advice
        assert finding.cluster_id == CLUSTER
    assert report.clean == kind.is_information


def test_every_kind_has_its_case() -> None:
    assert {kind for kind, _ in CHANGES} | {Kind.GHOST_BRICK} == set(Kind)


def test_ghost_bricks_of_whole_sets_are_told_once() -> None:
    (finding,) = compare(two_sets_one_gone()).findings
    assert finding.kind is Kind.GHOST_BRICK
    assert len(finding.subject.brick_ids) == len(finding.subject.reclaimed_ids) == 3


def test_a_ghost_among_living_bricks_is_left_alone() -> None:
    report = compare(half_a_ghost())
    assert sorted(kinds(report)) == [Kind.GHOST_BRICK, Kind.VOLUME_MISSING]
    assert all(finding.repair is None and finding.advice for finding in report.findings)


@settings(deadline=None, max_examples=60)
@given(
    nodes=st.integers(3, 6),
    volumes=st.integers(0, 4),
    sets=st.integers(1, 3),
    clones=st.integers(0, 3),
    unattributed=st.integers(0, 3).map(lambda count: count * 4 << 20),
)
def test_what_agrees_is_clean(nodes: int, volumes: int, sets: int, clones: int, unattributed: int) -> None:
    scene = agreeing(
        nodes=nodes, volumes=volumes, sets=sets, clones=clones if volumes else 0, unattributed=unattributed
    )
    report = compare(scene)
    assert report.findings == ()
    assert report.compared_count == len(
        (*scene.books.nodes, *scene.books.devices, *scene.books.bricks, *scene.books.volumes)
    )


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(1, 6))
def test_several_differences_are_all_told_whatever_their_order(data: Any, count: int) -> None:
    # These do not touch each other's objects.
    apart = [
        pair
        for pair in CHANGES
        if pair[0].startswith("FOREIGN_")
        or pair[0] in {Kind.MISSING_FSTAB_ENTRY, Kind.ORPHAN_VOLUME, Kind.DEVICE_UUID_DIFFERS, Kind.VOLUME_STOPPED}
    ]
    # These replace what node 0 sees of its groups.
    apart = [pair for pair in apart if pair[0] not in {Kind.FOREIGN_LV, Kind.FOREIGN_GROUP}]
    chosen = data.draw(st.permutations(apart))[:count]
    scene = agreeing(volumes=2, clones=1)
    for _, change in chosen:
        scene = change(scene)
    assert set(kinds(compare(scene))) == {kind for kind, _ in chosen}


@pytest.mark.parametrize(
    "change", [change for kind, change in CHANGES if kind.startswith(("VOLUME_", "MISSING_", "BRICK_"))]
)
def test_what_an_operation_changes_is_left_out_and_counted(change: Change) -> None:
    scene = agreeing()
    busy = {FIRST.volume_id, FIRST.device_id, *(brick.id for brick in scene.books.bricks)}
    report = compare(replace(change(scene), in_flight=InFlight(count=1, ids=frozenset(busy))))
    assert [finding for finding in report.findings if finding.kind is not Kind.VOLUME_NOT_ON_NODE] == []
    assert report.operations_in_flight == 1
    assert report.left_out_count > 0


def test_what_an_operation_makes_is_no_orphan() -> None:
    scene = replace(with_orphan(agreeing(), 0), in_flight=InFlight(count=1, ids=frozenset({FREE_ID, number("d", 0)})))
    assert compare(scene).findings == ()


def test_a_volume_that_an_operation_makes_is_no_orphan() -> None:
    scene = everywhere_added("volumes", volume("mine", FREE_ID))(agreeing())
    assert compare(replace(scene, in_flight=InFlight(count=1, names=frozenset({"mine"})))).findings == ()
    assert compare(replace(scene, in_flight=InFlight(count=1, ids=frozenset({FREE_ID})))).findings == ()


def test_held_objects_are_left_out() -> None:
    scene = agreeing()
    books = replace(
        scene.books,
        devices=tuple(replace(device, held=True) for device in scene.books.devices),
        volumes=tuple(replace(each, held=True) for each in scene.books.volumes),
    )
    empty = on_all(without_volume(scene, "vol0"), lambda seen: replace(seen, groups=(), lvs=(), mounts=(), fstab=()))
    assert compare(replace(empty, books=books)).findings == ()


def test_an_orphan_whose_use_cannot_be_told_is_not_removed() -> None:
    scene = on_node(with_orphan(agreeing(), 0), 0, lambda seen: replace(seen, volumes=None, peer_uuid="", peers=()))
    orphans = [finding for finding in compare(scene).findings if finding.kind is Kind.ORPHAN_BRICK]
    assert [orphan.repair for orphan in orphans] == [None]


def test_a_brick_of_an_unknown_volume_is_told_with_the_volume() -> None:
    path = f"{ROOT}/{GROUP}/brick_{FREE_ID}/brick"
    scene = everywhere_added("volumes", volume("lost", number("8", 1), bricks=(f"10.0.0.0:{path}",)))(
        with_orphan(agreeing(), 0)
    )
    assert kinds(compare(scene)) == [Kind.ORPHAN_VOLUME]


def test_lvs_of_a_snapshot_are_no_orphans() -> None:
    scene = both(
        added("lvs", lv(f"{FREE_ID}_0", pool=FIRST.pool_name)),
        everywhere_added("snapshots", SeenSnapshot("nightly", FREE_ID, "vol0")),
    )(agreeing())
    assert kinds(compare(scene)) == [Kind.FOREIGN_SNAPSHOT]


def test_a_silent_node_proves_nothing() -> None:
    scene = without_lvs(without_volume(agreeing(), "vol0"), *agreeing().books.bricks)
    silent = on_node(scene, 2, lambda _seen: SeenNode(silence="no route"))
    report = compare(silent)
    assert Kind.GHOST_VOLUME not in kinds(report)
    assert [finding.repair for finding in report.findings if finding.repair is not None] == []
    assert report.silent_hostnames == ("node2",)


def test_a_guessed_order_is_told_as_gluster_has_it() -> None:
    scene = agreeing(sets=2)
    told = (scene.seen[number("e", 0)].volumes or ())[0].bricks
    scene = with_volume(scene, 0, bricks=(*told[3:], *told[:3]))
    guessed = replace(
        scene, books=replace(scene.books, volumes=tuple(replace(v, order_unknown=True) for v in scene.books.volumes))
    )
    (finding,) = compare(guessed).findings
    assert (finding.kind, finding.repair) == (Kind.BRICK_ORDER_UNKNOWN, Verb.SET_BRICK_ORDER)
    ids = [brick.id for brick in scene.books.bricks]
    assert finding.subject.brick_ids == (*ids[3:], *ids[:3])


def test_a_guessed_order_of_other_bricks_than_gluster_has_is_a_difference() -> None:
    scene = agreeing(sets=2)
    told = (scene.seen[number("e", 0)].volumes or ())[0].bricks
    scene = with_volume(scene, 0, bricks=told[:3])
    guessed = replace(
        scene, books=replace(scene.books, volumes=tuple(replace(v, order_unknown=True) for v in scene.books.volumes))
    )
    assert Kind.BRICK_LIST_DIFFERS in kinds(compare(guessed))


def test_a_copy_that_a_heketi_made_carries_the_id_of_its_source() -> None:
    scene = with_volume(agreeing(clones=1), 1, volume_id=number("a", 0))
    assert kinds(compare(scene)) == []
    other = with_volume(scene, 1, bricks=(scene.seen[number("e", 0)].volumes or ())[1].bricks[::-1][:2])
    assert Kind.VOLUME_ID_DIFFERS in kinds(compare(other))
