"""What is to be done for a brick, from what is there."""

import pytest

from services.common.errors import FailedPreconditionError
from services.common.units import GIB, MIB
from services.executor.lvm.reports import LogicalVolume
from services.executor.plan import BrickState, Step, plan_create, plan_release, plan_removal, state_of
from services.executor.policy import BrickSpec, NodePolicy

DEVICE = "d" * 32
BRICK = "b" * 32
SPEC: BrickSpec = NodePolicy().brick(
    brick_id=BRICK,
    device_id=DEVICE,
    lv_name="",
    pool_name="",
    path="",
    size_bytes=GIB,
    pool_bytes=GIB,
    metadata_bytes=8 * MIB,
)


def volume(name: str, *, pool: str = "", size: int = GIB, vg: str = SPEC.vg) -> LogicalVolume:
    return LogicalVolume(name, vg, size, pool, thin_pool=not pool, data_percent=0, metadata_percent=0, thin_count=0)


POOL = volume(SPEC.pool)
LV = volume(SPEC.lv, pool=SPEC.pool)


def test_nothing_there() -> None:
    assert plan_create(SPEC, BrickState()) == (
        Step.CREATE_POOL_AND_VOLUME,
        Step.MAKE_FILESYSTEM,
        Step.ADD_TO_FSTAB,
        Step.MOUNT,
        Step.MAKE_DIRECTORY,
    )


def test_pool_only() -> None:
    assert plan_create(SPEC, BrickState(pool=POOL))[0] is Step.CREATE_VOLUME


def test_all_there_only_makes_sure_of_the_directory() -> None:
    state = BrickState(volume=LV, pool=POOL, active=True, listed=True, mounted=True)
    assert plan_create(SPEC, state) == (Step.MAKE_DIRECTORY,)


def test_a_listed_file_system_is_never_made_again() -> None:
    state = BrickState(volume=LV, pool=POOL, active=False, listed=True)
    assert plan_create(SPEC, state) == (Step.ACTIVATE, Step.MOUNT, Step.MAKE_DIRECTORY)


def test_a_found_file_system_is_never_made_again() -> None:
    state = BrickState(volume=LV, pool=POOL, active=True, filesystem="xfs")
    assert plan_create(SPEC, state) == (Step.ADD_TO_FSTAB, Step.MOUNT, Step.MAKE_DIRECTORY)


@pytest.mark.parametrize(
    "state",
    [
        BrickState(volume=volume(SPEC.lv, pool="tp_" + "e" * 32)),
        BrickState(volume=volume(SPEC.lv, pool=SPEC.pool, size=GIB // 2), pool=POOL),
        BrickState(pool=volume(SPEC.pool, pool="tp_" + "e" * 32)),
    ],
)
def test_names_that_belong_to_something_else(state: BrickState) -> None:
    with pytest.raises(FailedPreconditionError, match="exists already"):
        plan_create(SPEC, state)


def test_state_knows_its_own_and_the_others_of_its_pool() -> None:
    other = volume("brick_" + "c" * 32, pool=SPEC.pool)
    foreign = volume("brick_" + "d" * 32, pool="tp_" + "d" * 32)
    elsewhere = volume(SPEC.lv, pool=SPEC.pool, vg="vg_" + "e" * 32)
    state = state_of(SPEC, (elsewhere, POOL, LV, other, foreign))
    assert (state.volume, state.pool, state.others) == (LV, POOL, (other.name,))


def test_release_comes_before_removal() -> None:
    assert plan_release(BrickState(mounted=True, listed=True)) == (Step.UNMOUNT, Step.REMOVE_FROM_FSTAB)
    assert plan_release(BrickState()) == ()


def test_a_shared_pool_stays() -> None:
    assert plan_removal(BrickState(volume=LV, pool=POOL, others=("clone_0",))) == (Step.REMOVE_VOLUME,)
    assert plan_removal(BrickState(volume=LV, pool=POOL)) == (Step.REMOVE_VOLUME_AND_POOL,)
    assert plan_removal(BrickState(pool=POOL)) == (Step.REMOVE_POOL,)
    assert plan_removal(BrickState(pool=POOL, others=("clone_0",))) == ()
    assert plan_removal(BrickState()) == ()
