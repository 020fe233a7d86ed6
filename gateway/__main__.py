"""`brickyard-gateway`: the REST dialect of Heketi and the operator gRPC API over topology, allocator and agents."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gateway.config_option import gateway_config_option
from gateway.engine_options import engine_options, engine_settings
from gateway.heketi.config import HeketiConfig
from gateway.provisioning_options import provisioning_options, provisioning_settings
from services.common.errors import BrickyardError
from services.common.identity import Role
from services.common.logs import get_logger
from services.common.readiness import announce_ready
from services.common.settings import (
    host_port_of,
    log_options,
    read_secret,
    server_options,
    server_settings,
)

_log = get_logger()
# Where a gateway with a heketi.json, which knows no certificates of services, looks for its own.
_HEKETI_TLS_DIR = Path("/etc/brickyard/gateway")

_EPILOG = """\b
Example:
  brickyard-gateway --tls-dir /etc/brickyard/gateway --topology 10.0.0.2:7401 --allocator 10.0.0.2:7402 \\
    --rest 0.0.0.0:8080 --admin-key-file /etc/brickyard/admin.key --user-key-file /etc/brickyard/user.key
"""


@click.command(
    context_settings={"auto_envvar_prefix": "BRICKYARD_GATEWAY", "help_option_names": ["-h", "--help"]}, epilog=_EPILOG
)
@gateway_config_option
@click.option(
    "--topology", default="127.0.0.1:7401", show_default=True, help="HOST:PORT of the topology, or of several."
)
@click.option(
    "--allocator", default="127.0.0.1:7402", show_default=True, help="HOST:PORT of the allocator, or of several."
)
@click.option(
    "--agents", default="", help="One address for all agents (simulated nodes). Default: each node's own host name."
)
@click.option(
    "--agent-port", type=click.IntRange(1, 65535), default=7410, show_default=True, help="Port of the agents."
)
@click.option(
    "--ssh-bridge",
    default="",
    help="Address of brickyard-ssh-bridge, for nodes that have no agent yet. A heketi.json with executor ssh and an "
    "sshexec.keyfile makes it 127.0.0.1:7411.",
)
@click.option(
    "--rest",
    default="127.0.0.1:8080",
    show_default=True,
    help="HOST:PORT of the REST interface; :PORT for all addresses.",
)
@click.option("--rest-cert", type=click.Path(exists=True, dir_okay=False), help="PEM certificate: serve HTTPS.")
@click.option("--rest-key", type=click.Path(exists=True, dir_okay=False), help="PEM key of --rest-cert.")
@click.option(
    "--admin-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the JWT key of admin. Or HEKETI_ADMIN_KEY in the environment.",
)
@click.option(
    "--user-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the JWT key of user. Or HEKETI_USER_KEY in the environment.",
)
@click.option("--disable-auth", is_flag=True, help="Serve REST without tokens: everybody may do everything.")
@click.option("--owner", default="", help="Unique name of this gateway. Default: host name and process id.")
@engine_options
@click.option(
    "--facts-interval-seconds",
    type=click.FloatRange(0, 3600),
    default=60.0,
    show_default=True,
    help="How often each node is looked at, by one of all gateways. 0 = only on demand.",
)
@provisioning_options
@server_options("127.0.0.1:7400")
@log_options("brickyard-gateway")
def main(
    *,
    topology: str,
    allocator: str,
    agents: str,
    agent_port: int,
    ssh_bridge: str,
    rest: str,
    rest_cert: str | None,
    rest_key: str | None,
    admin_key_file: Path | None,
    user_key_file: Path | None,
    disable_auth: bool,
    owner: str,
    facts_interval_seconds: float,
    log_level: str,
    config: HeketiConfig,
    **others: Any,
) -> None:
    """Serves Heketi's REST API and the operator gRPC API (--listen)."""
    simulates = config.executor == "mock" and not any(map(_given, ("topology", "allocator", "agents")))
    if simulates and not _given("listen"):
        others["listen"] = ()  # a private socket
    has_way_in = others["tls_dir"] is not None or others["insecure_plaintext"]
    if config.from_file and not has_way_in and _HEKETI_TLS_DIR.is_dir():
        others["tls_dir"] = _HEKETI_TLS_DIR
    # Imported late: --help and a wrong flag should not wait for the web server.
    import asyncio  # noqa: PLC0415

    from gateway.bootstrap import GatewaySettings, RestSettings, run_gateway  # noqa: PLC0415
    from gateway.clients import Addresses  # noqa: PLC0415
    from gateway.heketi.settings import HeketiSettings  # noqa: PLC0415

    operator = server_settings(others)
    where = host_port_of("--rest", rest, free_port=True, any_host=True)
    if bool(rest_cert) != bool(rest_key):
        raise click.UsageError("--rest-cert and --rest-key belong together")
    admin_key = read_secret(admin_key_file, config.admin_key, "--admin-key-file")
    user_key = read_secret(user_key_file, config.user_key, "--user-key-file")
    if not disable_auth and not (admin_key and user_key):
        raise click.UsageError(
            "JWT keys are missing: give --admin-key-file and --user-key-file, or ask for --disable-auth by name"
        )
    provisioning = provisioning_settings(others)
    settings = GatewaySettings(
        addresses=Addresses(topology, allocator, agents, agent_port, operator.tls, ssh_bridge),
        rest=RestSettings(where.host, where.port, rest_cert, rest_key),
        operator=operator,
        heketi=HeketiSettings(
            admin_key=admin_key,
            user_key=user_key,
            auth_enabled=not disable_auth,
            jwt_iat_leeway_s=config.jwt_iat_leeway_s,
            min_brick_size_bytes=provisioning.brick_min_size_bytes,
            default_mode=config.default_mode,
        ),
        engine=engine_settings(owner or f"{Role.GATEWAY.value}-{socket.gethostname()}-{os.getpid()}", **others),
        provisioning=provisioning,
        facts_interval_s=facts_interval_seconds,
    )

    def announce(where: str) -> None:
        announce_ready("brickyard-gateway", where)

    try:
        if simulates:
            sys.exit(_run_simulated(config, log_level))
        for note in config.notes:
            _log.warning("config.obsolete", note=note)
        asyncio.run(run_gateway(settings, announce=announce))
    except BrickyardError as error:
        raise click.ClickException(error.message) from error


def _given(parameter: str) -> bool:
    """Whether somebody said it, instead of leaving it to its default."""
    return click.get_current_context().get_parameter_source(parameter) is not ParameterSource.DEFAULT


def _run_simulated(config: HeketiConfig, log_level: str) -> int:
    """What executor mock means: this command line once more, with simulated nodes and all services beside it."""
    from gateway.simulated_stack import SimulatedNodes, run_with_gateway  # noqa: PLC0415 - the usual gateway has no use

    return run_with_gateway(
        sys.argv[1:],
        SimulatedNodes(nodes=0, disks=0, disk_size_gib=config.mock_device_size_gib, any_host=True),
        own_listen=_given("listen"),
        log_level=log_level,
    )


if __name__ == "__main__":
    main()
