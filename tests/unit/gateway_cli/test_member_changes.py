"""Changes of clusters, nodes, devices, bricks and volumes: what is sent over gRPC and over REST, and what is told."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import cluster_pb2, device_pb2, node_pb2, topology_service_pb2, volume_pb2
from gateway.cli import connection, inventory, operation_calls
from gateway.cli.brickyard import main
from gateway.cli.rest_client import RestError
from gateway.cli.rest_connection import RestConnection
from services.common.units import GIB
from tests.unit.gateway_cli.fakes import failed, stub_of, succeeded

NODE, DEVICE, CLUSTER, VOLUME, BRICK = (digit * 32 for digit in "adcfb")
# What an operation of the fakes is about.
TARGET = "f" * 32
PLAIN = ("--insecure-plaintext",)
REST = ("--server", "http://gateway:8080")
ONLINE, OFFLINE, FAILED = (node_pb2.NodeState.Value(f"NODE_STATE_{name}") for name in ("ONLINE", "OFFLINE", "FAILED"))


class FakeOperator:
    """An OperatorService with a node that has a device; every operation ends as it is told to."""

    def __init__(self, state: str = "online") -> None:
        self.state = state.upper()
        self.requests: list[Any] = []
        self.connections: list[Any] = []
        self.ended = succeeded()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        async def call(request: Any, **_call: Any) -> Any:
            self.requests.append(request)
            return self._answer(method)

        return call

    def _answer(self, method: str) -> Any:
        device = device_pb2.Device(
            id=DEVICE, path="/dev/sdb", state=device_pb2.DeviceState.Value(f"DEVICE_STATE_{self.state}")
        )
        state = node_pb2.NodeState.Value(f"NODE_STATE_{self.state}")
        node = node_pb2.Node(id=NODE, manage_hostnames=["node1"], state=state, tags={"rack": "a"})
        cluster = cluster_pb2.Cluster(id=CLUSTER, file_enabled=True, node_ids=[NODE])
        volume = volume_pb2.Volume(id=TARGET, name="copy", cluster_id=CLUSTER, size_bytes=GIB)
        known: dict[str, dict[str, Any]] = {
            "ListNodes": {"nodes": [node]},
            "GetNode": {"node": node, "devices": [device]},
            "GetDevice": {"device": device},
            "CreateCluster": {"cluster": cluster},
            "ListClusters": {"clusters": [cluster_pb2.Cluster(id=CLUSTER)]},
            "GetCluster": {"cluster": cluster},
            "GetVolume": {"volume": volume, "mount_hosts": ["s1"]},
        }
        made = getattr(pb, f"{method}Response")
        begun = {"operation": self.ended} if "operation" in made.DESCRIPTOR.fields_by_name else {}
        return made(**known.get(method, begun))

    async def WatchOperation(self, request: Any, **_call: Any) -> AsyncIterator[pb.WatchOperationResponse]:  # noqa: N802 - the contract's name
        yield pb.WatchOperationResponse(operation=self.ended)


class FakeRest:
    """The same over REST."""

    def __init__(self, state: str = "online") -> None:
        self.state = state
        self.sent: list[tuple[Any, ...]] = []
        self.refusal = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def get(self, path: str) -> Any:
        device = {"id": DEVICE, "name": "/dev/sdb", "state": self.state, "tags": {}}
        flags = {"file": True, "block": False, "volumes": [], "blockvolumes": []}
        return {
            "/clusters": {"clusters": [CLUSTER]},
            f"/clusters/{CLUSTER}": {"id": CLUSTER, "nodes": [NODE], **flags},
            f"/nodes/{NODE}": {
                "id": NODE,
                "hostnames": {"manage": ["node1"]},
                "state": self.state,
                "tags": {"rack": "a"},
                "devices": [device],
            },
            f"/devices/{DEVICE}": device,
        }[path]

    def change(self, method: str, path: str, body: Any = None) -> Any:
        if self.refusal:
            raise RestError(400, self.refusal)
        self.sent.append((method, path, body) if body is not None else (method, path))
        if path.endswith("/clone"):
            return {
                "id": TARGET,
                "name": "copy",
                "cluster": CLUSTER,
                "size": 1,
                "durability": {"type": "none"},
                "snapshot": {"enable": False, "factor": 1},
                "bricks": [],
                "mount": {"glusterfs": {"hosts": ["s1"]}},
            }
        return {"id": TARGET} if method == "POST" else None


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> FakeOperator:
    made = FakeOperator()
    for module in (connection, inventory, operation_calls):
        monkeypatch.setattr(module, "operator_stub", stub_of(made))
    return made


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch) -> FakeRest:
    made = FakeRest()
    monkeypatch.setattr(RestConnection, "client", lambda _self: made)
    return made


def run(runner: CliRunner, *words: str) -> Result:
    result = runner.invoke(main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One change.

    Attributes:
        argv: The command line.
        rpcs: Requests that change something, over gRPC.
        rest: Method, path and body over REST.
        told: As text.
        json: The fields of --json.
    """

    argv: str
    rpcs: tuple[Any, ...]
    rest: tuple[tuple[Any, ...], ...]
    told: str
    json: dict[str, Any]


