"""Puts the gateway together: clients, engine, use cases, both faces. The only place that knows them all."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from brickyard.gateway.v1.operator_service_pb2_grpc import add_OperatorServiceServicer_to_server
from gateway.clients import Addresses, Clients
from gateway.heketi.app import build_app
from gateway.heketi.settings import HeketiSettings
from gateway.operations.engine import EngineSettings, OperationEngine
from gateway.operations.kinds import KINDS
from gateway.operator.servicer import ACCESS, SERVICE, OperatorServicer
from gateway.settings import ProvisioningSettings
from gateway.usecases.volumes import GatewayUseCases
from services.common.channels import MAX_MESSAGE_BYTES
from services.common.errors import FailedPreconditionError
from services.common.interceptors import AioServerInterceptor
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.common.server import bind
from services.common.settings import ServerSettings

_log = get_logger()


@dataclass(frozen=True, slots=True)
class RestSettings:
    """Where the REST face listens.

    Attributes:
        host: Address to bind.
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
    """

    addresses: Addresses
    rest: RestSettings
    operator: ServerSettings
    heketi: HeketiSettings
    engine: EngineSettings
    provisioning: ProvisioningSettings


class _QuietServer(uvicorn.Server):
    """Leaves signals to the gateway, which has more than one server to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def _rest_socket(settings: RestSettings) -> socket.socket:
    """Binds before anything starts, so that a taken port is a clear error.

    Raises:
        FailedPreconditionError: The port is taken or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it a keep-alive call waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


def _operator_server(settings: ServerSettings, servicer: OperatorServicer) -> tuple[grpc.aio.Server, Any]:
    server = grpc.aio.server(
        interceptors=[AioServerInterceptor(ACCESS, trust_plaintext=settings.insecure_plaintext)],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
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
    clients = Clients(settings.addresses)
    engine, use_cases = _core(settings, clients)
    operator, checks = _operator_server(settings.operator, OperatorServicer(use_cases, clients.operations))
    addresses = [bind(operator, address, settings.operator) for address in settings.operator.listen]
    rest = _QuietServer(
        uvicorn.Config(
            build_app(use_cases, settings.heketi),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            ssl_certfile=settings.rest.certificate,
            ssl_keyfile=settings.rest.key,
            timeout_graceful_shutdown=int(settings.operator.grace_s) or 1,
        )
    )
    await operator.start()
    await engine.start()
    serving = asyncio.create_task(rest.serve(sockets=[rest_socket]))
    for name in ("", SERVICE):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    scheme = "https" if settings.rest.certificate else "http"
    port = rest_socket.getsockname()[1]
    announce(f"{scheme}://{settings.rest.host}:{port} {' '.join(addresses)}")
    _log.info("server.ready", rest=port, operator=addresses)
    await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    _log.info("server.stopping", in_flight=engine.in_flight_count)
    await checks.enter_graceful_shutdown()
    rest.should_exit = True
    await asyncio.gather(serving, operator.stop(settings.operator.grace_s))
    await engine.stop(settings.operator.grace_s)
    await clients.close()
    _log.info("server.stopped")


def _core(settings: GatewaySettings, clients: Clients) -> tuple[OperationEngine, GatewayUseCases]:
    async def list_nodes(cluster_id: str) -> Any:
        return await use_cases.list_nodes(cluster_id)

    engine = OperationEngine(
        settings=settings.engine,
        kinds=KINDS,
        operations=clients.operations,
        agents=clients.agents,
        list_nodes=list_nodes,
    )
    use_cases = GatewayUseCases(
        topology=clients.topology,
        operations=clients.operations,
        allocator=clients.allocator,
        agents=clients.agents,
        engine=engine,
        settings=settings.provisioning,
    )
    return engine, use_cases
