"""The operator's gRPC face: every use case, bad input, watching, and what is in a README: grpcurl."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, topology_service_pb2, volume_pb2
from services.common.identity import Role
from services.common.reasons import Reason
from tests.integration.clients import refusal
from tests.integration.stack import ON_SQLITE, ROOT, Stack, servers_of
from tests.integration.world import Cluster, World

pytestmark = ON_SQLITE
GIB = 1 << 30
ABSENT = "0" * 32
SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED


class Operator:
    """Calls with a deadline, and follows operations to their end."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stub = stack.stubs().operator

    def __call__(self, method: str, **fields: Any) -> Any:
        request = getattr(pb, f"{method}Request")(**fields)
        return getattr(self._stub, method)(request, timeout=15)

    def watch(self, operation_id: str) -> Iterator[operation_pb2.Operation]:
        stream = self._stub.WatchOperation(pb.WatchOperationRequest(operation_id=operation_id), timeout=30)
        for answer in stream:
            yield answer.operation

    def done(self, method: str, **fields: Any) -> operation_pb2.Operation:
        """A change that must succeed."""
        ended = self._stack.stubs().ended(self(method, **fields).operation.id)
        assert ended.state == SUCCEEDED, ended.error
        return ended

    def refused(self, method: str, **fields: Any) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as caught:
            self(method, **fields)
        return caught.value


@pytest.fixture
def operator(stack: Stack) -> Operator:
    return Operator(stack)


def test_every_use_case(world: World, stack: Stack, operator: Operator) -> None:
    cluster = operator("CreateCluster", file_enabled=True).cluster
    assert operator("GetCluster", cluster_id=cluster.id).cluster == cluster
    assert cluster.id in [each.id for each in operator("ListClusters").clusters]
    flagged = operator("SetClusterFlags", cluster_id=cluster.id, file_enabled=True, block_enabled=True).cluster
    assert flagged.block_enabled
    nodes, devices = [], []
    for number in stack.fresh_nodes(3):
        names = {"manage_hostnames": [f"node{number}"], "storage_hostnames": [f"10.0.0.{number}"]}
        added = operator.done("AddNode", cluster_id=cluster.id, zone=1, tags={"rack": "a"}, **names)
        nodes.append(added.target_id)
        devices.append(operator.done("AddDevice", node_id=added.target_id, path="/dev/sdb").target_id)
    shown = operator("GetNode", node_id=nodes[0])
    assert ([each.id for each in shown.devices], dict(shown.node.tags)) == ([devices[0]], {"rack": "a"})
    assert [each.id for each in operator("ListNodes", cluster_id=cluster.id).nodes] == sorted(nodes)
    changed = operator("UpdateNodeTags", node_id=nodes[0], change=topology_service_pb2.TAG_CHANGE_SET, tags={"a": "b"})
    assert dict(changed.tags) == {"a": "b"}
    changed = operator(
        "UpdateDeviceTags", device_id=devices[0], change=topology_service_pb2.TAG_CHANGE_UPDATE, tags={"c": "d"}
    )
    assert dict(changed.tags) == {"c": "d"}
    kind = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)
    made = operator.done("CreateVolume", size_bytes=GIB, durability=kind, name="by-operator", cluster_ids=[cluster.id])
    volume = operator("GetVolume", volume_id=made.target_id)
    assert (volume.volume.name, len(volume.volume.bricks), len(volume.mount_hosts)) == ("by-operator", 3, 3)
    assert [each.id for each in operator("ListVolumes", cluster_id=cluster.id).volumes] == [made.target_id]
    assert len(operator("GetDevice", device_id=devices[0]).device.bricks) == 1
    assert operator("GetOperation", operation_id=made.id).operation.state == SUCCEEDED
    assert made.id in [each.id for each in operator("ListOperations", page_size=5).operations]
    operator.done("DeleteVolume", volume_id=made.target_id)
    for node, device in zip(nodes, devices, strict=True):
        for state in (device_pb2.DEVICE_STATE_OFFLINE, device_pb2.DEVICE_STATE_FAILED):
            operator.done("SetDeviceState", device_id=device, state=state)
        operator.done("DeleteDevice", device_id=device)
        operator.done("SetNodeState", node_id=node, state=node_pb2.NODE_STATE_OFFLINE)
        operator.done("DeleteNode", node_id=node)
    operator("DeleteCluster", cluster_id=cluster.id)
    assert refusal(operator.refused("GetCluster", cluster_id=cluster.id)).reason is Reason.CLUSTER_NOT_FOUND