MEMBERS = {"node": ("node1", NODE), "device": ("node1:/dev/sdb", DEVICE)}
REQUESTS: dict[str, Any] = {"node": pb.SetNodeStateRequest, "device": pb.SetDeviceStateRequest}


def state_case(kind: str, verb: str, state: str, told: str) -> Case:
    name, member_id = MEMBERS[kind]
    number = {"online": ONLINE, "offline": OFFLINE}[state]
    return Case(
        argv=f"{kind} {verb} {name}",
        rpcs=(REQUESTS[kind](**{f"{kind}_id": member_id, "state": number}),),
        rest=(("POST", f"/{kind}s/{member_id}/state", {"state": state, "healcheck": ""}),),
        told=f"{kind} {name} ({member_id}) {told}",
        json={f"{kind}_id": member_id, "state": state},
    )


def evict_case(kind: str, told: str) -> Case:
    name, member_id = MEMBERS[kind]
    request = REQUESTS[kind]
    path = f"/{kind}s/{member_id}/state"
    member = {f"{kind}_id": member_id}
    return Case(
        argv=f"{kind} evict {name} --skip-heal-check",
        rpcs=(request(**member, state=OFFLINE), request(**member, state=FAILED, skip_heal_check=True)),
        rest=(
            ("POST", path, {"state": "offline", "healcheck": ""}),
            ("POST", path, {"state": "failed", "healcheck": "disable"}),
        ),
        told=f"{kind} {name} ({member_id}) has no bricks any more; to take it out: {told}",
        json={**member, "state": "failed"},
    )


