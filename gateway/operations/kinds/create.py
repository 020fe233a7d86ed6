"""Create a volume, and clean up what a creation had to leave behind."""

import asyncio
from collections.abc import Mapping, Sequence

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.facts_pb2 import GlusterdFacts
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2 import CommitOperationRequest, RemovedBricks
from brickyard.topology.v1.volume_pb2 import Brick, Volume
from gateway.clients import manage_hostname, storage_hostname
from gateway.operations.fencing import end_operation, fence_answering
from gateway.operations.kinds.steps import (
    bricks_by_node,
    create_brick,
    delete_brick,
    delete_bricks,
    delete_gluster_volume_on,
    gluster_bricks,
    has_arbiter,
    sync_node,
)
from gateway.operations.work import Work, all_or_first_error, node_with_id
from services.common.errors import BrickyardError, UnavailableError
from services.common.reasons import Reason

# What one device may do wrong and another one right.
_OF_THE_DEVICE = frozenset(
    {
        Reason.LVM_FAILED,
        Reason.FILESYSTEM_FAILED,
        Reason.NO_SPACE_ON_DEVICE,
        Reason.BRICK_BUSY,
        Reason.COMMAND_TIMED_OUT,
    }
)
# A node that does not do its part, whatever is asked of it.
_OF_THE_NODE = frozenset(
    {Reason.AGENT_UNREACHABLE, Reason.UNAVAILABLE, Reason.GLUSTERD_NOT_RUNNING, Reason.NODE_NOT_FOUND}
)


