"""Every reason why a disk is not made a device, as a client of the REST interface reads it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from services.common.identity import Role
from services.common.server import RunningServer
from services.common.settings import ServerSettings
from services.common.units import GIB
from services.executor import bootstrap
from services.executor.devices import MIN_DISK_BYTES
from services.executor.policy import NodePolicy
from services.executor.runners.base import Mount
from services.executor.runners.simulated import Fleet, FleetSettings
from services.executor.runners.simulated.machine import Disk, VolumeGroup
from tests.integration.clients import Rest
from tests.integration.stack import ON_SQLITE, Credentials, Stack

pytestmark = ON_SQLITE
UUID = "u" * 38
CONTAINS_DATA = "failed (already initialized or contains data?): "


@dataclass
class Setting:
    """Two nodes whose disks the test can spoil: the first lets disks be wiped, the second does not.

    Attributes:
        rest: A client of a gateway that knows these nodes only.
        fleet: The nodes.
        ids: Their ids.
        device: What GET tells of the device /dev/sdb of the first node.
    """

    rest: Rest
    fleet: Fleet
    ids: list[str]
    device: dict[str, Any]


@pytest.fixture(scope="module")
def setting(stack: Stack, credentials: Credentials) -> Iterator[Setting]:
    agent, fleet = bootstrap.simulated_agent(FleetSettings(nodes=0, disks=2, disk_bytes=10 * GIB))
    for number, policy in ((1, NodePolicy(allow_destroy=True)), (2, NodePolicy())):
        fleet.settings = replace(fleet.settings, policy=policy)
        fleet.add_node(f"spoiled{number}", f"10.9.0.{number}")
    tls = credentials.of(Role.AGENT)
    server = bootstrap.serve(agent, ServerSettings(("127.0.0.1:0",), tls, insecure_plaintext=False, grace_s=0.5))
    try:
        with stack.extra_gateway("--agents", address_of(server)) as gateway:
            rest = stack.rest(gateway)
            cluster = rest.made("/clusters", {"file": True, "block": True})["id"]
            ids = [
                rest.made(
                    "/nodes",
                    {
                        "cluster": cluster,
                        "zone": 1,
                        "hostnames": {"manage": [f"spoiled{number}"], "storage": [f"10.9.0.{number}"]},
                    },
                )["id"]
                for number in (1, 2)
            ]
            rest.change("POST", "/devices", {"node": ids[0], "name": "/dev/sdb"})
            (device,) = rest.json(f"/nodes/{ids[0]}")["devices"]
            yield Setting(rest, fleet, ids, device)
    finally:
        server.stop()
        agent.close()


def address_of(server: RunningServer) -> str:
    (address,) = server.addresses
    return address


def spoil(fleet: Fleet) -> None:
    """Gives both nodes a disk for each reason."""
    for name in ("spoiled1", "spoiled2"):
        machine = fleet.node(name).machine
        machine.disks["/dev/sdm"] = Disk("/dev/sdm", 10 * GIB)
        machine.mounts.append(Mount("/dev/sdm", "/data", "ext4", "rw"))
        machine.disks["/dev/sdp"] = Disk("/dev/sdp", 10 * GIB, partitions=("sdp1", "sdp2"))
        machine.disks["/dev/sds"] = Disk("/dev/sds", MIN_DISK_BYTES - 1)
        machine.disks["/dev/sdr"] = Disk("/dev/sdr", 10 * GIB, read_only=True)
        machine.disks["/dev/sdv"] = Disk("/dev/sdv", 10 * GIB, pv_uuid=UUID, vg="data")
        machine.groups["data"] = VolumeGroup("data", machine.disks["/dev/sdv"])
        machine.disks["/dev/sdf"] = Disk("/dev/sdf", 10 * GIB, signature="ext4")
        fleet.node(name).put_file("/dev/sdx", "no disk")


def add(setting: Setting, node: int, path: str, *, destroy: bool) -> tuple[int, str]:
    body = {"node": setting.ids[node], "name": path, "destroydata": destroy}
    answer = setting.rest.change("POST", "/devices", body)
    return answer.status_code, answer.text.rstrip("\n")


def test_every_disk_that_is_refused_is_told_why(setting: Setting) -> None:
    spoil(setting.fleet)
    # The same disk seen by both nodes, as on a shared bus.
    first = setting.fleet.node("spoiled1").machine.disks["/dev/sdb"]
    second = setting.fleet.node("spoiled2").machine
    second.disks["/dev/sdt"] = Disk("/dev/sdt", first.size_bytes, pv_uuid=first.pv_uuid, vg=first.vg)
    second.groups[first.vg] = VolumeGroup(first.vg, second.disks["/dev/sdt"])
    known, uuid = setting.device["id"], first.pv_uuid
    in_data = f"Initializing device /dev/sdv failed (aleady contains Physical Volume {UUID}): "
    in_data += "Physical volume '/dev/sdv' is already in volume group 'data'"
    shared = f"Initializing device /dev/sdt failed (aleady contains Physical Volume {uuid}): "
    shared += f"Physical volume '/dev/sdt' is already in volume group 'vg_{known}'"
    expected = {
        "/dev/sdq": "Initializing device /dev/sdq failed: no such device on the node",
        "/dev/sdx": "Initializing device /dev/sdx failed: it is no block device",
        "/dev/sdm": f"Initializing device /dev/sdm {CONTAINS_DATA}/dev/sdm is mounted on /data",
        "/dev/sdp": f"Initializing device /dev/sdp {CONTAINS_DATA}it has partitions: sdp1, sdp2",
        "/dev/sdr": "Initializing device /dev/sdr failed: it is read-only",
        "/dev/sds": (
            f"Initializing device /dev/sds failed: it is too small: {MIN_DISK_BYTES - 1} bytes, and at least "
            f"{MIN_DISK_BYTES} are needed"
        ),
    }
    for path, text in expected.items():
        for node in (0, 1):
            for destroy in (False, True):
                assert add(setting, node, path, destroy=destroy) == (500, text), (path, node, destroy)
    assert add(setting, 1, "/dev/sdv", destroy=False) == (500, in_data)
    assert add(setting, 1, "/dev/sdv", destroy=True) == (
        500,
        f"Can not destroy device, destroy may not be safe: {in_data}",
    )
    owner = f"it is device {known} of node spoiled1 already, added as /dev/sdb"
    assert add(setting, 1, "/dev/sdt", destroy=False) == (500, f"{shared}; {owner}")
    assert add(setting, 1, "/dev/sdt", destroy=True) == (500, f"Device already in use (ID: {known})")
    for destroy in (False, True):
        status, text = add(setting, 0, "/dev/sdb", destroy=destroy)
        assert status == 409
        assert text == (
            f"Initializing device /dev/sdb {CONTAINS_DATA}node {setting.ids[0]} has a device /dev/sdb already "
            f"(ID: {known})"
        )
    status, text = add(setting, 0, "/etc/passwd", destroy=False)
    assert status == 500
    assert "this node allows only" in text
    # Nothing came of it.
    assert [device["name"] for device in setting.rest.json(f"/nodes/{setting.ids[0]}")["devices"]] == ["/dev/sdb"]
    assert setting.rest.json(f"/nodes/{setting.ids[1]}")["devices"] == []


def test_a_disk_with_data_is_wiped_only_where_the_node_allows_it(setting: Setting) -> None:
    for node in (0, 1):
        status, text = add(setting, node, "/dev/sdf", destroy=False)
        assert status == 500
        assert text.startswith(f"Initializing device /dev/sdf {CONTAINS_DATA}WARNING: ext4 signature detected")
    status, text = add(setting, 1, "/dev/sdf", destroy=True)
    assert status == 500
    assert "--allow-destroy" in text
    assert setting.fleet.node("spoiled2").machine.disks["/dev/sdf"].signature == "ext4"
    assert add(setting, 0, "/dev/sdf", destroy=True) == (204, "")
    devices = setting.rest.json(f"/nodes/{setting.ids[0]}")["devices"]
    assert {device["name"] for device in devices} == {"/dev/sdb", "/dev/sdf"}
