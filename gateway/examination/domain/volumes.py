"""Gluster volumes of a cluster against the records. Pure."""

from collections.abc import Iterator, Sequence

from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import (
    BookedBrick,
    BookedNode,
    BookedVolume,
    Finding,
    SeenVolume,
    Subject,
    group_name,
    plain_path,
)
from gateway.examination.domain.view import View

_OUR_SNAPSHOT = "tmpsnap_"


def check_volumes(view: View, cluster_id: str) -> Iterator[Finding]:
    """The volumes of the records, then those beyond. Nothing when no glusterd of the cluster answers."""
    tellers = [node for node in view.members(cluster_id) if view.gluster_known(node.id)]
    if not tellers:
        return
    for volume in view.scene.books.volumes:
        if volume.cluster_id == cluster_id and not view.volume_busy(volume):
            view.compared.add(volume.id)
            yield from _check_volume(view, volume, tellers)
    yield from _check_unknown(view, cluster_id, tellers)
    yield from _check_snapshots(view, cluster_id, tellers)


def _finding(
    volume: BookedVolume,
    kind: Kind,
    message: str,
    *,
    advice: str,
    repair: Verb | None = None,
    subject: Subject | None = None,
) -> Finding:
    return Finding(
        kind=kind,
        cluster_id=volume.cluster_id,
        object=volume.id,
        message=message,
        advice=advice,
        repair=repair,
        subject=subject or Subject(volume_id=volume.id, volume_name=volume.name),
    )


def _check_volume(view: View, volume: BookedVolume, tellers: Sequence[BookedNode]) -> Iterator[Finding]:
    seen = {node.id: found for node in tellers if (found := view.named(node.id, volume.name)) is not None}
    if not seen:
        yield _absent_volume(view, volume, tellers)
        return
    for node in tellers:
        if node.id not in seen:
            yield view.on(
                node,
                Kind.VOLUME_NOT_ON_NODE,
                volume.id,
                f"glusterd on {node.hostname} does not know volume {volume.name}, others do",
                advice=f"on {node.hostname}: gluster volume sync HOST {volume.name}, with HOST a node that knows it",
            )
    first = next(iter(seen.values()))
    if first.volume_id and first.volume_id != volume.id and not _is_heketis_copy(view, volume, first):
        yield _finding(
            volume,
            Kind.VOLUME_ID_DIFFERS,
            f"gluster's volume {volume.name} carries the id {first.volume_id}, the records say {volume.id}",
            advice="nothing is mended; somebody has made another volume of this name",
        )
        return
    if not all(each.started for each in seen.values()):
        yield _finding(
            volume,
            Kind.VOLUME_STOPPED,
            f"volume {volume.name} ({volume.id}) is not started, so nobody can mount it",
            advice="it is started",
            repair=Verb.START_VOLUME,
        )
    yield from _check_bricks(view, volume, first)
    yield from _check_options(volume, first)


def _is_heketis_copy(view: View, volume: BookedVolume, seen: SeenVolume) -> bool:
    """Whether a Heketi made it as a copy: it carries its source's id, and is known by gluster's own brick paths."""
    bricks = view.bricks_of[volume.id]
    recorded = sorted((brick.node_id, plain_path(brick.path)) for brick in bricks)
    found = sorted(view.place(volume.cluster_id, brick) for brick in seen.bricks)
    return bool(bricks) and all(brick.is_copy for brick in bricks) and recorded == found


def _is_ghost(view: View, brick: BookedBrick) -> bool:
    """Whether the node of a brick proves that it is not there: agent answers, device is there, LV is not."""
    if not view.answers(brick.node_id):
        return False
    group = group_name(brick.device_id)
    has_group = any(each.name == group for each in view.seen(brick.node_id).groups)
    return has_group and (group, brick.lv_name) not in view.seen_lvs[brick.node_id]


def _has_pool(view: View, brick: BookedBrick) -> bool:
    return (group_name(brick.device_id), brick.pool_name) in view.seen_lvs[brick.node_id]


