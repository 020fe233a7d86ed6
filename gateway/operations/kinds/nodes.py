"""Add and delete a node."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.facts_pb2 import GlusterdFacts
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_service_pb2 import CommitOperationRequest
from gateway.clients import manage_hostname, storage_hostname
from gateway.operations.fencing import fence_answering
from gateway.operations.work import Work, node_with_id, on_first_answering
from services.common.errors import BrickyardError
from services.common.logs import get_logger

_log = get_logger()
# glusterds try to connect every three seconds.
ACQUAINTED_WITHIN_S = 15.0
_ACQUAINTANCE_PAUSE_S = 0.3
# How many members besides the one that probed say whether they have met a new one.
_WITNESSES = 6


class AddNode:
    """A peer probe from a node of the cluster; the first node needs none."""

    redo_after_crash = False
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.add_node
        if spec.probing_node_id:
            work.progress.total_steps = 1
            nodes = await work.nodes_by_id(spec.node.cluster_id)
            await work.change(
                node_with_id(nodes, spec.probing_node_id),
                "ProbePeer",
                executor_pb2.ProbePeerRequest(hostname=storage_hostname(spec.node)),
                step="probe peer",
                key="probe-peer",
            )
            probing = nodes[spec.probing_node_id]
            await _await_acquaintance(work, [probing, *_witnesses(work, nodes, probing), spec.node])
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """See `Kind.undo`."""
        spec = work.operation.spec.add_node
        if spec.probing_node_id:
            work.progress.total_steps = 1
            nodes = await work.nodes_by_id(spec.node.cluster_id)
            # Only if it answers: any other node can detach the peer as well.
            await fence_answering(work, [nodes[spec.probing_node_id]] if spec.probing_node_id in nodes else [])
            await _detach(work, nodes, spec.node, key=f"{work.undo_key}/detach-peer")


def _witnesses(work: Work, nodes: Mapping[str, Node], probing: Node) -> Sequence[Node]:
    """Some other members, others for each newcomer: asking all would make a cluster of n nodes n^3 peers' work."""

    def turn(node: Node) -> str:
        return hashlib.sha256(f"{work.operation.id} {node.id}".encode()).hexdigest()

    return sorted((node for node in nodes.values() if node.id != probing.id), key=turn)[:_WITNESSES]


async def _await_acquaintance(work: Work, asked: Sequence[Node]) -> None:
    """Waits until the glusterds that run are connected to the newcomer and it to them, for a while.

    The one that probed knows the new peer at once, the others connect to it later; a volume that comes in between is
    refused, and leaves marks on its bricks.

    Args:
        work: The attempt at the operation.
        asked: The member that probed, some others as witnesses, and the newcomer last.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ACQUAINTED_WITHIN_S
    while not await _are_acquainted(work, asked):
        if loop.time() > deadline:
            # Not this operation's failure: the peer is in the pool, and some other connection is broken.
            _log.warning("node.peers_not_connected", node=storage_hostname(asked[-1]))
            return
        await asyncio.sleep(_ACQUAINTANCE_PAUSE_S)


async def _are_acquainted(work: Work, asked: Sequence[Node]) -> bool:
    answers = await asyncio.gather(
        *(work.agents.call(manage_hostname(node), "GetGlusterd", executor_pb2.GetGlusterdRequest()) for node in asked),
        return_exceptions=True,
    )
    seen: list[GlusterdFacts | None] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            if not isinstance(answer, BrickyardError):
                raise answer
            seen.append(None)
        else:
            seen.append(answer.glusterd if answer.glusterd.running else None)
    newcomer = seen[-1]
    told = [glusterd for glusterd in seen if glusterd is not None]
    # Who probed knows the newcomer at once. A glusterd that nobody knows is not of this pool, and will not be met.
    known = {peer.uuid for glusterd in told for peer in glusterd.peers}
    running = {glusterd.peer_uuid for glusterd in told} & known
    if not all(running <= _reached(glusterd) for glusterd in told):
        return False
    if newcomer is None or newcomer.peer_uuid not in known:
        return True
    # Of the members that were not asked the others tell which ones run, and the newcomer whether it has met them: it
    # and they connect to each other when they are told of each other.
    members = {uuid for glusterd in told if glusterd is not newcomer for uuid in _reached(glusterd)}
    return members <= _reached(newcomer)


def _reached(glusterd: GlusterdFacts) -> set[str]:
    """Whom a glusterd is connected to, itself included."""
    return {glusterd.peer_uuid, *(peer.uuid for peer in glusterd.peers if peer.connected)}


class DeleteNode:
    """A peer detach from another node of the cluster; the last node needs none. Carried on after a crash."""

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        node = work.operation.spec.delete_node.node
        others = await work.nodes_by_id(node.cluster_id)
        others.pop(node.id, None)
        if others:
            work.progress.total_steps = 1
            await _detach(work, others, node, key="detach-peer")
        return CommitOperationRequest()

    async def undo(self, work: Work) -> None:
        """Nothing to take back: the node stays, and deleting it again detaches a peer that is none any more."""


async def _detach(work: Work, from_nodes: dict[str, Node], node: Node, *, key: str) -> None:
    async def attempt(other: Node) -> executor_pb2.DetachPeerResponse:
        answer: executor_pb2.DetachPeerResponse = await work.change(
            other,
            "DetachPeer",
            # It has no bricks. Other nodes may be down, and a dead one must be removable.
            executor_pb2.DetachPeerRequest(hostname=storage_hostname(node), force=True),
            step="detach peer",
            key=key,
        )
        return answer

    others = [from_nodes[node_id] for node_id in sorted(from_nodes) if node_id != node.id]
    await on_first_answering(work, others, attempt)
