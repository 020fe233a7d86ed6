"""A Heketi is taken over: its dump is imported, its nodes are adopted, and its volumes live on.

The simulated nodes are as Heketi leaves them: its fstab files, thin pools that are not named after their bricks, no
UUID of disks in the database, and no word in it about which bricks belong together.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.common.identity import Role
from services.common.ids import new_id
from services.executor.policy import DEFAULT_FSTAB
from services.executor.runners.simulated.fleet import SimulatedNode
from tests.integration.fleet_stack import FleetStack
from tests.integration.heketi_leavings import GROWN_GIB, Leavings, begin, die, written
from tests.integration.stack import Credentials, environment, wait_until
from tests.integration.world import Cluster, World

SECONDS = 60
TEXT = "what a client wrote"
HEKETI_FSTAB = "/var/lib/heketi/fstab"
FOREIGN_LINE = "UUID=1234-5678 /srv ext4 defaults 0 2"


@dataclass(slots=True)
class Heketi:
    """A Heketi's leavings: what its dump says, and the stack with an empty topology that takes it over."""

    stack: FleetStack
    cluster: Cluster
    left: Leavings
    file: Path
    expected: str = ""

    @property
    def dump(self) -> dict[str, Any]:
        return self.left.dump

    def brickyard(self, *words: str, face: str = "topology") -> "subprocess.CompletedProcess[str]":
        tls = self.stack.credentials.directory / Role.OPERATOR.value
        where = {
            "topology": ("--topology", self.stack.topology.addresses[0]),
            "operator": ("--address", self.stack.gateway.addresses[1]),
        }[face]
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli.brickyard", *words, *where, "--tls-dir", str(tls)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=environment(),
        )

    @property
    def nodes(self) -> dict[str, SimulatedNode]:
        """By id."""
        return {
            node_id: self.stack.agents_server.node(number)
            for node_id, number in zip(self.cluster.nodes, self.cluster.numbers, strict=True)
        }

    def volume(self, name: str) -> dict[str, Any]:
        """Its entry in the dump."""
        return next(each for each in self.dump["volumeentries"].values() if each["Info"]["name"] == name)

    def bricks(self, volume_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stack.rest().json(f"/volumes/{volume_id}")["bricks"]
        return found

    def assert_served(self, volume_id: str) -> None:
        for brick in self.bricks(volume_id):
            assert self.nodes[brick["node"]].file(f"{brick['path']}/file") == TEXT


def rename_pool(node: SimulatedNode, device_id: str, old: str) -> str:
    """Gives a thin pool a name that tells nothing of its brick, as Heketi does with the first brick of each set."""
    volumes = node.machine.groups[f"vg_{device_id}"].volumes
    new = f"tp_{new_id()}"
    volumes[new] = volumes.pop(old)
    volumes[new].name = new
    for volume in volumes.values():
        if volume.pool == old:
            volume.pool = new
    return new


def as_heketi_left_it(heketi: Heketi) -> None:
    """Ages the nodes, and the dump with them."""
    renamed = {}
    for entry in heketi.dump["brickentries"].values():
        info = entry["Info"]
        pool = (info["device"], entry["LvmThinPool"])
        if pool not in renamed:
            renamed[pool] = rename_pool(heketi.nodes[info["node"]], *pool)
        entry["LvmThinPool"] = renamed[pool]
    any_node = next(iter(heketi.nodes.values()))
    for name, source in (("copy", "plain"), ("twin", "origin")):
        # Heketi leaves a copy the id of its source.
        any_node.volumes()[name].options["user.heketi.id"] = heketi.volume(source)["Info"]["id"]
    for entry in heketi.dump["deviceentries"].values():
        del entry["Info"]["paths"], entry["Info"]["pv_uuid"]
    for node in heketi.nodes.values():
        files = node.machine.root.files
        files[HEKETI_FSTAB] = f"# by hand\n{FOREIGN_LINE}\n" + files.pop(DEFAULT_FSTAB, "")


@pytest.fixture(scope="module")
def heketi(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[Heketi]:
    directory = tmp_path_factory.mktemp("taking-over")
    stack = FleetStack(directory, credentials, f"sqlite:///{directory}/old.db")
    try:
        stack.start()
        rest = stack.rest()
        cluster = World(stack).cluster(nodes=4, disks=2)
        plain = rest.made("/volumes", cluster.volume_body(size=4, name="plain"))
        # A second brick set, of another size.
        rest.change("POST", f"/volumes/{plain['id']}/expand", {"expand_size": 6})
        rest.made("/volumes", cluster.volume_body(size=5, name="doomed", kind="none"))
        rest.change("POST", f"/volumes/{plain['id']}/clone", {"name": "copy"})
        rest.made("/blockvolumes", {"size": 3, "name": "disk", "auth": True})
        made = Heketi(stack, cluster, begin(rest, cluster), directory / "heketi.json.dump")
        for name in ("plain", "doomed"):
            for brick in made.bricks(made.volume(name)["Info"]["id"]):
                made.nodes[brick["node"]].put_file(f"{brick['path']}/file", TEXT)
        as_heketi_left_it(made)
        made.expected = written(die(made.left))
        made.file.write_text(written(made.dump))
        with_an_empty_topology(stack)
        yield made
    finally:
        stack.close()


def with_an_empty_topology(stack: FleetStack) -> None:
    argv = stack.topology.argv
    argv[argv.index("--database") + 1] = f"sqlite:///{stack.directory}/topology.db"
    # The gateway and the allocator know nothing of before, and need not wait until they connect again.
    servers = (stack.topology, stack.allocator, stack.gateway)
    for server in servers:
        server.kill()
        server.spawn()
    for server in servers:
        server.await_ready()
    stack.forget_clients()


def test_a_dump_that_does_not_agree_with_itself_is_refused_with_every_reason(heketi: Heketi, tmp_path: Path) -> None:
    broken = json.loads(json.dumps(heketi.dump))
    (device_id, device), *_ = broken["deviceentries"].items()
    device["Info"]["storage"]["free"] -= 4096
    volume = next(each for each in broken["volumeentries"].values() if each["Info"]["name"] == "plain")
    lost = volume["Bricks"].pop()
    volume["Info"]["durability"]["type"] = "mirror"
    file = tmp_path / "broken"
    file.write_text(json.dumps(broken))
    for flags in ((), ("--check",)):
        refused = heketi.brickyard("import", str(file), *flags)
        assert refused.returncode == 1
        sizes = device["Info"]["storage"]
        differ = f"Total({sizes['total']}) != Free({sizes['free']}) + Used({sizes['used']})"
        assert refused.stdout.splitlines() == [
            f"Brick {lost} no link back to brick from volume {volume['Info']['id']}",
            f"Device {device_id} size values differ {differ}",
            f"volume {volume['Info']['id']}: the durability 'mirror' is none of none, replicate, disperse",
        ]
        assert "nothing was changed" in refused.stderr
    assert heketi.stack.rest().json("/clusters") == {"clusters": []}


def test_import_adopt_and_go_on(heketi: Heketi) -> None:
    rest = heketi.stack.rest()
    checked = heketi.brickyard("import", "--check", str(heketi.file))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert rest.json("/clusters") == {"clusters": []}

    # Without a gateway nobody settles what is pending.
    heketi.stack.gateway.end()
    imported = heketi.brickyard("import", str(heketi.file))
    assert imported.returncode == 0, imported.stdout + imported.stderr
    assert heketi.brickyard("db", "dump").stdout == heketi.expected
    assert heketi.stack.stubs().violations() == []
    heketi.stack.gateway.start()
    heketi.stack.forget_clients()
    rest = heketi.stack.rest()
    wait_until(lambda: rest.json("/operations/pending")["pendingoperations"] == [], "all that was pending is settled")
    assert_settled(heketi)
    again = heketi.brickyard("import", str(heketi.file))
    assert again.returncode == 1
    assert "were imported already" in again.stderr

    plain = heketi.volume("plain")["Info"]["id"]
    brick = heketi.bricks(plain)[0]["id"]
    too_early = rest.change("POST", f"/bricks/to-evict/{brick}")
    assert too_early.status_code == 409
    assert "run `brickyard adopt` first" in too_early.text

    assert_adopted(heketi)

    # The volumes live on: they grow, their bricks move, and they go without a trace.
    grown = rest.change("POST", f"/volumes/{plain}/expand", {"expand_size": 2})
    assert grown.status_code == 303, grown.text
    evicted = rest.change("POST", f"/bricks/to-evict/{brick}")
    assert evicted.status_code == 204, evicted.text
    assert brick not in {each["id"] for each in heketi.bricks(plain)}
    heketi.assert_served(heketi.volume("doomed")["Info"]["id"])
    for block in rest.json("/blockvolumes")["blockvolumes"]:
        assert rest.change("DELETE", f"/blockvolumes/{block}").status_code == 204
    for volume in rest.json("/volumes")["volumes"]:
        gone = rest.change("DELETE", f"/volumes/{volume}")
        assert gone.status_code == 204, gone.text
    heketi.cluster.assert_untouched()


def assert_settled(heketi: Heketi) -> None:
    """What was being made is gone, removals are complete, and gluster told of the rest."""
    rest, left = heketi.stack.rest(), heketi.left
    ids = left.ids
    shown = set(rest.json("/volumes")["volumes"]) | set(rest.json("/blockvolumes")["blockvolumes"])
    assert {name for name, each in ids.items() if each not in shown} == {"half", "twin", "begun", "going"}
    assert not heketi.cluster.has_volume("half")
    assert not heketi.cluster.has_volume("twin")
    before = left.before["volumeentries"]
    wide = rest.json(f"/volumes/{ids['wide']}")
    assert wide["size"] == before[ids["wide"]]["Info"]["size"]
    assert [each["id"] for each in wide["bricks"]] == before[ids["wide"]]["Bricks"]
    assert set(left.added["moved"]) < {each["id"] for each in heketi.bricks(ids["moved"])}
    assert len(heketi.bricks(ids["moved"])) == len(before[ids["moved"]]["Bricks"])
    # What gluster-block says it reached is kept.
    assert rest.json(f"/blockvolumes/{ids['growing']}")["size"] == GROWN_GIB
    assert heketi.stack.stubs().violations() == []
    assert rest.json("/db/check")["totalinconsistencies"] == 0


def assert_adopted(heketi: Heketi) -> None:
    adopted = heketi.brickyard("adopt", face="operator")
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    verbs = {line.split(":")[0] for line in adopted.stdout.splitlines() if not line.startswith(" ")}
    assert verbs == {"SET_BRICK_ORDER", "RESTORE_BRICK", "RESYNC_DEVICE"}
    assert "records and nodes agree" in adopted.stderr
    for node in heketi.nodes.values():
        files = node.machine.root.files
        assert files[HEKETI_FSTAB] == f"# by hand\n{FOREIGN_LINE}\n"
        assert len(files[DEFAULT_FSTAB].splitlines()) == len(
            [each for each in node.brick_mounts() if each.startswith("/var/lib/heketi/mounts/")]
        )
    devices = heketi.stack.rest().json("/db/dump")["deviceentries"].values()
    assert all(each["Info"]["pv_uuid"] and each["Info"]["paths"] for each in devices)
    second = heketi.brickyard("adopt", face="operator")
    assert (second.returncode, second.stdout) == (0, "")
