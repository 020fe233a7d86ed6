"""Explanations and plans of placement on a terminal and in a pipe. Effects: stdout."""

from collections import Counter
from collections.abc import Iterable

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.gateway.v1.operator_service_pb2 import PlanRebalanceResponse
from gateway.cli.progress import say
from gateway.cli.tables import table
from services.common.units import GIB

_DISKS = ("node", "disk", "zone", "size", "free", "for the volume")
_MOVES = ("brick", "volume", "from device", "to device", "size", "deviation after")


def show_explanations(clusters: Iterable[pb.ClusterExplanation]) -> None:
    """Each cluster with its sentence and its disks."""
    for cluster in clusters:
        say(f"cluster {cluster.cluster_id}: {cluster.summary}")
        if cluster.devices:
            bricks = Counter(brick.device_id for brick in cluster.bricks)
            rows = sorted(cluster.devices, key=lambda each: (each.hostname or each.node_id, each.path))
            table(_DISKS, (disk_fields(each, bricks[each.device_id]) for each in rows))


def disk_fields(disk: pb.DeviceExplanation, bricks: int) -> tuple[str, ...]:
    """One disk, and how many bricks it gets."""
    text = disk.text if bricks < 2 else f"{disk.text} for {bricks} bricks"
    return (
        disk.hostname or disk.node_id,
        disk.path or disk.device_id,
        str(disk.zone),
        _gib(disk.total_bytes),
        _gib(disk.free_bytes),
        text,
    )


def show_rebalance(plan: PlanRebalanceResponse) -> None:
    """The moves, and what they bring and cost."""
    before, after = 100 * plan.deviation_before, 100 * plan.deviation_after
    if not plan.moves:
        say(f"nothing to move: the fill of the disks deviates by {before:.1f} points, and no move is worth its cost")
        return
    count = f"{len(plan.moves)} move{'' if len(plan.moves) == 1 else 's'}"
    say(
        f"{count} of {_gib(plan.moved_bytes)} at most: the fill of the disks deviates by {before:.1f} points now, "
        f"by {after:.1f} then"
    )
    table(_MOVES, (_move_fields(each) for each in plan.moves))


def _move_fields(move: pb.PlannedMove) -> tuple[str, ...]:
    return (
        move.brick_id,
        move.volume_id,
        move.from_device_id,
        move.brick.device_id,
        _gib(move.moved_bytes),
        f"{100 * move.deviation_after:.1f}",
    )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
