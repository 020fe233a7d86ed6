"""Health and capacity in memory: one node that answers, one that does not, one disk."""

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.topology.v1 import device_pb2, health_pb2, node_pb2, operation_pb2
from gateway.usecases.health import DiskStatus, FreeDisks, HealthUseCases, MaxVolumeSize, SilentNode, SizeQuestion
from services.common.errors import NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB

CLUSTER_ID = "c" * 32
NODE_ID, SILENT_ID = "a" * 32, "b" * 32
DEVICE_ID = "d" * 32
SILENT = SilentNode(SILENT_ID, "node2", "the agent does not answer")


def disk() -> health_pb2.DeviceHealth:
    return health_pb2.DeviceHealth(
        device_id=DEVICE_ID,
        node_id=NODE_ID,
        cluster_id=CLUSTER_ID,
        hostname="node1",
        path="/dev/sdb",
        state=device_pb2.DEVICE_STATE_ONLINE,
        health=health_pb2.HEALTH_WARNING,
        total_bytes=10 * GIB,
        used_bytes=2 * GIB,
        reserved_bytes=GIB,
        brick_count=2,
        pv_uuid="pv-1",
        pool_data_percent=85,
        pool_metadata_percent=11.5,
    )


def report() -> health_pb2.HealthReport:
    """A warning, a critical problem and a notice."""
    since = Timestamp(seconds=1_700_000_000)
    return health_pb2.HealthReport(
        report_time=Timestamp(seconds=1_700_000_600),
        cluster_ids=[CLUSTER_ID],
        problems=[
            health_pb2.Problem(
                severity=health_pb2.SEVERITY_CRITICAL,
                kind="NODE_UNREACHABLE",
                message="node node2 does not answer: gone",
                advice="see on that node",
                cluster_id=CLUSTER_ID,
                node_id=SILENT_ID,
                since_time=since,
            ),
            health_pb2.Problem(
                severity=health_pb2.SEVERITY_WARNING, kind="POOL_DATA_FULL", message="a pool is 85 % full"
            ),
            health_pb2.Problem(severity=health_pb2.SEVERITY_NOTICE, kind="DEVICE_FULL", message="a disk is full"),
        ],
        nodes=[
            health_pb2.NodeHealth(
                node_id=NODE_ID,
                cluster_id=CLUSTER_ID,
                hostname="node1",
                storage_hostname="10.0.0.1",
                state=node_pb2.NODE_STATE_ONLINE,
                health=health_pb2.HEALTH_OK,
                observe_time=since,
                glusterd_version="10.3",
            ),
            health_pb2.NodeHealth(
                node_id=SILENT_ID,
                cluster_id=CLUSTER_ID,
                hostname="node2",
                storage_hostname="10.0.0.2",
                state=node_pb2.NODE_STATE_OFFLINE,
                health=health_pb2.HEALTH_CRITICAL,
                unreachable_since_time=since,
                error="gone",
            ),
        ],
        devices=[disk()],
        volumes=[
            health_pb2.VolumeHealth(
                volume_id="e" * 32,
                cluster_id=CLUSTER_ID,
                name="vol_x",
                size_bytes=2 * GIB,
                health=health_pb2.HEALTH_WARNING,
                brick_count=3,
                serving_brick_count=2,
                heal_count=7,
                pool_data_percent=85,
            )
        ],
        operation_counts=[
            health_pb2.OperationCount(kind=operation_pb2.OPERATION_KIND_CREATE_VOLUME, state="stalled", count=2)
        ],
    )


class FakeHealth(HealthUseCases):
    """A `HealthUseCases` without services behind it.

    Attributes:
        refreshed: For each call, whether the nodes were to be looked at.
        asked: The questions about sizes.
    """

    def __init__(self) -> None:
        self.refreshed: list[bool] = []
        self.asked: list[SizeQuestion] = []

    def _check(self, cluster_id: str) -> None:
        if cluster_id != CLUSTER_ID:
            raise NotFoundError(Reason.CLUSTER_NOT_FOUND, f"cluster {cluster_id} not found", cluster_id=cluster_id)

    async def get_health(self, cluster_id: str = "", *, refresh: bool = False) -> health_pb2.HealthReport:
        self.refreshed.append(refresh)
        if cluster_id:
            self._check(cluster_id)
        return report()

    async def get_disk_status(self, cluster_id: str) -> DiskStatus:
        self._check(cluster_id)
        return DiskStatus([disk()], [SILENT])

    async def get_max_volume_size(self, question: SizeQuestion) -> MaxVolumeSize:
        self._check(question.cluster_id)
        self.asked.append(question)
        return MaxVolumeSize(7 * GIB, 1, 1, [SILENT])

    async def list_free_disks(self, cluster_id: str) -> Sequence[FreeDisks]:
        self._check(cluster_id)
        free = [health_pb2.UnusedDisk(path="/dev/sdc", size_bytes=4 * GIB)]
        return [FreeDisks(NODE_ID, "node1", free, ""), FreeDisks(SILENT_ID, "node2", (), SILENT.error)]
