"""How commands reach a server: their options, the channel, and errors that say what to do next."""

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import grpc

    from services.common.errors import BrickyardError
    from services.common.identity import Role

_ISSUE = "brickyard ca issue --dir CA --role operator --name NAME --out DIR"
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a gRPC server is, and how its caller shows who it is.

    Attributes:
        address: "host:port", or "unix:/path".
        tls_dir: Directory with ca.pem, cert.pem and key.pem of an operator; None without certificates.
        insecure_plaintext: Whether TCP without certificates was asked for by name.
        flag: The flag of the address, for messages.
    """

    address: str
    tls_dir: Path | None
    insecure_plaintext: bool
    flag: str

    def check(self) -> None:
        """Refuses what cannot work.

        Raises:
            click.UsageError: Says which flag to give.
        """
        if self.address.startswith("unix:"):
            return
        if self.tls_dir is not None and self.insecure_plaintext:
            raise click.UsageError("--tls-dir and --insecure-plaintext exclude each other")
        if self.tls_dir is None and not self.insecure_plaintext:
            raise click.UsageError(
                "give --tls-dir DIR with an operator's certificate, which is made by\n"
                f"  {_ISSUE}\n"
                "or --insecure-plaintext for a server that runs without certificates, as `brickyard serve` does"
            )


def grpc_options(
    flag: str, *, default: str, envvar: str, what: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The flags of a command that calls a gRPC server; the command gets a checked `connection`.

    Args:
        flag: The flag of the address, e.g. "--address".
        default: The address without the flag.
        envvar: Variable of the environment that stands for the flag.
        what: Whose address it is, for the help.
    """
    name = flag.lstrip("-")

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        # It also takes over the parameters that click has found on the command so far.
        @functools.wraps(command)
        def connected(**given: Any) -> Any:
            connection = Connection(given.pop(name), given.pop("tls_dir"), given.pop("insecure_plaintext"), flag)
            connection.check()
            return command(connection=connection, **given)

        for option in (
            click.option(
                "--insecure-plaintext",
                is_flag=True,
                envvar="BRICKYARD_INSECURE_PLAINTEXT",
                show_envvar=True,
                help="Call over plain TCP without certificates.",
            ),
            click.option(
                "--tls-dir",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                envvar="BRICKYARD_TLS_DIR",
                show_envvar=True,
                help="Directory with ca.pem, cert.pem and key.pem of an operator (brickyard ca issue makes it).",
            ),
            click.option(
                flag,
                default=default,
                show_default=True,
                envvar=envvar,
                show_envvar=True,
                help=f"HOST:PORT or unix:/path of {what}.",
            ),
        ):
            connected = option(connected)
        return connected

    return decorate


def rest_options(command: _Command) -> _Command:
    """The flags of a command that speaks REST: `server` and `key_file`."""
    command = click.option(
        "--key-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the JWT key of admin. Or HEKETI_CLI_KEY in the environment.",
    )(command)
    return click.option(
        "--server",
        default="http://localhost:8080",
        show_default=True,
        envvar="HEKETI_CLI_SERVER",
        show_envvar=True,
        help="URL of the gateway's REST interface.",
    )(command)


def read_key(key_file: Path | None) -> str:
    """The JWT key of admin from the file or the environment; empty when there is neither."""
    return key_file.read_text().strip() if key_file else os.environ.get("HEKETI_CLI_KEY", "")


@contextlib.asynccontextmanager
async def operator_stub(connection: Connection) -> AsyncIterator[Any]:
    """The stub of a gateway's OperatorService."""
    from brickyard.gateway.v1.operator_service_pb2_grpc import OperatorServiceStub  # noqa: PLC0415 - slow to load
    from services.common.identity import Role  # noqa: PLC0415 - the same

    async with _channel(connection, Role.GATEWAY) as channel:
        yield OperatorServiceStub(channel)


@contextlib.asynccontextmanager
async def topology_stub(connection: Connection) -> AsyncIterator[Any]:
    """The stub of a topology's TopologyService."""
    from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub  # noqa: PLC0415 - slow to load
    from services.common.identity import Role  # noqa: PLC0415 - the same

    async with _channel(connection, Role.TOPOLOGY) as channel:
        yield TopologyServiceStub(channel)


@contextlib.asynccontextmanager
async def _channel(connection: Connection, role: "Role") -> "AsyncIterator[grpc.aio.Channel]":
    from services.common.channels import open_aio_channel  # noqa: PLC0415 - slow to load
    from services.common.credentials import TlsFiles  # noqa: PLC0415 - the same

    tls = TlsFiles.in_directory(connection.tls_dir) if connection.tls_dir else None
    async with open_aio_channel(connection.address, tls, role=role) as channel:
        yield channel


@contextlib.contextmanager
def told_to_user(connection: Connection | None = None) -> Iterator[None]:
    """Turns Brickyard's errors into click's: one line without a traceback, and what to do next.

    Raises:
        click.ClickException: A call in the block failed.
    """
    from services.common.errors import BrickyardError  # noqa: PLC0415 - gRPC is slow to load, and --help needs none

    try:
        yield
    except BrickyardError as error:
        advice = _advice(error, connection) if connection is not None else ""
        raise click.ClickException(f"{error.message}{advice}") from error


def _advice(error: "BrickyardError", connection: Connection) -> str:
    from services.common.reasons import Reason  # noqa: PLC0415 - only needed after a failure

    where = f"{connection.flag} {connection.address}"
    return {
        Reason.UNAVAILABLE: (
            f"\nNo answer from {where}. Is the server running there, and does it take "
            f"{'certificates' if connection.tls_dir else 'calls without certificates'}?"
        ),
        Reason.DEADLINE_EXCEEDED: f"\nNo answer from {where} in time. Its log may say what it waits for.",
        Reason.UNAUTHENTICATED: f"\nIssue an operator's certificate: {_ISSUE}",
        Reason.ROLE_NOT_ALLOWED: f"\nUse an operator's certificate: {_ISSUE}",
        Reason.OPERATION_NOT_FOUND: (
            "\nOperations are kept for a day after their end. What is known: brickyard operations list"
        ),
    }.get(error.reason, "")
