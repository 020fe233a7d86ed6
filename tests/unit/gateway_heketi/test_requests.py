"""What the face makes of HTTP: bodies, ids of requests, faults of our own, and what reaches the use cases."""

import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from brickyard.topology.v1 import device_pb2, node_pb2, volume_pb2
from gateway.heketi.app import build_app
from gateway.heketi.settings import HeketiSettings
from gateway.usecases import NewDevice, NewNode, NewVolume
from services.common.context import request_id
from services.common.ids import is_id
from services.common.units import GIB
from tests.unit.gateway_heketi.client import Client, make_token
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster, cluster_of_three, device, node

ABSENT = "0123456789abcdef0123456789abcdef"
OPEN = HeketiSettings(auth_enabled=False)


def last_call(use_cases: FakeUseCases, method: str) -> tuple[Any, str | None]:
    found = [(argument, key) for name, argument, key in use_cases.calls if name == method]
    return found[-1]


def test_a_request_id_of_the_right_form_is_kept(client: Client) -> None:
    answer = client.send("GET", "/clusters", headers={"X-Request-Id": ABSENT})
    assert answer.headers["x-request-id"] == ABSENT
    for given in ("", "short", ABSENT.upper()):
        made = client.send("GET", "/clusters", headers={"X-Request-Id": given}).headers["x-request-id"]
        assert is_id(made)


def test_the_use_cases_run_under_the_request_id(client: Client, use_cases: FakeUseCases) -> None:
    seen: list[str] = []
    plain = use_cases.list_clusters

    async def noting() -> Any:
        seen.append(request_id())
        return await plain()

    use_cases.list_clusters = noting  # type: ignore[method-assign]
    assert client.send("GET", "/clusters", headers={"X-Request-Id": ABSENT}).status_code == 200
    assert seen == [ABSENT]


def test_an_idempotency_key_reaches_every_change(client: Client, use_cases: FakeUseCases) -> None:
    headers = {"Idempotency-Key": "my-key-1"}
    made = client.send("POST", "/clusters", "{}", headers=headers).json()["id"]
    node_id = node(client, made)
    device_id = device(client, node_id)
    hosts = {"manage": ["m"], "storage": ["s"]}
    for method, path, body, call in (
        ("POST", "/nodes", {"zone": 1, "hostnames": hosts, "cluster": made}, "add_node"),
        ("POST", "/devices", {"name": "/dev/x", "node": node_id}, "add_device"),
        ("POST", f"/nodes/{node_id}/state", {"state": "online"}, "set_node_state"),
        ("POST", f"/devices/{device_id}/state", {"state": "offline"}, "set_device_state"),
        ("POST", "/volumes", {"size": 1}, "create_volume"),
        ("DELETE", f"/devices/{device_id}", None, "delete_device"),
        ("DELETE", f"/nodes/{node_id}", None, "delete_node"),
        ("DELETE", f"/volumes/{ABSENT}", None, "delete_volume"),
    ):
        client.send(method, path, json.dumps(body) if body else None, headers=headers)
        assert last_call(use_cases, call)[1] == "my-key-1"
    assert last_call(use_cases, "create_cluster")[1] == "my-key-1"
    client.post("/clusters", "{}")
    assert last_call(use_cases, "create_cluster")[1] is None


def test_a_node_as_the_use_case_gets_it(client: Client, use_cases: FakeUseCases) -> None:
    made = cluster(client)
    body = {"Zone": 3, "hostnames": {"manage": ["m", "n"], "storage": ["s"]}, "cluster": made, "tags": {"a": "b"}}
    assert client.post("/nodes", json.dumps(body)).status_code == 202
    expected = NewNode(cluster_id=made, zone=3, manage_hostnames=("m", "n"), storage_hostnames=("s",), tags={"a": "b"})
    assert last_call(use_cases, "add_node")[0] == expected


def test_a_device_as_the_use_case_gets_it(client: Client, use_cases: FakeUseCases) -> None:
    made = node(client, cluster(client))
    body = {"name": "/dev/sdb", "node": made, "destroydata": True, "tags": {"a": "b"}}
    assert client.post("/devices", json.dumps(body)).status_code == 202
    expected = NewDevice(node_id=made, path="/dev/sdb", tags={"a": "b"}, destroy_data=True)
    assert last_call(use_cases, "add_device")[0] == expected


def test_a_volume_as_the_use_case_gets_it(client: Client, use_cases: FakeUseCases) -> None:
    made, _, _ = cluster_of_three(client)
    body = {
        "size": 7,
        "name": "v_1-x",
        "clusters": [made],
        "durability": {"type": "replicate", "replicate": {"replica": 3}, "disperse": {"data": 4, "redundancy": 2}},
        "gid": 2147483646,
        "glustervolumeoptions": ["a b", "c d"],
        "block": True,
        "snapshot": {"enable": True, "factor": 1.5},
    }
    assert client.post("/volumes", json.dumps(body)).status_code == 202
    assert last_call(use_cases, "create_volume")[0] == NewVolume(
        size_bytes=7 * GIB,
        name="v_1-x",
        cluster_ids=(made,),
        durability=volume_pb2.Durability(
            type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3, data_count=4, redundancy_count=2
        ),
        gid=2147483646,
        options=("a b", "c d"),
        block=True,
        snapshot_enabled=True,
        snapshot_factor=1.5,
    )
    assert client.post("/volumes", '{"size":1}').status_code == 202
    assert last_call(use_cases, "create_volume")[0] == NewVolume(size_bytes=GIB)


