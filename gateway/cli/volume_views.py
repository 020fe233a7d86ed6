"""Explanations and plans of placement on a terminal and in a pipe. Effects: stdout."""

from collections import Counter
from collections.abc import Iterable, Sequence

import click
from rich.console import Console

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.gateway.v1.operator_service_pb2 import PlanRebalanceResponse
from brickyard.topology.v1 import health_pb2, volume_pb2
from gateway.cli.progress import say
from gateway.cli.status_texts import size
from gateway.cli.tables import paragraph, table

_DISKS = ("node", "disk", "zone", "size", "free", "for the volume")
_VOLUMES = ("id", "name", "size", "durability", "state", "cluster")
_BRICKS = ("brick", "size", "node", "disk")
_MOVES = ("brick", "volume", "from device", "to device", "size", "deviation after")


def show_explanations(clusters: Iterable[pb.ClusterExplanation]) -> None:
    """Each cluster with its sentence and its disks."""
    for cluster in clusters:
        paragraph(f"cluster {cluster.cluster_id}: {cluster.summary}")
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
        size(disk.total_bytes),
        size(disk.free_bytes),
        text,
    )


def show_list(volumes: Iterable[volume_pb2.Volume]) -> None:
    """A line for each volume."""
    rows = [
        (each.id, each.name, size(each.size_bytes), durability(each.durability), _state(each), each.cluster_id)
        for each in volumes
    ]
    if Console().is_terminal:
        # Whoever has several clusters asks for one volume, or a pipe.
        table(_VOLUMES[:-1], (row[:-1] for row in rows), kept=("id", "state"))
    else:
        table(_VOLUMES, rows)
    if not rows:
        click.echo("there is none yet; make one: brickyard volume create --size GIB", err=True)


def show_volume(volume: volume_pb2.Volume, hosts: Sequence[str], devices: Iterable[health_pb2.DeviceHealth]) -> None:
    """All about one volume: names and values, then its bricks on these devices."""
    places = {each.device_id: (each.hostname, each.path) for each in devices}
    backup = f" -o backup-volfile-servers={':'.join(hosts[1:])}" if hosts[1:] else ""
    facts = {
        "name": volume.name,
        "id": volume.id,
        "cluster": volume.cluster_id,
        "size": size(volume.size_bytes),
        "durability": durability(volume.durability),
        "state": _state(volume),
        "snapshots": f"room for {volume.snapshot_factor:g} times the size" if volume.snapshot_enabled else "",
        "options": ", ".join(filter(None, volume.options)),
        "block volumes": f"{size(volume.block_hosting.free_size_bytes)} free for them" if volume.block else "",
        "mount": f"mount -t glusterfs{backup} {hosts[0]}:/{volume.name} DIRECTORY" if hosts else "",
    }
    for key, value in facts.items():
        if value:
            say(f"{key + ':':<15}{value}")
    rows = [
        (each.id, size(each.size_bytes), *places.get(each.device_id, (each.node_id, each.device_id)))
        for each in volume.bricks
    ]
    table(_BRICKS, rows, kept=("brick",))


def durability(wanted: volume_pb2.Durability) -> str:
    """The redundancy in short, e.g. "replicate 3"."""
    if wanted.type == volume_pb2.DURABILITY_TYPE_REPLICATE:
        return f"replicate {wanted.replica_count}"
    if wanted.type == volume_pb2.DURABILITY_TYPE_DISPERSE:
        return f"disperse {wanted.data_count}+{wanted.redundancy_count}"
    return "none"


def _state(volume: volume_pb2.Volume) -> str:
    return volume_pb2.VolumeState.Name(volume.state).removeprefix("VOLUME_STATE_").lower()


def show_rebalance(plan: PlanRebalanceResponse) -> None:
    """The moves, and what they bring and cost."""
    before, after = 100 * plan.deviation_before, 100 * plan.deviation_after
    if not plan.moves:
        say(f"nothing to move: the fill of the disks deviates by {before:.1f} points, and no move is worth its cost")
        return
    count = f"{len(plan.moves)} move{'' if len(plan.moves) == 1 else 's'}"
    say(
        f"{count} of {size(plan.moved_bytes)} at most: the fill of the disks deviates by {before:.1f} points now, "
        f"by {after:.1f} then"
    )
    table(_MOVES, (_move_fields(each) for each in plan.moves))


def _move_fields(move: pb.PlannedMove) -> tuple[str, ...]:
    return (
        move.brick_id,
        move.volume_id,
        move.from_device_id,
        move.brick.device_id,
        size(move.moved_bytes),
        f"{100 * move.deviation_after:.1f}",
    )
