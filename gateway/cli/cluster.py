"""`brickyard cluster`: what a cluster has, and what still fits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.durability import durability_message, durability_options
from gateway.cli.output import as_fields, json_option, say_json, say_result
from gateway.cli.progress import say
from gateway.cli.rest_connection import access_options

if TYPE_CHECKING:
    from gateway.cli.cluster_calls import Access


@click.group()
def cluster() -> None:
    """Clusters: what there is, what one has, and what still fits."""


@cluster.command(
    "list",
    epilog="""\b
Example:
  brickyard cluster list

\b
In a pipe a line has: id, number of nodes, of volumes, of block volumes, and which volumes it takes; tabs in between.
""",
)
@json_option
@access_options
def list_command(*, connection: "Access", as_json: bool) -> None:
    """Lists the clusters."""
    from gateway.cli import member_calls, tables  # noqa: PLC0415 - slow to load

    found = member_calls.list_clusters(connection)
    if as_json:
        say_json({"clusters": [as_fields(each) for each in found]})
        return
    rows = [
        (
            each.id,
            *(str(len(ids)) for ids in (each.node_ids, each.volume_ids, each.block_volume_ids)),
            " ".join(name for name, takes in (("file", each.file_enabled), ("block", each.block_enabled)) if takes)
            or "none",
        )
        for each in sorted(found, key=lambda one: one.id)
    ]
    tables.table(("id", "nodes", "volumes", "block volumes", "takes"), rows, kept=("id",))


@cluster.command(
    epilog="""\b
Examples:
  brickyard cluster create
  brickyard cluster create --no-block
"""
)
@click.option("--file/--no-file", default=True, help="Whether it takes new file volumes. Default: it does.")
@click.option("--block/--no-block", default=True, help="Whether it takes new block volumes. Default: it does.")
@json_option
@access_options
def create(*, connection: "Access", file: bool, block: bool, as_json: bool) -> None:
    """Makes an empty cluster."""
    from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

    cluster_id = member_calls.create_cluster(connection, file=file, block=block)
    say_result(
        f"cluster {cluster_id} is made; now its nodes: brickyard node add HOST --cluster {cluster_id} --zone N",
        as_json=as_json,
        cluster_id=cluster_id,
    )


@cluster.command(
    epilog="""\b
Example:
  brickyard cluster delete 67e267ea403dfcdf80731165b300d1ca
"""
)
@click.argument("cluster_id", metavar="ID")
@json_option
@access_options
def delete(*, connection: "Access", cluster_id: str, as_json: bool) -> None:
    """Deletes the cluster ID, which must have no nodes and no volumes."""
    from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

    member_calls.delete_cluster(connection, cluster_id)
    say_result(f"cluster {cluster_id} is deleted", as_json=as_json, cluster_id=cluster_id)


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
