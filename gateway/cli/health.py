"""`brickyard health`: asks a server for its gRPC health, for container probes and people."""

from pathlib import Path
from typing import Any

import click

from gateway.cli.output import json_option, say_result

_NOT_SERVING = 1


@click.command(
    epilog="""\b
Example:
  brickyard health 10.0.0.2:7401 --role topology --tls-dir tls/operator
  brickyard health 127.0.0.1:7410 --server-name node1.example.com --tls-dir /etc/brickyard/agent
"""
)
@click.argument("address")
@click.option(
    "--tls-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="BRICKYARD_TLS_DIR",
    show_envvar=True,
    help="Directory with ca.pem, cert.pem and key.pem of whoever asks; any role may. Default: plain TCP.",
)
@click.option(
    "--role",
    type=click.Choice(["topology", "allocator", "gateway", "agent"]),
    help="Insist on this role of the server instead of on the host in its address.",
)
@click.option("--server-name", help="Insist on this host name in the server's certificate.")
@click.option("--service", default="", help="Full name of a gRPC service. Default: the whole process.")
@click.option(
    "--alive",
    is_flag=True,
    help="Ask only whether it answers: of one that waits, e.g. for its database, a restart makes nothing better.",
)
@click.option(
    "--timeout-seconds", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Longest wait."
)
@json_option
def health(
    *,
    address: str,
    tls_dir: Path | None,
    role: str | None,
    server_name: str | None,
    service: str,
    alive: bool,
    timeout_seconds: float,
    as_json: bool,
) -> None:
    """Asks the server at ADDRESS, HOST:PORT or unix:/PATH, whether it is ready; exit code 0 when it is, else 1."""
    import grpc  # noqa: PLC0415 - gRPC is slow to load, and --help needs none
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - the same

    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - the same
    from services.common.channels import call, channel_options  # noqa: PLC0415 - the same
    from services.common.credentials import TlsFiles, channel_credentials  # noqa: PLC0415 - the same
    from services.common.errors import BrickyardError  # noqa: PLC0415 - the same
    from services.common.identity import Role, role_hostname  # noqa: PLC0415 - the same

    if role and server_name:
        raise click.UsageError("--role and --server-name exclude each other")
    try:
        if tls_dir is None or address.startswith("unix:"):
            channel = grpc.insecure_channel(address, options=channel_options())
        else:
            name = role_hostname(Role(role)) if role else server_name
            credentials = channel_credentials(TlsFiles.in_directory(tls_dir))
            channel = grpc.secure_channel(address, credentials, options=channel_options(name))
        with channel, sign_of_life(f"waiting for {address}"):
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = call(
                stub.Check,
                health_pb2.HealthCheckRequest(service=service),
                timeout_s=timeout_seconds,
            )
    except BrickyardError as error:
        raise click.ClickException(f"{address}: {error.message}") from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    say_result(f"{address}: {status}", as_json=as_json, address=address, status=status)
    if not alive and answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise click.exceptions.Exit(_NOT_SERVING)
