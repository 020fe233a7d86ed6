"""Where a block volume goes, and which hosts export it."""

from typing import Any

import pytest

from brickyard.allocator.v1 import allocator_service_pb2 as allocator_pb2
from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1 import block_volume_pb2, node_pb2, operation_pb2, topology_service_pb2, volume_pb2
from gateway.settings import ProvisioningSettings
from gateway.usecases import NewBlockVolume
from gateway.usecases.block_hosts import NOT_INSTALLED, BlockHost, choose_hosts
from gateway.usecases.block_volumes import BlockVolumeUseCases
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.reasons import Reason
from services.common.units import GIB
from tests.unit.gateway_operations.fakes import CLUSTER, FakeAgents, node, run
from tests.unit.gateway_operations.test_use_cases import FakeEngine, FakeService

ROOM = block_volume_pb2.HostingVolume(volume_id="1" * 32, name="vol_1", cluster_id=CLUSTER, free_size_bytes=5 * GIB)
ROOMIER = block_volume_pb2.HostingVolume(volume_id="2" * 32, name="vol_2", cluster_id=CLUSTER, free_size_bytes=9 * GIB)
GLUSTERD = executor_pb2.GetGlusterdResponse()
GLUSTERD.glusterd.running = GLUSTERD.glusterd.gluster_block_installed = True
ABSENT = NotFoundError(Reason.GLUSTER_BLOCK_VOLUME_NOT_FOUND, "absent")
PLAN = allocator_pb2.PlanVolumeResponse(
    cluster_id=CLUSTER, bricks=[allocator_pb2.PlacedBrick(device_id="d" * 32, node_id="e" * 32)]
)


class Bench:
    """The use cases among fakes."""

    def __init__(self, *rooms: block_volume_pb2.HostingVolume, creating: str = "", **settings: Any) -> None:
        found = topology_service_pb2.FindHostingVolumesResponse(hosting_volumes=rooms, creating_operation_id=creating)
        nodes = topology_service_pb2.ListNodesResponse(nodes=[node(number) for number in (1, 2, 3)])
        for each in nodes.nodes:
            each.state = node_pb2.NODE_STATE_ONLINE
        self.topology = FakeService(FindHostingVolumes=found, ListNodes=nodes)
        self.allocator = FakeService(PlanVolume=PLAN)
        self.agents = FakeAgents([])
        self.agents.answers["GetGlusterd"] = GLUSTERD
        self.engine = FakeEngine()
        defaults = {"auto_create_block_hosting_volume": True, "block_hosting_volume_size_bytes": 100 * GIB}
        self.use_cases = BlockVolumeUseCases(
            topology=self.topology,
            operations=FakeService(),
            allocator=self.allocator,
            agents=self.agents,
            engine=self.engine,  # type: ignore[arg-type]
            settings=ProvisioningSettings(**{**defaults, **settings}),
        )

    def create(self, **fields: Any) -> operation_pb2.CreateBlockVolumeSpec:
        run(self.use_cases.create_block_volume(NewBlockVolume(**{"size_bytes": 4 * GIB, **fields})))
        spec: operation_pb2.CreateBlockVolumeSpec = self.engine.begun[-1][0].create_block_volume
        return spec

    def refused(self, **fields: Any) -> BrickyardError:
        with pytest.raises(BrickyardError) as caught:
            self.create(**fields)
        assert self.engine.begun == []
        return caught.value


def test_it_goes_into_the_emptiest_room() -> None:
    spec = Bench(ROOM, ROOMIER).create(auth=True, ha_count=2)
    block = spec.block_volume
    assert (block.hosting_volume_id, block.hosting_volume_name) == (ROOMIER.volume_id, "vol_2")
    assert (block.name, block.auth, block.ha_count) == (f"blockvol_{block.id}", True, len(block.hosts))
    assert len(set(block.hosts)) == 2
    assert not spec.HasField("hosting_volume")
    assert spec.prealloc == "full"


def test_a_hosting_volume_is_made_when_there_is_no_room() -> None:
    bench = Bench(block_prealloc="no")
    spec = bench.create(cluster_ids=(CLUSTER,))
    hosting = spec.hosting_volume
    assert (hosting.size_bytes, hosting.block, hosting.durability.replica_count) == (100 * GIB, True, 3)
    assert list(hosting.options) == ["", "group gluster-block", ""]
    assert (spec.block_volume.hosting_volume_id, spec.block_volume.hosting_volume_name) == (hosting.id, hosting.name)
    assert spec.prealloc == "no"
    (asked,) = bench.allocator.asked("PlanVolume")
    assert (asked.block, list(asked.cluster_ids), asked.size_bytes) == (True, [CLUSTER], 100 * GIB)
    assert asked.rules.durability.type == volume_pb2.DURABILITY_TYPE_REPLICATE


