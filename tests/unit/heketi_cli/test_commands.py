"""What each command sends, prints, and says when it can not be; the texts are those of Heketi's client."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.cli.heketi_cli.call import go_json
from tests.unit.heketi_cli.conftest import Run
from tests.unit.heketi_cli.fakes import (
    BLOCK,
    BRICK,
    CLUSTER,
    DEVICE,
    NODE,
    OPERATION,
    VOLUME,
    FakeServer,
    Refused,
    block_volume,
    cluster,
    device,
    node,
    volume,
)

_OTHER = "9" * 32
_NODE_BLOCK = f"""Node Id: {NODE}
State: online
Cluster Id: {CLUSTER}
Zone: 2
Management Hostname: h2
Storage Hostname: 10.0.0.2
"""
_DEVICE_LINE = (
    f"Id:{DEVICE:<35}Name:/dev/sdb            State:online    Size (GiB):500     "
    "Used (GiB):10      Free (GiB):489     Bricks:1       "
)
_DEVICE_BLOCK = f"""Device Id: {DEVICE}
State: online
Size (GiB): 500
Used (GiB): 10
Free (GiB): 489
Create Path: /dev/sdb
Physical Volume UUID: uuid
Known Paths: /dev/sdb /dev/disk/by-id/x
Bricks:
Id:{BRICK:<35}Size (GiB):10      Path: /bricks/1
"""
_VOLUME_HEAD = f"""Name: foo
Size: 11
Volume Id: {VOLUME}
Cluster Id: {CLUSTER}
Mount: 10.0.0.2:foo
Mount Options: backup-volfile-servers=10.0.0.1,10.0.0.3
"""
_NO_BLOCKS = """Block: false
Free Size: 0
Reserved Size: 0
Block Hosting Restriction: (none)
Block Volumes: []
"""
_VOLUME_BLOCK = f"{_VOLUME_HEAD}{_NO_BLOCKS}Durability Type: replicate\nDistribute Count: 2\nReplica Count: 3\n"
_BLOCK_BLOCK = f"""Name: blk
Size: 10
UsableSize: 10
Volume Id: {BLOCK}
Cluster Id: {CLUSTER}
Hosts: [s1 s2]
IQN: iqn.x
LUN: 0
Hacount: 2
Username: u
Password: p
Block Hosting Volume: {VOLUME}
"""
_CREATION = {
    "size": 11,
    "name": "",
    "durability": {"type": "replicate", "replicate": {"replica": 3}, "disperse": {"data": 4, "redundancy": 2}},
    "snapshot": {"enable": False, "factor": 0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One command that goes well.

    Attributes:
        argv: The command line, as words between blanks.
        answers: What the server says; see FakeServer.
        sent: What is to be sent, in order.
        text: What is to be printed.
        json: What --json prints instead; "text" = the same, as the command has no JSON.
    """

    argv: str
    answers: dict[str, Any] = field(default_factory=dict)
    sent: list[tuple[Any, ...]]
    text: str
    json: Any = "text"


