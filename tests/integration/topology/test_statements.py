"""What a volume costs the database: a number of statements that does not grow with the volumes that there are."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from brickyard.topology.v1 import device_pb2, operation_service_pb2
from services.topology.store import Store
from services.topology.usecases import brick_sets, clusters, inventory, leases, volumes, watching
from tests.unit.topology.builders import LEASE_S, OWNER, World, create_spec, delete_spec, volume_message

VOLUMES = 12
# All rows of a table, or all volumes of a cluster. Operations that have not ended are few.
_ALL_ROWS = re.compile(
    r"SCAN (brick|volume|operation|device|node)\b(?!.* ix_operation_unfinished$)|SEARCH volume .*\(cluster_id=\?\)$"
)


Statement = tuple[str, Any]


def statements_of(store: Store, work: Callable[[], object]) -> list[Statement]:
    """The statements that the work runs, and their values."""
    found: list[Statement] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, _context: object, many: bool) -> None:
        # Transactions begin and end differently on the two engines.
        if not statement.startswith("BEGIN"):
            found.append((statement, values[0] if many else values))

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
    return found


def life(world: World, cluster_id: str, members: list[device_pb2.Device]) -> Mapping[str, list[Statement]]:
    """The statements that each part of the life of a volume takes."""
    volume = volume_message(cluster_id, members, replica_count=3)
    known = inventory.get(world.store, cluster_id, since_revision=0).revision
    reclaimed = operation_service_pb2.RemovedBricks(reclaimed_brick_ids=[brick.id for brick in volume.bricks])
    made: dict[str, list[Statement]] = {}

    def count(part: str, work: Callable[[], object]) -> None:
        made[part] = statements_of(world.store, work)

    count("begin create", lambda: world.begin(create_spec(volume), request_id="create", max_in_flight=8))
    begun = world.begin(create_spec(volume), request_id="create")
    count("renew", lambda: leases.renew(world.store, owner=OWNER, operation_ids=[begun.id], lease_s=LEASE_S))
    count("claim", lambda: leases.claim(world.store, world.feed, owner="other", lease_s=LEASE_S, limit=0))
    count("poll", lambda: watching.get(world.store, begun.id))
    count("commit create", lambda: world.commit(begun))
    count("get", lambda: volumes.get(world.store, volume.id))
    count("plan", lambda: inventory.get(world.store, cluster_id, since_revision=known))
    count(
        "choose cluster",
        lambda: clusters.list_candidates(world.store, cluster_ids=[], volume_name="new", block=False, max_volumes=9000),
    )
    count("reservations", lambda: brick_sets.reservations(world.store, cluster_id))
    count("begin delete", lambda: world.begin(delete_spec(volume.id), request_id="delete"))
    ended = world.begin(delete_spec(volume.id), request_id="delete")
    count("commit delete", lambda: world.commit(ended, removed_bricks=reclaimed))
    with world.store.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM operation WHERE request_id IN ('create', 'delete')"))
    return made


def costs(world: World, cluster_id: str, members: list[device_pb2.Device]) -> Mapping[str, int]:
    """How many statements each part of the life of a volume takes."""
    return {part: len(statements) for part, statements in life(world, cluster_id, members).items()}


def test_a_volume_takes_as_many_statements_among_many_as_alone(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 3)
    alone = costs(world, cluster.id, members)
    for _ in range(VOLUMES):
        world.commit(world.begin(create_spec(volume_message(cluster.id, members, replica_count=3))))
    among_many = costs(world, cluster.id, members)
    assert among_many == alone


def test_a_volume_takes_few_statements(world: World) -> None:
    cluster = world.cluster()
    members = world.devices(cluster.id, 3)
    made = costs(world, cluster.id, members)
    most = {"begin create": 16, "commit create": 7, "begin delete": 9, "commit delete": 10, "get": 3, "plan": 6}
    if not world.store.is_sqlite:
        # Locks, and what has to be read again after them.
        most = {part: count + 3 for part, count in most.items()}
    assert {part: count for part, count in made.items() if count > most.get(part, count)} == {}


def test_no_statement_reads_all_volumes_bricks_or_operations(world: World) -> None:
    if not world.store.is_sqlite:
        # PostgreSQL's plans follow the number of rows, of which tests have few; the indexes are the same.
        return
    cluster = world.cluster()
    lives = life(world, cluster.id, world.devices(cluster.id, 3))
    with world.store.engine.connect() as connection:
        scans = [
            (part, row[3], statement)
            for part, statements in lives.items()
            for statement, values in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values))
            if _ALL_ROWS.match(row[3])
        ]
    assert scans == []
