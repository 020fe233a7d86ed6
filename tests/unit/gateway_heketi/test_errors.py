import json
from typing import Any

import pytest

from brickyard.topology.v1 import operation_pb2
from gateway.heketi.texts.errors import Action, refused_by
from gateway.heketi.texts.failures import failure_text
from services.common import errors
from services.common.errors import (
    AbortedError,
    AlreadyExistsError,
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    TimeLimitError,
    UnavailableError,
    UnimplementedError,
)
from services.common.reasons import Reason
from tests.unit.gateway_heketi.client import Client
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster, cluster_of_three, device, node, volume

ABSENT = "0123456789abcdef0123456789abcdef"
ALLOCATE = "Failed to allocate new volume: "


def test_ids_that_are_not_found(client: Client) -> None:
    for method, path in (
        ("GET", "/clusters/{}"),
        ("DELETE", "/clusters/{}"),
        ("GET", "/nodes/{}"),
        ("DELETE", "/nodes/{}"),
        ("GET", "/devices/{}"),
        ("DELETE", "/devices/{}"),
        ("GET", "/volumes/{}"),
        ("DELETE", "/volumes/{}"),
        ("GET", "/queue/{}"),
    ):
        answer = client.send(method, path.format(ABSENT))
        assert (answer.status_code, answer.text) == (404, "Id not found\n"), path
    answer = client.post(f"/clusters/{ABSENT}/flags", "{}")
    assert (answer.status_code, answer.text) == (404, "Id not found\n")


def test_parents_that_do_not_exist(client: Client) -> None:
    body: dict[str, Any] = {"zone": 1, "hostnames": {"manage": ["m"], "storage": ["s"]}, "cluster": ABSENT}
    answer = client.post("/nodes", json.dumps(body))
    assert (answer.status_code, answer.text) == (404, "Cluster id does not exist\n")
    answer = client.post("/devices", json.dumps({"name": "/dev/sdb", "node": ABSENT}))
    assert (answer.status_code, answer.text) == (404, "Node id does not exist\n")


def test_a_node_whose_cluster_has_gone(client: Client, use_cases: FakeUseCases) -> None:
    use_cases.failures["delete_node"] = NotFoundError(Reason.CLUSTER_NOT_FOUND, "x", cluster_id=ABSENT)
    answer = client.delete(f"/nodes/{ABSENT}")
    assert (answer.status_code, answer.text) == (404, "Cluster id does not exist\n")


def test_a_host_name_in_use_ends_in_two_newlines(client: Client) -> None:
    made = cluster(client)
    first = node(client, made)
    body = {"zone": 1, "hostnames": {"manage": ["node0.example"], "storage": ["x"]}, "cluster": made}
    answer = client.post("/nodes", json.dumps(body))
    assert answer.status_code == 409
    assert answer.text == f"Hostname node0.example already used by node with id {first}\n\n"


def test_objects_that_are_not_empty(client: Client) -> None:
    cluster_id, nodes, devices = cluster_of_three(client)
    volume(client)
    answer = client.delete(f"/clusters/{cluster_id}")
    assert answer.status_code == 409
    assert answer.text == f"Unable to delete cluster [{cluster_id}] because it contains volumes and/or nodes\n"
    answer = client.delete(f"/nodes/{nodes[0]}")
    assert answer.status_code == 409
    assert answer.text == f"Unable to delete node [{nodes[0]}] because it contains devices\n"
    answer = client.delete(f"/devices/{devices[0]}")
    assert answer.status_code == 400
    assert answer.text == f"device: {devices[0]} is not in failed state\n"


def test_a_failed_device_with_bricks(client: Client, use_cases: FakeUseCases) -> None:
    use_cases.failures["delete_device"] = FailedPreconditionError(Reason.DEVICE_NOT_EMPTY, "x", device_id=ABSENT)
    answer = client.delete(f"/devices/{ABSENT}")
    assert answer.status_code == 409
    assert answer.text == f"Unable to delete device [{ABSENT}] because it contains bricks\n"


