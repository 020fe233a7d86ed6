"""The RPCs that concern all records at once, against their contract."""

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest

from brickyard.topology.v1 import records_pb2, topology_service_pb2
from services.common.errors import FailedPreconditionError, NotFoundError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.topology.archive import Reader
from services.topology.bootstrap import Topology
from tests.unit.topology.builders import Clock, World

TOPOLOGY = topology_service_pb2.DESCRIPTOR.services_by_name["TopologyService"]


class Server:
    """A topology with its RPCs."""

    def __init__(self, path: Path) -> None:
        self.topology = Topology(f"sqlite:///{path}", clock=Clock())
        self.world = World(self.topology.store, Clock())
        self.servicer: Any = self.topology.topology
        servicers = {TOPOLOGY: self.servicer}
        clock = grpc_testing.strict_real_time()  # type: ignore[no-untyped-call]
        self._server = grpc_testing.server_from_dictionary(servicers, clock)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.topology.close()

    def call(self, request: Any) -> Any:
        name = type(request).__name__.removesuffix("Request")
        rpc = self._server.invoke_unary_unary(TOPOLOGY.methods_by_name[name], (), request, 10)
        response, _, code, details = rpc.termination()
        assert (code, details) == (grpc.StatusCode.OK, "")
        return response

    def stream(self, request: Any, *, parts: int) -> list[Any]:
        name = type(request).__name__.removesuffix("Request")
        rpc = self._server.invoke_unary_stream(TOPOLOGY.methods_by_name[name], (), request, 10)
        found = [rpc.take_response() for _ in range(parts)]
        _, code, details = rpc.termination()
        assert (code, details) == (grpc.StatusCode.OK, "")
        return found


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Server]:
    with closing(Server(tmp_path / "origin.db")) as made:
        cluster = made.world.cluster()
        made.world.volume(cluster.id, made.world.devices(cluster.id, 3), replica_count=3)
        yield made


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Server]:
    with closing(Server(tmp_path / "empty.db")) as made:
        yield made


def exported(server: Server) -> records_pb2.Records:
    whole = records_pb2.Records()
    # Clusters and operations, nodes, devices, volumes, bricks.
    for answer in server.stream(records_pb2.ExportRecordsRequest(), parts=5):
        whole.MergeFrom(answer.records)
    return whole


def test_records_go_from_one_topology_into_another(origin: Server, empty: Server) -> None:
    records = exported(origin)
    assert len(records.bricks) == 3
    checked = empty.call(records_pb2.ImportRecordsRequest(records=records, validate_only=True))
    done = empty.call(records_pb2.ImportRecordsRequest(records=records))
    assert (list(checked.refusals), list(done.refusals)) == ([], [])
    assert checked.object_count == done.object_count == 1 + 3 + 3 + 1 + 3
    assert exported(empty) == records
    with pytest.raises(FailedPreconditionError) as raised:
        empty.servicer.ImportRecords(records_pb2.ImportRecordsRequest(records=records), None)
    assert raised.value.reason is Reason.TOPOLOGY_NOT_EMPTY


def test_refusals_are_an_answer(origin: Server, empty: Server) -> None:
    records = exported(origin)
    del records.nodes[:]
    answer = empty.call(records_pb2.ImportRecordsRequest(records=records))
    assert len(answer.refusals) > 3
    assert sum("of the unknown node" in each for each in answer.refusals) == 3


def test_the_order_of_bricks(origin: Server) -> None:
    (recorded,) = exported(origin).volumes
    ids = [each.brick.id for each in exported(origin).bricks]
    request = records_pb2.SetBrickOrderRequest(volume_id=recorded.volume.id, brick_ids=ids[::-1])
    origin.call(request)
    assert [each.brick.id for each in exported(origin).bricks] == ids[::-1]
    request.volume_id = new_id()
    with pytest.raises(NotFoundError) as raised:
        origin.servicer.SetBrickOrder(request, None)
    assert raised.value.reason is Reason.VOLUME_NOT_FOUND


def test_a_backup(origin: Server) -> None:
    (answer,) = origin.stream(records_pb2.BackUpRequest(), parts=1)
    rows = list(Reader(io.BytesIO(answer.chunk), "backup").rows())
    assert sum(row.table == "brick" for row in rows) == 3
