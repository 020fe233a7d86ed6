"""Which bricks to move so that the disks of a cluster are filled alike. Pure: it plans, and moves nothing.

One move after the other: from the fullest disk that a brick can leave with profit, to the emptiest that may take it. A
move has profit when its target stays emptier, by more than the deviation that is good enough, than its source was; so
the plan ends when what is left to gain is not worth the writing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

from services.allocator.domain.constraints import DeviceFilter
from services.allocator.domain.refusal import PlacementRefused, RefusalKind
from services.allocator.domain.replacement import plan_replacement
from services.allocator.domain.space import NeedTable, WorkingSpace
from services.allocator.domain.strategies.spread import SpreadStrategy, SpreadWeights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.allocator.domain.index import PlacementIndex
    from services.allocator.domain.model import InventoryDevice, PlacedBrick
    from services.allocator.domain.replacement import ReplacementRequest

# The emptiest disk is the best target however full the cluster is: nothing new comes, so no holes are to be kept.
_EMPTIEST = SpreadStrategy(SpreadWeights(full_at=1.0, reuse_slack=0, full_reuse_slack=0))
# Of a disk's bricks so many are tried, those first whose size comes nearest to what the disk has too much.
_TRIED_PER_DEVICE = 16


@dataclass(frozen=True, slots=True)
class MovableBrick:
    """A brick that may be moved.

    `request` says what its new place must be like, with the set as it is now; `held_bytes` is what its device gets
    back. Bricks of one volume and set index hold data together.
    """

    id: str
    volume_id: str
    node_id: str
    held_bytes: int
    request: ReplacementRequest

    @property
    def set_key(self) -> tuple[str, int]:
        """The set that it belongs to."""
        return self.volume_id, self.request.set_index


@dataclass(frozen=True, slots=True)
class Move:
    """A brick in its new place. `deviation` is that of the cluster's fill after the move, 0..1."""

    brick: MovableBrick
    placed: PlacedBrick
    deviation: float


@dataclass(frozen=True, slots=True)
class RebalancePlan:
    """Moves in the order in which they are to be made, and the deviation of fill before the first, 0..1."""

    moves: tuple[Move, ...]
    deviation_before: float

    @property
    def deviation_after(self) -> float:
        """Deviation of fill after the last move, 0..1."""
        return self.moves[-1].deviation if self.moves else self.deviation_before

    @property
    def moved_bytes(self) -> int:
        """What all moves write at most: the sizes of the bricks."""
        return sum(move.brick.request.size_bytes for move in self.moves)


def plan_rebalance(
    index: PlacementIndex, bricks: Iterable[MovableBrick], *, target_deviation: float = 0.02, max_moves: int = 100
) -> RebalancePlan:
    """The moves that level the online devices of a cluster.

    Args:
        index: The cluster.
        bricks: What may be moved; bricks that must stay are left out.
        target_deviation: Standard deviation of fill that is good enough, above 0 and at most 1.
        max_moves: At most so many moves, 1 or more.

    Raises:
        PlacementRefused: INVALID_TAG_RULE in a brick's request.
        ValueError: A number is out of range.
    """
    if not 0 < target_deviation <= 1 or max_moves < 1:
        raise ValueError(f"target deviation {target_deviation} or number of moves {max_moves} is out of range")
    board = _Board(index, bricks, target_deviation)
    before = board.deviation()
    moves: list[Move] = []
    while len(moves) < max_moves and board.deviation() > target_deviation:
        move = board.best_move()
        if move is None:
            break
        moves.append(move)
    return RebalancePlan(tuple(moves), before)


class _Board:
    """The cluster while a plan grows: free space, where each brick is, and who is beside it."""

    def __init__(self, index: PlacementIndex, bricks: Iterable[MovableBrick], target_deviation: float) -> None:
        self._index = index
        self._target = target_deviation
        self._space = WorkingSpace()
        view = index.view(DeviceFilter())
        self._devices = {d.id: d for d in view.devices.values() if d.total_bytes}
        self._fills = {device.id: self._fill(device) for device in self._devices.values()}
        self._bricks: dict[str, dict[str, MovableBrick]] = defaultdict(dict)
        self._sets: dict[tuple[str, int], dict[str, MovableBrick]] = defaultdict(dict)
        for brick in bricks:
            self._bricks[brick.request.device_id][brick.id] = brick
            self._sets[brick.set_key][brick.id] = brick

    def _fill(self, device: InventoryDevice) -> float:
        return 1 - self._space.free_bytes(device) / device.total_bytes

    def deviation(self) -> float:
        """Standard deviation of the fill of all devices, 0..1."""
        if not self._fills:
            return 0.0
        mean = sum(self._fills.values()) / len(self._fills)
        return sqrt(sum((fill - mean) ** 2 for fill in self._fills.values()) / len(self._fills))

    def best_move(self) -> Move | None:
        """Makes the next move; None when no brick of any device fuller than the mean can move with profit."""
        mean = sum(self._fills.values()) / len(self._fills)
        for device_id in sorted(self._fills, key=lambda key: (-self._fills[key], key)):
            excess = self._fills[device_id] - mean
            if excess <= 0:
                return None
            wanted_bytes = int(excess * self._devices[device_id].total_bytes)
            bricks = sorted(
                self._bricks[device_id].values(), key=lambda brick: (abs(brick.held_bytes - wanted_bytes), brick.id)
            )
            found = [move for brick in bricks[:_TRIED_PER_DEVICE] if (move := self._profitable(brick))]
            if found:
                _, brick, placed = max(found, key=lambda each: (each[0], each[1].id))
                return self._make(brick, placed)
        return None

    def _profitable(self, brick: MovableBrick) -> tuple[float, MovableBrick, PlacedBrick] | None:
        """The move of a brick and by how much the sum of squared deviations falls; None without profit."""
        source = self._devices[brick.request.device_id]
        try:
            placed = plan_replacement(self._index, brick.request, space=self._space, strategy=_EMPTIEST)
        except PlacementRefused as refused:
            if refused.refusal.kind is RefusalKind.INVALID_TAG_RULE:
                raise
            return None
        target = self._devices[placed.device_id]
        left, came = self._fills[source.id], self._fills[target.id]
        lower = left - brick.held_bytes / source.total_bytes
        higher = came + placed.needed_bytes / target.total_bytes
        if left - higher <= self._target:
            return None
        # The mean moves too when the disks are of different sizes.
        count, total = len(self._fills), sum(self._fills.values())
        mean_before, mean_after = total / count, (total - left - came + lower + higher) / count
        gain = left**2 + came**2 - lower**2 - higher**2 + count * (mean_after**2 - mean_before**2)
        return (gain, brick, placed) if gain > 0 else None

    def _make(self, brick: MovableBrick, placed: PlacedBrick) -> Move:
        source, target = self._devices[brick.request.device_id], self._devices[placed.device_id]
        self._space.give_back(source, brick.held_bytes)
        need = NeedTable(brick.request.size_bytes, brick.request.snapshot_factor)
        self._space.take(target, need.for_extent(target.extent_size_bytes))
        self._fills[source.id], self._fills[target.id] = self._fill(source), self._fill(target)
        # It has moved once; the others of its set have to keep off its new node.
        del self._bricks[source.id][brick.id]
        members = self._sets[brick.set_key]
        del members[brick.id]
        for other in list(members.values()):
            peers = (other.request.peer_node_ids - {brick.node_id}) | {placed.node_id}
            changed = replace(other, request=replace(other.request, peer_node_ids=peers))
            members[other.id] = changed
            self._bricks[other.request.device_id][other.id] = changed
        return Move(brick, placed, self.deviation())