_TAGS = topology_service_pb2
CASES = (
    Case(
        argv="cluster create --no-block",
        rpcs=(pb.CreateClusterRequest(file_enabled=True),),
        rest=(("POST", "/clusters", {"file": True, "block": False}),),
        told="is made; now its nodes: brickyard node add HOST --cluster",
        json={},
    ),
    Case(
        argv=f"cluster delete {CLUSTER}",
        rpcs=(pb.DeleteClusterRequest(cluster_id=CLUSTER),),
        rest=(("DELETE", f"/clusters/{CLUSTER}"),),
        told=f"cluster {CLUSTER} is deleted",
        json={"cluster_id": CLUSTER},
    ),
    Case(
        argv=f"node add h2 --cluster {CLUSTER} --zone 2 --storage-host s2 --tag rack=a1",
        rpcs=(
            pb.AddNodeRequest(
                cluster_id=CLUSTER, zone=2, manage_hostnames=["h2"], storage_hostnames=["s2"], tags={"rack": "a1"}
            ),
        ),
        rest=(
            (
                "POST",
                "/nodes",
                {
                    "zone": 2,
                    "hostnames": {"manage": ["h2"], "storage": ["s2"]},
                    "cluster": CLUSTER,
                    "tags": {"rack": "a1"},
                },
            ),
        ),
        told=f"node h2 ({TARGET}) is added; now its disks: brickyard device add h2 PATH",
        json={"node_id": TARGET},
    ),
    state_case("node", "enable", "online", "is online"),
    state_case("node", "disable", "offline", "takes no new bricks"),
    state_case("device", "enable", "online", "is online"),
    state_case("device", "disable", "offline", "takes no new bricks"),
    evict_case("node", "remove its devices, then: brickyard node remove"),
    evict_case("device", "brickyard device remove"),
    Case(
        argv="node remove node1",
        rpcs=(pb.DeleteNodeRequest(node_id=NODE),),
        rest=(("DELETE", f"/nodes/{NODE}"),),
        told=f"node node1 ({NODE}) is removed",
        json={"node_id": NODE},
    ),
    Case(
        argv=f"device remove {DEVICE} --force-forget",
        rpcs=(pb.DeleteDeviceRequest(device_id=DEVICE, force_forget=True),),
        rest=(("DELETE", f"/devices/{DEVICE}", {"forceforget": True}),),
        told=f"device {DEVICE} is removed",
        json={"device_id": DEVICE},
    ),
    Case(
        argv="device resync node1:/dev/sdb",
        rpcs=(pb.ResyncDeviceRequest(device_id=DEVICE),),
        rest=(("GET", f"/devices/{DEVICE}/resync"),),
        told=f"device node1:/dev/sdb ({DEVICE}) was measured again",
        json={"device_id": DEVICE},
    ),
    Case(
        argv="node tag node1 rack=a=1 --remove old",
        rpcs=(
            pb.UpdateNodeTagsRequest(node_id=NODE, change=_TAGS.TAG_CHANGE_UPDATE, tags={"rack": "a=1"}),
            pb.UpdateNodeTagsRequest(node_id=NODE, change=_TAGS.TAG_CHANGE_DELETE, tags={"old": ""}),
        ),
        rest=(
            ("POST", f"/nodes/{NODE}/tags", {"tags": {"rack": "a=1"}, "change_type": "update"}),
            ("POST", f"/nodes/{NODE}/tags", {"tags": {"old": ""}, "change_type": "delete"}),
        ),
        told=f"node node1 ({NODE}) has the tags rack=a",
        json={"node_id": NODE, "tags": {"rack": "a"}},
    ),
    Case(
        argv=f"device tag {DEVICE} --exact",
        rpcs=(pb.UpdateDeviceTagsRequest(device_id=DEVICE, change=_TAGS.TAG_CHANGE_SET),),
        rest=(("POST", f"/devices/{DEVICE}/tags", {"tags": {}, "change_type": "set"}),),
        told=f"device {DEVICE} has no tags",
        json={"device_id": DEVICE, "tags": {}},
    ),
    Case(
        argv=f"brick evict {BRICK} --skip-heal-check",
        rpcs=(pb.EvictBrickRequest(brick_id=BRICK, skip_heal_check=True),),
        rest=(("POST", f"/bricks/to-evict/{BRICK}", {"healcheck": "disable"}),),
        told=f"brick {BRICK} is moved",
        json={"brick_id": BRICK},
    ),
)
IDS = [each.argv.replace(CLUSTER, "ID").replace(DEVICE, "ID").replace(BRICK, "ID") for each in CASES]
_READING = (pb.ListNodesRequest, pb.GetNodeRequest, pb.GetDeviceRequest, pb.GetVolumeRequest)


def changing(operator: FakeOperator) -> tuple[Any, ...]:
    return tuple(each for each in operator.requests if not isinstance(each, _READING))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_over_grpc(runner: CliRunner, operator: FakeOperator, case: Case) -> None:
    result = run(runner, *case.argv.split(), *PLAIN)
    assert result.exit_code == 0, result.output
    assert case.told in result.stdout
    assert changing(operator) == case.rpcs
    shown = json.loads(run(runner, *case.argv.split(), *PLAIN, "--json").stdout)
    assert shown == (case.json or {"cluster_id": CLUSTER})


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_over_rest(runner: CliRunner, rest: FakeRest, case: Case) -> None:
    result = run(runner, *case.argv.split(), *REST)
    assert result.exit_code == 0, result.output
    assert case.told in result.stdout
    assert tuple(rest.sent) == case.rest
    shown = json.loads(run(runner, *case.argv.split(), *REST, "--json").stdout)
    assert shown == (case.json or {"cluster_id": TARGET})


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_refusal_is_told(runner: CliRunner, rest: FakeRest, case: Case) -> None:
    rest.refusal = "not now"
    result = run(runner, *case.argv.split(), *REST)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: not now\n")


