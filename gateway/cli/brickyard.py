"""`brickyard`: try it, make certificates and tokens, load a topology."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from gateway.cli.progress import say
from services.common.identity import Role

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_HELP = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BRICKYARD"}


@click.group(context_settings=_HELP)
@click.version_option(package_name="brickyard")
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
    log_level: str,
) -> None:
    """Runs everything on this machine with simulated nodes: no root, no gluster, nothing on disk but a database."""
    from gateway.cli.serve import EmbeddedSettings, run_embedded  # noqa: PLC0415 - other commands need none of it

    settings = EmbeddedSettings(
        nodes=nodes,
        disks=disks,
        disk_size_gib=disk_size_gib,
        any_host=any_host,
        populate=populate,
        rest=rest,
        operator=operator,
        state_dir=state_dir,
        auth_enabled=not disable_auth,
        max_in_flight=max_inflight_operations,
        log_level=log_level,
    )
    sys.exit(run_embedded(settings))


@main.group()
def ca() -> None:
    """The certificate authority of the services and agents."""


@ca.command(
    "init",
    epilog="""\b
Example:
  brickyard ca init --dir /etc/brickyard/ca
""",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where it is kept; mode 0700.",
)
def ca_init(directory: Path) -> None:
    """Makes a certificate authority; its key never leaves this directory."""
    from services.common.credentials import create_authority  # noqa: PLC0415 - other commands need none of it

    path = _or_usage_error(create_authority, directory)
    say(f"made {path}; issue certificates with: brickyard ca issue --dir {directory} --role ROLE --name NAME --out DIR")


@ca.command(
    "issue",
    epilog="""\b
Example:
  brickyard ca issue --dir /etc/brickyard/ca --role agent --name 10.0.0.11 --host 10.0.0.11 --out agent-10.0.0.11
""",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of `brickyard ca init`.",
)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role if role is not Role.LOCAL]),
    required=True,
    help="What the process is.",
)
@click.option("--name", required=True, help="Its name; for an agent the node's management host name.")
@click.option(
    "--host", "hosts", multiple=True, help="Host name or IP address under which it is reached. May be repeated."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory for the files.")
def ca_issue(directory: Path, role: str, name: str, hosts: tuple[str, ...], out: Path) -> None:
    """Issues a certificate for one process: ca.pem, cert.pem and key.pem."""
    from services.common.credentials import issue_certificate  # noqa: PLC0415 - other commands need none of it

    files = _or_usage_error(issue_certificate, directory, out, role=Role(role), name=name, hosts=hosts)
    say(f"made {files.certificate}; start the process with --tls-dir {out}")


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
def token(key_file: Path, user: str, seconds: int, method: str, path: str) -> None:
    """Prints a token for one request, METHOD and PATH, as Heketi's clients make them."""
    from gateway.cli.rest_client import make_token  # noqa: PLC0415 - other commands need none of it

    click.echo(make_token(key_file.read_text().strip(), user=user, method=method, path=path, lifetime_s=seconds))


@main.group()
def topology() -> None:
    """Clusters, nodes and devices."""


@topology.command(
    "load",
    epilog="""\b
Example:
  brickyard topology load --server http://localhost:8080 --key-file admin.key topology.json
""",
)
@click.option(
    "--server", default="http://localhost:8080", show_default=True, envvar="HEKETI_CLI_SERVER", help="Gateway."
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the JWT key of admin. Or HEKETI_CLI_KEY in the environment.",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def topology_load(server: str, key_file: Path | None, file: Path) -> None:
    """Adds what a topology file of Heketi names and what is not there yet. May be repeated."""
    import os  # noqa: PLC0415 - other commands need none of it

    from gateway.cli.rest_client import RestClient  # noqa: PLC0415 - the same
    from gateway.cli.topology_load import load_topology, read_topology  # noqa: PLC0415 - the same

    key = key_file.read_text().strip() if key_file else os.environ.get("HEKETI_CLI_KEY", "")
    topology_file = _or_usage_error(read_topology, file)
    with RestClient(server, key=key) as client:
        failures = _or_usage_error(load_topology, client, topology_file, say)
    if failures:
        raise click.ClickException(f"{failures} of the items could not be added; mend the cause and load again")


def _or_usage_error(
    action: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
) -> _Result:
    """Calls and turns Brickyard's errors into click's, which are printed without a traceback."""
    from services.common.errors import BrickyardError  # noqa: PLC0415 - gRPC is slow to load, and --help needs none

    try:
        return action(*arguments, **named)
    except BrickyardError as error:
        raise click.ClickException(error.message) from error


if __name__ == "__main__":
    main()
