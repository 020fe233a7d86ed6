"""Puts the topology together: store, schema, services, upkeep. The only place that does."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from brickyard.topology.v1 import (
    health_service_pb2_grpc,
    identity_service_pb2_grpc,
    join_service_pb2_grpc,
    operation_service_pb2_grpc,
    topology_service_pb2_grpc,
)
from services.common.certificates import read_certificate
from services.common.credentials import TlsFiles
from services.common.errors import BrickyardError
from services.common.keeper import IdentityKeeper
from services.common.logs import get_logger
from services.common.metrics import REGISTRY
from services.common.server import RunningServer, ServedService
from services.common.settings import ServerSettings
from services.common.trust import Trust, TrustList
from services.topology import migrations
from services.topology.access import (
    HEALTH_SERVICE,
    IDENTITY_SERVICE,
    JOIN_POLICY,
    JOIN_SERVICE,
    OPERATION_SERVICE,
    POLICY,
    TOPOLOGY_SERVICE,
)
from services.topology.domain.eviction import EvictionRules
from services.topology.health_servicer import HealthServicer
from services.topology.identity_servicer import IdentityServicer, JoinServicer
from services.topology.metrics import StoredOperations
from services.topology.operation_servicer import OperationServicer
from services.topology.servicer import TopologyServicer
from services.topology.store import Store
from services.topology.usecases import leases
from services.topology.usecases.feed import ChangeFeed
from services.topology.usecases.health import NEVER
from services.topology.usecases.identities import Identities

_log = get_logger()
WORKERS = 32
# Watchers hold a thread each; half of the threads stay for calls that end.
MAX_WATCHERS = WORKERS // 2
_PRUNE_INTERVAL_S = 600.0
# Whoever has no certificate yet gets little room.
_JOIN_WORKERS = 4
_MOST_JOINS = 16
_MOST_JOIN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """How a topology signs certificates.

    Attributes:
        directory: Of `brickyard ca init`; None = it signs none.
        lifetime: Of certificates for agents that join.
        join_listen: Address where agents join, "host:port"; empty = none do.
        join_address: Where nodes find it; empty = as join_listen.
        topology_address: Where agents find the topology itself, to renew their certificates; empty = not told.
    """

    directory: Path | None = None
    lifetime: timedelta = timedelta(hours=24)
    join_listen: str = ""
    join_address: str = ""
    topology_address: str = ""


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
        authority: AuthoritySettings | None = None,
    ) -> None:
        """Opens the database and brings its schema up to date.

        Args:
            database_url: See `Store`.
            clock: See `Store`.
            max_watchers: How many calls may watch at a time.
            connections: Database connections at most.
            eviction: Which silent nodes are emptied by themselves.
            authority: How it signs certificates.

        Raises:
            InvalidArgumentError: The URL is of no supported database.
            UnavailableError: The database does not answer.
            FailedPreconditionError: NO_AUTHORITY, the directory of the authority holds none.
        """
        self.authority = authority or AuthoritySettings()
        self.trust = TrustList()
        self.store = Store(database_url, clock=clock, connections=connections)
        self.feed = ChangeFeed()
        self.store.write(lambda tx: migrations.upgrade(tx.connection))
        self.topology = TopologyServicer(self.store)
        self.operations = OperationServicer(self.store, self.feed, max_watchers=max_watchers)
        self.health = HealthServicer(self.store, eviction)
        self._shown = StoredOperations(self.store)
        self.identities = Identities(self.store, self.authority.directory, self.authority.lifetime)
        self.identities.publish_authorities()
        self.identity = IdentityServicer(self.identities, self.trust, self.authority.join_address)
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
            ServedService(
                IDENTITY_SERVICE,
                lambda server: identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(self.identity, server),
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
                self.identities.prune()
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


class _OwnRegistrar:
    """Renews the topology's own certificate, and tells its own servers what is trusted: it asks nobody else."""

    def __init__(self, identities: Identities, files: TlsFiles) -> None:
        self._identities = identities
        self._files = files

    def renew(self, request_pem: bytes) -> bytes:
        """See Registrar.renew."""
        return self._identities.renew(read_certificate(self._files.read()[1]), request_pem)

    def trust(self, known_version: str) -> Trust | None:
        """See Registrar.trust."""
        self._identities.publish_authorities()
        trust = self._identities.trust()
        return None if trust.version == known_version else trust

    def close(self) -> None:
        """See Registrar.close."""


class TopologyServer(RunningServer):
    """The server of a topology; watchers leave at once when it stops, other calls get the grace time.

    Where the topology signs certificates there may be a second one beside it, on which agents join.
    """

    def __init__(self, topology: Topology, settings: ServerSettings) -> None:
        """Serves `topology` as `settings` say. Raises FailedPreconditionError when an address cannot be bound."""
        self._topology = topology
        self._keeper: IdentityKeeper | None = None
        if settings.tls is not None:
            self._keeper = IdentityKeeper(
                settings.tls,
                _OwnRegistrar(topology.identities, settings.tls),
                topology.trust,
                poll_s=settings.identity_poll_s,
            )
            # Before the first call: what was revoked while no topology ran has to count.
            self._keeper.look()
            # Others show theirs when they ask; this one asks nobody.
            topology.identities.remember(settings.tls.read()[1])
        super().__init__(
            topology.services,
            settings,
            POLICY,
            workers=WORKERS,
            check_ready=topology.store.check_ready,
            trust=topology.trust,
        )
        self._join = self._join_server(settings)
        if self._join is not None:
            self.addresses += self._join.addresses
            topology.identity.join_address = topology.authority.join_address or self._join.addresses[0]
        if self._keeper is not None:
            self._keeper.start()

    def _join_server(self, settings: ServerSettings) -> RunningServer | None:
        authority = self._topology.authority
        if not authority.join_listen:
            return None
        servicer = JoinServicer(self._topology.identities, authority.topology_address or self.addresses[0])
        return RunningServer(
            [
                ServedService(
                    JOIN_SERVICE,
                    lambda server: join_service_pb2_grpc.add_JoinServiceServicer_to_server(servicer, server),
                )
            ],
            replace(settings, listen=(authority.join_listen,), metrics_listen=""),
            JOIN_POLICY,
            workers=_JOIN_WORKERS,
            with_reflection=False,
            strangers=True,
            most_request_bytes=_MOST_JOIN_BYTES,
            most_calls=_MOST_JOINS,
        )

    def stop(self) -> None:
        """Sends the watchers away, then stops as every server does."""
        self._topology.feed.close()
        if self._join is not None:
            self._join.stop()
        super().stop()
        if self._keeper is not None:
            self._keeper.stop()
