"""All texts of the dialect, and the one mapping from our errors to Heketi's statuses and texts. Pure.

Heketi's text always comes first; where we know more, our explanation follows on further lines.
"""

import json
from collections.abc import Callable, Mapping
from enum import Enum, auto

import grpc

from brickyard.topology.v1 import operation_pb2
from gateway.heketi import block_texts
from services.common.errors import BrickyardError
from services.common.reasons import Reason
from services.common.units import KIB

HELLO = b"Hello from Heketi"
PENDING_CONFLICT = "The target exists, contains other items, or is in use."
NO_REPLACEMENT = "No Replacement was found for resource requested to be removed"
# Heketi sent no Retry-After; its clients honour one, and volumes take seconds.
RETRY_AFTER_S = 5

# What ozzo-validation says, and Heketi's own rules.
BLANK = "cannot be blank"
NOT_POSITIVE = "must be no less than 1"
BAD_FORMAT = "must be in a valid format"
BAD_VALUE = "must be a valid value"


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request is answered with an error.

    Attributes:
        status: HTTP status.
        text: Body without the final newline.
        retry_after_s: When to come again, in seconds; None = no such hint.
    """

    def __init__(self, status: int, text: str, retry_after_s: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after_s = retry_after_s


class Action(Enum):
    """What was asked, where that changes the text of an error."""

    OTHER = auto()
    ADD_NODE = auto()
    DELETE_NODE = auto()
    ADD_DEVICE = auto()
    CREATE_VOLUME = auto()
    DELETE_VOLUME = auto()
    EXPAND_VOLUME = auto()
    CLONE_VOLUME = auto()
    RESYNC_DEVICE = auto()
    EVICT_BRICK = auto()
    CREATE_BLOCK_VOLUME = auto()
    DELETE_BLOCK_VOLUME = auto()
    EXPAND_BLOCK_VOLUME = auto()
    SET_BLOCK_RESTRICTION = auto()


def unknown_path() -> Refused:
    """No route has such a path."""
    return Refused(404, "Invalid path or request")


def unknown_id() -> Refused:
    """The path names an object that does not exist."""
    return Refused(404, "Id not found")


def no_pending_operation(operation_id: str) -> Refused:
    """The operation does not exist, has ended, or is of a kind that Heketi has none for."""
    return Refused(404, f"Id not found: {operation_id}")


def unparsable() -> Refused:
    """The body is no JSON, or a field has the wrong type."""
    return Refused(422, "request unable to be parsed")


def unparsable_because(why: str) -> Refused:
    """The same, told with the reason and as 400: Heketi's answer on two routes."""
    return Refused(400, f"request unable to be parsed: {why}")


def under_maintenance() -> Refused:
    """The administrative mode does not take changes, or not from there."""
    return Refused(503, "Service disabled for maintenance")


def foreign_logger() -> Refused:
    """A log level was given for a logger that does not exist."""
    return Refused(422, 'Only "glusterfs" logger may be modified')


def unknown_log_level(level: str) -> Refused:
    """There is no such log level."""
    return Refused(422, f"invalid log level: {level}")


def body_too_large(limit: int) -> Refused:
    """The body is above our limit; Heketi has none."""
    return Refused(413, f"request body is larger than {limit} bytes")


def invalid(errors: str) -> Refused:
    """The fields of the body break their rules."""
    return Refused(400, f"validation failed: {errors}")


def no_token() -> Refused:
    """No Authorization header."""
    return Refused(401, "Required authorization token not found")


def bad_authorization() -> Refused:
    """An Authorization header that is not a bearer token."""
    return Refused(400, "Authorization header format must be Bearer {token}")


def bad_token(why: str) -> Refused:
    """A token that does not hold."""
    return Refused(401, f"Invalid JWT token: {why}")


def bad_qsh() -> Refused:
    """A token for another request."""
    return Refused(401, "Invalid qsh claim in token")


def not_admin() -> Refused:
    """The user role asks for more than /volumes."""
    return Refused(401, "Administrator access required")


def database_volume() -> Refused:
    """The volume that held Heketi's own database."""
    return Refused(409, "Cannot delete volume containing the Heketi database")


def cluster_not_in_request(cluster_id: str) -> Refused:
    """A volume is to be made in a cluster that does not exist."""
    return Refused(400, f"Cluster id {cluster_id} not found")


