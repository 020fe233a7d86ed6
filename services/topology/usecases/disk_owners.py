"""Whose disk it is that a node refused to take: a known device of this node or of another. Effects: SQL."""

from sqlalchemy import bindparam, or_, select

from brickyard.topology.v1 import operation_pb2
from services.common.reasons import Reason
from services.topology.store import Transaction
from services.topology.tables import DEVICE, NODE, DeviceRow, NodeRow

_OWNER = (
    select(DEVICE)
    .where(or_(DEVICE.c.id == bindparam("id"), DEVICE.c.pv_uuid == bindparam("pv_uuid")))
    .where(DEVICE.c.total_bytes > 0)
    .order_by(DEVICE.c.id)
)
_NODE = select(NODE).where(NODE.c.id == bindparam("id"))


def explain_refused_disk(
    tx: Transaction, spec: operation_pb2.OperationSpec, error: operation_pb2.OperationError
) -> operation_pb2.OperationError:
    """The reason why a disk was not made a device, with the device that it is already.

    A disk that was to be wiped and is a known device gets the reason that Heketi has for it.
    """
    asked = spec.add_device
    known = error.metadata
    told = operation_pb2.OperationError()
    told.CopyFrom(error)
    if error.reason != Reason.DEVICE_IN_USE or not (known.get("device_id") or known.get("pv_uuid")):
        return told
    values = {"id": known.get("device_id", ""), "pv_uuid": known.get("pv_uuid") or "-"}
    owner = tx.first(DeviceRow, _OWNER, values)
    if owner is None:
        if known.get("device_id"):
            told.message += "; no record knows this volume group: it may be left over from another installation"
        return told
    told.metadata["device_id"], told.metadata["node_id"] = owner.id, owner.node_id
    if asked.destroy_data:
        told.reason = Reason.DEVICE_ALREADY_KNOWN.value
        told.message = f"Device already in use (ID: {owner.id})"
        return told
    node = tx.first(NodeRow, _NODE, {"id": owner.node_id})
    hostname = node.manage_hostnames[0] if node is not None else owner.node_id
    whose = "this node" if owner.node_id == asked.device.node_id else f"node {hostname}"
    told.message += f"; it is device {owner.id} of {whose} already, added as {owner.path}"
    return told
