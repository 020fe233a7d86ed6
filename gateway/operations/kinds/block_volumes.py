"""Create, delete and expand a block volume, and say whether a hosting volume takes new ones."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.facts_pb2 import BlockVolumeFacts
from brickyard.topology.v1.block_volume_pb2 import BlockVolume
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2 import BlockVolumeAccess, BlockVolumeSize, CommitOperationRequest
from brickyard.topology.v1.volume_pb2 import Volume
from gateway.clients import storage_hostname
from gateway.operations.fencing import fence, fence_answering
from gateway.operations.kinds.create import gluster_volume
from gateway.operations.kinds.steps import (
    bricks_by_node,
    create_brick,
    delete_bricks,
    delete_gluster_volume,
    holders,
    sync_bricks,
)
from gateway.operations.work import Work, all_or_first_error, node_with_id
from services.common.errors import BrickyardError, NotFoundError, UnavailableError
from services.common.reasons import Reason
from services.common.units import TIB

_Answer = TypeVar("_Answer")
# Another node may be able to do what a node with one of these is not.
_PASSED_OVER = frozenset({Reason.AGENT_UNREACHABLE, Reason.GLUSTER_BLOCK_NOT_INSTALLED, Reason.GLUSTERD_NOT_RUNNING})


class CreateBlockVolume:
    """The hosting volume when it needs one, then the block volume in one call. Undone after a crash."""

    redo_after_crash = False
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.create_block_volume
        nodes = await work.nodes_by_id(spec.block_volume.cluster_id)
        work.progress.total_steps = 1
        if spec.HasField("hosting_volume"):
            bricks = spec.hosting_volume.bricks
            work.progress.total_steps += len(bricks) + 1 + len(bricks_by_node(bricks))
            await _make_hosting_volume(work, spec.hosting_volume, nodes)
        wanted = spec.block_volume
        # All hosts must be up for it, so that no other node would do better than the first.
        first = block_nodes_first(wanted, nodes)[0]
        request = executor_pb2.CreateBlockVolumeRequest(
            hosting_volume_name=wanted.hosting_volume_name,
            block_volume_id=wanted.id,
            name=wanted.name,
            size_bytes=wanted.size_bytes,
            hosts=wanted.hosts,
            auth=wanted.auth,
            prealloc=spec.prealloc,
        )
        work.trail.asked_node_ids.add(first.id)
        made: executor_pb2.CreateBlockVolumeResponse = await work.change(
            first, "CreateBlockVolume", request, step="create block volume", key="create-block-volume"
        )
        access = BlockVolumeAccess(iqn=made.iqn, username=made.username, password=made.password)
        return CommitOperationRequest(block_volume_access=access)

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`."""
        spec = work.operation.spec.create_block_volume
        nodes = await work.nodes_by_id(spec.block_volume.cluster_id)
        candidates = block_nodes_first(spec.block_volume, nodes)
        bricks = spec.hosting_volume.bricks
        work.progress.total_steps = 1 + (len(bricks) + 1 if bricks else 0)
        asked = [node for node in candidates if node.id in work.trail.asked_node_ids]
        begun = bool(asked) or work.taken_over
        # A request that is late must not do anything any more where it may have been sent.
        await fence(work, [*(asked or candidates[:1]), *holders(bricks, nodes)], others=candidates)
        if begun:
            await _delete(work, spec.block_volume, nodes, key=f"{work.undo_key}/delete-block-volume")
        if bricks:
            volume = spec.hosting_volume
            await delete_gluster_volume(work, volume, nodes, key=f"{work.undo_key}/delete-volume")
            await delete_bricks(work, nodes, bricks, key=work.undo_key)


async def _make_hosting_volume(work: Work, volume: Volume, nodes: Mapping[str, Node]) -> None:
    await all_or_first_error([create_brick(work, nodes, volume, brick) for brick in volume.bricks])
    await work.change(
        node_with_id(nodes, volume.bricks[0].node_id),
        "CreateVolume",
        gluster_volume(volume, nodes),
        step="create hosting volume",
        key="create-volume",
    )
    await sync_bricks(work, nodes, volume.bricks)


class DeleteBlockVolume:
    """One call. Carried on after a crash; a repeated delete resumes it. The hosting volume stays."""

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        volume = work.operation.spec.delete_block_volume.block_volume
        nodes = await work.nodes_by_id(volume.cluster_id)
        work.progress.total_steps = 1
        if work.taken_over:
            # A request to the driver before may be late, and then another block volume may have the name.
            await fence_answering(work, block_nodes_first(volume, nodes))
        await _delete(work, volume, nodes, key="delete-block-volume")
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """Nothing can be taken back: the block volume stays listed, and deleting it again goes on."""


async def _delete(work: Work, volume: BlockVolume, nodes: Mapping[str, Node], *, key: str) -> None:
    async def attempt(node: Node) -> None:
        request = executor_pb2.DeleteBlockVolumeRequest(
            hosting_volume_name=volume.hosting_volume_name, block_volume_id=volume.id, name=volume.name
        )
        await work.change(node, "DeleteBlockVolume", request, step="delete block volume", key=key)

    await _on_block_node(work, block_nodes_first(volume, nodes), attempt)


