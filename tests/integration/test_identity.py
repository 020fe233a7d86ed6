"""Who may call what: certificates, roles, health and reflection, on every server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from brickyard.allocator.v1 import allocator_service_pb2
from brickyard.executor.v1 import executor_service_pb2
from brickyard.gateway.v1 import operator_service_pb2
from brickyard.topology.v1 import (
    health_service_pb2,
    identity_service_pb2,
    join_service_pb2,
    operation_service_pb2,
    topology_service_pb2,
)
from services.common.authority import create_authority, issue_certificate
from services.common.credentials import TlsFiles
from services.common.identity import Role
from services.common.reasons import Reason
from tests.integration.clients import HOST, refusal
from tests.integration.stack import ON_SQLITE, ROLES, SERVER_ROLES, Stack, secure_channel, servers_of

pytestmark = ON_SQLITE
GATEWAY = {Role.GATEWAY}
READERS = {Role.GATEWAY, Role.OPERATOR}
PLANNERS = {Role.GATEWAY, Role.ALLOCATOR, Role.OPERATOR}
OPERATOR = {Role.OPERATOR}
SERVERS = set(SERVER_ROLES)


def service(module: Any, name: str) -> ServiceDescriptor:
    found: ServiceDescriptor = module.DESCRIPTOR.services_by_name[name]
    return found


SERVICES: dict[Role, list[ServiceDescriptor]] = {
    Role.TOPOLOGY: [
        service(topology_service_pb2, "TopologyService"),
        service(operation_service_pb2, "OperationService"),
        service(health_service_pb2, "HealthService"),
        service(identity_service_pb2, "IdentityService"),
    ],
    Role.ALLOCATOR: [service(allocator_service_pb2, "AllocatorService")],
    Role.AGENT: [service(executor_service_pb2, "ExecutorService")],
    Role.GATEWAY: [service(operator_service_pb2, "OperatorService")],
}
# Served on a port of its own, for callers without a certificate.
JOIN = service(join_service_pb2, "JoinService")
# Served everywhere, for everybody who shows a certificate.
COMMON = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
# Written out a second time: a change of who may do what has to be made in two places, and is seen.
ALLOWED: dict[str, dict[str, set[Role]]] = {
    "TopologyService": {
        **dict.fromkeys(["CreateCluster", "SetClusterFlags", "DeleteCluster", "CheckNewNode"], GATEWAY),
        **dict.fromkeys(["UpdateNodeTags", "UpdateDeviceTags"], GATEWAY),
        **dict.fromkeys(["DropGhosts"], GATEWAY),
        **dict.fromkeys(["BackUp", "ExportRecords"], READERS),
        **dict.fromkeys(["ImportRecords"], OPERATOR),
        **dict.fromkeys(["SetBrickOrder"], GATEWAY),
        **dict.fromkeys(["GetBooks"], READERS),
        **dict.fromkeys(["GetNode", "GetDevice", "GetVolume", "ListVolumes", "GetBrick", "CheckConsistency"], READERS),
        **dict.fromkeys(["GetCluster", "ListClusters", "ListNodes", "GetInventory", "ListCandidateClusters"], PLANNERS),
        **dict.fromkeys(["GetBlockVolume", "ListBlockVolumes", "FindHostingVolumes"], READERS),
        "ListReservations": PLANNERS,
    },
    "OperationService": {
        **dict.fromkeys(["BeginOperation", "UpdateOperation", "CommitOperation", "AbortOperation"], GATEWAY),
        **dict.fromkeys(["ReplanOperation", "CheckSlot", "WakeOperations"], GATEWAY),
        **dict.fromkeys(["RenewLeases", "ClaimOperations"], GATEWAY),
        **dict.fromkeys(["GetOperation", "ListOperations", "WatchOperation"], READERS),
    },
    "HealthService": {
        **dict.fromkeys(["TakeFactTurns", "RecordNodeFacts", "TakeEvictionTurns"], GATEWAY),
        **dict.fromkeys(["ListNodeFacts", "GetHealth"], READERS),
    },
    "IdentityService": {
        **dict.fromkeys(["CreateJoinToken", "RevokeCertificates", "ListCertificates"], OPERATOR),
        **dict.fromkeys(["RenewCertificate", "GetTrust"], SERVERS),
    },
    "AllocatorService": dict.fromkeys(
        ["PlanVolume", "GetMaxVolumeSize", "ExplainVolume", "PlanReplacement", "PlanRebalance"], READERS
    ),
    "ExecutorService": {
        **dict.fromkeys(["ListVolumes"], READERS),
        **dict.fromkeys(["RestoreBrick", "RemoveOrphanBrick", "StartVolume"], GATEWAY),
        **dict.fromkeys(["GetNodeFacts", "GetGlusterd", "GetDevice", "GetVolume", "GetHealStatus"], READERS),
        "FenceOperation": GATEWAY,
        **dict.fromkeys(["ProbePeer", "DetachPeer", "CreateDevice", "DeleteDevice", "GrowDevice"], GATEWAY),
        **dict.fromkeys(["CreateBrick", "DeleteBrick", "CreateVolume", "DeleteVolume"], GATEWAY),
        **dict.fromkeys(["AddBricks", "RemoveBricks", "CloneVolume", "RemoveOrphanCopies"], GATEWAY),
        **dict.fromkeys(["ReplaceBrick", "SettleReplacement", "SyncBricks"], GATEWAY),
        **dict.fromkeys(["CreateBlockVolume", "DeleteBlockVolume", "ExpandBlockVolume"], GATEWAY),
        **dict.fromkeys(["GetBlockVolume", "ListBlockVolumes"], READERS),
    },
    "OperatorService": dict.fromkeys(
        [method.name for method in service(operator_service_pb2, "OperatorService").methods], OPERATOR
    ),
}


@contextmanager
def channel_to(stack: Stack, server: Role, files: TlsFiles | None) -> Iterator[grpc.Channel]:
    address = servers_of(stack)[server][1]
    with secure_channel(address, files, authority=stack.credentials.authority) as channel:
        yield channel


def outcome(channel: grpc.Channel, descriptor: ServiceDescriptor, name: str) -> grpc.StatusCode:
    """The status of a call with an empty request."""
    method = descriptor.methods_by_name[name]
    path = f"/{descriptor.full_name}/{name}"
    request = message_factory.GetMessageClass(method.input_type)()
    kinds = {"request_serializer": lambda message: message.SerializeToString(), "response_deserializer": bytes}
    try:
        if method.server_streaming:
            list(channel.unary_stream(path, **kinds)(request, timeout=10))
        else:
            channel.unary_unary(path, **kinds)(request, timeout=10)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.PERMISSION_DENIED:
            found = refusal(error)
            assert found.reason is Reason.ROLE_NOT_ALLOWED
            assert found.metadata["method"] == path
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def test_the_table_names_every_rpc(stack: Stack) -> None:
    for descriptors in SERVICES.values():
        for descriptor in descriptors:
            assert set(ALLOWED[descriptor.name]) == {method.name for method in descriptor.methods}


def reflected(channel: grpc.Channel) -> dict[str, set[str]]:
    """All services of a server and their RPCs, as the server itself tells."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

    def ask(request: reflection_pb2.ServerReflectionRequest) -> Any:
        (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=5)
        return answer

    found = {}
    for listed in ask(reflection_pb2.ServerReflectionRequest(list_services="")).list_services_response.service:
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=listed.name)
        files = ask(request).file_descriptor_response.file_descriptor_proto
        described = [descriptor_pb2.FileDescriptorProto.FromString(each) for each in files]
        found[listed.name] = {
            method.name
            for file in described
            for each in file.service
            if f"{file.package}.{each.name}" == listed.name
            for method in each.method
        }
    return found