def test_lists_come_in_pages(world: World, operator: Operator) -> None:
    made = {operator("CreateCluster", file_enabled=True).cluster.id for _ in range(3)}
    seen: list[str] = []
    token = ""
    while True:
        page = operator("ListClusters", page_size=2, page_token=token)
        assert len(page.clusters) <= 2
        seen += [each.id for each in page.clusters]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(set(seen))
    assert made <= set(seen)
    error = refusal(operator.refused("ListClusters", page_token="nonsense"))
    assert error.reason is Reason.INVALID_PAGE_TOKEN
    for cluster in made:
        operator("DeleteCluster", cluster_id=cluster)


def test_watching_tells_each_change_until_the_end(world: World, stack: Stack, operator: Operator) -> None:
    cluster = world.cluster(3)
    with stack.fault({"command": "verb CreateVolume", "action": "stall", "stall_s": 1.5}):
        begun = world.begun(cluster)
        seen = list(operator.watch(begun))
    assert [each.id for each in seen] == [begun] * len(seen)
    assert [each.revision for each in seen] == sorted({each.revision for each in seen})
    assert seen[-1].state == SUCCEEDED
    at_gluster = [each.progress for each in seen if each.progress.step == "create volume"]
    assert {(each.completed_step_count, each.total_step_count) for each in at_gluster} == {(3, 7)}
    assert all(each.node_hostname in cluster.hostnames for each in at_gluster)
    # One that has ended is told once.
    assert [each.state for each in operator.watch(begun)] == [SUCCEEDED]
    with pytest.raises(grpc.RpcError) as caught:
        list(operator.watch(ABSENT))
    assert refusal(caught.value).reason is Reason.OPERATION_NOT_FOUND


def test_watching_a_failure_tells_the_undo_and_its_reason(world: World, stack: Stack, operator: Operator) -> None:
    cluster = world.cluster(3)
    faults = (
        {"command": "verb CreateVolume", "stderr": "no luck"},
        {"command": "verb DeleteBrick", "action": "stall", "stall_s": 1.0},
    )
    with stack.fault(*faults):
        seen = list(operator.watch(world.begun(cluster)))
    assert operation_pb2.OPERATION_STATE_UNDOING in [each.state for each in seen]
    assert (seen[-1].state, seen[-1].error.message) == (FAILED, "no luck")


