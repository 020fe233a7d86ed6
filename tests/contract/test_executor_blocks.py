"""Block volumes through the agent's contract, on simulated nodes."""

from typing import Any

import pytest

from brickyard.executor.v1 import executor_service_pb2 as messages
from services.common.errors import FailedPreconditionError, InternalError, InvalidArgumentError, NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.runners.simulated import Fault, Fleet, FleetSettings
from tests.contract.test_executor_growth import REPLICATED, VOLUME_ID, brick, bricks
from tests.contract.test_executor_servicer import Agent, device_request, refused

BLOCK_ID = "e" * 32
HOSTS = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@pytest.fixture
def agent() -> Agent:
    """Three peers with a hosting volume."""
    made = Agent(Fleet(FleetSettings(disk_bytes=10 * GIB)))
    for number in (2, 3):
        made.call("ProbePeer", messages.ProbePeerRequest(request_id=f"p{number}", hostname=f"10.0.0.{number}"))
    for number in (1, 2, 3):
        made.call("CreateDevice", device_request(number), node=f"node{number}")
        request = messages.CreateBrickRequest(request_id=f"b{number}", brick=brick(number, "a"))
        made.call("CreateBrick", request, node=f"node{number}")
    made.call(
        "CreateVolume",
        messages.CreateVolumeRequest(
            request_id="v",
            volume_id=VOLUME_ID,
            name="vol_x",
            durability=REPLICATED,
            bricks=bricks("a"),
            options=["group gluster-block"],
        ),
    )
    return made


def creation(**changes: Any) -> messages.CreateBlockVolumeRequest:
    values: dict[str, Any] = {
        "request_id": "create",
        "hosting_volume_name": "vol_x",
        "block_volume_id": BLOCK_ID,
        "name": "blk",
        "size_bytes": 4 * GIB,
        "hosts": HOSTS,
        "auth": True,
    }
    return messages.CreateBlockVolumeRequest(**{**values, **changes})


def place() -> messages.GetBlockVolumeRequest:
    return messages.GetBlockVolumeRequest(hosting_volume_name="vol_x", name="blk")


def test_the_life_of_one(agent: Agent) -> None:
    made = agent.call("CreateBlockVolume", creation())
    assert made.password
    assert made.iqn.endswith(made.username)
    # The answer is not kept, and found again.
    assert agent.call("CreateBlockVolume", creation()) == made
    shown = agent.call("GetBlockVolume", place()).block_volume
    assert (shown.name, shown.iqn, shown.size_bytes, shown.ha_count) == ("blk", made.iqn, 4 * GIB, 3)
    assert made.password not in str(shown)
    growth = messages.ExpandBlockVolumeRequest(
        request_id="grow", hosting_volume_name="vol_x", name="blk", size_bytes=6 * GIB
    )
    assert agent.call("ExpandBlockVolume", growth).block_volume.usable_size_bytes == 6 * GIB
    named = messages.ListBlockVolumesRequest(hosting_volume_name="vol_x")
    assert list(agent.call("ListBlockVolumes", named).names) == ["blk"]
    removal = messages.DeleteBlockVolumeRequest(
        request_id="delete", hosting_volume_name="vol_x", block_volume_id=BLOCK_ID, name="blk"
    )
    for _ in range(2):
        agent.call("DeleteBlockVolume", removal)
    assert list(agent.call("ListBlockVolumes", named).names) == []
    refused(agent, NotFoundError, Reason.GLUSTER_BLOCK_VOLUME_NOT_FOUND, "GetBlockVolume", place())
    late = creation(request_id="late")
    refused(agent, FailedPreconditionError, Reason.OPERATION_ENDED, "CreateBlockVolume", late)


def test_facts_tell_whether_it_is_installed(agent: Agent) -> None:
    def told() -> tuple[bool, bool]:
        glusterd = agent.call("GetGlusterd", messages.GetGlusterdRequest()).glusterd
        facts = agent.call("GetNodeFacts", messages.GetNodeFactsRequest()).facts
        return glusterd.gluster_block_installed, facts.glusterd.gluster_block_installed

    assert told() == (True, True)
    agent.fleet.node("node1").machine.has_gluster_block = False
    assert told() == (False, False)
    refused(agent, FailedPreconditionError, Reason.GLUSTER_BLOCK_NOT_INSTALLED, "CreateBlockVolume", creation())


def test_failures_keep_the_tools_words_and_may_be_repeated(agent: Agent) -> None:
    agent.fleet.faults.add(Fault("^gluster-block create", stderr="no luck"))
    said = refused(agent, InternalError, Reason.GLUSTER_BLOCK_FAILED, "CreateBlockVolume", creation())
    assert said == "Failed to create block volume: no luck"
    assert agent.call("CreateBlockVolume", creation()).iqn


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_id": ""},
        {"name": "a/b"},
        {"hosting_volume_name": "-x"},
        {"block_volume_id": "x"},
        {"size_bytes": MIB},
        {"hosts": []},
        {"hosts": ["; rm -rf /"]},
        {"prealloc": "falloc"},
    ],
)
def test_what_can_not_be_asked_for(agent: Agent, wrong: dict[str, Any]) -> None:
    refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "CreateBlockVolume", creation(**wrong))
