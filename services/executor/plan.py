"""What has to be done for a brick, from what is there. Pure.

Observing costs processes, so a node that shows nothing of a brick in its device nodes, mounts and mount table file is
taken to have nothing of it; a command that then says "already exists" leads to a full observation and a new plan.
"""

from dataclasses import dataclass
from enum import Enum, auto

from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason
from services.executor.lvm.reports import LogicalVolume
from services.executor.policy import BrickSpec


class Step(Enum):
    """One thing to do, in this order."""

    CREATE_POOL_AND_VOLUME = auto()
    CREATE_VOLUME = auto()
    ACTIVATE = auto()
    MAKE_FILESYSTEM = auto()
    ADD_TO_FSTAB = auto()
    MOUNT = auto()
    MAKE_DIRECTORY = auto()
    UNMOUNT = auto()
    REMOVE_FROM_FSTAB = auto()
    REMOVE_VOLUME = auto()
    REMOVE_VOLUME_AND_POOL = auto()
    REMOVE_POOL = auto()


@dataclass(frozen=True, slots=True)
class BrickState:
    """What is there of a brick.

    Attributes:
        volume: Its thin LV.
        pool: Its thin pool.
        others: Thin LVs of that pool besides the brick's own.
        active: Whether the thin LV's device node is there.
        filesystem: What is on the thin LV, e.g. "xfs"; empty for nothing or not known.
        listed: Whether the mount table file has it.
        mounted: Whether it is mounted.
    """

    volume: LogicalVolume | None = None
    pool: LogicalVolume | None = None
    others: tuple[str, ...] = ()
    active: bool = False
    filesystem: str = ""
    listed: bool = False
    mounted: bool = False


def state_of(spec: BrickSpec, volumes: tuple[LogicalVolume, ...]) -> BrickState:
    """LVM's part of a brick's state, from the logical volumes of its volume group."""
    by_name = {volume.name: volume for volume in volumes if volume.vg_name == spec.vg}
    return BrickState(
        volume=by_name.get(spec.lv),
        pool=by_name.get(spec.pool),
        others=tuple(
            volume.name for volume in by_name.values() if volume.pool_name == spec.pool and volume.name != spec.lv
        ),
    )


def plan_create(spec: BrickSpec, state: BrickState) -> tuple[Step, ...]:
    """The steps from this state to a usable brick.

    Raises:
        FailedPreconditionError: LVM_FAILED, the names are taken by something else than this brick.
    """
    _refuse_foreign(spec, state)
    steps = []
    if state.volume is None:
        steps.append(Step.CREATE_VOLUME if state.pool is not None else Step.CREATE_POOL_AND_VOLUME)
    elif not state.active:
        steps.append(Step.ACTIVATE)
    # The entry is written after the file system was made: whatever is listed has one.
    if not state.mounted and not state.listed and state.filesystem != "xfs":
        steps.append(Step.MAKE_FILESYSTEM)
    if not state.listed:
        steps.append(Step.ADD_TO_FSTAB)
    if not state.mounted:
        steps.append(Step.MOUNT)
    return (*steps, Step.MAKE_DIRECTORY)


def _refuse_foreign(spec: BrickSpec, state: BrickState) -> None:
    why = ""
    if state.volume is not None and state.volume.pool_name != spec.pool:
        why = f"it is in thin pool {state.volume.pool_name or 'none'}, not in {spec.pool}"
    elif state.volume is not None and state.volume.size_bytes < spec.size_bytes:
        why = f"it has {state.volume.size_bytes} bytes, not {spec.size_bytes}"
    elif state.pool is not None and not state.pool.thin_pool:
        why = f"{spec.pool} is no thin pool"
    if why:
        raise FailedPreconditionError(
            Reason.LVM_FAILED, f"{spec.vg}/{spec.lv} exists already, and {why}", vg_name=spec.vg, lv_name=spec.lv
        )


def plan_release(state: BrickState) -> tuple[Step, ...]:
    """The steps after which nobody uses the brick's LV, and nobody mounts it again."""
    steps = []
    if state.mounted:
        steps.append(Step.UNMOUNT)
    if state.listed:
        steps.append(Step.REMOVE_FROM_FSTAB)
    return tuple(steps)


def plan_removal(state: BrickState) -> tuple[Step, ...]:
    """The step from a released brick to its absence. A pool that others use stays."""
    alone = state.pool is not None and not state.others
    if state.volume is not None:
        return (Step.REMOVE_VOLUME_AND_POOL if alone else Step.REMOVE_VOLUME,)
    return (Step.REMOVE_POOL,) if alone else ()
