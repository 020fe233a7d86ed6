"""One scenario for each kind of operation: what it needs, the request, and what the same request gives afterwards.

A new kind joins the matrix by one more scenario here; its steps are found by running it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.topology.v1 import operation_pb2
from brickyard.topology.v1.operation_pb2 import OperationKind
from tests.integration.faults.rig import NODES, Rig

_SUCCESS = frozenset({200, 204, 303})
_GONE = frozenset({404})
_NOTHING_TO_DO = frozenset({500})
# The last node and the last disk of each node stay out of the cluster, for scenarios that add some.
SPARE_NODE = NODES


@dataclass(frozen=True, slots=True)
class Ask:
    """A request."""

    method: str
    path: str
    body: Any = None


@dataclass(slots=True)
class Base:
    """The cluster that every cell starts with, and ends with.

    Attributes:
        rig: Where it runs.
        cluster: Its id.
        nodes: Ids of its nodes, in the order of their numbers.
        devices: Ids of their devices.
    """

    rig: Rig
    cluster: str
    nodes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)

    def volume(self, size: int = 2) -> str:
        """A volume of three replicas: its id."""
        return str(self.rig.done("POST", "/volumes", self.volume_body(size))["id"])

    def volume_body(self, size: int = 2) -> dict[str, Any]:
        """Three replicas, without a name: the same request may be made again."""
        return {
            "size": size,
            "clusters": [self.cluster],
            "durability": {"type": "replicate", "replicate": {"replica": 3}},
        }

    def node_body(self, number: int) -> dict[str, Any]:
        """The body of POST /nodes."""
        return {
            "cluster": self.cluster,
            "zone": number,
            "hostnames": {"manage": [f"node{number}"], "storage": [f"10.0.0.{number}"]},
        }

    def spare_device(self) -> str:
        """Adds the last disk of the first node: the device's id."""
        before = {device["id"] for device in self.devices_of(self.nodes[0])}
        self.rig.done("POST", "/devices", {"node": self.nodes[0], "name": "/dev/sdc"})
        (added,) = {device["id"] for device in self.devices_of(self.nodes[0])} - before
        return str(added)

    def devices_of(self, node: str) -> list[dict[str, Any]]:
        """The devices of a node, as REST shows them."""
        shown: list[dict[str, Any]] = self.rig.done("GET", f"/nodes/{node}")["devices"]
        return shown

    def set_state(self, path: str, *states: str) -> None:
        """Changes the state of a node or device, step by step."""
        for state in states:
            self.rig.done("POST", f"{path}/state", {"state": state})

    def restore(self) -> None:
        """Takes away whatever a scenario has added, and sets all that is left online."""
        shown = self.rig.done("GET", f"/clusters/{self.cluster}")
        for volume in shown["blockvolumes"]:
            self.rig.done("DELETE", f"/blockvolumes/{volume}")
        for volume in self.rig.done("GET", f"/clusters/{self.cluster}")["volumes"]:
            self.rig.done("DELETE", f"/volumes/{volume}")
        for node in shown["nodes"]:
            for device in self.devices_of(node):
                self._restore_device(device)
            if node not in self.nodes:
                self.rig.done("DELETE", f"/nodes/{node}")
            else:
                self._restore_node(node)

    def _restore_node(self, node: str) -> None:
        state = self.rig.done("GET", f"/nodes/{node}")["state"]
        if state == "offline":
            self.set_state(f"/nodes/{node}", "online")
        if state == "failed":
            # There is no way back for it but out and in again.
            number = self.nodes.index(node) + 1
            for device in self.devices_of(node):
                self.devices.remove(device["id"])
                self._restore_device(device)
            self.rig.done("DELETE", f"/nodes/{node}")
            self._add(number)

    def _add(self, number: int) -> None:
        """Adds a node and its first disk."""
        node = str(self.rig.done("POST", "/nodes", self.node_body(number))["id"])
        self.nodes[number - 1 : number] = [node]
        self.rig.done("POST", "/devices", {"node": node, "name": "/dev/sdb"})
        self.devices += [str(device["id"]) for device in self.devices_of(node)]

    def _restore_device(self, device: Mapping[str, Any]) -> None:
        path = f"/devices/{device['id']}"
        if device["id"] not in self.devices:
            self.set_state(path, *{"online": ("offline", "failed"), "offline": ("failed",)}.get(device["state"], ()))
            self.rig.done("DELETE", path)
        elif device["state"] != "online":
            self.set_state(path, *(("offline", "online") if device["state"] == "failed" else ("online",)))


