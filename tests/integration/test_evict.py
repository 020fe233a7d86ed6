"""Bricks that move to other devices: one by one, off a device, off a node; with refusals, failures and crashes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.gateway.v1 import operator_service_pb2
from brickyard.topology.v1 import operation_pb2
from tests.integration.clients import CALL_WITHIN_S, NODE_KEY, Holdings
from tests.integration.conftest import running_stack
from tests.integration.stack import Credentials, Stack, wait_until
from tests.integration.world import Cluster, World, operation_id

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
SAID = "the tool said: no"
NO_REPLACEMENT = "No Replacement was found for resource requested to be removed"
BUSY = "The target exists, contains other items, or is in use."
REPLICA3 = {"type": "replicate", "replicate": {"replica": 3}}
DISPERSE = {"type": "disperse", "disperse": {"data": 2, "redundancy": 1}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials, postgres_url: str) -> Iterator[Stack]:
    """A stack of this module's own: it uses up many nodes."""
    directory: Path = tmp_path_factory.mktemp("stack-evict")
    with running_stack("sqlite", directory, credentials, postgres_url) as running:
        yield running


@dataclass
class Scene:
    """A cluster of four nodes with one volume on three of them.

    Attributes:
        world: Where it is.
        cluster: The cluster.
        volume: What GET tells of the volume.
    """

    world: World
    cluster: Cluster
    volume: dict[str, Any]
    volumes: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for each in (self.volume, *self.volumes):
            each["bricks"] = self.in_order(each)

    def in_order(self, volume: dict[str, Any]) -> list[dict[str, Any]]:
        """The bricks of a volume in gluster's order; REST tells them by their ids."""
        told = {brick["id"]: brick for brick in volume["bricks"]}
        answer = self.world.stack.stubs().operator.GetVolume(
            operator_service_pb2.GetVolumeRequest(volume_id=volume["id"]), timeout=CALL_WITHIN_S
        )
        return [told[brick.id] for brick in answer.volume.bricks]

    @property
    def brick(self) -> dict[str, Any]:
        """The brick that is to move."""
        found: dict[str, Any] = self.volume["bricks"][1]
        return found

    def hostname(self, node_id: str) -> str:
        return self.cluster.hostnames[self.cluster.nodes.index(node_id)]

    @property
    def spare(self) -> str:
        """Id of the node without a brick."""
        used = {brick["node"] for brick in self.volume["bricks"]}
        (node,) = [node for node in self.cluster.nodes if node not in used]
        return node

    def shown(self, volume_id: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self.world.rest.json(f"/volumes/{volume_id or self.volume['id']}")
        return {**found, "bricks": self.in_order(found)}

    def gluster_bricks(self, name: str = "") -> list[str]:
        answer = self.world.stack.stubs().executor.GetVolume(
            executor_pb2.GetVolumeRequest(name=name or self.volume["name"]),
            timeout=CALL_WITHIN_S,
            metadata=((NODE_KEY, self.hostname(self.spare)),),
        )
        return list(answer.volume.bricks)

    def evict(self, **body: Any) -> Any:
        """The queue's final answer."""
        return self.world.rest.change("POST", f"/bricks/to-evict/{self.brick['id']}", body or None)

    def begun(self, path: str, body: Any = None, *, gateway: Any = None) -> str:
        answer = self.world.stack.rest(gateway).send("POST", path, body)
        assert answer.status_code == 202, (answer.status_code, answer.text)
        return operation_id(answer.headers["location"])

    def assert_whole(self) -> None:
        """Gluster, the books and the nodes tell the same of every volume, and nothing is left over."""
        assert self.world.stack.stubs().violations() == []
        shown = [self.shown(each["id"]) for each in (self.volume, *self.volumes)]
        held = self.cluster.holdings()
        wanted: dict[str, set[str]] = {hostname: set() for hostname in held}
        for volume in shown:
            bricks = [
                f"10.0.0.{self.cluster.numbers[self.cluster.nodes.index(each['node'])]}:{each['path']}"
                for each in volume["bricks"]
            ]
            assert self.gluster_bricks(volume["name"]) == bricks
            for each in volume["bricks"]:
                wanted[self.hostname(each["node"])].add(each["path"].removesuffix("/brick"))
        for hostname, holdings in held.items():
            assert set(holdings.mounts) == wanted[hostname], hostname
            assert set(holdings.fstab) == wanted[hostname], hostname
            assert len(holdings.volumes) == 2 * len(wanted[hostname]), (hostname, holdings.volumes)

    def assert_moved(self) -> None:
        after, before = self.shown(), self.volume
        assert after["bricks"][1]["node"] == self.spare
        assert after["bricks"][1]["size"] == before["bricks"][1]["size"]
        assert [after["bricks"][0], after["bricks"][2]] == [before["bricks"][0], before["bricks"][2]]
        kept = {key: value for key, value in before.items() if key != "bricks"}
        assert {key: value for key, value in after.items() if key != "bricks"} == kept
        self.assert_whole()


def make_scene(world: World, *, nodes: int = 4, disks: int = 1, **volume: Any) -> Scene:
    cluster = world.cluster(nodes, disks=disks, zones=4)
    body = {"durability": REPLICA3, "gid": 2000, **volume}
    return Scene(world, cluster, world.rest.made("/volumes", cluster.volume_body(2, **body)))


@pytest.fixture
def scene(world: World) -> Scene:
    return make_scene(world)


# One brick


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param({}, id="replicate"),
        pytest.param({"durability": DISPERSE}, id="disperse"),
        pytest.param({"glustervolumeoptions": ["user.heketi.arbiter true"]}, id="arbiter"),
        pytest.param({"snapshot": {"enable": True, "factor": 2.0}}, id="snapshots"),
    ],
)
@pytest.mark.parametrize("position", [0, 2])
def test_a_brick_moves(world: World, volume: dict[str, Any], position: int) -> None:
    scene = make_scene(world, **volume)
    brick, spare = scene.volume["bricks"][position], scene.spare
    answer = world.rest.change("POST", f"/bricks/to-evict/{brick['id']}")
    assert (answer.status_code, answer.text) == (204, "")
    after = scene.shown()["bricks"]
    assert [each["id"] == old["id"] for each, old in zip(after, scene.volume["bricks"], strict=True)] == [
        index != position for index in range(3)
    ]
    assert (after[position]["node"], after[position]["size"]) == (spare, brick["size"])
    scene.assert_whole()
    # It can go back, and the volume away.
    assert world.rest.change("POST", f"/bricks/to-evict/{after[position]['id']}").status_code == 204
    scene.assert_whole()
    assert world.rest.change("DELETE", f"/volumes/{scene.volume['id']}").status_code == 204
    scene.cluster.assert_untouched(scene.volume["name"])


