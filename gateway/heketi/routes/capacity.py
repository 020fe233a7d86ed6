"""The cluster extensions, which Heketi has not: all disks, the largest volume, the disks that could be added."""

from typing import Any
from urllib.parse import parse_qsl

from brickyard.topology.v1 import device_pb2, health_pb2, volume_pb2
from gateway.heketi.go_json import write
from gateway.heketi.http import Answer, Request, json_answer
from gateway.heketi.router import Handler, Route
from gateway.heketi.routes.ids import known_form
from gateway.heketi.texts import refusals
from gateway.usecases.health import DEFAULT_DURABILITY, DiskStatus, HealthUseCases, SilentNode, SizeQuestion
from services.common.units import GIB, KIB

STATES = {
    device_pb2.DEVICE_STATE_ONLINE: "online",
    device_pb2.DEVICE_STATE_OFFLINE: "offline",
    device_pb2.DEVICE_STATE_FAILED: "failed",
}
HEALTH = {
    health_pb2.HEALTH_OK: "ok",
    health_pb2.HEALTH_WARNING: "warning",
    health_pb2.HEALTH_CRITICAL: "critical",
    health_pb2.HEALTH_UNKNOWN: "unknown",
}
_TYPES = {
    "none": volume_pb2.DURABILITY_TYPE_NONE,
    "replicate": volume_pb2.DURABILITY_TYPE_REPLICATE,
    "disperse": volume_pb2.DURABILITY_TYPE_DISPERSE,
}
_DEFAULT_REPLICA = DEFAULT_DURABILITY.replica_count
_DEFAULT_DATA, _DEFAULT_REDUNDANCY = 4, 2
_KEYS = ("durability", "replica", "disperse-data", "redundancy", "snapshot-factor", "gluster-volume-options")


def routes(use_cases: HealthUseCases) -> tuple[Route, ...]:
    """The routes over these use cases."""

    async def disk_status(request: Request, _context: Any) -> Answer:
        """GET /clusters/{id}/diskstatus."""
        return json_answer(write(_disk_status(await use_cases.get_disk_status(known_form(request)))))

    async def max_size(request: Request, _context: Any) -> Answer:
        """GET /clusters/{id}/volmaxsize?durability=...&replica=...; three copies unless told otherwise."""
        question = size_question(known_form(request), request.query)
        found = await use_cases.get_max_volume_size(question)
        # Keys as the users of this extension know them.
        shown = {
            "MaxAllowCreateVolSize": found.size_bytes // GIB,
            "AvaildDiskCnt": found.disk_count,
            "AvaildNodeCnt": found.node_count,
            "unreachable": _silent(found.silent),
        }
        return json_answer(write(shown))

    async def free_disks(request: Request, _context: Any) -> Answer:
        """GET /clusters/{id}/freedevices; it looks at the nodes now."""
        nodes = await use_cases.list_free_disks(known_form(request))
        shown = [
            {
                "node": node.node_id,
                "hostname": node.hostname,
                "devices": [{"name": disk.path, "size": disk.size_bytes // KIB} for disk in node.disks],
                **({"error": node.error} if node.error else {}),
            }
            for node in nodes
        ]
        return json_answer(write({"nodes": shown}))

    handlers: dict[str, Handler] = {"diskstatus": disk_status, "volmaxsize": max_size, "freedevices": free_disks}
    return tuple(Route("GET", f"/clusters/{{id}}/{name}", handler) for name, handler in handlers.items())


def _silent(nodes: Any) -> list[dict[str, str]]:
    found: list[SilentNode] = list(nodes)
    return [{"node": node.node_id, "hostname": node.hostname, "error": node.error} for node in found]


def _disk_status(found: DiskStatus) -> dict[str, Any]:
    return {"disks": [_disk(disk) for disk in found.disks], "unreachable": _silent(found.silent)}


def _disk(disk: health_pb2.DeviceHealth) -> dict[str, Any]:
    taken = disk.used_bytes + disk.reserved_bytes
    return {
        "id": disk.device_id,
        "node": disk.node_id,
        "hostname": disk.hostname,
        "name": disk.path,
        "size": disk.total_bytes // KIB,
        "used": taken // KIB,
        "free": (disk.total_bytes - taken) // KIB,
        "percent": round(100 * taken / disk.total_bytes, 1) if disk.total_bytes else 0,
        "bricks": disk.brick_count,
        "state": STATES[disk.state],
        "health": HEALTH[disk.health],
    }


def size_question(cluster_id: str, query: bytes) -> SizeQuestion:
    """The question in a query.

    Raises:
        Refused: 400, an unknown key or a value that cannot be one; names both.
    """
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    unknown = [key for key in asked if key not in _KEYS]
    if unknown:
        raise refusals.Refused(400, f"{unknown[0]}: unknown; known are {', '.join(_KEYS)}")
    word = asked.get("durability", "replicate")
    if word not in _TYPES:
        raise refusals.Refused(400, f"durability: {word!r} is none of {', '.join(_TYPES)}")
    durability = volume_pb2.Durability(type=_TYPES[word])
    if word == "replicate":
        durability.replica_count = _number(asked, "replica", _DEFAULT_REPLICA)
    if word == "disperse":
        durability.data_count = _number(asked, "disperse-data", _DEFAULT_DATA)
        durability.redundancy_count = _number(asked, "redundancy", _DEFAULT_REDUNDANCY)
    options = asked.get("gluster-volume-options", "")
    return SizeQuestion(
        cluster_id=cluster_id,
        durability=durability,
        options=tuple(options.split(",")) if options else (),
        snapshot_factor=_factor(asked.get("snapshot-factor", "1")),
    )


def _number(asked: dict[str, str], key: str, default: int) -> int:
    text = asked.get(key, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise refusals.Refused(400, f"{key}: {text!r} is no number from 1 to 1000")
    return int(text)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1.0 <= factor <= 100.0:
        raise refusals.Refused(400, f"snapshot-factor: {text!r} is no number from 1 to 100")
    return factor