CASES = (
    # --- clusters
    Case(
        argv="cluster create --block=false",
        answers={"POST /clusters": cluster(block=False, file=True)},
        sent=[("POST", "/clusters", {"block": False, "file": True})],
        text=f"Cluster id: {CLUSTER}\n",
        json=cluster(block=False, file=True),
    ),
    Case(
        argv=f"cluster setflags --block=F {CLUSTER}",
        answers={f"GET /clusters/{CLUSTER}": cluster()},
        sent=[
            ("GET", f"/clusters/{CLUSTER}"),
            ("POST", f"/clusters/{CLUSTER}/flags", {"block": False, "file": False}),
        ],
        text="",
    ),
    Case(
        argv=f"cluster setflags --block=1 --file=t {CLUSTER}",
        sent=[("POST", f"/clusters/{CLUSTER}/flags", {"block": True, "file": True})],
        text="",
    ),
    Case(
        argv=f"cluster delete {CLUSTER}",
        sent=[("DELETE", f"/clusters/{CLUSTER}")],
        text=f"Cluster {CLUSTER} deleted\n",
    ),
    Case(
        argv=f"cluster info {CLUSTER}",
        answers={f"GET /clusters/{CLUSTER}": cluster(nodes=[NODE, _OTHER])},
        sent=[("GET", f"/clusters/{CLUSTER}")],
        text=f"Cluster id: {CLUSTER}\nNodes:\n{NODE}\n{_OTHER}\nVolumes:\n{VOLUME}\nBlock: true\n\nFile: false\n",
        json=cluster(nodes=[NODE, _OTHER]),
    ),
    Case(
        argv="cluster list",
        answers={
            "GET /clusters": {"clusters": [CLUSTER, _OTHER]},
            f"GET /clusters/{CLUSTER}": cluster(file=True),
            f"GET /clusters/{_OTHER}": cluster(id=_OTHER, block=False),
        },
        sent=[("GET", "/clusters"), ("GET", f"/clusters/{CLUSTER}"), ("GET", f"/clusters/{_OTHER}")],
        text=f"Clusters:\nId:{CLUSTER} [file][block]\nId:{_OTHER} []\n",
        json={"clusters": [CLUSTER, _OTHER]},
    ),
    # --- nodes
    Case(
        argv=f"node add --zone=2 --cluster={CLUSTER} --management-host-name=h2 --storage-host-name 10.0.0.2",
        answers={"POST /nodes": node()},
        sent=[
            (
                "POST",
                "/nodes",
                {"zone": 2, "hostnames": {"manage": ["h2"], "storage": ["10.0.0.2"]}, "cluster": CLUSTER},
            )
        ],
        text=f"Node information:\n{_NODE_BLOCK}",
        json=node(),
    ),
    Case(
        argv=f"node info {NODE}",
        answers={f"GET /nodes/{NODE}": node(tags={"rack": "a", "arbiter": "no"})},
        sent=[("GET", f"/nodes/{NODE}")],
        text=f"{_NODE_BLOCK}Tags:\n  arbiter: no\n  rack: a\nDevices:\n{_DEVICE_LINE}\n",
        json=node(tags={"rack": "a", "arbiter": "no"}),
    ),
    Case(
        argv="node list",
        answers={"GET /clusters": {"clusters": [CLUSTER]}, f"GET /clusters/{CLUSTER}": cluster()},
        sent=[("GET", "/clusters"), ("GET", f"/clusters/{CLUSTER}")],
        text=f"Id:{NODE}\tCluster:{CLUSTER}\n",
    ),
    Case(argv=f"node delete {NODE}", sent=[("DELETE", f"/nodes/{NODE}")], text=f"Node {NODE} deleted\n"),
    *(
        Case(
            argv=f"{kind} {verb} {target}",
            sent=[("POST", f"/{kind}s/{target}/state", {"state": state, "healcheck": ""})],
            text=f"{kind.capitalize()} {target} is now {told}\n",
        )
        for kind, target in (("node", NODE), ("device", DEVICE))
        for verb, state, told in (
            ("enable", "online", "online"),
            ("disable", "offline", "offline"),
            ("remove", "failed", "removed"),
        )
    ),
    *(
        Case(argv=argv.format(kind=kind, id=target), sent=[("POST", f"/{kind}s/{target}/tags", body)], text="")
        for kind, target in (("node", NODE), ("device", DEVICE))
        for argv, body in (
            ("{kind} settags {id} b:2 a:1:x", {"tags": {"a": "1:x", "b": "2"}, "change_type": "update"}),
            ("{kind} settags --exact {id} a:1", {"tags": {"a": "1"}, "change_type": "set"}),
            ("{kind} rmtags {id} b a", {"tags": {"a": "", "b": ""}, "change_type": "delete"}),
            ("{kind} deltags --all {id}", {"tags": {}, "change_type": "set"}),
        )
    ),
    # --- devices and bricks
    Case(
        argv=f"device add --name=/dev/sdb --node={NODE}",
        sent=[("POST", "/devices", {"name": "/dev/sdb", "node": NODE})],
        text="Device added successfully\n",
    ),
    Case(
        argv=f"device add --name=/dev/sdb --node={NODE} --destroy-existing-data",
        sent=[("POST", "/devices", {"name": "/dev/sdb", "node": NODE, "destroydata": True})],
        text="Device added successfully\n",
    ),
    Case(
        argv=f"device info {DEVICE}",
        answers={f"GET /devices/{DEVICE}": device()},
        sent=[("GET", f"/devices/{DEVICE}")],
        text=_DEVICE_BLOCK,
        json=device(),
    ),
    Case(
        argv=f"device delete --force-forget {DEVICE}",
        sent=[("DELETE", f"/devices/{DEVICE}", {"forceforget": True})],
        text=f"Device {DEVICE} deleted\n",
    ),
    Case(
        argv=f"device remove --expert-option-disable-heal-check {DEVICE}",
        sent=[("POST", f"/devices/{DEVICE}/state", {"state": "failed", "healcheck": "disable"})],
        text="Skipping the heal check may be dangerous and increase the risk of data loss.\n"
        " Press CTRL-C within 10 seconds to cancel this action.\n"
        f"Device {DEVICE} is now removed\n",
    ),
    Case(
        argv=f"device resync {DEVICE}",
        sent=[("GET", f"/devices/{DEVICE}/resync")],
        text=f"Device {DEVICE} updated\n",
    ),
    Case(
        argv=f"device resync --cluster {CLUSTER}",
        answers={f"GET /clusters/{CLUSTER}": cluster(), f"GET /nodes/{NODE}": node()},
        sent=[("GET", f"/clusters/{CLUSTER}"), ("GET", f"/nodes/{NODE}"), ("GET", f"/devices/{DEVICE}/resync")],
        text="Cluster-wide resync operation requested. Using object_id as cluster_id.\n"
        f"Now resyncing device {DEVICE}..\nDevice {DEVICE} (node {NODE}) in cluster {CLUSTER} updated\n",
    ),
    Case(
        argv=f"brick evict {BRICK}",
        sent=[("POST", f"/bricks/to-evict/{BRICK}", {"healcheck": ""})],
        text=f"Brick {BRICK} evicted\n",
    ),
    # --- volumes
    Case(
        argv="volume create --size=11",
        answers={"POST /volumes": volume()},
        sent=[("POST", "/volumes", _CREATION)],
        text=_VOLUME_BLOCK,
        json=volume(),
    ),
    Case(
        argv="volume create --size=11 --name=foo --durability=disperse --disperse-data=4 --redundancy=2 --replica=0 "
        f"--snapshot-factor=1.5 --gid=7 --clusters={CLUSTER},{_OTHER} --gluster-volume-options=a,b --block",
        answers={
            "POST /volumes": volume(
                durability={"type": "disperse", "disperse": {"data": 4, "redundancy": 2}},
                snapshot={"enable": True, "factor": 1.5},
                block=True,
                blockinfo={"freesize": 9, "reservedsize": 2, "blockvolume": [BLOCK], "restriction": "locked"},
            )
        },
        sent=[
            (
                "POST",
                "/volumes",
                {
                    "size": 11,
                    "clusters": [CLUSTER, _OTHER],
                    "name": "foo",
                    "durability": {
                        "type": "disperse",
                        "replicate": {},
                        "disperse": {"data": 4, "redundancy": 2},
                    },
                    "gid": 7,
                    "glustervolumeoptions": ["a", "b"],
                    "block": True,
                    "snapshot": {"enable": True, "factor": 1.5},
                },
            )
        ],
        text=f"{_VOLUME_HEAD}Block: true\nFree Size: 9\nReserved Size: 2\nBlock Hosting Restriction: locked\n"
        f"Block Volumes: [{BLOCK}]\nDurability Type: disperse\nDistribute Count: 1\nDisperse Data Count: 4\n"
        "Disperse Redundancy Count: 2\nSnapshot Factor: 1.50\n\n",
    ),
    Case(argv=f"volume delete {VOLUME}", sent=[("DELETE", f"/volumes/{VOLUME}")], text=f"Volume {VOLUME} deleted\n"),
    *(
        Case(
            argv=argv,
            answers={f"POST /volumes/{VOLUME}/expand": volume()},
            sent=[("POST", f"/volumes/{VOLUME}/expand", {"expand_size": 3})],
            text=_VOLUME_BLOCK,
            json=volume(),
        )
        for argv in (f"volume expand {VOLUME} --expand-size=3", f"volume expand --volume={VOLUME} --expand-size=3")
    ),
    Case(
        argv=f"volume info {VOLUME}",
        answers={f"GET /volumes/{VOLUME}": volume(durability={"type": "none"})},
        sent=[("GET", f"/volumes/{VOLUME}")],
        text=f"{_VOLUME_HEAD}{_NO_BLOCKS}Durability Type: none\nDistribute Count: 6\n",
        json=volume(durability={"type": "none"}),
    ),
    Case(
        argv="volume list",
        answers={
            "GET /volumes": {"volumes": [VOLUME, _OTHER]},
            f"GET /volumes/{VOLUME}": volume(),
            f"GET /volumes/{_OTHER}": volume(id=_OTHER, name="bar", block=True),
        },
        sent=[("GET", "/volumes"), ("GET", f"/volumes/{VOLUME}"), ("GET", f"/volumes/{_OTHER}")],
        text=f"Id:{VOLUME:<35} Cluster:{CLUSTER:<35} Name:foo\n"
        f"Id:{_OTHER:<35} Cluster:{CLUSTER:<35} Name:bar [block]\n",
        json={"volumes": [VOLUME, _OTHER]},
    ),
    Case(
        argv=f"volume clone {VOLUME} --name=copy",
        answers={f"POST /volumes/{VOLUME}/clone": volume()},
        sent=[("POST", f"/volumes/{VOLUME}/clone", {"name": "copy"})],
        text=_VOLUME_BLOCK,
        json=volume(),
    ),
    *(
        Case(
            argv=f"volume set-block-hosting-restriction {word} {VOLUME}",
            answers={f"POST /volumes/{VOLUME}/block-restriction": volume()},
            sent=[("POST", f"/volumes/{VOLUME}/block-restriction", {"restriction": restriction})],
            text=_VOLUME_BLOCK,
            json=volume(),
        )
        for word, restriction in (("locked", "locked"), ("unlocked", ""))
    ),
    Case(
        argv=f"volume endpoint patch {VOLUME}",
        answers={f"GET /volumes/{VOLUME}": volume()},
        sent=[("GET", f"/volumes/{VOLUME}")],
        text='{"subsets": ['
        + ",".join(f'{{"addresses":[{{"ip":"10.0.0.{last}"}}],"ports":[{{"port":1}}]}}' for last in (2, 1, 3))
        + "]}",
    ),
    # --- block volumes
    Case(
        argv=f"blockvolume create --size=10 --ha=2 --auth --name=blk --clusters={CLUSTER}",
        answers={"POST /blockvolumes": block_volume()},
        sent=[
            (
                "POST",
                "/blockvolumes",
                {"size": 10, "clusters": [CLUSTER], "name": "blk", "hacount": 2, "auth": True},
            )
        ],
        text=_BLOCK_BLOCK,
        json=block_volume(),
    ),
    Case(
        argv="blockvolume create --size=10",
        answers={"POST /blockvolumes": block_volume()},
        sent=[("POST", "/blockvolumes", {"size": 10, "name": ""})],
        text=_BLOCK_BLOCK,
        json=block_volume(),
    ),
    Case(
        argv=f"blockvolume info {BLOCK}",
        answers={f"GET /blockvolumes/{BLOCK}": block_volume(usablesize=9)},
        sent=[("GET", f"/blockvolumes/{BLOCK}")],
        text=_BLOCK_BLOCK.replace("UsableSize: 10", "UsableSize: 9"),
        json=block_volume(usablesize=9),
    ),
    Case(
        argv=f"blockvolume delete {BLOCK}",
        sent=[("DELETE", f"/blockvolumes/{BLOCK}")],
        text=f"Volume {BLOCK} deleted\n",
    ),
    Case(
        argv="blockvolume list",
        answers={"GET /blockvolumes": {"blockvolumes": [BLOCK]}, f"GET /blockvolumes/{BLOCK}": block_volume()},
        sent=[("GET", "/blockvolumes"), ("GET", f"/blockvolumes/{BLOCK}")],
        text=f"Id:{BLOCK:<35} Cluster:{CLUSTER:<35} Name:blk\n",
        json={"blockvolumes": [BLOCK]},
    ),
    *(
        Case(
            argv=argv,
            answers={f"POST /blockvolumes/{BLOCK}/expand": block_volume()},
            sent=[("POST", f"/blockvolumes/{BLOCK}/expand", {"new_size": 15})],
            text=_BLOCK_BLOCK,
            json=block_volume(),
        )
        for argv in (
            f"blockvolume expand {BLOCK} --new-size=15",
            f"blockvolume expand --blockvolume={BLOCK} --new-size=15",
        )
    ),
    # --- the server
    Case(
        argv="server operations info",
        answers={"GET /operations": {"in_flight": 1, "total": 4, "new": 2, "stale": 0, "failed": 3}},
        sent=[("GET", "/operations")],
        text="Operation Counts:\n  Total: 4\n  In-Flight: 1\n  New: 2\n  Failed: 3\n  Stale: 0\n",
    ),
    Case(
        argv=f"server operations info {OPERATION}",
        answers={
            f"GET /operations/pending/{OPERATION}": {
                "id": OPERATION,
                "type_name": "create-volume",
                "status": "",
                "sub_status": "",
                "changes": [{"id": BRICK, "description": "Add brick"}],
            }
        },
        sent=[("GET", f"/operations/pending/{OPERATION}")],
        text=f"\nId: {OPERATION}\nType: create-volume\nStatus: New \nChanges:\n    Add brick: {BRICK}\n",
    ),
    Case(
        argv="server operations list",
        answers={
            "GET /operations/pending": {
                "pendingoperations": [
                    {"id": OPERATION, "type_name": "create-volume", "status": "", "sub_status": "in-flight"},
                    {"id": _OTHER, "type_name": "delete-volume", "status": "failed", "sub_status": ""},
                ]
            }
        },
        sent=[("GET", "/operations/pending")],
        text=f"Id:{OPERATION}  Type:create-volume  Status:New in-flight\n"
        f"Id:{_OTHER}  Type:delete-volume  Status:failed \n",
    ),
    Case(
        argv="server operations cleanup",
        sent=[("POST", "/operations/pending/cleanup", {})],
        text="",
    ),
    Case(
        argv=f"server operations cleanup {OPERATION} {_OTHER}",
        sent=[("POST", "/operations/pending/cleanup", {"operations": [OPERATION, _OTHER]})],
        text="",
    ),
    Case(
        argv="server mode get", answers={"GET /admin": {"state": "normal"}}, sent=[("GET", "/admin")], text="normal\n"
    ),
    Case(argv="server mode set read-only", sent=[("POST", "/admin", {"state": "read-only"})], text=""),
    Case(
        argv="server state examine gluster",
        answers={"GET /internal/state/examine/gluster": '{\n    "report": []\n}'},
        sent=[("GET", "/internal/state/examine/gluster")],
        text='{\n    "report": []\n}\n',
    ),
    Case(argv="db dump", answers={"GET /db/dump": "{}\n"}, sent=[("GET", "/db/dump")], text="{}\n"),
    Case(argv="db check", answers={"GET /db/check": "{}"}, sent=[("GET", "/db/check")], text="{}\n"),
    Case(
        argv="loglevel get",
        answers={"GET /internal/logging": {"loglevel": {"glusterfs": "info"}}},
        sent=[("GET", "/internal/logging")],
        text="info\n",
    ),
    Case(
        argv="loglevel set debug",
        sent=[("POST", "/internal/logging", {"loglevel": {"glusterfs": "debug"}})],
        text="Server log level updated\n",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=[re.sub(r"\w{32}", "ID", each.argv) for each in CASES])
def test_what_is_sent_and_printed(run: Run, case: Case) -> None:
    server = FakeServer(case.answers)
    ran = run(server, *case.argv.split())
    assert (ran.code, ran.out) == (0, case.text), ran.err
    assert server.sent == case.sent


@pytest.mark.parametrize("case", CASES, ids=[re.sub(r"\w{32}", "ID", each.argv) for each in CASES])
def test_as_json(run: Run, case: Case) -> None:
    ran = run(FakeServer(case.answers), "--json", *case.argv.split())
    assert ran.code == 0, ran.err
    if case.json != "text":
        # On one line, without a newline at its end.
        assert ran.out == json.dumps(case.json, separators=(",", ":"))
    elif case.argv.startswith("volume create"):
        assert json.loads(ran.out)["name"] == "foo"
    else:
        assert ran.out == case.text


@pytest.mark.parametrize("case", CASES, ids=[re.sub(r"\w{32}", "ID", each.argv) for each in CASES])
def test_a_refusal_is_told_in_the_servers_words(run: Run, case: Case) -> None:
    method, path = case.sent[0][:2]
    server = FakeServer({**case.answers, f"{method} {path}": Refused(404, "Id not found")})
    ran = run(server, *case.argv.split())
    assert (ran.code, ran.err) == (255, "Error: Id not found\n")
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "case",
    [each for each in CASES if len(each.sent) == 1 and each.sent[0][0] != "GET"],
    ids=lambda each: re.sub(r"\w{32}", "ID", each.argv),
)
def test_a_failure_in_the_queue_is_told(run: Run, case: Case) -> None:
    ran = run(FakeServer(case.answers, failing="it broke"), *case.argv.split())
    assert (ran.code, ran.err) == (255, "Error: it broke\n")


