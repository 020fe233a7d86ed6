"""Dump, check, backup and examination over REST, on a topology and agents in this process."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1 import facts_pb2
from brickyard.topology.v1 import cluster_pb2, records_pb2
from gateway.heketi.app import build_app
from gateway.heketi.settings import HeketiSettings
from gateway.heketi.state_examination import examination
from gateway.usecases.state import NodeWords, StateLook, StateUseCases
from services.common.errors import UnavailableError
from services.common.reasons import Reason
from tests.unit.gateway_heketi.client import Client
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi_dump.dumps import in_order, large, prepared_from

RECORDS = prepared_from(large()).records
NO_VOLUMES = executor_pb2.ListVolumesResponse()
NAMES = [each.volume.name for each in RECORDS.volumes]


class FakeTopology:
    """Streams the records in two parts, and a backup."""

    async def ExportRecords(self, _request: Any, *, metadata: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield records_pb2.ExportRecordsResponse(records=RECORDS)
        yield records_pb2.ExportRecordsResponse()

    async def BackUp(self, _request: Any, *, metadata: Any) -> AsyncIterator[Any]:  # noqa: N802
        for chunk in (b"abc", b"def"):
            yield records_pb2.BackUpResponse(chunk=chunk)


class FakeAgents:
    """Nodes m1 to m3; `silent` ones do not answer, `names` are gluster's volumes."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.names = list(NAMES)

    async def call(self, hostname: str, method: str, request: Any, **_options: Any) -> Any:
        if hostname in self.silent:
            raise UnavailableError(Reason.AGENT_UNREACHABLE, "no route")
        if method == "ListVolumes":
            volumes = [
                facts_pb2.GlusterVolumeFacts(
                    name=name,
                    uuid="u",
                    started=True,
                    bricks=[f"s1:/{name}/{i}" for i in range(3)],
                    options={"a.b": "c"},
                )
                for name in self.names
            ]
            return executor_pb2.ListVolumesResponse(volumes=volumes)
        if method == "ListBlockVolumes":
            assert request.hosting_volume_name == "vol5"
            return executor_pb2.ListBlockVolumesResponse(names=["block1", "block2"])
        mount = facts_pb2.MountFacts(source="/dev/mapper/x", mount_point="/m/x", filesystem="xfs", options="rw")
        group = facts_pb2.VolumeGroupFacts(name="vg_x", total_bytes=9, free_bytes=3, pv_uuid="p", pv_path="/dev/sdb")
        facts = facts_pb2.NodeFacts(
            volume_groups=[group],
            logical_volumes=[facts_pb2.LogicalVolumeFacts(name="tp_x", vg_name="vg_x", size_bytes=6, thin_pool=True)],
            brick_mounts=[mount],
            fstab_entries=[mount],
        )
        return executor_pb2.GetNodeFactsResponse(facts=facts)


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents()


@pytest.fixture
def client(agents: FakeAgents) -> Iterator[Client]:
    state = StateUseCases(topology=FakeTopology(), agents=agents)
    app = build_app(FakeUseCases(), HeketiSettings(auth_enabled=False), state=state)
    with Client(app) as made:
        yield made


def test_the_dump(client: Client) -> None:
    answer = client.get("/db/dump")
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.text == in_order(large())


def test_the_check(client: Client) -> None:
    answer = client.get("/db/check")
    told = answer.json()
    assert list(told) == [
        *("clusters", "volumes", "bricks", "nodes", "devices", "blockvolumes", "dbattributes", "pendingoperations"),
        "totalinconsistencies",
    ]
    assert told["bricks"] == {"total": 16, "pending": 0, "ok": 16, "notok": 0, "inconsistencies": None}
    assert answer.text == json.dumps(told, indent=4) + "\n"


def test_the_backup(client: Client) -> None:
    answer = client.get("/backup/db")
    assert (answer.status_code, answer.content) == (200, b"abcdef")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="brickyard-topology.backup"'
    assert answer.headers["content-length"] == "6"


