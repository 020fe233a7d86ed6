"""Pending operations of a Heketi: each becomes one of ours that takes back or completes, or a reason."""

from collections.abc import Callable

import pytest

from brickyard.topology.v1 import operation_pb2, records_pb2, volume_pb2
from gateway.heketi.dump.checking import inconsistencies
from gateway.heketi.dump.exporting import exported
from gateway.heketi.dump.model import Change, OperationType
from gateway.heketi.dump.rendering import dump_object
from services.topology.convert_records import rows_of
from services.topology.domain.consistency import violations
from services.topology.usecases.record_import import books_of_rows
from tests.unit.gateway_heketi_dump.dumps import (
    GIB_KIB,
    Json,
    assembled,
    block_entry,
    brick_entry,
    large,
    number,
    prepared_from,
    volume_entry,
)

OPERATION, ANOTHER = number("9", 1), number("9", 2)
NOW_S = 1_700_000_001.0


def pend(
    dump: Json, kind: OperationType, *changes: tuple[Change, str] | tuple[Change, str, int], key: str = OPERATION
) -> Json:
    """Adds a pending operation to a dump; bricks that it names, and what it makes or removes, are marked."""
    actions = [(change, object_id, delta[0] if delta else None) for change, object_id, *delta in changes]
    dump["pendingoperations"][key] = {
        "Id": key,
        "Timestamp": 1_700_000_000,
        "Type": int(kind),
        "Actions": [{"Change": int(change), "Id": each, "Delta": delta} for change, each, delta in actions],
        "Status": "stale",
    }
    unmarked = (Change.EXPAND_VOLUME, Change.EXPAND_BLOCK_VOLUME, Change.REMOVE_DEVICE)
    for change, each, _ in actions:
        for section in ("volumeentries", "brickentries", "blockvolumeentries"):
            if change not in unmarked and each in dump[section]:
                dump[section][each]["Pending"]["Id"] = key
    return dump


def records_of(dump: Json) -> records_pb2.Records:
    """What is recorded; nothing is refused, by the topology neither."""
    made = prepared_from(dump)
    assert made.reasons == []
    assert any(OPERATION in note for note in made.notes)
    rows = rows_of(made.records, 0)
    assert rows.refusals == []
    assert violations(books_of_rows(rows)) == []
    found, beyond = exported(made.records, NOW_S)
    assert [each for each in inconsistencies(found, beyond_kib=beyond) if not each.harmless] == []
    return made.records


def again(records: records_pb2.Records) -> Json:
    """The dump that ours is afterwards."""
    return dump_object(exported(records, NOW_S)[0])


def only(records: records_pb2.Records, *, taken_back: bool = True) -> operation_pb2.Operation:
    (operation,) = records.operations
    expected = operation_pb2.OPERATION_STATE_UNDOING if taken_back else operation_pb2.OPERATION_STATE_RUNNING
    assert operation.state == expected
    assert operation.HasField("error") == taken_back
    return operation


def volume_of(records: records_pb2.Records, volume_id: str) -> volume_pb2.Volume:
    return next(each.volume for each in records.volumes if each.volume.id == volume_id)


def reserved(records: records_pb2.Records) -> dict[str, int]:
    return {each.device.id: each.device.reserved_bytes for each in records.devices if each.device.reserved_bytes}


def one_brick(kind: OperationType) -> Json:
    """The volume of one brick is being made or removed."""
    added = kind is OperationType.CREATE_VOLUME
    return pend(
        large(),
        kind,
        (Change.ADD_BRICK if added else Change.DELETE_BRICK, number("b", 31)),
        (Change.ADD_VOLUME if added else Change.DELETE_VOLUME, number("a", 3)),
    )


def test_a_volume_that_was_being_made_is_removed_by_us() -> None:
    dump = one_brick(OperationType.CREATE_VOLUME)
    records = records_of(dump)
    operation = only(records)
    assert operation.kind == operation_pb2.OPERATION_KIND_CREATE_VOLUME
    assert [brick.id for brick in operation.spec.create_volume.volume.bricks] == [number("b", 31)]
    assert reserved(records) == {number("d", 2): (1 << 30) + (8 << 20)}
    assert again(records) == dump


def test_a_volume_that_was_being_removed_is_removed_by_us() -> None:
    dump = one_brick(OperationType.DELETE_VOLUME)
    records = records_of(dump)
    assert only(records, taken_back=False).spec.delete_volume.volume_id == number("a", 3)
    assert again(records) == dump


