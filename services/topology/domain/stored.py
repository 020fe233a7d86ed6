"""What is stored, as the checks of consistency read it: plain rows, taken at one moment. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class ClusterFacts(NamedTuple):
    """A cluster as it is stored."""

    id: str
    revision: int
    volume_count: int


class NodeFacts(NamedTuple):
    """A node as it is stored."""

    id: str
    cluster_id: str
    presence: str
    operation_id: str | None
    revision: int
    manage_hostnames: Sequence[str]
    storage_hostnames: Sequence[str]
    state: str = "online"


class HostnameFacts(NamedTuple):
    """A registered host name."""

    kind: str
    name: str
    node_id: str


class DeviceFacts(NamedTuple):
    """A device as it is stored."""

    id: str
    node_id: str
    cluster_id: str
    presence: str
    operation_id: str | None
    revision: int
    total_bytes: int
    used_bytes: int
    reserved_bytes: int
    unattributed_bytes: int
    state: str = "online"
    path: str = ""
    pv_uuid: str | None = None
    extent_size_bytes: int = 0


class VolumeFacts(NamedTuple):
    """A volume as it is stored."""

    id: str
    cluster_id: str
    name: str
    state: str
    operation_id: str | None
    durability_type: str
    replica_count: int
    data_count: int
    redundancy_count: int
    origin_volume_id: str | None
    size_bytes: int = 0
    block: bool = False


class BlockHostingFacts(NamedTuple):
    """What a hosting volume holds, as it is stored."""

    volume_id: str
    free_bytes: int
    reserved_bytes: int


class BlockVolumeFacts(NamedTuple):
    """A block volume as it is stored."""

    id: str
    cluster_id: str
    hosting_volume_id: str
    name: str
    state: str
    operation_id: str | None
    size_bytes: int
    usable_size_bytes: int
    growing_bytes: int
    ha_count: int
    hosts: Sequence[str]
    iqn: str


class BrickFacts(NamedTuple):
    """A brick as it is stored."""

    id: str
    volume_id: str
    device_id: str
    node_id: str
    state: str
    operation_id: str | None
    thin_pool_size_bytes: int
    pool_metadata_size_bytes: int
    thin_pool_name: str
    path: str
    lv_name: str
    set_index: int
    position: int
    replaces_brick_id: str | None = None
    size_bytes: int = 0
    role: str = "data"


class TombstoneFacts(NamedTuple):
    """A node or device that was reported as removed."""

    id: str
    kind: str


class HolderFacts(NamedTuple):
    """An operation as it is stored."""

    id: str
    kind: str
    target_id: str
    cluster_id: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that is stored, at one moment."""

    clusters: Sequence[ClusterFacts]
    nodes: Sequence[NodeFacts]
    hostnames: Sequence[HostnameFacts]
    devices: Sequence[DeviceFacts]
    volumes: Sequence[VolumeFacts]
    bricks: Sequence[BrickFacts]
    operations: Sequence[HolderFacts]
    block_hostings: Sequence[BlockHostingFacts] = ()
    block_volumes: Sequence[BlockVolumeFacts] = ()
    tombstones: Sequence[TombstoneFacts] = ()

    @property
    def count(self) -> int:
        """Objects in all."""
        parts = (self.clusters, self.nodes, self.hostnames, self.devices, self.volumes, self.bricks, self.operations)
        return sum(len(part) for part in (*parts, self.block_hostings, self.block_volumes))
