"""Snapshots and copies of simulated volumes: their thin LVs, mounts and brick processes. Memory only."""

import copy
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

from services.executor.lvm.commands import mapper_path
from services.executor.runners.base import Mount
from services.executor.runners.simulated.machine import Directory, LogicalVolume, Machine
from services.executor.runners.simulated.pools import (
    Glusterd,
    GlusterError,
    Piece,
    Pool,
    Snapshot,
    Volume,
    find_volume,
)

_ROOT = "/run/gluster/snaps"


def _find(pool: Pool, name: str, ending: str = "") -> Snapshot:
    snapshot = pool.snapshots.get(name)
    if snapshot is None:
        raise GlusterError(f"Snapshot ({name}) does not exist{ending}")
    return snapshot


def _source_of(machine: Machine, path: str) -> tuple[str, LogicalVolume, str]:
    """Volume group and LV that a brick's directory is on, and the directory below their mount point."""
    for entry in reversed(machine.mounts):
        found = machine.volume_at(entry.source)
        if found is not None and path.startswith(f"{entry.mount_point}/"):
            return found[0].name, found[1], path[len(entry.mount_point) :]
    raise GlusterError(
        "Snapshot is supported only for thin provisioned LV. Ensure that all bricks are thinly provisioned LV."
    )


def _cut(stem: str, sources: Sequence[tuple[Glusterd, str, str, str]]) -> tuple[Piece, ...]:
    """Makes a thin snapshot of each (member, volume group, LV, inner directory); numbered per member."""
    counted: Counter[int] = Counter()
    pieces = []
    for position, (member, vg, lv, inner) in enumerate(sources, start=1):
        volumes = member.machine.groups[vg].volumes
        origin = volumes[lv]
        name = f"{stem}_{counted[id(member)]}"
        counted[id(member)] += 1
        with member.machine.lock:
            volumes[name] = LogicalVolume(
                name,
                origin.size_bytes,
                pool=origin.pool,
                origin=origin.name,
                filesystem=copy.deepcopy(origin.filesystem),
            )
        entry = Mount(mapper_path(vg, name), f"{_ROOT}/{stem}/brick{position}", "xfs", "rw,noatime,nouuid")
        pieces.append(Piece(member, vg, name, entry, inner))
    return tuple(pieces)


def _mount(piece: Piece) -> None:
    machine = piece.member.machine
    with machine.lock:
        if piece.mount in machine.mounts:
            return
        parts = piece.mount.mount_point.split("/")
        for count in range(2, len(parts) + 1):
            machine.root.directories.setdefault("/".join(parts[:count]), Directory())
        machine.mounts.append(piece.mount)


def mount_pieces(daemon: Glusterd) -> None:
    """Activates and mounts the bricks of copies and activated snapshots of a node, as glusterd does when it starts."""
    pool = daemon.pool
    copied = [piece for volume in pool.volumes.values() for piece in volume.pieces]
    taken = [piece for snapshot in pool.snapshots.values() if snapshot.active for piece in snapshot.pieces]
    for piece in copied + taken:
        own = daemon.machine.groups[piece.vg].volumes.get(piece.lv) if piece.member is daemon else None
        if own is not None:
            own.active = True
            _mount(piece)
    daemon.machine.busy.update(piece.mount.mount_point for piece in taken if piece.member is daemon)


def _create(pool: Pool, name: str, source: str, *_flags: str) -> str:
    volume = pool.volumes.get(source)
    if volume is None:
        raise GlusterError(f"Volume ({source}) does not exist ")
    if name in pool.snapshots:
        raise GlusterError(f"Snapshot {name} already exists")
    if volume.status != 1:
        raise GlusterError(f"volume {source} is not started")
    if volume.rebalancing:
        raise GlusterError(f"rebalance process is running for the volume {source}")
    stem = uuid.uuid4().hex
    sources = []
    for brick in volume.bricks:
        member = pool.owner(brick)
        vg, lv, inner = _source_of(member.machine, brick.partition(":")[2])
        sources.append((member, vg, lv.name, inner))
    volume.options["features.barrier"] = "disable"
    pool.snapshots[name] = Snapshot(
        name=name,
        uuid=str(uuid.uuid4()),
        stem=stem,
        source=source,
        words=volume.words,
        options={key: value for key, value in volume.options.items() if key != "features.barrier"},
        hosts=tuple(brick.partition(":")[0] for brick in volume.bricks),
        pieces=_cut(stem, sources),
    )
    return f"snapshot create: success: Snap {name} created successfully\n"


