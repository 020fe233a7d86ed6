"""Move one brick to another device: a new brick takes its place, and the heal fills it from the rest of the set."""

from collections.abc import Mapping, Sequence
from typing import Any

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.facts_pb2 import BrickHealFacts, GlusterdFacts
from brickyard.topology.v1.node_pb2 import Node
from brickyard.topology.v1.operation_pb2 import EvictBrickSpec
from brickyard.topology.v1.operation_service_pb2 import CommitOperationRequest, RemovedBricks
from brickyard.topology.v1.volume_pb2 import Brick
from gateway.clients import manage_hostname, storage_hostname
from gateway.operations.fencing import fence_answering
from gateway.operations.healing import check_heal
from gateway.operations.kinds.steps import sync_node
from gateway.operations.work import Work, node_with_id
from services.common.errors import BrickyardError, NotFoundError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
# A node that is asked whether it lives at all.
_LIFE_SIGN_S = 5.0
_SILENT = frozenset({Reason.AGENT_UNREACHABLE, Reason.GLUSTERD_NOT_RUNNING})


class EvictBrick:
    """New brick, exchange, removal of the old one. Carried on after a crash: the volume tells how far it came.

    Once gluster has the new brick there is no way back, whatever fails: the old one is removed, or on a dead node or
    disk left to a clean-up, which has it as soon as that answers.
    """

    redo_after_crash = True
    never_gives_up = False

    async def run(self, work: Work) -> CommitOperationRequest:
        """See `Kind.run`."""
        spec = work.operation.spec.evict_brick
        nodes = await work.nodes_by_id(spec.volume.cluster_id)
        work.progress.total_steps = 5
        work.trail.left_brick_ids.clear()
        if work.taken_over:
            # What the last driver asked for may still run there; only after it does the volume tell how far it came.
            await fence_answering(work, [node_with_id(nodes, spec.new_brick.node_id)])
        if not await self._is_exchanged(work, spec, nodes):
            work.progress.step = "check heal"
            await self._check(work, spec, nodes)
            work.progress.completed_steps += 1
            await work.change(
                node_with_id(nodes, spec.new_brick.node_id),
                "CreateBrick",
                executor_pb2.CreateBrickRequest(brick=spec.new_brick, gid=spec.volume.gid),
                step="create brick",
                key=f"create-brick/{spec.new_brick.id}",
            )
            await self._exchange(work, spec, nodes)
        work.progress.completed_steps = 3
        # Before the old brick goes, the new one must outlive a power cut.
        await sync_node(work, nodes, [spec.new_brick])
        reclaimed = await self._remove_old(work, spec, nodes, key="delete")
        return CommitOperationRequest(removed_bricks=_removed(spec, reclaimed=reclaimed))

    async def undo(self, work: Work) -> RemovedBricks | None:
        """Takes the new brick back; if the volume has it, finishes instead, and tells what became of the old one."""
        spec = work.operation.spec.evict_brick
        nodes = await work.nodes_by_id(spec.volume.cluster_id)
        work.progress.total_steps = 2
        work.trail.left_brick_ids.clear()
        if await self._settle(work, spec, nodes, key=f"{work.undo_key}/settle"):
            try:
                reclaimed = await self._remove_old(work, spec, nodes, key=work.undo_key)
            except BrickyardError as error:
                if error.reason is Reason.LEASE_LOST:
                    raise
                # It failed before already; the volume must not be held for it.
                _leave_behind(work, spec, nodes, error)
                reclaimed = False
            return _removed(spec, reclaimed=reclaimed)
        await work.change(
            node_with_id(nodes, spec.new_brick.node_id),
            "DeleteBrick",
            executor_pb2.DeleteBrickRequest(brick=spec.new_brick),
            step="delete brick",
            key=f"{work.undo_key}/{spec.new_brick.id}",
        )
        return None

    async def _check(self, work: Work, spec: EvictBrickSpec, nodes: Mapping[str, Node]) -> None:
        """Whether gluster's volume is the recorded one, and its state lets the brick go."""
        found = await _on_first_working(work, spec, nodes, "GetVolume", _volume_request(spec))
        recorded = [gluster_name(brick, nodes) for brick in spec.volume.bricks]
        if list(found.volume.bricks) != recorded:
            strange = [name for name in found.volume.bricks if name not in recorded] or list(found.volume.bricks)
            raise NotFoundError(
                Reason.BRICKS_NOT_AS_RECORDED,
                f"Id not found\nvolume {spec.volume.name} has bricks in gluster that are recorded otherwise: "
                f"{', '.join(strange)}",
                volume_id=spec.volume.id,
                bricks=", ".join(strange),
            )
        if spec.skip_heal_check:
            return
        statuses: Sequence[BrickHealFacts] = ()
        if len([brick for brick in spec.volume.bricks if brick.set_index == spec.new_brick.set_index]) > 1:
            answer = await _on_first_working(
                work, spec, nodes, "GetHealStatus", executor_pb2.GetHealStatusRequest(name=spec.volume.name)
            )
            statuses = answer.bricks
        names = {gluster_name(brick, nodes): brick.id for brick in spec.volume.bricks}
        check_heal(spec.brick_id, spec.volume, names, statuses)

    async def _exchange(self, work: Work, spec: EvictBrickSpec, nodes: Mapping[str, Node]) -> None:
        """Puts the new brick in the old one's place; a failure counts only if the volume has not got it."""
        new_node = node_with_id(nodes, spec.new_brick.node_id)
        request = executor_pb2.ReplaceBrickRequest(
            name=spec.volume.name,
            volume_id=spec.volume.id,
            old_brick=_gluster_brick(_old(spec), nodes),
            new_brick=_gluster_brick(spec.new_brick, nodes),
            brick=spec.new_brick,
        )
        try:
            await work.change(new_node, "ReplaceBrick", request, step="replace brick", key="replace-brick")
        except BrickyardError as error:
            if error.reason is Reason.LEASE_LOST:
                raise
            if not await self._is_exchanged(work, spec, nodes):
                raise
            _log.warning("brick.replaced_in_spite", brick_id=spec.brick_id, error=error.message)

    async def _is_exchanged(self, work: Work, spec: EvictBrickSpec, nodes: Mapping[str, Node]) -> bool:
        work.progress.step = "look at volume"
        found = await _on_first_working(work, spec, nodes, "GetVolume", _volume_request(spec))
        return gluster_name(spec.new_brick, nodes) in found.volume.bricks

    async def _settle(self, work: Work, spec: EvictBrickSpec, nodes: Mapping[str, Node], *, key: str) -> bool:
        """Whether the volume has the new brick; if not, it never will."""
        request = executor_pb2.SettleReplacementRequest(
            name=spec.volume.name,
            volume_id=spec.volume.id,
            new_brick=_gluster_brick(spec.new_brick, nodes),
            brick=spec.new_brick,
        )
        new_node = node_with_id(nodes, spec.new_brick.node_id)
        try:
            answer = await work.change(new_node, "SettleReplacement", request, step="look at volume", key=key)
        except BrickyardError as error:
            if error.reason not in _SILENT:
                raise
            if await self._is_exchanged(work, spec, nodes):
                return True
            # Its brick is to be removed there, so it has to come back.
            raise
        return bool(answer.replaced)

    async def _remove_old(self, work: Work, spec: EvictBrickSpec, nodes: Mapping[str, Node], *, key: str) -> bool:
        """Removes the old brick, unless its node is dead; tells whether its thin pool is gone.

        Raises:
            BrickyardError: The node lives and could not do it.
        """
        old = _old(spec)
        node = node_with_id(nodes, old.node_id)
        if await _is_dead(work, spec, node, nodes):
            _leave_behind(work, spec, nodes, None)
            return False
        try:
            answer = await work.change(
                node,
                "DeleteBrick",
                executor_pb2.DeleteBrickRequest(brick=old),
                step="delete brick",
                key=f"{key}/{old.id}",
            )
        except BrickyardError as error:
            if error.reason is Reason.LEASE_LOST or (
                error.reason is not Reason.AGENT_UNREACHABLE and await _has_glusterd(work, node)
            ):
                raise
            # Heketi's rule: a node without glusterd may keep what it has for now.
            _leave_behind(work, spec, nodes, error)
            return False
        return bool(answer.thin_pool_removed)


