"""The allocator's view of the clusters, kept warm: it asks topology only for what changed since it last looked."""

import threading
from collections.abc import Callable

from brickyard.topology.v1.topology_service_pb2 import GetInventoryRequest, GetInventoryResponse
from services.allocator import convert
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import Inventory
from services.common.errors import NotFoundError

FetchInventory = Callable[[GetInventoryRequest], GetInventoryResponse]


class InventoryCache:
    """One prepared index per cluster. An answer is never older than the call: topology is asked every time."""

    def __init__(self, fetch: FetchInventory) -> None:
        """`fetch` is topology's GetInventory."""
        self._fetch = fetch
        self._indexes: dict[str, PlacementIndex] = {}
        self._lock = threading.Lock()

    def current(self, cluster_id: str) -> PlacementIndex:
        """The index of a cluster as it is now.

        Raises:
            BrickyardError: CLUSTER_NOT_FOUND, or topology does not answer.
        """
        known = self._indexes.get(cluster_id)
        since = known.revision if known is not None else 0
        try:
            answer = self._fetch(GetInventoryRequest(cluster_id=cluster_id, since_revision=since))
        except NotFoundError:
            self._indexes.pop(cluster_id, None)
            raise
        if known is not None and not answer.complete and answer.revision == known.revision:
            return known
        fresh = self._updated(cluster_id, known, answer)
        with self._lock:
            newest = self._indexes.get(cluster_id)
            if newest is None or newest.revision <= fresh.revision:
                self._indexes[cluster_id] = fresh
        return fresh

    @staticmethod
    def _updated(cluster_id: str, known: PlacementIndex | None, answer: GetInventoryResponse) -> PlacementIndex:
        devices = [convert.device(message) for message in answer.devices]
        nodes = {message.id: convert.node(message) for message in answer.nodes}
        if known is None or answer.complete:
            return PlacementIndex(Inventory(cluster_id, answer.revision, tuple(nodes.values()), tuple(devices)))
        if not nodes and not answer.removed_node_ids and not answer.removed_device_ids:
            return known.with_changes(answer.revision, devices)
        all_nodes = {**known.nodes, **nodes}
        all_devices = {**known.devices, **{device.id: device for device in devices}}
        for removed in answer.removed_device_ids:
            all_devices.pop(removed, None)
        for removed in answer.removed_node_ids:
            all_nodes.pop(removed, None)
        return PlacementIndex(
            Inventory(cluster_id, answer.revision, tuple(all_nodes.values()), tuple(all_devices.values()))
        )
