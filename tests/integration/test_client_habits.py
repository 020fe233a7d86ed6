"""What Heketi's clients do on the wire, over real sockets: each habit as the client has it."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.stack import ON_SQLITE, Stack, wait_until
from tests.integration.wire import Reply, Wire, token
from tests.integration.world import World, node_body

pytestmark = ON_SQLITE
# Of the Go client, for a busy server.
_RETRIES = 6


@pytest.fixture
def wire(stack: Stack) -> Iterator[Wire]:
    connection = Wire(stack.gateway.addresses[0])
    yield connection
    connection.close()


class PythonClient:
    """As heketi's own: `{}` on every request, no Content-Type, tokens that live a second, Location glued to the URL."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def call(self, method: str, path: str, body: Any = None) -> Reply:
        sent = json.dumps({} if body is None else body).encode()
        authorization = f"bearer {token(method, path, lives_s=1)}"
        return self._wire.ask(method, path, sent, "Accept: */*", authorization=authorization)

    def made(self, method: str, path: str, body: Any = None) -> Reply:
        """A change to its end; the client looks whether X-Pending is there, not what it says."""
        answer = self.call(method, path, body)
        if answer.status != 202:
            return answer
        location = answer.headers["location"]
        page = f'<a href="{location}">Accepted</a>.\n\n' if method == "GET" else ""
        assert (answer.text, answer.headers["content-length"]) == (page, str(len(page)))
        assert location.startswith("/")
        answer = self.call("GET", location)
        while "x-pending" in answer.headers:
            assert (answer.status, answer.headers["x-pending"], answer.body) == (200, "true", b"")
            answer = self.call("GET", location)
        if answer.status == 303:
            assert answer.headers["location"].startswith("/")
            return self.call("GET", answer.headers["location"])
        return answer


def test_the_python_client_lives_a_whole_life(wire: Wire, stack: Stack) -> None:
    client = PythonClient(wire)
    cluster = client.call("POST", "/clusters").json()
    # Without options it makes a cluster with both flags false, and takes volumes after the flags are set.
    assert (cluster["file"], cluster["block"]) == (False, False)
    flags = client.call("POST", f"/clusters/{cluster['id']}/flags", {"file": True, "block": True})
    assert (flags.status, flags.body) == (200, b"")
    nodes = [client.made("POST", "/nodes", node_body(cluster["id"], each)).json() for each in stack.fresh_nodes(3)]
    for node in nodes:
        assert client.made("POST", "/devices", {"name": "/dev/sdb", "node": node["id"]}).status == 204
    shown = client.call("GET", f"/nodes/{nodes[0]['id']}").json()
    device = shown["devices"][0]["id"]
    for state in ("offline", "online"):
        assert client.made("POST", f"/devices/{device}/state", {"state": state}).status == 204
        assert client.made("POST", f"/nodes/{nodes[0]['id']}/state", {"state": state}).status == 204
    assert client.made("GET", f"/devices/{device}/resync").status == 204
    body = {"size": 2, "durability": {"type": "replicate", "replicate": {"replica": 3}}, "clusters": [cluster["id"]]}
    volume = client.made("POST", "/volumes", body).json()
    assert client.made("POST", f"/volumes/{volume['id']}/expand", {"expand_size": 1}).json()["size"] == 3
    assert volume["id"] in client.call("GET", "/volumes").json()["volumes"]
    assert client.made("DELETE", f"/volumes/{volume['id']}").status == 204
    for node in nodes:
        device = client.call("GET", f"/nodes/{node['id']}").json()["devices"][0]["id"]
        for state in ("offline", "failed"):
            assert client.made("POST", f"/devices/{device}/state", {"state": state}).status == 204
        assert client.made("DELETE", f"/devices/{device}").status == 204
        assert client.made("DELETE", f"/nodes/{node['id']}").status == 204
    gone = client.call("DELETE", f"/clusters/{cluster['id']}")
    assert (gone.status, gone.body) == (200, b"")
    unknown = client.call("GET", f"/clusters/{cluster['id']}")
    assert (unknown.status, unknown.text) == (404, "Id not found\n")


