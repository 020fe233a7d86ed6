"""The use cases over block volumes."""

import asyncio
from collections.abc import Sequence

from brickyard.allocator.v1.allocator_service_pb2 import PlanVolumeRequest
from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.topology.v1 import block_volume_pb2, node_pb2, operation_pb2, topology_service_pb2, volume_pb2
from gateway.clients import manage_hostname
from gateway.usecases.block_hosts import NOT_INSTALLED, BlockHost, choose_hosts
from gateway.usecases.placement import all_options, placement_rules, planned_volume
from gateway.usecases.port import NewBlockVolume, NewVolume
from gateway.usecases.validation import check_id, check_new_block_volume, check_volume_size
from gateway.usecases.volumes import GatewayUseCases
from services.common.channels import call_aio
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.ids import new_id
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.common.units import GIB

_log = get_logger()
# As for volumes: after so many times the cluster is too contended.
_MAX_PLANS = 8
# Heketi's, whatever a request says of it.
_HOSTING_REPLICA_COUNT = 3


class BlockVolumeUseCases(GatewayUseCases):
    """All use cases of the gateway, those over block volumes included; see `UseCases` for each."""

    async def create_block_volume(
        self, volume: NewBlockVolume, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_new_block_volume(volume)
        first = await self._repeated(
            operation_pb2.OperationSpec(create_block_volume=operation_pb2.CreateBlockVolumeSpec()), request_id, volume
        )
        if first is not None:
            return first
        block_volume_id = new_id()
        for attempt in range(1, _MAX_PLANS + 1):
            spec = await self._planned_block_volume(block_volume_id, volume)
            try:
                return await self._begin(spec, request_id, volume)
            except AbortedError as error:
                if error.reason is not Reason.PLAN_OUTDATED or attempt == _MAX_PLANS:
                    raise
                _log.info("block_volume.plan_outdated", attempt=attempt, message=error.message)
        raise AssertionError  # the loop returns or raises

    async def _planned_block_volume(self, block_volume_id: str, volume: NewBlockVolume) -> operation_pb2.OperationSpec:
        """In the emptiest hosting volume that has room, or in a new one.

        Raises:
            BrickyardError: No cluster takes it, no hosts for it, or a hosting volume can not be made.
        """
        found: topology_service_pb2.FindHostingVolumesResponse = await call_aio(
            self._topology.FindHostingVolumes,
            topology_service_pb2.FindHostingVolumesRequest(
                cluster_ids=volume.cluster_ids, size_bytes=volume.size_bytes, name=volume.name
            ),
        )
        # The emptiest first, so that they fill evenly.
        rooms = sorted(found.hosting_volumes, key=lambda room: (-room.free_size_bytes, room.volume_id))
        refusal: BrickyardError | None = None
        for room in rooms:
            try:
                hosts = await self._block_hosts(room.cluster_id, volume.ha_count, seed=block_volume_id)
                await self._check_name_unknown(room, volume.name)
            except FailedPreconditionError as error:
                # Another cluster, or another hosting volume, may do.
                refusal = refusal or error
                continue
            made = _block_volume(block_volume_id, volume, room, hosts)
            return self._spec(made, None)
        if refusal is not None:
            raise refusal
        if found.creating_operation_id and volume.size_bytes <= self._largest_hosted_bytes():
            raise _hosting_volume_in_the_making(found.creating_operation_id)
        return await self._with_new_hosting_volume(block_volume_id, volume)

    def _largest_hosted_bytes(self) -> int:
        """The largest block volume that a hosting volume made for it takes: 98 % of its GiB, rounded down."""
        return self._settings.block_hosting_volume_size_bytes // GIB * 98 // 100 * GIB

    async def _with_new_hosting_volume(
        self, block_volume_id: str, volume: NewBlockVolume
    ) -> operation_pb2.OperationSpec:
        settings = self._settings
        size_bytes = settings.block_hosting_volume_size_bytes
        if volume.size_bytes > self._largest_hosted_bytes():
            raise _hosting_volume_too_small(volume.size_bytes, size_bytes, self._largest_hosted_bytes())
        if not settings.auto_create_block_hosting_volume:
            raise FailedPreconditionError(
                Reason.BLOCK_HOSTING_DISABLED,
                "Block Hosting Volume Creation is disabled. Create a Block hosting volume and try again.",
            )
        hosting = NewVolume(
            size_bytes=size_bytes,
            cluster_ids=volume.cluster_ids,
            durability=volume_pb2.Durability(
                type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=_HOSTING_REPLICA_COUNT
            ),
            block=True,
        )
        options = all_options((), settings, block=True)
        plan = await self._plan(
            PlanVolumeRequest(
                size_bytes=size_bytes,
                rules=placement_rules(hosting.durability, 1.0, options, settings),
                cluster_ids=hosting.cluster_ids,
                block=True,
                max_volumes_per_cluster=settings.max_volumes_per_cluster,
            )
        )
        hosts = await self._block_hosts(plan.cluster_id, volume.ha_count, seed=block_volume_id)
        planned = planned_volume(new_id(), hosting, options, plan, [new_id() for _ in plan.bricks])
        room = block_volume_pb2.HostingVolume(volume_id=planned.id, name=planned.name, cluster_id=plan.cluster_id)
        made = _block_volume(block_volume_id, volume, room, hosts)
        return self._spec(made, planned)

    def _spec(
        self, made: block_volume_pb2.BlockVolume, hosting: volume_pb2.Volume | None
    ) -> operation_pb2.OperationSpec:
        return operation_pb2.OperationSpec(
            create_block_volume=operation_pb2.CreateBlockVolumeSpec(
                block_volume=made,
                hosting_volume=hosting,
                max_volumes_per_cluster=self._settings.max_volumes_per_cluster,
                prealloc=self._settings.block_prealloc,
            )
        )

    async def _block_hosts(self, cluster_id: str, ha_count: int, *, seed: str) -> list[str]:
        """The hosts that export a block volume; nothing is reserved where they are too few."""
        nodes = await self.list_nodes(cluster_id)
        hosts = await asyncio.gather(*(self._block_host(node) for node in nodes))
        return choose_hosts(cluster_id, hosts, ha_count, seed=seed)

    async def _block_host(self, node: node_pb2.Node) -> BlockHost:
        if node.state != node_pb2.NODE_STATE_ONLINE:
            return BlockHost(node, "it is not online")
        try:
            answer = await self._agents.call(manage_hostname(node), "GetGlusterd", executor_pb2.GetGlusterdRequest())
        except BrickyardError as error:
            return BlockHost(node, error.message)
        if not answer.glusterd.gluster_block_installed:
            return BlockHost(node, NOT_INSTALLED)
        return BlockHost(node, "" if answer.glusterd.running else "glusterd does not answer")

    async def _check_name_unknown(self, room: block_volume_pb2.HostingVolume, name: str) -> None:
        """Whether gluster-block has no block volume of a chosen name either: one that somebody made by hand.

        What an operation of ours makes, it may remove; so it must not find something else under its name.

        Raises:
            FailedPreconditionError: GLUSTER_BLOCK_FAILED, there is one.
        """
        if not name:
            return
        request = executor_pb2.GetBlockVolumeRequest(hosting_volume_name=room.name, name=name)
        for node in await self.list_nodes(room.cluster_id):
            try:
                await self._agents.call(manage_hostname(node), "GetBlockVolume", request)
            except NotFoundError as error:
                if error.reason is Reason.GLUSTER_BLOCK_VOLUME_NOT_FOUND:
                    return
            except BrickyardError as error:
                _log.info("block_volume.not_looked_up", hostname=manage_hostname(node), message=error.message)
            else:
                raise FailedPreconditionError(
                    Reason.GLUSTER_BLOCK_FAILED,
                    f"gluster-block has a block volume {room.name}/{name} that is in no record",
                    volume_id=room.volume_id,
                    name=name,
                )

    async def get_block_volume(self, block_volume_id: str) -> block_volume_pb2.BlockVolume:
        """See `UseCases`."""
        answer = await call_aio(
            self._topology.GetBlockVolume, topology_service_pb2.GetBlockVolumeRequest(block_volume_id=block_volume_id)
        )
        found: block_volume_pb2.BlockVolume = answer.block_volume
        return found

    async def list_block_volumes(self, cluster_id: str = "") -> Sequence[block_volume_pb2.BlockVolume]:
        """See `UseCases`."""
        request = topology_service_pb2.ListBlockVolumesRequest(cluster_id=cluster_id)
        return await self._pages(self._topology.ListBlockVolumes, request, "block_volumes")

    async def expand_block_volume(
        self, block_volume_id: str, new_size_bytes: int, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("block_volume_id", block_volume_id)
        check_volume_size("new_size_bytes", new_size_bytes)
        spec = operation_pb2.OperationSpec(
            expand_block_volume=operation_pb2.ExpandBlockVolumeSpec(
                block_volume_id=block_volume_id, new_size_bytes=new_size_bytes
            )
        )
        return await self._begin(spec, request_id, (block_volume_id, new_size_bytes))

    async def delete_block_volume(
        self, block_volume_id: str, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("block_volume_id", block_volume_id)
        spec = operation_pb2.OperationSpec(
            delete_block_volume=operation_pb2.DeleteBlockVolumeSpec(block_volume_id=block_volume_id)
        )
        return await self._begin(spec, request_id, block_volume_id)

    async def set_block_restriction(
        self,
        volume_id: str,
        restriction: volume_pb2.BlockRestriction.ValueType,
        *,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        """See `UseCases`."""
        check_id("volume_id", volume_id)
        spec = operation_pb2.OperationSpec(
            set_block_restriction=operation_pb2.SetBlockRestrictionSpec(volume_id=volume_id, restriction=restriction)
        )
        return await self._begin(spec, request_id, (volume_id, restriction))


def _block_volume(
    block_volume_id: str, volume: NewBlockVolume, room: block_volume_pb2.HostingVolume, hosts: Sequence[str]
) -> block_volume_pb2.BlockVolume:
    return block_volume_pb2.BlockVolume(
        id=block_volume_id,
        name=volume.name or f"blockvol_{block_volume_id}",
        cluster_id=room.cluster_id,
        hosting_volume_id=room.volume_id,
        hosting_volume_name=room.name,
        size_bytes=volume.size_bytes,
        usable_size_bytes=volume.size_bytes,
        ha_count=len(hosts),
        auth=volume.auth,
        hosts=hosts,
    )


def _hosting_volume_in_the_making(operation_id: str) -> BrickyardError:
    return ResourceExhaustedError(
        Reason.TOO_MANY_OPERATIONS,
        f"operation {operation_id} is making a hosting volume; repeat the request when it is there",
        operation_id=operation_id,
    )


def _hosting_volume_too_small(size_bytes: int, hosting_bytes: int, available_bytes: int) -> BrickyardError:
    return FailedPreconditionError(
        Reason.BLOCK_HOSTING_TOO_SMALL,
        f"a hosting volume of {hosting_bytes} bytes has {available_bytes} for block volumes, {size_bytes} are needed",
        size_bytes=size_bytes,
        hosting_size_bytes=hosting_bytes,
        available_bytes=available_bytes,
    )