def test_a_failed_operation_is_told_with_what_to_do(runner: CliRunner, operator: FakeOperator) -> None:
    operator.ended = failed()
    result = run(runner, "brick", "evict", BRICK, *PLAIN)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Next: " in result.stderr
    assert f"brickyard operations show {operator.ended.id}" in result.stderr


def test_a_device_that_was_added(runner: CliRunner, operator: FakeOperator) -> None:
    argv = ("device", "add", "node1", "/dev/sdb", "--tag", "a=b", "--destroy-data")
    result = run(runner, *argv, *PLAIN)
    assert result.stdout == f"device node1:/dev/sdb ({TARGET}) is added\n"
    request = pb.AddDeviceRequest(node_id=NODE, path="/dev/sdb", tags={"a": "b"}, destroy_data=True)
    assert changing(operator) == (request,)


def test_a_device_that_was_added_over_rest_is_looked_up(runner: CliRunner, rest: FakeRest) -> None:
    result = run(runner, "device", "add", "node1", "/dev/sdb", *REST, "--json")
    assert json.loads(result.stdout) == {"device_id": DEVICE}
    assert rest.sent == [("POST", "/devices", {"name": "/dev/sdb", "node": NODE, "tags": {}, "destroydata": False})]


def test_what_is_offline_already_is_evicted_at_once(runner: CliRunner, operator: FakeOperator) -> None:
    operator.state = "OFFLINE"
    assert run(runner, "device", "evict", DEVICE, *PLAIN).exit_code == 0
    assert changing(operator) == (pb.SetDeviceStateRequest(device_id=DEVICE, state=device_pb2.DEVICE_STATE_FAILED),)


@pytest.mark.parametrize("way", [PLAIN, REST], ids=["grpc", "rest"])
def test_clusters_are_listed(runner: CliRunner, operator: FakeOperator, rest: FakeRest, way: tuple[str, ...]) -> None:
    assert run(runner, "cluster", "list", *way).stdout == f"{CLUSTER}\t1\t0\t0\tfile\n"
    (shown,) = json.loads(run(runner, "cluster", "list", *way, "--json").stdout)["clusters"]
    assert (shown["id"], shown["node_ids"]) == (CLUSTER, [NODE])


@pytest.mark.parametrize("way", [PLAIN, REST], ids=["grpc", "rest"])
def test_a_copy_of_a_volume(runner: CliRunner, operator: FakeOperator, rest: FakeRest, way: tuple[str, ...]) -> None:
    shown = json.loads(run(runner, "volume", "clone", VOLUME, "--name", "copy", *way, "--json").stdout)
    assert (shown["volume"]["name"], shown["mount_hosts"]) == ("copy", ["s1"])
    if way is REST:
        assert rest.sent == [("POST", f"/volumes/{VOLUME}/clone", {"name": "copy"})]
    else:
        assert changing(operator) == (pb.CloneVolumeRequest(volume_id=VOLUME, name="copy"),)


@pytest.mark.parametrize("way", [PLAIN, REST], ids=["grpc", "rest"])
@pytest.mark.parametrize(
    ("argv", "ended"),
    [
        ("node enable node9", (1, "no node has the name or id 'node9'; see: brickyard node list")),
        ("device enable node1:/dev/sdx", (1, "node node1 has no device '/dev/sdx'; it has: /dev/sdb")),
        ("device enable sdb", (2, "'sdb' is neither an id nor HOST:PATH of a device, as node1:/dev/sdb")),
        ("node tag node1", (2, "give KEY=VALUE, --remove KEY, or --exact alone to take all away")),
        ("node tag node1 --exact --remove x", (2, "--exact takes all other tags away; --remove is not for it")),
        ("node tag node1 rack", (2, "'rack' is not KEY=VALUE")),
        (f"node add h --cluster {CLUSTER} --zone 0", (2, "0 is not in the range x>=1")),
        (f"node add h --cluster {CLUSTER} --zone 1 --tag =x", (2, "'=x' is not KEY=VALUE")),
    ],
)
def test_what_can_not_be_changes_nothing(  # noqa: PLR0917 - a test takes its fixtures as arguments
    runner: CliRunner,
    operator: FakeOperator,
    rest: FakeRest,
    way: tuple[str, ...],
    argv: str,
    ended: tuple[int, str],
) -> None:
    code, told = ended
    result = run(runner, *argv.split(), *way)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert (changing(operator), rest.sent) == ((), [])
