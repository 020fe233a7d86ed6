"""Requests that make no sense by themselves, and which parts of a request are the user's."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from brickyard.topology.v1 import operation_pb2, volume_pb2
from services.common.errors import InvalidArgumentError, UnimplementedError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.convert import new_device, new_node, new_volume
from services.topology.convert_operations import request_digest, spec_kind
from services.topology.domain.checks import check_new_device, check_new_node, check_new_volume
from services.topology.domain.model import OperationKind
from tests.unit.topology.builders import (
    add_device_spec,
    add_node_spec,
    create_spec,
    delete_spec,
    device_message,
    device_state_spec,
    node_message,
    volume_message,
)


def volume(**fields: Any) -> volume_pb2.Volume:
    """Two replicated sets on four nodes."""
    return volume_message(new_id(), [device_message(new_id()) for _ in range(4)], replica_count=2, **fields)


def check(message: volume_pb2.Volume) -> None:
    check_new_volume(new_volume(message))


def test_a_complete_volume_passes() -> None:
    check(volume())
    check(volume(name="A-z_0", gid=2**31 - 2, snapshot_enabled=True, snapshot_factor=100))
    single = volume_message(new_id(), [device_message(new_id())])
    check(single)


BREAKS: dict[str, Callable[[volume_pb2.Volume], object]] = {
    "id": lambda v: setattr(v, "id", "x"),
    "cluster": lambda v: setattr(v, "cluster_id", "A" * 32),
    "no name": lambda v: setattr(v, "name", ""),
    "name with a dot": lambda v: setattr(v, "name", "a.b"),
    "name with a line end": lambda v: setattr(v, "name", "a\n"),
    "long name": lambda v: setattr(v, "name", "a" * 256),
    "no size": lambda v: setattr(v, "size_bytes", 0),
    "half a GiB": lambda v: setattr(v, "size_bytes", GIB // 2),
    "option with NUL": lambda v: v.options.append("a \0"),
    "negative gid": lambda v: setattr(v, "gid", -1),
    "large gid": lambda v: setattr(v, "gid", 2**31 - 1),
    "no factor": lambda v: setattr(v, "snapshot_factor", 0),
    "large factor": lambda v: setattr(v, "snapshot_factor", 101),
    "no durability": lambda v: setattr(v.durability, "type", 0),
    "four copies": lambda v: setattr(v.durability, "replica_count", 4),
    "negative count": lambda v: setattr(v.durability, "data_count", -1),
    "no bricks": lambda v: v.ClearField("bricks"),
    "half a set": lambda v: v.bricks.pop(),
    "gap": lambda v: setattr(v.bricks[3], "position", 2),
    "negative place": lambda v: setattr(v.bricks[0], "set_index", -1),
    "two on one node": lambda v: setattr(v.bricks[1], "node_id", v.bricks[0].node_id),
    "brick twice": lambda v: setattr(v.bricks[1], "id", v.bricks[0].id),
    "brick without role": lambda v: setattr(v.bricks[0], "role", 0),
    "brick without path": lambda v: setattr(v.bricks[0], "path", ""),
    "brick without size": lambda v: setattr(v.bricks[0], "size_bytes", 0),
    "small pool": lambda v: setattr(v.bricks[0], "thin_pool_size_bytes", GIB - 1),
    "negative metadata": lambda v: setattr(v.bricks[0], "pool_metadata_size_bytes", -1),
    "brick without device": lambda v: setattr(v.bricks[0], "device_id", ""),
}


@pytest.mark.parametrize("name", BREAKS)
def test_an_incomplete_volume_is_refused(name: str) -> None:
    message = volume()
    BREAKS[name](message)
    with pytest.raises(InvalidArgumentError) as refused:
        check(message)
    assert refused.value.metadata["field"]


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "x"},
        {"zone": 0},
        {"manage_hostnames": []},
        {"storage_hostnames": []},
        {"manage_hostnames": [""]},
        {"manage_hostnames": ["m\0"]},
        {"storage_hostnames": ["h" * 256]},
        {"tags": {"": ""}},
    ],
)
def test_an_incomplete_node_is_refused(fields: dict[str, Any]) -> None:
    check_new_node(new_node(node_message(new_id())))
    with pytest.raises(InvalidArgumentError):
        check_new_node(new_node(node_message(new_id(), **fields)))


@pytest.mark.parametrize("fields", [{"id": ""}, {"node_id": ""}, {"path": "sdb"}, {"path": "/dev/a b"}, {"path": "/"}])
def test_an_incomplete_device_is_refused(fields: dict[str, Any]) -> None:
    check_new_device(new_device(device_message(new_id(), path="/dev/disk/by-id/x:0.1")))
    with pytest.raises(InvalidArgumentError):
        check_new_device(new_device(device_message(**{"node_id": new_id(), **fields})))


def test_a_spec_has_a_kind() -> None:
    assert spec_kind(delete_spec(new_id())) == "delete_volume"
    with pytest.raises(InvalidArgumentError):
        spec_kind(operation_pb2.OperationSpec())


@pytest.mark.parametrize("field", operation_pb2.OperationSpec.DESCRIPTOR.oneofs_by_name["kind"].fields)
def test_every_kind_of_the_contract_is_known_or_refused_by_name(field: FieldDescriptor) -> None:
    spec = operation_pb2.OperationSpec()
    getattr(spec, field.name).SetInParent()
    try:
        assert spec_kind(spec) == field.name
    except UnimplementedError as error:
        assert field.name not in set(OperationKind)
        assert (error.reason, error.metadata) == (Reason.NOT_SUPPORTED_YET, {"kind": field.name})  # noqa: PT017 - either answer is right


def test_a_plan_is_no_part_of_the_request() -> None:
    device = device_message(new_id())
    first = volume_message(new_id(), [device])
    again = volume_message(new_id(), [device_message(new_id()), device_message(new_id())])
    assert request_digest(create_spec(first)) == request_digest(create_spec(again, max_volumes=7))
    assert first.bricks, "the spec itself is left as it is"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "data"},
        {"size_bytes": 2 * GIB},
        {"gid": 1},
        {"options": ["a b"]},
        {"block": True},
        {"snapshot_enabled": True},
        {"snapshot_factor": 2.0},
        {"replica_count": 1},
    ],
)
def test_what_the_user_says_is_the_request(fields: dict[str, Any]) -> None:
    device = device_message(new_id())
    plain = create_spec(volume_message("c", [device]))
    assert request_digest(plain) != request_digest(create_spec(volume_message("c", [device], **fields)))


def test_ids_that_the_gateway_chose_are_no_part_of_the_request() -> None:
    named = {"manage_hostnames": ["m"], "storage_hostnames": ["s"]}
    assert request_digest(add_node_spec(node_message("c", **named))) == request_digest(
        add_node_spec(node_message("c", **named))
    )
    assert request_digest(add_node_spec(node_message("c", **named))) != request_digest(
        add_node_spec(node_message("d", **named))
    )
    node_id = new_id()
    assert request_digest(add_device_spec(device_message(node_id, path="/dev/a"))) == request_digest(
        add_device_spec(device_message(node_id, path="/dev/a"))
    )
    assert request_digest(add_device_spec(device_message(node_id, path="/dev/a"))) != request_digest(
        add_device_spec(device_message(node_id, path="/dev/b"))
    )
    assert request_digest(device_state_spec(node_id, 1)) != request_digest(device_state_spec(node_id, 2))