# RPC, fields, and the field and value that the error must name.
BadInput = tuple[str, dict[str, Any], str, str]
BAD_INPUT: list[BadInput] = [
    ("CreateCluster", {"request_id": "x" * 65}, "request_id", "x" * 65),
    ("CreateCluster", {"request_id": "a b"}, "request_id", "a b"),
    ("AddNode", {"cluster_id": "nope"}, "cluster_id", "nope"),
    ("AddNode", {"zone": 0}, "zone", "0"),
    ("AddNode", {"zone": -3}, "zone", "-3"),
    ("AddNode", {"manage_hostnames": []}, "manage_hostnames", ""),
    ("AddNode", {"manage_hostnames": ["bad host"]}, "manage_hostnames", "bad host"),
    ("AddNode", {"storage_hostnames": ["-x;rm"]}, "storage_hostnames", "-x;rm"),
    ("AddNode", {"tags": {"": "x"}}, "tags", ""),
    ("AddNode", {"tags": {f"t{number}": "" for number in range(33)}}, "tags", "33"),
    ("AddNode", {"tags": {"name": "v" * 65}}, "tags", "v" * 65),
    ("ListNodes", {"page_size": -1}, "page_size", "-1"),
    ("DeleteNode", {"node_id": "x" * 32}, "node_id", "x" * 32),
    ("SetNodeState", {"node_id": ABSENT, "state": 0}, "state", "0"),
    ("SetNodeState", {"node_id": ABSENT, "state": 77}, "state", "77"),
    ("SetNodeState", {"node_id": "x", "state": 1}, "node_id", "x"),
    ("UpdateNodeTags", {"node_id": ABSENT, "change": 0}, "change", "0"),
    ("AddDevice", {"path": "dev/sdb"}, "path", "dev/sdb"),
    ("AddDevice", {"path": "/dev/../etc/passwd"}, "path", "/dev/../etc/passwd"),
    ("AddDevice", {"path": "/dev/sdb; reboot"}, "path", "/dev/sdb; reboot"),
    ("AddDevice", {"node_id": "x"}, "node_id", "x"),
    ("DeleteDevice", {"device_id": "x"}, "device_id", "x"),
    ("SetDeviceState", {"device_id": ABSENT, "state": 0}, "state", "0"),
    ("UpdateDeviceTags", {"device_id": ABSENT, "change": 9}, "change", "9"),
    ("CreateVolume", {"size_bytes": 0}, "size_bytes", "0"),
    ("CreateVolume", {"size_bytes": -GIB}, "size_bytes", str(-GIB)),
    ("CreateVolume", {"size_bytes": GIB + 1}, "size_bytes", str(GIB + 1)),
    ("CreateVolume", {"size_bytes": 1 << 62}, "size_bytes", str(1 << 62)),
    ("CreateVolume", {"name": "a/b"}, "name", "a/b"),
    ("CreateVolume", {"name": "n" * 256}, "name", "n" * 256),
    ("CreateVolume", {"cluster_ids": ["x"]}, "cluster_ids", "x"),
    ("CreateVolume", {"gid": -1}, "gid", "-1"),
    ("CreateVolume", {"gid": 1 << 31}, "gid", str(1 << 31)),
    ("CreateVolume", {"options": ["a b\nc"]}, "options", "a b"),
    ("CreateVolume", {"snapshot_enabled": True, "snapshot_factor": 0.5}, "snapshot_factor", "0.5"),
    ("CreateVolume", {"snapshot_enabled": True, "snapshot_factor": 101}, "snapshot_factor", "101"),
    ("CreateVolume", {"snapshot_enabled": True, "snapshot_factor": float("nan")}, "snapshot_factor", "nan"),
    ("CreateVolume", {"durability": {"type": 2, "replica_count": 4}}, "durability.replica_count", "4"),
    ("CreateVolume", {"durability": {"type": 2, "replica_count": -1}}, "durability.replica_count", "-1"),
    ("CreateVolume", {"durability": {"type": 3, "data_count": 3, "redundancy_count": 3}}, "durability", "3+3"),
    ("CreateVolume", {"durability": {"type": 99}}, "durability", "99"),
    ("CreateVolume", {"request_id": "ü"}, "request_id", "ü"),
    ("DeleteVolume", {"volume_id": "x"}, "volume_id", "x"),
    ("CreateBlockVolume", {"size_bytes": GIB + 1}, "size_bytes", str(GIB + 1)),
    ("CreateBlockVolume", {"size_bytes": GIB, "name": "a/b"}, "name", "a/b"),
    ("CreateBlockVolume", {"size_bytes": GIB, "ha_count": -1}, "ha_count", "-1"),
    ("ExpandBlockVolume", {"block_volume_id": "x", "new_size_bytes": GIB}, "block_volume_id", "x"),
    ("ExpandBlockVolume", {"block_volume_id": ABSENT, "new_size_bytes": 7}, "new_size_bytes", "7"),
    ("DeleteBlockVolume", {"block_volume_id": "x"}, "block_volume_id", "x"),
    ("SetBlockRestriction", {"volume_id": "x"}, "volume_id", "x"),
    ("GetOperation", {"operation_id": "x"}, "operation_id", "x"),
    ("ListOperations", {"page_size": -5}, "page_size", "-5"),
]


@pytest.fixture(scope="module")
def home(stack: Stack) -> Cluster:
    """A cluster that bad requests are aimed at."""
    return World(stack).cluster(3)


@pytest.mark.parametrize(
    "case",
    BAD_INPUT,
    ids=[f"{method}-{field}-{value[:12]}" for method, _, field, value in BAD_INPUT],
)
def test_bad_input_names_field_and_value_and_changes_nothing(
    stack: Stack, operator: Operator, home: Cluster, case: BadInput
) -> None:
    method, fields, field, value = case
    required: dict[str, dict[str, Any]] = {
        "AddNode": {"cluster_id": home.id, "zone": 1, "manage_hostnames": ["new"], "storage_hostnames": ["new"]},
        "AddDevice": {"node_id": home.nodes[0], "path": "/dev/sdc"},
        "CreateVolume": {"size_bytes": GIB, "cluster_ids": [home.id]},
    }
    good = required.get(method, {})
    before = books(stack, home)
    caught = operator.refused(method, **{**good, **fields})
    assert caught.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = refusal(caught)
    assert error.reason is Reason.INVALID_ARGUMENT
    assert error.metadata["field"].startswith(field)
    assert field.partition(".")[0] in error.message
    assert value in error.message
    assert books(stack, home) == before


