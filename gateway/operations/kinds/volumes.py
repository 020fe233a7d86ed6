"""Expand, clone and delete a volume: bricks side by side, one call for the gluster volume."""

import asyncio
from collections.abc import Iterable, Mapping

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2 import (
    ClonedBrick,
    ClonedBricks,
    CommitOperationRequest,
    RemovedBricks,
)
from brickyard.topology.v1.volume_pb2 import Brick, Volume
from gateway.operations.fencing import fence, fence_answering
from gateway.operations.kinds.steps import (
    brick_nodes_first,
    bricks_by_node,
    create_brick,
    delete_brick,
    delete_bricks,
    delete_gluster_volume,
    gluster_bricks,
    has_arbiter,
    holders,
    sync_bricks,
)
from gateway.operations.work import Work, all_or_first_error, node_with_id, on_first_answering
from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()


class DeleteVolume:
    """The gluster volume, then its bricks in parallel. Carried on after a crash.

    While gluster has the volume, a failure leaves all as it was. Without it there is no volume any more, so bricks that
    their nodes do not remove now are no reason to fail: a clean-up has them as soon as they can be removed.
    """

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        volume = work.operation.spec.delete_volume.volume
        nodes = await work.nodes_by_id(volume.cluster_id)
        work.progress.total_steps = len(volume.bricks) + 1
        work.trail.left_brick_ids.clear()
        await delete_gluster_volume(work, volume, nodes, key="delete-volume")
        results = await asyncio.gather(
            *(delete_brick(work, nodes, brick, key="delete") for brick in volume.bricks), return_exceptions=True
        )
        reclaimed = []
        for brick, result in zip(volume.bricks, results, strict=True):
            if isinstance(result, BrickyardError) and result.reason is not Reason.LEASE_LOST:
                work.trail.left_brick_ids.add(brick.id)
                _log.warning("brick.left_behind", brick_id=brick.id, node_id=brick.node_id, error=result.message)
            elif isinstance(result, BaseException):
                raise result
            elif result.thin_pool_removed:
                reclaimed.append(brick.id)
        return CommitOperationRequest(removed_bricks=RemovedBricks(reclaimed_brick_ids=reclaimed))

    async def undo(self, work: Work) -> RemovedBricks | None:
        """See `Kind.undo`: the volume serves its clients again; if gluster has lost it after all, it is gone."""
        volume = work.operation.spec.delete_volume.volume
        nodes = await work.nodes_by_id(volume.cluster_id)
        work.progress.total_steps = 1
        work.trail.left_brick_ids.clear()

        async def start(node: Node) -> executor_pb2.StartVolumeResponse:
            request = executor_pb2.StartVolumeRequest(name=volume.name, volume_id=volume.id)
            answer: executor_pb2.StartVolumeResponse = await work.change(
                node, "StartVolume", request, step="start volume again", key=f"{work.undo_key}/start-volume"
            )
            return answer

        try:
            await on_first_answering(work, brick_nodes_first(volume, nodes), start)
        except BrickyardError as error:
            if error.reason is Reason.LEASE_LOST:
                raise
            if error.reason is not Reason.GLUSTER_VOLUME_NOT_FOUND:
                # It stays listed, and deleting it again goes on; nobody waits for a node until then.
                _log.warning("volume.not_started_again", volume_id=volume.id, error=error.message)
                return None
            work.trail.left_brick_ids |= {brick.id for brick in volume.bricks}
            return RemovedBricks()
        return None


