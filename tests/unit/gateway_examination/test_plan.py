"""What repair does, in which order, and above all what it does not."""

import contextlib
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.examination.domain.comparison import compare
from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import Scene
from gateway.examination.domain.plan import Plan, plan_repair
from tests.unit.gateway_examination.scenes import (
    agreeing,
    number,
    on_all,
    on_node,
    with_orphan,
    with_volume,
    without_lvs,
    without_volume,
)
from tests.unit.gateway_examination.test_comparison import (
    CHANGES,
    FREE_ID,
    everywhere_added,
    half_a_ghost,
    two_sets_one_gone,
    volume,
)


def plan_of(scene: Scene, **given: Any) -> Plan:
    return plan_repair(compare(scene), **given)


def verbs(plan: Plan) -> list[Verb]:
    return [action.verb for action in plan.actions]


def unmounted(scene: Scene, node: int = 0) -> Scene:
    return on_node(scene, node, lambda seen: replace(seen, mounts=(), fstab=()))


def test_nothing_to_do() -> None:
    assert plan_of(agreeing()) == Plan(actions=(), left=())


def test_mount_and_entry_of_a_brick_are_one_action_and_its_process_is_started_after() -> None:
    plan = plan_of(unmounted(agreeing()))
    assert verbs(plan) == [Verb.RESTORE_BRICK, Verb.RESTART_BRICKS]
    assert [finding.kind for finding in plan.actions[0].findings] == [Kind.MISSING_FSTAB_ENTRY, Kind.MISSING_MOUNT]
    assert plan.actions[0].hostname == "node0"


def test_a_stopped_volume_is_started_after_its_bricks_are_mounted() -> None:
    plan = plan_of(with_volume(unmounted(agreeing()), 0, started=False))
    assert verbs(plan) == [Verb.RESTORE_BRICK, Verb.START_VOLUME]


def test_no_brick_process_is_started_beside_a_lost_brick() -> None:
    scene = unmounted(agreeing())
    plan = plan_of(without_lvs(scene, scene.books.bricks[1]))
    assert verbs(plan) == [Verb.RESTORE_BRICK]
    assert [finding.kind for finding in plan.left] == [Kind.BRICK_LOST]


def test_ghosts_are_dropped_whole() -> None:
    (action,) = plan_of(without_lvs(without_volume(agreeing(), "vol0"), *agreeing().books.bricks)).actions
    assert action.verb is Verb.DROP_GHOSTS
    assert set(action.subject.brick_ids) == {brick.id for brick in agreeing().books.bricks}
    (action,) = plan_of(two_sets_one_gone()).actions
    assert action.verb is Verb.DROP_GHOSTS
    assert len(action.subject.brick_ids) == 3


def test_half_a_ghost_stays() -> None:
    plan = plan_of(half_a_ghost())
    assert plan.actions == ()
    assert len(plan.left) == 2


def test_an_unknown_volume_is_removed_only_when_it_was_never_started_or_by_name() -> None:
    scene = everywhere_added("volumes", volume("lost", FREE_ID))(agreeing())
    assert verbs(plan_of(scene)) == []
    assert f"--remove-volume {FREE_ID}" in plan_of(scene).left[0].advice
    assert verbs(plan_of(scene, doomed_volume_ids={FREE_ID})) == [Verb.REMOVE_ORPHAN_VOLUME]
    fresh = everywhere_added("volumes", volume("lost", FREE_ID, started=False, never_started=True))(agreeing())
    assert verbs(plan_of(fresh)) == [Verb.REMOVE_ORPHAN_VOLUME]


def test_a_volume_of_somebody_else_is_not_removed_even_by_name() -> None:
    for other in (volume("own", ""), volume("clone-by-hand", number("a", 0))):
        scene = everywhere_added("volumes", other)(agreeing())
        assert verbs(plan_of(scene, doomed_volume_ids={"", number("a", 0)})) == []


def test_an_unknown_volume_on_bricks_of_the_records_is_not_removed_even_by_name() -> None:
    scene = agreeing()
    bricks = (scene.seen[number("e", 0)].volumes or ())[0].bricks
    scene = everywhere_added("volumes", volume("stolen", FREE_ID, never_started=True, bricks=bricks))(scene)
    scene = without_volume(scene, "vol0")
    assert verbs(plan_of(scene, doomed_volume_ids={FREE_ID})) == []


REMOVALS = [change for kind, change in CHANGES if kind != Kind.NODE_UNREACHABLE]


@settings(deadline=None, max_examples=150)
@given(data=st.data(), nodes=st.integers(3, 5), sets=st.integers(1, 2), clones=st.integers(0, 2))
def test_no_action_ever_removes_what_a_volume_has(data: Any, nodes: int, sets: int, clones: int) -> None:
    """Whatever is broken: nothing that gluster uses, and nothing of the records that exists, is taken away."""
    scene = agreeing(nodes=nodes, volumes=2, sets=sets, clones=clones)
    if data.draw(st.booleans()):
        scene = with_orphan(scene, data.draw(st.integers(0, nodes - 1)))
    for change in data.draw(st.lists(st.sampled_from(REMOVALS), max_size=4)):
        # An earlier change may have taken away what this one changes.
        with contextlib.suppress(IndexError):
            scene = change(scene)
    if data.draw(st.booleans()):
        # The records lose a volume, as after the restore of an old backup; gluster and LVM keep it.
        lost = data.draw(st.sampled_from([each.id for each in scene.books.volumes]))
        scene = replace(
            scene,
            books=replace(
                scene.books,
                volumes=tuple(each for each in scene.books.volumes if each.id != lost),
                bricks=tuple(each for each in scene.books.bricks if each.volume_id != lost),
            ),
        )
    used = {
        part
        for seen in scene.seen.values()
        for each in seen.volumes or ()
        for brick in each.bricks
        for part in brick.split("/")
    }
    stems = {each.uuid.replace("-", "") for seen in scene.seen.values() for each in seen.volumes or ()}
    existing = {(node_id, lv.group, lv.name) for node_id, seen in scene.seen.items() for lv in seen.lvs}
    recorded = {brick.id: brick for brick in scene.books.bricks}
    for action in plan_of(scene).actions:
        if action.verb is Verb.REMOVE_ORPHAN_BRICK:
            assert f"brick_{action.subject.brick_id}" not in used
            assert action.subject.brick_id not in recorded
        elif action.verb is Verb.DROP_GHOSTS:
            for brick_id in action.subject.brick_ids:
                brick = recorded[brick_id]
                assert (brick.node_id, f"vg_{brick.device_id}", brick.lv_name) not in existing
                assert brick.lv_name not in used
        elif action.verb is Verb.REMOVE_ORPHAN_COPIES:
            assert all(finding.object.partition("/")[2].partition("_")[0] not in stems for finding in action.findings)
        elif action.verb is Verb.REMOVE_ORPHAN_VOLUME:
            told = [
                v for seen in scene.seen.values() for v in seen.volumes or () if v.name == action.subject.volume_name
            ]
            assert all(each.never_started for each in told)


def test_everything_is_named_even_when_nothing_is_mended() -> None:
    scene = on_all(agreeing(), lambda seen: replace(seen, groups=(), lvs=(), mounts=(), fstab=()))
    plan = plan_of(scene)
    assert plan.actions == ()
    assert [finding.kind for finding in plan.left] == [Kind.DEVICE_MISSING] * 3
