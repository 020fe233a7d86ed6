"""From a request to a placement, or to the reasons against it. Pure: same index and request, same answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.allocator.domain.constraints import DeviceFilter, parsed_tag_rule
from services.allocator.domain.explanation import Attempt, Failure, explain, judge_placed, placed_summary
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import BrickRole, BrickSet, PlacedBrick, Placement, VolumeRequest, ZoneRule
from services.allocator.domain.refusal import DeviceVerdict, PlacementRefused, Refusal, RefusalKind
from services.allocator.domain.sizing import arbiter_brick_size_bytes
from services.allocator.domain.space import NeedTable, WorkingSpace
from services.allocator.domain.splitting import Split, brick_size_bytes, set_counts, splits
from services.allocator.domain.strategies import strategy_by_name
from services.allocator.domain.strategies.base import RoleNeed, SetJob
from services.common.units import GIB, KIB, round_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.allocator.domain.constraints import TagRule
    from services.allocator.domain.model import Inventory, InventoryDevice
    from services.allocator.domain.strategies.base import Strategy


def plan_volume(
    source: PlacementIndex | Inventory, request: VolumeRequest, strategy: Strategy | None = None
) -> Placement:
    """Place all bricks of a volume, or of an expansion, or none.

    Args:
        source: A prepared index (reuse it) or a bare inventory (prepared here, for one plan).
        request: What to place.
        strategy: Used instead of the one the request names, for other weights.

    Raises:
        PlacementRefused: Nothing satisfies the request; it says why, per device, and what would fit.
        ValueError: The request names an unknown strategy.
    """
    index = _index_of(source)
    strategy = strategy or strategy_by_name(request.strategy)
    rule = parsed_tag_rule(request.tag_rule)
    outcome = _search(index, request, strategy, rule)
    if isinstance(outcome, Placement):
        return outcome
    raise PlacementRefused(_explained(index, request, strategy, rule, outcome))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `plan_volume` answers, as data: a placement or a refusal, and what every device is for it.

    `summary` is one sentence; `devices` has one verdict per device in order of node and device id.
    """

    placement: Placement | None
    refusal: Refusal | None
    summary: str
    largest_size_bytes: int
    devices: tuple[DeviceVerdict, ...]


def explain_volume(
    source: PlacementIndex | Inventory, request: VolumeRequest, strategy: Strategy | None = None
) -> Explanation:
    """Why a volume goes where it goes, or why it goes nowhere; a dry run.

    Raises:
        PlacementRefused: The tag rule is invalid.
        ValueError: The request names an unknown strategy.
    """
    index = _index_of(source)
    strategy = strategy or strategy_by_name(request.strategy)
    rule = parsed_tag_rule(request.tag_rule)
    outcome = _search(index, request, strategy, rule)
    if isinstance(outcome, Failure):
        refusal = _explained(index, request, strategy, rule, outcome)
        return Explanation(None, refusal, refusal.summary, refusal.largest_size_bytes, refusal.devices)
    split = Split(len(outcome.sets), outcome.brick_size_bytes)
    attempt = Attempt(split.set_count, split.brick_size_bytes, _role_needs(index, request, split, rule))
    largest = _largest(index, request, strategy, rule)
    return Explanation(
        outcome, None, placed_summary(outcome, largest), largest, judge_placed(index, rule, attempt, outcome)
    )