def test_the_operator_moves_a_brick_and_looks_at_the_heal(scene: Scene) -> None:
    stubs = scene.world.stack.stubs()
    begun = stubs.operator.EvictBrick(
        operator_service_pb2.EvictBrickRequest(brick_id=scene.brick["id"], request_id=f"evict-{scene.brick['id']}"),
        timeout=CALL_WITHIN_S,
    ).operation
    again = stubs.operator.EvictBrick(
        operator_service_pb2.EvictBrickRequest(brick_id=scene.brick["id"], request_id=f"evict-{scene.brick['id']}"),
        timeout=CALL_WITHIN_S,
    ).operation
    assert (begun.kind, begun.id) == (operation_pb2.OPERATION_KIND_EVICT_BRICK, again.id)
    assert stubs.ended(begun.id).state == SUCCEEDED
    heal = stubs.operator.GetVolumeHeal(
        operator_service_pb2.GetVolumeHealRequest(volume_id=scene.volume["id"]), timeout=CALL_WITHIN_S
    ).bricks
    assert [each.brick_id for each in heal] == [brick["id"] for brick in scene.shown()["bricks"]]
    assert {(each.connected, each.pending_count) for each in heal} == {(True, 0)}
    scene.assert_moved()


def test_bad_requests_are_told_apart(scene: Scene) -> None:
    rest, path = scene.world.rest, f"/bricks/to-evict/{scene.brick['id']}"
    wrong = rest.send("POST", path, {"healcheck": "maybe"})
    assert (wrong.status_code, wrong.text) == (
        400,
        "validation failed: healcheck: maybe is not valid heal info check.\n",
    )
    assert rest.send("POST", path, {"healcheck": 7}).status_code == 422
    unknown = rest.send("POST", f"/bricks/to-evict/{'0' * 32}")
    assert (unknown.status_code, unknown.text) == (404, "Id not found\n")
    assert rest.send("GET", path).status_code == 405
    scene.assert_whole()