def _activate(pool: Pool, name: str) -> str:
    snapshot = _find(pool, name, ".")
    if snapshot.active:
        raise GlusterError(f"Snapshot {name} is already activated.")
    snapshot.active = True
    for piece in snapshot.pieces:
        _mount(piece)
        piece.member.machine.busy.add(piece.mount.mount_point)
    return f"Snapshot activate: {name}: Snap activated successfully\n"


def _end_bricks(snapshot: Snapshot) -> None:
    snapshot.active = False
    for piece in snapshot.pieces:
        piece.member.machine.busy.discard(piece.mount.mount_point)


def _deactivate(pool: Pool, name: str) -> str:
    snapshot = _find(pool, name, ".")
    if not snapshot.active:
        raise GlusterError(f"Snapshot {name} is already deactivated.")
    _end_bricks(snapshot)
    return f"Snapshot deactivate: {name}: Snap deactivated successfully\n"


def _clone(pool: Pool, name: str, snapshot_name: str) -> str:
    if name in pool.volumes:
        raise GlusterError(f"Volume with name:{name} already exists")
    snapshot = _find(pool, snapshot_name)
    if not snapshot.active:
        raise GlusterError(f"Snapshot {snapshot_name} is not activated")
    own = uuid.uuid4()
    pieces = _cut(own.hex, [(piece.member, piece.vg, piece.lv, piece.inner) for piece in snapshot.pieces])
    for piece in pieces:
        _mount(piece)
    bricks = [
        f"{host}:{piece.mount.mount_point}{piece.inner}" for host, piece in zip(snapshot.hosts, pieces, strict=True)
    ]
    made = Volume(name, str(own), snapshot.words, bricks, options=dict(snapshot.options), pieces=pieces)
    pool.volumes[name] = made
    pool.note_bricks(made)
    return f"snapshot clone: success: Clone {name} created successfully\n"


def _delete(pool: Pool, name: str) -> str:
    snapshot = _find(pool, name)
    _end_bricks(snapshot)
    for piece in snapshot.pieces:
        machine = piece.member.machine
        with machine.lock:
            machine.mounts[:] = [entry for entry in machine.mounts if entry != piece.mount]
            machine.groups[piece.vg].volumes.pop(piece.lv, None)
            machine.root.directories.pop(piece.mount.mount_point, None)
    for piece in snapshot.pieces:
        piece.member.machine.root.directories.pop(f"{_ROOT}/{snapshot.stem}", None)
    del pool.snapshots[name]
    return f"snapshot delete: {name}: snap removed successfully\n"


VERBS: dict[str, Callable[..., str]] = {
    "snapshot create": _create,
    "snapshot activate": _activate,
    "snapshot deactivate": _deactivate,
    "snapshot clone": _clone,
    "snapshot delete": _delete,
}


def info(pool: Pool, *names: str) -> str:
    """The XML of `snapshot info`.

    Raises:
        GlusterError: A named one does not exist.
    """
    found = [_find(pool, name) for name in names] if names else list(pool.snapshots.values())
    rows = "".join(_row(pool, snapshot) for snapshot in found)
    return f"<snapInfo><count>{len(found)}</count><snapshots>{rows}</snapshots></snapInfo>"


def _row(pool: Pool, snapshot: Snapshot) -> str:
    count = sum(each.source == snapshot.source for each in pool.snapshots.values())
    return (
        f"<snapshot><name>{snapshot.name}</name><uuid>{snapshot.uuid}</uuid><description/><volCount>1</volCount>"
        f"<snapVolume><name>{snapshot.stem}</name><status>{'Started' if snapshot.active else 'Stopped'}</status>"
        f"<originVolume><name>{find_volume(pool, snapshot.source).name}</name><snapCount>{count}</snapCount>"
        f"<snapRemaining>{256 - count}</snapRemaining></originVolume></snapVolume></snapshot>"
    )
