"""Every RPC of the agent against its contract, on simulated nodes: answers, repeats, and the errors that it names."""

from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.topology.v1 import volume_pb2
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.common.identity import Identity, Role
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.access import ACCESS, SERVICE
from services.executor.runners.simulated import Fault, Fleet, FleetSettings
from services.executor.servicer import EPOCH_KEY, NODE_KEY, ExecutorServicer

DESCRIPTOR = messages.DESCRIPTOR.services_by_name["ExecutorService"]
METHODS = {method.name: method for method in DESCRIPTOR.methods}
WAIT_S = 10.0
VOLUME_ID = "f" * 32


class Agent:
    """The servicer of a fleet, called as gRPC would call it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.raised: list[BaseException] = []
        servicer = ExecutorServicer(fleet.lookup)
        agent = self

        class Recording:
            """grpc_testing hides what a servicer raises; this keeps it."""

            def __getattr__(self, name: str) -> Any:
                handler = getattr(servicer, name)

                def call(request: Message, context: grpc.ServicerContext) -> Any:
                    try:
                        return handler(request, context)
                    except BrickyardError as error:
                        agent.raised.append(error)
                        raise

                return call

        clock = grpc_testing.strict_real_time()  # type: ignore[no-untyped-call]
        servicers = {DESCRIPTOR: Recording()}
        self._server = grpc_testing.server_from_dictionary(servicers, clock)  # type: ignore[no-untyped-call]

    def call(self, name: str, request: Message, *, node: str = "node1", epoch: str = "") -> Any:
        """The answer of an RPC, or the error that the servicer raised."""
        self.raised.clear()
        metadata = ((NODE_KEY, node), *([(EPOCH_KEY, epoch)] if epoch else []))
        running = self._server.invoke_unary_unary(METHODS[name], metadata, request, WAIT_S)
        response, _trailers, code, _details = running.termination()
        if self.raised:
            raise self.raised[0]
        assert code is grpc.StatusCode.OK, code
        return response


@pytest.fixture
def agent() -> Agent:
    made = Agent(Fleet(FleetSettings(disk_bytes=10 * GIB)))
    for number in (2, 3):
        made.call("ProbePeer", messages.ProbePeerRequest(request_id=f"p{number}", hostname=f"10.0.0.{number}"))
    for number in (1, 2, 3):
        made.call("CreateDevice", device_request(number), node=f"node{number}")
    return made


def device_request(number: int, **changes: Any) -> messages.CreateDeviceRequest:
    values = {"request_id": f"d{number}", "device_id": f"{number}" * 32, "path": "/dev/sdb"}
    return messages.CreateDeviceRequest(**{**values, **changes})


def brick(number: int, *, size: int = GIB) -> volume_pb2.Brick:
    device, brick_id = f"{number}" * 32, f"{number + 3}" * 32
    return volume_pb2.Brick(
        id=brick_id,
        volume_id=VOLUME_ID,
        device_id=device,
        path=f"/var/lib/heketi/mounts/vg_{device}/brick_{brick_id}/brick",
        size_bytes=size,
        thin_pool_size_bytes=size,
        pool_metadata_size_bytes=8 * MIB,
        thin_pool_name=f"tp_{brick_id}",
        lv_name=f"brick_{brick_id}",
        role=volume_pb2.BRICK_ROLE_DATA,
    )


def volume_request(**changes: Any) -> messages.CreateVolumeRequest:
    values: dict[str, Any] = {
        "request_id": "v",
        "volume_id": VOLUME_ID,
        "name": "vol_x",
        "durability": volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3),
        "bricks": [messages.GlusterBrick(hostname=f"10.0.0.{n}", path=brick(n).path) for n in (1, 2, 3)],
        "options": ["server.tcp-user-timeout 42", ""],
    }
    return messages.CreateVolumeRequest(**{**values, **changes})


def make_bricks(agent: Agent) -> None:
    for n in (1, 2, 3):
        request = messages.CreateBrickRequest(request_id=f"b{n}", brick=brick(n), gid=2000)
        agent.call("CreateBrick", request, node=f"node{n}")


def refused(agent: Agent, kind: type[BrickyardError], reason: Reason, name: str, request: Message) -> str:
    """Calls, expects the error, and returns its text."""
    with pytest.raises(kind) as caught:
        agent.call(name, request)
    assert caught.value.reason is reason
    return caught.value.message


def test_every_rpc_has_its_roles_and_nobody_else_may_call() -> None:
    assert set(ACCESS.allowed) == {f"/{SERVICE}/{name}" for name in METHODS}
    gateway, operator = Identity(Role.GATEWAY, "g"), Identity(Role.OPERATOR, "o")
    strangers = [Identity(role, "x") for role in (Role.AGENT, Role.ALLOCATOR, Role.TOPOLOGY)]
    for name in METHODS:
        method = f"/{SERVICE}/{name}"
        assert ACCESS.permits(method, gateway)
        assert ACCESS.permits(method, operator) is name.startswith(("Get", "List"))
        assert not any(ACCESS.permits(method, stranger) for stranger in strangers)


@pytest.mark.parametrize("max_age_s", [0, 60])
def test_get_node_facts(agent: Agent, max_age_s: int) -> None:
    make_bricks(agent)
    request = messages.GetNodeFactsRequest(max_age=Duration(seconds=max_age_s))
    answer = agent.call("GetNodeFacts", request, node="node2")
    assert answer.HasField("age")
    assert answer.age.ToSeconds() < WAIT_S
    facts = answer.facts
    assert facts.hostname == "node2"
    assert facts.glusterd.running
    assert [group.name for group in facts.volume_groups] == ["vg_" + "2" * 32]
    assert {volume.name: volume.thin_pool for volume in facts.logical_volumes} == {
        brick(2).lv_name: False,
        brick(2).thin_pool_name: True,
    }
    assert [entry.mount_point for entry in facts.brick_mounts] == [brick(2).path.removesuffix("/brick")]
    assert [entry.source for entry in facts.fstab_entries] == [entry.source for entry in facts.brick_mounts]
    assert [disk.path for disk in facts.unused_disks] == ["/dev/sdc", "/dev/sdd", "/dev/sde"]
    (state,) = facts.bricks
    assert (state.path, state.mounted, state.process_running, state.heal_count) == (brick(2).path, True, False, -1)


@pytest.mark.parametrize("max_age", [Duration(seconds=-1), Duration(seconds=301), Duration(nanos=-1)])
def test_facts_of_an_age_that_is_none(agent: Agent, max_age: Duration) -> None:
    request = messages.GetNodeFactsRequest(max_age=max_age)
    why = refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "GetNodeFacts", request)
    assert "max_age" in why


def test_get_glusterd(agent: Agent) -> None:
    state = agent.call("GetGlusterd", messages.GetGlusterdRequest()).glusterd
    assert (state.running, state.version, len(state.peer_uuid)) == (True, "10.3", 36)
    assert [(peer.hostname, peer.connected) for peer in state.peers] == [("10.0.0.2", True), ("10.0.0.3", True)]
    agent.fleet.node("node1").daemon.running = False
    state = agent.call("GetGlusterd", messages.GetGlusterdRequest()).glusterd
    assert (state.running, state.version, state.peer_uuid, list(state.peers)) == (False, "", "", [])


def test_probe_and_detach_peer(agent: Agent) -> None:
    refused(
        agent, InternalError, Reason.GLUSTER_FAILED, "ProbePeer",
        messages.ProbePeerRequest(request_id="x", hostname="10.0.0.9"),
    )  # fmt: skip
    refused(
        agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "ProbePeer",
        messages.ProbePeerRequest(request_id="y", hostname="--help"),
    )  # fmt: skip
    for request_id in ("a", "b"):
        agent.call("DetachPeer", messages.DetachPeerRequest(request_id=request_id, hostname="10.0.0.3"))
    assert len(agent.call("GetGlusterd", messages.GetGlusterdRequest()).glusterd.peers) == 1


def test_create_device(agent: Agent) -> None:
    facts = agent.call("CreateDevice", device_request(1, request_id="again")).facts
    assert (facts.total_bytes, facts.free_bytes, facts.extent_size_bytes) == (10 * GIB, 10 * GIB, 4 * MIB)
    assert (len(facts.pv_uuid), list(facts.known_paths)) == (38, ["/dev/sdb"])
    other = {"device_id": "a" * 32}
    refused(
        agent, FailedPreconditionError, Reason.DEVICE_IN_USE, "CreateDevice", device_request(1, request_id="x", **other)
    )
    for path, kind, reason in (
        ("/dev/sdz", NotFoundError, Reason.DEVICE_NOT_FOUND_ON_NODE),
        ("/dev/null", PermissionDeniedError, Reason.DEVICE_NOT_ALLOWED),
        ("sdb", InvalidArgumentError, Reason.INVALID_ARGUMENT),
    ):
        refused(agent, kind, reason, "CreateDevice", device_request(1, request_id=path, path=path, **other))
    agent.fleet.faults.add(Fault("vgcreate"))
    failing = device_request(1, request_id="y", path="/dev/sdc", **other)
    refused(agent, InternalError, Reason.LVM_FAILED, "CreateDevice", failing)
    assert agent.call("CreateDevice", failing).facts.total_bytes == 10 * GIB


def test_get_and_delete_device(agent: Agent) -> None:
    get = messages.GetDeviceRequest(device_id="1" * 32)
    assert agent.call("GetDevice", get).facts.total_bytes == 10 * GIB
    agent.fleet.faults.add(Fault("vgremove"))
    delete = messages.DeleteDeviceRequest(request_id="x", device_id="1" * 32)
    refused(agent, InternalError, Reason.LVM_FAILED, "DeleteDevice", delete)
    agent.call("DeleteDevice", delete)
    agent.call("DeleteDevice", messages.DeleteDeviceRequest(request_id="y", device_id="1" * 32))
    refused(agent, NotFoundError, Reason.DEVICE_NOT_FOUND_ON_NODE, "GetDevice", get)


def test_grow_device(agent: Agent) -> None:
    disk = agent.fleet.node("node1").machine.disks["/dev/sdb"]
    disk.size_bytes += 2 * GIB
    grow = messages.GrowDeviceRequest(request_id="g1", device_id="1" * 32)
    grown = agent.call("GrowDevice", grow).facts
    assert (grown.total_bytes, grown.free_bytes, list(grown.known_paths)) == (12 * GIB, 12 * GIB, ["/dev/sdb"])
    # The same request is the same change; another one looks again.
    disk.size_bytes += GIB
    assert agent.call("GrowDevice", grow).facts == grown
    again = messages.GrowDeviceRequest(request_id="g2", device_id="1" * 32)
    assert agent.call("GrowDevice", again).facts.total_bytes == 13 * GIB
    absent = messages.GrowDeviceRequest(request_id="g3", device_id="9" * 32)
    refused(agent, NotFoundError, Reason.DEVICE_NOT_FOUND_ON_NODE, "GrowDevice", absent)


def test_create_brick(agent: Agent) -> None:
    make_bricks(agent)
    directory = agent.fleet.node("node1").machine.directory(brick(1).path)
    assert directory is not None
    assert (directory.gid, directory.mode) == (2000, 0o2775)
    big = messages.CreateBrickRequest(request_id="big", brick=brick(1, size=20 * GIB))
    big.brick.id = big.brick.lv_name = big.brick.thin_pool_name = big.brick.path = ""
    refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, "CreateBrick", big)
    big.brick.id = "c" * 32
    refused(agent, ResourceExhaustedError, Reason.NO_SPACE_ON_DEVICE, "CreateBrick", big)
    for command, reason in (("lvcreate", Reason.LVM_FAILED), ("mkfs", Reason.FILESYSTEM_FAILED)):
        agent.fleet.faults.add(Fault(command))
        small = messages.CreateBrickRequest(request_id=command, brick=brick(1))
        small.brick.id = "c" * 32
        small.brick.lv_name = small.brick.thin_pool_name = small.brick.path = ""
        refused(agent, InternalError, reason, "CreateBrick", small)
    assert len(agent.fleet.node("node1").logical_volumes()) == 2


def test_delete_brick(agent: Agent) -> None:
    make_bricks(agent)
    machine = agent.fleet.node("node1").machine
    request = messages.DeleteBrickRequest(request_id="x", brick=brick(1))
    machine.busy.add(brick(1).path.removesuffix("/brick"))
    refused(agent, FailedPreconditionError, Reason.BRICK_BUSY, "DeleteBrick", request)
    machine.busy.clear()
    agent.fleet.faults.add(Fault("lvremove"))
    refused(agent, InternalError, Reason.LVM_FAILED, "DeleteBrick", request)
    assert agent.call("DeleteBrick", request).thin_pool_removed
    assert agent.call("DeleteBrick", messages.DeleteBrickRequest(request_id="y", brick=brick(1))).thin_pool_removed
    assert agent.fleet.node("node1").logical_volumes() == []


def test_create_and_get_volume(agent: Agent) -> None:
    refused(agent, NotFoundError, Reason.GLUSTER_VOLUME_NOT_FOUND, "GetVolume", messages.GetVolumeRequest(name="vol_x"))
    make_bricks(agent)
    agent.call("CreateVolume", volume_request())
    volume = agent.call("GetVolume", messages.GetVolumeRequest(name="vol_x"), node="node3").volume
    assert (volume.name, volume.started, len(volume.uuid)) == ("vol_x", True, 36)
    assert list(volume.bricks) == [f"10.0.0.{n}:{brick(n).path}" for n in (1, 2, 3)]
    assert (volume.options["user.heketi.id"], volume.options["server.tcp-user-timeout"]) == (VOLUME_ID, "42")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": ["nfs.rpc-statd /tmp/x"]}, Reason.GLUSTER_OPTION_NOT_ALLOWED),
        ({"options": ["performance.cache-size"]}, Reason.INVALID_ARGUMENT),
        ({"bricks": []}, Reason.INVALID_ARGUMENT),
        ({"bricks": [messages.GlusterBrick(hostname="a", path="/b")] * 4}, Reason.INVALID_ARGUMENT),
        ({"bricks": [messages.GlusterBrick(hostname="a", path="/b c")] * 3}, Reason.INVALID_ARGUMENT),
        ({"durability": volume_pb2.Durability()}, Reason.INVALID_ARGUMENT),
        ({"name": "a b"}, Reason.INVALID_ARGUMENT),
        ({"volume_id": "x"}, Reason.INVALID_ARGUMENT),
    ],
)
def test_create_volume_refuses(agent: Agent, changes: dict[str, Any], reason: Reason) -> None:
    make_bricks(agent)
    with pytest.raises(BrickyardError) as caught:
        agent.call("CreateVolume", volume_request(**changes))
    assert caught.value.reason is reason
    assert agent.fleet.node("node1").volumes() == {}


@pytest.mark.parametrize(
    ("durability", "arbiter", "words"),
    [
        ({"type": volume_pb2.DURABILITY_TYPE_NONE}, False, ()),
        ({"type": volume_pb2.DURABILITY_TYPE_REPLICATE, "replica_count": 1}, False, ()),
        ({"type": volume_pb2.DURABILITY_TYPE_REPLICATE, "replica_count": 3}, True, ("replica", "3", "arbiter", "1")),
        (
            {"type": volume_pb2.DURABILITY_TYPE_DISPERSE, "data_count": 2, "redundancy_count": 1},
            False,
            ("disperse-data", "2", "redundancy", "1"),
        ),
    ],
)
def test_create_volume_tells_gluster_the_redundancy(
    agent: Agent, durability: dict[str, Any], arbiter: bool, words: tuple[str, ...]
) -> None:
    make_bricks(agent)
    agent.call("CreateVolume", volume_request(durability=volume_pb2.Durability(**durability), arbiter=arbiter))
    assert agent.fleet.node("node1").volumes()["vol_x"].words == words


def test_a_failed_volume_is_gone(agent: Agent) -> None:
    make_bricks(agent)
    agent.fleet.faults.add(Fault("gluster volume start", stderr="Commit failed", exit_code=1))
    text = refused(agent, InternalError, Reason.GLUSTER_FAILED, "CreateVolume", volume_request())
    assert text == "Commit failed"
    assert agent.fleet.node("node1").volumes() == {}


def test_delete_volume(agent: Agent) -> None:
    make_bricks(agent)
    agent.call("CreateVolume", volume_request())
    foreign = messages.DeleteVolumeRequest(request_id="a", name="vol_x", volume_id="e" * 32)
    agent.call("DeleteVolume", foreign)
    assert "vol_x" in agent.fleet.node("node1").volumes()
    agent.fleet.faults.add(Fault("gluster volume stop", stderr="no", exit_code=1))
    mine = messages.DeleteVolumeRequest(request_id="b", name="vol_x", volume_id=VOLUME_ID)
    refused(agent, InternalError, Reason.GLUSTER_FAILED, "DeleteVolume", mine)
    agent.call("DeleteVolume", mine)
    assert agent.fleet.node("node1").volumes() == {}
    agent.call("DeleteVolume", messages.DeleteVolumeRequest(request_id="c", name="vol_x", volume_id=VOLUME_ID))


def test_a_repeated_request_gets_the_first_answer_and_another_under_its_id_is_refused(agent: Agent) -> None:
    first = agent.call("CreateDevice", device_request(1))
    agent.fleet.node("node1").machine.groups.clear()
    assert agent.call("CreateDevice", device_request(1)) == first
    refused(agent, AbortedError, Reason.REQUEST_ID_REUSED, "CreateDevice", device_request(1, path="/dev/sdc"))


# A fence names its operation, and is the same however often it is set.
@pytest.mark.parametrize("name", [n for n in METHODS if not n.startswith(("Get", "List")) and n != "FenceOperation"])
def test_every_change_needs_a_request_id(agent: Agent, name: str) -> None:
    kind: type[Message] = getattr(messages, f"{name}Request")
    text = refused(agent, InvalidArgumentError, Reason.INVALID_ARGUMENT, name, kind())
    assert "request_id" in text


def test_what_comes_of_an_epoch_that_is_over_is_refused(agent: Agent) -> None:
    operation = "a" * 32
    agent.call("CreateDevice", device_request(1))
    first = messages.CreateBrickRequest(request_id=f"{operation}/create", brick=brick(1))
    agent.call("FenceOperation", messages.FenceOperationRequest(operation_id=operation, epoch=2))
    for method, request in (
        ("CreateBrick", first),
        ("AddBricks", messages.AddBricksRequest(request_id=f"{operation}/add-bricks")),
        ("CloneVolume", messages.CloneVolumeRequest(request_id=f"{operation}/clone-volume")),
    ):
        with pytest.raises(FailedPreconditionError) as caught:
            agent.call(method, request, epoch="1")
        assert caught.value.reason is Reason.LEASE_LOST
        assert caught.value.metadata["current_epoch"] == "2"
    assert agent.fleet.node("node1").logical_volumes() == []
    agent.call("CreateBrick", first, epoch="2")
    with pytest.raises(FailedPreconditionError):
        agent.call("FenceOperation", messages.FenceOperationRequest(operation_id=operation, epoch=1))


@pytest.mark.parametrize("epoch", ["0", "-1", "x", "9" * 30])
def test_an_epoch_is_a_number(agent: Agent, epoch: str) -> None:
    with pytest.raises(InvalidArgumentError, match="is no epoch"):
        agent.call("CreateDevice", device_request(1), epoch=epoch)


@pytest.mark.parametrize("fields", [{"operation_id": "x", "epoch": 1}, {"operation_id": "a" * 32, "epoch": 0}])
def test_a_fence_needs_an_operation_and_an_epoch(agent: Agent, fields: dict[str, Any]) -> None:
    refused(
        agent,
        InvalidArgumentError,
        Reason.INVALID_ARGUMENT,
        "FenceOperation",
        messages.FenceOperationRequest(**fields),
    )


def test_a_volume_that_glusterd_never_heard_of_is_told_as_untouched(agent: Agent) -> None:
    make_bricks(agent)
    agent.fleet.node("node1").daemon.running = False
    with pytest.raises(FailedPreconditionError) as caught:
        agent.call("CreateVolume", volume_request())
    assert caught.value.reason is Reason.GLUSTERD_NOT_RUNNING
    assert caught.value.metadata["untouched"] == "True"


def test_the_node_is_chosen_by_metadata(agent: Agent) -> None:
    with pytest.raises(NotFoundError) as caught:
        agent.call("GetGlusterd", messages.GetGlusterdRequest(), node="node9")
    assert caught.value.reason is Reason.NODE_NOT_FOUND


def test_a_lost_node_is_unavailable(agent: Agent) -> None:
    agent.fleet.faults.add(Fault("lvcreate", action="crash-after"))
    request = messages.CreateBrickRequest(request_id="x", brick=brick(1))
    refused(agent, UnavailableError, Reason.AGENT_UNREACHABLE, "CreateBrick", request)
    assert len(agent.fleet.node("node1").logical_volumes()) == 2
    agent.call("CreateBrick", request)
