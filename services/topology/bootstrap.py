"""Puts the topology together: store, schema, services, upkeep. The only place that does."""

import threading
from collections.abc import Callable

from brickyard.topology.v1 import health_service_pb2_grpc, operation_service_pb2_grpc, topology_service_pb2_grpc
from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.common.metrics import REGISTRY
from services.common.server import RunningServer, ServedService
from services.common.settings import ServerSettings
from services.topology import migrations
from services.topology.access import HEALTH_SERVICE, OPERATION_SERVICE, POLICY, TOPOLOGY_SERVICE
from services.topology.domain.eviction import EvictionRules
from services.topology.health_servicer import HealthServicer
from services.topology.metrics import StoredOperations
from services.topology.operation_servicer import OperationServicer
from services.topology.servicer import TopologyServicer
from services.topology.store import Store
from services.topology.usecases import leases
from services.topology.usecases.feed import ChangeFeed
from services.topology.usecases.health import NEVER

_log = get_logger()
WORKERS = 32
# Watchers hold a thread each; half of the threads stay for calls that end.
MAX_WATCHERS = WORKERS // 2
_PRUNE_INTERVAL_S = 600.0


class Topology:
    """A topology on one database, ready to be served."""

    def __init__(
        self,
        database_url: str,
        *,
        clock: Callable[[], int] | None = None,
        max_watchers: int = MAX_WATCHERS,
        connections: int = WORKERS,
        eviction: EvictionRules = NEVER,
    ) -> None:
        """Opens the database and brings its schema up to date.

        Args:
            database_url: See `Store`.
            clock: See `Store`.
            max_watchers: How many calls may watch at a time.
            connections: Database connections at most.
            eviction: Which silent nodes are emptied by themselves.

        Raises:
            InvalidArgumentError: The URL is of no supported database.
            UnavailableError: The database does not answer.
        """
        self.store = Store(database_url, clock=clock, connections=connections)
        self.feed = ChangeFeed()
        self.store.write(lambda tx: migrations.upgrade(tx.connection))
        self.topology = TopologyServicer(self.store)
        self.operations = OperationServicer(self.store, self.feed, max_watchers=max_watchers)
        self.health = HealthServicer(self.store, eviction)
        self._shown = StoredOperations(self.store)
        self._stopping = threading.Event()
        self._upkeep = threading.Thread(target=self._prune, name="prune", daemon=True)

    @property
    def services(self) -> list[ServedService]:
        """All services, for a server."""
        return [
            ServedService(
                TOPOLOGY_SERVICE,
                lambda server: topology_service_pb2_grpc.add_TopologyServiceServicer_to_server(self.topology, server),
            ),
            ServedService(
                OPERATION_SERVICE,
                lambda server: operation_service_pb2_grpc.add_OperationServiceServicer_to_server(
                    self.operations, server
                ),
            ),
            ServedService(
                HEALTH_SERVICE,
                lambda server: health_service_pb2_grpc.add_HealthServiceServicer_to_server(self.health, server),
            ),
        ]

    def start_upkeep(self) -> None:
        """Begins to forget what ended long ago, every ten minutes, and to show what there is to Prometheus."""
        REGISTRY.register(self._shown)
        self._upkeep.start()

    def _prune(self) -> None:
        while not self._stopping.wait(_PRUNE_INTERVAL_S):
            try:
                _log.debug("operations.pruned", count=leases.prune(self.store))
            except BrickyardError as error:
                # The database is away; the next round does it.
                _log.warning("operations.not_pruned", error=error.message)

    def close(self) -> None:
        """Ends watching and upkeep, and closes the database."""
        self.feed.close()
        self._stopping.set()
        if self._upkeep.is_alive():
            self._upkeep.join()
            REGISTRY.unregister(self._shown)
        self.store.close()


class TopologyServer(RunningServer):
    """The server of a topology; watchers leave at once when it stops, other calls get the grace time."""

    def __init__(self, topology: Topology, settings: ServerSettings) -> None:
        """Serves `topology` as `settings` say. Raises FailedPreconditionError when an address cannot be bound."""
        self._topology = topology
        super().__init__(topology.services, settings, POLICY, workers=WORKERS, check_ready=topology.store.check_ready)

    def stop(self) -> None:
        """Sends the watchers away, then stops as every server does."""
        self._topology.feed.close()
        super().stop()
