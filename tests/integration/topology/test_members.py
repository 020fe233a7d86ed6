"""Clusters, nodes and devices: adding, removing, states, tags."""

from typing import Any

import pytest

from brickyard.topology.v1 import device_pb2
from services.common.errors import (
    AlreadyExistsError,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.domain.tags import TagChange
from services.topology.usecases import clusters, devices, nodes
from tests.unit.topology.builders import (
    FAILED,
    OFFLINE,
    ONLINE,
    World,
    add_device_spec,
    add_node_spec,
    create_spec,
    delete_device_spec,
    delete_node_spec,
    device_message,
    device_state_spec,
    facts_message,
    node_message,
    node_state_spec,
    volume_message,
)


def refusal(error: pytest.ExceptionInfo[BrickyardError]) -> tuple[Reason, str]:
    return error.value.reason, error.value.message


# Clusters


def test_a_cluster_is_made_once(world: World) -> None:
    first = clusters.create(world.store, request_id="r", file_enabled=True, block_enabled=False)
    assert clusters.create(world.store, request_id="r", file_enabled=True, block_enabled=False) == first
    with pytest.raises(InvalidArgumentError) as reused:
        clusters.create(world.store, request_id="r", file_enabled=True, block_enabled=True)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert (first.file_enabled, first.block_enabled) == (True, False)
    assert first.create_time.ToMicroseconds() == world.clock.now_us
    assert [each.id for each in clusters.list_page(world.store, after="", count=9)] == [first.id]
    with pytest.raises(InvalidArgumentError):
        clusters.create(world.store, request_id="", file_enabled=True, block_enabled=True)


def test_flags_are_set(world: World) -> None:
    cluster = world.cluster(file=True, block=True)
    changed = clusters.set_flags(world.store, cluster.id, file_enabled=False, block_enabled=True)
    assert (changed.file_enabled, changed.block_enabled) == (False, True)
    assert clusters.get(world.store, cluster.id) == changed


def test_only_an_empty_cluster_is_removed(world: World) -> None:
    cluster = world.cluster()
    adding = world.begin(add_node_spec(node_message(cluster.id)))
    with pytest.raises(FailedPreconditionError) as full:
        clusters.remove(world.store, cluster.id)
    assert refusal(full) == (
        Reason.CLUSTER_NOT_EMPTY,
        f"Unable to delete cluster [{cluster.id}] because it contains volumes and/or nodes",
    )
    world.commit(adding)
    world.commit(world.begin(delete_node_spec(adding.target_id)))
    clusters.remove(world.store, cluster.id)
    with pytest.raises(NotFoundError):
        clusters.get(world.store, cluster.id)


def test_an_unknown_cluster_is_not_found(world: World) -> None:
    for call in (
        lambda: clusters.get(world.store, new_id()),
        lambda: clusters.set_flags(world.store, new_id(), file_enabled=True, block_enabled=True),
        lambda: clusters.remove(world.store, new_id()),
        lambda: nodes.list_page(world.store, cluster_id=new_id(), after="", count=1),
        lambda: world.begin(add_node_spec(node_message(new_id()))),
        lambda: nodes.check_new(world.store, cluster_id=new_id(), manage=["m"], storage=["s"]),
    ):
        with pytest.raises(NotFoundError) as unknown:
            call()
        assert unknown.value.reason is Reason.CLUSTER_NOT_FOUND


# Nodes


def test_a_node_is_hidden_until_it_is_committed(world: World) -> None:
    cluster = world.cluster()
    node = node_message(cluster.id, zone=3, manage_hostnames=["m1", "m1", "m2"], tags={"a": "b"})
    operation = world.begin(add_node_spec(node))
    for hidden in (
        lambda: nodes.get(world.store, node.id),
        lambda: world.begin(add_device_spec(device_message(node.id))),
        lambda: world.begin(delete_node_spec(node.id)),
        lambda: nodes.update_tags(world.store, node.id, TagChange.SET, {}),
    ):
        with pytest.raises(NotFoundError):
            hidden()
    assert list(clusters.get(world.store, cluster.id).node_ids) == []
    assert nodes.list_page(world.store, cluster_id="", after="", count=9) == []
    world.commit(operation)
    shown, _ = nodes.get(world.store, node.id)
    assert (shown.zone, list(shown.manage_hostnames), dict(shown.tags)) == (3, ["m1", "m2"], {"a": "b"})
    assert list(clusters.get(world.store, cluster.id).node_ids) == [node.id]
    assert nodes.list_page(world.store, cluster_id=cluster.id, after="", count=9) == [shown]
    assert world.violations() == []


def test_host_names_are_unique_from_the_beginning(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    first = node_message(cluster.id, manage_hostnames=["x"], storage_hostnames=["y"])
    operation = world.begin(add_node_spec(first))
    for fields in ({"manage_hostnames": ["new", "x"]}, {"storage_hostnames": ["y"]}):
        with pytest.raises(AlreadyExistsError) as taken:
            world.begin(add_node_spec(node_message(other.id, **fields)))
        name = "x" if "manage_hostnames" in fields else "y"
        assert refusal(taken) == (Reason.HOSTNAME_IN_USE, f"Hostname {name} already used by node with id {first.id}")
        assert taken.value.metadata == {"hostname": name, "node_id": first.id}
    with pytest.raises(AlreadyExistsError):
        nodes.check_new(world.store, cluster_id=other.id, manage=["x"], storage=["s"])
    # The two kinds do not meet.
    assert nodes.check_new(world.store, cluster_id=other.id, manage=["y"], storage=["x"]) == []
    world.abort(operation)
    world.node(other.id, manage_hostnames=["x"], storage_hostnames=["y"])
    assert world.violations() == []


def test_a_new_node_is_told_of_the_others(world: World) -> None:
    cluster = world.cluster()
    members = sorted(world.node(cluster.id).id for _ in range(2))
    found = nodes.check_new(world.store, cluster_id=cluster.id, manage=["m"], storage=["s"])
    assert [node.id for node in found] == members


def test_a_removed_node_gives_its_names_back(world: World) -> None:
    cluster = world.cluster()
    node = world.node(cluster.id, manage_hostnames=["x"])
    operation = world.begin(delete_node_spec(node.id))
    assert operation.spec.delete_node.node.manage_hostnames == ["x"]
    # What is being removed is still shown, and takes nothing new.
    assert nodes.get(world.store, node.id)[0].id == node.id
    with pytest.raises(FailedPreconditionError) as busy:
        world.begin(add_device_spec(device_message(node.id)))
    assert busy.value.reason is Reason.TARGET_BUSY
    world.commit(operation)
    with pytest.raises(NotFoundError):
        nodes.get(world.store, node.id)
    world.node(cluster.id, manage_hostnames=["x"])
    assert world.violations() == []


def test_an_aborted_removal_changes_nothing(world: World) -> None:
    node = world.node(world.cluster().id)
    before = nodes.get(world.store, node.id)
    world.abort(world.begin(delete_node_spec(node.id)))
    assert nodes.get(world.store, node.id) == before
    world.device(node.id)
    assert world.violations() == []


def test_a_node_with_devices_is_not_removed(world: World) -> None:
    node = world.node(world.cluster().id)
    world.begin(add_device_spec(device_message(node.id)))
    with pytest.raises(FailedPreconditionError) as full:
        world.begin(delete_node_spec(node.id))
    assert refusal(full) == (
        Reason.NODE_NOT_EMPTY,
        f"Unable to delete node [{node.id}] because it contains devices",
    )


def test_nodes_are_paged(world: World) -> None:
    cluster, other = world.cluster(), world.cluster()
    mine = sorted(world.node(cluster.id).id for _ in range(4))
    foreign = world.node(other.id).id
    device = world.device(mine[2])
    page = nodes.list_page(world.store, cluster_id=cluster.id, after=mine[0], count=2)
    assert [(node.id, list(node.device_ids)) for node in page] == [(mine[1], []), (mine[2], [device.id])]
    everything = nodes.list_page(world.store, cluster_id="", after="", count=99)
    assert [node.id for node in everything] == sorted([*mine, foreign])


NODE_CASES = [
    ((ONLINE,), ONLINE, ""),
    ((ONLINE,), OFFLINE, ""),
    ((ONLINE,), FAILED, "Node must be offline before remove operation is performed, node:{id}"),
    ((OFFLINE,), ONLINE, ""),
    ((OFFLINE,), OFFLINE, ""),
    ((OFFLINE,), FAILED, ""),
    ((OFFLINE, FAILED), ONLINE, "Cannot move a failed/removed node to online state"),
    ((OFFLINE, FAILED), OFFLINE, "Cannot move a failed/removed node to offline state"),
    ((OFFLINE, FAILED), FAILED, ""),
]


@pytest.mark.parametrize(("way", "wanted", "text"), NODE_CASES)
def test_node_states(world: World, way: tuple[int, ...], wanted: int, text: str) -> None:
    node = world.node(world.cluster().id)
    world.set_node_state(node.id, *way)
    operation = world.begin(node_state_spec(node.id, wanted))
    if text:
        with pytest.raises(FailedPreconditionError) as refused:
            world.commit(operation)
        assert refusal(refused) == (Reason.NODE_STATE_CONFLICT, text.format(id=node.id))
        world.abort(operation)
        assert nodes.get(world.store, node.id)[0].state == way[-1]
    else:
        world.commit(operation)
        assert nodes.get(world.store, node.id)[0].state == wanted
    assert world.violations() == []


def test_a_failed_node_takes_its_devices_along(world: World) -> None:
    node = world.node(world.cluster().id)
    device = world.device(node.id)
    world.set_node_state(node.id, OFFLINE, FAILED)
    assert devices.get(world.store, device.id)[0].state == FAILED


def test_bricks_keep_nodes_and_devices_from_failing(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    world.volume(cluster.id, [device])
    world.set_device_state(device.id, OFFLINE)
    world.set_node_state(device.node_id, OFFLINE)
    for spec, reason in (
        (device_state_spec(device.id, FAILED), Reason.DEVICE_NOT_EMPTY),
        (node_state_spec(device.node_id, FAILED), Reason.NODE_NOT_EMPTY),
    ):
        operation = world.begin(spec)
        with pytest.raises(FailedPreconditionError) as refused:
            world.commit(operation)
        assert refused.value.reason is reason
        world.abort(operation)
    assert devices.get(world.store, device.id)[0].state == OFFLINE


# Devices


def test_a_device_is_hidden_until_it_is_committed(world: World) -> None:
    node = world.node(world.cluster().id)
    device = device_message(node.id, tags={"a": "b"})
    operation = world.begin(add_device_spec(device))
    for hidden in (
        lambda: devices.get(world.store, device.id),
        lambda: world.begin(delete_device_spec(device.id)),
        lambda: devices.update_tags(world.store, device.id, TagChange.SET, {}),
    ):
        with pytest.raises(NotFoundError):
            hidden()
    assert nodes.get(world.store, node.id)[1] == []
    facts = facts_message(50 * GIB, free_bytes=40 * GIB)
    world.commit(operation, device_facts=facts)
    shown, its_node = devices.get(world.store, device.id)
    assert (shown.total_bytes, shown.used_bytes, shown.reserved_bytes) == (50 * GIB, 10 * GIB, 0)
    assert (shown.pv_uuid, shown.extent_size_bytes) == (facts.pv_uuid, facts.extent_size_bytes)
    assert (list(shown.known_paths), dict(shown.tags), shown.state) == (list(facts.known_paths), {"a": "b"}, ONLINE)
    assert (its_node.id, list(its_node.device_ids)) == (node.id, [device.id])
    assert world.violations() == []


def test_a_path_is_used_once_on_a_node(world: World) -> None:
    cluster = world.cluster()
    node = world.node(cluster.id)
    operation = world.begin(add_device_spec(device_message(node.id, path="/dev/sdb")))
    with pytest.raises(AlreadyExistsError) as taken:
        world.begin(add_device_spec(device_message(node.id, path="/dev/sdb")))
    assert taken.value.reason is Reason.DEVICE_PATH_IN_USE
    world.device(world.node(cluster.id).id, path="/dev/sdb")
    world.abort(operation)
    world.device(node.id, path="/dev/sdb")
    assert world.violations() == []


def test_a_disk_is_known_by_its_uuid(world: World) -> None:
    cluster = world.cluster()
    node, other = world.node(cluster.id), world.node(cluster.id)
    facts = facts_message()
    first, second, third = (device_message(each) for each in (node.id, node.id, other.id))
    world.commit(world.begin(add_device_spec(first)), device_facts=facts)
    operation = world.begin(add_device_spec(second))
    with pytest.raises(AlreadyExistsError) as known:
        world.commit(operation, device_facts=facts)
    assert refusal(known) == (Reason.DEVICE_ALREADY_KNOWN, f"Device already in use (ID: {first.id})")
    world.abort(operation)
    world.commit(world.begin(add_device_spec(third)), device_facts=facts)
    # A UUID that is not known tells nothing.
    for _ in range(2):
        world.commit(world.begin(add_device_spec(device_message(node.id))), device_facts=facts_message(pv_uuid=""))


@pytest.mark.parametrize(
    "facts",
    [
        None,
        facts_message(0),
        facts_message(GIB, free_bytes=2 * GIB),
        facts_message(GIB, free_bytes=-1),
        facts_message(GIB, extent_size_bytes=0),
    ],
)
def test_a_device_needs_sound_facts(world: World, facts: device_pb2.DeviceFacts | None) -> None:
    operation = world.begin(add_device_spec(device_message(world.node(world.cluster().id).id)))
    outcome: dict[str, Any] = {} if facts is None else {"device_facts": facts}
    with pytest.raises(InvalidArgumentError):
        world.commit(operation, **outcome)


DEVICE_CASES = [
    ((ONLINE,), ONLINE, ""),
    ((ONLINE,), OFFLINE, ""),
    ((ONLINE,), FAILED, "Device must be offline before remove operation is performed, device:{id}"),
    ((OFFLINE,), ONLINE, ""),
    ((OFFLINE,), OFFLINE, ""),
    ((OFFLINE,), FAILED, ""),
    ((OFFLINE, FAILED), ONLINE, "Cannot move a failed/removed device to online state"),
    ((OFFLINE, FAILED), OFFLINE, ""),
    ((OFFLINE, FAILED), FAILED, ""),
    ((OFFLINE, FAILED, OFFLINE), ONLINE, ""),
]


@pytest.mark.parametrize(("way", "wanted", "text"), DEVICE_CASES)
def test_device_states(world: World, way: tuple[int, ...], wanted: int, text: str) -> None:
    device = world.devices(world.cluster().id, 1)[0]
    world.set_device_state(device.id, *way)
    operation = world.begin(device_state_spec(device.id, wanted))
    if text:
        with pytest.raises(FailedPreconditionError) as refused:
            world.commit(operation)
        assert refusal(refused) == (Reason.DEVICE_STATE_CONFLICT, text.format(id=device.id))
        world.abort(operation)
        assert devices.get(world.store, device.id)[0].state == way[-1]
    else:
        world.commit(operation)
        assert devices.get(world.store, device.id)[0].state == wanted
    assert world.violations() == []


def test_only_a_failed_device_is_deleted(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    with pytest.raises(FailedPreconditionError) as refused:
        world.begin(delete_device_spec(device.id))
    assert refusal(refused) == (Reason.DEVICE_NOT_FAILED, f"device: {device.id} is not in failed state")
    world.set_device_state(device.id, OFFLINE, FAILED)
    operation = world.begin(delete_device_spec(device.id))
    assert operation.spec.delete_device.device.path == device.path
    assert devices.get(world.store, device.id)[0].id == device.id
    world.abort(operation)
    world.commit(world.begin(delete_device_spec(device.id)))
    with pytest.raises(NotFoundError):
        devices.get(world.store, device.id)
    world.device(device.node_id, path=device.path)
    assert world.violations() == []


def test_a_device_with_bricks_is_not_deleted(world: World) -> None:
    cluster = world.cluster()
    device = world.devices(cluster.id, 1)[0]
    # A brick that is still being made counts too; the state is set behind the rules' back.
    world.begin(create_spec(volume_message(cluster.id, [device])))
    world.store.write(
        lambda tx: tx.connection.exec_driver_sql(f"UPDATE device SET state = 'failed' WHERE id = '{device.id}'")
    )
    with pytest.raises(FailedPreconditionError) as refused:
        world.begin(delete_device_spec(device.id))
    assert refusal(refused) == (
        Reason.DEVICE_NOT_EMPTY,
        f"Unable to delete device [{device.id}] because it contains bricks",
    )


# Tags


@pytest.mark.parametrize("kind", ["node", "device"])
def test_tags_are_changed(world: World, kind: str) -> None:
    device = world.devices(world.cluster().id, 1)[0]
    change, object_id = (nodes.update_tags, device.node_id) if kind == "node" else (devices.update_tags, device.id)
    assert change(world.store, object_id, TagChange.SET, {"a": "1", "b": "2"}) == {"a": "1", "b": "2"}
    assert change(world.store, object_id, TagChange.UPDATE, {"b": "3"}) == {"a": "1", "b": "3"}
    assert change(world.store, object_id, TagChange.DELETE, {"a": "any", "z": ""}) == {"b": "3"}
    with pytest.raises(InvalidArgumentError) as many:
        change(world.store, object_id, TagChange.UPDATE, {f"t{n}": "" for n in range(32)})
    assert refusal(many) == (Reason.TOO_MANY_TAGS, "too many tags specified (33), up to 32 supported")
    device_now, node_now = devices.get(world.store, device.id)
    assert dict(node_now.tags if kind == "node" else device_now.tags) == {"b": "3"}