def no_clusters() -> Refused:
    """A volume is to be made, and there is no cluster at all."""
    return Refused(400, "No clusters configured")


def volume_too_small(size_gib: int, minimum_kib: int) -> Refused:
    """A volume below the smallest bricks that its durability needs."""
    return Refused(
        400,
        f"Requested volume size ({size_gib} GB) is smaller than the minimum supported volume size ({minimum_kib})",
    )


def crashed(request_id: str) -> Refused:
    """Our own fault. Heketi sent a stack trace; ours is in the log."""
    return Refused(500, f"internal error; the gateway's log has the details under request id {request_id}")


def _explained(first: str, message: str) -> str:
    """Heketi's text, and on further lines what `message` says beyond it."""
    rest = message.removeprefix(first).lstrip(":; \n").rstrip()
    return f"{first}\n{rest}" if rest else first


# --- errors that are raised by a use case -----------------------------------------------------------------------------

_Text = Callable[[BrickyardError, str], str]


def _message(error: BrickyardError, _target: str) -> str:
    return error.message


def _constant(text: str) -> _Text:
    return lambda _error, _target: text


def _hostname_in_use(error: BrickyardError, _target: str) -> str:
    known = error.metadata
    if "hostname" not in known or "node_id" not in known:
        return error.message
    # The newline is Heketi's; with that of every error the body ends in two.
    return f"Hostname {known['hostname']} already used by node with id {known['node_id']}\n"


def _requested_cluster(error: BrickyardError, _target: str) -> str:
    cluster_id = error.metadata.get("cluster_id")
    return error.message if cluster_id is None else cluster_not_in_request(cluster_id).text


_ALLOCATION_REASONS: Mapping[Reason, str] = {
    Reason.NO_SPACE: "No space",
    Reason.NO_SPACE_ON_DEVICE: "No space",
    # Heketi reports the limits on bricks as "No space" when it creates a volume.
    Reason.MAX_BRICKS_REACHED: "No space",
    Reason.MIN_BRICK_SIZE_REACHED: "No space",
    Reason.NO_NODES: "No nodes in cluster",
    Reason.NO_ONLINE_DEVICES: "No online storage devices in cluster",
    Reason.CLUSTER_HAS_NO_VOLUME_TYPE: "Cluster has disabled all volume types",
    Reason.CLUSTER_LACKS_VOLUME_TYPE: "Cluster does not support requested volume type",
    Reason.TARGET_BUSY: PENDING_CONFLICT,
}
_TAG_RULE = "Invalid tag matching rule: Invalid tag match rule: "


