"""`brickyard examine` and `brickyard repair`: do records and nodes agree, and what can be mended?"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.connection import operator_options, told_to_user
from gateway.cli.output import json_option, say_json

if TYPE_CHECKING:
    from gateway.cli.connection import Connection

_cluster = click.option("--cluster", "cluster_id", default="", metavar="ID", help="Only this cluster. Default: all.")
# LVM and gluster of every node are asked, twice in a repair.
_TIMEOUT_S = 600.0
_DIFFERENT = 1


_ASKING = "asking the agents of all nodes"


class _NoLookError(click.ClickException):
    """Nothing can be told about nodes and records."""

    exit_code = 3


@contextlib.contextmanager
def _no_look(connection: "Connection") -> Iterator[None]:
    """An error of its own exit code: differences and the lack of an answer must not look alike to a script."""
    try:
        with told_to_user(connection):
            yield
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise _NoLookError(error.message) from error


@click.command(
    epilog="""\b
Examples:
  brickyard examine --address 10.0.0.2:7400 --tls-dir /etc/brickyard/operator
  brickyard examine --insecure-plaintext --json | jq -r '.findings[].kind'

\b
Exit code: 0 records and nodes agree, 1 there are differences, 2 wrong usage, 3 no look was possible.
In a pipe, a line has: severity, kind, node, object, what differs, what repair does, advice; tabs in between.
"""
)
@_cluster
@json_option
@operator_options
@click.pass_context
def examine(context: click.Context, *, connection: "Connection", cluster_id: str, as_json: bool) -> None:
    """Compares what the topology records with what every agent sees; changes nothing.

    Volume groups and free extents, LVs and thin pools, mounts, the agents' fstab files, gluster volumes with their
    bricks, peers. What running operations may be changing is left out and counted. Things that are not Brickyard's are
    named and never touched.
    """
    from brickyard.gateway.v1 import examination_pb2 as pb  # noqa: PLC0415 - slow to load
    from gateway.cli import examination_views as views  # noqa: PLC0415 - slow to load
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - slow to load

    with _no_look(connection), sign_of_life(_ASKING):
        report = asyncio.run(_call(connection, "Examine", pb.ExamineRequest(cluster_id=cluster_id)))
    if as_json:
        say_json(report)
    else:
        views.show_report(report)
    context.exit(_DIFFERENT if views.differences(report.findings) else 0)


@click.command(
    epilog="""\b
Examples:
  brickyard repair --plan  --address 10.0.0.2:7400 --tls-dir /etc/brickyard/operator
  brickyard repair --apply --address 10.0.0.2:7400 --tls-dir /etc/brickyard/operator

