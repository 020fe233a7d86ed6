"""Volumes that grow and are copied, with data that must stay."""

from typing import Any

import pytest

from tests.e2e.system import System

pytestmark = pytest.mark.timeout(300)
REPLICATE = {"type": "replicate", "replicate": {"replica": 3}}


def made(system: System, queue: str) -> dict[str, Any]:
    """What a change leads to, once it is done."""
    answer = system.outcome(queue, seconds=150)
    assert answer.status_code == 303, answer.text
    volume: dict[str, Any] = system.ask("GET", answer.headers["Location"]).json()
    return volume


def size_kib(system: System, volume: dict[str, Any]) -> int:
    return int(system.with_mount(volume, "df -k --output=size . | tail -1"))


def test_expanded_volume_is_larger_and_keeps_its_data(system: System) -> None:
    volume = system.create_volume(durability=REPLICATE, name="grows")
    system.with_mount(volume, "cat > before && sync before", stdin="still here\n")
    small = size_kib(system, volume)
    grown = made(system, system.begin("POST", f"/volumes/{volume['id']}/expand", {"expand_size": 1}))
    assert (grown["size"], len(grown["bricks"])) == (2, 6)
    assert 1.9 * small < size_kib(system, grown) < 2.1 * small
    assert system.with_mount(grown, "cat before") == "still here\n"
    system.delete_volume(grown)


@pytest.mark.parametrize("origin_first", [True, False], ids=["origin first", "copy first"])
def test_copy_has_the_data_and_a_life_of_its_own(system: System, origin_first: bool) -> None:
    volume = system.create_volume(durability=REPLICATE)
    system.with_mount(volume, "cat > shared && sync shared", stdin="old\n")
    copy = made(system, system.begin("POST", f"/volumes/{volume['id']}/clone", {}))
    assert copy["id"] != volume["id"]
    assert system.with_mount(copy, "cat shared") == "old\n"
    system.with_mount(copy, "cat > shared && sync shared", stdin="new\n")
    assert system.with_mount(volume, "cat shared") == "old\n"
    for each in (volume, copy) if origin_first else (copy, volume):
        queue = system.begin("DELETE", f"/volumes/{each['id']}")
        assert system.outcome(queue, seconds=150).status_code == 204
    system.await_nothing_left(seconds=30)


def test_copy_of_a_copy_and_expanded_copy(system: System) -> None:
    volume = system.create_volume(durability=REPLICATE)
    system.with_mount(volume, "cat > shared && sync shared", stdin="old\n")
    copy = made(system, system.begin("POST", f"/volumes/{volume['id']}/clone", {}))
    second = made(system, system.begin("POST", f"/volumes/{copy['id']}/clone", {"name": "second"}))
    grown = made(system, system.begin("POST", f"/volumes/{copy['id']}/expand", {"expand_size": 1}))
    assert (grown["size"], len(grown["bricks"])) == (2, 6)
    system.with_mount(grown, "cat > shared && sync shared", stdin="new\n")
    assert system.with_mount(second, "cat shared") == "old\n"
    assert system.with_mount(volume, "cat shared") == "old\n"
    # The one in the middle first: the others share its blocks.
    for each in (grown, second, volume):
        queue = system.begin("DELETE", f"/volumes/{each['id']}")
        assert system.outcome(queue, seconds=150).status_code == 204
    system.await_nothing_left(seconds=30)
