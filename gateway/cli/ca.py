"""`brickyard ca`: the certificate authority, certificates of services and operators, and their revocation."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.connection import asking, grpc_options, told_to_user
from gateway.cli.output import as_fields, json_option, say_json, say_result
from gateway.cli.progress import say
from services.common.identity import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brickyard.topology.v1.identity_pb2 import IssuedCertificate
    from gateway.cli.connection import Connection

_ROLES = [role.value for role in Role if role not in {Role.LOCAL, Role.STRANGER}]
_topology = grpc_options(
    "--topology", default="127.0.0.1:7401", envvar="BRICKYARD_TOPOLOGY", what="the topology service"
)
_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of `brickyard ca init`.",
)


@click.group()
def ca() -> None:
    """The certificate authority of the services and agents."""


@ca.command(
    "init",
    epilog="""\b
Example:
  brickyard ca init --dir /etc/brickyard/ca
""",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where it is kept; mode 0700.",
)
@json_option
def ca_init(*, directory: Path, as_json: bool) -> None:
    """Makes a certificate authority; its key never leaves this directory."""
    from services.common.authority import create_authority  # noqa: PLC0415 - other commands need none of it

    with told_to_user():
        path = create_authority(directory)
    say_result(
        f"made {path}; issue certificates with: brickyard ca issue --dir {directory} --role ROLE --name NAME --out DIR",
        as_json=as_json,
        certificate=str(path),
    )


@ca.command(
    "issue",
    epilog="""\b
Example:
  brickyard ca issue --dir /etc/brickyard/ca --role agent --name 10.0.0.11 --host 10.0.0.11 --out agent-10.0.0.11
""",
)
@_directory
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    required=True,
    help="What the process is.",
)
@click.option("--name", required=True, help="Its name; for an agent the node's management host name.")
@click.option(
    "--host", "hosts", multiple=True, help="Host name or IP address under which it is reached. May be repeated."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory for the files.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0.001, max=24 * 3650),
    default=24.0 * 365,
    show_default=True,
    help="How long it is valid. A running service renews it at two thirds, and it is valid as long again.",
)
@json_option
def ca_issue(
    *, directory: Path, role: str, name: str, hosts: tuple[str, ...], out: Path, hours: float, as_json: bool
) -> None:
    """Issues a certificate for one process: ca.pem, cert.pem and key.pem.

    Agents better join by a token, so that their keys never leave their nodes: brickyard agent token NODE.
    """
    from datetime import timedelta  # noqa: PLC0415 - the same

    from services.common.authority import issue_certificate  # noqa: PLC0415 - other commands need none of it

    with told_to_user():
        files = issue_certificate(
            directory, out, role=Role(role), name=name, hosts=hosts, lifetime=timedelta(hours=hours)
        )
    say_result(
        f"made {files.certificate}; start the process with --tls-dir {out}",
        as_json=as_json,
        role=role,
        name=name,
        authority=str(files.ca),
        certificate=str(files.certificate),
        key=str(files.key),
    )


@ca.command(
    "rotate",
    epilog="""\b
Examples, in this order, while all processes run:
  brickyard ca rotate --dir /etc/brickyard/ca              # a new authority is trusted beside the old one
  brickyard ca rotate --dir /etc/brickyard/ca --activate   # a minute later: it signs, and everybody renews
  brickyard ca retire --dir /etc/brickyard/ca ...          # a minute later: the old one is not trusted any more
""",
)
@_directory
@click.option("--activate", is_flag=True, help="Second step: the new authority signs.")
@json_option
def ca_rotate(*, directory: Path, activate: bool, as_json: bool) -> None:
    """Changes the authority in steps while everything runs; each process follows within seconds.

    A process that is away during a step misses it: agents that were away for the whole of it join again by token,
    services get a new certificate with brickyard ca issue.
    """
    from services.common import authority  # noqa: PLC0415 - other commands need none of it

    with told_to_user():
        changed = authority.activate_successor(directory) if activate else authority.add_successor(directory)
    trusted = [authority.pin_of(each) for each in changed.trusted]
    lines = (
        (
            f"{changed.pin} signs from now on; certificates of the old one are good still, and are renewed at once",
            "operators need new ones, with ca.pem: brickyard ca issue --role operator",
            f"then: brickyard ca retire --dir {directory} --topology HOST:PORT",
        )
        if activate
        else (
            f"trusted are now: {', '.join(trusted)}; {changed.pin} signs still",
            f"when every process has learned it, in a minute: brickyard ca rotate --activate --dir {directory}",
        )
    )
    say_result(*lines, as_json=as_json, signing_pin=changed.pin, trusted_pins=trusted)


@ca.command(
    "retire",
    epilog="""\b
