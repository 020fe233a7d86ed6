"""Builders for the topology's tests: messages with sensible contents, and a small world to act in."""

from collections.abc import Sequence
from typing import Any

from brickyard.topology.v1 import (
    cluster_pb2,
    device_pb2,
    node_pb2,
    operation_pb2,
    operation_service_pb2,
    volume_pb2,
)
from services.common.ids import new_id
from services.common.units import GIB, MIB
from services.topology.store import Store
from services.topology.usecases import clusters, consistency, operations, volumes
from services.topology.usecases import devices as topology_devices
from services.topology.usecases.feed import ChangeFeed

EXTENT = 4 * MIB
METADATA_BYTES = 8 * MIB
OWNER = "gateway-1"
LEASE_S = 30.0
ONLINE = device_pb2.DEVICE_STATE_ONLINE
OFFLINE = device_pb2.DEVICE_STATE_OFFLINE
FAILED = device_pb2.DEVICE_STATE_FAILED


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now_us

    def forward(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)


def node_message(cluster_id: str, **fields: Any) -> node_pb2.Node:
    node_id = new_id()
    contents = {
        "id": node_id,
        "cluster_id": cluster_id,
        "zone": 1,
        "manage_hostnames": [f"m-{node_id}"],
        "storage_hostnames": [f"s-{node_id}"],
    }
    return node_pb2.Node(**{**contents, **fields})


def device_message(node_id: str, **fields: Any) -> device_pb2.Device:
    device_id = new_id()
    return device_pb2.Device(**{"id": device_id, "node_id": node_id, "path": f"/dev/{device_id}", **fields})


def brick_message(device: device_pb2.Device, *, set_index: int, position: int, size_bytes: int) -> volume_pb2.Brick:
    brick_id = new_id()
    return volume_pb2.Brick(
        id=brick_id,
        device_id=device.id,
        node_id=device.node_id,
        path=f"/var/lib/heketi/mounts/vg_{device.id}/brick_{brick_id}/brick",
        size_bytes=size_bytes,
        thin_pool_size_bytes=size_bytes,
        pool_metadata_size_bytes=METADATA_BYTES,
        thin_pool_name=f"tp_{brick_id}",
        lv_name=f"brick_{brick_id}",
        role=volume_pb2.BRICK_ROLE_DATA,
        set_index=set_index,
        position=position,
    )


