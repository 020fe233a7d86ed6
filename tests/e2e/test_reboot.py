"""Nodes that come back with other names for their disks, disks that grow, and thin pools that fill up."""

from collections.abc import Iterator
from typing import Any

import pytest

from compose.lab.waiting import wait_until
from services.common.units import GIB, KIB
from tests.e2e.conftest import Holder, skipped_where_it_cannot_run
from tests.e2e.health import await_status, cli, group_bytes, status
from tests.e2e.system import DISK, SPARE_DISK, System

pytestmark = pytest.mark.timeout(300)
_NONE = {"type": "none"}


@pytest.fixture
def spoiled(request: pytest.FixtureRequest, holder: Holder) -> Iterator[System]:
    """The stack, which the test need not leave as it was: the next one gets a new one."""
    with skipped_where_it_cannot_run(request):
        found = holder.get()
    try:
        yield found
    finally:
        holder.discard()


def device_of(system: System, address: str) -> dict[str, Any]:
    """The first device of a node, with sizes in KiB."""
    found: dict[str, Any] = system.ask("GET", f"/nodes/{system.node_ids[address]}").json()["devices"][0]
    return found


def disk_of(system: System, address: str, device_id: str) -> str:
    """The path that the disk of a device has now."""
    return system.shell(address, f"lvm vgs --noheadings -o pv_name vg_{device_id}").strip()


def test_a_node_comes_back_with_renamed_disks(spoiled: System) -> None:
    address = spoiled.member_addresses[1]
    name = spoiled.node_name(address)
    device = device_of(spoiled, address)
    assert disk_of(spoiled, address, device["id"]) == DISK
    volume = spoiled.create_volume(name="stays")
    (brick,) = [path for where, path in spoiled.brick_places(volume) if where == address]
    spoiled.with_mount(volume, "cat > before && sync before", stdin="written before\n")
    assert await_status(spoiled, "all to be well").report["problems"] == []

    spoiled.stack.running_lab().kill(name)
    spoiled.with_mount(volume, "cat > meanwhile && sync meanwhile", stdin="written meanwhile\n")
    gone = status(spoiled)
    assert gone.exit_code == 1
    assert "NODE_UNREACHABLE" in gone.kinds("CRITICAL")
    assert gone.volume("stays")["serving_brick_count"] == 2
    assert int(gone.volume("stays")["heal_count"]) > 0

    spoiled.stack.running_lab().boot(name, disks=[2, 1])
    assert disk_of(spoiled, address, device["id"]) == SPARE_DISK
    mounted = spoiled.shell(address, f"grep -c ' {brick.removesuffix('/brick')} ' /proc/mounts")
    assert mounted.strip() == "1"
    # The boot script starts the agent first, and glusterd only when it answers: its brick process found the mount.
    spoiled.await_bricks_online(volume, address, seconds=60)
    back = await_status(spoiled, "the volume to heal", seconds=120)
    assert (back.volume("stays")["serving_brick_count"], back.volume("stays")["heal_count"]) == (3, "0")
    assert spoiled.shell(address, f"cat {brick}/before {brick}/meanwhile") == "written before\nwritten meanwhile\n"
    (shown,) = [each for each in back.report["devices"] if each["device_id"] == device["id"]]
    assert (shown["path"], shown["current_path"], shown["health"]) == (DISK, SPARE_DISK, "HEALTH_OK")
    assert spoiled.change("DELETE", f"/volumes/{volume['id']}").status_code == 204


@pytest.mark.long
def test_a_disk_that_grew_is_taken_up_by_a_resync(spoiled: System) -> None:
    address = spoiled.member_addresses[0]
    name = spoiled.node_name(address)
    volume = spoiled.create_volume()
    before = device_of(spoiled, address)
    lab = spoiled.stack.running_lab()
    lab.kill(name)
    lab.grow(name, 1, 12 * GIB)
    lab.boot(name)
    # LVM does not take it up by itself, so nothing differs yet.
    await_status(spoiled, "the node to be back")
    assert device_of(spoiled, address)["storage"] == before["storage"]

    answer = spoiled.change("GET", f"/devices/{before['id']}/resync")
    assert answer.status_code == 204, answer.text
    after = device_of(spoiled, address)["storage"]
    total, free = group_bytes(spoiled, address, before["id"])
    assert (after["total"] * KIB, after["free"] * KIB) == (total, free)
    assert after["total"] - before["storage"]["total"] == 4 * GIB // KIB
    assert after["used"] == before["storage"]["used"]
    assert status(spoiled).exit_code == 0
    assert spoiled.change("GET", f"/devices/{before['id']}/resync").status_code == 204
    assert device_of(spoiled, address)["storage"] == after
    # More than any disk had.
    large = spoiled.create_volume(size=9, durability=_NONE)
    assert [where for where, _ in spoiled.brick_places(large)] == [address]
    for each in (volume, large):
        spoiled.delete_volume(each)
    assert device_of(spoiled, address)["storage"]["used"] == 0
    assert group_bytes(spoiled, address, before["id"]) == (total, total)


@pytest.mark.long
def test_a_thin_pool_that_fills_up_is_told_of(system: System) -> None:
    volume = system.create_volume(name="fills", durability=_NONE)
    ((address, _path),) = system.brick_places(volume)

    def fill() -> float:
        ask = "lvm lvs --noheadings -o data_percent,lv_attr | awk '$2 ~ /^t/ {print $1}'"
        return float(system.shell(address, ask))

    assert status(system).exit_code == 0
    seen: dict[str, float] = {}
    for number in range(10):
        system.with_mount(volume, f"dd if=/dev/zero of=part{number} bs=1M count=64 conv=fsync 2>/dev/null")
        if fill() < 75:
            system.with_mount(volume, f"dd if=/dev/zero of=more{number} bs=1M count=64 conv=fsync 2>/dev/null")
        found, percent = status(system), fill()
        severity = "CRITICAL" if percent >= 90 else "WARNING" if percent >= 80 else ""
        assert ("POOL_DATA_FULL" in found.kinds()) is bool(severity), percent
        if severity:
            assert "POOL_DATA_FULL" in found.kinds(severity)
            assert found.volume("fills")["pool_data_percent"] == pytest.approx(percent, abs=0.5)
            seen.setdefault(severity, percent)
        if "CRITICAL" in seen:
            break
    assert list(seen) == ["WARNING", "CRITICAL"]
    done = cli(system, "status")
    assert done.returncode == 1
    assert "problem\tcritical\tPOOL_DATA_FULL\t" in done.stdout
    assert f"fills\t{'critical'}" in done.stdout
    wait_until(lambda: bool(system.with_mount(volume, "rm -f part* more*; echo done")), seconds=30, what="room")
    system.delete_volume(volume)
    system.await_nothing_left(seconds=20)
    assert status(system).exit_code == 0
