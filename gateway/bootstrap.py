"""Puts the gateway together: clients, engine, use cases, both faces. The only place that knows them all."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from brickyard.gateway.v1.operator_service_pb2_grpc import add_OperatorServiceServicer_to_server
from brickyard.topology.v1 import identity_service_pb2, identity_service_pb2_grpc
from brickyard.topology.v1.operation_pb2 import Operation
from brickyard.topology.v1.volume_pb2 import Brick
from gateway.clients import Addresses, AgentCaller, Clients
from gateway.evictions import Evictions
from gateway.facts import FactsCollector
from gateway.heketi.app import build_app
from gateway.heketi.settings import HeketiSettings
from gateway.metrics import MeasuredAgents, Metrics
from gateway.operations.engine import OperationEngine
from gateway.operations.kinds import KINDS
from gateway.operations.settings import EngineSettings
from gateway.operations.work import Trail
from gateway.operator.servicer import ACCESS, SERVICE, OperatorServicer
from gateway.settings import ProvisioningSettings
from gateway.usecases.block_volumes import BlockVolumeUseCases
from gateway.usecases.bricks import LookAgain
from gateway.usecases.health import HealthUseCases
from gateway.usecases.moves import GatewayMoves
from gateway.usecases.state import StateUseCases
from services.common.channels import MAX_MESSAGE_BYTES
from services.common.errors import FailedPreconditionError
from services.common.interceptors import AioServerInterceptor
from services.common.keeper import keep_identity
from services.common.logs import get_logger
from services.common.metrics import MetricsServer
from services.common.reasons import Reason
from services.common.server import bind
from services.common.settings import ServerSettings
from services.common.trust import TrustList

_log = get_logger()


@dataclass(frozen=True, slots=True)
class RestSettings:
    """Where the REST face listens.

    Attributes:
        host: Address to bind; empty = all of this machine's, IPv6 and IPv4, as Heketi.
        port: Port; 0 takes a free one.
        certificate: PEM file of the server certificate; None = plain HTTP, as Heketi's default.
        key: PEM file of its key.
    """

    host: str
    port: int
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Everything that a gateway is told.

    Attributes:
        addresses: Where the other services are.
        rest: Where the REST face listens.
        operator: Where the operator face listens.
        heketi: The REST dialect.
        engine: The operation engine.
        provisioning: Limits and defaults of volumes.
        facts_interval_s: How old the facts of a node may become; 0 = nodes are looked at on demand only.
    """

    addresses: Addresses
    rest: RestSettings
    operator: ServerSettings
    heketi: HeketiSettings
    engine: EngineSettings
    provisioning: ProvisioningSettings
    facts_interval_s: float = 60.0


# How long a client gets to end a TLS connection properly when the gateway stops; one that does not look does not.
_GOODBYE_S = 1.0


class _QuietServer(uvicorn.Server):
    """Leaves signals to the gateway, which has more than one server to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn, without waiting for clients that keep an idle TLS connection."""
        aborting = asyncio.create_task(self._abort_closing())
        try:
            await super().shutdown(sockets)
        finally:
            aborting.cancel()

    async def _abort_closing(self) -> None:
        before: set[asyncio.Transport] = set()
        while True:
            await asyncio.sleep(_GOODBYE_S)
            open_ones = [each.transport for each in self.server_state.connections]
            closing = {each for each in open_ones if each is not None and each.is_closing()}
            for transport in closing & before:
                transport.abort()
            before = closing

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def _rest_socket(settings: RestSettings) -> socket.socket:
    """Binds before anything starts, so that a taken port is a clear error.

    Raises:
        FailedPreconditionError: The port is taken or the address is not of this machine.
    """
    both = not settings.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it a keep-alive call waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if both:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT,
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; stop its user or take another port",
            field="rest",
            value=f"{settings.host}:{settings.port}",
        ) from error
    bound.listen(2048)
    return bound