def volume_message(
    cluster_id: str,
    devices: Sequence[device_pb2.Device],
    *,
    replica_count: int = 0,
    size_bytes: int = GIB,
    **fields: Any,
) -> volume_pb2.Volume:
    """A volume over `devices`, one brick each; replicated when a count is given."""
    volume_id = new_id()
    size = replica_count or 1
    durability = volume_pb2.Durability(
        type=volume_pb2.DURABILITY_TYPE_REPLICATE if replica_count else volume_pb2.DURABILITY_TYPE_NONE,
        replica_count=replica_count,
    )
    bricks = [
        brick_message(device, set_index=index // size, position=index % size, size_bytes=size_bytes)
        for index, device in enumerate(devices)
    ]
    contents = {
        "id": volume_id,
        "name": f"vol_{volume_id}",
        "cluster_id": cluster_id,
        "size_bytes": size_bytes,
        "durability": durability,
        "options": ["", ""],
        "snapshot_factor": 1.0,
        "bricks": bricks,
    }
    return volume_pb2.Volume(**{**contents, **fields})


def create_spec(volume: volume_pb2.Volume, *, max_volumes: int = 0) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(
        create_volume=operation_pb2.CreateVolumeSpec(volume=volume, max_volumes_per_cluster=max_volumes)
    )


def delete_spec(volume_id: str) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(delete_volume=operation_pb2.DeleteVolumeSpec(volume_id=volume_id))


def expand_spec(volume_id: str, bricks: Sequence[volume_pb2.Brick], *, added: int = GIB) -> operation_pb2.OperationSpec:
    spec = operation_pb2.ExpandVolumeSpec(volume_id=volume_id, added_size_bytes=added, bricks=bricks, rebalance=True)
    return operation_pb2.OperationSpec(expand_volume=spec)


def more_bricks(
    devices: Sequence[device_pb2.Device], *, first_set: int, set_size: int = 1, size_bytes: int = GIB
) -> list[volume_pb2.Brick]:
    """A brick for each device, in sets from `first_set` on."""
    return [
        brick_message(device, set_index=first_set + index // set_size, position=index % set_size, size_bytes=size_bytes)
        for index, device in enumerate(devices)
    ]


def clone_spec(source: volume_pb2.Volume, **fields: Any) -> operation_pb2.OperationSpec:
    contents = {
        "source_volume_id": source.id,
        "volume_id": new_id(),
        "brick_ids": [new_id() for _ in source.bricks],
    }
    return operation_pb2.OperationSpec(clone_volume=operation_pb2.CloneVolumeSpec(**{**contents, **fields}))


def cloned_bricks(operation: operation_pb2.Operation, **fields: Any) -> operation_service_pb2.ClonedBricks:
    """What gluster makes of the bricks of a copy; `fields` replace something in each."""
    spec = operation.spec.clone_volume
    snapshot = new_id()
    return operation_service_pb2.ClonedBricks(
        bricks=[
            operation_service_pb2.ClonedBrick(
                **{
                    "brick_id": brick_id,
                    "path": f"/run/gluster/snaps/{snapshot}/brick{number + 1}/brick",
                    "lv_name": f"{snapshot}_{number}",
                    **fields,
                }
            )
            for number, brick_id in enumerate(spec.brick_ids)
        ]
    )


def evict_spec(
    brick: volume_pb2.Brick, device: device_pb2.Device, *, parent_id: str = "", **fields: Any
) -> operation_pb2.OperationSpec:
    """Moves a brick to a device; `fields` replace something of the new brick."""
    new = brick_message(device, set_index=brick.set_index, position=brick.position, size_bytes=brick.size_bytes)
    new.role = brick.role
    for name, value in fields.items():
        setattr(new, name, value)
    return operation_pb2.OperationSpec(
        evict_brick=operation_pb2.EvictBrickSpec(brick_id=brick.id, new_brick=new, parent_operation_id=parent_id)
    )


def resync_spec(device_id: str) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(resync_device=operation_pb2.ResyncDeviceSpec(device_id=device_id))


def add_node_spec(node: node_pb2.Node) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(add_node=operation_pb2.AddNodeSpec(node=node))


def delete_node_spec(node_id: str) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(delete_node=operation_pb2.DeleteNodeSpec(node_id=node_id))


def add_device_spec(device: device_pb2.Device) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(add_device=operation_pb2.AddDeviceSpec(device=device))


def delete_device_spec(device_id: str) -> operation_pb2.OperationSpec:
    return operation_pb2.OperationSpec(delete_device=operation_pb2.DeleteDeviceSpec(device_id=device_id))


def node_state_spec(node_id: str, state: int) -> operation_pb2.OperationSpec:
    spec = operation_pb2.SetNodeStateSpec(node_id=node_id, state=node_pb2.NodeState.ValueType(state))
    return operation_pb2.OperationSpec(set_node_state=spec)


def device_state_spec(device_id: str, state: int) -> operation_pb2.OperationSpec:
    spec = operation_pb2.SetDeviceStateSpec(device_id=device_id, state=device_pb2.DeviceState.ValueType(state))
    return operation_pb2.OperationSpec(set_device_state=spec)


def facts_message(total_bytes: int = 100 * GIB, **fields: Any) -> device_pb2.DeviceFacts:
    contents = {
        "total_bytes": total_bytes,
        "free_bytes": total_bytes,
        "extent_size_bytes": EXTENT,
        "pv_uuid": new_id(),
        "known_paths": ["/dev/disk/by-id/x"],
    }
    return device_pb2.DeviceFacts(**{**contents, **fields})


class World:
    """A topology with short ways to act in it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.feed = ChangeFeed()

    def cluster(self, *, file: bool = True, block: bool = True) -> cluster_pb2.Cluster:
        return clusters.create(self.store, request_id=new_id(), file_enabled=file, block_enabled=block)

    def begin(
        self,
        spec: operation_pb2.OperationSpec,
        *,
        request_id: str = "",
        owner: str = OWNER,
        lease_s: float = LEASE_S,
        max_in_flight: int = 0,
    ) -> operation_pb2.Operation:
        asked = operations.NewOperation(
            request_id=request_id or new_id(), spec=spec, owner=owner, lease_s=lease_s, max_in_flight=max_in_flight
        )
        return operations.begin(self.store, asked)[0]

    def commit(
        self, operation: operation_pb2.Operation, *, owner: str = OWNER, **outcome: Any
    ) -> operation_pb2.Operation:
        request = operation_service_pb2.CommitOperationRequest(operation_id=operation.id, owner=owner, **outcome)
        return operations.commit(self.store, self.feed, request)

    def abort(
        self, operation: operation_pb2.Operation, *, owner: str = OWNER, **fields: Any
    ) -> operation_pb2.Operation:
        request = operation_service_pb2.AbortOperationRequest(operation_id=operation.id, owner=owner, **fields)
        return operations.abort(self.store, self.feed, request)

    def update(
        self, operation: operation_pb2.Operation, *, owner: str = OWNER, **fields: Any
    ) -> operation_pb2.Operation:
        request = operation_service_pb2.UpdateOperationRequest(operation_id=operation.id, owner=owner, **fields)
        return operations.update_progress(self.store, self.feed, request)

    def node(self, cluster_id: str, **fields: Any) -> node_pb2.Node:
        node = node_message(cluster_id, **fields)
        self.commit(self.begin(add_node_spec(node)))
        return node

    def device(self, node_id: str, *, total_bytes: int = 100 * GIB, **fields: Any) -> device_pb2.Device:
        device = device_message(node_id, **fields)
        self.commit(self.begin(add_device_spec(device)), device_facts=facts_message(total_bytes))
        return device

    def devices(self, cluster_id: str, count: int, *, total_bytes: int = 100 * GIB) -> list[device_pb2.Device]:
        """Devices on as many nodes."""
        return [self.device(self.node(cluster_id).id, total_bytes=total_bytes) for _ in range(count)]

    def volume(self, cluster_id: str, devices: Sequence[device_pb2.Device], **fields: Any) -> volume_pb2.Volume:
        volume = volume_message(cluster_id, devices, **fields)
        self.commit(self.begin(create_spec(volume)))
        return volume

    def expand(
        self, volume_id: str, devices: Sequence[device_pb2.Device], *, first_set: int, **fields: Any
    ) -> list[volume_pb2.Brick]:
        bricks = more_bricks(devices, first_set=first_set, **fields)
        self.commit(self.begin(expand_spec(volume_id, bricks)))
        return bricks

    def clone(self, source: volume_pb2.Volume, **fields: Any) -> volume_pb2.Volume:
        operation = self.begin(clone_spec(source, **fields))
        self.commit(operation, cloned_bricks=cloned_bricks(operation))
        return volumes.get(self.store, operation.target_id)[0]

    def delete(self, volume: volume_pb2.Volume, *, reclaimed: bool) -> None:
        operation = self.begin(delete_spec(volume.id))
        bricks = [brick.id for brick in operation.spec.delete_volume.volume.bricks] if reclaimed else []
        self.commit(operation, removed_bricks=operation_service_pb2.RemovedBricks(reclaimed_brick_ids=bricks))

    def space(self, device_id: str) -> tuple[int, int]:
        """Used and reserved bytes of a device."""
        device, _ = topology_devices.get(self.store, device_id)
        return device.used_bytes, device.reserved_bytes

    def set_device_state(self, device_id: str, *states: int) -> None:
        for state in states:
            self.commit(self.begin(device_state_spec(device_id, state)))

    def set_node_state(self, node_id: str, *states: int) -> None:
        for state in states:
            self.commit(self.begin(node_state_spec(node_id, state)))

    def violations(self) -> list[str]:
        return consistency.check(self.store)[0]
