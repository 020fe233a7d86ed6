"""Prometheus metrics of a process: one registry, what every server counts, and the one way to show them.

They are served over plain HTTP to whoever asks, so the address is to be one that only Prometheus reaches. Effects:
counters; `MetricsServer` opens a port.
"""

from collections.abc import Callable
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from services.common.addresses import HostPort, parse_host_port
from services.common.errors import FailedPreconditionError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
# When a series began is of no use here, and doubles what is scraped.
_disable_created: Callable[[], None] = disable_created_metrics
_disable_created()
REGISTRY = CollectorRegistry()
for _collector in (ProcessCollector, PlatformCollector, GCCollector):
    _collector(registry=REGISTRY)
# Seconds, from a quick read to the longest change on a node.
SECONDS_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_RPC = Histogram(
    "brickyard_rpc_seconds",
    "Time to answer an RPC, by method and status code",
    ("method", "code"),
    buckets=SECONDS_BUCKETS,
    registry=REGISTRY,
)


def observe_rpc(method: str, code: str, seconds: float) -> None:
    """This process answered an RPC.

    Args:
        method: Full name, e.g. "/brickyard.topology.v1.TopologyService/GetNode".
        code: Name of the status code.
        seconds: How long it took.
    """
    _RPC.labels(method.removeprefix("/"), code).observe(seconds)


class MetricsServer:
    """Serves the registry at every path of an address."""

    def __init__(self, listen: str) -> None:
        """Begins to serve, in a thread of its own.

        Args:
            listen: "HOST:PORT"; port 0 takes a free one.

        Raises:
            InvalidArgumentError: It is no address.
            FailedPreconditionError: The port is taken or the address is not of this machine.
        """
        where = parse_host_port(listen, field="metrics_listen", free_port=True)
        try:
            self._server: WSGIServer
            self._server, self._thread = start_http_server(where.port, where.host, REGISTRY)
        except OSError as error:
            raise FailedPreconditionError(
                Reason.INVALID_ARGUMENT,
                f"cannot serve metrics on {listen}: {error.strerror}; stop its user or take another port",
                field="metrics_listen",
                value=listen,
            ) from error
        self.address = str(HostPort(where.host, self._server.server_port))
        _log.info("metrics.ready", address=self.address)

    def stop(self) -> None:
        """Ends serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