def _ghosts(view: View, volume: BookedVolume, bricks: Sequence[BookedBrick]) -> Subject:
    return Subject(
        volume_id=volume.id,
        volume_name=volume.name,
        brick_ids=tuple(brick.id for brick in bricks),
        reclaimed_ids=tuple(brick.id for brick in bricks if not _has_pool(view, brick)),
    )


def _absent_volume(view: View, volume: BookedVolume, tellers: Sequence[BookedNode]) -> Finding:
    bricks = view.bricks_of[volume.id]
    silent = [node.hostname for node in view.members(volume.cluster_id) if node not in tellers]
    if silent:
        return _finding(
            volume,
            Kind.VOLUME_MISSING,
            f"no glusterd that answers knows volume {volume.name} ({volume.id})",
            advice=f"it cannot be told whether it is gone before these answer: {', '.join(silent)}",
        )
    if all(_is_ghost(view, brick) for brick in bricks):
        return _finding(
            volume,
            Kind.GHOST_VOLUME,
            f"volume {volume.name} ({volume.id}) is in the records; gluster does not know it, and none of its "
            f"{len(bricks)} bricks exists",
            advice="volume and bricks are taken out of the records, and their space is free",
            repair=Verb.DROP_GHOSTS,
            subject=_ghosts(view, volume, bricks),
        )
    left = sum(not _is_ghost(view, brick) for brick in bricks)
    return _finding(
        volume,
        Kind.VOLUME_MISSING,
        f"gluster does not know volume {volume.name} ({volume.id}); {left} of its {len(bricks)} bricks exist or may",
        advice="its data is still in the bricks, so nothing is mended; create it again in gluster from these bricks, "
        "or delete the volume, which removes them",
    )


def _check_bricks(view: View, volume: BookedVolume, seen: SeenVolume) -> Iterator[Finding]:
    bricks = view.bricks_of[volume.id]
    places = [(brick.node_id, plain_path(brick.path)) for brick in bricks]
    found = [view.place(volume.cluster_id, brick) for brick in seen.bricks]
    if volume.order_unknown and sorted(places) == sorted(found):
        yield _unknown_order(volume, [bricks[places.index(place)] for place in found])
        return
    if places == found:
        return
    ghosts = [brick for brick, place in zip(bricks, places, strict=True) if place not in found]
    sets = {brick.set_index for brick in ghosts}
    whole = len(ghosts) == len(sets) * volume.set_size
    gone = ghosts and whole and all(_is_ghost(view, brick) for brick in ghosts)
    if gone and [place for place in places if place in found] == found:
        yield _finding(
            volume,
            Kind.GHOST_BRICK,
            f"{len(ghosts)} bricks of volume {volume.name} ({volume.id}) are in the records only, in whole brick sets; "
            "neither gluster nor LVM has them",
            advice="these bricks are taken out of the records, and their space is free",
            repair=Verb.DROP_GHOSTS,
            subject=_ghosts(view, volume, ghosts),
        )
        return
    extra = [brick for brick, place in zip(seen.bricks, found, strict=True) if place not in places]
    parts = [f"gluster lacks {brick.path} of node {brick.node_id}" for brick in ghosts]
    parts += [f"gluster has {brick} besides" for brick in extra]
    yield _finding(
        volume,
        Kind.BRICK_LIST_DIFFERS,
        f"the bricks of volume {volume.name} ({volume.id}) differ: {'; '.join(parts) or 'they are in another order'}",
        advice="nothing is mended, for either side may hold data; compare with gluster volume info",
    )


def _unknown_order(volume: BookedVolume, ordered: Sequence[BookedBrick]) -> Finding:
    return _finding(
        volume,
        Kind.BRICK_ORDER_UNKNOWN,
        f"which of the {len(ordered)} bricks of volume {volume.name} ({volume.id}) belong together was guessed at its "
        "import; until it is known, no brick of it can be moved, and it can not be copied",
        advice="the order that gluster has is recorded",
        repair=Verb.SET_BRICK_ORDER,
        subject=Subject(volume_id=volume.id, volume_name=volume.name, brick_ids=tuple(brick.id for brick in ordered)),
    )


