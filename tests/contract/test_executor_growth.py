"""Growth and copies of volumes through the agent's contract, on simulated nodes."""

from typing import Any

import pytest
from google.protobuf.message import Message

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.topology.v1 import volume_pb2
from services.common.errors import (
    AbortedError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.runners.simulated import Fault, Fleet, FleetSettings
from tests.contract.test_executor_servicer import Agent, device_request, refused

VOLUME_ID, COPY_ID = "f" * 32, "c" * 32
REPLICATED = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)


def brick(number: int, letter: str, **changes: Any) -> volume_pb2.Brick:
    device, brick_id = f"{number}" * 32, letter * 32
    values: dict[str, Any] = {
        "id": brick_id,
        "device_id": device,
        "path": f"/var/lib/heketi/mounts/vg_{device}/brick_{brick_id}/brick",
        "size_bytes": GIB,
        "thin_pool_size_bytes": GIB,
        "pool_metadata_size_bytes": 8 * MIB,
        "thin_pool_name": f"tp_{brick_id}",
        "lv_name": f"brick_{brick_id}",
    }
    return volume_pb2.Brick(**{**values, **changes})


def bricks(*letters: str) -> list[messages.GlusterBrick]:
    return [
        messages.GlusterBrick(hostname=f"10.0.0.{n}", path=brick(n, each).path) for each in letters for n in (1, 2, 3)
    ]


@pytest.fixture
def agent() -> Agent:
    """Three peers, two brick sets, and a volume on the first."""
    made = Agent(Fleet(FleetSettings(disk_bytes=10 * GIB)))
    for number in (2, 3):
        made.call("ProbePeer", messages.ProbePeerRequest(request_id=f"p{number}", hostname=f"10.0.0.{number}"))
    for number in (1, 2, 3):
        made.call("CreateDevice", device_request(number), node=f"node{number}")
        for letter in "ab":
            request = messages.CreateBrickRequest(request_id=f"b{number}{letter}", brick=brick(number, letter))
            made.call("CreateBrick", request, node=f"node{number}")
    made.call(
        "CreateVolume",
        messages.CreateVolumeRequest(
            request_id="v", volume_id=VOLUME_ID, name="vol_x", durability=REPLICATED, bricks=bricks("a")
        ),
    )
    return made


def add_request(**changes: Any) -> messages.AddBricksRequest:
    values: dict[str, Any] = {
        "request_id": "add",
        "name": "vol_x",
        "volume_id": VOLUME_ID,
        "durability": REPLICATED,
        "bricks": bricks("b"),
        "rebalance": True,
    }
    return messages.AddBricksRequest(**{**values, **changes})


def remove_request(**changes: Any) -> messages.RemoveBricksRequest:
    values: dict[str, Any] = {
        "request_id": "remove",
        "name": "vol_x",
        "volume_id": VOLUME_ID,
        "durability": REPLICATED,
        "bricks": bricks("b"),
    }
    return messages.RemoveBricksRequest(**{**values, **changes})


def clone_request(**changes: Any) -> messages.CloneVolumeRequest:
    values: dict[str, Any] = {
        "request_id": "clone",
        "source_name": "vol_x",
        "source_volume_id": VOLUME_ID,
        "name": "vol_c",
        "volume_id": COPY_ID,
    }
    return messages.CloneVolumeRequest(**{**values, **changes})


def orphans_request(number: int, **changes: Any) -> messages.RemoveOrphanCopiesRequest:
    values = {"request_id": f"o{number}", "device_id": f"{number}" * 32, "thin_pool_name": f"tp_{'a' * 32}"}
    return messages.RemoveOrphanCopiesRequest(**{**values, **changes})


def volume(agent: Agent, name: str = "vol_x") -> Any:
    return agent.call("GetVolume", messages.GetVolumeRequest(name=name), node="node3").volume


def test_add_bricks_and_remove_them_again(agent: Agent) -> None:
    assert agent.call("AddBricks", add_request()) == messages.AddBricksResponse()
    paths = [f"{each.hostname}:{each.path}" for each in bricks("a", "b")]
    assert list(volume(agent).bricks) == paths
    agent.call("AddBricks", add_request(request_id="other"), node="node2")
    assert agent.call("RemoveBricks", remove_request()) == messages.RemoveBricksResponse()
    assert list(volume(agent).bricks) == paths[:3]
    agent.call("RemoveBricks", remove_request(request_id="remove-2"), node="node2")
    agent.call("RemoveBricks", remove_request(request_id="third", name="nosuch"), node="node2")


def test_add_bricks_to_an_arbiter_volume(agent: Agent) -> None:
    agent.call("AddBricks", add_request(arbiter=True))
    assert len(volume(agent).bricks) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a b"},
        {"volume_id": "1"},
        {"bricks": []},
        {"bricks": bricks("b")[:2]},
        {"bricks": [messages.GlusterBrick(hostname="-x", path="/a")] * 3},
        {"bricks": [messages.GlusterBrick(hostname="h", path="/a/../b")] * 3},
        {"durability": volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE)},
    ],
)
def test_malformed_bricks_are_refused(agent: Agent, changes: dict[str, Any]) -> None:
    refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "AddBricks", add_request(**changes))
    refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "RemoveBricks", remove_request(**changes))
    assert len(volume(agent).bricks) == 3


