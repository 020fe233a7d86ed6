"""The whole state: everything that is recorded, a backup of it, and what the nodes say beside it. Effects: network."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1 import facts_pb2
from brickyard.topology.v1 import node_pb2, records_pb2
from gateway.clients import AgentCaller, manage_hostname
from services.common.channels import call_aio, stream_aio
from services.common.errors import BrickyardError

_AGENT_TIMEOUT_S = 60.0
_IMPORT_TIMEOUT_S = 600.0
# Agents that are asked at a time.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWords:
    """What an agent said; what it did not say is the error instead.

    Attributes:
        node: Whose agent.
        facts: LVM, mounts and bricks.
        volumes: What its glusterd has.
        block_volumes: Names by the id of the hosting volume.
    """

    node: node_pb2.Node
    facts: facts_pb2.NodeFacts | BrickyardError
    volumes: executor_pb2.ListVolumesResponse | BrickyardError
    block_volumes: dict[str, Sequence[str] | BrickyardError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLook:
    """The records, and what every agent said."""

    records: records_pb2.Records
    nodes: tuple[NodeWords, ...]


class RecordsUseCases:
    """What concerns all of the records at once."""

    def __init__(self, *, topology: Any) -> None:
        """`topology` is a stub of the TopologyService."""
        self._topology = topology

    async def export_records(self) -> records_pb2.Records:
        """Everything that is recorded, at one moment.

        Raises:
            BrickyardError: The topology does not answer.
        """
        whole = records_pb2.Records()
        async for answer in stream_aio(self._topology.ExportRecords, records_pb2.ExportRecordsRequest()):
            whole.MergeFrom(answer.records)
        return whole

    async def import_records(
        self, records: records_pb2.Records, *, validate_only: bool
    ) -> records_pb2.ImportRecordsResponse:
        """Records everything in an empty topology; see `ImportRecords`.

        Raises:
            BrickyardError: TOPOLOGY_NOT_EMPTY, or the topology does not answer.
        """
        request = records_pb2.ImportRecordsRequest(records=records, validate_only=validate_only)
        answer: records_pb2.ImportRecordsResponse = await call_aio(
            self._topology.ImportRecords, request, timeout_s=_IMPORT_TIMEOUT_S
        )
        return answer

    async def back_up(self) -> bytes:
        """An archive of the topology's database, for `brickyard db restore`.

        Raises:
            BrickyardError: The topology does not answer.
        """
        chunks = [answer.chunk async for answer in stream_aio(self._topology.BackUp, records_pb2.BackUpRequest())]
        return b"".join(chunks)


class StateUseCases(RecordsUseCases):
    """The same, and what the nodes say beside."""

    def __init__(self, *, topology: Any, agents: AgentCaller) -> None:
        """`topology` is a stub of the TopologyService."""
        super().__init__(topology=topology)
        self._agents = agents

    async def look(self) -> StateLook:
        """The records, and what each agent says now.

        Raises:
            BrickyardError: The topology does not answer.
        """
        records = await self.export_records()
        hosting: dict[str, list[tuple[str, str]]] = {}
        for recorded in records.volumes:
            if recorded.volume.block:
                volume = recorded.volume
                hosting.setdefault(volume.cluster_id, []).append((volume.id, volume.name))
        limit = asyncio.Semaphore(_AT_ONCE)
        words = await asyncio.gather(
            *(self._ask(booked.node, hosting.get(booked.node.cluster_id, []), limit) for booked in records.nodes)
        )
        return StateLook(records=records, nodes=tuple(words))

    async def _ask(
        self, node: node_pb2.Node, hosting: Sequence[tuple[str, str]], limit: asyncio.Semaphore
    ) -> NodeWords:
        async with limit:
            facts, volumes, *blocks = await asyncio.gather(
                self._answer(node, "GetNodeFacts", executor_pb2.GetNodeFactsRequest()),
                self._answer(node, "ListVolumes", executor_pb2.ListVolumesRequest()),
                *(
                    self._answer(
                        node, "ListBlockVolumes", executor_pb2.ListBlockVolumesRequest(hosting_volume_name=name)
                    )
                    for _, name in hosting
                ),
            )
        return NodeWords(
            node=node,
            facts=facts if isinstance(facts, BrickyardError) else facts.facts,
            volumes=volumes,
            block_volumes={
                volume_id: answer if isinstance(answer, BrickyardError) else list(answer.names)
                for (volume_id, _), answer in zip(hosting, blocks, strict=True)
            },
        )

    async def _answer(self, node: node_pb2.Node, method: str, request: Any) -> Any:
        try:
            return await self._agents.call(manage_hostname(node), method, request, timeout_s=_AGENT_TIMEOUT_S)
        except BrickyardError as error:
            return error


def _block_volumes_of(hosting_volume_name: str) -> executor_pb2.ListBlockVolumesRequest:
    return executor_pb2.ListBlockVolumesRequest(hosting_volume_name=hosting_volume_name)
