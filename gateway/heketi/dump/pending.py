"""Pending operations of a dump: ours as Heketi's, and what becomes of Heketi's. Pure.

What becomes of them is what Heketi's own clean-up means: what was being made is taken back, a removal is completed, and
of a brick that was moving, or a block volume that was growing, the nodes tell how far it came.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from brickyard.topology.v1 import operation_pb2
from gateway.heketi.dump.model import Brick, Change, Dump, Operation, OperationType
from gateway.heketi.pending import changes, links, status, type_name

_SETTLE = "let Heketi settle it (heketi-cli server operations cleanup), and make the dump again"
_FINDS = "when a gateway finds the operation"
_NOTES = {
    OperationType.CREATE_VOLUME: f"what there is of the volume is removed, {_FINDS}",
    OperationType.DELETE_VOLUME: f"the removal is carried on, {_FINDS}",
    OperationType.EXPAND_VOLUME: f"the new bricks are taken out again, {_FINDS}; then expand the volume again",
    OperationType.CLONE_VOLUME: f"what there is of the copy is removed, {_FINDS}; then clone the volume again",
    OperationType.EVICT_BRICK: f"gluster tells which of the two bricks goes, {_FINDS}",
    OperationType.CREATE_BLOCK_VOLUME: f"what there is of the block volume is removed, {_FINDS}",
    OperationType.DELETE_BLOCK_VOLUME: f"the removal is carried on, {_FINDS}",
    OperationType.EXPAND_BLOCK_VOLUME: f"gluster-block tells whether the new size holds, {_FINDS}",
}
_COMPLETED = frozenset({OperationType.DELETE_VOLUME, OperationType.DELETE_BLOCK_VOLUME})


def pending_operation(
    operation: operation_pb2.Operation, now_s: float, all_operations: Iterable[operation_pb2.Operation]
) -> Operation:
    """One of our operations that Heketi has a type for, as its pending one."""
    return Operation(
        id=operation.id,
        time_s=operation.create_time.seconds,
        type=OperationType[type_name(operation).upper().replace("-", "_")],
        actions=(*changes(operation.spec), *links(operation, all_operations)),
        status=status(operation, now_s),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """A pending operation of Heketi that becomes one of ours.

    Attributes:
        operation: It.
        type: What it does.
        volume_id: The volume that it makes, removes, makes larger, or in which it moves a brick; empty = none.
        source_id: The volume that it copies; empty = none.
        block_volume_id: The block volume that it makes, removes or makes larger; empty = none.
        new_brick_ids: Bricks that it makes, in its order.
        old_brick_id: The brick that it moves away; empty = none.
        new_size_gib: What a block volume grows to; 0 = none.
    """

    operation: Operation
    type: OperationType
    volume_id: str = ""
    source_id: str = ""
    block_volume_id: str = ""
    new_brick_ids: tuple[str, ...] = ()
    old_brick_id: str = ""
    new_size_gib: int = 0

    @property
    def completed(self) -> bool:
        """Whether it is carried on to its end, and not taken back."""
        return self.type in _COMPLETED

    @property
    def held_ids(self) -> tuple[str, ...]:
        """The volumes and block volumes that nobody else may change meanwhile."""
        return tuple(each for each in (self.volume_id, self.source_id, self.block_volume_id) if each)


@dataclass(slots=True)
class Settlement:
    """What becomes of Heketi's pending operations.

    Attributes:
        dropped: Those that have done nothing that would have to be taken back, or carried on: they are forgotten.
        taken_over: Those that become ours, by id.
        reasons: Why the others keep the whole from being taken over.
        notes: What is done with each, as a sentence.
    """

    dropped: set[str] = field(default_factory=set)
    taken_over: dict[str, Takeover] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def holding(self, object_id: str) -> Takeover | None:
        """The operation that holds a volume or a block volume."""
        return next((each for each in self.taken_over.values() if object_id in each.held_ids), None)


def settlement(dump: Dump) -> Settlement:
    """What becomes of each pending operation of a dump."""
    found = Settlement()
    for operation in sorted(dump.operations.values(), key=lambda each: each.id):
        _settle(dump, operation, found)
    return found


def _settle(dump: Dump, operation: Operation, found: Settlement) -> None:
    name = OperationType(operation.type) if operation.type in set(OperationType) else OperationType.UNKNOWN
    text = f"pending operation {operation.id} ({name.words})"
    if name is OperationType.REMOVE_DEVICE:
        found.dropped.add(operation.id)
        found.notes.append(f"{text}: forgotten; bricks that were moved stay moved, remove the device again")
        return
    if name is OperationType.EVICT_BRICK and not operation.ids(Change.ADD_BRICK):
        found.dropped.add(operation.id)
        found.notes.append(f"{text}: forgotten, it had not begun; evict the brick again")
        return
    takeover = _takeover(dump, operation, name)
    if takeover is None:
        found.reasons.append(f"{text}: it does not say what {name.words} needs to be settled; {_SETTLE}")
        return
    others = [other for each in takeover.held_ids if (other := found.holding(each)) is not None]
    if others:
        found.reasons.append(f"{text}: operation {others[0].operation.id} changes the same volume; {_SETTLE}")
        return
    found.taken_over[operation.id] = takeover
    found.notes.append(f"{text}: {_NOTES[name]}")


def _takeover(dump: Dump, operation: Operation, name: OperationType) -> Takeover | None:
    """What an operation does; None when its record does not tell."""
    ids = operation.ids
    new_bricks = ids(Change.ADD_BRICK)
    made: Takeover | None = None
    match name:
        case OperationType.CREATE_VOLUME | OperationType.CREATE_BLOCK_VOLUME:
            volumes, blocks = ids(Change.ADD_VOLUME), ids(Change.ADD_BLOCK_VOLUME)
            block = name is OperationType.CREATE_BLOCK_VOLUME
            if len(blocks) == block and (len(volumes) == 1 or (block and not volumes and not new_bricks)):
                made = Takeover(
                    operation=operation,
                    type=name,
                    volume_id="".join(volumes),
                    block_volume_id="".join(blocks),
                    new_brick_ids=new_bricks,
                )
        case OperationType.DELETE_VOLUME if len(ids(Change.DELETE_VOLUME)) == 1:
            made = Takeover(operation=operation, type=name, volume_id=ids(Change.DELETE_VOLUME)[0])
        case OperationType.EXPAND_VOLUME if len(ids(Change.EXPAND_VOLUME)) == 1 and new_bricks:
            made = Takeover(
                operation=operation, type=name, volume_id=ids(Change.EXPAND_VOLUME)[0], new_brick_ids=new_bricks
            )
        case OperationType.CLONE_VOLUME:
            made = _copying(dump, operation, new_bricks)
        case OperationType.EVICT_BRICK:
            old = [dump.bricks[each] for each in ids(Change.DELETE_BRICK) if each in dump.bricks]
            if len(old) == len(new_bricks) == 1:
                made = Takeover(
                    operation=operation,
                    type=name,
                    volume_id=old[0].volume_id,
                    new_brick_ids=new_bricks,
                    old_brick_id=old[0].id,
                )
        case OperationType.DELETE_BLOCK_VOLUME if len(ids(Change.DELETE_BLOCK_VOLUME)) == 1:
            made = Takeover(operation=operation, type=name, block_volume_id=ids(Change.DELETE_BLOCK_VOLUME)[0])
        case OperationType.EXPAND_BLOCK_VOLUME:
            made = _growing(dump, operation)
    return made if made is not None and _is_there(dump, made) else None


def _copying(dump: Dump, operation: Operation, new_bricks: tuple[str, ...]) -> Takeover | None:
    sources = operation.ids(Change.CLONE_VOLUME)
    # Heketi names the copy last, when it has got so far; the copy itself names the operation in any case.
    marked = [each.id for each in dump.volumes.values() if each.pending_id == operation.id and each.id not in sources]
    copies = operation.ids(Change.ADD_VOLUME_CLONE) or tuple(marked)
    if not len(sources) == len(copies) == 1 or not new_bricks:
        return None
    return Takeover(
        operation=operation,
        type=OperationType.CLONE_VOLUME,
        volume_id=copies[0],
        source_id=sources[0],
        new_brick_ids=new_bricks,
    )


def _growing(dump: Dump, operation: Operation) -> Takeover | None:
    grown = [each for each in operation.actions if each.change == Change.EXPAND_BLOCK_VOLUME]
    block = dump.block_volumes.get(grown[0].id) if len(grown) == 1 else None
    size = (grown[0].delta or 0) if block is not None else 0
    if block is None or size < block.size_gib:
        return None
    return Takeover(
        operation=operation, type=OperationType.EXPAND_BLOCK_VOLUME, block_volume_id=block.id, new_size_gib=size
    )


def _is_there(dump: Dump, made: Takeover) -> bool:
    return (
        all(each in dump.volumes for each in (made.volume_id, made.source_id) if each)
        and all(each in dump.bricks for each in made.new_brick_ids)
        and (not made.block_volume_id or made.block_volume_id in dump.block_volumes)
    )


def settled(dump: Dump, found: Settlement) -> Dump:
    """The dump without the operations that are forgotten and their marks, and with what others left for their end.

    Heketi lists a brick that takes the place of another with its volume only when it has it.
    """
    kept = {key: each for key, each in dump.operations.items() if key not in found.dropped}
    homes = {
        brick_id: each.volume_id
        for each in found.taken_over.values()
        if each.type in {OperationType.EVICT_BRICK, OperationType.EXPAND_VOLUME}
        for brick_id in each.new_brick_ids
    }
    return replace(
        dump,
        operations={key: _without_links(each, found.dropped) for key, each in kept.items()},
        bricks={key: _marked(each, homes, found.dropped) for key, each in dump.bricks.items()},
        volumes={
            key: replace(
                each,
                brick_ids=tuple(sorted({*each.brick_ids, *(brick for brick, home in homes.items() if home == key)})),
            )
            if key in homes.values()
            else each
            for key, each in dump.volumes.items()
        },
    )


def _without_links(operation: Operation, dropped: set[str]) -> Operation:
    links_to = {Change.CHILD_OPERATION, Change.PARENT_OPERATION}
    kept = tuple(each for each in operation.actions if each.change not in links_to or each.id not in dropped)
    return replace(operation, actions=kept)


def _marked(brick: Brick, homes: dict[str, str], dropped: set[str]) -> Brick:
    pending_id = "" if brick.pending_id in dropped else brick.pending_id
    return replace(brick, pending_id=pending_id, volume_id=brick.volume_id or homes.get(brick.id, ""))
