"""Operations on devices: add, delete, set the state. Effects: SQL."""

from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from brickyard.topology.v1 import device_pb2, operation_pb2, operation_service_pb2
from services.common.errors import AlreadyExistsError, FailedPreconditionError
from services.common.reasons import Reason
from services.topology.convert import DEVICE_STATES, device_facts, from_enum, new_device, timestamp
from services.topology.domain.checks import check_facts, check_id, check_new_device, invalid
from services.topology.domain.model import DeviceState, Presence
from services.topology.domain.states import check_device_transition
from services.topology.store import Transaction
from services.topology.tables import BRICK, DEVICE, DeviceRow, OperationRow
from services.topology.usecases import devices
from services.topology.usecases.clean_up_operations import NOT_LEFT, forget_left
from services.topology.usecases.disk_owners import explain_refused_disk
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import (
    advance,
    bury,
    busy,
    check_movable,
    get_device,
    get_node,
    lock_device,
    lock_node,
)

_ID_IN_USE = select(exists().where(DEVICE.c.id == bindparam("id")))
_AT_PATH = select(DEVICE).where(DEVICE.c.node_id == bindparam("node_id"), DEVICE.c.path == bindparam("path"))
_WITH_UUID = select(DEVICE).where(DEVICE.c.node_id == bindparam("node_id"), DEVICE.c.pv_uuid == bindparam("pv_uuid"))
_HAS_MORE_THAN_LEFT = select(exists().where(BRICK.c.device_id == bindparam("device_id"), NOT_LEFT))
_BLOCKING = (
    select(BRICK.c.operation_id)
    .where(BRICK.c.device_id == bindparam("device_id"), BRICK.c.operation_id.is_not(None), NOT_LEFT)
    .order_by(BRICK.c.id)
    .limit(1)
)
_BRICK_HOLDERS = select(BRICK.c.operation_id).where(BRICK.c.device_id == bindparam("device_id"), NOT_LEFT)


def _change(device_id: str, **values: Any) -> Any:
    return update(DEVICE).where(DEVICE.c.id == device_id).values(**values)


