"""Prometheus metrics: Heketi's names and ours. Effects: network at each scrape, the process's own figures.

Gauges are made anew at each scrape from one health report, so that nothing that is gone stays. Counters and durations
are of this gateway alone.
"""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from brickyard.topology.v1 import health_pb2, operation_pb2
from gateway.clients import READ_TIMEOUT_S, AgentCaller
from gateway.heketi import pending
from gateway.usecases import UseCases
from gateway.usecases.health import HealthUseCases
from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.common.metrics import REGISTRY, SECONDS_BUCKETS
from services.common.units import KIB

_log = get_logger()
_NODE_LABELS = ("cluster", "hostname", "storage_hostname")
_DEVICE_LABELS = (*_NODE_LABELS, "id", "device", "pv_uuid")
_SEVERITIES = {
    health_pb2.SEVERITY_NOTICE: "notice",
    health_pb2.SEVERITY_WARNING: "warning",
    health_pb2.SEVERITY_CRITICAL: "critical",
}
_HEALTH = {
    health_pb2.HEALTH_OK: 0,
    health_pb2.HEALTH_WARNING: 1,
    health_pb2.HEALTH_CRITICAL: 2,
    health_pb2.HEALTH_UNKNOWN: 3,
}
_HEALTH_HELP = "0 ok, 1 warning, 2 critical, 3 unknown"


