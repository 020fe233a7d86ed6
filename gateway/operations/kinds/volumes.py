"""Create and delete a volume: bricks side by side, one call for the gluster volume."""

from collections.abc import Mapping, Sequence

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2 import CommitOperationRequest, RemovedBricks
from brickyard.topology.v1.volume_pb2 import BRICK_ROLE_ARBITER, Brick, Volume
from gateway.clients import storage_hostname
from gateway.operations.work import Work, all_or_first_error, on_first_answering


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
            nodes[volume.bricks[0].node_id],
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
        await _delete_gluster_volume(work, volume, nodes, key="undo/delete-volume")
        await all_or_first_error([_delete_brick(work, nodes, brick, key="undo") for brick in volume.bricks])


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


async def _create_brick(
    work: Work, nodes: Mapping[str, Node], volume: Volume, brick: Brick
) -> executor_pb2.CreateBrickResponse:
    answer: executor_pb2.CreateBrickResponse = await work.change(
        nodes[brick.node_id],
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
        nodes[brick.node_id],
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
            executor_pb2.DeleteVolumeRequest(name=volume.name, volume_id=volume.id),
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
        bricks=[
            executor_pb2.GlusterBrick(hostname=storage_hostname(nodes[brick.node_id]), path=brick.path)
            for brick in volume.bricks
        ],
        options=[option for option in volume.options if option],
        arbiter=any(brick.role == BRICK_ROLE_ARBITER for brick in volume.bricks),
    )
