"""`brickyard cluster`: what a cluster has, and what still fits."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.connection import grpc_options, told_to_user
from gateway.cli.progress import say

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

# Looking at the nodes waits ten seconds for one that does not answer.
_TIMEOUT_S = 60.0
_connected = grpc_options(
    "--address", default="127.0.0.1:7400", envvar="BRICKYARD_ADDRESS", what="a gateway's operator API"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON with the field names of the API.")
_TYPES = ("none", "replicate", "disperse")


@click.group()
def cluster() -> None:
    """What a cluster has, and what still fits."""


@cluster.command(
    epilog="""\b
Example:
  brickyard cluster getdiskstatus 67e267ea403dfcdf80731165b300d1ca --tls-dir /etc/brickyard/operator
"""
)
@click.argument("cluster_id", metavar="ID")
@_JSON
@_connected
def getdiskstatus(*, connection: "Connection", cluster_id: str, as_json: bool) -> None:
    """Shows each disk of the cluster ID: node, path, health, state, size, used, free, percent, bricks.

    Nodes that do not answer are named on stderr; their disks are shown as the records have them.
    """
    answer = _call(connection, "GetDiskStatus", cluster_id=cluster_id)
    from gateway.cli import status_texts, status_views  # noqa: PLC0415 - slow to load

    if as_json:
        _say_json(answer)
    else:
        columns = ("node", "disk", "health", "state", "size", "used", "free", "taken", "bricks")
        status_views.table(columns, map(status_texts.disk_fields, answer.disks))
    _name_silent(answer.silent_nodes)


@cluster.command(
    epilog="""\b
Examples:
  brickyard cluster getvolmaxsize 67e267ea403dfcdf80731165b300d1ca --replica 2
  brickyard cluster getvolmaxsize 67e267ea403dfcdf80731165b300d1ca --durability disperse --redundancy 1
"""
)
@click.argument("cluster_id", metavar="ID")
@click.option("--durability", type=click.Choice(_TYPES), default="replicate", show_default=True, help="Redundancy.")
@click.option("--replica", type=click.IntRange(1, 3), default=3, show_default=True, help="Copies.")
@click.option("--disperse-data", type=click.IntRange(1), default=4, show_default=True, help="Data bricks of a set.")
@click.option("--redundancy", type=click.IntRange(1), default=2, show_default=True, help="Spare bricks of a set.")
@click.option(
    "--snapshot-factor", type=click.FloatRange(1, 100), default=1.0, help="Room for snapshots, times the size."
)
@click.option("--option", "options", multiple=True, help='Gluster option as "key value", as for the volume.')
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the keys of the REST answer.")
@_connected
def getvolmaxsize(
    *,
    connection: "Connection",
    cluster_id: str,
    durability: str,
    replica: int,
    disperse_data: int,
    redundancy: int,
    snapshot_factor: float,
    options: Sequence[str],
    as_json: bool,
) -> None:
    """Tells the size in GiB of the largest volume that the cluster ID can take now; one GiB more it can not."""
    from brickyard.topology.v1 import volume_pb2  # noqa: PLC0415 - slow to load
    from services.common.units import GIB  # noqa: PLC0415 - slow to load

    wanted = volume_pb2.Durability(type=volume_pb2.DurabilityType.Value(f"DURABILITY_TYPE_{durability.upper()}"))
    if durability == "replicate":
        wanted.replica_count = replica
    if durability == "disperse":
        wanted.data_count, wanted.redundancy_count = disperse_data, redundancy
    answer = _call(
        connection,
        "GetMaxVolumeSize",
        cluster_id=cluster_id,
        durability=wanted,
        options=options,
        snapshot_factor=snapshot_factor,
    )
    shown = {
        "MaxAllowCreateVolSize": answer.size_bytes // GIB,
        "AvaildDiskCnt": answer.available_disk_count,
        "AvaildNodeCnt": answer.available_node_count,
    }
    if as_json:
        say(json.dumps(shown))
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
@_JSON
@_connected
@click.pass_context
def querydevices(context: click.Context, *, connection: "Connection", cluster_id: str, as_json: bool) -> None:
    """Asks the nodes of the cluster ID for disks that could be added; those in use are left out.

    A node that does not answer is named, and the exit code is 1.
    """
    answer = _call(connection, "ListFreeDisks", cluster_id=cluster_id)
    from gateway.cli import status_texts, status_views  # noqa: PLC0415 - slow to load

    if as_json:
        _say_json(answer)
    else:
        rows = [
            (node.hostname, node.node_id, disk.path, status_texts.size(disk.size_bytes))
            for node in answer.nodes
            for disk in node.disks
        ]
        status_views.table(("node", "node id", "disk", "size"), rows)
    silent = [node for node in answer.nodes if node.error]
    _name_silent(silent)
    context.exit(1 if silent else 0)


def _call(connection: "Connection", method: str, **fields: Any) -> Any:
    with told_to_user(connection):
        return asyncio.run(_ask(connection, method, fields))


async def _ask(connection: "Connection", method: str, fields: dict[str, Any]) -> Any:
    from brickyard.gateway.v1 import operator_service_pb2 as pb  # noqa: PLC0415 - slow to load
    from gateway.cli.connection import operator_stub  # noqa: PLC0415 - slow to load
    from services.common.channels import call_aio  # noqa: PLC0415 - slow to load

    async with operator_stub(connection) as stub:
        return await call_aio(getattr(stub, method), getattr(pb, f"{method}Request")(**fields), timeout_s=_TIMEOUT_S)


def _say_json(answer: Any) -> None:
    from google.protobuf import json_format  # noqa: PLC0415 - slow to load

    fields = json_format.MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    say(json.dumps(fields))


def _name_silent(nodes: Sequence[Any]) -> None:
    for node in nodes:
        click.echo(f"node {node.hostname} does not answer: {node.error}", err=True)
