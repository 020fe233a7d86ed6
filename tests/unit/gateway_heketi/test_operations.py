"""Pending operations: which are told, in which state, with which changes, and how they are hurried."""

import time
from typing import Any

import pytest

from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, volume_pb2
from gateway.heketi import pending
from gateway.heketi.routes.queue import DONE_ENTRY
from services.common.errors import UnavailableError
from services.common.ids import is_id
from services.common.reasons import Reason
from tests.unit.gateway_heketi.client import Client, make_token
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster, cluster_of_three, node, volume

ABSENT = "0123456789abcdef0123456789abcdef"
NOW_S = 1_000_000.0
NONE = {"total": 0, "in_flight": 0, "stale": 0, "failed": 0, "new": 0}


def spec(kind: str) -> operation_pb2.OperationSpec:
    bricks = [volume_pb2.Brick(id="b2"), volume_pb2.Brick(id="b1")]
    made: dict[str, Any] = {
        "create_volume": operation_pb2.CreateVolumeSpec(volume=volume_pb2.Volume(id="vv", bricks=bricks)),
        "delete_volume": operation_pb2.DeleteVolumeSpec(volume_id="vv", volume=volume_pb2.Volume(bricks=bricks)),
        "expand_volume": operation_pb2.ExpandVolumeSpec(volume_id="vv", bricks=bricks),
        "clone_volume": operation_pb2.CloneVolumeSpec(
            source_volume_id="ss", volume_id="vv", brick_ids=["b2", "b1"], source=volume_pb2.Volume(bricks=bricks)
        ),
        "set_device_state": operation_pb2.SetDeviceStateSpec(device_id="dd", state=device_pb2.DEVICE_STATE_FAILED),
        "set_node_state": operation_pb2.SetNodeStateSpec(node_id="nn", state=node_pb2.NODE_STATE_FAILED),
        "add_node": operation_pb2.AddNodeSpec(),
        "delete_node": operation_pb2.DeleteNodeSpec(),
        "add_device": operation_pb2.AddDeviceSpec(),
        "delete_device": operation_pb2.DeleteDeviceSpec(),
        "resync_device": operation_pb2.ResyncDeviceSpec(),
        "evict_brick": operation_pb2.EvictBrickSpec(brick_id="b1", new_brick=volume_pb2.Brick(id="b9")),
        "create_block_volume": operation_pb2.CreateBlockVolumeSpec(),
        "delete_block_volume": operation_pb2.DeleteBlockVolumeSpec(),
        "expand_block_volume": operation_pb2.ExpandBlockVolumeSpec(),
        "set_block_restriction": operation_pb2.SetBlockRestrictionSpec(),
        "clean_up": operation_pb2.CleanUpSpec(),
    }
    return operation_pb2.OperationSpec(**{kind: made[kind]})


def operation(kind: str, operation_id: str = "a1", *, lease_left_s: float = 10, **more: Any) -> operation_pb2.Operation:
    made = operation_pb2.Operation(id=operation_id, spec=spec(kind), **more)
    made.lease_expire_time.FromMilliseconds(int((NOW_S + lease_left_s) * 1000))
    return made


@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [
        ("create_volume", "create-volume", [("b2", "Add brick"), ("b1", "Add brick"), ("vv", "Add volume")]),
        ("delete_volume", "delete-volume", [("b2", "Delete brick"), ("b1", "Delete brick"), ("vv", "Delete volume")]),
        ("expand_volume", "expand-volume", [("b2", "Add brick"), ("b1", "Add brick"), ("vv", "Expand volume")]),
        (
            "clone_volume",
            "clone-volume",
            [("ss", "Clone volume from"), ("vv", "Expand volume to"), ("b2", "Add brick"), ("b1", "Add brick")],
        ),
        ("set_device_state", "remove-device", [("dd", "Remove device")]),
        ("evict_brick", "evict-brick", [("b1", "Delete brick"), ("b9", "Add brick")]),
    ],
)
def test_what_each_kind_changes(kind: str, name: str, changes: list[tuple[str, str]]) -> None:
    assert pending.details(operation(kind), NOW_S) == {
        "id": "a1",
        "type_name": name,
        "status": "",
        "sub_status": "",
        "changes": [{"id": target, "description": description} for target, description in changes],
    }


