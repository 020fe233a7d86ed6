"""`brickyard topology`: clusters, nodes and devices."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.connection import told_to_user
from gateway.cli.output import as_fields, json_option, say_json, to_stderr
from gateway.cli.progress import say
from gateway.cli.rest_connection import RestConnection, access_options, rest_options

if TYPE_CHECKING:
    from gateway.cli.connection import Connection


@click.group()
def topology() -> None:
    """Clusters, nodes and devices."""


@topology.command(
    "load",
    epilog="""\b
Example:
  brickyard topology load --server http://localhost:8080 --key-file admin.key topology.json

\b
What is there already stays as it is. The file is checked before anything is added; the exit code is 1 when the server
refused an item, which keeps no other from being added.
""",
)
@json_option
@rest_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def topology_load(*, connection: RestConnection, file: Path, as_json: bool) -> None:
    """Adds what a topology file of Heketi names and what is not there yet. May be repeated."""
    from gateway.cli.topology_file import read_topology  # noqa: PLC0415 - slow to load
    from gateway.cli.topology_load import failures_of, load_topology  # noqa: PLC0415 - the same

    with told_to_user():
        clusters = read_topology(file)
        with connection.client() as client:
            items = load_topology(client, clusters, to_stderr if as_json else say)
    if as_json:
        say_json({"items": [asdict(each) for each in items]})
    failures = failures_of(items)
    if failures:
        raise click.ClickException(f"{failures} of the items could not be added; mend the cause and load again")


@topology.command(
    epilog="""\b
Examples:
  brickyard topology show
  brickyard topology show --cluster 67e267ea403dfcdf80731165b300d1ca --json

\b
In a pipe a line has: cluster, node, zone, state and health of the node, disk, state and health of the disk, size, used,
free, percent, bricks, id of the disk; "-" where there is none.
"""
)
@click.option("--cluster", "cluster_id", default="", metavar="ID", help="Only this cluster. Default: all.")
@json_option
@access_options
def show(*, connection: "Connection | RestConnection", cluster_id: str, as_json: bool) -> None:
    """Shows clusters, their nodes and their disks as a tree, with how full each is."""
    from gateway.cli.inventory import read_inventory  # noqa: PLC0415 - slow to load
    from gateway.cli.topology_views import show_tree  # noqa: PLC0415 - the same

    found = read_inventory(connection, cluster_id=cluster_id)
    if not as_json:
        show_tree(found)
        return
    say_json(
        {
            "clusters": [as_fields(each) for each in found.clusters],
            "nodes": [as_fields(each) for each in found.nodes],
            "devices": [as_fields(each) for each in found.report.devices],
            "volumes": [as_fields(each) for each in found.report.volumes],
        }
    )
