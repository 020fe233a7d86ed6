import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.heketi import go_json
from gateway.heketi.go_json import (
    SyntaxFault,
    TypeFault,
    boolean,
    float32,
    float32_number,
    integer,
    nested,
    read,
    text,
    text_list,
    text_map,
    write,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SHAPE: go_json.Shape = {
    "size": (integer, 0),
    "name": (text, ""),
    "on": (boolean, False),
    "factor": (float32, 0.0),
    "list": (text_list, ()),
    "map": (text_map, {}),
    "inner": nested({"a": (integer, 0), "b": (integer, 7)}),
}


def one(body: str, field: str) -> object:
    return read(body.encode(), SHAPE)[field]


def test_missing_fields_have_defaults_and_null_is_an_empty_object() -> None:
    empty = {"size": 0, "name": "", "on": False, "factor": 0.0, "list": (), "map": {}, "inner": {"a": 0, "b": 7}}
    assert read(b"{}", SHAPE) == read(b" null\n", SHAPE) == empty


@pytest.mark.parametrize("key", ["size", "SIZE", "SiZe", "\u017fize"])
def test_keys_match_in_any_case(key: str) -> None:
    assert one(json.dumps({key: 3}), "size") == 3


def test_unknown_keys_are_ignored_whatever_they_hold() -> None:
    assert one('{"other":{"size":"x"},"sizes":1e999,"size":2}', "size") == 2


def test_the_last_of_repeated_keys_counts_and_objects_merge() -> None:
    assert one('{"size":1,"Size":2}', "size") == 2
    assert one('{"inner":{"a":1},"inner":{"b":2}}', "inner") == {"a": 1, "b": 2}
    assert one('{"map":{"a":"1"},"map":{"b":"2"}}', "map") == {"a": "1", "b": "2"}


def test_null_leaves_values_and_empties_lists_and_maps() -> None:
    assert one('{"size":1,"size":null}', "size") == 1
    assert one('{"list":["a"],"list":null}', "list") == ()
    assert one('{"map":{"a":"1"},"map":null}', "map") == {}
    assert one('{"inner":null}', "inner") == {"a": 0, "b": 7}
    assert one('{"list":["a",null]}', "list") == ("a", "")
    assert one('{"map":{"a":null}}', "map") == {"a": ""}


@pytest.mark.parametrize(
    "body",
    [
        '{"size":"1"}',
        '{"size":1.0}',
        '{"size":1e3}',
        '{"size":true}',
        '{"size":9223372036854775808}',
        '{"name":1}',
        '{"name":["x"]}',
        '{"on":1}',
        '{"on":"true"}',
        '{"factor":"1.5"}',
        '{"factor":true}',
        '{"factor":1e39}',
        '{"factor":1e999}',
        '{"factor":1' + "0" * 400 + "}",
        '{"list":"a"}',
        '{"list":{}}',
        '{"list":[1]}',
        '{"map":[]}',
        '{"map":{"a":1}}',
        '{"inner":1}',
        '{"inner":{"a":"x"}}',
        "[]",
        '"x"',
        "1",
    ],
)
def test_values_of_the_wrong_type(body: str) -> None:
    with pytest.raises(TypeFault):
        read(body.encode(), SHAPE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{} {}",
        b"{}x",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"size":NaN}',
        b'{"other":Infinity}',
        b'{"a":"\n"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"size":' + b"9" * 5000 + b"}",
    ],
)
def test_text_that_is_no_json(body: bytes) -> None:
    with pytest.raises(SyntaxFault):
        read(body, SHAPE)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"name":"x', "unexpected end of JSON input"),
        (b'{"name":', "unexpected end of JSON input"),
        (b"{]", "invalid character ']' looking for beginning of object key string"),
        (b'{"name" 1}', "invalid character '1' after object key"),
        (b'{"name":"x" "y"}', "invalid character '\"' after object key:value pair"),
        (b'{"list":["x" "y"]}', "invalid character '\"' after array element"),
        (b'{"name":NaN}', "invalid character 'N' looking for beginning of value"),
        (b"{} {}", "invalid character '{' after top-level value"),
        (b"'", r"invalid character '\'' looking for beginning of value"),
    ],
)
def test_why_it_is_no_json_in_the_words_of_go(body: bytes, told: str) -> None:
    with pytest.raises(SyntaxFault) as fault:
        read(body, SHAPE)
    assert str(fault.value) == told


def test_extreme_numbers_that_fit() -> None:
    assert one('{"size":-9223372036854775808}', "size") == -(1 << 63)
    assert one('{"size":-0}', "size") == 0
    assert one('{"factor":1}', "factor") == 1.0
    assert one('{"factor":1.1}', "factor") == struct.unpack("<f", struct.pack("<f", 1.1))[0]


def test_broken_text_becomes_the_replacement_character() -> None:
    assert read(b'{"name":"a\xffb"}', SHAPE)["name"] == "a\ufffdb"
    assert one(r'{"name":"a\ud800b"}', "name") == "a\ufffdb"
    assert one(r'{"name":"\ud83d\ude00"}', "name") == "\U0001f600"
    assert one(r'{"map":{"\udfff":"x"}}', "map") == {"\ufffd": "x"}


def test_writing_is_compact_escaped_and_ends_with_a_newline() -> None:
    assert write({"b": [1, True, None], "a": "x"}) == b'{"b":[1,true,null],"a":"x"}\n'
    assert write({"a": "<&>\u2028\u2029"}) == rb'{"a":"\u003c\u0026\u003e\u2028\u2029"}' + b"\n"
    assert write({"a": '"\\\n\u00e9'}) == '{"a":"\\"\\\\\\n\u00e9"}\n'.encode()


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1"), (1.5, "1.5"), (1.1, "1.1"), (100.0, "100"), (33.333, "33.333"), (0.0, "0")]
)
def test_float32_prints_in_its_shortest_form(value: float, shown: str) -> None:
    stored = struct.unpack("<f", struct.pack("<f", value))[0]
    assert write(float32_number(stored)).decode() == f"{shown}\n"


@given(st.floats(min_value=1, max_value=100, width=32))
def test_float32_survives_the_way_out_and_in(value: float) -> None:
    shown = write({"factor": float32_number(value)})
    assert read(shown, SHAPE)["factor"] == value


@given(st.dictionaries(TEXT, TEXT))
def test_any_text_survives_the_way_out_and_in(values: dict[str, str]) -> None:
    assert read(write({"map": values}), SHAPE)["map"] == values
