import json

import pytest

from gateway.clients import Addresses, Agents
from gateway.heketi.app import build_app
from gateway.heketi.router import clean_path
from gateway.heketi.routes import TABLE, capacity, state
from gateway.heketi.settings import HeketiSettings
from gateway.usecases.state import StateUseCases
from tests.unit.gateway_heketi.client import ADMIN_KEY, USER_KEY, Client, make_token
from tests.unit.gateway_heketi.fake_health import FakeHealth
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster

ABSENT = "0123456789abcdef0123456789abcdef"


def test_hello_is_open_and_has_no_newline(client: Client) -> None:
    answer = client.send("GET", "/hello", token=None)
    assert (answer.status_code, answer.content) == (200, b"Hello from Heketi")
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"


@pytest.mark.parametrize(("method", "path"), [("POST", "/hello"), ("GET", "/hello/"), ("HEAD", "/hello")])
def test_only_get_of_the_exact_path_is_open(client: Client, method: str, path: str) -> None:
    assert client.send(method, path, token=None).status_code == 401
    assert client.send(method, path).status_code == 404


def test_unknown_path_without_token_is_unauthorized_first(client: Client) -> None:
    assert client.send("GET", "/nothing", token=None).status_code == 401
    answer = client.get("/nothing")
    assert (answer.status_code, answer.text) == (404, "Invalid path or request\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/clusters/xyz", "/", "/clusters/12/34", f"/queue/{ABSENT}/x", "/operations/new", "/metrics", "/clusters/a%0A"],
)
def test_paths_that_no_route_has(client: Client, path: str) -> None:
    answer = client.send("GET", path, token=make_token("GET", path.replace("%0A", "\n")))
    assert (answer.status_code, answer.text) == (404, "Invalid path or request\n")


@pytest.mark.parametrize("given", ["ABCDEF", "0", "a" * 33, ABSENT.upper(), ABSENT])
def test_an_id_of_any_length_and_case_is_a_route_but_not_found(client: Client, given: str) -> None:
    for kind in ("clusters", "nodes", "devices", "volumes", "queue"):
        answer = client.get(f"/{kind}/{given}")
        assert (answer.status_code, answer.text) == (404, "Id not found\n")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/clusters"),
        ("GET", "/nodes"),
        ("HEAD", "/clusters"),
        ("OPTIONS", "/volumes"),
        ("POST", f"/queue/{ABSENT}"),
        ("GET", f"/clusters/{ABSENT}/flags"),
        ("PUT", "/clusters/"),
    ],
)
def test_wrong_method_is_405_without_anything(client: Client, method: str, path: str) -> None:
    answer = client.send(method, path)
    assert (answer.status_code, answer.content) == (405, b"")
    assert "allow" not in answer.headers
    assert "content-type" not in answer.headers


def test_trailing_slash_moves_with_a_body_for_get_only(client: Client) -> None:
    answer = client.get("/clusters/?a=1&b=2")
    assert answer.status_code == 301
    assert answer.headers["location"] == "/clusters?a=1&b=2"
    assert answer.text == '<a href="/clusters?a=1&amp;b=2">Moved Permanently</a>.\n\n'
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    answer = client.post("/clusters/", "{}")
    assert (answer.status_code, answer.content, answer.headers["location"]) == (301, b"", "/clusters")


def test_trailing_slash_needs_a_token_and_unknown_path_is_no_redirect(client: Client) -> None:
    assert client.send("GET", "/clusters/", token=None).status_code == 401
    assert client.get("/nothing/").status_code == 404


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("//clusters", "/clusters"),
        ("/clusters//", "/clusters/"),
        ("/clusters//12", "/clusters/12"),
        ("/a/../clusters", "/clusters"),
        ("/./clusters", "/clusters"),
        ("/clusters/.", "/clusters"),
        ("/..", "/"),
        ("", "/"),
        ("/.hidden", "/.hidden"),
    ],
)
def test_clean_path(path: str, clean: str) -> None:
    assert clean_path(path) == clean


def test_double_slash_moves_before_any_token_is_asked_for(client: Client) -> None:
    answer = client.send("GET", "/clusters//12?x=1", token=None)
    assert (answer.status_code, answer.content) == (301, b"")
    assert answer.headers["location"] == "/clusters/12?x=1"
    assert "content-type" not in answer.headers


def test_a_percent_encoded_path_is_decoded_once_and_escaped_in_the_location(client: Client) -> None:
    answer = client.send("GET", "//a%20b%3C", token=None)
    assert answer.headers["location"] == "/a%20b%3C"


def test_without_auth_everything_is_open_and_tokens_are_ignored(use_cases: FakeUseCases) -> None:
    with Client(build_app(use_cases, HeketiSettings(auth_enabled=False))) as client:
        assert client.send("GET", "/clusters", token=None).status_code == 200
        assert client.send("GET", "/clusters", token="rubbish").status_code == 200


def test_openapi_describes_exactly_the_routes(client: Client) -> None:
    answer = client.send("GET", "/openapi.json", token=None)
    assert answer.status_code == 200
    document = answer.json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    whole = state.routes(StateUseCases(topology=None, agents=Agents(Addresses("", "", "", 0, None))))
    known = (*TABLE, *capacity.routes(FakeHealth()), *whole)
    assert described == {(route.method, route.path) for route in known}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("parameters" in operation) == ("{id}" in path)
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    assert all(f"#/components/schemas/{name}" in text for name in schemas)
    for part in text.split("#/components/schemas/")[1:]:
        assert part.split('"')[0] in schemas


def test_settings_need_both_keys_when_tokens_are_asked_for() -> None:
    for keys in ({"admin_key": ADMIN_KEY}, {"user_key": USER_KEY}, {}):
        with pytest.raises(ValueError, match="Missing JWT information in config file"):
            HeketiSettings(**keys)  # type: ignore[arg-type]
    assert ADMIN_KEY not in repr(HeketiSettings(admin_key=ADMIN_KEY, user_key=USER_KEY))
    with pytest.raises(ValueError, match="negative"):
        HeketiSettings(auth_enabled=False, jwt_iat_leeway_s=-1)


def test_known_path_with_and_without_slash_reaches_the_same_object(client: Client) -> None:
    made = cluster(client)
    assert client.get(f"/clusters/{made}/").headers["location"] == f"/clusters/{made}"
    assert client.get(f"/clusters/{made}").json()["id"] == made
