"""The process `brickyard-topology`: flags to settings, settings to a server."""

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from services.common.errors import BrickyardError
from services.common.server import run_until_stopped
from services.common.settings import config_option, log_options, server_options, server_settings
from services.topology.bootstrap import AuthoritySettings, Topology, TopologyServer
from services.topology.domain.eviction import EvictionRules

_EPILOG = """\b
Example, for a trial on this machine:
  mkdir -m 700 /run/brickyard
  brickyard-topology --listen unix:/run/brickyard/topology.sock --database sqlite:////var/lib/brickyard/topology.db

\b
Example, one of several servers on PostgreSQL:
  brickyard-topology --listen 0.0.0.0:7401 --tls-dir /etc/brickyard/tls \\
    --database postgresql://brickyard@db.example.com/brickyard

\b
Example, with agents that join by token (brickyard agent token NODE):
  brickyard-topology --listen 10.0.0.2:7401 --tls-dir /etc/brickyard/topology \\
    --ca-dir /etc/brickyard/ca --join-listen 10.0.0.2:7403

Each flag is also BRICKYARD_TOPOLOGY_FLAG in the environment, and a key of the file that --config names.
"""


def _default_state_dir() -> Path:
    # systemd names the directory that it made for the unit.
    given = os.environ.get("STATE_DIRECTORY")
    if given:
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/brickyard")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "brickyard"


def _default_database(state_dir: Path) -> str:
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{state_dir.absolute() / 'topology.db'}"


def _advertised(listen: str, host: str) -> str:
    """An address as others should call it; empty while its port is not known."""
    bound, _, port = listen.rpartition(":")
    if not bound or port == "0":
        return ""
    if not host and bound in {"0.0.0.0", "[::]"}:  # noqa: S104 - looked at, not bound
        host = socket.getfqdn()
    return f"{host or bound}:{port}"


@click.command(epilog=_EPILOG, context_settings={"auto_envvar_prefix": "BRICKYARD_TOPOLOGY"})
@config_option()
@click.option(
    "--database",
    default="",
    metavar="URL",
    help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. [default: topology.db in the state directory]",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=_default_state_dir,
    show_default="/var/lib/brickyard, or ~/.local/state/brickyard for a user",
    help="Directory of the default database; made with mode 0700 when it is missing.",
)
@click.option(
    "--auto-evict-after-minutes",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Empty a node that has been silent for so long: its bricks move to other nodes. 0 = never.",
)
@click.option(
    "--auto-evict-max-down-percent",
    type=click.FloatRange(0, 100),
    default=34.0,
    show_default=True,
    help="But not while more of its cluster's nodes than this are down. A node's tag auto-evict=off spares it.",
)
@click.option(
    "--ca-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of `brickyard ca init`: certificates are signed and renewed by this server.",
)
@click.option(
    "--certificate-hours",
    type=click.FloatRange(min=0.001, max=24 * 365),
    default=24.0,
    show_default=True,
    help="Life of the certificate of an agent that joins. It is renewed at two thirds, and lives as long again.",
)
@click.option(
    "--join-listen",
    default="",
    metavar="HOST:PORT",
    help="Where agents without a certificate join by token; nothing else is served there. Needs --ca-dir.",
)
@click.option(
    "--advertise",
    default="",
    metavar="HOST",
    help="Host name or address under which nodes reach this server. Default: that of --listen, or the host's name.",
)
@server_options(default_listen="127.0.0.1:7401")
@log_options(process="topology")
def main(
    *,
    database: str,
    state_dir: Path,
    auto_evict_after_minutes: float,
    auto_evict_max_down_percent: float,
    ca_dir: Path | None,
    certificate_hours: float,
    join_listen: str,
    advertise: str,
    **flags: Any,
) -> None:
    """Keeps the state of Brickyard: clusters, nodes, devices, volumes and operations."""
    settings = server_settings(flags)
    if join_listen and (ca_dir is None or settings.tls is None):
        raise click.UsageError("--join-listen needs --ca-dir and --tls-dir")
    authority = AuthoritySettings(
        directory=ca_dir,
        lifetime=timedelta(hours=certificate_hours),
        join_listen=join_listen,
        join_address=_advertised(join_listen, advertise),
        topology_address=_advertised(
            next((each for each in settings.listen if not each.startswith("unix:")), ""), advertise
        ),
    )
    try:
        topology = Topology(
            database or _default_database(state_dir),
            eviction=EvictionRules(int(auto_evict_after_minutes * 60_000_000), auto_evict_max_down_percent),
            authority=authority,
        )
        server = TopologyServer(topology, settings)
    except (BrickyardError, OSError) as error:
        raise click.ClickException(str(error)) from error
    topology.start_upkeep()
    run_until_stopped(server, process="brickyard-topology", on_stop=topology.close)


if __name__ == "__main__":
    main()
