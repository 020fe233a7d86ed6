"""From a dump to the records that are to be made of it, or to every reason why not. Pure.

`prepared` upgrades, checks and converts. What our records do not need of a dump, but a later dump must show again, goes
with them: the clusters that were asked for, and the hosts that a volume was mounted from when it was made.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from brickyard.topology.v1 import (
    block_volume_pb2,
    books_pb2,
    cluster_pb2,
    device_pb2,
    node_pb2,
    records_pb2,
    volume_pb2,
)
from gateway.heketi.dump.brick_sets import arranged, in_order, with_replacement
from gateway.heketi.dump.checking import inconsistencies, pools_kib
from gateway.heketi.dump.faults import further_faults
from gateway.heketi.dump.model import (
    DISPERSE,
    GENERATION,
    LOCKED,
    LOCKED_BY_UPDATE,
    NONE,
    REPLICATE,
    UPGRADES,
    BlockVolume,
    Brick,
    Device,
    Dump,
    Node,
    OperationType,
    SubType,
    Volume,
)
from gateway.heketi.dump.operations import operation_message
from gateway.heketi.dump.pending import Settlement, Takeover, settled, settlement
from gateway.heketi.dump.upgrading import upgraded
from services.common.units import GIB, KIB

_NODE_STATES = {
    "online": node_pb2.NODE_STATE_ONLINE,
    "offline": node_pb2.NODE_STATE_OFFLINE,
    "failed": node_pb2.NODE_STATE_FAILED,
}
_DEVICE_STATES = {
    "online": device_pb2.DEVICE_STATE_ONLINE,
    "offline": device_pb2.DEVICE_STATE_OFFLINE,
    "failed": device_pb2.DEVICE_STATE_FAILED,
}
_DURABILITIES = {
    NONE: volume_pb2.DURABILITY_TYPE_NONE,
    REPLICATE: volume_pb2.DURABILITY_TYPE_REPLICATE,
    DISPERSE: volume_pb2.DURABILITY_TYPE_DISPERSE,
}
_RESTRICTIONS = {
    "": volume_pb2.BLOCK_RESTRICTION_UNSPECIFIED,
    LOCKED: volume_pb2.BLOCK_RESTRICTION_LOCKED,
    LOCKED_BY_UPDATE: volume_pb2.BLOCK_RESTRICTION_LOCKED_BY_UPDATE,
}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What came of a dump.

    Attributes:
        records: What is to be recorded; worth something only without reasons.
        dump: The dump after its upgrade, without the operations that are forgotten: what a dump of ours will say.
        reasons: Why it can not be taken over, all of them.
        notes: What was changed, or is worth knowing.
    """

    records: records_pb2.Records
    dump: Dump
    reasons: list[str]
    notes: list[str]


def prepared(dump: Dump, *, new_generation_id: str) -> Prepared:
    """Upgrades, checks and converts a dump.

    Args:
        dump: As it was read.
        new_generation_id: For a database that has none.
    """
    newest, notes = upgraded(dump, new_generation_id=new_generation_id)
    settlements = settlement(newest)
    newest = settled(newest, settlements)
    found = inconsistencies(newest, beyond_kib={})
    reasons = [*settlements.reasons, *(each.text for each in found if not each.harmless), *further_faults(newest)]
    notes += [*settlements.notes, *(each.text for each in found if each.harmless)]
    unknown = sorted(set(newest.attributes) - {*UPGRADES, GENERATION})
    notes += [
        f"block volume {each.id}: the clusters that were asked for are forgotten; it stays in {each.cluster_id}"
        for each in newest.block_volumes.values()
        if each.requested_cluster_ids
    ]
    reasons += [f"attribute {name}: unknown; the database is of a newer Heketi than 10" for name in unknown]
    if reasons:
        return Prepared(records=records_pb2.Records(), dump=newest, reasons=reasons, notes=notes)
    maker = _Maker(newest, settlements)
    records = maker.records()
    return Prepared(records=records, dump=newest, reasons=maker.reasons, notes=notes)


# --- records ----------------------------------------------------------------------------------------------------------


# Operations whose new bricks take space that no brick had before.
_PLACING = frozenset(
    {
        OperationType.CREATE_VOLUME,
        OperationType.EXPAND_VOLUME,
        OperationType.EVICT_BRICK,
        OperationType.CREATE_BLOCK_VOLUME,
    }
)
_Places = list[tuple[Brick, int, int]]


