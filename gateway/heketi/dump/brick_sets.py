"""Which bricks of a volume may belong together: Heketi does not record it, only gluster knows. Pure.

What comes out keeps all rules of brick sets; whether it is gluster's own order, adopting the volume tells.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from gateway.heketi.dump.model import Brick, SubType

# How often data bricks are dealt out anew until each set finds an arbiter.
_ATTEMPTS = 50


def arranged(bricks: Sequence[Brick], set_size: int) -> list[Brick] | None:
    """The bricks in whole sets: members on different nodes, data bricks of one size, an arbiter the last of its set.

    Args:
        bricks: All bricks of a volume.
        set_size: Bricks of a set.

    Returns:
        The bricks by set and position; None when there is no such order.
    """
    if not bricks or set_size < 1 or len(bricks) % set_size:
        return None
    arbiters = [brick for brick in bricks if brick.sub_type == SubType.ARBITER]
    data = [brick for brick in bricks if brick.sub_type != SubType.ARBITER]
    if len(arbiters) not in {0, len(bricks) // set_size}:
        return None
    if not arbiters:
        return _flat(_data_sets(data, set_size, 0))
    for attempt in range(_ATTEMPTS):
        sets = _data_sets(data, set_size - 1, attempt)
        placed = _matched(sets, arbiters) if sets is not None else None
        if sets is not None and placed is not None:
            return _flat([[*members, arbiter] for members, arbiter in zip(sets, placed, strict=True)])
    return None


def in_order(bricks: Sequence[Brick], set_size: int) -> bool:
    """Whether bricks make whole sets as they come; Heketi records those that it makes in gluster's order."""
    if not bricks or set_size < 1 or len(bricks) % set_size:
        return False
    sets = [bricks[first : first + set_size] for first in range(0, len(bricks), set_size)]
    return all(_is_set(members) for members in sets)


def _is_set(members: Sequence[Brick]) -> bool:
    data = members[:-1] if members[-1].sub_type == SubType.ARBITER else members
    return (
        len({brick.node_id for brick in members}) == len(members)
        and len({brick.size_kib for brick in data}) <= 1
        and all(brick.sub_type != SubType.ARBITER for brick in data)
    )


def with_replacement(order: Sequence[Brick], set_size: int, old: Brick, new: Brick) -> list[Brick] | None:
    """An order in which one brick may take the place of another one too.

    Args:
        order: Bricks in whole sets.
        set_size: Bricks of a set.
        old: One of them.
        new: Its replacement, on a node of which the guessed set may have another brick.

    Returns:
        The bricks by set and position; None when there is no such order.
    """

    def fits(bricks: Sequence[Brick]) -> bool:
        after = [new if brick.id == old.id else brick for brick in bricks]
        return in_order(bricks, set_size) and in_order(after, set_size)

    if fits(order):
        return list(order)
    first = next(index for index, brick in enumerate(order) if brick.id == old.id) // set_size * set_size
    for mine in range(first, first + set_size):
        if order[mine].id == old.id or order[mine].node_id != new.node_id:
            continue
        for other in range(len(order)):
            swapped = list(order)
            swapped[mine], swapped[other] = swapped[other], swapped[mine]
            if fits(swapped):
                return swapped
    return None


def _flat(sets: list[list[Brick]] | None) -> list[Brick] | None:
    return None if sets is None else [brick for members in sets for brick in members]


def _order(attempt: int, node_id: str) -> str:
    """Another order of the nodes for each attempt, always the same."""
    return hashlib.sha256(f"{attempt} {node_id}".encode()).hexdigest() if attempt else node_id


def _data_sets(bricks: Sequence[Brick], size: int, attempt: int) -> list[list[Brick]] | None:
    by_size: dict[int, list[Brick]] = defaultdict(list)
    for brick in bricks:
        by_size[brick.size_kib].append(brick)
    sets: list[list[Brick]] = []
    for _, alike in sorted(by_size.items(), reverse=True):
        if len(alike) % size:
            return None
        count = len(alike) // size
        on_node = Counter(brick.node_id for brick in alike)
        if max(on_node.values()) > count:
            return None
        # All bricks of a node in a row, dealt out like cards: no set gets two of a node that has at most one for each.
        dealt = sorted(alike, key=lambda brick: (_order(attempt, brick.node_id), brick.id))
        sets += [[dealt[index] for index in range(first, len(dealt), count)] for first in range(count)]
    return sets


def _matched(sets: Sequence[Sequence[Brick]], arbiters: Sequence[Brick]) -> list[Brick] | None:
    """An arbiter for each set, on a node that the set has not: augmenting paths."""
    nodes = [{brick.node_id for brick in members} for members in sets]
    owner: dict[int, int] = {}

    def assign(index: int, seen: set[int]) -> bool:
        for candidate, arbiter in enumerate(arbiters):
            if candidate in seen or arbiter.node_id in nodes[index]:
                continue
            seen.add(candidate)
            if candidate not in owner or assign(owner[candidate], seen):
                owner[candidate] = index
                return True
        return False

    if not all(assign(index, set()) for index in range(len(sets))):
        return None
    of_set = {index: arbiters[candidate] for candidate, index in owner.items()}
    return [of_set[index] for index in range(len(sets))]
