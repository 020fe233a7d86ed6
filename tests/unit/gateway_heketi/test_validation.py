import json
from typing import Any

import pytest

from tests.unit.gateway_heketi.client import Client
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster, cluster_of_three

ABSENT = "0123456789abcdef0123456789abcdef"
NODE = {"zone": 1, "hostnames": {"manage": ["m"], "storage": ["s"]}, "cluster": ABSENT}
DEVICE = {"name": "/dev/sdb", "node": ABSENT}


def refused(client: Client, path: str, body: dict[str, Any], status: int = 400) -> str:
    answer = client.post(path, json.dumps(body))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.endswith("\n")
    return answer.text[:-1]


@pytest.mark.parametrize(
    "path",
    [
        "/clusters",
        f"/clusters/{ABSENT}/flags",
        "/nodes",
        f"/nodes/{ABSENT}/state",
        f"/nodes/{ABSENT}/tags",
        "/devices",
        f"/devices/{ABSENT}/state",
        f"/devices/{ABSENT}/tags",
        "/volumes",
    ],
)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{}}"])
def test_bodies_that_can_not_be_parsed_come_first(client: Client, path: str, body: bytes) -> None:
    answer = client.post(path, body)
    assert (answer.status_code, answer.text) == (422, "request unable to be parsed\n")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/clusters", {"file": "yes"}),
        ("/nodes", {**NODE, "zone": "1"}),
        ("/nodes", {**NODE, "zone": 1.5}),
        ("/nodes", {**NODE, "hostnames": {"manage": "m"}}),
        ("/devices", {**DEVICE, "destroydata": 1}),
        (f"/nodes/{ABSENT}/state", {"state": 5}),
        (f"/nodes/{ABSENT}/tags", {"tags": {"a": 1}, "change_type": "set"}),
        ("/volumes", {"size": "10"}),
        ("/volumes", {"size": 10.5}),
        ("/volumes", {"size": 10, "durability": {"replicate": {"replica": "3"}}}),
        ("/volumes", {"size": 10, "clusters": "all"}),
    ],
)
def test_fields_of_the_wrong_type(client: Client, path: str, body: dict[str, Any]) -> None:
    assert refused(client, path, body, 422) == "request unable to be parsed"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"zone": 0}, "zone: cannot be blank."),
        ({"zone": -1}, "zone: must be no less than 1."),
        ({"zone": 2**31}, "zone: must be no greater than 2147483647."),
        ({"cluster": ""}, "cluster: cannot be blank."),
        ({"cluster": "xyz"}, "cluster: xyz is not a valid UUID."),
        ({"cluster": ABSENT + "\n"}, f"cluster: {ABSENT}\n is not a valid UUID."),
        ({"hostnames": {"manage": ["m"]}}, "hostnames: (storage: cannot be blank.)."),
        (
            {"hostnames": {"manage": ["a", "b c"], "storage": ["s"]}},
            "hostnames: (manage: [a b c] is not a valid manage hostname.).",
        ),
        (
            {"hostnames": {"manage": ["m"], "storage": [""]}},
            "hostnames: (storage: [] is not a valid storage hostname.).",
        ),
        (
            {"zone": 0, "cluster": "", "hostnames": {}},
            (
                "cluster: cannot be blank; hostnames: (manage: cannot be blank; storage: cannot be blank.); "
                "zone: cannot be blank."
            ),
        ),
        ({"tags": {"": "v"}}, "tags: tag names may not be empty."),
        ({"tags": {"k" * 33: "v"}}, f"tags: tag name {'k' * 33}: the length must be between 1 and 32."),
        ({"tags": {"k": "v" * 65}}, "tags: value of tag k: the length must be no more than 64."),
        ({"tags": {"bad key": "v"}}, "tags: invalid characters in tag name bad key."),
        ({"tags": {"k\n": "v"}}, "tags: invalid characters in tag name k\n."),
        ({"tags": {f"k{n}": "v" for n in range(33)}}, "tags: too many tags specified (33), up to 32 supported."),
    ],
)
def test_nodes(client: Client, changes: dict[str, Any], text: str) -> None:
    assert refused(client, "/nodes", {**NODE, **changes}) == f"validation failed: {text}"


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "999.1.1.1",
        "fe80::1",
        "::ffff:1.2.3.4",
        "a_b.c-d",
        "host.",
        "host_",
        "_x",
        "a" * 63,
        f"{'a' * 63}.{'b' * 63}",
    ],
)
def test_hosts_that_heketi_takes(client: Client, host: str) -> None:
    hosts = {"manage": [host], "storage": [host]}
    assert refused(client, "/nodes", {**NODE, "hostnames": hosts}, 404) == "Cluster id does not exist"


