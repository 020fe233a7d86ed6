"""Create, expand, clone and delete a volume: bricks side by side, one call for the gluster volume."""

from collections.abc import Iterable, Mapping, Sequence

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2 import (
    ClonedBrick,
    ClonedBricks,
    CommitOperationRequest,
    RemovedBricks,
)
from brickyard.topology.v1.volume_pb2 import BRICK_ROLE_ARBITER, Brick, Volume
from gateway.clients import storage_hostname
from gateway.operations.work import Work, all_or_first_error, node_with_id, on_first_answering


class CreateVolume:
    """Bricks on all nodes in parallel, then create, options and start in one call. Undone after a crash."""

    redo_after_crash = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        volume = work.operation.spec.create_volume.volume
        nodes = await work.nodes_by_id(volume.cluster_id)
        work.progress.total_steps = len(volume.bricks) + 1
        await all_or_first_error([_create_brick(work, nodes, volume, brick) for brick in volume.bricks])
        await work.change(
            node_with_id(nodes, volume.bricks[0].node_id),
            "CreateVolume",
            _gluster_volume(volume, nodes),
            step="create volume",
            key="create-volume",
        )
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`."""
        volume = work.operation.spec.create_volume.volume
        nodes = await work.nodes_by_id(volume.cluster_id)
        work.progress.total_steps = len(volume.bricks) + 1
        await _delete_gluster_volume(work, volume, nodes, key=f"{work.undo_key}/delete-volume")
        await all_or_first_error([_delete_brick(work, nodes, brick, key=work.undo_key) for brick in volume.bricks])


class DeleteVolume:
    """The gluster volume, then its bricks in parallel. Carried on after a crash; a repeated delete resumes it."""

    redo_after_crash = True

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        volume = work.operation.spec.delete_volume.volume
        nodes = await work.nodes_by_id(volume.cluster_id)
        work.progress.total_steps = len(volume.bricks) + 1
        await _delete_gluster_volume(work, volume, nodes, key="delete-volume")
        answers = await all_or_first_error([_delete_brick(work, nodes, brick, key="delete") for brick in volume.bricks])
        reclaimed = [brick.id for brick, answer in zip(volume.bricks, answers, strict=True) if answer.thin_pool_removed]
        return CommitOperationRequest(removed_bricks=RemovedBricks(reclaimed_brick_ids=reclaimed))

    async def undo(self, work: Work) -> None:
        """Nothing can be taken back: the volume stays listed, and deleting it again goes on where this one stopped."""


class ExpandVolume:
    """New bricks on all nodes in parallel, then one call that adds them.

    Carried on after a crash: once gluster has the bricks, clients may have put files on them.
    """

    redo_after_crash = True

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.expand_volume
        nodes = await work.nodes_by_id(spec.volume.cluster_id)
        work.progress.total_steps = len(spec.bricks) + 1
        await all_or_first_error([_create_brick(work, nodes, spec.volume, brick) for brick in spec.bricks])

        async def add(node: Node) -> executor_pb2.AddBricksResponse:
            request = executor_pb2.AddBricksRequest(
                name=spec.volume.name,
                volume_id=spec.volume_id,
                durability=spec.volume.durability,
                bricks=_gluster_bricks(spec.bricks, nodes),
                arbiter=_has_arbiter(spec.bricks),
                rebalance=spec.rebalance,
            )
            answer: executor_pb2.AddBricksResponse = await work.change(
                node, "AddBricks", request, step="add bricks", key="add-bricks"
            )
            return answer

        await on_first_answering(work, _brick_nodes_first(spec.volume, nodes), add)
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
                bricks=_gluster_bricks(spec.bricks, nodes),
            )
            answer: executor_pb2.RemoveBricksResponse = await work.change(
                node, "RemoveBricks", request, step="remove bricks", key=f"{work.undo_key}/remove-bricks"
            )
            return answer

        await on_first_answering(work, _brick_nodes_first(spec.volume, nodes), remove)
        await all_or_first_error([_delete_brick(work, nodes, brick, key=work.undo_key) for brick in spec.bricks])


class CloneVolume:
    """One call: gluster snapshots the thin LVs and makes a volume of them. Carried on after a crash."""

    redo_after_crash = True

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.clone_volume
        nodes = await work.nodes_by_id(spec.source.cluster_id)
        work.progress.total_steps = 1

        async def clone(node: Node) -> executor_pb2.CloneVolumeResponse:
            request = executor_pb2.CloneVolumeRequest(
                source_name=spec.source.name,
                source_volume_id=spec.source_volume_id,
                name=_clone_name(work),
                volume_id=spec.volume_id,
            )
            answer: executor_pb2.CloneVolumeResponse = await work.change(
                node, "CloneVolume", request, step="clone volume", key="clone-volume"
            )
            return answer

        answer = await on_first_answering(work, _brick_nodes_first(spec.source, nodes), clone)
        bricks = [
            ClonedBrick(brick_id=brick_id, path=brick.path, lv_name=lv_name)
            for brick_id, brick, lv_name in zip(spec.brick_ids, answer.bricks, answer.lv_names, strict=True)
        ]
        return CommitOperationRequest(cloned_bricks=ClonedBricks(bricks=bricks))

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`."""
        spec = work.operation.spec.clone_volume
        nodes = await work.nodes_by_id(spec.source.cluster_id)
        pools = {(brick.node_id, brick.device_id, brick.thin_pool_name) for brick in spec.source.bricks}
        work.progress.total_steps = len(pools) + 1
        copy = Volume(id=spec.volume_id, name=_clone_name(work), bricks=spec.source.bricks)
        await _delete_gluster_volume(work, copy, nodes, key=f"{work.undo_key}/delete-volume")
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


def _clone_name(work: Work) -> str:
    spec = work.operation.spec.clone_volume
    return spec.name or f"vol_{spec.volume_id}"


async def _create_brick(
    work: Work, nodes: Mapping[str, Node], volume: Volume, brick: Brick
) -> executor_pb2.CreateBrickResponse:
    answer: executor_pb2.CreateBrickResponse = await work.change(
        node_with_id(nodes, brick.node_id),
        "CreateBrick",
        executor_pb2.CreateBrickRequest(brick=brick, gid=volume.gid),
        step="create brick",
        key=f"create-brick/{brick.id}",
    )
    return answer


async def _delete_brick(
    work: Work, nodes: Mapping[str, Node], brick: Brick, *, key: str
) -> executor_pb2.DeleteBrickResponse:
    answer: executor_pb2.DeleteBrickResponse = await work.change(
        node_with_id(nodes, brick.node_id),
        "DeleteBrick",
        executor_pb2.DeleteBrickRequest(brick=brick),
        step="delete brick",
        key=f"{key}/{brick.id}",
    )
    return answer


async def _delete_gluster_volume(work: Work, volume: Volume, nodes: Mapping[str, Node], *, key: str) -> None:
    """Asks a node that holds a brick first: it must be up for its bricks to go anyway."""

    async def attempt(node: Node) -> executor_pb2.DeleteVolumeResponse:
        answer: executor_pb2.DeleteVolumeResponse = await work.change(
            node,
            "DeleteVolume",
            executor_pb2.DeleteVolumeRequest(
                name=volume.name, volume_id=volume.id, bricks=_gluster_bricks(volume.bricks, nodes)
            ),
            step="delete volume",
            key=key,
        )
        return answer

    await on_first_answering(work, _brick_nodes_first(volume, nodes), attempt)


def _brick_nodes_first(volume: Volume, nodes: Mapping[str, Node]) -> Sequence[Node]:
    with_bricks = dict.fromkeys(brick.node_id for brick in volume.bricks)
    order = dict.fromkeys([*with_bricks, *sorted(nodes)])
    return [nodes[node_id] for node_id in order if node_id in nodes]


def _gluster_volume(volume: Volume, nodes: Mapping[str, Node]) -> executor_pb2.CreateVolumeRequest:
    return executor_pb2.CreateVolumeRequest(
        volume_id=volume.id,
        name=volume.name,
        durability=volume.durability,
        bricks=_gluster_bricks(volume.bricks, nodes),
        options=[option for option in volume.options if option],
        arbiter=_has_arbiter(volume.bricks),
    )


def _gluster_bricks(bricks: Iterable[Brick], nodes: Mapping[str, Node]) -> list[executor_pb2.GlusterBrick]:
    return [
        executor_pb2.GlusterBrick(hostname=storage_hostname(node_with_id(nodes, brick.node_id)), path=brick.path)
        for brick in bricks
    ]


def _has_arbiter(bricks: Iterable[Brick]) -> bool:
    return any(brick.role == BRICK_ROLE_ARBITER for brick in bricks)
