"""The files in which a simulated glusterd writes down its volumes, as far as agents read them. Memory only."""

from services.executor.runners.simulated.pools import Glusterd, Volume

_VOLUMES = "/var/lib/glusterd/vols/"
_SNAPSHOTS = "/var/lib/glusterd/snaps/"


def has_snapshot_directory(daemon: Glusterd, path: str) -> bool:
    """Whether a path is the directory of a snapshot."""
    return path.startswith(_SNAPSHOTS) and path.removeprefix(_SNAPSHOTS) in daemon.pool.snapshots


def written_text(daemon: Glusterd, path: str) -> str | None:
    """The text of one of its files; None when it has none of that name."""
    if not path.startswith(_VOLUMES):
        return None
    name, _, file = path.removeprefix(_VOLUMES).partition("/")
    volume = daemon.pool.volumes.get(name)
    if volume is None:
        return None
    if file == "info":
        return _info(volume)
    return next(
        (_brick(daemon, brick) for brick in list(volume.bricks) if file == f"bricks/{brick.replace('/', '-')}"), None
    )


def _info(volume: Volume) -> str:
    bricks = list(volume.bricks)
    return "".join(
        f"{line}\n"
        for line in (
            f"type={2 * (volume.set_size > 1)}",
            f"count={len(bricks)}",
            f"status={volume.status}",
            f"volume-id={volume.uuid}",
            *(f"{key}={value}" for key, value in list(volume.options.items())),
            *(f"brick-{number}={brick.replace('/', '-')}" for number, brick in enumerate(bricks)),
        )
    )


def _brick(daemon: Glusterd, brick: str) -> str:
    uuid = next((member.uuid for member in daemon.pool.members if member.owns(brick)), "")
    hostname, _, path = brick.partition(":")
    return f"uuid={uuid}\nhostname={hostname}\npath={path}\nreal_path={path}\n"
