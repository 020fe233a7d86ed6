"""The schema's history, up and down, on databases with something in them."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from services.topology import migrations
from services.topology.store import Store
from services.topology.tables import METADATA
from services.topology.usecases import volumes, watching
from tests.unit.topology.builders import (
    Clock,
    World,
    clone_spec,
    create_spec,
    delete_node_spec,
    expand_spec,
    facts_message,
    more_bricks,
    resync_spec,
    volume_message,
)


def tables(store: Store) -> set[str]:
    return store.read(lambda tx: set(sa.inspect(tx.connection).get_table_names()))


def populate(store: Store) -> World:
    world = World(store, Clock())
    cluster = world.cluster()
    devices = world.devices(cluster.id, 3)
    volume = world.volume(cluster.id, devices, replica_count=3)
    world.clone(volumes.get(store, world.clone(volume).id)[0])
    world.expand(volume.id, devices, first_set=1, set_size=3)
    world.commit(world.begin(resync_spec(devices[0].id)), device_facts=facts_message())
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


def revisions(store: Store) -> list[str]:
    """All revisions, the newest first."""
    script = store.read(lambda tx: ScriptDirectory.from_config(migrations.config(tx.connection)))
    return [each.revision for each in script.walk_revisions()]


def test_every_revision_down_and_up_again_on_a_populated_database(store: Store) -> None:
    world = populate(store)
    history = revisions(store)
    for newer, older in pairwise(history):
        store.write(lambda tx, target=older: migrations.downgrade(tx.connection, target))  # type: ignore[misc]
        store.write(lambda tx, target=newer: migrations.upgrade(tx.connection, target))  # type: ignore[misc]
        assert store.read(lambda tx: migrations.current(tx.connection)) == newer
        store.write(lambda tx, target=older: migrations.downgrade(tx.connection, target))  # type: ignore[misc]
        assert store.read(lambda tx: migrations.current(tx.connection)) == older
    for revision in reversed(history):
        store.write(lambda tx, target=revision: migrations.upgrade(tx.connection, target))  # type: ignore[misc]
        assert store.read(lambda tx: migrations.current(tx.connection)) == revision
    assert world.violations() == []
    assert store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM brick"))) == 15


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


def rows(store: Store, query: str) -> list[tuple[object, ...]]:
    return store.read(lambda tx: [tuple(row) for row in tx.connection.exec_driver_sql(query)])


_SPACE = (
    "SELECT device.id, used_bytes, unattributed_bytes, reserved_bytes,"
    " (SELECT sum(thin_pool_size_bytes + pool_metadata_size_bytes) FROM brick WHERE device_id = device.id)"
    " FROM device ORDER BY device.id"
)
_EVERYTHING_OLD = (
    "SELECT id, cluster_id, name, size_bytes, options, state, operation_id FROM volume ORDER BY id",
    "SELECT id, volume_id, device_id, path, lv_name, state, operation_id FROM brick ORDER BY id",
    "SELECT id, kind, state, spec FROM operation WHERE kind IN ('create_volume', 'add_node', 'add_device') ORDER BY id",
    "SELECT * FROM device ORDER BY id",
    "SELECT * FROM cluster ORDER BY id",
)


def test_shared_pools_survive_the_way_down_and_up_again(store: Store) -> None:
    world = populate(store)
    shown = volumes.list_page(store, cluster_id="", after="", count=9, with_bricks=True)
    kept = [rows(store, query) for query in _EVERYTHING_OLD]
    assert len([volume for volume in shown if volume.origin_volume_id]) == 2

    store.write(lambda tx: migrations.downgrade(tx.connection, "0001"))
    assert store.read(lambda tx: migrations.current(tx.connection)) == "0001"
    assert [rows(store, query) for query in _EVERYTHING_OLD] == kept
    columns = store.read(lambda tx: {column["name"] for column in sa.inspect(tx.connection).get_columns("volume")})
    assert "origin_volume_id" not in columns
    # The first revision adds up the pools of all bricks.
    for device_id, used, unattributed, reserved, bricks in rows(store, _SPACE):
        assert used + reserved == unattributed + bricks, device_id  # type: ignore[operator]

    store.write(lambda tx: migrations.upgrade(tx.connection))
    assert [rows(store, query) for query in _EVERYTHING_OLD] == kept
    for volume in shown:
        # Where a copy came from is the one thing that the first revision can not keep.
        volume.ClearField("origin_volume_id")
    assert volumes.list_page(store, cluster_id="", after="", count=9, with_bricks=True) == shown
    assert world.violations() == []
    for volume in shown:
        world.delete(volume, reclaimed=volume is shown[-1])
        assert world.violations() == []


def test_a_database_of_the_first_revision_is_taken_over(store: Store) -> None:
    store.write(lambda tx: migrations.downgrade(tx.connection, "0001"))
    insert = "INSERT INTO cluster VALUES ('c', TRUE, TRUE, 1, 0, 1, 'r', 'd', 1)"
    volume = (
        "INSERT INTO volume VALUES ('v', 'c', 'data', 1073741824, 'none', 0, 0, 0, 7, '[\"a b\"]', FALSE, FALSE, 1.0,"
        " 'active', NULL, 1)"
    )
    store.write(lambda tx: [tx.connection.exec_driver_sql(statement) for statement in (insert, volume)])
    store.write(lambda tx: migrations.upgrade(tx.connection))
    shown, _ = volumes.get(store, "v")
    assert (shown.name, shown.gid, list(shown.options), shown.origin_volume_id) == ("data", 7, ["a b"], "")


@pytest.mark.parametrize("kind", ["expand", "clone", "resync"])
def test_operations_that_the_first_revision_does_not_know_must_end_before(store: Store, kind: str) -> None:
    world = World(store, Clock())
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    volume = world.volume(cluster.id, [device])
    spec = {
        "expand": expand_spec(volume.id, more_bricks([device], first_set=1)),
        "clone": clone_spec(volume),
        "resync": resync_spec(device.id),
    }[kind]
    operation = world.begin(spec)
    with pytest.raises(RuntimeError, match=r"^1 operations that revision 0001 does not know are not finished"):
        store.write(lambda tx: migrations.downgrade(tx.connection, "0001"))
    assert store.read(lambda tx: migrations.current(tx.connection)) == migrations.HEAD
    assert watching.get(store, operation.id) == operation
    world.abort(operation)
    assert world.violations() == []
    store.write(lambda tx: migrations.downgrade(tx.connection, "0001"))
    assert rows(store, f"SELECT count(*) FROM operation WHERE id = '{operation.id}'") == [(0,)]
