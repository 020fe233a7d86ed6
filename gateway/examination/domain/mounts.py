"""Mounts and the agent's mount table file of one node against the records. Pure."""

import re
from collections.abc import Iterator, Mapping

from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import (
    COPY_ROOT,
    BookedBrick,
    BookedNode,
    Finding,
    SeenLv,
    SeenMount,
    Subject,
    group_name,
    mapper_path,
)
from gateway.examination.domain.view import OUR_BRICK, View

_OUR_SOURCE = re.compile(r"/dev/mapper/vg_([0-9a-f]{32})-brick_([0-9a-f]{32})")


def check_mounts(view: View, node: BookedNode) -> Iterator[Finding]:
    """What should be mounted and listed, and what is beyond."""
    seen = view.seen(node.id)
    lvs = {mapper_path(lv.group, lv.name): lv for lv in seen.lvs}
    groups = {group.name for group in seen.groups}
    devices = {device.id for device in view.devices_of[node.id] if not device.held}
    bricks = [brick for device_id in devices for brick in view.bricks_on[device_id]]
    mounted = {mount.mount_point: mount for mount in seen.mounts}
    listed = {entry.mount_point: entry for entry in seen.fstab}
    by_heketi = {entry.mount_point for entry in seen.heketi_fstab}
    for brick in bricks:
        # Without its LV, or its whole group, that is what is told.
        if group_name(brick.device_id) in groups and brick.device in lvs and not view.brick_busy(brick):
            yield from _check_mount(view, node, brick, lvs[brick.device], mounted.get(brick.mount_point))
            if not brick.is_copy:
                yield from _check_entry(view, node, brick, listed.get(brick.mount_point))
                if brick.mount_point in by_heketi:
                    yield _heketi_entry(view, node, brick)
    expected = {brick.mount_point for brick in bricks}
    yield from _unknown_mounts(view, node, lvs, expected)
    yield from _unknown_entries(view, node, lvs, expected, devices)


def _check_mount(
    view: View, node: BookedNode, brick: BookedBrick, lv: SeenLv, mount: SeenMount | None
) -> Iterator[Finding]:
    subject = Subject(volume_id=brick.volume_id, brick_id=brick.id, device_id=brick.device_id)
    if mount is None and brick.is_copy:
        yield view.on(
            node,
            Kind.MISSING_MOUNT,
            brick.mount_point,
            f"{lv.name}, brick {brick.id} of the cloned volume {brick.volume_id}, is not mounted",
            advice="gluster mounts bricks of clones itself when glusterd starts: systemctl restart glusterd",
            subject=subject,
        )
    elif mount is None:
        kind, state = (Kind.MISSING_MOUNT, "not mounted") if lv.active else (Kind.LV_INACTIVE, "not even active")
        yield view.on(
            node,
            kind,
            brick.mount_point,
            f"{lv.name}, brick {brick.id} of volume {brick.volume_id}, is {state}",
            advice="it is mounted, and the volume's brick process is started",
            repair=Verb.RESTORE_BRICK,
            subject=subject,
        )
    elif mount.source != brick.device:
        yield view.on(
            node,
            Kind.MOUNT_DIFFERS,
            brick.mount_point,
            f"{mount.source} is mounted where {brick.device} belongs, brick {brick.id} of volume {brick.volume_id}",
            advice="nothing is mended; unmount what does not belong there, then repair again",
            subject=subject,
        )


def _heketi_entry(view: View, node: BookedNode, brick: BookedBrick) -> Finding:
    return view.on(
        node,
        Kind.HEKETI_FSTAB_ENTRY,
        brick.mount_point,
        f"brick {brick.id} of volume {brick.volume_id} is in the fstab file that Heketi wrote; once the brick is gone, "
        "that entry would keep the node from starting",
        advice="the agent takes it over into its own fstab file",
        repair=Verb.RESTORE_BRICK,
        subject=Subject(volume_id=brick.volume_id, brick_id=brick.id, device_id=brick.device_id),
    )


def _check_entry(view: View, node: BookedNode, brick: BookedBrick, entry: SeenMount | None) -> Iterator[Finding]:
    if entry is not None and entry.source == brick.device:
        return
    kind = Kind.MISSING_FSTAB_ENTRY if entry is None else Kind.FSTAB_ENTRY_DIFFERS
    text = (
        f"brick {brick.id} of volume {brick.volume_id} is not in the agent's fstab file and would be missing after "
        "the next start"
        if entry is None
        else f"the agent's fstab file has {entry.source} where {brick.device} belongs, brick {brick.id}"
    )
    yield view.on(
        node,
        kind,
        brick.mount_point,
        text,
        advice="the entry is written",
        repair=Verb.RESTORE_BRICK,
        subject=Subject(volume_id=brick.volume_id, brick_id=brick.id, device_id=brick.device_id),
    )


def _told_elsewhere(view: View, node: BookedNode, lv: SeenLv | None) -> bool:
    """Whether an LV is an orphan, or of a volume or an operation: then what it has is told with that, or not at all."""
    if lv is None or OUR_BRICK.fullmatch(lv.name) is None or (lv.group, lv.name) in view.known_lvs:
        return False
    return any(group_name(device.id) == lv.group for device in view.devices_of[node.id])


def _unknown_mounts(view: View, node: BookedNode, lvs: Mapping[str, SeenLv], expected: set[str]) -> Iterator[Finding]:
    for mount in view.seen(node.id).mounts:
        told = mount.mount_point in expected or mount.mount_point.startswith(COPY_ROOT)
        if told or _told_elsewhere(view, node, lvs.get(mount.source)) or _is_busy(view, mount):
            continue
        yield view.on(
            node,
            Kind.FOREIGN_MOUNT,
            mount.mount_point,
            f"{mount.source} is mounted on {mount.mount_point}, where no brick of the records belongs",
            advice="it is never touched",
        )


def _unknown_entries(
    view: View, node: BookedNode, lvs: Mapping[str, SeenLv], expected: set[str], devices: set[str]
) -> Iterator[Finding]:
    for entry in view.seen(node.id).fstab:
        if entry.mount_point in expected or _told_elsewhere(view, node, lvs.get(entry.source)) or _is_busy(view, entry):
            continue
        ours = _OUR_SOURCE.fullmatch(entry.source)
        if ours is None or entry.source in lvs or ours[1] not in devices:
            yield view.on(
                node,
                Kind.FOREIGN_FSTAB_ENTRY,
                entry.mount_point,
                f"the agent's fstab file has {entry.source} for {entry.mount_point}, where no brick of the records "
                "belongs",
                advice="it is never touched",
            )
            continue
        known = view.gluster_known(node.id) and not view.in_gluster(
            node.cluster_id, node.id, f"{entry.mount_point}/brick"
        )
        yield view.on(
            node,
            Kind.ORPHAN_FSTAB_ENTRY,
            entry.mount_point,
            f"the agent's fstab file has {entry.source}, which does not exist",
            advice="the entry is removed"
            if known
            else "nothing is mended as long as gluster has, or may have, the brick",
            repair=Verb.REMOVE_ORPHAN_BRICK if known else None,
            subject=Subject(device_id=ours[1], brick_id=ours[2]),
        )


def _is_busy(view: View, entry: SeenMount) -> bool:
    ours = _OUR_SOURCE.fullmatch(entry.source)
    return ours is not None and view.busy(ours[2])
