"""Clusters, nodes and devices in memory."""

from collections.abc import Mapping, Sequence

from brickyard.executor.v1.facts_pb2 import BrickHealFacts
from brickyard.topology.v1 import (
    cluster_pb2,
    device_pb2,
    node_pb2,
    operation_pb2,
    topology_service_pb2,
)
from gateway.usecases import NewDevice, NewNode
from services.common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from tests.unit.gateway_heketi.fake_examination import FakeExamination

EXTENT_BYTES = 4 * MIB
DEVICE_BYTES = 500 * GIB
MAX_TAGS = 32
_NODE_STATE_NAMES = {
    node_pb2.NODE_STATE_ONLINE: "online",
    node_pb2.NODE_STATE_OFFLINE: "offline",
    node_pb2.NODE_STATE_FAILED: "failed",
}
_DEVICE_STATE_NAMES = {
    device_pb2.DEVICE_STATE_ONLINE: "online",
    device_pb2.DEVICE_STATE_OFFLINE: "offline",
    device_pb2.DEVICE_STATE_FAILED: "failed",
}


class FakeTopology(FakeExamination):
    """See `UseCases`."""

    # --- clusters -----------------------------------------------------------------------------------------------------

    def _cluster(self, cluster_id: str) -> cluster_pb2.Cluster:
        if cluster_id not in self.clusters:
            raise NotFoundError(Reason.CLUSTER_NOT_FOUND, "no such cluster", cluster_id=cluster_id)
        return self.clusters[cluster_id]

    async def create_cluster(
        self, *, file_enabled: bool, block_enabled: bool, request_id: str | None = None
    ) -> cluster_pb2.Cluster:
        self._called("create_cluster", (file_enabled, block_enabled), request_id)
        cluster = cluster_pb2.Cluster(id=new_id(), file_enabled=file_enabled, block_enabled=block_enabled)
        self.clusters[cluster.id] = cluster
        return cluster

    async def get_cluster(self, cluster_id: str) -> cluster_pb2.Cluster:
        self._called("get_cluster", cluster_id)
        cluster = cluster_pb2.Cluster()
        cluster.CopyFrom(self._cluster(cluster_id))
        cluster.node_ids.extend(sorted(node.id for node in self._members(cluster_id)))
        cluster.volume_ids.extend(sorted(each.id for each in self.volumes.values() if each.cluster_id == cluster_id))
        return cluster

    async def list_clusters(self) -> Sequence[cluster_pb2.Cluster]:
        self._called("list_clusters")
        return sorted(self.clusters.values(), key=lambda cluster: cluster.id)

    async def set_cluster_flags(
        self, cluster_id: str, *, file_enabled: bool, block_enabled: bool
    ) -> cluster_pb2.Cluster:
        self._called("set_cluster_flags", (cluster_id, file_enabled, block_enabled))
        cluster = self._cluster(cluster_id)
        cluster.file_enabled, cluster.block_enabled = file_enabled, block_enabled
        return cluster

    async def delete_cluster(self, cluster_id: str) -> None:
        self._called("delete_cluster", cluster_id)
        cluster = await self.get_cluster(cluster_id)
        if cluster.node_ids or cluster.volume_ids:
            raise FailedPreconditionError(Reason.CLUSTER_NOT_EMPTY, "has members", cluster_id=cluster_id)
        del self.clusters[cluster_id]

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _members(self, cluster_id: str) -> list[node_pb2.Node]:
        found = (node for node in self.nodes.values() if node.cluster_id == cluster_id)
        return sorted(found, key=lambda node: node.id)

    def _node(self, node_id: str) -> node_pb2.Node:
        if node_id not in self.nodes:
            raise NotFoundError(Reason.NODE_NOT_FOUND, "no such node", node_id=node_id)
        return self.nodes[node_id]

    def _devices_of(self, node_id: str) -> list[device_pb2.Device]:
        found = (device for device in self.devices.values() if device.node_id == node_id)
        return sorted(found, key=lambda device: device.id)

    async def add_node(self, node: NewNode, *, request_id: str | None = None) -> operation_pb2.Operation:
        self._called("add_node", node, request_id)
        self._cluster(node.cluster_id)
        for other in self.nodes.values():
            for hostname in node.manage_hostnames:
                if hostname in other.manage_hostnames:
                    raise AlreadyExistsError(
                        Reason.HOSTNAME_IN_USE, f"{hostname} is in use", hostname=hostname, node_id=other.id
                    )
        added = node_pb2.Node(
            id=new_id(),
            cluster_id=node.cluster_id,
            zone=node.zone,
            manage_hostnames=node.manage_hostnames,
            storage_hostnames=node.storage_hostnames,
            tags=node.tags,
            state=node_pb2.NODE_STATE_ONLINE,
        )
        spec = operation_pb2.OperationSpec(add_node=operation_pb2.AddNodeSpec(node=added))
        return self._begin(
            operation_pb2.OPERATION_KIND_ADD_NODE, spec, added.id, lambda: self.nodes.update({added.id: added})
        )

    async def get_node(self, node_id: str) -> tuple[node_pb2.Node, Sequence[device_pb2.Device]]:
        self._called("get_node", node_id)
        return self._node(node_id), self._devices_of(node_id)

    async def list_nodes(self, cluster_id: str = "") -> Sequence[node_pb2.Node]:
        return self._members(cluster_id) if cluster_id else list(self.nodes.values())

    async def delete_node(self, node_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        self._called("delete_node", node_id, request_id)
        self._node(node_id)
        if self._devices_of(node_id):
            raise FailedPreconditionError(Reason.NODE_NOT_EMPTY, "has devices", node_id=node_id)
        spec = operation_pb2.OperationSpec(delete_node=operation_pb2.DeleteNodeSpec(node_id=node_id))
        return self._begin(
            operation_pb2.OPERATION_KIND_DELETE_NODE, spec, node_id, lambda: self._forget(self.nodes, node_id)
        )

    @staticmethod
    def _forget(table: dict[str, node_pb2.Node] | dict[str, device_pb2.Device], key: str) -> None:
        del table[key]

    async def set_node_state(
        self,
        node_id: str,
        state: node_pb2.NodeState.ValueType,
        *,
        skip_heal_check: bool = False,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        self._called("set_node_state", (node_id, state, skip_heal_check), request_id)
        node = self._node(node_id)
        spec = operation_pb2.OperationSpec(
            set_node_state=operation_pb2.SetNodeStateSpec(node_id=node_id, state=state, skip_heal_check=skip_heal_check)
        )

        def ending() -> None:
            if node.state == node_pb2.NODE_STATE_FAILED and state != node.state:
                message = f"Cannot move a failed/removed node to {_NODE_STATE_NAMES[state]} state"
                raise FailedPreconditionError(Reason.NODE_STATE_CONFLICT, message)
            if node.state == node_pb2.NODE_STATE_ONLINE and state == node_pb2.NODE_STATE_FAILED:
                message = f"Node must be offline before remove operation is performed, node:{node_id}"
                raise FailedPreconditionError(Reason.NODE_STATE_CONFLICT, message)
            node.state = state

        return self._begin(operation_pb2.OPERATION_KIND_SET_NODE_STATE, spec, node_id, ending)

    async def update_node_tags(
        self, node_id: str, change: topology_service_pb2.TagChange.ValueType, tags: Mapping[str, str]
    ) -> Mapping[str, str]:
        self._called("update_node_tags", (node_id, change, dict(tags)))
        node = self._node(node_id)
        changed = _changed_tags(node.tags, change, tags)
        node.ClearField("tags")
        node.tags.update(changed)
        return changed

    # --- devices ------------------------------------------------------------------------------------------------------

    def _device(self, device_id: str) -> device_pb2.Device:
        if device_id not in self.devices:
            raise NotFoundError(Reason.DEVICE_NOT_FOUND, "no such device", device_id=device_id)
        return self.devices[device_id]

    async def add_device(self, device: NewDevice, *, request_id: str | None = None) -> operation_pb2.Operation:
        self._called("add_device", device, request_id)
        self._node(device.node_id)
        if any(other.path == device.path for other in self._devices_of(device.node_id)):
            raise AlreadyExistsError(Reason.DEVICE_PATH_IN_USE, f"{device.path} is a device already", path=device.path)
        added = device_pb2.Device(
            id=new_id(),
            node_id=device.node_id,
            path=device.path,
            tags=device.tags,
            state=device_pb2.DEVICE_STATE_ONLINE,
            total_bytes=DEVICE_BYTES,
            extent_size_bytes=EXTENT_BYTES,
        )
        spec = operation_pb2.OperationSpec(
            add_device=operation_pb2.AddDeviceSpec(device=added, destroy_data=device.destroy_data)
        )
        return self._begin(
            operation_pb2.OPERATION_KIND_ADD_DEVICE, spec, added.id, lambda: self.devices.update({added.id: added})
        )

    async def get_device(self, device_id: str) -> device_pb2.Device:
        self._called("get_device", device_id)
        return self._device(device_id)

    async def delete_device(
        self, device_id: str, *, force_forget: bool = False, request_id: str | None = None
    ) -> operation_pb2.Operation:
        self._called("delete_device", (device_id, force_forget), request_id)
        device = self._device(device_id)
        if device.state != device_pb2.DEVICE_STATE_FAILED:
            raise FailedPreconditionError(Reason.DEVICE_NOT_FAILED, "is in use", device_id=device_id)
        if device.bricks:
            raise FailedPreconditionError(Reason.DEVICE_NOT_EMPTY, "has bricks", device_id=device_id)
        spec = operation_pb2.OperationSpec(delete_device=operation_pb2.DeleteDeviceSpec(device_id=device_id))
        return self._begin(
            operation_pb2.OPERATION_KIND_DELETE_DEVICE, spec, device_id, lambda: self._forget(self.devices, device_id)
        )

    async def set_device_state(
        self,
        device_id: str,
        state: device_pb2.DeviceState.ValueType,
        *,
        skip_heal_check: bool = False,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        self._called("set_device_state", (device_id, state, skip_heal_check), request_id)
        device = self._device(device_id)
        spec = operation_pb2.OperationSpec(
            set_device_state=operation_pb2.SetDeviceStateSpec(device_id=device_id, state=state)
        )

        def ending() -> None:
            if device.state == device_pb2.DEVICE_STATE_FAILED and state == device_pb2.DEVICE_STATE_ONLINE:
                message = f"Cannot move a failed/removed device to {_DEVICE_STATE_NAMES[state]} state"
                raise FailedPreconditionError(Reason.DEVICE_STATE_CONFLICT, message)
            if device.state == device_pb2.DEVICE_STATE_ONLINE and state == device_pb2.DEVICE_STATE_FAILED:
                message = f"Device must be offline before remove operation is performed, device:{device_id}"
                raise FailedPreconditionError(Reason.DEVICE_STATE_CONFLICT, message)
            if state == device_pb2.DEVICE_STATE_FAILED and device.bricks:
                self._move_brick()
            device.state = state

        return self._begin(operation_pb2.OPERATION_KIND_SET_DEVICE_STATE, spec, device_id, ending)

    def _move_brick(self) -> None:
        raise FailedPreconditionError(Reason.REPLACEMENT_NOT_FOUND, "no other device has room")

    async def evict_brick(
        self, brick_id: str, *, skip_heal_check: bool = False, request_id: str | None = None
    ) -> operation_pb2.Operation:
        self._called("evict_brick", (brick_id, skip_heal_check), request_id)
        if any(brick.id == brick_id for device in self.devices.values() for brick in device.bricks):
            spec = operation_pb2.OperationSpec(evict_brick=operation_pb2.EvictBrickSpec(brick_id=brick_id))
            return self._begin(operation_pb2.OPERATION_KIND_EVICT_BRICK, spec, brick_id, self._move_brick)
        raise NotFoundError(Reason.BRICK_NOT_FOUND, f"brick {brick_id} does not exist", brick_id=brick_id)

    async def get_volume_heal(self, volume_id: str) -> Sequence[tuple[str, BrickHealFacts]]:
        self._called("get_volume_heal", volume_id)
        return [(brick.id, BrickHealFacts(name=brick.path, connected=True)) for brick in self.volumes[volume_id].bricks]

    async def resync_device(self, device_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        self._called("resync_device", device_id, request_id)
        device = self._device(device_id)
        spec = operation_pb2.OperationSpec(
            resync_device=operation_pb2.ResyncDeviceSpec(device_id=device_id, device=device)
        )

        def ending() -> None:
            device.total_bytes = DEVICE_BYTES

        return self._begin(operation_pb2.OPERATION_KIND_RESYNC_DEVICE, spec, device_id, ending)

    async def update_device_tags(
        self, device_id: str, change: topology_service_pb2.TagChange.ValueType, tags: Mapping[str, str]
    ) -> Mapping[str, str]:
        self._called("update_device_tags", (device_id, change, dict(tags)))
        device = self._device(device_id)
        changed = _changed_tags(device.tags, change, tags)
        device.ClearField("tags")
        device.tags.update(changed)
        return changed


def _changed_tags(
    tags: Mapping[str, str], change: topology_service_pb2.TagChange.ValueType, given: Mapping[str, str]
) -> dict[str, str]:
    if change == topology_service_pb2.TAG_CHANGE_DELETE:
        return {name: value for name, value in tags.items() if name not in given}
    changed = dict(given) if change == topology_service_pb2.TAG_CHANGE_SET else {**tags, **given}
    if len(changed) > MAX_TAGS:
        raise InvalidArgumentError(
            Reason.TOO_MANY_TAGS, f"too many tags specified ({len(changed)}), up to {MAX_TAGS} supported"
        )
    return changed
