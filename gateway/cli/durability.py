"""The flags that say what a volume is to be like, and what they mean in the API."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from brickyard.topology.v1 import volume_pb2

_TYPES = ("none", "replicate", "disperse")


def durability_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Flags of volumes.

    The command gets `durability`, `replica`, `disperse_data`, `redundancy`, `snapshot_factor` and `options`.
    """
    for option in (
        click.option("--option", "options", multiple=True, help='Gluster option as "key value". May be repeated.'),
        click.option(
            "--snapshot-factor", type=click.FloatRange(1, 100), default=1.0, help="Room for snapshots, times the size."
        ),
        click.option(
            "--redundancy", type=click.IntRange(1), default=2, show_default=True, help="Spare bricks of a set."
        ),
        click.option(
            "--disperse-data", type=click.IntRange(1), default=4, show_default=True, help="Data bricks of a set."
        ),
        click.option("--replica", type=click.IntRange(1, 3), default=3, show_default=True, help="Copies."),
        click.option(
            "--durability", type=click.Choice(_TYPES), default="replicate", show_default=True, help="Redundancy."
        ),
    ):
        command = option(command)
    return command


def durability_message(
    *, durability: str, replica: int, disperse_data: int, redundancy: int
) -> "volume_pb2.Durability":
    """What these flags mean in the API."""
    from brickyard.topology.v1 import volume_pb2  # noqa: PLC0415 - slow to load, and --help needs none of it

    wanted = volume_pb2.Durability(type=volume_pb2.DurabilityType.Value(f"DURABILITY_TYPE_{durability.upper()}"))
    if durability == "replicate":
        wanted.replica_count = replica
    if durability == "disperse":
        wanted.data_count, wanted.redundancy_count = disperse_data, redundancy
    return wanted
