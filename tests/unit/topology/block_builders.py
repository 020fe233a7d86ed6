"""Specs and short ways about block volumes, on top of `builders`."""

from collections.abc import Sequence
from typing import Any

from brickyard.topology.v1 import block_volume_pb2, device_pb2, operation_pb2, operation_service_pb2, volume_pb2
from services.common.ids import new_id
from services.common.units import GIB
from services.topology.usecases import block_volumes, volumes
from tests.unit.topology.builders import World, volume_message

HOSTS = ("h1", "h2", "h3")


def block_message(hosting: volume_pb2.Volume, **fields: Any) -> block_volume_pb2.BlockVolume:
    block_volume_id = new_id()
    values: dict[str, Any] = {
        "id": block_volume_id,
        "name": f"blockvol_{block_volume_id}",
        "cluster_id": hosting.cluster_id,
        "hosting_volume_id": hosting.id,
        "size_bytes": 2 * GIB,
        "hosts": HOSTS,
    }
    return block_volume_pb2.BlockVolume(**{**values, **fields})


def create_block_spec(
    block: block_volume_pb2.BlockVolume, hosting: volume_pb2.Volume | None = None
) -> operation_pb2.OperationSpec:
    spec = operation_pb2.CreateBlockVolumeSpec(block_volume=block, hosting_volume=hosting, prealloc="full")
    return operation_pb2.OperationSpec(create_block_volume=spec)


def delete_block_spec(block_volume_id: str) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(
        delete_block_volume=operation_pb2.DeleteBlockVolumeSpec(block_volume_id=block_volume_id)
    )


def expand_block_spec(block_volume_id: str, new_size_bytes: int) -> operation_pb2.OperationSpec:
    spec = operation_pb2.ExpandBlockVolumeSpec(block_volume_id=block_volume_id, new_size_bytes=new_size_bytes)
    return operation_pb2.OperationSpec(expand_block_volume=spec)


def restriction_spec(volume_id: str, number: int) -> operation_pb2.OperationSpec:
    spec = operation_pb2.SetBlockRestrictionSpec(
        volume_id=volume_id, restriction=volume_pb2.BlockRestriction.ValueType(number)
    )
    return operation_pb2.OperationSpec(set_block_restriction=spec)


def access(**fields: Any) -> operation_service_pb2.BlockVolumeAccess:
    values = {"iqn": f"iqn.2016-12.org.gluster-block:{new_id()}", "username": "user", "password": "secret"}
    return operation_service_pb2.BlockVolumeAccess(**{**values, **fields})


def size(size_bytes: int, usable_bytes: int = 0) -> operation_service_pb2.BlockVolumeSize:
    return operation_service_pb2.BlockVolumeSize(size_bytes=size_bytes, usable_size_bytes=usable_bytes or size_bytes)


def hosting_message(cluster_id: str, devices: Sequence[device_pb2.Device], **fields: Any) -> volume_pb2.Volume:
    values = {"block": True, "size_bytes": 10 * GIB, "replica_count": len(devices)}
    return volume_message(cluster_id, devices, **{**values, **fields})


class Hosted:
    """A hosting volume of 10 GiB in a world, on three nodes."""

    def __init__(self, world: World, **fields: Any) -> None:
        self.world = world
        self.cluster_id = world.cluster().id
        self.devices = world.devices(self.cluster_id, 3)
        values = {"block": True, "size_bytes": 10 * GIB, "replica_count": 3, **fields}
        self.volume = world.volume(self.cluster_id, self.devices, **values)

    @property
    def books(self) -> volume_pb2.BlockHosting:
        return volumes.get(self.world.store, self.volume.id)[0].block_hosting

    @property
    def free_gib(self) -> int:
        return self.books.free_size_bytes // GIB

    def block(self, **fields: Any) -> block_volume_pb2.BlockVolume:
        operation = self.world.begin(create_block_spec(block_message(self.volume, **fields)))
        self.world.commit(operation, block_volume_access=access())
        return block_volumes.get(self.world.store, operation.target_id)
