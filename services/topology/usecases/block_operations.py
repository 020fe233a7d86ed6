"""Operations on block volumes: create, delete and expand, and the restriction of hosting volumes. Effects: SQL."""

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.common.errors import AbortedError, ResourceExhaustedError
from services.common.reasons import Reason
from services.topology.convert import new_volume
from services.topology.convert_block import new_block_volume, restriction
from services.topology.domain.block_checks import (
    check_access,
    check_block_size,
    check_hosted_together,
    check_new_block_volume,
)
from services.topology.domain.checks import check_id, check_new_volume, invalid
from services.topology.domain.eligibility import block_refusal
from services.topology.domain.hosting import added_bytes, check_room, restricted, take
from services.topology.domain.model import NewBlockVolume, VolumeState
from services.topology.store import Transaction
from services.topology.tables import OperationRow
from services.topology.usecases import block_rows
from services.topology.usecases.block_volumes import operation_making_one, rooms_in
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import lock_cluster
from services.topology.usecases.volume_operations import record_new_volume
from services.topology.usecases.volume_rows import (
    delete_volume,
    drop_bricks,
    free_volume,
    get_volume,
    lock_volume,
    set_state,
    settle_bricks,
)

_Spec = operation_pb2.OperationSpec
_Outcome = operation_service_pb2.CommitOperationRequest


# --- create -----------------------------------------------------------------------------------------------------------


def _locate_create(tx: Transaction, spec: _Spec) -> Scene:
    asked = spec.create_block_volume
    volume = new_block_volume(asked.block_volume)
    check_new_block_volume(volume)
    if asked.HasField("hosting_volume"):
        hosting = new_volume(asked.hosting_volume)
        check_new_volume(hosting)
        check_hosted_together(volume, hosting)
    return Scene(lock_cluster(tx, volume.cluster_id).id, volume.id)


def _begin_create(tx: Transaction, spec: _Spec, operation_id: str) -> _Spec:
    recorded = _Spec()
    recorded.CopyFrom(spec)
    asked = recorded.create_block_volume
    volume = new_block_volume(asked.block_volume)
    error = block_refusal(lock_cluster(tx, volume.cluster_id))
    if error is not None:
        raise error
    block_rows.check_block_volume_id_free(tx, volume.id)
    if asked.HasField("hosting_volume"):
        _check_needed(tx, volume)
        record_new_volume(tx, asked.hosting_volume, operation_id, max_volumes=asked.max_volumes_per_cluster)
    _take_room(tx, volume)
    block_rows.insert_block_volume(tx, volume, operation_id)
    row = block_rows.get_block_volume(tx, volume.id)
    asked.block_volume.CopyFrom(block_rows.block_message_of(tx, row, with_password=False))
    return recorded


def _check_needed(tx: Transaction, volume: NewBlockVolume) -> None:
    """Whether a hosting volume has to be made for a block volume.

    Raises:
        AbortedError: PLAN_OUTDATED: there is one by now.
        ResourceExhaustedError: TOO_MANY_OPERATIONS: one is being made; Heketi lets clients wait for it.
    """
    cluster = [volume.cluster_id]
    rooms = rooms_in(tx, cluster, size_bytes=volume.size_bytes, name=volume.name)
    if rooms:
        raise AbortedError(
            Reason.PLAN_OUTDATED,
            f"hosting volume {rooms[0].volume_id} has room by now",
            volume_id=rooms[0].volume_id,
        )
    making = operation_making_one(tx, cluster)
    if making:
        raise ResourceExhaustedError(
            Reason.TOO_MANY_OPERATIONS,
            f"operation {making} is making a hosting volume; repeat the request when it is there",
            operation_id=making,
        )


def _take_room(tx: Transaction, volume: NewBlockVolume) -> None:
    """Takes the space of a new block volume from its hosting volume.

    Raises:
        AbortedError: PLAN_OUTDATED: the hosting volume is gone, locked or too full by now, or has one of that name.
    """
    hosting = block_rows.hosting_of(tx, volume.hosting_volume_id)
    row = get_volume(tx, volume.hosting_volume_id) if hosting is not None else None
    leaving = row is None or row.state == VolumeState.DELETING or row.cluster_id != volume.cluster_id
    if hosting is None or leaving or block_rows.name_in_use(tx, volume.hosting_volume_id, volume.name):
        raise AbortedError(
            Reason.PLAN_OUTDATED,
            f"volume {volume.hosting_volume_id} can not take the block volume {volume.name!r} any more",
            volume_id=volume.hosting_volume_id,
            name=volume.name,
        )
    books = take(volume.hosting_volume_id, block_rows.hosting_books(hosting), volume.size_bytes)
    block_rows.store_hosting(tx, volume.hosting_volume_id, books)