@pytest.mark.parametrize(
    "text", ["None of the nodes in cluster has glusterd running", "New Node doesn't have glusterd running"]
)
def test_glusterd_that_does_not_run(client: Client, use_cases: FakeUseCases, text: str) -> None:
    use_cases.failures["add_node"] = FailedPreconditionError(Reason.GLUSTERD_NOT_RUNNING, text)
    body = {"zone": 1, "hostnames": {"manage": ["m"], "storage": ["s"]}, "cluster": cluster(client)}
    answer = client.post("/nodes", json.dumps(body))
    assert (answer.status_code, answer.text) == (400, f"{text}\n")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ResourceExhaustedError(Reason.NO_SPACE, "No space"), "No space"),
        (
            ResourceExhaustedError(Reason.NO_SPACE, "device a lacks 4 MiB\ndevice b is offline"),
            "No space\ndevice a lacks 4 MiB\ndevice b is offline",
        ),
        (ResourceExhaustedError(Reason.NO_SPACE, "No space\ndevice a lacks 4 MiB"), "No space\ndevice a lacks 4 MiB"),
        (AbortedError(Reason.NO_SPACE_ON_DEVICE, "device a is full"), "No space\ndevice a is full"),
        (ResourceExhaustedError(Reason.MAX_BRICKS_REACHED, "64 bricks"), "No space\n64 bricks"),
        (ResourceExhaustedError(Reason.MIN_BRICK_SIZE_REACHED, "too small"), "No space\ntoo small"),
        (FailedPreconditionError(Reason.NO_NODES, "No nodes in cluster"), "No nodes in cluster"),
        (FailedPreconditionError(Reason.NO_ONLINE_DEVICES, ""), "No online storage devices in cluster"),
        (
            AlreadyExistsError(Reason.VOLUME_NAME_IN_USE, "in use", name="v1"),
            "Volume name 'v1' already in use",
        ),
        (AlreadyExistsError(Reason.VOLUME_NAME_IN_USE, "v1 is there"), "v1 is there"),
        (FailedPreconditionError(Reason.CLUSTER_HAS_NO_VOLUME_TYPE, ""), "Cluster has disabled all volume types"),
        (
            FailedPreconditionError(Reason.CLUSTER_LACKS_VOLUME_TYPE, ""),
            "Cluster does not support requested volume type",
        ),
        (
            ResourceExhaustedError(Reason.TOO_MANY_VOLUMES, "full", volume_count=1000, maximum=1000),
            "Cluster has 1000 volumes and limit is 1000",
        ),
        (
            InvalidArgumentError(Reason.INVALID_TAG_RULE, "bad", rule="a-b=c"),
            "Invalid tag matching rule: Invalid tag match rule: a-b=c",
        ),
        (
            InvalidArgumentError(Reason.INVALID_TAG_RULE, "a-b=c"),
            "Invalid tag matching rule: Invalid tag match rule: a-b=c",
        ),
        (
            InvalidArgumentError(
                Reason.AVERAGE_FILE_SIZE_TOO_LARGE, "Average file size (9) is greater than Brick size (8)"
            ),
            "Average file size (9) is greater than Brick size (8)",
        ),
        (
            ResourceExhaustedError(Reason.NO_SPACE, "No space: 3 nodes are needed; 2 have it"),
            "No space\n3 nodes are needed; 2 have it",
        ),
        (
            InvalidArgumentError(Reason.INVALID_TAG_RULE, "invalid tag rule: a-b=c"),
            "Invalid tag matching rule: Invalid tag match rule: a-b=c",
        ),
        (
            FailedPreconditionError(Reason.TOO_MANY_VOLUMES, "full", volume_count=9, limit=9),
            "Cluster has 9 volumes and limit is 9",
        ),
        (FailedPreconditionError(Reason.TOO_MANY_VOLUMES, "it is full"), "it is full"),
        (
            InvalidArgumentError(
                Reason.AVERAGE_FILE_SIZE_TOO_LARGE, "x", average_file_size_bytes=9216, brick_size_bytes=8192
            ),
            "Average file size (9) is greater than Brick size (8)",
        ),
        (
            ResourceExhaustedError(
                Reason.NO_ELIGIBLE_CLUSTER,
                "why",
                stage="eligibility",
                clusters='{"b":{"reason":"CLUSTER_LACKS_VOLUME_TYPE","message":"m"},'
                '"a":{"reason":"VOLUME_NAME_IN_USE","message":"m","name":"v1"}}',
            ),
            (
                "No eligible cluster for volume\nCluster a: Volume name 'v1' already in use\n"
                "Cluster b: Cluster does not support requested volume type\nwhy"
            ),
        ),
        (
            ResourceExhaustedError(
                Reason.NO_ELIGIBLE_CLUSTER,
                "why",
                stage="placement",
                clusters='{"a":{"reason":"NO_SPACE","message":"m"},"b":{"reason":"NEW_REASON","message":"full moon"}}',
            ),
            "Unable to create volume on any cluster:\nCluster a: No space\nCluster b: full moon\nwhy",
        ),
        (
            ResourceExhaustedError(Reason.NO_ELIGIBLE_CLUSTER, "why", clusters='{"a":{"rea...'),
            "No eligible cluster for volume\nwhy",
        ),
    ],
)
def test_volumes_that_find_no_place(client: Client, use_cases: FakeUseCases, error: BrickyardError, text: str) -> None:
    use_cases.failures["create_volume"] = error
    answer = client.post("/volumes", '{"size":1}')
    assert (answer.status_code, answer.text) == (500, f"{ALLOCATE}{text}\n")
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FailedPreconditionError(Reason.NO_CLUSTERS, "there is none"), "No clusters configured"),
        (NotFoundError(Reason.CLUSTER_NOT_FOUND, "x", cluster_id="abc"), "Cluster id abc not found"),
        (NotFoundError(Reason.CLUSTER_NOT_FOUND, "no cluster abc"), "no cluster abc"),
        (InvalidArgumentError(Reason.VOLUME_TOO_SMALL, "too small"), "too small"),
        (InvalidArgumentError(Reason.INVALID_ARGUMENT, "options: must be one line"), "options: must be one line"),
    ],
)
def test_volumes_that_are_refused_by_the_use_case(
    client: Client, use_cases: FakeUseCases, error: BrickyardError, text: str
) -> None:
    use_cases.failures["create_volume"] = error
    answer = client.post("/volumes", '{"size":1}')
    assert (answer.status_code, answer.text) == (400, f"{text}\n")


