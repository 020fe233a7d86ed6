"""Back up: an archive of all tables as they are at one moment, while operations run. Effects: SQL."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from services.topology import archive, migrations
from services.topology.store import Store, Transaction
from services.topology.tables import METADATA, SERVER

_ROWS_AT_ONCE = 1000


def back_up(store: Store) -> list[bytes]:
    """The archive of the whole database in chunks.

    All of it is read, and compressed, before the first chunk is sent: a slow reader must not keep a transaction open,
    which would keep SQLite from truncating its log, and PostgreSQL from cleaning up. It needs about 150 bytes of memory
    for each brick.
    """
    return store.read(lambda tx: list(archive.write(_head(tx), _tables(tx))))


def _head(tx: Transaction) -> archive.Head:
    return archive.Head(
        schema_revision=migrations.current(tx.connection) or migrations.HEAD,
        generation_id=tx.scalar(sa.select(SERVER.c.generation_id)),
        create_time_us=tx.now_us,
    )


def _tables(tx: Transaction) -> Iterator[tuple[str, Sequence[str], Iterator[Sequence[Any]]]]:
    for table in METADATA.sorted_tables:
        rows = tx.connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(
            sa.select(table).order_by(*table.primary_key)
        )
        yield table.name, [column.name for column in table.columns], (tuple(row) for row in rows)
