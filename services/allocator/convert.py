"""Between the contract's messages and the placement core's values. Pure."""

import json
from collections.abc import Iterable

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.topology.v1 import device_pb2, inventory_pb2, node_pb2, volume_pb2
from services.allocator.domain import model
from services.allocator.domain.refusal import Reason as DeviceReason
from services.allocator.domain.refusal import Refusal
from services.common.errors import (
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
# The details travel in a header of limited size; the refusals that say most come first.
_MAX_DEVICES_IN_ERROR = 12


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
            zone_rule=model.ZoneRule.STRICT if rules.zone_rule == pb.ZONE_RULE_STRICT else model.ZoneRule.NONE,
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


def placed_bricks(placement: model.Placement) -> list[pb.PlacedBrick]:
    """The bricks of a plan in gluster's order."""
    return [
        pb.PlacedBrick(
            set_index=brick.set_index,
            position=brick.position,
            device_id=brick.device_id,
            node_id=brick.node_id,
            size_bytes=brick.size_bytes,
            thin_pool_size_bytes=brick.thin_pool_size_bytes,
            pool_metadata_size_bytes=brick.pool_metadata_size_bytes,
            role=_ROLES[brick.role],
        )
        for brick in placement.bricks
    ]


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
        devices=json.dumps(list(_device_rows(refusal)), separators=(",", ":")),
    )


def _device_rows(refusal: Refusal) -> Iterable[dict[str, object]]:
    fitting = {DeviceReason.FITS, DeviceReason.FITS_ARBITER}
    rows = sorted(refusal.devices, key=lambda verdict: (verdict.reason in fitting, verdict.missing_bytes))
    for verdict in rows[:_MAX_DEVICES_IN_ERROR]:
        row: dict[str, object] = {"device": verdict.device_id, "node": verdict.node_id, "reason": verdict.reason.value}
        if verdict.missing_bytes:
            row["missing_bytes"] = verdict.missing_bytes
        yield row
