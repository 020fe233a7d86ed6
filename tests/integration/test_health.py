"""Facts, health, capacity and metrics over real processes with simulated nodes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import health_pb2, health_service_pb2, volume_pb2
from services.common.identity import Role
from services.common.units import GIB, KIB
from tests.integration.clients import CALL_WITHIN_S, NODE_KEY
from tests.integration.stack import DISK_GIB, ON_SQLITE, Server, Stack, wait_until
from tests.integration.world import Cluster, World

pytestmark = ON_SQLITE
NO_DAEMON = "Connection failed. Please check if gluster daemon is operational."


def health(stack: Stack, cluster: Cluster, *, refresh: bool = False, gateway: Server | None = None) -> Any:
    request = pb.GetHealthRequest(cluster_id=cluster.id, refresh=refresh)
    return stack.stubs(gateway=gateway).operator.GetHealth(request, timeout=CALL_WITHIN_S).report


def kinds(report: health_pb2.HealthReport) -> list[str]:
    return [problem.kind for problem in report.problems]


@contextmanager
def dead(stack: Stack, hostname: str) -> Iterator[None]:
    """A node whose agent answers nothing about its disks."""
    with stack.fault({"command": "fullreport", "node": hostname, "action": "crash", "times": 0}):
        yield


def test_a_node_that_is_slow_to_look_at_is_not_silent(stack: Stack, world: World) -> None:
    """As one over SSH may be: a look that takes longer than its caller waits is there for the next one."""
    (hostname,) = world.cluster(1).hostnames
    request = executor_pb2.GetNodeFactsRequest(max_age=Duration(seconds=60))

    def look(seconds: float) -> executor_pb2.GetNodeFactsResponse:
        agent = stack.stubs().executor
        answer: executor_pb2.GetNodeFactsResponse = agent.GetNodeFacts(
            request, timeout=seconds, metadata=((NODE_KEY, hostname),)
        )
        return answer

    slow = {"command": "fullreport", "node": hostname, "action": "stall", "stall_s": 2.5}
    with stack.fault(slow):
        with pytest.raises(grpc.RpcError) as caught:
            look(1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # This one waits for the look that runs, which is older than the call.
        found = look(CALL_WITHIN_S)
        assert found.facts.hostname == hostname
        assert found.age.ToMilliseconds() >= 2_500
    with stack.fault(slow):
        latest = look(1)
        assert latest.facts == found.facts
        assert latest.age.ToMilliseconds() >= found.age.ToMilliseconds()


def test_a_collector_looks_at_the_nodes(stack: Stack, world: World) -> None:
    cluster = world.cluster(3)
    world.rest.made("/volumes", cluster.volume_body(2))
    # Nobody collects here but the further gateways.
    assert all(not node.HasField("observe_time") for node in health(stack, cluster).nodes)
    with stack.extra_gateway("--facts-interval-seconds", "0.4"), stack.extra_gateway("--facts-interval-seconds", "0.4"):
        wait_until(lambda: all(node.HasField("observe_time") for node in health(stack, cluster).nodes), "facts")
        first = health(stack, cluster).nodes[0].observe_time.ToMicroseconds()
        wait_until(
            lambda: all(node.observe_time.ToMicroseconds() > first for node in health(stack, cluster).nodes),
            "new facts",
        )
        found = health(stack, cluster)
        assert kinds(found) == []
        (volume,) = found.volumes
        assert (volume.serving_brick_count, volume.brick_count, volume.heal_count) == (3, 3, 0)
        assert {node.glusterd_version for node in found.nodes} == {"10.3"}
        with dead(stack, cluster.hostnames[0]):
            report = wait_until(lambda: with_kind(stack, cluster, "NODE_UNREACHABLE"), "a dead node to be told of")
            assert cluster.hostnames[0] in report.problems[0].message
            assert "VOLUME_DEGRADED" in kinds(report)
        wait_until(lambda: not kinds(health(stack, cluster)), "the node to be back")


def with_kind(stack: Stack, cluster: Cluster, kind: str) -> Any:
    report = health(stack, cluster)
    return report if kind in kinds(report) else None


def test_a_look_on_demand(stack: Stack, world: World) -> None:
    cluster = world.cluster(3)
    world.rest.made("/volumes", cluster.volume_body(2))
    assert kinds(health(stack, cluster, refresh=True)) == []
    fault = {"command": "pool list", "node": cluster.hostnames[1], "exit_code": 1, "stderr": NO_DAEMON, "times": 0}
    with stack.fault(fault):
        report = health(stack, cluster, refresh=True)
    assert kinds(report) == ["GLUSTERD_DOWN"]
    assert {node.hostname: node.health for node in report.nodes} == {
        name: health_pb2.HEALTH_CRITICAL if name == cluster.hostnames[1] else health_pb2.HEALTH_OK
        for name in cluster.hostnames
    }
    assert kinds(health(stack, cluster)) == ["GLUSTERD_DOWN"]
    # It takes no bricks.
    fits = world.rest.json(f"/clusters/{cluster.id}/volmaxsize?replica=3")
    assert (fits["MaxAllowCreateVolSize"], fits["AvaildDiskCnt"], fits["AvaildNodeCnt"]) == (0, 2, 2)
    assert kinds(health(stack, cluster, refresh=True)) == []


def test_a_silent_node_gets_no_bricks_until_it_is_back(stack: Stack, world: World) -> None:
    cluster = world.cluster(3)
    with dead(stack, cluster.hostnames[1]):
        health(stack, cluster, refresh=True)
        made = world.rest.made(
            "/volumes", {**cluster.volume_body(1), "durability": {"type": "replicate", "replicate": {"replica": 2}}}
        )
        assert {brick["node"] for brick in made["bricks"]} == {cluster.nodes[0], cluster.nodes[2]}
        refused = world.rest.send("POST", "/volumes", cluster.volume_body(1))
        assert refused.status_code == 500
        assert refused.text.startswith("Failed to allocate new volume: No space")
        assert f"on nodes that are down ({cluster.hostnames[1]} does not answer since 20" in refused.text
        # Nor does it get any when a brick moves.
        evicted = world.rest.change("POST", f"/bricks/to-evict/{made['bricks'][0]['id']}")
        assert evicted.status_code == 500
        assert f"on nodes that are down ({cluster.hostnames[1]} does not answer since 20" in evicted.text
    # It answers again, which is found out when it is needed.
    assert world.rest.change("POST", f"/bricks/to-evict/{made['bricks'][0]['id']}").status_code == 204
    with dead(stack, cluster.hostnames[1]):
        health(stack, cluster, refresh=True)
    assert len(world.rest.made("/volumes", cluster.volume_body(1))["bricks"]) == 3


def test_no_node_is_emptied_by_itself_unless_that_is_wanted(stack: Stack, world: World) -> None:
    cluster = world.cluster(4)
    with dead(stack, cluster.hostnames[0]):
        assert kinds(health(stack, cluster, refresh=True)) == ["NODE_UNREACHABLE"]
        turns = stack.stubs(Role.GATEWAY).topology_health.TakeEvictionTurns(
            health_service_pb2.TakeEvictionTurnsRequest(), timeout=CALL_WITHIN_S
        )
    assert list(turns.turns) == []


def test_facts_agree_with_the_books(stack: Stack, world: World) -> None:
    """Whatever was made, grown and removed: used, free and total are those of LVM, to the byte."""
    cluster = world.cluster(3, disks=2)
    volume = world.rest.made("/volumes", cluster.volume_body(7))
    world.rest.made(f"/volumes/{volume['id']}/expand", {"expand_size": 3})
    gone = world.rest.made("/volumes", cluster.volume_body(5, kind="none"))
    assert world.rest.change("DELETE", f"/volumes/{gone['id']}").status_code == 204
    report = health(stack, cluster, refresh=True)
    assert kinds(report) == []
    observed = stack.stubs().topology_health.ListNodeFacts(
        health_service_pb2.ListNodeFactsRequest(cluster_id=cluster.id), timeout=CALL_WITHIN_S
    )
    groups = {group.name: group for each in observed.observations for group in each.facts.groups}
    assert len(groups) == 6
    for device in report.devices:
        group = groups[f"vg_{device.device_id}"]
        assert group.total_bytes == device.total_bytes
        assert group.free_bytes == device.total_bytes - device.used_bytes


@pytest.mark.parametrize(
    ("query", "durability"),
    [
        ("replica=3", {"type": "replicate", "replicate": {"replica": 3}}),
        ("replica=2", {"type": "replicate", "replicate": {"replica": 2}}),
        ("durability=none", {"type": "none"}),
    ],
)
def test_the_largest_volume_and_nothing_larger(
    stack: Stack, world: World, query: str, durability: dict[str, Any]
) -> None:
    cluster = world.cluster(4, disks=1)
    # Disks that are filled unevenly.
    world.rest.made("/volumes", cluster.volume_body(13))
    world.rest.made("/volumes", cluster.volume_body(17, kind="none"))
    path = f"/clusters/{cluster.id}/volmaxsize"
    found = world.rest.json(f"{path}?{query}")
    size = found["MaxAllowCreateVolSize"]
    assert size > DISK_GIB // 2
    assert (found["AvaildDiskCnt"], found["AvaildNodeCnt"], found["unreachable"]) == (4, 4, [])
    refused = world.rest.change("POST", "/volumes", {**cluster.volume_body(size + 1), "durability": durability})
    assert refused.status_code == 500
    assert refused.text.startswith("Failed to allocate new volume: No space")
    world.rest.made("/volumes", {**cluster.volume_body(size), "durability": durability})


def test_a_dead_node_is_named_and_does_not_count(stack: Stack, world: World) -> None:
    cluster = world.cluster(4)
    path = f"/clusters/{cluster.id}/volmaxsize?durability=none"
    whole = world.rest.json(path)["MaxAllowCreateVolSize"]
    with dead(stack, cluster.hostnames[0]):
        health(stack, cluster, refresh=True)
        found = world.rest.json(path)
    assert found["MaxAllowCreateVolSize"] < whole
    assert (found["AvaildDiskCnt"], found["AvaildNodeCnt"]) == (3, 3)
    assert [each["hostname"] for each in found["unreachable"]] == [cluster.hostnames[0]]
    health(stack, cluster, refresh=True)
    assert world.rest.json(path) == {
        "MaxAllowCreateVolSize": whole,
        "AvaildDiskCnt": 4,
        "AvaildNodeCnt": 4,
        "unreachable": [],
    }


def test_the_same_over_grpc(stack: Stack, world: World) -> None:
    cluster = world.cluster(3)
    request = pb.GetMaxVolumeSizeRequest(
        cluster_id=cluster.id, durability=volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE)
    )
    found = stack.stubs().operator.GetMaxVolumeSize(request, timeout=CALL_WITHIN_S)
    shown = world.rest.json(f"/clusters/{cluster.id}/volmaxsize?durability=none")
    assert found.size_bytes == shown["MaxAllowCreateVolSize"] * GIB


def test_disks_that_could_be_added(stack: Stack, world: World) -> None:
    cluster = world.cluster(2, disks=1)
    names = cluster.hostnames
    with dead(stack, names[0]):
        silent, answering = sorted(
            world.rest.json(f"/clusters/{cluster.id}/freedevices")["nodes"],
            key=lambda each: each["hostname"] != names[0],
        )
        disks = world.rest.json(f"/clusters/{cluster.id}/diskstatus")
        size = world.rest.json(f"/clusters/{cluster.id}/volmaxsize?replica=2")
    assert (silent["hostname"], silent["devices"]) == (names[0], [])
    assert "was lost" in silent["error"]
    (free,) = answering["devices"]
    # The raw disk is larger than what a volume group gives.
    assert (answering["hostname"], free["name"]) == (names[1], "/dev/sdc")
    assert DISK_GIB * GIB // KIB < free["size"] < (DISK_GIB + 1) * GIB // KIB
    assert {each["hostname"] for each in disks["disks"]} == set(names)
    assert [each["hostname"] for each in disks["unreachable"]] == [names[0]]
    assert [each["hostname"] for each in size["unreachable"]] == [names[0]]
    world.rest.made("/devices", {"node": cluster.nodes[0], "name": "/dev/sdc"})
    both = world.rest.json(f"/clusters/{cluster.id}/freedevices")["nodes"]
    assert [len(each["devices"]) for each in sorted(both, key=lambda each: each["hostname"] != names[0])] == [0, 1]


def test_every_disk_with_its_fill(stack: Stack, world: World) -> None:
    cluster = world.cluster(2)
    world.rest.made("/volumes", cluster.volume_body(10, kind="none"))
    health(stack, cluster, refresh=True)
    disks = world.rest.json(f"/clusters/{cluster.id}/diskstatus")["disks"]
    assert [each["hostname"] for each in disks] == sorted(cluster.hostnames)
    for disk in disks:
        assert disk["size"] == disk["used"] + disk["free"] == DISK_GIB * GIB // KIB
        assert (disk["percent"] > 10) is (disk["bricks"] == 1)
        assert (disk["state"], disk["health"], disk["name"]) == ("online", "ok", "/dev/sdb")
    assert sum(disk["bricks"] for disk in disks) == 1


def test_metrics(stack: Stack, world: World) -> None:
    cluster = world.cluster(3)
    world.rest.made("/volumes", cluster.volume_body(2))
    health(stack, cluster, refresh=True)
    answer = httpx.get(f"{stack.gateway.addresses[0]}/metrics", timeout=CALL_WITHIN_S)
    assert answer.status_code == 200
    lines = answer.text.splitlines()
    assert "heketi_up 1.0" in lines
    assert f'heketi_volumes_count{{cluster="{cluster.id}"}} 1.0' in lines
    assert f'heketi_nodes_count{{cluster="{cluster.id}"}} 3.0' in lines
    assert any(line.startswith("brickyard_agent_call_seconds_count{") and "CreateBrick" in line for line in lines)
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