def _leave_behind(work: Work, spec: EvictBrickSpec, nodes: Mapping[str, Node], error: BrickyardError | None) -> None:
    old = _old(spec)
    work.trail.left_brick_ids.add(old.id)
    _log.warning(
        "brick.left_behind",
        brick_id=old.id,
        node=manage_hostname(node_with_id(nodes, old.node_id)),
        device_id=old.device_id,
        lv_name=old.lv_name,
        thin_pool=old.thin_pool_name,
        path=old.path,
        error=error.message if error is not None else "the node does not answer",
    )


async def _is_dead(work: Work, spec: EvictBrickSpec, node: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether neither its agent nor, as another node sees it, its glusterd answers."""
    if await _glusterd(work, node) is not None:
        return False
    other = await _glusterd(work, node_with_id(nodes, spec.new_brick.node_id))
    if other is None or node.id == spec.new_brick.node_id:
        return False
    names = set(node.storage_hostnames)
    return not any(peer.connected and peer.hostname in names for peer in other.peers)


async def _glusterd(work: Work, node: Node) -> GlusterdFacts | None:
    try:
        answer = await work.agents.call(
            manage_hostname(node), "GetGlusterd", executor_pb2.GetGlusterdRequest(), timeout_s=_LIFE_SIGN_S
        )
    except UnavailableError:
        return None
    found: GlusterdFacts = answer.glusterd
    return found


async def _has_glusterd(work: Work, node: Node) -> bool:
    found = await _glusterd(work, node)
    return found is not None and bool(found.running)


async def _on_first_working(
    work: Work, spec: EvictBrickSpec, nodes: Mapping[str, Node], method: str, request: Any
) -> Any:
    """Asks the nodes of the volume, the new brick's first and the old one's last, until one with glusterd answers."""
    order = [spec.new_brick.node_id, *(brick.node_id for brick in spec.volume.bricks if brick.id != spec.brick_id)]
    failure: BrickyardError | None = None
    for node_id in dict.fromkeys([*order, _old(spec).node_id]):
        node = nodes.get(node_id)
        if node is None:
            continue
        work.progress.node_hostname = manage_hostname(node)
        try:
            return await work.agents.call(manage_hostname(node), method, request, timeout_s=work.patience.change_s)
        except BrickyardError as error:
            if error.reason not in _SILENT:
                raise
            failure = error
    raise failure or NotFoundError(Reason.NODE_NOT_FOUND, "Id not found", volume_id=spec.volume.id)


def _volume_request(spec: EvictBrickSpec) -> executor_pb2.GetVolumeRequest:
    return executor_pb2.GetVolumeRequest(name=spec.volume.name)


def _old(spec: EvictBrickSpec) -> Brick:
    return next(brick for brick in spec.volume.bricks if brick.id == spec.brick_id)


def gluster_name(brick: Brick, nodes: Mapping[str, Node]) -> str:
    """A brick as gluster writes it, "host:/path"."""
    return f"{storage_hostname(node_with_id(nodes, brick.node_id))}:{brick.path}"


def _gluster_brick(brick: Brick, nodes: Mapping[str, Node]) -> executor_pb2.GlusterBrick:
    return executor_pb2.GlusterBrick(hostname=storage_hostname(node_with_id(nodes, brick.node_id)), path=brick.path)


def _removed(spec: EvictBrickSpec, *, reclaimed: bool) -> RemovedBricks:
    return RemovedBricks(reclaimed_brick_ids=[spec.brick_id] if reclaimed else [])
