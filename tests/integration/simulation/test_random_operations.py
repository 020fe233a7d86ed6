"""Random operations with random faults, as hypothesis finds them: books and nodes agree at last, whatever happened.

A failure is told as the shortest sequence that still fails, with the seeds that repeat it. BRICKYARD_OPERATIONS_SEED
chooses other sequences, BRICKYARD_OPERATIONS_EXAMPLES and BRICKYARD_OPERATIONS_STEPS how many and how long.
"""

import asyncio
import contextlib
import os
from collections import Counter
from typing import Any

import hypothesis
import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from brickyard.topology.v1 import device_pb2, node_pb2
from services.common.errors import UnavailableError
from tests.integration.faults.comparison import Books
from tests.integration.simulation import requests
from tests.integration.simulation.clients import Clients
from tests.integration.simulation.requests import DURABILITIES, GIB, Ask
from tests.integration.simulation.world import NODES, World, world_of

_SEED = int(os.environ.get("BRICKYARD_OPERATIONS_SEED", "1"))
_EXAMPLES = int(os.environ.get("BRICKYARD_OPERATIONS_EXAMPLES", "25"))
_STEPS = int(os.environ.get("BRICKYARD_OPERATIONS_STEPS", "80"))
# Seconds of virtual time until the next thing happens: many at once, in the midst of each other, or one by one.
_PAUSES_S = st.sampled_from((0.0, 0.004, 0.02, 0.1, 1.0, 20.0))
_PICKS = st.integers(0, 40)
_MISHAPS = st.sampled_from(("lost", "late", "unanswered", "command_fails", "agent_dies"))
_DEVICE_STATES = (
    device_pb2.DEVICE_STATE_ONLINE,
    device_pb2.DEVICE_STATE_OFFLINE,
    device_pb2.DEVICE_STATE_FAILED,
)
_NODE_STATES = (node_pb2.NODE_STATE_ONLINE, node_pb2.NODE_STATE_OFFLINE)


class Totals:
    """What all sequences came to."""

    def __init__(self) -> None:
        self.sequences = 0
        self.asked: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()


TOTALS = Totals()