@pytest.mark.parametrize(
    ("kind", "brick", "volume"),
    [
        (OperationType.CREATE_VOLUME, Change.ADD_BRICK, Change.ADD_VOLUME),
        (OperationType.DELETE_VOLUME, Change.DELETE_BRICK, Change.DELETE_VOLUME),
    ],
)
def test_several_sets_keep_the_order_in_which_heketi_names_them(
    kind: OperationType, brick: Change, volume: Change
) -> None:
    order = [number("b", each) for each in (13, 11, 12, 2, 3, 1)]
    # A copy keeps the thin pools of a volume that goes; here there is none.
    dump = two_sets()
    dump = pend(dump, kind, *((brick, each) for each in order), (volume, number("a", 1)))
    records = records_of(dump)
    if kind is OperationType.CREATE_VOLUME:
        assert [each.id for each in only(records).spec.create_volume.volume.bricks] == order
    assert again(records) == dump


def two_sets(*more: Json) -> Json:
    """A volume of two sets of three, with more bricks that are listed with it."""
    bricks = [brick_entry(first + node, volume=1, node=node) for first in (0, 10) for node in (1, 2, 3)]
    return assembled([volume_entry(1, [*bricks, *more], size=2)], [*bricks, *more], nodes=6)


# --- larger -----------------------------------------------------------------------------------------------------------


def expanding() -> Json:
    new = [brick_entry(40 + node, volume=1, node=node, size_kib=4 * GIB_KIB) for node in (4, 5, 6)]
    order = [number("b", each) for each in (46, 44, 45)]
    changes = [(Change.ADD_BRICK, each) for each in order]
    return pend(two_sets(*new), OperationType.EXPAND_VOLUME, *changes, (Change.EXPAND_VOLUME, number("a", 1), 4))


def test_bricks_of_an_expansion_are_taken_out_again() -> None:
    dump = expanding()
    records = records_of(dump)
    operation = only(records)
    spec = operation.spec.expand_volume
    assert (operation.target_id, spec.added_size_bytes) == (number("a", 1), 4 << 30)
    assert [(each.id, each.set_index, each.position) for each in spec.bricks] == [
        (number("b", 46), 2, 0),
        (number("b", 44), 2, 1),
        (number("b", 45), 2, 2),
    ]
    assert {each.id for each in spec.volume.bricks} == {number("b", each) for each in (1, 2, 3, 11, 12, 13)}
    volume = volume_of(records, number("a", 1))
    assert (volume.state, volume.operation_id) == (volume_pb2.VOLUME_STATE_ACTIVE, OPERATION)
    assert set(reserved(records)) == {number("d", node) for node in (4, 5, 6)}
    assert again(records) == dump


def test_an_expansion_in_an_order_that_makes_no_sets_gets_another() -> None:
    dump = expanding()
    for node, brick in ((4, 44), (5, 45)):
        # A set of its own for each, so that the third is left over.
        dump["brickentries"][number("b", brick)]["Info"]["size"] = node * GIB_KIB
    made = prepared_from(dump)
    assert made.reasons == [
        f"volume {number('a', 1)}: its 9 bricks make no sets of 3 of one size and on different nodes"
    ]


# --- copies -----------------------------------------------------------------------------------------------------------


def copying(*, path: str = "/var/lib/heketi/mounts/x/brick") -> Json:
    dump = large()
    for node in (1, 2, 3):
        entry = dump["brickentries"][number("b", 100 + node)]
        entry["LvmLv"], entry["Info"]["path"] = "", path
    source_bricks = [number("b", each) for each in (11, 12, 13)]
    for brick_id in source_bricks:
        entry = dump["brickentries"].pop(brick_id)
        device = dump["deviceentries"][entry["Info"]["device"]]
        device["Bricks"].remove(brick_id)
        taken = entry["TpSize"] + entry["PoolMetadataSize"]
        device["Info"]["storage"]["used"] -= taken
        device["Info"]["storage"]["free"] += taken
        dump["volumeentries"][number("a", 1)]["Bricks"].remove(brick_id)
    return pend(
        dump,
        OperationType.CLONE_VOLUME,
        (Change.CLONE_VOLUME, number("a", 1)),
        (Change.ADD_VOLUME_CLONE, number("a", 4)),
        *((Change.ADD_BRICK, number("b", 100 + node)) for node in (1, 2, 3)),
    )


