"""`brickyard node list` and `brickyard device list`."""

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.output import as_fields, json_option, say_json
from gateway.cli.rest_connection import access_options

if TYPE_CHECKING:
    from gateway.cli.connection import Connection
    from gateway.cli.rest_connection import RestConnection

_cluster = click.option("--cluster", "cluster_id", default="", metavar="ID", help="Only this cluster. Default: all.")


@click.group()
def node() -> None:
    """Storage nodes."""


@click.group()
def device() -> None:
    """Disks of the storage nodes."""


@node.command(
    "list",
    epilog="""\b
Example:
  brickyard node list

\b
In a pipe a line has: id, host name, zone, state, health, number of disks; tabs in between.
""",
)
@_cluster
@json_option
@access_options
def list_nodes(*, connection: "Connection | RestConnection", cluster_id: str, as_json: bool) -> None:
    """Lists the nodes by host name: zone, state, health, number of disks."""
    from gateway.cli import status_texts  # noqa: PLC0415 - slow to load
    from gateway.cli.inventory import read_inventory  # noqa: PLC0415 - the same
    from gateway.cli.tables import table  # noqa: PLC0415 - the same

    found = read_inventory(connection, cluster_id=cluster_id, volumes=False)
    if as_json:
        say_json({"nodes": [as_fields(each) for each in found.nodes]})
        return
    health = {each.node_id: status_texts.node_fields(each, 0) for each in found.report.nodes}
    rows: list[Any] = []
    for each in sorted(found.nodes, key=lambda one: one.manage_hostnames[0]):
        _host, how, state, *_rest = health.get(each.id, ("", "unknown", "-"))
        rows.append((each.id, each.manage_hostnames[0], str(each.zone), state, how, str(len(each.device_ids))))
    table(("id", "node", "zone", "state", "health", "disks"), rows, kept=("id", "zone"))


@device.command(
    "list",
    epilog="""\b
Example:
  brickyard device list

\b
In a pipe a line has: id, node, path, health, state, size, used, free, percent, bricks; tabs in between.
""",
)
@_cluster
@json_option
@access_options
def list_devices(*, connection: "Connection | RestConnection", cluster_id: str, as_json: bool) -> None:
    """Lists the disks by node and path: health, state, size, what is taken, number of bricks."""
    from gateway.cli import status_texts  # noqa: PLC0415 - slow to load
    from gateway.cli.inventory import read_inventory  # noqa: PLC0415 - the same
    from gateway.cli.tables import table  # noqa: PLC0415 - the same

    found = sorted(
        read_inventory(connection, cluster_id=cluster_id, volumes=False).report.devices,
        key=lambda each: (each.hostname, each.path),
    )
    if as_json:
        say_json({"devices": [as_fields(each) for each in found]})
        return
    columns = ("id", "node", "disk", "health", "state", "size", "used", "free", "taken", "bricks")
    table(columns, ((each.device_id, *status_texts.disk_fields(each)) for each in found), kept=("id",))