@pytest.mark.parametrize("server", SERVER_ROLES)
def test_no_server_serves_what_no_table_names(stack: Stack, server: Role) -> None:
    with channel_to(stack, server, stack.credentials.of(Role.OPERATOR)) as channel:
        served = reflected(channel)
    assert set(served) - COMMON == {each.full_name for each in SERVICES[server]}
    for each in SERVICES[server]:
        assert served[each.full_name] == set(ALLOWED[each.name])


def test_every_contract_is_served_somewhere(stack: Stack) -> None:
    """A new service cannot be forgotten here."""
    served = {each.full_name for descriptors in SERVICES.values() for each in descriptors} | {JOIN.full_name}
    protos = Path(__file__).resolve().parents[2] / "protos" / "brickyard"
    written = set()
    for path in protos.glob("**/*.proto"):
        package = ".".join(("brickyard", *path.parent.relative_to(protos).parts))
        written |= {f"{package}.{name}" for name in re.findall(r"^service (\w+)", path.read_text(), re.MULTILINE)}
    assert served == written


@contextmanager
def join_channel(stack: Stack, files: TlsFiles | None) -> Iterator[grpc.Channel]:
    with secure_channel(stack.topology.addresses[1], files, authority=stack.credentials.authority) as channel:
        yield channel


