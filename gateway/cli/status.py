"""`brickyard status`: one screen that tells what is wrong, what is full, and what is running."""

import time
from typing import TYPE_CHECKING

import click

from gateway.cli.output import say_json
from gateway.cli.rest_connection import access_options

if TYPE_CHECKING:
    from gateway.cli.connection import Connection
    from gateway.cli.rest_connection import RestConnection


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
@access_options
@click.pass_context
def status(
    context: click.Context,
    *,
    connection: "Connection | RestConnection",
    cluster_id: str,
    refresh: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Tells what is wrong, what is full, and what is running; in a pipe one line each with fields between tabs.

    Over REST too, which tells no health of volumes.
    """
    from gateway.cli import status_texts, status_views  # noqa: PLC0415 - slow to load
    from gateway.cli.inventory import read_inventory  # noqa: PLC0415 - slow to load
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - the same

    with sign_of_life("looking"):
        found = read_inventory(connection, cluster_id=cluster_id, refresh=refresh)
    report, running = found.report, found.running
    if as_json:
        say_json(status_texts.as_json(report, running))
    else:
        status_views.show(report, running, time.time(), everything=everything)
    context.exit(1 if status_texts.is_wrong(report) else 0)
