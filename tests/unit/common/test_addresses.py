"""HOST:PORT: what is one, and how one that is none is refused."""

import click
import pytest

from services.common.addresses import HostPort, parse_host_port
from services.common.errors import InvalidArgumentError
from services.common.settings import host_port_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.2:7400", HostPort("10.0.0.2", 7400)),
        ("node1.example:1", HostPort("node1.example", 1)),
        ("[::1]:65535", HostPort("::1", 65535)),
        ("[fe80::1%eth0]:7400", HostPort("fe80::1%eth0", 7400)),
    ],
)
def test_what_is_one(text: str, expected: HostPort) -> None:
    found = parse_host_port(text, field="listen")
    assert found == expected
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "host", "host:", ":7400", "host:http", "host:0", "host:65536", "host:-1", "host: 1", "host:1 ",
        "host:\u0661", "host:999999999999999999999", "::1:7400", "fe80::1", "[::1]", "[::1]7400", "[]:7400",
        "[host]:7400", "[[::1]]:1", "::1]:7400", "[::1:7400", "http://host:7400", "dns:///host:7400", "unix:/path",
        "a host:1", "host/x:1",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse_host_port(text, field="--listen")
    assert refused.value.message == (
        f"--listen: {text!r} is not HOST:PORT, with a port from 1 to 65535 and an IPv6 address in brackets"
    )
    assert refused.value.metadata["value"] == text


def test_a_free_port_and_any_host_where_they_may_be() -> None:
    assert parse_host_port("h:0", field="x", free_port=True) == HostPort("h", 0)
    assert parse_host_port(":8080", field="x", any_host=True) == HostPort("", 8080)
    assert parse_host_port("[::]:0", field="x", free_port=True, any_host=True) == HostPort("::", 0)
    for wrong in ("8080", ":", ""):
        with pytest.raises(InvalidArgumentError):
            parse_host_port(wrong, field="x", any_host=True)
    with pytest.raises(InvalidArgumentError, match="a port from 0 to 65535"):
        parse_host_port("h:70000", field="x", free_port=True)


def test_a_flag_is_refused_as_wrong_usage() -> None:
    assert host_port_of("--rest", ":0", free_port=True, any_host=True) == HostPort("", 0)
    with pytest.raises(click.UsageError, match=r"--rest: 'x' is not HOST:PORT"):
        host_port_of("--rest", "x")