def test_errors_of_growth(agent: Agent) -> None:
    refused(agent, NotFoundError, Reason.GLUSTER_VOLUME_NOT_FOUND, "AddBricks", add_request(name="nosuch"))
    refused(agent, InternalError, Reason.GLUSTER_FAILED, "AddBricks", add_request(volume_id="e" * 32))
    agent.fleet.faults.add(Fault("gluster volume add-brick", stderr="Staging failed on 10.0.0.3.", exit_code=1))
    assert (
        refused(agent, InternalError, Reason.GLUSTER_FAILED, "AddBricks", add_request())
        == "Staging failed on 10.0.0.3."
    )
    agent.call("AddBricks", add_request())
    agent.fleet.node("node1").daemon.pool.stuck_files = 1
    refused(agent, InternalError, Reason.GLUSTER_FAILED, "RemoveBricks", remove_request())
    agent.fleet.node("node2").daemon.running = False
    with pytest.raises(FailedPreconditionError) as caught:
        agent.call("AddBricks", add_request(request_id="down"), node="node2")
    assert caught.value.reason is Reason.GLUSTERD_NOT_RUNNING


def test_clone_volume_and_delete_its_bricks(agent: Agent) -> None:
    answer = agent.call("CloneVolume", clone_request())
    found = volume(agent, "vol_c")
    assert [f"{each.hostname}:{each.path}" for each in answer.bricks] == list(found.bricks)
    assert list(answer.lv_names) == [f"{found.uuid.replace('-', '')}_0"] * 3
    assert (found.started, found.options["user.heketi.id"]) == (True, COPY_ID)
    assert [each.hostname for each in answer.bricks] == [each.hostname for each in bricks("a")]
    agent.call("DeleteVolume", messages.DeleteVolumeRequest(request_id="d", name="vol_c", volume_id=COPY_ID))
    for number in (1, 2, 3):
        copied = brick(
            number, "a", id=f"{number}e" * 16, path=answer.bricks[number - 1].path, lv_name=answer.lv_names[number - 1]
        )
        request = messages.DeleteBrickRequest(request_id=f"gone{number}", brick=copied)
        assert agent.call("DeleteBrick", request, node=f"node{number}").thin_pool_removed is False
        assert len(agent.fleet.node(f"node{number}").logical_volumes()) == 4


def test_a_repeated_clone_is_answered_from_memory_and_another_one_from_what_is_there(agent: Agent) -> None:
    answer = agent.call("CloneVolume", clone_request())
    # The journal answers without looking.
    agent.fleet.faults.add(Fault("gluster", times=0, name="looked"))
    assert agent.call("CloneVolume", clone_request()) == answer
    assert agent.fleet.faults.hits("looked") == 0
    agent.fleet.faults.clear()
    assert agent.call("CloneVolume", clone_request(request_id="again"), node="node2") == answer
    refused(agent, AbortedError, Reason.REQUEST_ID_REUSED, "CloneVolume", clone_request(name="vol_d"))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "-c"},
        {"source_name": ""},
        {"volume_id": "1"},
        {"source_volume_id": "x" * 32},
        {"name": "vol_x"},
        {"volume_id": VOLUME_ID},
    ],
)
def test_malformed_clones_are_refused(agent: Agent, changes: dict[str, Any]) -> None:
    refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "CloneVolume", clone_request(**changes))


def test_errors_of_clone(agent: Agent) -> None:
    absent: Message = clone_request(source_name="nosuch")
    refused(agent, NotFoundError, Reason.GLUSTER_VOLUME_NOT_FOUND, "CloneVolume", absent)
    refused(agent, InternalError, Reason.GLUSTER_FAILED, "CloneVolume", clone_request(source_volume_id="e" * 32))
    agent.fleet.faults.add(Fault("gluster snapshot create", stderr="Commit failed", exit_code=1))
    assert refused(agent, InternalError, Reason.GLUSTER_FAILED, "CloneVolume", clone_request()) == "Commit failed"
    agent.call("CloneVolume", clone_request())
    taken = clone_request(request_id="taken", volume_id="d" * 32)
    refused(agent, InternalError, Reason.GLUSTER_FAILED, "CloneVolume", taken)


def test_an_interrupted_clone_is_taken_back(agent: Agent) -> None:
    agent.fleet.faults.add(Fault("gluster volume set vol_c", action="crash"))
    refused(agent, UnavailableError, Reason.AGENT_UNREACHABLE, "CloneVolume", clone_request())
    for name in ("one", "two"):
        request = messages.DeleteVolumeRequest(request_id=name, name="vol_c", volume_id=COPY_ID)
        agent.call("DeleteVolume", request)
    with pytest.raises(NotFoundError):
        volume(agent, "vol_c")
    for number in (1, 2, 3):
        answer = agent.call("RemoveOrphanCopies", orphans_request(number), node=f"node{number}")
        (name,) = answer.lv_names
        assert name.endswith("_0")
        assert agent.call("RemoveOrphanCopies", orphans_request(number), node=f"node{number}") == answer
        again = orphans_request(number, request_id="again")
        assert list(agent.call("RemoveOrphanCopies", again, node=f"node{number}").lv_names) == []
        assert len(agent.fleet.node(f"node{number}").logical_volumes()) == 4


def test_errors_of_orphans(agent: Agent) -> None:
    for changes in ({"device_id": "x"}, {"thin_pool_name": ""}, {"thin_pool_name": "lvol0"}):
        request = orphans_request(1, **changes)
        refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "RemoveOrphanCopies", request)
    agent.fleet.faults.add(Fault("lvm lvs", stderr="  Device read short", exit_code=5))
    refused(agent, InternalError, Reason.LVM_FAILED, "RemoveOrphanCopies", orphans_request(1))
