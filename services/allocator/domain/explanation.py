"""Why nothing fits: one reason per device, one sentence for people. Knows no strategy: it judges space, not search."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.allocator.domain.constraints import DeviceFilter, TagRule, filter_reason, state_reason
from services.allocator.domain.model import DEFAULT_EXTENT_SIZE_BYTES, BrickRole, ZoneRule
from services.allocator.domain.refusal import DeviceVerdict, Reason, Refusal, RefusalKind
from services.allocator.domain.sizing import missing_bytes
from services.allocator.domain.space import WorkingSpace
from services.common.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.allocator.domain.index import PlacementIndex
    from services.allocator.domain.model import InventoryDevice, Placement, VolumeRequest
    from services.allocator.domain.strategies.base import RoleNeed

_UNAVAILABLE = {
    Reason.NODE_OFFLINE,
    Reason.NODE_FAILED,
    Reason.DEVICE_OFFLINE,
    Reason.DEVICE_FAILED,
}
_MOST_NODES_NAMED = 3
_HAS_ROOM = {Reason.FITS, Reason.NO_ARBITER, Reason.NODE_TAKEN, Reason.ZONE_TAKEN}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One split that could not be placed: which set failed, and the space as the sets before it left it."""

    set_count: int
    brick_size_bytes: int
    role_needs: dict[BrickRole, RoleNeed] = field(default_factory=dict)
    set_index: int = 0
    space: WorkingSpace = field(default_factory=WorkingSpace)


@dataclass(frozen=True, slots=True)
class Failure:
    """How a search ended without a placement; `first` is the first split that was really tried."""

    kind: RefusalKind
    stopped_by: RefusalKind | None = None
    first: Attempt | None = None
    tried: tuple[int, ...] = ()


def explain(
    index: PlacementIndex, request: VolumeRequest, rule: TagRule | None, failure: Failure, largest_size_bytes: int
) -> Refusal:
    """The refusal for a failed search. `largest_size_bytes` is what would fit; 0 for nothing."""
    attempt = failure.first
    verdicts = judge(index, request, rule, attempt) if attempt and attempt.role_needs else ()
    fitting = f"the largest size that fits is {gib(largest_size_bytes)}" if largest_size_bytes else "no size fits"
    return Refusal(
        kind=failure.kind,
        summary=f"{_cause(index, request, failure, verdicts)}; {fitting}.",
        stopped_by=failure.stopped_by,
        set_count=attempt.set_count if attempt else 0,
        brick_size_bytes=attempt.brick_size_bytes if attempt else 0,
        needed_bytes=_typical_need(attempt) if attempt else 0,
        tried_set_counts=failure.tried,
        largest_size_bytes=largest_size_bytes,
        devices=verdicts,
    )


def judge(
    index: PlacementIndex, request: VolumeRequest, rule: TagRule | None, attempt: Attempt
) -> tuple[DeviceVerdict, ...]:
    """One verdict per device of the cluster, in order of node and device id.

    Of the devices with room for data, the emptiest of each node (strict zones: of each zone) is said to fit; the
    others of that node or zone are taken. With an arbiter, data is seated first where no arbiter may be; what is left
    over when all data is seated is judged as the arbiter's place.
    """
    strict = request.zone_rule is ZoneRule.STRICT
    data_seats = request.roles.count(BrickRole.DATA) if request.arbiter_active else len(index.devices)
    singles = [_single(index, rule, attempt, device) for device in index.devices.values()]
    singles.sort(key=lambda single: (single[1], -single[0].free_bytes, single[0].device_id))
    nodes: set[str] = set()
    zones: set[int] = set()
    verdicts: list[DeviceVerdict] = []
    for verdict, arbiter_fits in singles:
        reason = verdict.reason
        if reason is Reason.FITS:
            zone = index.nodes[verdict.node_id].zone
            if verdict.node_id in nodes:
                reason = Reason.NODE_TAKEN
            elif strict and zone in zones:
                reason = Reason.ZONE_TAKEN
            elif len(nodes) >= data_seats:
                reason = Reason.FITS_ARBITER if arbiter_fits else Reason.NO_ARBITER
            else:
                nodes.add(verdict.node_id)
                zones.add(zone)
        verdicts.append(verdict if reason is verdict.reason else with_reason(verdict, reason))
    return tuple(sorted(verdicts, key=lambda v: (v.node_id, v.device_id)))


def judge_placed(
    index: PlacementIndex, rule: TagRule | None, attempt: Attempt, placement: Placement
) -> tuple[DeviceVerdict, ...]:
    """One verdict per device beside a placement that was found: chosen, with room too, or why not."""
    chosen = {brick.device_id for brick in placement.bricks}
    verdicts = (_single(index, rule, attempt, device)[0] for device in index.devices.values())
    marked = (with_reason(v, Reason.CHOSEN) if v.device_id in chosen else v for v in verdicts)
    return tuple(sorted(marked, key=lambda v: (v.node_id, v.device_id)))


