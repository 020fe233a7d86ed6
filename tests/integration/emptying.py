"""Taking everything away again that a test made on a stack, as a user would: much quicker than new processes."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.integration.clients import Rest

_AT_ONCE = 4


class NotEmptyError(Exception):
    """Something does not go; only new servers and nodes are as good as untouched then."""


def empty(rest: Rest) -> None:
    """Removes all objects, and checks that the server is as at its start.

    Raises:
        NotEmptyError: It is not.
    """
    if rest.send("GET", "/admin").json() != {"state": "normal"} or rest.json("/operations")["total"]:
        raise NotEmptyError("the server is not idle")
    if rest.json("/internal/logging") != {"loglevel": {"glusterfs": "debug"}}:
        raise NotEmptyError("it has another log level")
    _each(lambda each: _remove(rest, f"/blockvolumes/{each}"), rest.json("/blockvolumes")["blockvolumes"])
    _each(lambda each: _remove(rest, f"/volumes/{each}"), rest.json("/volumes")["volumes"])
    for cluster in rest.json("/clusters")["clusters"]:
        nodes = [rest.json(f"/nodes/{each}") for each in rest.json(f"/clusters/{cluster}")["nodes"]]
        _each(lambda each: _remove_device(rest, each), [device for node in nodes for device in node["devices"]])
        for node in nodes:
            _remove(rest, f"/nodes/{node['id']}")
        _remove(rest, f"/clusters/{cluster}")


def _each(act: Callable[[Any], None], objects: Iterable[Any]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(act, objects))


def _remove_device(rest: Rest, device: dict[str, Any]) -> None:
    for state in {"online": ("offline", "failed"), "offline": ("failed",)}.get(device["state"], ()):
        answer = rest.change("POST", f"/devices/{device['id']}/state", {"state": state})
        if not answer.is_success:
            raise NotEmptyError(answer.text)
    _remove(rest, f"/devices/{device['id']}")


def _remove(rest: Rest, path: str) -> None:
    answer = rest.change("DELETE", path)
    if not answer.is_success:
        raise NotEmptyError(f"{path}: {answer.text}")
