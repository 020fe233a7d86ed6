"""The whole road over REST: every kind of object from its making to its end."""

import pytest

from brickyard.allocator.v1.allocator_service_pb2 import GetMaxVolumeSizeRequest, PlacementRules
from brickyard.topology.v1 import volume_pb2
from tests.integration.stack import DISK_GIB, ON_SQLITE, Stack
from tests.integration.world import World, node_body

GIB = 1 << 30
GIB_KIB = 1 << 20
DURABILITIES = {
    "none": volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE),
    "replicate": volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3),
    "disperse": volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=4, redundancy_count=2),
}


def test_cluster_node_device_and_their_ends(world: World) -> None:
    rest = world.rest
    answer = rest.send("POST", "/clusters", {"file": True, "block": False})
    assert answer.status_code == 201
    cluster = answer.json()
    assert (cluster["file"], cluster["block"], cluster["nodes"], cluster["volumes"]) == (True, False, [], [])

    number, other = world.stack.fresh_nodes(2)
    answer = rest.change("POST", "/nodes", node_body(cluster["id"], number))
    assert (answer.status_code, answer.headers["location"][:7]) == (303, "/nodes/")
    node = rest.json(answer.headers["location"])
    assert (node["cluster"], node["state"], node["devices"]) == (cluster["id"], "online", [])
    second = rest.made("/nodes", node_body(cluster["id"], other, zone=2))
    assert f"10.0.0.{other}" in world.stack.agents.peers(f"node{number}")
    assert rest.json(f"/clusters/{cluster['id']}")["nodes"] == sorted([node["id"], second["id"]])

    assert rest.change("POST", "/devices", {"node": node["id"], "name": "/dev/sdb"}).status_code == 204
    (device,) = rest.json(f"/nodes/{node['id']}")["devices"]
    assert device["storage"] == {"total": DISK_GIB * GIB_KIB, "free": DISK_GIB * GIB_KIB, "used": 0}
    assert [name for name, _ in world.stack.agents.holdings(f"node{number}").groups] == [f"vg_{device['id']}"]

    assert rest.change("DELETE", f"/nodes/{node['id']}").status_code == 409
    assert rest.change("DELETE", f"/devices/{device['id']}").status_code == 400
    for state in ("offline", "failed"):
        assert rest.change("POST", f"/devices/{device['id']}/state", {"state": state}).status_code == 204
    assert rest.change("DELETE", f"/devices/{device['id']}").status_code == 204
    assert world.stack.agents.holdings(f"node{number}").groups == ()
    for each in (node, second):
        assert rest.change("DELETE", f"/nodes/{each['id']}").status_code == 204
    assert rest.send("DELETE", f"/clusters/{cluster['id']}").status_code == 200
    assert rest.send("GET", f"/clusters/{cluster['id']}").status_code == 404


@pytest.mark.parametrize(("kind", "nodes", "bricks"), [("none", 1, 1), ("replicate", 3, 3), ("disperse", 6, 6)])
def test_volume_comes_and_goes(world: World, kind: str, nodes: int, bricks: int) -> None:
    cluster = world.cluster(nodes)
    before = cluster.holdings()
    accepted = world.rest.send("POST", "/volumes", cluster.volume_body(8, kind=kind))
    assert (accepted.status_code, accepted.content) == (202, b"")
    done = world.rest.follow(accepted)
    assert (done.status_code, done.headers["location"][:9]) == (303, "/volumes/")
    volume = world.rest.json(done.headers["location"])
    assert (volume["size"], volume["durability"]["type"], len(volume["bricks"])) == (8, kind, bricks)
    assert len({brick["node"] for brick in volume["bricks"]}) == bricks
    held = cluster.holdings()
    mounts = sorted(point for each in held.values() for point in each.mounts)
    assert mounts == sorted(brick["path"].removesuffix("/brick") for brick in volume["bricks"])
    assert cluster.has_volume(volume["name"])
    assert world.rest.json("/volumes")["volumes"].count(volume["id"]) == 1

    assert world.rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204
    assert world.rest.send("GET", f"/volumes/{volume['id']}").status_code == 404
    cluster.assert_untouched(volume["name"])
    assert cluster.holdings() == before
    # A repeated poll gives the first answer, and gives it through any gateway.
    assert world.rest.send("GET", accepted.headers["location"]).status_code == 303


@ON_SQLITE
def test_the_books_promise_no_more_than_the_nodes_have(world: World) -> None:
    cluster = world.cluster(3)
    volume = world.rest.made("/volumes", cluster.volume_body(10))
    for node_id, hostname in zip(cluster.nodes, cluster.hostnames, strict=True):
        ((total, used, reserved),) = world.stack.stubs().spaces([node_id]).values()
        ((_, free),) = world.stack.agents.holdings(hostname).groups
        assert reserved == 0
        assert total - used <= free
    world.rest.change("DELETE", f"/volumes/{volume['id']}")


@ON_SQLITE
@pytest.mark.parametrize(
    "kind",
    [
        "none",
        "replicate",
        "disperse",
    ],
)
def test_the_largest_volume_that_is_promised_can_be_made(world: World, kind: str) -> None:
    cluster = world.cluster(6)
    promised = world.stack.stubs().allocator.GetMaxVolumeSize(
        GetMaxVolumeSizeRequest(cluster_id=cluster.id, rules=PlacementRules(durability=DURABILITIES[kind])), timeout=10
    )
    size, rest = divmod(promised.size_bytes, GIB)
    assert size > 0
    assert rest == 0
    done = world.rest.change("POST", "/volumes", cluster.volume_body(size, kind=kind))
    assert done.status_code == 303, done.text
    assert world.rest.change("DELETE", done.headers["location"]).status_code == 204
    assert world.rest.change("POST", "/volumes", cluster.volume_body(size + 1, kind=kind)).status_code == 500
    cluster.assert_untouched()


@ON_SQLITE
def test_no_space_tells_why_and_changes_nothing(world: World) -> None:
    cluster = world.cluster(3)
    answer = world.rest.change("POST", "/volumes", cluster.volume_body(DISK_GIB + 1))
    assert answer.status_code == 500
    assert answer.text.startswith("Failed to allocate new volume: No space\n")
    cluster.assert_untouched()


@ON_SQLITE
def test_strict_zones_are_kept(world: World) -> None:
    cluster = world.cluster(4, zones=2)
    body = cluster.volume_body(4, glustervolumeoptions=["user.heketi.zone-checking strict"])
    refused = world.rest.change("POST", "/volumes", body)
    assert refused.status_code == 500
    cluster.assert_untouched()
    body["durability"] = {"type": "replicate", "replicate": {"replica": 2}}
    volume = world.rest.made("/volumes", body)
    zones = [world.rest.json(f"/nodes/{brick['node']}")["zone"] for brick in volume["bricks"]]
    assert sorted(zones) == [1, 2]


@ON_SQLITE
def test_a_second_gateway_shows_the_same(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    accepted = world.rest.send("POST", "/volumes", cluster.volume_body(4))
    with stack.extra_gateway() as other:
        rest = stack.rest(other)
        done = rest.follow(accepted)
        assert done.status_code == 303
        assert rest.json(done.headers["location"]) == world.rest.json(done.headers["location"])
        assert rest.change("DELETE", done.headers["location"]).status_code == 204
    cluster.assert_untouched()