@pytest.mark.parametrize(
    "host",
    [
        "-a",
        "a..b",
        ".a",
        "a" * 64,
        "fe80::1%eth0",
        "[::1]",
        "a/b",
        "a:1",
        "host\n",
        "h\u00f6st",
        "a b",
        ".".join(["a" * 60] * 5),
        ".".join(["a" * 51] * 5),
    ],
)
def test_hosts_that_heketi_refuses(client: Client, host: str) -> None:
    text = refused(client, "/nodes", {**NODE, "hostnames": {"manage": [host], "storage": ["s"]}})
    assert text == f"validation failed: hostnames: (manage: [{host}] is not a valid manage hostname.)."


def test_an_upper_case_uuid_passes_and_is_found_nowhere(client: Client) -> None:
    upper = cluster(client).upper()
    assert refused(client, "/nodes", {**NODE, "cluster": upper}, 404) == "Cluster id does not exist"
    assert refused(client, "/devices", {**DEVICE, "node": "A" * 32}, 404) == "Node id does not exist"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": ""}, "name: cannot be blank."),
        ({"name": "sdb"}, "name: must be in a valid format."),
        ({"name": "/"}, "name: must be in a valid format."),
        ({"name": "/dev/sdb\n"}, "name: must be in a valid format."),
        ({"node": "xyz"}, "node: xyz is not a valid UUID."),
        ({"name": "", "node": ""}, "name: cannot be blank; node: cannot be blank."),
        ({"tags": {"": ""}}, "tags: tag names may not be empty."),
    ],
)
def test_devices(client: Client, changes: dict[str, Any], text: str) -> None:
    assert refused(client, "/devices", {**DEVICE, **changes}) == f"validation failed: {text}"


@pytest.mark.parametrize("kind", ["nodes", "devices"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "state: cannot be blank."),
        ({"state": "up"}, "state: up is not valid state."),
        ({"state": "Online"}, "state: Online is not valid state."),
        ({"state": "", "healcheck": "maybe"}, "healcheck: maybe is not valid heal info check."),
    ],
)
def test_states(client: Client, kind: str, body: dict[str, Any], text: str) -> None:
    assert refused(client, f"/{kind}/{ABSENT}/state", body) == f"validation failed: {text}"
    assert refused(client, f"/{kind}/{ABSENT}/state", {"state": "online"}, 404) == "Id not found"


@pytest.mark.parametrize("kind", ["nodes", "devices"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"tags": {}}, "change_type: cannot be blank."),
        ({"change_type": "add"}, "change_type: must be a valid value."),
        ({"change_type": "delete", "tags": {"a b": ""}}, "tags: invalid characters in tag name a b."),
        ({"tags": {"": ""}}, "change_type: cannot be blank; tags: tag names may not be empty."),
    ],
)
def test_tags(client: Client, kind: str, body: dict[str, Any], text: str) -> None:
    assert refused(client, f"/{kind}/{ABSENT}/tags", body) == f"validation failed: {text}"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"size": 0}, "validation failed: size: cannot be blank."),
        ({"size": -5}, "validation failed: size: must be no less than 1."),
        ({"size": 2**30 + 1}, "validation failed: size: must be no greater than 1073741824."),
        ({"name": "bad name!"}, "validation failed: name: must be in a valid format."),
        ({"name": "a.b"}, "validation failed: name: must be in a valid format."),
        ({"name": "a\n"}, "validation failed: name: must be in a valid format."),
        ({"name": "a" * 256}, "validation failed: name: the length must be no more than 255."),
        (
            {"name": "a.b", "size": 0},
            "validation failed: name: must be in a valid format; size: cannot be blank.",
        ),
        ({"gid": -1}, "Bad group id less than zero"),
        ({"gid": 2147483647}, "Bad group id equal or greater than 2**32"),
        ({"durability": {"type": "bogus"}}, "Unknown durability type"),
        ({"durability": {"type": "Replicate"}}, "Unknown durability type"),
        ({"snapshot": {"enable": True}}, "Invalid snapshot factor"),
        ({"snapshot": {"enable": True, "factor": 0.99}}, "Invalid snapshot factor"),
        ({"snapshot": {"enable": True, "factor": 100.1}}, "Invalid snapshot factor"),
        ({"durability": {"type": "replicate", "replicate": {"replica": 4}}}, "Invalid replica value"),
        ({"durability": {"type": "replicate", "replicate": {"replica": -1}}}, "Invalid replica value"),
        ({"durability": {"type": "none", "replicate": {"replica": -1}}}, "Invalid replica value"),
        ({"durability": {"type": "disperse"}}, "Invalid dispersion combination: 0+0"),
        (
            {"durability": {"type": "disperse", "disperse": {"data": 5, "redundancy": 1}}},
            "Invalid dispersion combination: 5+1",
        ),
        ({"durability": {"disperse": {"data": 2**31}}}, f"Invalid dispersion combination: {2**31}+0"),
    ],
)
def test_volumes(client: Client, use_cases: FakeUseCases, changes: dict[str, Any], text: str) -> None:
    assert refused(client, "/volumes", {"size": 10, **changes}) == text
    assert not [call for call in use_cases.calls if call[0] == "create_volume"]