def test_pending_bricks_are_refused_at_once(scene: Scene) -> None:
    rest = scene.world.rest
    other = scene.volume["bricks"][0]["id"]
    with scene.world.stack.fault({"command": "verb ReplaceBrick", "action": "stall", "stall_s": 1.5}):
        begun = scene.begun(f"/bricks/to-evict/{scene.brick['id']}")
        scene.world.await_step(begun, "replace brick")
        same = rest.send("POST", f"/bricks/to-evict/{scene.brick['id']}")
        neighbour = rest.send("POST", f"/bricks/to-evict/{other}")
        (pending,) = rest.json("/operations/pending")["pendingoperations"]
        details = rest.json(f"/operations/pending/{begun}")
        assert rest.send("DELETE", f"/volumes/{scene.volume['id']}").status_code == 500
    assert (same.status_code, same.text) == (
        500,
        f"Failed to set up brick eviction: Can not evict brick {scene.brick['id']}: brick is pending\n",
    )
    assert (neighbour.status_code, neighbour.text) == (
        500,
        (
            f"Failed to set up brick eviction: Can not evict brick {other} from volume {scene.volume['id']}: "
            "volume has pending bricks\n"
        ),
    )
    assert pending == {"id": begun, "type_name": "evict-brick", "status": "", "sub_status": "in-flight"}
    assert [each["description"] for each in details["changes"]] == ["Delete brick", "Add brick"]
    assert scene.world.stack.stubs().ended(begun).state == SUCCEEDED
    scene.assert_moved()


def heal_answer(scene: Scene, *states: tuple[bool, int]) -> dict[str, Any]:
    """A fault: what gluster says of the heal, a (connected, pending) for each brick."""
    rows = "".join(
        f"<brick><name>{name}</name><status>{'Connected' if up else 'Transport endpoint is not connected'}</status>"
        f"<numberOfEntries>{pending if up else '-'}</numberOfEntries></brick>"
        for name, (up, pending) in zip(scene.gluster_bricks(), states, strict=True)
    )
    text = f"<?xml version='1.0'?><cliOutput><healInfo><bricks>{rows}</bricks></healInfo><opRet>0</opRet></cliOutput>"
    return {"command": "gluster .*volume heal .* info", "action": "answer", "stdout": text, "times": 0}


@pytest.mark.parametrize(
    ("states", "why"),
    [
        ([(True, 0), (True, 4), (True, 0)], "as it is source brick for data to be healed"),
        ([(False, 0), (True, 0), (True, 0)], "as only 1 of 2 required peer bricks are online"),
    ],
    ids=["source", "quorum"],
)
def test_the_heal_forbids_it_unless_nobody_looks(scene: Scene, states: list[tuple[bool, int]], why: str) -> None:
    before = scene.cluster.holdings()
    with scene.world.stack.fault(heal_answer(scene, *states)):
        refused = scene.evict(healcheck="enable")
        assert (refused.status_code, refused.text) == (500, f"Cannot replace brick {scene.brick['id']} {why}\n")
        assert scene.cluster.holdings() == before
        scene.assert_whole()
        assert scene.evict(healcheck="disable").status_code == 204
    scene.assert_moved()


def test_no_other_place_is_told_with_reasons(world: World) -> None:
    scene = make_scene(world, nodes=3)
    answer = scene.evict()
    assert answer.status_code == 500
    first, *reasons = answer.text.splitlines()
    assert first == NO_REPLACEMENT
    assert any(scene.brick["node"] in line or "node" in line for line in reasons), answer.text
    assert world.stack.stubs().violations() == []


def test_a_volume_without_copies_keeps_its_bricks(world: World) -> None:
    scene = make_scene(world, durability={"type": "none"}, nodes=2)
    brick = scene.volume["bricks"][0]["id"]
    path = f"/bricks/to-evict/{brick}"
    checked = world.rest.change("POST", path)
    assert (checked.status_code, checked.text) == (
        500,
        f"Cannot replace brick {brick} as only 0 of 1 required peer bricks are online\n",
    )
    unchecked = world.rest.change("POST", path, {"healcheck": "disable"})
    assert unchecked.status_code == 500
    assert "replace-brick is not permitted on distribute only volumes" in unchecked.text
    scene.assert_whole()


