"""Dumps that can not be taken over: every reason is told."""

import json
from copy import deepcopy
from typing import Any

import pytest

from gateway.heketi.dump.parsing import UnreadableDumpError, parse_dump
from tests.unit.gateway_heketi_dump.dumps import Json, changed, large, number, prepared_from

VOLUME, BRICK, NODE, DEVICE = number("a", 1), number("b", 1), number("e", 1), number("d", 1)
CLUSTER, BLOCK = number("f", 1), number("8", 1)


def reasons(dump: Json) -> list[str]:
    return prepared_from(dump).reasons


def one_more_brick(dump: Json) -> None:
    """A brick that fits everywhere but into a set."""
    brick = deepcopy(dump["brickentries"][BRICK])
    brick["Info"]["id"] = number("b", 999)
    brick["LvmThinPool"] = dump["brickentries"][number("b", 11)]["LvmThinPool"]
    dump["brickentries"][number("b", 999)] = brick
    dump["volumeentries"][VOLUME]["Bricks"].append(number("b", 999))
    dump["deviceentries"][DEVICE]["Bricks"].append(number("b", 999))


CASES: list[tuple[str, str, tuple[str, ...], Any, str]] = [
    ("volumeentries", VOLUME, ("Info", "cluster"), number("f", 9), f"Volume {VOLUME} unknown cluster {number('f', 9)}"),
    ("brickentries", BRICK, ("Info", "device"), number("d", 9), f"Brick {BRICK} unknown device {number('d', 9)}"),
    ("brickentries", BRICK, ("Info", "path"), "", f"brick {BRICK}: it has no path"),
    ("brickentries", BRICK, ("LvmThinPool",), "pool0", f"brick {BRICK}: the thin pool 'pool0' has no name of Heketi's"),
    ("brickentries", BRICK, ("SubType",), 7, f"brick {BRICK}: the SubType 7 is unknown"),
    ("brickentries", BRICK, ("Info", "size"), 5, f"volume {VOLUME}: its 6 bricks make no sets of 3"),
    ("nodeentries", NODE, ("State",), "broken", f"node {NODE}: the state 'broken' is none of"),
    ("nodeentries", NODE, ("Info", "zone"), 0, f"node {NODE}: the zone 0 is not 1 to"),
    (
        "nodeentries",
        NODE,
        ("Info", "hostnames"),
        {"manage": ["m2"], "storage": ["s1"]},
        "manage host name 'm2' belongs",
    ),
    ("deviceentries", DEVICE, ("Info", "storage", "free"), 1, f"Device {DEVICE} size values differ Total("),
    ("volumeentries", VOLUME, ("Info", "name"), "copy", "the volume name 'copy' belongs to"),
    ("volumeentries", VOLUME, ("Info", "durability", "replicate"), {"replica": -1}, "is negative or too large"),
    ("volumeentries", number("a", 5), ("Info", "block"), False, "has blockvolumes but not block flag"),
    ("volumeentries", number("a", 5), ("Info", "blockinfo", "restriction"), "maybe", "restriction 'maybe' is unknown"),
    ("blockvolumeentries", BLOCK, ("Info", "hacount"), 3, f"block volume {BLOCK}: hacount is 3"),
    ("brickentries", BRICK, ("Pending",), {"Id": "x"}, f"Brick {BRICK} marked pending but no pending op x"),
]


@pytest.mark.parametrize(("section", "key", "path", "value", "reason"), CASES)
def test_one_fault(section: str, key: str, path: tuple[str, ...], value: Any, reason: str) -> None:
    found = reasons(changed(large(), section, key, *path, value=value))
    assert any(reason in each for each in found), found


def test_all_faults_at_once() -> None:
    dump = large()
    dump["nodeentries"][NODE]["State"] = "broken"
    dump["volumeentries"][VOLUME]["Info"]["durability"]["type"] = "mirror"
    dump["dbattributeentries"]["DB_FROM_THE_FUTURE"] = {"Key": "DB_FROM_THE_FUTURE", "Value": "yes"}
    del dump["brickentries"][BRICK]
    found = reasons(dump)
    assert [each for each in found if "'broken'" in each]
    assert [each for each in found if "'mirror'" in each]
    assert [each for each in found if "DB_FROM_THE_FUTURE" in each]
    assert f"Volume {VOLUME} unknown brick {BRICK}" in found
    assert f"Device {DEVICE} unknown brick {BRICK}" in found


def test_bricks_that_can_not_be_sets() -> None:
    dump = large()
    one_more_brick(dump)
    assert reasons(dump) == [f"volume {VOLUME}: its 7 bricks make no sets of 3 of one size and on different nodes"]


def test_used_space_that_no_brick_has_is_taken_over() -> None:
    dump = large()
    storage = dump["deviceentries"][DEVICE]["Info"]["storage"]
    storage["used"] += 4096
    storage["free"] -= 4096
    made = prepared_from(dump)
    assert made.reasons == []
    assert any("size values differ Used(" in note for note in made.notes)
    device = next(each for each in made.records.devices if each.device.id == DEVICE)
    assert device.unattributed_bytes == 4 << 20


def test_too_little_used_space_is_refused() -> None:
    dump = large()
    storage = dump["deviceentries"][DEVICE]["Info"]["storage"]
    storage["used"] -= 4096
    storage["free"] += 4096
    (reason,) = reasons(dump)
    assert reason.startswith(f"Device {DEVICE} size values differ Used(")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "it is no JSON"),
        (b"[]", "it is no dump of Heketi"),
        (b'{"a": 1}', "it is no dump of Heketi"),
        (b'{"clusterentries": {}, "more": {}}', "dump.more: unknown"),
        (b'{"clusterentries": 3}', "dump.clusterentries: 3 is no object"),
        (b'{"clusterentries": {"a": {"Info": {"id": "b"}}}}', "clusterentries.a: its own id is 'b'"),
    ],
)
def test_what_is_no_dump(text: bytes, reason: str) -> None:
    with pytest.raises(UnreadableDumpError) as raised:
        parse_dump(text)
    assert any(reason in each for each in raised.value.reasons)


def test_every_value_that_does_not_fit_is_told_with_its_place() -> None:
    dump = large()
    dump["brickentries"][BRICK]["TpSize"] = "large"
    dump["volumeentries"][VOLUME]["Info"]["mount"]["glusterfs"]["hosts"] = ["a", 1]
    dump["nodeentries"][NODE]["Info"]["colour"] = "red"
    with pytest.raises(UnreadableDumpError) as raised:
        parse_dump(json.dumps(dump).encode())
    assert raised.value.reasons == [
        f'volumeentries.{VOLUME}.Info.mount.glusterfs.hosts: ["a", 1] is no list of strings',
        f'brickentries.{BRICK}.TpSize: "large" is no integer',
        f"nodeentries.{NODE}.Info.colour: unknown; the dump is of another version than 4 to 10",
    ]
