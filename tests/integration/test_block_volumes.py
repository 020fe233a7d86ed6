"""Block volumes over REST on real processes: their life, and what is left when a step fails or a process dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1 import operation_pb2, topology_service_pb2
from tests.integration.clients import CALL_WITHIN_S, NODE_KEY
from tests.integration.stack import HOSTING_GIB, ON_SQLITE, Server, Stack, wait_until
from tests.integration.test_crashes import calls_ended, stalled
from tests.integration.world import Cluster, World, operation_id

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
SAID = "the tool said: no"
# What 98 % of the hosting volume's GiB are, rounded down.
FREE_GIB = HOSTING_GIB * 98 // 100


def body(cluster: Cluster, size: int = 4, **more: Any) -> dict[str, Any]:
    return {"size": size, "clusters": [cluster.id], **more}


def blocks_on(cluster: Cluster, hosting: str) -> list[str]:
    """What gluster-block has in a hosting volume."""
    answer = cluster.stack.stubs().executor.ListBlockVolumes(
        executor_pb2.ListBlockVolumesRequest(hosting_volume_name=hosting),
        timeout=CALL_WITHIN_S,
        metadata=((NODE_KEY, cluster.hostnames[0]),),
    )
    return list(answer.names)


def hosting_of(world: World, block: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = world.rest.json(f"/volumes/{block['blockhostingvolume']}")
    return found


def test_the_life_of_a_block_volume(world: World) -> None:
    cluster = world.cluster(3)
    made = world.rest.made("/blockvolumes", body(cluster, 4, name="blk", auth=True, hacount=2))
    access = made["blockvolume"]
    assert (made["size"], made["usablesize"], made["hacount"], made["name"]) == (4, 4, 2, "blk")
    assert len(access["hosts"]) == 2
    assert access["iqn"].startswith("iqn.2016-12.org.gluster-block:")
    assert access["password"]
    assert access["iqn"].endswith(access["username"])
    hosting = hosting_of(world, made)
    assert (hosting["size"], hosting["block"]) == (HOSTING_GIB, True)
    assert hosting["glustervolumeoptions"] == ["", "group gluster-block", ""]
    assert hosting["blockinfo"] == {
        "freesize": FREE_GIB - 4,
        "reservedsize": HOSTING_GIB - FREE_GIB,
        "blockvolume": [made["id"]],
    }
    assert blocks_on(cluster, hosting["name"]) == ["blk"]
    assert world.rest.json(f"/clusters/{cluster.id}")["blockvolumes"] == [made["id"]]
    grown = world.rest.made(f"/blockvolumes/{made['id']}/expand", {"new_size": 6})
    assert (grown["size"], grown["usablesize"], grown["blockvolume"]) == (6, 6, access)
    assert hosting_of(world, made)["blockinfo"]["freesize"] == FREE_GIB - 6
    refused = world.rest.send("DELETE", f"/volumes/{hosting['id']}")
    assert (refused.status_code, refused.text) == (
        409,
        "Cannot delete a block hosting volume containing block volumes\n",
    )
    assert world.rest.change("DELETE", f"/blockvolumes/{made['id']}").status_code == 204
    assert world.rest.send("GET", f"/blockvolumes/{made['id']}").status_code == 404
    assert hosting_of(world, made)["blockinfo"] == {"freesize": FREE_GIB, "reservedsize": HOSTING_GIB - FREE_GIB}
    assert blocks_on(cluster, hosting["name"]) == []
    assert world.rest.change("DELETE", f"/volumes/{hosting['id']}").status_code == 204
    cluster.assert_untouched(hosting["name"])


def test_room_names_and_restrictions_decide_where_it_goes(world: World) -> None:
    cluster = world.cluster(3)
    first = world.rest.made("/blockvolumes", body(cluster, 4, name="same"))
    again = world.rest.made("/blockvolumes", body(cluster, 4))
    assert again["blockhostingvolume"] == first["blockhostingvolume"]
    # The same name is no error: it lands on another hosting volume.
    twin = world.rest.made("/blockvolumes", body(cluster, 4, name="same"))
    assert twin["blockhostingvolume"] != first["blockhostingvolume"]
    path = f"/volumes/{twin['blockhostingvolume']}/block-restriction"
    assert world.rest.made(path, {"restriction": "locked"})["blockinfo"]["restriction"] == "locked"
    # The emptier one is locked.
    other = world.rest.made("/blockvolumes", body(cluster, 4))
    assert other["blockhostingvolume"] == first["blockhostingvolume"]
    # What is there may grow all the same.
    assert world.rest.made(f"/blockvolumes/{twin['id']}/expand", {"new_size": 5})["size"] == 5
    assert "restriction" not in world.rest.made(path, {"restriction": ""})["blockinfo"]
    assert world.rest.made("/blockvolumes", body(cluster, 4))["blockhostingvolume"] == twin["blockhostingvolume"]


def test_a_hosting_volume_grows(world: World) -> None:
    cluster = world.cluster(3)
    hosting = world.rest.made("/volumes", cluster.volume_body(10, block=True))
    assert hosting["blockinfo"] == {"freesize": 9, "reservedsize": 1}
    grown = world.rest.made(f"/volumes/{hosting['id']}/expand", {"expand_size": 10})
    assert grown["blockinfo"] == {"freesize": 18, "reservedsize": 2}
    assert world.rest.made("/blockvolumes", body(cluster, 18))["blockhostingvolume"] == hosting["id"]
    copied = world.rest.change("POST", f"/volumes/{hosting['id']}/clone", {})
    assert copied.status_code == 500
    assert "Cloning of block hosting volumes is not supported" in copied.text


@ON_SQLITE
def test_refusals_reserve_nothing(world: World) -> None:
    cluster = world.cluster(3)

    def refused(path: str, what: dict[str, Any]) -> tuple[int, str]:
        answer = world.rest.send("POST", path, what)
        return answer.status_code, answer.text.rstrip("\n")

    assert refused("/blockvolumes", body(cluster, 1000)) == (
        500,
        (
            f"Failed to allocate new block volume: The size configured for automatic creation of block hosting volumes "
            f"({HOSTING_GIB}) is too small to host the requested block volume of size 1000. The available size on this "
            f"block hosting volume, minus overhead, is {FREE_GIB}. Please create a sufficiently large block hosting "
            "volume manually."
        ),
    )
    status, text = refused("/blockvolumes", {"size": 1, "clusters": ["0123456789abcdef" * 2]})
    assert (status, text) == (400, "Cluster id 0123456789abcdef0123456789abcdef not found")
    plain = world.rest.made("/volumes", cluster.volume_body())
    assert refused(f"/volumes/{plain['id']}/block-restriction", {"restriction": "locked"}) == (
        500,
        "Failed to set block restriction: Block restrictions can only be set on block hosting volumes",
    )
    made = world.rest.made("/blockvolumes", body(cluster, 4))
    expand = f"/blockvolumes/{made['id']}/expand"
    assert refused(expand, {"new_size": 4}) == (
        500,
        (
            "Failed to allocate block volume expansion: Requested new-size 4 is same as current block volume size 4, "
            "nothing to be done."
        ),
    )
    assert refused(expand, {"new_size": 3})[1].endswith(
        "Requested new-size 3 is less than current block volume size 4, shrinking is not allowed."
    )
    status, text = refused(expand, {"new_size": 400})
    assert (status, text.split("\n")[0]) == (500, "Failed to allocate block volume expansion: No space")
    world.rest.send("POST", f"/clusters/{cluster.id}/flags", {"file": True, "block": False})
    status, text = refused("/blockvolumes", body(cluster))
    assert (status, text.split("\n")[0]) == (
        500,
        "Failed to allocate new block volume: Cluster does not support requested volume type",
    )


@ON_SQLITE
def test_without_automatic_hosting_volumes(world: World) -> None:
    cluster = world.cluster(3)
    with world.stack.extra_gateway("--no-auto-create-block-hosting-volume") as gateway:
        answer = world.stack.rest(gateway).send("POST", "/blockvolumes", body(cluster))
    assert (answer.status_code, answer.text) == (
        500,
        (
            "Failed to allocate new block volume: Block Hosting Volume Creation is disabled. Create a Block hosting "
            "volume and try again.\n"
        ),
    )
    cluster.assert_untouched()


@ON_SQLITE
def test_a_host_that_does_not_answer_is_told_before_anything_is_reserved(world: World) -> None:
    cluster = world.cluster(4)
    with world.stack.fault(
        {"command": "gluster .*pool list", "node": cluster.hostnames[2], "times": 0, "stderr": "Connection failed."}
    ):
        answer = world.rest.send("POST", "/blockvolumes", body(cluster, hacount=0))
        assert answer.status_code == 500
        assert answer.text.startswith("Failed to allocate new block volume: insufficient block hosts online\n")
        assert cluster.hostnames[2] in answer.text
        assert cluster.used_bytes() == 0
        # With fewer hosts asked for, the others do.
        made = world.rest.made("/blockvolumes", body(cluster, hacount=3))
    assert len(made["blockvolume"]["hosts"]) == 3


# --- failures ---------------------------------------------------------------------------------------------------------

CREATE_STEPS: list[dict[str, Any]] = [
    {"command": "verb CreateBrick", "after": 1},
    {"command": "^gluster volume create"},
    {"command": "^gluster volume start"},
    {"command": "^gluster-block create"},
    {"command": "verb CreateBlockVolume"},
]


@ON_SQLITE
@pytest.mark.parametrize("fault", CREATE_STEPS, ids=[str(fault["command"]) for fault in CREATE_STEPS])
def test_failed_create_leaves_nothing(world: World, fault: dict[str, object]) -> None:
    cluster = world.cluster(3)
    before = cluster.holdings()
    with world.stack.fault({**fault, "stderr": SAID}):
        answer = world.rest.change("POST", "/blockvolumes", body(cluster, name="unlucky"))
    assert answer.status_code == 500
    assert SAID in answer.text
    cluster.assert_untouched()
    assert cluster.holdings() == before
    assert world.rest.made("/blockvolumes", body(cluster, name="unlucky"))["name"] == "unlucky"


def test_failed_create_gives_space_back_to_its_hosting_volume(world: World) -> None:
    cluster = world.cluster(3)
    first = world.rest.made("/blockvolumes", body(cluster))
    with world.stack.fault({"command": "^gluster-block create", "stderr": SAID}):
        answer = world.rest.change("POST", "/blockvolumes", body(cluster, name="unlucky"))
    assert (answer.status_code, answer.text) == (500, f"Failed to create block volume: {SAID}\n")
    hosting = hosting_of(world, first)
    assert hosting["blockinfo"]["freesize"] == FREE_GIB - 4
    assert blocks_on(cluster, hosting["name"]) == [first["name"]]
    assert world.stack.stubs().violations() == []


@ON_SQLITE
def test_a_resize_that_fails_gives_space_back(world: World) -> None:
    cluster = world.cluster(3)
    made = world.rest.made("/blockvolumes", body(cluster))
    with world.stack.fault({"command": "^gluster-block modify", "stderr": SAID}):
        answer = world.rest.change("POST", f"/blockvolumes/{made['id']}/expand", {"new_size": 8})
    assert answer.status_code == 500
    assert SAID in answer.text
    assert world.rest.json(f"/blockvolumes/{made['id']}")["size"] == 4
    assert hosting_of(world, made)["blockinfo"]["freesize"] == FREE_GIB - 4
    assert world.rest.made(f"/blockvolumes/{made['id']}/expand", {"new_size": 8})["size"] == 8


@ON_SQLITE
def test_a_failed_delete_can_be_repeated(world: World) -> None:
    cluster = world.cluster(3)
    made = world.rest.made("/blockvolumes", body(cluster))
    with world.stack.fault({"command": "^gluster-block delete", "stderr": SAID}):
        answer = world.rest.change("DELETE", f"/blockvolumes/{made['id']}")
    assert (answer.status_code, SAID in answer.text) == (500, True)
    assert world.rest.json(f"/blockvolumes/{made['id']}")["id"] == made["id"]
    assert world.rest.change("DELETE", f"/blockvolumes/{made['id']}").status_code == 204
    assert blocks_on(cluster, hosting_of(world, made)["name"]) == []


# --- crashes ----------------------------------------------------------------------------------------------------------


@contextmanager
def killed(world: World, command: str, step: str, request: tuple[str, str, Any]) -> Iterator[str]:
    """Begins a change on a gateway of its own and kills that at a step; gives the operation's id after its end."""
    before = calls_ended(world)
    with world.stack.fault(stalled(command)):
        with world.stack.extra_gateway() as gateway:
            begun = begin(world, gateway, *request)
            world.await_step(begun, step)
            gateway.kill()
        world.stack.stubs().ended(begun)
        # Also what was held up on its way must not do harm any more when it arrives.
        verb = command.removeprefix("verb ")
        if command.startswith("verb "):
            wait_until(lambda: (calls_ended(world) - before)[verb] >= 1, "the held up call to end")
    yield begun


