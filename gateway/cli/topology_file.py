"""A topology file of Heketi: what it may hold, and which entry of it is wrong. Effects: reads the file."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import InvalidArgumentError
from services.common.reasons import Reason

_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device of the file: a path, or an object with more than that."""

    name: str
    tags: Mapping[str, str]
    destroydata: bool

    def request(self, node_id: str) -> dict[str, Any]:
        """The body that adds it to a node."""
        return {
            "name": self.name,
            **({"tags": dict(self.tags)} if self.tags else {}),
            "node": node_id,
            **({"destroydata": True} if self.destroydata else {}),
        }


@dataclass(frozen=True, slots=True)
class ListedNode:
    """A node of the file; whether zone and names may be is for the server to say."""

    manage: tuple[str, ...]
    storage: tuple[str, ...]
    zone: int
    tags: Mapping[str, str]
    devices: tuple[ListedDevice, ...]

    def request(self, cluster_id: str) -> dict[str, Any]:
        """The body that adds it to a cluster."""
        return {
            "zone": self.zone,
            "hostnames": {"manage": list(self.manage), "storage": list(self.storage)},
            "cluster": cluster_id,
            **({"tags": dict(self.tags)} if self.tags else {}),
        }


@dataclass(frozen=True, slots=True)
class ListedCluster:
    """A cluster of the file; `file` and `block` count when it is made."""

    file: bool
    block: bool
    nodes: tuple[ListedNode, ...]


class _Fault(Exception):  # noqa: N818 - never leaves this module
    """An entry that can not be; the text names it and its value."""


def read_topology(path: Path) -> tuple[ListedCluster, ...]:
    """The clusters of a topology file.

    Raises:
        InvalidArgumentError: The file is no topology; says which entry is wrong, and what it is.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise _refuse(path, f"cannot be read as JSON: {error}") from error
    clusters = parse_topology(path, content)
    if "clusters" not in content:
        raise _refuse(path, 'has no list "clusters"')
    return clusters


def parse_topology(path: Path, content: Any) -> tuple[ListedCluster, ...]:
    """The clusters of what a topology file holds; none, as for Heketi, when it names none.

    Args:
        path: The file, for the error.
        content: Its JSON.

    Raises:
        InvalidArgumentError: Says which entry is wrong, and what it is.
    """
    try:
        fields = _object(content, "the file")
        clusters = tuple(
            _cluster(entry, f"clusters[{index}]") for index, entry in enumerate(_list(fields, "", "clusters"))
        )
        _refuse_twice(
            (node.manage[0], f"clusters[{c_index}].nodes[{n_index}].node.hostnames.manage[0]")
            for c_index, cluster in enumerate(clusters)
            for n_index, node in enumerate(cluster.nodes)
        )
    except _Fault as fault:
        raise _refuse(path, str(fault)) from fault
    return clusters


def _refuse(path: Path, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, f"{path}: {why}", file=path)


def _cluster(entry: Any, where: str) -> ListedCluster:
    fields = _object(entry, where)
    return ListedCluster(
        file=_flag(fields, where, "file", missing=True),
        block=_flag(fields, where, "block", missing=True),
        nodes=tuple(_node(each, f"{where}.nodes[{index}]") for index, each in enumerate(_list(fields, where, "nodes"))),
    )


def _node(entry: Any, where: str) -> ListedNode:
    fields = _object(entry, where)
    node = _object(fields.get("node"), f"{where}.node")
    hostnames = _object(node.get("hostnames"), f"{where}.node.hostnames")
    zone = node.get("zone")
    if zone is not None and (isinstance(zone, bool) or not isinstance(zone, int)):
        raise _wrong(f"{where}.node.zone", zone, "a whole number from 1")
    devices = tuple(
        _device(each, f"{where}.devices[{index}]") for index, each in enumerate(_list(fields, where, "devices"))
    )
    _refuse_twice((device.name, f"{where}.devices[{index}]") for index, device in enumerate(devices))
    return ListedNode(
        manage=_hosts(hostnames, f"{where}.node.hostnames.manage"),
        storage=_hosts(hostnames, f"{where}.node.hostnames.storage"),
        zone=zone or 0,
        tags=_tags(node, f"{where}.node"),
        devices=devices,
    )


def _device(entry: Any, where: str) -> ListedDevice:
    if not isinstance(entry, str | dict):
        raise _wrong(where, entry, 'a path, or an object with "name"')
    fields = {"name": entry} if isinstance(entry, str) else entry
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise _wrong(where if isinstance(entry, str) else f"{where}.name", name, "the path of a disk")
    destroy = _flag(fields, where, "destroydata", missing=False)
    return ListedDevice(name, _tags(fields, where), destroy)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object")
    return value


def _list(fields: Mapping[str, Any], where: str, name: str) -> list[Any]:
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(f"{where}.{name}".lstrip("."), value, "a list")
    return value


def _flag(fields: Mapping[str, Any], where: str, name: str, *, missing: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return missing
    if not isinstance(value, bool):
        raise _wrong(f"{where}.{name}", value, "true or false")
    return value


def _hosts(hostnames: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value = hostnames.get(where.rpartition(".")[2])
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise _wrong(where, value, "a list of host names, with one at least")
    return tuple(value)


def _tags(fields: Mapping[str, Any], where: str) -> Mapping[str, str]:
    value = fields.get("tags")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise _wrong(f"{where}.tags", value, "an object of texts")
    return value


def _wrong(where: str, value: Any, wanted: str) -> _Fault:
    shown = "missing" if value is None else json.dumps(value, ensure_ascii=False)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}..."
    return _Fault(f"{where} is {shown}; it must be {wanted}")


def _refuse_twice(named: Iterator[tuple[str, str]]) -> None:
    listed = list(named)
    for name, count in Counter(name for name, _ in listed).items():
        if count > 1:
            first, second = [where for each, where in listed if each == name][:2]
            raise _Fault(f"{second} is {json.dumps(name)}, which {first} is already; name it once")