@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("GetCluster", "cluster_id"),
        ("SetClusterFlags", "cluster_id"),
        ("DeleteCluster", "cluster_id"),
        ("GetNode", "node_id"),
        ("ListNodes", "cluster_id"),
        ("GetDevice", "device_id"),
        ("GetVolume", "volume_id"),
        ("ListVolumes", "cluster_id"),
    ],
)
def test_what_cannot_exist_is_not_found(operator: Operator, method: str, field: str) -> None:
    for value in ("nope", "A" * 32, "../../x"):
        caught = operator.refused(method, **{field: value})
        assert caught.code() is grpc.StatusCode.NOT_FOUND
        assert repr(value) in refusal(caught).message


def books(stack: Stack, home: Cluster) -> Any:
    """All that a request could have changed."""
    operator = Operator(stack)
    return (
        operator("ListClusters").SerializeToString(deterministic=True),
        operator("ListOperations").SerializeToString(deterministic=True),
        operator("ListNodes").SerializeToString(deterministic=True),
        operator("GetNode", node_id=home.nodes[0]).SerializeToString(deterministic=True),
        operator("ListVolumes").SerializeToString(deterministic=True),
    )


@pytest.mark.parametrize(
    ("method", "fields", "reason"),
    [
        ("GetCluster", {"cluster_id": ABSENT}, Reason.CLUSTER_NOT_FOUND),
        ("SetClusterFlags", {"cluster_id": ABSENT}, Reason.CLUSTER_NOT_FOUND),
        ("DeleteCluster", {"cluster_id": ABSENT}, Reason.CLUSTER_NOT_FOUND),
        ("GetNode", {"node_id": ABSENT}, Reason.NODE_NOT_FOUND),
        ("DeleteNode", {"node_id": ABSENT}, Reason.NODE_NOT_FOUND),
        ("SetNodeState", {"node_id": ABSENT, "state": 1}, Reason.NODE_NOT_FOUND),
        ("UpdateNodeTags", {"node_id": ABSENT, "change": 1}, Reason.NODE_NOT_FOUND),
        ("AddDevice", {"node_id": ABSENT, "path": "/dev/sdb"}, Reason.NODE_NOT_FOUND),
        ("GetDevice", {"device_id": ABSENT}, Reason.DEVICE_NOT_FOUND),
        ("DeleteDevice", {"device_id": ABSENT}, Reason.DEVICE_NOT_FOUND),
        ("SetDeviceState", {"device_id": ABSENT, "state": 1}, Reason.DEVICE_NOT_FOUND),
        ("UpdateDeviceTags", {"device_id": ABSENT, "change": 1}, Reason.DEVICE_NOT_FOUND),
        ("CreateVolume", {"size_bytes": GIB, "cluster_ids": [ABSENT]}, Reason.CLUSTER_NOT_FOUND),
        ("GetVolume", {"volume_id": ABSENT}, Reason.VOLUME_NOT_FOUND),
        ("DeleteVolume", {"volume_id": ABSENT}, Reason.VOLUME_NOT_FOUND),
        ("CreateBlockVolume", {"size_bytes": GIB, "cluster_ids": [ABSENT]}, Reason.CLUSTER_NOT_FOUND),
        ("GetBlockVolume", {"block_volume_id": ABSENT}, Reason.BLOCK_VOLUME_NOT_FOUND),
        ("DeleteBlockVolume", {"block_volume_id": ABSENT}, Reason.BLOCK_VOLUME_NOT_FOUND),
        ("SetBlockRestriction", {"volume_id": ABSENT}, Reason.VOLUME_NOT_FOUND),
        ("GetOperation", {"operation_id": ABSENT}, Reason.OPERATION_NOT_FOUND),
    ],
)
def test_what_does_not_exist(operator: Operator, method: str, fields: dict[str, Any], reason: Reason) -> None:
    caught = operator.refused(method, **fields)
    assert (caught.code(), refusal(caught).reason) == (grpc.StatusCode.NOT_FOUND, reason)
    assert ABSENT in refusal(caught).message or ABSENT in refusal(caught).metadata.values()


