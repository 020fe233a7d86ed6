"""Between the contract's messages and the placement core's values. Pure."""

import json
from collections.abc import Iterable
from datetime import UTC
from itertools import zip_longest

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.topology.v1 import device_pb2, inventory_pb2, node_pb2, volume_pb2
from services.allocator.domain import model
from services.allocator.domain.device_texts import device_text
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.refusal import DeviceVerdict, Refusal
from services.allocator.domain.refusal import Reason as DeviceReason
from services.common.errors import (
    MAX_METADATA_CHARACTERS,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from services.common.reasons import Reason

_NODE_STATES = {
    node_pb2.NODE_STATE_ONLINE: model.NodeState.ONLINE,
    node_pb2.NODE_STATE_OFFLINE: model.NodeState.OFFLINE,
    node_pb2.NODE_STATE_FAILED: model.NodeState.FAILED,
}
_DEVICE_STATES = {
    device_pb2.DEVICE_STATE_ONLINE: model.DeviceState.ONLINE,
    device_pb2.DEVICE_STATE_OFFLINE: model.DeviceState.OFFLINE,
    device_pb2.DEVICE_STATE_FAILED: model.DeviceState.FAILED,
}
_OUTAGES = {
    inventory_pb2.OUTAGE_KIND_SILENT: "does not answer",
    inventory_pb2.OUTAGE_KIND_GLUSTERD_DOWN: "has no running glusterd",
}
_DURABILITY_TYPES = {
    volume_pb2.DURABILITY_TYPE_UNSPECIFIED: model.DurabilityType.NONE,
    volume_pb2.DURABILITY_TYPE_NONE: model.DurabilityType.NONE,
    volume_pb2.DURABILITY_TYPE_REPLICATE: model.DurabilityType.REPLICATE,
    volume_pb2.DURABILITY_TYPE_DISPERSE: model.DurabilityType.DISPERSE,
}
_ROLES = {
    model.BrickRole.DATA: volume_pb2.BRICK_ROLE_DATA,
    model.BrickRole.ARBITER: volume_pb2.BRICK_ROLE_ARBITER,
}
_INVALID = {Reason.INVALID_TAG_RULE, Reason.AVERAGE_FILE_SIZE_TOO_LARGE}
_STATE = {Reason.NO_NODES, Reason.NO_ONLINE_DEVICES}
# The details travel in a header of limited size, in characters; ExplainVolume tells all.
_MAX_DETAILS = 1900
# Short values beside the long ones.
_OTHER_METADATA = 100
_MAX_OPERATIONS_IN_ERROR = 2


def outage(message: inventory_pb2.NodeOutage) -> str:
    """What is wrong with a node, since when, in words that follow its name."""
    since = message.since_time.ToDatetime(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{_OUTAGES.get(message.kind, 'is down')} since {since}"


def node(message: inventory_pb2.InventoryNode) -> model.InventoryNode:
    """A node of the inventory."""
    return model.InventoryNode(
        id=message.id,
        zone=message.zone,
        state=_NODE_STATES[message.state],
        tags=dict(message.tags),
        hostname=message.hostname,
    )


def device(message: inventory_pb2.InventoryDevice) -> model.InventoryDevice:
    """A device of the inventory."""
    return model.InventoryDevice(
        id=message.id,
        node_id=message.node_id,
        total_bytes=message.total_bytes,
        free_bytes=message.free_bytes,
        extent_size_bytes=message.extent_size_bytes or model.DEFAULT_EXTENT_SIZE_BYTES,
        state=_DEVICE_STATES[message.state],
        tags=dict(message.tags),
        path=message.path,
    )


def volume_request(
    size_bytes: int, rules: pb.PlacementRules, *, seed: str, existing_bricks: int = 0
) -> model.VolumeRequest:
    """A request of the core.

    Raises:
        InvalidArgumentError: A number is out of range; the text names it.
    """
    limits, defaults = rules.brick_limits, model.BrickLimits()
    durability = rules.durability
    try:
        return model.VolumeRequest(
            size_bytes=size_bytes,
            durability=model.Durability(
                type=_DURABILITY_TYPES[durability.type],
                replica=durability.replica_count,
                data=durability.data_count,
                redundancy=durability.redundancy_count,
            ),
            snapshot_factor=rules.snapshot_factor or 1.0,
            zone_rule=zone_rule(rules),
            tag_rule=rules.tag_rule,
            arbiter=rules.arbiter,
            average_file_size_bytes=rules.average_file_size_bytes or model.DEFAULT_AVERAGE_FILE_SIZE_BYTES,
            existing_bricks=existing_bricks,
            limits=model.BrickLimits(
                min_brick_bytes=limits.min_brick_size_bytes or defaults.min_brick_bytes,
                max_brick_bytes=limits.max_brick_size_bytes or defaults.max_brick_bytes,
                max_bricks_per_volume=limits.max_bricks_per_volume or defaults.max_bricks_per_volume,
            ),
            strategy=rules.strategy,
            seed=seed,
        )
    except (ValueError, KeyError) as error:
        raise InvalidArgumentError(Reason.INVALID_ARGUMENT, f"placement request: {error}", field="rules") from error


def zone_rule(rules: pb.PlacementRules) -> model.ZoneRule:
    """The zone rule; not given is the same as none."""
    return model.ZoneRule.STRICT if rules.zone_rule == pb.ZONE_RULE_STRICT else model.ZoneRule.NONE


def placed_bricks(placement: model.Placement) -> list[pb.PlacedBrick]:
    """The bricks of a plan in gluster's order."""
    return [placed_brick(brick) for brick in placement.bricks]


def placed_brick(brick: model.PlacedBrick) -> pb.PlacedBrick:
    """One brick of a plan."""
    return pb.PlacedBrick(
        set_index=brick.set_index,
        position=brick.position,
        device_id=brick.device_id,
        node_id=brick.node_id,
        size_bytes=brick.size_bytes,
        thin_pool_size_bytes=brick.thin_pool_size_bytes,
        pool_metadata_size_bytes=brick.pool_metadata_size_bytes,
        role=_ROLES[brick.role],
    )


def refusal_error(cluster_id: str, wanted: model.VolumeRequest, refusal: Refusal) -> BrickyardError:
    """A refusal as an error: the sentence, the largest size that would fit, and the verdict of each device."""
    reason = Reason(refusal.kind.value)
    kind: type[BrickyardError] = ResourceExhaustedError
    if reason in _INVALID:
        kind = InvalidArgumentError
    elif reason in _STATE:
        kind = FailedPreconditionError
    return kind(
        reason,
        refusal.summary,
        cluster_id=cluster_id,
        largest_size_bytes=refusal.largest_size_bytes,
        needed_bytes=refusal.needed_bytes,
        brick_size_bytes=refusal.brick_size_bytes,
        average_file_size_bytes=wanted.average_file_size_bytes,
        rule=wanted.tag_rule,
        stopped_by=refusal.stopped_by.value if refusal.stopped_by else "",
        device_count=len(refusal.devices),
        down_device_count=down_device_count(refusal),
        devices=device_details(refusal.devices),
    )


def down_device_count(refusal: Refusal) -> int:
    """How many devices were left out because their nodes are down."""
    return sum(verdict.reason is DeviceReason.NODE_DOWN for verdict in refusal.devices)


def device_details(verdicts: Iterable[DeviceVerdict]) -> str:
    """The verdicts that say most, as JSON of limited length: those that do not fit, the nearest to fitting first."""
    fitting = {DeviceReason.FITS, DeviceReason.FITS_ARBITER}
    ordered = sorted(verdicts, key=lambda verdict: (verdict.reason in fitting, verdict.missing_bytes))
    return _within((_device_row(verdict) for verdict in ordered), _MAX_DETAILS)


def merged_details(details: Iterable[str], beside: str) -> str:
    """The details of several clusters as one list: the first of each, then the second of each, while there is room.

    Args:
        details: What `device_details` made of each cluster.
        beside: What else the header has to hold.
    """
    turns = zip_longest(*(json.loads(each) for each in details))
    rows = (row for turn in turns for row in turn if row is not None)
    return _within(rows, min(_MAX_DETAILS, MAX_METADATA_CHARACTERS - len(beside) - _OTHER_METADATA))


def _within(rows: Iterable[object], characters: int) -> str:
    """As many rows as the length allows, as whole JSON."""
    texts: list[str] = []
    left = characters
    for row in rows:
        text = json.dumps(row, separators=(",", ":"))
        left -= len(text) + 1
        if left < 0:
            break
        texts.append(text)
    return f"[{','.join(texts)}]"


def _device_row(verdict: DeviceVerdict) -> dict[str, object]:
    row: dict[str, object] = {"device": verdict.device_id, "node": verdict.node_id, "reason": verdict.reason.value}
    if verdict.missing_bytes:
        row["missing_bytes"] = verdict.missing_bytes
    if verdict.operation_ids:
        row["operations"] = verdict.operation_ids[:_MAX_OPERATIONS_IN_ERROR]
    return row


def device_explanations(
    index: PlacementIndex, verdicts: Iterable[DeviceVerdict], tag_rule: str
) -> list[pb.DeviceExplanation]:
    """The verdicts with all that a person wants to see of a device."""
    found: list[pb.DeviceExplanation] = []
    for verdict in verdicts:
        about, holder = index.devices[verdict.device_id], index.nodes[verdict.node_id]
        found.append(
            pb.DeviceExplanation(
                device_id=about.id,
                node_id=holder.id,
                hostname=holder.hostname,
                path=about.path,
                zone=holder.zone,
                reason=verdict.reason.value,
                text=device_text(verdict, tag_rule, holder.outage),
                total_bytes=about.total_bytes,
                free_bytes=verdict.free_bytes,
                needed_bytes=verdict.needed_bytes,
                missing_bytes=verdict.missing_bytes,
                operation_ids=verdict.operation_ids,
            )
        )
    return found
