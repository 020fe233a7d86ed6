"""The revision that brings block volumes, up and down."""

import pytest
import sqlalchemy as sa

from services.common.units import GIB
from services.topology import migrations
from services.topology.store import Store
from services.topology.usecases import volumes
from tests.unit.topology.block_builders import (
    Hosted,
    access,
    block_message,
    create_block_spec,
    delete_block_spec,
    restriction_spec,
)
from tests.unit.topology.builders import Clock, World

BEFORE, THIS = "0002", "0003"


def revision(store: Store) -> str | None:
    return store.read(lambda tx: migrations.current(tx.connection))


def down(store: Store) -> None:
    store.write(lambda tx: migrations.downgrade(tx.connection, BEFORE))


def run(store: Store, statement: str) -> None:
    store.write(lambda tx: tx.connection.exec_driver_sql(statement))


def up(store: Store) -> None:
    store.write(lambda tx: migrations.upgrade(tx.connection))


def test_hosting_volumes_from_before_get_their_books(store: Store) -> None:
    hosted = Hosted(World(store, Clock()), size_bytes=93 * GIB)
    plain = hosted.world.volume(hosted.cluster_id, hosted.devices, replica_count=3)
    shown = volumes.get(store, hosted.volume.id)
    down(store)
    tables = store.read(lambda tx: set(sa.inspect(tx.connection).get_table_names()))
    assert not tables & {"block_volume", "block_hosting"}
    up(store)
    assert volumes.get(store, hosted.volume.id) == shown
    assert (hosted.books.free_size_bytes, hosted.books.reserved_size_bytes) == (91 * GIB, 2 * GIB)
    assert not volumes.get(store, plain.id)[0].HasField("block_hosting")
    assert hosted.world.violations() == []
    assert hosted.block().hosting_volume_id == hosted.volume.id


def test_block_volumes_must_be_gone_before(store: Store) -> None:
    hosted = Hosted(World(store, Clock()))
    block = hosted.block()
    with pytest.raises(RuntimeError, match=r"^1 block volumes exist, and revision 0002 can not keep them"):
        down(store)
    assert revision(store) == migrations.HEAD
    hosted.world.commit(hosted.world.begin(delete_block_spec(block.id)))
    down(store)
    assert revision(store) == BEFORE
    up(store)
    assert hosted.free_gib == 9


def test_operations_on_block_volumes_must_end_before(store: Store) -> None:
    hosted = Hosted(World(store, Clock()))
    for spec in (create_block_spec(block_message(hosted.volume)), restriction_spec(hosted.volume.id, 1)):
        operation = hosted.world.begin(spec)
        with pytest.raises(RuntimeError, match=r"^1 operations that revision 0002 does not know are not finished"):
            down(store)
        hosted.world.abort(operation)
    down(store)
    up(store)
    assert hosted.world.violations() == []


def test_the_tables_hold_the_rules_too(store: Store) -> None:
    hosted = Hosted(World(store, Clock()))
    block = hosted.block(name="blk")
    for statement in (
        "UPDATE block_hosting SET free_bytes = -1",
        "UPDATE block_hosting SET restriction = 'other'",
        f"UPDATE block_volume SET usable_size_bytes = {3 * GIB}",
        "UPDATE block_volume SET ha_count = 0",
        "UPDATE block_volume SET growing_bytes = 1",
        "UPDATE block_volume SET state = 'deleting'",
        "DELETE FROM block_hosting",
    ):
        with pytest.raises(sa.exc.IntegrityError):
            run(store, statement)
    twin = hosted.world.begin(create_block_spec(block_message(hosted.volume)))
    with pytest.raises(sa.exc.IntegrityError):
        run(store, "UPDATE block_volume SET name = 'same'")
    hosted.world.commit(twin, block_volume_access=access())
    assert block.name == "blk"
    assert hosted.world.violations() == []