def _explained(
    index: PlacementIndex, request: VolumeRequest, strategy: Strategy, rule: TagRule | None, failure: Failure
) -> Refusal:
    # What is refused for a lack of space is no hint for what would fit; what is too small for its rules may be.
    below_gib = -(-request.size_bytes // GIB) if failure.kind is RefusalKind.NO_SPACE else None
    largest = _largest(index, request, strategy, rule, below_gib=below_gib)
    return explain(index, request, rule, failure, largest)


def find_placement(
    source: PlacementIndex | Inventory, request: VolumeRequest, strategy: Strategy | None = None
) -> Placement | None:
    """As `plan_volume`, but None instead of reasons, which take longer to find than a placement.

    Raises:
        PlacementRefused: The tag rule is invalid.
        ValueError: The request names an unknown strategy.
    """
    strategy = strategy or strategy_by_name(request.strategy)
    outcome = _search(_index_of(source), request, strategy, parsed_tag_rule(request.tag_rule))
    return outcome if isinstance(outcome, Placement) else None


def max_volume_size(
    source: PlacementIndex | Inventory, request: VolumeRequest, strategy: Strategy | None = None
) -> int:
    """The largest size in bytes, a multiple of 1 GiB, that the request could have instead of its own; 0 if none.

    Exact: that size is placed by `plan_volume`, one GiB more is not. For an expansion it is the largest addition.

    Raises:
        PlacementRefused: The tag rule is invalid.
        ValueError: The request names an unknown strategy.
    """
    strategy = strategy or strategy_by_name(request.strategy)
    rule = parsed_tag_rule(request.tag_rule)
    return _largest(_index_of(source), request, strategy, rule)


def _index_of(source: PlacementIndex | Inventory) -> PlacementIndex:
    return source if isinstance(source, PlacementIndex) else PlacementIndex(source)


def _search(
    index: PlacementIndex, request: VolumeRequest, strategy: Strategy, rule: TagRule | None
) -> Placement | Failure:
    """Try the splits in order; the first that can be placed wins."""
    first: Attempt | None = None
    tried: list[int] = []
    for split in splits(request, strategy.split_rule):
        if isinstance(split, RefusalKind):
            return Failure(RefusalKind.NO_SPACE if tried else split, split, first, tuple(tried))
        if not index.nodes:
            return Failure(RefusalKind.NO_NODES)
        try:
            role_needs = _role_needs(index, request, split, rule)
        except ValueError:
            attempt = Attempt(split.set_count, split.brick_size_bytes)
            return Failure(RefusalKind.AVERAGE_FILE_SIZE, None, attempt, (*tried, split.set_count))
        if not index.view(DeviceFilter()).devices:
            attempt = Attempt(split.set_count, split.brick_size_bytes, role_needs=role_needs)
            return Failure(RefusalKind.NO_ONLINE_DEVICES, None, attempt, (split.set_count,))
        outcome = _place(index, request, strategy, split, role_needs)
        if isinstance(outcome, Placement):
            return outcome
        tried.append(split.set_count)
        first = first or outcome
    raise AssertionError("the splits end with the limit that ended them")


def _role_needs(
    index: PlacementIndex, request: VolumeRequest, split: Split, rule: TagRule | None
) -> dict[BrickRole, RoleNeed]:
    """What each role needs and may use. Raises ValueError if a brick is smaller than the average file."""
    data = NeedTable(split.brick_size_bytes, request.snapshot_factor)
    if not request.arbiter_active:
        return {BrickRole.DATA: RoleNeed(data, index.view(DeviceFilter(rule)))}
    size_bytes = arbiter_brick_size_bytes(split.brick_size_bytes, request.average_file_size_bytes)
    arbiter = NeedTable(size_bytes, request.snapshot_factor)
    return {
        BrickRole.DATA: RoleNeed(data, index.view(DeviceFilter(rule, BrickRole.DATA))),
        BrickRole.ARBITER: RoleNeed(arbiter, index.view(DeviceFilter(rule, BrickRole.ARBITER))),
    }


def _place(
    index: PlacementIndex,
    request: VolumeRequest,
    strategy: Strategy,
    split: Split,
    role_needs: dict[BrickRole, RoleNeed],
) -> Placement | Attempt:
    """Place all sets of one split; the attempt with the space left so far if one of them finds no devices."""
    space = WorkingSpace(request.count_spare)
    sets: list[BrickSet] = []
    for set_index in range(split.set_count):
        job = SetJob(
            index=index,
            space=space,
            roles=request.roles,
            role_needs=role_needs,
            strict_zones=request.zone_rule is ZoneRule.STRICT,
            seed=f"{request.seed}/{split.set_count}/{set_index}",
        )
        devices = strategy.place_set(job)
        if devices is None:
            return Attempt(split.set_count, split.brick_size_bytes, role_needs, set_index, space)
        sets.append(_take(job, set_index, devices))
    return Placement(index.cluster_id, index.revision, strategy.name, split.brick_size_bytes, tuple(sets))


def _take(job: SetJob, set_index: int, devices: tuple[InventoryDevice, ...]) -> BrickSet:
    """Take the space of a set and write its bricks down."""
    bricks: list[PlacedBrick] = []
    for position, (role, device) in enumerate(zip(job.roles, devices, strict=True)):
        need = job.role_needs[role].needs.for_extent(device.extent_size_bytes)
        bricks.append(
            PlacedBrick(
                device_id=device.id,
                node_id=device.node_id,
                size_bytes=need.size_bytes,
                thin_pool_size_bytes=need.thin_pool_size_bytes,
                pool_metadata_size_bytes=need.pool_metadata_size_bytes,
                role=role,
                set_index=set_index,
                position=position,
                spare_growth_bytes=job.space.take(device, need),
            )
        )
    return BrickSet(set_index, tuple(bricks))


def _largest(
    index: PlacementIndex,
    request: VolumeRequest,
    strategy: Strategy,
    rule: TagRule | None,
    *,
    below_gib: int | None = None,
) -> int:
    """The largest size that is placed, with the planner as the judge; `below_gib` is known to be refused.

    Each number of sets is bisected by itself, because more sets may fit where fewer do not; one that can not beat those
    before it costs one look. What remains is to make sure that one GiB more is refused, which a greedy choice of
    devices does not promise.
    """
    if not index.view(DeviceFilter(rule)).devices:
        return 0
    candidates = index.view(DeviceFilter(rule)).devices.values()
    # More than all free space together, so never placed.
    roof = sum(max(device.free_bytes, 0) for device in candidates) // GIB + 1
    roof = min(roof, below_gib or roof)
    smallest = _smallest_size_gib(request)
    best = 0
    for set_count in set_counts(request, strategy.split_rule):

        def placed(size_gib: int, wanted: int = set_count) -> bool:
            return _placed_in(index, replace(request, size_bytes=size_gib * GIB), strategy, rule, wanted)

        low = max(best + 1, smallest * set_count)
        if low < roof and placed(low):
            best = _bisect(placed, low, roof)
    while best and best + 1 < roof:
        if not isinstance(_search(index, replace(request, size_bytes=(best + 1) * GIB), strategy, rule), Placement):
            break
        best += 1
    return best * GIB


def _bisect(placed: Callable[[int], bool], low: int, high: int) -> int:
    """A size from `low`, which is placed, to below `high`, which is not, whose successor is not placed."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if placed(middle) else (low, middle)
    return low


def _placed_in(
    index: PlacementIndex, request: VolumeRequest, strategy: Strategy, rule: TagRule | None, set_count: int
) -> bool:
    """Whether a volume can be placed in so many sets, and the limits on bricks allow it."""
    size = brick_size_bytes(request, set_count)
    if not request.limits.min_brick_bytes <= size <= request.limits.max_brick_bytes:
        return False
    split = Split(set_count, size)
    return isinstance(_place(index, request, strategy, split, _role_needs(index, request, split, rule)), Placement)


def _smallest_size_gib(request: VolumeRequest) -> int:
    """The smallest whole number of GiB whose bricks are not below the limits; 1 or more."""
    brick_bytes = request.limits.min_brick_bytes
    if request.arbiter_active:
        brick_bytes = max(brick_bytes, request.average_file_size_bytes)
    return max(1, round_up(round_up(brick_bytes, KIB) * request.durability.data_bricks, GIB) // GIB)
