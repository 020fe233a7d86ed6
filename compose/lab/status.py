"""How the nodes of a lab are, and how that is shown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from compose.lab import kernel, network, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.lab.node import Node

ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One row of `lab status`.

    Attributes:
        name: node1, ...
        address: on the data network.
        state: up, partitioned, booting (its exec channel does not answer) or down.
        pid: of its kernel on the host; None when it is down.
        disks: device name in the node, disk number and size in bytes; a pulled disk has no device name.
        glusterd: its port answers on the data network.
    """

    name: str
    address: str
    state: str
    pid: int | None
    disks: tuple[tuple[str | None, int, int], ...]
    glusterd: bool


def status_of(node: Node) -> NodeStatus:
    """How a node is now."""
    state = node.state
    disks: list[tuple[str | None, int, int]] = []
    for disk in range(1, node.config.disks + 1):
        attached = disk in state.disk_order
        device = settings.device_name(state.disk_order.index(disk)) if attached else None
        disks.append((device, disk, kernel.disk_path(node.config, state.index, disk).stat().st_size))
    if not node.is_alive():
        said = "down"
    elif not node.pings():
        said = "booting"
    else:
        said = "partitioned" if state.partitioned else "up"
    return NodeStatus(
        name=node.name,
        address=node.address,
        state=said,
        pid=state.process.pid if state.process is not None and said != "down" else None,
        disks=tuple(disks),
        glusterd=said != "down"
        and network.answers(node.config.name, node.address, settings.GLUSTERD_PORT, ANSWER_SECONDS),
    )


def status_table(rows: Sequence[NodeStatus]) -> str:
    """The nodes as a table."""
    cells = [("NODE", "ADDRESS", "STATE", "PID", "GLUSTERD", "DISKS")]
    for row in rows:
        disks = ", ".join(
            f"{disk}: {device or 'pulled'} {settings.format_size(size)}" for device, disk, size in row.disks
        )
        glusterd = "answers" if row.glusterd else "no"
        cells.append((row.name, row.address, row.state, str(row.pid or "-"), glusterd, disks))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def status_json(rows: Sequence[NodeStatus]) -> str:
    """The nodes as JSON: a list of objects, disks as objects with device, disk and size_bytes."""
    keys = ("device", "disk", "size_bytes")
    return json.dumps(
        [{**asdict(row), "disks": [dict(zip(keys, disk, strict=True)) for disk in row.disks]} for row in rows], indent=1
    )
