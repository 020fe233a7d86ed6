"""A simulated fleet that is kept in a file: what was answered is there after the process is gone."""

from pathlib import Path

import pytest

from services.common.errors import FailedPreconditionError
from services.common.units import GIB, MIB
from services.executor.policy import BrickSpec
from services.executor.runners.simulated import Fleet, FleetSettings
from services.executor.runners.simulated.fleet import SimulatedNode
from services.executor.runners.simulated.keeping import FleetFile

DEVICE = "a" * 32


def fleet(path: Path) -> Fleet:
    return Fleet(FleetSettings(nodes=2, accept_any=True), file=FleetFile(path))


def brick(node: SimulatedNode) -> BrickSpec:
    return node.node.policy.brick(
        brick_id="b" * 32,
        device_id=DEVICE,
        lv_name="",
        pool_name="",
        path="",
        size_bytes=GIB,
        pool_bytes=GIB,
        metadata_bytes=8 * MIB,
    )


def make_brick(node: SimulatedNode) -> bytes:
    node.node.create_device(DEVICE, "/dev/sdx", destroy_data=False)
    node.node.create_brick(brick(node))
    return b"done"


def test_nodes_come_back_as_after_a_power_cut(tmp_path: Path) -> None:
    before = fleet(tmp_path / "fleet").node("elsewhere")
    before.node.journal.run("o/1", "CreateBrick", b"", lambda: make_brick(before))
    before.put_file(f"{brick(before).path}/written", "text")
    before.node.journal.run("o/2", "Nothing", b"", lambda: b"")

    after = fleet(tmp_path / "fleet")
    assert [node.name for node in after.nodes()] == ["node1", "node2", "elsewhere"]
    node = after.node("elsewhere")
    assert node.brick_mounts() == [brick(node).mount_point]
    assert node.file(f"{brick(node).path}/written") == "text"
    assert node.daemon.uuid == before.daemon.uuid
    node.node.delete_brick(brick(node))
    assert node.brick_mounts() == []


def test_a_change_that_failed_is_kept_as_far_as_it_came(tmp_path: Path) -> None:
    node = fleet(tmp_path / "fleet").node("node1")

    def half() -> bytes:
        make_brick(node)
        raise ValueError("half of it")

    with pytest.raises(ValueError, match="half of it"):
        node.node.journal.run("o/1", "CreateBrick", b"", half)
    assert fleet(tmp_path / "fleet").node("node1").brick_mounts() == [brick(node).mount_point]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "fleet").write_bytes(b"damaged")
    with pytest.raises(FailedPreconditionError, match="remove it to begin with blank nodes"):
        fleet(tmp_path / "fleet")