def placed_summary(placement: Placement, largest_size_bytes: int) -> str:
    """What is told of a placement that was found."""
    sets, bricks = len(placement.sets), len(placement.bricks)
    return (
        f"It fits: {_several(bricks, 'brick')} in {_several(sets, 'set')} of {gib(placement.brick_size_bytes)} by "
        f"{placement.strategy}; the largest size that fits is {gib(largest_size_bytes)}."
    )


def gib(size_bytes: int, *, up: bool = False) -> str:
    """A size for people: GiB with at most one decimal, MiB below 1 GiB; rounded down, or up for a need."""
    unit, name = (GIB, "GiB") if size_bytes >= GIB else (MIB, "MiB")
    tenths = -(-size_bytes * 10 // unit) if up else size_bytes * 10 // unit
    return f"{tenths / 10:.1f}".removesuffix(".0") + f" {name}"


def _single(
    index: PlacementIndex, rule: TagRule | None, attempt: Attempt, device: InventoryDevice
) -> tuple[DeviceVerdict, bool]:
    """The verdict on a device by itself, whatever the others hold; and whether an arbiter brick has room there."""
    node = index.nodes[device.node_id]
    data = role_verdict(attempt, rule, index, device, BrickRole.DATA)
    reason = state_reason(node, device)
    if reason is not None:
        return with_reason(data, reason), False
    if BrickRole.ARBITER not in attempt.role_needs:
        return data, False
    arbiter = role_verdict(attempt, rule, index, device, BrickRole.ARBITER)
    if arbiter.reason is Reason.FITS and data.reason is not Reason.FITS:
        return with_reason(arbiter, Reason.FITS_ARBITER), True
    return (arbiter if data.reason is Reason.ARBITER_CLASS else data), arbiter.reason is Reason.FITS


def role_verdict(
    attempt: Attempt, rule: TagRule | None, index: PlacementIndex, device: InventoryDevice, role: BrickRole
) -> DeviceVerdict:
    """What tags and space say of a device for one role; states and other bricks are not looked at."""
    space = attempt.space
    need = attempt.role_needs[role].needs.for_extent(device.extent_size_bytes)
    free, needed = space.free_bytes(device), space.needed_bytes(device, need)
    wanted = DeviceFilter(rule, role if BrickRole.ARBITER in attempt.role_needs else None)
    reason = filter_reason(wanted, index.nodes[device.node_id], device)
    missing = 0
    if reason is None:
        missing = missing_bytes(free, needed, device.extent_size_bytes)
        reason = Reason.TOO_SMALL if missing else Reason.FITS
    return DeviceVerdict(device.id, device.node_id, reason, free, needed, missing)


def with_reason(verdict: DeviceVerdict, reason: Reason) -> DeviceVerdict:
    """The verdict with another reason, which is not about space."""
    return DeviceVerdict(verdict.device_id, verdict.node_id, reason, verdict.free_bytes, verdict.needed_bytes, 0)


def _typical_need(attempt: Attempt, role: BrickRole = BrickRole.DATA) -> int:
    """What a brick takes with the extent size that most candidates have; 0 if no need was worked out."""
    role_need = attempt.role_needs.get(role)
    if role_need is None:
        return 0
    extents = Counter(device.extent_size_bytes for device in role_need.view.devices.values())
    extent = max(extents, key=lambda size: (extents[size], -size), default=DEFAULT_EXTENT_SIZE_BYTES)
    return role_need.needs.for_extent(extent).total_bytes


def _cause(index: PlacementIndex, request: VolumeRequest, failure: Failure, verdicts: tuple[DeviceVerdict, ...]) -> str:
    """The first half of the summary: what is missing."""
    limits, size = request.limits, gib(request.size_bytes)
    if failure.kind is RefusalKind.NO_NODES:
        return "No nodes: the cluster has none"
    if failure.kind is RefusalKind.NO_ONLINE_DEVICES:
        counts = _counts(index, request, verdicts)
        return "No online devices: " + (", ".join(counts) if counts else "the cluster has no devices")
    if failure.kind is RefusalKind.MIN_BRICK_SIZE:
        return f"Bricks too small: {size} as {request.durability} makes bricks below {gib(limits.min_brick_bytes)}"
    if failure.kind is RefusalKind.MAX_BRICKS:
        beside = f" on top of {_several(request.existing_bricks, 'brick')}" if request.existing_bricks else ""
        return (
            f"Too many bricks: {size} as {request.durability}{beside} passes the limit of "
            f"{limits.max_bricks_per_volume} with bricks of at most {gib(limits.max_brick_bytes)}"
        )
    if failure.first and failure.kind is RefusalKind.AVERAGE_FILE_SIZE:
        return (
            f"Average file size too large: {request.average_file_size_bytes // KIB} KiB is more than a brick of "
            f"{gib(failure.first.brick_size_bytes)}"
        )
    return _no_space(index, request, failure, verdicts)


def _no_space(
    index: PlacementIndex, request: VolumeRequest, failure: Failure, verdicts: tuple[DeviceVerdict, ...]
) -> str:
    attempt = failure.first
    if attempt is None:
        raise ValueError("no space, but nothing was tried")
    strict, arbiter = request.zone_rule is ZoneRule.STRICT, request.arbiter_active
    place = "zone" if strict else "node"
    seats = request.roles.count(BrickRole.DATA)
    having, lacking = _places(index, verdicts, strict=strict)
    what = f"a {request.durability} set of {gib(attempt.brick_size_bytes)}" + (" with an arbiter" if arbiter else "")
    if attempt.set_count > 1:
        what += f" (set {attempt.set_index + 1} of {attempt.set_count})"
    text = f"No space: {what} needs {_several(seats, place)} with {gib(_typical_need(attempt), up=True)} on one device"
    if arbiter:
        text += f" and 1 more with {gib(_typical_need(attempt, BrickRole.ARBITER), up=True)} for the arbiter"
    if arbiter and len(having) >= seats:
        # The ring walks once and may put the arbiter where data was needed.
        passed_by = any(
            _place(index, v, strict=strict) not in having for v in verdicts if v.reason is Reason.FITS_ARBITER
        )
        missed = f"there are such {place}s, but the strategy's walk missed them"
        text += f"; {missed if passed_by else f'no other {place} has room for the arbiter'}"
    else:
        text += f"; {_only(len(having), place)} {'room for data' if arbiter else 'it'}"
        text += _best_of_lacking(index, lacking, strict=strict)
    if len(failure.tried) > 1:
        text += f"; in up to {failure.tried[-1]} sets it does not fit either"
    return "; ".join([text, *_counts(index, request, verdicts)])


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _only(count: int, place: str) -> str:
    if count == 0:
        return f"no {place} has"
    return f"only {_several(count, place)} {'has' if count == 1 else 'have'}"


def _place(index: PlacementIndex, verdict: DeviceVerdict, *, strict: bool) -> str | int:
    return index.nodes[verdict.node_id].zone if strict else verdict.node_id


def _places(
    index: PlacementIndex, verdicts: tuple[DeviceVerdict, ...], *, strict: bool
) -> tuple[set[str | int], dict[str | int, DeviceVerdict]]:
    """Nodes (strict: zones) with room, and the emptiest too small device of each of the others."""
    having: set[str | int] = set()
    lacking: dict[str | int, DeviceVerdict] = {}
    for verdict in verdicts:
        place = _place(index, verdict, strict=strict)
        if verdict.reason in _HAS_ROOM:
            having.add(place)
        elif verdict.reason is Reason.TOO_SMALL:
            best = lacking.get(place)
            if best is None or verdict.free_bytes > best.free_bytes:
                lacking[place] = verdict
    return having, {place: verdict for place, verdict in lacking.items() if place not in having}


def _best_of_lacking(index: PlacementIndex, lacking: dict[str | int, DeviceVerdict], *, strict: bool) -> str:
    if not lacking:
        return ""
    best = max(lacking.values(), key=lambda verdict: (verdict.free_bytes, verdict.device_id))
    node = index.nodes[best.node_id]
    name = node.hostname or node.id
    if strict:
        name = f"zone {node.zone}, {name}"
    return f" ({name}: {gib(best.free_bytes)} free on its best device)"


def down_text(index: PlacementIndex, verdicts: Iterable[DeviceVerdict]) -> str:
    """What devices are on whose nodes are down: the nodes and since when, at most a few of them."""
    nodes = sorted(
        {index.nodes[verdict.node_id] for verdict in verdicts if verdict.reason is Reason.NODE_DOWN},
        key=lambda node: (node.hostname, node.id),
    )
    named = [f"{node.hostname or node.id} {node.outage}" for node in nodes[:_MOST_NODES_NAMED]]
    if len(nodes) > len(named):
        named.append(f"and {len(nodes) - len(named)} more")
    return f"on nodes that are down ({', '.join(named)})"


def _counts(index: PlacementIndex, request: VolumeRequest, verdicts: tuple[DeviceVerdict, ...]) -> list[str]:
    """How many devices are out of the question, and why."""
    reasons = Counter(verdict.reason for verdict in verdicts)
    counted = (
        (sum(reasons[reason] for reason in _UNAVAILABLE), "offline"),
        (reasons[Reason.NODE_DOWN], down_text(index, verdicts)),
        (reasons[Reason.EXCLUDED], "left out on request"),
        (reasons[Reason.TAG_MISMATCH], f"outside the tag rule {request.tag_rule}"),
        (reasons[Reason.ARBITER_CLASS], "of the wrong arbiter class"),
    )
    return [f"{n} of {len(verdicts)} devices {'is' if n == 1 else 'are'} {what}" for n, what in counted if n]