@pytest.mark.parametrize("path", ["/var/lib/heketi/mounts/x/brick", ""])
def test_a_copy_that_was_being_made_is_removed(path: str) -> None:
    dump = copying(path=path)
    records = records_of(dump)
    operation = only(records)
    spec = operation.spec.clone_volume
    assert (operation.target_id, spec.source_volume_id) == (number("a", 4), number("a", 1))
    assert spec.copy_has_source_id
    assert len(spec.brick_ids) == len(spec.source.bricks) == 3
    assert reserved(records) == {}
    source, copy = (volume_of(records, number("a", each)) for each in (1, 4))
    assert (source.state, source.operation_id) == (volume_pb2.VOLUME_STATE_ACTIVE, OPERATION)
    assert (copy.state, copy.origin_volume_id) == (volume_pb2.VOLUME_STATE_CREATING, source.id)
    # The source stays in use, and so is not marked.
    dump["volumeentries"][source.id]["Pending"]["Id"] = ""
    assert again(records) == dump


def test_a_copy_that_its_operation_does_not_name_is_found_by_its_mark() -> None:
    dump = copying()
    actions = dump["pendingoperations"][OPERATION]["Actions"]
    dump["pendingoperations"][OPERATION]["Actions"] = [
        each for each in actions if each["Change"] != Change.ADD_VOLUME_CLONE
    ]
    assert only(records_of(dump)).target_id == number("a", 4)


# --- moves ------------------------------------------------------------------------------------------------------------


def moving(node: int, *, listed: bool) -> Json:
    """The first brick moves to another node."""
    new = brick_entry(60, volume=1, node=node)
    dump = two_sets(new)
    if not listed:
        dump["volumeentries"][number("a", 1)]["Bricks"].remove(number("b", 60))
    return pend(
        dump,
        OperationType.EVICT_BRICK,
        (Change.DELETE_BRICK, number("b", 1)),
        (Change.ADD_BRICK, number("b", 60)),
    )


@pytest.mark.parametrize("listed", [True, False])
def test_gluster_tells_how_far_a_move_came(listed: bool) -> None:
    records = records_of(moving(4, listed=listed))
    operation = only(records)
    spec = operation.spec.evict_brick
    assert (operation.target_id, spec.brick_id, spec.new_brick.id) == (number("b", 1), number("b", 1), number("b", 60))
    assert len(spec.volume.bricks) == 6
    old = next(each for each in spec.volume.bricks if each.id == spec.brick_id)
    assert (spec.new_brick.set_index, spec.new_brick.position) == (old.set_index, old.position)
    assert volume_of(records, number("a", 1)).operation_id == OPERATION
    assert set(reserved(records)) == {number("d", 4)}
    assert again(records) == moving(4, listed=True)


def test_the_guessed_set_of_a_brick_that_moves_leaves_room_for_the_new_one() -> None:
    bricks = [
        brick_entry(value, volume=1, node=node) for value, node in ((1, 1), (2, 2), (3, 3), (11, 4), (12, 5), (13, 6))
    ]
    for node in (2, 3, 4, 5, 6):
        new = brick_entry(60, volume=1, node=node)
        dump = assembled([volume_entry(1, [*bricks, new], size=2)], [*bricks, new], nodes=6)
        changes = ((Change.DELETE_BRICK, number("b", 1)), (Change.ADD_BRICK, number("b", 60)))
        spec = only(records_of(pend(dump, OperationType.EVICT_BRICK, *changes))).spec.evict_brick
        mates = [each for each in spec.volume.bricks if each.set_index == spec.new_brick.set_index]
        assert number("e", node) not in {each.node_id for each in mates}


def test_operations_that_have_done_nothing_are_forgotten() -> None:
    removed = pend(large(), OperationType.REMOVE_DEVICE, (Change.REMOVE_DEVICE, number("d", 1)))
    evicted = pend(large(), OperationType.EVICT_BRICK, (Change.DELETE_BRICK, number("b", 1)))
    for dump in (removed, evicted):
        records = records_of(dump)
        assert len(records.operations) == 0
        assert again(records) == large()


def test_a_move_stays_when_the_removal_of_its_device_is_forgotten() -> None:
    dump = moving(4, listed=True)
    move = dump["pendingoperations"][OPERATION]
    move["Actions"].append({"Change": int(Change.PARENT_OPERATION), "Id": ANOTHER, "Delta": None})
    changes = ((Change.REMOVE_DEVICE, number("d", 1)), (Change.CHILD_OPERATION, OPERATION))
    records = records_of(pend(dump, OperationType.REMOVE_DEVICE, *changes, key=ANOTHER))
    assert only(records).kind == operation_pb2.OPERATION_KIND_EVICT_BRICK
    assert again(records) == moving(4, listed=True)