def test_every_kind_of_the_contract_is_one_of_heketis_or_left_out() -> None:
    kinds = [each.name for each in operation_pb2.OperationSpec.DESCRIPTOR.oneofs_by_name["kind"].fields]
    told = {kind for kind in kinds if pending.known_here([operation(kind)])}
    assert told == {
        "create_volume",
        # What Heketi would have left of a creation, as failed.
        "clean_up",
        "delete_volume",
        "expand_volume",
        "clone_volume",
        "set_device_state",
        "evict_brick",
        "create_block_volume",
        "delete_block_volume",
        "expand_block_volume",
    }


@pytest.mark.parametrize("state", ["DEVICE_STATE_ONLINE", "DEVICE_STATE_OFFLINE"])
def test_only_the_removal_of_a_device_is_an_operation(state: str) -> None:
    made = operation("set_device_state")
    made.spec.set_device_state.state = device_pb2.DeviceState.Value(state)
    assert pending.known_here([made]) == []


@pytest.mark.parametrize(
    ("more", "status", "sub_status"),
    [
        ({}, "", "in-flight"),
        ({"lease_left_s": -0.001}, "stale", ""),
        ({"stalled": True}, "failed", ""),
        ({"stalled": True, "lease_left_s": -5}, "failed", ""),
    ],
)
def test_states(more: dict[str, Any], status: str, sub_status: str) -> None:
    shown = pending.summary(operation("create_volume", **more), NOW_S)
    assert shown == {"id": "a1", "type_name": "create-volume", "status": status, "sub_status": sub_status}


def test_an_operation_without_a_lease_is_driven_by_nobody() -> None:
    assert pending.summary(operation_pb2.Operation(spec=spec("create_volume")), NOW_S)["status"] == "stale"


def test_parents_and_children_tell_of_each_other_and_take_one_slot() -> None:
    parent, child = operation("set_device_state", "pp"), operation("evict_brick", "cc")
    child.spec.evict_brick.parent_operation_id = "pp"
    stranger = operation("evict_brick", "xx")
    everything = [parent, child, stranger]
    assert pending.details(parent, NOW_S, everything)["changes"] == [
        {"id": "dd", "description": "Remove device"},
        {"id": "cc", "description": "Performing child operation"},
    ]
    assert pending.details(child, NOW_S, everything)["changes"][-1] == {
        "id": "pp",
        "description": "Belongs to parent operation",
    }
    assert pending.counts(everything, NOW_S) == {"total": 3, "in_flight": 2, "stale": 0, "failed": 0, "new": 3}


def test_counts() -> None:
    operations = [
        operation("create_volume"),
        operation("delete_volume"),
        operation("expand_volume", lease_left_s=-1),
        operation("clone_volume", stalled=True),
        operation("set_node_state"),
        operation("add_node"),
        operation("resync_device", lease_left_s=-1),
    ]
    assert pending.counts(operations, NOW_S) == {"total": 4, "in_flight": 3, "stale": 1, "failed": 1, "new": 2}
    operations[4].spec.set_node_state.state = node_pb2.NODE_STATE_OFFLINE
    assert pending.counts(operations, NOW_S)["in_flight"] == 2


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_without_operations(client: Client) -> None:
    cluster_of_three(client)
    volume(client)
    assert client.get("/operations").json() == NONE
    answer = client.get("/operations/pending")
    assert answer.text == '{"pendingoperations":[]}\n'
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"


def running(client: Client, use_cases: FakeUseCases, path: str = "/volumes", body: str = '{"size":1}') -> str:
    use_cases.pending_polls = 1000
    answer = client.post(path, body)
    assert answer.status_code == 202, answer.text
    return answer.headers["location"].removeprefix("/queue/")


def test_operations_that_run(client: Client, use_cases: FakeUseCases) -> None:
    cluster_id, _, _ = cluster_of_three(client)
    made = sorted(running(client, use_cases) for _ in range(4))
    hosts = '"hostnames":{"manage":["m"],"storage":["s"]}'
    running(client, use_cases, "/nodes", f'{{"zone":1,{hosts},"cluster":"{cluster_id}"}}')
    answer = client.get("/operations")
    assert answer.text == '{"total":4,"in_flight":4,"stale":0,"failed":0,"new":4}\n'
    shown = client.get("/operations/pending").json()["pendingoperations"]
    assert [each["id"] for each in shown] == made
    one = f'{{"id":"{made[0]}","type_name":"create-volume","status":"","sub_status":"in-flight"}}'
    assert client.get("/operations/pending").text.startswith(f'{{"pendingoperations":[{one},')
    detailed = client.get(f"/operations/pending/{made[0]}")
    spec_of = use_cases.operations[made[0]].spec.create_volume.volume
    assert detailed.text == (
        f'{{"id":"{made[0]}","type_name":"create-volume","status":"","sub_status":"",'
        f'"changes":[{{"id":"{spec_of.bricks[0].id}","description":"Add brick"}},'
        f'{{"id":"{spec_of.id}","description":"Add volume"}}]}}\n'
    )