class Metrics:
    """What this gateway counts, and what it shows of everything else.

    Args:
        health: Where the state comes from.
        use_cases: Where unfinished operations come from.
    """

    def __init__(self, *, health: HealthUseCases, use_cases: UseCases) -> None:
        self._health = health
        self._use_cases = use_cases
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "brickyard_rest_request_seconds",
            "Time to answer a REST request",
            ("method", "route", "status"),
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )
        self._calls = Histogram(
            "brickyard_agent_call_seconds",
            "Time of a call of a node's agent, by RPC and outcome (OK or the reason of the failure)",
            ("method", "outcome"),
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A REST request was answered; `route` is the path of its route, empty when it has none."""
        # Anybody can invent methods; each would be a series of its own.
        known = method if method in {"GET", "POST", "DELETE", "PUT", "HEAD"} else "other"
        self._requests.labels(known, route or "other", str(status)).observe(seconds)

    def observe_call(self, method: str, outcome: str, seconds: float) -> None:
        """An agent was called."""
        self._calls.labels(method, outcome).observe(seconds)

    async def render(self) -> bytes:
        """All metrics in Prometheus' text format; without the state of things when the topology does not answer."""
        try:
            report = await self._health.get_health()
            unfinished = await self._use_cases.list_operations(unfinished_only=True)
            block_volumes = Tally(each.cluster_id for each in await self._use_cases.list_block_volumes())
        except BrickyardError as error:
            _log.warning("metrics.no_state", reason=error.reason.value, message=error.message)
            state = _State([_gauge("heketi_up", "Is heketi running?", (), [((), 0)])])
        else:
            state = _State([*_heketi(report, unfinished, block_volumes, time.time()), *_ours(report)])
        return generate_latest(state) + generate_latest(self._registry) + generate_latest(REGISTRY)


class MeasuredAgents:
    """Calls agents and measures how long that takes."""

    def __init__(self, agents: AgentCaller) -> None:
        """Nothing is measured until `metrics` is set."""
        self._agents = agents
        self.metrics: Metrics | None = None

    async def call(
        self, hostname: str, method: str, request: Any, *, timeout_s: float = READ_TIMEOUT_S, epoch: int = 0
    ) -> Any:
        """See `AgentCaller`."""
        began = time.perf_counter()
        outcome = "CANCELLED"
        try:
            answer = await self._agents.call(hostname, method, request, timeout_s=timeout_s, epoch=epoch)
            outcome = "OK"
        except BrickyardError as error:
            outcome = error.reason.value
            raise
        finally:
            if self.metrics is not None:
                self.metrics.observe_call(method, outcome, time.perf_counter() - began)
        return answer


class _State(Collector):
    """Families that exist already, as a registry wants them."""

    def __init__(self, families: Sequence[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._families


def _gauge(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for given, value in values:
        family.add_metric(given, value)
    return family


def _heketi(
    report: health_pb2.HealthReport,
    unfinished: Sequence[operation_pb2.Operation],
    block_volumes: Mapping[str, int],
    now_s: float,
) -> Iterator[GaugeMetricFamily]:
    """The metrics that Heketi has, with its names and help texts."""
    nodes = {node.node_id: node for node in report.nodes}
    clusters = list(report.cluster_ids)
    volumes = Tally(volume.cluster_id for volume in report.volumes)
    members = Tally(node.cluster_id for node in report.nodes)
    owned = Tally(device.node_id for device in report.devices)
    yield _gauge("heketi_up", "Is heketi running?", (), [((), 1)])
    yield _gauge("heketi_cluster_count", "Number of clusters", (), [((), len(clusters))])
    yield _gauge(
        "heketi_volumes_count", "Number of volumes on cluster", ("cluster",), [((c,), volumes[c]) for c in clusters]
    )
    yield _gauge(
        "heketi_block_volumes_count",
        "Number of block volumes on cluster",
        ("cluster",),
        [((c,), block_volumes.get(c, 0)) for c in clusters],
    )
    yield _gauge(
        "heketi_nodes_count", "Number of nodes on cluster", ("cluster",), [((c,), members[c]) for c in clusters]
    )
    yield _gauge(
        "heketi_device_count",
        "Number of devices on host",
        _NODE_LABELS,
        [((node.cluster_id, node.hostname, node.storage_hostname), owned[node.node_id]) for node in report.nodes],
    )
    yield from _heketi_devices(report, nodes)
    counts = pending.counts(unfinished, now_s)
    for name, key, text in (
        ("heketi_operations_total_count", "total", "Total Number of Operations"),
        ("heketi_operations_inFlight_count", "in_flight", "Number of in flight Operations"),
        ("heketi_operations_new_count", "new", "Number of New Operations"),
        ("heketi_operations_stale_count", "stale", "Number of Stale Operations"),
        ("heketi_operations_failed_count", "failed", "Number of Failed Operations"),
    ):
        yield _gauge(name, text, (), [((), counts[key])])


def _heketi_devices(
    report: health_pb2.HealthReport, nodes: dict[str, health_pb2.NodeHealth]
) -> Iterator[GaugeMetricFamily]:
    def labels(device: health_pb2.DeviceHealth) -> tuple[str, ...]:
        node = nodes[device.node_id]
        where = (device.cluster_id, node.hostname, node.storage_hostname)
        return (*where, device.device_id, device.path, device.pv_uuid)

    sizes: dict[str, tuple[str, Callable[[health_pb2.DeviceHealth], int]]] = {
        "size": ("Total size of the device", lambda device: device.total_bytes),
        "free": (
            "Amount of Free space available on the device",
            lambda device: device.total_bytes - device.used_bytes - device.reserved_bytes,
        ),
        "used": ("Amount of space used on the device", lambda device: device.used_bytes + device.reserved_bytes),
    }
    for name, (text, size_of) in sizes.items():
        found = [(labels(device), size_of(device)) for device in report.devices]
        yield _gauge(f"heketi_device_{name}", text, _DEVICE_LABELS, [(given, size // KIB) for given, size in found])
        yield _gauge(f"heketi_device_{name}_bytes", f"{text} in bytes", _DEVICE_LABELS, found)
    yield _gauge(
        "heketi_device_brick_count",
        "Number of bricks on device",
        _DEVICE_LABELS,
        [(labels(device), device.brick_count) for device in report.devices],
    )


def _ours(report: health_pb2.HealthReport) -> Iterator[GaugeMetricFamily]:
    """The metrics that Heketi has not."""
    problems = Tally((_SEVERITIES[problem.severity], problem.kind) for problem in report.problems)
    yield _gauge(
        "brickyard_problems", "Problems that brickyard status tells of", ("severity", "kind"), problems.items()
    )
    yield _gauge(
        "brickyard_operations",
        "Operations of the last day by kind and state",
        ("kind", "state"),
        [
            (
                (operation_pb2.OperationKind.Name(each.kind).removeprefix("OPERATION_KIND_").lower(), each.state),
                each.count,
            )
            for each in report.operation_counts
        ],
    )
    yield _gauge(
        "brickyard_node_health",
        _HEALTH_HELP,
        _NODE_LABELS,
        [((n.cluster_id, n.hostname, n.storage_hostname), _HEALTH[n.health]) for n in report.nodes],
    )
    yield _gauge(
        "brickyard_node_last_seen_timestamp_seconds",
        "When the node was last looked at with success",
        ("cluster", "hostname"),
        [
            ((node.cluster_id, node.hostname), node.observe_time.ToMilliseconds() / 1000)
            for node in report.nodes
            if node.HasField("observe_time")
        ],
    )
    device_labels = ("cluster", "hostname", "id", "device")
    volume_labels = ("cluster", "id", "volume")
    devices = [((d.cluster_id, d.hostname, d.device_id, d.path), d) for d in report.devices]
    volumes = [((v.cluster_id, v.volume_id, v.name), v) for v in report.volumes]
    for name, text, labels, values in (
        ("device_health", _HEALTH_HELP, device_labels, [(given, _HEALTH[d.health]) for given, d in devices]),
        (
            "device_pool_data_percent",
            "Data fill of the fullest thin pool on the device",
            device_labels,
            [(given, d.pool_data_percent) for given, d in devices],
        ),
        (
            "device_pool_metadata_percent",
            "Metadata fill of the fullest thin pool on the device",
            device_labels,
            [(given, d.pool_metadata_percent) for given, d in devices],
        ),
        ("volume_health", _HEALTH_HELP, volume_labels, [(given, _HEALTH[v.health]) for given, v in volumes]),
        ("volume_size_bytes", "Size of the volume", volume_labels, [(given, v.size_bytes) for given, v in volumes]),
        ("volume_bricks", "Bricks of the volume", volume_labels, [(given, v.brick_count) for given, v in volumes]),
        (
            "volume_serving_bricks",
            "Bricks of the volume that are mounted and have a process",
            volume_labels,
            [(given, v.serving_brick_count) for given, v in volumes],
        ),
        ("volume_heal_files", "Files to heal", volume_labels, [(given, v.heal_count) for given, v in volumes]),
    ):
        yield _gauge(f"brickyard_{name}", text, labels, values)
