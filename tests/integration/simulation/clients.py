"""Clients of a world: they repeat what they ask until they know what became of it, and look at the end. Effects: it."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.common.errors import BrickyardError, TimeLimitError, UnavailableError
from services.common.ids import new_id
from services.common.reasons import Reason
from tests.integration.simulation import requests
from tests.integration.simulation.network import Weather
from tests.integration.simulation.requests import Ask
from tests.integration.simulation.world import NODES, GatewayKilledError, World

_ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)
# Longer than anything that heals by itself: leases, patience with nodes, late calls.
_ENDS_WITHIN_S = 3600.0
_REMOVALS = frozenset(
    {
        operation_pb2.OPERATION_KIND_DELETE_VOLUME,
        operation_pb2.OPERATION_KIND_DELETE_NODE,
        operation_pb2.OPERATION_KIND_DELETE_DEVICE,
    }
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


class Clients:
    """Those of one cluster.

    Attributes:
        account: What happened to them.
        cluster: Id of the cluster, once it is there.
    """

    def __init__(self, world: World) -> None:
        self.account = Account()
        self.cluster = ""
        self._world = world

    async def populate(self) -> None:
        """Two gateways, and a cluster of all nodes but the last, with a disk of each."""
        for _ in range(2):
            await self._world.start_gateway()
        use_cases = self._world.gateways[0].use_cases
        self.cluster = (await use_cases.create_cluster(file_enabled=True, block_enabled=True)).id
        for number in range(1, NODES):
            node = await self._succeeded(requests.add_node(self.cluster, number))
            await self._succeeded(requests.add_device(node.target_id, "b"))

    async def _succeeded(self, ask: Ask) -> operation_pb2.Operation:
        ended = await self.through(ask)
        if ended is None or ended.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
            raise AssertionError(f"in calm weather: {ended}")
        return ended

    async def through(self, ask: Ask) -> operation_pb2.Operation | None:
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

    async def _begun(self, ask: Ask, key: str) -> operation_pb2.Operation | None:
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

    async def finish(self) -> None:
        """Lets all come to its end in calm weather, compares, takes all away again, and compares once more."""
        await self._calm()
        await self._all_ended()
        await self._finish_removals()
        await self._check("after the storm")
        await self._remove_all()
        await self._check("after all volumes were removed")

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
        removals: dict[int, Ask] = {
            operation_pb2.OPERATION_KIND_DELETE_VOLUME: requests.delete_volume(target),
            operation_pb2.OPERATION_KIND_DELETE_NODE: requests.delete_node(target),
            operation_pb2.OPERATION_KIND_DELETE_DEVICE: requests.delete_device(target),
        }
        await self.through(removals[kind])

    async def _remove_all(self) -> None:
        for volume in self._world.books().volumes:
            ended = await self.through(requests.delete_volume(volume.id))
            if ended is None or ended.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
                self.account.broken.append(f"volume {volume.id} cannot be removed: {ended}")

    async def _check(self, when: str) -> None:
        self.account.broken += [f"{when}: {each}" for each in self._world.differences()]
        gateway = self._world.gateways[0]
        report = await gateway.ask(gateway.use_cases.examine(self.cluster))
        self.account.broken += [f"{when}, examined: {each.message}" for each in report.differences]
