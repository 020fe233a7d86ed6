"""What a volume costs the database: a number of statements that does not grow with the volumes that there are."""

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from sqlalchemy import event

from brickyard.topology.v1 import device_pb2, operation_service_pb2
from services.topology.store import Store
from services.topology.usecases import clusters, inventory, volumes
from tests.unit.topology.builders import World, create_spec, delete_spec, volume_message

VOLUMES = 12


def statements_of(store: Store, work: Callable[[], object]) -> list[str]:
    """The statements that the work runs."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        # Transactions begin and end differently on the two engines.
        if not statement.startswith("BEGIN"):
            found.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
    return found


def costs(world: World, cluster_id: str, members: list[device_pb2.Device]) -> Mapping[str, int]:
    """How many statements each part of the life of a volume takes."""
    volume = volume_message(cluster_id, members, replica_count=3)
    known = inventory.get(world.store, cluster_id, since_revision=0).revision
    reclaimed = operation_service_pb2.RemovedBricks(reclaimed_brick_ids=[brick.id for brick in volume.bricks])
    made = {}

    def count(part: str, work: Callable[[], object]) -> None:
        made[part] = len(statements_of(world.store, work))

    count("begin create", lambda: world.begin(create_spec(volume), request_id="create"))
    begun = world.begin(create_spec(volume), request_id="create")
    count("commit create", lambda: world.commit(begun))
    count("get", lambda: volumes.get(world.store, volume.id))
    count("plan", lambda: inventory.get(world.store, cluster_id, since_revision=known))
    count(
        "choose cluster",
        lambda: clusters.list_candidates(world.store, cluster_ids=[], volume_name="new", block=False, max_volumes=9000),
    )
    count("begin delete", lambda: world.begin(delete_spec(volume.id), request_id="delete"))
    ended = world.begin(delete_spec(volume.id), request_id="delete")
    count("commit delete", lambda: world.commit(ended, removed_bricks=reclaimed))
    with world.store.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM operation WHERE request_id IN ('create', 'delete')"))
    return made


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
    most = {"begin create": 14, "commit create": 7, "begin delete": 9, "commit delete": 10, "get": 3, "plan": 6}
    if not world.store.is_sqlite:
        # Locks, and what has to be read again after them.
        most = {part: count + 3 for part, count in most.items()}
    assert {part: count for part, count in made.items() if count > most.get(part, count)} == {}
