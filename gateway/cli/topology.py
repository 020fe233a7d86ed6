"""`brickyard topology`: clusters, nodes and devices."""

from pathlib import Path

import click

from gateway.cli.connection import told_to_user
from gateway.cli.progress import say
from gateway.cli.rest_connection import RestConnection, rest_options


@click.group()
def topology() -> None:
    """Clusters, nodes and devices."""


@topology.command(
    "load",
    epilog="""\b
Example:
  brickyard topology load --server http://localhost:8080 --key-file admin.key topology.json
""",
)
@rest_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def topology_load(connection: RestConnection, file: Path) -> None:
    """Adds what a topology file of Heketi names and what is not there yet. May be repeated."""
    from gateway.cli.topology_load import load_topology, read_topology  # noqa: PLC0415 - slow to load

    with told_to_user():
        topology_file = read_topology(file)
        with connection.client() as client:
            failures = load_topology(client, topology_file, say)
    if failures:
        raise click.ClickException(f"{failures} of the items could not be added; mend the cause and load again")