def test_new_node_must_run_glusterd_and_be_new(world: World, operator: Operator, home: Cluster) -> None:
    names = {"manage_hostnames": ["nobody-there"], "storage_hostnames": ["10.9.9.9"]}
    caught = operator.refused("AddNode", cluster_id=home.id, zone=1, **names)
    assert refusal(caught).reason is Reason.GLUSTERD_NOT_RUNNING
    names = {"manage_hostnames": [home.hostnames[0]], "storage_hostnames": ["10.9.9.9"]}
    caught = operator.refused("AddNode", cluster_id=home.id, zone=1, **names)
    assert (caught.code(), refusal(caught).reason) == (grpc.StatusCode.ALREADY_EXISTS, Reason.HOSTNAME_IN_USE)


# --- grpcurl ----------------------------------------------------------------------------------------------------------

TOOLS = ROOT / ".venv" / "tools"


@pytest.fixture(scope="session")
def grpcurl() -> str:
    """grpcurl from the PATH, or as `compose/prepare grpcurl` has built it."""
    found = shutil.which("grpcurl") or shutil.which("grpcurl", path=str(TOOLS))
    if found is None:
        pytest.skip("no grpcurl here; compose/prepare grpcurl builds it; buf curl is tried by another test")
    return found


def example(cluster: Cluster, server: Role) -> tuple[str, dict[str, Any], list[str], str]:
    """One call on each server: method, request, further flags, and a key of the answer."""
    topology, executor = "brickyard.topology.v1.TopologyService", "brickyard.executor.v1.ExecutorService"
    node = ["-H", f"brickyard-node: {cluster.hostnames[0]}"]
    examples: dict[Role, tuple[str, dict[str, Any], list[str], str]] = {
        Role.TOPOLOGY: (f"{topology}/GetCluster", {"clusterId": cluster.id}, [], "cluster"),
        Role.ALLOCATOR: (
            "brickyard.allocator.v1.AllocatorService/PlanVolume",
            {"sizeBytes": str(4 * GIB), "clusterIds": [cluster.id], "rules": {"durability": {"replicaCount": 3}}},
            [],
            "bricks",
        ),
        Role.AGENT: (f"{executor}/GetNodeFacts", {}, node, "facts"),
        Role.GATEWAY: ("brickyard.gateway.v1.OperatorService/ListClusters", {}, [], "clusters"),
    }
    return examples[server]


@pytest.mark.parametrize("server", [Role.TOPOLOGY, Role.ALLOCATOR, Role.AGENT, Role.GATEWAY])
def test_grpcurl(stack: Stack, grpcurl: str, home: Cluster, server: Role) -> None:
    method, request, more, key = example(home, server)
    files, address = stack.credentials.of(Role.OPERATOR), servers_of(stack)[server][1]
    tls = ["-cacert", str(files.ca), "-cert", str(files.certificate), "-key", str(files.key)]

    def run(*arguments: str) -> str:
        done = subprocess.run([grpcurl, *tls, *arguments], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert method.partition("/")[0] in run(address, "list")
    assert json.loads(run(*more, "-d", json.dumps(request), address, method))[key]


@pytest.mark.parametrize("server", [Role.TOPOLOGY, Role.ALLOCATOR, Role.AGENT, Role.GATEWAY])
def test_buf_curl(stack: Stack, home: Cluster, server: Role) -> None:
    buf = ROOT / ".venv" / "bin" / "buf"
    if not buf.exists():
        pytest.skip("buf is not installed")
    method, request, more, key = example(home, server)
    files, address = stack.credentials.of(Role.OPERATOR), servers_of(stack)[server][1]
    tls = ["--cacert", str(files.ca), "--cert", str(files.certificate), "--key", str(files.key)]
    done = subprocess.run(
        [
            *(str(buf), "curl", "--protocol", "grpc", "--reflect-protocol", "grpc-v1alpha", *tls, *more),
            *("--data", json.dumps(request), f"https://{address}/{method}"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[key]