def make_base(rig: Rig) -> Base:
    """A cluster of all nodes but the last, with the first disk of each."""
    base = Base(rig, rig.done("POST", "/clusters", {"file": True, "block": True})["id"])
    for number in range(1, SPARE_NODE):
        base._add(number)
    return base


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of operation.

    Attributes:
        kind: What the request begins.
        prepare: Makes what is needed, and gives the request.
        after_finish: What the same request, with another id, answers once the first one has finished.
        after_undo: What it answers once the first one has failed.
        removes: Whether it removes something, so that it may be half gone when that fails.
    """

    kind: OperationKind.ValueType
    prepare: Callable[[Base], Ask]
    after_finish: frozenset[int] = _SUCCESS
    after_undo: frozenset[int] = _SUCCESS
    removes: bool = False


def _create_volume(base: Base) -> Ask:
    return Ask("POST", "/volumes", base.volume_body())


def _delete_volume(base: Base) -> Ask:
    return Ask("DELETE", f"/volumes/{base.volume()}")


def _expand_volume(base: Base) -> Ask:
    return Ask("POST", f"/volumes/{base.volume()}/expand", {"expand_size": 1})


def _clone_volume(base: Base) -> Ask:
    return Ask("POST", f"/volumes/{base.volume()}/clone", {})


def _add_node(base: Base) -> Ask:
    return Ask("POST", "/nodes", base.node_body(SPARE_NODE))


def _delete_node(base: Base) -> Ask:
    return Ask("DELETE", f"/nodes/{base.rig.done('POST', '/nodes', base.node_body(SPARE_NODE))['id']}")


def _add_device(base: Base) -> Ask:
    return Ask("POST", "/devices", {"node": base.nodes[0], "name": "/dev/sdc"})


def _delete_device(base: Base) -> Ask:
    device = base.spare_device()
    base.set_state(f"/devices/{device}", "offline", "failed")
    return Ask("DELETE", f"/devices/{device}")


def _resync_device(base: Base) -> Ask:
    return Ask("GET", f"/devices/{base.devices[0]}/resync")


def _set_node_state(base: Base) -> Ask:
    return Ask("POST", f"/nodes/{base.nodes[0]}/state", {"state": "offline"})


def _set_device_state(base: Base) -> Ask:
    return Ask("POST", f"/devices/{base.devices[0]}/state", {"state": "offline"})


def _evict_brick(base: Base) -> Ask:
    volume = base.rig.done("GET", f"/volumes/{base.volume()}")
    return Ask("POST", f"/bricks/to-evict/{volume['bricks'][0]['id']}")


def _remove_device(base: Base) -> Ask:
    """To failed: all bricks of the device are moved elsewhere."""
    volume = base.rig.done("GET", f"/volumes/{base.volume()}")
    device = volume["bricks"][0]["device"]
    base.set_state(f"/devices/{device}", "offline")
    return Ask("POST", f"/devices/{device}/state", {"state": "failed"})


def _remove_node(base: Base) -> Ask:
    """To failed: all bricks of the node are moved elsewhere."""
    volume = base.rig.done("GET", f"/volumes/{base.volume()}")
    node = volume["bricks"][0]["node"]
    base.set_state(f"/nodes/{node}", "offline")
    return Ask("POST", f"/nodes/{node}/state", {"state": "failed"})


def _block_volume_body(base: Base) -> dict[str, Any]:
    return {"size": 1, "clusters": [base.cluster], "hacount": 3}


def _create_block_volume(base: Base) -> Ask:
    return Ask("POST", "/blockvolumes", _block_volume_body(base))


def _delete_block_volume(base: Base) -> Ask:
    return Ask("DELETE", f"/blockvolumes/{base.rig.done('POST', '/blockvolumes', _block_volume_body(base))['id']}")


def _expand_block_volume(base: Base) -> Ask:
    made = base.rig.done("POST", "/blockvolumes", _block_volume_body(base))
    return Ask("POST", f"/blockvolumes/{made['id']}/expand", {"new_size": 2})


SCENARIOS: Mapping[str, Scenario] = {
    "create-volume": Scenario(operation_pb2.OPERATION_KIND_CREATE_VOLUME, _create_volume),
    # It may fail after gluster has lost the volume: then it is gone all the same.
    "delete-volume": Scenario(
        operation_pb2.OPERATION_KIND_DELETE_VOLUME, _delete_volume, _GONE, _SUCCESS | _GONE, removes=True
    ),
    "expand-volume": Scenario(operation_pb2.OPERATION_KIND_EXPAND_VOLUME, _expand_volume),
    "clone-volume": Scenario(operation_pb2.OPERATION_KIND_CLONE_VOLUME, _clone_volume),
    "add-node": Scenario(operation_pb2.OPERATION_KIND_ADD_NODE, _add_node, frozenset({409})),
    "delete-node": Scenario(operation_pb2.OPERATION_KIND_DELETE_NODE, _delete_node, _GONE, removes=True),
    "add-device": Scenario(operation_pb2.OPERATION_KIND_ADD_DEVICE, _add_device, frozenset({409})),
    "delete-device": Scenario(operation_pb2.OPERATION_KIND_DELETE_DEVICE, _delete_device, _GONE, removes=True),
    "resync-device": Scenario(operation_pb2.OPERATION_KIND_RESYNC_DEVICE, _resync_device),
    "set-node-state": Scenario(operation_pb2.OPERATION_KIND_SET_NODE_STATE, _set_node_state),
    "set-device-state": Scenario(operation_pb2.OPERATION_KIND_SET_DEVICE_STATE, _set_device_state),
    "evict-brick": Scenario(operation_pb2.OPERATION_KIND_EVICT_BRICK, _evict_brick, _GONE, _SUCCESS | _GONE),
    "remove-device": Scenario(operation_pb2.OPERATION_KIND_SET_DEVICE_STATE, _remove_device),
    "remove-node": Scenario(operation_pb2.OPERATION_KIND_SET_NODE_STATE, _remove_node),
    "create-block-volume": Scenario(operation_pb2.OPERATION_KIND_CREATE_BLOCK_VOLUME, _create_block_volume),
    "delete-block-volume": Scenario(
        operation_pb2.OPERATION_KIND_DELETE_BLOCK_VOLUME, _delete_block_volume, _GONE, removes=True
    ),
    # The size is the new one in all, and what has grown does not shrink again: there may be nothing left to do.
    "expand-block-volume": Scenario(
        operation_pb2.OPERATION_KIND_EXPAND_BLOCK_VOLUME,
        _expand_block_volume,
        _NOTHING_TO_DO,
        _SUCCESS | _NOTHING_TO_DO,
    ),
}