def _commit_create(tx: Transaction, operation: OperationRow, spec: _Spec, outcome: _Outcome) -> None:
    if outcome.WhichOneof("outcome") != "block_volume_access":
        raise invalid("outcome", outcome.WhichOneof("outcome"), "must be block_volume_access for a new block volume")
    access = outcome.block_volume_access
    check_access(access.iqn, access.lun, access.username, access.password)
    asked = spec.create_block_volume
    if asked.HasField("hosting_volume"):
        settle_bricks(tx, operation.id)
        set_state(tx, asked.hosting_volume.id, VolumeState.ACTIVE, holder=None)
    block_rows.change_block_volume(
        tx,
        operation.target_id,
        iqn=access.iqn,
        lun=access.lun,
        username=access.username,
        password=access.password,
        state=VolumeState.ACTIVE.value,
        operation_id=None,
    )


def _abort_create(tx: Transaction, operation: OperationRow) -> None:
    asked = _Spec.FromString(operation.spec).create_block_volume
    block_rows.delete_block_volume(tx, operation.target_id)
    if asked.HasField("hosting_volume"):
        drop_bricks(tx, operation.id, operation.cluster_id, volumes=-1)
        delete_volume(tx, asked.hosting_volume.id)
        return
    block_rows.give_back(tx, asked.block_volume.hosting_volume_id, asked.block_volume.size_bytes)


# --- delete -----------------------------------------------------------------------------------------------------------


def _locate_delete(tx: Transaction, spec: _Spec) -> Scene:
    check_id("block_volume_id", spec.delete_block_volume.block_volume_id)
    row = block_rows.lock_block_volume(tx, spec.delete_block_volume.block_volume_id)
    return Scene(row.cluster_id, row.id)


def _begin_delete(tx: Transaction, spec: _Spec, operation_id: str) -> _Spec:
    row = block_rows.free_block_volume(tx, spec.delete_block_volume.block_volume_id)
    recorded = _Spec()
    recorded.CopyFrom(spec)
    recorded.delete_block_volume.block_volume.CopyFrom(block_rows.block_message_of(tx, row, with_password=False))
    block_rows.change_block_volume(tx, row.id, state=VolumeState.DELETING.value, operation_id=operation_id)
    return recorded


def _commit_delete(tx: Transaction, operation: OperationRow, _spec: _Spec, _outcome: _Outcome) -> None:
    row = block_rows.get_block_volume(tx, operation.target_id)
    block_rows.delete_block_volume(tx, row.id)
    # The hosting volume stays, also without block volumes (Heketi's rule).
    block_rows.give_back(tx, row.hosting_volume_id, row.size_bytes)


def _abort_delete(tx: Transaction, operation: OperationRow) -> None:
    block_rows.change_block_volume(tx, operation.target_id, state=VolumeState.ACTIVE.value, operation_id=None)


# --- expand -----------------------------------------------------------------------------------------------------------


def _locate_expand(tx: Transaction, spec: _Spec) -> Scene:
    asked = spec.expand_block_volume
    check_id("block_volume_id", asked.block_volume_id)
    check_block_size("new_size_bytes", asked.new_size_bytes)
    row = block_rows.lock_block_volume(tx, asked.block_volume_id)
    return Scene(row.cluster_id, row.id)


def _begin_expand(tx: Transaction, spec: _Spec, operation_id: str) -> _Spec:
    asked = spec.expand_block_volume
    row = block_rows.free_block_volume(tx, asked.block_volume_id)
    added = added_bytes(
        row.id, size_bytes=row.size_bytes, usable_bytes=row.usable_size_bytes, new_size_bytes=asked.new_size_bytes
    )
    books = block_rows.hosting_books(block_rows.required_hosting(tx, row.hosting_volume_id))
    check_room(row.hosting_volume_id, books, added)
    recorded = _Spec()
    recorded.CopyFrom(spec)
    recorded.expand_block_volume.block_volume.CopyFrom(block_rows.block_message_of(tx, row, with_password=False))
    block_rows.store_hosting(tx, row.hosting_volume_id, books.taken(added))
    # It stays active: with its old size it is used as before.
    block_rows.change_block_volume(tx, row.id, growing_bytes=added, operation_id=operation_id)
    return recorded


