"""What can be asked of a gateway, each with its request id still open. Pure."""

from collections.abc import Callable, Coroutine
from typing import Any

from brickyard.topology.v1 import operation_pb2, volume_pb2
from gateway.usecases import NewDevice, NewNode, NewVolume
from gateway.usecases.volumes import GatewayUseCases

GIB = 1 << 30
Ask = Callable[[GatewayUseCases, str], Coroutine[Any, Any, operation_pb2.Operation]]
DURABILITIES = (
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3),
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=2),
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE),
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=2, redundancy_count=1),
)


def create_volume(cluster: str, size_bytes: int, durability: volume_pb2.Durability, name: str) -> Ask:
    """A volume; an empty name lets the gateway find one."""
    volume = NewVolume(size_bytes=size_bytes, cluster_ids=(cluster,), durability=durability, name=name)
    return lambda uc, key: uc.create_volume(volume, request_id=key)


def delete_volume(volume: str) -> Ask:
    """Its end."""
    return lambda uc, key: uc.delete_volume(volume, request_id=key)


def expand_volume(volume: str, size_bytes: int) -> Ask:
    """So much more."""
    return lambda uc, key: uc.expand_volume(volume, size_bytes, request_id=key)


def clone_volume(volume: str) -> Ask:
    """A copy."""
    return lambda uc, key: uc.clone_volume(volume, request_id=key)


def evict_brick(brick: str) -> Ask:
    """Elsewhere with it."""
    return lambda uc, key: uc.evict_brick(brick, request_id=key)


def add_node(cluster: str, number: int) -> Ask:
    """One of the world's nodes."""
    node = NewNode(
        cluster_id=cluster, zone=number, manage_hostnames=(f"node{number}",), storage_hostnames=(f"10.0.0.{number}",)
    )
    return lambda uc, key: uc.add_node(node, request_id=key)


def delete_node(node: str) -> Ask:
    """Out of the pool."""
    return lambda uc, key: uc.delete_node(node, request_id=key)


def add_device(node: str, letter: str) -> Ask:
    """One of its disks."""
    return lambda uc, key: uc.add_device(NewDevice(node_id=node, path=f"/dev/sd{letter}"), request_id=key)


def delete_device(device: str) -> Ask:
    """An empty one."""
    return lambda uc, key: uc.delete_device(device, request_id=key)


def resync_device(device: str) -> Ask:
    """A measurement."""
    return lambda uc, key: uc.resync_device(device, request_id=key)


def set_device_state(device: str, state: Any) -> Ask:
    """A state, with failed all its bricks go elsewhere."""
    return lambda uc, key: uc.set_device_state(device, state, request_id=key)


def set_node_state(node: str, state: Any) -> Ask:
    """The same for a node."""
    return lambda uc, key: uc.set_node_state(node, state, request_id=key)
