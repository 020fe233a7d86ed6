from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.common.certificates import Certificate
from services.common.errors import UnauthenticatedError
from services.common.identity import Identity, Role
from services.common.reasons import Reason
from services.common.trust import Revocation, Trust, TrustList, decode, encode

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OWNER = Identity(Role.GATEWAY, "g")
CERTIFICATE = Certificate(OWNER, (), "5f", NOW - timedelta(hours=1), NOW + timedelta(hours=23))


def reason_of(trust: TrustList, certificate: Certificate = CERTIFICATE, *, now: datetime = NOW) -> Reason | None:
    try:
        trust.check(certificate, now=now)
    except UnauthenticatedError as error:
        return error.reason
    return None


def test_a_list_that_was_told_nothing_refuses_what_ended_only() -> None:
    assert reason_of(TrustList()) is None
    assert reason_of(TrustList(), now=NOW + timedelta(hours=24)) is Reason.CERTIFICATE_EXPIRED


def test_revocation_of_an_owner_is_of_the_certificates_before_it() -> None:
    trust = TrustList()
    moment = int(CERTIFICATE.issued.timestamp())
    trust.replace(Trust("1", revocations=(Revocation(uri=OWNER.uri, before_s=moment + 1),)))
    assert reason_of(trust) is Reason.CERTIFICATE_REVOKED
    assert reason_of(trust, replace(CERTIFICATE, issued=CERTIFICATE.issued + timedelta(seconds=1))) is None
    assert reason_of(trust, replace(CERTIFICATE, identity=Identity(Role.GATEWAY, "other"))) is None
    assert reason_of(trust, replace(CERTIFICATE, identity=Identity(Role.AGENT, "g"))) is None


def test_revocation_of_one_certificate() -> None:
    trust = TrustList()
    trust.replace(Trust("1", revocations=(Revocation(serial="5f"),)))
    assert reason_of(trust) is Reason.CERTIFICATE_REVOKED
    assert reason_of(trust, replace(CERTIFICATE, serial="60")) is None
    trust.replace(Trust("2"))
    assert reason_of(trust) is None


def test_what_is_written_is_read_again() -> None:
    trust = Trust("1", b"pem", (Revocation(serial="5f"), Revocation(uri=OWNER.uri, before_s=7)), frozenset({OWNER.uri}))
    # Without version and authorities: it is asked for anew, and those have a file of their own.
    assert decode(encode(trust)) == replace(trust, version="", bundle=b"")
    for wrong in (b"", b"[]", b"{}", b'{"revocations": [1], "barred": []}', b"\xff"):
        with pytest.raises(ValueError, match=r".+"):
            decode(wrong)