@pytest.mark.parametrize("files", [None, *ROLES])
def test_where_agents_join_nothing_else_is_served(stack: Stack, files: Role | None) -> None:
    """Nobody is asked for a certificate there, and one that is shown opens nothing."""
    with join_channel(stack, stack.credentials.of(files) if files else None) as channel:
        for name in ("GetAuthorities", "Join"):
            code = outcome(channel, JOIN, name)
            assert code in {
                grpc.StatusCode.OK if name == "GetAuthorities" else grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            }
        for descriptors in SERVICES.values():
            for descriptor in descriptors:
                for name in ALLOWED[descriptor.name]:
                    assert outcome(channel, descriptor, name) is grpc.StatusCode.UNIMPLEMENTED
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert refusal(caught.value).reason is Reason.ROLE_NOT_ALLOWED


@pytest.mark.parametrize("server", SERVER_ROLES)
def test_nobody_joins_where_certificates_are_asked_for(stack: Stack, server: Role) -> None:
    with channel_to(stack, server, stack.credentials.of(Role.OPERATOR)) as channel:
        for name in ("GetAuthorities", "Join"):
            assert outcome(channel, JOIN, name) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("caller", ROLES)
@pytest.mark.parametrize("server", SERVER_ROLES)
def test_every_rpc_with_every_role(stack: Stack, server: Role, caller: Role) -> None:
    denied: set[str] = set()
    expected: set[str] = set()
    made_before = set(stack.rest().json("/clusters")["clusters"])
    with channel_to(stack, server, stack.credentials.of(caller)) as channel:
        for descriptor in SERVICES[server]:
            for name, roles in ALLOWED[descriptor.name].items():
                code = outcome(channel, descriptor, name)
                assert code is not grpc.StatusCode.UNAUTHENTICATED
                assert code is not grpc.StatusCode.UNAVAILABLE, name
                if code is grpc.StatusCode.PERMISSION_DENIED:
                    denied.add(f"{descriptor.name}/{name}")
                if caller not in roles:
                    expected.add(f"{descriptor.name}/{name}")
    assert denied == expected
    for cluster in set(stack.rest().json("/clusters")["clusters"]) - made_before:
        assert stack.rest().send("DELETE", f"/clusters/{cluster}").status_code == 200


def test_whatever_is_not_listed_is_refused_or_unknown(stack: Stack) -> None:
    with channel_to(stack, Role.TOPOLOGY, stack.credentials.of(Role.GATEWAY)) as channel:
        call: Any = channel.unary_unary("/brickyard.topology.v1.TopologyService/DropEverything")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert caught.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED}


