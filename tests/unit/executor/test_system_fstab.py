"""A node whose bricks stand in the system's own mount table file, as Heketi had them."""

from dataclasses import replace

from services.executor.node import Node
from services.executor.policy import NodePolicy
from services.executor.settings import NodeSettings
from tests.unit.executor.fleets import Ready, ready

OTHERS = "# system\nUUID=1234 / ext4 errors=remount-ro 0 1\nUUID=5678 none swap sw 0 0\n/dev/sdz /srv xfs noauto 0 0\n"


def on_system_fstab(fleet: Ready) -> Node:
    """Node 1 with its bricks in /etc/fstab."""
    simulated = fleet.simulated(1)
    simulated.put_file("/etc/fstab", OTHERS)
    policy: NodePolicy = replace(simulated.node.policy, fstab="/etc/fstab")
    simulated.node = Node(
        simulated.node._tools.runner, simulated.node.journal, NodeSettings(names=("node1",), policy=policy)
    )
    return simulated.node


def test_only_bricks_are_told_of_and_mounted_and_other_lines_stay() -> None:
    fleet = ready()
    node = on_system_fstab(fleet)
    spec = fleet.brick(1)
    node.create_brick(spec)
    written = fleet.simulated(1).file("/etc/fstab")
    assert written is not None
    assert written.startswith(OTHERS)
    assert [entry.mount_point for entry in node.storage().fstab] == [spec.mount_point]
    assert [state.path for state in node.storage().bricks] == [spec.path]
    assert fleet.simulated(1).reboot() == []
    assert fleet.simulated(1).brick_mounts() == [spec.mount_point]
    node.delete_brick(spec)
    assert fleet.simulated(1).file("/etc/fstab") == OTHERS
