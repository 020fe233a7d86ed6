"""Block volumes over REST: bodies, statuses and texts as Heketi's."""

import json
from typing import Any

import pytest

from brickyard.topology.v1 import block_volume_pb2, operation_pb2, volume_pb2
from gateway.heketi import pending, render
from gateway.usecases import NewBlockVolume
from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.reasons import Reason
from services.common.units import GIB
from tests.unit.gateway_heketi.client import Client
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster_of_three, volume

ABSENT = "0123456789abcdef0123456789abcdef"
BUSY = "The target exists, contains other items, or is in use."


def hosting(client: Client) -> str:
    """A hosting volume of 100 GiB in a cluster of three nodes; gives the cluster's id."""
    cluster_id, _, _ = cluster_of_three(client)
    volume(client, size=100, block=True, durability={"type": "replicate", "replicate": {"replica": 3}})
    return cluster_id


def made(client: Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/blockvolumes", json.dumps({"size": 10, **fields}))
    assert answer.status_code == 202, answer.text
    location = client.get(answer.headers["location"]).headers["location"]
    assert location.startswith("/blockvolumes/")
    found: dict[str, Any] = client.get(location).json()
    return found


def test_what_is_asked_for_reaches_the_use_case(client: Client, use_cases: FakeUseCases) -> None:
    cluster_id = hosting(client)
    made(client, name="blk", clusters=[cluster_id], hacount=2, auth=True)
    asked = NewBlockVolume(size_bytes=10 * GIB, name="blk", cluster_ids=(cluster_id,), ha_count=2, auth=True)
    assert ("create_block_volume", asked, None) in use_cases.calls
    client.send("POST", "/blockvolumes", '{"size": 1}', headers={"Idempotency-Key": "k"})
    assert use_cases.calls[-1] == ("create_block_volume", NewBlockVolume(size_bytes=GIB), "k")


def test_a_block_volume_is_shown_as_heketi_shows_it(client: Client) -> None:
    hosting(client)
    shown = made(client, auth=True)
    assert list(shown) == [
        *("size", "name", "hacount", "id", "blockvolume", "cluster", "blockhostingvolume", "usablesize")
    ]
    assert list(shown["blockvolume"]) == ["hosts", "iqn", "lun", "username", "password"]
    assert shown["name"] == f"blockvol_{shown['id']}"
    assert client.get("/blockvolumes").json() == {"blockvolumes": [shown["id"]]}


def test_usable_size_is_the_size_when_it_is_not_known() -> None:
    message = block_volume_pb2.BlockVolume(id="b", name="n", size_bytes=5 * GIB)
    assert render.block_volume(message) == (
        b'{"size":5,"name":"n","id":"b","blockvolume":{"hosts":[],"iqn":"","lun":0,"username":"","password":""},'
        b'"usablesize":5}\n'
    )
    message.usable_size_bytes = 3 * GIB
    assert b'"usablesize":3' in render.block_volume(message)


def test_what_a_hosting_volume_holds() -> None:
    message = volume_pb2.Volume(block_hosting=volume_pb2.BlockHosting(free_size_bytes=GIB, reserved_size_bytes=GIB))
    assert render.block_info(message) == {"freesize": 1, "reservedsize": 1}
    message.block_hosting.free_size_bytes = 0
    message.block_hosting.block_volume_ids.extend(["b", "a"])
    message.block_hosting.restriction = volume_pb2.BLOCK_RESTRICTION_LOCKED_BY_UPDATE
    assert render.block_info(message) == {
        "reservedsize": 1,
        "blockvolume": ["a", "b"],
        "restriction": "locked-by-update",
    }
    assert render.block_info(volume_pb2.Volume()) == {}


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/blockvolumes", "", 422, "request unable to be parsed"),
        ("/blockvolumes", '{"size": "1"}', 422, "request unable to be parsed"),
        ("/blockvolumes", '{"size": 1, "auth": 1}', 422, "request unable to be parsed"),
        ("/blockvolumes", "{}", 400, "validation failed: size: cannot be blank."),
        ("/blockvolumes", '{"size": -1}', 400, "validation failed: size: must be no less than 1."),
        (
            "/blockvolumes",
            '{"size": 0, "name": "a.b", "hacount": -2}',
            400,
            (
                "validation failed: hacount: must be no less than 1; name: must be in a valid format; "
                "size: cannot be blank."
            ),
        ),
        (f"/blockvolumes/{ABSENT}/expand", "x", 422, "request unable to be parsed"),
        (f"/blockvolumes/{ABSENT}/expand", "{}", 400, "validation failed: new_size: cannot be blank."),
        (f"/blockvolumes/{ABSENT}/expand", '{"new_size": 1}', 404, "Id not found"),
        (f"/volumes/{ABSENT}/block-restriction", "", 422, "request unable to be parsed"),
        (
            f"/volumes/{ABSENT}/block-restriction",
            '{"restriction": "locked-by-update"}',
            400,
            "validation failed: restriction: must be a valid value.",
        ),
        (f"/volumes/{ABSENT}/block-restriction", '{"restriction": "locked"}', 404, "Id not found"),
    ],
)
def test_bad_requests(client: Client, path: str, body: str, status: int, text: str) -> None:
    answer = client.post(path, body)
    assert (answer.status_code, answer.text) == (status, f"{text}\n")


