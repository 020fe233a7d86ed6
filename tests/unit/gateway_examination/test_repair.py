"""What happens to actions: looked at again, skipped, failed, and what one round uncovers for the next."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2
from brickyard.topology.v1 import books_pb2, node_pb2, operation_pb2, operation_service_pb2, volume_pb2
from gateway.examination.domain.comparison import compare
from gateway.examination.domain.kinds import Verb
from gateway.examination.domain.model import Report, Scene
from gateway.examination.gathering import Examiner, Look
from gateway.examination.repair import Repairer, RepairEvent, Stage
from services.common.errors import BrickyardError, InternalError, UnavailableError
from services.common.reasons import Reason
from tests.unit.gateway_examination.scenes import agreeing, with_orphan, with_volume, without_lvs, without_volume
from tests.unit.gateway_examination.test_comparison import group_changed
from tests.unit.gateway_examination.test_plan import unmounted

BUSY = "7" * 32


def records(scene: Scene, *, operation_id: str = "") -> books_pb2.GetBooksResponse:
    """The records of a scene as the topology tells them."""
    books = scene.books
    return books_pb2.GetBooksResponse(
        nodes=[
            books_pb2.BookedNode(
                node=node_pb2.Node(id=each.id, cluster_id=each.cluster_id, manage_hostnames=[each.hostname])
            )
            for each in books.nodes
        ],
        volumes=[volume_pb2.Volume(id=each.id, name=each.name, operation_id=operation_id) for each in books.volumes],
        bricks=[
            books_pb2.BookedBrick(brick=volume_pb2.Brick(id=each.id, volume_id=each.volume_id, node_id=each.node_id))
            for each in books.bricks
        ],
    )


class Looks(Examiner):
    """Sees one scene after the other, the last one for good."""

    def __init__(self, *scenes: Scene, operation_id: str = "") -> None:
        self.scenes = list(scenes)
        self.operation_id = operation_id

    async def look(self, cluster_id: str = "") -> Look:
        del cluster_id
        scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
        return Look(compare(scene), records(scene, operation_id=self.operation_id))

    async def examine(self, cluster_id: str = "") -> Report:
        return (await self.look(cluster_id)).report

    async def records(self, cluster_id: str = "") -> books_pb2.GetBooksResponse:
        del cluster_id
        return records(self.scenes[0], operation_id=self.operation_id)


class World:
    """Agents and topology that note what is asked of them."""

    def __init__(self, **failures: BrickyardError) -> None:
        self.failures = failures
        self.calls: list[tuple[str, str, Any]] = []
        self.state = operation_pb2.OPERATION_STATE_SUCCEEDED

    async def call(self, hostname: str, method: str, request: Any, *, timeout_s: float = 15.0, epoch: int = 0) -> Any:
        del timeout_s, epoch
        self.calls.append((hostname, method, request))
        if method in self.failures:
            raise self.failures[method]
        return getattr(executor_service_pb2, f"{method}Response")()

    async def DropGhosts(self, request: Any, **_call: Any) -> books_pb2.DropGhostsResponse:  # noqa: N802 - the contract's name
        self.calls.append(("", "DropGhosts", request))
        return books_pb2.DropGhostsResponse()

    async def WatchOperation(self, request: Any, **_call: Any) -> AsyncIterator[Any]:  # noqa: N802 - the contract's name
        yield operation_service_pb2.WatchOperationResponse(
            operation=operation_pb2.Operation(id=request.operation_id, state=self.state)
        )

    async def resync(self, device_id: str) -> operation_pb2.Operation:
        self.calls.append(("", "resync", device_id))
        return operation_pb2.Operation(id=BUSY)

    @property
    def methods(self) -> list[str]:
        return [method for _, method, _ in self.calls]


def repaired(looks: Looks, world: World) -> list[RepairEvent]:
    repairer = Repairer(examiner=looks, topology=world, operations=world, agents=world, resync_device=world.resync)

    async def collect() -> list[RepairEvent]:
        return [event async for event in repairer.repair()]

    return asyncio.run(collect())


def outcomes(events: Sequence[RepairEvent]) -> list[tuple[Verb, Stage]]:
    assert [event.stage for event in events[::2]] == [Stage.BEGUN] * (len(events) // 2)
    return [(event.action.verb, event.stage) for event in events[1::2]]


ORPHANED = with_orphan(agreeing(), 0)
GHOST = without_lvs(without_volume(agreeing(), "vol0"), *agreeing().books.bricks)


@pytest.mark.parametrize(("scene", "verb"), [(ORPHANED, Verb.REMOVE_ORPHAN_BRICK), (GHOST, Verb.DROP_GHOSTS)])
def test_what_is_gone_at_the_second_look_is_skipped(scene: Scene, verb: Verb) -> None:
    world = World()
    assert outcomes(repaired(Looks(scene, agreeing()), world)) == [(verb, Stage.SKIPPED)]
    assert world.calls == []


@pytest.mark.parametrize(
    ("scene", "verb", "method"),
    [
        (ORPHANED, Verb.REMOVE_ORPHAN_BRICK, "RemoveOrphanBrick"),
        (GHOST, Verb.DROP_GHOSTS, "DropGhosts"),
        (group_changed(free_bytes=0)(agreeing()), Verb.RESYNC_DEVICE, "resync"),
        (with_volume(agreeing(), 0, started=False), Verb.START_VOLUME, "StartVolume"),
    ],
)
def test_what_is_still_there_is_done_once(scene: Scene, verb: Verb, method: str) -> None:
    world = World()
    assert outcomes(repaired(Looks(scene), world)) == [(verb, Stage.DONE)]
    assert world.methods == [method]


def test_a_failure_is_told_and_the_next_action_follows() -> None:
    world = World(RestoreBrick=InternalError(Reason.FILESYSTEM_FAILED, "mount: no"))
    scene = unmounted(with_orphan(agreeing(), 1), 0)
    events = repaired(Looks(scene), world)
    assert outcomes(events) == [
        (Verb.RESTORE_BRICK, Stage.FAILED),
        (Verb.RESTART_BRICKS, Stage.SKIPPED),
        (Verb.REMOVE_ORPHAN_BRICK, Stage.DONE),
    ]
    assert events[1].message == "mount: no"
    assert "not all of its bricks are mounted" in events[3].message
    assert world.methods == ["RestoreBrick", "RemoveOrphanBrick"]


def test_what_an_operation_holds_by_now_is_skipped() -> None:
    world = World()
    for scene in (unmounted(agreeing()), with_volume(agreeing(), 0, started=False)):
        events = repaired(Looks(scene, operation_id=BUSY), world)
        assert {stage for _, stage in outcomes(events)} == {Stage.SKIPPED}
    assert world.calls == []


def test_a_silent_node_is_passed_over_for_what_any_can_do() -> None:
    failure = UnavailableError(Reason.AGENT_UNREACHABLE, "no route")
    world = World(StartVolume=failure)
    events = repaired(Looks(with_volume(agreeing(), 0, started=False)), world)
    assert outcomes(events) == [(Verb.START_VOLUME, Stage.FAILED)]
    assert [hostname for hostname, _, _ in world.calls] == ["node0", "node1", "node2"]
    assert events[1].message == "no route"


def test_what_a_round_uncovers_the_next_one_mends() -> None:
    world = World()
    uncovered = group_changed(free_bytes=0)(agreeing())
    events = repaired(Looks(ORPHANED, ORPHANED, uncovered, uncovered, agreeing()), world)
    assert outcomes(events) == [(Verb.REMOVE_ORPHAN_BRICK, Stage.DONE), (Verb.RESYNC_DEVICE, Stage.DONE)]


def test_a_device_that_cannot_be_measured() -> None:
    world = World()
    world.state = operation_pb2.OPERATION_STATE_FAILED
    events = repaired(Looks(group_changed(free_bytes=0)(agreeing())), world)
    assert outcomes(events) == [(Verb.RESYNC_DEVICE, Stage.FAILED)]