def test_operations_that_wait_for_a_node_or_for_a_gateway(client: Client, use_cases: FakeUseCases) -> None:
    cluster_of_three(client)
    stalled, abandoned = (running(client, use_cases) for _ in range(2))
    use_cases.operations[stalled].stalled = True
    use_cases.operations[abandoned].lease_expire_time.FromSeconds(int(time.time()) - 1)
    assert client.get("/operations").json() == {**NONE, "total": 2, "stale": 1, "failed": 1}
    shown = {each["id"]: each for each in client.get("/operations/pending").json()["pendingoperations"]}
    assert (shown[stalled]["status"], shown[stalled]["sub_status"]) == ("failed", "")
    assert (shown[abandoned]["status"], shown[abandoned]["sub_status"]) == ("stale", "")
    assert client.get(f"/operations/pending/{stalled}").json()["status"] == "failed"


def test_operations_that_are_not_pending(client: Client, use_cases: FakeUseCases) -> None:
    cluster_id = cluster(client)
    node_id = node(client, cluster_id)
    ended = next(iter(use_cases.operations))
    of_no_type = running(client, use_cases, f"/nodes/{node_id}/state", '{"state":"offline"}')
    for absent in (ABSENT, ABSENT.upper(), "ab", ended, of_no_type):
        answer = client.get(f"/operations/pending/{absent}")
        assert (answer.status_code, answer.text) == (404, f"Id not found: {absent}\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/operations", 405),
        ("GET", "/operations/pending/cleanup", 405),
        ("POST", f"/operations/pending/{ABSENT}", 405),
        ("GET", "/operations/pending/xyz", 404),
        ("GET", "/operations/pending/", 301),
    ],
)
def test_routes_around(client: Client, method: str, path: str, status: int) -> None:
    assert client.send(method, path).status_code == status


def test_operations_are_the_admins(client: Client) -> None:
    token = make_token("GET", "/operations", issuer="user")
    assert client.send("GET", "/operations", token=token).status_code == 401


# --- cleanup ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ("{}", ()),
        ("null", ()),
        ('{"operations":null}', ()),
        ('{"operations":[]}', ()),
        (f'{{"operations":["{ABSENT}","{ABSENT.upper()}",""]}}', (ABSENT, ABSENT.upper(), "")),
    ],
)
def test_a_cleanup_is_over_when_it_is_answered(
    client: Client, use_cases: FakeUseCases, body: str, ids: tuple[str, ...]
) -> None:
    answer = client.post("/operations/pending/cleanup", body)
    assert (answer.status_code, answer.content) == (202, b"")
    assert [argument for name, argument, _ in use_cases.calls if name == "cleanup_operations"] == [ids]
    location = answer.headers["location"]
    assert is_id(location.removeprefix("/queue/"))
    for _ in range(2):
        polled = client.get(location)
        assert (polled.status_code, polled.content) == (204, b"")
        assert "x-pending" not in polled.headers


def test_the_done_entry_is_no_operation(client: Client, use_cases: FakeUseCases) -> None:
    client.get(f"/queue/{DONE_ENTRY}")
    assert not use_cases.calls
    assert client.get(f"/queue/{DONE_ENTRY[1:]}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("", 422, "request unable to be parsed"),
        ('{"operations":"all"}', 422, "request unable to be parsed"),
        ('{"operations":[5]}', 422, "request unable to be parsed"),
        ('{"operations":["","xyz"]}', 400, "validation failed: operations: xyz is not a valid UUID."),
        (
            '{"operations":[' + ",".join(['"x"'] * 33) + "]}",
            400,
            "validation failed: operations: too many ids specified (33), up to 32 supported.",
        ),
    ],
)
def test_cleanups_that_are_refused(client: Client, use_cases: FakeUseCases, body: str, status: int, text: str) -> None:
    answer = client.post("/operations/pending/cleanup", body)
    assert (answer.status_code, answer.text) == (status, f"{text}\n")
    assert not use_cases.calls


def test_a_cleanup_without_topology(client: Client, use_cases: FakeUseCases) -> None:
    use_cases.failures["cleanup_operations"] = UnavailableError(Reason.UNAVAILABLE, "topology is away")
    answer = client.post("/operations/pending/cleanup", "{}")
    assert answer.status_code == 503
    assert "location" not in answer.headers
