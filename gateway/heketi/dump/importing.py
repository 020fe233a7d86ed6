"""From a dump to the records that are to be made of it, or to every reason why not. Pure.

`prepared` upgrades, checks and converts. What our records do not need of a dump, but a later dump must show again, goes
with them: the clusters that were asked for, and the hosts that a volume was mounted from when it was made.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from brickyard.topology.v1 import (
    block_volume_pb2,
    books_pb2,
    cluster_pb2,
    device_pb2,
    node_pb2,
    operation_pb2,
    records_pb2,
    volume_pb2,
)
from gateway.heketi.dump.brick_sets import arranged
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
    Operation,
    OperationType,
    SubType,
    Volume,
)
from gateway.heketi.dump.pending import Settlement, settlement
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
    settled = settlement(newest)
    newest = _without(newest, settled)
    found = inconsistencies(newest, beyond_kib={})
    reasons = [*settled.reasons, *(each.text for each in found if not each.harmless), *further_faults(newest)]
    notes += [*settled.notes, *(each.text for each in found if each.harmless)]
    unknown = sorted(set(newest.attributes) - {*UPGRADES, GENERATION})
    notes += [
        f"block volume {each.id}: the clusters that were asked for are forgotten; it stays in {each.cluster_id}"
        for each in newest.block_volumes.values()
        if each.requested_cluster_ids
    ]
    reasons += [f"attribute {name}: unknown; the database is of a newer Heketi than 10" for name in unknown]
    if reasons:
        return Prepared(records=records_pb2.Records(), dump=newest, reasons=reasons, notes=notes)
    maker = _Maker(newest, settled)
    records = maker.records()
    return Prepared(records=records, dump=newest, reasons=maker.reasons, notes=notes)


def _without(dump: Dump, settled: Settlement) -> Dump:
    """The dump without the operations that are forgotten, and the marks that they have left."""
    if not settled.dropped:
        return dump
    return replace(
        dump,
        operations={key: each for key, each in dump.operations.items() if key not in settled.dropped},
        bricks={
            key: replace(each, pending_id="") if each.pending_id in settled.dropped else each
            for key, each in dump.bricks.items()
        },
    )


# --- records ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Maker:
    """Makes the records of a dump without inconsistencies; `reasons` grows with what turns out to be impossible."""

    dump: Dump
    settled: Settlement
    reasons: list[str] = field(default_factory=list)
    bricks_of: dict[str, list[Brick]] = field(default_factory=lambda: defaultdict(list))

    def records(self) -> records_pb2.Records:
        """All of them."""
        for brick in self.dump.bricks.values():
            self.bricks_of[brick.volume_id].append(brick)
        made = records_pb2.Records(
            generation_id=self.dump.attributes[GENERATION],
            clusters=[
                cluster_pb2.Cluster(id=each.id, file_enabled=each.file, block_enabled=each.block)
                for each in _ascending(self.dump.clusters)
            ],
            nodes=[_node(each) for each in _ascending(self.dump.nodes)],
        )
        pending_kib = pools_kib(each for each in self.dump.bricks.values() if self._is_being_made(each))
        all_kib = pools_kib(self.dump.bricks.values())
        for device in _ascending(self.dump.devices):
            made.devices.append(_device(device, all_kib.get(device.id, 0), pending_kib.get(device.id, 0)))
        for volume in _ascending(self.dump.volumes):
            self._add_volume(made, volume)
        for block in _ascending(self.dump.block_volumes):
            made.block_volumes.append(_block_volume(block))
        volumes = {each.volume.id: each.volume for each in made.volumes}
        for operation in _ascending(self.dump.operations):
            self._add_operation(made, operation, volumes)
        return made

    def _is_being_made(self, brick: Brick) -> bool:
        operation = self.dump.operations.get(brick.pending_id)
        return operation is not None and operation.type == OperationType.CREATE_VOLUME

    def _add_volume(self, made: records_pb2.Records, volume: Volume) -> None:
        mine = sorted(self.bricks_of[volume.id], key=lambda each: each.id)
        order = arranged(mine, volume.set_size)
        if order is None:
            self.reasons.append(
                f"volume {volume.id}: its {len(mine)} bricks make no sets of {volume.set_size} of one size and on "
                "different nodes"
            )
            return
        message = _volume(volume)
        if volume.pending_id:
            removed = self.dump.operations[volume.pending_id].type == OperationType.DELETE_VOLUME
            message.state = volume_pb2.VOLUME_STATE_DELETING if removed else volume_pb2.VOLUME_STATE_CREATING
            message.operation_id = volume.pending_id
        # With one brick there is nothing to guess.
        message.brick_order_unknown = len(mine) > 1
        made.volumes.append(
            records_pb2.RecordedVolume(
                volume=message,
                requested_cluster_ids=volume.requested_cluster_ids,
                mount_hosts=volume.mount_hosts,
            )
        )
        for index, brick in enumerate(order):
            if brick.pending_id != volume.pending_id:
                self.reasons.append(f"brick {brick.id}: it is pending for {brick.pending_id!r}, its volume is not")
            placed = _brick(brick, set_index=index // volume.set_size, position=index % volume.set_size)
            made.bricks.append(books_pb2.BookedBrick(brick=placed, operation_id=brick.pending_id))

    def _add_operation(
        self, made: records_pb2.Records, operation: Operation, volumes: Mapping[str, volume_pb2.Volume]
    ) -> None:
        held = [each for each in volumes.values() if each.operation_id == operation.id]
        if len(held) != 1:
            self.reasons.append(f"pending operation {operation.id}: it makes or removes {len(held)} volumes, not one")
            return
        (volume,) = held
        whole = volume_pb2.Volume()
        whole.CopyFrom(volume)
        whole.bricks.extend(each.brick for each in made.bricks if each.brick.volume_id == volume.id)
        message = operation_pb2.Operation(
            id=operation.id,
            target_id=volume.id,
            cluster_id=volume.cluster_id,
            state=operation_pb2.OPERATION_STATE_RUNNING,
            note="taken over from Heketi",
        )
        message.create_time.seconds = operation.time_s
        if operation.type == OperationType.CREATE_VOLUME:
            message.kind = operation_pb2.OPERATION_KIND_CREATE_VOLUME
            message.spec.create_volume.volume.CopyFrom(whole)
        else:
            message.kind = operation_pb2.OPERATION_KIND_DELETE_VOLUME
            message.spec.delete_volume.volume_id = volume.id
            message.spec.delete_volume.volume.CopyFrom(whole)
        made.operations.append(message)


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


def _block_volume(block: BlockVolume) -> block_volume_pb2.BlockVolume:
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
        state=volume_pb2.VOLUME_STATE_ACTIVE,
    )
