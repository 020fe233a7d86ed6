"""A simulated fleet that is ready for volumes, and short ways to what tests ask of it."""

from dataclasses import dataclass

from services.common.units import GIB, MIB
from services.executor.gluster.commands import replicated
from services.executor.node import Node
from services.executor.policy import BrickSpec
from services.executor.runners.simulated import Fault, FaultPlan, Fleet, FleetSettings
from services.executor.runners.simulated.fleet import SimulatedNode
from services.executor.volumes import VolumeSpec

VOLUME_ID = "f" * 32


def device_id(number: int) -> str:
    """Id of the device of node `number`."""
    return f"{number:x}" * 32


@dataclass(slots=True)
class Ready:
    """Three peers with one device each."""

    fleet: Fleet

    def simulated(self, number: int) -> SimulatedNode:
        return self.fleet.node(f"node{number}")

    def node(self, number: int) -> Node:
        return self.simulated(number).node

    def brick(self, number: int, letter: str = "b", *, size: int = GIB, gid: int = 0) -> BrickSpec:
        return self.node(number).policy.brick(
            brick_id=letter * 32,
            device_id=device_id(number),
            lv_name="",
            pool_name="",
            path="",
            size_bytes=size,
            pool_bytes=size,
            metadata_bytes=8 * MIB,
            gid=gid,
        )

    def volume(self, letter: str = "b", *, volume_id: str = VOLUME_ID, name: str = "vol_x") -> VolumeSpec:
        return VolumeSpec(
            volume_id=volume_id,
            name=name,
            layout=replicated(3, arbiter=False),
            bricks=tuple(f"10.0.0.{n}:{self.brick(n, letter).path}" for n in (1, 2, 3)),
            options=(("server.tcp-user-timeout", "42"),),
        )

    def make_bricks(self, letter: str = "b") -> None:
        for number in (1, 2, 3):
            self.node(number).create_brick(self.brick(number, letter))

    def fail(self, command: str, **fields: object) -> None:
        """Arms a fault."""
        self.fleet.faults.add(Fault(command, **fields))  # type: ignore[arg-type]

    def leftovers(self, number: int) -> tuple[list[str], list[str], str, int]:
        """LVs, mounts, mount table file and used extents of a node: all empty when nothing was left behind."""
        simulated = self.simulated(number)
        group = simulated.machine.groups[f"vg_{device_id(number)}"]
        tree, _inner = simulated.machine.place("/")
        return (
            [volume.name for volume in simulated.logical_volumes()],
            simulated.brick_mounts(),
            tree.files.get(simulated.node.policy.fstab, ""),
            group.total_extents - group.free_extents,
        )


NOTHING: tuple[list[str], list[str], str, int] = ([], [], "", 0)


def ready(settings: FleetSettings | None = None) -> Ready:
    """Three peers with one device each, and no faults yet."""
    made = Ready(Fleet(settings or FleetSettings(disk_bytes=10 * GIB), FaultPlan()))
    for number in (2, 3):
        made.node(1).probe_peer(f"10.0.0.{number}")
    for number in (1, 2, 3):
        made.node(number).create_device(device_id(number), "/dev/sdb", destroy_data=False)
    return made
