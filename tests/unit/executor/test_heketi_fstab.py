"""What Heketi left in mount table files is taken over, and nothing else there is touched."""

import pytest

from services.common.errors import InternalError
from services.executor import heketi_fstab
from services.executor.filesystem.mounts import fstab_line, parse_fstab
from services.executor.policy import DEFAULT_FSTAB, HEKETI_FSTABS
from tests.unit.executor.fleets import Ready, ready

OTHERS = "# /etc/fstab by hand\nUUID=1 / ext4 defaults 0 1\n\n/dev/mapper/vg_x-y /srv xfs defaults 0 0\n"


def as_heketi_left_it(path: str) -> tuple[Ready, str]:
    """A brick that is mounted, and listed in a file of Heketi's only; with its line there."""
    lab = ready()
    lab.node(1).create_brick(lab.brick(1))
    files = lab.simulated(1).machine.root.files
    line = files.pop(DEFAULT_FSTAB)
    files[path] = OTHERS + line
    return lab, line


@pytest.mark.parametrize("path", HEKETI_FSTABS)
def test_a_brick_is_taken_over_once(path: str) -> None:
    lab, line = as_heketi_left_it(path)
    spec = lab.brick(1)
    assert [each.mount_point for each in heketi_fstab.entries(lab.node(1)._tools)] == [spec.mount_point]
    first, second = (lab.node(1).restore_brick(spec) for _ in range(2))
    assert (first.mounted, first.listed, first.taken_over) == (False, True, True)
    assert (second.mounted, second.listed, second.taken_over) == (False, False, False)
    files = lab.simulated(1).machine.root.files
    assert (files[path], files[DEFAULT_FSTAB]) == (OTHERS, line)
    assert heketi_fstab.entries(lab.node(1)._tools) == ()


@pytest.mark.parametrize("path", HEKETI_FSTABS)
def test_a_removed_brick_leaves_no_entry_that_would_stop_the_node(path: str) -> None:
    lab, _line = as_heketi_left_it(path)
    lab.node(1).delete_brick(lab.brick(1))
    assert lab.simulated(1).machine.root.files[path] == OTHERS


def test_a_file_that_cannot_be_written_is_told_with_what_to_do() -> None:
    lab, line = as_heketi_left_it("/etc/fstab")
    lab.fail("write /etc/fstab", times=1)
    with pytest.raises(InternalError, match="take the line out by hand"):
        lab.node(1).restore_brick(lab.brick(1))
    files = lab.simulated(1).machine.root.files
    assert files["/etc/fstab"] == OTHERS + line
    # It is in the agent's own file all the same: the brick is mounted after a restart.
    assert [fstab_line(each) for each in parse_fstab(files[DEFAULT_FSTAB])] == [line.rstrip("\n")]


def test_a_removal_goes_on_when_the_file_cannot_be_written() -> None:
    lab, line = as_heketi_left_it("/etc/fstab")
    lab.fail("write /etc/fstab", times=1)
    assert lab.node(1).delete_brick(lab.brick(1))
    assert lab.simulated(1).machine.root.files["/etc/fstab"] == OTHERS + line
