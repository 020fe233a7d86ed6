"""`brickyard import`: take a Heketi over from its dump."""

import asyncio
from typing import IO, TYPE_CHECKING

import click

from gateway.cli.connection import grpc_options, told_to_user
from gateway.cli.output import say_json
from gateway.cli.progress import say

if TYPE_CHECKING:
    from brickyard.topology.v1.records_pb2 import ImportRecordsResponse
    from gateway.cli.connection import Connection
    from gateway.heketi.dump.importing import Prepared

_SHOWN_NOTES = 10


@click.command(
    "import",
    epilog="""\b
Examples:
  heketi-cli db dump > heketi.json.dump        # of the Heketi, which must not change anything from now on
  brickyard import --check heketi.json.dump --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
  brickyard import heketi.json.dump --topology 10.0.0.2:7401 --tls-dir /etc/brickyard/operator
  brickyard adopt --address 10.0.0.2:7400 --tls-dir /etc/brickyard/operator

\b
Exit code: 0 imported (or, with --check, it could be), 1 refused, with every reason; 2 wrong usage.
""",
)
@click.argument("file", type=click.File("rb"))
@click.option("--check", "check_only", is_flag=True, help="Only check whether it could be imported.")
@click.option("-v", "--verbose", is_flag=True, help=f"Print every note, not only the first {_SHOWN_NOTES}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@grpc_options("--topology", default="127.0.0.1:7401", envvar="BRICKYARD_TOPOLOGY", what="the topology service")
@click.pass_context
def import_dump(
    context: click.Context,
    *,
    connection: "Connection",
    file: IO[bytes],
    check_only: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Records a whole Heketi from its dump, FILE, in an empty topology; no node is touched.

    Clusters, nodes, devices, bricks with the names that they have, volumes, block volumes, and pending operations as
    far as they can be settled. Dumps of Heketi 4 to 10 are understood; old ones are upgraded as Heketi does it. A dump
    that does not agree with itself is refused with every reason, and nothing is changed.
    """
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - slow to load
    from gateway.heketi.dump.importing import prepared  # noqa: PLC0415 - slow to load
    from gateway.heketi.dump.parsing import UnreadableDumpError, parse_dump  # noqa: PLC0415 - slow to load
    from services.common.ids import new_id  # noqa: PLC0415 - slow to load

    made: Prepared | None = None
    with told_to_user(connection), sign_of_life("reading the dump"):
        try:
            made = prepared(parse_dump(file.read()), new_generation_id=new_id())
            reasons = made.reasons
        except UnreadableDumpError as error:
            reasons = error.reasons
        if made is not None and not reasons:
            answer = asyncio.run(_import(connection, made, check_only=check_only))
            reasons = list(answer.refusals)
    notes = made.notes if made is not None else []
    if as_json:
        say_json({"imported": not (reasons or check_only), "reasons": reasons, "notes": notes})
    else:
        _tell(file.name, made, reasons, notes if verbose else _shortened(notes), check_only=check_only)
    context.exit(1 if reasons else 0)


def _shortened(notes: list[str]) -> list[str]:
    if len(notes) <= _SHOWN_NOTES:
        return notes
    return [*notes[:_SHOWN_NOTES], f"{len(notes) - _SHOWN_NOTES} more, see --verbose"]


def _tell(name: str, made: "Prepared | None", reasons: list[str], notes: list[str], *, check_only: bool) -> None:
    if reasons or made is None:
        for reason in reasons:
            say(reason)
        click.echo(f"{name} is not imported, for {len(reasons)} reasons; nothing was changed", err=True)
        return
    for note in notes:
        say(f"note: {note}")
    dump = made.dump
    counts = ", ".join(
        f"{len(entries)} {kind}"
        for kind, entries in (
            ("clusters", dump.clusters),
            ("nodes", dump.nodes),
            ("devices", dump.devices),
            ("volumes", dump.volumes),
            ("bricks", dump.bricks),
            ("block volumes", dump.block_volumes),
            ("pending operations", dump.operations),
        )
    )
    if check_only:
        say(f"it can be imported: {counts}")
        return
    say(f"imported {counts}")
    say("next: `brickyard adopt` compares it with the nodes, and gives their agents what Heketi had")


async def _import(connection: "Connection", made: "Prepared", *, check_only: bool) -> "ImportRecordsResponse":
    from gateway.cli.connection import topology_stub  # noqa: PLC0415 - slow to load
    from gateway.usecases.state import RecordsUseCases  # noqa: PLC0415 - slow to load

    async with topology_stub(connection) as stub:
        return await RecordsUseCases(topology=stub).import_records(made.records, validate_only=check_only)
