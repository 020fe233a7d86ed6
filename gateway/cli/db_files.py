"""`brickyard db dump`, `backup` and `restore`: the whole database as a file."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from gateway.cli.connection import grpc_options, told_to_user
from gateway.cli.output import json_option, say_result, to_stderr

if TYPE_CHECKING:
    from brickyard.topology.v1.records_pb2 import Records
    from gateway.cli.connection import Connection

_topology = grpc_options(
    "--topology", default="127.0.0.1:7401", envvar="BRICKYARD_TOPOLOGY", what="the topology service"
)


@click.command(
    epilog="""\b
Example:
  brickyard db dump --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator > heketi.json.dump
"""
)
@_topology
def dump(*, connection: "Connection") -> None:
    """Prints everything that is recorded in the format of Heketi's dump, with the passwords of block volumes."""
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - slow to load
    from gateway.heketi.dump.exporting import exported  # noqa: PLC0415 - slow to load
    from gateway.heketi.dump.rendering import write_dump  # noqa: PLC0415 - slow to load

    with told_to_user(connection), sign_of_life("reading the records"):
        records = asyncio.run(_export(connection))
        text = write_dump(exported(records, time.time())[0])
    click.echo(text, nl=False)


async def _export(connection: "Connection") -> "Records":
    from gateway.cli.connection import topology_stub  # noqa: PLC0415 - slow to load
    from gateway.usecases.state import RecordsUseCases  # noqa: PLC0415 - slow to load

    async with topology_stub(connection) as stub:
        return await RecordsUseCases(topology=stub).export_records()


@click.command(
    epilog="""\b
Examples:
  brickyard db backup topology.backup --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
  brickyard db backup --force nightly.backup --topology unix:/run/brickyard/topology.sock
"""
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@json_option
@_topology
def backup(*, connection: "Connection", file: Path, force: bool, as_json: bool) -> None:
    """Writes a backup of the topology's database to FILE, while everything goes on; see `brickyard db restore`.

    It holds everything as it was at one moment, with the passwords of block volumes: only you can read the file. The
    format is the same for SQLite and PostgreSQL.
    """
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - slow to load

    if file.exists() and not force:
        raise click.ClickException(f"{file} exists; name another file, or say --force to replace it")
    with told_to_user(connection), sign_of_life("reading the database"):
        archive = asyncio.run(_back_up(connection))
    try:
        _write_whole(file, archive)
    except OSError as error:
        raise click.ClickException(f"{error.filename or file}: {error.strerror}") from error
    say_result(f"{file}: {len(archive)} bytes", as_json=as_json, file=str(file), size_bytes=len(archive))


def _write_whole(file: Path, content: bytes) -> None:
    """The file is there with all of its content, or as it was before."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


async def _back_up(connection: "Connection") -> bytes:
    from gateway.cli.connection import topology_stub  # noqa: PLC0415 - slow to load
    from gateway.usecases.state import RecordsUseCases  # noqa: PLC0415 - slow to load

    async with topology_stub(connection) as stub:
        return await RecordsUseCases(topology=stub).back_up()


@click.command(
    epilog="""\b
Examples:
  brickyard db restore topology.backup --database sqlite:////var/lib/brickyard/topology.db
  brickyard db restore topology.backup --database postgresql://brickyard@db.example.com/brickyard   # also from SQLite

\b
Exit code: 0 restored and sound, 1 nothing was restored, or what was violates an invariant; 2 wrong usage.
"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--database",
    required=True,
    envvar="BRICKYARD_TOPOLOGY_DATABASE",
    show_envvar=True,
    metavar="URL",
    help="sqlite:///FILE or postgresql://USER@HOST/NAME; a new one, whichever it was backed up from. A URL with a "
    "password belongs into the environment, as the command line is seen by everybody on this machine.",
)
@click.option("--replace", is_flag=True, help="Lose what the database has.")
@json_option
@click.pass_context
def restore(context: click.Context, *, file: Path, database: str, replace: bool, as_json: bool) -> None:
    """Fills a database from a backup, and checks it. Stop the topology before, and look at the nodes afterwards.

    A backup of an older release is brought to the newest schema. When it refuses, nothing is changed. What happened
    after the backup is not in it: `brickyard examine` tells what the nodes have beyond.
    """
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - slow to load

    given = context.get_parameter_source("database")
    if given is ParameterSource.COMMANDLINE and urlsplit(database).password:
        to_stderr("warning: everybody on this machine sees that password; next time: BRICKYARD_TOPOLOGY_DATABASE=URL")
    # The database is the topology's own affair: only its code reads and writes it.
    command = [sys.executable, "-m", "services.topology.restore", str(file)]
    flags = [*(["--replace"] if replace else []), *(["--json"] if as_json else [])]
    environment = {**os.environ, "BRICKYARD_TOPOLOGY_DATABASE": database}
    # Not on the command line: a URL may hold a password.
    with sign_of_life("restoring the database"):
        done = subprocess.run([*command, *flags], check=False, env=environment, capture_output=True, text=True)
    click.echo(done.stdout, nl=False)
    click.echo(done.stderr, nl=False, err=True)
    context.exit(done.returncode)
