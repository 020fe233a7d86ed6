"""The cluster extensions, and /metrics."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from brickyard.topology.v1 import health_pb2, volume_pb2
from gateway.heketi.app import build_app
from gateway.heketi.settings import HeketiSettings
from gateway.metrics import MeasuredAgents, Metrics
from services.common.errors import UnavailableError
from services.common.reasons import Reason
from services.common.units import GIB, KIB
from tests.unit.gateway_heketi.client import ADMIN_KEY, USER_KEY, Client, make_token
from tests.unit.gateway_heketi.fake_health import CLUSTER_ID, DEVICE_ID, NODE_ID, SILENT_ID, FakeHealth
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases

SILENT = [{"node": SILENT_ID, "hostname": "node2", "error": "the agent does not answer"}]
PATHS = [f"/clusters/{CLUSTER_ID}/{name}" for name in ("diskstatus", "volmaxsize", "freedevices")]


@pytest.fixture
def health() -> FakeHealth:
    return FakeHealth()


@pytest.fixture
def metrics(health: FakeHealth, use_cases: FakeUseCases) -> Metrics:
    return Metrics(health=health, use_cases=use_cases)


@pytest.fixture
def face(use_cases: FakeUseCases, health: FakeHealth, metrics: Metrics) -> Iterator[Client]:
    settings = HeketiSettings(admin_key=ADMIN_KEY, user_key=USER_KEY)
    with Client(build_app(use_cases, settings, health=health, monitor=metrics)) as made:
        yield made


def test_disk_status(face: Client) -> None:
    answer = face.get(PATHS[0])
    assert answer.status_code == 200
    assert answer.json() == {
        "disks": [
            {
                "id": DEVICE_ID,
                "node": NODE_ID,
                "hostname": "node1",
                "name": "/dev/sdb",
                "size": 10 * GIB // KIB,
                "used": 3 * GIB // KIB,
                "free": 7 * GIB // KIB,
                "percent": 30.0,
                "bricks": 2,
                "state": "online",
                "health": "warning",
            }
        ],
        "unreachable": SILENT,
    }


def test_largest_volume(face: Client, health: FakeHealth) -> None:
    answer = face.get(PATHS[1])
    assert answer.json() == {
        "MaxAllowCreateVolSize": 7,
        "AvaildDiskCnt": 1,
        "AvaildNodeCnt": 1,
        "unreachable": SILENT,
    }
    assert health.asked[0].durability.replica_count == 3


@pytest.mark.parametrize(
    ("query", "durability"),
    [
        ("replica=2", volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=2)),
        ("durability=none", volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE)),
        (
            "durability=disperse",
            volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=4, redundancy_count=2),
        ),
        (
            "durability=disperse&disperse-data=8&redundancy=3",
            volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=8, redundancy_count=3),
        ),
    ],
)
def test_kinds_of_volumes(face: Client, health: FakeHealth, query: str, durability: volume_pb2.Durability) -> None:
    assert face.get(f"{PATHS[1]}?{query}").status_code == 200
    assert health.asked[0].durability == durability


def test_more_that_shapes_a_placement(face: Client, health: FakeHealth) -> None:
    options = "gluster-volume-options=user.heketi.zone-checking%20strict,user.heketi.arbiter%20true"
    assert face.get(f"{PATHS[1]}?{options}&snapshot-factor=1.5").status_code == 200
    assert health.asked[0].options == ("user.heketi.zone-checking strict", "user.heketi.arbiter true")
    assert health.asked[0].snapshot_factor == 1.5


@pytest.mark.parametrize(
    "query", ["replica=x", "replica=0", "replica=", "durability=raid", "snapshot-factor=0.5", "size=3"]
)
def test_questions_that_make_no_sense(face: Client, query: str) -> None:
    answer = face.get(f"{PATHS[1]}?{query}")
    assert answer.status_code == 400
    assert answer.text.startswith(f"{query.partition('=')[0]}: ")


def test_disks_that_could_be_added(face: Client) -> None:
    assert face.get(PATHS[2]).json() == {
        "nodes": [
            {"node": NODE_ID, "hostname": "node1", "devices": [{"name": "/dev/sdc", "size": 4 * GIB // KIB}]},
            {"node": SILENT_ID, "hostname": "node2", "devices": [], "error": "the agent does not answer"},
        ]
    }


@pytest.mark.parametrize("path", PATHS)
def test_they_are_the_admins_and_of_known_clusters(face: Client, path: str) -> None:
    assert face.send("GET", path, token=None).status_code == 401
    as_user = make_token("GET", path, key=USER_KEY, issuer="user")
    assert face.send("GET", path, token=as_user).status_code == 401
    assert face.post(path).status_code == 405
    unknown = face.get(path.replace(CLUSTER_ID, "1" * 32))
    assert (unknown.status_code, unknown.text.strip()) == (404, "Id not found")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def values(text: str, name: str) -> dict[str, float]:
    """Values of a metric by the label that tells them apart best."""
    return {
        dict(labels).get("hostname") or dict(labels).get("kind") or dict(labels).get("volume") or "": value
        for (found, labels), value in samples(text).items()
        if found == name
    }


# All that Heketi 10.4 has, and its words for each.
HEKETIS = {
    "heketi_up": "Is heketi running?",
    "heketi_cluster_count": "Number of clusters",
    "heketi_volumes_count": "Number of volumes on cluster",
    "heketi_block_volumes_count": "Number of block volumes on cluster",
    "heketi_nodes_count": "Number of nodes on cluster",
    "heketi_device_count": "Number of devices on host",
    "heketi_device_size": "Total size of the device",
    "heketi_device_free": "Amount of Free space available on the device",
    "heketi_device_used": "Amount of space used on the device",
    "heketi_device_size_bytes": "Total size of the device in bytes",
    "heketi_device_free_bytes": "Amount of Free space available on the device in bytes",
    "heketi_device_used_bytes": "Amount of space used on the device in bytes",
    "heketi_device_brick_count": "Number of bricks on device",
    "heketi_operations_total_count": "Total Number of Operations",
    "heketi_operations_inFlight_count": "Number of in flight Operations",
    "heketi_operations_new_count": "Number of New Operations",
    "heketi_operations_stale_count": "Number of Stale Operations",
    "heketi_operations_failed_count": "Number of Failed Operations",
}


def test_metrics_need_no_token_and_have_heketis_names(face: Client) -> None:
    answer = face.send("GET", "/metrics", token=None)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(answer.text)
    where = (("cluster", CLUSTER_ID), ("device", "/dev/sdb"), ("hostname", "node1"), ("id", DEVICE_ID))
    disk = (*where, ("pv_uuid", "pv-1"), ("storage_hostname", "10.0.0.1"))
    node2 = (("cluster", CLUSTER_ID), ("hostname", "node2"), ("storage_hostname", "10.0.0.2"))
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("heketi_up", ()): 1,
        ("heketi_cluster_count", ()): 1,
        ("heketi_volumes_count", (("cluster", CLUSTER_ID),)): 1,
        ("heketi_block_volumes_count", (("cluster", CLUSTER_ID),)): 0,
        ("heketi_nodes_count", (("cluster", CLUSTER_ID),)): 2,
        ("heketi_device_count", node2): 0,
        ("heketi_device_size", disk): 10 * GIB // KIB,
        ("heketi_device_free", disk): 7 * GIB // KIB,
        ("heketi_device_used", disk): 3 * GIB // KIB,
        ("heketi_device_size_bytes", disk): 10 * GIB,
        ("heketi_device_free_bytes", disk): 7 * GIB,
        ("heketi_device_used_bytes", disk): 3 * GIB,
        ("heketi_device_brick_count", disk): 2,
        **{(f"heketi_operations_{name}_count", ()): 0 for name in ("total", "inFlight", "new", "stale", "failed")},
    }
    assert {key: found[key] for key in expected} == expected
    lines = answer.text.splitlines()
    assert {line for line in lines if line.startswith("# HELP heketi_")} == {
        f"# HELP {name} {text}" for name, text in HEKETIS.items()
    }
    assert {line for line in lines if line.startswith("# TYPE heketi_")} == {f"# TYPE {name} gauge" for name in HEKETIS}
    assert {name for name, _ in found if name.startswith("heketi_")} == set(HEKETIS)


def test_our_own_metrics(face: Client) -> None:
    text = face.send("GET", "/metrics", token=None).text
    assert values(text, "brickyard_problems") == {"NODE_UNREACHABLE": 1, "POOL_DATA_FULL": 1, "DEVICE_FULL": 1}
    assert values(text, "brickyard_operations") == {"create_volume": 2}
    assert values(text, "brickyard_node_health") == {"node1": 0, "node2": 2}
    assert values(text, "brickyard_device_pool_data_percent") == {"node1": 85}
    assert values(text, "brickyard_volume_heal_files") == {"vol_x": 7}
    assert values(text, "brickyard_volume_serving_bricks") == {"vol_x": 2}
    assert values(text, "brickyard_node_last_seen_timestamp_seconds") == {"node1": 1_700_000_000}


def test_requests_are_counted_by_route_and_not_by_object(face: Client) -> None:
    face.get("/clusters/" + "1" * 32)
    face.get("/clusters/" + "2" * 32)
    face.get("/nowhere/at/all")
    found = samples(face.send("GET", "/metrics", token=None).text)
    counts = {
        labels: value for (name, labels), value in found.items() if name == "brickyard_rest_request_seconds_count"
    }
    by_route = {(dict(labels)["route"], dict(labels)["status"]): value for labels, value in counts.items()}
    assert by_route == {("/clusters/{id}", "404"): 2, ("other", "404"): 1}


class Agents:
    def __init__(self, failure: UnavailableError | None) -> None:
        self.failure = failure

    async def call(self, hostname: str, method: str, request: object, **_more: object) -> object:
        if self.failure is not None:
            raise self.failure
        return (hostname, method, request)


def test_calls_of_agents_are_measured(face: Client, metrics: Metrics) -> None:
    agents = Agents(None)
    measured = MeasuredAgents(agents)
    measured.metrics = metrics
    assert face.run(measured.call("node1", "GetDevice", None)) == ("node1", "GetDevice", None)
    agents.failure = UnavailableError(Reason.AGENT_UNREACHABLE, "gone")
    with pytest.raises(UnavailableError):
        face.run(measured.call("node1", "GetDevice", None))
    found = samples(face.send("GET", "/metrics", token=None).text)
    outcomes = {
        dict(labels)["outcome"]: value
        for (name, labels), value in found.items()
        if name == "brickyard_agent_call_seconds_count"
    }
    assert outcomes == {"OK": 1, "AGENT_UNREACHABLE": 1}


def test_without_a_topology_only_that_is_told(
    face: Client, health: FakeHealth, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_cluster_id: str = "", *, refresh: bool = False) -> health_pb2.HealthReport:
        raise UnavailableError(Reason.UNAVAILABLE, f"no topology, refresh={refresh}")

    monkeypatch.setattr(health, "get_health", fail)
    found = samples(face.send("GET", "/metrics", token=None).text)
    heketi = {name: value for (name, _labels), value in found.items() if name.startswith("heketi_")}
    assert heketi == {"heketi_up": 0}
