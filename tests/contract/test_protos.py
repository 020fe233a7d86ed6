"""The contracts themselves: names, idempotency, units, comments beyond what buf lint holds."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor, ServiceDescriptor

PROTOS = Path(__file__).resolve().parents[2] / "protos"
MODULES = [
    "brickyard.topology.v1.topology_service_pb2",
    "brickyard.topology.v1.operation_service_pb2",
    "brickyard.topology.v1.health_service_pb2",
    "brickyard.topology.v1.identity_service_pb2",
    "brickyard.topology.v1.identity_pb2",
    "brickyard.topology.v1.join_service_pb2",
    "brickyard.topology.v1.operation_pb2",
    "brickyard.topology.v1.volume_pb2",
    "brickyard.topology.v1.device_pb2",
    "brickyard.topology.v1.node_pb2",
    "brickyard.topology.v1.inventory_pb2",
    "brickyard.allocator.v1.allocator_service_pb2",
    "brickyard.executor.v1.executor_service_pb2",
    "brickyard.executor.v1.facts_pb2",
    "brickyard.gateway.v1.operator_service_pb2",
]
FILES: list[FileDescriptor] = [importlib.import_module(name).DESCRIPTOR for name in MODULES]
SERVICES: list[ServiceDescriptor] = [service for file in FILES for service in file.services_by_name.values()]
UNSIGNED = {
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_FIXED32,
    FieldDescriptor.TYPE_FIXED64,
}


def fields() -> Iterator[FieldDescriptor]:
    for file in FILES:
        for message in file.message_types_by_name.values():
            yield from message.fields


def test_no_field_is_unsigned() -> None:
    assert [field.full_name for field in fields() if field.type in UNSIGNED] == []


def test_every_size_is_in_bytes_and_64_bits_wide() -> None:
    sized = [field for field in fields() if "size" in field.name or field.name.endswith("_bytes")]
    wrong = [
        field.full_name
        for field in sized
        if field.name != "page_size"
        and not (field.name.endswith("_bytes") and field.type == FieldDescriptor.TYPE_INT64)
    ]
    assert len(sized) > 20
    assert wrong == []


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.full_name)
def test_requests_and_responses_are_named_after_their_rpc(service: ServiceDescriptor) -> None:
    for method in service.methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"


def test_every_change_on_a_node_is_repeatable() -> None:
    service = FILES[MODULES.index("brickyard.executor.v1.executor_service_pb2")].services_by_name["ExecutorService"]
    # A fence is the same however often it is set: it says itself what is over.
    reads = ("Get", "List", "Fence")
    without = [
        method.name
        for method in service.methods
        if not method.name.startswith(reads) and "request_id" not in method.input_type.fields_by_name
    ]
    assert without == []


def test_no_rpc_takes_a_command() -> None:
    suspicious = ("command", "argv", "script", "shell", "exec_")
    assert [field.full_name for field in fields() if any(word in field.name for word in suspicious)] == []


@pytest.mark.parametrize("path", sorted(PROTOS.glob("brickyard/**/*.proto")), ids=lambda path: path.name)
def test_the_package_is_the_directory(path: Path) -> None:
    package = ".".join(path.parent.relative_to(PROTOS).parts)
    assert f"package {package};" in path.read_text()
