"""The one place for settings of processes: flag over environment over file over default.

Every process is a click command: a flag `--lease-seconds` is also `BRICKYARD_<PROCESS>_LEASE_SECONDS` in the
environment and `lease_seconds` in the TOML file that --config names. Unknown keys in the file are refused by name.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from services.common.credentials import TlsFiles
from services.common.logs import LOG_LEVELS, LogFormat, configure_logs

if TYPE_CHECKING:
    from services.common.addresses import HostPort

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where a server listens and how.

    Attributes:
        listen: Addresses, each "host:port" or "unix:/path"; port 0 takes a free one.
        tls: Certificate of the process; None on Unix sockets and plain TCP only.
        insecure_plaintext: Whether plain TCP was asked for by name; everybody who reaches it is trusted.
        grace_s: Seconds that running calls get when the process is told to stop.
        metrics_listen: "HOST:PORT" for Prometheus, without certificates; empty = nowhere.
        identity_poll_s: How often it asks which certificates are revoked, and whether its own is to be renewed.
    """

    listen: tuple[str, ...]
    tls: TlsFiles | None
    insecure_plaintext: bool
    grace_s: float
    metrics_listen: str = ""
    identity_poll_s: float = 5.0


def load_file(context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """Callback of the --config flag: makes the settings of a TOML file the defaults of the command.

    Raises:
        click.BadParameter: It cannot be read, is no TOML, or names a setting that does not exist.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"cannot read {path}: {error}") from error
    known = {parameter.name for parameter in context.command.params}
    unknown = sorted(set(values) - known)
    if unknown:
        raise click.BadParameter(
            f"{path}: unknown settings {', '.join(unknown)}; known: {', '.join(sorted(map(str, known)))}"
        )
    context.default_map = {**(context.default_map or {}), **values}
    return path


def load_heketi_file(context: click.Context, parameter: click.Parameter, path: Path | None) -> str:
    """For a --config flag that takes a heketi.json too: its text; "" for a TOML file, which `load_file` loads.

    Raises:
        click.BadParameter: It cannot be read, or `load_file` refuses it.
    """
    if path is None:
        return ""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"cannot read {path}: {error}") from error
    if text.lstrip().startswith(("{", "[")):
        return text
    load_file(context, parameter, path)
    return ""


def _configure_logs(process: str) -> Callable[[click.Context, click.Parameter, str], str]:
    def configure(context: click.Context, _parameter: click.Parameter, log_format: str) -> str:
        chosen: LogFormat = "text" if log_format == "text" else "json"
        configure_logs(process=process, level=str(context.params.get("log_level", "info")), log_format=chosen)
        return log_format

    return configure


def _start_traces(process: str) -> Callable[[click.Context, click.Parameter, str], str]:
    def start(_context: click.Context, _parameter: click.Parameter, endpoint: str) -> str:
        if endpoint:
            # Imported late: --help and a wrong flag should not wait for gRPC.
            from services.common import tracing  # noqa: PLC0415
            from services.common.errors import BrickyardError  # noqa: PLC0415

            try:
                tracing.start(process if process.startswith("brickyard-") else f"brickyard-{process}", endpoint)
            except BrickyardError as error:
                raise click.BadParameter(error.message) from error
        return endpoint

    return start


def config_option() -> Callable[[_Command], _Command]:
    """The --config flag: a TOML file with the settings of this process."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=load_file,
        help="TOML file with any of these settings, named with underscores.",
    )


def log_options(process: str) -> Callable[[_Command], _Command]:
    """The flags of logs and traces; both are set up before the command runs."""

    def decorate(command: _Command) -> _Command:
        command = click.option(
            "--trace-to",
            default="",
            metavar="URL",
            callback=_start_traces(process),
            expose_value=False,
            show_default="no traces",
            help="Send OpenTelemetry traces to this collector (OTLP over gRPC, e.g. http://127.0.0.1:4317); needs "
            "brickyard[tracing].",
        )(command)
        command = click.option(
            "--log-format",
            type=click.Choice(["json", "text"]),
            default="json",
            show_default=True,
            callback=_configure_logs(process),
            expose_value=False,
            help="Form of the log on stderr.",
        )(command)
        return click.option(
            "--log-level",
            type=click.Choice(LOG_LEVELS),
            default="info",
            show_default=True,
            is_eager=True,
            expose_value=True,
            help="Least severity that is logged.",
        )(command)

    return decorate


