"""`brickyard db`: the topology's books."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.connection import asking, grpc_options
from gateway.cli.output import say_json
from gateway.cli.progress import say

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

# It reads the whole database.
_TIMEOUT_S = 600.0


@click.group()
def db() -> None:
    """The topology's database."""


@db.command(
    epilog="""\b
Examples:
  brickyard db check --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
  brickyard db check --topology unix:/run/brickyard/topology.sock
  brickyard db check --verbose --insecure-plaintext

\b
Exit code: 0 every invariant holds, 1 one is violated or the topology does not answer, 2 wrong usage.
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Name every invariant, those that hold too.")
@grpc_options("--topology", default="127.0.0.1:7401", envvar="BRICKYARD_TOPOLOGY", what="the topology service")
@click.pass_context
def check(context: click.Context, *, connection: "Connection", as_json: bool, verbose: bool) -> None:
    """Proves the invariants of the database, and prints each violation; the exit code is 1 if there is one."""
    with asking(connection):
        answer = asyncio.run(_check(connection))
    violations = list(answer.violations)
    if as_json:
        invariants = [
            {"name": each.name, "sentence": each.sentence, "violations": list(each.violations)}
            for each in answer.invariants
        ]
        say_json({"checked_count": answer.checked_count, "violations": violations, "invariants": invariants})
    else:
        for each in answer.invariants if verbose else ():
            say(f"{'VIOLATED' if each.violations else 'holds':<8}  {each.name}: {each.sentence}")
        for violation in violations:
            say(violation)
        if violations:
            message = (
                f"{len(violations)} violations in {answer.checked_count} objects; "
                "keep a copy of the database before anything is changed"
            )
            click.echo(message, err=True)
        else:
            say(f"no violation in {answer.checked_count} objects")
    context.exit(1 if violations else 0)


async def _check(connection: "Connection") -> Any:
    from brickyard.topology.v1.topology_service_pb2 import CheckConsistencyRequest  # noqa: PLC0415 - slow to load
    from gateway.cli.connection import topology_stub  # noqa: PLC0415 - the same
    from services.common.channels import call_aio  # noqa: PLC0415 - the same

    async with topology_stub(connection) as stub:
        return await call_aio(stub.CheckConsistency, CheckConsistencyRequest(), timeout_s=_TIMEOUT_S)
