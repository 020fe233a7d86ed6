"""Expanding, cloning and resyncing: bodies, order of checks, texts, and what the queue says in the end."""

from typing import Any

import pytest

from services.common.errors import (
    AbortedError,
    AlreadyExistsError,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)
from services.common.reasons import Reason
from services.common.units import GIB
from tests.unit.gateway_heketi.client import Client
from tests.unit.gateway_heketi.fake_use_cases import FakeUseCases
from tests.unit.gateway_heketi.topology_steps import cluster, cluster_of_three, device, node, volume

ABSENT = "0123456789abcdef0123456789abcdef"
IN_USE = "The target exists, contains other items, or is in use."
BUSY = ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "8 operations are in flight", in_flight=8)


def changes(use_cases: FakeUseCases, method: str) -> list[tuple[Any, str | None]]:
    return [(argument, key) for name, argument, key in use_cases.calls if name == method]


# --- expand -----------------------------------------------------------------------------------------------------------


def test_an_expanded_volume_is_found_where_the_queue_points(client: Client, use_cases: FakeUseCases) -> None:
    cluster_of_three(client)
    made = volume(client)
    use_cases.pending_polls = 1
    answer = client.post(f"/volumes/{made}/expand", '{"Expand_Size":7,"unknown":1}')
    assert (answer.status_code, answer.content) == (202, b"")
    assert "content-type" not in answer.headers
    location = answer.headers["location"]
    assert client.get(location).headers["x-pending"] == "true"
    polled = client.get(location)
    assert (polled.status_code, polled.headers["location"]) == (303, f"/volumes/{made}")
    shown = client.get(f"/volumes/{made}").json()
    assert (shown["size"], len(shown["bricks"])) == (17, 2)
    assert changes(use_cases, "expand_volume") == [((made, 7 * GIB), None)]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("", 422, "request unable to be parsed"),
        ('{"expand_size":"5"}', 422, "request unable to be parsed"),
        ('{"expand_size":1.5}', 422, "request unable to be parsed"),
        ("{}", 400, "validation failed: expand_size: cannot be blank."),
        ('{"expand_size":0}', 400, "validation failed: expand_size: cannot be blank."),
        ('{"expand_size":-3}', 400, "validation failed: expand_size: must be no less than 1."),
        ('{"expand_size":1073741825}', 400, "validation failed: expand_size: must be no greater than 1073741824."),
        ('{"expand_size":5}', 404, "Id not found"),
    ],
)
@pytest.mark.parametrize("target", [ABSENT, ABSENT.upper(), "ab"])
def test_order_of_the_checks_of_an_expansion(client: Client, target: str, body: str, status: int, text: str) -> None:
    answer = client.post(f"/volumes/{target}/expand", body)
    assert (answer.status_code, answer.text) == (status, f"{text}\n")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ResourceExhaustedError(Reason.MAX_BRICKS_REACHED, "33 bricks are needed"),
            "Maximum number of bricks reached.\n33 bricks are needed",
        ),
        (
            ResourceExhaustedError(Reason.NO_SPACE, "No space: device a is full", stopped_by="MAX_BRICKS_REACHED"),
            "Maximum number of bricks reached.\nNo space: device a is full",
        ),
        (
            ResourceExhaustedError(Reason.NO_SPACE, "device a is full", stopped_by="MIN_BRICK_SIZE_REACHED"),
            "Minimum brick size limit reached.  Out of space.\ndevice a is full",
        ),
        (ResourceExhaustedError(Reason.NO_SPACE, "device a is full", stopped_by=""), "No space\ndevice a is full"),
        (AbortedError(Reason.NO_SPACE_ON_DEVICE, "device a is full"), "No space\ndevice a is full"),
        (FailedPreconditionError(Reason.NO_NODES, "No nodes in cluster"), "No nodes in cluster"),
        (FailedPreconditionError(Reason.NO_ONLINE_DEVICES, ""), "No online storage devices in cluster"),
        (
            InvalidArgumentError(Reason.INVALID_TAG_RULE, "bad", rule="a-b=c"),
            "Invalid tag matching rule: Invalid tag match rule: a-b=c",
        ),
        (FailedPreconditionError(Reason.TARGET_BUSY, "operation x holds it"), f"{IN_USE}\noperation x holds it"),
    ],
)
def test_expansions_that_find_no_place(
    client: Client, use_cases: FakeUseCases, error: BrickyardError, text: str
) -> None:
    use_cases.failures["expand_volume"] = error
    answer = client.post(f"/volumes/{ABSENT}/expand", '{"expand_size":5}')
    assert (answer.status_code, answer.text) == (500, f"Failed to allocate volume expansion: {text}\n")


def test_an_expansion_that_fails_is_told_by_the_queue(client: Client, use_cases: FakeUseCases) -> None:
    cluster_of_three(client)
    made = volume(client)
    use_cases.pending_polls = 1
    location = client.post(f"/volumes/{made}/expand", '{"expand_size":5}').headers["location"]
    operation = use_cases.operations[location.removeprefix("/queue/")]
    operation.error.message, operation.stalled = "volume add-brick: failed", True
    answer = client.get(location)
    assert (answer.status_code, answer.text) == (500, "volume add-brick: failed\n")


