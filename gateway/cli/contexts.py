"""Contexts: which Brickyard is spoken to, and as whom, kept in `~/.config/brickyard/config.toml`. Effects: that file.

Keys are named by file or by variable and never written into it, so that it may be shown to anybody.
"""

import dataclasses
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One Brickyard, and who its user is there; what is empty is not known.

    Attributes:
        address: "host:port" or "unix:/path" of a gateway's operator API (gRPC).
        topology: The same of the topology service, for `brickyard db`.
        tls_dir: Directory with ca.pem, cert.pem and key.pem of an operator.
        insecure_plaintext: Whether gRPC goes over plain TCP.
        server: URL of the gateway's REST interface.
        user: Who asks over REST: "admin" or "user".
        key_file: File with the JWT key of that user.
        key_env: Variable of the environment with that key.
        ca_file: PEM file that proves the certificate of `server`.
    """

    address: str = ""
    topology: str = ""
    tls_dir: str = ""
    insecure_plaintext: bool = False
    server: str = ""
    user: str = ""
    key_file: str = ""
    key_env: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuses what contradicts itself.

        Raises:
            ValueError: Names both fields.
        """
        for one, other in (("tls_dir", "insecure_plaintext"), ("key_file", "key_env")):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"{one} and {other} exclude each other")

    def settings(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}


NO_CONTEXT = Context()


@dataclass(frozen=True, slots=True)
class Contexts:
    """What the file holds.

    Attributes:
        current: Name of the context that is used unless another one is named; empty = none.
        by_name: All of them.
    """

    current: str = ""
    by_name: Mapping[str, Context] = field(default_factory=dict)


def config_path() -> Path:
    """Where the file is: `brickyard/config.toml` below XDG_CONFIG_HOME, which is `~/.config` unless it is set."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "brickyard" / "config.toml"


def load_contexts(path: Path) -> Contexts:
    """The contexts in the file; none when there is no file.

    Raises:
        click.ClickException: The file can not be read; names the file, the context and the field.
    """
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    unknown = set(document) - {"current", "contexts"}
    if unknown:
        raise _unreadable(path, f"unknown key {min(unknown)!r}; known are current and contexts")
    current, tables = document.get("current", ""), document.get("contexts", {})
    if not isinstance(current, str) or not isinstance(tables, dict):
        raise _unreadable(path, "current is to be a string, and contexts a table")
    if current and current not in tables:
        raise _unreadable(path, f"current = {current!r} names no context; choose one: brickyard context use NAME")
    return Contexts(current, {name: _context(path, name, table) for name, table in tables.items()})


def _context(path: Path, name: str, table: Any) -> Context:
    fields = {each.name: type(each.default) for each in dataclasses.fields(Context)}
    if not isinstance(table, dict):
        raise _unreadable(path, f"contexts.{name} is to be a table")
    for key, value in table.items():
        if key not in fields:
            raise _unreadable(path, f"contexts.{name}.{key}: unknown; known are {', '.join(fields)}")
        if type(value) is not fields[key]:
            raise _unreadable(path, f"contexts.{name}.{key} = {value!r}: is to be a {fields[key].__name__}")
    try:
        return Context(**table)
    except ValueError as error:
        raise _unreadable(path, f"contexts.{name}: {error}") from error


def _unreadable(path: Path, why: str) -> click.ClickException:
    return click.ClickException(f"{path}: {why}")


def save_contexts(path: Path, contexts: Contexts) -> None:
    """Writes the contexts, readable for their user alone; comments of the user stay.

    Raises:
        click.ClickException: The file can not be written.
    """
    import tomlkit  # noqa: PLC0415 - a node that only has the agent needs none of it

    try:
        document = tomlkit.parse(path.read_text()) if path.exists() else tomlkit.document()
        document["current"] = contexts.current
        present = document.setdefault("contexts", tomlkit.table(is_super_table=True))
        for name in [name for name in present if name not in contexts.by_name]:
            del present[name]
        for name, context in contexts.by_name.items():
            if name not in present or present[name].unwrap() != context.settings():
                present[name] = context.settings()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = path.with_suffix(f".{os.getpid()}")
        with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - of a descriptor
            file.write(tomlkit.dumps(document))
        written.replace(path)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error


_CHOSEN = f"{__name__}.chosen"


def _choose(command: click.Context, parameter: click.Parameter, name: str | None) -> None:
    """What the commands' defaults come from; a flag before the command counts more than the environment."""
    given = command.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if name and (given or _CHOSEN not in command.meta):
        command.meta[_CHOSEN] = name


def chosen_context() -> Context:
    """The context that was named by flag or environment, else the current one; one without anything if there is none.

    Raises:
        click.ClickException: There is none of that name, or the file can not be read.
    """
    path = config_path()
    contexts = load_contexts(path)
    name = click.get_current_context().meta.get(_CHOSEN, "") or contexts.current
    if not name:
        return NO_CONTEXT
    if name not in contexts.by_name:
        raise no_such_context(name, contexts)
    return contexts.by_name[name]


def no_such_context(name: str, contexts: Contexts) -> click.UsageError:
    """The error that there is no context of that name."""
    known = f"known are {', '.join(sorted(contexts.by_name))}" if contexts.by_name else "there is none yet"
    return click.UsageError(f"no context {name!r}; {known}. Make one: brickyard context add {name} --address HOST:PORT")


def context_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flag `--context`, which counts before the other flags' defaults are looked up."""
    option = click.option(
        "--context",
        metavar="NAME",
        envvar="BRICKYARD_CONTEXT",
        show_envvar=True,
        is_eager=True,
        expose_value=False,
        callback=_choose,
        help="Speak to the Brickyard of this context (brickyard context list).",
    )
    return option(command)