def test_the_examination(client: Client) -> None:
    told = client.get("/internal/state/examine/gluster").json()
    assert list(told) == ["heketidb", "report", "clusters"]
    assert told["heketidb"] == large()
    assert told["report"] == [
        "OnDemand Examiner invoked while 0 ops are in flight",
        "heketi volume list matches with volume list of all nodes",
    ]
    (cluster,) = told["clusters"]
    node = cluster["NodesData"][0]
    assert list(node) == [
        *("NodeHeketiID", "VolumeInfo", "LVMPVInfo", "LVMVGInfo", "LVMLVInfo", "BricksMountStatus", "BlockVolumeNames"),
    ]
    assert node["BlockVolumeNames"] == ["vol5/block1", "vol5/block2"]
    assert node["BricksMountStatus"]["Statuses"] == [
        {"Device": "/dev/mapper/x", "MountPoint": "/m/x", "Type": "xfs", "MountOptions": "rw", "Mounted": True}
    ]
    assert node["LVMVGInfo"]["report"][0]["vg"][0]["pv_count"] == "1"
    volumes = node["VolumeInfo"]["Volumes"]
    assert (volumes["Count"], volumes["XMLName"]) == (5, {"Space": "", "Local": ""})
    by_name = {each["VolumeName"]: each for each in volumes["VolumeList"]}
    assert (by_name["vol1"]["ReplicaCount"], by_name["vol1"]["TypeStr"], by_name["vol1"]["Status"]) == (
        3,
        "Replicate",
        1,
    )
    assert by_name["vol2"]["ArbiterCount"] == 1
    assert [each["IsArbiter"] for each in by_name["vol2"]["Bricks"]["BrickList"]] == [0, 0, 1]
    assert by_name["vol3"]["Options"]["OptionList"] == [{"Name": "a.b", "Value": "c"}]


def test_what_can_not_be_examined_is_reported(client: Client, agents: FakeAgents) -> None:
    agents.silent = {"m2"}
    agents.names.remove("copy")
    ids = [each.node.id for each in RECORDS.nodes]
    examined = client.get("/internal/state/examine/gluster").json()
    silent = examined["clusters"][0]["NodesData"][1]
    assert {key: value for key, value in silent.items() if value is not None} == {"NodeHeketiID": ids[1]}
    told = examined["report"][1:]
    assert told[0] == "could not fetch data from node m2"
    assert told[1:4] == [f"could not fetch LVM {kind} data from node m2 : no route" for kind in ("pvs", "vgs", "lvs")]
    assert told[4] == "could not fetch brick mount status from node m2 : no route"
    assert told[5].startswith("could not fetch block volume list for block hosting volume a0")
    assert told[6:] == [
        f"heketi volume list does not match with volume list of node {ids[0]}",
        f"heketi volume list could not be compared with volume list of node {ids[1]} due to missing info",
        f"heketi volume list does not match with volume list of node {ids[2]}",
    ]
    agents.silent = {"m1", "m2", "m3"}
    report = client.get("/internal/state/examine/gluster").json()["report"]
    assert f"not able to fetch any data from cluster {RECORDS.clusters[0].id}" in report


def test_what_is_not_there_is_empty_or_null() -> None:
    nodes = [NodeWords(node=each.node, facts=facts_pb2.NodeFacts(), volumes=NO_VOLUMES) for each in RECORDS.nodes[:1]]
    (node,) = examination(StateLook(records=RECORDS, nodes=tuple(nodes)), 0)["clusters"][0]["NodesData"]
    # LVM names the kind in an empty listing too, so that clients may count what is in it.
    assert [node[f"LVM{kind.upper()}Info"] for kind in ("pv", "vg", "lv")] == [
        {"report": [{kind: []}]} for kind in ("pv", "vg", "lv")
    ]
    assert (node["BricksMountStatus"], node["BlockVolumeNames"]) == ({"Statuses": None}, None)
    assert (node["VolumeInfo"]["Volumes"]["Count"], node["VolumeInfo"]["Volumes"]["VolumeList"]) == (0, None)
    empty = examination(StateLook(records=records_pb2.Records(), nodes=()), 0)
    assert (empty["report"], empty["clusters"]) == (["OnDemand Examiner invoked while 0 ops are in flight"], None)


def test_a_cluster_without_nodes() -> None:
    records = records_pb2.Records(clusters=[cluster_pb2.Cluster(id="a" * 32)])
    told = examination(StateLook(records=records, nodes=()), 0)
    assert told["clusters"] == [{"ClusterHeketiID": "a" * 32, "NodesData": None}]
    assert told["report"][1:] == [
        f"not able to fetch any data from cluster {'a' * 32}",
        "heketi volume list matches with volume list of all nodes",
    ]


def test_without_a_topology(agents: FakeAgents, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateUseCases(topology=FakeTopology(), agents=agents)

    async def away() -> Any:
        raise UnavailableError(Reason.UNAVAILABLE, "connection refused")

    monkeypatch.setattr(state, "export_records", away)
    with Client(build_app(FakeUseCases(), HeketiSettings(auth_enabled=False), state=state)) as client:
        for path in ("/db/dump", "/db/check", "/internal/state/examine/gluster"):
            assert client.get(path).status_code == 503
