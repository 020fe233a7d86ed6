"""The process `brickyard-topology`: flags to settings, settings to a server."""

import os
from pathlib import Path

import click

from services.common.errors import BrickyardError
from services.common.server import run_until_stopped
from services.common.settings import config_option, log_options, server_options, server_settings
from services.topology.bootstrap import Topology, TopologyServer
from services.topology.domain.eviction import EvictionRules

_EPILOG = """\b
Example, for a trial on this machine:
  mkdir -m 700 /run/brickyard
  brickyard-topology --listen unix:/run/brickyard/topology.sock --database sqlite:////var/lib/brickyard/topology.db

\b
Example, one of several servers on PostgreSQL:
  brickyard-topology --listen 0.0.0.0:7401 --tls-dir /etc/brickyard/tls \\
    --database postgresql://brickyard@db.example.com/brickyard

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
@server_options(default_listen="127.0.0.1:7401")
@log_options(process="topology")
def main(
    *,
    database: str,
    state_dir: Path,
    auto_evict_after_minutes: float,
    auto_evict_max_down_percent: float,
    listen: tuple[str, ...],
    tls_dir: Path | None,
    insecure_plaintext: bool,
    grace_seconds: float,
    metrics_listen: str,
    log_level: str,
) -> None:
    """Keeps the state of Brickyard: clusters, nodes, devices, volumes and operations."""
    del log_level  # its callback has set up the logs
    settings = server_settings(
        listen=listen,
        tls_dir=tls_dir,
        insecure_plaintext=insecure_plaintext,
        grace_seconds=grace_seconds,
        metrics_listen=metrics_listen,
    )
    try:
        topology = Topology(
            database or _default_database(state_dir),
            eviction=EvictionRules(int(auto_evict_after_minutes * 60_000_000), auto_evict_max_down_percent),
        )
        server = TopologyServer(topology, settings)
    except (BrickyardError, OSError) as error:
        raise click.ClickException(str(error)) from error
    topology.start_upkeep()
    run_until_stopped(server, process="brickyard-topology", on_stop=topology.close)


if __name__ == "__main__":
    main()
