"""The largest volume is proved by making it; the disks that could be added are those that can."""

import json
from typing import Any

import pytest

from tests.e2e.health import book_bytes, cli, group_bytes
from tests.e2e.system import SPARE_DISK, System

pytestmark = pytest.mark.timeout(200)
_KINDS: dict[str, dict[str, Any]] = {
    "replica=3": {"type": "replicate", "replicate": {"replica": 3}},
    "replica=2": {"type": "replicate", "replicate": {"replica": 2}},
    "durability=none": {"type": "none"},
}


def largest(system: System, query: str) -> dict[str, Any]:
    # Tokens are for a path without its query.
    with system.stack.rest() as client:
        answer = client.request("GET", f"/clusters/{system.cluster_id}/volmaxsize?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.long
@pytest.mark.parametrize("query", list(_KINDS))
def test_the_largest_volume_can_be_made_and_nothing_larger(system: System, query: str) -> None:
    found = largest(system, query)
    size = found["MaxAllowCreateVolSize"]
    assert (found["AvaildDiskCnt"], found["AvaildNodeCnt"], found["unreachable"]) == (3, 3, [])
    refused = system.change("POST", "/volumes", {"size": size + 1, "durability": _KINDS[query]})
    assert refused.status_code == 500
    assert refused.text.startswith("Failed to allocate new volume: No space"), refused.text
    volume = system.create_volume(size=size, durability=_KINDS[query])
    for address in system.node_ids:
        device_id, books = book_bytes(system, address)
        assert books == group_bytes(system, address, device_id)
    assert largest(system, query)["MaxAllowCreateVolSize"] < size
    system.delete_volume(volume)
    system.await_nothing_left(seconds=20)
    assert largest(system, query)["MaxAllowCreateVolSize"] == size


def test_disks_that_could_be_added(system: System) -> None:
    spoiled, *others = system.member_addresses
    system.shell(spoiled, f"mkfs.ext4 -q -F {SPARE_DISK}")
    try:
        done = cli(system, "cluster", "querydevices", system.cluster_id)
        assert done.returncode == 0, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert [(row[0], row[2]) for row in rows] == [(address, SPARE_DISK) for address in others]
    finally:
        system.shell(spoiled, f"wipefs -qa {SPARE_DISK}")


def test_every_disk_with_its_fill(system: System) -> None:
    volume = system.create_volume(size=2, durability={"type": "none"})
    ((address, _path),) = system.brick_places(volume)
    done = cli(system, "cluster", "getdiskstatus", system.cluster_id, "--json")
    assert done.returncode == 0, done.stderr
    disks = {each["hostname"]: each for each in json.loads(done.stdout)["disks"]}
    assert set(disks) == set(system.member_addresses)
    for where, disk in disks.items():
        total, free = group_bytes(system, where, disk["device_id"])
        used = int(disk["used_bytes"])
        assert (int(disk["total_bytes"]), used, disk["brick_count"]) == (total, total - free, int(where == address))
        assert (used > 0) is (where == address)
    system.delete_volume(volume)
