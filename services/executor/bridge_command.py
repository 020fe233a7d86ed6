"""`brickyard-ssh-bridge`: serves storage nodes that have no agent yet, over SSH, as heketi.json says."""

import os
from pathlib import Path
from typing import Any

import click

from services.common.logs import get_logger
from services.common.settings import load_heketi_file, log_options, server_options, server_settings
from services.executor.policy import DEFAULT_DEVICES, DEFAULT_MOUNT_ROOT, NodePolicy
from services.executor.sshexec import SshexecFault, read_sshexec

DEFAULT_LISTEN = "127.0.0.1:7411"
DEFAULT_STATE = Path("/var/lib/brickyard/ssh-bridge")
# Heketi's; an agent has a file of its own.
DEFAULT_FSTAB = "/etc/fstab"
_log = get_logger()
_HELP = """
Serves storage nodes that have no agent yet, over SSH: the same requests as an agent, and the same fixed commands. The
gateway is told of it with --ssh-bridge. A node that gets an agent (`brickyard agent deploy`) is left to that.

Host keys are pinned: a node whose key is in no --known-hosts file is not touched. Run one bridge, however many gateways
there are.

\b
Example:
  brickyard-ssh-bridge --config /etc/heketi/heketi.json --known-hosts /etc/brickyard/known_hosts \\
    --listen 127.0.0.1:7411 --tls-dir /etc/brickyard/ssh-bridge

Every flag is also an environment variable, e.g. BRICKYARD_SSH_BRIDGE_KEYFILE; Heketi's own, e.g. HEKETI_SSH_KEYFILE and
SSH_KNOWN_HOSTS, win over the file.
"""


def _load(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    text = load_heketi_file(context, parameter, path)
    try:
        found = read_sshexec(text, os.environ)
    except SshexecFault as fault:
        raise click.BadParameter(f"{path}: {fault}" if text else str(fault)) from fault
    context.default_map = {**(context.default_map or {}), **found.flags}
    context.meta["brickyard.notes"] = found.notes


@click.command(help=_HELP, context_settings={"auto_envvar_prefix": "BRICKYARD_SSH_BRIDGE", "show_default": True})
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_load,
    help="A heketi.json as it is (its sshexec section), or a TOML file with any of these settings.",
)
@log_options("brickyard-ssh-bridge")
@server_options(DEFAULT_LISTEN)
@click.option("--keyfile", type=click.Path(path_type=Path), required=True, help="Private SSH key.")
@click.option("--user", default="heketi", help="User to log in as.")
@click.option("--port", type=click.IntRange(1, 65535), default=22, help="Port of the nodes' sshd.")
@click.option("--sudo/--no-sudo", default=False, help="Run commands with sudo, which must not ask for a password.")
@click.option(
    "--known-hosts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="File with the nodes' host keys, as ssh-keyscan writes it. May be repeated.",
)
@click.option("--fstab", default=DEFAULT_FSTAB, help="Mount table file of the nodes that bricks are entered in.")
@click.option("--mount-root", default=DEFAULT_MOUNT_ROOT, help="Bricks are mounted below.")
@click.option("--device-allow", multiple=True, default=DEFAULT_DEVICES, help="Pattern of disks that may be used.")
@click.option("--allow-destroy", is_flag=True, help="Wipe a disk's data when a request asks for it.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=DEFAULT_STATE, help="Journals of changes.")
@click.pass_context
def main(context: click.Context, /, **flags: Any) -> None:
    """Serves until SIGTERM; the help text of the command is its documentation."""
    settings = server_settings(flags)
    if not flags["keyfile"].is_file():
        raise click.BadParameter(f"there is no file {flags['keyfile']}", param_hint="--keyfile")
    # Imported after --help and wrong flags were dealt with: gRPC and paramiko are slow to import.
    from services.common.errors import BrickyardError  # noqa: PLC0415
    from services.common.server import run_until_stopped  # noqa: PLC0415
    from services.executor import bootstrap  # noqa: PLC0415
    from services.executor.bridge import BridgeSettings  # noqa: PLC0415

    policy = NodePolicy(
        device_globs=tuple(flags["device_allow"]),
        allow_destroy=flags["allow_destroy"],
        mount_root=flags["mount_root"].rstrip("/"),
        fstab=flags["fstab"],
    )
    bridge = BridgeSettings(
        keyfile=flags["keyfile"],
        port=flags["port"],
        user=flags["user"],
        sudo=flags["sudo"],
        known_hosts=flags["known_hosts"],
        policy=policy,
    )
    for note in context.meta["brickyard.notes"]:
        _log.warning("config.obsolete", note=note)
    try:
        agent = bootstrap.ssh_bridge(bridge, flags["state_dir"])
        server = bootstrap.serve(agent, settings)
    except BrickyardError as error:
        raise click.ClickException(error.message) from error
    run_until_stopped(server, process="brickyard-ssh-bridge", on_stop=agent.close)


if __name__ == "__main__":
    main()
