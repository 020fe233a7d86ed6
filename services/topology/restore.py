"""Restore a backup into a database that no server uses: `python -m services.topology.restore`. Effects: files, SQL."""

import json
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
import sqlalchemy as sa

from services.common.errors import BrickyardError, FailedPreconditionError
from services.common.reasons import Reason
from services.topology import migrations
from services.topology.archive import Head, Reader
from services.topology.store import Store
from services.topology.tables import METADATA
from services.topology.usecases import consistency

_ROWS_AT_ONCE = 500
_VERSION_TABLE = "alembic_version"
# A row of its own is in it from the beginning.
_NEVER_EMPTY = frozenset({_VERSION_TABLE, "server"})


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes:
        head: What the archive says of itself.
        row_count: Rows in all.
        violations: Invariants that the restored records violate, as they did when the backup was made.
    """

    head: Head
    row_count: int
    violations: list[str]


def restore(store: Store, path: Path, *, replace: bool) -> Restored:
    """Fills a database from an archive, brings it to the newest schema and checks it; all of it, or nothing.

    Args:
        store: The database; its server must not run.
        path: The archive.
        replace: Whether a database that is not empty loses what it has.

    Raises:
        FailedPreconditionError: TOPOLOGY_NOT_EMPTY; INVALID_ARGUMENT: the file is damaged, or of a newer program.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head, count = store.write(lambda tx: _fill(tx.connection, file, path, replace=replace))
    violations, _ = consistency.check(store)
    return Restored(head, count, violations)


def _fill(connection: sa.Connection, file: IO[bytes], path: Path, *, replace: bool) -> tuple[Head, int]:
    file.seek(0)
    reader = Reader(file, str(path))
    _check_known(connection, reader.head.schema_revision, path)
    _clear(connection, replace=replace)
    migrations.upgrade(connection, reader.head.schema_revision)
    metadata = sa.MetaData()
    metadata.reflect(connection, resolve_fks=False)
    connection.execute(sa.delete(metadata.tables["server"]))
    count = 0
    table: sa.Table | None = None
    pending: list[dict[str, Any]] = []
    for row in reader.rows():
        if table is None or row.table != table.name or len(pending) >= _ROWS_AT_ONCE:
            _insert(connection, table, pending)
            pending = []
            table = _table(metadata, row.table, path)
        pending.append(row.values)
        count += 1
    _insert(connection, table, pending)
    if connection.dialect.name == "postgresql":
        # It alters no table while a deferred check of references to its rows waits.
        connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
    migrations.upgrade(connection)
    return reader.head, count


def _insert(connection: sa.Connection, table: sa.Table | None, rows: list[dict[str, Any]]) -> None:
    if table is not None and rows:
        connection.execute(sa.insert(table), rows)


def _table(metadata: sa.MetaData, name: str, path: Path) -> sa.Table:
    table = metadata.tables.get(name)
    if table is None:
        raise _refused(f"file: {path} has rows of the unknown table {name!r}", path)
    return table


def _check_known(connection: sa.Connection, revision: str, path: Path) -> None:
    if revision not in migrations.known(connection):
        raise _refused(
            f"file: {path} was made by a newer program: it has schema revision {revision}, "
            f"this program knows up to {migrations.HEAD}",
            path,
        )


def _refused(message: str, path: Path) -> FailedPreconditionError:
    return FailedPreconditionError(Reason.INVALID_ARGUMENT, message, field="file", value=path)


def _clear(connection: sa.Connection, *, replace: bool) -> None:
    """Takes away the schema of an empty database, or of any when it is to be replaced.

    Raises:
        FailedPreconditionError: TOPOLOGY_NOT_EMPTY.
    """
    found = sa.MetaData()
    found.reflect(connection, resolve_fks=False)
    filled = [
        table.name
        for table in found.tables.values()
        if table.name not in _NEVER_EMPTY and connection.execute(sa.select(sa.literal(1)).select_from(table)).first()
    ]
    if filled and not replace:
        raise FailedPreconditionError(
            Reason.TOPOLOGY_NOT_EMPTY,
            f"the database is not empty: it has rows in {', '.join(sorted(filled))}. Restore into a new one, or say "
            "--replace to lose what it has",
            tables=sorted(filled),
        )
    foreign = sorted(set(found.tables) - set(METADATA.tables) - {_VERSION_TABLE})
    if foreign:
        raise FailedPreconditionError(
            Reason.TOPOLOGY_NOT_EMPTY,
            f"the database has tables that are not Brickyard's: {', '.join(foreign)}; use another one",
            tables=foreign,
        )
    for table in reversed(found.sorted_tables):
        table.drop(connection)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--database",
    required=True,
    envvar="BRICKYARD_TOPOLOGY_DATABASE",
    metavar="URL",
    help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
)
@click.option("--replace", is_flag=True, help="Lose what the database has.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(*, file: Path, database: str, replace: bool, as_json: bool) -> None:
    """Restores a backup; see `brickyard db restore`."""
    try:
        with closing(Store(database)) as store:
            done = restore(store, file, replace=replace)
            where = store.shown_url
    except (BrickyardError, OSError) as error:
        raise click.ClickException(getattr(error, "message", str(error))) from error
    if as_json:
        told = {
            "database": where,
            "row_count": done.row_count,
            "schema_revision": done.head.schema_revision,
            "violations": done.violations,
        }
        click.echo(json.dumps(told))
    else:
        click.echo(f"restored {done.row_count} rows of schema revision {done.head.schema_revision} into {where}")
        for line in done.violations or ["every invariant holds"]:
            click.echo(line)
    if done.violations:
        click.echo(
            f"{len(done.violations)} violations, which the backup had already; `brickyard db check` shows them again",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
