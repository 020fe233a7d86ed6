"""Puts the allocator together: topology client, inventory, servicer, server."""

from brickyard.allocator.v1.allocator_service_pb2_grpc import add_AllocatorServiceServicer_to_server
from brickyard.topology.v1 import identity_service_pb2, identity_service_pb2_grpc
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from services.allocator.domain.strategies import SpreadWeights
from services.allocator.inventory import InventoryCache
from services.allocator.servicer import ACCESS, SERVICE, AllocatorServicer
from services.common.channels import call, open_channel
from services.common.identity import Role
from services.common.keeper import keep_identity
from services.common.server import RunningServer, ServedService, run_until_stopped
from services.common.settings import ServerSettings
from services.common.trust import TrustList


def run_allocator(settings: ServerSettings, *, topology: str, weights: SpreadWeights | None = None) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        settings: Where and how it listens.
        topology: Address of the topology service.
        weights: Of the spread strategy; None for the defaults.

    Raises:
        FailedPreconditionError: An address cannot be bound.
    """
    channel = open_channel(topology, settings.tls, role=Role.TOPOLOGY)
    stub = TopologyServiceStub(channel)
    servicer = AllocatorServicer(
        InventoryCache(lambda request: call(stub.GetInventory, request)),
        lambda request: call(stub.ListCandidateClusters, request),
        lambda request: call(stub.ListReservations, request),
        weights,
    )
    trust = TrustList()
    keeper = keep_identity(settings, topology, trust, identity_service_pb2, identity_service_pb2_grpc)
    server = RunningServer(
        [ServedService(SERVICE, lambda server: add_AllocatorServiceServicer_to_server(servicer, server))],
        settings,
        ACCESS,
        trust=trust,
    )

    def close() -> None:
        if keeper is not None:
            keeper.stop()
        channel.close()

    run_until_stopped(server, process="brickyard-allocator", on_stop=close)
