"""Errors that an operation ended with, as the queue tells them. Pure."""

from brickyard.topology.v1 import operation_pb2
from gateway.heketi.texts.errors import has_data
from gateway.heketi.texts.refusals import NO_REPLACEMENT, PENDING_CONFLICT, explained
from services.common.reasons import Reason


def failure_text(operation: operation_pb2.Operation) -> str:
    """How Heketi says through the queue why an operation failed."""
    spec, error = operation.spec, operation.error
    kind = spec.WhichOneof("kind")
    if kind == "add_device":
        return _device_failure(spec.add_device.device.path, error)
    if error.reason == Reason.REPLACEMENT_NOT_FOUND:
        known = error.metadata
        if kind == "set_device_state":
            first = (
                f"Unable to delete device [{spec.set_device_state.device_id}] as no device was found to replace it: "
            )
            return explained(f"{first}{NO_REPLACEMENT}", error.message.removeprefix(NO_REPLACEMENT))
        if kind == "set_node_state" and "device_id" in known:
            first = (
                f"Unable to remove node [{spec.set_node_state.node_id}] "
                f"as no device was found to replace device [{known['device_id']}]"
            )
            return explained(first, error.message)
    if error.reason == Reason.TARGET_BUSY:
        return PENDING_CONFLICT
    return error.message or f"the operation failed: {error.reason or 'no reason is recorded'}"


def _device_failure(path: str, error: operation_pb2.OperationError) -> str:
    if error.reason == Reason.DEVICE_ALREADY_KNOWN and "device_id" in error.metadata:
        return f"Device already in use (ID: {error.metadata['device_id']})"
    if error.reason in {Reason.DEVICE_IN_USE, Reason.LVM_FAILED}:
        return has_data(path, error.message)
    return error.message
