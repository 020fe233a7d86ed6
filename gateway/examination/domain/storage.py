"""Devices, LVs and space of one node against the records. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import (
    BookedBrick,
    BookedDevice,
    BookedNode,
    Finding,
    SeenGroup,
    SeenLv,
    Subject,
    group_name,
    mapper_path,
)
from gateway.examination.domain.view import COPY, OUR_BRICK, OUR_GROUP, OUR_POOL, View

MOUNT_ROOT = "/var/lib/heketi/mounts"
_LOST = (
    "its data on this brick is gone, so nothing is mended; replace the brick, and the other bricks of its set heal it"
)
_UNKNOWN_USE = "glusterd on this node does not answer, so it cannot be told whether gluster uses it; start it first"


def check_storage(view: View, node: BookedNode) -> Iterator[Finding]:
    """Volume groups and what is in them."""
    groups = {group.name: group for group in view.seen(node.id).groups}
    lvs: dict[str, dict[str, SeenLv]] = defaultdict(dict)
    for lv in view.seen(node.id).lvs:
        lvs[lv.group][lv.name] = lv
    for device in view.devices_of[node.id]:
        if device.held:
            view.left_out.add(device.id)
            continue
        group = groups.get(group_name(device.id))
        if group is None:
            yield view.on(
                node,
                Kind.DEVICE_MISSING,
                group_name(device.id),
                f"the node has no volume group {group_name(device.id)}, which is device {device.path}",
                advice="see whether the disk is still there (lsblk, pvs); if it is lost, remove the device",
            )
            continue
        view.compared.add(device.id)
        yield from _check_bricks(view, node, device, lvs[group.name])
        yield from _check_unknown(view, node, device, lvs[group.name])
        yield from _check_size(view, node, device, group, lvs[group.name])
    yield from _check_groups(view, node, groups, lvs)


def _check_groups(
    view: View, node: BookedNode, groups: Mapping[str, SeenGroup], lvs: Mapping[str, Mapping[str, SeenLv]]
) -> Iterator[Finding]:
    known = {group_name(device.id) for device in view.devices_of[node.id]}
    elsewhere = {device.id: device.node_id for device in view.scene.books.devices}
    for name in sorted(set(groups) - known):
        ours = OUR_GROUP.fullmatch(name)
        if ours is None:
            yield view.on(
                node, Kind.FOREIGN_GROUP, name, f"volume group {name} is not Brickyard's", advice="it is never touched"
            )
        elif not view.busy(ours[1]):
            other = elsewhere.get(ours[1])
            where = f"recorded on node {other}" if other else "in no record"
            yield view.on(
                node,
                Kind.ORPHAN_DEVICE,
                name,
                f"volume group {name} has the name of a device that is {where}; it has {len(lvs[name])} LVs",
                advice="a whole disk is never removed by repair; if nobody needs its data: vgremove, then pvremove",
            )


def _check_bricks(view: View, node: BookedNode, device: BookedDevice, lvs: Mapping[str, SeenLv]) -> Iterator[Finding]:
    sizes: dict[str, tuple[int, int]] = {}
    for brick in view.bricks_on[device.id]:
        if view.brick_busy(brick):
            continue
        view.compared.add(brick.id)
        lv = lvs.get(brick.lv_name)
        if lv is None:
            yield _absent_brick(view, node, brick)
        elif lv.pool != brick.pool_name:
            yield view.on(
                node,
                Kind.BRICK_POOL_DIFFERS,
                f"{lv.group}/{lv.name}",
                f"{lv.name} is in thin pool {lv.pool or 'none'}, the records say {brick.pool_name}",
                advice="nothing is mended; find out who moved it before anything else is done with it",
            )
        if not view.busy(brick.pool_name.removeprefix("tp_")):
            known = sizes.get(brick.pool_name, (0, 0))
            sizes[brick.pool_name] = (max(known[0], brick.pool_bytes), max(known[1], brick.metadata_bytes))
    for name, (size, metadata) in sorted(sizes.items()):
        pool = lvs.get(name)
        if pool is not None and (pool.size_bytes, pool.metadata_bytes) != (size, metadata):
            yield view.on(
                node,
                Kind.THIN_POOL_DIFFERS,
                f"{pool.group}/{name}",
                f"thin pool {name} has {pool.size_bytes} bytes and {pool.metadata_bytes} of metadata, "
                f"the records say {size} and {metadata}",
                advice="somebody has extended it; what it takes more is counted when the device is measured again",
            )


def _absent_brick(view: View, node: BookedNode, brick: BookedBrick) -> Finding:
    what = f"{group_name(brick.device_id)}/{brick.lv_name}"
    if view.in_gluster(node.cluster_id, node.id, brick.path):
        return view.on(
            node,
            Kind.BRICK_LOST,
            what,
            f"the LV of brick {brick.id} is gone, and gluster still has the brick in a volume",
            advice=_LOST,
            subject=Subject(volume_id=brick.volume_id, brick_id=brick.id),
        )
    return view.on(
        node,
        Kind.GHOST_BRICK,
        what,
        f"brick {brick.id} of volume {brick.volume_id} is in the records; it has no LV and is in no gluster volume",
        subject=Subject(
            volume_id=brick.volume_id, brick_id=brick.id, device_id=brick.device_id, pool_name=brick.pool_name
        ),
    )


def _check_unknown(view: View, node: BookedNode, device: BookedDevice, lvs: Mapping[str, SeenLv]) -> Iterator[Finding]:
    """LVs that no brick of the records has."""
    bricks = view.bricks_on[device.id]
    known = {brick.lv_name for brick in bricks} | {brick.pool_name for brick in bricks}
    for name in sorted(set(lvs) - known):
        lv = lvs[name]
        if ours := OUR_BRICK.fullmatch(name):
            if not view.busy(ours[1]):
                yield from _orphan_brick(view, node, device, lv, ours[1])
        elif ours := OUR_POOL.fullmatch(name):
            tenants = [each for each in lvs.values() if each.pool == name]
            # With something in it, it is told, and goes, with that.
            if not tenants and not view.busy(ours[1]):
                yield _orphan_pool(view, node, device, lv, ours[1], alone=f"brick_{ours[1]}" not in lvs)
        elif stem := COPY.fullmatch(name):
            # An operation that copies knows its source, not yet the names that gluster gives.
            if not (view.stem_used(node.cluster_id, stem[1]) or view.busy(name, device.id)):
                yield _orphan_copy(view, node, device, lv)
        else:
            yield view.on(
                node,
                Kind.FOREIGN_LV,
                f"{lv.group}/{name}",
                f"LV {name} in {lv.group} is not Brickyard's; it takes {lv.taken_bytes} bytes of the device",
                advice="it is never touched",
            )


def _orphan_brick(view: View, node: BookedNode, device: BookedDevice, lv: SeenLv, brick_id: str) -> Iterator[Finding]:
    path = f"{MOUNT_ROOT}/{lv.group}/{lv.name}"
    if view.in_gluster(node.cluster_id, node.id, f"{path}/brick"):
        # It belongs to a volume that the records do not have, and is told with that.
        return
    seen = view.seen(node.id)
    source = mapper_path(lv.group, lv.name)
    parts = ["LV"]
    parts += [f"mount on {mount.mount_point}" for mount in seen.mounts if mount.source == source]
    parts += ["fstab entry" for entry in seen.fstab if source == entry.source or entry.mount_point == path]
    known = view.gluster_known(node.id)
    yield view.on(
        node,
        Kind.ORPHAN_BRICK,
        f"{lv.group}/{lv.name}",
        f"{lv.name} has the name of a brick, and is in no record and in no gluster volume ({', '.join(parts)})",
        advice="LV, mount, fstab entry, and the thin pool if nothing else uses it, are removed"
        if known
        else _UNKNOWN_USE,
        repair=Verb.REMOVE_ORPHAN_BRICK if known else None,
        subject=Subject(device_id=device.id, brick_id=brick_id, pool_name=lv.pool),
    )


def _orphan_pool(
    view: View, node: BookedNode, device: BookedDevice, lv: SeenLv, brick_id: str, *, alone: bool
) -> Finding:
    known = view.gluster_known(node.id)
    advice = "it is removed" if known else _UNKNOWN_USE
    if not alone:
        # What removes a brick by its id would take the brick too, wherever that is.
        advice = "it is left, for the brick of the same id is in another thin pool; find out who moved it"
    return view.on(
        node,
        Kind.ORPHAN_POOL,
        f"{lv.group}/{lv.name}",
        f"thin pool {lv.name} is in no record, and nothing is in it; it takes {lv.taken_bytes} bytes",
        advice=advice,
        repair=Verb.REMOVE_ORPHAN_BRICK if known and alone else None,
        subject=Subject(device_id=device.id, brick_id=brick_id, pool_name=lv.name),
    )


def _orphan_copy(view: View, node: BookedNode, device: BookedDevice, lv: SeenLv) -> Finding:
    known = view.gluster_known(node.id) and bool(OUR_POOL.fullmatch(lv.pool))
    return view.on(
        node,
        Kind.ORPHAN_COPY,
        f"{lv.group}/{lv.name}",
        f"gluster made {lv.name} for a snapshot or a clone, and has neither any more",
        advice="it is unmounted and removed" if known else _UNKNOWN_USE,
        repair=Verb.REMOVE_ORPHAN_COPIES if known else None,
        subject=Subject(device_id=device.id, pool_name=lv.pool),
    )


def _check_size(
    view: View, node: BookedNode, device: BookedDevice, group: SeenGroup, lvs: Mapping[str, SeenLv]
) -> Iterator[Finding]:
    """The size of a group, and its free extents, against the books. What other findings explain is not told twice."""
    if view.busy(device.id):
        return
    subject = Subject(device_id=device.id)
    if group.pv_uuid and not device.pv_uuid:
        yield view.on(
            node,
            Kind.DEVICE_UUID_UNKNOWN,
            group.name,
            f"the records do not know the UUID of the physical volume of {group.name}, by which a disk is known again "
            "when its path has changed",
            advice="the device is measured, and it is recorded",
            repair=Verb.RESYNC_DEVICE,
            subject=subject,
        )
    if device.pv_uuid and group.pv_uuid and device.pv_uuid != group.pv_uuid:
        yield view.on(
            node,
            Kind.DEVICE_UUID_DIFFERS,
            group.name,
            f"the physical volume of {group.name} has the UUID {group.pv_uuid}, the records say {device.pv_uuid}",
            advice="nothing is mended; see whether this is the disk that it should be",
        )
    if group.total_bytes != device.total_bytes:
        yield view.on(
            node,
            Kind.DEVICE_SIZE_DIFFERS,
            group.name,
            f"{group.name} has {group.total_bytes} bytes, the records say {device.total_bytes}",
            advice="the device is measured again",
            repair=Verb.RESYNC_DEVICE,
            subject=subject,
        )
    pools: dict[str, int] = {}
    for brick in view.bricks_on[device.id]:
        pools[brick.pool_name] = max(pools.get(brick.pool_name, 0), brick.pool_bytes + brick.metadata_bytes)
    booked = sum(size for name, size in pools.items() if name in lvs)
    unknown = sum(lv.taken_bytes for name, lv in lvs.items() if name not in pools)
    # Allocated beyond the pools of the records: unknown LVs, which are told one by one, and LVM's own.
    beyond = group.total_bytes - group.free_bytes - booked
    if not max(0, beyond - unknown) <= device.unattributed_bytes <= beyond:
        yield view.on(
            node,
            Kind.FREE_SPACE_DIFFERS,
            group.name,
            f"{group.name} has {group.free_bytes} bytes free; beyond the thin pools of the records {beyond} are taken, "
            f"the records say {device.unattributed_bytes}",
            advice="the device is measured again",
            repair=Verb.RESYNC_DEVICE,
            subject=subject,
        )