def _operator_server(
    settings: ServerSettings, servicer: OperatorServicer, trust: TrustList
) -> tuple[grpc.aio.Server, Any]:
    server = grpc.aio.server(
        interceptors=[AioServerInterceptor(ACCESS, trust_plaintext=settings.insecure_plaintext, trust=trust)],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            # As every server: clients keep connections alive, also while a watch has nothing to tell.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    add_OperatorServiceServicer_to_server(servicer, server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection([SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return server, checks


async def run_gateway(settings: GatewaySettings, *, announce: Callable[[str], None]) -> None:
    """Runs until SIGTERM or SIGINT, then stops gracefully.

    Args:
        settings: Everything it is told.
        announce: Called with the ready line once both faces answer.

    Raises:
        FailedPreconditionError: An address cannot be bound.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    rest_socket = _rest_socket(settings.rest)
    trust = TrustList()
    keeper = keep_identity(
        settings.operator, settings.addresses.topology, trust, identity_service_pb2, identity_service_pb2_grpc
    )
    clients = Clients(settings.addresses, trust)
    agents = MeasuredAgents(clients.agents)
    collector = FactsCollector(health=clients.health, agents=agents, interval_s=settings.facts_interval_s)
    engine, use_cases = _core(settings, clients, agents, collector.look_again)
    evictions = Evictions(
        health=clients.health, use_cases=use_cases, moves=GatewayMoves(lambda: use_cases, clients.operations)
    )
    collector.after_round = evictions.run_due
    state = HealthUseCases(
        health=clients.health, allocator=clients.allocator, collector=collector, settings=settings.provisioning
    )
    agents.metrics = metrics = Metrics(health=state, use_cases=use_cases)
    operator, checks = _operator_server(
        settings.operator, OperatorServicer(use_cases, clients.operations, state), trust
    )
    addresses = [bind(operator, address, settings.operator) for address in settings.operator.listen]
    whole = StateUseCases(topology=clients.topology, agents=agents)
    app = build_app(use_cases, settings.heketi, health=state, state=whole, monitor=metrics)
    loop.add_signal_handler(signal.SIGUSR2, app.reset_admin_mode)
    rest = _QuietServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            # The other end of the connection counts, as in Heketi, whatever a header says of a proxy.
            proxy_headers=False,
            ssl_certfile=settings.rest.certificate,
            ssl_keyfile=settings.rest.key,
            timeout_graceful_shutdown=int(settings.operator.grace_s) or 1,
        )
    )
    figures = MetricsServer(settings.operator.metrics_listen) if settings.operator.metrics_listen else None
    await operator.start()
    await engine.start()
    await collector.start()
    serving = asyncio.create_task(rest.serve(sockets=[rest_socket]))
    for name in ("", SERVICE):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    scheme = "https" if settings.rest.certificate else "http"
    port = rest_socket.getsockname()[1]
    host = f"[{settings.rest.host}]" if ":" in settings.rest.host else settings.rest.host or "localhost"
    announce(f"{scheme}://{host}:{port} {' '.join(addresses)}")
    _log.info("server.ready", rest=port, operator=addresses)
    await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    _log.info("server.stopping", in_flight=engine.in_flight_count)
    await collector.stop()
    await evictions.stop()
    await checks.enter_graceful_shutdown()
    rest.should_exit = True
    await asyncio.gather(serving, operator.stop(settings.operator.grace_s))
    await engine.stop(settings.operator.grace_s)
    await clients.close()
    if figures is not None:
        figures.stop()
    if keeper is not None:
        await asyncio.to_thread(keeper.stop)
    _log.info("server.stopped")


def _core(
    settings: GatewaySettings, clients: Clients, agents: AgentCaller, look_again: LookAgain | None = None
) -> tuple[OperationEngine, BlockVolumeUseCases]:
    async def list_nodes(cluster_id: str) -> Any:
        return await use_cases.list_nodes(cluster_id)

    async def plan_again(operation: Operation, trail: Trail) -> Sequence[Brick]:
        return await use_cases.plan_again(
            operation, without_nodes=trail.failed_node_ids, without_devices=trail.failed_device_ids
        )

    engine = OperationEngine(
        settings=settings.engine,
        kinds=KINDS,
        operations=clients.operations,
        agents=agents,
        list_nodes=list_nodes,
        plan_again=plan_again,
        moves=GatewayMoves(lambda: use_cases, clients.operations),
    )
    use_cases = BlockVolumeUseCases(
        topology=clients.topology,
        operations=clients.operations,
        allocator=clients.allocator,
        agents=agents,
        engine=engine,
        settings=settings.provisioning,
        look_again=look_again,
    )
    return engine, use_cases
