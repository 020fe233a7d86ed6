"""What clients and fate do to a world: random requests and random deaths. Effects: the world."""

import asyncio
from collections.abc import Callable

from brickyard.topology.v1 import device_pb2, node_pb2
from services.common.errors import UnavailableError
from tests.integration.simulation import requests
from tests.integration.simulation.clients import Account, Clients
from tests.integration.simulation.network import STORM
from tests.integration.simulation.requests import DURABILITIES, GIB, Ask
from tests.integration.simulation.world import NODES, World

_CLIENTS = 5


class Life:
    """Runs clients and fate over a world with one cluster."""

    def __init__(self, world: World, *, requests: int) -> None:
        self._clients = Clients(world)
        self._world = world
        self._left = requests

    @property
    def account(self) -> Account:
        """What happened."""
        return self._clients.account

    async def run(self) -> None:
        """Until all requests are made, everything has ended, and all is taken away again."""
        await self._clients.populate()
        self._world.network.weather = STORM
        fate = asyncio.create_task(self._fate())
        await asyncio.gather(*(self._client() for _ in range(_CLIENTS)))
        fate.cancel()
        await asyncio.gather(fate, return_exceptions=True)
        await self._clients.finish()

    async def _client(self) -> None:
        while self._left > 0:
            ask = self._choose()
            if ask is not None:
                self._left -= 1
                await self._clients.through(ask)
            await asyncio.sleep(self._world.chance.uniform(0, 2))

    def _choose(self) -> Ask | None:
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
        kinds: list[tuple[float, Callable[[], Ask]]] = [
            (makes, self._create),
            (2 if volumes else 0, lambda: requests.delete_volume(chance.choice(volumes))),
            (1.5 if volumes else 0, lambda: self._expand(chance.choice(volumes))),
            (1.0 if volumes else 0, lambda: requests.clone_volume(chance.choice(volumes))),
            (0.8 if bricks else 0, lambda: requests.evict_brick(chance.choice(bricks))),
            (0.4, lambda: requests.add_node(self._clients.cluster, chance.randint(1, NODES))),
            (0.3, lambda: requests.delete_node(chance.choice(nodes))),
            (0.6, lambda: requests.add_device(chance.choice(nodes), chance.choice("bc"))),
            (0.4 if devices else 0, lambda: requests.delete_device(chance.choice(devices))),
            (0.3 if devices else 0, lambda: requests.resync_device(chance.choice(devices))),
            (0.5 if devices else 0, lambda: self._set_device(chance.choice(devices))),
            (0.3, lambda: self._set_node(chance.choice(nodes))),
        ]
        chosen = chance.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]
        return chosen()

    def _create(self) -> Ask:
        chance = self._world.chance
        return requests.create_volume(
            self._clients.cluster,
            chance.randint(1, 6) * GIB,
            chance.choice(DURABILITIES),
            f"vol{chance.randint(1, 12)}" if chance.random() < 0.5 else "",
        )

    def _expand(self, volume: str) -> Ask:
        return requests.expand_volume(volume, self._world.chance.randint(1, 3) * GIB)

    def _set_device(self, device: str) -> Ask:
        states = (device_pb2.DEVICE_STATE_ONLINE, device_pb2.DEVICE_STATE_ONLINE, device_pb2.DEVICE_STATE_OFFLINE)
        return requests.set_device_state(device, self._world.chance.choice((*states, device_pb2.DEVICE_STATE_FAILED)))

    def _set_node(self, node: str) -> Ask:
        online, offline = node_pb2.NODE_STATE_ONLINE, node_pb2.NODE_STATE_OFFLINE
        return requests.set_node_state(node, self._world.chance.choice((online, online, online, offline)))

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