# --- block volumes ----------------------------------------------------------------------------------------------------


def a_block_that_is_made(*, with_hosting: bool) -> Json:
    bricks = [brick_entry(50 + node, volume=5, node=node, size_kib=10 * GIB_KIB) for node in (1, 2, 3)]
    held = {"freesize": 6, "reservedsize": 1, "blockvolume": [number("8", 1)]}
    hosting = volume_entry(5, bricks, size=10, block=True, blockinfo=held)
    # Heketi chooses the hosts when it makes it.
    access = {"hosts": None, "iqn": "", "lun": 0, "username": "", "password": ""}
    block = block_entry(1, hosting=5, size=3, hacount=3, blockvolume=access)
    changes: list[tuple[Change, str]] = []
    if with_hosting:
        changes = [(Change.ADD_BRICK, each["Info"]["id"]) for each in reversed(bricks)]
        changes.append((Change.ADD_VOLUME, number("a", 5)))
    changes.append((Change.ADD_BLOCK_VOLUME, number("8", 1)))
    return pend(assembled([hosting], bricks, [block]), OperationType.CREATE_BLOCK_VOLUME, *changes)


@pytest.mark.parametrize("with_hosting", [True, False])
def test_a_block_volume_that_was_being_made_is_removed(with_hosting: bool) -> None:
    dump = a_block_that_is_made(with_hosting=with_hosting)
    records = records_of(dump)
    operation = only(records)
    spec = operation.spec.create_block_volume
    assert (operation.target_id, spec.block_volume.hosting_volume_name) == (number("8", 1), "vol5")
    assert spec.HasField("hosting_volume") == with_hosting
    hosting = volume_of(records, number("a", 5))
    assert hosting.operation_id == (OPERATION if with_hosting else "")
    assert len(reserved(records)) == (3 if with_hosting else 0)
    assert again(records) == dump


def test_the_removal_of_a_block_volume_is_carried_on() -> None:
    dump = pend(large(), OperationType.DELETE_BLOCK_VOLUME, (Change.DELETE_BLOCK_VOLUME, number("8", 1)))
    records = records_of(dump)
    spec = only(records, taken_back=False).spec.delete_block_volume
    assert (spec.block_volume_id, spec.block_volume.password) == (number("8", 1), "")
    assert again(records) == dump


def test_gluster_block_tells_whether_a_new_size_holds() -> None:
    dump = pend(large(), OperationType.EXPAND_BLOCK_VOLUME, (Change.EXPAND_BLOCK_VOLUME, number("8", 1), 6))
    # What it grows by is taken already.
    dump["volumeentries"][number("a", 5)]["Info"]["blockinfo"]["freesize"] -= 3
    records = records_of(dump)
    spec = only(records).spec.expand_block_volume
    assert (spec.new_size_bytes >> 30, spec.block_volume.size_bytes >> 30) == (6, 3)
    assert again(records) == dump


# --- what can not be settled ------------------------------------------------------------------------------------------


def unknown_type() -> Json:
    return pend(large(), OperationType.UNKNOWN)


def without_its_object(kind: OperationType) -> Callable[[], Json]:
    return lambda: pend(large(), kind, (Change.ADD_BRICK, number("b", 1)))


@pytest.mark.parametrize(
    "dump",
    [
        unknown_type,
        *(without_its_object(each) for each in OperationType if each not in {0, OperationType.REMOVE_DEVICE}),
    ],
)
def test_an_operation_that_does_not_say_enough_is_a_reason(dump: Callable[[], Json]) -> None:
    found = prepared_from(dump()).reasons
    assert any(f"pending operation {OPERATION} (" in each and "needs to be settled" in each for each in found)


def test_two_operations_on_one_volume_are_a_reason() -> None:
    dump = expanding()
    changes = ((Change.DELETE_BRICK, number("b", 1)), (Change.ADD_BRICK, number("b", 46)))
    (first, *_) = prepared_from(pend(dump, OperationType.EVICT_BRICK, *changes, key=ANOTHER)).reasons
    assert first.startswith(f"pending operation {ANOTHER} (evict-brick): operation {OPERATION} changes the same volume")


def test_a_brick_that_nothing_changes_is_not_pending() -> None:
    dump = expanding()
    brick = number("b", 1)
    dump["brickentries"][brick]["Pending"]["Id"] = OPERATION
    assert prepared_from(dump).reasons == [f"brick {brick}: it is pending for {OPERATION!r}, its volume is not"]
