"""Measures the topology's calls, and how they grow with what it keeps. Prints JSON; asserts no time.

python -m tests.integration.topology.bench --database sqlite:////tmp/bench.db --volumes 5000 --devices 1200
"""

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import click

from brickyard.topology.v1 import device_pb2, operation_pb2, operation_service_pb2
from services.common.units import GIB, TIB
from services.topology import migrations
from services.topology.store import Store
from services.topology.usecases import clusters, consistency, devices, inventory, nodes, volumes, watching
from tests.unit.topology.builders import Clock, World, create_spec, delete_spec, volume_message

DEVICES_PER_NODE = 12
REPEATS = 100


class Times:
    """Milliseconds by the name of a call."""

    def __init__(self) -> None:
        self._taken: dict[str, list[float]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._taken.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    def repeated(self, name: str, call: Callable[[], object], count: int = REPEATS) -> None:
        for _ in range(count):
            with self.of(name):
                call()

    def summary(self) -> dict[str, dict[str, float]]:
        return {
            name: {
                "median_ms": round(statistics.median(taken), 2),
                "p95_ms": round(sorted(taken)[int(len(taken) * 0.95)], 2),
            }
            for name, taken in self._taken.items()
        }


def live(world: World, cluster_id: str, disks: list[device_pb2.Device], times: Times, suffix: str) -> str:
    """One volume: begin, progress, commit. Gives its id."""
    start = random.randrange(len(disks))
    chosen = [disks[(start + DEVICES_PER_NODE * n) % len(disks)] for n in range(3)]
    spec = create_spec(volume_message(cluster_id, chosen, replica_count=3))
    with times.of(f"begin create {suffix}"):
        operation = world.begin(spec, max_in_flight=8)
    with times.of(f"update {suffix}"):
        world.update(operation, state=operation_pb2.OPERATION_STATE_RUNNING)
    with times.of(f"commit create {suffix}"):
        world.commit(operation)
    return operation.target_id


def end(world: World, volume_id: str, times: Times) -> None:
    with times.of("begin delete"):
        operation = world.begin(delete_spec(volume_id), max_in_flight=8)
    bricks = [brick.id for brick in operation.spec.delete_volume.volume.bricks]
    with times.of("commit delete"):
        world.commit(operation, removed_bricks=operation_service_pb2.RemovedBricks(reclaimed_brick_ids=bricks))


def read(world: World, cluster_id: str, volume_id: str, device: device_pb2.Device, times: Times) -> None:
    store = world.store
    times.repeated("get volume", lambda: volumes.get(store, volume_id))
    times.repeated("get node", lambda: nodes.get(store, device.node_id))
    times.repeated("get device", lambda: devices.get(store, device.id))
    times.repeated("get cluster", lambda: clusters.get(store, cluster_id))
    times.repeated(
        "candidates",
        lambda: clusters.list_candidates(store, cluster_ids=[], volume_name="x", block=False, max_volumes=0),
    )
    revision = inventory.get(store, cluster_id, since_revision=0).revision
    times.repeated("inventory, unchanged", lambda: inventory.get(store, cluster_id, since_revision=revision))
    times.repeated("inventory, one change", lambda: inventory.get(store, cluster_id, since_revision=revision - 1))
    times.repeated("inventory, all", lambda: inventory.get(store, cluster_id, since_revision=0), 5)
    times.repeated(
        "list 1000 volumes",
        lambda: volumes.list_page(store, cluster_id=cluster_id, after="", count=1000, with_bricks=False),
        5,
    )
    times.repeated(
        "list 1000 volumes with bricks",
        lambda: volumes.list_page(store, cluster_id=cluster_id, after="", count=1000, with_bricks=True),
        5,
    )
    page = watching.list_page(store, page_token="", count=100, unfinished_only=False)[0]
    times.repeated("get operation", lambda: watching.get(store, page[0].id))
    times.repeated(
        "list 100 operations", lambda: watching.list_page(store, page_token="", count=100, unfinished_only=False), 20
    )
    times.repeated(
        "list unfinished operations",
        lambda: watching.list_page(store, page_token="", count=100, unfinished_only=True),
        20,
    )
    times.repeated("check consistency", lambda: consistency.check(store), 1)


@click.command()
@click.option("--database", required=True, help="URL of an empty database.")
@click.option("--volumes", "volume_count", default=5000, show_default=True)
@click.option("--devices", "device_count", default=1200, show_default=True)
def main(database: str, volume_count: int, device_count: int) -> None:
    """Fills a database, and measures while it is nearly empty and when it is full."""
    times = Times()
    with closing(Store(database)) as store:
        with times.of("make the schema"):
            store.write(lambda tx: migrations.upgrade(tx.connection))
        world = World(store, Clock())
        cluster_id = world.cluster().id
        disks = []
        for number in range(device_count):
            if number % DEVICES_PER_NODE == 0:
                node = world.node(cluster_id)
            with times.of("add device"):
                disks.append(world.device(node.id, total_bytes=4 * TIB))
        made = []
        for number in range(volume_count):
            suffix = "(first 100)" if number < 100 else "(last 100)" if number >= volume_count - 100 else "(others)"
            made.append(live(world, cluster_id, disks, times, suffix))
        read(world, cluster_id, made[0], disks[0], times)
        for volume_id in made[:100]:
            end(world, volume_id, times)
        violations = world.violations()
        used_gib = sum(device.used_bytes for device in nodes.get(store, disks[0].node_id)[1]) // GIB
    print(
        json.dumps(
            {
                "database": store.shown_url,
                "volumes": volume_count,
                "devices": device_count,
                "violations": violations,
                "used_gib_of_first_node": used_gib,
                "times": times.summary(),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
