"""What repair asks of an agent, through its contract, on simulated nodes: above all what the agent refuses."""

from itertools import count
from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.topology.v1 import volume_pb2
from services.common.errors import FailedPreconditionError, InternalError, InvalidArgumentError, NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB
from services.executor.filesystem.mounts import parse_fstab
from services.executor.policy import DEFAULT_FSTAB
from services.executor.runners.base import Mount
from services.executor.runners.simulated import Fleet, FleetSettings
from services.executor.runners.simulated.fleet import SimulatedNode
from tests.contract.test_executor_growth import VOLUME_ID, brick, clone_request, orphans_request
from tests.contract.test_executor_growth import bricks as gluster_bricks
from tests.contract.test_executor_servicer import Agent, device_request, refused

DEVICE = "1" * 32
REPLICATED = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)
numbers = count(1)


@pytest.fixture
def agent() -> Agent:
    """Three peers; brick a of each is in a volume with a file, brick b of the first in none."""
    made = Agent(Fleet(FleetSettings(disk_bytes=10 * GIB)))
    for number in (2, 3):
        made.call("ProbePeer", messages.ProbePeerRequest(request_id=f"p{number}", hostname=f"10.0.0.{number}"))
    for number in (1, 2, 3):
        made.call("CreateDevice", device_request(number), node=f"node{number}")
        request = messages.CreateBrickRequest(request_id=f"b{number}", brick=brick(number, "a"))
        made.call("CreateBrick", request, node=f"node{number}")
    made.call("CreateBrick", messages.CreateBrickRequest(request_id="bb", brick=brick(1, "b")))
    made.call(
        "CreateVolume",
        messages.CreateVolumeRequest(
            request_id="v", volume_id=VOLUME_ID, name="vol_x", durability=REPLICATED, bricks=gluster_bricks("a")
        ),
    )
    made.fleet.node("node1").put_file(f"{brick(1, 'a').path}/file", "data")
    return made


def orphan_request(letter: str, **changes: Any) -> messages.RemoveOrphanBrickRequest:
    values = {"request_id": f"r{next(numbers)}", "device_id": DEVICE, "brick_id": letter * 32}
    return messages.RemoveOrphanBrickRequest(**{**values, **changes})


def restore_request(letter: str = "a") -> messages.RestoreBrickRequest:
    return messages.RestoreBrickRequest(request_id=f"r{next(numbers)}", brick=brick(1, letter))


def start_request(**changes: Any) -> messages.StartVolumeRequest:
    values = {"request_id": f"r{next(numbers)}", "name": "vol_x", "volume_id": VOLUME_ID}
    return messages.StartVolumeRequest(**{**values, **changes})


def node(agent: Agent) -> SimulatedNode:
    return agent.fleet.node("node1")


def mount_point(letter: str) -> str:
    return str(brick(1, letter).path.removesuffix("/brick"))


def unmount(agent: Agent, letter: str) -> None:
    machine = node(agent).machine
    machine.busy.discard(mount_point(letter))
    machine.mounts[:] = [each for each in machine.mounts if each.mount_point != mount_point(letter)]


def names(agent: Agent) -> set[str]:
    return {each.name for each in node(agent).logical_volumes()}


def listed(agent: Agent) -> set[str]:
    return {each.mount_point for each in parse_fstab(node(agent).machine.root.files.get(DEFAULT_FSTAB))}


def test_list_volumes(agent: Agent) -> None:
    (volume,) = agent.call("ListVolumes", messages.ListVolumesRequest(), node="node2").volumes
    assert (volume.name, volume.started, volume.never_started) == ("vol_x", True, False)
    assert volume.options["user.heketi.id"] == VOLUME_ID
    assert len(volume.bricks) == 3
    node(agent).daemon.running = False
    refused(agent, FailedPreconditionError, Reason.GLUSTERD_NOT_RUNNING, "ListVolumes", messages.ListVolumesRequest())


def test_a_brick_that_nobody_has_is_removed_whole(agent: Agent) -> None:
    assert agent.call("RemoveOrphanBrick", orphan_request("b")).thin_pool_removed
    assert names(agent) == {f"brick_{'a' * 32}", f"tp_{'a' * 32}"}
    assert node(agent).brick_mounts() == [mount_point("a")]
    assert listed(agent) == {mount_point("a")}
    # Absent is done.
    assert agent.call("RemoveOrphanBrick", orphan_request("b")).thin_pool_removed


@pytest.mark.parametrize("status", [0, 1, 2], ids=["created", "started", "stopped"])
def test_a_brick_of_a_gluster_volume_is_never_removed(agent: Agent, status: int) -> None:
    """Whoever asks, whatever the state of the volume, mounted or not, whosoever's id the volume has."""
    volume = node(agent).volumes()["vol_x"]
    volume.status = status
    volume.options["user.heketi.id"] = "e" * 32
    before = names(agent)
    refused(agent, FailedPreconditionError, Reason.BRICK_IN_USE, "RemoveOrphanBrick", orphan_request("a"))
    unmount(agent, "a")
    text = refused(agent, FailedPreconditionError, Reason.BRICK_IN_USE, "RemoveOrphanBrick", orphan_request("a"))
    assert "vol_x" in text
    assert names(agent) == before
    agent.call("RestoreBrick", restore_request())
    assert node(agent).file(f"{brick(1, 'a').path}/file") == "data"


