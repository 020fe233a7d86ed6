"""The gRPC face of the topology's objects: translates requests and answers, decides nothing."""

from collections.abc import Iterator

import grpc

from brickyard.topology.v1 import (
    books_pb2,
    records_pb2,
    topology_service_pb2,
    topology_service_pb2_grpc,
    volume_pb2,
)
from services.common.pagination import decode_page_token, encode_page_token, page_size
from services.topology.convert import tag_change
from services.topology.store import Store
from services.topology.usecases import (
    backup,
    block_volumes,
    brick_order,
    brick_sets,
    bricks,
    clusters,
    consistency,
    devices,
    ghosts,
    inventory,
    nodes,
    record_import,
    recorded,
    records,
    volumes,
)

_PAGE = {"default": 1000, "maximum": 10_000}


def _next_token(ids: list[str], count: int) -> str:
    return encode_page_token(ids[-1]) if len(ids) == count else ""


class TopologyServicer(topology_service_pb2_grpc.TopologyServiceServicer):
    """TopologyService on a store. Domain errors go to the interceptor."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def CreateCluster(
        self, request: topology_service_pb2.CreateClusterRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.CreateClusterResponse:
        """Makes an empty cluster."""
        del context
        made = clusters.create(
            self._store,
            request_id=request.request_id,
            file_enabled=request.file_enabled,
            block_enabled=request.block_enabled,
        )
        return topology_service_pb2.CreateClusterResponse(cluster=made)

    def GetCluster(
        self, request: topology_service_pb2.GetClusterRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.GetClusterResponse:
        """One cluster with its members."""
        del context
        return topology_service_pb2.GetClusterResponse(cluster=clusters.get(self._store, request.cluster_id))

    def ListClusters(
        self, request: topology_service_pb2.ListClustersRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.ListClustersResponse:
        """A page of clusters."""
        del context
        count = page_size(request.page_size, **_PAGE)
        page = clusters.list_page(self._store, after=decode_page_token(request.page_token), count=count)
        token = _next_token([each.id for each in page], count)
        return topology_service_pb2.ListClustersResponse(clusters=page, next_page_token=token)

    def SetClusterFlags(
        self, request: topology_service_pb2.SetClusterFlagsRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.SetClusterFlagsResponse:
        """Sets which volumes a cluster takes."""
        del context
        changed = clusters.set_flags(
            self._store,
            request.cluster_id,
            file_enabled=request.file_enabled,
            block_enabled=request.block_enabled,
        )
        return topology_service_pb2.SetClusterFlagsResponse(cluster=changed)

    def DeleteCluster(
        self, request: topology_service_pb2.DeleteClusterRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.DeleteClusterResponse:
        """Removes an empty cluster."""
        del context
        clusters.remove(self._store, request.cluster_id)
        return topology_service_pb2.DeleteClusterResponse()

    def GetNode(
        self, request: topology_service_pb2.GetNodeRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.GetNodeResponse:
        """One node with its devices."""
        del context
        node, its_devices = nodes.get(self._store, request.node_id)
        return topology_service_pb2.GetNodeResponse(node=node, devices=its_devices)

    def ListNodes(
        self, request: topology_service_pb2.ListNodesRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.ListNodesResponse:
        """A page of nodes."""
        del context
        count = page_size(request.page_size, **_PAGE)
        page = nodes.list_page(
            self._store, cluster_id=request.cluster_id, after=decode_page_token(request.page_token), count=count
        )
        token = _next_token([each.id for each in page], count)
        return topology_service_pb2.ListNodesResponse(nodes=page, next_page_token=token)

    def UpdateNodeTags(
        self, request: topology_service_pb2.UpdateNodeTagsRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.UpdateNodeTagsResponse:
        """Changes the tags of a node."""
        del context
        tags = nodes.update_tags(self._store, request.node_id, tag_change(request.change), dict(request.tags))
        return topology_service_pb2.UpdateNodeTagsResponse(tags=tags)

    def CheckNewNode(
        self, request: topology_service_pb2.CheckNewNodeRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.CheckNewNodeResponse:
        """Whether a node may be added."""
        del context
        members = nodes.check_new(
            self._store,
            cluster_id=request.cluster_id,
            manage=list(request.manage_hostnames),
            storage=list(request.storage_hostnames),
        )
        return topology_service_pb2.CheckNewNodeResponse(nodes=members)

    def GetDevice(
        self, request: topology_service_pb2.GetDeviceRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.GetDeviceResponse:
        """One device with its bricks and its node."""
        del context
        device, node = devices.get(self._store, request.device_id)
        return topology_service_pb2.GetDeviceResponse(device=device, node=node)

    def UpdateDeviceTags(
        self, request: topology_service_pb2.UpdateDeviceTagsRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.UpdateDeviceTagsResponse:
        """Changes the tags of a device."""
        del context
        tags = devices.update_tags(self._store, request.device_id, tag_change(request.change), dict(request.tags))
        return topology_service_pb2.UpdateDeviceTagsResponse(tags=tags)

    def GetVolume(
        self, request: topology_service_pb2.GetVolumeRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.GetVolumeResponse:
        """One volume with its bricks and mount hosts."""
        del context
        volume, hosts = volumes.get(self._store, request.volume_id)
        return topology_service_pb2.GetVolumeResponse(volume=volume, mount_hosts=hosts)

    def GetBrick(
        self, request: topology_service_pb2.GetBrickRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.GetBrickResponse:
        """One brick and its volume."""
        del context
        brick, volume = bricks.get(self._store, request.brick_id)
        return topology_service_pb2.GetBrickResponse(brick=brick, volume=volume)

    def ListVolumes(
        self, request: topology_service_pb2.ListVolumesRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.ListVolumesResponse:
        """A page of volumes."""
        del context
        count = page_size(request.page_size, **_PAGE)
        after = decode_page_token(request.page_token)
        if request.ids_only:
            ids = volumes.list_ids(self._store, cluster_id=request.cluster_id, after=after, count=count)
            page = [volume_pb2.Volume(id=each) for each in ids]
        else:
            page = volumes.list_page(
                self._store,
                cluster_id=request.cluster_id,
                after=after,
                count=count,
                with_bricks=request.with_bricks,
            )
        token = _next_token([each.id for each in page], count)
        return topology_service_pb2.ListVolumesResponse(volumes=page, next_page_token=token)

    def GetBlockVolume(
        self, request: topology_service_pb2.GetBlockVolumeRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.GetBlockVolumeResponse:
        """One block volume."""
        del context
        found = block_volumes.get(self._store, request.block_volume_id)
        return topology_service_pb2.GetBlockVolumeResponse(block_volume=found)

    def ListBlockVolumes(
        self, request: topology_service_pb2.ListBlockVolumesRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.ListBlockVolumesResponse:
        """A page of block volumes."""
        del context
        count = page_size(request.page_size, **_PAGE)
        page = block_volumes.list_page(
            self._store, cluster_id=request.cluster_id, after=decode_page_token(request.page_token), count=count
        )
        token = _next_token([each.id for each in page], count)
        return topology_service_pb2.ListBlockVolumesResponse(block_volumes=page, next_page_token=token)

    def FindHostingVolumes(
        self, request: topology_service_pb2.FindHostingVolumesRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.FindHostingVolumesResponse:
        """Hosting volumes with room for a block volume."""
        del context
        return block_volumes.find_hosting_volumes(
            self._store, cluster_ids=list(request.cluster_ids), size_bytes=request.size_bytes, name=request.name
        )

    def GetInventory(
        self, request: topology_service_pb2.GetInventoryRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.GetInventoryResponse:
        """What placement needs to know of a cluster."""
        del context
        return inventory.get(
            self._store,
            request.cluster_id,
            since_revision=request.since_revision,
            all_node_sets=request.all_node_sets,
        )

    def ListReservations(
        self, request: topology_service_pb2.ListReservationsRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.ListReservationsResponse:
        """What running operations have set aside."""
        del context
        found = brick_sets.reservations(self._store, request.cluster_id)
        return topology_service_pb2.ListReservationsResponse(reservations=found)

    def ListCandidateClusters(
        self, request: topology_service_pb2.ListCandidateClustersRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.ListCandidateClustersResponse:
        """Which clusters can take a volume at all."""
        del context
        candidates = clusters.list_candidates(
            self._store,
            cluster_ids=list(request.cluster_ids),
            volume_name=request.volume_name,
            block=request.block,
            max_volumes=request.max_volumes_per_cluster,
        )
        return topology_service_pb2.ListCandidateClustersResponse(clusters=candidates)

    def CheckConsistency(
        self, request: topology_service_pb2.CheckConsistencyRequest, context: grpc.ServicerContext
    ) -> topology_service_pb2.CheckConsistencyResponse:
        """Compares the books with themselves."""
        del request, context
        invariants, count = consistency.prove(self._store)
        violations = [text for invariant in invariants for text in invariant.violations]
        return topology_service_pb2.CheckConsistencyResponse(
            violations=violations, checked_count=count, invariants=invariants
        )

    def GetBooks(self, request: books_pb2.GetBooksRequest, context: grpc.ServicerContext) -> books_pb2.GetBooksResponse:
        """Everything that is recorded, at one moment."""
        del context
        since = request.ended_since if request.HasField("ended_since") else None
        return recorded.get(self._store, request.cluster_id, since)

    def DropGhosts(
        self, request: books_pb2.DropGhostsRequest, context: grpc.ServicerContext
    ) -> books_pb2.DropGhostsResponse:
        """Forgets bricks that exist nowhere."""
        del context
        dropped = ghosts.drop(
            self._store,
            volume_id=request.volume_id,
            brick_ids=request.brick_ids,
            reclaimed_brick_ids=request.reclaimed_brick_ids,
        )
        return books_pb2.DropGhostsResponse(volume_dropped=dropped)

    def ExportRecords(
        self, request: records_pb2.ExportRecordsRequest, context: grpc.ServicerContext
    ) -> Iterator[records_pb2.ExportRecordsResponse]:
        """Everything that is recorded, in parts."""
        del request, context
        for part in records.export(self._store):
            yield records_pb2.ExportRecordsResponse(records=part)

    def ImportRecords(
        self, request: records_pb2.ImportRecordsRequest, context: grpc.ServicerContext
    ) -> records_pb2.ImportRecordsResponse:
        """Records everything at once, or nothing."""
        del context
        count, refusals = record_import.take_over(self._store, request.records, validate_only=request.validate_only)
        return records_pb2.ImportRecordsResponse(object_count=count, refusals=refusals)

    def SetBrickOrder(
        self, request: records_pb2.SetBrickOrderRequest, context: grpc.ServicerContext
    ) -> records_pb2.SetBrickOrderResponse:
        """Corrects the order of the bricks of a volume that was taken over."""
        del context
        brick_order.set_order(self._store, volume_id=request.volume_id, brick_ids=request.brick_ids)
        return records_pb2.SetBrickOrderResponse()

    def BackUp(
        self, request: records_pb2.BackUpRequest, context: grpc.ServicerContext
    ) -> Iterator[records_pb2.BackUpResponse]:
        """An archive of the whole database."""
        del request, context
        for chunk in backup.back_up(self._store):
            yield records_pb2.BackUpResponse(chunk=chunk)
