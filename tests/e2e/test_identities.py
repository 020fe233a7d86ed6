"""Mutual TLS on the lab: who may call what, with the certificates that the stack really uses."""

from typing import Any

import pytest

from compose.stack import HOST_ADDRESS, PORTS
from tests.e2e.system import AGENT_PORT, MEMBERS, System

pytestmark = pytest.mark.timeout(60)
FACTS = "brickyard.executor.v1.ExecutorService/GetNodeFacts"
DELETE = (
    'brickyard.executor.v1.ExecutorService/DeleteDevice={"request_id": "intruder", '
    '"device_id": "0123456789abcdef0123456789abcdef"}'
)


def call_agent(system: System, role: str, *calls: str) -> list[Any]:
    return system.rpc(f"{system.member_addresses[0]}:{AGENT_PORT}", *(calls or (FACTS,)), role=role)


def test_operator_reads_and_does_not_write(system: System) -> None:
    facts, refused = call_agent(system, "operator", FACTS, DELETE)
    assert facts["code"] == "OK"
    assert facts["answer"]["facts"]["glusterd"]["running"] is True
    assert len(facts["answer"]["facts"]["glusterd"]["peers"]) == MEMBERS - 1
    assert refused["code"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("role", ["topology", "allocator", "agent-10.77.0.12"])
def test_other_roles_may_nothing(system: System, role: str) -> None:
    assert [answer["code"] for answer in call_agent(system, role, FACTS, DELETE)] == ["PERMISSION_DENIED"] * 2


@pytest.mark.parametrize("role", ["nobody", "plaintext"])
def test_without_a_certificate_there_is_no_connection(system: System, role: str) -> None:
    (answer,) = call_agent(system, role)
    assert answer["code"] == "UNAVAILABLE"


def test_agent_may_not_touch_the_books(system: System) -> None:
    (answer,) = system.rpc(
        f"{HOST_ADDRESS}:{PORTS['topology']}",
        "brickyard.topology.v1.TopologyService/ListClusters",
        role="agent-10.77.0.12",
        server_name="topology.brickyard.internal",
    )
    assert answer["code"] == "PERMISSION_DENIED"


def test_an_agent_cannot_pose_as_another(system: System) -> None:
    """The certificate of one node is not good for the address of another."""
    first, second = system.member_addresses[:2]
    (answer,) = system.rpc(f"{first}:{AGENT_PORT}", FACTS, server_name=second)
    assert answer["code"] == "UNAVAILABLE"


def test_stolen_certificate_of_another_authority(system: System) -> None:
    assert [answer["code"] for answer in call_agent(system, "gateway", FACTS)] == ["OK"]
    system.make_foreign_identity("foreign")
    (answer,) = call_agent(system, "foreign")
    assert answer["code"] == "UNAVAILABLE"
