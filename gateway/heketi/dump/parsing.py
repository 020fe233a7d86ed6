"""From the JSON of a dump to what it says. Pure; everything that does not fit is told, not only the first."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gateway.heketi.dump.model import (
    NONE,
    Action,
    BlockVolume,
    Brick,
    Cluster,
    Device,
    Dump,
    Node,
    Operation,
    SubType,
    Volume,
)

_T = TypeVar("_T")
_INT64_MAX = (1 << 63) - 1


class UnreadableDumpError(ValueError):
    """It is no dump, or some of it does not fit.

    Attributes:
        reasons: Each thing that is wrong, with its place.
    """

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


class _Fields:
    """One object of the JSON: gives its fields by type, and tells what does not fit, and what nobody asked for."""

    def __init__(self, value: Any, place: str, reasons: list[str]) -> None:
        self._place = place
        self._reasons = reasons
        self._asked: set[str] = set()
        self._values: dict[str, Any] = {}
        if isinstance(value, dict):
            self._values = value
        elif value is not None:
            reasons.append(f"{place}: {_shown(value)} is no object")

    def _get(self, name: str, kind: str, fits: Callable[[Any], bool], default: _T) -> _T:
        self._asked.add(name)
        value = self._values.get(name)
        if value is None:
            return default
        if not fits(value):
            self._reasons.append(f"{self._place}.{name}: {_shown(value)} is no {kind}")
            return default
        found: _T = value
        return found

    def text(self, name: str) -> str:
        """A string; missing means empty."""
        return self._get(name, "string", lambda value: isinstance(value, str), "")

    def number(self, name: str) -> int:
        """An integer of 64 bits; missing means 0."""
        return self._get(name, "integer", _is_integer, 0)

    def number_or_none(self, name: str) -> int | None:
        """The same; missing means None. Heketi writes floats for what `heketi db import` has read."""
        default: int | float | None = None
        value = self._get(name, "integer", lambda found: _is_integer(found) or _is_whole(found), default)
        return None if value is None else int(value)

    def real(self, name: str, default: float) -> float:
        """A number."""
        return float(
            self._get(
                name, "number", lambda value: isinstance(value, int | float) and not isinstance(value, bool), default
            )
        )

    def flag(self, name: str) -> bool:
        """A bool; missing means false."""
        return self._get(name, "bool", lambda value: isinstance(value, bool), False)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; missing and null mean an empty one."""
        empty: list[str] = []
        found = self._get(
            name,
            "list of strings",
            lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
            empty,
        )
        return tuple(found)

    def text_map(self, name: str) -> dict[str, str]:
        """An object of strings."""
        empty: dict[str, str] = {}
        return self._get(
            name,
            "object of strings",
            lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
            empty,
        )

    def inner(self, name: str) -> "_Fields":
        """An object; missing means an empty one."""
        self._asked.add(name)
        return _Fields(self._values.get(name), f"{self._place}.{name}", self._reasons)

    def listed(self, name: str) -> "list[_Fields]":
        """A list of objects."""
        empty: list[Any] = []
        found = self._get(name, "list", lambda value: isinstance(value, list), empty)
        return [_Fields(each, f"{self._place}.{name}[{index}]", self._reasons) for index, each in enumerate(found)]

    def end(self) -> None:
        """Tells of fields that nobody asked for: what is not understood must not get lost silently."""
        self._reasons += [
            f"{self._place}.{name}: unknown; the dump is of another version than 4 to 10"
            for name in sorted(set(self._values) - self._asked)
        ]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64_MAX <= value <= _INT64_MAX


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


