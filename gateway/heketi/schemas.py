"""Bodies of requests: which fields they have, of which types, and what stands for a missing one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.heketi import go_json
from gateway.heketi.go_json import Shape, boolean, float32, integer, nested, text, text_list, text_map
from gateway.heketi.texts import refusals


def _read(body: bytes, shape: Shape) -> dict[str, Any]:
    """The fields of a body; an empty body is refused, even where every field may be missing."""
    try:
        return go_json.read(body, shape)
    except (go_json.SyntaxFault, go_json.TypeFault) as fault:
        raise refusals.unparsable() from fault


def _read_with_reason(body: bytes, shape: Shape) -> dict[str, Any]:
    """The same where Heketi tells why, in Go's words as far as they are known."""
    if not body.strip():
        raise refusals.unparsable_because("unexpected end of JSON input")
    try:
        return go_json.read(body, shape)
    except go_json.TypeFault as fault:
        field = f"Go struct field .{fault.field}" if fault.field else "Go value"
        raise refusals.unparsable_because(
            f"json: cannot unmarshal {fault.found} into {field} of type {fault.wanted}"
        ) from fault
    except go_json.SyntaxFault as fault:
        raise refusals.unparsable_because(str(fault)) from fault


def admin_state(body: bytes) -> str:
    """Body of POST /admin: the mode to have.

    Raises:
        Refused: It can not be parsed.
    """
    wanted: str = _read_with_reason(body, {"state": (text, "")})["state"]
    return wanted


def log_levels(body: bytes) -> Mapping[str, str]:
    """Body of POST /internal/logging: the level of each logger that is named.

    Raises:
        Refused: It can not be parsed.
    """
    wanted: Mapping[str, str] = _read_with_reason(body, {"loglevel": (text_map, {})})["loglevel"]
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterBody:
    """Which volumes a cluster takes; a missing flag is false (Heketi's rule, its documentation says true)."""

    file: bool
    block: bool


_CLUSTER: Shape = {"file": (boolean, False), "block": (boolean, False)}


def cluster_body(body: bytes) -> ClusterBody:
    """Body of POST /clusters and /clusters/{id}/flags.

    Raises:
        Refused: It can not be parsed.
    """
    return ClusterBody(**_read(body, _CLUSTER))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBody:
    """A node to add."""

    zone: int
    manage: tuple[str, ...]
    storage: tuple[str, ...]
    cluster: str
    tags: Mapping[str, str]


_NODE: Shape = {
    "zone": (integer, 0),
    "hostnames": nested({"manage": (text_list, ()), "storage": (text_list, ())}),
    "cluster": (text, ""),
    "tags": (text_map, {}),
}