def test_clusters_of_a_request(client: Client) -> None:
    def refused(**fields: Any) -> tuple[int, str]:
        answer = client.post("/blockvolumes", json.dumps({"size": 1, **fields}))
        return answer.status_code, answer.text

    assert refused() == refused(clusters=["x"]) == (400, "No clusters configured\n")
    cluster_of_three(client)
    assert refused(clusters=[ABSENT]) == (400, f"Cluster id {ABSENT} not found\n")
    assert refused(clusters=["x"]) == (400, "Cluster id x not found\n")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", "")])
def test_absent_ones(client: Client, method: str, path: str) -> None:
    for block_volume_id in (ABSENT, ABSENT.upper(), "ab"):
        answer = client.send(method, f"/blockvolumes/{block_volume_id}{path}")
        assert (answer.status_code, answer.text) == (404, "Id not found\n")


CREATE, EXPAND, DELETE, RESTRICT = (
    *("create_block_volume", "expand_block_volume", "delete_block_volume", "set_block_restriction"),
)
ALLOCATE = "Failed to allocate new block volume: "
GROW = "Failed to allocate block volume expansion: "
REFUSALS: list[tuple[str, BrickyardError, int, str]] = [
    (
        CREATE,
        FailedPreconditionError(
            Reason.BLOCK_HOSTING_TOO_SMALL,
            "too small",
            size_bytes=5000 * GIB,
            hosting_size_bytes=500 * GIB,
            available_bytes=490 * GIB,
        ),
        500,
        (
            f"{ALLOCATE}The size configured for automatic creation of block hosting volumes (500) is too small to host "
            "the requested block volume of size 5000. The available size on this block hosting volume, minus overhead, "
            "is 490. Please create a sufficiently large block hosting volume manually."
        ),
    ),
    (
        CREATE,
        FailedPreconditionError(Reason.BLOCK_HOSTING_DISABLED, "off"),
        500,
        f"{ALLOCATE}Block Hosting Volume Creation is disabled. Create a Block hosting volume and try again.",
    ),
    (
        CREATE,
        FailedPreconditionError(
            Reason.GLUSTER_BLOCK_NOT_INSTALLED, "insufficient block hosts online: 3 needed, 0 of them (n1: no)"
        ),
        500,
        f"{ALLOCATE}insufficient block hosts online\n3 needed, 0 of them (n1: no)",
    ),
    (
        CREATE,
        FailedPreconditionError(Reason.CLUSTER_LACKS_VOLUME_TYPE, "Cluster does not support requested volume type"),
        500,
        f"{ALLOCATE}Cluster does not support requested volume type",
    ),
    (
        CREATE,
        ResourceExhaustedError(Reason.NO_SPACE, "5 bytes are missing"),
        500,
        f"{ALLOCATE}No space\n5 bytes are missing",
    ),
    (CREATE, ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "x"), 429, "Server busy. Retry operation later."),
    (
        EXPAND,
        FailedPreconditionError(Reason.BLOCK_SIZE_NOT_LARGER, "x", size_bytes=15 * GIB, new_size_bytes=15 * GIB),
        500,
        f"{GROW}Requested new-size 15 is same as current block volume size 15, nothing to be done.",
    ),
    (
        EXPAND,
        FailedPreconditionError(Reason.BLOCK_SIZE_NOT_LARGER, "x", size_bytes=15 * GIB, new_size_bytes=5 * GIB),
        500,
        f"{GROW}Requested new-size 5 is less than current block volume size 15, shrinking is not allowed.",
    ),
    (EXPAND, FailedPreconditionError(Reason.TARGET_BUSY, BUSY), 500, f"{GROW}{BUSY}"),
    (EXPAND, ResourceExhaustedError(Reason.NO_SPACE, "2 are needed"), 500, f"{GROW}No space\n2 are needed"),
    (EXPAND, NotFoundError(Reason.BLOCK_VOLUME_NOT_FOUND, "x"), 404, "Id not found"),
    (
        DELETE,
        FailedPreconditionError(Reason.TARGET_BUSY, BUSY),
        500,
        f"Failed to set up block volume delete: {BUSY}",
    ),
    (
        RESTRICT,
        FailedPreconditionError(
            Reason.NOT_BLOCK_HOSTING, "Block restrictions can only be set on block hosting volumes"
        ),
        500,
        "Failed to set block restriction: Block restrictions can only be set on block hosting volumes",
    ),
    (
        RESTRICT,
        FailedPreconditionError(Reason.BLOCK_RESERVE_MISSING, "x", needed_bytes=2 * GIB, free_bytes=1 * GIB),
        500,
        "Failed to set block restriction: Can not unlock volume. 2GiB free space is required, but found 1GiB",
    ),
    (RESTRICT, FailedPreconditionError(Reason.TARGET_BUSY, BUSY), 500, f"Failed to set block restriction: {BUSY}"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[f"{method}-{error.reason}" for method, error, _, _ in REFUSALS])
