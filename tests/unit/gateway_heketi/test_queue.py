from tests.unit.gateway_heketi.client import Client
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster, cluster_of_three, node, volume


def test_accepted_has_a_path_absolute_location_and_no_body(client: Client) -> None:
    made = node(client, cluster(client))
    answer = client.delete(f"/nodes/{made}", "{}")
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["content-length"] == "0"
    assert answer.headers["location"].startswith("/queue/")
    assert len(answer.headers["location"]) == len("/queue/") + 32
    assert "content-type" not in answer.headers


def test_pending_is_told_by_a_header_that_goes_away(client: Client, use_cases: FakeUseCases) -> None:
    cluster_of_three(client)
    use_cases.pending_polls = 2
    location = client.post("/volumes", '{"size":1}').headers["location"]
    for _ in range(2):
        answer = client.get(location)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["x-pending"] == "true"
        assert "content-type" not in answer.headers
    answer = client.get(location)
    (made,) = use_cases.volumes
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/volumes/{made}"
    assert answer.text == f'<a href="/volumes/{made}">See Other</a>.\n\n'
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "x-pending" not in answer.headers


def test_an_ended_entry_can_be_read_again_and_again(client: Client, use_cases: FakeUseCases) -> None:
    cluster_of_three(client)
    made = volume(client)
    answer = client.delete(f"/volumes/{made}", "{}")
    (operation_id,) = [each for each in use_cases.operations if f"/queue/{each}" == answer.headers["location"]]
    for _ in range(3):
        polled = client.get(f"/queue/{operation_id}")
        assert (polled.status_code, polled.content) == (204, b"")
        assert "content-length" not in polled.headers
        assert "x-pending" not in polled.headers
    assert client.get("/volumes").json() == {"volumes": []}


def test_a_node_is_found_where_the_queue_points(client: Client) -> None:
    made = node(client, cluster(client))
    assert client.get(f"/nodes/{made}").json()["id"] == made


def test_a_failed_operation_is_a_plain_500(client: Client) -> None:
    made = node(client, cluster(client))
    location = client.post(f"/nodes/{made}/state", '{"state":"failed"}').headers["location"]
    for _ in range(2):
        answer = client.get(location)
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "x-pending" not in answer.headers


def test_a_stalled_operation_has_failed_for_the_client(client: Client, use_cases: FakeUseCases) -> None:
    cluster_of_three(client)
    use_cases.pending_polls = 10
    location = client.post("/volumes", '{"size":1}').headers["location"]
    operation = use_cases.operations[location.removeprefix("/queue/")]
    operation.error.message = "node b went away"
    assert client.get(location).headers["x-pending"] == "true"
    operation.stalled = True
    answer = client.get(location)
    assert (answer.status_code, answer.text) == (500, "node b went away\n")
