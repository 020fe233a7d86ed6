"""A new home for one brick of a set that stays where it is. Pure: same index and request, same answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.allocator.domain.constraints import DeviceFilter, TagRule, parsed_tag_rule, state_reason
from services.allocator.domain.explanation import Attempt, down_text, gib, role_verdict, with_reason
from services.allocator.domain.model import BrickRole, PlacedBrick, ZoneRule
from services.allocator.domain.refusal import DeviceVerdict, PlacementRefused, Reason, Refusal, RefusalKind
from services.allocator.domain.space import NeedTable, WorkingSpace
from services.allocator.domain.strategies import strategy_by_name
from services.allocator.domain.strategies.base import RoleNeed, SetJob

if TYPE_CHECKING:
    from services.allocator.domain.index import PlacementIndex
    from services.allocator.domain.model import InventoryDevice
    from services.allocator.domain.strategies.base import Strategy


@dataclass(frozen=True, slots=True)
class ReplacementRequest:
    """One brick that moves, and what the set and the volume ask of its new place.

    `device_id` has it now; that device is never the answer, though another one of its node may be (Heketi's rule).
    `peer_node_ids` hold the other bricks of the set. `arbiter` tells whether the volume has arbiter bricks, so that
    arbiter classes count. Raises ValueError for numbers out of range.
    """

    size_bytes: int
    device_id: str
    peer_node_ids: frozenset[str]
    role: BrickRole = BrickRole.DATA
    set_index: int = 0
    position: int = 0
    arbiter: bool = False
    snapshot_factor: float = 1.0
    zone_rule: ZoneRule = ZoneRule.NONE
    tag_rule: str = ""
    excluded_devices: frozenset[str] = frozenset()
    excluded_nodes: frozenset[str] = frozenset()
    strategy: str = ""
    seed: str = ""
    count_spare: bool = False

    def __post_init__(self) -> None:
        if self.size_bytes < 1:
            raise ValueError(f"brick size {self.size_bytes} is not positive")
        if not 1 <= self.snapshot_factor <= 100:
            raise ValueError(f"snapshot factor {self.snapshot_factor} is not in 1..100")

    @property
    def strict(self) -> bool:
        """Whether the zones of the other bricks are taken."""
        return self.zone_rule is ZoneRule.STRICT


def plan_replacement(
    index: PlacementIndex,
    request: ReplacementRequest,
    *,
    space: WorkingSpace | None = None,
    strategy: Strategy | None = None,
) -> PlacedBrick:
    """The brick in its new place. Nothing is taken from `space`.

    Args:
        index: The cluster.
        request: What moves.
        space: What earlier moves of the same plan have taken and freed; None = nothing.
        strategy: Used instead of the one the request names.

    Raises:
        PlacementRefused: NO_REPLACEMENT with a verdict per device, or INVALID_TAG_RULE.
        ValueError: The request names an unknown strategy.
    """
    strategy = strategy or strategy_by_name(request.strategy)
    rule = parsed_tag_rule(request.tag_rule)
    job = _job(index, request, rule, space or WorkingSpace(request.count_spare))
    chosen = strategy.place_set(job)
    if chosen is None:
        raise PlacementRefused(_refusal(job, request, rule))
    (device,) = chosen
    need = job.role_needs[request.role].needs.for_extent(device.extent_size_bytes)
    return PlacedBrick(
        device_id=device.id,
        node_id=device.node_id,
        size_bytes=need.size_bytes,
        thin_pool_size_bytes=need.thin_pool_size_bytes,
        pool_metadata_size_bytes=need.pool_metadata_size_bytes,
        role=request.role,
        set_index=request.set_index,
        position=request.position,
        spare_growth_bytes=job.space.spare_growth_bytes(device, need),
    )


def _job(index: PlacementIndex, request: ReplacementRequest, rule: TagRule | None, space: WorkingSpace) -> SetJob:
    needs = NeedTable(request.size_bytes, request.snapshot_factor)
    roles = (BrickRole.DATA, BrickRole.ARBITER) if request.arbiter else (request.role,)
    return SetJob(
        index=index,
        space=space,
        roles=(request.role,),
        # The size is that of the brick in either role; the other role only tells the ring which devices it prefers.
        role_needs={
            role: RoleNeed(needs, index.view(DeviceFilter(rule, role if request.arbiter else None))) for role in roles
        },
        strict_zones=request.strict,
        seed=request.seed,
        taken_nodes=request.peer_node_ids | request.excluded_nodes,
        # Where zones are only preferred, these come last.
        taken_zones=_peer_zones(index, request),
        excluded_devices=request.excluded_devices | {request.device_id},
    )


def _peer_zones(index: PlacementIndex, request: ReplacementRequest) -> frozenset[int]:
    """The zones of the other bricks; a node that is gone has none."""
    return frozenset(index.nodes[node_id].zone for node_id in request.peer_node_ids if node_id in index.nodes)


def _refusal(job: SetJob, request: ReplacementRequest, rule: TagRule | None) -> Refusal:
    attempt = Attempt(1, request.size_bytes, job.role_needs, 0, job.space)
    devices = sorted(job.index.devices.values(), key=lambda device: (device.node_id, device.id))
    verdicts = tuple(_verdict(job, request, rule, attempt, device) for device in devices)
    needed = max((verdict.needed_bytes for verdict in verdicts), default=0)
    return Refusal(
        kind=RefusalKind.NO_REPLACEMENT,
        summary=_sentence(job.index, request, verdicts, needed),
        set_count=1,
        brick_size_bytes=request.size_bytes,
        needed_bytes=needed,
        tried_set_counts=(1,),
        devices=verdicts,
    )


def _verdict(
    job: SetJob, request: ReplacementRequest, rule: TagRule | None, attempt: Attempt, device: InventoryDevice
) -> DeviceVerdict:
    """The first thing that stands in the way, in the order in which a person would ask."""
    verdict = role_verdict(attempt, rule, job.index, device, request.role)
    reason = state_reason(job.index.nodes[device.node_id], device)
    if device.id == request.device_id:
        reason = Reason.CURRENT_DEVICE
    elif device.node_id in request.peer_node_ids:
        reason = Reason.NODE_TAKEN
    elif device.id in request.excluded_devices or device.node_id in request.excluded_nodes:
        reason = Reason.EXCLUDED
    elif reason is None and request.strict and job.zone_of(device) in job.taken_zones:
        reason = Reason.ZONE_TAKEN
    return verdict if reason is None else with_reason(verdict, reason)


_COUNTED = (
    ((Reason.NODE_TAKEN,), "on nodes that hold other bricks of the set"),
    ((Reason.ZONE_TAKEN,), "in zones that hold other bricks of the set"),
    ((Reason.TOO_SMALL,), "too small"),
    (
        (
            Reason.NODE_OFFLINE,
            Reason.NODE_FAILED,
            Reason.DEVICE_OFFLINE,
            Reason.DEVICE_FAILED,
        ),
        "offline",
    ),
    ((Reason.TAG_MISMATCH,), "outside the tag rule"),
    ((Reason.ARBITER_CLASS,), "of the wrong arbiter class"),
    ((Reason.EXCLUDED,), "left out on request"),
)


def _sentence(
    index: PlacementIndex, request: ReplacementRequest, verdicts: tuple[DeviceVerdict, ...], needed_bytes: int
) -> str:
    others = len([verdict for verdict in verdicts if verdict.reason is not Reason.CURRENT_DEVICE])
    kind = "arbiter brick" if request.role is BrickRole.ARBITER else "brick"
    text = f"No replacement: no other device can take the {kind} of {gib(request.size_bytes)}"
    if not others:
        return f"{text}; the cluster has no other device."
    counts = Counter(verdict.reason for verdict in verdicts)
    parts = []
    for reasons, what in _COUNTED:
        count = sum(counts[reason] for reason in reasons)
        if not count:
            continue
        part = f"{count} of {others} {'is' if count == 1 else 'are'} {what}"
        if Reason.TOO_SMALL in reasons:
            best = max((v for v in verdicts if v.reason is Reason.TOO_SMALL), key=lambda v: (v.free_bytes, v.device_id))
            node = index.nodes[best.node_id]
            part += (
                f" (it needs {gib(needed_bytes, up=True)}; the best, on {node.hostname or node.id}, "
                f"has {gib(max(best.free_bytes, 0))} free)"
            )
        parts.append(part)
    down = counts[Reason.NODE_DOWN]
    if down:
        parts.append(f"{down} of {others} {'is' if down == 1 else 'are'} {down_text(index, verdicts)}")
    return f"{text}; {'; '.join(parts)}."
