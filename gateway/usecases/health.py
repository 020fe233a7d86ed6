"""The use cases over health and capacity: how everything is, and what still fits. Answers are messages in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from brickyard.allocator.v1.allocator_service_pb2 import GetMaxVolumeSizeRequest, GetMaxVolumeSizeResponse
from brickyard.topology.v1 import device_pb2, health_pb2, health_service_pb2, node_pb2, volume_pb2
from gateway.facts import FactsCollector
from gateway.settings import ProvisioningSettings
from gateway.usecases.placement import all_options, placement_rules
from gateway.usecases.validation import check_durability, check_id
from services.common.channels import call_aio

_PAGE = 10_000
DEFAULT_DURABILITY = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)


@dataclass(frozen=True, slots=True)
class SilentNode:
    """A node that does not answer, and why."""

    node_id: str
    hostname: str
    error: str


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """All disks of a cluster, and the nodes that do not answer."""

    disks: Sequence[health_pb2.DeviceHealth]
    silent: Sequence[SilentNode]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeQuestion:
    """What kind of volume is asked about.

    Attributes:
        cluster_id: Where.
        durability: Its redundancy.
        options: Gluster options; those that shape a placement count.
        snapshot_factor: Thin pool size divided by brick size, 1 to 100.
    """

    cluster_id: str
    durability: volume_pb2.Durability = field(default_factory=lambda: DEFAULT_DURABILITY)
    options: tuple[str, ...] = ()
    snapshot_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class MaxVolumeSize:
    """What still fits.

    Attributes:
        size_bytes: The largest volume, a multiple of 1 GiB; 0 when none fits.
        disk_count: Disks that take bricks.
        node_count: Nodes that have one.
        silent: Nodes that do not answer.
    """

    size_bytes: int
    disk_count: int
    node_count: int
    silent: Sequence[SilentNode]


@dataclass(frozen=True, slots=True)
class FreeDisks:
    """The disks of a node that could be added; `error` tells why it does not answer."""

    node_id: str
    hostname: str
    disks: Sequence[health_pb2.UnusedDisk]
    error: str


class HealthUseCases:
    """How everything is, and what still fits."""

    def __init__(
        self, *, health: Any, allocator: Any, collector: FactsCollector, settings: ProvisioningSettings
    ) -> None:
        """`health` and `allocator` are the stubs of those services."""
        self._health = health
        self._allocator = allocator
        self._collector = collector
        self._settings = settings

    async def get_health(self, cluster_id: str = "", *, refresh: bool = False) -> health_pb2.HealthReport:
        """The state of a cluster, or of all; `refresh` looks at the nodes first.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or the topology does not answer.
        """
        if cluster_id:
            check_id("cluster_id", cluster_id)
        if refresh:
            await self._collector.refresh(cluster_id)
        answer = await call_aio(self._health.GetHealth, health_service_pb2.GetHealthRequest(cluster_id=cluster_id))
        report: health_pb2.HealthReport = answer.report
        return report

    async def get_disk_status(self, cluster_id: str) -> DiskStatus:
        """Every disk of a cluster.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or the topology does not answer.
        """
        check_id("cluster_id", cluster_id)
        report = await self.get_health(cluster_id)
        return DiskStatus(report.devices, _silent(report))

    async def get_max_volume_size(self, question: SizeQuestion) -> MaxVolumeSize:
        """The largest volume that a cluster can take now, without its nodes that do not answer.

        Raises:
            BrickyardError: INVALID_ARGUMENT, CLUSTER_NOT_FOUND, INVALID_TAG_RULE, or a service does not answer.
        """
        check_id("cluster_id", question.cluster_id)
        check_durability(question.durability)
        rules = placement_rules(
            question.durability,
            question.snapshot_factor,
            all_options(question.options, self._settings),
            self._settings,
        )
        report = await self.get_health(question.cluster_id)
        silent = _silent(report)
        excluded = {node.node_id for node in silent}
        largest: GetMaxVolumeSizeResponse = await call_aio(
            self._allocator.GetMaxVolumeSize,
            GetMaxVolumeSizeRequest(cluster_id=question.cluster_id, rules=rules, excluded_node_ids=sorted(excluded)),
        )
        excluded |= {problem.node_id for problem in report.problems if problem.kind == "GLUSTERD_DOWN"}
        nodes = {node.node_id for node in report.nodes if node.state == node_pb2.NODE_STATE_ONLINE} - excluded
        smallest = self._settings.brick_min_size_bytes
        disks = [disk for disk in report.devices if disk.node_id in nodes and _takes_bricks(disk, smallest)]
        return MaxVolumeSize(largest.size_bytes, len(disks), len({disk.node_id for disk in disks}), silent)

    async def list_free_disks(self, cluster_id: str) -> Sequence[FreeDisks]:
        """The disks of each node that could be added, as the nodes see it now.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or the topology does not answer.
        """
        check_id("cluster_id", cluster_id)
        await self._collector.refresh(cluster_id)
        request = health_service_pb2.ListNodeFactsRequest(cluster_id=cluster_id, page_size=_PAGE)
        found: list[FreeDisks] = []
        while True:
            answer: health_service_pb2.ListNodeFactsResponse = await call_aio(self._health.ListNodeFacts, request)
            found += [_free_disks(each) for each in answer.observations]
            if not answer.next_page_token:
                return sorted(found, key=lambda each: each.hostname)
            request.page_token = answer.next_page_token


def _free_disks(seen: health_pb2.NodeObservation) -> FreeDisks:
    error = seen.error
    if not seen.HasField("facts") and not error:
        error = "the node was not looked at yet"
    # What it had when it answered last may be in use now.
    return FreeDisks(seen.node_id, seen.hostname, () if error else seen.facts.unused_disks, error)


def _takes_bricks(disk: health_pb2.DeviceHealth, smallest_bytes: int) -> bool:
    free_bytes = disk.total_bytes - disk.used_bytes - disk.reserved_bytes
    return disk.state == device_pb2.DEVICE_STATE_ONLINE and free_bytes > smallest_bytes


def _silent(report: health_pb2.HealthReport) -> list[SilentNode]:
    return [
        SilentNode(node.node_id, node.hostname, node.error)
        for node in report.nodes
        if node.HasField("unreachable_since_time")
    ]