def test_a_token_of_one_second_may_come_a_second_late(wire: Wire) -> None:
    def asked(late_s: int) -> Reply:
        return wire.ask(
            "GET", "/clusters", authorization=f"bearer {token('GET', '/clusters', born_s=-late_s, lives_s=1)}"
        )

    assert asked(2).status == 200
    refused = asked(60)
    assert (refused.status, refused.text.split(" by ")[0]) == (401, "Invalid JWT token: Token is expired")


def test_clocks_that_differ(wire: Wire) -> None:
    def asked(ahead_s: int) -> Reply:
        return wire.ask("GET", "/clusters", authorization=f"bearer {token('GET', '/clusters', born_s=ahead_s)}")

    assert asked(100).status == 200
    refused = asked(180)
    told = "Invalid JWT token: Token used before issued (client and server clocks may differ)\n"
    assert (refused.status, refused.text) == (401, told)


def test_redirects_are_followed_with_a_new_token(world: World, wire: Wire) -> None:
    """The Go client: the token of a followed request is made for the new path; the old one is worth nothing there."""
    cluster = world.cluster(3)
    slash = "/clusters/"
    moved = wire.ask("GET", slash, authorization=f"bearer {token('GET', slash)}")
    assert (moved.status, moved.headers["location"], moved.text) == (
        301,
        "/clusters",
        '<a href="/clusters">Moved Permanently</a>.\n\n',
    )
    assert wire.ask("GET", "/clusters", authorization=f"bearer {token('GET', slash)}").status == 401
    assert wire.ask("GET", "/clusters", authorization=f"bearer {token('GET', '/clusters')}").status == 200
    body = json.dumps(cluster.volume_body(1)).encode()
    accepted = wire.ask("POST", "/volumes", body, authorization=f"bearer {token('POST', '/volumes')}")
    queue = accepted.headers["location"]
    answer = wait_until(
        lambda: next(
            (
                each
                for each in [wire.ask("GET", queue, authorization=f"bearer {token('GET', queue)}")]
                if each.headers.get("x-pending") != "true"
            ),
            None,
        ),
        "the end of the queue entry",
    )
    assert answer is not None
    target = answer.headers["location"]
    assert (answer.status, answer.text) == (303, f'<a href="{target}">See Other</a>.\n\n')
    assert wire.ask("GET", target, authorization=f"bearer {token('GET', queue)}").text == "Invalid qsh claim in token\n"
    shown = wire.ask("GET", target, authorization=f"bearer {token('GET', target)}")
    assert (shown.status, shown.headers["content-type"]) == (200, "application/json; charset=UTF-8")


def test_six_retries_of_a_busy_server(world: World, stack: Stack) -> None:
    """The Go client honours Retry-After and gives up after its sixth try; a refusal must leave nothing behind."""
    cluster = world.cluster(3)
    body = json.dumps(cluster.volume_body(1)).encode()
    held_up = {"command": "verb CreateVolume", "action": "stall", "stall_s": 1.5, "times": 1}
    with stack.extra_gateway("--max-inflight-operations", "1") as gateway, stack.fault(held_up):
        wire = Wire(gateway.addresses[0])

        def asked() -> Reply:
            return wire.ask("POST", "/volumes", body, authorization=f"bearer {token('POST', '/volumes')}")

        first = world.begun(cluster, gateway=gateway, size=1)
        world.await_step(first, "create volume")
        for _ in range(_RETRIES):
            busy = asked()
            assert (busy.status, busy.text) == (429, "Server busy. Retry operation later.\n")
            assert 1 <= int(busy.headers["retry-after"]) <= 30
        stack.stubs().ended(first)
        accepted = asked()
        assert accepted.status == 202
        stack.stubs().ended(accepted.headers["location"].removeprefix("/queue/"))
        wire.close()
    volumes = world.rest.json(f"/clusters/{cluster.id}")["volumes"]
    assert len(volumes) == 2
    for volume in volumes:
        assert world.rest.change("DELETE", f"/volumes/{volume}").status_code == 204
    cluster.assert_untouched()


