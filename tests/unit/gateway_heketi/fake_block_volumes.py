"""Block volumes and what hosts them, in memory; a hosting volume is made when there is none with room."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from brickyard.topology.v1 import block_volume_pb2, cluster_pb2, operation_pb2, volume_pb2
from gateway.usecases import NewBlockVolume
from services.common.errors import FailedPreconditionError, NotFoundError, ResourceExhaustedError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from tests.unit.gateway_heketi.fake_previews import FakePreviews

HOSTING_BYTES = 500 * GIB
# Heketi's mock executor gives these.
IQN, USERNAME, PASSWORD = "fakeIQN", "heketi-user", "secret"
_MOST_SETS = 8
_LOCKED = volume_pb2.BLOCK_RESTRICTION_LOCKED


@dataclass
class FakeBlockVolumes(FakePreviews):
    """See `UseCases`."""

    block_volumes: dict[str, block_volume_pb2.BlockVolume] = field(default_factory=dict)

    def _add_volume(self, made: volume_pb2.Volume) -> None:
        super()._add_volume(made)
        if made.block:
            free = made.size_bytes // GIB * 98 // 100 * GIB
            made.block_hosting.free_size_bytes = free
            made.block_hosting.reserved_size_bytes = made.size_bytes - free
            made.options[:] = ["", "group gluster-block", *made.options[1:]]

    async def get_cluster(self, cluster_id: str) -> cluster_pb2.Cluster:
        cluster = await super().get_cluster(cluster_id)
        mine = (each.id for each in self.block_volumes.values() if each.cluster_id == cluster_id)
        cluster.block_volume_ids.extend(sorted(mine))
        return cluster

    async def delete_volume(self, volume_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        if any(each.hosting_volume_id == volume_id for each in self.block_volumes.values()):
            raise FailedPreconditionError(Reason.VOLUME_HOSTS_BLOCK_VOLUMES, "it hosts some", volume_id=volume_id)
        return await super().delete_volume(volume_id, request_id=request_id)

    # --- hosting volumes ----------------------------------------------------------------------------------------------

    def _rooms(self, volume: NewBlockVolume) -> list[volume_pb2.Volume]:
        """Those with room, the emptiest first."""
        taken = {each.hosting_volume_id for each in self.block_volumes.values() if each.name == volume.name}
        rooms = [
            each
            for each in self.volumes.values()
            if each.block
            and each.id not in taken
            and each.block_hosting.restriction != _LOCKED
            and each.block_hosting.free_size_bytes >= volume.size_bytes
        ]
        return sorted(rooms, key=lambda each: -each.block_hosting.free_size_bytes)

    def _new_hosting(self, cluster_id: str, size_bytes: int) -> volume_pb2.Volume:
        available = HOSTING_BYTES // GIB * 98 // 100 * GIB
        if size_bytes > available:
            raise FailedPreconditionError(
                Reason.BLOCK_HOSTING_TOO_SMALL,
                "too small",
                size_bytes=size_bytes,
                hosting_size_bytes=HOSTING_BYTES,
                available_bytes=available,
            )
        volume_id = new_id()
        made = volume_pb2.Volume(
            id=volume_id,
            name=f"vol_{volume_id}",
            cluster_id=cluster_id,
            size_bytes=HOSTING_BYTES,
            durability=volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3),
            options=["", ""],
            block=True,
            snapshot_factor=1.0,
            state=volume_pb2.VOLUME_STATE_ACTIVE,
        )
        made.bricks.extend(self._placed_in_sets(made))
        return made

    def _placed_in_sets(self, made: volume_pb2.Volume) -> list[volume_pb2.Brick]:
        """As many sets as it takes, twice as many each time."""
        sets = 1
        while True:
            bricks: list[volume_pb2.Brick] = []
            try:
                for _ in range(sets):
                    more = self._placed(made, made.size_bytes // sets)
                    bricks.extend(more)
                    self._occupy(more)
            except ResourceExhaustedError:
                if sets >= _MOST_SETS:
                    raise
            else:
                return bricks
            finally:
                # The volume occupies them when it is there.
                for brick in bricks:
                    device = self.devices[brick.device_id]
                    device.bricks.remove(brick)
                    device.used_bytes -= brick.thin_pool_size_bytes + brick.pool_metadata_size_bytes
            sets *= 2

    async def set_block_restriction(
        self,
        volume_id: str,
        restriction: volume_pb2.BlockRestriction.ValueType,
        *,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        self._called("set_block_restriction", (volume_id, restriction), request_id)
        volume = self._volume(volume_id)
        if not volume.block:
            raise FailedPreconditionError(
                Reason.NOT_BLOCK_HOSTING,
                "Block restrictions can only be set on block hosting volumes",
                volume_id=volume_id,
            )
        spec = operation_pb2.OperationSpec(
            set_block_restriction=operation_pb2.SetBlockRestrictionSpec(volume_id=volume_id, restriction=restriction)
        )

        def ending() -> None:
            volume.block_hosting.restriction = restriction

        return self._begin(operation_pb2.OPERATION_KIND_SET_BLOCK_RESTRICTION, spec, volume_id, ending)

    # --- block volumes ------------------------------------------------------------------------------------------------

    def _block_volume(self, block_volume_id: str) -> block_volume_pb2.BlockVolume:
        if block_volume_id not in self.block_volumes:
            raise NotFoundError(Reason.BLOCK_VOLUME_NOT_FOUND, "no such block volume", block_volume_id=block_volume_id)
        return self.block_volumes[block_volume_id]

    async def create_block_volume(
        self, volume: NewBlockVolume, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        self._called("create_block_volume", volume, request_id)
        if not self.clusters:
            raise FailedPreconditionError(Reason.NO_CLUSTERS, "there is no cluster")
        for cluster_id in volume.cluster_ids:
            self._cluster(cluster_id)
        rooms = self._rooms(volume)
        cluster_id = (volume.cluster_ids or sorted(self.clusters))[0]
        new = None if rooms else self._new_hosting(cluster_id, volume.size_bytes)
        host = new or rooms[0]
        hosts = [node.storage_hostnames[0] for node in self._members(host.cluster_id)]
        chosen = hosts[: volume.ha_count] if 0 < volume.ha_count < len(hosts) else hosts
        block_volume_id = new_id()
        made = block_volume_pb2.BlockVolume(
            id=block_volume_id,
            name=volume.name or f"blockvol_{block_volume_id}",
            cluster_id=host.cluster_id,
            hosting_volume_id=host.id,
            size_bytes=volume.size_bytes,
            usable_size_bytes=volume.size_bytes,
            ha_count=len(chosen),
            hosts=chosen,
            iqn=IQN,
            username=USERNAME if volume.auth else "",
            password=PASSWORD if volume.auth else "",
        )
        spec = operation_pb2.OperationSpec(
            create_block_volume=operation_pb2.CreateBlockVolumeSpec(block_volume=made, hosting_volume=new)
        )

        def ending() -> None:
            if new is not None:
                self._add_volume(new)
            self.block_volumes[made.id] = made
            host.block_hosting.free_size_bytes -= made.size_bytes
            host.block_hosting.block_volume_ids.append(made.id)

        return self._begin(operation_pb2.OPERATION_KIND_CREATE_BLOCK_VOLUME, spec, made.id, ending)

    async def get_block_volume(self, block_volume_id: str) -> block_volume_pb2.BlockVolume:
        self._called("get_block_volume", block_volume_id)
        return self._block_volume(block_volume_id)

    async def list_block_volumes(self, cluster_id: str = "") -> Sequence[block_volume_pb2.BlockVolume]:
        self._called("list_block_volumes", cluster_id)
        return sorted(self.block_volumes.values(), key=lambda each: each.id)

    async def expand_block_volume(
        self, block_volume_id: str, new_size_bytes: int, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        self._called("expand_block_volume", (block_volume_id, new_size_bytes), request_id)
        volume = self._block_volume(block_volume_id)
        if new_size_bytes <= volume.size_bytes:
            raise FailedPreconditionError(
                Reason.BLOCK_SIZE_NOT_LARGER,
                "not larger",
                size_bytes=volume.size_bytes,
                new_size_bytes=new_size_bytes,
            )
        spec = operation_pb2.OperationSpec(
            expand_block_volume=operation_pb2.ExpandBlockVolumeSpec(
                block_volume_id=block_volume_id, new_size_bytes=new_size_bytes
            )
        )

        def ending() -> None:
            host = self.volumes[volume.hosting_volume_id]
            host.block_hosting.free_size_bytes -= new_size_bytes - volume.size_bytes
            volume.size_bytes = volume.usable_size_bytes = new_size_bytes

        return self._begin(operation_pb2.OPERATION_KIND_EXPAND_BLOCK_VOLUME, spec, block_volume_id, ending)

    async def delete_block_volume(
        self, block_volume_id: str, *, request_id: str | None = None
    ) -> operation_pb2.Operation:
        self._called("delete_block_volume", block_volume_id, request_id)
        volume = self._block_volume(block_volume_id)
        spec = operation_pb2.OperationSpec(
            delete_block_volume=operation_pb2.DeleteBlockVolumeSpec(block_volume_id=block_volume_id)
        )

        def ending() -> None:
            del self.block_volumes[block_volume_id]
            host = self.volumes[volume.hosting_volume_id]
            host.block_hosting.free_size_bytes += volume.size_bytes
            host.block_hosting.block_volume_ids.remove(block_volume_id)

        return self._begin(operation_pb2.OPERATION_KIND_DELETE_BLOCK_VOLUME, spec, block_volume_id, ending)
