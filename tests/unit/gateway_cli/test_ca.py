"""Whose certificates keep an old authority from being retired."""

from itertools import permutations

import pytest

from brickyard.topology.v1.identity_pb2 import IDENTITY_ROLE_AGENT, IDENTITY_ROLE_GATEWAY, IssuedCertificate
from gateway.cli.ca import owners_of_others

OLD, NEW = "sha256:old", "sha256:new"


def issued(pin: str, second: int, *, name: str = "g", revoked: bool = False) -> IssuedCertificate:
    made = IssuedCertificate(role=IDENTITY_ROLE_GATEWAY, name=name, authority_pin=pin, revoked=revoked)
    made.issue_time.FromSeconds(second)
    return made


@pytest.mark.parametrize(
    ("certificates", "owners"),
    [
        ([], []),
        ([issued(OLD, 1)], ["gateway g"]),
        ([issued(OLD, 1), issued(NEW, 2)], []),
        # A change of the authority may take less than a second.
        ([issued(OLD, 1), issued(NEW, 1)], []),
        ([issued(OLD, 1, revoked=True)], []),
        ([issued(OLD, 1), issued(NEW, 2, revoked=True)], ["gateway g"]),
        ([issued(NEW, 1), issued(OLD, 1, name="h")], ["gateway h"]),
    ],
)
def test_the_latest_certificate_of_an_owner_counts(certificates: list[IssuedCertificate], owners: list[str]) -> None:
    for order in permutations(certificates):
        assert owners_of_others(order, NEW) == owners


def test_owners_of_one_name_and_two_roles_are_two() -> None:
    agent = issued(OLD, 1)
    agent.role = IDENTITY_ROLE_AGENT
    assert owners_of_others([issued(NEW, 2), agent], NEW) == ["agent g"]