def parse_dump(text: bytes) -> Dump:
    """What a dump says.

    Raises:
        UnreadableDumpError: It is no JSON, or something does not fit.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableDumpError([f"it is no JSON: {error}"]) from error
    if not isinstance(value, dict) or not any(name in value for name in ("clusterentries", "dbattributeentries")):
        raise UnreadableDumpError(
            ["it is no dump of Heketi: there are no clusterentries; make one with `heketi-cli db dump`"]
        )
    reasons: list[str] = []
    top = _Fields(value, "dump", reasons)
    dump = Dump(
        clusters=_entries(value, top, "clusterentries", _cluster, reasons),
        volumes=_entries(value, top, "volumeentries", _volume, reasons),
        bricks=_entries(value, top, "brickentries", _brick, reasons),
        nodes=_entries(value, top, "nodeentries", _node, reasons),
        devices=_entries(value, top, "deviceentries", _device, reasons),
        block_volumes=_entries(value, top, "blockvolumeentries", _block_volume, reasons),
        attributes=_entries(value, top, "dbattributeentries", _attribute, reasons),
        operations=_entries(value, top, "pendingoperations", _operation, reasons),
    )
    top.end()
    for name, entries in (
        ("clusterentries", dump.clusters),
        ("volumeentries", dump.volumes),
        ("brickentries", dump.bricks),
        ("nodeentries", dump.nodes),
        ("deviceentries", dump.devices),
        ("blockvolumeentries", dump.block_volumes),
        ("pendingoperations", dump.operations),
    ):
        reasons += [f"{name}.{key}: its own id is {entry.id!r}" for key, entry in entries.items() if entry.id != key]
    if reasons:
        raise UnreadableDumpError(reasons)
    return dump


def _entries(
    value: Mapping[str, Any], top: _Fields, name: str, read: Callable[[_Fields], _T], reasons: list[str]
) -> dict[str, _T]:
    top.inner(name)
    entries = value.get(name)
    if not isinstance(entries, dict):
        return {}
    found = {}
    for key, entry in entries.items():
        fields = _Fields(entry, f"{name}.{key}", reasons)
        found[key] = read(fields)
        fields.end()
    return found


def _cluster(entry: _Fields) -> Cluster:
    info = entry.inner("Info")
    cluster = Cluster(
        id=info.text("id"),
        node_ids=info.texts("nodes"),
        volume_ids=info.texts("volumes"),
        block=info.flag("block"),
        file=info.flag("file"),
        block_volume_ids=info.texts("blockvolumes"),
    )
    info.end()
    return cluster


def _pending(entry: _Fields) -> str:
    pending = entry.inner("Pending")
    operation_id = pending.text("Id")
    pending.end()
    return operation_id


def _volume(entry: _Fields) -> Volume:
    info = entry.inner("Info")
    durability = info.inner("durability")
    replicate, disperse = durability.inner("replicate"), durability.inner("disperse")
    snapshot = info.inner("snapshot")
    mount = info.inner("mount")
    gluster = mount.inner("glusterfs")
    block = info.inner("blockinfo")
    volume = Volume(
        id=info.text("id"),
        name=info.text("name"),
        cluster_id=info.text("cluster"),
        size_gib=info.number("size"),
        requested_cluster_ids=info.texts("clusters"),
        durability=durability.text("type") or NONE,
        replica_count=replicate.number("replica"),
        data_count=disperse.number("data"),
        redundancy_count=disperse.number("redundancy"),
        gid=info.number("gid"),
        block=info.flag("block"),
        snapshot_enabled=snapshot.flag("enable"),
        snapshot_factor=snapshot.real("factor", 1.0),
        mount_hosts=gluster.texts("hosts"),
        mount_device=gluster.text("device"),
        mount_options=gluster.text_map("options"),
        free_gib=block.number("freesize"),
        reserved_gib=block.number("reservedsize"),
        block_volume_ids=block.texts("blockvolume"),
        restriction=block.text("restriction"),
        brick_ids=entry.texts("Bricks"),
        options=entry.texts("GlusterVolumeOptions"),
        pending_id=_pending(entry),
    )
    # Heketi keeps the options beside; in its answers they are here.
    info.texts("glustervolumeoptions")
    for fields in (replicate, disperse, durability, snapshot, gluster, mount, block, info):
        fields.end()
    return volume


def _brick(entry: _Fields) -> Brick:
    info = entry.inner("Info")
    brick = Brick(
        id=info.text("id"),
        path=info.text("path"),
        device_id=info.text("device"),
        node_id=info.text("node"),
        volume_id=info.text("volume"),
        size_kib=info.number("size"),
        pool_size_kib=entry.number("TpSize"),
        pool_metadata_kib=entry.number("PoolMetadataSize"),
        pool_name=entry.text("LvmThinPool"),
        lv_name=entry.text("LvmLv"),
        sub_type=entry.number("SubType") or SubType.UNKNOWN,
        pending_id=_pending(entry),
    )
    info.end()
    return brick


def _node(entry: _Fields) -> Node:
    info = entry.inner("Info")
    names = info.inner("hostnames")
    node = Node(
        id=info.text("id"),
        # The oldest databases have no states.
        state=entry.text("State") or "online",
        zone=info.number("zone"),
        manage_hostnames=names.texts("manage"),
        storage_hostnames=names.texts("storage"),
        cluster_id=info.text("cluster"),
        tags=info.text_map("tags"),
        device_ids=entry.texts("Devices"),
    )
    names.end()
    info.end()
    return node


def _device(entry: _Fields) -> Device:
    info = entry.inner("Info")
    storage = info.inner("storage")
    device = Device(
        id=info.text("id"),
        state=entry.text("State") or "online",
        path=info.text("name"),
        node_id=entry.text("NodeId"),
        total_kib=storage.number("total"),
        free_kib=storage.number("free"),
        used_kib=storage.number("used"),
        extent_size_kib=entry.number("ExtentSize"),
        tags=info.text_map("tags"),
        known_paths=info.texts("paths"),
        pv_uuid=info.text("pv_uuid"),
        brick_ids=entry.texts("Bricks"),
    )
    storage.end()
    info.end()
    return device


def _block_volume(entry: _Fields) -> BlockVolume:
    info = entry.inner("Info")
    access = info.inner("blockvolume")
    volume = BlockVolume(
        id=info.text("id"),
        name=info.text("name"),
        size_gib=info.number("size"),
        cluster_id=info.text("cluster"),
        hosting_volume_id=info.text("blockhostingvolume"),
        requested_cluster_ids=info.texts("clusters"),
        ha_count=info.number("hacount"),
        auth=info.flag("auth"),
        hosts=access.texts("hosts"),
        iqn=access.text("iqn"),
        lun=access.number("lun"),
        username=access.text("username"),
        password=access.text("password"),
        usable_size_gib=info.number("usablesize"),
        pending_id=_pending(entry),
    )
    access.end()
    info.end()
    return volume


def _attribute(entry: _Fields) -> str:
    entry.text("Key")
    return entry.text("Value")


def _operation(entry: _Fields) -> Operation:
    actions = []
    for fields in entry.listed("Actions"):
        actions.append(
            Action(change=fields.number("Change"), id=fields.text("Id"), delta=fields.number_or_none("Delta"))
        )
        fields.end()
    return Operation(
        id=entry.text("Id"),
        time_s=entry.number("Timestamp"),
        type=entry.number("Type"),
        actions=tuple(actions),
        status=entry.text("Status"),
    )
