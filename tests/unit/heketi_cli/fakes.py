"""A server in this process that answers heketi-cli from a table, and what was asked of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

CLUSTER, NODE, DEVICE, BRICK, VOLUME, BLOCK, OPERATION = (digit * 32 for digit in "cbde123")


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that is an error."""

    status: int
    text: str


@dataclass(slots=True)
class FakeServer:
    """Heketi's dialect: changes are accepted, and their result is found through the queue.

    Attributes:
        answers: JSON, text or bytes by "METHOD /path"; `Refused` for an error. Without an entry a change has no result.
        failing: Text of the error in which the changes end that are in the queue; empty = they succeed.
        sent: Method, path and body of each request but those to the queue.
        tokens: The Authorization header of each.
        urls: The whole URL of each.
    """

    answers: Mapping[str, Any]
    failing: str = ""
    sent: list[tuple[Any, ...]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        if path.startswith("/queue/"):
            return self._queue(path)
        if path.startswith("/made/"):
            return httpx.Response(200, json=self.answers[path.removeprefix("/made/").replace("%20", " ")])
        body = json.loads(request.content) if request.content else None
        self.sent.append((request.method, path) if body is None else (request.method, path, body))
        self.urls.append(str(request.url))
        self.tokens.append(request.headers.get("Authorization", ""))
        key = f"{request.method} {path}"
        found = self.answers.get(key)
        if isinstance(found, Refused):
            return httpx.Response(found.status, text=f"{found.text}\n")
        if request.method != "GET" or found is None:
            return httpx.Response(202, headers={"Location": f"/queue/{key}"})
        if isinstance(found, bytes):
            return httpx.Response(200, content=found)
        return httpx.Response(200, text=found) if isinstance(found, str) else httpx.Response(200, json=found)

    def _queue(self, path: str) -> httpx.Response:
        key = path.removeprefix("/queue/").replace("%20", " ")
        if self.failing:
            return httpx.Response(500, text=f"{self.failing}\n")
        if key in self.answers:
            return httpx.Response(303, headers={"Location": f"/made/{key}"})
        return httpx.Response(204)


def cluster(**changes: Any) -> dict[str, Any]:
    found = {"id": CLUSTER, "nodes": [NODE], "volumes": [VOLUME], "block": True, "file": False, "blockvolumes": []}
    return found | changes


def device(**changes: Any) -> dict[str, Any]:
    brick = {"id": BRICK, "path": "/bricks/1", "device": DEVICE, "node": NODE, "volume": VOLUME, "size": 10485760}
    return {
        "name": "/dev/sdb",
        "storage": {"total": 524288000, "free": 513748992, "used": 10539008},
        "id": DEVICE,
        "paths": ["/dev/sdb", "/dev/disk/by-id/x"],
        "pv_uuid": "uuid",
        "state": "online",
        "bricks": [brick],
        **changes,
    }


def node(**changes: Any) -> dict[str, Any]:
    return {
        "zone": 2,
        "hostnames": {"manage": ["h2"], "storage": ["10.0.0.2"]},
        "cluster": CLUSTER,
        "id": NODE,
        "state": "online",
        "devices": [device()],
        **changes,
    }


def volume(**changes: Any) -> dict[str, Any]:
    options = {"backup-volfile-servers": "10.0.0.1,10.0.0.3"}
    return {
        "size": 11,
        "name": "foo",
        "durability": {"type": "replicate", "replicate": {"replica": 3}, "disperse": {}},
        "snapshot": {"enable": False, "factor": 1},
        "id": VOLUME,
        "cluster": CLUSTER,
        "mount": {
            "glusterfs": {
                "hosts": ["10.0.0.2", "10.0.0.1", "10.0.0.3"],
                "device": "10.0.0.2:foo",
                "options": options,
            }
        },
        "blockinfo": {},
        "bricks": device()["bricks"] * 6,
        **changes,
    }


def block_volume(**changes: Any) -> dict[str, Any]:
    access = {"hosts": ["s1", "s2"], "iqn": "iqn.x", "lun": 0, "username": "u", "password": "p"}
    return {
        "id": BLOCK,
        "name": "blk",
        "size": 10,
        "cluster": CLUSTER,
        "hacount": 2,
        "blockvolume": access,
        "blockhostingvolume": VOLUME,
        **changes,
    }
