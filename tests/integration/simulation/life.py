"""What clients and fate do to a world: random requests, random deaths, and the account of both. Effects: the world."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2, operation_service_pb2, volume_pb2
from gateway.usecases import NewDevice, NewNode, NewVolume
from gateway.usecases.volumes import GatewayUseCases
from services.common.errors import BrickyardError, TimeLimitError, UnavailableError
from services.common.ids import new_id
from services.common.reasons import Reason
from tests.integration.simulation.network import STORM, Weather
from tests.integration.simulation.world import NODES, GatewayKilledError, World

_GIB = 1 << 30
CLIENTS = 5
_ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)
# Longer than anything that heals by itself: leases, patience with nodes, late calls.
_ENDS_WITHIN_S = 3600.0
_Ask = Callable[[GatewayUseCases, str], Coroutine[Any, Any, operation_pb2.Operation]]
_DURABILITIES = (
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3),
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=2),
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE),
    volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_DISPERSE, data_count=2, redundancy_count=1),
)


@dataclass(slots=True)
class Account:
    """What happened.

    Attributes:
        asked: Operations by kind and end.
        refused: Requests by the reason of their refusal.
        broken: What must never be, in words.
    """

    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


class Life:
    """Runs clients and fate over a world with one cluster."""

    def __init__(self, world: World, *, requests: int) -> None:
        self.account = Account()
        self._world = world
        self._left = requests
        self._cluster = ""

    async def run(self) -> None:
        """Until all requests are made, everything has ended, and all is taken away again."""
        for _ in range(2):
            await self._world.start_gateway()
        await self._populate()
        self._world.network.weather = STORM
        fate = asyncio.create_task(self._fate())
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))
        fate.cancel()
        await asyncio.gather(fate, return_exceptions=True)
        await self._calm()
        await self._all_ended()
        await self._finish_removals()
        await self._check("after the storm")
        await self._remove_all()
        await self._check("after all volumes were removed")

    async def _populate(self) -> None:
        use_cases = self._world.gateways[0].use_cases
        self._cluster = (await use_cases.create_cluster(file_enabled=True, block_enabled=True)).id
        for number in range(1, NODES):
            node = await self._succeeded(self._add_node(number))
            await self._succeeded(self._add_device(node.target_id, "b"))

    def _node(self, number: int) -> NewNode:
        return NewNode(
            cluster_id=self._cluster,
            zone=number,
            manage_hostnames=(f"node{number}",),
            storage_hostnames=(f"10.0.0.{number}",),
        )

    async def _succeeded(self, ask: _Ask) -> operation_pb2.Operation:
        ended = await self._through(ask)
        if ended is None or ended.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
            raise AssertionError(f"in calm weather: {ended}")
        return ended

    # --- clients ------------------------------------------------------------------------------------------------------

    async def _client(self) -> None:
        while self._left > 0:
            ask = self._choose()
            if ask is not None:
                self._left -= 1
                await self._through(ask)
            await asyncio.sleep(self._world.chance.uniform(0, 2))

    def _choose(self) -> _Ask | None:
        """A request that makes sense by what the books say now, while others change them."""
        chance = self._world.chance
        try:
            books = self._world.books()
        except UnavailableError:
            return None
        volumes = [volume.id for volume in books.volumes]
        bricks = sorted(books.bricks)
        nodes = [node.id for node in books.nodes]
        devices = [device.id for device in books.devices]
        makes = 4 if len(volumes) < 8 else 1
        kinds: list[tuple[float, Callable[[], _Ask]]] = [
            (makes, self._create),
            (2 if volumes else 0, lambda: self._delete(chance.choice(volumes))),
            (1.5 if volumes else 0, lambda: self._expand(chance.choice(volumes))),
            (1.0 if volumes else 0, lambda: self._clone(chance.choice(volumes))),
            (0.8 if bricks else 0, lambda: self._evict(chance.choice(bricks))),
            (0.4, lambda: self._add_node(chance.randint(1, NODES))),
            (0.3, lambda: self._delete_node(chance.choice(nodes))),
            (0.6, lambda: self._add_device(chance.choice(nodes), chance.choice("bc"))),
            (0.4 if devices else 0, lambda: self._delete_device(chance.choice(devices))),
            (0.3 if devices else 0, lambda: self._resync(chance.choice(devices))),
            (0.5 if devices else 0, lambda: self._set_device(chance.choice(devices))),
            (0.3, lambda: self._set_node(chance.choice(nodes))),
        ]
        chosen = chance.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]
        return chosen()

    def _create(self) -> _Ask:
        volume = NewVolume(
            size_bytes=self._world.chance.randint(1, 6) * _GIB,
            cluster_ids=(self._cluster,),
            durability=self._world.chance.choice(_DURABILITIES),
            name=f"vol{self._world.chance.randint(1, 12)}" if self._world.chance.random() < 0.5 else "",
        )
        return lambda uc, key: uc.create_volume(volume, request_id=key)

    def _delete(self, volume: str) -> _Ask:
        return lambda uc, key: uc.delete_volume(volume, request_id=key)

    def _expand(self, volume: str) -> _Ask:
        size = self._world.chance.randint(1, 3) * _GIB
        return lambda uc, key: uc.expand_volume(volume, size, request_id=key)

    def _clone(self, volume: str) -> _Ask:
        return lambda uc, key: uc.clone_volume(volume, request_id=key)

    def _evict(self, brick: str) -> _Ask:
        return lambda uc, key: uc.evict_brick(brick, request_id=key)

    def _add_node(self, number: int) -> _Ask:
        return lambda uc, key: uc.add_node(self._node(number), request_id=key)

    def _delete_node(self, node: str) -> _Ask:
        return lambda uc, key: uc.delete_node(node, request_id=key)

    def _add_device(self, node: str, letter: str) -> _Ask:
        return lambda uc, key: uc.add_device(NewDevice(node_id=node, path=f"/dev/sd{letter}"), request_id=key)

    def _delete_device(self, device: str) -> _Ask:
        return lambda uc, key: uc.delete_device(device, request_id=key)

    def _resync(self, device: str) -> _Ask:
        return lambda uc, key: uc.resync_device(device, request_id=key)

    def _set_device(self, device: str) -> _Ask:
        states = (device_pb2.DEVICE_STATE_ONLINE, device_pb2.DEVICE_STATE_ONLINE, device_pb2.DEVICE_STATE_OFFLINE)
        state = self._world.chance.choice((*states, device_pb2.DEVICE_STATE_FAILED))
        return lambda uc, key: uc.set_device_state(device, state, request_id=key)

    def _set_node(self, node: str) -> _Ask:
        online, offline = node_pb2.NODE_STATE_ONLINE, node_pb2.NODE_STATE_OFFLINE
        state = self._world.chance.choice((online, online, online, offline))
        return lambda uc, key: uc.set_node_state(node, state, request_id=key)

    async def _through(self, ask: _Ask) -> operation_pb2.Operation | None:
        """One request to its end, repeated with its id as often as it takes; None when it was refused."""
        key = new_id()
        begun = await self._begun(ask, key)
        if begun is None:
            return None
        ended = await self._ended(begun.id)
        kind = operation_pb2.OperationKind.Name(ended.kind).removeprefix("OPERATION_KIND_").lower()
        good = ended.state == operation_pb2.OPERATION_STATE_SUCCEEDED
        self.account.asked[f"{kind} {'finished' if good else 'undone'}"] += 1
        if self._world.chance.random() < 0.2:
            again = await self._begun(ask, key)
            if again is None or (again.id, again.state) != (ended.id, ended.state):
                self.account.broken.append(f"repeated {key}: {again} instead of {ended}")
        return ended

    async def _begun(self, ask: _Ask, key: str) -> operation_pb2.Operation | None:
        while True:
            gateway = self._world.any_gateway()
            if gateway is not None:
                try:
                    return await gateway.ask(ask(gateway.use_cases, key))
                except (GatewayKilledError, UnavailableError, TimeLimitError):
                    pass  # as a client: nobody knows what became of it, so it asks again with the same id
                except BrickyardError as error:
                    self.account.refused[error.reason.value] += 1
                    if error.reason is Reason.INTERNAL:
                        self.account.broken.append(f"refused: {error.message}")
                    return None
            await asyncio.sleep(0.5)

    async def _ended(self, operation_id: str) -> operation_pb2.Operation:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ENDS_WITHIN_S
        while loop.time() < deadline:
            gateway = self._world.any_gateway()
            if gateway is not None:
                try:
                    found = await gateway.ask(gateway.use_cases.get_operation(operation_id))
                    if found.state in _ENDED:
                        return found
                except (GatewayKilledError, UnavailableError, TimeLimitError):
                    pass
            await asyncio.sleep(1.0)
        raise AssertionError(f"operation {operation_id} has not ended within {_ENDS_WITHIN_S:g} s")

    # --- fate ---------------------------------------------------------------------------------------------------------

    async def _fate(self) -> None:
        chance, world = self._world.chance, self._world
        while True:
            await asyncio.sleep(chance.uniform(0.5, 20))
            what = chance.choices(("gateway", "topology", "agent", "allocator"), (3, 2, 3, 1))[0]
            if what == "gateway" and world.gateways:
                await world.kill_gateway(chance.choice(world.gateways))
                await asyncio.sleep(chance.choice((0.1, 1, 20)))
                await world.start_gateway()
            elif what == "topology":
                world.kill_topology()
                await asyncio.sleep(chance.choice((0.1, 1, 20)))
                world.start_topology()
            elif what == "agent":
                world.restart_agent(f"node{chance.randint(1, NODES)}")
            elif what == "allocator":
                world.start_allocator()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        world = self._world
        world.network.weather = Weather()
        if world._topology is None:
            world.start_topology()
        while len(world.gateways) < 2:
            await world.start_gateway()
        await world.network.settle()

    async def _all_ended(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ENDS_WITHIN_S
        while unfinished := self._world.books().unfinished:
            if loop.time() > deadline:
                self.account.broken.append(f"never ended: {[each.id for each in unfinished]}")
                return
            await asyncio.sleep(5.0)

    async def _finish_removals(self) -> None:
        """What failed to be removed is removed again: it may be half gone, and stays listed until then."""
        topology: Any = self._world._running_topology()
        page = topology.operations.ListOperations
        request = operation_service_pb2.ListOperationsRequest(page_size=1000)
        failed: dict[str, int] = {}
        while True:
            answer = page(request, None)
            for each in answer.operations:
                removing = each.kind in _REMOVALS
                if removing and each.state == operation_pb2.OPERATION_STATE_FAILED:
                    failed[each.target_id] = each.kind
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
        for target, kind in failed.items():
            await self._remove(kind, target)

    async def _remove(self, kind: int, target: str) -> None:
        removals: dict[int, _Ask] = {
            operation_pb2.OPERATION_KIND_DELETE_VOLUME: self._delete(target),
            operation_pb2.OPERATION_KIND_DELETE_NODE: self._delete_node(target),
            operation_pb2.OPERATION_KIND_DELETE_DEVICE: self._delete_device(target),
        }
        await self._through(removals[kind])

    async def _remove_all(self) -> None:
        for volume in self._world.books().volumes:
            ended = await self._through(self._delete(volume.id))
            if ended is None or ended.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
                self.account.broken.append(f"volume {volume.id} cannot be removed: {ended}")

    async def _check(self, when: str) -> None:
        self.account.broken += [f"{when}: {each}" for each in self._world.differences()]
        gateway = self._world.gateways[0]
        report = await gateway.ask(gateway.use_cases.examine(self._cluster))
        self.account.broken += [f"{when}, examined: {each.message}" for each in report.differences]


_REMOVALS = frozenset(
    {
        operation_pb2.OPERATION_KIND_DELETE_VOLUME,
        operation_pb2.OPERATION_KIND_DELETE_NODE,
        operation_pb2.OPERATION_KIND_DELETE_DEVICE,
    }
)
