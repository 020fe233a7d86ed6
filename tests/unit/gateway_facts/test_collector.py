"""Looking at nodes: what is kept of what agents see, and what becomes of silent ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.allocator.v1.allocator_service_pb2 import GetMaxVolumeSizeResponse
from brickyard.executor.v1 import executor_service_pb2, facts_pb2
from brickyard.topology.v1 import device_pb2, health_pb2, health_service_pb2, node_pb2, volume_pb2
from gateway.facts import FactsCollector, topology_facts
from gateway.settings import ProvisioningSettings
from gateway.usecases.health import HealthUseCases, SizeQuestion
from services.common.errors import InvalidArgumentError, UnavailableError
from services.common.reasons import Reason
from services.common.units import GIB

CLUSTER = "c" * 32
TURN = Timestamp(seconds=1_700_000_000, nanos=5000)


def node(number: int) -> node_pb2.Node:
    return node_pb2.Node(id=f"{number:032x}", manage_hostnames=[f"node{number}"], storage_hostnames=[f"s{number}"])


@dataclass
class FakeHealthService:
    """A HealthService; `turns` are given out once each."""

    turns: list[node_pb2.Node] = field(default_factory=list)
    taken: list[health_service_pb2.TakeFactTurnsRequest] = field(default_factory=list)
    recorded: list[health_service_pb2.RecordNodeFactsRequest] = field(default_factory=list)
    observations: list[health_pb2.NodeObservation] = field(default_factory=list)
    report: health_pb2.HealthReport = field(default_factory=health_pb2.HealthReport)
    failures: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def TakeFactTurns(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self.taken.append(request)
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a bug")
        given, self.turns = self.turns, []
        return health_service_pb2.TakeFactTurnsResponse(
            turns=[health_pb2.FactTurn(node=each, turn_time=TURN) for each in given]
        )

    async def RecordNodeFacts(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the same
        self.recorded.append(request)
        return health_service_pb2.RecordNodeFactsResponse()

    async def ListNodeFacts(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the same
        page = [each for each in self.observations if each.node_id > request.page_token][:2]
        token = page[-1].node_id if len(page) == 2 else ""
        return health_service_pb2.ListNodeFactsResponse(observations=page, next_page_token=token)

    async def GetHealth(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the same
        assert request.cluster_id == CLUSTER
        return health_service_pb2.GetHealthResponse(report=self.report)


class FakeAgents:
    """Agents that all see the same, but for the silent ones."""

    def __init__(self, *silent: str) -> None:
        self.silent = silent
        self.seen = facts_pb2.NodeFacts(glusterd=facts_pb2.GlusterdFacts(running=True, version="10.3"))

    async def call(self, hostname: str, method: str, request: Any, **_more: Any) -> Any:
        assert (method, request.max_age.ToSeconds()) == ("GetNodeFacts", 60)
        if hostname in self.silent:
            raise UnavailableError(Reason.AGENT_UNREACHABLE, f"{hostname} is gone")
        return executor_service_pb2.GetNodeFactsResponse(facts=self.seen)


def test_silent_nodes_are_recorded_beside_the_others() -> None:
    async def run() -> FakeHealthService:
        service = FakeHealthService([node(1), node(2), node(3)])
        collector = FactsCollector(health=service, agents=FakeAgents("node2"), interval_s=60)
        await collector.refresh(CLUSTER)
        return service

    service = asyncio.run(run())
    assert (service.taken[0].cluster_id, service.taken[0].interval.ToMilliseconds()) == (CLUSTER, 0)
    assert {each.node_id: each.error for each in service.recorded} == {
        node(1).id: "",
        node(2).id: "node2 is gone",
        node(3).id: "",
    }
    assert all(each.turn_time == TURN for each in service.recorded)
    assert {each.node_id for each in service.recorded if each.HasField("facts")} == {node(1).id, node(3).id}


def test_the_background_goes_on_after_a_bug() -> None:
    async def run() -> FakeHealthService:
        service = FakeHealthService([node(1)], failures=1)
        collector = FactsCollector(health=service, agents=FakeAgents(), interval_s=0.04)
        await collector.start()
        while not service.recorded:
            service.asked.clear()
            await asyncio.wait_for(service.asked.wait(), 5)
        await collector.stop()
        return service

    service = asyncio.run(run())
    assert len(service.taken) >= 2
    assert service.taken[0].interval.ToMilliseconds() == 40


def test_without_an_interval_nothing_runs() -> None:
    async def run() -> FakeHealthService:
        service = FakeHealthService([node(1)])
        collector = FactsCollector(health=service, agents=FakeAgents(), interval_s=0)
        await collector.start()
        await asyncio.sleep(0)
        await collector.stop()
        return service

    assert asyncio.run(run()).taken == []


def test_what_is_kept() -> None:
    seen = facts_pb2.NodeFacts(
        glusterd=facts_pb2.GlusterdFacts(running=True, version="10.3"),
        volume_groups=[
            facts_pb2.VolumeGroupFacts(name="vg_a", total_bytes=8, free_bytes=4, pv_path="/dev/sdb"),
            facts_pb2.VolumeGroupFacts(name="system", total_bytes=9),
        ],
        logical_volumes=[
            facts_pb2.LogicalVolumeFacts(
                name="tp_1", vg_name="vg_a", thin_pool=True, data_percent=81.5, metadata_percent=2.5
            ),
            facts_pb2.LogicalVolumeFacts(name="brick_1", vg_name="vg_a", pool_name="tp_1", data_percent=99),
        ],
        bricks=[facts_pb2.BrickStateFacts(path="/b", mounted=True, process_running=True, heal_count=3)],
        unused_disks=[
            facts_pb2.UnusedDiskFacts(path="/dev/sdd", size_bytes=2),
            facts_pb2.UnusedDiskFacts(path="/dev/sdc", size_bytes=1),
        ],
    )
    assert topology_facts(seen) == health_pb2.NodeFacts(
        glusterd_running=True,
        glusterd_version="10.3",
        groups=[health_pb2.GroupFacts(name="vg_a", total_bytes=8, free_bytes=4, pv_path="/dev/sdb")],
        pools=[health_pb2.PoolFacts(group_name="vg_a", name="tp_1", data_percent=81.5, metadata_percent=2.5)],
        bricks=[health_pb2.BrickFacts(path="/b", mounted=True, process_running=True, heal_count=3)],
        unused_disks=[
            health_pb2.UnusedDisk(path="/dev/sdc", size_bytes=1),
            health_pb2.UnusedDisk(path="/dev/sdd", size_bytes=2),
        ],
    )


class FakeAllocator:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def GetMaxVolumeSize(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self.asked.append(request)
        return GetMaxVolumeSizeResponse(size_bytes=7 * GIB)


def use_cases(service: FakeHealthService, allocator: FakeAllocator, *silent: str) -> HealthUseCases:
    collector = FactsCollector(health=service, agents=FakeAgents(*silent), interval_s=0)
    return HealthUseCases(
        health=service, allocator=allocator, collector=collector, settings=ProvisioningSettings(strategy="ring")
    )


def disk(number: int, free_bytes: int, *, state: int = device_pb2.DEVICE_STATE_ONLINE) -> health_pb2.DeviceHealth:
    return health_pb2.DeviceHealth(
        device_id=f"{number:032x}",
        node_id=node(number % 10).id,
        state=device_pb2.DeviceState.ValueType(state),
        total_bytes=100 * GIB,
        used_bytes=98 * GIB - free_bytes,
        reserved_bytes=2 * GIB,
    )


def test_what_counts_as_a_disk_that_takes_bricks() -> None:
    states: Sequence[int] = (node_pb2.NODE_STATE_ONLINE, node_pb2.NODE_STATE_ONLINE, node_pb2.NODE_STATE_OFFLINE)
    service = FakeHealthService()
    service.report.nodes.extend(
        health_pb2.NodeHealth(
            node_id=node(number).id, hostname=f"node{number}", state=node_pb2.NodeState.ValueType(state)
        )
        for number, state in enumerate(states, start=1)
    )
    service.report.nodes[1].unreachable_since_time.seconds = 5
    service.report.nodes[1].error = "gone"
    service.report.devices.extend(
        [
            disk(1, 10 * GIB),
            disk(11, 10 * GIB),
            disk(21, GIB),
            disk(31, 10 * GIB, state=device_pb2.DEVICE_STATE_OFFLINE),
            disk(2, 2 * GIB),
            disk(3, 10 * GIB),
        ]
    )
    allocator = FakeAllocator()
    found = asyncio.run(use_cases(service, allocator).get_max_volume_size(SizeQuestion(cluster_id=CLUSTER)))
    assert (found.size_bytes, found.disk_count, found.node_count) == (7 * GIB, 2, 1)
    assert [each.hostname for each in found.silent] == ["node2"]
    (asked,) = allocator.asked
    assert list(asked.excluded_node_ids) == [node(2).id]
    assert (asked.rules.durability.replica_count, asked.rules.strategy) == (3, "ring")


def test_questions_that_make_no_sense() -> None:
    made = use_cases(FakeHealthService(), FakeAllocator())
    for question in (
        SizeQuestion(cluster_id="x"),
        SizeQuestion(
            cluster_id=CLUSTER,
            durability=volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=9),
        ),
    ):
        with pytest.raises(InvalidArgumentError):
            asyncio.run(made.get_max_volume_size(question))


def test_free_disks_of_all_pages_and_none_of_silent_nodes() -> None:
    service = FakeHealthService([node(1)])
    disks = health_pb2.NodeFacts(unused_disks=[health_pb2.UnusedDisk(path="/dev/sdc", size_bytes=5)])
    for number in (3, 1, 2):
        service.observations.append(
            health_pb2.NodeObservation(node_id=node(4 - number).id, hostname=f"node{number}", facts=disks)
        )
    service.observations[1].error = "gone"
    service.observations.append(health_pb2.NodeObservation(node_id=node(9).id, hostname="node4"))
    service.observations.sort(key=lambda each: each.node_id)
    found = asyncio.run(use_cases(service, FakeAllocator()).list_free_disks(CLUSTER))
    assert [(each.hostname, [disk.path for disk in each.disks], each.error) for each in found] == [
        ("node1", [], "gone"),
        ("node2", ["/dev/sdc"], ""),
        ("node3", ["/dev/sdc"], ""),
        ("node4", [], "the node was not looked at yet"),
    ]
    assert len(service.recorded) == 1
