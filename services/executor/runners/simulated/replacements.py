"""Bricks that take the place of others in simulated volumes, and the heal that fills them. Memory only."""

import copy
from collections.abc import Sequence

from services.executor.runners.simulated.machine import Directory
from services.executor.runners.simulated.pools import Glusterd, GlusterError, Network, Pool, Volume

_NOT_ALLOWED = (
    "replace-brick is not permitted on distribute only volumes. Please use add-brick and remove-brick operations "
    "instead."
)
_UNKNOWN_HOST = "Pre-validation failed on localhost. Please check log file for details"


def replace(network: Network, pool: Pool, volume: Volume, words: Sequence[str]) -> str:
    """`volume replace-brick NAME OLD NEW commit force`; the node of the old brick need not answer.

    Raises:
        GlusterError: Not possible with these bricks.
    """
    old, new = words[:2]
    if volume.set_size == 1:
        raise GlusterError(_NOT_ALLOWED)
    if old not in volume.bricks:
        raise GlusterError(f"brick: {old} does not exist in volume: {volume.name}")
    if volume.status != 1:
        raise GlusterError(f"volume: {volume.name} is not started")
    if pool.volume_with(new) is not None:
        raise GlusterError(f"Brick: {new} not available. Brick may be containing or be contained by an existing brick.")
    member = _member_of(network, pool, new)
    path = new.partition(":")[2]
    index = volume.bricks.index(old)
    _release(pool, volume, old)
    volume.bricks[index] = new
    pool.note_bricks(volume)
    with member.machine.lock:
        tree, inner = member.machine.place(path)
        tree.directories.setdefault(inner, Directory())
        member.machine.busy.add(path.rpartition("/")[0])
    _fill(pool, volume, index)
    return "volume replace-brick: success: replace-brick commit force operation successful\n"


def _member_of(network: Network, pool: Pool, brick: str) -> Glusterd:
    try:
        return network.of_brick(pool, brick)
    except GlusterError as error:
        raise GlusterError(_UNKNOWN_HOST) from error


def _release(pool: Pool, volume: Volume, brick: str) -> None:
    """The brick process of a brick that left ends, if anybody can tell it to."""
    volume.heal_entries.pop(brick, None)
    mount_point = brick.partition(":")[2].rpartition("/")[0]
    for member in pool.members:
        if member.owns(brick):
            volume.pieces = tuple(
                piece for piece in volume.pieces if piece.member is not member or piece.mount.mount_point != mount_point
            )
            if member.running and member.reachable:
                member.machine.busy.discard(mount_point)


def _fill(pool: Pool, volume: Volume, index: int) -> None:
    """Heals a brick from another one of its set, or notes that it is to be done; dispersed ones are copied alike."""
    first = index - index % volume.set_size
    brick_set = volume.bricks[first : first + volume.set_size]
    sources = [each for each in brick_set if each != volume.bricks[index] and _answers(pool, each)]
    if not sources:
        return
    tree, inner = pool.owner(sources[0]).machine.place(sources[0].partition(":")[2])
    if not pool.healing:
        count = sum(path.startswith(f"{inner}/") for path in tree.files)
        volume.heal_entries.update(dict.fromkeys(sources, count))
        return
    other, goal = pool.owner(volume.bricks[index]).machine.place(volume.bricks[index].partition(":")[2])
    other.directories[goal] = copy.copy(tree.directories[inner])
    for path in [path for path in tree.files if path.startswith(f"{inner}/")]:
        other.files[f"{goal}{path[len(inner) :]}"] = tree.files[path]


def _answers(pool: Pool, brick: str) -> bool:
    return any(member.owns(brick) and member.running and member.reachable for member in pool.members)


def heal(volume: Volume, *, everything: bool) -> str:
    """`volume heal NAME` or `volume heal NAME full`.

    Raises:
        GlusterError: The volume is not started.
    """
    if volume.status != 1:
        raise GlusterError(f"Volume {volume.name} is not started.")
    volume.heals += everything
    kind = "full" if everything else "index"
    return (
        f"Launching heal operation to perform {kind} self heal on volume {volume.name} has been successful \n"
        "Use heal info commands to check status.\n"
    )


def heal_info(pool: Pool, volume: Volume) -> str:
    """The XML of `volume heal NAME info`.

    Raises:
        GlusterError: The volume has no copies that could be healed.
    """
    if volume.set_size == 1:
        raise GlusterError(
            "This command is supported for only volumes of replicate/disperse type. "
            f"Volume {volume.name} is not of type replicate/disperse",
            number=22,
        )
    rows = "".join(_heal_row(pool, volume, brick) for brick in volume.bricks)
    return f"<healInfo><bricks>{rows}</bricks></healInfo>"


def _heal_row(pool: Pool, volume: Volume, brick: str) -> str:
    status, count = "Connected", str(volume.heal_entries.get(brick, 0))
    if not _answers(pool, brick):
        status, count = "Transport endpoint is not connected", "-"
    return f"<brick><name>{brick}</name><status>{status}</status><numberOfEntries>{count}</numberOfEntries></brick>"
