"""Asks the topology and every agent, and turns what they say into the comparison's values. Effects: network.

The records are read before the agents are asked and once more afterwards: whatever an operation may have changed in
between is left out of the comparison. So a look may be taken at any time, and operations need not stop for it.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1 import facts_pb2
from brickyard.topology.v1 import books_pb2, node_pb2, operation_pb2, volume_pb2
from gateway.clients import AgentCaller, manage_hostname
from gateway.examination.domain.comparison import compare
from gateway.examination.domain.model import (
    BookedBrick,
    BookedDevice,
    BookedNode,
    BookedVolume,
    Books,
    InFlight,
    Report,
    Scene,
    SeenGroup,
    SeenLv,
    SeenMount,
    SeenNode,
    SeenPeer,
    SeenSnapshot,
    SeenVolume,
)
from services.common.channels import call_aio
from services.common.errors import BrickyardError, FailedPreconditionError, InternalError

# LVM and gluster on a busy node take seconds.
_AGENT_TIMEOUT_S = 60.0
_BOOKS_TIMEOUT_S = 60.0
# Agents that are asked at a time.
_AT_ONCE = 64
_ID = re.compile(r"[0-9a-f]{32}")
_ID_OPTION = "user.heketi.id"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything.

    Attributes:
        report: What came out.
        books: The records as they were last, for whoever acts on the report.
    """

    report: Report
    books: books_pb2.GetBooksResponse


class Examiner:
    """Compares records and nodes; changes nothing.

    Args:
        topology: Stub of the topology's TopologyService.
        agents: The way to the nodes.
    """

    def __init__(self, *, topology: Any, agents: AgentCaller) -> None:
        self._topology = topology
        self._agents = agents

    async def examine(self, cluster_id: str = "") -> Report:
        """All differences of a cluster, or of all clusters when none is named; agents that are silent are told.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or the topology does not answer.
        """
        return (await self.look(cluster_id)).report

    async def look(self, cluster_id: str = "") -> Look:
        """As `examine`, with the records.

        Raises:
            BrickyardError: As `examine`.
        """
        before = await self._books(books_pb2.GetBooksRequest(cluster_id=cluster_id))
        limit = asyncio.Semaphore(_AT_ONCE)
        nodes = [booked.node for booked in before.nodes]
        answers = await asyncio.gather(*(self._see(node, limit) for node in nodes))
        after = await self._books(books_pb2.GetBooksRequest(cluster_id=cluster_id, ended_since=before.read_time))
        seen = {node.id: answer for node, answer in zip(nodes, answers, strict=True)}
        operations = {each.id: each for each in (*before.operations, *after.operations)}
        scene = Scene(books=_common_books(before, after), in_flight=in_flight(operations.values()), seen=seen)
        # With thousands of volumes it takes a second, in which leases must be renewed.
        return Look(await asyncio.to_thread(compare, scene), after)

    async def records(self, cluster_id: str = "") -> books_pb2.GetBooksResponse:
        """The records alone, with unfinished operations.

        Raises:
            BrickyardError: As `examine`.
        """
        return await self._books(books_pb2.GetBooksRequest(cluster_id=cluster_id))

    async def _books(self, request: books_pb2.GetBooksRequest) -> books_pb2.GetBooksResponse:
        books: books_pb2.GetBooksResponse = await call_aio(self._topology.GetBooks, request, timeout_s=_BOOKS_TIMEOUT_S)
        return books

    async def _see(self, node: node_pb2.Node, limit: asyncio.Semaphore) -> SeenNode:
        hostname = manage_hostname(node)
        async with limit:
            facts, volumes = await asyncio.gather(
                self._ask(hostname, "GetNodeFacts", executor_pb2.GetNodeFactsRequest()),
                self._ask(hostname, "ListVolumes", executor_pb2.ListVolumesRequest()),
            )
        if isinstance(facts, BrickyardError):
            return SeenNode(silence=facts.message)
        if isinstance(volumes, FailedPreconditionError | InternalError):
            return seen_node(facts.facts, None, complaint=volumes.message)
        if isinstance(volumes, BrickyardError):
            # It answered the one question and not the other: nothing that it did not say may count as absent.
            return SeenNode(silence=volumes.message)
        return seen_node(facts.facts, volumes)

    async def _ask(self, hostname: str, method: str, request: Any) -> Any:
        """The answer, or the error that came instead of it."""
        try:
            return await self._agents.call(hostname, method, request, timeout_s=_AGENT_TIMEOUT_S)
        except BrickyardError as error:
            return error


