"""`brickyard`: the command line. Each noun has its module; here are the verbs without one."""

import sys
from pathlib import Path
from typing import Any

import click

from gateway.cli.agent import agent
from gateway.cli.agent_deploy import deploy
from gateway.cli.agent_token import token as agent_token
from gateway.cli.ca import ca
from gateway.cli.cluster import cluster
from gateway.cli.completion import completion
from gateway.cli.context import context
from gateway.cli.contexts import context_option
from gateway.cli.db import db
from gateway.cli.db_files import backup, dump, restore
from gateway.cli.examine import adopt, examine, repair
from gateway.cli.health import health
from gateway.cli.member_changes import DEVICE_COMMANDS, NODE_COMMANDS, brick
from gateway.cli.members import device, node
from gateway.cli.operations import operations
from gateway.cli.output import json_option, say_result
from gateway.cli.status import status
from gateway.cli.taking_over import import_dump
from gateway.cli.topology import topology
from gateway.cli.volume import rebalance_plan, volume
from services.common.errors import BrickyardError

_HELP = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BRICKYARD"}
# What a shell says of a program that SIGINT ended.
_INTERRUPTED = 130


class _Program(click.Group):
    """The root, which ends cleanly when it is interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that was named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\ninterrupted; what has begun goes on: brickyard operations list", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(
    cls=_Program,
    context_settings=_HELP,
    epilog="""\b
Examples:
  brickyard serve --populate                    # all of it on this machine, with simulated nodes
  brickyard context add lab --address 10.0.0.2:7400 --tls-dir tls/operator
  brickyard status

\b
Exit codes:
  0    done, and nothing is wrong
  1    refused, failed, no answer, or something is wrong (status, examine, repair, adopt, db check, explain, and
       cluster querydevices when a node is silent)
  2    wrong usage: an unknown flag, or a value that can not be
  3    examine, repair and adopt: no look was possible
  130  interrupted; what has begun goes on

On a terminal there are tables and bars (NO_COLOR: without colours), in a pipe lines with fields between tabs; --json
prints the field names of the API.
""",
)
@click.version_option(package_name="brickyard")
@context_option
def main() -> None:
    """Provisions, grows, heals and retires GlusterFS volumes."""


@main.command(
    epilog="""\b
Example:
  brickyard serve --nodes 4 --disks 2 --populate
"""
)
@click.option("--nodes", type=click.IntRange(1, 10_000), default=4, show_default=True, help="Simulated nodes.")
@click.option("--disks", type=click.IntRange(1, 64), default=2, show_default=True, help="Disks of each node.")
@click.option(
    "--disk-size-gib", type=click.IntRange(2), default=500, show_default=True, help="Size of each disk in GiB."
)
@click.option("--any-host", is_flag=True, help="Take any host name and device path, as Heketi's mock executor does.")
@click.option("--populate", is_flag=True, help="Add the nodes and disks to a cluster at once.")
@click.option(
    "--rest", default="127.0.0.1:8080", show_default=True, help="HOST:PORT of the REST interface; port 0: a free one."
)
@click.option(
    "--operator", default="127.0.0.1:7400", show_default=True, help="HOST:PORT of the operator gRPC API, plain."
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep database and keys here. Default: a temporary directory that is removed at the end.",
)
@click.option("--disable-auth", is_flag=True, help="Serve REST without tokens.")
@click.option(
    "--max-inflight-operations", type=click.IntRange(0), default=8, show_default=True, help="See brickyard-gateway."
)
@click.option(
    "--max-volumes-per-cluster", type=click.IntRange(0), default=1000, show_default=True, help="See brickyard-gateway."
)
@click.option(
    "--auto-evict-after-minutes",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="See brickyard-topology.",
)
@click.option(
    "--auto-evict-max-down-percent",
    type=click.FloatRange(0, 100),
    default=34.0,
    show_default=True,
    help="See brickyard-topology.",
)
@click.option("--log-level", default="warning", show_default=True, help="Least severity that the processes log.")
def serve(
    *,
    nodes: int,
    disks: int,
    disk_size_gib: int,
    any_host: bool,
    populate: bool,
    rest: str,
    operator: str,
    state_dir: Path | None,
    disable_auth: bool,
    max_inflight_operations: int,
    max_volumes_per_cluster: int,
    auto_evict_after_minutes: float,
    auto_evict_max_down_percent: float,
    log_level: str,
) -> None:
    """Runs everything on this machine with simulated nodes: no root, no gluster, nothing on disk but a database."""
    from gateway.cli.serve import EmbeddedSettings, run_embedded  # noqa: PLC0415 - other commands need none of it
    from gateway.simulated_stack import SimulatedNodes  # noqa: PLC0415 - the same

    settings = EmbeddedSettings(
        simulated=SimulatedNodes(nodes=nodes, disks=disks, disk_size_gib=disk_size_gib, any_host=any_host),
        populate=populate,
        rest=rest,
        operator=operator,
        state_dir=state_dir,
        auth_enabled=not disable_auth,
        max_in_flight=max_inflight_operations,
        max_volumes_per_cluster=max_volumes_per_cluster,
        auto_evict_after_minutes=auto_evict_after_minutes,
        auto_evict_max_down_percent=auto_evict_max_down_percent,
        log_level=log_level,
    )
    try:
        sys.exit(run_embedded(settings))
    except BrickyardError as error:
        raise click.ClickException(error.message) from error


@main.command(
    epilog="""\b
Example:
  curl -H "Authorization: bearer $(brickyard token --key-file admin.key GET /clusters)" http://localhost:8080/clusters
"""
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="File with the JWT key of the user.",
)
@click.option("--user", type=click.Choice(["admin", "user"]), default="admin", show_default=True, help="Who asks.")
@click.option("--seconds", type=click.IntRange(1, 86_400), default=300, show_default=True, help="How long it is valid.")
@click.argument("method")
@click.argument("path")
@json_option
def token(*, key_file: Path, user: str, seconds: int, method: str, path: str, as_json: bool) -> None:
    """Prints a token for one request, METHOD and PATH, as Heketi's clients make them."""
    from gateway.cli.tokens import make_token  # noqa: PLC0415 - other commands need none of it

    made = make_token(key_file.read_text().strip(), user=user, method=method, path=path, lifetime_s=seconds)
    say_result(made, as_json=as_json, token=made)


for noun in (
    adopt,
    agent,
    brick,
    ca,
    cluster,
    completion,
    context,
    db,
    device,
    examine,
    health,
    import_dump,
    node,
    operations,
    repair,
    status,
    topology,
    volume,
):
    main.add_command(noun)
agent.add_command(deploy)
agent.add_command(agent_token)
cluster.add_command(rebalance_plan)
for verb in (dump, backup, restore):
    db.add_command(verb)
for verb in NODE_COMMANDS:
    node.add_command(verb)
for verb in DEVICE_COMMANDS:
    device.add_command(verb)

if __name__ == "__main__":
    main()
