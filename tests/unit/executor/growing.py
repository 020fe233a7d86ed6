"""Volumes that grow and are copied on the simulated fleet, and short ways to what tests ask of them."""

from typing import Any

import pytest

from services.executor.clones import CloneSpec, Copy
from services.executor.gluster.commands import replicated
from services.executor.growth import GrowthSpec
from services.executor.policy import BrickSpec
from services.executor.runners.base import CommandResult
from services.executor.runners.simulated import FleetSettings
from services.executor.settings import Patience
from tests.unit.executor.fleets import VOLUME_ID, Ready, device_id, ready

COPY_ID = "c0" * 16
SOURCE = "vol_x"
COPY = "vol_copy"
CLONE = CloneSpec(SOURCE, VOLUME_ID, COPY, COPY_ID)
IMPATIENT = FleetSettings(
    patience=Patience(glusterd_s=0.02, migration_s=0.03, unmount_s=0.02, first_pause_s=0.01, longest_pause_s=0.01)
)
TEXT = "written before the copy"


def growth(lab: Ready, letters: str, *, name: str = SOURCE, volume_id: str = VOLUME_ID) -> GrowthSpec:
    """Brick sets, one per letter."""
    bricks = tuple(f"10.0.0.{n}:{lab.brick(n, letter).path}" for letter in letters for n in (1, 2, 3))
    return GrowthSpec(name, volume_id, replicated(3, arbiter=False), bricks)


def grown(letters: str = "b", settings: FleetSettings | None = None) -> Ready:
    """A fleet with bricks for each letter, and a volume on those of the first."""
    lab = ready(settings)
    for letter in letters:
        lab.make_bricks(letter)
    lab.node(1).create_volume(lab.volume(letters[0]))
    return lab


def bricks_of(lab: Ready, name: str = SOURCE) -> tuple[str, ...]:
    """The bricks of a volume, asked on the third node."""
    return lab.node(3).get_volume(name).bricks


def file_of(brick: str, name: str = "file") -> str:
    """Path of a file on a brick."""
    return f"{brick[brick.index(':/') + 1 :]}/{name}"


def copied_brick(lab: Ready, copy: Copy, index: int, letter: str = "b") -> BrickSpec:
    """A brick of a copy, as DeleteBrick is told of it."""
    number = index % 3 + 1
    return lab.node(number).policy.brick(
        brick_id="9" * 32,
        device_id=device_id(number),
        lv_name=copy.lv_names[index],
        pool_name=f"tp_{letter * 32}",
        path=copy.bricks[index].partition(":")[2],
    )


def copies_on(lab: Ready, number: int) -> list[str]:
    """The LVs that gluster made on a node."""
    names = [volume.name for volume in lab.simulated(number).logical_volumes()]
    return [name for name in names if not name.startswith(("brick_", "tp_"))]


def gluster_runs(lab: Ready, monkeypatch: pytest.MonkeyPatch, number: int = 1) -> list[str]:
    """Notes the stdin or the words of every gluster process of a node."""
    runner = lab.node(number)._tools.runner
    seen: list[str] = []
    original = runner.run

    def run(argv: Any, **named: Any) -> CommandResult:
        if argv[0] == "gluster":
            seen.append(named.get("input") or " ".join(argv[3:]))
        return original(argv, **named)

    monkeypatch.setattr(runner, "run", run)
    return seen
