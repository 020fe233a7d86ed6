"""What a request may ask for besides size and redundancy, as the nodes show it."""

import hashlib
from typing import Any

import pytest

from tests.e2e.system import System

pytestmark = pytest.mark.timeout(150)
TEXT = "How vexingly quick daft zebras jump!\n" * 30_000
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
GIB = 1 << 30


def options_of(system: System, volume: dict[str, Any]) -> dict[str, str]:
    """The options that gluster has set."""
    text = system.shell(system.member_addresses[0], f"gluster --mode=script volume info {volume['name']}")
    lines = text.partition("Options Reconfigured:\n")[2].splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def test_arbiter_holds_names_and_no_data(system: System) -> None:
    volume = system.create_volume(
        durability={"type": "replicate", "replicate": {"replica": 3}},
        # The last of one key wins; the pre option of the gateway comes before, the post option after these.
        glustervolumeoptions=[
            "user.heketi.arbiter true",
            "user.heketi.average-file-size 64",
            "performance.io-thread-count 8",
            "performance.cache-size 64MB",
            "performance.quick-read off",
        ],
    )
    assert "1 x (2 + 1) = 3" in system.shell(system.member_addresses[0], f"gluster volume info {volume['name']}")
    system.with_mount(volume, "cat > zebras && sync zebras", stdin=TEXT)
    assert system.with_mount(volume, "sha256sum zebras").split()[0] == DIGEST
    look = "stat -c %s {0}/zebras; df -B1 --output=size {0} | tail -1"
    seen = [system.shell(address, look.format(path)).split() for address, path in system.brick_places(volume)]
    arbiter, *others = sorted((int(file), int(file_system)) for file, file_system in seen)
    assert (arbiter[0], [file for file, _ in others]) == (0, [len(TEXT), len(TEXT)])
    assert arbiter[1] < others[0][1] / 2
    found = options_of(system, volume)
    assert found["performance.io-thread-count"] == "8"
    assert found["performance.cache-size"] == "32MB"
    assert found["performance.quick-read"] == "off"
    assert found["user.heketi.arbiter"] == "true"
    assert found["user.heketi.id"] == volume["id"]
    system.delete_volume(volume)


def tag(system: System, address: str, change: str) -> None:
    device = system.ask("GET", f"/nodes/{system.node_ids[address]}").json()["devices"][0]["id"]
    answer = system.ask("POST", f"/devices/{device}/tags", {"change_type": change, "tags": {"tier": "fast"}})
    assert answer.status_code == 200, answer.text


def test_tags_zones_and_room_for_snapshots(system: System) -> None:
    fast = system.member_addresses[1:]
    wanted = {
        "durability": {"type": "replicate", "replicate": {"replica": 2}},
        "snapshot": {"enable": True, "factor": 2.0},
        "glustervolumeoptions": ["user.heketi.device-tag-match tier=fast", "user.heketi.zone-checking strict"],
    }
    for address in fast:
        tag(system, address, "set")
    try:
        volume = system.create_volume(**wanted)
        # Two disks are fast, and three copies need three.
        refused = system.change("POST", "/volumes", {"size": 1, **wanted, "durability": {
            "type": "replicate", "replicate": {"replica": 3}}})  # fmt: skip
    finally:
        for address in fast:
            tag(system, address, "delete")
    assert refused.status_code == 500
    assert "No space" in refused.text
    assert "outside the tag rule tier=fast" in refused.text
    assert sorted(address for address, _ in system.brick_places(volume)) == fast
    for address in fast:
        report = system.shell(address, "lvm lvs --noheadings --nosuffix --units b -o lv_name,lv_size,lv_layout")
        sizes = {line.split()[0].partition("_")[0]: int(line.split()[1]) for line in report.splitlines()}
        assert sizes == {"brick": GIB, "tp": 2 * GIB}
    system.delete_volume(volume)


def test_volume_that_a_client_uses_can_be_deleted(system: System) -> None:
    volume = system.create_volume()
    client = system.stack.addresses[-1]
    source = f"{system.member_addresses[0]}:/{volume['name']}"
    system.shell(client, f"mkdir -p /run/used && mount -t glusterfs {source} /run/used")
    try:
        system.shell(client, "echo used >/run/used/file && (exec 3</run/used/file; exec sleep 100) >/dev/null 2>&1 &")
        system.delete_volume(volume)
    finally:
        system.shell(client, "pkill -x sleep; umount -l /run/used; rmdir /run/used; true")
