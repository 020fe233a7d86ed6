"""`brickyard volume`, and `brickyard cluster rebalance-plan`: here is what placement would do, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.connection import call_operator, operator_options
from gateway.cli.durability import durability_message, durability_options
from gateway.cli.output import json_option, say_json
from gateway.cli.volume_changes import clone, create, delete, expand, list_command, show

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

# The search for the largest size, in a cluster of thousands of disks.
_TIMEOUT_S = 60.0


@click.group()
def volume() -> None:
    """Volumes: what there is, making and removing them, where they go and why."""


for command in (clone, create, delete, expand, list_command, show):
    volume.add_command(command)


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
@durability_options
@json_option
@operator_options
@click.pass_context
def explain(context: click.Context, /, *, connection: "Connection", as_json: bool, **given: Any) -> None:
    """Tells where a volume would go now, or why it would not, and what each disk is for it. Changes nothing.

    The exit code is 1 when no cluster takes it.
    """
    answer = call_operator(connection, "ExplainVolume", timeout_s=_TIMEOUT_S, **_explain_fields(**given))
    from gateway.cli import volume_views  # noqa: PLC0415 - slow to load

    if as_json:
        say_json(answer)
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
    from services.common.units import GIB  # noqa: PLC0415 - slow to load

    wanted = durability_message(
        durability=durability, replica=replica, disperse_data=disperse_data, redundancy=redundancy
    )
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
@json_option
@operator_options
def rebalance_plan(*, connection: "Connection", cluster_id: str, moves: int, target: float, as_json: bool) -> None:
    """Tells which bricks of the cluster ID to move so that its disks are filled alike, and what it costs.

    Changes nothing: evicting a brick moves it, to where there is the most room.
    """
    answer = call_operator(
        connection,
        "PlanRebalance",
        timeout_s=_TIMEOUT_S,
        cluster_id=cluster_id,
        max_moves=moves,
        target_deviation=target / 100,
    )
    from gateway.cli import volume_views  # noqa: PLC0415 - slow to load

    if as_json:
        say_json(answer)
    else:
        volume_views.show_rebalance(answer)
