"""One address or several, as gRPC wants them."""

import json

import pytest

from services.common.channels import channel_options, target_of
from services.common.errors import InvalidArgumentError, UnavailableError


@pytest.mark.parametrize(
    ("given", "target", "several"),
    [
        ("10.0.0.2:7401", "10.0.0.2:7401", False),
        ("unix:/run/brickyard/topology.sock", "unix:/run/brickyard/topology.sock", False),
        ("control.example:7401,", "control.example:7401", False),
        ("dns:///topology.brickyard:7401", "dns:///topology.brickyard:7401", True),
        ("10.0.0.2:7401,10.0.0.3:7402", "ipv4:10.0.0.2:7401,10.0.0.3:7402", True),
        (" 10.0.0.2:7401 , 10.0.0.3:7401 ", "ipv4:10.0.0.2:7401,10.0.0.3:7401", True),
        ("[fd00::2]:7401,[fd00::3]:7401", "ipv6:[fd00::2]:7401,[fd00::3]:7401", True),
        ("[fd00::2]:7401,10.0.0.3:7401", "ipv6:[fd00::2]:7401,[::ffff:10.0.0.3]:7401", True),
    ],
)
def test_addresses_become_a_target(given: str, target: str, several: bool) -> None:
    assert target_of(given) == (target, several)


@pytest.mark.parametrize("wrong", ["10.0.0.3", "unix:/run/x.sock", "10.0.0.3:", ":7401", "10.0.0.3:x", "dns:///a:1"])
def test_what_can_not_be_one_of_several_is_named(wrong: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        target_of(f"10.0.0.2:7401,{wrong}")
    assert repr(wrong) in caught.value.message
    assert caught.value.metadata["value"] == wrong


def test_a_name_that_means_nothing_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"'nowhere\.invalid:7401'"):
        target_of("10.0.0.2:7401,nowhere.invalid:7401")


@pytest.mark.parametrize("several", [True, False])
def test_only_several_servers_take_turns(several: bool) -> None:
    config = json.loads(dict(channel_options(several=several))["grpc.service_config"])
    assert ("loadBalancingConfig" in config) is several
    assert ("healthCheckConfig" in config) is several
    assert config["methodConfig"][0]["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
