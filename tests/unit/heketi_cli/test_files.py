"""Commands of heketi-cli that read or write files, or print a tree."""

import base64
import json
from pathlib import Path
from typing import Any

from tests.unit.heketi_cli.conftest import Run
from tests.unit.heketi_cli.fakes import BRICK, CLUSTER, DEVICE, NODE, VOLUME, FakeServer, cluster, device, node, volume

_EXISTING = {
    "GET /clusters": {"clusters": [CLUSTER]},
    f"GET /clusters/{CLUSTER}": cluster(),
    f"GET /volumes/{VOLUME}": volume(bricks=volume()["bricks"][:1]),
    f"GET /nodes/{NODE}": node(tags={"rack": "a"}, devices=[device(tags={"speed": "fast"})]),
}
_TREE = f"""
Cluster Id: {CLUSTER}

    File:  false
    Block: true

    Volumes:

\tName: foo
\tSize: 11
\tId: {VOLUME}
\tCluster Id: {CLUSTER}
\tMount: 10.0.0.2:foo
\tMount Options: backup-volfile-servers=10.0.0.1,10.0.0.3
\tDurability Type: replicate
\tReplica: 3
\tSnapshot: Disabled

\t\tBricks:
\t\t\tId: {BRICK}
\t\t\tPath: /bricks/1
\t\t\tSize (GiB): 10
\t\t\tNode: {NODE}
\t\t\tDevice: {DEVICE}



    Nodes:

\tNode Id: {NODE}
\tState: online
\tCluster Id: {CLUSTER}
\tZone: 2
\tManagement Hostnames: h2
\tStorage Hostnames: 10.0.0.2
\tTags: rack:a

\tDevices:
\t\tId:{DEVICE:<35}State:online    Size (GiB):500     Used (GiB):10      Free (GiB):489 {"    "}
\t\t\tTags: speed:fast

\t\t\tKnown Paths: /dev/sdb /dev/disk/by-id/x

\t\t\tBricks:
\t\t\t\tId:{BRICK:<35}Size (GiB):10      Path: /bricks/1

"""


def test_topology_as_text(run: Run) -> None:
    ran = run(FakeServer(_EXISTING), "topology", "info")
    assert (ran.code, ran.out) == (0, _TREE)


def test_topology_as_json_leaves_block_volumes_out(run: Run) -> None:
    (found,) = json.loads(run(FakeServer(_EXISTING), "topology", "info", "--json").out)["clusters"]
    assert list(found) == ["volumes", "nodes", "id", "block", "file"]
    assert found["nodes"] == [_EXISTING[f"GET /nodes/{NODE}"]]


def test_topology_by_a_template(run: Run) -> None:
    template = "{{range .ClusterList}}{{.Id}}{{end}}"
    ran = run(FakeServer(_EXISTING), "topology", "info", "-T", template)
    assert (ran.code, ran.out) == (0, CLUSTER)
    ran = run(FakeServer(_EXISTING), "topology", "info", "--template={{range")
    assert ran.code == 255
    assert ran.err.startswith("Error: ")


def test_topology_load(run: Run) -> None:
    Path("t.json").write_text(
        json.dumps(
            {
                "clusters": [
                    {
                        "nodes": [
                            {
                                "node": {"hostnames": {"manage": ["h2"], "storage": ["10.0.0.2"]}, "zone": 2},
                                "devices": ["/dev/sdb", {"name": "/dev/sdc", "destroydata": True}],
                            }
                        ]
                    }
                ]
            }
        )
    )
    server = FakeServer(_EXISTING)
    ran = run(server, "topology", "load", "--json=t.json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"\tFound node h2 on cluster {CLUSTER}\n\t\tFound device /dev/sdb\n\t\tAdding device /dev/sdc ... OK\n"
    )
    assert server.sent[-1] == ("POST", "/devices", {"name": "/dev/sdc", "node": NODE, "destroydata": True})
    failing = run(FakeServer(_EXISTING, failing="no such disk"), "topology", "load", "-j", "t.json")
    assert failing.code == 255
    assert failing.out.endswith("\t\tAdding device /dev/sdc ... Unable to add device: no such disk\n")
    assert "1 of the items could not be added" in failing.err


