"""`brickyard status`: one screen that tells what is wrong, what is full, and what is running."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.connection import operator_options, told_to_user
from gateway.cli.output import say_json

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

# A look at all nodes waits ten seconds for one that does not answer.
_TIMEOUT_S = 60.0
_MOST_OPERATIONS = 100


@click.command(
    epilog="""\b
Examples:
  brickyard status --address 10.0.0.2:7400 --tls-dir /etc/brickyard/operator
  brickyard status --refresh --json | jq .problems
  brickyard status > /dev/null || mail -s "gluster needs a look" admin

Exit codes: 0 nothing is wrong, 1 there is a problem, or no answer.
"""
)
@click.option("--cluster", "cluster_id", default="", metavar="ID", help="Only this cluster.")
@click.option("--refresh", is_flag=True, help="Look at all nodes now, instead of showing what was seen last.")
@click.option("--all", "everything", is_flag=True, help="On a terminal: also what is well. A pipe gets it anyway.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the field names of the API.")
@operator_options
@click.pass_context
def status(
    context: click.Context,
    *,
    connection: "Connection",
    cluster_id: str,
    refresh: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Tells what is wrong, what is full, and what is running; in a pipe one line each with fields between tabs."""
    from gateway.cli import status_texts, status_views  # noqa: PLC0415 - slow to load

    with told_to_user(connection):
        report, running = asyncio.run(_fetch(connection, cluster_id, refresh=refresh))
    if as_json:
        say_json(status_texts.as_json(report, running))
    else:
        status_views.show(report, running, time.time(), everything=everything)
    context.exit(1 if status_texts.is_wrong(report) else 0)


async def _fetch(connection: "Connection", cluster_id: str, *, refresh: bool) -> tuple[Any, Any]:
    from brickyard.gateway.v1 import operator_service_pb2 as pb  # noqa: PLC0415 - slow to load
    from gateway.cli.connection import operator_stub  # noqa: PLC0415 - slow to load
    from services.common.channels import call_aio  # noqa: PLC0415 - slow to load

    async with operator_stub(connection) as stub:
        answer = await call_aio(
            stub.GetHealth, pb.GetHealthRequest(cluster_id=cluster_id, refresh=refresh), timeout_s=_TIMEOUT_S
        )
        listed = await call_aio(
            stub.ListOperations, pb.ListOperationsRequest(unfinished_only=True, page_size=_MOST_OPERATIONS)
        )
    running = [each for each in listed.operations if cluster_id in ("", each.cluster_id)]
    return answer.report, running
