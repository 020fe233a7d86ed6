"""Requests that make no sense by themselves, and which parts of a request are the user's."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from brickyard.topology.v1 import device_pb2, operation_pb2, operation_service_pb2, volume_pb2
from services.common.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, UnimplementedError
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB
from services.topology.convert import copied_bricks, new_bricks, new_copy, new_device, new_node, new_volume
from services.topology.convert_operations import request_digest, spec_kind
from services.topology.domain.checks import (
    check_copied_bricks,
    check_expansion,
    check_new_copy,
    check_new_device,
    check_new_node,
    check_new_volume,
)
from services.topology.domain.model import OperationKind
from services.topology.domain.plans import check_continues, check_copyable, grown_size_bytes
from tests.unit.topology.builders import (
    add_device_spec,
    add_node_spec,
    clone_spec,
    create_spec,
    delete_spec,
    device_message,
    device_state_spec,
    expand_spec,
    more_bricks,
    node_message,
    resync_spec,
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


def share_a_pool(volume: volume_pb2.Volume) -> None:
    for brick in volume.bricks[1::2]:
        brick.device_id = volume.bricks[1].device_id
        brick.node_id = volume.bricks[1].node_id
        brick.thin_pool_name = "tp"


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
    "long pool name": lambda v: setattr(v.bricks[0], "thin_pool_name", "p" * 128),
    "long LV name": lambda v: setattr(v.bricks[0], "lv_name", "l" * 128),
    "two in one pool": share_a_pool,
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


@pytest.mark.parametrize("field", list(operation_pb2.OperationSpec.DESCRIPTOR.oneofs_by_name["kind"].fields))
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


def four_devices() -> list[device_pb2.Device]:
    return [device_message(new_id()) for _ in range(4)]


@pytest.mark.parametrize(
    "change",
    [
        {"volume_id": "x"},
        {"added_size_bytes": 0},
        {"added_size_bytes": -GIB},
        {"added_size_bytes": GIB + 1},
        {"bricks": []},
        {"bricks": [volume_pb2.Brick()]},
    ],
)
def test_an_incomplete_expansion_is_refused(change: dict[str, Any]) -> None:
    def check_it(spec: operation_pb2.ExpandVolumeSpec) -> None:
        check_expansion(spec.volume_id, spec.added_size_bytes, new_bricks(spec.bricks))

    whole = expand_spec(new_id(), more_bricks(four_devices(), first_set=1)).expand_volume
    check_it(whole)
    for field, value in change.items():
        whole.ClearField(field)  # type: ignore[arg-type]
        whole.MergeFrom(operation_pb2.ExpandVolumeSpec(**{field: value}))
    with pytest.raises(InvalidArgumentError):
        check_it(whole)


def test_new_sets_follow_the_last_one() -> None:
    bricks = new_bricks(more_bricks(four_devices(), first_set=3, set_size=2))
    check_continues("v", bricks, set_size=2, next_set=3)
    for next_set in (2, 4):
        with pytest.raises(AbortedError) as outdated:
            check_continues("v", bricks, set_size=2, next_set=next_set)
        assert outdated.value.reason is Reason.PLAN_OUTDATED
        assert outdated.value.metadata == {
            "volume_id": "v",
            "set_count": str(next_set),
            "planned_set_index": "3",
        }
    for set_size, some in ((3, bricks), (2, bricks[:3]), (2, (bricks[0], bricks[3])), (0, bricks)):
        with pytest.raises(InvalidArgumentError):
            check_continues("v", some, set_size=set_size, next_set=3)
    with pytest.raises(InvalidArgumentError):
        check_continues("v", new_bricks(more_bricks(four_devices(), first_set=-1)), set_size=1, next_set=-1)


def test_a_size_that_no_record_can_hold() -> None:
    largest = 2**63 - 1
    assert grown_size_bytes(GIB, largest - GIB) == largest
    with pytest.raises(InvalidArgumentError):
        grown_size_bytes(GIB, largest - GIB + 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"source_volume_id": ""},
        {"volume_id": "x"},
        {"name": "a b"},
        {"name": "a" * 256},
        {"brick_ids": ["a" * 32, "x"]},
        {"brick_ids": ["a" * 32, "a" * 32]},
    ],
)
def test_an_incomplete_copy_is_refused(fields: dict[str, Any]) -> None:
    whole = new_copy(clone_spec(volume()).clone_volume)
    check_new_copy(whole)
    assert whole.name == f"vol_{whole.volume_id}"
    with pytest.raises(InvalidArgumentError):
        check_new_copy(new_copy(clone_spec(volume(), **fields).clone_volume))


def test_what_can_be_copied() -> None:
    check_copyable("v", block=False, brick_count=3, planned_brick_count=3)
    with pytest.raises(FailedPreconditionError) as block:
        check_copyable("v", block=True, brick_count=3, planned_brick_count=3)
    assert block.value.reason is Reason.NOT_SUPPORTED_YET
    assert block.value.message == "Cloning of block hosting volumes is not supported"
    with pytest.raises(AbortedError) as outdated:
        check_copyable("v", block=False, brick_count=6, planned_brick_count=3)
    assert outdated.value.reason is Reason.PLAN_OUTDATED


def reported(*bricks: tuple[str, str, str]) -> operation_service_pb2.ClonedBricks:
    return operation_service_pb2.ClonedBricks(
        bricks=[operation_service_pb2.ClonedBrick(brick_id=b, path=path, lv_name=lv) for b, path, lv in bricks]
    )


@pytest.mark.parametrize(
    "report",
    [
        reported(),
        reported(("a", "/a", "x")),
        reported(("a", "/a", "x"), ("b", "/b", "y"), ("c", "/c", "z")),
        reported(("a", "/a", "x"), ("a", "/b", "y")),
        reported(("a", "/a", "x"), ("b", "", "y")),
        reported(("a", "/a", "x"), ("b", "/b", "")),
        reported(("a", "/a", "x"), ("b", "/b", "y" * 128)),
        reported(("a", "/a", "x"), ("b", "/b", "x")),
    ],
)
def test_an_incomplete_report_of_a_copy_is_refused(report: operation_service_pb2.ClonedBricks) -> None:
    check_copied_bricks(copied_bricks(reported(("b", "/b", "y"), ("a", "/a", "x"))), {"a": "d", "b": "d"})
    # On two devices the LVs may have one name: it is gluster's.
    check_copied_bricks(copied_bricks(reported(("b", "/b", "x"), ("a", "/a", "x"))), {"a": "d", "b": "e"})
    with pytest.raises(InvalidArgumentError):
        check_copied_bricks(copied_bricks(report), {"a": "d", "b": "d"})


def test_what_the_user_says_of_the_other_kinds() -> None:
    source, devices = volume(), four_devices()
    again = expand_spec(source.id, more_bricks(devices, first_set=9))
    again.expand_volume.rebalance = False
    same = [
        (expand_spec(source.id, more_bricks(devices, first_set=2)), again),
        (clone_spec(source), clone_spec(source)),
        (clone_spec(source), clone_spec(source, volume_id="a" * 32, name=f"vol_{'a' * 32}")),
    ]
    for first, second in same:
        assert request_digest(first) == request_digest(second)
    other = [
        (expand_spec(source.id, []), expand_spec(source.id, [], added=2 * GIB)),
        (expand_spec(source.id, []), expand_spec(new_id(), [])),
        (clone_spec(source), clone_spec(source, name="x")),
        (clone_spec(source), clone_spec(volume())),
        (resync_spec(new_id()), resync_spec(new_id())),
    ]
    for first, second in other:
        assert request_digest(first) != request_digest(second)