# --- clone ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "name"), [("{}", ""), ("null", ""), ('{"name":"copy_1-x"}', "copy_1-x")])
def test_a_copy_is_found_where_the_queue_points(client: Client, use_cases: FakeUseCases, body: str, name: str) -> None:
    cluster_of_three(client)
    source = volume(client, name="source")
    answer = client.post(f"/volumes/{source}/clone", body)
    assert (answer.status_code, answer.content) == (202, b"")
    polled = client.get(answer.headers["location"])
    assert polled.status_code == 303
    copy = client.get(polled.headers["location"]).json()
    assert copy["id"] != source
    assert copy["name"] == (name or f"vol_{copy['id']}")
    assert copy["size"] == 10
    assert client.get("/volumes").json() == {"volumes": sorted([source, copy["id"]])}
    assert changes(use_cases, "clone_volume") == [((source, name), None)]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("", 422, "request unable to be parsed"),
        ('{"name":5}', 422, "request unable to be parsed"),
        ('{"name":"a.b"}', 400, "validation failed: name: must be in a valid format."),
        ('{"name":"a\\n"}', 400, "validation failed: name: must be in a valid format."),
        ("{}", 404, "Id not found"),
    ],
)
@pytest.mark.parametrize("target", [ABSENT, ABSENT.upper(), "ab"])
def test_order_of_the_checks_of_a_copy(client: Client, target: str, body: str, status: int, text: str) -> None:
    answer = client.post(f"/volumes/{target}/clone", body)
    assert (answer.status_code, answer.text) == (status, f"{text}\n")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            UnimplementedError(Reason.NOT_SUPPORTED_YET, "Cloning of block hosting volumes is not supported"),
            "Cloning of block hosting volumes is not supported",
        ),
        (FailedPreconditionError(Reason.TARGET_BUSY, "operation x holds it"), IN_USE),
        (AlreadyExistsError(Reason.VOLUME_NAME_IN_USE, "v1 is taken", name="v1"), "v1 is taken"),
    ],
)
def test_copies_that_are_refused(client: Client, use_cases: FakeUseCases, error: BrickyardError, text: str) -> None:
    use_cases.failures["clone_volume"] = error
    answer = client.post(f"/volumes/{ABSENT}/clone", "{}")
    assert (answer.status_code, answer.text) == (500, f"Failed clone volume {ABSENT}: {text}\n")


# --- resync -----------------------------------------------------------------------------------------------------------


def test_a_resync_is_a_get_that_is_accepted_with_a_page(client: Client, use_cases: FakeUseCases) -> None:
    made = device(client, node(client, cluster(client)))
    use_cases.devices[made].total_bytes = GIB
    answer = client.get(f"/devices/{made}/resync")
    location = answer.headers["location"]
    assert answer.status_code == 202
    assert location.startswith("/queue/")
    assert answer.text == f'<a href="{location}">Accepted</a>.\n\n'
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    polled = client.get(location)
    assert (polled.status_code, polled.content) == (204, b"")
    assert client.get(f"/devices/{made}").json()["storage"]["total"] == 500 * GIB // 1024


@pytest.mark.parametrize("target", [ABSENT, ABSENT.upper(), "ab"])
def test_devices_that_are_not_there_to_resync(client: Client, target: str) -> None:
    answer = client.get(f"/devices/{target}/resync")
    assert (answer.status_code, answer.text) == (404, "Id not found\n")


def test_a_device_of_another_operation_is_not_resynced(client: Client, use_cases: FakeUseCases) -> None:
    use_cases.failures["resync_device"] = FailedPreconditionError(Reason.TARGET_BUSY, "operation x holds it")
    answer = client.get(f"/devices/{ABSENT}/resync")
    assert (answer.status_code, answer.text) == (500, f"{IN_USE}\n")


# --- all --------------------------------------------------------------------------------------------------------------

REQUESTS: list[tuple[str, str, str | None, str]] = [
    ("POST", f"/volumes/{ABSENT}/expand", '{"expand_size":1}', "expand_volume"),
    ("POST", f"/volumes/{ABSENT}/clone", "{}", "clone_volume"),
    ("GET", f"/devices/{ABSENT}/resync", None, "resync_device"),
]


@pytest.mark.parametrize("asked", REQUESTS)
def test_what_any_of_them_may_answer(
    client: Client, use_cases: FakeUseCases, asked: tuple[str, str, str | None, str]
) -> None:
    method, path, body, name = asked
    gone = NotFoundError(Reason.VOLUME_NOT_FOUND, "went away meanwhile")
    away = UnavailableError(Reason.UNAVAILABLE, "topology is away")
    for error, status, text in (
        (gone, 404, "Id not found"),
        (BUSY, 429, "Server busy. Retry operation later."),
        (away, 503, "Service not available, repeat the request later: topology is away"),
    ):
        use_cases.failures[name] = error
        answer = client.send(method, path, body)
        assert (answer.status_code, answer.text) == (status, f"{text}\n")
        assert ("retry-after" in answer.headers) == (status in {429, 503})


@pytest.mark.parametrize("asked", REQUESTS)
def test_an_idempotency_key_goes_along(
    client: Client, use_cases: FakeUseCases, asked: tuple[str, str, str | None, str]
) -> None:
    method, path, body, name = asked
    client.send(method, path, body, headers={"Idempotency-Key": "key-1"})
    assert changes(use_cases, name)[-1][1] == "key-1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/volumes/{ABSENT}/expand"),
        ("GET", f"/volumes/{ABSENT}/clone"),
        ("POST", f"/devices/{ABSENT}/resync"),
        ("DELETE", f"/volumes/{ABSENT}/expand"),
    ],
)
def test_other_methods(client: Client, method: str, path: str) -> None:
    assert client.send(method, path, "{}").status_code == 405