Example:
  brickyard ca retire --dir /etc/brickyard/ca --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
""",
)
@_directory
@click.option("--force", is_flag=True, help="Also when certificates of the old authority are still good; ask nobody.")
@json_option
@_topology
def ca_retire(*, directory: Path, force: bool, as_json: bool, connection: "Connection") -> None:
    """Ends a change of the authority: the old one is not trusted any more.

    Refused while processes have certificates of the old one, which would be cut off.
    """
    from gateway.cli.identity_calls import list_certificates  # noqa: PLC0415 - slow to load
    from services.common import authority  # noqa: PLC0415 - other commands need none of it

    with asking(connection):
        signer = authority.Authority(directory).pin
        old = [] if force else owners_of_others(list_certificates(connection), signer)
        if old:
            raise click.ClickException(
                f"certificates of the old authority are still in use, the latest of: {', '.join(old)}; wait until they "
                "are renewed, revoke them, or cut them off with --force"
            )
        authority.drop_predecessors(directory)
    say_result(f"only {signer} is trusted from now on", as_json=as_json, signing_pin=signer, trusted_pins=[signer])


def owners_of_others(certificates: "Sequence[IssuedCertificate]", signer: str) -> list[str]:
    """Owners whose latest certificate, not revoked, is of another authority."""
    from gateway.cli.identity_calls import role_name  # noqa: PLC0415 - slow to load

    latest: dict[tuple[int, str], Any] = {}
    # Certificates tell seconds; of two of one second the later one is that of the authority which signs now.
    ordered = sorted(certificates, key=lambda each: (each.issue_time.ToNanoseconds(), each.authority_pin == signer))
    for each in ordered:
        if not each.revoked:
            latest[each.role, each.name] = each
    return [f"{role_name(role)} {name}" for (role, name), each in latest.items() if each.authority_pin != signer]


@ca.command(
    "pin",
    epilog="""\b
Example:
  brickyard ca pin --dir /etc/brickyard/ca
""",
)
@_directory
@json_option
def ca_pin(*, directory: Path, as_json: bool) -> None:
    """Prints the pin of the authority: SHA-256 of its public key, by which agents know it when they join."""
    from services.common.authority import Authority  # noqa: PLC0415 - other commands need none of it

    with told_to_user():
        pin = Authority(directory).pin
    say_result(pin, as_json=as_json, pin=pin)


@ca.command(
    "list",
    epilog="""\b
Example:
  brickyard ca list --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
""",
)
@json_option
@_topology
def ca_list(*, as_json: bool, connection: "Connection") -> None:
    """Lists certificates that have not ended: those signed by the topology, and those that services call with."""
    from gateway.cli.identity_calls import list_certificates, role_name  # noqa: PLC0415 - slow to load

    with asking(connection):
        certificates = list_certificates(connection)
    if as_json:
        say_json({"certificates": [as_fields(each) for each in certificates]})
        return
    for each in certificates:
        state = "revoked" if each.revoked else f"until {each.expire_time.ToJsonString()}"
        pin = each.authority_pin.removeprefix("sha256:")[:8] or "unknown"
        say(f"{role_name(each.role):9} {each.name:24} {state:27} CA {pin:8} serial {each.serial}")


@ca.command(
    "revoke",
    epilog="""\b
Examples:
  brickyard ca revoke --role agent --name 10.0.0.11 --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
  brickyard ca revoke --serial 5f3a...  --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
""",
)
@click.option("--role", type=click.Choice(_ROLES), help="What the owner is; with --name.")
@click.option("--name", help="Name of the owner; of an agent the node's management host name.")
@click.option("--serial", help="One certificate, by its serial number as `brickyard ca list` shows it.")
@json_option
@_topology
def ca_revoke(
    *, role: str | None, name: str | None, serial: str | None, as_json: bool, connection: "Connection"
) -> None:
    """Makes certificates count for nothing: all that an owner has now, or one. All servers know it within seconds."""
    if bool(serial) == bool(role or name) or bool(role) != bool(name):
        raise click.UsageError("give either --role and --name, or --serial")
    from gateway.cli.identity_calls import revoke_owner, revoke_serial  # noqa: PLC0415 - slow to load

    with asking(connection):
        if serial:
            revoke_serial(connection, serial)
            say_result(f"certificate {serial} is revoked", as_json=as_json, serial=serial)
            return
        revoke_owner(connection, Role(role or ""), name or "")
    back = [f"should the node come back: brickyard agent token {name}"] if role == Role.AGENT.value else []
    lines = [f"all certificates that {role} {name} has now are revoked", *back]
    say_result(*lines, as_json=as_json, role=role, name=name)