def _commit_expand(tx: Transaction, operation: OperationRow, spec: _Spec, outcome: _Outcome) -> None:
    if outcome.WhichOneof("outcome") != "expanded_block_volume":
        raise invalid(
            "outcome", outcome.WhichOneof("outcome"), "must be expanded_block_volume for a grown block volume"
        )
    found = outcome.expanded_block_volume
    if found.size_bytes != spec.expand_block_volume.new_size_bytes:
        raise invalid("expanded_block_volume.size_bytes", found.size_bytes, "is not the size that was asked for")
    _set_size(tx, operation.target_id, found)


def _set_size(tx: Transaction, block_volume_id: str, found: operation_service_pb2.BlockVolumeSize) -> None:
    if not 0 < found.usable_size_bytes <= found.size_bytes:
        raise invalid("expanded_block_volume.usable_size_bytes", found.usable_size_bytes, "must be 1 to the size")
    block_rows.change_block_volume(
        tx,
        block_volume_id,
        size_bytes=found.size_bytes,
        usable_size_bytes=found.usable_size_bytes,
        growing_bytes=0,
        operation_id=None,
    )


def _abort_expand(tx: Transaction, operation: OperationRow) -> None:
    row = block_rows.get_block_volume(tx, operation.target_id)
    block_rows.give_back(tx, row.hosting_volume_id, row.growing_bytes)
    block_rows.change_block_volume(tx, row.id, growing_bytes=0, operation_id=None)


def _keep_expanded(
    tx: Transaction, operation: OperationRow, request: operation_service_pb2.AbortOperationRequest
) -> None:
    """A resize that failed on some hosts: a size that was reached stays, with what all hosts export of it."""
    wanted = _Spec.FromString(operation.spec).expand_block_volume.new_size_bytes
    if request.expanded_block_volume.size_bytes == wanted:
        _set_size(tx, operation.target_id, request.expanded_block_volume)
    else:
        _abort_expand(tx, operation)


# --- restriction ------------------------------------------------------------------------------------------------------


def _locate_restriction(tx: Transaction, spec: _Spec) -> Scene:
    check_id("volume_id", spec.set_block_restriction.volume_id)
    row = lock_volume(tx, spec.set_block_restriction.volume_id)
    return Scene(row.cluster_id, row.id)


def _begin_restriction(tx: Transaction, spec: _Spec, operation_id: str) -> _Spec:
    row = free_volume(tx, spec.set_block_restriction.volume_id)
    books = block_rows.hosting_books(block_rows.required_hosting(tx, row.id))
    restricted(row.id, row.size_bytes, books, restriction(spec.set_block_restriction.restriction))
    set_state(tx, row.id, VolumeState.ACTIVE, holder=operation_id)
    return spec


def _commit_restriction(tx: Transaction, operation: OperationRow, spec: _Spec, _outcome: _Outcome) -> None:
    row = get_volume(tx, operation.target_id)
    books = block_rows.hosting_books(block_rows.required_hosting(tx, row.id))
    wanted = restriction(spec.set_block_restriction.restriction)
    block_rows.store_hosting(tx, row.id, restricted(row.id, row.size_bytes, books, wanted))
    set_state(tx, row.id, VolumeState.ACTIVE, holder=None)


def _abort_restriction(tx: Transaction, operation: OperationRow) -> None:
    set_state(tx, operation.target_id, VolumeState.ACTIVE, holder=None)


CREATE_BLOCK_VOLUME = KindRules(locate=_locate_create, begin=_begin_create, commit=_commit_create, abort=_abort_create)
DELETE_BLOCK_VOLUME = KindRules(locate=_locate_delete, begin=_begin_delete, commit=_commit_delete, abort=_abort_delete)
EXPAND_BLOCK_VOLUME = KindRules(
    locate=_locate_expand,
    begin=_begin_expand,
    commit=_commit_expand,
    abort=_abort_expand,
    keep=_keep_expanded,
)
SET_BLOCK_RESTRICTION = KindRules(
    locate=_locate_restriction,
    begin=_begin_restriction,
    commit=_commit_restriction,
    abort=_abort_restriction,
)
