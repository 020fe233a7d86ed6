"""Nodes that are silent for long are emptied without being asked to: once, one by one, and with a valve."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brickyard.gateway.v1 import operator_service_pb2
from brickyard.topology.v1 import health_pb2, operation_pb2, operation_service_pb2
from tests.integration.clients import CALL_WITHIN_S
from tests.integration.conftest import running_stack
from tests.integration.stack import Credentials, Stack, wait_until
from tests.integration.world import Cluster, World

SILENT_FOR_MINUTES = 0.02
FAST = ("--facts-interval-seconds", "0.4", "--node-patience-seconds", "0.5")
MOVED = [operation_pb2.OPERATION_KIND_SET_NODE_STATE] * 2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials, postgres_url: str) -> Iterator[Stack]:
    """A stack whose topology has auto-evict on."""
    directory: Path = tmp_path_factory.mktemp("stack-auto-evict")
    flags = ("--auto-evict-after-minutes", str(SILENT_FOR_MINUTES))
    with running_stack("sqlite", directory, credentials, postgres_url, topology_flags=flags) as running:
        yield running


def faults(cluster: Cluster, *dead: int, glusterd_too: bool = True) -> Iterator[dict[str, Any]]:
    """Nodes by their positions that are lost; with their glusterds, the others see those as disconnected."""
    for position in dead:
        yield {"command": ".*", "action": "crash", "node": cluster.hostnames[position], "times": 0}
    if not glusterd_too:
        return
    own = "<peer><uuid>0</uuid><hostname>localhost</hostname><connected>1</connected></peer>"
    for hostname in cluster.hostnames:
        peers = "".join(
            f"<peer><uuid>{number}</uuid><hostname>10.0.0.{number}</hostname>"
            f"<connected>{int(position not in dead)}</connected><state>3</state></peer>"
            for position, number in enumerate(cluster.numbers)
            if cluster.hostnames[position] != hostname
        )
        text = f"<?xml version='1.0'?><cliOutput><peerStatus>{peers}{own}</peerStatus><opRet>0</opRet></cliOutput>"
        yield {"command": ".*pool list.*", "action": "answer", "node": hostname, "stdout": text, "times": 0}


def report(stack: Stack, cluster: Cluster) -> health_pb2.HealthReport:
    request = operator_service_pb2.GetHealthRequest(cluster_id=cluster.id)
    found: health_pb2.HealthReport = stack.stubs().operator.GetHealth(request, timeout=CALL_WITHIN_S).report
    return found


def told(stack: Stack, cluster: Cluster, kind: str) -> str:
    """The message of the first problem of a kind; empty when there is none."""
    return next((each.message for each in report(stack, cluster).problems if each.kind == kind), "")


def state_changes(stack: Stack, node_id: str) -> list[operation_pb2.Operation]:
    """What changed the state of a node, oldest first."""
    request = operation_service_pb2.ListOperationsRequest(page_size=1000)
    answer = stack.stubs().operations.ListOperations(request, timeout=CALL_WITHIN_S)
    return [each for each in reversed(answer.operations) if each.spec.set_node_state.node_id == node_id]


def bricks_on(stack: Stack, node_id: str) -> int:
    return sum(len(device["bricks"]) for device in stack.rest().json(f"/nodes/{node_id}")["devices"])


@contextmanager
def collecting(stack: Stack) -> Iterator[None]:
    """Two gateways that look at the nodes all the time."""
    with stack.extra_gateway(*FAST), stack.extra_gateway(*FAST):
        yield


def test_a_node_that_stays_silent_is_emptied_once(stack: Stack, world: World) -> None:
    cluster = world.cluster(4)
    volume = world.rest.made("/volumes", cluster.volume_body(2))
    gone = volume["bricks"][0]["node"]
    position = cluster.nodes.index(gone)
    with stack.fault(*faults(cluster, position)), collecting(stack):
        wait_until(lambda: told(stack, cluster, "AUTO_EVICT_DONE"), "the node to be emptied")
        offline, failed = state_changes(stack, gone)
        reason = f"auto-evict: node {cluster.hostnames[position]} has not answered for 2 s"
        assert all(each.spec.set_node_state.reason.startswith(reason) for each in (offline, failed))
        assert world.rest.json(f"/nodes/{gone}")["state"] == "failed"
        assert bricks_on(stack, gone) == 0
        after = world.rest.json(f"/volumes/{volume['id']}")
        assert {brick["node"] for brick in after["bricks"]} == set(cluster.nodes) - {gone}
        # A second one is too much: the first is still down, and two of four are more than 34 %.
        second = (position + 1) % 4
        stack.arm(*faults(cluster, position, second))
        held = wait_until(lambda: told(stack, cluster, "AUTO_EVICT_HELD"), "the valve to be told of")
        assert held == (
            f"node {cluster.hostnames[second]} does not answer and is not emptied by itself: "
            "2 of 4 nodes of its cluster are down, which is more than 34 %"
        )
        silent_for_long(stack, cluster, cluster.nodes[second])
        assert state_changes(stack, cluster.nodes[second]) == []
        assert bricks_on(stack, cluster.nodes[second]) == 1
    assert [each.kind for each in state_changes(stack, gone)] == MOVED
    assert stack.stubs().violations() == []


def test_what_holds_it_back(stack: Stack, world: World) -> None:
    cluster = world.cluster(4)
    volume = world.rest.made("/volumes", cluster.volume_body(2))
    node = volume["bricks"][0]["node"]
    position = cluster.nodes.index(node)
    prefix = f"node {cluster.hostnames[position]} does not answer and is not emptied by itself: "
    with collecting(stack):
        # Only the agent is gone: the volume is served as before.
        with stack.fault(*faults(cluster, position, glusterd_too=False)):
            held = wait_until(lambda: told(stack, cluster, "AUTO_EVICT_HELD"), "the glusterd that lives to be told of")
            assert held == f"{prefix}its glusterd is connected to other nodes, only its agent is silent"
        wait_until(lambda: not told(stack, cluster, "NODE_UNREACHABLE"), "the node to be back")
        assert told(stack, cluster, "AUTO_EVICT_HELD") == ""
        tags = {"change_type": "update", "tags": {"auto-evict": "off"}}
        assert world.rest.send("POST", f"/nodes/{node}/tags", tags).status_code == 200
        with stack.fault(*faults(cluster, position)):
            held = wait_until(lambda: told(stack, cluster, "AUTO_EVICT_HELD"), "the tag to be told of")
            assert held == f"{prefix}its tag auto-evict is off"
        tags = {"change_type": "delete", "tags": {"auto-evict": ""}}
        assert world.rest.send("POST", f"/nodes/{node}/tags", tags).status_code == 200
        # Somebody works on it.
        assert world.rest.change("POST", f"/nodes/{node}/state", {"state": "offline"}).status_code == 204
        with stack.fault(*faults(cluster, position)):
            wait_until(lambda: told(stack, cluster, "NODE_UNREACHABLE"), "the node to be silent")
            silent_for_long(stack, cluster, node)
            assert [each.kind for each in report(stack, cluster).problems if "EVICT" in each.kind] == []
    assert [each.spec.set_node_state.reason for each in state_changes(stack, node)] == [""]
    assert bricks_on(stack, node) == 1


def silent_for_long(stack: Stack, cluster: Cluster, node_id: str) -> None:
    """Waits until a node has been silent for longer than auto-evict waits."""

    def long_enough() -> bool:
        found = report(stack, cluster)
        (since,) = [each.unreachable_since_time for each in found.nodes if each.node_id == node_id]
        return found.report_time.ToMicroseconds() - since.ToMicroseconds() > 2 * SILENT_FOR_MINUTES * 60_000_000

    wait_until(long_enough, "the time to pass")
