"""The administrative mode and the log level of the process."""

from collections.abc import Iterator

import pytest

from gateway.heketi.admin import AdminMode, Mode
from gateway.heketi.texts.refusals import Refused
from services.common.logs import level_of_logs, set_level_of_logs
from tests.unit.gateway_heketi.client import Client

REFUSED = (503, "Service disabled for maintenance\n")


@pytest.fixture(autouse=True)
def _level_as_before() -> Iterator[None]:
    before = level_of_logs()
    yield
    set_level_of_logs(before)


@pytest.mark.parametrize(
    ("mode", "host", "allowed"),
    [
        (Mode.NORMAL, "10.1.2.3", True),
        (Mode.READ_ONLY, "127.0.0.1", False),
        (Mode.LOCAL_CLIENT, "127.0.0.1", True),
        (Mode.LOCAL_CLIENT, "::1", True),
        (Mode.LOCAL_CLIENT, "10.1.2.3", False),
        (Mode.LOCAL_CLIENT, "", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_mode(mode: Mode, host: str, method: str, allowed: bool) -> None:
    admin = AdminMode(mode)
    if allowed or method in {"GET", "HEAD"}:
        admin.check(method, host)
    else:
        with pytest.raises(Refused, match="Service disabled for maintenance"):
            admin.check(method, host)
    admin.reset()
    admin.check(method, host)


def test_read_only_ends_with_a_reset_only(client: Client) -> None:
    assert client.send("GET", "/admin").text == '{"state":"normal"}\n'
    assert client.send("POST", "/admin", '{"state":"read-only"}').status_code == 204
    assert client.send("GET", "/admin").text == '{"state":"read-only"}\n'
    refused = client.send("POST", "/clusters", '{"file":true}')
    assert (refused.status_code, refused.text) == REFUSED
    again = client.send("POST", "/admin", '{"state":"normal"}')
    assert (again.status_code, again.text) == REFUSED
    # The token and its role come first, an unknown path does not.
    assert client.send("POST", "/clusters", "{}", token=None).status_code == 401
    assert client.send("POST", "/nowhere", "{}").status_code == 503
    assert client.send("GET", "/clusters").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ('{"state":"bogus"}', 400, "validation failed: state: must be a valid value.\n"),
        ("{}", 400, "validation failed: state: cannot be blank.\n"),
        ("", 400, "request unable to be parsed: unexpected end of JSON input\n"),
        ("{", 400, "request unable to be parsed: unexpected end of JSON input\n"),
        ("{x", 400, "request unable to be parsed: invalid character 'x' looking for beginning of object key string\n"),
        ("{} x", 400, "request unable to be parsed: invalid character 'x' after top-level value\n"),
        (
            '{"state":1}',
            400,
            "request unable to be parsed: json: cannot unmarshal number into Go struct field .state of type string\n",
        ),
    ],
)
def test_modes_that_are_none(client: Client, body: str, status: int, text: str) -> None:
    answer = client.send("POST", "/admin", body)
    assert (answer.status_code, answer.text) == (status, text)
    assert client.send("GET", "/admin").text == '{"state":"normal"}\n'


@pytest.mark.parametrize("level", ["none", "critical", "error", "warning", "info", "debug"])
def test_log_level(client: Client, level: str) -> None:
    changed = client.send("POST", "/internal/logging", f'{{"loglevel":{{"glusterfs":"{level}","other":"x"}}}}')
    assert (changed.status_code, changed.text) == (200, f'{{"loglevel":{{"glusterfs":"{level}"}}}}\n')
    assert client.send("GET", "/internal/logging").text == changed.text
    assert level_of_logs() == {"none": "critical"}.get(level, level)
    # An empty level changes nothing.
    assert client.send("POST", "/internal/logging", '{"loglevel":{"glusterfs":""}}').text == changed.text


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ('{"loglevel":{"glusterfs":"bogus"}}', 422, "invalid log level: bogus\n"),
        ('{"loglevel":{"other":"debug"}}', 422, 'Only "glusterfs" logger may be modified\n'),
        ("{}", 422, 'Only "glusterfs" logger may be modified\n'),
        ("", 400, "request unable to be parsed: unexpected end of JSON input\n"),
    ],
)
def test_log_levels_that_are_none(client: Client, body: str, status: int, text: str) -> None:
    before = level_of_logs()
    answer = client.send("POST", "/internal/logging", body)
    assert (answer.status_code, answer.text) == (status, text)
    assert level_of_logs() == before