_NO_BRICK, _NO_TAG = "Brick id missing", "at least one tag expected"
WRONG = {
    "cluster setflags": "Cluster id missing",
    "cluster setflags x": "At least one of --file or --block must be specified.",
    "cluster setflags x --file=maybe": 'strconv.ParseBool: parsing "maybe": invalid syntax',
    "cluster delete": "Cluster id missing",
    "cluster info": "Cluster id missing",
    "cluster getdiskstatus": "Cluster id missing",
    "cluster getvolmaxsize": "Cluster id missing",
    "cluster getvolmaxsize x --durability=raid": "--durability must be one of none, replicate, disperse",
    "cluster querydevices": "Cluster id missing",
    "node add": "Missing zone",
    "node add --zone=1": "Missing management hostname",
    "node add --zone=1 --management-host-name=a": "Missing storage hostname",
    "node add --zone=1 --management-host-name=a --storage-host-name=b": "Missing cluster id",
    "node info": "Node id missing",
    "node delete": "Node id missing",
    "node enable": "Node id missing",
    "node disable": "Node id missing",
    "node remove": "Node id missing",
    "device add": "Missing device name",
    "device add --name=/dev/sdb": "Missing node id",
    "device info": "Device id missing",
    "device delete": "Device id missing",
    "device enable": "device id missing",
    "device disable": "device id missing",
    "device remove": "Device id missing",
    "device resync": "Device id missing",
    "device resync --cluster": "object/cluster id missing",
    **{
        f"{kind} {words}": text
        for kind in ("node", "device")
        for words, text in {
            "settags": "id required",
            "settags x": "at least one tag:value pair expected",
            "settags x ab": "expected colon (:) between tag name and value, got: ab",
            "rmtags": "id required",
            "rmtags x": _NO_TAG,
            "rmtags x a --all": "--all may not be combined with named tags",
        }.items()
    },
    "brick evict": _NO_BRICK,
    "brick evict a b": "too many arguments",
    "volume create": "Missing volume size",
    "volume create --size=1 --persistent-volume": "Missing endpoint",
    "volume delete": "Volume id missing",
    "volume info": "Volume id missing",
    "volume clone": "Volume id missing",
    "volume expand": "Missing volume id",
    "volume expand x": "Missing volume amount to expand",
    "volume endpoint patch": "Volume id missing",
    "volume set-block-hosting-restriction": "Volume id missing",
    "volume set-block-hosting-restriction locked": "Volume id missing",
    "volume set-block-hosting-restriction shut x": "unknown restriction: shut; it is locked or unlocked",
    "blockvolume create": "Missing volume size",
    "blockvolume create --size=1 --ha=-1": "Invalid HA count",
    "blockvolume delete": "Volume id missing",
    "blockvolume info": "Volume id missing",
    "blockvolume expand": "Missing block volume id",
    "blockvolume expand x": "Missing block volume net new size",
    "loglevel set": "missing log-level argument",
    "loglevel set a b": "Too many arguments provided",
    "server mode set": "missing mode argument",
    "server mode set a b": "Too many arguments provided",
    "topology load": "Missing configuration file",
    "topology load --json=absent": "Unable to open config file",
    "setup-openshift-heketi-storage --durability=disperse": (
        "Durability disperse is not supported for heketi database storage"
    ),
}