def test_order_of_the_checks_of_a_volume(client: Client) -> None:
    """Each fault is told before the ones after it; taken away one by one."""
    body: dict[str, Any] = {
        "size": 3,
        "name": "a.b",
        "gid": -1,
        "durability": {
            "type": "bogus",
            "replicate": {"replica": 9},
            "disperse": {"data": 4, "redundancy": 9},
        },
        "snapshot": {"enable": True, "factor": 0},
        "clusters": ["zzz"],
    }
    assert refused(client, "/volumes", body).startswith("validation failed: name")
    body["name"] = ""
    assert refused(client, "/volumes", body).startswith("Bad group id less")
    body["gid"] = 2**31
    assert refused(client, "/volumes", body).startswith("Bad group id equal")
    body["gid"] = 0
    assert refused(client, "/volumes", body) == "Unknown durability type"
    body["durability"]["type"] = "replicate"
    assert refused(client, "/volumes", body) == "Invalid snapshot factor"
    body["snapshot"]["factor"] = 1
    assert refused(client, "/volumes", body) == "Invalid replica value"
    body["durability"]["type"] = "disperse"
    assert refused(client, "/volumes", body) == "Invalid dispersion combination: 4+9"
    body["durability"]["disperse"]["redundancy"] = 2
    assert refused(client, "/volumes", body) == "No clusters configured"
    made = cluster(client)
    assert refused(client, "/volumes", body) == "Cluster id zzz not found"
    body["clusters"] = [made]
    assert (
        refused(client, "/volumes", body)
        == "Requested volume size (3 GB) is smaller than the minimum supported volume size (4194304)"
    )
    body["size"] = 4
    assert refused(client, "/volumes", body, 500).startswith("Failed to allocate new volume: No space")


def test_clusters_of_a_volume(client: Client) -> None:
    assert refused(client, "/volumes", {"size": 1}) == "No clusters configured"
    assert refused(client, "/volumes", {"size": 1, "clusters": [ABSENT]}) == "No clusters configured"
    made = cluster(client)
    for absent in (ABSENT, "zzz", ""):
        body = {"size": 1, "clusters": [made, absent]}
        assert refused(client, "/volumes", body) == f"Cluster id {absent} not found"


@pytest.mark.parametrize(
    "snapshot",
    [{"enable": True, "factor": 1.0}, {"enable": True, "factor": 100}, {"enable": False, "factor": 0}, {"factor": 7.5}],
)
def test_snapshots_that_are_fine(client: Client, snapshot: dict[str, Any]) -> None:
    cluster_of_three(client)
    answer = client.post("/volumes", json.dumps({"size": 1, "snapshot": snapshot}))
    assert answer.status_code == 202, answer.text
    location = client.get(answer.headers["location"]).headers["location"]
    enabled = snapshot.get("enable", False)
    assert client.get(location).json()["snapshot"] == {
        "enable": enabled,
        "factor": snapshot["factor"] if enabled else 1,
    }