class Operations(RuleBasedStateMachine):
    """One cluster; a rule is a request or a fault. Requests run on while the next rules are applied."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        self._world: World
        self._clients: Clients
        self._loop: asyncio.AbstractEventLoop
        self._asking: list[asyncio.Task[Any]] = []

    @initialize(seed=st.integers(0, 2**32 - 1))
    def begin(self, seed: int) -> None:
        """The seed is that of the world: ids, and the order of what happens at the same time."""
        self._loop, self._world = self._stack.enter_context(world_of(seed))
        self._clients = Clients(self._world)
        self._loop.run_until_complete(self._clients.populate())

    def _pass(self, pause_s: float) -> None:
        self._loop.run_until_complete(asyncio.sleep(pause_s))

    def _ask(self, ask: Ask, pause_s: float) -> None:
        self._asking.append(self._loop.create_task(self._clients.through(ask)))
        self._pass(pause_s)

    def _books(self) -> Books | None:
        """What a client would choose from; None while nobody tells."""
        try:
            return self._world.books()
        except UnavailableError:
            return None

    # --- requests -----------------------------------------------------------------------------------------------------

    @rule(size=st.integers(1, 6), durability=st.sampled_from(DURABILITIES), name=st.integers(0, 9), pause_s=_PAUSES_S)
    def create_volume(self, size: int, durability: Any, name: int, pause_s: float) -> None:
        """With a name that others may have, or without one."""
        named = f"vol{name}" if name < 6 else ""
        self._ask(requests.create_volume(self._clients.cluster, size * GIB, durability, named), pause_s)

    @rule(what=st.sampled_from(("delete", "delete", "expand", "clone")), pick=_PICKS, pause_s=_PAUSES_S)
    def change_volume(self, what: str, pick: int, pause_s: float) -> None:
        """One of those that are there."""
        books = self._books()
        if books is not None and books.volumes:
            volume = books.volumes[pick % len(books.volumes)].id
            asks = {
                "delete": requests.delete_volume(volume),
                "expand": requests.expand_volume(volume, (1 + pick % 3) * GIB),
                "clone": requests.clone_volume(volume),
            }
            self._ask(asks[what], pause_s)

    @rule(pick=_PICKS, pause_s=_PAUSES_S)
    def evict_brick(self, pick: int, pause_s: float) -> None:
        """Any brick."""
        books = self._books()
        bricks = sorted(books.bricks) if books is not None else []
        if bricks:
            self._ask(requests.evict_brick(bricks[pick % len(bricks)]), pause_s)

    @rule(
        what=st.sampled_from(("retire", "retire", "resync", "state")),
        pick=_PICKS,
        state=st.sampled_from(_DEVICE_STATES),
        pause_s=_PAUSES_S,
    )
    def change_device(self, what: str, pick: int, state: Any, pause_s: float) -> None:
        """Any device."""
        books = self._books()
        if books is not None and books.devices:
            found = books.devices[pick % len(books.devices)]
            asks = {
                "retire": self._retire(found),
                "resync": requests.resync_device(found.id),
                "state": requests.set_device_state(found.id, state),
            }
            self._ask(asks[what], pause_s)

    @staticmethod
    def _retire(device: device_pb2.Device) -> Ask:
        """The next step on a device's way out: offline, failed, deleted."""
        if device.state == device_pb2.DEVICE_STATE_FAILED:
            return requests.delete_device(device.id)
        online = device.state == device_pb2.DEVICE_STATE_ONLINE
        return requests.set_device_state(
            device.id, device_pb2.DEVICE_STATE_OFFLINE if online else device_pb2.DEVICE_STATE_FAILED
        )

    @rule(
        what=st.sampled_from(("delete", "device", "state")),
        pick=_PICKS,
        letter=st.sampled_from("bc"),
        state=st.sampled_from(_NODE_STATES),
        pause_s=_PAUSES_S,
    )
    def change_node(self, what: str, pick: int, letter: str, state: Any, pause_s: float) -> None:
        """Any node."""
        books = self._books()
        if books is not None and books.nodes:
            node = books.nodes[pick % len(books.nodes)].id
            asks = {
                "delete": requests.delete_node(node),
                "device": requests.add_device(node, letter),
                "state": requests.set_node_state(node, state),
            }
            self._ask(asks[what], pause_s)

    @rule(number=st.integers(1, NODES), pause_s=_PAUSES_S)
    def add_node(self, number: int, pause_s: float) -> None:
        """Also one that is there already."""
        self._ask(requests.add_node(self._clients.cluster, number), pause_s)

    # --- faults -------------------------------------------------------------------------------------------------------

    @rule(mishap=_MISHAPS, after=st.integers(0, 30))
    def plan_mishap(self, mishap: str, after: int) -> None:
        """It happens on the next occasion but so many."""
        TOTALS.faults[mishap] += 1
        self._world.network.planned[mishap] = after

    @rule(what=st.sampled_from(("gateway", "topology", "agent", "allocator")), pick=_PICKS, pause_s=_PAUSES_S)
    def kill(self, what: str, pick: int, pause_s: float) -> None:
        """As kill -9 does; another one is there after a while, an agent and an allocator at once."""
        TOTALS.faults[f"{what} killed"] += 1
        world = self._world
        if what == "gateway":
            self._loop.run_until_complete(world.kill_gateway(world.gateways[pick % len(world.gateways)]))
        elif what == "topology":
            world.kill_topology()
        elif what == "agent":
            world.restart_agent(f"node{1 + pick % NODES}")
        else:
            world.start_allocator()
        self._pass(pause_s)
        if what == "gateway":
            self._loop.run_until_complete(world.start_gateway())
        elif what == "topology":
            world.start_topology()

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """All clients get their answers, and then nothing is left over."""
        with self._stack:
            if not hasattr(self, "_clients"):
                return
            self._world.network.planned.clear()
            self._loop.run_until_complete(self._finish())
            account = self._clients.account
            TOTALS.sequences += 1
            TOTALS.asked += account.asked
            TOTALS.refused += account.refused
            assert not account.broken, "\n".join(account.broken)

    async def _finish(self) -> None:
        await asyncio.gather(*self._asking)
        await self._clients.finish()


@pytest.fixture
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@pytest.mark.usefixtures("_quiet")
@pytest.mark.timeout(0)
def test_books_and_nodes_agree() -> None:
    print(f"BRICKYARD_OPERATIONS_SEED={_SEED}: {_EXAMPLES} sequences of up to {_STEPS} steps")
    machine = hypothesis.seed(_SEED)(Operations)
    chosen = settings(
        max_examples=_EXAMPLES,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)
    finally:
        print(f"{TOTALS.sequences} sequences, {sum(TOTALS.asked.values())} operations ended: {dict(TOTALS.asked)}")
        print(f"refused: {dict(TOTALS.refused)}\nfaults: {dict(TOTALS.faults)}")
    assert sum(TOTALS.asked.values()) > 5 * _EXAMPLES, "the requests hardly ever began anything"
