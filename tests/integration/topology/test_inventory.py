"""The inventory by revision: a reader that applies changes always has what a fresh reader gets."""

from collections.abc import Callable

import pytest

from brickyard.topology.v1 import inventory_pb2, operation_service_pb2, topology_service_pb2
from services.common.errors import NotFoundError
from services.common.ids import new_id
from services.common.units import GIB
from services.topology.domain.tags import TagChange
from services.topology.usecases import devices, inventory, leases, nodes
from tests.unit.topology.builders import (
    FAILED,
    METADATA_BYTES,
    OFFLINE,
    World,
    add_device_spec,
    add_node_spec,
    create_spec,
    delete_device_spec,
    delete_node_spec,
    delete_spec,
    device_message,
    node_message,
    volume_message,
)


class Reader:
    """Keeps a copy of one cluster's inventory, as the allocator does."""

    def __init__(self, world: World, cluster_id: str) -> None:
        self._world = world
        self._cluster_id = cluster_id
        self.revision = 0
        self.nodes: dict[str, inventory_pb2.InventoryNode] = {}
        self.devices: dict[str, inventory_pb2.InventoryDevice] = {}

    def refresh(self) -> topology_service_pb2.GetInventoryResponse:
        answer = inventory.get(self._world.store, self._cluster_id, since_revision=self.revision)
        if answer.complete:
            self.nodes, self.devices = {}, {}
        self.nodes.update({node.id: node for node in answer.nodes})
        self.devices.update({device.id: device for device in answer.devices})
        for node_id in answer.removed_node_ids:
            del self.nodes[node_id]
        for device_id in answer.removed_device_ids:
            del self.devices[device_id]
        self.revision = answer.revision
        return answer


def test_changes_add_up_to_the_whole(world: World) -> None:
    cluster = world.cluster()
    follower = Reader(world, cluster.id)
    removed = operation_service_pb2.RemovedBricks

    def check(act: Callable[[], object], *, changed: bool) -> None:
        act()
        before = follower.revision
        answer = follower.refresh()
        fresh = Reader(world, cluster.id)
        assert fresh.refresh().complete
        assert (follower.nodes, follower.devices, follower.revision) == (fresh.nodes, fresh.devices, fresh.revision)
        assert (answer.revision != before) is changed
        assert answer.complete is (before == 0)

    check(lambda: None, changed=True)
    node, other = node_message(cluster.id), node_message(cluster.id, tags={"a": "b"})
    adding = world.begin(add_node_spec(node))
    check(lambda: None, changed=False)
    check(lambda: world.commit(adding), changed=True)
    check(lambda: world.commit(world.begin(add_node_spec(other))), changed=True)
    check(lambda: world.abort(world.begin(add_device_spec(device_message(node.id)))), changed=False)
    device = world.device(node.id)
    check(lambda: None, changed=True)
    creating = world.begin(create_spec(volume_message(cluster.id, [device])))
    check(lambda: None, changed=True)
    assert follower.devices[device.id].free_bytes == 99 * GIB - METADATA_BYTES
    # What was reserved is used now, which is the same to placement.
    check(lambda: world.commit(creating), changed=False)
    deleting = world.begin(delete_spec(creating.target_id))
    check(lambda: None, changed=False)
    brick = deleting.spec.delete_volume.volume.bricks[0]
    check(lambda: world.commit(deleting, removed_bricks=removed(reclaimed_brick_ids=[brick.id])), changed=True)
    undone = world.begin(create_spec(volume_message(cluster.id, [device])))
    # Looked at in between: the abort has to show by itself.
    check(lambda: None, changed=True)
    check(lambda: world.abort(undone), changed=True)
    assert follower.devices[device.id].free_bytes == 100 * GIB
    check(lambda: nodes.update_tags(world.store, node.id, TagChange.SET, {"x": "y"}), changed=True)
    check(lambda: devices.update_tags(world.store, device.id, TagChange.SET, {"x": "y"}), changed=True)
    check(lambda: world.set_device_state(device.id, OFFLINE), changed=True)
    check(lambda: world.set_device_state(device.id, FAILED), changed=True)
    check(lambda: world.set_node_state(node.id, OFFLINE), changed=True)
    check(lambda: world.commit(world.begin(delete_device_spec(device.id))), changed=True)
    check(lambda: world.commit(world.begin(delete_node_spec(node.id))), changed=True)
    assert list(follower.nodes) == [other.id]
    assert follower.devices == {}


def test_an_unchanged_inventory_is_empty(world: World) -> None:
    cluster = world.cluster()
    world.devices(cluster.id, 2)
    revision = inventory.get(world.store, cluster.id, since_revision=0).revision
    answer = inventory.get(world.store, cluster.id, since_revision=revision)
    assert answer == topology_service_pb2.GetInventoryResponse(revision=revision)


def test_an_unknown_revision_gives_everything(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    for unknown in (-1, 0, 10**12):
        answer = inventory.get(world.store, cluster.id, since_revision=unknown)
        assert answer.complete
        assert [each.id for each in answer.devices] == [device.id]
    with pytest.raises(NotFoundError):
        inventory.get(world.store, new_id(), since_revision=0)


def test_removals_are_forgotten_after_a_day(world: World) -> None:
    cluster = world.cluster()
    gone, stays = world.node(cluster.id), world.node(cluster.id)
    before = inventory.get(world.store, cluster.id, since_revision=0).revision
    world.commit(world.begin(delete_node_spec(gone.id)))
    after = inventory.get(world.store, cluster.id, since_revision=before)
    assert (after.complete, list(after.removed_node_ids)) == (False, [gone.id])
    world.clock.forward(24 * 3600 + 1)
    leases.prune(world.store)
    late = inventory.get(world.store, cluster.id, since_revision=before)
    assert (late.complete, [node.id for node in late.nodes]) == (True, [stays.id])
    assert not inventory.get(world.store, cluster.id, since_revision=after.revision).complete


def test_clusters_have_their_own_revisions(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    before = inventory.get(world.store, cluster.id, since_revision=0).revision
    world.devices(other.id, 1)
    assert inventory.get(world.store, cluster.id, since_revision=0).revision == before
