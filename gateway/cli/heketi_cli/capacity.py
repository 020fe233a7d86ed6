"""`heketi-cli cluster getdiskstatus`, `getvolmaxsize`, `querydevices`: what Heketi's own client has not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from gateway.cli.heketi_cli.arguments import Command, Flag, UsageFault
from gateway.cli.heketi_cli.call import Call, note
from gateway.cli.heketi_cli.client import ServerFault
from services.common.units import KIB

_NO_ID = "Cluster id missing"
_DURABILITIES = ("none", "replicate", "disperse")
_GIB_IN_KIB = KIB * KIB
_DISK = ("Node", "Disk", "Size(GiB)", "Used(GiB)", "Free(GiB)", "Used(%)", "Bricks", "State", "Health", "Id")


def _disk_status(call: Call) -> None:
    found = call.client.get(f"/clusters/{call.first(_NO_ID)}/diskstatus")
    rows = [
        (
            disk["hostname"],
            disk["name"],
            *(f"{disk[name] / _GIB_IN_KIB:.1f}" for name in ("size", "used", "free")),
            f"{disk['percent']:.1f}",
            str(disk["bricks"]),
            disk["state"],
            disk["health"],
            disk["id"],
        )
        for disk in found["disks"]
    ]
    call.show(found, _table(_DISK, rows))
    _name_silent(found["unreachable"])


def _max_size(call: Call) -> None:
    flags = call.flags
    if flags["durability"] not in _DURABILITIES:
        raise UsageFault(f"--durability must be one of {', '.join(_DURABILITIES)}")
    query = {
        "durability": flags["durability"],
        "replica": flags["replica"],
        "disperse-data": flags["disperse-data"],
        "redundancy": flags["redundancy"],
        "snapshot-factor": flags["snapshot-factor"],
    }
    found = call.client.get(f"/clusters/{call.first(_NO_ID)}/volmaxsize?{urlencode(query)}")
    silent = found["unreachable"]
    call.show(found, "".join(f"{key}: {value}\n" for key, value in found.items() if key != "unreachable"))
    _name_silent(silent)


def _free_disks(call: Call) -> None:
    found = call.client.get(f"/clusters/{call.first(_NO_ID)}/freedevices")
    rows = [
        (node["hostname"], node["node"], disk["name"], f"{disk['size'] / _GIB_IN_KIB:.1f}")
        for node in found["nodes"]
        for disk in node["devices"]
    ]
    call.show(found, _table(("Node", "Node Id", "Disk", "Size(GiB)"), rows))
    silent = [node for node in found["nodes"] if "error" in node]
    _name_silent(silent)
    if silent:
        raise ServerFault(f"{len(silent)} of {len(found['nodes'])} nodes could not be asked for their disks")


def _name_silent(nodes: Iterable[Mapping[str, Any]]) -> None:
    for node in nodes:
        note(f"node {node['hostname']} does not answer: {node['error']}")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (columns, *rows)) for column in range(len(columns))]
    return "".join(f"{line}\n" for line in _lines(widths, (columns, *rows)))


def _lines(widths: Sequence[int], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


COMMANDS = (
    Command(
        "getdiskstatus",
        "Shows every disk of a cluster: its size, its use, its state and how it is",
        about="Shows every disk of a cluster: its size, its use, its state and how it is. Disks of a node that does not"
        "\nanswer are shown as the records have them; the node is named on stderr, and the exit code stays 0.",
        run=_disk_status,
        arguments="ID",
        example="  $ heketi-cli cluster getdiskstatus 67e267ea403dfcdf80731165b300d1ca",
    ),
    Command(
        "getvolmaxsize",
        "Tells the largest volume that fits into a cluster now, in GiB",
        about="Tells the largest volume that fits into a cluster now, in GiB. Nodes that do not answer can take no"
        "\nbrick and do not count; they are named on stderr, and the exit code stays 0.",
        flags=(
            Flag("durability", "string", "\n\tOptional: none, replicate or disperse", default="replicate"),
            Flag("replica", "int", "\n\tReplica value for durability type 'replicate'", default=3),
            Flag("disperse-data", "int", "\n\tOptional: Dispersion value for durability type 'disperse'", default=4),
            Flag("redundancy", "int", "\n\tOptional: Redundancy value for durability type 'disperse'", default=2),
            Flag("snapshot-factor", "float", "\n\tOptional: Amount of storage to allocate for snapshots", default=1.0),
        ),
        run=_max_size,
        arguments="ID",
        example="  $ heketi-cli cluster getvolmaxsize --replica=2 67e267ea403dfcdf80731165b300d1ca",
    ),
    Command(
        "querydevices",
        "Asks the nodes of a cluster for disks that could be added",
        about="Asks the nodes of a cluster for disks that could be added. What the others have is printed also when"
        "\na node does not answer; that one is named on stderr, and the exit code is 255.",
        run=_free_disks,
        arguments="ID",
        example="  $ heketi-cli cluster querydevices 67e267ea403dfcdf80731165b300d1ca",
    ),
)
