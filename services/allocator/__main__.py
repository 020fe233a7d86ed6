"""`brickyard-allocator`: chooses the devices of volumes. Stateless; any number may run."""

from typing import Any

import click

from services.common.settings import config_option, log_options, server_options, server_settings

_EPILOG = """\b
Example:
  brickyard-allocator --tls-dir /etc/brickyard/allocator --listen 0.0.0.0:7402 --topology 10.0.0.2:7401
"""


@click.command(
    context_settings={"auto_envvar_prefix": "BRICKYARD_ALLOCATOR", "help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@config_option()
@click.option(
    "--topology", default="127.0.0.1:7401", show_default=True, help="HOST:PORT of the topology, or of several."
)
@click.option(
    "--spread-weight",
    multiple=True,
    metavar="NAME=NUMBER",
    help="A weight of the spread strategy: full_at (0.8), reuse_slack (0.02), full_reuse_slack (0.03), "
    "zone_slack (0.25), arbiter (0.1), reuse_checks (64).",
)
@server_options("127.0.0.1:7402")
@log_options("brickyard-allocator")
def main(
    *,
    topology: str,
    spread_weight: tuple[str, ...],
    **flags: Any,
) -> None:
    """Plans where the bricks of a volume go, from the inventory that it reads from topology."""
    # Imported late: --help and a wrong flag should not wait for gRPC.
    from services.allocator.bootstrap import run_allocator  # noqa: PLC0415
    from services.allocator.domain.strategies import SpreadWeights  # noqa: PLC0415
    from services.common.errors import BrickyardError  # noqa: PLC0415

    try:
        weights = SpreadWeights.of(spread_weight)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--spread-weight") from error
    settings = server_settings(flags)
    try:
        run_allocator(settings, topology=topology, weights=weights)
    except BrickyardError as error:
        raise click.ClickException(error.message) from error


if __name__ == "__main__":
    main()
