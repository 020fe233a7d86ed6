"""Steps over REST that many tests begin with."""

import json

from tests.unit.gateway_heketi.client import Client


def cluster(client: Client) -> str:
    """A cluster for all volumes; returns its id."""
    made: str = client.post("/clusters", '{"file":true,"block":true}').json()["id"]
    return made


def node(client: Client, cluster_id: str, number: int = 0) -> str:
    """A node; returns its id."""
    body = {
        "zone": number + 1,
        "hostnames": {"manage": [f"node{number}.example"], "storage": [f"10.0.0.{number + 1}"]},
        "cluster": cluster_id,
    }
    answer = client.post("/nodes", json.dumps(body))
    assert answer.status_code == 202, answer.text
    return client.get(answer.headers["location"]).headers["location"].removeprefix("/nodes/")


def device(client: Client, node_id: str, name: str = "/dev/vdb") -> str:
    """A device of 500 GiB; returns its id."""
    before = {each["id"] for each in client.get(f"/nodes/{node_id}").json()["devices"]}
    answer = client.post("/devices", json.dumps({"name": name, "node": node_id}))
    assert client.get(answer.headers["location"]).status_code == 204
    after = {each["id"] for each in client.get(f"/nodes/{node_id}").json()["devices"]}
    (made,) = after - before
    return str(made)


def cluster_of_three(client: Client) -> tuple[str, list[str], list[str]]:
    """A cluster of three nodes with a device each; returns all ids."""
    cluster_id = cluster(client)
    nodes = [node(client, cluster_id, number) for number in range(3)]
    return cluster_id, nodes, [device(client, each) for each in nodes]


def volume(client: Client, **fields: object) -> str:
    """A volume of 10 GiB unless told otherwise; returns its id."""
    answer = client.post("/volumes", json.dumps({"size": 10, **fields}))
    assert answer.status_code == 202, answer.text
    return client.get(answer.headers["location"]).headers["location"].removeprefix("/volumes/")
