"""Volumes in memory, with simple placement."""

from collections.abc import Iterable, Sequence

from brickyard.topology.v1 import device_pb2, operation_pb2, volume_pb2
from gateway.usecases import NewVolume
from services.common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import KIB, round_up
from tests.unit.gateway_heketi.fake_topology import EXTENT_BYTES, FakeTopology


class FakeVolumes(FakeTopology):
    """See `UseCases`."""

    async def create_volume(self, volume: NewVolume, *, request_id: str | None = None) -> operation_pb2.Operation:
        self._called("create_volume", volume, request_id)
        if not self.clusters:
            raise FailedPreconditionError(Reason.NO_CLUSTERS, "there is no cluster")
        for cluster_id in volume.cluster_ids:
            self._cluster(cluster_id)
        cluster_id = (volume.cluster_ids or sorted(self.clusters))[0]
        if volume.name in {each.name for each in self.volumes.values() if each.cluster_id == cluster_id}:
            raise AlreadyExistsError(
                Reason.VOLUME_NAME_IN_USE, f"Volume name '{volume.name}' already in use", name=volume.name
            )
        volume_id = new_id()
        made = volume_pb2.Volume(
            id=volume_id,
            name=volume.name or f"vol_{volume_id}",
            cluster_id=cluster_id,
            size_bytes=volume.size_bytes,
            durability=volume.durability,
            gid=volume.gid,
            options=["", *volume.options, ""],
            block=volume.block,
            snapshot_enabled=volume.snapshot_enabled,
            snapshot_factor=volume.snapshot_factor,
            state=volume_pb2.VOLUME_STATE_ACTIVE,
        )
        made.bricks.extend(self._placed(made, volume.size_bytes))
        spec = operation_pb2.OperationSpec(create_volume=operation_pb2.CreateVolumeSpec(volume=made))
        return self._begin(operation_pb2.OPERATION_KIND_CREATE_VOLUME, spec, made.id, lambda: self._add_volume(made))

    def _add_volume(self, made: volume_pb2.Volume) -> None:
        self.volumes[made.id] = made
        self._occupy(made.bricks)

    def _occupy(self, bricks: Iterable[volume_pb2.Brick]) -> None:
        for brick in bricks:
            device = self.devices[brick.device_id]
            device.bricks.append(brick)
            device.used_bytes += brick.thin_pool_size_bytes + brick.pool_metadata_size_bytes

    def _placed(self, volume: volume_pb2.Volume, size_bytes: int) -> list[volume_pb2.Brick]:
        """One brick set for so many bytes on the first devices with room, each on its own node."""
        counts = volume.durability
        width, parts = 1, 1
        if counts.type == volume_pb2.DURABILITY_TYPE_REPLICATE:
            width = counts.replica_count or 2
        elif counts.type == volume_pb2.DURABILITY_TYPE_DISPERSE:
            width, parts = counts.data_count + counts.redundancy_count, counts.data_count
        size = size_bytes // parts // KIB * KIB
        pool = round_up(int(size / KIB * volume.snapshot_factor) * KIB, EXTENT_BYTES)
        metadata = round_up(int(pool / KIB * 0.005) * KIB, EXTENT_BYTES)
        bricks: list[volume_pb2.Brick] = []
        # The emptiest first, so that many bricks find room.
        emptiest = {
            node.id: sorted(self._devices_of(node.id), key=lambda each: each.used_bytes)
            for node in self._members(volume.cluster_id)
        }
        filled = {
            node_id: sum(each.used_bytes for each in devices) / max(1, len(devices))
            for node_id, devices in emptiest.items()
        }
        for node_id in sorted(emptiest, key=lambda each: filled[each]):
            for device in emptiest[node_id]:
                if device.total_bytes - device.used_bytes > pool + metadata and len(bricks) < width:
                    bricks.append(_brick(volume.id, device, size, pool, metadata))
                    break
        if len(bricks) < width:
            raise ResourceExhaustedError(
                Reason.NO_SPACE, f"{width} nodes with {pool + metadata} free bytes are needed, {len(bricks)} have them"
            )
        return bricks

    def _volume(self, volume_id: str) -> volume_pb2.Volume:
        if volume_id not in self.volumes:
            raise NotFoundError(Reason.VOLUME_NOT_FOUND, "no such volume", volume_id=volume_id)
        return self.volumes[volume_id]

    async def expand_volume(
        self,
        volume_id: str,
        added_size_bytes: int,
        *,
        rebalance: bool | None = None,
        request_id: str | None = None,
    ) -> operation_pb2.Operation:
        asked = (volume_id, added_size_bytes) if rebalance is None else (volume_id, added_size_bytes, rebalance)
        self._called("expand_volume", asked, request_id)
        volume = self._volume(volume_id)
        bricks = self._placed(volume, added_size_bytes)
        spec = operation_pb2.OperationSpec(
            expand_volume=operation_pb2.ExpandVolumeSpec(
                volume_id=volume_id, added_size_bytes=added_size_bytes, bricks=bricks
            )
        )

        def ending() -> None:
            volume.bricks.extend(bricks)
            volume.size_bytes += added_size_bytes
            self._occupy(bricks)

        return self._begin(operation_pb2.OPERATION_KIND_EXPAND_VOLUME, spec, volume_id, ending)

    async def clone_volume(
        self, volume_id: str, *, name: str = "", request_id: str | None = None
    ) -> operation_pb2.Operation:
        self._called("clone_volume", (volume_id, name), request_id)
        source = self._volume(volume_id)
        copy = volume_pb2.Volume()
        copy.CopyFrom(source)
        copy.id = new_id()
        copy.name = name or f"vol_{copy.id}"
        for brick in copy.bricks:
            brick.id, brick.volume_id = new_id(), copy.id
        spec = operation_pb2.OperationSpec(
            clone_volume=operation_pb2.CloneVolumeSpec(
                source_volume_id=volume_id, volume_id=copy.id, name=name, brick_ids=[each.id for each in copy.bricks]
            )
        )
        return self._begin(
            operation_pb2.OPERATION_KIND_CLONE_VOLUME, spec, copy.id, lambda: self.volumes.update({copy.id: copy})
        )

    async def get_volume(self, volume_id: str) -> tuple[volume_pb2.Volume, Sequence[str]]:
        self._called("get_volume", volume_id)
        volume = self._volume(volume_id)
        return volume, [node.storage_hostnames[0] for node in self._members(volume.cluster_id)]

    async def list_volumes(self, cluster_id: str = "") -> Sequence[volume_pb2.Volume]:
        self._called("list_volumes", cluster_id)
        return sorted(self.volumes.values(), key=lambda volume: volume.id)

    async def list_volume_ids(self) -> Sequence[str]:
        return [volume.id for volume in await self.list_volumes()]

    async def delete_volume(self, volume_id: str, *, request_id: str | None = None) -> operation_pb2.Operation:
        self._called("delete_volume", volume_id, request_id)
        volume = self._volume(volume_id)
        spec = operation_pb2.OperationSpec(
            delete_volume=operation_pb2.DeleteVolumeSpec(volume_id=volume_id, volume=volume)
        )
        return self._begin(
            operation_pb2.OPERATION_KIND_DELETE_VOLUME, spec, volume_id, lambda: self._remove_volume(volume_id)
        )

    def _remove_volume(self, volume_id: str) -> None:
        volume = self.volumes.pop(volume_id)
        for brick in volume.bricks:
            device = self.devices[brick.device_id]
            device.bricks.remove(brick)
            device.used_bytes -= brick.thin_pool_size_bytes + brick.pool_metadata_size_bytes


def _brick(volume_id: str, device: device_pb2.Device, size: int, pool: int, metadata: int) -> volume_pb2.Brick:
    brick_id = new_id()
    return volume_pb2.Brick(
        id=brick_id,
        volume_id=volume_id,
        device_id=device.id,
        node_id=device.node_id,
        path=f"/var/lib/heketi/mounts/vg_{device.id}/brick_{brick_id}/brick",
        size_bytes=size,
        thin_pool_size_bytes=pool,
        pool_metadata_size_bytes=metadata,
    )