@pytest.mark.parametrize(("line", "told"), WRONG.items(), ids=list(WRONG))
def test_arguments_are_looked_at_before_the_server_is_asked(run: Run, line: str, told: str) -> None:
    server = FakeServer({})
    ran = run(server, *line.split())
    assert (ran.code, ran.out) == (255, "")
    assert ran.err.endswith(f"Error: {told}\n")
    assert server.sent == []


_SILENT = {"node": _OTHER, "hostname": "h9", "error": "gone"}
_DISK = {
    "hostname": "h2",
    "name": "/dev/sdb",
    "size": 524288000,
    "used": 10539008,
    "free": 513748992,
    "percent": 2.01,
    "bricks": 1,
    "state": "online",
    "health": "ok",
    "id": DEVICE,
}


def test_disks_of_a_cluster(run: Run) -> None:
    found = {"disks": [_DISK], "unreachable": [_SILENT]}
    server = FakeServer({f"GET /clusters/{CLUSTER}/diskstatus": found})
    ran = run(server, "cluster", "getdiskstatus", CLUSTER)
    assert (ran.code, ran.err) == (0, "node h9 does not answer: gone\n")
    head, row = (line.split() for line in ran.out.splitlines())
    assert dict(zip(head, row, strict=True)) == {
        "Node": "h2",
        "Disk": "/dev/sdb",
        "Size(GiB)": "500.0",
        "Used(GiB)": "10.1",
        "Free(GiB)": "489.9",
        "Used(%)": "2.0",
        "Bricks": "1",
        "State": "online",
        "Health": "ok",
        "Id": DEVICE,
    }
    assert json.loads(run(server, "cluster", "getdiskstatus", CLUSTER, "--json").out) == found


