"""Creates that fail on a real node: the tool's own words reach the client, and nothing is left anywhere."""

import pytest

from tests.e2e.system import System

pytestmark = pytest.mark.timeout(150)
REPLICATED = {"size": 1, "durability": {"type": "replicate", "replicate": {"replica": 3}}}

NOT_RUNNING = "Connection failed. Please check if gluster daemon is operational."


def group_of(system: System, address: str) -> str:
    device = system.ask("GET", f"/nodes/{system.node_ids[address]}").json()["devices"][0]
    return f"vg_{device['id']}"


def space_is_usable(system: System) -> None:
    system.delete_volume(system.create_volume())


def test_disk_that_is_fuller_than_the_books_say(system: System) -> None:
    address = system.member_addresses[1]
    group = group_of(system, address)
    system.shell(address, f"lvm lvcreate -qq -l 100%FREE -n filler {group}")
    try:
        answer = system.change("POST", "/volumes", REPLICATED)
        assert answer.status_code == 500
        assert f'Volume group "{group}" has insufficient free space' in answer.text
    finally:
        system.shell(address, f"lvm lvremove -qq -f {group}/filler")
    assert system.leftovers() == []
    space_is_usable(system)


def test_file_system_that_cannot_be_made(system: System) -> None:
    address = system.member_addresses[1]
    # What a broken xfsprogs would do, after the logical volumes were made.
    system.shell(address, "printf '#!/bin/sh\\necho mkfs is broken >&2\\nexit 1\\n' >/run/mkfs; chmod 755 /run/mkfs")
    system.shell(address, "mount --bind /run/mkfs /usr/sbin/mkfs.xfs")
    try:
        answer = system.change("POST", "/volumes", REPLICATED)
        assert answer.status_code == 500
        told, why = answer.text.splitlines()[:2]
        assert told == "mkfs is broken"
        assert why.startswith("It could not be placed elsewhere: ")
    finally:
        system.shell(address, "umount /usr/sbin/mkfs.xfs; rm /run/mkfs")
    assert system.leftovers() == []


def test_gluster_refuses_an_option(system: System) -> None:
    answer = system.change(
        "POST", "/volumes", {**REPLICATED, "glustervolumeoptions": ["performance.cache-size nonsense"]}
    )
    assert answer.status_code == 500
    assert "nonsense" in answer.text
    assert system.leftovers() == []


def test_no_glusterd_on_one_node(system: System) -> None:
    with system.without_glusterd(system.member_addresses[0]):
        queue = system.begin("POST", "/volumes", REPLICATED)
        answer = system.outcome(queue, seconds=30)
        assert answer.status_code == 500
        # Its bricks may be on the node that runs the command, or on another.
        assert "10.77.0.11 not connected" in answer.text or NOT_RUNNING in answer.text
    # While glusterd was away nobody could be sure that the volume is gone; now it has to go by itself.
    system.await_nothing_left(seconds=60)
    assert system.outcome(queue).text == answer.text


def test_no_glusterd_anywhere(system: System) -> None:
    with system.without_glusterd(*system.member_addresses):
        queue = system.begin("POST", "/volumes", REPLICATED)
        answer = system.outcome(queue, seconds=30)
        assert answer.status_code == 500
        assert NOT_RUNNING in answer.text
    system.await_nothing_left(seconds=60)


def test_delete_of_a_volume_that_gluster_holds_fast(system: System) -> None:
    volume = system.create_volume()
    address = system.member_addresses[2]
    with system.without_glusterd(address):
        answer = system.change("DELETE", f"/volumes/{volume['id']}")
        assert answer.status_code == 500, "gluster deletes no volume while a peer is away"
        assert system.ask("GET", f"/volumes/{volume['id']}").status_code == 200
    # glusterd makes a mess of a stop that comes while it starts the bricks after its own start.
    system.await_bricks_online(volume, address)
    # Nothing of it is lost: the same delete, repeated, goes on where this one stopped.
    again = system.change("DELETE", f"/volumes/{volume['id']}")
    assert again.status_code == 204, again.text
