"""The services around the engine, in memory: operations with leases, agents that fail or wait on demand, nodes."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, operation_service_pb2, volume_pb2
from gateway.operations.engine import OperationEngine
from gateway.operations.kinds import KINDS
from gateway.operations.settings import EngineSettings
from gateway.operations.work import Trail
from services.common.errors import BrickyardError, FailedPreconditionError, NotFoundError, UnavailableError
from services.common.ids import new_id
from services.common.reasons import Reason

CLUSTER = "c" * 32
VOLUME = "f" * 32
GIB = 1 << 30
OWNER = "this gateway"
KIND_OF = {
    "create_volume": operation_pb2.OPERATION_KIND_CREATE_VOLUME,
    "delete_volume": operation_pb2.OPERATION_KIND_DELETE_VOLUME,
    "add_node": operation_pb2.OPERATION_KIND_ADD_NODE,
    "delete_node": operation_pb2.OPERATION_KIND_DELETE_NODE,
    "add_device": operation_pb2.OPERATION_KIND_ADD_DEVICE,
    "delete_device": operation_pb2.OPERATION_KIND_DELETE_DEVICE,
    "set_node_state": operation_pb2.OPERATION_KIND_SET_NODE_STATE,
    "set_device_state": operation_pb2.OPERATION_KIND_SET_DEVICE_STATE,
    "expand_volume": operation_pb2.OPERATION_KIND_EXPAND_VOLUME,
    "clone_volume": operation_pb2.OPERATION_KIND_CLONE_VOLUME,
}
ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)
_LONGEST_TEST_S = 4.0
_Result = TypeVar("_Result")


def run(scenario: Coroutine[Any, Any, _Result]) -> _Result:
    """Runs a test's coroutine; one that hangs fails."""

    async def limited() -> _Result:
        async with asyncio.timeout(_LONGEST_TEST_S):
            return await scenario

    return asyncio.run(limited())


async def until(condition: Callable[[], object]) -> None:
    """Waits for a condition; the limit of `run` ends it."""
    while not condition():  # noqa: ASYNC110 - conditions of many kinds, which no event covers
        await asyncio.sleep(0.002)


def node(number: int) -> node_pb2.Node:
    """Node `number` of CLUSTER."""
    return node_pb2.Node(
        id=f"{number:032x}",
        cluster_id=CLUSTER,
        zone=number,
        manage_hostnames=[f"node{number}"],
        storage_hostnames=[f"10.0.0.{number}"],
        state=node_pb2.NODE_STATE_ONLINE,
    )


def volume(bricks: int = 3) -> volume_pb2.Volume:
    """A volume with one brick on each of the first nodes."""
    return volume_pb2.Volume(
        id=VOLUME,
        name="vol",
        cluster_id=CLUSTER,
        size_bytes=GIB,
        durability=volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=bricks),
        options=["", "a b"],
        gid=7,
        bricks=[
            volume_pb2.Brick(
                id=f"{number:02x}" * 16,
                volume_id=VOLUME,
                node_id=node(number).id,
                device_id=f"{number:x}" * 32,
                path=f"/bricks/{number}",
            )
            for number in range(1, bricks + 1)
        ],
    )


def spec(kind: str, *, bricks: int = 3, force_forget: bool = False) -> operation_pb2.OperationSpec:
    """A spec of each kind, as the topology has recorded it."""
    device = device_pb2.Device(id="d" * 32, node_id=node(1).id, path="/dev/sdb")
    made: dict[str, Any] = {
        "create_volume": operation_pb2.CreateVolumeSpec(volume=volume(bricks)),
        "delete_volume": operation_pb2.DeleteVolumeSpec(volume_id=VOLUME, volume=volume(bricks)),
        "add_node": operation_pb2.AddNodeSpec(node=node(9), probing_node_id=node(1).id),
        "delete_node": operation_pb2.DeleteNodeSpec(node_id=node(2).id, node=node(2)),
        "add_device": operation_pb2.AddDeviceSpec(device=device, destroy_data=True),
        "delete_device": operation_pb2.DeleteDeviceSpec(device_id=device.id, device=device, force_forget=force_forget),
        "set_node_state": operation_pb2.SetNodeStateSpec(node_id=node(1).id, state=node_pb2.NODE_STATE_OFFLINE),
        "set_device_state": operation_pb2.SetDeviceStateSpec(
            device_id=device.id, state=device_pb2.DEVICE_STATE_OFFLINE
        ),
    }
    made["expand_volume"] = operation_pb2.ExpandVolumeSpec(
        volume_id=VOLUME, added_size_bytes=GIB, volume=volume(bricks), bricks=volume(bricks).bricks
    )
    made["clone_volume"] = operation_pb2.CloneVolumeSpec(
        source_volume_id=VOLUME,
        volume_id="e" * 32,
        name="copy",
        source=volume(bricks),
        brick_ids=[f"{number:032x}" for number in range(bricks)],
    )
    return operation_pb2.OperationSpec(**{kind: made[kind]})