def _allocation_reason(reason: str, message: str, known: Mapping[str, object]) -> str:
    """Heketi's one line for why a cluster has no place for a volume; our message where Heketi has no such text."""
    if reason == Reason.VOLUME_NAME_IN_USE and "name" in known:
        return f"Volume name '{known['name']}' already in use"
    limit = known.get("limit", known.get("maximum"))
    if reason == Reason.TOO_MANY_VOLUMES and limit is not None and "volume_count" in known:
        return f"Cluster has {known['volume_count']} volumes and limit is {limit}"
    if reason == Reason.INVALID_TAG_RULE:
        return f"{_TAG_RULE}{known.get('rule', message.rpartition('rule: ')[2])}"
    if reason == Reason.AVERAGE_FILE_SIZE_TOO_LARGE and {"average_file_size_bytes", "brick_size_bytes"} <= known.keys():
        average, brick = (int(str(known[key])) // KIB for key in ("average_file_size_bytes", "brick_size_bytes"))
        return f"Average file size ({average}) is greater than Brick size ({brick})"
    return next((text for each, text in _ALLOCATION_REASONS.items() if each == reason), message)


def _allocation(error: BrickyardError, _target: str) -> str:
    first = _allocation_reason(error.reason, error.message, error.metadata)
    explains = error.reason in _ALLOCATION_REASONS
    return f"Failed to allocate new volume: {_explained(first, error.message) if explains else first}"


# What stops an expansion is told apart from no space, other than on create (Heketi's rule; the two spaces are its own).
_EXPANSION_REASONS: Mapping[str, str] = {
    Reason.MAX_BRICKS_REACHED: "Maximum number of bricks reached.",
    Reason.MIN_BRICK_SIZE_REACHED: "Minimum brick size limit reached.  Out of space.",
}


def _expansion(error: BrickyardError, _target: str) -> str:
    stop = error.metadata.get("stopped_by") or error.reason.value
    first = _EXPANSION_REASONS.get(stop) or _allocation_reason(error.reason, error.message, error.metadata)
    explains = error.reason in _ALLOCATION_REASONS
    return f"Failed to allocate volume expansion: {_explained(first, error.message) if explains else first}"


def _clone_refused(error: BrickyardError, target: str) -> str:
    why = PENDING_CONFLICT if error.reason is Reason.TARGET_BUSY else error.message
    return f"Failed clone volume {target}: {why}"


def _no_replacement(error: BrickyardError, _target: str) -> str:
    return _explained(NO_REPLACEMENT, error.message)


def _eviction_refused(error: BrickyardError, _target: str) -> str:
    return f"Failed to set up brick eviction: {error.message}"


def _block_allocation(error: BrickyardError, _target: str) -> str:
    first = block_texts.create_reason(error)
    if first is None:
        first = _allocation_reason(error.reason, error.message, error.metadata)
    whole = error.reason in {Reason.BLOCK_HOSTING_TOO_SMALL, Reason.BLOCK_HOSTING_DISABLED}
    return f"Failed to allocate new block volume: {first if whole else _explained(first, error.message)}"


def _block_expansion(error: BrickyardError, _target: str) -> str:
    prefix = "Failed to allocate block volume expansion: "
    first = block_texts.expand_reason(error)
    if first is not None:
        return f"{prefix}{first}"
    first = _allocation_reason(error.reason, error.message, error.metadata)
    busy = error.reason is Reason.TARGET_BUSY
    return f"{prefix}{first if busy else _explained(first, error.message)}"


def _restriction(error: BrickyardError, _target: str) -> str:
    why = PENDING_CONFLICT if error.reason is Reason.TARGET_BUSY else block_texts.restriction_reason(error)
    return f"Failed to set block restriction: {why}"


def _no_cluster_takes_block_volume(error: BrickyardError, target: str) -> str:
    text = _no_cluster_takes_it(error, target)
    return text.replace("Failed to allocate new volume: ", "Failed to allocate new block volume: ", 1)


def _no_cluster_takes_it(error: BrickyardError, _target: str) -> str:
    """Heketi's list of clusters with a reason each, from the metadata that the allocator gives, then our message."""
    eligible = error.metadata.get("stage") == "placement"
    lines = ["Unable to create volume on any cluster:" if eligible else "No eligible cluster for volume"]
    try:
        clusters = json.loads(error.metadata.get("clusters", "{}"))
    except ValueError:
        # Very long metadata is cut off on its way; the message says the same.
        clusters = {}
    for cluster_id, why in sorted(clusters.items()):
        lines.append(f"Cluster {cluster_id}: {_allocation_reason(why['reason'], why['message'], why)}")
    return _explained(f"Failed to allocate new volume: {chr(10).join(lines)}", error.message)


def _path_in_use(error: BrickyardError, _target: str) -> str:
    return _has_data(error.metadata.get("path", ""), error.message)


def _has_data(path: str, why: str) -> str:
    if why.startswith(("Initializing device ", "Can not destroy device, ")):
        # The agent tells apart what Heketi tells apart, in Heketi's words.
        return why
    return f"Initializing device {path} failed (already initialized or contains data?): {why}"


def _too_many_tags(error: BrickyardError, _target: str) -> str:
    return f"validation failed: tags: {error.message}."


def _try_again(error: BrickyardError, _target: str) -> str:
    return f"Service not available, repeat the request later: {error.message}"


def _about(template: str) -> _Text:
    return lambda _error, target: template.format(target)


_ALLOCATION_REFUSALS = (
    *_ALLOCATION_REASONS,
    Reason.VOLUME_NAME_IN_USE,
    Reason.TOO_MANY_VOLUMES,
    Reason.INVALID_TAG_RULE,
    Reason.AVERAGE_FILE_SIZE_TOO_LARGE,
)

_BLOCK_REFUSALS = (
    Reason.BLOCK_HOSTING_TOO_SMALL,
    Reason.BLOCK_HOSTING_DISABLED,
    Reason.INSUFFICIENT_BLOCK_HOSTS,
    Reason.GLUSTER_BLOCK_NOT_INSTALLED,
    Reason.GLUSTER_BLOCK_FAILED,
)

_BY_ACTION: Mapping[tuple[Action, Reason], tuple[int, _Text]] = {
    (Action.ADD_NODE, Reason.CLUSTER_NOT_FOUND): (404, _constant("Cluster id does not exist")),
    (Action.ADD_NODE, Reason.GLUSTERD_NOT_RUNNING): (400, _message),
    (Action.DELETE_NODE, Reason.CLUSTER_NOT_FOUND): (404, _constant("Cluster id does not exist")),
    (Action.ADD_DEVICE, Reason.NODE_NOT_FOUND): (404, _constant("Node id does not exist")),
    (Action.ADD_DEVICE, Reason.DEVICE_PATH_IN_USE): (409, _path_in_use),
    (Action.CREATE_VOLUME, Reason.NO_CLUSTERS): (400, _constant(no_clusters().text)),
    (Action.CREATE_VOLUME, Reason.CLUSTER_NOT_FOUND): (400, _requested_cluster),
    (Action.CREATE_VOLUME, Reason.VOLUME_TOO_SMALL): (400, _message),
    **{(Action.CREATE_VOLUME, reason): (500, _allocation) for reason in _ALLOCATION_REFUSALS},
    (Action.CREATE_BLOCK_VOLUME, Reason.NO_CLUSTERS): (400, _constant(no_clusters().text)),
    (Action.CREATE_BLOCK_VOLUME, Reason.CLUSTER_NOT_FOUND): (400, _requested_cluster),
    (Action.CREATE_BLOCK_VOLUME, Reason.NO_ELIGIBLE_CLUSTER): (500, _no_cluster_takes_block_volume),
    **{
        (Action.CREATE_BLOCK_VOLUME, reason): (500, _block_allocation)
        for reason in (*_ALLOCATION_REFUSALS, *_BLOCK_REFUSALS)
    },
    **{
        (Action.EXPAND_BLOCK_VOLUME, reason): (500, _block_expansion)
        for reason in (Reason.BLOCK_SIZE_NOT_LARGER, Reason.NO_SPACE, Reason.TARGET_BUSY)
    },
    (Action.DELETE_BLOCK_VOLUME, Reason.TARGET_BUSY): (
        500,
        _constant(f"Failed to set up block volume delete: {PENDING_CONFLICT}"),
    ),
    **{
        (Action.SET_BLOCK_RESTRICTION, reason): (500, _restriction)
        for reason in (Reason.NOT_BLOCK_HOSTING, Reason.BLOCK_RESERVE_MISSING, Reason.TARGET_BUSY)
    },
    (Action.CREATE_VOLUME, Reason.NO_ELIGIBLE_CLUSTER): (500, _no_cluster_takes_it),
    **{(Action.EXPAND_VOLUME, reason): (500, _expansion) for reason in _ALLOCATION_REFUSALS},
    (Action.CLONE_VOLUME, Reason.NOT_SUPPORTED_YET): (500, _clone_refused),
    (Action.CLONE_VOLUME, Reason.VOLUME_NAME_IN_USE): (500, _clone_refused),
    (Action.CLONE_VOLUME, Reason.TARGET_BUSY): (500, _clone_refused),
    (Action.EVICT_BRICK, Reason.BRICK_PENDING): (500, _eviction_refused),
    (Action.EVICT_BRICK, Reason.REPLACEMENT_NOT_FOUND): (500, _no_replacement),
    (Action.RESYNC_DEVICE, Reason.TARGET_BUSY): (500, _constant(PENDING_CONFLICT)),
    (Action.DELETE_VOLUME, Reason.TARGET_BUSY): (
        500,
        _constant(f"Failed to set up volume delete: {PENDING_CONFLICT}"),
    ),
}

_BY_REASON: Mapping[Reason, tuple[int, _Text]] = {
    Reason.CLUSTER_NOT_FOUND: (404, _constant(unknown_id().text)),
    Reason.NODE_NOT_FOUND: (404, _constant(unknown_id().text)),
    Reason.DEVICE_NOT_FOUND: (404, _constant(unknown_id().text)),
    Reason.VOLUME_NOT_FOUND: (404, _constant(unknown_id().text)),
    Reason.BLOCK_VOLUME_NOT_FOUND: (404, _constant(unknown_id().text)),
    Reason.VOLUME_HOSTS_BLOCK_VOLUMES: (
        409,
        _constant("Cannot delete a block hosting volume containing block volumes"),
    ),
    Reason.BRICK_NOT_FOUND: (404, _constant(unknown_id().text)),
    Reason.OPERATION_NOT_FOUND: (404, _constant(unknown_id().text)),
    Reason.CLUSTER_NOT_EMPTY: (409, _about("Unable to delete cluster [{}] because it contains volumes and/or nodes")),
    Reason.NODE_NOT_EMPTY: (409, _about("Unable to delete node [{}] because it contains devices")),
    Reason.DEVICE_NOT_EMPTY: (409, _about("Unable to delete device [{}] because it contains bricks")),
    Reason.DEVICE_NOT_FAILED: (400, _about("device: {} is not in failed state")),
    Reason.HOSTNAME_IN_USE: (409, _hostname_in_use),
    Reason.TOO_MANY_TAGS: (400, _too_many_tags),
    Reason.TOO_MANY_OPERATIONS: (429, _constant("Server busy. Retry operation later.")),
    Reason.TARGET_BUSY: (409, _constant(PENDING_CONFLICT)),
    # Heketi lets these through and answers by the queue, always with 500.
    Reason.NODE_STATE_CONFLICT: (500, _message),
    Reason.DEVICE_STATE_CONFLICT: (500, _message),
    Reason.AGENT_UNREACHABLE: (500, _message),
    Reason.COMMAND_TIMED_OUT: (500, _message),
}

_BY_CODE: Mapping[grpc.StatusCode, tuple[int, _Text]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, _message),
    grpc.StatusCode.NOT_FOUND: (404, _message),
    grpc.StatusCode.ALREADY_EXISTS: (409, _message),
    grpc.StatusCode.FAILED_PRECONDITION: (409, _message),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (500, _message),
    grpc.StatusCode.ABORTED: (503, _try_again),
    grpc.StatusCode.UNAVAILABLE: (503, _try_again),
    grpc.StatusCode.DEADLINE_EXCEEDED: (503, _try_again),
    grpc.StatusCode.UNIMPLEMENTED: (501, _message),
    # Between the services, so not the client's 401: it would look for a fault in its own secret.
    grpc.StatusCode.PERMISSION_DENIED: (500, _message),
    grpc.StatusCode.UNAUTHENTICATED: (500, _message),
}


