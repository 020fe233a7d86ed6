"""`brickyard-agent`: serves this storage node, or a fleet of simulated ones."""

from pathlib import Path
from typing import Any

import click

from services.common.settings import ServerSettings, config_option, log_options, server_options, server_settings
from services.executor.policy import (
    DEFAULT_DEVICES,
    DEFAULT_FSTAB,
    DEFAULT_MOUNT_ROOT,
    DEFAULT_OPTIONS,
    HEKETI_FSTABS,
    NodePolicy,
)
from services.executor.settings import NodeSettings

DEFAULT_LISTEN = "127.0.0.1:7410"
DEFAULT_STATE = Path("/var/lib/brickyard/agent")
DEFAULT_TLS = Path("/etc/brickyard/agent")
_EXAMPLE = """
Serves the agent of this storage node: it makes devices, bricks and volumes when the gateway asks for them, and runs
no command but its own. Bricks are mounted before it answers, so start it before glusterd if you can.

\b
Example:
  brickyard-agent --listen 0.0.0.0:7410 --tls-dir /etc/brickyard/tls --node-name node1.example.com
  brickyard-agent --simulate 3 --listen 127.0.0.1:7410 --insecure-plaintext

With --topology it renews its certificate, and learns within seconds which callers' certificates are revoked. It gets
the first certificate by a token: brickyard-agent join --help, or with --join-from when it starts.

Every flag is also an environment variable, e.g. BRICKYARD_AGENT_NODE_NAME, and a key of the --config file, e.g.
node_name.
"""


def _size(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    units = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:].isalpha() else ""
    if unit not in units or not number.removesuffix(unit).isdecimal():
        raise click.BadParameter(f"{text!r} is no size; write e.g. 500GiB")
    return int(number.removesuffix(unit)) * units[unit]


