"""How commands reach a server: their options, the channel, and errors that say what to do next."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gateway.cli.contexts import NO_CONTEXT, chosen_context, context_option

if TYPE_CHECKING:
    import grpc

    from services.common.errors import BrickyardError
    from services.common.identity import Role

_ISSUE = "brickyard ca issue --dir CA --role operator --name NAME --out DIR"


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
                "or --insecure-plaintext for a server that runs without certificates, as `brickyard serve` does;\n"
                "once and for all: brickyard context add NAME --address HOST:PORT --tls-dir DIR"
            )


def grpc_options(
    flag: str, *, default: str, envvar: str, what: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The flags of a command that calls a gRPC server; the command gets a checked `connection`.

    A flag wins over the environment, that over the context.

    Args:
        flag: The flag of the address, e.g. "--address"; without dashes it is also the context's field.
        default: The address without any of them.
        envvar: Variable of the environment that stands for the flag.
        what: Whose address it is, for the help.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        # It also takes over the parameters that click has found on the command so far.
        @functools.wraps(command)
        def connected(**given: Any) -> Any:
            return command(connection=take_connection(given, flag), **given)

        return context_option(_grpc_flags(connected, flag, default=default, envvar=envvar, what=what))

    return decorate


def _grpc_flags(command: Callable[..., Any], flag: str, *, default: str, envvar: str, what: str) -> Callable[..., Any]:
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
            default=lambda: getattr(chosen_context(), flag.lstrip("-")) or default,
            show_default=default,
            envvar=envvar,
            show_envvar=True,
            help=f"HOST:PORT or unix:/path of {what}.",
        ),
    ):
        command = option(command)
    return command


def take_connection(given: dict[str, Any], flag: str) -> Connection:
    """Takes the flags of a connection out of the `given` ones; `flag` is that of its address.

    Raises:
        click.UsageError: The context knows no such server, or certificates are missing.
    """
    connection = _connection(given, flag.lstrip("-"))
    connection.check()
    return connection


def _connection(given: dict[str, Any], name: str) -> Connection:
    address, tls_dir, insecure = given.pop(name), given.pop("tls_dir"), given.pop("insecure_plaintext")
    source = click.get_current_context().get_parameter_source
    levels = {each: source(each) for each in ("tls_dir", "insecure_plaintext")}
    for level in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        if level in levels.values():
            tls_dir = tls_dir if levels["tls_dir"] is level else None
            insecure = insecure and levels["insecure_plaintext"] is level
            return Connection(address, tls_dir, insecure, f"--{name}")
    context = chosen_context()
    if source(name) is ParameterSource.DEFAULT and context != NO_CONTEXT and not getattr(context, name):
        raise click.UsageError(
            f"this command speaks gRPC, and the context has no {name}: give --{name} HOST:PORT, "
            f"or add it: brickyard context add NAME --{name} HOST:PORT ..."
        )
    return Connection(
        address, Path(context.tls_dir) if context.tls_dir else None, context.insecure_plaintext, f"--{name}"
    )


_OPERATOR = {"default": "127.0.0.1:7400", "envvar": "BRICKYARD_ADDRESS", "what": "a gateway's operator API"}
operator_options = grpc_options("--address", **_OPERATOR)


def operator_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of `operator_options` alone; `take_connection` makes a connection of what they got."""
    return _grpc_flags(command, "--address", **_OPERATOR)


def call_operator(connection: Connection, method: str, *, timeout_s: float, **fields: Any) -> Any:
    """One unary call of OperatorService; errors are told to the user.

    Args:
        connection: Where the gateway is.
        method: Name of the RPC.
        timeout_s: How long the answer may take.
        fields: Those of its request.

    Raises:
        click.ClickException: The call failed.
    """
    with asking(connection):
        return asyncio.run(_call_operator(connection, method, timeout_s, fields))


async def _call_operator(connection: Connection, method: str, timeout_s: float, fields: dict[str, Any]) -> Any:
    from brickyard.gateway.v1 import operator_service_pb2 as pb  # noqa: PLC0415 - slow to load
    from services.common.channels import call_aio  # noqa: PLC0415 - the same

    request = getattr(pb, f"{method}Request")(**fields)
    async with operator_stub(connection) as stub:
        return await call_aio(getattr(stub, method), request, timeout_s=timeout_s)


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
async def identity_stub(connection: Connection) -> AsyncIterator[Any]:
    """The stub of a topology's IdentityService."""
    from brickyard.topology.v1.identity_service_pb2_grpc import IdentityServiceStub  # noqa: PLC0415 - slow to load
    from services.common.identity import Role  # noqa: PLC0415 - the same

    async with _channel(connection, Role.TOPOLOGY) as channel:
        yield IdentityServiceStub(channel)


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


@contextlib.contextmanager
def asking(connection: Connection | None = None) -> Iterator[None]:
    """`told_to_user` for a block that asks and prints nothing: with a sign of life when the answer takes long.

    Raises:
        click.ClickException: A call in the block failed.
    """
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - slow to load

    with told_to_user(connection), sign_of_life(f"waiting for {connection.address if connection else 'the gateway'}"):
        yield


def _advice(error: "BrickyardError", connection: Connection) -> str:
    from services.common.reasons import Reason  # noqa: PLC0415 - only needed after a failure

    where = f"{connection.flag} {connection.address}"
    return {
        Reason.UNAVAILABLE: (
            f"\nNo answer from {where}. Is the server running there, and does it take "
            f"{'certificates' if connection.tls_dir else 'calls without certificates'}?"
        ),
        Reason.DEADLINE_EXCEEDED: f"\nNo answer from {where} in time. Its log may say what it waits for.",
        Reason.DEVICE_NOT_FAILED: "\nMove its bricks away first: brickyard device evict DEVICE",
        Reason.NODE_NOT_EMPTY: "\nTake its devices out first: brickyard device remove DEVICE",
        Reason.UNAUTHENTICATED: f"\nIssue an operator's certificate: {_ISSUE}",
        Reason.ROLE_NOT_ALLOWED: f"\nUse an operator's certificate: {_ISSUE}",
        Reason.OPERATION_NOT_FOUND: (
            "\nOperations are kept for a day after their end. What is known: brickyard operations list"
        ),
    }.get(error.reason, "")
