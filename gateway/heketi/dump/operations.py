"""Pending operations of Heketi as ours: records by which a gateway takes them back, or carries them on. Pure."""

from collections.abc import Mapping, Sequence

from brickyard.topology.v1 import block_volume_pb2, operation_pb2, volume_pb2
from gateway.heketi.dump.model import Change, OperationType
from gateway.heketi.dump.pending import Takeover
from services.common.reasons import Reason
from services.common.units import GIB

KINDS = {
    OperationType.CREATE_VOLUME: operation_pb2.OPERATION_KIND_CREATE_VOLUME,
    OperationType.DELETE_VOLUME: operation_pb2.OPERATION_KIND_DELETE_VOLUME,
    OperationType.EXPAND_VOLUME: operation_pb2.OPERATION_KIND_EXPAND_VOLUME,
    OperationType.CLONE_VOLUME: operation_pb2.OPERATION_KIND_CLONE_VOLUME,
    OperationType.EVICT_BRICK: operation_pb2.OPERATION_KIND_EVICT_BRICK,
    OperationType.CREATE_BLOCK_VOLUME: operation_pb2.OPERATION_KIND_CREATE_BLOCK_VOLUME,
    OperationType.DELETE_BLOCK_VOLUME: operation_pb2.OPERATION_KIND_DELETE_BLOCK_VOLUME,
    OperationType.EXPAND_BLOCK_VOLUME: operation_pb2.OPERATION_KIND_EXPAND_BLOCK_VOLUME,
}


def operation_message(
    takeover: Takeover,
    volumes: Mapping[str, volume_pb2.Volume],
    bricks: Mapping[str, Sequence[volume_pb2.Brick]],
    blocks: Mapping[str, block_volume_pb2.BlockVolume],
) -> operation_pb2.Operation:
    """The record of an operation that is taken over.

    Args:
        takeover: What it does.
        volumes: The records of volumes by id, without their bricks.
        bricks: The records of their bricks, by the volume's id.
        blocks: The records of block volumes by id.
    """
    spec = _Specs(takeover, volumes, bricks, blocks).spec()
    target_id = takeover.old_brick_id or takeover.block_volume_id or takeover.volume_id
    home = volumes[takeover.volume_id] if takeover.volume_id else blocks[takeover.block_volume_id]
    message = operation_pb2.Operation(
        id=takeover.operation.id,
        kind=KINDS[takeover.type],
        target_id=target_id,
        cluster_id=home.cluster_id,
        state=operation_pb2.OPERATION_STATE_RUNNING,
        spec=spec,
        note="taken over from Heketi",
    )
    message.create_time.seconds = takeover.operation.time_s
    if not takeover.completed:
        message.state = operation_pb2.OPERATION_STATE_UNDOING
        message.error.reason = Reason.UNAVAILABLE.value
        message.error.message = (
            "the Heketi that ran the operation was taken over; what it had done was taken back; repeat the request"
        )
    return message


class _Specs:
    """What an operation is to do."""

    def __init__(
        self,
        takeover: Takeover,
        volumes: Mapping[str, volume_pb2.Volume],
        bricks: Mapping[str, Sequence[volume_pb2.Brick]],
        blocks: Mapping[str, block_volume_pb2.BlockVolume],
    ) -> None:
        self._it, self._volumes, self._bricks, self._blocks = takeover, volumes, bricks, blocks

    def spec(self) -> operation_pb2.OperationSpec:
        """The spec of its kind."""
        made = operation_pb2.OperationSpec()
        it = self._it
        match it.type:
            case OperationType.CREATE_VOLUME:
                made.create_volume.volume.CopyFrom(self._whole(it.volume_id))
            case OperationType.DELETE_VOLUME:
                made.delete_volume.volume_id = it.volume_id
                made.delete_volume.volume.CopyFrom(self._whole(it.volume_id))
            case OperationType.EXPAND_VOLUME:
                made.expand_volume.CopyFrom(self._expansion())
            case OperationType.CLONE_VOLUME:
                made.clone_volume.CopyFrom(self._copy())
            case OperationType.EVICT_BRICK:
                made.evict_brick.CopyFrom(self._move())
            case OperationType.CREATE_BLOCK_VOLUME:
                made.create_block_volume.block_volume.CopyFrom(self._block())
                if it.volume_id:
                    made.create_block_volume.hosting_volume.CopyFrom(self._whole(it.volume_id))
            case OperationType.DELETE_BLOCK_VOLUME:
                made.delete_block_volume.block_volume_id = it.block_volume_id
                made.delete_block_volume.block_volume.CopyFrom(self._block())
            case _:
                made.expand_block_volume.block_volume_id = it.block_volume_id
                made.expand_block_volume.new_size_bytes = it.new_size_gib * GIB
                made.expand_block_volume.block_volume.CopyFrom(self._block())
        return made

    def _whole(self, volume_id: str, *, without: Sequence[str] = ()) -> volume_pb2.Volume:
        """A volume with its bricks; those that are removed with it in the order in which Heketi names them."""
        whole = volume_pb2.Volume()
        whole.CopyFrom(self._volumes[volume_id])
        mine = [brick for brick in self._bricks[volume_id] if brick.id not in without]
        if self._it.type is OperationType.DELETE_VOLUME:
            named = {each: place for place, each in enumerate(self._it.operation.ids(Change.DELETE_BRICK))}
            mine.sort(key=lambda brick: named.get(brick.id, len(named)))
        whole.bricks.extend(mine)
        return whole

    def _new_bricks(self) -> list[volume_pb2.Brick]:
        mine = {brick.id: brick for brick in self._bricks[self._it.volume_id]}
        return [mine[each] for each in self._it.new_brick_ids]

    def _expansion(self) -> operation_pb2.ExpandVolumeSpec:
        added = next(each.delta or 0 for each in self._it.operation.actions if each.id == self._it.volume_id)
        return operation_pb2.ExpandVolumeSpec(
            volume_id=self._it.volume_id,
            added_size_bytes=added * GIB,
            bricks=self._new_bricks(),
            volume=self._whole(self._it.volume_id, without=self._it.new_brick_ids),
        )

    def _copy(self) -> operation_pb2.CloneVolumeSpec:
        copy = self._volumes[self._it.volume_id]
        return operation_pb2.CloneVolumeSpec(
            source_volume_id=self._it.source_id,
            volume_id=copy.id,
            name=copy.name,
            brick_ids=self._it.new_brick_ids,
            source=self._whole(self._it.source_id),
            copy_has_source_id=True,
        )

    def _move(self) -> operation_pb2.EvictBrickSpec:
        (new,) = self._new_bricks()
        return operation_pb2.EvictBrickSpec(
            brick_id=self._it.old_brick_id,
            new_brick=new,
            volume=self._whole(self._it.volume_id, without=self._it.new_brick_ids),
        )

    def _block(self) -> block_volume_pb2.BlockVolume:
        block = block_volume_pb2.BlockVolume()
        block.CopyFrom(self._blocks[self._it.block_volume_id])
        block.ClearField("password")
        block.hosting_volume_name = self._volumes[block.hosting_volume_id].name
        return block