def test_what_a_new_hosting_volume_can_not_take() -> None:
    error = Bench().refused(size_bytes=99 * GIB)
    assert error.reason is Reason.BLOCK_HOSTING_TOO_SMALL
    assert error.metadata["available_bytes"] == str(98 * GIB)
    assert Bench(auto_create_block_hosting_volume=False).refused().reason is Reason.BLOCK_HOSTING_DISABLED


def test_one_that_is_being_made_is_waited_for() -> None:
    error = Bench(creating="c" * 32).refused()
    assert (type(error), error.reason) == (ResourceExhaustedError, Reason.TOO_MANY_OPERATIONS)
    # It would not help one that is too large.
    assert Bench(creating="c" * 32).refused(size_bytes=99 * GIB).reason is Reason.BLOCK_HOSTING_TOO_SMALL


def test_nothing_is_reserved_where_gluster_block_is_missing() -> None:
    bench = Bench(ROOM)
    bench.agents.answers["GetGlusterd"] = executor_pb2.GetGlusterdResponse()
    error = bench.refused()
    assert error.reason is Reason.GLUSTER_BLOCK_NOT_INSTALLED
    for number in (1, 2, 3):
        assert f"node{number}: {NOT_INSTALLED}" in error.message
    without_room = Bench()
    without_room.agents.answers["GetGlusterd"] = executor_pb2.GetGlusterdResponse()
    assert without_room.refused().reason is Reason.GLUSTER_BLOCK_NOT_INSTALLED


def test_a_chosen_name_that_somebody_used_by_hand_is_left_alone() -> None:
    bench = Bench(ROOM, ROOMIER)
    bench.agents.answers["GetBlockVolume"] = executor_pb2.GetBlockVolumeResponse()
    assert bench.refused(name="blk").reason is Reason.GLUSTER_BLOCK_FAILED
    free = Bench(ROOM)
    free.agents.failures["*", "GetBlockVolume"] = [ABSENT]
    assert free.create(name="blk").block_volume.name == "blk"


def test_an_outdated_plan_is_made_anew() -> None:
    bench = Bench(ROOM)
    bench.engine.failures = [AbortedError(Reason.PLAN_OUTDATED, "too late")] * 2
    bench.create()
    assert len(bench.topology.asked("FindHostingVolumes")) == 3


@pytest.mark.parametrize(
    "fields", [{"size_bytes": GIB + 1}, {"name": "a/b"}, {"ha_count": -1}, {"cluster_ids": ("x",)}]
)
def test_what_can_not_be_asked_for(fields: dict[str, Any]) -> None:
    assert isinstance(Bench(ROOM).refused(**fields), InvalidArgumentError)


# --- hosts ------------------------------------------------------------------------------------------------------------


def hosts(*problems: str) -> list[BlockHost]:
    return [BlockHost(node(number), problem) for number, problem in enumerate(problems, start=1)]


@pytest.mark.parametrize("ha_count", [0, 3, 9])
def test_all_of_the_cluster(ha_count: int) -> None:
    assert choose_hosts(CLUSTER, hosts("", "", ""), ha_count, seed="s") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_some_of_those_that_can() -> None:
    chosen = choose_hosts(CLUSTER, hosts("", "down", "", ""), 2, seed="s")
    assert len(chosen) == 2
    assert "10.0.0.2" not in chosen
    assert chosen == choose_hosts(CLUSTER, hosts("", "down", "", ""), 2, seed="s")
    spread = {tuple(choose_hosts(CLUSTER, hosts("", "", "", ""), 1, seed=str(number))) for number in range(40)}
    assert len(spread) == 4


@pytest.mark.parametrize(
    ("problems", "ha_count", "reason"),
    [
        (("", "", "down"), 0, Reason.INSUFFICIENT_BLOCK_HOSTS),
        (("", "down", "down"), 2, Reason.INSUFFICIENT_BLOCK_HOSTS),
        ((NOT_INSTALLED,) * 3, 1, Reason.GLUSTER_BLOCK_NOT_INSTALLED),
        (("", NOT_INSTALLED), 0, Reason.GLUSTER_BLOCK_NOT_INSTALLED),
        ((), 0, Reason.INSUFFICIENT_BLOCK_HOSTS),
    ],
)
def test_too_few(problems: tuple[str, ...], ha_count: int, reason: Reason) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        choose_hosts(CLUSTER, hosts(*problems), ha_count, seed="s")
    assert refused.value.reason is reason
    assert refused.value.message.startswith("insufficient block hosts online: ")
