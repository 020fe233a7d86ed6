"""`brickyard ca`: certificates of services, agents and operators."""

from pathlib import Path

import click

from gateway.cli.connection import told_to_user
from gateway.cli.progress import say
from services.common.identity import Role


@click.group()
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

    with told_to_user():
        path = create_authority(directory)
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

    with told_to_user():
        files = issue_certificate(directory, out, role=Role(role), name=name, hosts=hosts)
    say(f"made {files.certificate}; start the process with --tls-dir {out}")