STEPS: dict[str, dict[str, Any]] = {
    "create brick": {"command": "verb CreateBrick"},
    "lvcreate": {"command": "lvm lvcreate"},
    "mkfs": {"command": "^mkfs.xfs"},
    "replace-brick verb": {"command": "verb ReplaceBrick"},
    "replace-brick": {"command": "^gluster volume replace-brick"},
    "volume info": {"command": "gluster .*volume info", "after": 1},
    "heal info": {"command": "gluster .*volume heal .* info", "exit_code": 1},
}


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_before_the_exchange_leaves_everything_as_it_was(scene: Scene, step: str) -> None:
    before = scene.cluster.holdings()
    with scene.world.stack.fault({**STEPS[step], "stderr": SAID}):
        answer = scene.evict()
    assert (answer.status_code, SAID in answer.text) == (500, True), answer.text
    assert scene.cluster.holdings() == before
    assert scene.shown() == scene.volume
    scene.assert_whole()
    assert scene.evict().status_code == 204
    scene.assert_moved()


@pytest.mark.parametrize("command", ["verb DeleteBrick", "lvm lvremove", "^umount"])
def test_a_failure_behind_the_exchange_is_told_and_the_exchange_stays(scene: Scene, command: str) -> None:
    # The second attempt to remove the old brick succeeds.
    with scene.world.stack.fault({"command": command, "stderr": SAID}):
        answer = scene.evict()
    assert answer.status_code == 500
    scene.assert_moved()


def test_a_dead_disk_does_not_hold_the_volume(scene: Scene) -> None:
    old, lv = scene.hostname(scene.brick["node"]), f"brick_{scene.brick['id']}"
    with scene.world.stack.fault({"command": "lvm lvremove", "stderr": SAID, "times": 0, "node": old}):
        answer = scene.evict()
        assert (answer.status_code, SAID in answer.text) == (500, True)
        wait_until(lambda: scene.shown()["bricks"][1]["id"] != scene.brick["id"], "the exchange in the books")
    assert scene.world.stack.stubs().violations() == []
    assert scene.shown()["bricks"][1]["path"] in scene.gluster_bricks()[1]
    # What is left is on the node, its space is not given away, and a clean-up is at it.
    pending = scene.world.rest.json("/operations/pending")["pendingoperations"]
    assert [(each["type_name"], each["status"]) for each in pending] == [("delete-volume", "failed")]
    assert scene.world.rest.json(f"/operations/pending/{pending[0]['id']}")["changes"] == [
        {"id": scene.brick["id"], "description": "Delete brick"}
    ]
    assert lv in [name for _, name, _ in scene.cluster.holdings()[old].volumes]
    spaces = scene.world.stack.stubs().spaces([scene.brick["node"]])
    assert [used > 0 for _, used, _ in spaces.values()] == [True]
    device = scene.brick["device"]
    rest = scene.world.rest
    for state in ("offline", "failed"):
        assert rest.change("POST", f"/devices/{device}/state", {"state": state}).status_code == 204
    assert rest.change("DELETE", f"/devices/{device}").status_code == 500
    assert rest.change("DELETE", f"/devices/{device}", {"forceforget": True}).status_code == 204
    assert rest.send("GET", f"/devices/{device}").status_code == 404
    assert scene.world.stack.stubs().violations() == []
    assert scene.world.rest.json("/operations/pending")["pendingoperations"] == []


def test_a_disk_that_answers_again_is_cleaned_up_by_itself(scene: Scene) -> None:
    old = scene.hostname(scene.brick["node"])
    with scene.world.stack.fault({"command": "lvm lvremove", "stderr": SAID, "times": 0, "node": old}):
        assert scene.evict().status_code == 500
    scene.world.rest.send("POST", "/operations/pending/cleanup", {"operations": []})
    wait_until(lambda: not scene.world.rest.json("/operations/pending")["pendingoperations"], "the clean-up")
    scene.assert_moved()
    assert [used for _, used, _ in scene.world.stack.stubs().spaces([scene.brick["node"]]).values()] == [0]