def test_the_provisioner_of_kubernetes(world: World, wire: Wire) -> None:
    """The in-tree glusterfs provisioner of Kubernetes: create, endpoints, expand by the delta, delete by name."""
    cluster = world.cluster(3)

    def call(method: str, path: str, body: Any = None) -> Reply:
        sent = b"" if body is None else json.dumps(body).encode()
        headers = ["Content-Type: application/json"] if sent else []
        return wire.ask(method, path, sent, *headers, authorization=f"bearer {token(method, path)}")

    def followed(method: str, path: str, body: Any = None) -> Reply:
        answer = call(method, path, body)
        assert answer.status == 202, answer.text
        location = answer.headers["location"]
        for _ in itertools.count():
            answer = call("GET", location)
            if answer.headers.get("x-pending") != "true":
                return call("GET", answer.headers["location"]) if answer.status == 303 else answer
            time.sleep(0.01)  # the queue cannot be waited for otherwise
        raise AssertionError

    request = {
        "size": 2,
        "name": "",
        "durability": {"type": "replicate", "replicate": {"replica": 3}, "disperse": {}},
        "gid": 2001,
        "glustervolumeoptions": ["client.ssl on", "server.ssl on"],
        "clusters": [cluster.id],
        "snapshot": {"enable": True, "factor": 1.0},
    }
    volume = followed("POST", "/volumes", request).json()
    assert volume["name"] == f"vol_{volume['id']}"
    assert (volume["size"], volume["cluster"], volume["gid"]) == (2, cluster.id, 2001)
    assert volume["snapshot"] == {"enable": True, "factor": 1}
    # The endpoints: all storage names of a node joined are its one address.
    members = call("GET", f"/clusters/{cluster.id}").json()["nodes"]
    addresses = {"".join(call("GET", f"/nodes/{each}").json()["hostnames"]["storage"]) for each in members}
    assert addresses == {f"10.0.0.{number}" for number in cluster.numbers}
    # Expanding to 5 GiB: what is missing, and the size in the answer is trusted.
    size = call("GET", f"/volumes/{volume['id']}").json()["size"]
    assert followed("POST", f"/volumes/{volume['id']}/expand", {"expand_size": 5 - size}).json()["size"] == 5
    assert call("GET", f"/volumes/{volume['id']}").json()["size"] == 5
    # The largest group id that the provisioner hands out is refused by Heketi too.
    refused = call("POST", "/volumes", {**request, "gid": 2147483647})
    assert (refused.status, refused.text) == (400, "Bad group id equal or greater than 2**32\n")
    # Deleting finds the volume by its name; a second time, 404 is an error to the provisioner.
    found = volume["name"].removeprefix("vol_")
    assert followed("DELETE", f"/volumes/{found}").status == 204
    again = call("DELETE", f"/volumes/{found}")
    assert (again.status, again.text) == (404, "Id not found\n")
    cluster.assert_untouched()


def test_old_and_odd_connections(wire: Wire) -> None:
    hello = "Hello from Heketi"
    # Probes and load balancers speak HTTP/1.0, and close.
    old = wire.send(b"GET /hello HTTP/1.0\r\n\r\n")
    assert (old.status, old.text, old.headers["content-type"]) == (200, hello, "text/plain; charset=UTF-8")
    again = wire.ask("GET", "/hello", b"{}")
    assert (again.status, again.text) == (200, hello)
    # A body in chunks, and one that waits to be asked for.
    authorization = f"Authorization: bearer {token('POST', '/clusters')}"
    head = f"POST /clusters HTTP/1.1\r\nHost: x\r\n{authorization}\r\nTransfer-Encoding: chunked\r\n\r\n"
    made = wire.send(head.encode() + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", method="POST")
    assert made.status == 201
    head = f"POST /clusters HTTP/1.1\r\nHost: x\r\n{authorization}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert wire.send(head.encode() + b"{}", method="POST").status in {100, 201}
    wire.close()


def test_a_body_beyond_the_limit_is_refused_politely(wire: Wire) -> None:
    def asked(size: int) -> Reply:
        body = b'{"name":"' + b"x" * (size - 11) + b'"}'
        return wire.ask("POST", "/volumes", body, authorization=f"bearer {token('POST', '/volumes')}")

    assert asked(1 << 20).status == 400
    refused = asked((1 << 20) + 1)
    assert refused.status == 413
    assert refused.text.endswith("\n")
    # The connection, or a new one, goes on.
    wire.close()
    assert wire.ask("GET", "/hello").status == 200