def test_a_topology_file_that_can_not_be(run: Run) -> None:
    Path("broken.json").write_text("{")
    Path("list.json").write_text("[]")
    for name, told in (
        ("broken", "Unable to parse config file"),
        ("list", "Unable to parse config file: list.json: the file is []; it must be an object"),
    ):
        server = FakeServer(_EXISTING)
        ran = run(server, "topology", "load", f"--json={name}.json")
        assert (ran.code, ran.err) == (255, f"Error: {told}\n")
        assert server.sent == []


def test_a_persistent_volume(run: Run) -> None:
    server = FakeServer({"POST /volumes": volume(gid=7)})
    ran = run(server, "volume", "create", "--size=11", "--persistent-volume", "--persistent-volume-endpoint=endpoints")
    made: dict[str, Any] = json.loads(ran.out)
    assert ran.out == json.dumps(made, indent=2) + "\n"
    assert made["metadata"]["name"] == f"glusterfs-{VOLUME[:8]}"
    assert made["metadata"]["annotations"] == {"pv.beta.kubernetes.io/gid": "7"}
    assert made["spec"] == {
        "capacity": {"storage": "11Gi"},
        "glusterfs": {"endpoints": "endpoints", "path": "foo"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
    }
    ran = run(server, "volume", "create", "--size=11", "--persistent-volume-file=pv.json")
    assert (ran.code, ran.out) == (0, "")
    assert json.loads(Path("pv.json").read_text())["kind"] == "PersistentVolume"


def test_storage_for_kubernetes(run: Run) -> None:
    made = volume(name="heketidbstorage", size=2)
    server = FakeServer({**_EXISTING, "POST /volumes": made, "GET /backup/db": b"\x00backup"})
    ran = run(server, "setup-kubernetes-heketi-storage", "--node-selector=a=b", "--image=i")
    assert (ran.code, ran.out) == (0, "Saving heketi-storage.json\n")
    (creation,) = [each[2] for each in server.sent if each[0] == "POST"]
    assert (creation["size"], creation["name"]) == (2, "heketidbstorage")
    assert creation["durability"] == {"type": "replicate", "replicate": {"replica": 3}, "disperse": {}}
    assert creation["glustervolumeoptions"][-1] == "user.heketi.dbstoragelevel 1"
    secret, endpoints, service, job = json.loads(Path("heketi-storage.json").read_text())["items"]
    assert base64.b64decode(secret["data"]["heketi.db"]) == b"\x00backup"
    assert secret["metadata"]["labels"] == {"deploy-heketi": "support"}
    assert [each["addresses"][0]["ip"] for each in endpoints["subsets"]] == ["10.0.0.2", "10.0.0.1", "10.0.0.3"]
    assert service["metadata"]["name"] == endpoints["metadata"]["name"] == "heketi-storage-endpoints"
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"a": "b"}
    assert (pod["containers"][0]["image"], pod["containers"][0]["command"][0]) == ("i", "cp")


def test_storage_for_kubernetes_with_other_options(run: Run) -> None:
    server = FakeServer({**_EXISTING, "POST /volumes": volume(), "GET /backup/db": b"x"})
    argv = ("--gluster-volume-options=a 1", "--append-volume-options=b 2", "--durability=none", "--listfile=l.json")
    assert run(server, "setup-openshift-heketi-storage", *argv).out == "Saving l.json\n"
    (creation,) = [each[2] for each in server.sent if each[0] == "POST"]
    assert creation["glustervolumeoptions"] == ["a 1", "user.heketi.dbstoragelevel custom", "b 2"]


def test_storage_for_kubernetes_is_taken_back_when_it_can_not_be_saved(run: Run) -> None:
    server = FakeServer({**_EXISTING, "POST /volumes": volume(), "GET /backup/db": b"x"})
    ran = run(server, "setup-openshift-heketi-storage", "--listfile=absent/l.json")
    assert ran.code == 255
    assert ran.err == "Cleaning up\nError: open absent/l.json: no such file or directory\n"
    assert server.sent[-1] == ("DELETE", f"/volumes/{VOLUME}")


def test_storage_for_kubernetes_is_made_once(run: Run) -> None:
    existing = {**_EXISTING, f"GET /volumes/{VOLUME}": volume(name="heketidbstorage")}
    server = FakeServer(existing)
    ran = run(server, "setup-openshift-heketi-storage")
    assert (ran.code, ran.err) == (255, "Error: Volume heketidbstorage already exists\n")
    assert {each[0] for each in server.sent} == {"GET"}