def test_without_glusterd_nothing_is_removed(agent: Agent) -> None:
    node(agent).daemon.running = False
    before = names(agent)
    refused(agent, FailedPreconditionError, Reason.GLUSTERD_NOT_RUNNING, "RemoveOrphanBrick", orphan_request("b"))
    assert names(agent) == before


def test_a_brick_that_somebody_looks_into_is_not_removed(agent: Agent) -> None:
    source = f"/dev/mapper/vg_{DEVICE}-brick_{'b' * 32}"
    node(agent).machine.mounts.append(Mount(source, "/mnt/rescue", "xfs", "rw"))
    refused(agent, FailedPreconditionError, Reason.BRICK_BUSY, "RemoveOrphanBrick", orphan_request("b"))
    assert f"brick_{'b' * 32}" in names(agent)
    assert mount_point("b") in node(agent).brick_mounts()


def test_a_pool_with_a_clone_in_it_stays(agent: Agent) -> None:
    agent.call("CloneVolume", clone_request())
    agent.call(
        "DeleteVolume",
        messages.DeleteVolumeRequest(request_id="gone", name="vol_x", volume_id=VOLUME_ID, bricks=gluster_bricks("a")),
    )
    assert not agent.call("RemoveOrphanBrick", orphan_request("a")).thin_pool_removed
    assert agent.call("RemoveOrphanCopies", orphans_request(1)).lv_names == []
    (copy,) = agent.call("ListVolumes", messages.ListVolumesRequest()).volumes
    assert f"tp_{'a' * 32}" in names(agent)
    assert node(agent).file(f"{copy.bricks[0].partition(':')[2]}/file") == "data"


@pytest.mark.parametrize("changes", [{"device_id": "x"}, {"brick_id": ""}, {"brick_id": "../" + "a" * 29}])
def test_malformed_ids_are_refused(agent: Agent, changes: dict[str, str]) -> None:
    refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "RemoveOrphanBrick", orphan_request("b", **changes))


def test_mount_and_entry_come_back(agent: Agent) -> None:
    unmount(agent, "a")
    node(agent).machine.root.files[DEFAULT_FSTAB] = ""
    answer = agent.call("RestoreBrick", restore_request())
    assert (answer.mounted, answer.listed) == (True, True)
    assert listed(agent) == {mount_point("a")}
    assert node(agent).file(f"{brick(1, 'a').path}/file") == "data"
    answer = agent.call("RestoreBrick", restore_request())
    assert (answer.mounted, answer.listed) == (False, False)


def test_an_inactive_lv_is_activated_first(agent: Agent) -> None:
    unmount(agent, "a")
    for lv in node(agent).logical_volumes():
        lv.active = False
    assert agent.call("RestoreBrick", restore_request()).mounted


def test_no_lv_and_no_file_system_is_ever_made(agent: Agent) -> None:
    before = names(agent)
    refused(agent, FailedPreconditionError, Reason.LVM_FAILED, "RestoreBrick", restore_request("c"))
    unmount(agent, "b")
    next(each for each in node(agent).logical_volumes() if each.name == f"brick_{'b' * 32}").filesystem = None
    refused(agent, FailedPreconditionError, Reason.FILESYSTEM_FAILED, "RestoreBrick", restore_request("b"))
    assert names(agent) == before
    assert mount_point("b") not in node(agent).brick_mounts()


def test_what_is_mounted_in_its_place_stays(agent: Agent) -> None:
    unmount(agent, "a")
    node(agent).machine.mounts.append(Mount("/dev/sdx", mount_point("a"), "ext4", "rw"))
    refused(agent, FailedPreconditionError, Reason.FILESYSTEM_FAILED, "RestoreBrick", restore_request())


def test_a_removed_brick_does_not_come_back(agent: Agent) -> None:
    agent.call("RemoveOrphanBrick", orphan_request("b"))
    refused(agent, FailedPreconditionError, Reason.OPERATION_ENDED, "RestoreBrick", restore_request("b"))


def test_start_volume(agent: Agent) -> None:
    volume = node(agent).volumes()["vol_x"]
    volume.status = 2
    agent.call("StartVolume", start_request(), node="node2")
    assert volume.status == 1
    agent.call("StartVolume", start_request(), node="node2")
    agent.call("StartVolume", start_request(force=True))
    refused(agent, InternalError, Reason.GLUSTER_FAILED, "StartVolume", start_request(volume_id="e" * 32))
    refused(agent, NotFoundError, Reason.GLUSTER_VOLUME_NOT_FOUND, "StartVolume", start_request(name="nosuch"))


def test_brick_processes_are_not_forced_onto_an_empty_mount_point(agent: Agent) -> None:
    unmount(agent, "a")
    refused(agent, FailedPreconditionError, Reason.FILESYSTEM_FAILED, "StartVolume", start_request(force=True))
    agent.call("RestoreBrick", restore_request())
    agent.call("StartVolume", start_request(force=True))
