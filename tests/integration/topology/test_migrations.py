"""The schema's history, up and down, on databases with something in them."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from services.topology import migrations
from services.topology.store import Store
from services.topology.tables import METADATA
from tests.unit.topology.builders import Clock, World, create_spec, delete_node_spec, volume_message


def tables(store: Store) -> set[str]:
    return store.read(lambda tx: set(sa.inspect(tx.connection).get_table_names()))


def populate(store: Store) -> World:
    world = World(store, Clock())
    cluster = world.cluster()
    devices = world.devices(cluster.id, 3)
    world.volume(cluster.id, devices, replica_count=3)
    world.begin(create_spec(volume_message(cluster.id, devices)))
    world.commit(world.begin(delete_node_spec(world.node(cluster.id).id)))
    return world


def test_a_fresh_database_gets_the_newest_schema_once(empty_database: str) -> None:
    with closing(Store(empty_database)) as store:
        assert store.read(lambda tx: migrations.current(tx.connection)) is None
        for _ in range(2):
            store.write(lambda tx: migrations.upgrade(tx.connection))
            assert store.read(lambda tx: migrations.current(tx.connection)) == migrations.HEAD


def test_servers_that_start_together_do_not_meet(empty_database: str) -> None:
    def start(_number: int) -> str | None:
        with closing(Store(empty_database)) as store:
            store.write(lambda tx: migrations.upgrade(tx.connection))
            return store.read(lambda tx: migrations.current(tx.connection))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(start, range(3), timeout=60)) == [migrations.HEAD] * 3


def test_the_schema_is_what_the_rows_say(store: Store) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA))

    assert store.read(lambda tx: differences(tx.connection)) == []


def rules(connection: sa.Connection) -> set[tuple[str, str | None, str]]:
    inspector = sa.inspect(connection)
    found = set()
    for table in METADATA.tables:
        for check in inspector.get_check_constraints(table):
            found.add((table, check["name"], re.sub(r"\s", "", check["sqltext"])))
        for key in inspector.get_foreign_keys(table):
            found.add((table, key["name"], f"{key['constrained_columns']} {sorted(key['options'].items())}"))
    return found


def test_checks_and_references_are_what_the_rows_say(empty_database: str) -> None:
    """Alembic compares no checks; a schema made from the rows must refuse the same."""

    def made_from_rows(connection: sa.Connection) -> set[tuple[str, str | None, str]]:
        METADATA.create_all(connection)
        found = rules(connection)
        METADATA.drop_all(connection)
        return found

    def migrated(connection: sa.Connection) -> set[tuple[str, str | None, str]]:
        migrations.upgrade(connection)
        return rules(connection)

    with closing(Store(empty_database)) as store:
        expected = store.write(lambda tx: made_from_rows(tx.connection))
        assert store.write(lambda tx: migrated(tx.connection)) == expected
        assert len(expected) > 30


def test_down_and_up_again_on_a_populated_database(store: Store) -> None:
    populate(store)
    store.write(lambda tx: migrations.downgrade(tx.connection, "base"))
    assert tables(store) <= {"alembic_version"}
    store.write(lambda tx: migrations.upgrade(tx.connection))
    assert populate(store).violations() == []


def test_a_populated_database_survives_an_upgrade_that_has_nothing_to_do(store: Store) -> None:
    world = populate(store)
    before = store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM brick")))
    store.write(lambda tx: migrations.upgrade(tx.connection))
    assert store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM brick"))) == before
    assert world.violations() == []


def test_the_newest_revision_is_the_one_that_is_looked_for(tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path}/x.db")) as store:
        heads = store.read(lambda tx: ScriptDirectory.from_config(migrations.config(tx.connection)).get_heads())
        assert heads == [migrations.HEAD]
