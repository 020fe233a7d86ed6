"""Clusters, nodes and disks as a tree on a terminal, lines with fields between tabs in a pipe. Effects: stdout."""

from collections.abc import Iterator, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from brickyard.topology.v1 import cluster_pb2, health_pb2, node_pb2
from gateway.cli import status_texts as texts
from gateway.cli.inventory import Inventory
from gateway.cli.progress import say
from gateway.cli.tables import STYLES, bar

# Columns of a terminal on which there is room for words.
_WIDE = 90


def show_tree(found: Inventory) -> None:
    """The tree; in a pipe a line for each disk, and for each node without one."""
    console = Console()
    if not console.is_terminal:
        for cluster in found.clusters:
            for line in _lines(found, cluster):
                say(line)
    for cluster in found.clusters if console.is_terminal else ():
        console.print(_cluster(found, cluster))
        console.print(_members(found, cluster, wide=console.width >= _WIDE))
    if not found.clusters:
        click.echo("there is no cluster yet; begin with: brickyard topology load FILE", err=True)


def _nodes(found: Inventory, cluster: cluster_pb2.Cluster) -> list[node_pb2.Node]:
    members = [each for each in found.nodes if each.cluster_id == cluster.id]
    return sorted(members, key=lambda each: (each.zone, list(each.manage_hostnames)))


def _disks(found: Inventory, node: node_pb2.Node) -> list[health_pb2.DeviceHealth]:
    return sorted((each for each in found.report.devices if each.node_id == node.id), key=lambda each: each.path)


def _node_words(found: Inventory, node: node_pb2.Node) -> tuple[str, str]:
    """Its state and health."""
    known = next((each for each in found.report.nodes if each.node_id == node.id), None)
    return (
        texts.word(node_pb2.NodeState, node.state).removeprefix("state_"),
        texts.health(known.health) if known else "unknown",
    )


def _lines(found: Inventory, cluster: cluster_pb2.Cluster) -> Iterator[str]:
    for node in _nodes(found, cluster):
        head = (cluster.id, node.manage_hostnames[0], str(node.zone), *_node_words(found, node))
        for disk in _disks(found, node):
            _host, path, health, state, *numbers = texts.disk_fields(disk)
            yield "\t".join((*head, path, state, health, *numbers, disk.device_id))
        if not node.device_ids:
            yield "\t".join((*head, *("-",) * 9))


def _cluster(found: Inventory, cluster: cluster_pb2.Cluster) -> Text:
    disks = [each for each in found.report.devices if each.cluster_id == cluster.id]
    closed = [name for name, on in (("file", cluster.file_enabled), ("block", cluster.block_enabled)) if not on]
    volumes = sum(each.cluster_id == cluster.id for each in found.report.volumes)
    counts = f"{_count(len(_nodes(found, cluster)), 'node')}, {_count(len(disks), 'disk')}, {_count(volumes, 'volume')}"
    rest = f", takes no new {' or '.join(closed)} volumes" if closed else ""
    return Text.assemble(("cluster ", "bold"), (cluster.id, "bold"), f"  {counts}{rest}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _members(found: Inventory, cluster: cluster_pb2.Cluster, *, wide: bool) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    for _numbers in ("taken", "percent", "bricks"):
        grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    nodes = _nodes(found, cluster)
    for node in nodes:
        last = node is nodes[-1]
        _add_node(grid, found, node, last=last, wide=wide)
        disks = _disks(found, node)
        for disk in disks:
            branch = f"{'   ' if last else '│  '}{'└─' if disk is disks[-1] else '├─'} "
            _add_disk(grid, disk, branch, wide=wide)
    return grid


def _add_node(grid: Table, found: Inventory, node: node_pb2.Node, *, last: bool, wide: bool) -> None:
    disks = _disks(found, node)
    total = sum(each.total_bytes for each in disks)
    taken = sum(each.used_bytes + each.reserved_bytes for each in disks)
    words = _words(*_node_words(found, node))
    tags = [f"{key}={value}" for key, value in sorted(node.tags.items())]
    grid.add_row(
        Text.assemble(("└─ " if last else "├─ ", "dim"), (node.manage_hostnames[0], "bold"), f"  zone {node.zone}"),
        bar(taken / total if total else 0.0),
        f"{texts.size(taken)} / {texts.size(total)}" if disks else "no disk",
        f"{100 * taken / total:.0f} %" if total else "",
        _bricks(sum(each.brick_count for each in disks), wide=wide),
        Text.assemble(words, " ".join(["", *tags])),
    )


def _bricks(number: int, *, wide: bool) -> str:
    """A number of bricks; without the word where there is no room for it."""
    return _count(number, "brick") if wide else str(number)


def _add_disk(grid: Table, disk: health_pb2.DeviceHealth, branch: str, *, wide: bool) -> None:
    _host, path, health, state, size, used, _free, percent, _count_of_bricks = texts.disk_fields(disk)
    grid.add_row(
        Text.assemble((branch, "dim"), path),
        bar(texts.percent(disk) / 100),
        f"{used} / {size}",
        percent,
        _bricks(disk.brick_count, wide=wide),
        _words(state, health),
    )


def _words(state: str, health: str) -> Text:
    """What is not as it should be; "ok" when all is."""
    shown: Sequence[str] = [word for word in (state, health) if word not in {"online", "ok"}] or ["ok"]
    return Text(" ").join(Text(word, style=STYLES.get(word, "")) for word in shown)