@pytest.mark.parametrize(
    "command",
    ["verb CreateBrick", "lvm lvcreate", "verb ReplaceBrick", "^gluster volume replace-brick", "verb DeleteBrick"],
)
def test_gateway_killed_while_a_brick_moves(scene: Scene, command: str) -> None:
    step = {"CreateBrick": "create brick", "lvcreate": "create brick"}.get(command.rpartition(" ")[2], "replace brick")
    step = "delete brick" if "DeleteBrick" in command else step
    with scene.world.stack.fault({"command": command, "action": "stall", "stall_s": 2.5}):
        with scene.world.stack.extra_gateway() as gateway:
            begun = scene.begun(f"/bricks/to-evict/{scene.brick['id']}", gateway=gateway)
            scene.world.await_step(begun, step)
            gateway.kill()
        ended = scene.world.stack.stubs().ended(begun)
    assert (ended.state, ended.attempt_count) == (SUCCEEDED, 2), ended.error
    assert scene.world.rest.send("GET", f"/queue/{begun}").status_code == 204
    scene.assert_moved()


def test_topology_killed_while_a_brick_moves(scene: Scene) -> None:
    stack = scene.world.stack
    with stack.fault({"command": "verb ReplaceBrick", "action": "stall", "stall_s": 1.0}):
        begun = scene.begun(f"/bricks/to-evict/{scene.brick['id']}")
        scene.world.await_step(begun, "replace brick")
        stack.topology.kill()
        stack.topology.start()
    assert stack.stubs().ended(begun).state == SUCCEEDED
    scene.assert_moved()


# Devices and nodes


@pytest.fixture
def busy_scene(world: World) -> Scene:
    """Three volumes, each with a brick on the device of the first one's second brick."""
    cluster = world.cluster(3, zones=4)
    made = [world.rest.made("/volumes", cluster.volume_body(1, durability=REPLICA3)) for _ in range(3)]
    (number,) = world.stack.fresh_nodes(1)
    body = {
        "cluster": cluster.id,
        "zone": 4,
        "hostnames": {"manage": [f"node{number}"], "storage": [f"10.0.0.{number}"]},
    }
    cluster.nodes.append(world.rest.made("/nodes", body)["id"])
    cluster.numbers.append(number)
    world.rest.made("/devices", {"node": cluster.nodes[-1], "name": "/dev/sdb"})
    return Scene(world, cluster, made[0], made[1:])


def set_state(scene: Scene, kind: str, target: str, state: str, **more: str) -> Any:
    return scene.world.rest.change("POST", f"/{kind}/{target}/state", {"state": state, **more})


def bricks_on(scene: Scene, device_id: str) -> list[str]:
    return [brick["id"] for brick in scene.world.rest.json(f"/devices/{device_id}")["bricks"]]


def test_a_device_is_emptied_and_given_up(busy_scene: Scene) -> None:
    scene, device = busy_scene, busy_scene.brick["device"]
    online = set_state(scene, "devices", device, "failed")
    assert (online.status_code, online.text) == (
        500,
        f"Device must be offline before remove operation is performed, device:{device}\n",
    )
    assert len(bricks_on(scene, device)) == 3
    assert set_state(scene, "devices", device, "offline").status_code == 204
    with scene.world.stack.fault({"command": "verb ReplaceBrick", "action": "stall", "stall_s": 1.0, "after": 1}):
        begun = scene.begun(f"/devices/{device}/state", {"state": "failed"})
        found = wait_until(
            lambda: next(
                (
                    each
                    for each in [scene.world.stack.stubs().operation(begun)]
                    if each.progress.step == "move brick 2 of 3: replace brick"
                ),
                None,
            ),
            "the second brick",
        )
        pending = scene.world.rest.json("/operations/pending")["pendingoperations"]
        child = next(each["id"] for each in pending if each["type_name"] == "evict-brick")
        parent_changes = scene.world.rest.json(f"/operations/pending/{begun}")["changes"]
        child_changes = scene.world.rest.json(f"/operations/pending/{child}")["changes"]
        again = scene.world.rest.send("POST", f"/devices/{device}/state", {"state": "failed"})
    assert found is not None
    assert (found.progress.completed_step_count, found.progress.total_step_count) == (1, 3)
    assert found.progress.node_hostname == scene.hostname(scene.cluster.nodes[-1])
    assert sorted(each["type_name"] for each in pending) == ["evict-brick", "remove-device"]
    assert parent_changes == [
        {"id": device, "description": "Remove device"},
        {"id": child, "description": "Performing child operation"},
    ]
    assert child_changes[-1] == {"id": begun, "description": "Belongs to parent operation"}
    assert (again.status_code, again.text) == (409, f"{BUSY}\n")
    assert scene.world.stack.stubs().ended(begun).state == SUCCEEDED
    shown = scene.world.rest.json(f"/devices/{device}")
    assert (shown["state"], shown["bricks"], shown["storage"]["used"]) == ("failed", [], 0)
    scene.assert_whole()
    assert set_state(scene, "devices", device, "online").status_code == 500
    assert scene.world.rest.change("DELETE", f"/devices/{device}").status_code == 204
    assert scene.world.stack.stubs().violations() == []