@click.group(
    help=_EXAMPLE,
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "BRICKYARD_AGENT", "show_default": True},
)
@config_option()
@log_options("brickyard-agent")
@server_options(DEFAULT_LISTEN)
@click.option("--topology", default="", help="HOST:PORT of the topology, which renews the certificate.")
@click.option(
    "--join-from",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="File with what `brickyard agent token NODE --json` has printed: join by it without a good certificate, or "
    "with an older one.",
)
@click.option("--node-name", multiple=True, help="Host name under which callers know this node; others are refused.")
@click.option("--device-allow", multiple=True, default=DEFAULT_DEVICES, help="Pattern of disks that may be used.")
@click.option(
    "--option-allow",
    multiple=True,
    default=DEFAULT_OPTIONS,
    help="Pattern of gluster options that may be set; some that name programs or files of the host never are.",
)
@click.option("--allow-destroy", is_flag=True, help="Wipe a disk's data when a request asks for it.")
@click.option("--fstab", default=DEFAULT_FSTAB, help="The agent's own mount table file.")
@click.option(
    "--heketi-fstab", multiple=True, default=HEKETI_FSTABS, help="Where Heketi listed bricks that the agent takes over."
)
@click.option("--mount-root", default=DEFAULT_MOUNT_ROOT, help="Bricks are mounted below.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=DEFAULT_STATE, help="Journal of changes.")
@click.option("--parallel", type=click.IntRange(1, 64), default=8, help="Most commands at the same time.")
@click.option("--reflection/--no-reflection", default=True, help="Tell grpcurl what is served.")
@click.option("--simulate", type=click.IntRange(min=0), default=0, help="Serve so many simulated nodes instead.")
@click.option("--simulate-any", is_flag=True, help="Let simulated nodes and disks come into being when named.")
@click.option(
    "--simulate-quietly", is_flag=True, help="Log changes of simulated nodes only from --log-level info down."
)
@click.option("--simulate-disks", type=click.IntRange(0, 25), default=4, help="Disks of a simulated node.")
@click.option("--simulate-disk-size", default="500GiB", callback=_size, help="Usable size of such a disk.")
@click.option(
    "--simulate-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Keep simulated nodes in this file. Default: they are gone with the process.",
)
@click.option("--faults", type=click.Path(path_type=Path), default=None, help="File with faults of simulated nodes.")
@click.pass_context
def main(context: click.Context, /, **flags: Any) -> None:
    """Serves until SIGTERM; the help text of the command is its documentation."""
    if context.invoked_subcommand is not None:
        return
    settings = server_settings(flags)
    # Imported after --help and wrong flags were dealt with: gRPC is slow to import on a small node.
    from services.common.errors import BrickyardError  # noqa: PLC0415
    from services.common.server import run_until_stopped  # noqa: PLC0415
    from services.executor import bootstrap  # noqa: PLC0415

    try:
        if flags["join_from"] is not None:
            _join_first(flags, settings)
        agent = _agent(flags)
        server = bootstrap.serve(agent, settings, topology=flags["topology"], with_reflection=flags["reflection"])
    except BrickyardError as error:
        raise click.ClickException(error.message) from error
    run_until_stopped(server, process="brickyard-agent", on_stop=agent.close)


@main.command(
    epilog="""\b
Example, with the token and the pin that `brickyard agent token node1.example.com` has printed:
  brickyard-agent join 10.0.0.2:7403 --node-name node1.example.com --tls-dir /etc/brickyard/agent \\
    --ca-pin sha256:4f...c2 --token-file -      # then paste the token; or name a file of mode 0600

\b
Whoever may list processes sees --token TOKEN: prefer --token-file, or BRICKYARD_AGENT_JOIN_TOKEN.
"""
)
@click.argument("url")
@click.option("--node-name", default=None, help="The node that the token is for.  [default: this host's name]")
@click.option("--token", default=None, help="The token. Others see it in the process list: prefer --token-file.")
@click.option("--token-file", default=None, help="File with the token; - for stdin.")
@click.option("--ca-pin", required=True, help="The pin of the authority, as it was printed with the token.")
@click.option(
    "--tls-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_TLS,
    help="Where ca.pem, cert.pem and key.pem are written.",
)
def join(
    *, url: str, node_name: str | None, token: str | None, token_file: str | None, ca_pin: str, tls_dir: Path
) -> None:
    """Gets this node's first certificate from the topology at URL, HOST:PORT, by a one-time token.

    The key is made here and stays here. The token is sent only to a server that has the pinned authority.
    """
    if bool(token) == bool(token_file):
        raise click.UsageError("give the token once: --token-file FILE, --token-file - for stdin, or --token TOKEN")
    import socket  # noqa: PLC0415 - as above

    from services.common.errors import BrickyardError  # noqa: PLC0415 - as above
    from services.executor import joining  # noqa: PLC0415 - as above

    name = node_name or socket.gethostname()
    try:
        joined = joining.join(
            url,
            node_name=name,
            token=joining.read_token(token_file, token),
            pin=ca_pin,
            directory=tls_dir,
            progress=lambda line: click.echo(line, err=True),
        )
    except (BrickyardError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"joined as {name}; the certificate in {tls_dir} is good until {joined.expires.isoformat()}")
    topology = joined.topology or "HOST:7401"
    click.echo(
        f"start the agent, which renews it: brickyard-agent --node-name {name} --listen {name}:7410 "
        f"--tls-dir {tls_dir} --topology {topology}"
    )


def _join_first(flags: dict[str, Any], settings: ServerSettings) -> None:
    import socket  # noqa: PLC0415 - see main

    from services.executor import joining  # noqa: PLC0415 - see main

    if settings.tls is None:
        raise click.UsageError("--join-from needs --tls-dir, where the certificate goes")
    joined = joining.join_by_file(
        flags["join_from"],
        node_name=next(iter(flags["node_name"]), "") or socket.gethostname(),
        directory=settings.tls.certificate.parent,
        progress=lambda line: click.echo(line, err=True),
    )
    if joined is not None:
        click.echo(f"joined; the certificate is good until {joined.expires.isoformat()}", err=True)


def _agent(flags: dict[str, Any]) -> Any:
    from services.executor import bootstrap  # noqa: PLC0415 - see main

    policy = NodePolicy(
        device_globs=tuple(flags["device_allow"]),
        allow_destroy=flags["allow_destroy"],
        mount_root=flags["mount_root"].rstrip("/"),
        fstab=flags["fstab"],
        heketi_fstabs=tuple(flags["heketi_fstab"]),
        option_globs=tuple(flags["option_allow"]),
    )
    if not (flags["simulate"] or flags["simulate_any"]):
        names = tuple(flags["node_name"])
        return bootstrap.local_agent(
            NodeSettings(names=names, policy=policy), flags["state_dir"], parallel=flags["parallel"]
        )
    from services.executor.runners.simulated import FleetSettings  # noqa: PLC0415 - see main

    fleet = FleetSettings(
        nodes=flags["simulate"],
        disks=flags["simulate_disks"],
        disk_bytes=flags["simulate_disk_size"],
        accept_any=flags["simulate_any"],
        always_audited=not flags["simulate_quietly"],
    )
    return bootstrap.simulated_agent(fleet, faults=flags["faults"], kept=flags["simulate_file"])[0]


if __name__ == "__main__":
    main()
