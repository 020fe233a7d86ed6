"""Copying a volume by a snapshot of its thin LVs: the copy lies in the thin pools of its source. Effects: SQL."""

from collections.abc import Sequence

from sqlalchemy import bindparam, update

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.topology.convert import copied_bricks, new_copy
from services.topology.domain.checks import check_copied_bricks, check_new_copy, invalid
from services.topology.domain.model import BrickRole, NewBrick, NewCopy, NewVolume, VolumeState
from services.topology.domain.plans import check_copyable
from services.topology.store import Transaction
from services.topology.tables import BRICK, BrickRow, OperationRow, VolumeRow
from services.topology.usecases import volumes
from services.topology.usecases.clusters import check_name_free
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import advance, bricks_of_operation
from services.topology.usecases.volume_rows import (
    activate_bricks,
    bricks_of,
    check_brick_ids_free,
    check_brick_order,
    check_volume_id_free,
    delete_bricks,
    delete_volume,
    durability_of,
    free_volume,
    insert_volume,
    lock_volume,
    set_state,
)

_NAME_BRICK = (
    update(BRICK).where(BRICK.c.id == bindparam("key")).values(path=bindparam("new_path"), lv_name=bindparam("new_lv"))
)


def _locate(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    copy = new_copy(spec.clone_volume)
    check_new_copy(copy)
    return Scene(lock_volume(tx, copy.source_volume_id).cluster_id, copy.volume_id)


def _begin(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    copy = new_copy(spec.clone_volume)
    row = free_volume(tx, copy.source_volume_id)
    check_brick_order(row)
    bricks = bricks_of(tx, row.id)
    check_copyable(row.id, block=row.block, brick_count=len(bricks), planned_brick_count=len(copy.brick_ids))
    check_volume_id_free(tx, copy.volume_id)
    check_brick_ids_free(tx, copy.brick_ids)
    check_name_free(tx, row.cluster_id, copy.name)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.clone_volume.name = copy.name
    recorded.clone_volume.source.CopyFrom(volumes.message_of(tx, row))
    # Nothing is reserved: the pools are there already. The revision counts the volume only.
    advance(tx, row.cluster_id, volumes=1)
    insert_volume(tx, _copied(row, bricks, copy), operation_id, origin_volume_id=row.id)
    # The source stays active: a snapshot does not disturb its users.
    set_state(tx, row.id, VolumeState.ACTIVE, holder=operation_id)
    return recorded


def _copied(row: VolumeRow, bricks: Sequence[BrickRow], copy: NewCopy) -> NewVolume:
    return NewVolume(
        id=copy.volume_id,
        name=copy.name,
        cluster_id=row.cluster_id,
        size_bytes=row.size_bytes,
        durability=durability_of(row),
        gid=row.gid,
        options=tuple(row.options),
        block=row.block,
        snapshot_enabled=row.snapshot_enabled,
        snapshot_factor=row.snapshot_factor,
        bricks=tuple(
            NewBrick(
                id=brick_id,
                device_id=brick.device_id,
                node_id=brick.node_id,
                # Gluster names them; known when the copy is made.
                path="",
                lv_name="",
                size_bytes=brick.size_bytes,
                # Recorded with each brick, so that whoever is the last in the pool knows what becomes free.
                thin_pool_size_bytes=brick.thin_pool_size_bytes,
                pool_metadata_size_bytes=brick.pool_metadata_size_bytes,
                thin_pool_name=brick.thin_pool_name,
                role=BrickRole(brick.role),
                set_index=brick.set_index,
                position=brick.position,
            )
            for brick_id, brick in zip(copy.brick_ids, bricks, strict=True)
        ),
    )


def _commit(
    tx: Transaction,
    operation: OperationRow,
    spec: operation_pb2.OperationSpec,
    outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    if outcome.WhichOneof("outcome") != "cloned_bricks":
        raise invalid("outcome", outcome.WhichOneof("outcome"), "must be cloned_bricks for a copied volume")
    copied = copied_bricks(outcome.cloned_bricks)
    check_copied_bricks(copied, {brick.id: brick.device_id for brick in bricks_of_operation(tx, operation.id)})
    tx.run(
        _NAME_BRICK,
        [{"key": brick.brick_id, "new_path": brick.path, "new_lv": brick.lv_name} for brick in copied],
    )
    activate_bricks(tx, operation.id)
    set_state(tx, operation.target_id, VolumeState.ACTIVE, holder=None)
    set_state(tx, spec.clone_volume.source_volume_id, VolumeState.ACTIVE, holder=None)


def _abort(tx: Transaction, operation: OperationRow) -> None:
    delete_bricks(tx, operation.id)
    delete_volume(tx, operation.target_id)
    advance(tx, operation.cluster_id, volumes=-1)
    source_id = operation_pb2.OperationSpec.FromString(operation.spec).clone_volume.source_volume_id
    set_state(tx, source_id, VolumeState.ACTIVE, holder=None)


CLONE_VOLUME = KindRules(locate=_locate, begin=_begin, commit=_commit, abort=_abort)
