"""Looks at the nodes now and then and hands what was seen to the topology. Effects: network, clock.

Any number of gateways collect: the topology gives each node's turn to one of them.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.executor.v1 import facts_pb2
from brickyard.executor.v1.executor_service_pb2 import GetNodeFactsRequest, GetNodeFactsResponse
from brickyard.topology.v1 import health_pb2, health_service_pb2
from gateway.clients import AgentCaller, manage_hostname
from services.common.channels import call_aio
from services.common.context import enter_request
from services.common.errors import BrickyardError
from services.common.logs import get_logger

_log = get_logger()
# A look takes a few processes on the node: a second, and a few on a busy one.
LOOK_TIMEOUT_S = 10.0
# A node where that takes longer, e.g. a busy one over SSH, is not silent: what was seen last does for a minute.
MAX_AGE_S = 60.0
_LOOK_AGAIN_S = 3.0
# Enough for hundreds of nodes in a round, and few enough for one event loop.
_PARALLEL = 32
_ROUND = 1000
# Rounds are shorter than the interval, so that a node waits little longer than it.
_ROUNDS_PER_INTERVAL = 4
_GROUP_PREFIX = "vg_"
AfterRound = Callable[[], Awaitable[None]]


class FactsCollector:
    """Collects facts in the background, and on demand."""

    def __init__(self, *, health: Any, agents: AgentCaller, interval_s: float) -> None:
        """Nothing runs before `start`. `after_round` is called after each round in the background, on new facts.

        Args:
            health: Stub of the topology's HealthService.
            agents: The way to the nodes.
            interval_s: How old facts may become before a node is looked at again; 0 = only on demand.
        """
        self._health = health
        self._agents = agents
        self._interval_s = interval_s
        self.after_round: AfterRound | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts to collect."""
        if self._interval_s:
            self._task = asyncio.create_task(self._forever(), name="facts")

    async def stop(self) -> None:
        """Stops; a look that is under way is dropped, and the node's turn comes again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        enter_request(None)
        while True:
            try:
                await self._collect("", self._interval_s)
                if self.after_round is not None:
                    await self.after_round()
            except BrickyardError as error:
                _log.warning("facts.topology_unreachable", reason=error.reason.value, message=error.message)
            except Exception as error:  # noqa: BLE001 - the outermost frame: without it, the rest would stop unseen
                _log.error("facts.crashed", exc_info=error)
            # Jitter keeps several gateways from asking in step.
            await asyncio.sleep(self._interval_s / _ROUNDS_PER_INTERVAL * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret

    async def refresh(self, cluster_id: str = "") -> None:
        """Looks at all nodes of a cluster, or at all, now.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or the topology does not answer.
        """
        await self._collect(cluster_id, 0)

    async def look_again(self) -> None:
        """Looks at all nodes now, for a short while: somebody waits whose request failed for nodes that were down."""
        try:
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self.refresh()
        except TimeoutError:
            _log.info("facts.look_again_unfinished", seconds=_LOOK_AGAIN_S)
        except BrickyardError as error:
            _log.warning("facts.topology_unreachable", reason=error.reason.value, message=error.message)

    async def _collect(self, cluster_id: str, interval_s: float) -> None:
        interval = Duration()
        interval.FromMilliseconds(int(interval_s * 1000))
        answer: health_service_pb2.TakeFactTurnsResponse = await call_aio(
            self._health.TakeFactTurns,
            health_service_pb2.TakeFactTurnsRequest(
                cluster_id=cluster_id, interval=interval, max_count=_ROUND if interval_s else 10 * _ROUND
            ),
        )
        slots = asyncio.Semaphore(_PARALLEL)

        async def look(turn: health_pb2.FactTurn) -> None:
            async with slots:
                await self._look(turn)

        await asyncio.gather(*(look(turn) for turn in answer.turns))

    async def _look(self, turn: health_pb2.FactTurn) -> None:
        request = health_service_pb2.RecordNodeFactsRequest(node_id=turn.node.id, turn_time=_copied(turn.turn_time))
        hostname = manage_hostname(turn.node)
        try:
            seen: GetNodeFactsResponse = await self._agents.call(
                hostname,
                "GetNodeFacts",
                GetNodeFactsRequest(max_age=Duration(seconds=int(MAX_AGE_S))),
                timeout_s=LOOK_TIMEOUT_S,
            )
            if seen.age.ToMilliseconds() > LOOK_TIMEOUT_S * 1000:
                _log.info("facts.late", hostname=hostname, age_s=seen.age.ToMilliseconds() / 1000)
            request.facts.CopyFrom(topology_facts(seen.facts))
        except BrickyardError as error:
            _log.warning("facts.node_silent", hostname=hostname, reason=error.reason.value, message=error.message)
            request.error = error.message
        await call_aio(self._health.RecordNodeFacts, request)


def _copied(time: Timestamp) -> Timestamp:
    return Timestamp(seconds=time.seconds, nanos=time.nanos)


def topology_facts(seen: facts_pb2.NodeFacts) -> health_pb2.NodeFacts:
    """What the topology keeps of what an agent sees."""
    return health_pb2.NodeFacts(
        glusterd_running=seen.glusterd.running,
        glusterd_version=seen.glusterd.version,
        groups=[
            health_pb2.GroupFacts(
                name=group.name, total_bytes=group.total_bytes, free_bytes=group.free_bytes, pv_path=group.pv_path
            )
            for group in seen.volume_groups
            if group.name.startswith(_GROUP_PREFIX)
        ],
        pools=[
            health_pb2.PoolFacts(
                group_name=volume.vg_name,
                name=volume.name,
                data_percent=volume.data_percent,
                metadata_percent=volume.metadata_percent,
            )
            for volume in seen.logical_volumes
            if volume.thin_pool
        ],
        bricks=[
            health_pb2.BrickFacts(
                path=brick.path,
                mounted=brick.mounted,
                process_running=brick.process_running,
                heal_count=brick.heal_count,
            )
            for brick in seen.bricks
        ],
        peers=[health_pb2.PeerState(hostname=peer.hostname, connected=peer.connected) for peer in seen.glusterd.peers],
        unused_disks=[
            health_pb2.UnusedDisk(path=disk.path, size_bytes=disk.size_bytes)
            for disk in sorted(seen.unused_disks, key=lambda each: each.path)
        ],
    )