def refused_by(error: BrickyardError, action: Action, target_id: str) -> Refused:
    """How Heketi says what a use case refused.

    Args:
        error: What it raised.
        action: What was asked.
        target_id: Id in the path; empty when there is none.
    """
    found = (
        _BY_ACTION.get((action, error.reason))
        or _BY_REASON.get(error.reason)
        or _BY_CODE.get(error.code, (500, _message))
    )
    status, text = found
    return Refused(status, text(error, target_id), RETRY_AFTER_S if status in {429, 503} else None)


# --- errors that an operation ended with ------------------------------------------------------------------------------


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
            return _explained(f"{first}{NO_REPLACEMENT}", error.message.removeprefix(NO_REPLACEMENT))
        if kind == "set_node_state" and "device_id" in known:
            first = (
                f"Unable to remove node [{spec.set_node_state.node_id}] "
                f"as no device was found to replace device [{known['device_id']}]"
            )
            return _explained(first, error.message)
    if error.reason == Reason.TARGET_BUSY:
        return PENDING_CONFLICT
    return error.message or f"the operation failed: {error.reason or 'no reason is recorded'}"


def _device_failure(path: str, error: operation_pb2.OperationError) -> str:
    if error.reason == Reason.DEVICE_ALREADY_KNOWN and "device_id" in error.metadata:
        return f"Device already in use (ID: {error.metadata['device_id']})"
    if error.reason in {Reason.DEVICE_IN_USE, Reason.LVM_FAILED}:
        return _has_data(path, error.message)
    return error.message
