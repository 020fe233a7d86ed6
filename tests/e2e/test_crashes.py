"""Power cuts and killed processes in the middle of changes."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from compose.lab.waiting import wait_until
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(200)
REPLICATED = {"size": 1, "durability": {"type": "replicate", "replicate": {"replica": 3}}}
TEXT = "Pack my box with five dozen liquor jugs.\n" * 20_000
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()


def test_gateway_killed_in_the_middle_of_a_create(system: System) -> None:
    logs = system.agent_logs()
    queue = system.begin("POST", "/volumes", REPLICATED)
    logs.await_command("lvcreate")
    system.stack.kill_service("gateway")
    system.stack.start_service("gateway")
    answer = system.outcome(queue, seconds=60)
    assert answer.status_code == 500
    assert "the gateway that ran the operation stopped" in answer.text
    assert int(system.operation(queue)["attempt_count"]) > 1
    system.await_nothing_left(seconds=10)


def test_gateway_killed_in_the_middle_of_a_delete(system: System) -> None:
    volume = system.create_volume()
    logs = system.agent_logs()
    queue = system.begin("DELETE", f"/volumes/{volume['id']}")
    logs.await_command("gluster")
    system.stack.kill_service("gateway")
    system.stack.start_service("gateway")
    assert system.outcome(queue, seconds=60).status_code == 204
    system.await_nothing_left(seconds=10)


def test_topology_killed_in_the_middle_of_a_create(system: System) -> None:
    logs = system.agent_logs()
    queue = system.begin("POST", "/volumes", REPLICATED)
    logs.await_command("lvcreate")
    system.stack.kill_service("topology")
    system.stack.start_service("topology")
    answer = system.outcome(queue, seconds=60)
    assert answer.status_code == 303, answer.text
    system.delete_volume(system.ask("GET", answer.headers["Location"]).json())


def test_agent_killed_in_the_middle_of_a_create(system: System) -> None:
    logs = system.agent_logs()
    queue = system.begin("POST", "/volumes", REPLICATED)
    address = logs.await_command("lvcreate")
    system.kill_agent(address)
    system.restart_agent(address)
    # It was away for less than the gateway's patience, so the operation goes on.
    answer = system.outcome(queue, seconds=60)
    assert answer.status_code == 303, answer.text
    system.delete_volume(system.ask("GET", answer.headers["Location"]).json())


def test_agent_killed_in_the_middle_of_a_delete(system: System) -> None:
    volume = system.create_volume()
    logs = system.agent_logs()
    queue = system.begin("DELETE", f"/volumes/{volume['id']}")
    address = logs.await_command("umount")
    system.kill_agent(address)
    system.restart_agent(address)
    answer = system.outcome(queue, seconds=60)
    assert answer.status_code == 204, answer.text


@contextmanager
def making_of_file_systems_hangs(system: System, address: str, *, made: bool) -> Iterator[None]:
    """On one node mkfs makes the file system, or does not, and then never ends; a reboot of the node mends it."""
    make = '/run/mkfs "$@" && sync && ' if made else ""
    script = f"#!/bin/sh\n{make}echo reached >/run/mkfs-reached\nexec sleep 1000\n"
    system.shell(address, "cp /usr/sbin/mkfs.xfs /run/mkfs")
    system.node(address).run(["tee", "/run/slow-mkfs"], stdin=script, check=True)
    system.shell(address, "chmod 755 /run/slow-mkfs && mount --bind /run/slow-mkfs /usr/sbin/mkfs.xfs && sync")
    yield
    wait_until(
        lambda: system.node(address).run(["test", "-e", "/run/mkfs-reached"]).returncode == 0,
        seconds=30,
        what="mkfs to be reached",
    )


def test_power_cut_in_the_middle_of_a_create(system: System) -> None:
    address = system.member_addresses[2]
    with making_of_file_systems_hangs(system, address, made=False):
        queue = system.begin("POST", "/volumes", REPLICATED)
    lab = system.stack.running_lab()
    lab.kill(system.node_name(address))
    try:
        # The client is told at last, although the node is still away and its brick cannot be removed.
        answer = system.outcome(queue, seconds=120)
    finally:
        lab.boot(system.node_name(address))
    assert answer.status_code == 500
    assert address in answer.text
    system.await_nothing_left(seconds=60)
    system.await_peers()


def test_short_power_cut_after_the_file_system_was_made(system: System) -> None:
    address = system.member_addresses[0]
    with making_of_file_systems_hangs(system, address, made=True):
        queue = system.begin("POST", "/volumes", REPLICATED)
    lab = system.stack.running_lab()
    lab.kill(system.node_name(address))
    lab.boot(system.node_name(address))
    system.await_peers()
    # The gateway notices within half a minute that its call got lost, and the agent goes on from what it finds.
    answer = system.outcome(queue, seconds=60)
    assert answer.status_code == 303, answer.text
    system.delete_volume(system.ask("GET", answer.headers["Location"]).json())


def test_power_cut_right_after_a_create(system: System) -> None:
    volume = system.create_volume(name="fresh")
    address, path = system.brick_places(volume)[1]
    lab = system.stack.running_lab()
    lab.kill(system.node_name(address))
    lab.boot(system.node_name(address))
    # Without its directory, or the mark of its volume, gluster would not serve the brick any more.
    marks = system.shell(address, f"getfattr --absolute-names -m trusted.glusterfs.volume-id -d -e hex {path}")
    assert "trusted.glusterfs.volume-id=0x" in marks
    system.await_bricks_online(volume, address)
    system.await_peers()
    system.delete_volume(volume)


def test_power_cut_of_a_node_with_bricks(system: System) -> None:
    volume = system.create_volume(name="whole")
    system.with_mount(volume, "cat > before && sync before", stdin=TEXT)
    address, path = system.brick_places(volume)[1]
    lab = system.stack.running_lab()
    lab.kill(system.node_name(address))
    try:
        read = system.with_mount(volume, "cat > meanwhile && sync meanwhile && sha256sum before", stdin=TEXT)
        assert read.split()[0] == DIGEST
        log = system.agent_log(address)
    finally:
        lab.boot(system.node_name(address))
    # Agent first, glusterd second: glusterd starts a brick only on a mounted file system.
    assert log.has("bricks.mounted", '"failures": 0')
    assert path.removesuffix("/brick") in system.shell(address, "cat /proc/mounts")
    system.await_bricks_online(volume, address)
    wait_until(lambda: healed(system, address), seconds=90, what="the volume to be healed")
    digests = system.with_mount(volume, "sha256sum before meanwhile") + system.shell(
        address, f"cd {path} && sha256sum before meanwhile"
    )
    assert digests.split()[::2] == [DIGEST] * 4
    system.await_peers()
    system.delete_volume(volume)


def healed(system: System, address: str) -> bool:
    """Whether all three bricks answer and none has anything to heal."""
    report = system.shell(address, "gluster --mode=script volume heal whole info || true")
    return report.count("Status: Connected") == 3 and report.count("Number of entries: 0") == 3
