"""A brick that takes the place of another one, and what bricks have to heal. Effects: through the runner."""

from dataclasses import dataclass

from services.common.errors import BrickyardError, FailedPreconditionError, InternalError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor.filesystem.mounts import mounted_at
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports
from services.executor.growth import refuse_foreign
from services.executor.policy import BrickSpec
from services.executor.tools import Tools
from services.executor.volumes import find_volume, get_volume, gluster_error, owner_of, run_changes, run_read

_log = get_logger()
# How often the heal is started, and looked at, before it is left to the daemons' own rounds.
_HEAL_STARTS = 4
_HEAL_LOOKS = 10


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


def heal_status(tools: Tools, name: str) -> tuple[reports.BrickHeal, ...]:
    """What the bricks of a volume have to heal.

    Raises:
        NotFoundError: GLUSTER_VOLUME_NOT_FOUND.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
        InternalError: GLUSTER_FAILED.
    """
    get_volume(tools, name)
    # It mounts the volume by itself, and waits for bricks that do not answer.
    result = tools.runner.run(gluster.heal_info(name), timeout_s=gluster.TIMEOUT_S, allowed_exit_codes=None)
    if not result.stdout.strip():
        raise gluster_error(result.complaint, volume=name)
    return reports.parse_heal(result.stdout, name)


def replace_brick(tools: Tools, spec: ReplacementSpec, old: str) -> None:
    """Puts a brick in the place of another, unless it has it, and lets the heal fill it.

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
        if spec.new not in found.bricks:
            if old not in found.bricks:
                raise gluster_error(f"brick: {old} does not exist in volume: {spec.name}", volume=spec.name, brick=old)
            _refuse_unmounted(tools, spec)
            _done, complaint = run_changes(tools, [gluster.replace_brick(spec.name, old, spec.new)])
            if complaint and spec.new not in get_volume(tools, spec.name).bricks:
                raise gluster_error(complaint, volume=spec.name)
    try:
        _start_heal(tools, spec, everything=found.dispersed)
    except BrickyardError as error:
        # The heal daemons look for work every ten minutes by themselves, and files are healed when they are used.
        _log.warning("volume.heal_not_started", volume=spec.name, error=error.message)


def _refuse_unmounted(tools: Tools, spec: ReplacementSpec) -> None:
    """By force gluster would make the brick's directory on the system's own disk.

    Raises:
        InternalError: FILESYSTEM_FAILED.
    """
    mounted = mounted_at(tools.runner.mounts(), spec.brick.mount_point) is not None
    if not mounted or not tools.runner.exists(spec.brick.path):
        raise InternalError(
            Reason.FILESYSTEM_FAILED, f"brick {spec.brick.path} is not mounted on this node", path=spec.brick.path
        )


def _start_heal(tools: Tools, spec: ReplacementSpec, *, everything: bool) -> None:
    """Lets the heal daemons begin, and sees that they do.

    Gluster tells them of the new brick before its process answers; as seen with several volumes, some then wait for
    their next round. With full copies gluster has marked what the new brick lacks; of a dispersed volume (`everything`)
    all is looked at. The exchange restarts the daemons: until that of each node is up again, gluster refuses.
    """
    before, starts = 0, 0
    for _ in range(_HEAL_LOOKS):
        told = {status.name: status for status in heal_status(tools, spec.name)}
        pending = sum(max(0, status.pending_count) for status in told.values())
        connected = spec.new in told and told[spec.new].connected
        if connected and (0 < pending < before or not (pending or everything)):
            return
        if connected:
            with tools.locks.gluster:
                _done, complaint = run_changes(tools, [gluster.start_heal(spec.name, everything=everything)])
            if not complaint:
                starts += 1
                before, everything = pending, False
            elif not reports.says_no_heal_daemon(complaint):
                raise gluster_error(complaint, volume=spec.name)
        if starts == _HEAL_STARTS:
            break
        tools.pause(tools.patience.heal_pause_s)
    _log.info("volume.heal_pending", volume=spec.name, pending=before)


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