@dataclass(slots=True)
class _Maker:
    """Makes the records of a dump without inconsistencies; `reasons` grows with what turns out to be impossible."""

    dump: Dump
    settled: Settlement
    reasons: list[str] = field(default_factory=list)
    bricks_of: dict[str, list[Brick]] = field(default_factory=lambda: defaultdict(list))

    def records(self) -> records_pb2.Records:
        """All of them."""
        for brick in _ascending(self.dump.bricks):
            self.bricks_of[brick.volume_id].append(brick)
        made = records_pb2.Records(
            generation_id=self.dump.attributes[GENERATION],
            clusters=[
                cluster_pb2.Cluster(id=each.id, file_enabled=each.file, block_enabled=each.block)
                for each in _ascending(self.dump.clusters)
            ],
            nodes=[_node(each) for each in _ascending(self.dump.nodes)],
        )
        being_made = {
            brick_id
            for each in self.settled.taken_over.values()
            if each.type in _PLACING
            for brick_id in each.new_brick_ids
        }
        pending_kib = pools_kib(each for each in self.dump.bricks.values() if each.id in being_made)
        all_kib = pools_kib(self.dump.bricks.values())
        for device in _ascending(self.dump.devices):
            made.devices.append(_device(device, all_kib.get(device.id, 0), pending_kib.get(device.id, 0)))
        for volume in _ascending(self.dump.volumes):
            self._add_volume(made, volume)
        for block in _ascending(self.dump.block_volumes):
            made.block_volumes.append(_block_volume(block, self.settled.holding(block.id)))
        if not self.reasons:
            self._add_operations(made)
        return made

    def _add_volume(self, made: records_pb2.Records, volume: Volume) -> None:
        holder = self.settled.holding(volume.id)
        places = self._places(volume, holder)
        if places is None:
            count = len(self.bricks_of[volume.id])
            self.reasons.append(
                f"volume {volume.id}: its {count} bricks make no sets of {volume.set_size} of one size and on "
                "different nodes"
            )
            return
        message = _volume(volume)
        if holder is not None:
            message.operation_id = holder.operation.id
            message.state = _state(holder, volume.id)
            # The copy lies where its source does.
            message.origin_volume_id = holder.source_id if volume.id == holder.volume_id else ""
        # With one brick there is nothing to guess.
        message.brick_order_unknown = len(places) > 1
        made.volumes.append(
            records_pb2.RecordedVolume(
                volume=message,
                requested_cluster_ids=volume.requested_cluster_ids,
                mount_hosts=volume.mount_hosts,
            )
        )
        for brick, set_index, position in places:
            self._check_mark(brick, volume, holder)
            placed = _brick(brick, set_index=set_index, position=position)
            if holder is not None and holder.source_id and volume.id == holder.volume_id:
                # Gluster names it when it is made.
                placed.lv_name = ""
            made.bricks.append(books_pb2.BookedBrick(brick=placed, operation_id=brick.pending_id))

    def _check_mark(self, brick: Brick, volume: Volume, holder: Takeover | None) -> None:
        """Whether a brick is pending for what its volume is."""
        wanted = ""
        if holder is not None:
            whole = _state(holder, volume.id) != volume_pb2.VOLUME_STATE_ACTIVE
            changing = whole or brick.id in {*holder.new_brick_ids, holder.old_brick_id}
            wanted = holder.operation.id if changing else ""
        if brick.pending_id != wanted:
            self.reasons.append(f"brick {brick.id}: it is pending for {brick.pending_id!r}, its volume is not")

    def _places(self, volume: Volume, holder: Takeover | None) -> _Places | None:
        """Bricks of a volume with set and position; None when they make no sets."""
        size = volume.set_size
        mine = self.bricks_of[volume.id]
        if holder is None or not holder.new_brick_ids or volume.id == holder.source_id:
            return _in_sets(arranged(mine, size), size)
        new = [self.dump.bricks[each] for each in holder.new_brick_ids]
        if holder.source_id:
            return self._beside_source(mine, holder)
        old = [each for each in mine if each not in new]
        if holder.old_brick_id:
            return _with_moving(old, size, self.dump.bricks[holder.old_brick_id], new[0])
        first = _in_sets(arranged(old, size), size) if old else []
        # Heketi names them in gluster's order; gluster may have them already.
        added = _in_sets(new if in_order(new, size) else arranged(new, size), size)
        if first is None or added is None:
            return None
        count = len(old) // size
        return [*first, *((brick, count + set_index, position) for brick, set_index, position in added)]

    def _beside_source(self, copies: Sequence[Brick], holder: Takeover) -> _Places | None:
        """The bricks of a copy that is being made, each with the place of the one whose thin pool it lies in."""
        source = self.dump.volumes[holder.source_id]
        places = self._places(source, holder)
        if places is None:
            return None
        of_pool = {brick.pool: (set_index, position) for brick, set_index, position in places}
        if sorted(each.pool for each in copies) != sorted(of_pool):
            return None
        return sorted(((each, *of_pool[each.pool]) for each in copies), key=lambda each: each[1:])

    def _add_operations(self, made: records_pb2.Records) -> None:
        volumes = {each.volume.id: each.volume for each in made.volumes}
        blocks = {each.id: each for each in made.block_volumes}
        bricks: dict[str, list[volume_pb2.Brick]] = defaultdict(list)
        for booked in made.bricks:
            bricks[booked.brick.volume_id].append(booked.brick)
        for takeover in _ascending(self.settled.taken_over):
            made.operations.append(operation_message(takeover, volumes, bricks, blocks))


def _in_sets(order: Sequence[Brick] | None, size: int) -> _Places | None:
    return None if order is None else [(brick, *divmod(index, size)) for index, brick in enumerate(order)]


