import pytest

from services.common.identity import (
    AccessPolicy,
    Identity,
    Role,
    identity_from_names,
    policy_for,
    role_hostname,
    role_uri,
)

POLICY = AccessPolicy(
    policy_for("brickyard.x.v1.XService", {"Read": (Role.GATEWAY, Role.OPERATOR), "Write": (Role.GATEWAY,)})
)


def test_the_uri_of_a_certificate_names_its_owner() -> None:
    names = ["10.0.0.1", role_hostname(Role.AGENT), role_uri(Role.AGENT, "10.0.0.1")]
    assert identity_from_names(names) == Identity(Role.AGENT, "10.0.0.1")


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["gateway.brickyard.internal"],
        ["brickyard://role/gateway"],
        ["brickyard://role/gateway/"],
        ["brickyard://role/local/x"],
        ["brickyard://role/emperor/x"],
        ["brickyard://role/gateway/a", "brickyard://role/agent/a"],
    ],
)
def test_names_that_tell_of_no_one_owner_are_refused(names: list[str]) -> None:
    assert identity_from_names(names) is None


@pytest.mark.parametrize(
    ("role", "method", "permitted"),
    [
        (Role.GATEWAY, "Write", True),
        (Role.OPERATOR, "Write", False),
        (Role.OPERATOR, "Read", True),
        (Role.AGENT, "Read", False),
        (Role.GATEWAY, "Unlisted", False),
        (Role.LOCAL, "Write", True),
        (Role.LOCAL, "Unlisted", False),
    ],
)
def test_whatever_is_not_listed_is_refused(role: Role, method: str, permitted: bool) -> None:
    assert POLICY.permits(f"/brickyard.x.v1.XService/{method}", Identity(role, "x")) is permitted


def test_health_and_reflection_are_open_to_every_identified_caller() -> None:
    caller = Identity(Role.AGENT, "x")
    assert POLICY.permits("/grpc.health.v1.Health/Check", caller)
    assert POLICY.permits("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", caller)
    assert not POLICY.permits("/grpc.other/Check", caller)
