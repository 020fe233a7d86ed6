"""What the topology and the agents say, as values; who is silent; and what operations may be changing."""

import asyncio
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2, facts_pb2
from brickyard.topology.v1 import (
    books_pb2,
    device_pb2,
    node_pb2,
    operation_pb2,
    volume_pb2,
)
from gateway.examination import Examiner
from gateway.examination.domain.kinds import Kind
from gateway.examination.gathering import in_flight, set_size
from services.common.errors import BrickyardError, FailedPreconditionError, PermissionDeniedError, UnavailableError
from services.common.reasons import Reason

NODE, DEVICE, CLUSTER = "1" * 32, "2" * 32, "3" * 32


def books(*operations: operation_pb2.Operation) -> books_pb2.GetBooksResponse:
    node = node_pb2.Node(id=NODE, cluster_id=CLUSTER, manage_hostnames=["node1"], storage_hostnames=["10.0.0.1"])
    device = device_pb2.Device(id=DEVICE, node_id=NODE, path="/dev/sdb", total_bytes=100)
    return books_pb2.GetBooksResponse(
        nodes=[books_pb2.BookedNode(node=node)],
        devices=[books_pb2.BookedDevice(device=device)],
        operations=operations,
    )


class Topology:
    """Gives one answer after the other."""

    def __init__(self, *answers: books_pb2.GetBooksResponse) -> None:
        self.answers = list(answers)
        self.asked: list[books_pb2.GetBooksRequest] = []

    async def GetBooks(self, request: books_pb2.GetBooksRequest, **_call: Any) -> books_pb2.GetBooksResponse:  # noqa: N802 - the contract's name
        self.asked.append(request)
        return self.answers.pop(0)


class Agents:
    """One node that has what its device needs."""

    def __init__(self, **failures: BrickyardError) -> None:
        self.failures = failures

    async def call(self, hostname: str, method: str, request: Any, *, timeout_s: float = 15.0, epoch: int = 0) -> Any:
        if method in self.failures:
            raise self.failures[method]
        if method == "ListVolumes":
            return executor_service_pb2.ListVolumesResponse()
        group = facts_pb2.VolumeGroupFacts(name=f"vg_{DEVICE}", total_bytes=100, free_bytes=100)
        glusterd = facts_pb2.GlusterdFacts(running=True, peer_uuid="u")
        return executor_service_pb2.GetNodeFactsResponse(
            facts=facts_pb2.NodeFacts(hostname="node1", glusterd=glusterd, volume_groups=[group])
        )


def kinds(topology: Topology, agents: Agents) -> list[Kind]:
    report = asyncio.run(Examiner(topology=topology, agents=agents).examine(CLUSTER))
    return [finding.kind for finding in report.findings]


def test_the_records_are_read_before_and_after_the_agents() -> None:
    first = books()
    first.read_time.seconds = 5
    topology = Topology(first, books())
    assert kinds(topology, Agents()) == []
    assert [request.cluster_id for request in topology.asked] == [CLUSTER, CLUSTER]
    assert not topology.asked[0].HasField("ended_since")
    assert topology.asked[1].ended_since.seconds == 5


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ({"GetNodeFacts": UnavailableError(Reason.AGENT_UNREACHABLE, "no route")}, Kind.NODE_UNREACHABLE),
        ({"GetNodeFacts": PermissionDeniedError(Reason.ROLE_NOT_ALLOWED, "no")}, Kind.NODE_UNREACHABLE),
        ({"ListVolumes": FailedPreconditionError(Reason.GLUSTERD_NOT_RUNNING, "down")}, Kind.GLUSTERD_DOWN),
        ({"ListVolumes": UnavailableError(Reason.AGENT_UNREACHABLE, "no route")}, Kind.NODE_UNREACHABLE),
    ],
)
def test_silence_is_told_and_proves_nothing(failures: dict[str, BrickyardError], expected: Kind) -> None:
    assert kinds(Topology(books(), books()), Agents(**failures)) == [expected]


def test_nodes_that_join_while_we_look_are_not_asked_for() -> None:
    assert kinds(Topology(books_pb2.GetBooksResponse(), books()), Agents()) == []


def test_every_id_of_an_unfinished_operation_counts() -> None:
    brick = volume_pb2.Brick(id="4" * 32, device_id=DEVICE, node_id=NODE, thin_pool_name=f"tp_{'5' * 32}")
    source = volume_pb2.Volume(id="6" * 32, name="source", bricks=[brick])
    clone = operation_pb2.CloneVolumeSpec(
        source_volume_id=source.id, volume_id="7" * 32, name="copy", brick_ids=["8" * 32], source=source
    )
    operation = operation_pb2.Operation(
        id="9" * 32, target_id="7" * 32, spec=operation_pb2.OperationSpec(clone_volume=clone)
    )
    found = in_flight([operation])
    assert found.count == 1
    assert found.ids == {each * 32 for each in "1245678"}
    assert {"source", "copy", f"vol_{'7' * 32}"} <= found.names


def test_numbers_and_flags_name_nothing() -> None:
    expand = operation_pb2.ExpandVolumeSpec(volume_id="6" * 32, added_size_bytes=1 << 30, rebalance=True)
    assert in_flight([operation_pb2.Operation(spec=operation_pb2.OperationSpec(expand_volume=expand))]).ids == {
        "6" * 32
    }


@pytest.mark.parametrize(
    ("durability", "size"),
    [
        (volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE, replica_count=3), 1),
        (volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE), 2),
        (volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3), 3),
        (volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=4, redundancy_count=2), 6),
    ],
)
def test_size_of_a_set(durability: volume_pb2.Durability, size: int) -> None:
    assert set_size(durability) == size
