"""The --config flag of the gateway: a TOML file with its settings, or a heketi.json as it is. Effects: reads it.

Heketi's variables win over the file, the gateway's own over both, and a flag over all.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.heketi.config import ConfigFault, HeketiConfig, read_config
from services.common.settings import load_heketi_file

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _load(context: click.Context, parameter: click.Parameter, path: Path | None) -> HeketiConfig:
    text = load_heketi_file(context, parameter, path)
    try:
        found = read_config(text, os.environ)
    except ConfigFault as fault:
        where = f"{path}: " if text else ""
        raise click.BadParameter(f"{where}{fault}") from fault
    context.default_map = {**(context.default_map or {}), **found.flags}
    return found


def gateway_config_option(command: _Command) -> _Command:
    """The --config flag; the command gets what else a heketi.json says as `config`."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        callback=_load,
        help="TOML file with any of these settings, named with underscores; or a heketi.json, as it is.",
    )(command)
