"""An allocator in this process on a topology in memory, for the contract tests."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.allocator.v1.allocator_service_pb2_grpc import (
    AllocatorServiceStub,
    add_AllocatorServiceServicer_to_server,
)
from brickyard.topology.v1 import device_pb2, inventory_pb2, node_pb2, topology_service_pb2, volume_pb2
from services.allocator.inventory import InventoryCache
from services.allocator.servicer import ACCESS, SERVICE, AllocatorServicer
from services.common.channels import call, open_channel
from services.common.errors import BrickyardError, NotFoundError
from services.common.reasons import Reason
from services.common.server import RunningServer, ServedService
from services.common.settings import ServerSettings

GIB = 1 << 30
MIB = 1 << 20
REPLICA_3 = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)
Request = Callable[..., Any]


class FakeTopology:
    """Clusters with an inventory each, and what their candidacy is refused for."""

    def __init__(self) -> None:
        self.inventories: dict[str, topology_service_pb2.GetInventoryResponse] = {}
        self.refusals: dict[str, inventory_pb2.CandidateCluster] = {}
        self.reservations: list[inventory_pb2.Reservation] = []
        self.asked: list[Any] = []
        self.failure: BrickyardError | None = None

    def add(self, cluster_id: str, *, nodes: int = 3, free_gib: int = 100, revision: int = 1) -> None:
        answer = topology_service_pb2.GetInventoryResponse(revision=revision, complete=True)
        for number in range(1, nodes + 1):
            node_id = f"{cluster_id[0]}{number:031x}"
            answer.nodes.append(
                inventory_pb2.InventoryNode(
                    id=node_id, zone=number, state=node_pb2.NODE_STATE_ONLINE, hostname=f"node{number}"
                )
            )
            answer.devices.append(
                inventory_pb2.InventoryDevice(
                    id=f"{cluster_id[0]}d{number:030x}",
                    node_id=node_id,
                    state=device_pb2.DEVICE_STATE_ONLINE,
                    total_bytes=100 * GIB,
                    free_bytes=free_gib * GIB,
                    extent_size_bytes=4 * MIB,
                    tags={"tier": "fast" if number == 1 else "slow"},
                    path="/dev/sdb",
                )
            )
        self.inventories[cluster_id] = answer

    def refuse(self, cluster_id: str, reason: Reason, *, volume_count: int = 0) -> None:
        self.refusals[cluster_id] = inventory_pb2.CandidateCluster(
            cluster_id=cluster_id, refusal_reason=reason.value, volume_count=volume_count
        )

    def get_inventory(
        self, request: topology_service_pb2.GetInventoryRequest
    ) -> topology_service_pb2.GetInventoryResponse:
        self.asked.append(request)
        if self.failure:
            raise self.failure
        known = self.inventories.get(request.cluster_id)
        if known is None:
            raise NotFoundError(Reason.CLUSTER_NOT_FOUND, f"cluster {request.cluster_id!r} not found")
        if request.since_revision == known.revision:
            return topology_service_pb2.GetInventoryResponse(revision=known.revision, outages=known.outages)
        return known

    def list_candidates(
        self, request: topology_service_pb2.ListCandidateClustersRequest
    ) -> topology_service_pb2.ListCandidateClustersResponse:
        self.asked.append(request)
        if self.failure:
            raise self.failure
        ids = list(request.cluster_ids) or sorted(self.inventories)
        for cluster_id in ids:
            if cluster_id not in self.inventories:
                raise NotFoundError(Reason.CLUSTER_NOT_FOUND, f"cluster {cluster_id!r} not found")
        return topology_service_pb2.ListCandidateClustersResponse(
            clusters=[self.refusals.get(each, inventory_pb2.CandidateCluster(cluster_id=each)) for each in ids]
        )

    def list_reservations(
        self, request: topology_service_pb2.ListReservationsRequest
    ) -> topology_service_pb2.ListReservationsResponse:
        self.asked.append(request)
        return topology_service_pb2.ListReservationsResponse(reservations=self.reservations)


@contextmanager
def served_allocator(topology: FakeTopology) -> Iterator[Request]:
    """Calls an RPC by its name; a refusal is raised as the class that the server raised."""
    servicer = AllocatorServicer(
        InventoryCache(topology.get_inventory), topology.list_candidates, topology.list_reservations
    )
    with tempfile.TemporaryDirectory() as directory:
        address = f"unix:{Path(directory)}/s"
        server = RunningServer(
            [ServedService(SERVICE, lambda server: add_AllocatorServiceServicer_to_server(servicer, server))],
            ServerSettings(listen=(address,), tls=None, insecure_plaintext=False, grace_s=0.5),
            ACCESS,
            workers=4,
        )
        channel = open_channel(address, None)
        stub: Any = AllocatorServiceStub(channel)

        def request(method: str, **fields: Any) -> Any:
            return call(getattr(stub, method), getattr(pb, f"{method}Request")(**fields), timeout_s=10)

        try:
            yield request
        finally:
            channel.close()
            server.stop()


def rules(**fields: Any) -> pb.PlacementRules:
    """Three copies with a seed, and what is given."""
    return pb.PlacementRules(**{"durability": REPLICA_3, "seed": "a seed", **fields})
