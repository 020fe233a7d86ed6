"""The cluster extensions by heketi-cli, on a stack of real processes."""

import json
from typing import Any

import pytest

from gateway.cli.heketi_cli.__main__ import run
from tests.integration.clients import KEYS
from tests.integration.stack import DISK_GIB, ON_SQLITE, Stack
from tests.integration.world import Cluster, World

pytestmark = ON_SQLITE


@pytest.fixture
def cluster(stack: Stack, world: World, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("HEKETI_CLI_SERVER", stack.gateway.addresses[0])
    monkeypatch.setenv("HEKETI_CLI_USER", "admin")
    monkeypatch.setenv("HEKETI_CLI_KEY", KEYS["admin"])
    return world.cluster(3)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_cluster_extensions(
    stack: Stack, world: World, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = told(capsys, "cluster", "getvolmaxsize", "--replica=2", cluster.id)
    assert (code, err) == (0, "")
    shown = dict(line.split(": ") for line in out.splitlines())
    assert list(shown) == ["MaxAllowCreateVolSize", "AvaildDiskCnt", "AvaildNodeCnt"]
    assert (shown["AvaildDiskCnt"], shown["AvaildNodeCnt"]) == ("3", "3")
    code, out, _ = told(capsys, "--json", "cluster", "getvolmaxsize", cluster.id, "--durability=none")
    largest: dict[str, Any] = json.loads(out)
    assert (code, largest["unreachable"]) == (0, [])
    body = cluster.volume_body(largest["MaxAllowCreateVolSize"], kind="none")
    assert world.rest.change("POST", "/volumes", {**body, "size": body["size"] + 1}).status_code == 500
    world.rest.made("/volumes", body)
    code, out, _ = told(capsys, "cluster", "getdiskstatus", cluster.id)
    head, *rows = out.splitlines()
    assert (code, head.split()[:2], len(rows)) == (0, ["Node", "Disk"], 3)
    assert {row.split()[0] for row in rows} == set(cluster.hostnames)
    assert {row.split()[2] for row in rows} == {f"{DISK_GIB}.0"}
    dead = {"command": "fullreport", "node": cluster.hostnames[0], "action": "crash", "times": 0}
    with stack.fault(dead):
        code, out, err = told(capsys, "--json", "cluster", "querydevices", cluster.id)
    found = {node["hostname"]: node for node in json.loads(out)["nodes"]}
    assert set(found) == set(cluster.hostnames)
    assert "/dev/sdb" not in [disk["name"] for disk in found[cluster.hostnames[1]]["devices"]]
    assert found[cluster.hostnames[1]]["devices"]
    assert code == 255
    assert err.startswith(f"node {cluster.hostnames[0]} does not answer: ")
    assert err.endswith("Error: 1 of 3 nodes could not be asked for their disks\n")
    code, _, err = told(capsys, "cluster", "getdiskstatus", cluster.id)
    assert code == 0
    assert err.startswith(f"node {cluster.hostnames[0]} does not answer: ")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("getdiskstatus",), "Cluster id missing"),
        (("getdiskstatus", "0" * 32), "Id not found"),
        (("getvolmaxsize", "--durability=much", "0" * 32), "--durability must be one of none, replicate, disperse"),
        (("getvolmaxsize", "--replica=0", "0" * 32), "replica: '0' is no number from 1 to 1000"),
    ],
)
def test_what_can_not_be_answered(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    del cluster
    code, out, err = told(capsys, "cluster", *words)
    assert (code, out) == (255, "")
    assert complaint in err
