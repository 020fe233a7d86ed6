"""`brickyard volume explain` and `brickyard cluster rebalance-plan` against a gateway in this process."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from brickyard.allocator.v1 import allocator_service_pb2 as allocator_pb2
from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import volume_pb2
from gateway.cli import connection
from gateway.cli.brickyard import main
from services.common.errors import BrickyardError, NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB
from tests.unit.gateway_cli.fakes import rpc_error, stub_of

PLAIN = "--insecure-plaintext"
CLUSTER = "c" * 32
DEVICE = "d" * 32


def disk(name: str, reason: str, text: str) -> allocator_pb2.DeviceExplanation:
    return allocator_pb2.DeviceExplanation(
        device_id=DEVICE,
        node_id="1" * 32,
        hostname=name,
        path="/dev/sdb",
        zone=2,
        reason=reason,
        text=text,
        total_bytes=100 * GIB,
        free_bytes=3 * GIB,
    )


class FakeOperator:
    """An OperatorService that explains."""

    def __init__(self) -> None:
        self.clusters = [
            allocator_pb2.ClusterExplanation(
                cluster_id=CLUSTER,
                summary="It fits: well.",
                bricks=[allocator_pb2.PlacedBrick(device_id=DEVICE)] * 2,
                devices=[disk("node1", "CHOSEN", "chosen")],
            )
        ]
        self.plan = pb.PlanRebalanceResponse(deviation_before=0.25, deviation_after=0.25)
        self.connections: list[connection.Connection] = []
        self.requests: list[Any] = []
        self.failure: BrickyardError | None = None

    async def ExplainVolume(self, request: Any, **_call: Any) -> pb.ExplainVolumeResponse:  # noqa: N802 - the contract's name
        self.requests.append(request)
        if self.failure is not None:
            raise rpc_error(self.failure)
        return pb.ExplainVolumeResponse(clusters=self.clusters)

    async def PlanRebalance(self, request: Any, **_call: Any) -> pb.PlanRebalanceResponse:  # noqa: N802 - the same
        self.requests.append(request)
        return self.plan


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeOperator:
    made = FakeOperator()
    monkeypatch.setattr(connection, "operator_stub", stub_of(made))
    return made


def run(runner: CliRunner, *arguments: str) -> Result:
    return runner.invoke(main, [*arguments, PLAIN])


def test_what_is_asked_for_is_sent(runner: CliRunner, gateway: FakeOperator) -> None:
    assert run(runner, "volume", "explain", "--size", "100").exit_code == 0
    asked = gateway.requests[-1].volume
    durability = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)
    assert (asked.size_bytes, asked.durability, asked.snapshot_enabled) == (100 * GIB, durability, False)
    disperse = ("--durability", "disperse", "--disperse-data", "8", "--redundancy", "3", "--cluster", CLUSTER)
    more = ("--snapshot-factor", "1.5", "--option", "a b", "--option", "c d", "--expand", "f" * 32)
    assert run(runner, "volume", "explain", "--size", "2", *disperse, *more).exit_code == 0
    asked = gateway.requests[-1].volume
    assert asked.durability == volume_pb2.Durability(
        type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=8, redundancy_count=3
    )
    assert (list(asked.cluster_ids), list(asked.options)) == ([CLUSTER], ["a b", "c d"])
    assert (asked.snapshot_enabled, asked.snapshot_factor) == (True, 1.5)
    assert gateway.requests[-1].expanded_volume_id == "f" * 32


def test_a_volume_that_fits_is_shown_with_its_disks(runner: CliRunner, gateway: FakeOperator) -> None:
    result = run(runner, "volume", "explain", "--size", "1")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"cluster {CLUSTER}: It fits: well.",
        "node1\t/dev/sdb\t2\t100 GiB\t3 GiB\tchosen for 2 bricks",
    ]


def test_a_refusal_is_shown_and_is_the_exit_code(runner: CliRunner, gateway: FakeOperator) -> None:
    gateway.clusters = [
        allocator_pb2.ClusterExplanation(
            cluster_id=CLUSTER,
            refusal_reason="NO_SPACE",
            summary="No space: full.",
            devices=[disk("", "TOO_SMALL", "too small by 5 GiB")],
        ),
        allocator_pb2.ClusterExplanation(cluster_id="e" * 32, refusal_reason="TOO_MANY_VOLUMES", summary="limit"),
    ]
    result = run(runner, "volume", "explain", "--size", "1")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"cluster {CLUSTER}: No space: full.",
        f"{'1' * 32}\t/dev/sdb\t2\t100 GiB\t3 GiB\ttoo small by 5 GiB",
        f"cluster {'e' * 32}: limit",
    ]
    told = json.loads(run(runner, "volume", "explain", "--size", "1", "--json").output)
    assert told["clusters"][0]["refusal_reason"] == "NO_SPACE"
    gateway.clusters = []
    result = run(runner, "volume", "explain", "--size", "1")
    assert (result.exit_code, result.stderr) == (1, "there is no cluster yet; create one first\n")


def test_an_error_is_told_in_one_line(runner: CliRunner, gateway: FakeOperator) -> None:
    gateway.failure = NotFoundError(Reason.CLUSTER_NOT_FOUND, "cluster 'x' not found")
    result = run(runner, "volume", "explain", "--size", "1", "--cluster", "x")
    assert (result.exit_code, result.stderr) == (1, "Error: cluster 'x' not found\n")


def test_a_rebalance_plan_is_shown_with_its_cost(runner: CliRunner, gateway: FakeOperator) -> None:
    result = run(runner, "cluster", "rebalance-plan", CLUSTER, "--moves", "7", "--target", "5")
    assert "nothing to move: the fill of the disks deviates by 25.0 points" in result.output
    assert gateway.requests[-1] == pb.PlanRebalanceRequest(cluster_id=CLUSTER, max_moves=7, target_deviation=0.05)
    move = allocator_pb2.PlannedMove(
        brick_id="b",
        volume_id="v",
        from_device_id="old",
        brick=allocator_pb2.PlacedBrick(device_id="new"),
        moved_bytes=10 * GIB,
        deviation_after=0.125,
    )
    gateway.plan = pb.PlanRebalanceResponse(
        moves=[move], deviation_before=0.25, deviation_after=0.125, moved_bytes=10 * GIB
    )
    result = run(runner, "cluster", "rebalance-plan", CLUSTER)
    assert result.output.splitlines() == [
        "1 move of 10 GiB at most: the fill of the disks deviates by 25.0 points now, by 12.5 then",
        "b\tv\told\tnew\t10 GiB\t12.5",
    ]
    assert json.loads(run(runner, "cluster", "rebalance-plan", CLUSTER, "--json").output)["moved_bytes"] == str(
        10 * GIB
    )
