"""A volume on the simulated fleet one of whose bricks is to be replaced, and short ways to what tests ask of it."""

from services.common.units import GIB
from services.executor.replacement import ReplacementSpec
from services.executor.runners.simulated import FleetSettings
from tests.unit.executor.fleets import VOLUME_ID, Ready, device_id
from tests.unit.executor.growing import SOURCE, grown


def lab_of_four(settings: FleetSettings | None = None, *, gid: int = 0) -> Ready:
    """A volume on three nodes, and a brick of a fourth one that is to take a place."""
    lab = grown(settings=settings or FleetSettings(nodes=4, disk_bytes=10 * GIB))
    lab.node(1).probe_peer("10.0.0.4")
    lab.node(4).create_device(device_id(4), "/dev/sdb", destroy_data=False)
    lab.node(4).create_brick(lab.brick(4, "e", gid=gid))
    return lab


def new_brick(lab: Ready) -> ReplacementSpec:
    brick = lab.brick(4, "e")
    return ReplacementSpec(SOURCE, VOLUME_ID, f"10.0.0.4:{brick.path}", brick)


def old_brick(lab: Ready, number: int = 2) -> str:
    return f"10.0.0.{number}:{lab.brick(number).path}"
