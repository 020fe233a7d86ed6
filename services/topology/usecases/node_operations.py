"""Operations on nodes: add, delete, set the state. Effects: SQL."""

from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from brickyard.topology.v1 import node_pb2, operation_pb2, operation_service_pb2
from services.common.errors import AlreadyExistsError, FailedPreconditionError
from services.common.identity import Role
from services.common.logs import audit
from services.common.reasons import Reason
from services.topology.convert import NODE_STATES, from_enum, new_node, timestamp
from services.topology.domain.checks import check_id, check_new_node, check_text
from services.topology.domain.model import DeviceState, NodeState, Presence
from services.topology.domain.states import check_node_transition
from services.topology.store import Transaction
from services.topology.tables import BRICK, DEVICE, HOSTNAME, NODE, OperationRow
from services.topology.usecases import nodes
from services.topology.usecases.clean_up_operations import NOT_LEFT
from services.topology.usecases.revocations import revoke_removed_agents
from services.topology.usecases.rules import KindRules, Scene
from services.topology.usecases.shared import advance, bury, busy, check_movable, get_node, lock_cluster, lock_node

_MAX_REASON_LENGTH = 2000
_ID_IN_USE = select(exists().where(NODE.c.id == bindparam("id")))
_HAS_DEVICES = select(exists().where(DEVICE.c.node_id == bindparam("node_id")))
_BRICK_HOLDERS = select(BRICK.c.operation_id).where(
    BRICK.c.device_id.in_(select(DEVICE.c.id).where(DEVICE.c.node_id == bindparam("node_id"))), NOT_LEFT
)


def _change(node_id: str, **values: Any) -> Any:
    return update(NODE).where(NODE.c.id == node_id).values(**values)


def _locate_add(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    node = new_node(spec.add_node.node)
    check_new_node(node)
    return Scene(lock_cluster(tx, node.cluster_id).id, node.id)


def _begin_add(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    node = new_node(spec.add_node.node)
    if tx.scalar(_ID_IN_USE, {"id": node.id}):
        raise AlreadyExistsError(
            Reason.INVALID_ARGUMENT, f"node {node.id} exists already", field="node.id", value=node.id
        )
    nodes.check_hostnames_free(tx, manage=node.manage_hostnames, storage=node.storage_hostnames)
    row = {
        "id": node.id,
        "cluster_id": node.cluster_id,
        "zone": node.zone,
        "manage_hostnames": list(node.manage_hostnames),
        "storage_hostnames": list(node.storage_hostnames),
        "tags": dict(node.tags),
        "state": NodeState.ONLINE.value,
        "presence": Presence.ADDING.value,
        "operation_id": operation_id,
        "revision": 0,
        "create_time_us": tx.now_us,
    }
    tx.run(insert(NODE), row)
    names = [("manage", name) for name in node.manage_hostnames] + [
        ("storage", name) for name in node.storage_hostnames
    ]
    tx.run(insert(HOSTNAME), [{"kind": kind, "name": name, "node_id": node.id} for kind, name in names])
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.add_node.node.state = node_pb2.NODE_STATE_ONLINE
    recorded.add_node.node.create_time.CopyFrom(timestamp(tx.now_us))
    return recorded


def _commit_add(
    tx: Transaction,
    operation: OperationRow,
    _spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    revision = advance(tx, operation.cluster_id)
    tx.run(_change(operation.target_id, presence=Presence.PRESENT.value, operation_id=None, revision=revision))


def _remove(tx: Transaction, operation: OperationRow) -> None:
    tx.run(delete(HOSTNAME).where(HOSTNAME.c.node_id == operation.target_id))
    tx.run(delete(NODE).where(NODE.c.id == operation.target_id))


def _locate_delete(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    check_id("node_id", spec.delete_node.node_id)
    row = lock_node(tx, spec.delete_node.node_id)
    return Scene(row.cluster_id, row.id)


def _begin_delete(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    row = get_node(tx, spec.delete_node.node_id)
    if tx.scalar(_HAS_DEVICES, {"node_id": row.id}):
        raise FailedPreconditionError(
            Reason.NODE_NOT_EMPTY,
            f"Unable to delete node [{row.id}] because it contains devices",
            node_id=row.id,
        )
    if row.operation_id is not None:
        raise busy("node", row.id, row.operation_id)
    recorded = operation_pb2.OperationSpec()
    recorded.CopyFrom(spec)
    recorded.delete_node.node.CopyFrom(nodes.message_of(tx, row))
    tx.run(_change(row.id, presence=Presence.REMOVING.value, operation_id=operation_id))
    return recorded


def _commit_delete(
    tx: Transaction,
    operation: OperationRow,
    spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    _remove(tx, operation)
    # In the same transaction: no moment is left in which a node that is none any more renews its certificate.
    for name in revoke_removed_agents(tx, spec.delete_node.node.manage_hostnames, f"operation {operation.id}"):
        audit("identity.revoked", operation_id=operation.id, role=Role.AGENT.value, name=name, why="node removed")
    bury(tx, kind="node", object_id=operation.target_id, cluster_id=operation.cluster_id)


def _let_go(tx: Transaction, operation: OperationRow) -> None:
    tx.run(_change(operation.target_id, presence=Presence.PRESENT.value, operation_id=None))


def _wanted_state(spec: operation_pb2.OperationSpec) -> NodeState:
    return from_enum("state", NodeState, NODE_STATES, spec.set_node_state.state)


def _locate_state(tx: Transaction, spec: operation_pb2.OperationSpec) -> Scene:
    check_id("node_id", spec.set_node_state.node_id)
    _wanted_state(spec)
    if spec.set_node_state.reason:
        check_text("reason", spec.set_node_state.reason, _MAX_REASON_LENGTH)
    row = lock_node(tx, spec.set_node_state.node_id)
    return Scene(row.cluster_id, row.id)


def _begin_state(tx: Transaction, spec: operation_pb2.OperationSpec, operation_id: str) -> operation_pb2.OperationSpec:
    row = get_node(tx, spec.set_node_state.node_id)
    if row.operation_id is not None:
        raise busy("node", row.id, row.operation_id)
    tx.run(_change(row.id, operation_id=operation_id))
    return spec


def _commit_state(
    tx: Transaction,
    operation: OperationRow,
    spec: operation_pb2.OperationSpec,
    _outcome: operation_service_pb2.CommitOperationRequest,
) -> None:
    row = get_node(tx, operation.target_id)
    wanted, current = _wanted_state(spec), NodeState(row.state)
    check_node_transition(row.id, current, wanted)
    if wanted is current:
        _let_go(tx, operation)
        return
    revision = advance(tx, row.cluster_id)
    if wanted is NodeState.FAILED:
        check_movable(tx, "node", row.id, _BRICK_HOLDERS.params(node_id=row.id))
        # A node that is given up takes its devices along, whatever their states (Heketi's rule).
        devices = update(DEVICE).where(DEVICE.c.node_id == row.id, DEVICE.c.presence != Presence.ADDING)
        tx.run(devices.values(state=DeviceState.FAILED.value, revision=revision))
    tx.run(_change(row.id, state=wanted.value, operation_id=None, revision=revision))


ADD_NODE = KindRules(locate=_locate_add, begin=_begin_add, commit=_commit_add, abort=_remove)
DELETE_NODE = KindRules(locate=_locate_delete, begin=_begin_delete, commit=_commit_delete, abort=_let_go)
SET_NODE_STATE = KindRules(locate=_locate_state, begin=_begin_state, commit=_commit_state, abort=_let_go)
