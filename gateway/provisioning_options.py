"""The flags that shape volumes, named after Heketi's configuration keys, and the settings that they make.

Heketi's own variables and its heketi.json are read in one place, `gateway.heketi.config`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.settings import ProvisioningSettings
from services.common.units import GIB, KIB

_Command = TypeVar("_Command", bound=Callable[..., Any])
_GIB = click.IntRange(1, 2**30)
_OPTIONS = (
    click.option("--strategy", default="", help="Placement strategy: spread or ring. Default: the allocator's."),
    click.option(
        "--zone-checking",
        type=click.Choice(["none", "strict"]),
        default="none",
        show_default=True,
        help="Whether the bricks of a set must be in different zones, when a volume's options do not say.",
    ),
    click.option("--brick-min-size", type=_GIB, default=1, show_default=True, help="GiB of the smallest data brick."),
    click.option("--brick-max-size", type=_GIB, default=4096, show_default=True, help="GiB of the largest data brick."),
    click.option(
        "--max-bricks-per-volume", type=click.IntRange(1, 2**31 - 1), default=32, show_default=True, help="As it says."
    ),
    click.option(
        "--max-volumes-per-cluster",
        type=click.IntRange(0, 2**31 - 1),
        default=1000,
        show_default=True,
        help="Volumes of one cluster; 0 = no limit.",
    ),
    click.option(
        "--average-file-size",
        type=click.IntRange(1, 2**30),
        default=64,
        show_default=True,
        help="KiB of the files to expect, for the size of arbiter bricks.",
    ),
    click.option(
        "--rebalance-on-expansion/--no-rebalance-on-expansion",
        default=True,
        show_default=True,
        help="Whether gluster moves data onto the new bricks of a volume that was made larger.",
    ),
    click.option(
        "--pre-request-volume-options",
        default="",
        help="Gluster options set before those of a request, comma separated, e.g. 'performance.io-cache off'.",
    ),
    click.option(
        "--post-request-volume-options",
        default="",
        help="Gluster options set after those of a request, comma separated.",
    ),
    click.option(
        "--auto-create-block-hosting-volume/--no-auto-create-block-hosting-volume",
        default=False,
        show_default=True,
        help="Make a volume to host a block volume when none has room.",
    ),
    click.option(
        "--block-hosting-volume-size",
        type=_GIB,
        default=1024,
        show_default=True,
        help="GiB of such a volume; 98 % of it are for block volumes.",
    ),
    click.option(
        "--block-hosting-volume-options",
        default="group gluster-block",
        show_default=True,
        help="Gluster options of all hosting volumes, comma separated.",
    ),
    click.option(
        "--block-prealloc",
        type=click.Choice(["full", "no"]),
        default="full",
        show_default=True,
        help="Whether the space of a block volume is taken at once.",
    ),
)
_AS_THEY_ARE = (
    "strategy",
    "zone_checking",
    "max_bricks_per_volume",
    "max_volumes_per_cluster",
    "rebalance_on_expansion",
    "pre_request_volume_options",
    "post_request_volume_options",
    "auto_create_block_hosting_volume",
    "block_hosting_volume_options",
    "block_prealloc",
)
_IN_UNITS = (
    ("brick_min_size", GIB),
    ("brick_max_size", GIB),
    ("average_file_size", KIB),
    ("block_hosting_volume_size", GIB),
)


def provisioning_options(command: _Command) -> _Command:
    """The flags that shape volumes; `provisioning_settings` takes them out of all flags."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def provisioning_settings(flags: dict[str, Any]) -> ProvisioningSettings:
    """The settings from the flags that shape volumes, which are removed from `flags`.

    Raises:
        click.UsageError: The smallest brick is larger than the largest.
    """
    if flags["brick_min_size"] > flags["brick_max_size"]:
        raise click.UsageError(
            f"--brick-min-size {flags['brick_min_size']} is more than --brick-max-size {flags['brick_max_size']}"
        )
    sizes = {f"{name}_bytes": flags.pop(name) * unit for name, unit in _IN_UNITS}
    return ProvisioningSettings(**{name: flags.pop(name) for name in _AS_THEY_ARE}, **sizes)
