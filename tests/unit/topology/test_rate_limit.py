import pytest

from services.common.errors import ResourceExhaustedError
from services.common.reasons import Reason
from services.topology.identity_servicer import RateLimit


def test_a_peer_that_asks_too_often_waits_and_others_do_not() -> None:
    now = [0.0]
    limit = RateLimit(lambda: now[0], burst=3, per_second=0.5)
    for port in range(3):
        limit.take(f"ipv4:10.0.0.1:{port}")
    with pytest.raises(ResourceExhaustedError) as caught:
        limit.take("ipv4:10.0.0.1:9")
    assert caught.value.reason is Reason.RATE_LIMITED
    limit.take("ipv6:[fe80::1]:9")
    now[0] = 2.0
    limit.take("ipv4:10.0.0.1:9")
    with pytest.raises(ResourceExhaustedError):
        limit.take("ipv4:10.0.0.1:9")


def test_it_forgets_old_peers_and_not_the_busy_one() -> None:
    limit = RateLimit(lambda: 0.0, burst=2, per_second=0)
    limit.take("ipv4:10.0.0.1:1")
    for number in range(1023):
        limit.take(f"ipv4:10.1.{number // 256}.{number % 256}:1")
    limit.take("ipv4:10.0.0.1:1")
    with pytest.raises(ResourceExhaustedError):
        limit.take("ipv4:10.0.0.1:1")
