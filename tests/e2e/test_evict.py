"""Disks and nodes that leave while their volumes are used: what was on them moves, and nothing is lost."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compose.lab.waiting import wait_until
from tests.e2e.conftest import Holder, skipped_where_it_cannot_run
from tests.e2e.system import DISK, System

pytestmark = pytest.mark.timeout(400)
REPLICATE = {"type": "replicate", "replicate": {"replica": 3}}
DISPERSE = {"type": "disperse", "disperse": {"data": 2, "redundancy": 1}}
TEXT = "Sphinx of black quartz, judge my vow.\n" * 5_000


@pytest.fixture
def doomed(request: pytest.FixtureRequest, holder: Holder) -> Iterator[System]:
    """A stack that is not to be used any more afterwards."""
    with skipped_where_it_cannot_run(request):
        found = holder.get()
    yield found
    holder.discard()


def add_spare(system: System) -> tuple[str, str]:
    """Makes the fourth node, with its first disk, a member; gives the ids of node and device."""
    address = system.stack.addresses[3]
    with system.stack.rest() as client:
        node = client.change("POST", "/nodes", system.node_body(address, 4))["id"]
        client.change("POST", "/devices", {"node": node, "name": DISK})
        (device,) = client.get(f"/nodes/{node}")["devices"]
    system.node_ids[address] = node
    return node, device["id"]


def set_state(system: System, kind: str, target: str, state: str, **more: str) -> tuple[int, str]:
    queue = system.begin("POST", f"/{kind}/{target}/state", {"state": state, **more})
    answer = system.outcome(queue, seconds=240)
    return answer.status_code, answer.text


def remove_spare(system: System, node: str, device: str) -> None:
    """Gives the fourth node up again."""
    assert set_state(system, "devices", device, "offline") == (204, "")
    assert set_state(system, "devices", device, "failed") == (204, "")
    assert system.change("DELETE", f"/devices/{device}").status_code == 204
    assert system.change("DELETE", f"/nodes/{node}").status_code == 204
    del system.node_ids[system.stack.addresses[3]]


def devices_of(system: System, node_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = system.ask("GET", f"/nodes/{node_id}").json()["devices"]
    return found


def shown(system: System, volume: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = system.ask("GET", f"/volumes/{volume['id']}").json()
    return found


@contextmanager
def written_meanwhile(system: System, volume: dict[str, Any], stop: Path) -> Iterator["Future[str]"]:
    """A client writes files all the time; its future gives their checksums when the block has ended."""
    script = (
        "i=0; while [ ! -e {stop} ]; do i=$((i+1)); head -c 30000 /dev/urandom > meanwhile$i && sync meanwhile$i "
        "&& sha256sum meanwhile$i || exit 3; sleep 0.1; done"
    )
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(system.with_mount, volume, script.format(stop=stop), seconds=300)
        try:
            yield future
        finally:
            stop.touch()


def await_healed(system: System, address: str, *volumes: dict[str, Any], seconds: float = 150.0) -> None:
    """Waits until every brick of the volumes answers and none has anything to heal."""
    told: list[str] = []

    def healed() -> bool:
        told.clear()
        for volume in volumes:
            report = system.shell(address, f"gluster --mode=script volume heal {volume['name']} info || true")
            count = len(volume["bricks"])
            if report.count("Status: Connected") != count or report.count("Number of entries: 0") != count:
                told.append(report)
        return not told

    wait_until(healed, seconds=seconds, what=lambda: f"the heal to end: {told}")


def digests_on_brick(system: System, address: str, path: str) -> str:
    return system.shell(address, f"cd {path} && sha256sum before meanwhile* | sort")


@pytest.mark.long
def test_device_is_emptied_while_a_client_writes(system: System, tmp_path: Path) -> None:
    written, quiet = (system.create_volume(durability=REPLICATE, gid=2000, name=name) for name in ("written", "quiet"))
    for volume in (written, quiet):
        system.with_mount(volume, "cat > before && sync before", stdin=TEXT)
    node, spare = add_spare(system)
    address = system.member_addresses[1]
    (device,) = devices_of(system, system.node_ids[address])
    assert len(device["bricks"]) == 2
    assert set_state(system, "devices", device["id"], "offline") == (204, "")
    with written_meanwhile(system, written, tmp_path / "stop") as sums:
        path = next(path for where, path in system.brick_places(written) if where == address)
        wait_until(lambda: "meanwhile3" in system.shell(address, f"ls {path}"), seconds=60, what="the client to write")
        assert set_state(system, "devices", device["id"], "failed") == (204, "")
    checksums = sums.result()
    assert checksums.count("meanwhile") > 5
    # The disk is empty: no LV, no mount, no entry, all its extents free.
    (emptied,) = devices_of(system, system.node_ids[address])
    assert (emptied["state"], emptied["bricks"], emptied["storage"]["used"]) == ("failed", [], 0)
    assert system.shell(address, "lvm lvs --noheadings -o lv_name | grep -c -e brick_ -e tp_ || true").strip() == "0"
    assert "brick_" not in system.shell(address, "cat /var/lib/brickyard/fstab /proc/mounts")
    now = [shown(system, volume) for volume in (written, quiet)]
    for before, after in zip((written, quiet), now, strict=True):
        assert {b["node"] for b in after["bricks"]} == {b["node"] for b in before["bricks"]} - {
            system.node_ids[address]
        } | {node}
    # Everything is there, for clients and on the new bricks, with the group that the volume was made with.
    await_healed(system, system.member_addresses[0], *now)
    assert system.with_mount(now[0], "sha256sum --quiet -c -", stdin=checksums) == ""
    assert system.with_mount(now[1], "cat before") == TEXT
    places = system.brick_places(now[0])
    assert len({digests_on_brick(system, *place) for place in places}) == 1
    new = next(path for where, path in places if where == system.stack.addresses[3])
    assert system.shell(system.stack.addresses[3], f"stat -c '%g %a' {new}").split() == ["2000", "2775"]
    for volume in now:
        system.delete_volume(volume)
    remove_spare(system, node, spare)
    # Heketi's way back for a device: failed, offline, online.
    assert set_state(system, "devices", device["id"], "offline") == (204, "")
    assert set_state(system, "devices", device["id"], "online") == (204, "")


def test_brick_of_a_dispersed_volume_moves(system: System) -> None:
    volume = system.create_volume(durability=DISPERSE, size=2)
    system.with_mount(
        volume, "mkdir sub && cat > sub/inside && cp sub/inside before && sync before sub/inside", stdin=TEXT
    )
    node, spare = add_spare(system)
    brick = volume["bricks"][0]
    assert system.change("POST", f"/bricks/to-evict/{brick['id']}").status_code == 204
    moved = shown(system, volume)
    assert node in {each["node"] for each in moved["bricks"]}
    await_healed(system, system.member_addresses[0], moved)
    assert system.with_mount(moved, "cat sub/inside before") == TEXT * 2
    system.delete_volume(moved)
    remove_spare(system, node, spare)


@pytest.mark.long
def test_node_that_is_dead_for_good_is_replaced_and_forgotten(doomed: System) -> None:
    system = doomed
    volumes = [system.create_volume(durability=REPLICATE, name=name) for name in ("first", "second")]
    for volume in volumes:
        system.with_mount(volume, "cat > before && sync before", stdin=TEXT)
    node, _spare = add_spare(system)
    address = system.member_addresses[2]
    dead = system.node_ids[address]
    system.stack.running_lab().kill(system.node_name(address))
    assert set_state(system, "nodes", dead, "offline") == (204, "")
    assert set_state(system, "nodes", dead, "failed") == (204, "")
    now = [shown(system, volume) for volume in volumes]
    for volume in now:
        assert node in {brick["node"] for brick in volume["bricks"]}
        assert dead not in {brick["node"] for brick in volume["bricks"]}
    await_healed(system, system.member_addresses[0], *now)
    for volume in now:
        assert system.with_mount(volume, "cat before") == TEXT
        for where, path in system.brick_places(volume):
            assert system.shell(where, f"cat {path}/before") == TEXT
    (device,) = devices_of(system, dead)
    assert (device["state"], device["bricks"]) == ("failed", [])
    refused = system.outcome(system.begin("DELETE", f"/devices/{device['id']}"), seconds=90)
    assert refused.status_code == 500
    queue = system.begin("DELETE", f"/devices/{device['id']}", {"forceforget": True})
    assert system.outcome(queue, seconds=90).status_code == 204
    assert system.outcome(system.begin("DELETE", f"/nodes/{dead}"), seconds=90).status_code == 204
    assert address not in system.shell(system.member_addresses[0], "gluster --mode=script pool list")
    del system.node_ids[address]
    # Life goes on with three nodes.
    for volume in now:
        system.delete_volume(volume)
    system.delete_volume(system.create_volume(durability=REPLICATE))
    answers = system._topology("TopologyService/CheckConsistency")
    assert json.dumps(answers[0].get("violations", [])) == "[]"
