"""Backups, while operations run; restored into either engine, from either engine, and from an older revision."""

import gzip
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from brickyard.topology.v1 import volume_pb2
from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason
from services.topology import migrations, restore
from services.topology.store import Store
from services.topology.tables import METADATA
from services.topology.usecases import backup, consistency
from tests.unit.topology.builders import Clock, World, create_spec, volume_message


def rows(store: Store) -> dict[str, list[tuple[object, ...]]]:
    def read(connection: sa.Connection) -> dict[str, list[tuple[object, ...]]]:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in METADATA.sorted_tables
        }

    return store.read(lambda tx: read(tx.connection))


def populated(world: World) -> Store:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 3)
    volume = world.volume(cluster.id, devices, replica_count=3, options=["", "x.y <&>\u2028", ""], snapshot_factor=1.1)
    world.clone(volume)
    world.volume(cluster.id, devices, replica_count=3, block=True, size_bytes=4 << 30)
    # One that has not ended, and one that has failed: with a serialised error.
    world.begin(create_spec(volume_message(cluster.id, devices)))
    world.abort(world.begin(create_spec(volume_message(cluster.id, devices))))
    return world.store


def archived(store: Store, path: Path) -> Path:
    file = path / "backup"
    file.write_bytes(b"".join(backup.back_up(store)))
    return file


@pytest.fixture
def origin(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    """A database to back up, where its engine does not matter."""
    shutil.copy(sqlite_template, tmp_path / "origin.db")
    with closing(Store(f"sqlite:///{tmp_path}/origin.db", clock=Clock())) as store:
        yield World(store, Clock())


def test_a_backup_of_one_engine_is_restored_into_the_other_and_its_own(
    world: World, empty_database: str, tmp_path: Path
) -> None:
    store = populated(world)
    file = archived(store, tmp_path)
    with closing(Store(empty_database)) as other:
        done = restore.restore(other, file, replace=False)
        assert (done.violations, done.head.schema_revision) == ([], migrations.HEAD)
        assert rows(other) == rows(store)
        assert done.row_count == sum(map(len, rows(store).values()))
        again = tmp_path / "again"
        again.mkdir()
        assert lines_of(archived(other, again)) == lines_of(file)


def lines_of(file: Path) -> list[bytes]:
    """All but the head, which has the time."""
    return gzip.decompress(file.read_bytes()).splitlines()[1:]


def test_a_database_that_is_not_empty_is_refused_and_stays(world: World, tmp_path: Path) -> None:
    store = populated(world)
    file = archived(store, tmp_path)
    before = rows(store)
    with pytest.raises(FailedPreconditionError, match="--replace") as raised:
        restore.restore(store, file, replace=False)
    assert raised.value.reason is Reason.TOPOLOGY_NOT_EMPTY
    assert rows(store) == before
    world.cluster()
    restore.restore(store, file, replace=True)
    assert rows(store) == before


def test_a_database_that_a_topology_has_only_opened_counts_as_empty(
    origin: World, database: str, tmp_path: Path
) -> None:
    store = populated(origin)
    with closing(Store(database)) as other:
        restore.restore(other, archived(store, tmp_path), replace=False)
        assert rows(other) == rows(store)


def test_an_older_backup_is_brought_to_the_newest_schema(origin: World, empty_database: str, tmp_path: Path) -> None:
    """As the release before wrote it: without the columns that came since."""
    store = populated(origin)
    new = {"volume": {"requested_cluster_ids", "mount_hosts", "brick_order_known"}, "server": {"generation_id"}}
    file = archived(store, tmp_path)
    lines, table, columns = [], "", []
    for line in gzip.decompress(file.read_bytes()).splitlines():
        value = json.loads(line)
        if "table" in value:
            table, columns = value["table"], value["columns"]
            value["columns"] = [each for each in columns if each not in new.get(table, ())]
        elif isinstance(value, list):
            pairs = zip(columns, value, strict=True)
            value = [each for column, each in pairs if column not in new.get(table, ())]
        elif "schema_revision" in value:
            value["schema_revision"] = "0007"
        lines.append(json.dumps(value))
    file.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    with closing(Store(empty_database)) as other:
        done = restore.restore(other, file, replace=False)
        assert (done.head.schema_revision, done.violations) == ("0007", [])
        assert other.read(lambda tx: migrations.current(tx.connection)) == migrations.HEAD
        expected, found = rows(store), rows(other)
        assert [len(found[name]) for name in expected] == [len(each) for each in expected.values()]
        assert found["brick"] == expected["brick"]


def test_a_file_that_is_no_whole_backup_changes_nothing(origin: World, database: str, tmp_path: Path) -> None:
    file = archived(populated(origin), tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    with closing(Store(database)) as store:
        World(store, Clock()).cluster()
        before = rows(store)
        with pytest.raises(FailedPreconditionError, match="not complete"):
            restore.restore(store, file, replace=True)
        assert rows(store) == before


def test_a_backup_of_a_newer_program_is_refused(origin: World, empty_database: str, tmp_path: Path) -> None:
    file = archived(populated(origin), tmp_path)
    newer = gzip.decompress(file.read_bytes()).replace(b'"schema_revision":"0', b'"schema_revision":"9', 1)
    file.write_bytes(gzip.compress(newer))
    with closing(Store(empty_database)) as store, pytest.raises(FailedPreconditionError, match="by a newer program"):
        restore.restore(store, file, replace=False)


def test_backups_are_whole_while_operations_run(world: World, store: Store, tmp_path: Path) -> None:
    cluster = world.cluster()
    devices = world.devices(cluster.id, 3)
    stop = threading.Event()
    made: list[volume_pb2.Volume] = []

    def work() -> None:
        while not stop.is_set():
            made.append(world.volume(cluster.id, devices, replica_count=3))

    writer = threading.Thread(target=work)
    writer.start()
    try:
        archives = [b"".join(backup.back_up(store)) for _ in range(3)]
    finally:
        stop.set()
        writer.join()
    assert made
    file = tmp_path / "backup"
    with closing(Store(f"sqlite:///{tmp_path}/other.db")) as other:
        for archive in archives:
            file.write_bytes(archive)
            assert restore.restore(other, file, replace=True).violations == []
    assert consistency.check(store)[0] == []


def test_the_command(origin: World, empty_database: str, tmp_path: Path) -> None:
    file = archived(populated(origin), tmp_path)
    run = CliRunner().invoke
    done = run(restore.main, [str(file), "--database", empty_database])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "every invariant holds")
    refused = run(restore.main, [str(file), "--database", empty_database])
    assert refused.exit_code == 1
    assert "the database is not empty" in refused.stderr
    with closing(Store(empty_database)) as other:
        other.write(lambda tx: tx.connection.exec_driver_sql("UPDATE cluster SET volume_count = 0"))
        spoilt = archived(other, tmp_path)
    told = run(restore.main, [str(spoilt), "--database", empty_database, "--replace"])
    assert told.exit_code == 1
    assert "counts 0 volumes" in told.stdout
    assert "which the backup had already" in told.stderr
