"""Expanding a volume by whole brick sets, while it stays in use. Effects: SQL."""

from sqlalchemy import update

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.topology.convert import new_bricks
from services.topology.domain.books import reserve_bricks
from services.topology.domain.checks import check_expansion
from services.topology.domain.model import VolumeState
from services.topology.domain.plans import check_continues, grown_size_bytes
from services.topology.store import Transaction
from services.topology.tables import VOLUME, OperationRow
from services.topology.usecases import volumes
from services.topology.usecases.block_rows import grow_hosting
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import advance, store_books
from services.topology.usecases.volume_rows import (
    bricks_of,
    check_brick_ids_free,
    check_pools_free,
    drop_bricks,
    durability_of,
    free_volume,
    get_volume,
    insert_bricks,
    lock_volume,
    planned_devices,
    set_state,
    settle_bricks,
)


def _locate(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    asked = spec.expand_volume
    check_expansion(asked.volume_id, asked.added_size_bytes, new_bricks(asked.bricks))
    row = lock_volume(tx, asked.volume_id)
    return Scene(row.cluster_id, row.id)


def _begin(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    asked = spec.expand_volume
    row = free_volume(tx, asked.volume_id)
    bricks = new_bricks(asked.bricks)
    grown_size_bytes(row.size_bytes, asked.added_size_bytes)
    next_set = 1 + max((brick.set_index for brick in bricks_of(tx, row.id)), default=-1)
    check_continues(row.id, bricks, set_size=durability_of(row).set_size, next_set=next_set)
    check_brick_ids_free(tx, [brick.id for brick in bricks])
    books = reserve_bricks(planned_devices(tx, row.cluster_id, bricks), bricks)
    check_pools_free(tx, bricks)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.expand_volume.volume.CopyFrom(volumes.message_of(tx, row))
    for brick in recorded.expand_volume.bricks:
        brick.volume_id = row.id
    store_books(tx, books, revision=advance(tx, row.cluster_id))
    insert_bricks(tx, row.id, bricks, operation_id)
    # It stays active: with its old size and bricks it is used as before.
    set_state(tx, row.id, VolumeState.ACTIVE, holder=operation_id)
    return recorded


def _commit(
    tx: Transaction,
    operation: OperationRow,
    spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    settle_bricks(tx, operation.id)
    size_bytes = grown_size_bytes(get_volume(tx, operation.target_id).size_bytes, spec.expand_volume.added_size_bytes)
    tx.run(update(VOLUME).where(VOLUME.c.id == operation.target_id).values(size_bytes=size_bytes, operation_id=None))
    grow_hosting(tx, operation.target_id, spec.expand_volume.added_size_bytes)


def _abort(tx: Transaction, operation: OperationRow) -> None:
    drop_bricks(tx, operation.id, operation.cluster_id, volumes=0)
    set_state(tx, operation.target_id, VolumeState.ACTIVE, holder=None)


EXPAND_VOLUME = KindRules(locate=_locate, begin=_begin, commit=_commit, abort=_abort)
