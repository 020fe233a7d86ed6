"""The threaded gRPC server that topology, allocator and agents share: health, reflection, TLS, graceful stop."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.channels import MAX_MESSAGE_BYTES
from services.common.credentials import server_credentials
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.health import WatchedHealth
from services.common.identity import AccessPolicy
from services.common.interceptors import ServerInterceptor
from services.common.logs import get_logger
from services.common.metrics import MetricsServer
from services.common.readiness import announce_ready
from services.common.reasons import Reason
from services.common.settings import ServerSettings
from services.common.trust import TrustList

_log = get_logger()
_HEALTH_INTERVAL_S = 5.0
# sun_path of unix(7) without its last zero.
_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class ServedService:
    """A servicer and how it is registered.

    Attributes:
        full_name: E.g. "brickyard.topology.v1.TopologyService".
        register: Adds the servicer to a server.
    """

    full_name: str
    register: Callable[[grpc.Server], None]


class RunningServer:
    """A started server; `stop` ends it, `addresses` tells where it listens."""

    def __init__(
        self,
        services: Sequence[ServedService],
        settings: ServerSettings,
        policy: AccessPolicy,
        *,
        workers: int = 32,
        with_reflection: bool = True,
        check_ready: Callable[[], None] | None = None,
        trust: TrustList | None = None,
        strangers: bool = False,
        most_request_bytes: int = MAX_MESSAGE_BYTES,
        most_calls: int | None = None,
    ) -> None:
        """Binds, registers and starts.

        Args:
            services: What is served.
            settings: Where and how.
            policy: Which roles may call what.
            workers: Threads for calls.
            with_reflection: Whether grpcurl may ask what there is.
            check_ready: Raises when the process cannot work (no database, no tools); health follows it.
            trust: Which certificates are revoked; None = none is.
            strangers: Whether clients need no certificate; the policy then names what Role.STRANGER may do.
            most_request_bytes: A larger request is refused before it is read.
            most_calls: More calls at a time are refused with RESOURCE_EXHAUSTED; None = they wait for a thread.

        Raises:
            FailedPreconditionError: An address cannot be bound.
        """
        self._grace_s = settings.grace_s
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=workers, thread_name_prefix="rpc"),
            interceptors=[
                ServerInterceptor(policy, trust_plaintext=settings.insecure_plaintext, trust=trust, strangers=strangers)
            ],
            maximum_concurrent_rpcs=most_calls,
            options=[
                ("grpc.max_receive_message_length", most_request_bytes),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                # Clients keep idle connections alive every 12 s.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )
        self._health = WatchedHealth()
        self._names = ["", *(service.full_name for service in services)]
        for service in services:
            service.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if with_reflection:
            served = [name for name in self._names if name]
            reflection.enable_server_reflection([*served, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        self._metrics = MetricsServer(settings.metrics_listen) if settings.metrics_listen else None
        self.addresses = [bind(self._server, address, settings, strangers=strangers) for address in settings.listen]
        self._check_ready = check_ready
        self._stopping = threading.Event()
        self._set_health()
        self._server.start()
        threading.Thread(target=self._watch_health, name="health", daemon=True).start()

    @property
    def metrics_address(self) -> str:
        """Where the metrics are served; empty = nowhere."""
        return self._metrics.address if self._metrics is not None else ""

    def _set_health(self) -> None:
        status: int = health_pb2.HealthCheckResponse.SERVING
        if self._check_ready is not None:
            try:
                self._check_ready()
            except Exception as error:  # noqa: BLE001 - whatever it is, the process is not ready
                _log.warning("server.not_ready", error=str(error))
                status = health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            self._health.set(name, status)

    def _watch_health(self) -> None:
        while not self._stopping.wait(_HEALTH_INTERVAL_S):
            self._set_health()

    def stop(self) -> None:
        """Tells health first, lets running calls end within the grace time, then stops."""
        self._stopping.set()
        self._health.stop()
        self._server.stop(self._grace_s).wait()
        if self._metrics is not None:
            self._metrics.stop()


def bind(
    server: grpc.Server | grpc.aio.Server, address: str, settings: ServerSettings, *, strangers: bool = False
) -> str:
    """Binds one address and returns it with its real port; `strangers` need no certificate.

    Raises:
        FailedPreconditionError: The address is taken or not of this machine.
        InvalidArgumentError: The path of a socket is too long.
    """
    try:
        if address.startswith("unix:"):
            check_socket_path(address)
            server.add_insecure_port(address)
            return address
        host = address.rpartition(":")[0]
        if settings.tls is not None:
            port = server.add_secure_port(address, server_credentials(settings.tls, strangers=strangers))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT, f"cannot listen on {address}: {error}", field="listen", value=address
        ) from error
    return f"{host}:{port}"


def check_socket_path(address: str) -> None:
    """Refuses the address of a socket that can not be made, before gRPC does so less clearly.

    Args:
        address: "unix:PATH".

    Raises:
        InvalidArgumentError: The path is too long.
    """
    size_bytes = len(os.fsencode(address.removeprefix("unix:")))
    if size_bytes > _SOCKET_PATH_BYTES:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"cannot listen on {address}: a socket's path has at most {_SOCKET_PATH_BYTES} bytes, and this one "
            f"{size_bytes}; choose a directory with a shorter path",
            field="listen",
            value=address,
        )


def run_until_stopped(server: RunningServer, *, process: str, on_stop: Callable[[], None] | None = None) -> None:
    """Tells that it is ready, waits for SIGTERM or SIGINT, and stops gracefully.

    Args:
        server: The started server.
        process: Name for the ready line; see announce_ready.
        on_stop: Called after the last RPC ended.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    announce_ready(process, " ".join(server.addresses))
    _log.info("server.ready", addresses=server.addresses)
    stop.wait()
    _log.info("server.stopping")
    server.stop()
    if on_stop is not None:
        on_stop()
    _log.info("server.stopped")
