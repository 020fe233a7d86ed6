"""`brickyard operations`: what is going on, and how it ended."""

import asyncio
import time
from typing import TYPE_CHECKING

import click

from gateway.cli.connection import asking, operator_options, told_to_user
from gateway.cli.output import json_option, say_json, say_result
from gateway.cli.progress import say
from gateway.cli.rest_connection import RestConnection, access_options

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

# What a shell says of a program that SIGINT ended.
_INTERRUPTED = 130


@click.group()
def operations() -> None:
    """Long-running changes: volumes, nodes and devices that are being made, changed or removed."""


@operations.command(
    "list",
    epilog="""\b
Examples:
  brickyard operations list --insecure-plaintext
  brickyard operations list --unfinished --tls-dir /etc/brickyard/operator --json
""",
)
@click.option("--unfinished", is_flag=True, help="Leave out those that have ended.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, newest first.")
@json_option
@access_options
def list_command(*, connection: "Connection | RestConnection", unfinished: bool, limit: int, as_json: bool) -> None:
    """Lists operations, newest first: a table, or in a pipe one line each with fields between tabs.

    Over REST only those that have not ended are known, without their progress.
    """
    from gateway.cli import operation_calls, operation_texts, operation_views  # noqa: PLC0415 - slow to load

    if isinstance(connection, RestConnection):
        with asking():
            found = operation_calls.list_pending(connection, limit=limit)
    else:
        with asking(connection):
            found = asyncio.run(operation_calls.list_operations(connection, unfinished_only=unfinished, limit=limit))
    if as_json:
        say_json({"operations": [operation_texts.as_json(each) for each in found]})
    else:
        operation_views.show_list(found)


@operations.command(
    epilog="""\b
Example:
  brickyard operations show 7f19b27e5a4f38a044754a2a6fd03c03 --insecure-plaintext
"""
)
@click.argument("operation_id", metavar="ID")
@json_option
@operator_options
def show(*, connection: "Connection", operation_id: str, as_json: bool) -> None:
    """Shows all that is known of the operation ID: what was asked for, how far it is, and what to do if it failed."""
    from gateway.cli import operation_calls, operation_texts  # noqa: PLC0415 - slow to load

    with asking(connection):
        operation = asyncio.run(operation_calls.get_operation(connection, operation_id))
    if as_json:
        say_json(operation_texts.as_json(operation))
        return
    for line in operation_texts.all_fields(operation, time.time()):
        say(line)


@operations.command(
    epilog="""\b
Examples:
  brickyard operations watch --insecure-plaintext
  brickyard operations watch 7f19b27e5a4f38a044754a2a6fd03c03 && echo made
"""
)
@click.argument("operation_id", metavar="[ID]", default="")
@json_option
@operator_options
@click.pass_context
def watch(context: click.Context, *, connection: "Connection", operation_id: str, as_json: bool) -> None:
    """Follows the operation ID to its end, or all that are unfinished now; the exit code is 1 if one failed."""
    from gateway.cli import operation_calls, operation_texts, operation_views  # noqa: PLC0415 - slow to load

    try:
        with told_to_user(connection), operation_views.display(as_json=as_json) as display:
            ended = asyncio.run(operation_calls.watch(connection, operation_id, display.update))
    except KeyboardInterrupt:
        click.echo("what was watched goes on", err=True)
        context.exit(_INTERRUPTED)
    if not ended:
        click.echo("no operation is unfinished", err=True)
    failed = [each for each in ended if operation_texts.has_failed(each)]
    for operation in failed:
        next_step = operation_texts.next_step(operation, time.time())
        click.echo(f"{operation.id} failed: {operation.error.message}\nNext: {next_step}", err=True)
    context.exit(1 if failed else 0)


@operations.command(
    epilog="""\b
Examples:
  brickyard operations cleanup --tls-dir /etc/brickyard/operator
  brickyard operations cleanup 7f19b27e5a4f38a044754a2a6fd03c03 --insecure-plaintext
"""
)
@click.argument("operation_ids", metavar="[ID]...", nargs=-1)
@json_option
@operator_options
def cleanup(*, connection: "Connection", operation_ids: tuple[str, ...], as_json: bool) -> None:
    """Retries stalled operations now (all, or those given), and takes over those that nobody drives.

    Both happens by itself within seconds; this spares the pause, after a node came back for example.
    """
    from gateway.cli import operation_calls  # noqa: PLC0415 - slow to load

    with asking(connection):
        asyncio.run(operation_calls.cleanup(connection, operation_ids))
    text = "retrying; what is left: brickyard operations list --unfinished"
    say_result(text, as_json=as_json, operation_ids=list(operation_ids))