class ExpandVolume:
    """New bricks on all nodes in parallel, then one call that adds them.

    Carried on after a crash: once gluster has the bricks, clients may have put files on them.
    """

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.expand_volume
        nodes = await work.nodes_by_id(spec.volume.cluster_id)
        work.progress.total_steps = len(spec.bricks) + 1 + len(bricks_by_node(spec.bricks))
        if work.taken_over:
            await fence_answering(work, holders([*spec.bricks, *spec.volume.bricks], nodes))
        await all_or_first_error([create_brick(work, nodes, spec.volume, brick) for brick in spec.bricks])

        async def add(node: Node) -> executor_pb2.AddBricksResponse:
            request = executor_pb2.AddBricksRequest(
                name=spec.volume.name,
                volume_id=spec.volume_id,
                durability=spec.volume.durability,
                bricks=gluster_bricks(spec.bricks, nodes),
                arbiter=has_arbiter(spec.bricks),
                rebalance=spec.rebalance,
                known_bricks=gluster_bricks(spec.volume.bricks, nodes),
            )
            work.trail.asked_node_ids.add(node.id)
            answer: executor_pb2.AddBricksResponse = await work.change(
                node, "AddBricks", request, step="add bricks", key="add-bricks"
            )
            return answer

        await on_first_answering(work, brick_nodes_first(spec.volume, nodes), add, once=True)
        await sync_bricks(work, nodes, spec.bricks)
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`."""
        spec = work.operation.spec.expand_volume
        nodes = await work.nodes_by_id(spec.volume.cluster_id)
        work.progress.total_steps = len(spec.bricks) + 1

        async def remove(node: Node) -> executor_pb2.RemoveBricksResponse:
            request = executor_pb2.RemoveBricksRequest(
                name=spec.volume.name,
                volume_id=spec.volume_id,
                durability=spec.volume.durability,
                bricks=gluster_bricks(spec.bricks, nodes),
                known_bricks=gluster_bricks(spec.volume.bricks, nodes),
            )
            answer: executor_pb2.RemoveBricksResponse = await work.change(
                node, "RemoveBricks", request, step="remove bricks", key=f"{work.undo_key}/remove-bricks"
            )
            return answer

        await fence(work, _asked(work, spec.bricks, nodes), others=holders(spec.volume.bricks, nodes))
        await on_first_answering(work, brick_nodes_first(spec.volume, nodes), remove)
        await delete_bricks(work, nodes, spec.bricks, key=work.undo_key)


class CloneVolume:
    """One call: gluster snapshots the thin LVs and makes a volume of them. Carried on after a crash."""

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.clone_volume
        nodes = await work.nodes_by_id(spec.source.cluster_id)
        work.progress.total_steps = 1 + len(bricks_by_node(spec.source.bricks))
        if work.taken_over:
            await fence_answering(work, holders(spec.source.bricks, nodes))

        async def clone(node: Node) -> executor_pb2.CloneVolumeResponse:
            request = executor_pb2.CloneVolumeRequest(
                source_name=spec.source.name,
                source_volume_id=spec.source_volume_id,
                name=_clone_name(work),
                volume_id=spec.volume_id,
                source_bricks=gluster_bricks(spec.source.bricks, nodes),
            )
            work.trail.asked_node_ids.add(node.id)
            answer: executor_pb2.CloneVolumeResponse = await work.change(
                node, "CloneVolume", request, step="clone volume", key="clone-volume"
            )
            return answer

        answer = await on_first_answering(work, brick_nodes_first(spec.source, nodes), clone, once=True)
        bricks = [
            ClonedBrick(brick_id=brick_id, path=brick.path, lv_name=lv_name)
            for brick_id, brick, lv_name in zip(spec.brick_ids, answer.bricks, answer.lv_names, strict=True)
        ]
        await sync_bricks(work, nodes, [_copied(each, of) for each, of in zip(bricks, spec.source.bricks, strict=True)])
        return CommitOperationRequest(cloned_bricks=ClonedBricks(bricks=bricks))

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`."""
        spec = work.operation.spec.clone_volume
        nodes = await work.nodes_by_id(spec.source.cluster_id)
        pools = {(brick.node_id, brick.device_id, brick.thin_pool_name) for brick in spec.source.bricks}
        work.progress.total_steps = len(pools) + 1
        await fence(work, _asked(work, spec.source.bricks, nodes))
        carried_id = spec.source_volume_id if spec.copy_has_source_id else spec.volume_id
        copy = Volume(id=carried_id, name=_clone_name(work), bricks=spec.source.bricks)
        await delete_gluster_volume(work, copy, nodes, key=f"{work.undo_key}/delete-volume")
        await all_or_first_error(
            [
                work.change(
                    node_with_id(nodes, node_id),
                    "RemoveOrphanCopies",
                    executor_pb2.RemoveOrphanCopiesRequest(device_id=device_id, thin_pool_name=pool),
                    step="remove copies",
                    key=f"{work.undo_key}/{pool}",
                )
                for node_id, device_id, pool in sorted(pools)
            ]
        )


def _copied(clone: ClonedBrick, source: Brick) -> Brick:
    """The brick that gluster has made of another one."""
    copy = Brick()
    copy.CopyFrom(source)
    copy.id, copy.path, copy.lv_name = clone.brick_id, clone.path, clone.lv_name
    return copy


def _asked(work: Work, bricks: Iterable[Brick], nodes: Mapping[str, Node]) -> list[Node]:
    """The nodes that must have let go before anything is taken back: those of the bricks, and whoever asked gluster."""
    asked = [nodes[node_id] for node_id in sorted(work.trail.asked_node_ids) if node_id in nodes]
    return [*holders(bricks, nodes), *asked]


def _clone_name(work: Work) -> str:
    spec = work.operation.spec.clone_volume
    return spec.name or f"vol_{spec.volume_id}"
