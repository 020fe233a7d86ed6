"""What the allocator counts for Prometheus. Effects: counters."""

from prometheus_client import Counter

from services.allocator.domain.refusal import Refusal
from services.common.metrics import REGISTRY

_REFUSALS = Counter(
    "brickyard_placement_refusals_total",
    "Placements that a cluster had no room for, by reason",
    ("reason",),
    registry=REGISTRY,
)
_DEVICES = Counter(
    "brickyard_placement_refused_devices_total",
    "Devices that were out of the question for a refused placement, by reason",
    ("reason",),
    registry=REGISTRY,
)


def count_refusal(refusal: Refusal) -> None:
    """A plan or a replacement was refused."""
    _REFUSALS.labels(refusal.kind.value).inc()
    for verdict in refusal.devices:
        _DEVICES.labels(verdict.reason.value).inc()