def begin(world: World, gateway: Server, method: str, path: str, what: Any) -> str:
    accepted = world.stack.rest(gateway).send(method, path, what)
    assert accepted.status_code == 202, (accepted.status_code, accepted.text)
    return operation_id(accepted.headers["location"])


def operation(stack: Stack, begun: str) -> operation_pb2.Operation:
    return stack.stubs().operation(begun)


@ON_SQLITE
@pytest.mark.parametrize(
    ("command", "step"),
    [
        ("verb CreateBrick", "create brick"),
        ("verb CreateVolume", "create hosting volume"),
        ("^gluster volume create", "create hosting volume"),
        ("verb CreateBlockVolume", "create block volume"),
        ("^gluster-block create", "create block volume"),
    ],
)
def test_gateway_killed_while_creating(world: World, command: str, step: str) -> None:
    die_while_creating(world, command, step)


def test_gateway_killed_while_gluster_block_makes_it(world: World) -> None:
    die_while_creating(world, "^gluster-block create", "create block volume")


def die_while_creating(world: World, command: str, step: str) -> None:
    cluster = world.cluster(3)
    before = cluster.holdings()
    with killed(world, command, step, ("POST", "/blockvolumes", body(cluster, name="halfway"))) as begun:
        ended = operation(world.stack, begun)
        assert (ended.state, ended.owner, ended.attempt_count) == (FAILED, world.stack.gateway.name, 2)
        cluster.assert_untouched()
        assert cluster.holdings() == before
    assert world.rest.made("/blockvolumes", body(cluster, name="halfway"))["name"] == "halfway"