def test_the_largest_volume(run: Run) -> None:
    found = {"MaxAllowCreateVolSize": 7, "AvaildDiskCnt": 2, "AvaildNodeCnt": 1, "unreachable": [_SILENT]}
    question = "durability=disperse&replica=3&disperse-data=8&redundancy=2&snapshot-factor=1.5"
    path = f"/clusters/{CLUSTER}/volmaxsize?{question}"
    server = FakeServer({f"GET {path}": found})
    argv = ("--durability=disperse", "--disperse-data=8", "--snapshot-factor=1.5")
    ran = run(server, "cluster", "getvolmaxsize", CLUSTER, *argv)
    assert (ran.code, ran.err) == (0, "node h9 does not answer: gone\n")
    assert ran.out == "MaxAllowCreateVolSize: 7\nAvaildDiskCnt: 2\nAvaildNodeCnt: 1\n"
    assert json.loads(run(server, "cluster", "getvolmaxsize", CLUSTER, *argv, "--json").out) == found


@pytest.mark.parametrize("silent", [False, True])
def test_disks_that_could_be_added(run: Run, *, silent: bool) -> None:
    nodes = [{"node": NODE, "hostname": "h2", "devices": [{"name": "/dev/sdc", "size": 4 << 20}]}]
    found = {"nodes": [*nodes, *([_SILENT | {"devices": []}] if silent else [])]}
    server = FakeServer({f"GET /clusters/{CLUSTER}/freedevices": found})
    ran = run(server, "cluster", "querydevices", CLUSTER)
    assert [line.split() for line in ran.out.splitlines()[1:]] == [["h2", NODE, "/dev/sdc", "4.0"]]
    told = "node h9 does not answer: gone\nError: 1 of 2 nodes could not be asked for their disks\n"
    assert (ran.code, ran.err) == ((255, told) if silent else (0, ""))
    as_json = run(server, "cluster", "querydevices", CLUSTER, "--json")
    assert (as_json.code, json.loads(as_json.out)) == (ran.code, found)


