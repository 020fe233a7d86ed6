"""Block volumes on simulated nodes: made once, found again, gone when removed."""

import dataclasses

import pytest

from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
)
from services.common.reasons import Reason
from services.common.units import GIB
from services.executor.block_volumes import BlockSpec
from services.executor.runners.simulated.pools import Block
from tests.unit.executor.fleets import VOLUME_ID, Ready, ready

BLOCK_ID = "e" * 32
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
SPEC = BlockSpec(block_volume_id=BLOCK_ID, hosting="vol_x", name="blk", size_bytes=5 * GIB, hosts=HOSTS, auth=True)


@pytest.fixture
def made() -> Ready:
    """Three nodes with a hosting volume."""
    fleet = ready()
    fleet.make_bricks()
    fleet.node(1).create_volume(fleet.volume())
    return fleet


def blocks(made: Ready) -> dict[tuple[str, str], Block]:
    return made.simulated(1).daemon.pool.blocks


def test_made_described_grown_and_removed(made: Ready) -> None:
    node = made.node(1)
    access = node.create_block_volume(SPEC)
    assert access.iqn == f"iqn.2016-12.org.gluster-block:{access.username}"
    assert access.password == blocks(made)["vol_x", "blk"].password != ""
    assert node.list_block_volumes("vol_x") == ("blk",)
    found = made.node(2).get_block_volume("vol_x", "blk")
    assert (found.size_bytes, found.usable_bytes, found.hosts) == (5 * GIB, 5 * GIB, HOSTS)
    grown = node.expand_block_volume("vol_x", "blk", 7 * GIB)
    assert (grown.size_bytes, grown.usable_bytes) == (7 * GIB, 7 * GIB)
    made.node(3).delete_block_volume("vol_x", "blk", BLOCK_ID)
    assert blocks(made) == {}
    with pytest.raises(NotFoundError) as gone:
        node.get_block_volume("vol_x", "blk")
    assert gone.value.reason is Reason.GLUSTER_BLOCK_VOLUME_NOT_FOUND


def test_without_auth_there_is_no_login(made: Ready) -> None:
    access = made.node(1).create_block_volume(dataclasses.replace(SPEC, auth=False))
    assert (access.username, access.password) == ("", "")


def test_repeating_finds_what_is_there(made: Ready) -> None:
    first = made.node(1).create_block_volume(SPEC)
    assert made.node(1).create_block_volume(SPEC) == first
    assert made.node(2).create_block_volume(SPEC) == first
    for _ in range(2):
        assert made.node(1).expand_block_volume("vol_x", "blk", 7 * GIB).size_bytes == 7 * GIB
    for _ in range(2):
        made.node(1).delete_block_volume("vol_x", "blk", BLOCK_ID)


@pytest.mark.parametrize(
    "other", [{"size_bytes": 6 * GIB}, {"auth": False}, {"hosts": HOSTS[:2]}], ids=["size", "auth", "hosts"]
)
def test_one_of_another_shape_is_not_ours(made: Ready, other: dict[str, object]) -> None:
    made.node(1).create_block_volume(dataclasses.replace(SPEC, **other))  # type: ignore[arg-type]
    with pytest.raises(InternalError, match="already EXIST") as refused:
        made.node(1).create_block_volume(SPEC)
    assert refused.value.reason is Reason.GLUSTER_BLOCK_FAILED


def test_a_request_that_is_late_is_refused(made: Ready) -> None:
    made.node(1).delete_block_volume("vol_x", "blk", BLOCK_ID)
    with pytest.raises(FailedPreconditionError) as late:
        made.node(1).create_block_volume(SPEC)
    assert late.value.reason is Reason.OPERATION_ENDED
    # Its name may be used again.
    made.node(1).create_block_volume(dataclasses.replace(SPEC, block_volume_id="d" * 32))


def test_absent_hosting_volume_counts_as_removed(made: Ready) -> None:
    made.node(1).delete_block_volume("no_such_volume", "blk", BLOCK_ID)


