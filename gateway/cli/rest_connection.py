"""How commands reach the REST interface: their options, and which of REST and gRPC a command takes."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gateway.cli.connection import operator_flags, take_connection
from gateway.cli.contexts import Context, chosen_context, context_option

if TYPE_CHECKING:
    from gateway.cli.rest_client import RestClient

DEFAULT_SERVER = "http://localhost:8080"
_HEKETI_SERVER, _HEKETI_USER, _HEKETI_KEY = "HEKETI_CLI_SERVER", "HEKETI_CLI_USER", "HEKETI_CLI_KEY"
_GRPC_NAMES = ("address", "tls_dir", "insecure_plaintext")
_REST_NAMES = ("server", "user", "key_file")


@dataclass(frozen=True, slots=True)
class RestConnection:
    """Where the REST interface is, and who asks.

    Attributes:
        server: Its URL.
        user: "admin" or "user".
        key: The JWT key of the user; empty = the server asks for no tokens.
        ca_file: PEM file that proves the server's certificate; None = what the system trusts.
    """

    server: str
    user: str = "admin"
    key: str = field(default="", repr=False)
    ca_file: Path | None = None

    def client(self) -> "RestClient":
        """A client, to be used in a `with` block."""
        from gateway.cli.rest_client import RestClient, trust_in  # noqa: PLC0415 - slow to load

        verify = trust_in((str(self.ca_file),)) if self.ca_file else True
        return RestClient(self.server, key=self.key, user=self.user, verify=verify)


def rest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of a command that speaks REST only; the command gets a `connection`."""

    @functools.wraps(command)
    def connected(**given: Any) -> Any:
        return command(connection=_take_rest(given), **given)

    return context_option(_rest_flags(connected))


def access_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of a command that speaks gRPC or REST; the command gets a `connection` of either kind.

    What is given on the command line decides, then the environment, then the context; gRPC when nothing does.
    """

    @functools.wraps(command)
    def connected(**given: Any) -> Any:
        rest = _wants_rest()
        for name in _GRPC_NAMES if rest else _REST_NAMES:
            given.pop(name)
        return command(connection=_take_rest(given) if rest else take_connection(given, "--address"), **given)

    return context_option(_rest_flags(operator_flags(connected)))


def _rest_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--key-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=f"File with the JWT key of the user. Or {_HEKETI_KEY} in the environment.",
        ),
        click.option(
            "--user",
            type=click.Choice(["admin", "user"]),
            default=lambda: chosen_context().user or "admin",
            show_default="admin",
            envvar=["BRICKYARD_USER", _HEKETI_USER],
            help="Who asks over REST.",
        ),
        click.option(
            "--server",
            default=lambda: chosen_context().server or os.environ.get(_HEKETI_SERVER, "") or DEFAULT_SERVER,
            show_default=DEFAULT_SERVER,
            envvar="BRICKYARD_SERVER",
            show_envvar=True,
            help=f"URL of the gateway's REST interface. Also {_HEKETI_SERVER}.",
        ),
    ):
        command = option(command)
    return command


def _wants_rest() -> bool:
    """Whether the command is to speak REST.

    Raises:
        click.UsageError: The command line names both.
    """
    source = click.get_current_context().get_parameter_source
    grpc_levels = {source(name) for name in _GRPC_NAMES}
    rest_levels = {source(name) for name in ("server", "key_file")}
    if grpc_levels & rest_levels & {ParameterSource.COMMANDLINE}:
        raise click.UsageError(
            "--server and --key-file are for REST, --address and its certificates for gRPC: give one"
        )
    for level in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        if level in grpc_levels:
            return False
        if level in rest_levels:
            return True
    context = chosen_context()
    if context.address or context.server:
        return not context.address
    return bool(os.environ.get(_HEKETI_SERVER))


def _take_rest(given: dict[str, Any]) -> RestConnection:
    """Takes the flags of a connection out of `given`."""
    context = chosen_context()
    server, user, key_file = given.pop("server"), given.pop("user"), given.pop("key_file")
    ca_file = Path(context.ca_file) if context.ca_file else None
    return RestConnection(server.rstrip("/"), user, read_key(key_file, context), ca_file)


def read_key(key_file: Path | None, context: Context) -> str:
    """The JWT key from the flag, the environment, or what the context names; empty when there is none.

    Raises:
        click.ClickException: The file or variable of the context is not there.
    """
    if key_file is None and os.environ.get(_HEKETI_KEY):
        return os.environ[_HEKETI_KEY]
    if key_file is None and context.key_env:
        if not os.environ.get(context.key_env):
            raise click.ClickException(
                f"the context takes the key from the variable {context.key_env}, which is not set"
            )
        return os.environ[context.key_env]
    if key_file is None and not context.key_file:
        return ""
    path = key_file or Path(context.key_file)
    try:
        return path.read_text().strip()
    except OSError as error:
        raise click.ClickException(f"cannot read the key file {path}: {error.strerror}") from error
