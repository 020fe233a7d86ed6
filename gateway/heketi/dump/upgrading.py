"""What Heketi does to an old database when it starts, done to its dump. Pure; what was changed is told.

Heketi exports old databases as they are: upgrades run at a start only.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from gateway.heketi.dump.model import (
    DONE,
    GENERATION,
    HAS_CLUSTER_FLAGS,
    LOCKED_BY_UPDATE,
    UPGRADES,
    Brick,
    Device,
    Dump,
    SubType,
    Volume,
)

# Heketi's own default, of databases that do not record it.
_EXTENT_KIB = 4096
ARBITER_OPTION = "user.heketi.arbiter"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


def upgraded(dump: Dump, *, new_generation_id: str) -> tuple[Dump, list[str]]:
    """The dump as the newest Heketi would have it.

    Args:
        dump: Of any version from 4 on.
        new_generation_id: For a database that has none.

    Returns:
        The dump, and a sentence for each thing that was changed.
    """
    notes: list[str] = []
    attributes = dict(dump.attributes)
    clusters = dump.clusters
    if attributes.get(HAS_CLUSTER_FLAGS) != DONE:
        clusters = {key: replace(each, block=True, file=True) for key, each in clusters.items()}
        if clusters:
            notes.append("clusters take file and block volumes: the database is older than the choice")
    volumes = {key: _with_reserve(volume, dump, notes) for key, volume in dump.volumes.items()}
    bricks = _bricks(dump, notes)
    missing = [name for name in (*UPGRADES, GENERATION) if not attributes.get(name)]
    attributes |= dict.fromkeys(UPGRADES, DONE)
    attributes.setdefault(GENERATION, new_generation_id)
    if missing:
        notes.append(f"the attributes {', '.join(missing)} were added")
    changed = replace(
        dump,
        clusters=clusters,
        volumes=volumes,
        bricks=bricks,
        devices={key: _with_extent(device, notes) for key, device in dump.devices.items()},
        block_volumes={
            key: replace(each, usable_size_gib=each.usable_size_gib or each.size_gib)
            for key, each in dump.block_volumes.items()
        },
        attributes=attributes,
    )
    return changed, notes


def _with_extent(device: Device, notes: list[str]) -> Device:
    if device.extent_size_kib:
        return device
    notes.append(f"device {device.id}: its extents are taken to be {_EXTENT_KIB} KiB, which Heketi takes them to be")
    return replace(device, extent_size_kib=_EXTENT_KIB)


def _with_reserve(volume: Volume, dump: Dump, notes: list[str]) -> Volume:
    """A hosting volume whose sizes add up, with its reserve; locked where that can not be."""
    if not volume.block or volume.pending_id:
        return volume
    growing = dump.growing_gib()
    taken = sum(
        each.size_gib + growing.get(each.id, 0)
        for each in dump.block_volumes.values()
        if each.hosting_volume_id == volume.id
    )
    if volume.size_gib != taken + volume.free_gib + volume.reserved_gib:
        free = volume.size_gib - volume.reserved_gib - taken
        if not 0 <= free <= volume.size_gib:
            return volume
        notes.append(
            f"hosting volume {volume.id}: {volume.free_gib} GiB free did not fit to its block volumes; "
            f"it has {free} now, and is {LOCKED_BY_UPDATE}"
        )
        return replace(volume, free_gib=free, restriction=LOCKED_BY_UPDATE)
    if volume.reserved_gib or volume.restriction == LOCKED_BY_UPDATE:
        return volume
    reserve = volume.size_gib - volume.size_gib * 98 // 100
    if volume.free_gib < reserve:
        notes.append(f"hosting volume {volume.id}: it lacks {reserve} GiB for its reserve, and is {LOCKED_BY_UPDATE}")
        return replace(volume, restriction=LOCKED_BY_UPDATE)
    notes.append(f"hosting volume {volume.id}: {reserve} GiB are kept for its file system")
    return replace(volume, free_gib=volume.free_gib - reserve, reserved_gib=reserve)


def _bricks(dump: Dump, notes: list[str]) -> dict[str, Brick]:
    homes = {brick_id: volume.id for volume in dump.volumes.values() for brick_id in volume.brick_ids}
    lost = [brick.id for brick in dump.bricks.values() if not brick.volume_id and brick.id in homes]
    unnamed = [brick.id for brick in dump.bricks.values() if not brick.pool_name]
    if lost:
        notes.append(f"{len(lost)} bricks did not name their volume")
    if unnamed:
        notes.append(f"{len(unnamed)} bricks did not name their thin pool, which is named after them then")
    homed = {
        key: replace(
            brick,
            volume_id=brick.volume_id or homes.get(brick.id, ""),
            pool_name=brick.pool_name or f"tp_{brick.id}",
        )
        for key, brick in dump.bricks.items()
    }
    return _with_types(dump.volumes, homed, notes)


def _with_types(volumes: Mapping[str, Volume], bricks: dict[str, Brick], notes: list[str]) -> dict[str, Brick]:
    """Says of bricks of old databases what they hold. In volumes with arbiters they are the smallest of the bricks."""
    unknown: dict[str, list[Brick]] = defaultdict(list)
    for brick in bricks.values():
        if brick.sub_type == SubType.UNKNOWN:
            unknown[brick.volume_id].append(brick)
    for volume_id, mine in unknown.items():
        volume = volumes.get(volume_id)
        arbiter_count = len(mine) // volume.set_size if volume is not None and has_arbiter(volume) else 0
        by_size = sorted(mine, key=lambda each: (each.size_kib, each.id))
        for index, brick in enumerate(by_size):
            kind = SubType.ARBITER if index < arbiter_count else SubType.NORMAL
            bricks[brick.id] = replace(brick, sub_type=kind)
    if unknown:
        notes.append(f"{sum(map(len, unknown.values()))} bricks did not say whether they are arbiters")
    return bricks


def has_arbiter(volume: Volume) -> bool:
    """Whether a volume was asked for with arbiters; the last option of that name counts."""
    words = [option.split() for option in volume.options]
    values = [each[1] for each in words if len(each) == 2 and each[0] == ARBITER_OPTION]
    return bool(values) and values[-1] in _TRUE
