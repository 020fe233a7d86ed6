"""Steps on nodes that several kinds have in common: bricks, and what gluster is told of them."""

from collections.abc import Iterable, Mapping, Sequence

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.volume_pb2 import BRICK_ROLE_ARBITER, Brick, Volume
from gateway.clients import storage_hostname
from gateway.operations.work import Work, all_or_first_error, node_with_id, on_first_answering


async def create_brick(
    work: Work, nodes: Mapping[str, Node], volume: Volume, brick: Brick
) -> executor_pb2.CreateBrickResponse:
    """Makes a brick of a volume on its node."""
    answer: executor_pb2.CreateBrickResponse = await work.change(
        node_with_id(nodes, brick.node_id),
        "CreateBrick",
        executor_pb2.CreateBrickRequest(brick=brick, gid=volume.gid),
        step="create brick",
        key=f"create-brick/{brick.id}",
    )
    return answer


async def delete_brick(
    work: Work, nodes: Mapping[str, Node], brick: Brick, *, key: str
) -> executor_pb2.DeleteBrickResponse:
    """Removes a brick from its node."""
    answer: executor_pb2.DeleteBrickResponse = await work.change(
        node_with_id(nodes, brick.node_id),
        "DeleteBrick",
        executor_pb2.DeleteBrickRequest(brick=brick),
        step="delete brick",
        key=f"{key}/{brick.id}",
    )
    return answer


async def delete_bricks(work: Work, nodes: Mapping[str, Node], bricks: Sequence[Brick], *, key: str) -> list[str]:
    """Removes bricks side by side; gives the ids of those whose thin pool is gone too."""
    answers = await all_or_first_error([delete_brick(work, nodes, brick, key=key) for brick in bricks])
    return [brick.id for brick, answer in zip(bricks, answers, strict=True) if answer.thin_pool_removed]


async def sync_bricks(work: Work, nodes: Mapping[str, Node], bricks: Sequence[Brick]) -> None:
    """Lets every node write its bricks of a volume to disk, after gluster has marked them."""
    await all_or_first_error([sync_node(work, nodes, on_node) for on_node in bricks_by_node(bricks)])


async def sync_node(work: Work, nodes: Mapping[str, Node], bricks: Sequence[Brick]) -> None:
    """The same for bricks of one node."""
    await work.change(
        node_with_id(nodes, bricks[0].node_id),
        "SyncBricks",
        executor_pb2.SyncBricksRequest(bricks=bricks),
        step="write to disk",
        key=f"sync-bricks/{bricks[0].id}",
    )


def bricks_by_node(bricks: Iterable[Brick]) -> list[list[Brick]]:
    """The bricks of each node."""
    by_node: dict[str, list[Brick]] = {}
    for brick in bricks:
        by_node.setdefault(brick.node_id, []).append(brick)
    return list(by_node.values())


async def delete_gluster_volume(work: Work, volume: Volume, nodes: Mapping[str, Node], *, key: str) -> None:
    """Asks a node that holds a brick first: it must be up for its bricks to go anyway."""

    async def attempt(node: Node) -> None:
        await delete_gluster_volume_on(work, node, volume, nodes, key=key)

    await on_first_answering(work, brick_nodes_first(volume, nodes), attempt)


async def delete_gluster_volume_on(
    work: Work, node: Node, volume: Volume, nodes: Mapping[str, Node], *, key: str
) -> None:
    """Asks one node."""
    await work.change(
        node,
        "DeleteVolume",
        executor_pb2.DeleteVolumeRequest(
            name=volume.name, volume_id=volume.id, bricks=gluster_bricks(volume.bricks, nodes)
        ),
        step="delete volume",
        key=key,
    )


def brick_nodes_first(volume: Volume, nodes: Mapping[str, Node]) -> Sequence[Node]:
    """All nodes of the cluster, those with bricks of the volume first."""
    with_bricks = dict.fromkeys(brick.node_id for brick in volume.bricks)
    order = dict.fromkeys([*with_bricks, *sorted(nodes)])
    return [nodes[node_id] for node_id in order if node_id in nodes]


def gluster_bricks(bricks: Iterable[Brick], nodes: Mapping[str, Node]) -> list[executor_pb2.GlusterBrick]:
    """Bricks as gluster addresses them."""
    return [
        executor_pb2.GlusterBrick(hostname=storage_hostname(node_with_id(nodes, brick.node_id)), path=brick.path)
        for brick in bricks
    ]


def holders(bricks: Iterable[Brick], nodes: Mapping[str, Node]) -> list[Node]:
    """The nodes that hold some of the bricks, as far as they are there."""
    return [nodes[node_id] for node_id in dict.fromkeys(brick.node_id for brick in bricks) if node_id in nodes]


def has_arbiter(bricks: Iterable[Brick]) -> bool:
    """Whether there is an arbiter among them."""
    return any(brick.role == BRICK_ROLE_ARBITER for brick in bricks)