def tls_options() -> Callable[[_Command], _Command]:
    """The flag for the process's certificate directory."""
    return click.option(
        "--tls-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="Directory with ca.pem, cert.pem and key.pem of this process (brickyard ca issue makes it).",
    )


def server_options(default_listen: str) -> Callable[[_Command], _Command]:
    """The flags of every server; `server_settings` turns them into ServerSettings."""

    def decorate(command: _Command) -> _Command:
        command = click.option(
            "--identity-poll-seconds",
            type=click.FloatRange(min=0.05, max=300),
            default=5.0,
            show_default=True,
            help="How often to ask which certificates are revoked, and whether the own one is to be renewed.",
        )(command)
        command = click.option(
            "--grace-seconds",
            type=click.FloatRange(min=0),
            default=10.0,
            show_default=True,
            help="Time that running calls get on SIGTERM.",
        )(command)
        command = click.option(
            "--metrics-listen",
            default="",
            metavar="HOST:PORT",
            callback=_metrics_address,
            show_default="nowhere",
            help="Serve metrics for Prometheus here, over plain HTTP to whoever asks.",
        )(command)
        command = click.option(
            "--insecure-plaintext",
            is_flag=True,
            help="Allow plain TCP without certificates: everybody who reaches the port is trusted.",
        )(command)
        command = tls_options()(command)
        return click.option(
            "--listen",
            multiple=True,
            default=(default_listen,),
            show_default=True,
            help="Address to serve: HOST:PORT or unix:/PATH (its directory must be 0700). May be repeated.",
        )(command)

    return decorate


def server_settings(flags: dict[str, Any]) -> ServerSettings:
    """Checks the flags of `server_options` together.

    Args:
        flags: By their names in Python, among others; those of `server_options` are removed.

    Raises:
        click.UsageError: TCP without certificates and without --insecure-plaintext, or an unsafe socket directory.
    """
    listen: tuple[str, ...] = flags.pop("listen")
    tls_dir: Path | None = flags.pop("tls_dir")
    insecure_plaintext: bool = flags.pop("insecure_plaintext")
    for address in listen:
        if address.startswith("unix:"):
            _check_socket_directory(Path(address.removeprefix("unix:")).parent)
        elif tls_dir is None and not insecure_plaintext:
            raise click.UsageError(
                f"--listen {address}: TCP needs --tls-dir; make certificates with `brickyard ca`, "
                "listen on unix:/PATH, or ask for --insecure-plaintext by name"
            )
    return ServerSettings(
        listen=listen,
        tls=TlsFiles.in_directory(tls_dir) if tls_dir is not None else None,
        insecure_plaintext=insecure_plaintext,
        grace_s=flags.pop("grace_seconds"),
        metrics_listen=flags.pop("metrics_listen"),
        identity_poll_s=flags.pop("identity_poll_seconds"),
    )


def _metrics_address(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    if given:
        host_port_of("--metrics-listen", given, free_port=True)
    return given


def host_port_of(flag: str, given: str, *, free_port: bool = False, any_host: bool = False) -> "HostPort":
    """The value of a flag that is HOST:PORT; see `parse_host_port`.

    Raises:
        click.UsageError: It is none.
    """
    from services.common.addresses import parse_host_port  # noqa: PLC0415 - gRPC is slow to load, --help needs none
    from services.common.errors import InvalidArgumentError  # noqa: PLC0415 - the same

    try:
        return parse_host_port(given, field=flag, free_port=free_port, any_host=any_host)
    except InvalidArgumentError as error:
        raise click.UsageError(error.message) from error


def _check_socket_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise click.UsageError(f"--listen: {directory} is no directory")
    if directory.stat().st_mode & 0o077:
        raise click.UsageError(f"--listen: {directory} is open to others; run: chmod 700 {directory}")


def read_secret(path: Path | None, from_environment: str | None, flag: str) -> str:
    """A secret from a file or the environment, never from a flag, which everybody sees in the process list.

    Args:
        path: File that holds it; wins over the environment. White space around it is dropped.
        from_environment: Its value in the environment, if any.
        flag: The flag that named the file, for the error.

    Raises:
        click.BadParameter: The file cannot be read or is empty.
    """
    if path is None:
        return from_environment or ""
    try:
        secret = path.read_text().strip()
    except OSError as error:
        raise click.BadParameter(f"cannot read {path}: {error.strerror}", param_hint=flag) from error
    if not secret:
        raise click.BadParameter(f"{path} is empty", param_hint=flag)
    return secret