def node_body(body: bytes) -> NodeBody:
    """Body of POST /nodes.

    Raises:
        Refused: It can not be parsed.
    """
    fields = _read(body, _NODE)
    hosts = fields["hostnames"]
    return NodeBody(
        zone=fields["zone"],
        manage=hosts["manage"],
        storage=hosts["storage"],
        cluster=fields["cluster"],
        tags=fields["tags"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBody:
    """A device to add."""

    name: str
    node: str
    tags: Mapping[str, str]
    destroydata: bool


_DEVICE: Shape = {
    "name": (text, ""),
    "node": (text, ""),
    "tags": (text_map, {}),
    "destroydata": (boolean, False),
}


def device_body(body: bytes) -> DeviceBody:
    """Body of POST /devices.

    Raises:
        Refused: It can not be parsed.
    """
    return DeviceBody(**_read(body, _DEVICE))


_DEVICE_DELETE: Shape = {"forceforget": (boolean, False)}


def force_forget(body: bytes) -> bool:
    """Body of DELETE /devices/{id}: whether the node need not answer.

    Raises:
        Refused: It can not be parsed.
    """
    asked: bool = _read(body, _DEVICE_DELETE)["forceforget"]
    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBody:
    """The state that a node or device is to have."""

    state: str
    healcheck: str


_STATE: Shape = {"state": (text, ""), "healcheck": (text, "")}


def state_body(body: bytes) -> StateBody:
    """Body of POST /nodes/{id}/state and /devices/{id}/state.

    Raises:
        Refused: It can not be parsed.
    """
    return StateBody(**_read(body, _STATE))


_EVICT: Shape = {"healcheck": (text, "")}


def healcheck(body: bytes) -> str:
    """Body of POST /bricks/to-evict/{id}: whether the heal is looked at.

    Raises:
        Refused: It can not be parsed.
    """
    asked: str = _read(body, _EVICT)["healcheck"]
    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsBody:
    """A change of tags."""

    tags: Mapping[str, str]
    change_type: str


_TAGS: Shape = {"tags": (text_map, {}), "change_type": (text, "")}


def tags_body(body: bytes) -> TagsBody:
    """Body of POST /nodes/{id}/tags and /devices/{id}/tags.

    Raises:
        Refused: It can not be parsed.
    """
    return TagsBody(**_read(body, _TAGS))


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeBody:
    """A volume to make; `size` is in GiB."""

    size: int
    name: str
    clusters: tuple[str, ...]
    durability_type: str
    replica: int
    disperse_data: int
    disperse_redundancy: int
    gid: int
    options: tuple[str, ...]
    block: bool
    snapshot_enable: bool
    snapshot_factor: float


_VOLUME: Shape = {
    "size": (integer, 0),
    "name": (text, ""),
    "clusters": (text_list, ()),
    "durability": nested(
        {
            "type": (text, ""),
            "replicate": nested({"replica": (integer, 0)}),
            "disperse": nested({"data": (integer, 0), "redundancy": (integer, 0)}),
        }
    ),
    "gid": (integer, 0),
    "glustervolumeoptions": (text_list, ()),
    "block": (boolean, False),
    "snapshot": nested({"enable": (boolean, False), "factor": (float32, 0.0)}),
}


def volume_body(body: bytes) -> VolumeBody:
    """Body of POST /volumes.

    Raises:
        Refused: It can not be parsed.
    """
    fields = _read(body, _VOLUME)
    durability, snapshot = fields["durability"], fields["snapshot"]
    return VolumeBody(
        size=fields["size"],
        name=fields["name"],
        clusters=fields["clusters"],
        durability_type=durability["type"],
        replica=durability["replicate"]["replica"],
        disperse_data=durability["disperse"]["data"],
        disperse_redundancy=durability["disperse"]["redundancy"],
        gid=fields["gid"],
        options=fields["glustervolumeoptions"],
        block=fields["block"],
        snapshot_enable=snapshot["enable"],
        snapshot_factor=snapshot["factor"],
    )


_EXPAND: Shape = {"expand_size": (integer, 0)}


def expand_size(body: bytes) -> int:
    """Body of POST /volumes/{id}/expand: GiB to add.

    Raises:
        Refused: It can not be parsed.
    """
    added: int = _read(body, _EXPAND)["expand_size"]
    return added


_CLEANUP: Shape = {"operations": (text_list, ())}


def cleanup_ids(body: bytes) -> tuple[str, ...]:
    """Body of POST /operations/pending/cleanup: ids of operations, empty for all.

    Raises:
        Refused: It can not be parsed.
    """
    ids: tuple[str, ...] = _read(body, _CLEANUP)["operations"]
    return ids


_CLONE: Shape = {"name": (text, "")}


def clone_name(body: bytes) -> str:
    """Body of POST /volumes/{id}/clone: the copy's name, empty for the default.

    Raises:
        Refused: It can not be parsed.
    """
    name: str = _read(body, _CLONE)["name"]
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockVolumeBody:
    """A block volume to make; `size` is in GiB."""

    size: int
    name: str
    clusters: tuple[str, ...]
    hacount: int
    auth: bool


_BLOCK_VOLUME: Shape = {
    "size": (integer, 0),
    "name": (text, ""),
    "clusters": (text_list, ()),
    "hacount": (integer, 0),
    "auth": (boolean, False),
}


def block_volume_body(body: bytes) -> BlockVolumeBody:
    """Body of POST /blockvolumes.

    Raises:
        Refused: It can not be parsed.
    """
    return BlockVolumeBody(**_read(body, _BLOCK_VOLUME))


def new_size(body: bytes) -> int:
    """Body of POST /blockvolumes/{id}/expand: the new size in GiB.

    Raises:
        Refused: It can not be parsed.
    """
    size: int = _read(body, {"new_size": (integer, 0)})["new_size"]
    return size


def restriction(body: bytes) -> str:
    """Body of POST /volumes/{id}/block-restriction: what the volume is to have.

    Raises:
        Refused: It can not be parsed.
    """
    wanted: str = _read(body, {"restriction": (text, "")})["restriction"]
    return wanted
