"""The archive of a database: one format for all engines. Pure, but for the compression of what it is given.

Lines of JSON, compressed with gzip: a head that names the revision of the schema; for each table a line with its name
and columns, then a line for each row with its values; an end with the number of rows, so that a part is never taken for
the whole. Bytes are written as {"base64": "..."}.
"""

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason

FORMAT = "brickyard topology"
VERSION = 1
_CHUNK_BYTES = 256 * 1024
_LEVEL = 6


class ArchivedRow(NamedTuple):
    """A row of a table."""

    table: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an archive says of itself.

    Attributes:
        schema_revision: Revision of the schema that its rows are of.
        generation_id: Id of the database that it is of.
        create_time_us: When its rows were read, in microseconds since 1970.
    """

    schema_revision: str
    generation_id: str
    create_time_us: int


def write(head: Head, tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[Any]]]]) -> Iterator[bytes]:
    """The archive in chunks.

    Args:
        head: What it says of itself.
        tables: Name, columns and rows of each table.
    """
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    pending = bytearray()
    count = 0
    pending += packer.compress(
        _line(
            {
                "format": FORMAT,
                "version": VERSION,
                "schema_revision": head.schema_revision,
                "generation_id": head.generation_id,
                "create_time_us": head.create_time_us,
            }
        )
    )
    for name, columns, rows in tables:
        pending += packer.compress(_line({"table": name, "columns": list(columns)}))
        for row in rows:
            count += 1
            pending += packer.compress(_line([_packed(value) for value in row]))
            if len(pending) >= _CHUNK_BYTES:
                yield bytes(pending)
                pending.clear()
    pending += packer.compress(_line({"end": True, "row_count": count}))
    pending += packer.flush()
    yield bytes(pending)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _packed(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value


class Reader:
    """Reads an archive. Every fault of the file is a FailedPreconditionError that names it."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Reads the head.

        Args:
            file: The archive.
            name: Its name, for messages.

        Raises:
            FailedPreconditionError: INVALID_ARGUMENT: no archive, or of a version that is not known here.
        """
        self._name = name
        self._lines = gzip.GzipFile(fileobj=file, mode="rb")
        head = self._next()
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise self._bad("is no archive of Brickyard's topology")
        if head.get("version") != VERSION:
            raise self._bad(f"has version {head.get('version')}; this program reads version {VERSION}")
        try:
            self.head = Head(
                schema_revision=str(head["schema_revision"]),
                generation_id=str(head["generation_id"]),
                create_time_us=int(head["create_time_us"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._bad(f"has a head without {error}") from error

    def rows(self) -> Iterator[ArchivedRow]:
        """All rows.

        Raises:
            FailedPreconditionError: INVALID_ARGUMENT: the file is damaged, or a part of one.
        """
        table = ""
        columns: list[str] = []
        count = 0
        while True:
            line = self._next()
            if isinstance(line, list) and len(line) == len(columns):
                count += 1
                yield ArchivedRow(table, dict(zip(columns, map(self._unpacked, line), strict=True)))
            elif isinstance(line, dict) and "table" in line and isinstance(line.get("columns"), list):
                table, columns = str(line["table"]), list(line["columns"])
            elif isinstance(line, dict) and line.get("end") is True:
                if line.get("row_count") != count:
                    raise self._bad(f"has {count} rows, and says that there are {line.get('row_count')}")
                # Up to its very end, where gzip's checksum is.
                if self._read_line():
                    raise self._bad("goes on after its end")
                return
            else:
                raise self._bad("has a line that does not belong there")

    def _unpacked(self, value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"base64"}:
            try:
                return base64.b64decode(value["base64"], validate=True)
            except (binascii.Error, TypeError) as error:
                raise self._bad(f"is damaged: {error}") from error
        return value

    def _read_line(self) -> bytes:
        try:
            return self._lines.readline()
        except (OSError, EOFError, zlib.error) as error:
            raise self._bad(f"is damaged or not complete: {error}") from error

    def _next(self) -> Any:
        line = self._read_line()
        if not line.endswith(b"\n"):
            raise self._bad("is not complete")
        try:
            return json.loads(line)
        except ValueError as error:
            raise self._bad(f"is damaged: {error}") from error

    def _bad(self, problem: str) -> FailedPreconditionError:
        return FailedPreconditionError(
            Reason.INVALID_ARGUMENT, f"file: {self._name} {problem}", field="file", value=self._name
        )
