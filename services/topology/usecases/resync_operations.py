"""Measuring a device again. The books keep their pools and reservations; only the rest is measured. Effects: SQL."""

from sqlalchemy import bindparam, select, update

from brickyard.topology.v1 import device_pb2, operation_pb2, operation_service_pb2
from services.topology.convert import device_facts
from services.topology.domain.books import Measurement, remeasured
from services.topology.domain.checks import check_facts, check_id, invalid
from services.topology.domain.pools import pool_space
from services.topology.store import Transaction
from services.topology.tables import BRICK, DEVICE, BrickRow, OperationRow
from services.topology.usecases import devices
from services.topology.usecases.device_operations import check_uuid_free
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import advance, books_of, busy, get_device, lock_device

_BRICKS = select(BRICK).where(BRICK.c.device_id == bindparam("device_id"))
_HOLD = update(DEVICE).where(DEVICE.c.id == bindparam("key")).values(operation_id=bindparam("holder"))


def _locate(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    check_id("device_id", spec.resync_device.device_id)
    row = lock_device(tx, spec.resync_device.device_id)
    return Scene(row.cluster_id, row.id)


def _begin(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    row = get_device(tx, spec.resync_device.device_id)
    # Operations that make or remove bricks here are no hindrance: what they reserved is kept apart.
    if row.operation_id is not None:
        raise busy("device", row.id, row.operation_id)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.resync_device.device.CopyFrom(devices.message_of(tx, row))
    tx.run(_HOLD, {"key": row.id, "holder": operation_id})
    return recorded


def _commit(
    tx: Transaction,
    operation: OperationRow,
    spec: operation_pb2.OperationSpec,
    outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    if outcome.WhichOneof("outcome") != "device_facts":
        raise invalid("outcome", outcome.WhichOneof("outcome"), "must be device_facts for a measured device")
    facts = device_facts(outcome.device_facts)
    check_facts(facts)
    row = get_device(tx, operation.target_id)
    check_uuid_free(tx, facts.pv_uuid, node_id=row.node_id, device_id=row.id)
    measured = Measurement(
        total_bytes=facts.total_bytes,
        free_bytes=facts.free_bytes,
        leaving_bytes=pool_space(tx.all(BrickRow, _BRICKS, {"device_id": row.id})).leaving.get(row.id, 0),
        still=_same_books(spec.resync_device.device, devices.message_of(tx, row)),
    )
    books = remeasured(row.id, books_of(row), measured)
    changed = {
        "total_bytes": books.total_bytes,
        "used_bytes": books.used_bytes,
        "unattributed_bytes": books.unattributed_bytes,
        "extent_size_bytes": facts.extent_size_bytes,
        # A UUID that could not be read is not forgotten.
        "pv_uuid": facts.pv_uuid or row.pv_uuid,
        "known_paths": list(facts.known_paths),
        "operation_id": None,
        "revision": advance(tx, row.cluster_id),
    }
    tx.run(update(DEVICE).where(DEVICE.c.id == row.id).values(**changed))


def _same_books(before: device_pb2.Device, now: device_pb2.Device) -> bool:
    """Whether no operation on bricks began or ended in between, as far as the books show it."""
    return (before.used_bytes, before.reserved_bytes, [brick.id for brick in before.bricks]) == (
        now.used_bytes,
        now.reserved_bytes,
        [brick.id for brick in now.bricks],
    )


def _abort(tx: Transaction, operation: OperationRow) -> None:
    tx.run(_HOLD, {"key": operation.target_id, "holder": None})


RESYNC_DEVICE = KindRules(locate=_locate, begin=_begin, commit=_commit, abort=_abort)
