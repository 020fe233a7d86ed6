"""Command lines of gluster-block, and what its answers say."""

import json
from typing import Any

import pytest

from services.common.units import GIB, TIB
from services.executor.block import commands, reports

PASSWORD = "1b2c3d4e-aaaa-bbbb-cccc-0123456789ab"
CREATED = (
    '{ "IQN": "iqn.2016-12.org.gluster-block:aafea465", "USERNAME": "aafea465", '
    f'"PASSWORD": "{PASSWORD}", "PORTAL(S)": [ "10.0.0.1:3260", "10.0.0.2:3260" ], "RESULT": "SUCCESS" }}\n'
)
INFO: dict[str, Any] = {
    "NAME": "blk",
    "VOLUME": "vol_x",
    "GBID": "aafea465",
    "SIZE": "5.0 GiB",
    "HA": 2,
    "IOTIMEOUT": "43 Seconds",
    "PASSWORD": "",
    "EXPORTED ON": ["10.0.0.1", "10.0.0.2"],
}
EXISTS = '{ "RESULT": "FAIL", "errCode": 17, "errMsg": "BLOCK with name: \'blk\' already EXIST\\n" }\n'


def test_command_lines() -> None:
    hosts = ["10.0.0.1", "10.0.0.2"]
    made = commands.create("vol_x", "blk", hosts=hosts, auth=True, prealloc="full", size_bytes=5 * GIB)
    assert made == [
        *("gluster-block", "create", "vol_x/blk", "ha", "2", "auth", "enable", "prealloc", "full"),
        *("10.0.0.1,10.0.0.2", "5GiB", "--json"),
    ]
    plain = commands.create("vol_x", "blk", hosts=hosts[:1], auth=False, prealloc="no", size_bytes=GIB)
    assert plain[3:9] == ["ha", "1", "auth", "disable", "prealloc", "no"]
    assert commands.resize("vol_x", "blk", 7 * GIB) == [
        *("gluster-block", "modify", "vol_x/blk", "size", "7GiB", "--json")
    ]
    assert commands.delete("vol_x", "blk") == ["gluster-block", "delete", "vol_x/blk", "--json"]
    assert commands.info("vol_x", "blk") == ["gluster-block", "info", "vol_x/blk", "--json"]
    assert commands.list_names("vol_x") == ["gluster-block", "list", "vol_x", "--json"]


def reply(text: str) -> reports.Reply:
    found = reports.parse_reply(text)
    assert found is not None
    return found


def test_what_a_creation_gives() -> None:
    access = reports.parse_access(reply(CREATED))
    assert access == reports.Access("iqn.2016-12.org.gluster-block:aafea465", "aafea465", PASSWORD)
    without = reports.parse_access(reply('{ "IQN": "iqn:x", "PORTAL(S)": [ ], "RESULT": "SUCCESS" }'))
    assert without == reports.Access("iqn:x", "", "")
    with pytest.raises(ValueError, match="IQN"):
        reports.parse_access(reply('{ "RESULT": "SUCCESS" }'))


def test_failures_have_their_text() -> None:
    found = reply(EXISTS)
    assert (found.failed, found.message) == (True, "BLOCK with name: 'blk' already EXIST")
    assert reports.says_exists(found.message)
    # A resize that failed on some hosts has no text of its own.
    partial = reply('{ "IQN": "x", "FAILED ON": [ "10.0.0.2" ], "SUCCESSFUL ON": [ "10.0.0.1" ], "RESULT": "FAIL" }')
    assert (partial.failed, partial.message) == (True, "failed on 10.0.0.2")


@pytest.mark.parametrize("text", ["", "not json", "[1]", '"x"', "{ broken", "Did you enable gluster-blockd?"])
def test_what_is_no_answer(text: str) -> None:
    assert reports.parse_reply(text) is None


def test_text_around_an_answer_is_passed_over() -> None:
    assert reply(f"some warning\n{CREATED}bye\n").fields["USERNAME"] == "aafea465"


def test_a_description() -> None:
    found = reports.parse_info(reply(json.dumps(INFO)))
    assert found == reports.BlockVolume("blk", "aafea465", 5 * GIB, 5 * GIB, 2, ("10.0.0.1", "10.0.0.2"))
    assert found.access == reports.Access("iqn.2016-12.org.gluster-block:aafea465", "", "")
    secret = reports.parse_info(reply(json.dumps({**INFO, "PASSWORD": PASSWORD})))
    assert (secret.access.username, secret.access.password) == ("aafea465", PASSWORD)
    assert PASSWORD not in repr(secret)
    assert PASSWORD not in repr(secret.access)
    assert PASSWORD not in repr(reply(CREATED))


def test_what_all_hosts_have_after_a_resize_that_failed() -> None:
    told = {**INFO, "SIZE": "9.0 GiB", "RESIZE FAILED ON": {"10.0.0.2": "5.0 GiB", "10.0.0.3": "7.0 GiB"}}
    found = reports.parse_info(reply(json.dumps(told)))
    assert (found.size_bytes, found.usable_bytes) == (9 * GIB, 5 * GIB)
    broken = reports.parse_info(reply(json.dumps({**INFO, "ENCOUNTERED FAILURES ON": ["10.0.0.3"]})))
    assert broken.failed_hosts == ("10.0.0.3",)


@pytest.mark.parametrize("missing", ["NAME", "GBID", "SIZE"])
def test_a_description_that_lacks_something(missing: str) -> None:
    told = {key: value for key, value in INFO.items() if key != missing}
    with pytest.raises(ValueError, match=missing):
        reports.parse_info(reply(json.dumps(told)))


def test_sizes() -> None:
    sizes = {"5.0 GiB": 5 * GIB, "1.5 TiB": TIB + TIB // 2, "512.0 MiB": GIB // 2, "10 B": 10}
    assert {text: reports.parse_size(text) for text in sizes} == sizes
    for text in ("", "5", "GiB", "5 parsec", "-1 GiB"):
        with pytest.raises(ValueError, match="is no size"):
            reports.parse_size(text)


def test_names() -> None:
    assert reports.parse_names(reply('{ "blocks": [ "b", "a" ], "RESULT": "SUCCESS" }')) == ("a", "b")
    with pytest.raises(ValueError, match="blocks"):
        reports.parse_names(reply('{ "RESULT": "SUCCESS" }'))


def test_absent_is_told_apart() -> None:
    assert reports.says_absent("block vol_x/blk doesn't exist", "vol_x", "blk")
    assert reports.says_absent("Volume vol_x does not exist", "vol_x", "blk")
    assert not reports.says_absent("Volume vol_y does not exist", "vol_x", "blk")
    assert not reports.says_absent("Not able to get metadata information for vol_x/blk", "vol_x", "blk")
    assert reports.says_same_size("request size (5.0 GiB) is same as current size (5.0 GiB) ]")


def test_passwords_are_taken_out_of_texts() -> None:
    shown = reports.redacted(CREATED)
    assert PASSWORD not in shown
    assert "aafea465" in shown
    assert reports.redacted(f"PASSWORD: {PASSWORD}\nRESULT: SUCCESS") == "PASSWORD: ***\nRESULT: SUCCESS"