def test_the_first_brick_that_can_not_move_stops_it(busy_scene: Scene) -> None:
    scene, device = busy_scene, busy_scene.brick["device"]
    first, second, third = sorted(bricks_on(scene, device))
    assert set_state(scene, "devices", device, "offline").status_code == 204
    with scene.world.stack.fault({"command": "verb ReplaceBrick", "after": 1, "stderr": SAID}):
        answer = set_state(scene, "devices", device, "failed")
    assert (answer.status_code, answer.text) == (500, f"{SAID}\n")
    assert sorted(bricks_on(scene, device)) == [second, third]
    assert scene.world.rest.json(f"/devices/{device}")["state"] == "offline"
    assert first not in bricks_on(scene, device)
    scene.assert_whole()
    # Asked again, it goes on with the others.
    assert set_state(scene, "devices", device, "failed").status_code == 204
    scene.assert_whole()


def test_a_device_without_another_place_stays(world: World) -> None:
    scene = make_scene(world, nodes=3)
    device = scene.brick["device"]
    assert set_state(scene, "devices", device, "offline").status_code == 204
    answer = set_state(scene, "devices", device, "failed")
    first, *reasons = answer.text.splitlines()
    assert answer.status_code == 500
    assert first == f"Unable to delete device [{device}] as no device was found to replace it: {NO_REPLACEMENT}"
    assert reasons
    node = scene.brick["node"]
    assert set_state(scene, "nodes", node, "offline").status_code == 204
    refused = set_state(scene, "nodes", node, "failed")
    assert refused.text.splitlines()[0] == (
        f"Unable to remove node [{node}] as no device was found to replace device [{device}]"
    )
    assert world.rest.json(f"/nodes/{node}")["state"] == "offline"
    assert world.stack.stubs().violations() == []


def test_a_device_under_a_pending_operation_is_refused_through_the_queue(scene: Scene) -> None:
    rest = scene.world.rest
    (device,) = [each["id"] for each in rest.json(f"/nodes/{scene.spare}")["devices"]]
    with scene.world.stack.fault({"command": "verb ReplaceBrick", "action": "stall", "stall_s": 1.5}):
        begun = scene.begun(f"/bricks/to-evict/{scene.brick['id']}")
        scene.world.await_step(begun, "replace brick")
        assert set_state(scene, "devices", device, "offline").status_code == 204
        answer = set_state(scene, "devices", device, "failed")
    assert (answer.status_code, answer.text) == (500, f"{BUSY}\n")
    assert scene.world.stack.stubs().ended(begun).state == SUCCEEDED
    assert scene.world.stack.stubs().violations() == []


def test_a_source_of_a_heal_stops_the_device_unless_nobody_looks(busy_scene: Scene) -> None:
    scene, device = busy_scene, busy_scene.brick["device"]
    assert set_state(scene, "devices", device, "offline").status_code == 204
    fault = {"command": "gluster .*volume heal .* info", "exit_code": 1, "stderr": SAID, "times": 0}
    with scene.world.stack.fault(fault):
        assert SAID in set_state(scene, "devices", device, "failed").text
        assert len(bricks_on(scene, device)) == 3
        assert set_state(scene, "devices", device, "failed", healcheck="disable").status_code == 204
    scene.assert_whole()