def in_flight(operations: Iterable[operation_pb2.Operation]) -> InFlight:
    """What operations may be changing: whatever is named anywhere in what they were asked to do.

    A node is left out only while it is added or removed itself, which its own record tells.
    """
    ids: set[str] = set()
    names: set[str] = set()
    count = 0
    for operation in operations:
        count += 1
        ids |= set(_ID.findall(operation.target_id))
        for field, text in _texts(operation.spec):
            ids |= set(_ID.findall(text))
            if field == "name":
                names.add(text)
    return InFlight(count=count, ids=frozenset(ids), names=frozenset(names | {f"vol_{each}" for each in ids}))


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Name and value of every text in a message, however deep."""
    for field, value in message.ListFields():
        values = value if isinstance(value, Iterable) and not isinstance(value, str | bytes | Message) else (value,)
        for each in values:
            if isinstance(each, str):
                yield field.name, each
            elif isinstance(each, Message):
                yield from _texts(each)


def _common_books(before: books_pb2.GetBooksResponse, after: books_pb2.GetBooksResponse) -> Books:
    """The records afterwards, without nodes that have joined since: nobody has asked them."""
    asked = {booked.node.id for booked in before.nodes}
    return Books(
        nodes=tuple(_node(booked) for booked in after.nodes if booked.node.id in asked),
        devices=tuple(_device(booked) for booked in after.devices if booked.device.node_id in asked),
        volumes=tuple(_volume(volume) for volume in after.volumes),
        bricks=tuple(_brick(booked) for booked in after.bricks),
    )


def _node(booked: books_pb2.BookedNode) -> BookedNode:
    node = booked.node
    return BookedNode(
        id=node.id,
        cluster_id=node.cluster_id,
        hostname=manage_hostname(node),
        storage_hostnames=tuple(node.storage_hostnames),
        held=bool(booked.operation_id),
    )


def _device(booked: books_pb2.BookedDevice) -> BookedDevice:
    device = booked.device
    return BookedDevice(
        id=device.id,
        node_id=device.node_id,
        path=device.path,
        total_bytes=device.total_bytes,
        unattributed_bytes=booked.unattributed_bytes,
        pv_uuid=device.pv_uuid,
        held=bool(booked.operation_id),
    )


def set_size(durability: volume_pb2.Durability) -> int:
    """Bricks that belong together."""
    if durability.type == volume_pb2.DURABILITY_TYPE_REPLICATE:
        # Heketi's default when the number is not given.
        return durability.replica_count or 2
    if durability.type == volume_pb2.DURABILITY_TYPE_DISPERSE:
        return durability.data_count + durability.redundancy_count
    return 1


def _volume(volume: volume_pb2.Volume) -> BookedVolume:
    return BookedVolume(
        id=volume.id,
        cluster_id=volume.cluster_id,
        name=volume.name,
        set_size=set_size(volume.durability),
        options=tuple(volume.options),
        held=bool(volume.operation_id),
        order_unknown=volume.brick_order_unknown,
    )


def _brick(booked: books_pb2.BookedBrick) -> BookedBrick:
    brick = booked.brick
    return BookedBrick(
        id=brick.id,
        volume_id=brick.volume_id,
        device_id=brick.device_id,
        node_id=brick.node_id,
        path=brick.path,
        # Old records have no names for what is called after the brick.
        pool_name=brick.thin_pool_name or f"tp_{brick.id}",
        lv_name=brick.lv_name or f"brick_{brick.id}",
        pool_bytes=brick.thin_pool_size_bytes,
        metadata_bytes=brick.pool_metadata_size_bytes,
        set_index=brick.set_index,
        position=brick.position,
        held=bool(booked.operation_id),
    )


def seen_node(
    facts: facts_pb2.NodeFacts, listed: executor_pb2.ListVolumesResponse | None, *, complaint: str = ""
) -> SeenNode:
    """What one agent said; `listed` is None when its glusterd gave no answer, for the reason in `complaint`."""
    return SeenNode(
        groups=tuple(
            SeenGroup(name=each.name, total_bytes=each.total_bytes, free_bytes=each.free_bytes, pv_uuid=each.pv_uuid)
            for each in facts.volume_groups
        ),
        lvs=tuple(
            SeenLv(
                group=each.vg_name,
                name=each.name,
                size_bytes=each.size_bytes,
                pool=each.pool_name,
                is_pool=each.thin_pool,
                metadata_bytes=each.metadata_size_bytes,
                active=each.active,
            )
            for each in facts.logical_volumes
        ),
        mounts=tuple(SeenMount(each.source, each.mount_point) for each in facts.brick_mounts),
        fstab=tuple(SeenMount(each.source, each.mount_point) for each in facts.fstab_entries),
        heketi_fstab=tuple(SeenMount(each.source, each.mount_point) for each in facts.heketi_fstab_entries),
        peer_uuid=facts.glusterd.peer_uuid if facts.glusterd.running else "",
        peers=tuple(SeenPeer(each.uuid, each.hostname, each.connected) for each in facts.glusterd.peers),
        volumes=tuple(_seen_volume(each) for each in listed.volumes) if listed is not None else None,
        snapshots=tuple(SeenSnapshot(each.name, each.volume_name, each.source_name) for each in listed.snapshots)
        if listed is not None
        else (),
        glusterd_complaint=complaint,
    )


def _seen_volume(volume: facts_pb2.GlusterVolumeFacts) -> SeenVolume:
    return SeenVolume(
        name=volume.name,
        uuid=volume.uuid,
        volume_id=volume.options.get(_ID_OPTION, ""),
        started=volume.started,
        never_started=volume.never_started,
        bricks=tuple(volume.bricks),
        options=dict(volume.options),
    )
