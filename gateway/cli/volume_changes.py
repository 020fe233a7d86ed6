"""`brickyard volume list`, `show`, `create`, `expand`, `clone` and `delete`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.durability import durability_message, durability_options
from gateway.cli.output import as_fields, json_option, say_json, say_result
from gateway.cli.rest_connection import access_options

if TYPE_CHECKING:
    from gateway.cli.volume_calls import Access, Mountable


@click.command(
    "list",
    epilog="""\b
Example:
  brickyard volume list

\b
In a pipe a line has: id, name, size, durability, state, cluster; tabs in between.
""",
)
@json_option
@access_options
def list_command(*, connection: "Access", as_json: bool) -> None:
    """Lists the volumes by name."""
    from gateway.cli import volume_calls, volume_views  # noqa: PLC0415 - slow to load

    found = volume_calls.list_volumes(connection)
    if as_json:
        say_json({"volumes": [as_fields(each) for each in found]})
    else:
        volume_views.show_list(found)


@click.command(
    epilog="""\b
Examples:
  brickyard volume show data
  brickyard volume show 7f19b27e5a4f38a044754a2a6fd03c03 --json
"""
)
@click.argument("volume", metavar="NAME|ID")
@json_option
@access_options
def show(*, connection: "Access", volume: str, as_json: bool) -> None:
    """Shows a volume: how to mount it, what it is like, and where its bricks are."""
    from gateway.cli import volume_calls  # noqa: PLC0415 - slow to load

    _tell(connection, volume_calls.get_volume(connection, volume_calls.find_id(connection, volume)), as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  brickyard volume create --size 100
  brickyard volume create --size 100 --name data --durability disperse --disperse-data 4 --redundancy 2
  brickyard volume explain --size 100          # where it would go, without making it
"""
)
@click.option("--size", "size_gib", type=click.IntRange(1), required=True, metavar="GIB", help="Size in GiB.")
@click.option("--name", default="", help="Unique in its cluster. Default: vol_ and the id.")
@click.option("--cluster", "clusters", multiple=True, metavar="ID", help="Only these clusters, in this order.")
@durability_options
@click.option("--gid", type=click.IntRange(0), default=0, help="Group that owns the volume.")
@click.option("--block", is_flag=True, help="Make a volume that hosts block volumes.")
@json_option
@access_options
def create(*, connection: "Access", as_json: bool, **given: Any) -> None:
    """Makes a volume and waits until it can be mounted; interrupted, the work goes on."""
    from gateway.cli import volume_calls  # noqa: PLC0415 - slow to load

    _tell(connection, volume_calls.create_volume(connection, _creation(**given)), as_json=as_json)


def _creation(
    *,
    size_gib: int,
    name: str,
    clusters: Sequence[str],
    snapshot_factor: float,
    options: Sequence[str],
    gid: int,
    block: bool,
    **durability: Any,
) -> Any:
    from brickyard.gateway.v1.operator_service_pb2 import CreateVolumeRequest  # noqa: PLC0415 - slow to load
    from services.common.units import GIB  # noqa: PLC0415 - the same

    return CreateVolumeRequest(
        size_bytes=size_gib * GIB,
        name=name,
        cluster_ids=clusters,
        durability=durability_message(**durability),
        options=options,
        gid=gid,
        block=block,
        snapshot_enabled=snapshot_factor > 1,
        snapshot_factor=snapshot_factor,
    )


@click.command(
    epilog="""\b
Example:
  brickyard volume expand data --by 50
"""
)
@click.argument("volume", metavar="NAME|ID")
@click.option("--by", "added_gib", type=click.IntRange(1), required=True, metavar="GIB", help="So much larger.")
@json_option
@access_options
def expand(*, connection: "Access", volume: str, added_gib: int, as_json: bool) -> None:
    """Makes a volume larger by so many GiB, while it is in use, and waits for it."""
    from gateway.cli import volume_calls  # noqa: PLC0415 - slow to load

    found = volume_calls.find_id(connection, volume)
    _tell(connection, volume_calls.expand_volume(connection, found, added_gib), as_json=as_json)


@click.command(
    epilog="""\b
Example:
  brickyard volume clone data --name data-copy
"""
)
@click.argument("volume", metavar="NAME|ID")
@click.option("--name", default="", help="Unique in its cluster. Default: vol_ and the id.")
@json_option
@access_options
def clone(*, connection: "Access", volume: str, name: str, as_json: bool) -> None:
    """Copies a volume as it is at this moment, while it is in use, and waits for it.

    The copy shares its space with the original until they differ; it has its own name and is as writable.
    """
    from gateway.cli import volume_calls  # noqa: PLC0415 - slow to load

    found = volume_calls.find_id(connection, volume)
    _tell(connection, volume_calls.clone_volume(connection, found, name), as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  brickyard volume delete data
  brickyard volume delete 7f19b27e5a4f38a044754a2a6fd03c03 --yes
"""
)
@click.argument("volume", metavar="NAME|ID")
@click.option("--yes", is_flag=True, help="Do not ask. A pipe is never asked, and needs it.")
@json_option
@access_options
def delete(*, connection: "Access", volume: str, yes: bool, as_json: bool) -> None:
    """Deletes a volume with its data, after a question."""
    from gateway.cli import volume_calls  # noqa: PLC0415 - slow to load

    volume_id = volume_calls.find_id(connection, volume)
    if not yes:
        name = volume_calls.get_volume(connection, volume_id).volume.name
        if not sys.stdin.isatty():
            raise click.UsageError(f"give --yes to delete {name} ({volume_id}) with its data")
        click.confirm(f"delete volume {name} ({volume_id}) with all its data?", abort=True, err=True)
    volume_calls.delete_volume(connection, volume_id)
    say_result(f"volume {volume_id} is deleted", as_json=as_json, volume_id=volume_id)


def _tell(connection: "Access", found: "Mountable", *, as_json: bool) -> None:
    from gateway.cli import volume_views  # noqa: PLC0415 - slow to load
    from gateway.cli.inventory import read_inventory  # noqa: PLC0415 - the same

    if as_json:
        say_json({"volume": as_fields(found.volume), "mount_hosts": list(found.hosts)})
        return
    known = read_inventory(connection, cluster_id=found.volume.cluster_id, volumes=False)
    volume_views.show_volume(found.volume, found.hosts, known.report.devices)
