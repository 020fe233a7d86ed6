"""`brickyard context`: where Brickyards are, so that commands need not be told each time."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from gateway.cli.contexts import Context, Contexts, config_path, load_contexts, no_such_context, save_contexts
from gateway.cli.output import say_json, say_result
from gateway.cli.progress import say

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON with the keys of the file.")
_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True)


@click.group()
def context() -> None:
    """Names for the Brickyards that you speak to, and as whom, in ~/.config/brickyard/config.toml.

    A flag wins over the environment, that over the context. The file names keys and never holds one.
    """


@context.command(
    epilog="""\b
Examples:
  brickyard context add lab --address 10.0.0.2:7400 --topology 10.0.0.2:7401 --tls-dir tls/operator
  brickyard context add web --server https://gluster.example:8080 --key-file admin.key
  brickyard context add ci  --server http://10.0.0.2:8080 --key-env GLUSTER_KEY --user user
"""
)
@click.argument("name")
@click.option("--address", default="", metavar="HOST:PORT", help="A gateway's operator API (gRPC); also unix:/path.")
@click.option("--topology", default="", metavar="HOST:PORT", help="The topology service, for `brickyard db`.")
@click.option(
    "--tls-dir",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Directory with ca.pem, cert.pem and key.pem of an operator.",
)
@click.option("--insecure-plaintext", is_flag=True, help="gRPC over plain TCP without certificates.")
@click.option("--server", default="", metavar="URL", help="The gateway's REST interface.")
@click.option("--user", type=click.Choice(["admin", "user"]), help="Who asks over REST. Default: admin.")
@click.option("--key-file", type=_FILE, help="File with the JWT key of that user.")
@click.option("--key-env", default="", metavar="VARIABLE", help="Variable of the environment with that key.")
@click.option("--ca-file", type=_FILE, help="PEM file that proves the certificate of the URL.")
@_JSON
def add(*, name: str, as_json: bool, **fields: Any) -> None:
    """Adds the context NAME, or changes the given fields of it; the first one becomes the current one."""
    path = config_path()
    known = load_contexts(path)
    given = {field: value for field, value in fields.items() if value}
    try:
        made = dataclasses.replace(known.by_name.get(name, Context()), **given)
    except ValueError as error:
        raise click.UsageError(f"{error}; to begin anew: brickyard context remove {name}") from error
    if not (made.address or made.topology or made.server):
        raise click.UsageError("give --address HOST:PORT for gRPC, --server URL for REST, or both")
    save_contexts(path, Contexts(known.current or name, {**known.by_name, name: made}))
    current = known.current in {"", name}
    text = f"{name} is in {path}" + (", and is used by default" if current else "")
    say_result(text, as_json=as_json, name=name, current=current, file=str(path))


@context.command(
    epilog="""\b
Example:
  brickyard context use lab
"""
)
@click.argument("name")
@_JSON
def use(*, name: str, as_json: bool) -> None:
    """Makes NAME the context that is used unless --context or BRICKYARD_CONTEXT names another one."""
    path = config_path()
    known = load_contexts(path)
    if name not in known.by_name:
        raise no_such_context(name, known)
    save_contexts(path, Contexts(name, known.by_name))
    say_result(f"{name} is used by default", as_json=as_json, name=name, current=True, file=str(path))


@context.command(
    "list",
    epilog="""\b
Example:
  brickyard context list
""",
)
@_JSON
def list_command(*, as_json: bool) -> None:
    """Lists the contexts: which is current (*), name, gRPC address, REST server, certificates or key."""
    known = load_contexts(config_path())
    if as_json:
        say_json(
            {"current": known.current, "contexts": {name: each.settings() for name, each in known.by_name.items()}}
        )
        return
    from gateway.cli.tables import table  # noqa: PLC0415 - slow to load

    rows = [
        (
            "*" if name == known.current else "-",
            name,
            each.address or "-",
            each.server or "-",
            each.tls_dir or each.key_file or each.key_env or "-",
        )
        for name, each in sorted(known.by_name.items())
    ]
    table(("", "name", "address", "server", "certificates or key"), rows)
    if not rows:
        click.echo("there is none yet; make one: brickyard context add NAME --address HOST:PORT", err=True)


@context.command(
    epilog="""\b
Example:
  brickyard context show
"""
)
@click.argument("name", default="")
@_JSON
def show(*, name: str, as_json: bool) -> None:
    """Shows what is set in the context NAME, or in the current one."""
    path = config_path()
    known = load_contexts(path)
    chosen = name or known.current
    if chosen not in known.by_name:
        raise no_such_context(chosen or "NAME", known)
    settings = known.by_name[chosen].settings()
    if as_json:
        say_json({"name": chosen, "current": chosen == known.current, **settings})
        return
    for key, value in {"name": chosen, **settings, "file": path}.items():
        say(f"{key + ':':<20}{str(value).lower() if isinstance(value, bool) else value}")


@context.command(
    epilog="""\b
Example:
  brickyard context remove lab
"""
)
@click.argument("name")
@_JSON
def remove(*, name: str, as_json: bool) -> None:
    """Removes the context NAME; certificates and keys stay where they are."""
    path: Path = config_path()
    known = load_contexts(path)
    if name not in known.by_name:
        raise no_such_context(name, known)
    rest = {each: value for each, value in known.by_name.items() if each != name}
    current = "" if known.current == name else known.current
    save_contexts(path, Contexts(current, rest))
    text = f"{name} is removed" + ("; choose another one: brickyard context use NAME" if known.current == name else "")
    say_result(text, as_json=as_json, name=name, current_context=current, file=str(path))
