"""`brickyard volume explain` and `brickyard cluster rebalance-plan`: what placement would do, and why."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.connection import grpc_options, told_to_user
from gateway.cli.progress import say

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

# The search for the largest size, in a cluster of thousands of disks.
_TIMEOUT_S = 60.0
_connected = grpc_options(
    "--address", default="127.0.0.1:7400", envvar="BRICKYARD_ADDRESS", what="a gateway's operator API"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON with the field names of the API.")
_TYPES = ("none", "replicate", "disperse")


@click.group()
def volume() -> None:
    """Where volumes go, and why."""


@volume.command(
    epilog="""\b
Examples:
  brickyard volume explain --size 100 --replica 3 --tls-dir /etc/brickyard/operator
  brickyard volume explain --size 100 --durability disperse --option "user.heketi.zone-checking strict"
  brickyard volume explain --size 50 --expand 7f19b27e5a4f38a044754a2a6fd03c03
"""
)
@click.option("--size", "size_gib", type=click.IntRange(1), required=True, metavar="GIB", help="Size in GiB.")
@click.option("--expand", default="", metavar="ID", help="Ask about making this volume larger by the size instead.")
@click.option("--cluster", "clusters", multiple=True, metavar="ID", help="Only these clusters, in this order.")
@click.option("--durability", type=click.Choice(_TYPES), default="replicate", show_default=True, help="Redundancy.")
@click.option("--replica", type=click.IntRange(1, 3), default=3, show_default=True, help="Copies.")
@click.option("--disperse-data", type=click.IntRange(1), default=4, show_default=True, help="Data bricks of a set.")
@click.option("--redundancy", type=click.IntRange(1), default=2, show_default=True, help="Spare bricks of a set.")
@click.option("--snapshot-factor", type=click.FloatRange(1, 100), default=1.0, help="Room for snapshots.")
@click.option("--option", "options", multiple=True, help='Gluster option as "key value", as for the volume.')
@_JSON
@_connected
@click.pass_context
def explain(context: click.Context, /, *, connection: "Connection", as_json: bool, **given: Any) -> None:
    """Tells where a volume would go now, or why it would not, and what each disk is for it. Changes nothing.

    The exit code is 1 when no cluster takes it.
    """
    answer = _call(connection, "ExplainVolume", **_explain_fields(**given))
    from gateway.cli import volume_views  # noqa: PLC0415 - slow to load

    if as_json:
        _say_json(answer)
    elif not answer.clusters:
        click.echo("there is no cluster yet; create one first", err=True)
    else:
        volume_views.show_explanations(answer.clusters)
    context.exit(0 if any(not each.refusal_reason for each in answer.clusters) else 1)


def _explain_fields(
    *,
    size_gib: int,
    expand: str,
    clusters: Sequence[str],
    durability: str,
    replica: int,
    disperse_data: int,
    redundancy: int,
    snapshot_factor: float,
    options: Sequence[str],
) -> dict[str, Any]:
    """The fields of an ExplainVolumeRequest."""
    from brickyard.topology.v1 import volume_pb2  # noqa: PLC0415 - slow to load
    from services.common.units import GIB  # noqa: PLC0415 - the same

    wanted = volume_pb2.Durability(type=volume_pb2.DurabilityType.Value(f"DURABILITY_TYPE_{durability.upper()}"))
    if durability == "replicate":
        wanted.replica_count = replica
    if durability == "disperse":
        wanted.data_count, wanted.redundancy_count = disperse_data, redundancy
    return {
        "expanded_volume_id": expand,
        "volume": {
            "size_bytes": size_gib * GIB,
            "cluster_ids": clusters,
            "durability": wanted,
            "options": options,
            "snapshot_enabled": snapshot_factor > 1,
            "snapshot_factor": snapshot_factor,
        },
    }


@click.command(
    "rebalance-plan",
    epilog="""\b
Example:
  brickyard cluster rebalance-plan 67e267ea403dfcdf80731165b300d1ca --moves 10 --tls-dir /etc/brickyard/operator
""",
)
@click.argument("cluster_id", metavar="ID")
@click.option("--moves", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many moves.")
@click.option(
    "--target",
    type=click.FloatRange(0.1, 100),
    default=2.0,
    show_default=True,
    help="Standard deviation of fill in points that is good enough.",
)
@_JSON
@_connected
def rebalance_plan(*, connection: "Connection", cluster_id: str, moves: int, target: float, as_json: bool) -> None:
    """Tells which bricks of the cluster ID to move so that its disks are filled alike, and what it costs.

    Changes nothing: evicting a brick moves it, to where there is the most room.
    """
    answer = _call(connection, "PlanRebalance", cluster_id=cluster_id, max_moves=moves, target_deviation=target / 100)
    from gateway.cli import volume_views  # noqa: PLC0415 - slow to load

    if as_json:
        _say_json(answer)
    else:
        volume_views.show_rebalance(answer)


def _call(connection: "Connection", method: str, **fields: Any) -> Any:
    with told_to_user(connection):
        return asyncio.run(_ask(connection, method, fields))


async def _ask(connection: "Connection", method: str, fields: dict[str, Any]) -> Any:
    from brickyard.gateway.v1 import operator_service_pb2 as pb  # noqa: PLC0415 - slow to load
    from gateway.cli.connection import operator_stub  # noqa: PLC0415 - the same
    from services.common.channels import call_aio  # noqa: PLC0415 - the same

    async with operator_stub(connection) as stub:
        return await call_aio(getattr(stub, method), getattr(pb, f"{method}Request")(**fields), timeout_s=_TIMEOUT_S)


def _say_json(answer: Any) -> None:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - slow to load

    say(json.dumps(MessageToDict(answer, preserving_proto_field_name=True)))
