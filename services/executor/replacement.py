"""A brick that takes the place of another one. Effects: through the runner."""

from dataclasses import dataclass

from services.common.errors import FailedPreconditionError, InternalError
from services.common.reasons import Reason
from services.executor import afterwards
from services.executor.debts import Debt, DebtKind
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports
from services.executor.growth import refuse_foreign
from services.executor.policy import BrickSpec
from services.executor.tools import Tools
from services.executor.volumes import find_volume, get_volume, gluster_error, mark_own, owner_of, run_changes, run_read


@dataclass(frozen=True, slots=True)
class ReplacementSpec:
    """A brick of this node that is to take the place of another one.

    Attributes:
        name: Name of the volume.
        volume_id: Its id.
        new: The brick as gluster addresses it, "host:/path".
        brick: The brick as this node made it.
    """

    name: str
    volume_id: str
    new: str
    brick: BrickSpec


def replace_brick(tools: Tools, spec: ReplacementSpec, old: str) -> None:
    """Puts a brick in the place of another, unless it has it; the heal fills it after this call.

    Args:
        tools: What the node works with.
        spec: The new brick; it must be mounted.
        old: "host:/path" of the brick that leaves; its node need not answer.

    Raises:
        NotFoundError: GLUSTER_VOLUME_NOT_FOUND.
        InternalError: GLUSTER_FAILED, also when the volume has neither brick; FILESYSTEM_FAILED, it is not mounted.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING; OPERATION_ENDED, `settle` forbade it.
    """
    _await_known_dead(tools, spec)
    try:
        _exchange(tools, spec, old)
    finally:
        # Also when it failed: it may have been done all the same.
        afterwards.pay(tools)


def _exchange(tools: Tools, spec: ReplacementSpec, old: str) -> None:
    debt = Debt(DebtKind.HEAL, spec.name, spec.volume_id, spec.new)
    with tools.locks.gluster:
        if tools.locks.is_gone(spec.brick.device):
            raise FailedPreconditionError(
                Reason.OPERATION_ENDED,
                f"brick {spec.brick.lv} was given up; a request to put it into volume {spec.name} comes too late",
                volume=spec.name,
                lv_name=spec.brick.lv,
            )
        found = get_volume(tools, spec.name)
        refuse_foreign(found, spec.volume_id)
        if spec.new in found.bricks:
            tools.debts.note(debt)
        else:
            if old not in found.bricks:
                raise gluster_error(f"brick: {old} does not exist in volume: {spec.name}", volume=spec.name, brick=old)
            _refuse_unmounted(tools, spec)
            mark_own(tools, found, spec.volume_id)
            # Before the change: an agent that ends right after it shall know.
            tools.debts.note(debt)
            _done, complaint = run_changes(tools, [gluster.replace_brick(spec.name, old, spec.new)])
            if complaint and spec.new not in get_volume(tools, spec.name).bricks:
                raise gluster_error(complaint, volume=spec.name)


def _refuse_unmounted(tools: Tools, spec: ReplacementSpec) -> None:
    """By force gluster would make the brick's directory on the system's own disk.

    Raises:
        InternalError: FILESYSTEM_FAILED.
    """
    mounted = tools.runner.mounted_at(spec.brick.mount_point) is not None
    if not mounted or not tools.runner.exists(spec.brick.path):
        raise InternalError(
            Reason.FILESYSTEM_FAILED, f"brick {spec.brick.path} is not mounted on this node", path=spec.brick.path
        )


def _await_known_dead(tools: Tools, spec: ReplacementSpec) -> None:
    """Waits until glusterd knows of each node with a brick that does not answer.

    Told to change something before, it waits for the dead node for ten minutes and holds its locks all the time.

    Raises:
        InternalError: GLUSTER_FAILED, it does not find out.
    """
    found = find_volume(tools, spec.name)
    hosts = sorted({brick.partition(":/")[0] for brick in found.bricks}) if found is not None else []
    silent = {host for host in hosts if not tools.runner.glusterd_answers(host)}
    if not silent:
        return
    uuids = (
        {uuid for brick, uuid in zip(found.bricks, found.hosts, strict=False) if _host(brick) in silent}
        if found
        else set()
    )
    waiting: list[str] = []
    for last in tools.attempts(tools.patience.silence_s):
        _own, peers = reports.parse_pool(run_read(tools, gluster.pool_list()).stdout)
        waiting = [each.hostname for each in peers if each.connected and each.uuid in uuids]
        if not waiting or last:
            break
        if all(tools.runner.glusterd_answers(host) for host in silent):
            return
    if waiting:
        raise gluster_error(
            f"node {waiting[0]} does not answer, and glusterd has not noticed yet; repeat the request in some minutes",
            hostname=waiting[0],
        )


def _host(brick: str) -> str:
    return brick.partition(":/")[0]


def settle(tools: Tools, spec: ReplacementSpec) -> bool:
    """Whether a brick has its place in a volume; if not, it never will get it from here any more.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    # The lock waits for a replacement that runs.
    with tools.locks.gluster:
        found = find_volume(tools, spec.name)
        ours = found is not None and owner_of(found) in (None, spec.volume_id)
        if ours and found is not None and spec.new in found.bricks:
            return True
        tools.locks.mark_gone(spec.brick.device)
        return False