def test_states_as_the_use_case_gets_them(client: Client, use_cases: FakeUseCases) -> None:
    _, nodes, devices = cluster_of_three(client)
    client.post(f"/nodes/{nodes[0]}/state", '{"state":"offline","healcheck":"disable"}')
    assert last_call(use_cases, "set_node_state")[0] == (nodes[0], node_pb2.NODE_STATE_OFFLINE, True)
    client.post(f"/devices/{devices[0]}/state", '{"state":"failed","healcheck":"enable"}')
    assert last_call(use_cases, "set_device_state")[0] == (devices[0], device_pb2.DEVICE_STATE_FAILED, False)


@pytest.mark.parametrize(
    ("body", "status", "forced"),
    [(None, 202, False), ("{}", 202, False), ('{"ForceForget":true}', 202, True), ("nonsense", 422, None)],
)
def test_the_body_of_a_device_delete_is_optional(
    client: Client, use_cases: FakeUseCases, body: str | None, status: int, forced: bool | None
) -> None:
    made = device(client, node(client, cluster(client)))
    use_cases.devices[made].state = device_pb2.DEVICE_STATE_FAILED
    assert client.delete(f"/devices/{made}", body).status_code == status
    calls = [argument for name, argument, _ in use_cases.calls if name == "delete_device"]
    assert calls == ([] if forced is None else [(made, forced)])


async def chunked(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_a_chunked_body_is_read_but_for_a_device_delete(client: Client, use_cases: FakeUseCases) -> None:
    answer = client.send("POST", "/clusters", chunked(b'{"fi', b'le":true}'))  # type: ignore[arg-type]
    assert answer.json()["file"] is True
    made = device(client, node(client, cluster(client)))
    use_cases.devices[made].state = device_pb2.DEVICE_STATE_FAILED
    assert client.send("DELETE", f"/devices/{made}", chunked(b"nonsense")).status_code == 202  # type: ignore[arg-type]


def test_bodies_of_reads_and_deletes_are_ignored(client: Client) -> None:
    made = cluster(client)
    assert client.send("GET", "/clusters", "{}").json() == {"clusters": [made]}
    assert client.send("GET", f"/clusters/{made}", "nonsense").status_code == 200
    assert client.delete(f"/clusters/{made}", "{}").status_code == 200


def test_the_type_of_a_body_does_not_matter(client: Client) -> None:
    for kind in ("text/plain", "application/xml", "nonsense"):
        assert client.send("POST", "/clusters", "{}", headers={"Content-Type": kind}).status_code == 201


def test_bodies_have_a_limit(use_cases: FakeUseCases) -> None:
    with Client(build_app(use_cases, HeketiSettings(auth_enabled=False, max_body_bytes=20))) as client:
        fits = b'{"file":true}' + b" " * 7
        assert client.post("/clusters", fits).status_code == 201
        for body in (fits + b" ", chunked(fits, b" ")):
            answer = client.post("/clusters", body)  # type: ignore[arg-type]
            assert (answer.status_code, answer.text) == (413, "request body is larger than 20 bytes\n")


def test_our_own_faults_are_answered_without_details(client: Client, use_cases: FakeUseCases) -> None:
    use_cases.crashes["list_clusters"] = ZeroDivisionError("secret detail")
    answer = client.send("GET", "/clusters", headers={"X-Request-Id": ABSENT})
    assert answer.status_code == 500
    assert answer.text == f"internal error; the gateway's log has the details under request id {ABSENT}\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert client.get("/clusters").status_code == 200


def scope(method: str, path: str, **headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def test_nobody_is_answered_who_has_gone(client: Client, use_cases: FakeUseCases) -> None:
    sent: list[Any] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    app = build_app(use_cases, OPEN)
    client.run(app(scope("POST", "/clusters"), receive, send))
    assert sent == []
    assert use_cases.calls == []


def test_lifespan_is_answered_and_other_protocols_are_not_served(client: Client, use_cases: FakeUseCases) -> None:
    given = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(given)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    app = build_app(use_cases, OPEN)
    client.run(app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(ValueError, match="websocket is not served"):
        client.run(app({"type": "websocket"}, receive, send))


def test_every_answer_has_its_length_but_204(client: Client) -> None:
    for path in ("/clusters", "/nothing", "/hello"):
        answer = client.get(path)
        assert int(answer.headers["content-length"]) == len(answer.content)
    token = make_token("PUT", "/clusters")
    assert client.send("PUT", "/clusters", token=token).headers["content-length"] == "0"
