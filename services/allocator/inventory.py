"""The allocator's view of the clusters, kept warm: it asks topology only for what changed since it last looked."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from brickyard.topology.v1.topology_service_pb2 import GetInventoryRequest, GetInventoryResponse
from services.allocator import convert
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import Inventory
from services.common.errors import NotFoundError

FetchInventory = Callable[[GetInventoryRequest], GetInventoryResponse]


# Node sets that came in one by one are checked against all of them after so many revisions: a set whose last brick set
# is gone, or that another gateway's operation made while nobody looked, is only a hint that is missed until then.
_ALL_NODE_SETS_EVERY = 256


class InventoryCache:
    """One prepared index per cluster. An answer is never older than the call: topology is asked every time."""

    def __init__(self, fetch: FetchInventory) -> None:
        """`fetch` is topology's GetInventory."""
        self._fetch = fetch
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def current(self, cluster_id: str) -> PlacementIndex:
        """The index of a cluster as it is now.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or topology does not answer.
        """
        known = self._known.get(cluster_id)
        request = GetInventoryRequest(cluster_id=cluster_id)
        if known is not None:
            request.since_revision = known.index.revision
            request.all_node_sets = known.index.revision - known.checked_revision >= _ALL_NODE_SETS_EVERY
        try:
            answer = self._fetch(request)
        except NotFoundError:
            self._known.pop(cluster_id, None)
            raise
        if known is not None and not answer.complete and answer.revision == known.index.revision:
            fresh = known
        else:
            fresh = _updated(cluster_id, known, answer)
        fresh = _with_outages(fresh, {each.node_id: convert.outage(each) for each in answer.outages})
        if fresh is known:
            return fresh.index
        with self._lock:
            newest = self._known.get(cluster_id)
            if newest is None or newest.index.revision <= fresh.index.revision:
                self._known[cluster_id] = fresh
        return fresh.index


@dataclass(frozen=True, slots=True)
class _Known:
    """An index, and the revision at which its node sets were all of them."""

    index: PlacementIndex
    checked_revision: int


def _with_outages(known: _Known, outages: Mapping[str, str]) -> _Known:
    """The same with the nodes that are down now. Outages have no revision: they come and go without a change of books.

    They are rare, so that the index is simply made anew when one begins or ends.
    """
    index = known.index
    nodes = {
        node_id: replace(node, outage=outages.get(node_id, ""))
        for node_id, node in index.nodes.items()
        if node.outage != outages.get(node_id, "")
    }
    if not nodes:
        return known
    return replace(
        known,
        index=PlacementIndex(
            Inventory(
                index.cluster_id,
                index.revision,
                tuple({**index.nodes, **nodes}.values()),
                tuple(index.devices.values()),
                tuple(index.node_sets),
            )
        ),
    )


def _updated(cluster_id: str, known: _Known | None, answer: GetInventoryResponse) -> _Known:
    told = frozenset(frozenset(message.node_ids) for message in answer.node_sets)
    everything = answer.complete or answer.all_node_sets
    if known is None or everything:
        node_sets, checked_revision = told, answer.revision
    else:
        node_sets, checked_revision = known.index.node_sets | told, known.checked_revision
    return _Known(_index(cluster_id, known.index if known else None, answer, node_sets), checked_revision)


def _index(
    cluster_id: str,
    known: PlacementIndex | None,
    answer: GetInventoryResponse,
    node_sets: frozenset[frozenset[str]],
) -> PlacementIndex:
    devices = {message.id: convert.device(message) for message in answer.devices}
    nodes = {message.id: convert.node(message) for message in answer.nodes}
    if known is not None and not answer.complete:
        if not nodes and not answer.removed_node_ids and not answer.removed_device_ids:
            return known.with_changes(answer.revision, devices.values(), node_sets)
        nodes, devices = {**known.nodes, **nodes}, {**known.devices, **devices}
        for removed in answer.removed_device_ids:
            devices.pop(removed, None)
        for removed in answer.removed_node_ids:
            nodes.pop(removed, None)
    return PlacementIndex(
        Inventory(cluster_id, answer.revision, tuple(nodes.values()), tuple(devices.values()), tuple(node_sets))
    )