class CreateVolume:
    """Bricks on all nodes in parallel, then create, options and start in one call. Undone after a crash.

    A failure of a node or a device is no failure of the volume: it is placed anew without them.
    """

    redo_after_crash = False
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        volume = work.operation.spec.create_volume.volume
        nodes = await work.brick_nodes(volume)
        work.progress.total_steps = len(volume.bricks) + 1 + len(bricks_by_node(volume.bricks))
        await all_or_first_error([_create_brick(work, nodes, volume, brick) for brick in volume.bricks])
        work.trail.asked_node_ids.add(volume.bricks[0].node_id)
        try:
            await work.change(
                node_with_id(nodes, volume.bricks[0].node_id),
                "CreateVolume",
                gluster_volume(volume, nodes),
                step="create volume",
                # After it was placed anew, it is another request.
                key="create-volume" if work.operation.placement_count <= 1 else f"create-volume/{volume.bricks[0].id}",
            )
        except BrickyardError as error:
            if error.metadata.get("untouched"):
                work.trail.asked_node_ids.discard(volume.bricks[0].node_id)
            await _blame_daemons(work, volume, nodes, error)
            raise
        await all_or_first_error([_sync(work, nodes, bricks) for bricks in bricks_by_node(volume.bricks)])
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`.

        Bricks on nodes that do not answer are left, when gluster cannot know them: the operation need not wait.
        """
        volume = work.operation.spec.create_volume.volume
        nodes = await work.nodes_by_id(volume.cluster_id)
        work.progress.total_steps = len(volume.bricks) + 1
        work.trail.left_brick_ids.clear()
        silent = await fence_answering(work, [node_with_id(nodes, brick.node_id) for brick in volume.bricks])
        await _delete_volume(work, volume, nodes, silent)
        answering = [brick for brick in volume.bricks if brick.node_id not in silent]
        results = await asyncio.gather(
            *(delete_brick(work, nodes, brick, key=work.undo_key) for brick in answering), return_exceptions=True
        )
        for brick, result in zip(answering, results, strict=True):
            if isinstance(result, UnavailableError) and result.reason is Reason.AGENT_UNREACHABLE:
                silent[brick.node_id] = result
            elif isinstance(result, BaseException):
                raise result
        work.trail.failed_node_ids |= set(silent)
        work.trail.left_brick_ids |= {brick.id for brick in volume.bricks if brick.node_id in silent}
        work.trail.asked_node_ids.clear()


async def _delete_volume(
    work: Work, volume: Volume, nodes: Mapping[str, Node], silent: Mapping[str, UnavailableError]
) -> None:
    """Removes the gluster volume where its making was asked for.

    Raises:
        BrickyardError: That node does not answer, or gluster does not let it happen. Whether gluster has the volume,
            and would spread it again, cannot be told then.
    """
    first = node_with_id(nodes, volume.bricks[0].node_id)
    if first.id not in work.trail.asked_node_ids and not work.taken_over:
        work.progress.completed_steps += 1
        return
    if first.id in silent:
        raise silent[first.id]
    await delete_gluster_volume_on(work, first, volume, nodes, key=f"{work.undo_key}/delete-volume")


async def _create_brick(work: Work, nodes: Mapping[str, Node], volume: Volume, brick: Brick) -> None:
    """Makes a brick; remembers what is to blame when that fails."""
    try:
        await create_brick(work, nodes, volume, brick)
    except BrickyardError as error:
        _blame(work, [brick], error)
        raise


async def _sync(work: Work, nodes: Mapping[str, Node], bricks: Sequence[Brick]) -> None:
    """Writes the bricks of a node to disk; remembers what is to blame when that fails."""
    try:
        await sync_node(work, nodes, bricks)
    except BrickyardError as error:
        _blame(work, bricks, error)
        raise


def _blame(work: Work, bricks: Sequence[Brick], error: BrickyardError) -> None:
    # A bug of one agent, with a brick, may be none of the others.
    if error.reason in _OF_THE_NODE or error.reason is Reason.INTERNAL:
        work.trail.failed_node_ids |= {brick.node_id for brick in bricks}
    elif error.reason in _OF_THE_DEVICE:
        work.trail.failed_device_ids |= {brick.device_id for brick in bricks}


async def _blame_daemons(work: Work, volume: Volume, nodes: Mapping[str, Node], error: BrickyardError) -> None:
    """Remembers the nodes without which gluster could not make the volume; none when it refused the volume itself."""
    first = volume.bricks[0].node_id
    if error.reason in _OF_THE_NODE:
        work.trail.failed_node_ids.add(first)
    if error.reason is not Reason.GLUSTER_FAILED:
        return
    holders = {brick.node_id: node_with_id(nodes, brick.node_id) for brick in volume.bricks}
    answers = await asyncio.gather(*(_glusterd(work, node) for node in holders.values()))
    seen = dict(zip(holders, answers, strict=True))
    work.trail.failed_node_ids |= {node_id for node_id, state in seen.items() if state is None or not state.running}
    asked = seen[first]
    if asked is not None:
        gone = {peer.hostname for peer in asked.peers if not peer.connected}
        work.trail.failed_node_ids |= {node.id for node in holders.values() if storage_hostname(node) in gone}


async def _glusterd(work: Work, node: Node) -> GlusterdFacts | None:
    """The state of a node's glusterd; None when the node does not tell."""
    try:
        answer = await work.agents.call(manage_hostname(node), "GetGlusterd", executor_pb2.GetGlusterdRequest())
    except BrickyardError:
        return None
    state: GlusterdFacts = answer.glusterd
    return state


class CleanUp:
    """Removes bricks on nodes that did not answer or could not do it, as soon as they can; it goes on until then."""

    redo_after_crash = True
    never_gives_up = True

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.clean_up
        nodes = await work.nodes_by_id(spec.volume.cluster_id)
        work.progress.total_steps = len(spec.volume.bricks)

        async def clean(bricks: Sequence[Brick]) -> list[str]:
            # A request to make or remove them may still be on its way.
            await end_operation(work, node_with_id(nodes, bricks[0].node_id), spec.origin_operation_id)
            return await delete_bricks(work, nodes, bricks, key=work.undo_key)

        cleaned = [clean(bricks) for bricks in bricks_by_node(spec.volume.bricks)]
        reclaimed = [brick_id for each in await all_or_first_error(cleaned) for brick_id in each]
        return CommitOperationRequest(removed_bricks=RemovedBricks(reclaimed_brick_ids=reclaimed))

    async def undo(self, work: Work) -> None:
        """Nothing to take back: it takes back itself."""


def gluster_volume(volume: Volume, nodes: Mapping[str, Node]) -> executor_pb2.CreateVolumeRequest:
    """What an agent is told to make a volume."""
    return executor_pb2.CreateVolumeRequest(
        volume_id=volume.id,
        name=volume.name,
        durability=volume.durability,
        bricks=gluster_bricks(volume.bricks, nodes),
        options=[option for option in volume.options if option],
        arbiter=has_arbiter(volume.bricks),
    )
