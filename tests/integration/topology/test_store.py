"""Transactions: snapshots, repetition, durability, and what a missing database looks like."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from services.common.errors import InvalidArgumentError, UnavailableError
from services.common.reasons import Reason
from services.topology import migrations
from services.topology.store import Store, Transaction
from services.topology.usecases import clusters
from tests.unit.topology.builders import Clock, World, create_spec, volume_message

COUNT = sa.text("SELECT count(*) FROM cluster")


def insert_server(tx: Transaction) -> None:
    """Breaks a primary key: the row is there already."""
    tx.connection.exec_driver_sql("INSERT INTO server (id) VALUES (1)")


def run(store: Store, statement: str) -> None:
    store.write(lambda tx: tx.connection.exec_driver_sql(statement))


def test_a_failure_takes_everything_back(world: World) -> None:
    def work(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("DELETE FROM cluster")
        raise LookupError

    world.cluster()
    with pytest.raises(LookupError):
        world.store.write(work)
    assert world.store.read(lambda tx: tx.scalar(COUNT)) == 1


def test_a_reader_sees_one_moment(world: World) -> None:
    def work(tx: Transaction) -> tuple[int, int]:
        before = tx.scalar(COUNT)
        writer = threading.Thread(target=world.cluster)
        writer.start()
        writer.join(timeout=30)
        assert not writer.is_alive()
        return before, tx.scalar(COUNT)

    assert world.store.read(work) == (0, 0)
    assert world.store.read(lambda tx: tx.scalar(COUNT)) == 1


def test_a_conflict_is_tried_again(store: Store) -> None:
    tries = []

    def work(tx: Transaction) -> str:
        tries.append(tx)
        if len(tries) < 3:
            insert_server(tx)
        return "done"

    assert store.write(work) == "done"
    assert len(tries) == 3
    with pytest.raises(IntegrityError):
        store.write(insert_server)


def test_a_transaction_that_postgresql_gives_up_is_repeated(store: Store) -> None:
    if store.is_sqlite:
        pytest.skip("SQLite has no such failure: its writers wait for each other")
    tries = []

    def work(tx: Transaction) -> str:
        tries.append(tx)
        if len(tries) < 3:
            code = ("40001", "40P01")[len(tries) - 1]
            tx.connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
        return "done"

    assert store.write(work) == "done"
    assert len(tries) == 3


def test_only_what_may_be_lost_is_not_durable(database: str) -> None:
    # How durable a commit is by default is the server's setting: named here, so that the test does not depend on it.
    url = make_url(database)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({"options": "-c synchronous_commit=on"})
    with closing(Store(url.render_as_string(hide_password=False))) as store:
        setting = sa.text("PRAGMA synchronous" if store.is_sqlite else "SHOW synchronous_commit")
        found = [store.write(lambda tx: tx.scalar(setting), durable=durable) for durable in (True, False, True)]
        # SQLite: 2 = FULL, 1 = NORMAL.
        assert found == ([2, 1, 2] if store.is_sqlite else ["on", "off", "on"])


def test_references_and_checks_are_enforced(store: Store) -> None:
    statements = (
        "INSERT INTO tombstone (id, kind, cluster_id, revision, create_time_us) VALUES ('x', 'node', 'none', 1, 1)",
        "INSERT INTO server (id) VALUES (2)",
        "INSERT INTO hostname (kind, name, node_id) VALUES ('manage', 'x', 'none')",
    )
    for statement in statements:
        with pytest.raises(IntegrityError):
            run(store, statement)


def test_the_books_are_enforced_by_the_database_itself(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    world.begin(create_spec(volume_message(cluster.id, [device])))
    changes = (
        "UPDATE device SET reserved_bytes = total_bytes + 1",
        "UPDATE device SET used_bytes = -1",
        "UPDATE device SET unattributed_bytes = used_bytes + 1",
        "UPDATE volume SET operation_id = NULL",
        "UPDATE brick SET operation_id = NULL",
        "UPDATE brick SET node_id = 'x'",
        "DELETE FROM operation",
        "DELETE FROM device",
        "DELETE FROM volume",
    )
    for change in changes:
        with pytest.raises(IntegrityError):
            run(world.store, change)
    assert world.violations() == []


def test_readers_can_not_write_on_postgresql(store: Store) -> None:
    if store.is_sqlite:
        pytest.skip("SQLite gives every connection the same rights")
    with pytest.raises((DBAPIError, UnavailableError)):
        store.read(lambda tx: tx.connection.exec_driver_sql("DELETE FROM cluster"))


def test_a_database_in_memory_serves_many_threads() -> None:
    with closing(Store("sqlite://", clock=Clock())) as store:
        store.write(lambda tx: migrations.upgrade(tx.connection))
        world = World(store, Clock())
        threads = [threading.Thread(target=world.cluster) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len(clusters.list_page(store, after="", count=99)) == 8


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "oracle://x", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Store(url)


def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/missing/x.db", "postgresql://127.0.0.1:1/x"):
        with closing(Store(url)) as store, pytest.raises(UnavailableError) as away:
            store.check_ready()
        assert away.value.reason is Reason.UNAVAILABLE


def test_a_password_is_not_shown() -> None:
    with closing(Store("postgresql://user:secret@127.0.0.1:1/x")) as store:
        assert "secret" not in store.shown_url


def test_a_new_database_that_another_process_writes_to_is_waited_for(tmp_path: Path) -> None:
    """SQLite's change to the write-ahead log is the one statement that refuses at once."""
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            try:
                return super().execute(sql, *arguments)
            except sqlite3.OperationalError:
                refused.append(sql)
                other.execute("COMMIT")
                raise

    with closing(Store(f"sqlite:///{path}")) as store, closing(other):

        @sa.event.listens_for(store.engine, "do_connect")
        def connect(_dialect: object, _record: object, arguments: Any, options: Any) -> sqlite3.Connection:
            return sqlite3.connect(*arguments, factory=Watched, **options)

        store.check_ready()
        assert store.read(lambda tx: tx.scalar(sa.text("PRAGMA journal_mode"))) == "wal"
    assert refused == ["PRAGMA journal_mode = WAL"]
