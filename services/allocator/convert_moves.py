"""Between the contract's messages and the core's values, for bricks that move. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.topology.v1 import volume_pb2
from services.allocator import convert
from services.allocator.domain import model
from services.allocator.domain.rebalance import MovableBrick, RebalancePlan
from services.allocator.domain.refusal import Refusal
from services.allocator.domain.replacement import ReplacementRequest
from services.common.errors import BrickyardError, InvalidArgumentError, ResourceExhaustedError
from services.common.reasons import Reason

_ROLES: Mapping[int, model.BrickRole] = MappingProxyType(
    {
        volume_pb2.BRICK_ROLE_UNSPECIFIED: model.BrickRole.DATA,
        volume_pb2.BRICK_ROLE_DATA: model.BrickRole.DATA,
        volume_pb2.BRICK_ROLE_ARBITER: model.BrickRole.ARBITER,
    }
)


def replacement_request(
    brick: volume_pb2.Brick,
    bricks: Iterable[volume_pb2.Brick],
    rules: pb.PlacementRules,
    *,
    seed: str,
    excluded_devices: Iterable[str] = (),
    excluded_nodes: Iterable[str] = (),
) -> ReplacementRequest:
    """A request of the core for `brick`, which is one of `bricks`, those of its volume.

    Raises:
        InvalidArgumentError: A number is out of range; the text names it.
    """
    peers = [each for each in bricks if each.set_index == brick.set_index and each.id != brick.id]
    roles = {_ROLES[each.role] for each in (brick, *peers)}
    try:
        return ReplacementRequest(
            size_bytes=brick.size_bytes,
            device_id=brick.device_id,
            peer_node_ids=frozenset(each.node_id for each in peers),
            role=_ROLES[brick.role],
            set_index=brick.set_index,
            position=brick.position,
            arbiter=model.BrickRole.ARBITER in roles,
            snapshot_factor=rules.snapshot_factor or 1.0,
            zone_rule=convert.zone_rule(rules),
            tag_rule=rules.tag_rule,
            excluded_devices=frozenset(excluded_devices),
            excluded_nodes=frozenset(excluded_nodes),
            strategy=rules.strategy,
            seed=seed,
        )
    except ValueError as error:
        raise InvalidArgumentError(Reason.INVALID_ARGUMENT, f"bricks: {error}", field="bricks") from error


def moving_brick(request: pb.PlanReplacementRequest) -> volume_pb2.Brick:
    """The brick that the request is about.

    Raises:
        InvalidArgumentError: It is not among the bricks.
    """
    for brick in request.bricks:
        if brick.id == request.brick_id:
            return brick
    raise InvalidArgumentError(
        Reason.INVALID_ARGUMENT,
        f"brick_id: {request.brick_id!r} is not among the {len(request.bricks)} bricks given",
        field="brick_id",
        value=request.brick_id,
    )


def replacement_error(cluster_id: str, brick_id: str, rules: pb.PlacementRules, refusal: Refusal) -> BrickyardError:
    """A refused replacement as an error: the sentence, and as many devices as a header can take."""
    reason = Reason(refusal.kind.value)
    kind = InvalidArgumentError if reason is Reason.INVALID_TAG_RULE else ResourceExhaustedError
    return kind(
        reason,
        refusal.summary,
        cluster_id=cluster_id,
        brick_id=brick_id,
        rule=rules.tag_rule,
        needed_bytes=refusal.needed_bytes,
        brick_size_bytes=refusal.brick_size_bytes,
        device_count=len(refusal.devices),
        down_device_count=convert.down_device_count(refusal),
        devices=convert.device_details(refusal.devices),
    )


def movable_bricks(volumes: Iterable[pb.RebalancedVolume], *, seed: str) -> list[MovableBrick]:
    """The bricks that may be moved: not those alone in their set, and not those that share a thin pool.

    Without another brick of the set nothing heals the new one, and a shared pool stays when one of its bricks leaves.

    Raises:
        InvalidArgumentError: A number is out of range; the text names it.
    """
    volumes = list(volumes)
    pools = Counter((each.device_id, each.thin_pool_name) for volume in volumes for each in volume.bricks)
    found: list[MovableBrick] = []
    for volume in volumes:
        members = Counter(each.set_index for each in volume.bricks)
        for brick in volume.bricks:
            if members[brick.set_index] < 2 or pools[brick.device_id, brick.thin_pool_name] > 1:
                continue
            found.append(
                MovableBrick(
                    id=brick.id,
                    volume_id=volume.volume_id,
                    node_id=brick.node_id,
                    held_bytes=brick.thin_pool_size_bytes + brick.pool_metadata_size_bytes,
                    request=replacement_request(brick, volume.bricks, volume.rules, seed=seed),
                )
            )
    return found


def rebalance_response(plan: RebalancePlan, revision: int) -> pb.PlanRebalanceResponse:
    """A plan as it travels."""
    return pb.PlanRebalanceResponse(
        moves=[
            pb.PlannedMove(
                volume_id=move.brick.volume_id,
                brick_id=move.brick.id,
                from_device_id=move.brick.request.device_id,
                brick=convert.placed_brick(move.placed),
                moved_bytes=move.brick.request.size_bytes,
                deviation_after=move.deviation,
            )
            for move in plan.moves
        ],
        deviation_before=plan.deviation_before,
        deviation_after=plan.deviation_after,
        moved_bytes=plan.moved_bytes,
        inventory_revision=revision,
    )
