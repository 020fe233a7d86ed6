"""What a real Heketi answered is what we answer, but for the accepted differences."""

import asyncio
import dataclasses

import pytest

from tests.contract.heketi import recording
from tests.contract.heketi.recording import GOLDEN, Command, Exchange
from tests.contract.heketi.replay import Mismatch, Replay, Stack
from tests.contract.heketi.scenarios import SCENARIOS, Difference, How, Scenario
from tests.contract.heketi.shapes import canonical, faults, pairs

RECORDINGS = [(scenario, form) for scenario in SCENARIOS for form in ("json", "text")]


@pytest.mark.parametrize(("scenario", "form"), RECORDINGS, ids=[f"{each.name}.{form}" for each, form in RECORDINGS])
def test_recording(stack: Stack, runner: asyncio.Runner, scenario: Scenario, form: str) -> None:
    commands = recording.read(f"{scenario.name}.{form}")
    replay = Replay(stack, scenario, commands)
    runner.run(replay.run())
    sendable = sum(len(command.exchanges) for command in commands)
    skipped = sum(each.how is How.SKIP for each in scenario.differences)
    assert replay.compared >= sendable - skipped > 0


def test_every_recording_is_replayed() -> None:
    names = {path.name.removesuffix(".txt") for path in GOLDEN.glob("*.txt")}
    assert names == {f"{scenario.name}.{form}" for scenario, form in RECORDINGS}


def test_every_difference_has_a_reason() -> None:
    for scenario in SCENARIOS:
        for difference in scenario.differences:
            assert len(difference.reason) > 20
            assert (difference.how is How.INSTEAD) == bool(difference.status and difference.text)


LIST_CLUSTERS = Exchange("GET", "/clusters", "", 200, {"content-type": "application/json; charset=UTF-8"}, "")


def replayed(stack: Stack, runner: asyncio.Runner, exchange: Exchange, *differences: Difference) -> None:
    commands = (Command("a command", (exchange,)),)
    runner.run(Replay(stack, Scenario("made up", differences=differences), commands).run())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": 201}, "recorded 201, got 200"),
        ({"headers": {"content-type": "application/json"}}, "recorded {'content-type'"),
        ({"body": '{"Clusters":[]}'}, 'recorded {"Clusters"'),
        ({"body": '{"clusters":null}'}, 'recorded {"clusters":null}'),
        ({"path": "/clusters/" + "ab" * 16}, "nothing here stands for"),
    ],
)
def test_a_difference_that_is_not_accepted_is_told(
    stack: Stack, runner: asyncio.Runner, changes: dict[str, object], told: str
) -> None:
    exchange = dataclasses.replace(LIST_CLUSTERS, **{"body": '{"clusters":[]}', **changes})  # type: ignore[arg-type]
    with pytest.raises(Mismatch, match=told):
        replayed(stack, runner, exchange)


def test_an_accepted_difference_must_show(stack: Stack, runner: asyncio.Runner) -> None:
    exchange = dataclasses.replace(LIST_CLUSTERS, body='{"clusters":[]}')
    elsewhere = Difference("another command", "GET", How.SKIP, "it is somewhere else")
    with pytest.raises(Mismatch, match="nothing matched"):
        replayed(stack, runner, exchange, elsewhere)
    instead = Difference("a command", "GET", How.INSTEAD, "we answer otherwise", status=404, text="gone")
    with pytest.raises(Mismatch, match="accepted 404 'gone', got 200"):
        replayed(stack, runner, exchange, instead)


def test_shapes_keep_what_matters() -> None:
    one, other = "a1" * 16, "b2" * 16

    def shape(value: object, **changes: bool) -> object:
        return canonical(
            value,
            device_names=changes.get("device_names", True),
            sizes=changes.get("sizes", True),
            keys=frozenset({"paths"}),
        )

    assert shape({"id": one, "n": 1}) == shape({"id": other, "n": 1}) != shape({"id": one, "n": 2})
    assert list(shape({"id": one, "n": 1})) != list(shape({"n": 1, "id": one}))  # type: ignore[call-overload]
    device = {"name": "/dev/a", "storage": {"total": 3, "free": 2, "used": 1}, "paths": ["x"]}
    renamed = {"name": "/dev/b", "storage": {"total": 9, "free": 9, "used": 0}}
    assert shape(device) != shape(renamed)
    assert shape(device, device_names=False, sizes=False) == shape(renamed, device_names=False, sizes=False)
    mount = {"glusterfs": {"hosts": ["h1", "h2"], "device": "h1:v", "options": {"backup-volfile-servers": "h2"}}}
    turned = {"glusterfs": {"hosts": ["h2", "h1"], "device": "h2:v", "options": {"backup-volfile-servers": "h1"}}}
    wrong = {"glusterfs": {"hosts": ["h2", "h1"], "device": "h1:v", "options": {"backup-volfile-servers": "h1"}}}
    assert shape(mount) == shape(turned) != shape(wrong)


def test_faults_of_an_answer_by_itself() -> None:
    one, other = "a1" * 16, "b2" * 16
    assert not list(faults({"clusters": [one, other], "hosts": ["z", "a"]}))
    assert list(faults({"clusters": [other, one]}))
    assert list(faults({"storage": {"total": 3, "free": 1, "used": 1}}))
    brick = {"id": one, "device": other, "path": f"/var/lib/heketi/mounts/vg_{other}/brick_{one}/brick"}
    assert not list(faults({"bricks": [brick]}))
    assert list(faults({"bricks": [{**brick, "device": one}]}))


def test_pairs_follow_order_for_bricks_and_names_for_devices() -> None:
    a, b, c, d = (digit * 32 for digit in "abcd")
    assert list(pairs({"bricks": [{"id": a}, {"id": b}]}, {"bricks": [{"id": c}, {"id": d}]})) == [(a, c), (b, d)]
    recorded = {"devices": [{"name": "x", "id": a}, {"name": "y", "id": b}]}
    live = {"devices": [{"name": "y", "id": c}, {"name": "x", "id": d}]}
    assert set(pairs(recorded, live)) == {(a, d), (b, c)}
