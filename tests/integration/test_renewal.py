"""Certificates of seconds, renewed, revoked and moved to another authority while calls run all the time."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from brickyard.topology.v1.topology_service_pb2 import ListClustersRequest
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from gateway.clients import Addresses, Agents
from services.common.authority import (
    Authority,
    activate_successor,
    add_successor,
    drop_predecessors,
    issuer_pin,
    new_request,
)
from services.common.channels import channel_options, open_channel
from services.common.credentials import TlsFiles, channel_credentials
from services.common.errors import FailedPreconditionError, PermissionDeniedError, UnavailableError
from services.common.identity import Role, role_hostname
from services.common.reasons import Reason
from tests.integration.clients import HOST, refusal
from tests.integration.identity_rig import NODE, Rig, Traffic, ask_agent, certificate_of, running
from tests.integration.stack import wait_until

# A third of it is left for a renewal, on a busy machine too.
LIFETIME = timedelta(seconds=12)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """With certificates that live for an hour."""
    with running(tmp_path_factory.mktemp("rig"), timedelta(hours=1)) as made:
        yield made


def test_renewal_and_change_of_the_authority_drop_no_call(tmp_path: Path) -> None:
    with running(tmp_path, LIFETIME) as rig:
        agent_files, gateway_files = rig.join(), rig.issue(Role.GATEWAY, "gateway")
        everybody = (rig.topology_files, agent_files, gateway_files)
        agent = rig.agent(agent_files)
        rig.keep(gateway_files)

        def serials() -> tuple[str, ...]:
            return tuple(certificate_of(files).serial for files in everybody)

        def all_renewed(before: tuple[str, ...]) -> bool:
            return all(old != new for old, new in zip(before, serials(), strict=True))

        with Traffic(rig, agent, gateway_files) as traffic, closing(open_channel(agent, gateway_files)) as held:
            # A call that is older than every certificate.
            health: Any = health_pb2_grpc.HealthStub(held)
            stream = health.Watch(health_pb2.HealthCheckRequest())
            assert next(iter(stream)).status == health_pb2.HealthCheckResponse.SERVING
            first = serials()
            wait_until(lambda: all_renewed(first), "a renewal of all", seconds=LIFETIME.total_seconds() * 2)
            second = serials()

            successor = add_successor(rig.ca)
            wait_until(
                lambda: all(files.ca.read_bytes() == successor.bundle for files in everybody), "all to trust both"
            )
            activate_successor(rig.ca)
            signer = Authority(rig.ca)
            wait_until(lambda: all(signer_of(files) == signer.pin for files in everybody), "all to be of the new one")
            assert all_renewed(second)
            drop_predecessors(rig.ca)
            bundle = Authority(rig.ca).bundle
            wait_until(lambda: all(files.ca.read_bytes() == bundle for files in everybody), "all to trust one")
            third = serials()
            wait_until(lambda: all_renewed(third), "one more renewal", seconds=LIFETIME.total_seconds() * 2)
            assert stream.is_active()
            stream.cancel()
        assert traffic.failures == []
        assert min(traffic.calls.values()) > 100, traffic.calls
        assert {signer_of(files) for files in everybody} == {signer.pin}


def signer_of(files: TlsFiles) -> str:
    """The pin of the authority that has signed a certificate."""
    bundle, certificate, _ = files.read()
    return issuer_pin(certificate, bundle)


def test_an_old_authority_is_refused_once_it_is_dropped(tmp_path: Path) -> None:
    with running(tmp_path, timedelta(hours=1)) as rig:
        before = rig.issue(Role.GATEWAY, "before")
        add_successor(rig.ca)
        with pytest.raises(FailedPreconditionError, match="under way"):
            add_successor(rig.ca)
        with pytest.raises(FailedPreconditionError, match="ca retire"):
            drop_predecessors(rig.ca)
        activate_successor(rig.ca)
        # At once: nobody waits for two thirds of an hour.
        wait_until(lambda: signer_of(rig.topology_files) == Authority(rig.ca).pin, "the topology to renew its own")
        after = rig.issue(Role.GATEWAY, "after")
        # Of the old authority still, and trusts both: whoever was told of the new one gets on with everybody.
        before.store_authority(Authority(rig.ca).bundle)
        assert answers(rig, before)
        wait_until(lambda: answers(rig, after), "the new authority to be trusted")
        assert answers(rig, before)
        drop_predecessors(rig.ca)
        wait_until(lambda: not answers(rig, before), "the old authority to be refused")


def answers(rig: Rig, files: TlsFiles) -> bool:
    """Whether the topology takes a new connection."""
    options = channel_options(role_hostname(Role.TOPOLOGY))
    with grpc.secure_channel(rig.address, channel_credentials(files), options=options) as channel:
        stub: Any = TopologyServiceStub(channel)
        try:
            stub.ListClusters(ListClustersRequest(), timeout=5)
        except grpc.RpcError:
            return False
        return True


def test_a_revoked_caller_is_refused_on_its_open_connection(rig: Rig) -> None:
    agent = rig.agent(rig.join(node="locked"))
    files = rig.issue(Role.GATEWAY, "stolen")
    other = rig.issue(Role.GATEWAY, "honest")
    with closing(open_channel(agent, files)) as channel, closing(open_channel(agent, other)) as good:
        ask_agent(channel)
        rig.topology.identities.revoke_owner(Role.GATEWAY, "stolen", "test")
        found = wait_until(lambda: refused(channel), "the agent to refuse it", seconds=5)
        assert found is Reason.CERTIFICATE_REVOKED
        ask_agent(good)
    # A certificate that is made afterwards counts.
    with closing(open_channel(agent, rig.issue_later(Role.GATEWAY, "stolen"))) as channel:
        ask_agent(channel)


def refused(channel: grpc.Channel) -> Reason | None:
    try:
        ask_agent(channel)
    except grpc.RpcError as error:
        return refusal(error).reason
    return None


def test_one_certificate_is_revoked_by_its_serial_number(rig: Rig) -> None:
    agent = rig.agent(rig.join(node="serial"))
    files = rig.issue(Role.GATEWAY, "lost")
    with closing(open_channel(agent, files)) as channel:
        ask_agent(channel)
        rig.topology.identities.revoke_serial(certificate_of(files).serial, "test")
        assert wait_until(lambda: refused(channel), "the agent to refuse it") is Reason.CERTIFICATE_REVOKED


def test_a_revoked_agent_gets_no_new_certificate_and_is_called_by_nobody(rig: Rig) -> None:
    files = rig.join(node="gone")
    trust = rig.keep(rig.issue(Role.GATEWAY, "caller"))
    rig.topology.identities.revoke_owner(Role.AGENT, "gone", "test")
    with pytest.raises(PermissionDeniedError) as caught:
        rig.topology.identities.renew(certificate_of(files), new_request()[1])
    assert caught.value.reason is Reason.CERTIFICATE_REVOKED
    wait_until(lambda: trust.bars(Role.AGENT, "gone"), "the gateway to know")
    agents = Agents(Addresses("", "", "", 7410, None), trust)
    with pytest.raises(UnavailableError, match="revoked"):
        asyncio.run(agents.call("gone", "GetGlusterd", None))
    # Until it joins again.
    rig.join(node="gone")
    wait_until(lambda: not trust.bars(Role.AGENT, "gone"), "the gateway to know")


def test_what_was_revoked_counts_while_the_topology_is_away(tmp_path: Path) -> None:
    with running(tmp_path, timedelta(hours=1)) as rig:
        agent_files, files = rig.join(), rig.issue(Role.GATEWAY, "stolen")
        rig.topology.identities.revoke_owner(Role.GATEWAY, "stolen", "test")
        wait_until(lambda: rig.server_knows("stolen"), "the topology to know")
        rig.keep(agent_files)
        wait_until(agent_files.ca.with_name("revoked.json").exists, "the list to be kept")
    # The rig is closed; the agent starts by itself.
    with running(tmp_path / "second", timedelta(hours=1)) as lonely:
        lonely.server.stop()
        agent = lonely.agent(agent_files)
        with closing(open_channel(agent, files)) as channel:
            assert refused(channel) is Reason.CERTIFICATE_REVOKED


def test_a_connection_does_not_outlive_its_certificate(rig: Rig) -> None:
    agent = rig.agent(rig.join(node="strict"))
    files = rig.issue(Role.GATEWAY, "brief", timedelta(seconds=2))
    with grpc.secure_channel(agent, channel_credentials(files)) as channel:
        ask_agent(channel)
        found = wait_until(lambda: refused(channel), "the certificate to end")
    assert found is Reason.CERTIFICATE_EXPIRED


def test_a_node_name_is_bound_to_its_certificate(rig: Rig) -> None:
    certificate = certificate_of(rig.join(node="bound"))
    assert certificate.identity is not None
    assert (certificate.identity.role, certificate.identity.name) == (Role.AGENT, "bound")
    assert certificate.hosts == ("bound", HOST)
    assert NODE not in certificate.hosts
