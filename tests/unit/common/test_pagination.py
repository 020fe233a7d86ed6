import pytest

from services.common.errors import InvalidArgumentError
from services.common.ids import is_id, new_id
from services.common.pagination import decode_page_token, encode_page_token, page_size
from services.common.units import GIB, MIB, round_up


def test_tokens_round_trip_and_strange_ones_are_refused() -> None:
    assert decode_page_token(encode_page_token("a" * 32)) == "a" * 32
    assert decode_page_token("") == ""
    with pytest.raises(InvalidArgumentError, match="is not a token of this list"):
        decode_page_token("%%%")


def test_page_sizes() -> None:
    assert page_size(0, default=100, maximum=1000) == 100
    assert page_size(5000, default=100, maximum=1000) == 1000
    with pytest.raises(InvalidArgumentError, match="page_size: -1 is negative"):
        page_size(-1, default=100, maximum=1000)


def test_ids_and_units() -> None:
    assert is_id(new_id())
    assert not is_id("A" * 32)
    assert not is_id("a" * 32 + "\n")
    assert round_up(1, 4 * MIB) == 4 * MIB
    assert round_up(GIB, 4 * MIB) == GIB
    assert round_up(0, 7) == 0