def test_a_resize_that_some_hosts_do_not_follow(made: Ready) -> None:
    made.node(1).create_block_volume(SPEC)
    pool = made.simulated(1).daemon.pool
    pool.block_resize_fails_on = {"10.0.0.2"}
    with pytest.raises(InternalError) as failed:
        made.node(1).expand_block_volume("vol_x", "blk", 8 * GIB)
    assert failed.value.message == (
        "Failed to expand block volume: failed on 10.0.0.2 (see logs for details, and retry the operation)"
    )
    found = made.node(1).get_block_volume("vol_x", "blk")
    assert (found.size_bytes, found.usable_bytes) == (8 * GIB, 5 * GIB)
    pool.block_resize_fails_on = set()
    again = made.node(1).expand_block_volume("vol_x", "blk", 8 * GIB)
    assert (again.size_bytes, again.usable_bytes) == (8 * GIB, 8 * GIB)


def test_without_gluster_block_it_is_told(made: Ready) -> None:
    assert made.node(1).has_gluster_block()
    made.simulated(1).machine.has_gluster_block = False
    assert not made.node(1).has_gluster_block()
    node = made.node(1)
    for call in (
        lambda: node.create_block_volume(SPEC),
        lambda: node.delete_block_volume("vol_x", "blk", BLOCK_ID),
        lambda: node.expand_block_volume("vol_x", "blk", GIB),
        lambda: node.get_block_volume("vol_x", "blk"),
        lambda: node.list_block_volumes("vol_x"),
    ):
        with pytest.raises(FailedPreconditionError) as refused:
            call()
        assert refused.value.reason is Reason.GLUSTER_BLOCK_NOT_INSTALLED
        assert refused.value.message == "gluster-block is not installed on node1"


def test_without_its_daemon_it_is_told(made: Ready) -> None:
    made.simulated(1).daemon.running = False
    with pytest.raises(FailedPreconditionError) as refused:
        made.node(1).create_block_volume(SPEC)
    assert refused.value.reason is Reason.GLUSTERD_NOT_RUNNING


def test_a_host_that_is_down_fails_it(made: Ready) -> None:
    made.simulated(3).daemon.running = False
    with pytest.raises(InternalError, match=r"Failed to create block volume: failed to configure on 10\.0\.0\.3"):
        made.node(1).create_block_volume(SPEC)
    assert blocks(made) == {}


def test_the_tools_own_words_are_told(made: Ready) -> None:
    made.fail("gluster-block create", stderr="no disk left")
    with pytest.raises(InternalError, match=r"^Failed to create block volume: no disk left$"):
        made.node(1).create_block_volume(SPEC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"},
        {"name": "-x; rm"},
        {"hosting": ".."},
        {"block_volume_id": "x"},
        {"size_bytes": GIB + 1},
        {"size_bytes": 0},
        {"hosts": ()},
        {"hosts": ("10.0.0.1", "10.0.0.1")},
        {"hosts": ("a b",)},
        {"prealloc": "yes"},
    ],
)
def test_what_can_not_be_asked_for(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        dataclasses.replace(SPEC, **wrong)  # type: ignore[arg-type]


def test_hosting_volume_must_be_there(made: Ready) -> None:
    with pytest.raises(BrickyardError, match="Volume vol_y does not exist"):
        made.node(1).create_block_volume(dataclasses.replace(SPEC, hosting="vol_y"))
    assert made.simulated(1).volumes()["vol_x"].options["user.heketi.id"] == VOLUME_ID


def test_an_answer_may_be_on_either_output(made: Ready) -> None:
    made.node(1).create_block_volume(SPEC)
    made.fail("gluster-block delete", stdout="a warning", stderr='{"RESULT": "FAIL", "errMsg": "target is busy"}')
    with pytest.raises(InternalError, match=r"^target is busy$"):
        made.node(1).delete_block_volume("vol_x", "blk", BLOCK_ID)
    made.fail("gluster-block info", stdout="a warning", stderr='{"RESULT": "FAIL", "errMsg": "no such thing"}')
    with pytest.raises(InternalError, match=r"^no such thing$"):
        made.node(1).get_block_volume("vol_x", "blk")