@pytest.mark.parametrize("command", ["verb CreateBrick", "verb ReplaceBrick", "verb DeleteBrick"])
def test_gateway_killed_while_a_device_is_emptied(busy_scene: Scene, command: str) -> None:
    scene, device = busy_scene, busy_scene.brick["device"]
    assert set_state(scene, "devices", device, "offline").status_code == 204
    with scene.world.stack.fault({"command": command, "action": "stall", "stall_s": 2.5, "after": 1}):
        with scene.world.stack.extra_gateway() as gateway:
            begun = scene.begun(f"/devices/{device}/state", {"state": "failed"}, gateway=gateway)
            wait_until(
                lambda: scene.world.stack.stubs().operation(begun).progress.step.startswith("move brick 2 of 3: "),
                "the second brick",
            )
            gateway.kill()
        ended = scene.world.stack.stubs().ended(begun)
    assert (ended.state, ended.attempt_count) == (SUCCEEDED, 2), ended.error
    assert bricks_on(scene, device) == []
    scene.assert_whole()
    children = [
        each
        for each in scene.world.stack.stubs()
        .operator.ListOperations(operator_service_pb2.ListOperationsRequest(), timeout=CALL_WITHIN_S)
        .operations
        if each.spec.evict_brick.parent_operation_id == begun
    ]
    # One for each brick: the one on its way was found again.
    assert len(children) == 3


def test_terminated_gateway_hands_the_device_over(busy_scene: Scene) -> None:
    scene, device = busy_scene, busy_scene.brick["device"]
    assert set_state(scene, "devices", device, "offline").status_code == 204
    with scene.world.stack.fault({"command": "verb ReplaceBrick", "action": "stall", "stall_s": 1.5}):
        with scene.world.stack.extra_gateway("--grace-seconds", "0.2") as gateway:
            begun = scene.begun(f"/devices/{device}/state", {"state": "failed"}, gateway=gateway)
            wait_until(
                lambda: "replace brick" in scene.world.stack.stubs().operation(begun).progress.step, "the first brick"
            )
            assert gateway.stop() == 0
        ended = scene.world.stack.stubs().ended(begun)
    assert (ended.state, ended.attempt_count) == (SUCCEEDED, 2), ended.error
    scene.assert_whole()


def test_a_node_is_emptied_and_removed(busy_scene: Scene) -> None:
    scene, node = busy_scene, busy_scene.brick["node"]
    rest = scene.world.rest
    online = set_state(scene, "nodes", node, "failed")
    assert (online.status_code, online.text) == (
        500,
        f"Node must be offline before remove operation is performed, node:{node}\n",
    )
    assert set_state(scene, "nodes", node, "offline").status_code == 204
    assert set_state(scene, "nodes", node, "failed").status_code == 204
    shown = rest.json(f"/nodes/{node}")
    assert shown["state"] == "failed"
    assert [(device["state"], device["bricks"]) for device in shown["devices"]] == [("failed", [])]
    scene.assert_whole()
    for device in shown["devices"]:
        assert rest.change("DELETE", f"/devices/{device['id']}").status_code == 204
    assert rest.change("DELETE", f"/nodes/{node}").status_code == 204
    assert scene.world.stack.stubs().violations() == []
    gone = scene.hostname(node)
    index = scene.cluster.nodes.index(node)
    held: Holdings = scene.world.stack.agents.holdings(gone)
    assert held.empty
    del scene.cluster.nodes[index], scene.cluster.numbers[index]
    scene.assert_whole()


def test_an_unreachable_node_is_emptied_and_forgotten(busy_scene: Scene) -> None:
    scene, node = busy_scene, busy_scene.brick["node"]
    rest, hostname = scene.world.rest, busy_scene.hostname(busy_scene.brick["node"])
    dead = {"command": ".*", "action": "crash", "node": hostname, "times": 0}
    with scene.world.stack.fault(dead), scene.world.stack.extra_gateway("--node-patience-seconds", "0.5") as gateway:
        quick = scene.world.stack.rest(gateway)
        assert quick.change("POST", f"/nodes/{node}/state", {"state": "offline"}).status_code == 204
        answer = quick.change("POST", f"/nodes/{node}/state", {"state": "failed"})
        assert (answer.status_code, answer.text) == (204, "")
        (device,) = rest.json(f"/nodes/{node}")["devices"]
        assert (device["state"], device["bricks"]) == ("failed", [])
        assert quick.change("DELETE", f"/devices/{device['id']}").status_code == 500
        assert quick.change("DELETE", f"/devices/{device['id']}", {"forceforget": True}).status_code == 204
        assert quick.change("DELETE", f"/nodes/{node}").status_code == 204
        assert scene.world.stack.stubs().violations() == []
    # What it had is still there, should it ever come back.
    assert len(scene.world.stack.agents.holdings(hostname).mounts) == 3
    assert hostname not in scene.world.stack.agents.peers(scene.cluster.hostnames[0])
