"""`brickyard agent token`: lets a node's agent join."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from gateway.cli.connection import asking, grpc_options
from gateway.cli.output import json_option, say_json
from gateway.cli.progress import say

if TYPE_CHECKING:
    from gateway.cli.connection import Connection


@click.command(
    epilog="""\b
Examples:
  brickyard agent token 10.0.0.11 --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
  brickyard agent token node1.example.com --host 10.0.0.11 --minutes 60 ...

\b
Then, on the node, the line that it prints.
"""
)
@click.argument("node")
@click.option(
    "--host", "hosts", multiple=True, help="Further host name or IP address of the node's agent. May be repeated."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0.1, max=1440), default=15.0, show_default=True, help="How long it is good."
)
@json_option
@grpc_options("--topology", default="127.0.0.1:7401", envvar="BRICKYARD_TOPOLOGY", what="the topology service")
def token(*, node: str, hosts: tuple[str, ...], minutes: float, as_json: bool, connection: "Connection") -> None:
    """Prints a token with which the agent of NODE joins once, and the pin of the authority.

    NODE is the name that the cluster manages the node under. A token that was made for it before is void.
    """
    from gateway.cli.identity_calls import make_token  # noqa: PLC0415 - slow to load

    with asking(connection):
        made = make_token(connection, node, hosts=hosts, lifetime=timedelta(minutes=minutes))
    if as_json:
        say_json(made)
        return
    where = made.join_address or "HOST:7403"
    say(f"token   {made.token}")
    say(f"CA pin  {made.authority_pin}")
    say(f"good until {made.expire_time.ToJsonString()}, once; on {node} run, and paste the token:")
    say(f"  brickyard-agent join {where} --node-name {node} --ca-pin {made.authority_pin} --token-file -")
    if not made.join_address:
        say("The topology takes no joins yet: start it with --join-listen HOST:7403")
