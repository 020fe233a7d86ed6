"""What the OpenAPI document promises, asked in every way that schemathesis can think of, well-formed and not.

By default few requests a route; BRICKYARD_FUZZ_EXAMPLES=200 sends so many. The same ones come each time.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis import openapi

from gateway.heketi.openapi import DOCUMENT
from tests.integration.clients import Rest
from tests.integration.stack import Stack, wait_until
from tests.integration.world import node_body

_EXAMPLES = int(os.environ.get("BRICKYARD_FUZZ_EXAMPLES", "8"))
_WITHIN_S = 20.0
# With these Heketi's own answers of 500 begin; anything else would be a bug of ours, or a crash that Heketi has not.
_REFUSALS = (
    "Failed to allocate new volume: ",
    "Failed to allocate new block volume: ",
    "Failed to allocate volume expansion: ",
    "Failed to allocate block volume expansion: ",
    "Failed to set up volume delete: ",
    "Failed to set up block volume delete: ",
    "Failed to set up brick eviction: ",
    "Failed to set block restriction: ",
    "Failed clone volume ",
    "No eligible cluster for volume",
    "Unable to create volume on any cluster:",
    "The target exists, contains other items, or is in use.",
)


def _operation(found: Any) -> Any:
    return found.ok()  # raises what is wrong with the document


_SCHEMA = openapi.from_dict(json.loads(DOCUMENT))
_OPERATIONS: dict[str, Any] = {each.label: each for each in map(_operation, _SCHEMA.get_all_operations())}
# A mode or a level would silence the requests after it; other tests set them.
_LEFT_OUT = {"POST /admin", "POST /internal/logging"}


class Target:
    """A server without tokens, and one object of each kind."""

    def __init__(self, stack: Stack, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=_WITHIN_S)
        rest = Rest(url)
        cluster = rest.made("/clusters", {"file": True, "block": True})["id"]
        nodes = [rest.made("/nodes", node_body(cluster, number))["id"] for number in stack.fresh_nodes(3)]
        for node in nodes:
            for disk in ("/dev/sdb", "/dev/sdc"):  # the second for a volume that hosts block volumes
                rest.made("/devices", {"name": disk, "node": node})
        volume = rest.made("/volumes", {"size": 1, "durability": {"type": "replicate", "replicate": {"replica": 3}}})
        block = rest.made("/blockvolumes", {"size": 1, "clusters": [cluster]})
        device = rest.json(f"/nodes/{nodes[0]}")["devices"][0]["id"]
        self.ids = {
            "clusters": cluster,
            "nodes": nodes[0],
            "devices": device,
            "volumes": volume["id"],
            "blockvolumes": block["id"],
            "bricks": volume["bricks"][0]["id"],
        }


@pytest.fixture(scope="module")
def target(mock_stack: Stack) -> Iterator[Target]:
    flags = ("--disable-auth", "--max-inflight-operations", "0")
    with mock_stack.extra_gateway(*flags) as gateway:
        made = Target(mock_stack, gateway.addresses[0])
        yield made
        wait_until(
            lambda: made.http.get("/operations").json()["total"] == 0, "the end of all that was begun", seconds=60
        )
        made.http.close()
    assert mock_stack.stubs().violations() == []


def _check(case: Any, answer: Any) -> None:
    """Every answer is one that the dialect has."""
    # A backup is no text.
    text = answer.content.decode(errors="replace")
    told = f"{case.as_curl_command()}\n{answer.status_code} {text[:500]}"
    assert answer.status_code in {200, 201, 202, 204, 301, 303, 400, 404, 405, 409, 413, 422, 500}, told
    if answer.status_code == 500:
        assert text.startswith(_REFUSALS), told
    if answer.status_code >= 400 and answer.status_code != 405:
        assert answer.headers["content-type"] == ["text/plain; charset=utf-8"], told
        assert text.endswith("\n"), told
    if answer.status_code == 202:
        assert answer.headers["location"][0].startswith("/queue/"), told


def _order(label: str) -> tuple[bool, str]:
    """What removes something comes last."""
    return label.startswith("DELETE"), label


_LABELS: list[str] = sorted(set(_OPERATIONS) - _LEFT_OUT, key=_order)


@pytest.mark.parametrize("label", _LABELS)
def test_every_answer_is_one_of_the_dialect(target: Target, label: str) -> None:
    operation = _OPERATIONS[label]
    modes = [schemathesis.GenerationMode.POSITIVE]
    if operation.body or operation.query:
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    cases = strategies.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    @hypothesis.settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=cases, known=strategies.booleans())
    def ask(case: Any, known: bool) -> None:
        kind = case.path.split("/")[1]
        if known and kind in target.ids and "id" in case.path_parameters:
            # What exists is asked for more often than chance would.
            case.path_parameters["id"] = target.ids[kind]
        case.headers = {}
        answer = case.call(base_url=str(target.http.base_url), timeout=_WITHIN_S, allow_redirects=False)
        _check(case, answer)
        if answer.status_code == 200 and answer.content:
            case.validate_response(answer, checks=[schemathesis.checks.CHECKS.get_one("response_schema_conformance")])

    ask()


def test_bodies_of_any_kind(target: Target) -> None:
    """Text that is no JSON, deep nesting, huge numbers, bytes: never a crash, always an answer."""
    bodies = [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'"' + b"x" * 1000 + b'"',
        b'{"size":1e400}',
        b'{"size":' + b"9" * 5000 + b"}",
        b'{"size":-0.0}',
        b'{"size":NaN}',
        b'{"name":"\\ud800"}',
        b'{"tags":{"\\u0000":"x"}}',
        b"{}" + b" " * ((1 << 20) - 2),
        b"{}" + b" " * (1 << 20),
    ]
    posts = [label.removeprefix("POST ") for label in _OPERATIONS if label.startswith("POST ")]
    for path in (each for each in posts if f"POST {each}" not in _LEFT_OUT):
        kind = path.split("/")[1]
        for body in bodies:
            answer = target.http.post(path.replace("{id}", target.ids.get(kind, "ab")), content=body)
            told = f"{path} {body[:60]!r}: {answer.status_code} {answer.text[:200]}"
            assert answer.status_code in {200, 201, 202, 400, 404, 409, 413, 422, 500}, told
            if answer.status_code == 500:
                assert answer.text.startswith(_REFUSALS), told
            assert (answer.status_code == 413) == (len(body) > 1 << 20), told
