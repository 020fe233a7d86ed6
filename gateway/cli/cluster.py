"""`brickyard cluster`: what a cluster has, and what still fits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.durability import durability_message, durability_options
from gateway.cli.output import json_option, say_json
from gateway.cli.progress import say
from gateway.cli.rest_connection import access_options

if TYPE_CHECKING:
    from gateway.cli.cluster_calls import Access


@click.group()
def cluster() -> None:
    """What a cluster has, and what still fits."""


@cluster.command(
    epilog="""\b
Example:
  brickyard cluster getdiskstatus 67e267ea403dfcdf80731165b300d1ca
"""
)
@click.argument("cluster_id", metavar="ID")
@json_option
@access_options
def getdiskstatus(*, connection: "Access", cluster_id: str, as_json: bool) -> None:
    """Shows each disk of the cluster ID: node, path, health, state, size, used, free, percent, bricks.

    Nodes that do not answer are named on stderr; their disks are shown as the records have them. The exit code stays 0.
    """
    from gateway.cli import cluster_calls, status_texts, tables  # noqa: PLC0415 - slow to load

    answer = cluster_calls.get_disk_status(connection, cluster_id)

    if as_json:
        say_json(answer)
    else:
        columns = ("node", "disk", "health", "state", "size", "used", "free", "taken", "bricks")
        tables.table(columns, map(status_texts.disk_fields, answer.disks))
    _name_silent(answer.silent_nodes)


@cluster.command(
    epilog="""\b
Examples:
  brickyard cluster getvolmaxsize 67e267ea403dfcdf80731165b300d1ca --replica 2
  brickyard cluster getvolmaxsize 67e267ea403dfcdf80731165b300d1ca --durability disperse --redundancy 1
"""
)
@click.argument("cluster_id", metavar="ID")
@durability_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the keys of the REST answer.")
@access_options
def getvolmaxsize(
    *,
    connection: "Access",
    cluster_id: str,
    durability: str,
    replica: int,
    disperse_data: int,
    redundancy: int,
    snapshot_factor: float,
    options: Sequence[str],
    as_json: bool,
) -> None:
    """Tells the size in GiB of the largest volume that the cluster ID can take now; one GiB more it can not.

    Nodes that do not answer can take no brick and do not count; they are named on stderr. The exit code stays 0.
    """
    from brickyard.gateway.v1.operator_service_pb2 import GetMaxVolumeSizeRequest  # noqa: PLC0415 - slow to load
    from gateway.cli import cluster_calls  # noqa: PLC0415 - the same
    from services.common.units import GIB  # noqa: PLC0415 - the same

    wanted = durability_message(
        durability=durability, replica=replica, disperse_data=disperse_data, redundancy=redundancy
    )
    request = GetMaxVolumeSizeRequest(
        cluster_id=cluster_id,
        durability=wanted,
        options=options,
        snapshot_factor=snapshot_factor,
    )
    answer = cluster_calls.get_max_volume_size(connection, request)
    shown = {
        "MaxAllowCreateVolSize": answer.size_bytes // GIB,
        "AvaildDiskCnt": answer.available_disk_count,
        "AvaildNodeCnt": answer.available_node_count,
    }
    if as_json:
        say_json(shown)
    else:
        for key, value in shown.items():
            say(f"{key}: {value}")
    _name_silent(answer.silent_nodes)


@cluster.command(
    epilog="""\b
Example:
  brickyard cluster querydevices 67e267ea403dfcdf80731165b300d1ca --json
"""
)
@click.argument("cluster_id", metavar="ID")
@json_option
@access_options
@click.pass_context
def querydevices(context: click.Context, *, connection: "Access", cluster_id: str, as_json: bool) -> None:
    """Asks the nodes of the cluster ID for disks that could be added; those in use are left out.

    What the others have is printed also when a node does not answer; it is named on stderr, and the exit code is 1.
    """
    from gateway.cli import cluster_calls, status_texts, tables  # noqa: PLC0415 - slow to load

    answer = cluster_calls.list_free_disks(connection, cluster_id)

    if as_json:
        say_json(answer)
    else:
        rows = [
            (node.hostname, node.node_id, disk.path, status_texts.size(disk.size_bytes))
            for node in answer.nodes
            for disk in node.disks
        ]
        tables.table(("node", "node id", "disk", "size"), rows)
    silent = [node for node in answer.nodes if node.error]
    _name_silent(silent)
    context.exit(1 if silent else 0)


def _name_silent(nodes: Sequence[Any]) -> None:
    for node in nodes:
        click.echo(f"node {node.hostname} does not answer: {node.error}", err=True)
