"""Volumes of all durabilities, with data written and read by real clients."""

import hashlib
from typing import Any

import pytest

from tests.e2e.health import book_bytes, group_bytes
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)
TEXT = "Sphinx of black quartz, judge my vow.\n" * 30_000
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
REPLICATE = {"type": "replicate", "replicate": {"replica": 3}}
DISPERSE = {"type": "disperse", "disperse": {"data": 2, "redundancy": 1}}
NONE = {"type": "none"}
_EXTENT_BYTES = 4 << 20


def write_and_read_back(system: System, volume: dict[str, Any]) -> None:
    system.with_mount(volume, "cat > sphinx && sync sphinx", stdin=TEXT)
    assert system.with_mount(volume, "sha256sum sphinx").split()[0] == DIGEST


def sizes_on_bricks(system: System, volume: dict[str, Any]) -> list[int]:
    """Bytes of the file on each brick; 0 where it is not."""
    look = "stat -c %s {}/sphinx 2>/dev/null || echo 0"
    return [int(system.shell(address, look.format(path))) for address, path in system.brick_places(volume)]


def test_replica_3(system: System) -> None:
    volume = system.create_volume(durability=REPLICATE, name="quartz")
    assert volume["name"] == "quartz"
    assert sorted(address for address, _ in system.brick_places(volume)) == system.member_addresses
    write_and_read_back(system, volume)
    for address, path in system.brick_places(volume):
        assert system.shell(address, f"sha256sum {path}/sphinx").split()[0] == DIGEST
        assert "user.heketi.id: " + volume["id"] in system.shell(address, "gluster volume info quartz")
    system.delete_volume(volume)


def test_disperse_2_1(system: System) -> None:
    volume = system.create_volume(durability=DISPERSE, size=2)
    write_and_read_back(system, volume)
    # Each of three bricks has half of the data, padded to whole stripes.
    sizes = sizes_on_bricks(system, volume)
    assert len(sizes) == 3
    assert all(len(TEXT) / 2 <= size <= len(TEXT) / 2 + 4096 for size in sizes)
    system.delete_volume(volume)


def test_distributed(system: System) -> None:
    volume = system.create_volume(durability=NONE)
    write_and_read_back(system, volume)
    assert sorted(sizes_on_bricks(system, volume)) == [len(TEXT)]
    system.delete_volume(volume)


def test_group_of_the_volume(system: System) -> None:
    volume = system.create_volume(durability=REPLICATE, gid=2345)
    for address, path in system.brick_places(volume):
        assert system.shell(address, f"stat -c '%u %g %a' {path}").split() == ["0", "2345", "2775"]
    # What counts is what a client sees: a member of the group may write.
    assert system.with_mount(volume, "stat -c '%g %a' .").split() == ["2345", "2775"]
    system.with_mount(volume, "setpriv --reuid=4000 --regid=2345 --clear-groups touch ours")
    assert system.with_mount(volume, "stat -c %g ours").split() == ["2345"]
    system.delete_volume(volume)


def test_four_at_once(system: System) -> None:
    """Meanwhile the books never promise what LVM does not have; before and after they tell what it tells, exactly."""
    address = system.member_addresses[0]
    device_id, new = book_bytes(system, address)
    assert group_bytes(system, address, device_id) == new
    queues = [system.begin("POST", "/volumes", {"size": 1, "durability": REPLICATE}) for _ in range(4)]
    # Space is booked before LVM is told to take it, and given back after LVM did. Whoever asks for what is booked later
    # than LVM while bricks are made, and earlier while they are removed, must not find more.
    total, in_group = group_bytes(system, address, device_id)
    _id, (booked_total, in_books) = book_bytes(system, address)
    assert (booked_total, in_books <= in_group, (in_group - in_books) % _EXTENT_BYTES) == (total, True, 0)
    locations = [system.outcome(queue, seconds=100) for queue in queues]
    assert [answer.status_code for answer in locations] == [303] * 4, [answer.text for answer in locations]
    _id, full = book_bytes(system, address)
    assert group_bytes(system, address, device_id) == full
    assert full[1] < new[1]
    deletions = [system.begin("DELETE", answer.headers["Location"]) for answer in locations]
    _id, (booked_total, in_books) = book_bytes(system, address)
    total, in_group = group_bytes(system, address, device_id)
    assert (booked_total, in_books <= in_group, (in_group - in_books) % _EXTENT_BYTES) == (total, True, 0)
    assert [system.outcome(queue, seconds=100).status_code for queue in deletions] == [204] * 4
    assert book_bytes(system, address) == (device_id, new)
    assert group_bytes(system, address, device_id) == new
