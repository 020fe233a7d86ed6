"""What is left when a step fails: nothing, and the client learns what the tool said."""

import pytest

from tests.integration.stack import ON_SQLITE, Stack, wait_until
from tests.integration.world import Cluster, World

SAID = "the tool said: no"
STEPS = [
    *((f"verb CreateBrick#{nth}", {"command": "verb CreateBrick", "after": nth}) for nth in range(3)),
    ("lvcreate", {"command": "lvm lvcreate", "after": 1}),
    ("mkfs", {"command": "^mkfs.xfs", "after": 2}),
    ("volume create", {"command": "^gluster volume create"}),
    ("volume set", {"command": "^gluster volume set"}),
    ("volume start", {"command": "^gluster volume start"}),
    ("verb CreateVolume", {"command": "verb CreateVolume"}),
]


@ON_SQLITE
@pytest.mark.parametrize("fault", [fault for _, fault in STEPS], ids=[name for name, _ in STEPS])
def test_failed_create_leaves_nothing(world: World, fault: dict[str, object]) -> None:
    fail_to_create(world, fault)


def test_failed_create_leaves_nothing_in_either_database(world: World) -> None:
    fail_to_create(world, {"command": "verb CreateVolume"})


def fail_to_create(world: World, fault: dict[str, object]) -> None:
    cluster = world.cluster(3)
    before = cluster.holdings()
    with world.stack.fault({**fault, "stderr": SAID}):
        answer = world.rest.change("POST", "/volumes", cluster.volume_body(name="unlucky"))
    assert answer.status_code == 500
    assert SAID in answer.text
    cluster.assert_untouched("unlucky")
    assert cluster.holdings() == before
    # The name is free again, and the nodes are as good as new.
    volume = world.rest.made("/volumes", cluster.volume_body(name="unlucky"))
    assert world.rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204


@ON_SQLITE
def test_undo_is_repeated_until_the_node_lets_it_happen(world: World) -> None:
    cluster = world.cluster(3)
    faults = (
        {"command": "verb CreateVolume", "stderr": SAID},
        {"command": "verb DeleteBrick", "stderr": "not now", "node": cluster.hostnames[1]},
    )
    with world.stack.fault(*faults):
        accepted = world.rest.send("POST", "/volumes", cluster.volume_body(name="sticky"))
        answer = world.rest.follow(accepted)
        # The client is told at once; the cleaning goes on.
        assert (answer.status_code, SAID in answer.text) == (500, True)
        ended = world.stack.stubs().ended(accepted.headers["location"].removeprefix("/queue/"))
    assert ended.error.message == SAID
    cluster.assert_untouched("sticky")


@ON_SQLITE
def test_failed_device_leaves_nothing(world: World) -> None:
    cluster = world.cluster(1, disks=0)
    body = {"node": cluster.nodes[0], "name": "/dev/sdb"}
    for command in ("verb CreateDevice", "lvm pvcreate", "lvm vgcreate"):
        with world.stack.fault({"command": command, "stderr": SAID}):
            answer = world.rest.change("POST", "/devices", body)
        assert answer.status_code == 500
        assert SAID in answer.text
        assert cluster.holdings()[cluster.hostnames[0]].groups == ()
        assert world.rest.json(f"/nodes/{cluster.nodes[0]}")["devices"] == []
    assert world.rest.change("POST", "/devices", body).status_code == 204


@ON_SQLITE
def test_failed_probe_leaves_no_node(world: World, stack: Stack) -> None:
    cluster = world.cluster(1)
    (number,) = stack.fresh_nodes(1)
    body = {
        "cluster": cluster.id,
        "zone": 1,
        "hostnames": {"manage": [f"node{number}"], "storage": [f"10.0.0.{number}"]},
    }
    with stack.fault({"command": "gluster .*peer probe", "stderr": SAID}):
        answer = world.rest.change("POST", "/nodes", body)
    assert answer.status_code == 500
    assert SAID in answer.text
    assert world.rest.json(f"/clusters/{cluster.id}")["nodes"] == cluster.nodes
    assert stack.agents.peers(cluster.hostnames[0]) == set()
    assert world.rest.change("POST", "/nodes", body).status_code == 303


def _volume(world: World, cluster: Cluster) -> str:
    return str(world.rest.made("/volumes", cluster.volume_body())["id"])


@ON_SQLITE
@pytest.mark.parametrize("command", ["verb DeleteVolume", "^gluster volume stop"])
def test_failed_delete_keeps_the_volume_listed_and_can_be_repeated(world: World, command: str) -> None:
    cluster = world.cluster(3)
    volume = _volume(world, cluster)
    with world.stack.fault({"command": command, "stderr": SAID}):
        answer = world.rest.change("DELETE", f"/volumes/{volume}")
    assert answer.status_code == 500
    assert SAID in answer.text
    assert world.rest.json(f"/volumes/{volume}")["id"] == volume
    assert world.stack.stubs().violations() == []
    assert world.rest.change("DELETE", f"/volumes/{volume}").status_code == 204
    cluster.assert_untouched()


@ON_SQLITE
@pytest.mark.parametrize("command", ["verb DeleteBrick", "^umount", "lvm lvremove"])
def test_a_brick_that_can_not_be_removed_is_removed_later_by_itself(world: World, command: str) -> None:
    cluster = world.cluster(3)
    volume = _volume(world, cluster)
    with world.stack.fault({"command": command, "stderr": SAID, "times": 0, "node": cluster.hostnames[0]}):
        # Gluster has no such volume any more, so there is none.
        assert world.rest.change("DELETE", f"/volumes/{volume}").status_code == 204
        assert world.rest.send("GET", f"/volumes/{volume}").status_code == 404
        (pending,) = world.rest.json("/operations/pending")["pendingoperations"]
        assert (pending["type_name"], pending["status"]) == ("delete-volume", "failed")
        assert world.stack.stubs().violations() == []
    world.rest.send("POST", "/operations/pending/cleanup", {"operations": [pending["id"]]})
    wait_until(lambda: not world.rest.json("/operations/pending")["pendingoperations"], "the clean-up")
    assert world.stack.stubs().violations() == []
    cluster.assert_untouched()
