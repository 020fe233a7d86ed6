"""Old dumps, upgraded as Heketi does it."""

from copy import deepcopy

from brickyard.topology.v1 import volume_pb2
from gateway.heketi.dump.exporting import exported
from gateway.heketi.dump.rendering import dump_object
from tests.unit.gateway_heketi_dump.dumps import Json, large, number, prepared_from

HOSTING = number("a", 5)


def old(dump: Json) -> Json:
    """As Heketi 4 wrote it: a few fields are not there yet."""
    made = deepcopy(dump)
    made["dbattributeentries"] = {}
    del made["pendingoperations"]
    for entry in made["clusterentries"].values():
        del entry["Info"]["block"], entry["Info"]["file"]
    for entry in made["volumeentries"].values():
        if "user.heketi.arbiter true" not in entry["GlusterVolumeOptions"]:
            entry["GlusterVolumeOptions"] = None
        del entry["Pending"]
    for entry in made["brickentries"].values():
        del entry["SubType"], entry["Pending"]
        entry["Info"]["volume"] = ""
    for entry in made["deviceentries"].values():
        del entry["Info"]["pv_uuid"], entry["Info"]["paths"]
        entry["ExtentSize"] = 0
    for entry in made["blockvolumeentries"].values():
        del entry["Info"]["usablesize"], entry["Pending"]
    return made


def test_an_old_dump_is_upgraded() -> None:
    made = prepared_from(old(large()))
    assert made.reasons == []
    assert any("older than the choice" in note for note in made.notes)
    assert made.records.generation_id == "1" * 32
    expected = large()
    expected["dbattributeentries"]["DB_GENERATION_ID"]["Value"] = "1" * 32
    for entry in expected["volumeentries"].values():
        if "user.heketi.arbiter true" not in entry["GlusterVolumeOptions"]:
            entry["GlusterVolumeOptions"] = None
    for entry in expected["deviceentries"].values():
        del entry["Info"]["pv_uuid"], entry["Info"]["paths"]
    for entry in expected["blockvolumeentries"].values():
        entry["Info"]["usablesize"] = entry["Info"]["size"]
    assert dump_object(exported(made.records, 0.0)[0]) == expected


def test_thin_pools_without_a_name_are_named_after_their_bricks() -> None:
    dump = large()
    dump["brickentries"][number("b", 31)]["LvmThinPool"] = ""
    made = prepared_from(dump)
    assert made.reasons == []
    brick = next(each.brick for each in made.records.bricks if each.brick.id == number("b", 31))
    assert brick.thin_pool_name == f"tp_{brick.id}"


def hosting_of(dump: Json) -> tuple[int, int, int]:
    made = prepared_from(dump)
    assert made.reasons == []
    found = next(each.volume.block_hosting for each in made.records.volumes if each.volume.id == HOSTING)
    return found.free_size_bytes >> 30, found.reserved_size_bytes >> 30, found.restriction


def test_hosting_volumes_get_their_reserve() -> None:
    dump = large()
    dump["volumeentries"][HOSTING]["Info"]["blockinfo"] |= {"freesize": 5, "reservedsize": 0, "restriction": ""}
    assert hosting_of(dump) == (4, 1, volume_pb2.BLOCK_RESTRICTION_UNSPECIFIED)


def test_hosting_volumes_that_do_not_add_up_are_locked() -> None:
    dump = large()
    dump["volumeentries"][HOSTING]["Info"]["blockinfo"] |= {"freesize": 9, "restriction": ""}
    assert hosting_of(dump) == (4, 1, volume_pb2.BLOCK_RESTRICTION_LOCKED_BY_UPDATE)


def test_hosting_volumes_without_room_for_the_reserve_are_locked() -> None:
    dump = large()
    dump["blockvolumeentries"][number("8", 1)]["Info"] |= {"size": 8, "usablesize": 8}
    dump["volumeentries"][HOSTING]["Info"]["blockinfo"] |= {"freesize": 0, "reservedsize": 0, "restriction": ""}
    assert hosting_of(dump) == (0, 0, volume_pb2.BLOCK_RESTRICTION_LOCKED_BY_UPDATE)