def test_refusals_have_heketis_texts(
    client: Client, use_cases: FakeUseCases, refusal: tuple[str, BrickyardError, int, str]
) -> None:
    cluster_of_three(client)
    method, error, status, text = refusal
    requests = {
        CREATE: ("POST", "/blockvolumes", '{"size": 10}'),
        EXPAND: ("POST", f"/blockvolumes/{ABSENT}/expand", '{"new_size": 9}'),
        DELETE: ("DELETE", f"/blockvolumes/{ABSENT}", None),
        RESTRICT: ("POST", f"/volumes/{ABSENT}/block-restriction", '{"restriction": ""}'),
    }
    use_cases.failures[method] = error
    answer = client.send(*requests[method])
    assert (answer.status_code, answer.text) == (status, f"{text}\n")


def test_deleting_a_volume_that_hosts_some(client: Client) -> None:
    hosting(client)
    shown = made(client)
    answer = client.delete(f"/volumes/{shown['blockhostingvolume']}")
    assert (answer.status_code, answer.text) == (
        409,
        "Cannot delete a block hosting volume containing block volumes\n",
    )


def test_the_queue_leads_to_what_was_changed(client: Client) -> None:
    hosting(client)
    shown = made(client)
    path = f"/blockvolumes/{shown['id']}"
    grown = client.post(f"{path}/expand", '{"new_size": 12}')
    assert client.get(grown.headers["location"]).headers["location"] == path
    locked = client.post(f"/volumes/{shown['blockhostingvolume']}/block-restriction", '{"restriction": "locked"}')
    assert client.get(locked.headers["location"]).headers["location"] == f"/volumes/{shown['blockhostingvolume']}"
    removed = client.delete(path)
    assert client.get(removed.headers["location"]).status_code == 204


def test_restrictions_are_for_hosting_volumes(client: Client) -> None:
    cluster_of_three(client)
    answer = client.post(f"/volumes/{volume(client)}/block-restriction", '{"restriction": "locked"}')
    assert answer.status_code == 500


def test_pending_ones_are_told_as_heketi_tells_them() -> None:
    hosting = volume_pb2.Volume(id="vv", bricks=[volume_pb2.Brick(id="b1")])
    block = block_volume_pb2.BlockVolume(id="bb")

    def told(**spec: Any) -> tuple[str, list[tuple[str, str]]]:
        operation = operation_pb2.Operation(id="a1", spec=operation_pb2.OperationSpec(**spec))
        shown = pending.details(operation, 0.0)
        return shown["type_name"], [(each["id"], each["description"]) for each in shown["changes"]]

    made_with = operation_pb2.CreateBlockVolumeSpec(block_volume=block, hosting_volume=hosting)
    assert told(create_block_volume=made_with) == (
        "create-block-volume",
        [("b1", "Add brick"), ("vv", "Add volume"), ("bb", "Add block volume")],
    )
    assert told(create_block_volume=operation_pb2.CreateBlockVolumeSpec(block_volume=block)) == (
        "create-block-volume",
        [("bb", "Add block volume")],
    )
    assert told(delete_block_volume=operation_pb2.DeleteBlockVolumeSpec(block_volume_id="bb")) == (
        "delete-block-volume",
        [("bb", "Delete block volume")],
    )
    assert told(expand_block_volume=operation_pb2.ExpandBlockVolumeSpec(block_volume_id="bb")) == (
        "expand-block-volume",
        [("bb", "Expand block volume")],
    )
