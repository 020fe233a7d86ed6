"""The archive of a database: what goes in comes out, and a file that is not whole is told apart."""

import gzip
import hashlib
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import FailedPreconditionError
from services.topology.archive import ArchivedRow, Head, Reader, write

HEAD = Head(schema_revision="0007", generation_id="a" * 32, create_time_us=5)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary(), st.lists(st.text(), max_size=3)
)


def packed(tables: list[tuple[str, list[str], list[list[object]]]]) -> bytes:
    return b"".join(write(HEAD, tables))


def read(content: bytes) -> list[ArchivedRow]:
    return list(Reader(io.BytesIO(content), "file").rows())


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=5))
def test_rows_come_out_as_they_went_in(rows: list[list[object]]) -> None:
    content = packed([("first", ["a", "b"], rows), ("empty", ["c"], [])])
    assert Reader(io.BytesIO(content), "file").head == HEAD
    assert read(content) == [ArchivedRow("first", dict(zip(("a", "b"), row, strict=True))) for row in rows]


def test_large_archives_come_in_chunks() -> None:
    rows = [[index, hashlib.sha512(b"%d" % index).hexdigest()] for index in range(15_000)]
    chunks = list(write(HEAD, [("t", ["a", "b"], rows)]))
    assert len(chunks) >= 3
    assert len(read(b"".join(chunks))) == len(rows)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _without_a_row(content: bytes) -> bytes:
    lines = gzip.decompress(content).splitlines(keepends=True)
    del lines[-2]
    return gzip.compress(b"".join(lines))


def _longer(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content) + b"{}\n")


def _other_version(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content).replace(b'"version":1', b'"version":2', 1))


def _strange_line(content: bytes) -> bytes:
    lines = gzip.decompress(content).splitlines(keepends=True)
    return gzip.compress(b"".join([*lines[:3], b"7\n", *lines[3:]]))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_cut, "not complete"),
        (_flipped, "damaged"),
        (_without_a_row, "says that there are"),
        (_longer, "goes on after its end"),
        (_other_version, "has version 2"),
        (_strange_line, "a line that does not belong there"),
        (lambda _content: b"", "is not complete"),
        (lambda _content: b"SQLite format 3\0", "damaged"),
        (lambda _content: gzip.compress(b"{}\n"), "is no archive"),
        (lambda content: gzip.compress(gzip.decompress(content)[:100]), "is not complete"),
    ],
)
def test_a_file_that_is_no_whole_archive(spoil: Callable[[bytes], bytes], why: str) -> None:
    content = packed([("t", ["a", "b"], [[index, f"row {index * 7919}"] for index in range(200)])])
    with pytest.raises(FailedPreconditionError, match=why) as raised:
        read(spoil(content))
    assert raised.value.message.startswith("file: file ")
