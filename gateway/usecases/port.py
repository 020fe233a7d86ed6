"""What the gateway can do, for both of its faces: the REST dialect and the operator gRPC API call nothing else.

Requests are frozen dataclasses in bytes; answers are the topology's messages. Everything raises BrickyardError.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from brickyard.allocator.v1.allocator_service_pb2 import ClusterExplanation, PlanRebalanceResponse
from brickyard.executor.v1.facts_pb2 import BrickHealFacts
from brickyard.topology.v1 import (
    block_volume_pb2,
    cluster_pb2,
    device_pb2,
    node_pb2,
    operation_pb2,
    topology_service_pb2,
    volume_pb2,
)
from gateway.examination.domain.model import Report
from gateway.examination.domain.plan import Plan
from gateway.examination.repair import RepairEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNode:
    """A node to add.

    Attributes:
        cluster_id: The cluster that it joins.
        zone: Failure domain, 1 or more.
        manage_hostnames: Addresses of its agent; the first is used.
        storage_hostnames: Addresses for GlusterFS traffic; the first is used.
        tags: Labels, at most 32.
    """

    cluster_id: str
    zone: int
    manage_hostnames: tuple[str, ...]
    storage_hostnames: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """A disk of a node to turn into a device.

    Attributes:
        node_id: The node that has it.
        path: Path of the disk.
        tags: Labels, at most 32.
        destroy_data: Whether data on it may be wiped.
    """

    node_id: str
    path: str
    tags: Mapping[str, str] = field(default_factory=dict)
    destroy_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVolume:
    """A volume to make.

    Attributes:
        size_bytes: A multiple of 1 GiB, 1 GiB or more.
        name: Unique in its cluster; empty = vol_ and the id.
        cluster_ids: The clusters to try in this order; empty = all.
        durability: Redundancy, with the counts as requested.
        gid: Group of the brick directories, 0 = not set.
        options: Gluster options as "key value", as requested (server-wide ones are added by the use case).
        block: Whether it is to host block volumes.
        snapshot_enabled: Whether the thin pools are enlarged.
        snapshot_factor: By how much, 1 to 100.
    """

    size_bytes: int
    name: str = ""
    cluster_ids: tuple[str, ...] = ()
    durability: volume_pb2.Durability = field(
        default_factory=lambda: volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE)
    )
    gid: int = 0
    options: tuple[str, ...] = ()
    block: bool = False
    snapshot_enabled: bool = False
    snapshot_factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBlockVolume:
    """A block volume to make.

    Attributes:
        size_bytes: A multiple of 1 GiB, 1 GiB or more.
        name: Unique in its hosting volume, which is chosen accordingly; empty = blockvol_ and the id.
        cluster_ids: The clusters to try; empty = all.
        ha_count: How many hosts export it; 0, and more than there are, means all of the cluster.
        auth: Whether initiators must log in.
    """

    size_bytes: int
    name: str = ""
    cluster_ids: tuple[str, ...] = ()
    ha_count: int = 0
    auth: bool = False


class UseCases(Protocol):
    """Everything that a face may ask for. `request_id` makes a change repeatable; None = a fresh one."""

    async def create_cluster(
        self, *, file_enabled: bool, block_enabled: bool, request_id: str | None = None
    ) -> cluster_pb2.Cluster:
        """An empty cluster."""

    async def get_cluster(self, cluster_id: str) -> cluster_pb2.Cluster:
        """One cluster with the ids of its members."""

    async def list_clusters(self) -> Sequence[cluster_pb2.Cluster]:
        """All clusters, ascending by id, without members."""

    async def set_cluster_flags(
        self, cluster_id: str, *, file_enabled: bool, block_enabled: bool
    ) -> cluster_pb2.Cluster:
        """Sets which volumes the cluster takes."""

    async def delete_cluster(self, cluster_id: str) -> None:
        """Removes an empty cluster."""

    async def add_node(self, node: NewNode, *, request_id: str | None = None) -> operation_pb2.Operation:
        """Adds a node, after a check of glusterd; the peer probe runs in the operation."""

    async def get_node(self, node_id: str) -> tuple[node_pb2.Node, Sequence[device_pb2.Device]]:
        """One node and its devices with their bricks."""

    async def list_nodes(self, cluster_id: str = "") -> Sequence[node_pb2.Node]:
        """Nodes of a cluster or of all."""

    async def delete_node(self, node_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        """Removes a node without devices."""

    async def set_node_state(
        self,
        node_id: str,
        state: node_pb2.NodeState.ValueType,
        *,
        skip_heal_check: bool = False,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        """Changes the state of a node; refusals by the state machine are the operation's error."""

    async def update_node_tags(
        self, node_id: str, change: topology_service_pb2.TagChange.ValueType, tags: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Changes the tags and returns all of them."""

    async def add_device(self, device: NewDevice, *, request_id: str | None = None) -> operation_pb2.Operation:
        """Turns a disk into a device."""

    async def get_device(self, device_id: str) -> device_pb2.Device:
        """One device with its bricks."""

    async def delete_device(
        self, device_id: str, *, force_forget: bool = False, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """Gives up a failed device without bricks."""

    async def set_device_state(
        self,
        device_id: str,
        state: device_pb2.DeviceState.ValueType,
        *,
        skip_heal_check: bool = False,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        """Changes the state of a device; refusals by the state machine are the operation's error."""

    async def resync_device(self, device_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        """Measures a device again."""

    async def update_device_tags(
        self, device_id: str, change: topology_service_pb2.TagChange.ValueType, tags: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Changes the tags and returns all of them."""

    async def create_volume(self, volume: NewVolume, *, request_id: str | None = None) -> operation_pb2.Operation:
        """Plans, reserves and begins to make a volume."""

    async def get_volume(self, volume_id: str) -> tuple[volume_pb2.Volume, Sequence[str]]:
        """One volume with its bricks, and the hosts that it can be mounted from."""

    async def list_volumes(self, cluster_id: str = "") -> Sequence[volume_pb2.Volume]:
        """Volumes, ascending by id, without bricks."""

    async def list_volume_ids(self) -> Sequence[str]:
        """Ids of all volumes, ascending."""

    async def expand_volume(
        self,
        volume_id: str,
        added_size_bytes: int,
        *,
        rebalance: bool | None = None,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        """Plans, reserves and begins to add brick sets; `rebalance` None = as the gateway is set."""

    async def clone_volume(
        self, volume_id: str, *, name: str = "", request_id: str | None = None
    ) -> operation_pb2.Operation:
        """Begins to make a copy-on-write copy."""

    async def delete_volume(self, volume_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        """Begins to remove a volume."""

    async def preview_volume(self, volume: NewVolume) -> volume_pb2.Volume:
        """The volume as `create_volume` would make it now, with example ids; changes nothing."""

    async def preview_expansion(self, volume_id: str, added_size_bytes: int) -> Sequence[volume_pb2.Brick]:
        """The bricks that `expand_volume` would add now, with example ids; changes nothing."""

    async def explain_volume(self, volume: NewVolume, *, expanded_volume_id: str = "") -> Sequence[ClusterExplanation]:
        """Where a volume would go and why, per cluster and device; a refusal is an answer.

        With `expanded_volume_id` it is about making that volume larger by the size of `volume`.
        """

    async def plan_rebalance(
        self, cluster_id: str, *, max_moves: int = 0, target_deviation: float = 0.0
    ) -> PlanRebalanceResponse:
        """Which bricks to move so that the disks of a cluster are filled alike; 0 = the allocator's default."""

    async def examine(self, cluster_id: str = "") -> Report:
        """Compares the records of a cluster, or of all, with what every agent sees; changes nothing."""

    async def plan_repair(
        self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = ()
    ) -> tuple[Plan, Report]:
        """What `repair` would do now, and the look that says so; changes nothing."""

    def repair(
        self, cluster_id: str = "", *, doomed_volume_ids: Collection[str] = (), removes_nothing: bool = False
    ) -> AsyncIterator[RepairEvent]:
        """Mends what is safe to mend, one action after the other.

        Args:
            cluster_id: Only this cluster; empty = all.
            doomed_volume_ids: Ids of gluster volumes, in no record, that may be removed with their data.
            removes_nothing: Whether actions that take something away are left out.
        """

    async def evict_brick(
        self, brick_id: str, *, skip_heal_check: bool = False, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """Plans, reserves and begins to move a brick to another device; its heal is looked at in the operation."""

    async def get_volume_heal(self, volume_id: str) -> Sequence[tuple[str, BrickHealFacts]]:
        """What the bricks of a volume have to heal now, each with its id; empty for one that is not recorded."""

    async def create_block_volume(
        self, volume: NewBlockVolume, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """Finds or plans a hosting volume, reserves and begins to make a block volume."""

    async def get_block_volume(self, block_volume_id: str) -> block_volume_pb2.BlockVolume:
        """One block volume, with its password."""

    async def list_block_volumes(self, cluster_id: str = "") -> Sequence[block_volume_pb2.BlockVolume]:
        """Block volumes, ascending by id, without passwords."""

    async def expand_block_volume(
        self, block_volume_id: str, new_size_bytes: int, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """Reserves and begins to make a block volume larger."""

    async def delete_block_volume(
        self, block_volume_id: str, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """Begins to remove a block volume; its hosting volume stays."""

    async def set_block_restriction(
        self,
        volume_id: str,
        restriction: volume_pb2.BlockRestriction.ValueType,
        *,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        """Says whether a hosting volume takes new block volumes."""

    async def get_operation(self, operation_id: str) -> operation_pb2.Operation:
        """One operation, also for a day after it ended."""

    async def poll_operation(self, operation_id: str) -> operation_pb2.Operation | None:
        """One operation once it has ended or stalls; None while it runs, after a moment in which it did not end."""

    async def list_operations(self, *, unfinished_only: bool = False) -> Sequence[operation_pb2.Operation]:
        """Operations, newest first."""

    async def cleanup_operations(self, operation_ids: Sequence[str] = ()) -> None:
        """Spares stalled operations (empty = all) and abandoned ones their pause; it waits for no outcome.

        Nothing needs it, they are retried anyway. Operations that stall in another gateway follow when that one renews
        its leases; unknown and ended ones are passed over.
        """