def _locate_add(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    device = new_device(spec.add_device.device)
    check_new_device(device)
    return Scene(lock_node(tx, device.node_id).cluster_id, device.id)


def _begin_add(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    device = new_device(spec.add_device.device)
    node = get_node(tx, device.node_id)
    if node.presence == Presence.REMOVING and node.operation_id is not None:
        raise busy("node", node.id, node.operation_id)
    if tx.scalar(_ID_IN_USE, {"id": device.id}):
        raise AlreadyExistsError(
            Reason.INVALID_ARGUMENT, f"device {device.id} exists already", field="device.id", value=device.id
        )
    known = tx.first(DeviceRow, _AT_PATH, {"node_id": node.id, "path": device.path})
    if known is not None:
        raise AlreadyExistsError(
            Reason.DEVICE_PATH_IN_USE,
            f"node {node.id} has a device {device.path} already (ID: {known.id})",
            node_id=node.id,
            path=device.path,
            device_id=known.id,
        )
    row = {
        "id": device.id,
        "node_id": node.id,
        "cluster_id": node.cluster_id,
        "path": device.path,
        "tags": dict(device.tags),
        "state": DeviceState.ONLINE.value,
        "presence": Presence.ADDING.value,
        "operation_id": operation_id,
        "total_bytes": 0,
        "used_bytes": 0,
        "reserved_bytes": 0,
        "unattributed_bytes": 0,
        "extent_size_bytes": 0,
        "pv_uuid": None,
        "known_paths": [],
        "revision": 0,
        "create_time_us": tx.now_us,
    }
    tx.run(insert(DEVICE), row)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.add_device.device.state = device_pb2.DEVICE_STATE_ONLINE
    recorded.add_device.device.create_time.CopyFrom(timestamp(tx.now_us))
    return recorded


def check_uuid_free(tx: Transaction, pv_uuid: str, *, node_id: str, device_id: str) -> None:
    """Whether no other device of the node has the UUID; an empty one tells nothing.

    Raises:
        AlreadyExistsError: DEVICE_ALREADY_KNOWN.
    """
    known = tx.first(DeviceRow, _WITH_UUID, {"node_id": node_id, "pv_uuid": pv_uuid}) if pv_uuid else None
    if known is not None and known.id != device_id:
        raise AlreadyExistsError(
            Reason.DEVICE_ALREADY_KNOWN,
            f"Device already in use (ID: {known.id})",
            device_id=known.id,
            node_id=node_id,
            pv_uuid=pv_uuid,
        )


def _commit_add(
    tx: Transaction,
    operation: OperationRow,
    spec: operation_pb2.OperationSpec,
    outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    if outcome.WhichOneof("outcome") != "device_facts":
        raise invalid("outcome", outcome.WhichOneof("outcome"), "must be device_facts for an added device")
    facts = device_facts(outcome.device_facts)
    check_facts(facts)
    check_uuid_free(tx, facts.pv_uuid, node_id=spec.add_device.device.node_id, device_id=operation.target_id)
    # A fresh volume group is all free; whatever is in it already belongs to no brick.
    used_bytes = facts.total_bytes - facts.free_bytes
    changed = _change(
        operation.target_id,
        presence=Presence.PRESENT.value,
        operation_id=None,
        total_bytes=facts.total_bytes,
        used_bytes=used_bytes,
        unattributed_bytes=used_bytes,
        extent_size_bytes=facts.extent_size_bytes,
        pv_uuid=facts.pv_uuid or None,
        known_paths=list(facts.known_paths),
        revision=advance(tx, operation.cluster_id),
    )
    tx.run(changed)


def _remove(tx: Transaction, operation: OperationRow) -> None:
    tx.run(delete(DEVICE).where(DEVICE.c.id == operation.target_id))


def _locate_delete(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    check_id("device_id", spec.delete_device.device_id)
    row = lock_device(tx, spec.delete_device.device_id)
    return Scene(row.cluster_id, row.id)


def _begin_delete(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    row = get_device(tx, spec.delete_device.device_id)
    if row.state != DeviceState.FAILED:
        raise FailedPreconditionError(
            Reason.DEVICE_NOT_FAILED, f"device: {row.id} is not in failed state", device_id=row.id, state=row.state
        )
    # What an operation has left on it is nobody's data, and not shown: the node tells if it is still there.
    if tx.scalar(_HAS_MORE_THAN_LEFT, {"device_id": row.id}):
        raise FailedPreconditionError(
            Reason.DEVICE_NOT_EMPTY,
            f"Unable to delete device [{row.id}] because it contains bricks",
            device_id=row.id,
        )
    if row.operation_id is not None:
        raise busy("device", row.id, row.operation_id)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.delete_device.device.CopyFrom(devices.message_of(tx, row))
    tx.run(_change(row.id, presence=Presence.REMOVING.value, operation_id=operation_id))
    return recorded


def _commit_delete(
    tx: Transaction,
    operation: OperationRow,
    _spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    forget_left(tx, operation.target_id, operation.cluster_id)
    _remove(tx, operation)
    bury(tx, kind="device", object_id=operation.target_id, cluster_id=operation.cluster_id)


def _let_go(tx: Transaction, operation: OperationRow) -> None:
    tx.run(_change(operation.target_id, presence=Presence.PRESENT.value, operation_id=None))


def _wanted_state(spec: operation_pb2.OperationSpec) -> DeviceState:
    return from_enum("state", DeviceState, DEVICE_STATES, spec.set_device_state.state)


def _locate_state(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    check_id("device_id", spec.set_device_state.device_id)
    _wanted_state(spec)
    row = lock_device(tx, spec.set_device_state.device_id)
    return Scene(row.cluster_id, row.id)


def _begin_state(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    row = get_device(tx, spec.set_device_state.device_id)
    if row.operation_id is not None:
        raise busy("device", row.id, row.operation_id)
    tx.run(_change(row.id, operation_id=operation_id))
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    # Told here and refused by the driver: clients learn of it through the operation (Heketi's rule).
    recorded.set_device_state.blocking_operation_id = tx.scalar(_BLOCKING, {"device_id": row.id}) or ""
    return recorded


def _commit_state(
    tx: Transaction,
    operation: OperationRow,
    spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    row = get_device(tx, operation.target_id)
    wanted, current = _wanted_state(spec), DeviceState(row.state)
    # A node is given up with its devices, whatever their states (Heketi's rule).
    if not spec.set_device_state.parent_operation_id:
        check_device_transition(row.id, current, wanted)
    if wanted is current:
        _let_go(tx, operation)
        return
    if wanted is DeviceState.FAILED:
        check_movable(tx, "device", row.id, _BRICK_HOLDERS.params(device_id=row.id))
    tx.run(_change(row.id, state=wanted.value, operation_id=None, revision=advance(tx, row.cluster_id)))


ADD_DEVICE = KindRules(
    locate=_locate_add, begin=_begin_add, commit=_commit_add, abort=_remove, explain=explain_refused_disk
)
DELETE_DEVICE = KindRules(locate=_locate_delete, begin=_begin_delete, commit=_commit_delete, abort=_let_go)
SET_DEVICE_STATE = KindRules(locate=_locate_state, begin=_begin_state, commit=_commit_state, abort=_let_go)