def operation(kind: str, *, attempt: int = 1, owner: str = OWNER, **more: Any) -> operation_pb2.Operation:
    """A recorded operation."""
    return operation_pb2.Operation(
        id=new_id(),
        kind=KIND_OF[kind],
        spec=spec(kind),
        cluster_id=CLUSTER,
        request_id=new_id(),
        attempt_count=attempt,
        owner=owner,
        state=operation_pb2.OPERATION_STATE_PENDING,
        **more,
    )


@dataclass(repr=False)
class FakeOperations:
    """The topology's OperationService. `failures` are raised in turn by a method before it does anything.

    `events` is shared with the agents, so that the order of everything can be looked at.
    """

    events: list[tuple[str, Any]]
    stored: dict[str, operation_pb2.Operation] = field(default_factory=dict)
    abandoned: list[operation_pb2.Operation] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    woken: set[str] = field(default_factory=set)
    failures: dict[str, list[Exception]] = field(default_factory=lambda: defaultdict(list))
    # Raised after a method did its work: the answer got lost.
    lost_answers: dict[str, list[Exception]] = field(default_factory=lambda: defaultdict(list))

    def calls(self, method: str) -> list[Any]:
        return [request for name, request in self.events if name == method]

    def _enter(self, method: str, request: Any) -> None:
        self.events.append((method, request))
        if self.failures[method]:
            raise self.failures[method].pop(0)

    def _leave(self, method: str) -> None:
        if self.lost_answers[method]:
            raise self.lost_answers[method].pop(0)

    def _mine(self, request: Any) -> operation_pb2.Operation:
        found = self.stored.get(request.operation_id)
        if found is None:
            raise NotFoundError(Reason.OPERATION_NOT_FOUND, "no such operation")
        if found.owner != request.owner:
            raise FailedPreconditionError(Reason.LEASE_LOST, f"operation is held by {found.owner}")
        if found.state in ENDED:
            raise FailedPreconditionError(Reason.OPERATION_ENDED, "operation has ended")
        return found

    async def BeginOperation(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("BeginOperation", request)
        known = [each for each in self.stored.values() if each.request_id == request.request_id]
        if known:
            return operation_service_pb2.BeginOperationResponse(operation=known[0], replayed=True)
        begun = operation_pb2.Operation(
            id=new_id(),
            kind=KIND_OF[request.spec.WhichOneof("kind")],
            spec=request.spec,
            cluster_id=CLUSTER,
            request_id=request.request_id,
            owner=request.owner,
            attempt_count=1,
            state=operation_pb2.OPERATION_STATE_PENDING,
        )
        self.stored[begun.id] = begun
        self._leave("BeginOperation")
        return operation_service_pb2.BeginOperationResponse(operation=begun)

    async def UpdateOperation(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("UpdateOperation", request)
        found = self._mine(request)
        if request.state:
            found.state = request.state
        if request.HasField("error"):
            found.error.CopyFrom(request.error)
        found.stalled = request.stalled
        return operation_service_pb2.UpdateOperationResponse(operation=found)

    async def CommitOperation(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("CommitOperation", request)
        found = self.stored.get(request.operation_id)
        if found is None or found.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
            found = self._mine(request)
        found.state = operation_pb2.OPERATION_STATE_SUCCEEDED
        self._leave("CommitOperation")
        return operation_service_pb2.CommitOperationResponse(operation=found)

    async def AbortOperation(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("AbortOperation", request)
        found = self._mine(request)
        found.state = operation_pb2.OPERATION_STATE_FAILED
        found.error.CopyFrom(request.error)
        left = self._left(found, request)
        return operation_service_pb2.AbortOperationResponse(operation=found, clean_up=left)

    def _left(self, origin: operation_pb2.Operation, request: Any) -> operation_pb2.Operation | None:
        """The clean-up of what is left, as the topology begins it."""
        if not request.left_brick_ids:
            return None
        left = [b for b in origin.spec.create_volume.volume.bricks if b.id in set(request.left_brick_ids)]
        begun = operation_pb2.Operation(
            id=new_id(),
            kind=operation_pb2.OPERATION_KIND_CLEAN_UP,
            spec=operation_pb2.OperationSpec(
                clean_up=operation_pb2.CleanUpSpec(
                    origin_operation_id=origin.id, volume=volume_pb2.Volume(cluster_id=CLUSTER, bricks=left)
                )
            ),
            cluster_id=CLUSTER,
            request_id=new_id(),
            owner=request.owner,
            attempt_count=1,
            stalled=True,
            state=operation_pb2.OPERATION_STATE_PENDING,
        )
        self.stored[begun.id] = begun
        return begun

    async def ReplanOperation(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("ReplanOperation", request)
        found = self._mine(request)
        left = self._left(found, request)
        volume = found.spec.create_volume.volume
        del volume.bricks[:]
        volume.bricks.extend(request.bricks)
        found.placement_count = max(1, found.placement_count) + 1
        found.note = request.note
        self._leave("ReplanOperation")
        return operation_service_pb2.ReplanOperationResponse(operation=found, clean_up=left)

    async def WakeOperations(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("WakeOperations", request)
        return operation_service_pb2.WakeOperationsResponse(woken_count=0)

    async def CheckSlot(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("CheckSlot", request)
        return operation_service_pb2.CheckSlotResponse()

    async def RenewLeases(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("RenewLeases", request)
        woken = [each for each in request.operation_ids if each in self.woken]
        self.woken -= set(woken)
        return operation_service_pb2.RenewLeasesResponse(
            lost_operation_ids=[each for each in request.operation_ids if each in self.lost], woken_operation_ids=woken
        )

    async def ClaimOperations(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("ClaimOperations", request)
        claimed, self.abandoned = self.abandoned, []
        for each in claimed:
            each.owner = request.owner
            self.stored[each.id] = each
        return operation_service_pb2.ClaimOperationsResponse(operations=claimed)

    async def GetOperation(self, request: Any, **_call: Any) -> Any:  # noqa: N802 - the contract's name
        self._enter("GetOperation", request)
        for each in self.stored.values():
            if request.operation_id == each.id or request.request_id == each.request_id:
                return operation_service_pb2.GetOperationResponse(operation=each)
        raise NotFoundError(Reason.OPERATION_NOT_FOUND, "no such operation")


@dataclass(repr=False)
class FakeAgents:
    """All agents. `failures[(hostname, method)]` are raised in turn; "*" stands for every host name."""

    events: list[tuple[str, Any]]
    failures: dict[tuple[str, str], list[BrickyardError]] = field(default_factory=lambda: defaultdict(list))
    down: set[str] = field(default_factory=set)
    # What a method answers, if not an empty message.
    answers: dict[str, Any] = field(default_factory=dict)
    # A method waits for its gate, if it has one.
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    # Method and epoch of each call, in their order.
    epochs: list[tuple[str, int]] = field(default_factory=list)
    # Host names whose glusterd does not run, and storage names that all others see as disconnected.
    without_glusterd: set[str] = field(default_factory=set)
    disconnected: set[str] = field(default_factory=set)
    # How many bricks a copy has.
    cloned: int = 3

    def calls(self, method: str = "") -> list[tuple[str, str, Any]]:
        """Host name, method and request of each call to an agent."""
        found = [entry for name, entry in self.events if name == "agent"]
        return [each for each in found if not method or each[1] == method]

    async def call(self, hostname: str, method: str, request: Any, *, timeout_s: float = 0, epoch: int = 0) -> Any:
        copy = type(request)()
        copy.CopyFrom(request)
        self.events.append(("agent", (hostname, method, copy)))
        self.epochs.append((method, epoch))
        if method in self.gates:
            self.waiting.append(method)
            await self.gates[method].wait()
        if hostname in self.down:
            raise UnavailableError(Reason.AGENT_UNREACHABLE, f"the agent of node {hostname} does not answer")
        for key in ((hostname, method), ("*", method)):
            if self.failures[key]:
                raise self.failures[key].pop(0)
        return self._answer(hostname, method)

    def _answer(self, hostname: str, method: str) -> Any:
        if method in self.answers:
            return self.answers[method]
        if method == "CreateDevice":
            facts = device_pb2.DeviceFacts(total_bytes=GIB, free_bytes=GIB, extent_size_bytes=4 << 20)
            return executor_pb2.CreateDeviceResponse(facts=facts)
        if method == "CloneVolume":
            names = [f"lv{number}" for number in range(self.cloned)]
            copies = [executor_pb2.GlusterBrick(hostname="h", path=f"/{name}") for name in names]
            return executor_pb2.CloneVolumeResponse(bricks=copies, lv_names=names)
        if method == "DeleteBrick":
            return executor_pb2.DeleteBrickResponse(thin_pool_removed=hostname != "node2")
        if method == "GetGlusterd":
            answer = executor_pb2.GetGlusterdResponse()
            answer.glusterd.running = hostname not in self.without_glusterd
            for name in sorted(self.disconnected):
                answer.glusterd.peers.add(hostname=name, connected=False)
            return answer
        return getattr(executor_pb2, f"{method}Response")()


@dataclass(repr=False)
class Scene:
    """An engine among fakes. Use it in an `async with` block, which starts and stops the engine."""

    settings: dict[str, Any] = field(default_factory=dict)
    nodes: list[node_pb2.Node] = field(default_factory=lambda: [node(number) for number in (1, 2, 3)])
    events: list[tuple[str, Any]] = field(default_factory=list)
    list_failures: list[BrickyardError] = field(default_factory=list)
    plan_failures: list[BrickyardError] = field(default_factory=list)
    grace_s: float = 5.0
    operations: FakeOperations = field(init=False)
    agents: FakeAgents = field(init=False)
    engine: OperationEngine = field(init=False)

    def __post_init__(self) -> None:
        self.operations = FakeOperations(self.events)
        self.agents = FakeAgents(self.events)

    async def list_nodes(self, cluster_id: str) -> Sequence[node_pb2.Node]:
        assert cluster_id == CLUSTER
        if self.list_failures:
            raise self.list_failures.pop(0)
        return self.nodes

    async def plan_again(self, operation: operation_pb2.Operation, trail: Trail) -> Sequence[volume_pb2.Brick]:
        """One brick of a new id on each of the first nodes that did not fail."""
        self.events.append(("plan_again", (set(trail.failed_node_ids), set(trail.failed_device_ids))))
        if self.plan_failures:
            raise self.plan_failures.pop(0)
        volume = operation.spec.create_volume.volume
        usable = [each for each in self.nodes if each.id not in trail.failed_node_ids]
        bricks = []
        for old, holder in zip(volume.bricks, usable, strict=False):
            brick = volume_pb2.Brick(id=new_id(), volume_id=volume.id, node_id=holder.id, path=f"{old.path}/again")
            brick.device_id = new_id()
            bricks.append(brick)
        return bricks

    async def __aenter__(self) -> Self:
        quick = {"lease_s": 0.15, "claim_interval_s": 0.02, "progress_interval_s": 0.01, "retry_interval_s": 0.02}
        list_nodes: Callable[[str], Awaitable[Sequence[node_pb2.Node]]] = self.list_nodes
        self.engine = OperationEngine(
            settings=EngineSettings(owner=OWNER, **{**quick, **self.settings}),
            kinds=KINDS,
            operations=self.operations,
            agents=self.agents,
            list_nodes=list_nodes,
            plan_again=self.plan_again,
        )
        await self.engine.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for gate in self.agents.gates.values():
            gate.set()
        await self.engine.stop(self.grace_s)

    async def begin(self, kind: str = "create_volume", **more: Any) -> operation_pb2.Operation:
        return await self.engine.begin(spec(kind, **more), request_id=new_id(), fingerprint="f")

    async def driven(self, kind: str = "create_volume", **more: Any) -> operation_pb2.Operation:
        """Begins an operation and waits until the engine has done with it."""
        begun = await self.begin(kind, **more)
        await until(lambda: not self.engine.in_flight_count)
        return self.operations.stored[begun.id]

    def names(self) -> list[str]:
        """What happened, without the housekeeping: names of RPCs in their order."""
        quiet = {"RenewLeases", "ClaimOperations", "BeginOperation"}
        return [entry[1] if name == "agent" else name for name, entry in self.events if name not in quiet]