def _check_options(volume: BookedVolume, seen: SeenVolume) -> Iterator[Finding]:
    wanted: dict[str, str] = {}
    for option in volume.options:
        key, _, value = option.strip().partition(" ")
        # Groups become many options, and short keys get their family from gluster.
        if "." in key and value:
            wanted[key] = value.strip()
    for key, value in sorted(wanted.items()):
        has = seen.options.get(key)
        if has != value:
            yield _finding(
                volume,
                Kind.OPTION_DIFFERS,
                f"option {key} of volume {volume.name} ({volume.id}) is {has or 'not set'}, not {value} as at its "
                "creation",
                advice="it is left as it is",
            )


def _check_unknown(view: View, cluster_id: str, tellers: Sequence[BookedNode]) -> Iterator[Finding]:
    names = {volume.name for volume in view.scene.books.volumes if volume.cluster_id == cluster_id}
    unknown = {each.name: each for node in tellers for each in view.seen(node.id).volumes or ()}
    booked = {(brick.node_id, plain_path(brick.path)) for brick in view.scene.books.bricks}
    for name in sorted(set(unknown) - names):
        volume = unknown[name]
        if name in view.scene.in_flight.names:
            view.left_out.add(name)
        elif not volume.volume_id or volume.volume_id in view.volumes:
            owner = f"it carries the id of volume {volume.volume_id}" if volume.volume_id else "it has no id"
            yield Finding(
                kind=Kind.FOREIGN_VOLUME,
                cluster_id=cluster_id,
                object=name,
                message=f"gluster volume {name} was not made by Brickyard: {owner}",
                advice="it is never touched",
            )
        elif not view.busy(volume.volume_id):
            ours = [brick for brick in volume.bricks if view.place(cluster_id, brick) in booked]
            yield _orphan_volume(cluster_id, volume, ours)


def _orphan_volume(cluster_id: str, volume: SeenVolume, booked: Sequence[str]) -> Finding:
    advice = "it was never started, so nobody can have written to it: it is removed"
    if booked:
        advice = f"nothing is mended: {len(booked)} of its bricks are recorded as bricks of other volumes"
    elif not volume.never_started:
        advice = (
            "it may hold data, for example made after the records were backed up and restored, so it is removed only "
            f"when asked for by name: brickyard repair --apply --remove-volume {volume.volume_id}"
        )
    return Finding(
        kind=Kind.ORPHAN_VOLUME,
        cluster_id=cluster_id,
        object=volume.name,
        message=f"gluster volume {volume.name} carries the id {volume.volume_id}, which is in no record"
        + ("; it is started" if volume.started else ""),
        advice=advice,
        repair=Verb.REMOVE_ORPHAN_VOLUME if volume.never_started and not booked else None,
        # Without a name it is not removed even when it is asked for.
        subject=Subject(volume_id=volume.volume_id, volume_name="" if booked else volume.name),
    )


def _check_snapshots(view: View, cluster_id: str, tellers: Sequence[BookedNode]) -> Iterator[Finding]:
    found = {each.name: each for node in tellers for each in view.seen(node.id).snapshots}
    for name in sorted(found):
        source = found[name].source
        if name.startswith(_OUR_SNAPSHOT):
            if not view.busy(name.removeprefix(_OUR_SNAPSHOT)):
                yield Finding(
                    kind=Kind.ORPHAN_SNAPSHOT,
                    cluster_id=cluster_id,
                    object=name,
                    message=f"snapshot {name} of volume {source} was left behind by a clone",
                    advice=f"if no clone is being made: gluster snapshot delete {name}",
                )
            continue
        yield Finding(
            kind=Kind.FOREIGN_SNAPSHOT,
            cluster_id=cluster_id,
            object=name,
            message=f"snapshot {name} of volume {source} was not made by Brickyard",
            advice="it is never touched; it keeps its volume from being deleted",
        )
