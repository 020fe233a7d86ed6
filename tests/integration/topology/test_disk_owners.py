"""Whose disk it is that a node refused to take."""

from typing import Any

import pytest

from brickyard.topology.v1 import device_pb2, operation_pb2
from services.common.reasons import Reason
from services.topology.usecases import devices
from tests.unit.topology.builders import World, add_device_spec, device_message

TEXT = "Initializing device /dev/sdx failed (aleady contains Physical Volume u): it is in a group"


def refused(world: World, node_id: str, *, destroy: bool = False, **metadata: str) -> operation_pb2.OperationError:
    """Tries to add a disk that the node refuses with this metadata."""
    spec = add_device_spec(device_message(node_id))
    spec.add_device.destroy_data = destroy
    error = operation_pb2.OperationError(reason=Reason.DEVICE_IN_USE, message=TEXT, metadata=metadata)
    ended: operation_pb2.Operation = world.abort(world.begin(spec), error=error)
    return ended.error


@pytest.fixture
def device(world: World) -> device_pb2.Device:
    made = world.device(world.node(world.cluster().id).id)
    return devices.get(world.store, made.id)[0]


@pytest.mark.parametrize("by", ["device_id", "pv_uuid"])
def test_a_disk_of_this_node(world: World, device: device_pb2.Device, by: str) -> None:
    known: dict[str, Any] = {"device_id": device.id} if by == "device_id" else {"pv_uuid": device.pv_uuid}
    error = refused(world, device.node_id, **known)
    assert error.reason == Reason.DEVICE_IN_USE
    assert error.message == f"{TEXT}; it is device {device.id} of this node already, added as {device.path}"
    assert (error.metadata["device_id"], error.metadata["node_id"]) == (device.id, device.node_id)


@pytest.mark.parametrize("by", ["device_id", "pv_uuid"])
def test_a_disk_that_another_node_has_too(world: World, device: device_pb2.Device, by: str) -> None:
    other = world.node(world.cluster().id)
    known: dict[str, Any] = {"device_id": device.id} if by == "device_id" else {"pv_uuid": device.pv_uuid}
    error = refused(world, other.id, **known)
    assert f"; it is device {device.id} of node m-{device.node_id} already" in error.message


def test_a_known_disk_that_was_to_be_wiped(world: World, device: device_pb2.Device) -> None:
    error = refused(world, device.node_id, destroy=True, pv_uuid=device.pv_uuid)
    assert (error.reason, error.message) == (Reason.DEVICE_ALREADY_KNOWN, f"Device already in use (ID: {device.id})")


def test_a_group_that_no_record_knows(world: World, device: device_pb2.Device) -> None:
    error = refused(world, device.node_id, device_id="a" * 32, pv_uuid="u")
    assert error.message.startswith(f"{TEXT}; no record knows this volume group")
    assert refused(world, device.node_id, pv_uuid="u", device_id="").message == TEXT
    assert refused(world, device.node_id).message == TEXT