def handshake_fails(channel: grpc.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another authority, with a certificate of each role."""
    directory = tmp_path_factory.mktemp("stranger")
    create_authority(directory / "ca")
    for role in ROLES:
        issue_certificate(directory / "ca", directory / role.value, role=role, name=role.value, hosts=[HOST])
    return directory


@pytest.mark.parametrize("server", SERVER_ROLES)
def test_no_certificate_no_answer(stack: Stack, server: Role) -> None:
    with channel_to(stack, server, None) as channel:
        handshake_fails(channel)


@pytest.mark.parametrize("server", SERVER_ROLES)
def test_certificate_of_another_authority(stack: Stack, server: Role, stranger: Path) -> None:
    with channel_to(stack, server, TlsFiles.in_directory(stranger / "gateway")) as channel:
        handshake_fails(channel)


@pytest.mark.parametrize("server", SERVER_ROLES)
def test_plain_connection_to_a_server_with_certificates(stack: Stack, server: Role) -> None:
    with grpc.insecure_channel(servers_of(stack)[server][1], options=[("grpc.enable_retries", 0)]) as channel:
        handshake_fails(channel)


def test_a_client_insists_on_its_own_authority(stack: Stack, stranger: Path) -> None:
    address = servers_of(stack)[Role.TOPOLOGY][1]
    files = stack.credentials.of(Role.GATEWAY)
    with secure_channel(address, files, authority=stranger / "ca") as channel:
        handshake_fails(channel)


def test_a_certificate_without_a_role_is_nobody(stack: Stack, tmp_path: Path) -> None:
    files = no_role_certificate(stack, tmp_path)
    for server in SERVER_ROLES:
        with channel_to(stack, server, files) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert refusal(caught.value).reason is Reason.UNAUTHENTICATED


def no_role_certificate(stack: Stack, target: Path) -> TlsFiles:
    """Of our authority, as a web server might have it: a host name and no role."""
    authority = stack.credentials.authority
    issuer = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    issuer_key = serialization.load_pem_private_key((authority / "ca-key.pem").read_bytes(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway.brickyard.internal")]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    files = TlsFiles.in_directory(target)
    files.ca.write_bytes((authority / "ca.pem").read_bytes())
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_an_expired_certificate_is_refused(stack: Stack, tmp_path: Path) -> None:
    files = issue_certificate(
        stack.credentials.authority, tmp_path, role=Role.GATEWAY, name="late", lifetime=timedelta(seconds=-1)
    )
    with channel_to(stack, Role.TOPOLOGY, files) as channel:
        handshake_fails(channel)


def test_a_gateway_insists_on_the_role_of_the_topology(stack: Stack) -> None:
    """Its address alone does not make a server the topology: here the agents' server poses as one."""
    gateway = stack.gateway_server("--topology", stack.agents_server.addresses[0])
    try:
        gateway.start()
        answer = stack.rest(gateway).send("GET", "/clusters")
        assert answer.status_code == 503
        assert "UNKNOWN" in answer.text or "handshake" in answer.text.lower() or "Hostname" in answer.text
    finally:
        gateway.end()


@pytest.mark.parametrize("caller", ROLES)
@pytest.mark.parametrize("server", SERVER_ROLES)
def test_health_and_reflection(stack: Stack, server: Role, caller: Role) -> None:
    names = {descriptor.full_name for descriptor in SERVICES[server]}
    with channel_to(stack, server, stack.credentials.of(caller)) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", *names):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = reflection.ServerReflectionInfo(iter([ask]), timeout=5)
        shown = {each.name for each in listed.list_services_response.service}
        assert names <= shown
        for name in names:
            ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
            (described,) = reflection.ServerReflectionInfo(iter([ask]), timeout=5)
            assert described.file_descriptor_response.file_descriptor_proto
