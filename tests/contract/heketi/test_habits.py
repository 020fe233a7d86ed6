"""What clients of Heketi do and rely on, one habit a test, without a socket."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.contract.heketi.conftest import KEYS
from tests.contract.heketi.replay import Stack, make_token

ABSENT = "0123456789abcdef0123456789abcdef"
ADMIN_ONLY = (401, "Administrator access required\n")


class Caller:
    """Sends requests with a token of one of the roles."""

    def __init__(self, stack: Stack, runner: asyncio.Runner) -> None:
        self._stack = stack
        self._runner = runner

    def ask(self, method: str, path: str, body: Any = None, *, role: str = "admin", **headers: str) -> httpx.Response:
        sent = {"Authorization": f"bearer {make_token(role, KEYS[role], method, path)}", **headers}
        content = None if body is None else json.dumps(body)
        return self._runner.run(self._stack.http.request(method, path, content=content, headers=sent))

    def ended(self, answer: httpx.Response) -> httpx.Response:
        """The last answer of the queue."""
        assert answer.status_code == 202, answer.text
        while "x-pending" in (polled := self.ask("GET", answer.headers["location"])).headers:
            assert polled.headers["x-pending"] == "true"
        return polled

    def made(self, path: str, body: Any) -> Any:
        """What a change made, as the Location at its end shows it."""
        return self.ask("GET", self.ended(self.ask("POST", path, body)).headers["location"]).json()


@pytest.fixture
def caller(stack: Stack, runner: asyncio.Runner) -> Caller:
    return Caller(stack, runner)


def cluster_of(caller: Caller, nodes: int) -> str:
    cluster: str = caller.ask("POST", "/clusters", {"file": True, "block": True}).json()["id"]
    for number in range(nodes):
        hosts = {"manage": [f"node{number}.example"], "storage": [f"10.0.0.{number + 1}"]}
        node = caller.made("/nodes", {"zone": number + 1, "hostnames": hosts, "cluster": cluster})["id"]
        assert caller.ended(caller.ask("POST", "/devices", {"name": "/dev/vdb", "node": node})).status_code == 204
    return cluster


# Tokens


@pytest.mark.parametrize("around", ["{} ", "{}\t", " {}", " \t{} \t "])
def test_blanks_around_a_header_are_not_part_of_it(caller: Caller, around: str) -> None:
    header = around.format(f"bearer {make_token('admin', KEYS['admin'], 'GET', '/clusters')}")
    assert caller.ask("GET", "/clusters", Authorization=header).status_code == 200


def test_a_scheme_with_nothing_behind_it(caller: Caller) -> None:
    answer = caller.ask("GET", "/clusters", Authorization="bearer ")
    assert (answer.status_code, answer.text) == (400, "Authorization header format must be Bearer {token}\n")


@pytest.mark.parametrize("path", ["/hello", "/openapi.json"])
def test_open_paths_do_not_look_at_tokens(caller: Caller, path: str) -> None:
    assert caller.ask("GET", path, Authorization="bearer nonsense").status_code == 200
    assert caller.ask("POST", path, Authorization="bearer nonsense").status_code == 401


def test_unknown_paths_and_profiles_need_a_token_first(caller: Caller, stack: Stack, runner: asyncio.Runner) -> None:
    for path in ("/nothing", "/debug/pprof/heap", "/"):
        bare = runner.run(stack.http.get(path))
        assert (bare.status_code, bare.text) == (401, "Required authorization token not found\n")
        known = caller.ask("GET", path)
        assert (known.status_code, known.text) == (404, "Invalid path or request\n")


def test_the_user_role_begins_what_it_can_not_follow(caller: Caller) -> None:
    cluster_of(caller, 2)
    begun = caller.ask("POST", "/volumes", {"size": 1}, role="user")
    assert begun.status_code == 202
    refused = caller.ask("GET", begun.headers["location"], role="user")
    assert (refused.status_code, refused.text) == ADMIN_ONLY
    volume = caller.ended(begun).headers["location"]
    refused = caller.ask("DELETE", volume, role="user")
    assert (refused.status_code, refused.text) == ADMIN_ONLY
    assert caller.ask("GET", "/volumes", role="user").json() == {"volumes": [volume.removeprefix("/volumes/")]}


# The queue


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_the_queue_is_only_looked_at(caller: Caller, method: str) -> None:
    answer = caller.ask(method, f"/queue/{ABSENT}")
    assert (answer.status_code, answer.content) == (405, b"")
    assert "content-type" not in answer.headers
    assert "allow" not in answer.headers


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"/queue/{ABSENT}", "Id not found"),
        (f"/queue/{ABSENT.upper()}", "Id not found"),
        ("/queue/xyz", "Invalid path or request"),
        ("/queue", "Invalid path or request"),
    ],
)
def test_queue_entries_that_do_not_exist(caller: Caller, path: str, text: str) -> None:
    answer = caller.ask("GET", path)
    assert (answer.status_code, answer.text) == (404, f"{text}\n")


# Values


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (
            "/blockvolumes",
            {"size": -1, "hacount": -1, "name": "a.b"},
            "hacount: must be no less than 1; name: must be in a valid format; size: must be no less than 1.",
        ),
        ("/volumes", {"size": 1, "name": "n" * 256}, "name: the length must be no more than 255."),
        ("/blockvolumes", {"size": 1, "name": "n" * 256}, "name: the length must be no more than 255."),
        (f"/volumes/{ABSENT}/clone", {"name": "n" * 256}, "name: the length must be no more than 255."),
        (f"/bricks/to-evict/{ABSENT}", {"healcheck": "x"}, "healcheck: x is not valid heal info check."),
        ("/operations/pending/cleanup", {"operations": ["zz"]}, "operations: zz is not a valid UUID."),
        # Lengths are counted in characters, not in bytes.
        (
            "/devices",
            {"name": "/dev/vdb", "node": ABSENT, "tags": {"k": "\u00e9" * 65}},
            "tags: value of tag k: the length must be no more than 64.",
        ),
    ],
)
def test_values_that_are_refused(caller: Caller, path: str, body: Any, text: str) -> None:
    answer = caller.ask("POST", path, body)
    assert (answer.status_code, answer.text) == (400, f"validation failed: {text}\n")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_tags_of_64_characters_are_taken(caller: Caller) -> None:
    answer = caller.ask("POST", "/devices", {"name": "/dev/vdb", "node": ABSENT, "tags": {"k": "\u00e9" * 64}})
    assert (answer.status_code, answer.text) == (404, "Node id does not exist\n")


# Clients


def test_the_python_client_sends_an_empty_object_with_everything(caller: Caller) -> None:
    made = caller.ask("POST", "/clusters", {})
    assert (made.json()["file"], made.json()["block"]) == (False, False)
    cluster = made.json()["id"]
    for path in ("/clusters", f"/clusters/{cluster}", "/volumes", "/blockvolumes", "/operations", "/admin", "/hello"):
        assert caller.ask("GET", path, {}).status_code == 200
    assert caller.ask("DELETE", f"/devices/{ABSENT}", {}).text == "Id not found\n"
    gone = caller.ask("DELETE", f"/clusters/{cluster}", {})
    assert (gone.status_code, gone.content) == (200, b"")


def test_the_provisioner_asks_for_snapshots_of_factor_one(caller: Caller) -> None:
    cluster = cluster_of(caller, 3)
    body = {
        "size": 1,
        "name": "",
        "durability": {"type": "replicate", "replicate": {"replica": 3}, "disperse": {}},
        "gid": 2147483646,
        "clusters": [cluster],
        "snapshot": {"enable": True, "factor": 1.0},
    }
    volume = caller.made("/volumes", body)
    assert volume["snapshot"] == {"enable": True, "factor": 1}
    assert (volume["name"], volume["gid"]) == (f"vol_{volume['id']}", 2147483646)
    named = caller.made("/volumes", {**body, "name": "prefix_ns_pvc-1_0f4c"})
    assert named["name"] == "prefix_ns_pvc-1_0f4c"
    assert caller.made(f"/volumes/{volume['id']}/expand", {"expand_size": 2})["size"] == 3


def test_claims_that_nobody_needs_are_passed_over(caller: Caller) -> None:
    claims = {"aud": "x", "jti": "y", "sub": "z", "other": [1], "nbf": int(time.time())}
    token = make_token("admin", KEYS["admin"], "GET", "/clusters", **claims)
    assert caller.ask("GET", "/clusters", Authorization=f"bearer {token}").status_code == 200