def test_a_busy_server_says_when_to_come_again(client: Client, use_cases: FakeUseCases) -> None:
    error = ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "8 operations are in flight", in_flight=8)
    for method, path, name in (
        ("POST", "/volumes", "create_volume"),
        ("DELETE", f"/volumes/{ABSENT}", "delete_volume"),
    ):
        use_cases.failures[name] = error
        answer = client.send(method, path, '{"size":1}')
        assert (answer.status_code, answer.text) == (429, "Server busy. Retry operation later.\n")
        assert int(answer.headers["retry-after"]) > 0


def test_targets_of_other_operations(client: Client, use_cases: FakeUseCases) -> None:
    text = "The target exists, contains other items, or is in use."
    busy = FailedPreconditionError(Reason.TARGET_BUSY, "operation x holds it")
    use_cases.failures["delete_volume"] = busy
    answer = client.delete(f"/volumes/{ABSENT}")
    assert (answer.status_code, answer.text) == (500, f"Failed to set up volume delete: {text}\n")
    use_cases.failures["delete_node"] = busy
    answer = client.delete(f"/nodes/{ABSENT}")
    assert (answer.status_code, answer.text) == (409, f"{text}\n")


def test_the_volume_of_heketis_database_stays(client: Client, use_cases: FakeUseCases) -> None:
    cluster_of_three(client)
    made = volume(client, name="heketidbstorage")
    answer = client.delete(f"/volumes/{made}")
    assert (answer.status_code, answer.text) == (409, "Cannot delete volume containing the Heketi database\n")
    assert made in use_cases.volumes


def test_too_many_tags_after_an_update(client: Client) -> None:
    made = node(client, cluster(client))
    many = {f"k{number}": "v" for number in range(32)}
    assert client.post(f"/nodes/{made}/tags", json.dumps({"tags": many, "change_type": "set"})).status_code == 200
    answer = client.post(f"/nodes/{made}/tags", '{"tags":{"more":""},"change_type":"update"}')
    assert answer.status_code == 400
    assert answer.text == "validation failed: tags: too many tags specified (33), up to 32 supported.\n"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (
            UnavailableError(Reason.UNAVAILABLE, "topology is away"),
            503,
            "Service not available, repeat the request later: topology is away",
        ),
        (
            TimeLimitError(Reason.DEADLINE_EXCEEDED, "late"),
            503,
            "Service not available, repeat the request later: late",
        ),
        (
            AbortedError(Reason.PLAN_OUTDATED, "again"),
            503,
            "Service not available, repeat the request later: again",
        ),
        (UnavailableError(Reason.AGENT_UNREACHABLE, "the agent of node a is away"), 500, "the agent of node a is away"),
        (TimeLimitError(Reason.COMMAND_TIMED_OUT, "gluster took too long"), 500, "gluster took too long"),
        (UnimplementedError(Reason.NOT_SUPPORTED_YET, "not yet"), 501, "not yet"),
        (InternalError(Reason.INTERNAL, "a command failed"), 500, "a command failed"),
        (PermissionDeniedError(Reason.ROLE_NOT_ALLOWED, "gateways may not"), 500, "gateways may not"),
        (AlreadyExistsError(Reason.REQUEST_ID_REUSED, "used for something else"), 409, "used for something else"),
        (FailedPreconditionError(Reason.DEVICE_STATE_CONFLICT, "must be offline"), 500, "must be offline"),
    ],
)
def test_other_errors(client: Client, use_cases: FakeUseCases, error: BrickyardError, status: int, text: str) -> None:
    use_cases.failures["list_volumes"] = error
    answer = client.get("/volumes")
    assert (answer.status_code, answer.text) == (status, f"{text}\n")
    assert ("retry-after" in answer.headers) == (status == 503)