def test_json_as_go_writes_it(run: Run) -> None:
    found = cluster(id="<&>%d")
    ran = run(FakeServer({f"GET /clusters/{CLUSTER}": found}), "cluster", "info", CLUSTER, "--json")
    assert '"id":"\\u003c\\u0026\\u003e%d"' in ran.out
    assert go_json({"ü": 1}) == '{"ü":1}'


def test_more_arguments_are_left_alone(run: Run) -> None:
    ran = run(FakeServer({f"GET /volumes/{VOLUME}": volume()}), "volume", "info", VOLUME, "more")
    assert (ran.code, ran.out) == (0, _VOLUME_BLOCK)


def test_the_note_of_a_clean_up(run: Run) -> None:
    assert run(FakeServer({}), "server", "operations", "cleanup").err.count("\n") == 3


def test_a_cluster_wide_resync_goes_on_and_fails_at_its_end(run: Run) -> None:
    server = FakeServer(
        {
            f"GET /clusters/{CLUSTER}": cluster(),
            f"GET /nodes/{NODE}": node(devices=[device(), device(id=_OTHER)]),
            f"GET /devices/{DEVICE}/resync": Refused(500, "it is gone"),
        }
    )
    ran = run(server, "device", "resync", "--cluster", CLUSTER)
    assert ran.code == 255
    assert f"Device {DEVICE} (node {NODE}) in cluster {CLUSTER} updated" not in ran.out
    assert f"Device {_OTHER} (node {NODE}) in cluster {CLUSTER} updated" in ran.out
    assert ran.err == f"Error: device {DEVICE} (node {NODE}): it is gone\n"


def test_an_answer_that_is_no_json_is_told(run: Run) -> None:
    ran = run(FakeServer({"GET /volumes": "<html>"}), "volume", "list")
    assert ran.code == 255
    assert ran.err.startswith("Error: http://localhost:8080/volumes answered what is no JSON")
