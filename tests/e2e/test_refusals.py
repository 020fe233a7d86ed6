"""Bad input on real nodes: each refusal has its status and text, and changes nothing."""

import pytest

from tests.e2e.system import DISK, SPARE_DISK, System

pytestmark = pytest.mark.timeout(90)
NO_ID = "0123456789abcdef0123456789abcdef"
FOREIGN_FILE_SYSTEM = f"mkfs.xfs -q -f {SPARE_DISK}"
WIPE = f"wipefs -aq {SPARE_DISK}"


def add_device(system: System, address: str, path: str) -> tuple[int, str]:
    answer = system.change("POST", "/devices", {"node": system.node_ids[address], "name": path})
    return answer.status_code, answer.text.strip()


def test_disk_that_does_not_exist(system: System) -> None:
    status, text = add_device(system, system.member_addresses[0], "/dev/ubdz")
    assert status == 500
    assert text.startswith("Initializing device /dev/ubdz failed")
    assert "no such device" in text


def test_disk_that_is_no_block_device(system: System) -> None:
    status, text = add_device(system, system.member_addresses[0], "/dev/null")
    assert status == 500
    assert "/dev/null" in text


def test_disk_with_a_file_system(system: System) -> None:
    address = system.member_addresses[0]
    system.shell(address, FOREIGN_FILE_SYSTEM)
    try:
        before = system.look()
        status, text = add_device(system, address, SPARE_DISK)
        assert status == 500
        assert text.startswith(f"Initializing device {SPARE_DISK} failed (already initialized or contains data?): ")
        assert text.count("Initializing device") == 1
        assert system.look() == before
    finally:
        system.shell(address, WIPE)


def test_disk_that_is_mounted(system: System) -> None:
    address = system.member_addresses[0]
    system.shell(address, f"{FOREIGN_FILE_SYSTEM} && mkdir -p /run/foreign && mount {SPARE_DISK} /run/foreign")
    try:
        system.shell(address, "echo precious > /run/foreign/file")
        status, text = add_device(system, address, SPARE_DISK)
        assert status == 500
        assert "mounted on /run/foreign" in text
        assert system.shell(address, "cat /run/foreign/file") == "precious\n"
    finally:
        system.shell(address, f"umount /run/foreign; {WIPE}")


def test_disk_of_another_volume_group(system: System) -> None:
    address = system.member_addresses[0]
    system.shell(address, f"lvm vgcreate -qq foreign {SPARE_DISK} && lvm lvcreate -qq -L 64M -n data foreign")
    try:
        before = system.look()
        status, text = add_device(system, address, SPARE_DISK)
        assert status == 500
        assert "aleady contains Physical Volume" in text  # Heketi's spelling
        assert "'foreign'" in text
        assert system.look() == before
    finally:
        system.shell(address, f"lvm vgremove -qq -f foreign && lvm pvremove -qq {SPARE_DISK}")


def test_same_disk_twice(system: System) -> None:
    address = system.member_addresses[0]
    device_id = system.ask("GET", f"/nodes/{system.node_ids[address]}").json()["devices"][0]["id"]
    status, text = add_device(system, address, DISK)
    assert status == 409
    assert f"(ID: {device_id})" in text


def test_same_disk_by_another_name(system: System) -> None:
    address = system.member_addresses[0]
    pv_uuid = system.ask("GET", f"/nodes/{system.node_ids[address]}").json()["devices"][0]["pv_uuid"]
    system.shell(address, f"ln -s {DISK} /dev/ubdy")
    try:
        status, text = add_device(system, address, "/dev/ubdy")
        assert status == 500
        assert f"aleady contains Physical Volume {pv_uuid}" in text
    finally:
        system.shell(address, "rm /dev/ubdy")


def test_node_without_glusterd(system: System) -> None:
    spare = system.stack.addresses[-1]
    system.shell(spare, "pkill -9 -x glusterd")
    try:
        answer = system.change("POST", "/nodes", system.node_body(spare))
        assert (answer.status_code, answer.text.strip()) == (400, "New Node doesn't have glusterd running")
    finally:
        system.start_glusterd(spare)


def test_node_that_is_no_machine(system: System) -> None:
    answer = system.change("POST", "/nodes", system.node_body("10.77.0.200"))
    assert (answer.status_code, answer.text.strip()) == (400, "New Node doesn't have glusterd running")