def test_every_error_class_and_reason_has_an_answer() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BrickyardError)]
    assert len(classes) > 10
    for kind in classes:
        for reason in Reason:
            for action in Action:
                refused = refused_by(kind(reason, "what happened"), action, ABSENT)
                assert 400 <= refused.status <= 599
                assert refused.text


# --- through the queue ------------------------------------------------------------------------------------------------


def test_state_conflicts_come_through_the_queue(client: Client) -> None:
    node_id = node(client, cluster(client))
    device_id = device(client, node_id)

    def outcome(path: str, state: str) -> tuple[int, str]:
        answer = client.post(f"{path}/state", json.dumps({"state": state}))
        assert answer.status_code == 202
        polled = client.get(answer.headers["location"])
        return polled.status_code, polled.text

    assert outcome(f"/nodes/{node_id}", "failed") == (
        500,
        f"Node must be offline before remove operation is performed, node:{node_id}\n",
    )
    assert outcome(f"/devices/{device_id}", "failed") == (
        500,
        f"Device must be offline before remove operation is performed, device:{device_id}\n",
    )
    for path, kind in ((f"/nodes/{node_id}", "node"), (f"/devices/{device_id}", "device")):
        assert outcome(path, "offline") == (204, "")
        assert outcome(path, "failed") == (204, "")
        assert outcome(path, "online") == (500, f"Cannot move a failed/removed {kind} to online state\n")


def failed(spec: operation_pb2.OperationSpec, reason: str, message: str, **metadata: str) -> str:
    error = operation_pb2.OperationError(reason=reason, message=message, metadata=metadata)
    return failure_text(operation_pb2.Operation(spec=spec, error=error))


def test_texts_of_failed_operations() -> None:
    add = operation_pb2.OperationSpec()
    add.add_device.device.path = "/dev/sdb"
    assert (
        failed(add, "DEVICE_IN_USE", "it has a filesystem")
        == "Initializing device /dev/sdb failed (already initialized or contains data?): it has a filesystem"
    )
    assert failed(add, "LVM_FAILED", "pvcreate: no").startswith("Initializing device /dev/sdb failed (")
    unsafe = (
        "Can not destroy device, destroy may not be safe: Initializing device /dev/sdb failed (aleady contains ...)"
    )
    assert failed(add, "DEVICE_IN_USE", unsafe) == unsafe
    assert failed(add, "DEVICE_ALREADY_KNOWN", "x", device_id="abc") == "Device already in use (ID: abc)"
    assert failed(add, "AGENT_UNREACHABLE", "node a is away") == "node a is away"

    empty_device = operation_pb2.OperationSpec()
    empty_device.set_device_state.device_id = "dd"
    first = (
        "Unable to delete device [dd] as no device was found to replace it: "
        "No Replacement was found for resource requested to be removed"
    )
    assert failed(empty_device, "REPLACEMENT_NOT_FOUND", "all are full") == f"{first}\nall are full"
    empty_node = operation_pb2.OperationSpec()
    empty_node.set_node_state.node_id = "nn"
    assert failed(empty_node, "REPLACEMENT_NOT_FOUND", "", device_id="dd") == (
        "Unable to remove node [nn] as no device was found to replace device [dd]"
    )
    create = operation_pb2.OperationSpec()
    create.create_volume.volume.id = "vv"
    assert failed(create, "GLUSTER_FAILED", "volume create: vol: failed") == "volume create: vol: failed"
    assert failed(create, "TARGET_BUSY", "x") == "The target exists, contains other items, or is in use."
    assert failed(create, "INTERNAL", "") == "the operation failed: INTERNAL"
