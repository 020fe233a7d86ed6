"""How operations read for people: words, one line, all fields, and what to do next. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.topology.v1 import device_pb2, node_pb2, operation_pb2
from gateway.cli.output import as_fields
from services.common.reasons import Reason

_ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)
_LABEL_WIDTH = 12

_SPACE = "add a device or remove what is not needed, or ask for less; then repeat the request"
_AFTER_FAILURE: Mapping[str, str] = {
    Reason.NO_SPACE: _SPACE,
    Reason.NO_SPACE_ON_DEVICE: _SPACE,
    Reason.AGENT_UNREACHABLE: "see on that node: systemctl status brickyard-agent; then repeat the request",
    Reason.GLUSTERD_NOT_RUNNING: "start glusterd on that node; then repeat the request",
    Reason.GLUSTER_FAILED: "see /var/log/glusterfs on that node, mend the cause, and repeat the request",
    Reason.DEVICE_IN_USE: (
        "look at the disk on its node (lsblk -f); if its data is not needed, repeat the request with destroydata"
    ),
    Reason.DEVICE_UNFIT: "take another disk",
    Reason.DEVICE_NOT_ALLOWED: "allow the path in the settings of the node's agent; then repeat the request",
    Reason.VOLUME_NAME_IN_USE: "repeat the request with another name",
    Reason.TARGET_BUSY: "wait for the other operation (brickyard operations watch); then repeat the request",
    Reason.UNAVAILABLE: "repeat the request",
    Reason.REPLACEMENT_NOT_FOUND: "add a device that can take the bricks; then repeat the request",
    Reason.BRICK_IS_HEAL_SOURCE: "wait for the heal of the volume (brickyard status); then repeat the request",
    Reason.BRICK_QUORUM_NOT_MET: "bring the other bricks of its set back; then repeat the request",
    Reason.BRICK_PENDING: "wait for the other operation (brickyard operations watch); then repeat the request",
}


def has_ended(operation: operation_pb2.Operation) -> bool:
    """Whether the operation will not change any more."""
    return operation.state in _ENDED


def has_failed(operation: operation_pb2.Operation) -> bool:
    """Whether the operation ended without success."""
    return operation.state == operation_pb2.OPERATION_STATE_FAILED


def kind(operation: operation_pb2.Operation) -> str:
    """The kind as a word, e.g. "create-volume"."""
    if _removes_device(operation):
        return "remove-device"
    if operation.spec.set_node_state.state == node_pb2.NODE_STATE_FAILED:
        return "remove-node"
    name = operation_pb2.OperationKind.Name(operation.kind)
    return name.removeprefix("OPERATION_KIND_").lower().replace("_", "-")


def _removes_device(operation: operation_pb2.Operation) -> bool:
    return operation.spec.set_device_state.state == device_pb2.DEVICE_STATE_FAILED


def state(operation: operation_pb2.Operation) -> str:
    """The state as a word; "stalled" when it waits for a node."""
    if operation.stalled and not has_ended(operation):
        return "stalled"
    return operation_pb2.OperationState.Name(operation.state).removeprefix("OPERATION_STATE_").lower()


def progress(operation: operation_pb2.Operation) -> str:
    """How far it is: steps, the current one, its node; empty when nothing is known."""
    if has_ended(operation):
        return ""
    known = operation.progress
    steps = f"{known.completed_step_count}/{known.total_step_count}" if known.total_step_count else ""
    where = f"on {known.node_hostname}" if known.node_hostname else ""
    return " ".join(filter(None, (steps, known.step, where)))


def first_error_line(operation: operation_pb2.Operation) -> str:
    """Why it fails or failed, as one line; empty when it does not."""
    if not operation.HasField("error"):
        return ""
    return operation.error.message.partition("\n")[0] or operation.error.reason


def line(operation: operation_pb2.Operation) -> str:
    """The operation as one line of fields between tabs: id, kind, state, target, creation, progress or error."""
    more = first_error_line(operation) or progress(operation)
    return "\t".join(
        (
            operation.id,
            kind(operation),
            state(operation),
            operation.target_id or "-",
            _time(operation.create_time) or "-",
            more.replace("\t", " ") or "-",
        )
    )


def next_step(operation: operation_pb2.Operation, now_s: float) -> str:
    """What a person can do about it; empty when there is nothing to do."""
    if has_failed(operation):
        advice = _AFTER_FAILURE.get(operation.error.reason, "mend the cause and repeat the request")
        if kind(operation) in {"remove-device", "remove-node"}:
            return f"bricks that were moved stay moved; {advice}, which goes on with the others"
        return f"nothing of it is left; {advice}"
    if has_ended(operation):
        return ""
    if operation.stalled:
        cleans = operation.kind == operation_pb2.OPERATION_KIND_CLEAN_UP
        what = (
            "it removes what was left on a node that does not answer, or could not do it"
            if cleans
            else "it has failed and waits to be taken back"
        )
        node = operation.progress.node_hostname
        return (
            f"{what}; see on {f'node {node}' if node else 'the node of the error'}: "
            f"systemctl status brickyard-agent; it goes on by itself, at once with: "
            f"brickyard operations cleanup {operation.id}"
        )
    if operation.lease_expire_time.ToMilliseconds() < now_s * 1000:
        return "its gateway has gone; another one takes it over within seconds, if one is running"
    return f"follow it with: brickyard operations watch {operation.id}"


def all_fields(operation: operation_pb2.Operation, now_s: float) -> Iterator[str]:
    """Every field as a line "Name: value"; empty ones are left out."""
    error = operation.error
    fields = {
        "Id": operation.id,
        "Kind": kind(operation),
        "State": state(operation),
        "Target": operation.target_id,
        "Cluster": operation.cluster_id,
        "Progress": progress(operation),
        "Begun for": operation.spec.set_node_state.reason,
        "Note": operation.note,
        "Error": error.message,
        "Reason": error.reason,
        **{f"  {key}": value for key, value in sorted(error.metadata.items())},
        "Next": next_step(operation, now_s),
        "Owner": operation.owner,
        "Lease until": _time(operation.lease_expire_time),
        "Attempts": str(operation.attempt_count),
        "Created": _time(operation.create_time),
        "Updated": _time(operation.update_time),
        "Ended": _time(operation.end_time),
        "Request": operation.request_id,
        "Revision": str(operation.revision),
        "Asked for": json_format.MessageToJson(operation.spec, preserving_proto_field_name=True),
    }
    indent = " " * (_LABEL_WIDTH + 2)
    for name, value in fields.items():
        if value:
            yield f"{name + ':':<{_LABEL_WIDTH}}  " + value.replace("\n", f"\n{indent}")


def as_json(operation: operation_pb2.Operation) -> dict[str, Any]:
    """All fields with the names of the contract."""
    return as_fields(operation)


def _time(timestamp: Timestamp) -> str:
    """The time to the second, in UTC; empty when it is not set."""
    if not timestamp.seconds:
        return ""
    seconds = Timestamp(seconds=timestamp.seconds)
    text: str = seconds.ToJsonString()
    return text
