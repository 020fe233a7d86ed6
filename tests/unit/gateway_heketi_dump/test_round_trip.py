"""What goes in comes out: JSON, dump, records of the topology, dump, JSON."""

import json

import pytest

from brickyard.topology.v1 import volume_pb2
from gateway.heketi.dump.checking import check_object
from gateway.heketi.dump.exporting import exported
from gateway.heketi.dump.parsing import parse_dump
from gateway.heketi.dump.rendering import write_dump, write_indented
from tests.unit.gateway_heketi_dump.dumps import in_order, large, number, prepared_from, read, recorded


def lines(text: str) -> list[str]:
    """For comparisons where ids were masked: their order, and so that of entries, is another one."""
    return sorted(line.rstrip(",") for line in text.splitlines())


RECORDINGS = [(name, index) for name in ("17-db.text", "17-db.json") for index in (0, 1)]


@pytest.mark.parametrize(("name", "index"), RECORDINGS)
def test_recorded_dumps_come_out_as_heketi_wrote_them(name: str, index: int) -> None:
    text = recorded(name, "db dump")[index]
    assert lines(write_dump(parse_dump(text.encode())).decode()) == lines(text)


@pytest.mark.parametrize(("name", "index"), RECORDINGS)
def test_recorded_dumps_are_checked_as_heketi_does(name: str, index: int) -> None:
    dump = parse_dump(recorded(name, "db dump")[index].encode())
    checked = write_indented(check_object(dump, beyond_kib={})).decode()
    assert checked == recorded(name, "db check")[index]


@pytest.mark.parametrize(("name", "index"), RECORDINGS)
def test_recorded_dumps_survive_our_records(name: str, index: int) -> None:
    text = recorded(name, "db dump")[index]
    made = prepared_from(json.loads(text))
    assert (made.reasons, made.notes) == ([], [])
    assert lines(write_dump(exported(made.records, 0.0)[0]).decode()) == lines(text)


def test_everything_that_heketi_has_survives_our_records() -> None:
    dump = large()
    made = prepared_from(dump)
    assert (made.reasons, made.notes) == ([], [])
    found, beyond = exported(made.records, 0.0)
    assert write_dump(found).decode() == in_order(dump)
    assert beyond == {}
    assert check_object(found, beyond_kib=beyond)["totalinconsistencies"] == 0


def test_what_is_special_in_the_records() -> None:
    records = prepared_from(large()).records
    volumes = {each.volume.id: each for each in records.volumes}
    bricks = {each.brick.id: each.brick for each in records.bricks}
    assert volumes[number("a", 1)].volume.brick_order_unknown
    assert not volumes[number("a", 3)].volume.brick_order_unknown
    assert list(volumes[number("a", 2)].requested_cluster_ids) == [number("f", 1)]
    assert list(volumes[number("a", 2)].mount_hosts) == ["s2", "s1", "s3"]
    arbiter = bricks[number("b", 23)]
    assert (arbiter.role, arbiter.position) == (volume_pb2.BRICK_ROLE_ARBITER, 2)
    copied = bricks[number("b", 101)]
    assert copied.lv_name == f"{'7' * 32}_0"
    assert copied.thin_pool_name == bricks[number("b", 1)].thin_pool_name
    assert {(brick.set_index, brick.position) for brick in bricks.values() if brick.volume_id == number("a", 1)} == {
        (index, position) for index in (0, 1) for position in (0, 1, 2)
    }
    hosting = volumes[number("a", 5)].volume.block_hosting
    assert hosting.restriction == volume_pb2.BLOCK_RESTRICTION_LOCKED


def test_characters_that_go_escapes() -> None:
    dump = large()
    dump["nodeentries"][number("e", 1)]["Info"]["tags"] = {"a": "<&>"}
    text = write_dump(read(dump)).decode()
    assert r'"a": "\u003c\u0026\u003e"' in text
    assert json.loads(text) == dump