\b
Exit code: 0 nothing (is left) to mend, 1 something is, 2 wrong usage, 3 no look was possible.
"""
)
@click.option("--plan", "mode", flag_value="plan", help="Print what would be done and what would be left; do nothing.")
@click.option("--apply", "mode", flag_value="apply", help="Do it: each action is printed before it begins.")
@click.option(
    "--remove-volume",
    "doomed",
    multiple=True,
    metavar="ID",
    help="Also remove this gluster volume with its data: it carries an id that is in no record. May be repeated.",
)
@_cluster
@json_option
@operator_options
@click.pass_context
def repair(
    context: click.Context,
    *,
    connection: "Connection",
    mode: str | None,
    doomed: tuple[str, ...],
    cluster_id: str,
    as_json: bool,
) -> None:
    """Mends what is safe to mend of what `brickyard examine` finds.

    It mounts bricks, writes missing fstab entries, starts stopped volumes, removes bricks that no record and no gluster
    volume has, takes out of the records what exists nowhere, and measures devices again. Right before each removal it
    looks at everything once more. It never removes a brick of a gluster volume; everything else is named, with what can
    be done.
    """
    if mode is None:
        raise click.UsageError("say --plan, which changes nothing, or --apply")
    plan = _plan if mode == "plan" else _apply
    with _no_look(connection):
        context.exit(plan(connection, cluster_id, doomed, as_json=as_json))


def _plan(connection: "Connection", cluster_id: str, doomed: tuple[str, ...], *, as_json: bool) -> int:
    from brickyard.gateway.v1 import examination_pb2 as pb  # noqa: PLC0415 - slow to load
    from gateway.cli import examination_views as views  # noqa: PLC0415 - slow to load
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - slow to load

    request = pb.PlanRepairRequest(cluster_id=cluster_id, doomed_volume_ids=doomed)
    with sign_of_life(_ASKING):
        plan = asyncio.run(_call(connection, "PlanRepair", request))
    if as_json:
        say_json(plan)
    else:
        views.show_plan(plan)
    return _DIFFERENT if plan.actions or plan.left else 0


def _apply(
    connection: "Connection",
    cluster_id: str,
    doomed: tuple[str, ...],
    *,
    as_json: bool,
    removes_nothing: bool = False,
) -> int:
    from brickyard.gateway.v1 import examination_pb2 as pb  # noqa: PLC0415 - slow to load
    from gateway.cli import examination_views as views  # noqa: PLC0415 - slow to load
    from gateway.cli.waiting import sign_of_life  # noqa: PLC0415 - the same

    request = pb.RepairRequest(cluster_id=cluster_id, doomed_volume_ids=doomed, removes_nothing=removes_nothing)
    show: Callable[[Any], None] = say_json if as_json else views.show_event
    with contextlib.ExitStack() as until_first:
        until_first.enter_context(sign_of_life(_ASKING))

        def show_first(event: Any) -> None:
            until_first.close()
            show(event)

        failed = asyncio.run(_follow(connection, request, show_first))
    with sign_of_life(_ASKING):
        report = asyncio.run(_call(connection, "Examine", pb.ExamineRequest(cluster_id=cluster_id)))
    if as_json:
        say_json(report)
    else:
        views.show_rest(report)
    return _DIFFERENT if failed or views.differences(report.findings) else 0


@click.command(
    epilog="""\b
Example, after `brickyard import`:
  brickyard adopt --address 10.0.0.2:7400 --tls-dir /etc/brickyard/operator

\b
Exit code: 0 records and nodes agree, 1 something is left or failed, 2 wrong usage, 3 no look was possible.
"""
)
@_cluster
@json_option
@operator_options
@click.pass_context
def adopt(context: click.Context, *, connection: "Connection", cluster_id: str, as_json: bool) -> None:
    """Makes imported records and the nodes fit together; may be repeated at any time, and removes nothing.

    It compares all records with what every agent sees. From gluster it records which bricks belong together; disks are
    measured, and known by their UUID from now on; mounts and fstab entries are taken over from Heketi's files into the
    agents' own. What differs beyond is named, with what you can do; `brickyard repair` mends more.
    """
    with _no_look(connection):
        context.exit(_apply(connection, cluster_id, (), as_json=as_json, removes_nothing=True))


async def _call(connection: "Connection", method: str, request: Any) -> Any:
    from gateway.cli.connection import operator_stub  # noqa: PLC0415 - slow to load
    from services.common.channels import call_aio  # noqa: PLC0415 - slow to load

    async with operator_stub(connection) as stub:
        return await call_aio(getattr(stub, method), request, timeout_s=_TIMEOUT_S)


async def _follow(connection: "Connection", request: Any, show: Callable[[Any], None]) -> bool:
    """Shows what a repair does as it does it; whether an action failed."""
    from brickyard.gateway.v1 import examination_pb2 as pb  # noqa: PLC0415 - slow to load
    from gateway.cli.connection import operator_stub  # noqa: PLC0415 - slow to load
    from services.common.channels import stream_aio  # noqa: PLC0415 - slow to load

    failed = False
    async with operator_stub(connection) as stub:
        async for event in stream_aio(stub.Repair, request):
            show(event)
            failed |= event.stage == pb.REPAIR_STAGE_FAILED
    return failed