def test_gateway_killed_while_deleting(world: World) -> None:
    cluster = world.cluster(3)
    made = world.rest.made("/blockvolumes", body(cluster))
    path = f"/blockvolumes/{made['id']}"
    with killed(world, "^gluster-block delete", "delete block volume", ("DELETE", path, None)) as begun:
        assert operation(world.stack, begun).state == SUCCEEDED
        assert world.rest.send("GET", path).status_code == 404
    hosting = hosting_of(world, made)
    assert hosting["blockinfo"] == {"freesize": FREE_GIB, "reservedsize": HOSTING_GIB - FREE_GIB}
    assert blocks_on(cluster, hosting["name"]) == []


def test_gateway_killed_while_expanding(world: World) -> None:
    cluster = world.cluster(3)
    made = world.rest.made("/blockvolumes", body(cluster))
    path = f"/blockvolumes/{made['id']}/expand"
    request = ("POST", path, {"new_size": 7})
    with killed(world, "^gluster-block modify", "expand block volume", request) as begun:
        assert operation(world.stack, begun).state == SUCCEEDED
        assert world.rest.json(f"/blockvolumes/{made['id']}")["usablesize"] == 7
    assert hosting_of(world, made)["blockinfo"]["freesize"] == FREE_GIB - 7


@ON_SQLITE
def test_a_node_that_dies_while_it_makes_a_block_volume(world: World) -> None:
    cluster = world.cluster(3)
    first = world.rest.made("/blockvolumes", body(cluster))
    with world.stack.fault({"command": "^gluster-block create", "action": "crash-after"}):
        answer = world.rest.change("POST", "/blockvolumes", body(cluster, name="again"))
    # The agent is asked again, and finds what was made.
    assert answer.status_code == 303
    hosting = hosting_of(world, first)
    assert blocks_on(cluster, hosting["name"]) == sorted([first["name"], "again"])
    assert hosting["blockinfo"]["freesize"] == FREE_GIB - 8


@ON_SQLITE
def test_secrets_are_nowhere_but_in_answers(world: World) -> None:
    cluster = world.cluster(3)
    made = world.rest.made("/blockvolumes", body(cluster, auth=True))
    password = made["blockvolume"]["password"]
    stack = world.stack
    for server in (stack.topology, stack.agents_server, stack.allocator, *stack.gateways):
        assert password not in server.log.read_text()
    listed = stack.stubs().topology.ListBlockVolumes(
        topology_service_pb2.ListBlockVolumesRequest(cluster_id=cluster.id), timeout=CALL_WITHIN_S
    )
    assert [each.password for each in listed.block_volumes] == [""]
