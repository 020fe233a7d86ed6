"""What the topology shows to Prometheus. Effects: SQL at each scrape, counters."""

from collections.abc import Iterable, Iterator

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from brickyard.topology.v1 import operation_pb2
from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.common.metrics import REGISTRY
from services.topology.store import Store
from services.topology.usecases import health

_log = get_logger()
_TAKEOVERS = Counter(
    "brickyard_lease_takeovers_total",
    "Operations that a gateway took over because the lease of their driver had run out",
    ("kind",),
    registry=REGISTRY,
)


def count_takeovers(operations: Iterable[operation_pb2.Operation]) -> None:
    """These operations were taken over."""
    for operation in operations:
        _TAKEOVERS.labels(_kind(operation.kind)).inc()


class StoredOperations(Collector):
    """The operations in the database by kind and state; nothing while that is away."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family, made anew at each scrape."""
        family = GaugeMetricFamily(
            "brickyard_operations", "Operations of the last day by kind and state", labels=("kind", "state")
        )
        try:
            counts = health.operation_counts(self._store)
        except BrickyardError as error:
            _log.warning("metrics.no_state", reason=error.reason.value, message=error.message)
            return
        for each in counts:
            family.add_metric((_kind(each.kind), each.state), each.count)
        yield family


def _kind(kind: operation_pb2.OperationKind.ValueType) -> str:
    return operation_pb2.OperationKind.Name(kind).removeprefix("OPERATION_KIND_").lower()
