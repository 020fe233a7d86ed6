"""`brickyard agent deploy`: puts an agent on a node over SSH."""

import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.connection import grpc_options, told_to_user
from gateway.cli.deployment.paths import DEFAULT_FSTAB, DEFAULT_PREFIX
from gateway.cli.output import json_option, say_result, to_stderr
from gateway.cli.progress import say

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

_START = ("auto", "systemd", "plain", "none")


@click.command(
    epilog="""\b
Example, in a checkout of Brickyard:
  pip wheel --wheel-dir wheelhouse '.[agent]' pip
  brickyard agent deploy 10.0.0.11 --wheelhouse wheelhouse --keyfile ~/.ssh/id_ed25519 \\
    --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
"""
)
@click.argument("host")
@click.option(
    "--wheelhouse",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory with the wheels of brickyard[agent], all that it needs, and pip, for the node's Python.",
)
@click.option(
    "--agent-topology",
    default="",
    help="HOST:PORT under which the node finds the topology, to renew its certificate.  [default: as --topology]",
)
@click.option("--user", default="root", show_default=True, help="User to log in as.")
@click.option("--ssh-port", type=click.IntRange(1, 65535), default=22, show_default=True, help="Port of the sshd.")
@click.option("--sudo", is_flag=True, help="Run commands with sudo, which must not ask for a password.")
@click.option(
    "--keyfile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private SSH key. Default: those of your ssh-agent.",
)
@click.option("--host-key", help="Fingerprint of the node's host key, SHA256:... Default: it is shown, and you decide.")
@click.option(
    "--known-hosts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="File with the node's host key. May be repeated.",
)
@click.option("--listen", default="0.0.0.0:7410", show_default=True, help="Address that the agent serves.")
@click.option("--prefix", default=DEFAULT_PREFIX, show_default=True, help="Directory of its software on the node.")
@click.option(
    "--fstab",
    default=DEFAULT_FSTAB,
    show_default=True,
    help="Mount table file of its bricks. On a node of Heketi's: /etc/fstab, or what its heketi.json says.",
)
@click.option("--device-allow", multiple=True, help="Pattern of disks that the agent may use. May be repeated.")
@click.option("--allow-destroy", is_flag=True, help="Let the agent wipe a disk when a request asks for it.")
@click.option(
    "--start",
    type=click.Choice(_START),
    default="auto",
    show_default=True,
    help="Who starts the agent: systemd, or a plain process where there is no systemd.",
)
@json_option
@grpc_options("--topology", default="127.0.0.1:7401", envvar="BRICKYARD_TOPOLOGY", what="the topology service")
def deploy(
    *,
    host: str,
    wheelhouse: Path,
    agent_topology: str,
    user: str,
    ssh_port: int,
    sudo: bool,
    keyfile: Path | None,
    host_key: str | None,
    known_hosts: tuple[Path, ...],
    listen: str,
    prefix: str,
    fstab: str,
    device_allow: tuple[str, ...],
    allow_destroy: bool,
    start: str,
    as_json: bool,
    connection: "Connection",
) -> None:
    """Installs and starts the agent on HOST over SSH, once; later it needs no SSH.

    HOST is the name that the cluster manages the node under. The agent makes its key there and joins by a token of the
    topology, which has to run with --ca-dir and --join-listen. No SSH key is left anywhere. Run it again to upgrade,
    after a failure, or when the certificate has ended or was revoked: it does what is not done yet.
    """
    from gateway.cli.deployment.enrolment import JoinByToken  # noqa: PLC0415 - other commands need none of it
    from gateway.cli.deployment.plan import AgentPlan, read_wheelhouse  # noqa: PLC0415 - the same
    from gateway.cli.deployment.shell import NodeShell  # noqa: PLC0415 - the same
    from gateway.cli.deployment.starting import StartMode, agent_unit  # noqa: PLC0415 - the same
    from gateway.cli.deployment.steps import Deployment  # noqa: PLC0415 - the same

    try:
        from services.common.ssh import SshSession  # noqa: PLC0415 - the same
        from services.common.ssh_connection import SshTarget  # noqa: PLC0415 - the same
    except ImportError as error:
        raise click.ClickException("paramiko is missing; install it with: pip install 'brickyard[ssh]'") from error
    from services.common.settings import host_port_of  # noqa: PLC0415 - the same

    host_port_of("--listen", listen)
    topology = _found_by_node(host, agent_topology, connection.address)
    with told_to_user(connection):
        plan = AgentPlan(
            host=host,
            topology=topology,
            listen=listen,
            prefix=prefix.rstrip("/"),
            fstab=fstab,
            device_allow=device_allow,
            allow_destroy=allow_destroy,
        )
        wheels = read_wheelhouse(wheelhouse)
        target = SshTarget(host=host, port=ssh_port, user=user, keyfile=keyfile, sudo=sudo)
        session = SshSession(target, known_hosts, lambda name, shown: _decide(name, shown, host_key))
        try:
            session.connect()
            tell = to_stderr if as_json else say
            tell(f"connected to {host} as {user}")
            deployment = Deployment(
                node=NodeShell(session),
                plan=plan,
                wheelhouse=wheels,
                enrolment=JoinByToken(connection),
                start=StartMode(start),
                unit=agent_unit(),
                say=tell,
            )
            changed = deployment.run()
        finally:
            session.close()
    text = f"{host}: {'done' if changed else 'nothing was to be done'}"
    say_result(text, as_json=as_json, host=host, changed=changed)


def _found_by_node(host: str, given: str, ours: str) -> str:
    """Where the node finds the topology.

    Raises:
        click.UsageError: It is known under an address of this machine only, or is no address.
    """
    from services.common.settings import host_port_of  # noqa: PLC0415 - slow to load

    address = given or ours
    is_socket = address.startswith("unix:")
    found = None if is_socket else host_port_of("--agent-topology" if given else "--topology", address)
    if found is None or (_is_loopback(found.host) and not _is_loopback(host)):
        raise click.UsageError(
            f"{host} cannot find the topology at {address}: give --agent-topology HOST:PORT, as the node reaches it"
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _decide(host: str, shown: str, expected: str | None) -> None:
    """Takes the host key that was asked for by its fingerprint, or the one that the user says yes to.

    Raises:
        FailedPreconditionError: HOST_KEY_UNKNOWN.
    """
    from services.common.errors import FailedPreconditionError  # noqa: PLC0415 - slow to load
    from services.common.reasons import Reason  # noqa: PLC0415 - the same

    if expected is not None:
        if shown != expected:
            raise FailedPreconditionError(
                Reason.HOST_KEY_UNKNOWN,
                f"{host} shows the host key {shown}, not the expected {expected}; nothing was sent to it",
                host=host,
                fingerprint=shown,
            )
        return
    compare = "compare it on the node with: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    if sys.stdin.isatty():
        to_stderr(f"{host} shows the host key {shown}; {compare}")
        if click.confirm("Is it this one?", err=True):
            return
    raise FailedPreconditionError(
        Reason.HOST_KEY_UNKNOWN,
        f"the host key of {host}, {shown}, is not pinned; {compare}, then give it with --host-key {shown}",
        host=host,
        fingerprint=shown,
    )