def _with_moving(bricks: Sequence[Brick], size: int, old: Brick, new: Brick) -> _Places | None:
    """The bricks of a volume one of which moves, and its replacement with the same place."""
    guessed = arranged(bricks, size)
    order = with_replacement(guessed, size, old, new) if guessed is not None else None
    if order is None:
        return None
    place = divmod(order.index(old), size)
    return [*((brick, *divmod(index, size)) for index, brick in enumerate(order)), (new, *place)]


def _state(holder: Takeover, object_id: str) -> volume_pb2.VolumeState.ValueType:
    """The state of a volume or block volume that an operation holds."""
    if holder.type in {OperationType.DELETE_VOLUME, OperationType.DELETE_BLOCK_VOLUME}:
        return volume_pb2.VOLUME_STATE_DELETING
    growing = {OperationType.EXPAND_VOLUME, OperationType.EVICT_BRICK, OperationType.EXPAND_BLOCK_VOLUME}
    if holder.type in growing or object_id == holder.source_id:
        return volume_pb2.VOLUME_STATE_ACTIVE
    return volume_pb2.VOLUME_STATE_CREATING


def _ascending(entries: Mapping[str, _T]) -> list[_T]:
    return [entry for _, entry in sorted(entries.items())]


def _node(node: Node) -> books_pb2.BookedNode:
    return books_pb2.BookedNode(
        node=node_pb2.Node(
            id=node.id,
            cluster_id=node.cluster_id,
            zone=node.zone,
            manage_hostnames=node.manage_hostnames,
            storage_hostnames=node.storage_hostnames,
            tags=node.tags,
            state=_NODE_STATES[node.state],
        )
    )


def _device(device: Device, pools: int, pending: int) -> books_pb2.BookedDevice:
    return books_pb2.BookedDevice(
        device=device_pb2.Device(
            id=device.id,
            node_id=device.node_id,
            path=device.path,
            tags=device.tags,
            state=_DEVICE_STATES[device.state],
            total_bytes=device.total_kib * KIB,
            used_bytes=(device.used_kib - pending) * KIB,
            reserved_bytes=pending * KIB,
            extent_size_bytes=device.extent_size_kib * KIB,
            pv_uuid=device.pv_uuid,
            known_paths=device.known_paths,
        ),
        unattributed_bytes=(device.used_kib - pools) * KIB,
    )


def _volume(volume: Volume) -> volume_pb2.Volume:
    disperse = volume.durability == DISPERSE
    made = volume_pb2.Volume(
        id=volume.id,
        name=volume.name,
        cluster_id=volume.cluster_id,
        size_bytes=volume.size_gib * GIB,
        durability=volume_pb2.Durability(
            type=_DURABILITIES[volume.durability],
            replica_count=volume.replica_count,
            # Heketi's defaults, which our records have to name.
            data_count=volume.data_count or (4 if disperse else 0),
            redundancy_count=volume.redundancy_count or (2 if disperse else 0),
        ),
        gid=volume.gid,
        options=volume.options,
        block=volume.block,
        snapshot_enabled=volume.snapshot_enabled,
        snapshot_factor=volume.snapshot_factor,
        state=volume_pb2.VOLUME_STATE_ACTIVE,
    )
    if volume.block:
        made.block_hosting.free_size_bytes = volume.free_gib * GIB
        made.block_hosting.reserved_size_bytes = volume.reserved_gib * GIB
        made.block_hosting.restriction = _RESTRICTIONS[volume.restriction]
    return made


def _brick(brick: Brick, *, set_index: int, position: int) -> volume_pb2.Brick:
    arbiter = brick.sub_type == SubType.ARBITER
    return volume_pb2.Brick(
        id=brick.id,
        volume_id=brick.volume_id,
        device_id=brick.device_id,
        node_id=brick.node_id,
        path=brick.path,
        size_bytes=brick.size_kib * KIB,
        thin_pool_size_bytes=brick.pool_size_kib * KIB,
        pool_metadata_size_bytes=brick.pool_metadata_kib * KIB,
        thin_pool_name=brick.pool[1],
        lv_name=brick.lv_name or f"brick_{brick.id}",
        role=volume_pb2.BRICK_ROLE_ARBITER if arbiter else volume_pb2.BRICK_ROLE_DATA,
        set_index=set_index,
        position=position,
    )


def _block_volume(block: BlockVolume, holder: Takeover | None) -> block_volume_pb2.BlockVolume:
    return block_volume_pb2.BlockVolume(
        id=block.id,
        name=block.name,
        cluster_id=block.cluster_id,
        hosting_volume_id=block.hosting_volume_id,
        size_bytes=block.size_gib * GIB,
        usable_size_bytes=block.usable_size_gib * GIB,
        ha_count=block.ha_count or len(set(block.hosts)),
        auth=block.auth,
        hosts=block.hosts,
        iqn=block.iqn,
        lun=block.lun,
        username=block.username,
        password=block.password,
        state=volume_pb2.VOLUME_STATE_ACTIVE if holder is None else _state(holder, block.id),
        operation_id="" if holder is None else holder.operation.id,
    )
