"""The use cases over clusters, nodes and devices."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from brickyard.executor.v1.executor_service_pb2 import GetGlusterdRequest
from brickyard.topology.v1 import (
    cluster_pb2,
    device_pb2,
    node_pb2,
    operation_pb2,
    operation_service_pb2,
    topology_service_pb2,
)
from gateway.clients import AgentCaller, first_running_glusterd
from gateway.operations.engine import OperationEngine
from gateway.usecases.placement import fingerprint
from gateway.usecases.port import NewDevice, NewNode
from gateway.usecases.validation import check_id, check_new_device, check_new_node, check_request_id, check_tags
from services.common.channels import call_aio
from services.common.errors import BrickyardError, FailedPreconditionError, NotFoundError
from services.common.ids import new_id
from services.common.reasons import Reason

# The topology's largest page.
_PAGE = 10_000


class TopologyUseCases:
    """Clusters, nodes and devices; see `UseCases` for each."""

    def __init__(self, *, topology: Any, operations: Any, agents: AgentCaller, engine: OperationEngine) -> None:
        """`topology` and `operations` are the stubs of the topology's services."""
        self._topology = topology
        self._operations = operations
        self._agents = agents
        self._engine = engine

    async def _pages(self, method: Any, request: Any, field: str) -> list[Any]:
        items: list[Any] = []
        request.page_size = _PAGE
        while True:
            answer = await call_aio(method, request)
            items.extend(getattr(answer, field))
            if not answer.next_page_token:
                return items
            request.page_token = answer.next_page_token

    async def _begin(
        self, spec: operation_pb2.OperationSpec, request_id: str | None, asked: object
    ) -> operation_pb2.Operation:
        if request_id is not None:
            check_request_id(request_id)
        kind = spec.WhichOneof("kind") or ""
        return await self._engine.begin(spec, request_id=request_id or new_id(), fingerprint=fingerprint(kind, asked))

    async def _repeated(
        self, spec: operation_pb2.OperationSpec, request_id: str | None, asked: object
    ) -> operation_pb2.Operation | None:
        """The operation that an earlier call with this request id began; None when there was none.

        Comes before checks of the state, which the earlier call itself has changed since. `spec` only tells the kind.

        Raises:
            BrickyardError: REQUEST_ID_REUSED, the earlier call asked for something else.
        """
        if request_id is None:
            return None
        check_request_id(request_id)
        try:
            await call_aio(
                self._operations.GetOperation, operation_service_pb2.GetOperationRequest(request_id=request_id)
            )
        except NotFoundError:
            return None
        return await self._begin(spec, request_id, asked)

    async def create_cluster(
        self, *, file_enabled: bool, block_enabled: bool, request_id: str | None = None
    ) -> cluster_pb2.Cluster:
        """See `UseCases`."""
        if request_id is not None:
            check_request_id(request_id)
        answer = await call_aio(
            self._topology.CreateCluster,
            topology_service_pb2.CreateClusterRequest(
                request_id=request_id or new_id(), file_enabled=file_enabled, block_enabled=block_enabled
            ),
        )
        cluster: cluster_pb2.Cluster = answer.cluster
        return cluster

    async def get_cluster(self, cluster_id: str) -> cluster_pb2.Cluster:
        """See `UseCases`."""
        answer = await call_aio(
            self._topology.GetCluster, topology_service_pb2.GetClusterRequest(cluster_id=cluster_id)
        )
        cluster: cluster_pb2.Cluster = answer.cluster
        return cluster

    async def list_clusters(self) -> Sequence[cluster_pb2.Cluster]:
        """See `UseCases`."""
        return await self._pages(self._topology.ListClusters, topology_service_pb2.ListClustersRequest(), "clusters")

    async def set_cluster_flags(
        self, cluster_id: str, *, file_enabled: bool, block_enabled: bool
    ) -> cluster_pb2.Cluster:
        """See `UseCases`."""
        answer = await call_aio(
            self._topology.SetClusterFlags,
            topology_service_pb2.SetClusterFlagsRequest(
                cluster_id=cluster_id, file_enabled=file_enabled, block_enabled=block_enabled
            ),
        )
        cluster: cluster_pb2.Cluster = answer.cluster
        return cluster

    async def delete_cluster(self, cluster_id: str) -> None:
        """See `UseCases`."""
        await call_aio(self._topology.DeleteCluster, topology_service_pb2.DeleteClusterRequest(cluster_id=cluster_id))

    async def add_node(self, node: NewNode, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_new_node(node)
        first = await self._repeated(
            operation_pb2.OperationSpec(add_node=operation_pb2.AddNodeSpec()), request_id, node
        )
        if first is not None:
            return first
        probing = await self._check_joining(node)
        spec = operation_pb2.OperationSpec(
            add_node=operation_pb2.AddNodeSpec(
                node=node_pb2.Node(
                    id=new_id(),
                    cluster_id=node.cluster_id,
                    zone=node.zone,
                    manage_hostnames=node.manage_hostnames,
                    storage_hostnames=node.storage_hostnames,
                    tags=node.tags,
                    state=node_pb2.NODE_STATE_ONLINE,
                ),
                probing_node_id=probing.id if probing is not None else "",
            )
        )
        return await self._begin(spec, request_id, node)

    async def _check_joining(self, node: NewNode) -> node_pb2.Node | None:
        """The node of the cluster that can probe the new one; None when it is the first.

        Raises:
            BrickyardError: Cluster unknown, a host name in use, or glusterd does not answer where it must.
        """
        answer: topology_service_pb2.CheckNewNodeResponse = await call_aio(
            self._topology.CheckNewNode,
            topology_service_pb2.CheckNewNodeRequest(
                cluster_id=node.cluster_id,
                manage_hostnames=node.manage_hostnames,
                storage_hostnames=node.storage_hostnames,
            ),
        )
        online = [member for member in answer.nodes if member.state == node_pb2.NODE_STATE_ONLINE]
        new, probing = await asyncio.gather(
            self._running_glusterd(node.manage_hostnames[0]), first_running_glusterd(self._agents, online)
        )
        if answer.nodes and probing is None:
            raise FailedPreconditionError(
                Reason.GLUSTERD_NOT_RUNNING,
                "None of the nodes in cluster has glusterd running",
                cluster_id=node.cluster_id,
            )
        if new is not None:
            raise FailedPreconditionError(
                Reason.GLUSTERD_NOT_RUNNING,
                "New Node doesn't have glusterd running",
                hostname=node.manage_hostnames[0],
                cause=new,
            )
        return probing

    async def _running_glusterd(self, hostname: str) -> str | None:
        """None when the node's agent reports a running glusterd, otherwise what is wrong."""
        try:
            answer = await self._agents.call(hostname, "GetGlusterd", GetGlusterdRequest())
        except BrickyardError as error:
            return error.message
        return None if answer.glusterd.running else f"glusterd on {hostname} does not answer"

    async def get_node(self, node_id: str) -> tuple[node_pb2.Node, Sequence[device_pb2.Device]]:
        """See `UseCases`."""
        answer = await call_aio(self._topology.GetNode, topology_service_pb2.GetNodeRequest(node_id=node_id))
        return answer.node, answer.devices

    async def list_nodes(self, cluster_id: str = "") -> Sequence[node_pb2.Node]:
        """See `UseCases`."""
        return await self._pages(
            self._topology.ListNodes, topology_service_pb2.ListNodesRequest(cluster_id=cluster_id), "nodes"
        )

    async def delete_node(self, node_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("node_id", node_id)
        spec = operation_pb2.OperationSpec(delete_node=operation_pb2.DeleteNodeSpec(node_id=node_id))
        return await self._begin(spec, request_id, node_id)

    async def set_node_state(
        self,
        node_id: str,
        state: node_pb2.NodeState.ValueType,
        *,
        skip_heal_check: bool = False,
        request_id: str | None = None,
        reason: str = "",
    ) -> operation_pb2.Operation:
        """See `UseCases`; `reason` tells why, when nobody asked for it."""
        check_id("node_id", node_id)
        spec = operation_pb2.OperationSpec(
            set_node_state=operation_pb2.SetNodeStateSpec(
                node_id=node_id, state=state, skip_heal_check=skip_heal_check, reason=reason
            )
        )
        return await self._begin(spec, request_id, (node_id, state, skip_heal_check))

    async def update_node_tags(
        self, node_id: str, change: topology_service_pb2.TagChange.ValueType, tags: Mapping[str, str]
    ) -> Mapping[str, str]:
        """See `UseCases`."""
        if change != topology_service_pb2.TAG_CHANGE_DELETE:
            check_tags(tags)
        answer = await call_aio(
            self._topology.UpdateNodeTags,
            topology_service_pb2.UpdateNodeTagsRequest(node_id=node_id, change=change, tags=tags),
        )
        return dict(answer.tags)

    async def add_device(self, device: NewDevice, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_new_device(device)
        spec = operation_pb2.OperationSpec(
            add_device=operation_pb2.AddDeviceSpec(
                device=device_pb2.Device(
                    id=new_id(),
                    node_id=device.node_id,
                    path=device.path,
                    tags=device.tags,
                    state=device_pb2.DEVICE_STATE_ONLINE,
                ),
                destroy_data=device.destroy_data,
            )
        )
        return await self._begin(spec, request_id, device)

    async def get_device(self, device_id: str) -> device_pb2.Device:
        """See `UseCases`."""
        answer = await call_aio(self._topology.GetDevice, topology_service_pb2.GetDeviceRequest(device_id=device_id))
        device: device_pb2.Device = answer.device
        return device

    async def delete_device(
        self, device_id: str, *, force_forget: bool = False, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("device_id", device_id)
        spec = operation_pb2.OperationSpec(
            delete_device=operation_pb2.DeleteDeviceSpec(device_id=device_id, force_forget=force_forget)
        )
        return await self._begin(spec, request_id, (device_id, force_forget))

    async def set_device_state(
        self,
        device_id: str,
        state: device_pb2.DeviceState.ValueType,
        *,
        skip_heal_check: bool = False,
        request_id: str | None = None,
        parent_id: str = "",
    ) -> operation_pb2.Operation:
        """See `UseCases`; `parent_id` names the operation that it is a part of."""
        check_id("device_id", device_id)
        spec = operation_pb2.OperationSpec(
            set_device_state=operation_pb2.SetDeviceStateSpec(
                device_id=device_id, state=state, skip_heal_check=skip_heal_check, parent_operation_id=parent_id
            )
        )
        return await self._begin(spec, request_id, (device_id, state, skip_heal_check))

    async def resync_device(self, device_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("device_id", device_id)
        spec = operation_pb2.OperationSpec(resync_device=operation_pb2.ResyncDeviceSpec(device_id=device_id))
        return await self._begin(spec, request_id, device_id)

    async def update_device_tags(
        self, device_id: str, change: topology_service_pb2.TagChange.ValueType, tags: Mapping[str, str]
    ) -> Mapping[str, str]:
        """See `UseCases`."""
        if change != topology_service_pb2.TAG_CHANGE_DELETE:
            check_tags(tags)
        answer = await call_aio(
            self._topology.UpdateDeviceTags,
            topology_service_pb2.UpdateDeviceTagsRequest(device_id=device_id, change=change, tags=tags),
        )
        return dict(answer.tags)
