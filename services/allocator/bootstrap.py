"""Puts the allocator together: topology client, inventory, servicer, server."""

from brickyard.allocator.v1.allocator_service_pb2_grpc import add_AllocatorServiceServicer_to_server
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from services.allocator.domain.strategies import SpreadWeights
from services.allocator.inventory import InventoryCache
from services.allocator.servicer import ACCESS, SERVICE, AllocatorServicer
from services.common.channels import call, open_channel
from services.common.identity import Role
from services.common.server import RunningServer, ServedService, run_until_stopped
from services.common.settings import ServerSettings


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
    server = RunningServer(
        [ServedService(SERVICE, lambda server: add_AllocatorServiceServicer_to_server(servicer, server))],
        settings,
        ACCESS,
    )
    run_until_stopped(server, process="brickyard-allocator", on_stop=channel.close)