def test_node_of_another_pool(system: System) -> None:
    first, second = system.stack.addresses[-2:]
    system.shell(first, f"gluster --mode=script peer probe {second}")
    try:
        answer = system.change("POST", "/nodes", system.node_body(first))
        assert answer.status_code == 500
        assert "is either already part of another cluster" in answer.text
    finally:
        system.shell(first, f"gluster --mode=script peer detach {second}")


def test_node_twice(system: System) -> None:
    address = system.member_addresses[1]
    answer = system.change("POST", "/nodes", system.node_body(address))
    assert answer.status_code == 409
    assert answer.text.strip() == f"Hostname {address} already used by node with id {system.node_ids[address]}"


def test_spare_node_joins_and_leaves(system: System) -> None:
    spare = system.stack.addresses[-1]
    answer = system.change("POST", "/nodes", system.node_body(spare, zone=9))
    assert answer.status_code == 303, answer.text
    node_path = answer.headers["Location"]
    added = system.change("POST", "/devices", {"node": node_path.rpartition("/")[2], "name": DISK})
    assert added.status_code == 204, added.text
    device_id = system.ask("GET", node_path).json()["devices"][0]["id"]
    busy = system.change("DELETE", node_path)
    assert (busy.status_code, busy.text.strip()) == (
        409,
        f"Unable to delete node [{node_path.rpartition('/')[2]}] because it contains devices",
    )
    for wanted in ("offline", "failed"):
        assert system.change("POST", f"/devices/{device_id}/state", {"state": wanted}).status_code == 204
    assert system.change("DELETE", f"/devices/{device_id}").status_code == 204
    gone = system.change("DELETE", node_path)
    assert gone.status_code == 204, gone.text


def test_volume_name_in_use(system: System) -> None:
    volume = system.create_volume(name="taken", durability={"type": "none"})
    before = system.look()
    answer = system.change("POST", "/volumes", {"size": 1, "name": "taken"})
    assert answer.status_code == 500
    assert answer.text.strip() == "Failed to allocate new volume: Volume name 'taken' already in use"
    assert system.look() == before
    system.delete_volume(volume)


def test_volume_name_that_gluster_alone_knows(system: System) -> None:
    address = system.member_addresses[0]
    gluster = "gluster --mode=script volume"
    system.shell(address, f"mkdir /var/foreign && {gluster} create foreign {address}:/var/foreign force")
    try:
        before = system.look()
        answer = system.change("POST", "/volumes", {"size": 1, "name": "foreign"})
        assert answer.status_code == 500
        assert "foreign already exists" in answer.text
        assert system.look() == before
    finally:
        system.shell(address, f"{gluster} delete foreign; rm -r /var/foreign")


def test_more_than_fits(system: System) -> None:
    for size in (8, 100_000):
        answer = system.change(
            "POST", "/volumes", {"size": size, "durability": {"type": "replicate", "replicate": {"replica": 3}}}
        )
        assert answer.status_code == 500
        assert answer.text.startswith("Failed to allocate new volume: No space"), answer.text


def test_unknown_ids(system: System) -> None:
    place = {"manage": ["10.77.0.14"], "storage": ["10.77.0.14"]}
    cases = [
        ("GET", f"/volumes/{NO_ID}", None, 404, "Id not found"),
        ("DELETE", f"/volumes/{NO_ID}", None, 404, "Id not found"),
        ("GET", f"/nodes/{NO_ID}", None, 404, "Id not found"),
        ("DELETE", f"/nodes/{NO_ID}", None, 404, "Id not found"),
        ("DELETE", f"/devices/{NO_ID}", None, 404, "Id not found"),
        ("GET", f"/clusters/{NO_ID}", None, 404, "Id not found"),
        ("GET", f"/queue/{NO_ID}", None, 404, "Id not found"),
        ("POST", "/devices", {"node": NO_ID, "name": SPARE_DISK}, 404, "Node id does not exist"),
        ("POST", "/nodes", {"cluster": NO_ID, "zone": 1, "hostnames": place}, 404, "Cluster id does not exist"),
        ("POST", "/volumes", {"size": 1, "clusters": [NO_ID]}, 400, f"Cluster id {NO_ID} not found"),
    ]
    for method, path, body, status, text in cases:
        answer = system.change(method, path, body)
        assert (answer.status_code, answer.text.strip()) == (status, text), f"{method} {path}"
