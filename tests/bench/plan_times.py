"""How long placement takes on a warm index, from 48 devices to 36 000."""

import random
import statistics
import time

from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import Inventory, InventoryDevice, VolumeRequest, ZoneRule
from services.allocator.domain.planner import explain_volume, find_placement
from services.common.units import GIB, TIB
from tests.bench.clusters import MIXED, REPLICA_3, UNSPLIT, Cluster, Topology, requests

# Nodes and disks of each.
SPEEDS = ((12, 4), (60, 8), (400, 12), (1000, 36))


def speed(nodes: int, disks: int, strategy: str, plans: int) -> dict[str, float]:
    """Microseconds of a plan on a warm index, of an update after it, and of a refusal with its reasons."""
    rng = random.Random(nodes)
    topology = Topology("speed", tuple(i % 8 + 1 for i in range(nodes)), MIXED, ZoneRule.NONE)
    base = topology.inventory()
    devices = []
    for node in base.nodes:
        for number in range(disks):
            total = rng.choice(MIXED) * GIB
            free = int(total * rng.uniform(0.1, 0.9)) // (4 << 20) * (4 << 20)
            devices.append(InventoryDevice(f"{node.id}/{number}", node.id, total, free))
    names = [node.id for node in base.nodes]
    known = tuple(frozenset(rng.sample(names, 3)) for _ in range(nodes))
    started = time.perf_counter()
    cluster = Cluster(PlacementIndex(Inventory("bench", 1, base.nodes, tuple(devices), known)))
    stream = requests(topology, strategy, rng)
    find_placement(cluster.index, next(stream))
    built = time.perf_counter() - started
    cluster.node_sets.update(cluster.index.node_sets)
    planned: list[float] = []
    updated: list[float] = []
    for _ in range(plans):
        request = next(stream)
        started = time.perf_counter()
        placement = find_placement(cluster.index, request)
        planned.append(1e6 * (time.perf_counter() - started))
        if placement is not None:
            started = time.perf_counter()
            cluster.add(placement)
            updated.append(1e6 * (time.perf_counter() - started))
    # No disk has so much left.
    impossible = VolumeRequest(4 * TIB, REPLICA_3, limits=UNSPLIT, strategy=strategy)
    started = time.perf_counter()
    explained = explain_volume(cluster.index, impossible)
    return {
        "devices": nodes * disks,
        "build_ms": 1e3 * built,
        "plan_p50_us": statistics.median(planned),
        "plan_p99_us": sorted(planned)[int(0.99 * len(planned))],
        "update_p50_us": statistics.median(updated),
        "refusal_ms": 1e3 * (time.perf_counter() - started),
        "refusal_reasons": len(explained.devices),
    }