class ExpandBlockVolume:
    """One call. Carried on after a crash. When a host does not follow, gluster-block tells what was reached."""

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.expand_block_volume
        nodes = await work.nodes_by_id(spec.block_volume.cluster_id)
        work.progress.total_steps = 1
        candidates = block_nodes_first(spec.block_volume, nodes)
        if work.taken_over:
            await fence_answering(work, candidates)

        async def attempt(node: Node) -> BlockVolumeFacts:
            request = executor_pb2.ExpandBlockVolumeRequest(
                hosting_volume_name=spec.block_volume.hosting_volume_name,
                name=spec.block_volume.name,
                size_bytes=spec.new_size_bytes,
            )
            answer: executor_pb2.ExpandBlockVolumeResponse = await work.change(
                node, "ExpandBlockVolume", request, step="expand block volume", key="expand-block-volume"
            )
            return answer.block_volume

        found = await _on_block_node(work, candidates, attempt)
        size = BlockVolumeSize(
            size_bytes=spec.new_size_bytes, usable_size_bytes=_usable_bytes(found, spec.new_size_bytes)
        )
        return CommitOperationRequest(expanded_block_volume=size)

    async def undo(self, work: Work) -> BlockVolumeSize | None:
        """See `Kind.undo`: nothing is taken back; a size that was reached is kept, for some hosts export it."""
        spec = work.operation.spec.expand_block_volume
        nodes = await work.nodes_by_id(spec.block_volume.cluster_id)
        work.progress.total_steps = 1
        candidates = block_nodes_first(spec.block_volume, nodes)
        await fence_answering(work, candidates)

        async def look(node: Node) -> BlockVolumeFacts | None:
            request = executor_pb2.GetBlockVolumeRequest(
                hosting_volume_name=spec.block_volume.hosting_volume_name, name=spec.block_volume.name
            )
            work.progress.step = "look at block volume"
            try:
                answer = await work.ask(node, "GetBlockVolume", request, timeout_s=work.patience.change_s)
            except NotFoundError as error:
                if error.reason is not Reason.GLUSTER_BLOCK_VOLUME_NOT_FOUND:
                    raise
                return None
            found: BlockVolumeFacts = answer.block_volume
            return found

        found = await _on_block_node(work, candidates, look)
        if found is None or not reached(found, old_bytes=spec.block_volume.size_bytes, new_bytes=spec.new_size_bytes):
            return None
        return BlockVolumeSize(
            size_bytes=spec.new_size_bytes, usable_size_bytes=_usable_bytes(found, spec.new_size_bytes)
        )


def reached(found: BlockVolumeFacts, *, old_bytes: int, new_bytes: int) -> bool:
    """Whether a block volume has its new size; gluster-block tells sizes from 1 TiB to a tenth of a TiB only.

    Sizes that look alike are told apart by hosts that did not follow: there are some only after a resize began.
    """
    like_new, like_old = (_looks_like(found.size_bytes, each) for each in (new_bytes, old_bytes))
    return like_new and (not like_old or found.usable_size_bytes < found.size_bytes)


def _looks_like(shown_bytes: int, exact_bytes: int) -> bool:
    tolerance = TIB // 20 + 1 if exact_bytes >= TIB else 0
    return abs(shown_bytes - exact_bytes) <= tolerance


def _usable_bytes(found: BlockVolumeFacts, size_bytes: int) -> int:
    """What every host exports of a block volume that has the size."""
    if found.usable_size_bytes >= found.size_bytes:
        return size_bytes
    return min(found.usable_size_bytes, size_bytes)


class SetBlockRestriction:
    """The topology alone decides; no node is touched."""

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        work.progress.total_steps = 0
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """Nothing was done."""


def block_nodes_first(volume: BlockVolume, nodes: Mapping[str, Node]) -> Sequence[Node]:
    """All nodes of the cluster, those that export the block volume first, in its order.

    Raises:
        NotFoundError: NODE_NOT_FOUND, the cluster has no node any more.
    """
    by_host = {storage_hostname(node): node.id for node in nodes.values()}
    exporting = [by_host[host] for host in volume.hosts if host in by_host]
    order = dict.fromkeys([*exporting, *sorted(nodes)])
    if not order:
        raise NotFoundError(
            Reason.NODE_NOT_FOUND, f"cluster {volume.cluster_id} has no nodes", cluster_id=volume.cluster_id
        )
    return [nodes[node_id] for node_id in order]


async def _on_block_node(work: Work, nodes: Sequence[Node], attempt: Callable[[Node], Awaitable[_Answer]]) -> _Answer:
    """Runs `attempt` on the first node that answers and has gluster-block.

    Raises:
        BrickyardError: What that node raised; when there is none, what the first node had to say.
    """
    failure: BrickyardError | None = None
    for node in nodes:
        try:
            return await attempt(node)
        except BrickyardError as error:
            if error.reason not in _PASSED_OVER:
                raise
            failure = failure or error
    work.progress.step = "no node answers"
    raise failure or UnavailableError(Reason.AGENT_UNREACHABLE, "no hosts available (0 total)", node_count=0)
