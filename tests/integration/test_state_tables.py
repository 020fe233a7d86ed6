"""The state tables of nodes and devices over REST: every step from state to state, and what may be deleted."""

from typing import Any

import pytest

from tests.integration.stack import ON_SQLITE
from tests.integration.world import World

pytestmark = ON_SQLITE
DEVICE_REMOVE = "Device must be offline before remove operation is performed, device:{id}"
DEVICE_ONLINE = "Cannot move a failed/removed device to online state"
NODE_REMOVE = "Node must be offline before remove operation is performed, node:{id}"
NODE_ONLINE = "Cannot move a failed/removed node to online state"
NODE_OFFLINE = "Cannot move a failed/removed node to offline state"
# Each walk takes every step of its table: the wanted state, and the text of a refusal, after which nothing has changed.
DEVICE_WALK = (
    ("online", ""),
    ("failed", DEVICE_REMOVE),
    ("offline", ""),
    ("offline", ""),
    ("failed", ""),
    ("failed", ""),
    ("online", DEVICE_ONLINE),
    ("offline", ""),
    ("online", ""),
)
NODE_WALK = (
    ("online", ""),
    ("failed", NODE_REMOVE),
    ("offline", ""),
    ("offline", ""),
    ("online", ""),
    ("offline", ""),
    ("failed", ""),
    ("failed", ""),
    ("online", NODE_ONLINE),
    ("offline", NODE_OFFLINE),
)


def node_with(world: World, *ways: tuple[str, str]) -> tuple[str, str]:
    """Ids of a node of its own cluster and its device, after some changes of their states."""
    cluster = world.cluster(1)
    node = cluster.nodes[0]
    (device,) = world.rest.json(f"/nodes/{node}")["devices"]
    for kind, state in ways:
        target = node if kind == "nodes" else device["id"]
        assert change(world, kind, target, state) == (204, "")
    return node, device["id"]


def change(world: World, kind: str, target: str, state: str) -> tuple[int, str]:
    answer = world.rest.change("POST", f"/{kind}/{target}/state", {"state": state})
    return answer.status_code, answer.text


def walk(world: World, kind: str, target: str, steps: tuple[tuple[str, str], ...]) -> None:
    for number, (wanted, refusal) in enumerate(steps):
        before = world.rest.json(f"/{kind}/{target}")["state"]
        expected: tuple[int, str] = (500, f"{refusal.format(id=target)}\n") if refusal else (204, "")
        assert change(world, kind, target, wanted) == expected, (number, before, wanted)
        assert world.rest.json(f"/{kind}/{target}")["state"] == (before if refusal else wanted), (number, wanted)


@pytest.mark.parametrize("node_way", [(), ("offline",), ("offline", "failed")], ids=["online", "offline", "failed"])
def test_device_states(world: World, node_way: tuple[str, ...]) -> None:
    """The state of its node does not matter."""
    node, device = node_with(world, *(("nodes", state) for state in node_way))
    steps = DEVICE_WALK
    if "failed" in node_way:
        # It went with its node.
        assert world.rest.json(f"/devices/{device}")["state"] == "failed"
        walk(world, "devices", device, (("online", DEVICE_ONLINE), ("offline", ""), ("online", "")))
    walk(world, "devices", device, steps)
    assert world.rest.json(f"/nodes/{node}")["state"] == (node_way[-1] if node_way else "online")


@pytest.mark.parametrize("device_way", [(), ("offline",), ("offline", "failed")], ids=["online", "offline", "failed"])
def test_node_states(world: World, device_way: tuple[str, ...]) -> None:
    """The states of its devices do not matter, and follow only when it fails."""
    node, device = node_with(world, *(("devices", state) for state in device_way))
    before = device_way[-1] if device_way else "online"
    for step in NODE_WALK:
        walk(world, "nodes", node, (step,))
        failed = world.rest.json(f"/nodes/{node}")["state"] == "failed"
        assert world.rest.json(f"/devices/{device}")["state"] == ("failed" if failed else before)


@pytest.mark.parametrize("forget", [False, True])
def test_what_may_be_deleted(world: World, *, forget: bool) -> None:
    node, device = node_with(world)
    cluster = world.rest.json(f"/nodes/{node}")["cluster"]
    body: dict[str, Any] = {"forceforget": True} if forget else {}

    def delete(path: str) -> tuple[int, str]:
        answer = world.rest.change("DELETE", path, body if path.startswith("/devices") else None)
        return answer.status_code, answer.text

    for state in ("online", "offline"):
        change(world, "devices", device, state)
        assert delete(f"/devices/{device}") == (400, f"device: {device} is not in failed state\n")
    full = (409, f"Unable to delete node [{node}] because it contains devices\n")
    for state in ("online", "offline", "failed"):
        change(world, "nodes", node, state)
        assert delete(f"/nodes/{node}") == full
    assert delete(f"/clusters/{cluster}")[0] == 409
    assert delete(f"/devices/{device}") == (204, "")
    assert delete(f"/nodes/{node}") == (204, "")
    assert delete(f"/clusters/{cluster}") == (200, "")
