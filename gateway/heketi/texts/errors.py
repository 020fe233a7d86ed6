"""The one mapping from errors that use cases raise to Heketi's statuses and texts. Pure."""

import json
from collections.abc import Callable, Mapping
from enum import Enum, auto

import grpc

from gateway.heketi.texts import blocks
from gateway.heketi.texts.refusals import (
    NO_REPLACEMENT,
    PENDING_CONFLICT,
    RETRY_AFTER_S,
    Refused,
    cluster_not_in_request,
    explained,
    no_clusters,
    unknown_id,
)
from services.common.errors import BrickyardError
from services.common.reasons import Reason
from services.common.units import KIB


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
    return f"Failed to allocate new volume: {explained(first, error.message) if explains else first}"


# What stops an expansion is told apart from no space, other than on create (Heketi's rule; the two spaces are its own).
_EXPANSION_REASONS: Mapping[str, str] = {
    Reason.MAX_BRICKS_REACHED: "Maximum number of bricks reached.",
    Reason.MIN_BRICK_SIZE_REACHED: "Minimum brick size limit reached.  Out of space.",
}


def _expansion(error: BrickyardError, _target: str) -> str:
    stop = error.metadata.get("stopped_by") or error.reason.value
    first = _EXPANSION_REASONS.get(stop) or _allocation_reason(error.reason, error.message, error.metadata)
    explains = error.reason in _ALLOCATION_REASONS
    return f"Failed to allocate volume expansion: {explained(first, error.message) if explains else first}"


def _clone_refused(error: BrickyardError, target: str) -> str:
    why = PENDING_CONFLICT if error.reason is Reason.TARGET_BUSY else error.message
    return f"Failed clone volume {target}: {why}"


def _no_replacement(error: BrickyardError, _target: str) -> str:
    return explained(NO_REPLACEMENT, error.message)


def _eviction_refused(error: BrickyardError, _target: str) -> str:
    return f"Failed to set up brick eviction: {error.message}"


def _block_allocation(error: BrickyardError, _target: str) -> str:
    first = blocks.create_reason(error)
    if first is None:
        first = _allocation_reason(error.reason, error.message, error.metadata)
    whole = error.reason in {Reason.BLOCK_HOSTING_TOO_SMALL, Reason.BLOCK_HOSTING_DISABLED}
    return f"Failed to allocate new block volume: {first if whole else explained(first, error.message)}"


def _block_expansion(error: BrickyardError, _target: str) -> str:
    prefix = "Failed to allocate block volume expansion: "
    first = blocks.expand_reason(error)
    if first is not None:
        return f"{prefix}{first}"
    first = _allocation_reason(error.reason, error.message, error.metadata)
    busy = error.reason is Reason.TARGET_BUSY
    return f"{prefix}{first if busy else explained(first, error.message)}"


def _restriction(error: BrickyardError, _target: str) -> str:
    why = PENDING_CONFLICT if error.reason is Reason.TARGET_BUSY else blocks.restriction_reason(error)
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
    return explained(f"Failed to allocate new volume: {chr(10).join(lines)}", error.message)


def _path_in_use(error: BrickyardError, _target: str) -> str:
    return has_data(error.metadata.get("path", ""), error.message)


def has_data(path: str, why: str) -> str:
    """Why a disk is not taken; what the agent says in Heketi's words already stays."""
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
